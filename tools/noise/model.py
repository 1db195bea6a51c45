"""What the landmark stage makes of a person whose true landmarks are known: a model of its errors, to sample from.

::

    model = load_noise_model()
    noisy = model.sample(np.random.default_rng(1), tracks, fps=30.0)

The model was measured (``python -m hmcap.tools.noise``) on rendered people, against their exact truth. An error of a
landmark is

    bias(view) + scale(visibility, size, blur) L(view) (slow + loudness(limb) jitter)

in units of the body's (or the hand's) size in the picture and in axes that turn with the trunk (the palm). Both parts
have heavy tails by tables, and come from normal processes that correlate all landmarks and their past; the loudness of
the jitter comes and goes limb by limb. Confidence depends on
visibility and on the error's size; hands are found, and people seen, with a probability that depends on size, blur and
visibility; left and right are exchanged, limbs of the 3-D turned over in depth, for a while each.

Sampling is array operations over (batch, frames, points); the only loop is that over the frames of a process with
memory.
"""

import json
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path

import array_api_compat
import numpy as np
from scipy.special import expit, ndtri

from ...models.errors import HmcapError
from ...models.proxies import BLAZEPOSE_NAMES, BODY, LEFT_HAND, PROXY_NAMES, RIGHT_HAND
from ...models.rotations import Array
from .events import Events, by_view, exchange, flip
from .process import KNOTS, Process, at_scores
from .tracks import GROUP, HIDDEN, OUT, VISIBLE, Conditions, Tracks, centred3d, conditions, turned

POINT = np.concatenate([np.arange(25), np.arange(25, 46), np.arange(25, 46)])
"""(67,) row of each proxy in tables of 46 points: 25 of the body, 21 of either hand."""
KIND = np.array([0, 1, 1])
"""Kind of each group: body 0, hand 1."""
SIZE_KNOTS = np.array([[6.0, 7, 8, 9, 10, 11], [3.0, 4, 5, 6, 7, 8]])
"""Binary logarithm of the size in pixels, where the scale is tabulated, for body and hand."""
BLUR_KNOTS = np.array([[0.0, 0.01, 0.025, 0.06, 0.15], [0.0, 0.1, 0.25, 0.6, 1.5]])
"""Blur in units of the size, where the scale is tabulated, for body and hand."""
BODY_LIMBS = ("head", "trunk", "left arm", "right arm", "left leg", "right leg")
"""Limbs whose jitter is loud or quiet together."""
ABSENT_POINTS = np.array([20, 23])
"""Proxies that the landmark networks do not have (small toes): always masked."""
PRESENCE_TERMS = ("one", "smallness", "share outside", "share outside beyond 0.4", "share hidden", "tilt", "cos view")
FOUND_TERMS = ("one", "log2 size / 32 px", "share outside", "share hidden", "blur", "cos view", "sin view")


def _limb(name: str) -> int:
    side = next((s for s in ("left", "right") if s in name), "")
    part = name.replace(side, "").strip("_") if side else name
    if "hand_" in part:
        return 6 if side == "left" else 7
    if side and part in ("shoulder", "elbow", "wrist", "pinky", "index", "thumb"):
        return BODY_LIMBS.index(f"{side} arm")
    if side and part in ("hip", "knee", "ankle", "big_toe", "small_toe", "heel", "foot_index"):
        return BODY_LIMBS.index(f"{side} leg")
    return BODY_LIMBS.index("trunk" if name in ("neck", "mid_hip") else "head")


LIMB = np.array([_limb(n) for n in PROXY_NAMES])
"""(67,) limb of each proxy: one of BODY_LIMBS, or 6 and 7 for the hands."""
LIMB3 = np.array([*(_limb(n) for n in BLAZEPOSE_NAMES), *(6,) * 21, *(7,) * 21])
"""(75,) the same for 33 body landmarks and both hands."""


@dataclass(frozen=True, slots=True, eq=False)
class Noisy:
    """What the landmark stage would have said of T frames (or a batch of them), as in ``Proxies``; numpy arrays, or
    torch tensors in training."""

    xy_px: Array
    """(..., T, 67, 2) float32."""
    confidence: Array
    """(..., T, 67) float32; 0 where masked."""
    body_xyz_m: Array
    """(..., T, 33, 3) float32; NaN where there is none."""
    hands_xyz_m: Array
    """(..., T, 2, 21, 3) float32; NaN where a hand is not found."""
    score: Array
    """(..., T) float32; 0 where nobody is seen."""


