"""Feet that stand keep their places, and no sole is below the floor: the legs follow by a two-bone reach."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from ...models.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from ...models.skeleton import NUM_BODY_JOINTS
from ...models.streaming.blend import runs
from ...models.streaming.feet import drop_needed
from ...models.streaming.legs import Legs, legs_of, reach
from ...models.streaming.person import ANKLE, HIP, KNEE, SIDES, TOES, Person
from ..exporters.track import Track
from .measures import change
from .plants import faded_shift, footing, sole_offsets, stances
from .stretches import stretches

MOST_M = 0.15
"""A foot is moved by at most so much: where it would have to go further, it did not stand."""
_NOTHING_M = 1e-6
"""Legs that would move less than this keep their numbers."""
_DROP_WIDTH_S, _DROP_SIGMA_S = 0.23, 0.067
"""The pelvis is lowered this early and this smoothly for a leg that is too short."""
_CONTACT = 0.5
"""The report of a take measures sliding above this probability."""


@dataclass(slots=True)
class _Figures:
    """What is summed up over the stretches of a track."""

    stances: int = 0
    sliding_m: tuple[list, list] = field(default_factory=lambda: ([], []))
    below_m: tuple[list, list] = field(default_factory=lambda: ([], []))
    furthest: tuple[float, float, str] = (0.0, 0.0, "")
    left_over: float = 0.0
    dropped_m: float = 0.0


def lock_feet(track: Track, fps: float, person: Person, breaks: np.ndarray) -> tuple[Track, str]:
    """Hold the feet that stand.

    A point under heel or ball stands from where its contact probability rises above one half, for at least 0.1 s. In a
    stance it keeps one place, the median of where it was, on the floor; while heel and ball stand, the foot keeps its
    orientation too. The correction fades over 0.12 s (large ones over up to 0.3 s) before and after. Hip, knee and
    ankle follow: the knee bends about its own axis, forward. Where a leg is too short the pelvis is lowered
    by up to 3 cm, and what is still missing then is said. Frames without a person only take part in fading.

    Args:
        track: motion at exactly ``fps`` frames a second, Y up, floor at y = 0.
        fps: frames a second.
        person: the body of the track's shape.
        breaks: (K,) stamps at which a new stretch begins.

    Returns:
        the track with held feet, and what changed.
    """
    poses, trans_m = track.poses.copy(), track.trans_m.copy()
    figures = _Figures()
    for a, b in stretches(track, breaks):
        rows = slice(a, b)
        part = replace(track, poses=poses[rows], trans_m=trans_m[rows], stamps_s=track.stamps_s[rows],
                       present=track.present[rows], contact=track.contact[rows])  # fmt: skip
        _lock(part, fps, person, figures)
    return replace(track, poses=poses, trans_m=trans_m), _sentence(figures)


def _lock(part: Track, fps: float, person: Person, figures: _Figures) -> None:
    """Hold the feet of one stretch; writes into the arrays of ``part``."""
    R_local = axis_angle_to_matrix(part.poses[:, :NUM_BODY_JOINTS])
    pelvis = person.joints_m[0] + part.trans_m
    legs = legs_of(person, R_local)
    points = pelvis[:, None] + legs.points_m()
    contact = np.where(part.present[:, None], np.nan_to_num(part.contact), 0.0)
    stands = stances(contact, points, fps)
    R_ankle, R_toes = legs.R_ankle.copy(), legs.R_toes.copy()
    target = pelvis[:, None] + legs.ankle_m
    moves = np.zeros((len(pelvis), 2), bool)
    holds = np.asarray(stands.reshape(-1, 2, 2).any(-1))
    for side in range(2):
        foot = footing(legs, pelvis, side, stands[:, 2 * side : 2 * side + 2], fps)
        shift = _limited(faded_shift(foot.shift_m, holds[:, side], fps))
        R_ankle[:, side], R_toes[:, side] = foot.R_ankle, foot.R_toes
        lowest = (target[:, side, 1] + shift[:, 1]) + sole_offsets(legs, side, foot.R_ankle, foot.R_toes)[..., 1].min(1)
        shift[:, 1] += np.maximum(0.0, -lowest)
        target[:, side] += shift
        moves[:, side] = foot.turned | (np.linalg.norm(shift, axis=-1) > _NOTHING_M)
        figures.stances += len(runs(holds[:, side]))
    lowered = pelvis.copy()
    drop = _smooth(drop_needed(legs, pelvis, target, holds & moves), fps)
    lowered[:, 1] -= drop
    moves |= (drop > _NOTHING_M)[:, None]
    rows = np.flatnonzero(moves.any(1))
    if len(rows):
        _write(part, rows, moves[rows], R_local[rows], reach_at(legs, rows, target - lowered[:, None], R_ankle, R_toes))
        part.trans_m[rows] -= (pelvis - lowered)[rows]
    _count(figures, part, person, legs, pelvis, target, holds)


def reach_at(legs: Legs, rows: np.ndarray, ankle_m: np.ndarray, R_ankle: np.ndarray, R_toes: np.ndarray) -> Legs:
    """:func:`reach` in some frames (N,) alone; the other arguments are of all frames."""
    some = Legs(legs.person, *(getattr(legs, name)[rows] for name in Legs.__slots__ if name != "person"))
    return reach(some, ankle_m[rows], R_ankle[rows], R_toes[rows])


def _write(part: Track, rows: np.ndarray, moves: np.ndarray, R_local: np.ndarray, legs: Legs) -> None:
    turned = legs.into(R_local)
    for side in range(2):
        here = moves[:, side]
        joints = np.array([HIP[side], KNEE[side], ANKLE[side], TOES[side]])
        part.poses[rows[here][:, None], joints] = matrix_to_axis_angle(turned[here][:, joints])


def _smooth(need_m: np.ndarray, fps: float) -> np.ndarray:
    """(T,) a smooth lowering that is nearly nowhere less than needed."""
    if not (need_m > _NOTHING_M).any():
        return np.zeros(len(need_m))
    width = 2 * round(_DROP_WIDTH_S * fps / 2) + 1
    return gaussian_filter1d(maximum_filter1d(need_m, width, mode="nearest"), _DROP_SIGMA_S * fps, mode="nearest")


def _limited(shift_m: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(shift_m, axis=-1, keepdims=True)
    return shift_m * np.minimum(1.0, MOST_M / np.maximum(length, 1e-9))


def _count(
    figures: _Figures, part: Track, person: Person, was: Legs, pelvis: np.ndarray, target: np.ndarray, holds: np.ndarray
) -> None:
    """Add the figures of one stretch, from the legs as they were and the ``part`` as it is."""
    now_pelvis = person.joints_m[0] + part.trans_m
    now = legs_of(person, axis_angle_to_matrix(part.poses[:, :NUM_BODY_JOINTS]))
    seen = part.present
    touch = (np.nan_to_num(part.contact) > _CONTACT) & seen[:, None]
    touch = touch[1:] & touch[:-1]
    for k, (legs, root) in enumerate(((was, pelvis), (now, now_pelvis))):
        way = np.linalg.norm(np.diff(root[:, None] + legs.points_m(), axis=0), axis=-1)
        figures.sliding_m[k].append(way[touch])
        lowest = (root[:, 1] + legs.soles_m()[..., 1].min((1, 2)))[seen]
        figures.below_m[k].append(np.maximum(0.0, -lowest))
    now_ankle = now_pelvis[:, None] + now.ankle_m
    moved = np.linalg.norm(now_ankle - (pelvis[:, None] + was.ankle_m), axis=-1)
    frame, side = np.unravel_index(int(moved.argmax()), moved.shape)
    figures.furthest = max(figures.furthest, (float(moved[frame, side]), float(part.stamps_s[frame]), SIDES[side]))
    missing = np.linalg.norm(now_ankle - target, axis=-1)[holds]
    figures.left_over = max(figures.left_over, float(missing.max(initial=0.0)))
    figures.dropped_m = max(figures.dropped_m, float((pelvis - now_pelvis)[:, 1].max()))


def _sentence(figures: _Figures) -> str:
    def mm(pieces: list[np.ndarray], reduce: Callable[[np.ndarray], float]) -> float | None:
        values = np.concatenate(pieces)
        return 1000 * float(reduce(values)) if len(values) else None

    (slid, slides), (sank, sinks) = figures.sliding_m, figures.below_m
    sliding = change(mm(slid, np.mean), mm(slides, np.mean), "mm a frame in contact")
    below = change(mm(sank, np.max), mm(sinks, np.max), "mm at most")
    text = f"feet: {figures.stances} stances held; sliding {sliding}; below the floor {below}"
    moved_m, stamp_s, side = figures.furthest
    if moved_m > _NOTHING_M:
        text += f"; furthest correction {1000 * moved_m:.1f} mm ({side} foot at {stamp_s:.2f} s)"
    if figures.dropped_m > 0.0005:
        text += f"; pelvis lowered by up to {1000 * figures.dropped_m:.1f} mm"
    if figures.left_over > 0.001:
        text += f"; where a leg is too short, up to {1000 * figures.left_over:.1f} mm are left"
    return text
