"""Ways in which what the landmark stage saw can be bad, as functions from proxies to proxies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...models.proxies import BLAZEPOSE_NAMES, NUM_PROXIES, PROXY_NAMES, Proxies

Spoil = Callable[[Proxies, int, np.random.Generator], Proxies]
"""One frame of a bad span, its number in the span, and chance, to the bad frame."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to be bad."""

    name: str
    frames: int
    """Length of the bad span."""
    spoil: Spoil
    begin: int | None = None
    """First bad frame; None for the middle of the take."""

    def of(self, proxies: Sequence[Proxies], seed: int = 0) -> tuple[list[Proxies], slice]:
        """The take with its bad span, and where that is."""
        rng = np.random.default_rng(seed)
        begin = (len(proxies) - self.frames) // 2 if self.begin is None else self.begin
        rows = slice(begin, min(begin + self.frames, len(proxies)))
        out = list(proxies)
        for k, i in enumerate(range(rows.start, rows.stop)):
            out[i] = self.spoil(out[i], k, rng)
        return out, rows


def _pairs(names: Sequence[str]) -> np.ndarray:
    """(N,) for each name the number of the same on the other side."""
    other = [n.replace("left", "#").replace("right", "left").replace("#", "right") for n in names]
    return np.array([list(names).index(n) for n in other])


_OTHER, _OTHER_BODY = _pairs(PROXY_NAMES), _pairs(BLAZEPOSE_NAMES)
_ARM = [PROXY_NAMES.index(f"left_{j}") for j in ("elbow", "wrist")]
_LEGS = [i for i, n in enumerate(PROXY_NAMES) if any(j in n for j in ("knee", "ankle", "toe", "heel"))]


def _xy(p: Proxies, xy: np.ndarray) -> Proxies:
    return replace(p, xy_px=np.asarray(xy, np.float32))


def _middle(p: Proxies) -> np.ndarray:
    seen = (p.confidence > 0) & (np.arange(NUM_PROXIES) < 25)  # hands come and go
    return p.xy_px[seen].mean(0) if seen.any() else np.array(p.image_size_px, np.float32) / 2


def one_point_nan(p: Proxies, k: int, rng: np.random.Generator) -> Proxies:
    """One point is no number."""
    xy = p.xy_px.copy()
    xy[rng.integers(NUM_PROXIES)] = np.nan
    return _xy(p, xy)


def all_nan(p: Proxies, k: int, rng: np.random.Generator) -> Proxies:
    """No array holds a number."""
    full = {n: np.full_like(getattr(p, n), np.nan) for n in ("xy_px", "confidence", "body_xyz_m", "hands_xyz_m")}
    return replace(p, **full)


def all_inf(p: Proxies, k: int, rng: np.random.Generator) -> Proxies:
    """Everything is infinite."""
    full = {n: np.full_like(getattr(p, n), np.inf) for n in ("xy_px", "confidence", "body_xyz_m", "hands_xyz_m")}
    return replace(p, **full)


def some_xyz_nan(p: Proxies, k: int, rng: np.random.Generator) -> Proxies:
    """A few of the relative places are no numbers, some are huge."""
    body, hands = p.body_xyz_m.copy(), p.hands_xyz_m.copy()
    body[rng.integers(33, size=3)] = np.nan
    body[rng.integers(33)] = 1e30
    hands[rng.integers(2), rng.integers(21)] = -1e30
    return replace(p, body_xyz_m=body, hands_xyz_m=hands)


def huge(p: Proxies, k: int, rng: np.random.Generator) -> Proxies:
    """Coordinates of 1e30."""
    return _xy(p, np.full_like(p.xy_px, 1e30) * np.where(rng.random(p.xy_px.shape) < 0.5, -1, 1))


def one_pixel(p: Proxies, k: int, rng: np.random.Generator) -> Proxies:
    """All points lie on one pixel."""
    return _xy(p, np.zeros_like(p.xy_px) + _middle(p))


