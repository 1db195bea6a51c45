"""Gross errors that begin, last and end: left and right exchanged, a limb turned over in depth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...models.proxies import BLAZEPOSE_NAMES, BODY_NAMES, PROXY_NAMES
from .tracks import MIRROR

VIEWS = 8
"""Views a full turn is divided into; tables are interpolated between them."""
DURATION_SHARES = np.linspace(0, 1, 9)
"""Quantiles at which durations are tabulated."""

SWAPS = ("all", "arms", "legs")
_SWAP_PARTS = {"arms": ("shoulder", "elbow", "wrist"), "legs": ("hip", "knee", "ankle", "heel", "big_toe")}
_HEAD = ("eye", "ear")
_MIN_APART, _MAX_RATIO = 0.06, 0.5

SEGMENTS = ("upper_arm", "forearm", "thigh", "shank")
"""Limb segments that turn over in depth, each on both sides."""
_ENDS = {"upper_arm": ("shoulder", "elbow"), "forearm": ("elbow", "wrist"), "thigh": ("hip", "knee"),
         "shank": ("knee", "ankle")}  # fmt: skip
_TAILS = {"wrist": ("wrist", "pinky", "index", "thumb"), "ankle": ("ankle", "heel", "foot_index")}
_MIN_DEPTH = 0.08
"""A segment shallower than this share of the stature has no side to turn over to."""


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """E kinds of events that come at random and last a while."""

    rate_hz: np.ndarray
    """(8, E) float32 beginnings per second while none is on, by view; bin v is centred at v / 8 of a turn."""
    duration_s: np.ndarray
    """(E, 9) float32 quantiles of the durations."""

    def sample(self, rng: np.random.Generator, view_rad: np.ndarray, step_s: np.ndarray) -> np.ndarray:
        """(..., T, E) bool whether each is on. view_rad (..., T); step_s (..., T) seconds since the frame before."""
        rate = by_view(self.rate_hz, view_rad)
        batch, frames, kinds = rate.shape[:-2], rate.shape[-2], rate.shape[-1]
        step = np.broadcast_to(step_s, rate.shape[:-1])[..., None]
        start, length = rng.random(rate.shape), rng.random(rate.shape)
        place = length * (len(DURATION_SHARES) - 1)
        i = np.minimum(place.astype(np.int64), len(DURATION_SHARES) - 2)
        kind = np.arange(kinds)
        low, high = self.duration_s[kind, i], self.duration_s[kind, i + 1]
        duration = low + (high - low) * (place - i)
        mean = self.duration_s.mean(-1)
        out = np.zeros((*batch, frames, kinds), bool)
        # The take begins in the middle of things.
        on = start[..., 0, :] < rate[..., 0, :] * mean / (1 + rate[..., 0, :] * mean)
        left = np.where(on, duration[..., 0, :] * rng.random(duration[..., 0, :].shape), 0.0)
        out[..., 0, :] = left > 0
        for t in range(1, frames):
            left = left - step[..., t, :]
            begins = (left <= 0) & (start[..., t, :] < -np.expm1(-rate[..., t, :] * step[..., t, :]))
            left = np.where(begins, duration[..., t, :], left)
            out[..., t, :] = left > 0
        return out

    def share(self) -> np.ndarray:
        """(8, E) share of the time that each is on."""
        mean = self.duration_s.mean(-1)
        return self.rate_hz * mean / (1 + self.rate_hz * mean)


def view_weights(view_rad: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two neighbouring view bins (...) of each angle, and the second one's weight (...)."""
    at = np.mod(view_rad / (2 * np.pi) * VIEWS, VIEWS)
    i = np.floor(at).astype(np.int64) % VIEWS
    return i, (i + 1) % VIEWS, at - np.floor(at)


def by_view(table: np.ndarray, view_rad: np.ndarray) -> np.ndarray:
    """(..., *) rows of a table (8, *) at views (...), linear between the bins."""
    i, j, w = view_weights(view_rad)
    w = w.reshape(*w.shape, *(1,) * (table.ndim - 1))
    return table[i] * (1 - w) + table[j] * w


def _swap_joints(kind: str) -> np.ndarray:
    parts = _SWAP_PARTS["arms"] + _SWAP_PARTS["legs"] + _HEAD if kind == "all" else _SWAP_PARTS[kind]
    names = [f"{s}_{p}" for s in ("left", "right") for p in parts]
    hands = [n for n in PROXY_NAMES if "_hand_" in n] if kind != "legs" else []
    return np.array([PROXY_NAMES.index(n) for n in (*names, *hands)])


SWAP_JOINTS = np.stack([np.isin(np.arange(len(PROXY_NAMES)), _swap_joints(k)) for k in SWAPS])
"""(3, 67) which proxies each of SWAPS exchanges."""


