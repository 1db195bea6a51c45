"""The noise model in torch: whole batches of takes at once, fast enough to draw every training batch anew.

::

    noise = BatchedNoise(load_noise_model())
    tracks = torch_tracks(scene.proxies_world_m, scene.landmarks_world_m, scene.T_cam_world, scene.focal_px,
                          scene.image_size_px, shutter)
    noisy = noise(torch.Generator().manual_seed(1), tracks)

The law of what is drawn is that of ``NoiseModel.sample``; the draws are others. Inside, arrays lie channels first and
frames last, (C, T, B), and what has no memory is worked off in runs of frames that stay in the processor's cache.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ...models.errors import UsageError
from ...models.proxies import BODY, LEFT_HAND, RIGHT_HAND
from .batched_process import (
    Kernel,
    Tables,
    make_kernel,
    make_tables,
    sample_events,
    view_shares,
    white_factor,
)
from .batched_tracks import along_ray, channels_first, frames_first, torch_tracks
from .events import SEGMENT_LOWER, SEGMENT_MOVES, SEGMENT_UPPER, SWAP_JOINTS
from .model import (
    ABSENT_POINTS,
    BLUR_KNOTS,
    LIMB,
    LIMB3,
    SIZE_KNOTS,
    NoiseModel,
    Noisy,
    found_terms,
    presence_terms,
)
from .tracks import MIRROR, VISIBLE, Tracks, conditions

__all__ = ["BatchedNoise", "TorchTracks", "torch_tracks"]

TorchTracks = Tracks
"""Tracks whose arrays are tensors (B, T, ...)."""

_PARTS = (BODY, LEFT_HAND, RIGHT_HAND)
_HIPS = (23, 24)
_RUN = {"cpu": 1280, "cuda": 1 << 20}
"""Frames that are worked off at once."""
_KEPT = 4
"""Lengths and rates of takes whose kernels are kept: 50 MB each for 160 frames, growing with the square of them."""


@dataclass(frozen=True, slots=True, eq=False)
class _Curve:
    """A piecewise linear function, constant beyond its ends."""

    first: float
    pieces: tuple[tuple[float, float, float], ...]
    """Begin, end and slope of each piece."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        out = torch.full_like(x, self.first)
        for begin, end, slope in self.pieces:
            out.add_(x.clamp(begin, end).sub_(begin), alpha=slope)
        return out


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Tables of the body or of a hand: N proxies, M landmarks in 3-D, C = 2 N + 3 M channels."""

    points: int
    landmarks: int
    by_view: torch.Tensor
    """(5 N + 6 M, 8) bias x, y; Cholesky factor xx, yx, yy; 3-D bias; 3-D deviation."""
    slow: Tables
    """C channels; not seen, seen."""
    fast: Tables
    """C channels."""
    jitter: torch.Tensor
    """(C, C) factor of the jitter's covariance."""
    state: torch.Tensor
    """(N, 3) factor on the spread for OUT, HIDDEN, VISIBLE."""
    size: _Curve
    """Factor on the spread by the binary logarithm of the size in pixels."""
    blur: _Curve
    """Factor on the spread by the blur in units of the size."""
    limb: torch.Tensor
    """(C,) row of the loudness."""
    slope3: torch.Tensor
    """(3, 1, 1) metres per unit."""
    scale3: float


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """What holds of some frames (n of them, T and B in one)."""

    shares: torch.Tensor
    """(8, 3, n) of the views of the groups."""
    axes: torch.Tensor
    """(2, 2, 3, n) component, axis, group."""
    size_px: torch.Tensor
    """(3, n)."""
    size_m: torch.Tensor
    xy: torch.Tensor
    """(2, 67, n) true proxies."""
    cam: torch.Tensor
    """(3, 67, n)."""
    body33: torch.Tensor
    """(3, 33, n)."""
    visible: torch.Tensor
    """(67, n) int64."""
    blur: torch.Tensor
    """(67, n) in units of the size."""
    loud: torch.Tensor
    """(8, n)."""
    confidence: torch.Tensor
    """(27, n) normal scores."""
    swaps: torch.Tensor
    """(3, n) bool."""
    flips: torch.Tensor
    """(8, n) bool."""
    stretch: torch.Tensor
    """(3, n) factor on each group's 3-D."""
    present: torch.Tensor
    """(n,) bool."""
    found: torch.Tensor
    """(2, n) bool."""
    blind: torch.Tensor
    """(n,) bool: no body 3-D."""
    spread: torch.Tensor
    """(n,) factor on the spread."""
    image_px: torch.Tensor
    """(2, n) width and height."""
    slow: tuple[torch.Tensor, ...]
    """(C, n) normal scores of each group."""