@dataclass(frozen=True, slots=True, eq=False)
class NoiseModel:
    """Measured errors of the landmark stage. 46 points: 25 of the body, 21 of a hand (both hands share them)."""

    bias: np.ndarray
    """(8, 46, 2) mean error by view, units of the group's size, group axes (right, up)."""
    chol: np.ndarray
    """(8, 46, 2, 2) lower Cholesky factor of the error's covariance by view, at scale 1."""
    scale_state: np.ndarray
    """(3, 46) factor for OUT, HIDDEN, VISIBLE."""
    scale_size: np.ndarray
    """(2, 6) factor at SIZE_KNOTS, body and hand."""
    scale_blur: np.ndarray
    """(2, 5) factor at BLUR_KNOTS, body and hand."""
    scores: np.ndarray
    """(2, 92, 17) slow part of the whitened errors at the normal scores KNOTS: not seen, seen; x, y of each point."""
    jitter: np.ndarray
    """(92, 17) fast part of the whitened errors at normal scores, at loudness 0."""
    loudness: np.ndarray
    """(7, 17) logarithm of the factor on the fast part at normal scores: BODY_LIMBS, a hand."""
    slope3: np.ndarray
    """(2, 3) metres per unit of the stature (of the hand's length) that the networks' 3-D gives to truth's x, y, z."""
    scale3: np.ndarray
    """(2,) standard deviation of the logarithm of that scale between takes."""
    bias3: np.ndarray
    """(8, 54, 3) mean 3-D error by view, metres, group axes and depth; 33 body landmarks, 21 of a hand."""
    sd3: np.ndarray
    """(8, 54, 3) its standard deviation."""
    scores3: np.ndarray
    """(162, 17) slow part of the standardised 3-D errors at the normal scores KNOTS."""
    jitter3: np.ndarray
    """(162, 17) their fast part, at loudness 0."""
    confidence: np.ndarray
    """(2, 26, 17) confidence at normal scores; not seen, seen; 25 body proxies, a hand."""
    confidence_error: np.ndarray
    """(2, 26, 2) mean and standard deviation of the logarithm of the error's length."""
    confidence_link: np.ndarray
    """(2, 26) correlation of the confidence's normal score with that logarithm."""
    presence_score: np.ndarray
    """(1, 17) score of a person at normal scores."""
    present: np.ndarray
    """(7,) log odds that the person is seen: weights of PRESENCE_TERMS."""
    found: np.ndarray
    """(7,) log odds that a hand of a seen person is found: weights of FOUND_TERMS."""
    process_body: Process
    """149 channels: x, y of 25 proxies, x, y, z of 33 landmarks."""
    process_hand: Process
    """105 channels: x, y of 21 proxies, x, y, z of 21 landmarks."""
    process_jitter: Process
    """149 channels, as ``process_body``."""
    process_hand_jitter: Process
    """105 channels, as ``process_hand``."""
    process_loudness: Process
    """6 channels, BODY_LIMBS."""
    process_hand_loudness: Process
    process_confidence: Process
    """25 channels, body proxies."""
    process_hand_confidence: Process
    process_present: Process
    process_found: Process
    swaps: Events
    """By the body's view: SWAPS."""
    flips: Events
    """By the body's view: SEGMENTS of the left side, then of the right."""
    no_depth: Events
    """By the body's view: times without body 3-D."""
    provenance: str
    """JSON: networks, versions, what was measured, seed."""

    def sample(self, rng: np.random.Generator, tracks: Tracks, fps: float | np.ndarray) -> Noisy:
        """Noisy proxies of true ones; fps: a number, or one for each take of the batch (...)."""
        cond = conditions(tracks)
        batch, frames = tracks.xy_px.shape[:-3], tracks.xy_px.shape[-3]
        step = np.broadcast_to(1 / np.asarray(fps, np.float64)[..., None], (*batch, frames))
        body_view = cond.view_rad[..., 0]
        slow = _by_points(rng, self.process_body, self.process_hand, step)
        fast = _by_points(rng, self.process_jitter, self.process_hand_jitter, step)
        loud = self._loudness(rng, step)

        # 2-D
        error = self.errors(cond, tracks.visible, slow[0], fast[0], loud)
        size = cond.size_px[..., GROUP, None]
        swaps = self.swaps.sample(rng, body_view, step)
        xy = exchange(tracks.xy_px + size * turned(cond, error, GROUP, back=True), swaps)

        # Confidence and what is not found
        confidence = self._confidence(rng, tracks, error, step)
        image = np.asarray(tracks.image_size_px)[..., None, None, :]
        present = self._switch(rng, self.process_present, presence_terms(cond) @ self.present, step)
        found = np.stack(
            [
                self._switch(rng, self.process_found, found_terms(cond)[..., hand, :] @ self.found, step) & present
                for hand in (0, 1)
            ],
            axis=-1,
        )
        confidence = exchange(confidence, swaps)
        kept = np.concatenate([np.repeat(present[..., None], 25, -1), np.repeat(found, 21, -1)], axis=-1)
        confidence = confidence * kept * ((xy >= 0) & (xy <= image - 1)).all(-1)
        confidence[..., ABSENT_POINTS] = 0

        # 3-D
        body3, hands3 = self._relative3d(rng, tracks, cond, slow[1], fast[1], loud, step)
        blind = self.no_depth.sample(rng, body_view, step)[..., 0]
        body3 = np.where((present & ~blind)[..., None, None], body3, np.nan)
        hands3 = np.where(found[..., None, None], hands3, np.nan)
        score = at_scores(self.presence_score, np.zeros(1, np.int64), rng.standard_normal((*batch, frames)))
        xy = np.where(present[..., None, None], xy, 0.0)
        return Noisy(
            xy.astype(np.float32),
            confidence.astype(np.float32),
            body3.astype(np.float32),
            hands3.astype(np.float32),
            (np.clip(score, 0.01, 1) * present).astype(np.float32),
        )

    def scale(self, cond: Conditions, visible: np.ndarray) -> np.ndarray:
        """(..., T, 67) factor on the error's spread."""
        kind = KIND[GROUP]
        size = curve(SIZE_KNOTS, self.scale_size, KIND, np.log2(np.maximum(cond.size_px, 1.0)))[..., GROUP]
        return self.scale_state[visible, POINT] * size * curve(BLUR_KNOTS, self.scale_blur, kind, cond.blur)

    def _loudness(self, rng: np.random.Generator, step: np.ndarray) -> np.ndarray:
        """(..., T, 8) factor on the jitter: BODY_LIMBS, left hand, right hand."""
        batch = step.shape[:-1]
        body = self.process_loudness.sample(rng, batch, step)
        hands = self.process_hand_loudness.sample(rng, (*batch, 2), step[..., None, :])[..., 0]
        n = np.concatenate([body, np.swapaxes(hands, -1, -2)], axis=-1)
        return np.exp(at_scores(self.loudness, np.array([0, 1, 2, 3, 4, 5, 6, 6]), n))

    def errors(
        self, cond: Conditions, visible: np.ndarray, slow: np.ndarray, fast: np.ndarray, loud: np.ndarray
    ) -> np.ndarray:
        """(..., T, 67, 2) errors in units and axes of the groups, from the processes' values for the slow and the fast
        part (..., T, 67, 2) and the loudness of the latter (..., T, 8)."""
        seen = (visible == VISIBLE).astype(np.int64)
        channel = POINT[:, None] * 2 + np.arange(2)
        flat = self.scores.reshape(-1, len(KNOTS))
        z = at_scores(flat, seen[..., None] * self.scores.shape[1] + channel, slow)
        z = z + loud[..., LIMB, None] * at_scores(self.jitter, channel, fast)
        L = by_point(self.chol, cond.view_rad)
        spread = (L @ z[..., None])[..., 0] * self.scale(cond, visible)[..., None]
        return by_point(self.bias, cond.view_rad) + spread

    def _confidence(self, rng: np.random.Generator, tracks: Tracks, error: np.ndarray, step: np.ndarray) -> np.ndarray:
        """(..., T, 67) before anything is masked."""
        batch = step.shape[:-1]
        e = confidence_errors(error)
        seen = confidence_states(tracks.visible)
        own = self.process_confidence.sample(rng, batch, step)
        hands = self.process_hand_confidence.sample(rng, (*batch, 2), step[..., None, :])[..., 0]
        own = np.concatenate([own, np.swapaxes(hands, -1, -2)], axis=-1)
        channel = np.minimum(np.arange(27), 25)
        mean, sd = self.confidence_error[seen, channel, 0], self.confidence_error[seen, channel, 1]
        link = self.confidence_link[seen, channel]
        n = link * np.clip((e - mean) / sd, -3, 3) + np.sqrt(1 - link**2) * own
        flat = self.confidence.reshape(-1, len(KNOTS))
        value = np.clip(at_scores(flat, seen * self.confidence.shape[1] + channel, n), 0, 1)
        return np.concatenate([value[..., :25], np.repeat(value[..., 25:], 21, axis=-1)], axis=-1)

    def _switch(self, rng: np.random.Generator, process: Process, log_odds: np.ndarray, step: np.ndarray) -> np.ndarray:
        level = ndtri(np.clip(expit(log_odds), 1e-6, 1 - 1e-6))
        return process.sample(rng, step.shape[:-1], step)[..., 0] < level

    def _relative3d(
        self,
        rng: np.random.Generator,
        tracks: Tracks,
        cond: Conditions,
        slow: np.ndarray,
        fast: np.ndarray,
        loud: np.ndarray,
        step: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        batch, frames = step.shape[:-1], step.shape[-1]
        body, hands = centred3d(tracks, cond)
        body = flip(body, self.flips.sample(rng, cond.view_rad[..., 0], step))
        stretch = np.exp(self.scale3[[0, 1, 1]] * rng.standard_normal((*batch, 1, 3)))[..., None, None]
        rows = np.concatenate([np.arange(33), *(np.arange(33, 54),) * 2])
        group = np.repeat([0, 1, 2], [33, 21, 21])
        channel = rows[:, None] * 3 + np.arange(3)
        z = at_scores(self.scores3, channel, slow) + loud[..., LIMB3, None] * at_scores(self.jitter3, channel, fast)
        view = cond.view_rad
        parts = [
            by_view(table[:, rows[group == g]], view[..., g]) for table in (self.bias3, self.sd3) for g in range(3)
        ]
        error = np.concatenate(parts[:3], axis=-2) + np.concatenate(parts[3:], axis=-2) * z
        error = turned(cond, error, group, back=True)
        body = body * self.slope3[0] * stretch[..., 0, :, :] + error[..., :33, :]
        hands = hands * self.slope3[1] * stretch[..., 1:, :, :] + error[..., 33:, :].reshape(*batch, frames, 2, 21, 3)
        return body, hands

    def save(self, path: str | Path) -> None:
        """Write the npz that :func:`load_noise_model` reads (float32; no clock and no paths in it)."""
        flat: dict[str, np.ndarray] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, (Process, Events)):
                flat |= {f"{f.name}.{g.name}": np.asarray(getattr(value, g.name)) for g in fields(value)}
            else:
                flat[f.name] = np.asarray(value)
        flat = {k: v.astype(np.float32) if v.dtype.kind == "f" else v for k, v in flat.items()}
        with Path(path).open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **flat)