def sides(p: Proxies, k: int, rng: np.random.Generator) -> Proxies:
    """Left and right are exchanged, in the relative 3-D too."""
    return replace(
        p, xy_px=p.xy_px[_OTHER], confidence=p.confidence[_OTHER], body_xyz_m=p.body_xyz_m[_OTHER_BODY],
        hands_xyz_m=p.hands_xyz_m[::-1].copy(),
    )  # fmt: skip


def sides_every_other(p: Proxies, k: int, rng: np.random.Generator) -> Proxies:
    """Left and right are exchanged in every other frame."""
    return sides(p, k, rng) if k % 2 == 0 else p


def bystander(p: Proxies, k: int, rng: np.random.Generator) -> Proxies:
    """The person is somewhere else in the picture, and smaller."""
    w, h = p.image_size_px
    return _xy(p, (p.xy_px - _middle(p)) * 0.45 + np.array([0.12 * w, 0.55 * h]))


def near_bystander(p: Proxies, k: int, rng: np.random.Generator) -> Proxies:
    """The person is half a body beside."""
    span = np.ptp(p.xy_px[:25], axis=0).max()
    return _xy(p, p.xy_px + np.array([0.5 * span, 0.0]))


def limb(p: Proxies, k: int, rng: np.random.Generator) -> Proxies:
    """An arm jumps across the picture."""
    xy = p.xy_px.copy()
    xy[_ARM] += rng.normal(0, 0.4 * max(p.image_size_px), 2).astype(np.float32)
    xy[25:46] = xy[_ARM[1]]
    return _xy(p, xy)


def legs(p: Proxies, k: int, rng: np.random.Generator) -> Proxies:
    """Both legs point up."""
    xy = p.xy_px.copy()
    hips = xy[8].copy()
    xy[_LEGS] = hips - (xy[_LEGS] - hips)
    return _xy(p, xy)


def mirrored(p: Proxies, k: int, rng: np.random.Generator) -> Proxies:
    """The picture is mirrored about the person."""
    xy, body = p.xy_px.copy(), p.body_xyz_m * np.array([-1, 1, 1], np.float32)
    xy[:, 0] = 2 * _middle(p)[0] - xy[:, 0]
    return replace(_xy(p, xy), body_xyz_m=body)


def upside_down(p: Proxies, k: int, rng: np.random.Generator) -> Proxies:
    """The person stands on the head."""
    turned = p.body_xyz_m * np.array([-1, -1, 1], np.float32)
    return replace(_xy(p, 2 * _middle(p) - p.xy_px), body_xyz_m=turned)


def _confidence(value: float) -> Spoil:
    def spoil(p: Proxies, k: int, rng: np.random.Generator) -> Proxies:
        return replace(p, confidence=np.full_like(p.confidence, value))

    return spoil


def noise(p: Proxies, k: int, rng: np.random.Generator) -> Proxies:
    """Points anywhere in the picture, and sure of it."""
    return replace(
        p,
        xy_px=(rng.random(p.xy_px.shape) * p.image_size_px).astype(np.float32),
        confidence=np.ones_like(p.confidence),
        body_xyz_m=rng.normal(0, 0.5, p.body_xyz_m.shape).astype(np.float32),
        hands_xyz_m=rng.normal(0, 0.1, p.hands_xyz_m.shape).astype(np.float32),
    )


def jitter(p: Proxies, k: int, rng: np.random.Generator) -> Proxies:
    """Every point trembles by a tenth of the body."""
    span = np.ptp(p.xy_px[:25], axis=0).max()
    return _xy(p, p.xy_px + rng.normal(0, 0.1 * span, p.xy_px.shape))


def scaled(p: Proxies, k: int, rng: np.random.Generator) -> Proxies:
    """Three times as large."""
    middle = _middle(p)
    return _xy(p, middle + 3 * (p.xy_px - middle))