class BatchedNoise:
    """A noise model's tables as tensors, to sample from: ``noise(generator, tracks)``."""

    def __init__(self, model: NoiseModel, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32):
        self.model = model
        self._like = torch.zeros((), dtype=dtype, device=device)
        self._groups = tuple(_group(model, kind, self._like) for kind in (0, 1))
        self._loudness = make_tables(model.loudness[[0, 1, 2, 3, 4, 5, 6, 6]][:, None], self._like)
        channel = np.minimum(np.arange(27), 25)
        self._confidence = make_tables(np.swapaxes(model.confidence, 0, 1)[channel], self._like)
        mean, sd = (model.confidence_error[:, channel, k] for k in (0, 1))
        link = model.confidence_link[:, channel].astype(np.float64)
        # The score of a confidence: share * own + clip(slope * log error + offset) * link, for not seen and seen.
        self._link = [self._tensor(v)[..., None] for v in (1 / sd, -mean / sd, link, np.sqrt(1 - link**2))]
        self._score = make_tables(model.presence_score[:, None], self._like)
        self._present, self._found = self._tensor(model.present), self._tensor(model.found)
        self._moves = self._tensor(SEGMENT_MOVES.T * -2.0)
        self._swapped = torch.as_tensor(SWAP_JOINTS, device=device)[..., None]
        self._mirror = torch.as_tensor(MIRROR, device=device)
        self._kernels: dict[tuple[int, float], dict[str, Kernel]] = {}

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.asarray(values), dtype=self._like.dtype, device=self._like.device)

    def __call__(
        self, generator: torch.Generator, tracks: TorchTracks, fps: float = 30.0, spread: torch.Tensor | None = None
    ) -> Noisy:
        """Noisy proxies (B, T, ...) of true ones, as tensors; the generator is of the device that the model is on.
        spread (B,): factor on what scatters in the picture about the bias, for footage that is clearer than that which
        was measured; None leaves it.

        Raises UsageError where the tracks are of another type or on another device.
        """
        like = self._like
        if tracks.xy_px.dtype != like.dtype or tracks.xy_px.device.type != like.device.type or tracks.xy_px.ndim != 4:
            raise UsageError(
                f"Expected tracks (B, T, 67, 2) of {like.dtype} on {like.device}, found {tuple(tracks.xy_px.shape)} of "
                f"{tracks.xy_px.dtype} on {tracks.xy_px.device}. Convert them, or give BatchedNoise those."
            )
        takes, frames = tracks.xy_px.shape[:2]
        kernels = self._kernels_of(frames, fps)
        cond = conditions(tracks)

        def draw(name: str) -> torch.Tensor:
            return kernels[name].sample(generator, takes)

        # What has a memory, for all frames
        slow = (draw("body"), draw("hand"), draw("hand"))
        loud = torch.cat([draw("loudness"), draw("hand_loudness"), draw("hand_loudness")])
        own = torch.cat([draw("confidence"), draw("hand_confidence"), draw("hand_confidence")])
        shares = view_shares(channels_first(cond.view_rad))
        m = self.model
        swaps, flips, blind = sample_events(generator, (m.swaps, m.flips, m.no_depth), shares[:, 0], fps)
        log_odds = channels_first(presence_terms(cond) @ self._present)
        present = draw("present")[0] < _level(log_odds)
        log_odds = channels_first(found_terms(cond) @ self._found)
        found = torch.cat([draw("found"), draw("found")]) < _level(log_odds)
        found &= present
        stretch = like.new_empty(3, 1, takes).normal_(generator=generator)
        stretch[0] *= self._groups[0].scale3
        stretch[1:] *= self._groups[1].scale3
        stretch = stretch.exp_().expand(3, frames, takes)
        score = self._score(like.new_empty(1, frames * takes).normal_(generator=generator))
        score = score.clamp_(0.01, 1).reshape(frames, takes) * present

        # What has none, run by run
        xy, cam, body33, visible = (
            channels_first(v) for v in (tracks.xy_px, tracks.cam_m, tracks.body33_cam_m, tracks.visible)
        )
        whole = {
            "shares": shares,
            "axes": cond.axes.permute(4, 3, 2, 1, 0).contiguous(),
            "size_px": channels_first(cond.size_px),
            "size_m": channels_first(cond.size_m),
            "xy": xy,
            "cam": cam,
            "body33": body33,
            "visible": visible,
            "blur": channels_first(cond.blur),
            "loud": loud,
            "confidence": own,
            "swaps": swaps,
            "flips": flips,
            "stretch": stretch,
            "present": present,
            "found": found,
            "blind": blind[0],
            "spread": (like.new_ones(takes) if spread is None else spread.to(like)).expand(frames, takes),
            "image_px": tracks.image_size_px.T.to(like.dtype)[:, None].expand(2, frames, takes),
        }
        xy_px, confidence, body, hands = outs = tuple(
            like.new_empty(takes, frames, *shape) for shape in ((67, 2), (67,), (33, 3), (2, 21, 3))
        )
        step = max(1, _RUN.get(like.device.type, 1280) // takes)
        for begin in range(0, frames, step):
            at = slice(begin, begin + step)
            parts = {name: v[..., at, :].flatten(-2) for name, v in whole.items()}
            parts["visible"] = parts["visible"].to(torch.int64)
            run = _Run(**parts, slow=tuple(s[:, at].flatten(1) for s in slow))
            for out, value in zip(outs, self._noisy(generator, run), strict=True):
                out[:, at] = frames_first(value.unflatten(-1, (-1, takes)))
        return Noisy(xy_px, confidence, body, hands, score.T.contiguous())

    def _kernels_of(self, frames: int, fps: float) -> dict[str, Kernel]:
        key = (frames, float(fps))
        if key not in self._kernels:
            if len(self._kernels) == _KEPT:
                del self._kernels[next(iter(self._kernels))]
            names = (
                "body", "hand", "loudness", "hand_loudness", "confidence", "hand_confidence", "present", "found",
            )  # fmt: skip
            self._kernels[key] = {
                n: make_kernel(getattr(self.model, f"process_{n}"), frames, fps, self._like) for n in names
            }
        return self._kernels[key]

    def _noisy(self, generator: torch.Generator, run: _Run) -> tuple[torch.Tensor, ...]:
        """Proxies (2, 67, n) pixels, confidences (67, n) and 3-D (3, 33, n), (3, 21, 2, n)."""
        xy, errors, relative = [], [], []
        loud = self._loudness(run.loud).exp_()
        for g, part in enumerate(_PARTS):
            group = self._groups[min(g, 1)]
            jitter = self._like.new_empty(len(group.jitter), run.xy.shape[-1]).normal_(generator=generator)
            error, error3 = self._errors(run, g, run.slow[g], group.jitter @ jitter, loud)
            axes = run.axes[:, :, g]
            there = _in_picture(axes, error)
            errors.append(error.square().sum(0))
            xy.append(run.xy[:, part] + there.mul_(run.size_px[g]))
            true3 = self._centred(run, g).mul_(group.slope3).mul_(run.stretch[g])
            true3[:2] += _in_picture(axes, error3)
            true3[2] += error3[2]
            relative.append(true3)
        turned = (run.swaps[:, None] & self._swapped).any(0)
        places, confidence = torch.cat(xy, dim=1), self._confidences(run, errors)
        places = torch.where(turned, places[:, self._mirror], places)
        confidence = torch.where(turned, confidence[self._mirror], confidence)
        kept = ((places >= 0) & (places <= run.image_px[:, None] - 1)).all(0)
        for part, there in zip(_PARTS, (run.present, *run.found), strict=True):
            kept[part] &= there
        kept[ABSENT_POINTS] = False
        return (
            places.masked_fill_(~run.present, 0.0),
            confidence.mul_(kept),
            relative[0].masked_fill_(~run.present | run.blind, torch.nan),
            torch.stack(relative[1:], dim=2).masked_fill_(~run.found, torch.nan),
        )

    def _errors(
        self, run: _Run, g: int, slow: torch.Tensor, fast: torch.Tensor, loud: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Errors of group g, (2, N, n) and (3, M, n), in its units (metres in 3-D) and axes, from the scores of the
        slow and the fast part (C, n) and the loudness (8, n)."""
        group, part = self._groups[min(g, 1)], _PARTS[g]
        n, m = group.points, group.landmarks
        visible = run.visible[part]
        seen = (visible == VISIBLE).to(torch.int64).repeat_interleave(2, 0)
        z = group.slow(slow, seen)
        z.addcmul_(group.fast(fast), loud[group.limb] if g == 0 else loud[5 + g])
        flat, solid = z[: 2 * n].reshape(n, 2, -1), z[2 * n :].reshape(m, 3, -1).transpose(0, 1)
        table = group.by_view @ run.shares[:, g]
        bias, chol, bias3, sd3 = table.split([2 * n, 3 * n, 3 * m, 3 * m])
        scale = group.state.gather(1, visible)
        scale *= group.size(run.size_px[g].clamp(min=1.0).log2())
        scale *= group.blur(run.blur[part])
        scale *= run.spread
        bias, chol = bias.reshape(2, n, -1), chol.reshape(3, n, -1)
        x, y = flat[:, 0] * scale, flat[:, 1] * scale
        error = [torch.addcmul(bias[0], chol[0], x), torch.addcmul(bias[1], chol[1], x).addcmul_(chol[2], y)]
        return torch.stack(error), torch.addcmul(bias3.reshape(3, m, -1), sd3.reshape(3, m, -1), solid)

    def _centred(self, run: _Run, g: int) -> torch.Tensor:
        """(3, M, n) what ``tracks.centred3d`` says of one group, with limbs of the body turned over in depth."""
        points = run.body33 if g == 0 else run.cam[:, _PARTS[g]]
        middle = (points[:, _HIPS] if g == 0 else points).mean(1)
        points = along_ray(points - middle[:, None], middle)
        if g == 0:
            deep = points[2, SEGMENT_LOWER] - points[2, SEGMENT_UPPER]
            points[2].addmm_(self._moves, deep * run.flips)
        return points.div_(run.size_m[g])

    def _confidences(self, run: _Run, squares: list[torch.Tensor]) -> torch.Tensor:
        """(67, n) confidences, from the squared errors (N, n) of each group."""
        square = torch.cat([squares[0], *(s.mean(0, keepdim=True) for s in squares[1:])])
        seen = run.visible == VISIBLE
        hands = [seen[p].to(square.dtype).mean(0, keepdim=True) > 0.5 for p in _PARTS[1:]]
        seen = torch.cat([seen[BODY], *hands])
        slope, offset, link, share = (torch.where(seen, v[1], v[0]) for v in self._link)
        length = square.add_(1e-8).log_().mul_(0.5)
        scores = torch.addcmul(offset, length, slope).clamp_(-3, 3).mul_(link).addcmul_(share, run.confidence)
        value = self._confidence(scores, seen.to(torch.int64)).clamp_(0, 1)
        return torch.cat([value[:25], value[25:26].expand(21, -1), value[26:].expand(21, -1)])


def _group(model: NoiseModel, kind: int, like: torch.Tensor) -> _Group:
    two, three = ((slice(0, 25), slice(0, 33)), (slice(25, 46), slice(33, 54)))[kind]
    n, m = two.stop - two.start, three.stop - three.start

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.ascontiguousarray(values), dtype=like.dtype, device=like.device)

    def curve(knots: np.ndarray, values: np.ndarray) -> _Curve:
        slopes = np.diff(values) / np.diff(knots)
        pieces = zip(knots[:-1].tolist(), knots[1:].tolist(), slopes.tolist(), strict=True)
        return _Curve(float(values[0]), tuple(pieces))

    def spans(values: np.ndarray, width: int, part: slice) -> np.ndarray:
        return values.reshape(*values.shape[:-2], -1, width, 17)[..., part, :, :].reshape(*values.shape[:-2], -1, 17)

    chol = np.stack([model.chol[..., 0, 0], model.chol[..., 1, 0], model.chol[..., 1, 1]])
    views = [
        np.moveaxis(model.bias[:, two], (2, 1, 0), (0, 1, 2)).reshape(2 * n, 8),
        np.moveaxis(chol[:, :, two], 1, 2).reshape(3 * n, 8),
        *(np.moveaxis(v[:, three], (2, 1, 0), (0, 1, 2)).reshape(3 * m, 8) for v in (model.bias3, model.sd3)),
    ]
    slow2 = np.swapaxes(spans(model.scores, 2, two), 0, 1)  # (2 N, 2, 17)
    slow3 = np.repeat(spans(model.scores3, 3, three)[:, None], 2, axis=1)
    fast = np.concatenate([spans(model.jitter, 2, two), spans(model.jitter3, 3, three)])
    process = (model.process_jitter, model.process_hand_jitter)[kind]
    limb = np.concatenate([np.repeat(LIMB[two], 2), np.repeat(LIMB3[three], 3)])
    return _Group(
        n,
        m,
        tensor(np.concatenate(views)),
        make_tables(np.concatenate([slow2, slow3]), like),
        make_tables(fast[:, None], like),
        white_factor(process, like),
        tensor(model.scale_state[:, two].T),
        curve(SIZE_KNOTS[kind], model.scale_size[kind]),
        curve(BLUR_KNOTS[kind], model.scale_blur[kind]),
        torch.as_tensor(limb, device=like.device),
        tensor(model.slope3[kind])[:, None, None],
        float(model.scale3[kind]),
    )


def _in_picture(axes: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """(2, N, n) vectors (2 or 3, N, n) of a group's axes (2, 2, n) in those of the picture."""
    return torch.stack([torch.addcmul(vectors[0] * axes[c, 0], vectors[1], axes[c, 1]) for c in (0, 1)])


def _level(log_odds: torch.Tensor) -> torch.Tensor:
    return torch.special.ndtri(torch.sigmoid(log_odds).clamp_(1e-6, 1 - 1e-6))