def _by_points(
    rng: np.random.Generator, body: Process, hand: Process, step: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Values of the processes of the body and of both hands, for 67 proxies (..., T, 67, 2) and 75 landmarks in 3-D
    (..., T, 75, 3)."""
    batch, frames = step.shape[:-1], step.shape[-1]
    b = body.sample(rng, batch, step)
    h = np.swapaxes(hand.sample(rng, (*batch, 2), step[..., None, :]), -2, -3)
    hand2, hand3 = h[..., :42].reshape(*batch, frames, 42, 2), h[..., 42:].reshape(*batch, frames, 42, 3)
    two = np.concatenate([b[..., :50].reshape(*batch, frames, 25, 2), hand2], axis=-2)
    return two, np.concatenate([b[..., 50:].reshape(*batch, frames, 33, 3), hand3], axis=-2)


def by_point(table: np.ndarray, view_rad: np.ndarray) -> np.ndarray:
    """(..., 67, *) values of a table (8, 46, *) for each proxy at its group's view (..., 3)."""
    parts = [by_view(table[:, POINT[g == GROUP]], view_rad[..., g]) for g in range(3)]
    return np.concatenate(parts, axis=view_rad.ndim - 1)


def curve(knots: np.ndarray, values: np.ndarray, row: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(..., N) piecewise linear values at x (..., N), whose n-th column uses row[n] of knots and values (rows, M)."""
    low, high = knots[row, :-1], knots[row, 1:]
    share = np.clip((x[..., None] - low) / (high - low), 0, 1)
    return values[row, 0] + (share * (values[row, 1:] - values[row, :-1])).sum(axis=-1)


def presence_terms(cond: Conditions) -> Array:
    """(..., T, 7) PRESENCE_TERMS, of the kind of array that the conditions are. A body larger than 256 px is as good as
    one of 256 px, one smaller than 32 px as bad as one of 32 px: the network sees it scaled to its own input."""
    xp = array_api_compat.array_namespace(cond.size_px)
    small = 8 - xp.clip(xp.log2(xp.clip(cond.size_px[..., 0], min=1.0)), 5, 8)
    out, hidden = cond.seen[..., 0, OUT], cond.seen[..., 0, HIDDEN]
    tilt = (1 + cond.axes[..., 0, 1, 1]) / 2
    view = xp.cos(cond.view_rad[..., 0])
    terms = [xp.ones_like(small), small, out, xp.clip(out - 0.4, min=0.0), hidden, tilt, view]
    return xp.stack(terms, axis=-1)


def found_terms(cond: Conditions) -> Array:
    """(..., T, 2, 7) FOUND_TERMS of the left and the right hand, of the kind of array that the conditions are."""
    xp = array_api_compat.array_namespace(cond.size_px)
    size = xp.clip(xp.log2(xp.clip(cond.size_px[..., 1:], min=1.0)), 3, 7) - 5
    blur = xp.stack([xp.mean(cond.blur[..., part], axis=-1) for part in (LEFT_HAND, RIGHT_HAND)], axis=-1)
    view = cond.view_rad[..., 1:]
    out, hidden = cond.seen[..., 1:, OUT], cond.seen[..., 1:, HIDDEN]
    terms = [xp.ones_like(size), size, out, hidden, xp.log1p(blur), xp.cos(view), xp.sin(view)]
    return xp.stack(terms, axis=-1)


def confidence_errors(error: np.ndarray) -> np.ndarray:
    """(..., 27) logarithm of the error (..., 67, 2) that each confidence answers for: body proxies, both hands."""
    square = (error**2).sum(-1)
    hands = square[..., 25:].reshape(*square.shape[:-1], 2, 21).mean(-1)
    return 0.5 * np.log(np.concatenate([square[..., BODY], hands], axis=-1) + 1e-8)


def confidence_states(visible: np.ndarray) -> np.ndarray:
    """(..., 27) int: 1 where the proxy, or most of the hand, is seen."""
    seen = visible == VISIBLE
    hands = seen[..., 25:].reshape(*seen.shape[:-1], 2, 21).mean(-1) > 0.5
    return np.concatenate([seen[..., BODY], hands], axis=-1).astype(np.int64)


def load_noise_model(path: str | Path | None = None) -> NoiseModel:
    """Read a noise model; None reads the one of this package. Raises HmcapError where the file is another."""
    source = files("hmcap.tools.noise") / "landmark_noise.npz" if path is None else Path(path).expanduser()
    step = "Make it with: python -m hmcap.tools.noise MEASUREMENT_FOLDER --out FILE."
    if not source.is_file():
        raise HmcapError(f"Expected a noise model at {source}, found no such file. {step}")
    try:
        with source.open("rb") as file, np.load(file, allow_pickle=False) as data:
            arrays = {k: data[k] for k in data.files}
    except (ValueError, OSError, EOFError, KeyError) as error:
        raise HmcapError(f"Expected a noise model in {source}, but it cannot be read ({error}). {step}") from error
    nested = {"Process": Process, "Events": Events, Process: Process, Events: Events}
    values = {}
    for f in fields(NoiseModel):
        kind = nested.get(f.type)
        names = [f.name] if kind is None else [f"{f.name}.{g.name}" for g in fields(kind)]
        missing = [n for n in names if n not in arrays]
        if missing:
            raise HmcapError(f"Expected a noise model in {source}, but it lacks {', '.join(missing)}. {step}")
        if kind is None:
            values[f.name] = str(arrays[f.name]) if f.name == "provenance" else arrays[f.name]
        else:
            values[f.name] = kind(*(arrays[n] for n in names))
    json.loads(values["provenance"])
    return NoiseModel(**values)