def image_size(p: Proxies, k: int, rng: np.random.Generator) -> Proxies:
    """The picture is said to be turned by a quarter."""
    w, h = p.image_size_px
    return replace(p, image_size_px=(h, w))


def no_size(p: Proxies, k: int, rng: np.random.Generator) -> Proxies:
    """The picture is said to have no size."""
    return replace(p, image_size_px=(0, 0))


def absent(p: Proxies, k: int, rng: np.random.Generator) -> Proxies:
    """Nobody is found."""
    return Proxies.absent(p.index, p.stamp_s, p.image_size_px)


def flicker(p: Proxies, k: int, rng: np.random.Generator) -> Proxies:
    """Nobody is found in half of the frames."""
    return absent(p, k, rng) if rng.random() < 0.5 else p


def no_stamp(p: Proxies, k: int, rng: np.random.Generator) -> Proxies:
    """The stamp is no number."""
    return replace(p, stamp_s=float("nan"))


def tiny_steps(p: Proxies, k: int, rng: np.random.Generator) -> Proxies:
    """Stamps hardly go on."""
    return replace(p, stamp_s=p.stamp_s * 1.0 - k / 30 + k * 1e-7)


def back(p: Proxies, k: int, rng: np.random.Generator) -> Proxies:
    """Stamps go back."""
    return replace(p, stamp_s=p.stamp_s - 3.0)


def same_face_nan(p: Proxies, k: int, rng: np.random.Generator) -> Proxies:
    """The score is no number."""
    return replace(p, score=float("nan"))


def faults(fps: float) -> tuple[Fault, ...]:
    """All of them, at so many frames a second."""
    half, one, two = (round(s * fps) for s in (0.5, 1.0, 2.0))
    few = max(2, round(0.1 * fps))
    rows: list[tuple[str, int, Spoil]] = [
        ("a point NaN", one, one_point_nan),
        ("all NaN", 1, all_nan), ("all NaN", half, all_nan), ("all NaN", two, all_nan),
        ("all inf", half, all_inf), ("3-D NaN, 1e30", one, some_xyz_nan), ("coordinates 1e30", half, huge),
        ("one pixel", 1, one_pixel), ("one pixel", half, one_pixel),
        ("sides exchanged", 1, sides), ("sides exchanged", few, sides), ("sides exchanged", one, sides),
        ("sides in turns", one, sides_every_other),
        ("bystander", 1, bystander), ("bystander", few, bystander), ("bystander", half, bystander),
        ("bystander", two, bystander), ("half a body beside", few, near_bystander),
        ("arm jumps", 1, limb), ("arm jumps", half, limb), ("legs up", 1, legs), ("legs up", half, legs),
        ("mirrored", 1, mirrored), ("mirrored", half, mirrored),
        ("upside down", 1, upside_down), ("upside down", few, upside_down), ("upside down", half, upside_down),
        ("confidence 0", half, _confidence(0.0)), ("confidence 1", half, _confidence(1.0)),
        ("confidence NaN", half, _confidence(float("nan"))), ("confidence -1", half, _confidence(-1.0)),
        ("confidence 7", half, _confidence(7.0)),
        ("noise", 1, noise), ("noise", few, noise), ("noise", one, noise), ("trembling", half, jitter),
        ("three times as large", 1, scaled), ("three times as large", half, scaled),
        ("size turned", few, image_size), ("size 0x0", half, no_size),
        ("absent", few, absent), ("absent", one, absent), ("absent", two, absent), ("in and out", one, flicker),
        ("stamps NaN", half, no_stamp), ("tiny steps", half, tiny_steps), ("stamps back", half, back),
        ("score NaN", half, same_face_nan),
    ]  # fmt: skip
    found = [Fault(f"{name}, {frames / fps:.2f} s", frames, spoil) for name, frames, spoil in rows]
    found += [Fault("first frame all NaN", 1, all_nan, 0), Fault("first frame noise", 1, noise, 0)]
    return (*found, Fault("begins with noise, 0.50 s", half, noise, 0))