def find_swaps(observed_px: np.ndarray, true_px: np.ndarray, size_px: np.ndarray) -> np.ndarray:
    """(T, 3) bool SWAPS of observed proxies (T, 67, 2): those of arms or legs whose joints lie much nearer to the other
    side's true places than to their own. size_px (T,) of the body."""
    part = {}
    for name, joints in _SWAP_PARTS.items():
        rows = np.array([BODY_NAMES.index(f"{s}_{j}") for s in ("left", "right") for j in joints[:3]])
        own = np.linalg.norm(observed_px[:, rows] - true_px[:, rows], axis=-1).mean(-1)
        other = np.linalg.norm(observed_px[:, rows] - true_px[:, MIRROR[rows]], axis=-1).mean(-1)
        part[name] = (own > _MIN_APART * size_px) & (other < _MAX_RATIO * own)
    both = part["arms"] & part["legs"]
    return np.stack([both, part["arms"] & ~both, part["legs"] & ~both], axis=-1)


def exchange(values: np.ndarray, swaps: np.ndarray) -> np.ndarray:
    """Proxy values (..., T, 67, *) with the sides exchanged where SWAPS (..., T, 3) are on."""
    turned = (swaps[..., None] & SWAP_JOINTS).any(axis=-2)
    turned = turned.reshape(*turned.shape, *(1,) * (values.ndim - turned.ndim))
    return np.where(turned, np.take(values, MIRROR, axis=swaps.ndim - 1), values)


def _segment_rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Upper and lower end (8,) of each segment (four of the left side, four of the right), what moves along (8, 33)."""
    upper, lower, moves = [], [], np.zeros((2 * len(SEGMENTS), len(BLAZEPOSE_NAMES)), bool)
    for k, (side, segment) in enumerate((s, g) for s in ("left", "right") for g in SEGMENTS):
        a, b = _ENDS[segment]
        upper.append(BLAZEPOSE_NAMES.index(f"{side}_{a}"))
        lower.append(BLAZEPOSE_NAMES.index(f"{side}_{b}"))
        end = {"elbow": "wrist", "knee": "ankle"}.get(b, b)
        for name in {b, *_TAILS[end]}:
            moves[k, BLAZEPOSE_NAMES.index(f"{side}_{name}")] = True
    return np.array(upper), np.array(lower), moves


SEGMENT_UPPER, SEGMENT_LOWER, SEGMENT_MOVES = _segment_rows()


def find_flips(observed: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Segments turned over in depth: on (T, 8) and whether one could tell (T, 8).

    observed, true: (T, 33, 3) in units of the stature. A segment is turned over where its depth has the other
    sign and at least half of the true size.
    """
    seen = observed[:, SEGMENT_LOWER, 2] - observed[:, SEGMENT_UPPER, 2]
    real = true[:, SEGMENT_LOWER, 2] - true[:, SEGMENT_UPPER, 2]
    known = (np.abs(real) > _MIN_DEPTH) & np.isfinite(seen)
    return known & (seen * real < 0) & (np.abs(seen) > 0.5 * np.abs(real)), known


def flip(points: np.ndarray, flips: np.ndarray) -> np.ndarray:
    """Body landmarks (..., 33, 3) with the segments (..., 8) turned over: what hangs on a segment moves along."""
    depth = points[..., SEGMENT_LOWER, 2] - points[..., SEGMENT_UPPER, 2]
    shift = ((-2 * depth * flips)[..., None] * SEGMENT_MOVES).sum(axis=-2)
    return np.concatenate([points[..., :2], points[..., 2:] + shift[..., None]], axis=-1)


def fit_events(takes: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray, float]], prior_s: float = 60.0) -> Events:
    """Rates and durations of events, from takes of (on (T, E) bool, could tell (T, E) bool, view (T,), fps).

    Bins of the view with little time are drawn to the overall rate as if they held ``prior_s`` seconds more of it. Runs
    that a take cuts off count with the length that is seen.
    """
    kinds = takes[0][0].shape[1]
    begins, free_s = np.zeros((VIEWS, kinds)), np.zeros((VIEWS, kinds))
    lengths: list[list[float]] = [[] for _ in range(kinds)]
    for on, known, view, fps in takes:
        bin_ = np.round(view / (2 * np.pi) * VIEWS).astype(np.int64) % VIEWS
        start = on & ~np.concatenate([np.zeros((1, kinds), bool), on[:-1]])
        begins += _per_view(bin_, start)
        free_s += _per_view(bin_, known & ~on) / fps
        for e in range(kinds):
            edges = np.flatnonzero(np.diff(np.concatenate([[False], on[:, e], [False]]).astype(np.int8)))
            lengths[e] += list((edges[1::2] - edges[::2]) / fps)
    overall = begins.sum(0) / (free_s.sum(0) + 1.0)
    rate = (begins + prior_s * overall) / (free_s + prior_s)
    duration = np.stack([np.quantile(x, DURATION_SHARES) if x else np.full(len(DURATION_SHARES), 0.1) for x in lengths])
    return Events(rate.astype(np.float32), duration.astype(np.float32))


def _per_view(bin_: np.ndarray, flags: np.ndarray) -> np.ndarray:
    out = np.zeros((VIEWS, flags.shape[1]))
    np.add.at(out, bin_, flags)
    return out
