"""When a foot stands, and where: stances from contact probabilities, and one place on the ground for each."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.spatial.transform import Rotation

from ...models.streaming.blend import runs, smoothstep
from ...models.streaming.feet import divided
from ...models.streaming.legs import Legs, foot_points, sole_points

ON, OFF = 0.5, 0.4
"""Contact probability above which a point stands (what a take counts as held); a stance goes on while it dips, but not
below the second. It begins and ends above the first: a point that is leaving must not be held back."""
SHORT_S, GAP_S = 0.1, 0.07
"""Stances shorter, and interruptions shorter than this, are noise."""
ON_FLOOR_M = 0.03
"""A foot that stands so little above the floor stands on it; higher up it stands on something."""
STEP_M_S = 0.6
"""A point that moves faster does not stand, whatever its probability: the foot takes a small step."""
_MOST_TURN_RAD = np.radians(15.0)
"""A foot that turns more while heel and ball touch turns on its ball; its heel is not held."""
FADE_S, LONGEST_FADE_S = 0.12, 0.3
"""A correction fades over so long before and after a stance; a large one over longer,"""
_FADE_M_S2 = 10.0
"""so that fading alone accelerates a foot by no more than this."""


@dataclass(frozen=True, slots=True, eq=False)
class Footing:
    """Where one foot is to be over T frames."""

    shift_m: np.ndarray
    """(T, 3) way of the ankle from where it is."""
    R_ankle: np.ndarray
    """(T, 3, 3) of the foot in the world."""
    R_toes: np.ndarray
    """(T, 3, 3) of the toes."""
    turned: np.ndarray
    """(T,) bool: whether those are others than before."""


def stances(contact: np.ndarray, points_m: np.ndarray, fps: float) -> np.ndarray:
    """(T, 4) bool: which contact points stand, from their probabilities (T, 4) and places (T, 4, 3)."""
    likely = np.nan_to_num(np.asarray(contact, np.float64))
    out = np.zeros((len(likely), 4), bool)
    for k in range(4):
        for a, b in runs(likely[:, k] > OFF):
            sure = a + np.flatnonzero(likely[a:b, k] > ON)
            if len(sure):
                out[sure[0] : sure[-1] + 1, k] = True
        for a, b in runs(~out[:, k]):
            out[a:b, k] = a > 0 and b < len(out) and b - a < GAP_S * fps
    out = divided(out, points_m)
    for side in range(2):
        pair = slice(2 * side, 2 * side + 2)
        fast = np.linalg.norm(np.diff(points_m[:, pair], axis=0), axis=-1) * fps > STEP_M_S
        stepped = np.flatnonzero((fast & out[1:, pair] & out[:-1, pair]).any(1))
        out[stepped, pair] = out[stepped + 1, pair] = False
    for k in range(4):
        for a, b in runs(out[:, k]):
            out[a:b, k] = b - a >= max(2, SHORT_S * fps)
    return out


def footing(legs: Legs, pelvis_m: np.ndarray, side: int, stands: np.ndarray, fps: float) -> Footing:
    """Where foot ``side`` is to be so that its standing points (T, 2), heel and ball, keep their places.

    While both stand, the foot keeps one orientation as well; where one stands, the foot turns about it as it did.
    """
    R_ankle, R_toes = legs.R_ankle[:, side], legs.R_toes[:, side]
    ankle = pelvis_m + legs.ankle_m[:, side]
    stands = stands.copy()
    turn, toe_turn = np.zeros((len(stands), 3)), np.zeros((len(stands), 3))
    both = np.zeros(len(stands), bool)
    for a, b in runs(stands.any(1)):
        rows = a + np.flatnonzero(stands[a:b].all(1))
        if not len(rows):
            continue
        turns = [_turn_to_mean(R[rows]) for R in (R_ankle, R_toes)]
        if np.linalg.norm(turns[0], axis=-1).max() > _MOST_TURN_RAD:
            stands[rows, 0] = False
            continue
        turn[rows], toe_turn[rows] = turns
        both[rows] = True

    def fade_frames(_: np.ndarray) -> int:
        return max(1, round(FADE_S * fps))

    turn, toe_turn = faded(turn, both, fade_frames), faded(toe_turn, both, fade_frames)
    turned = (np.abs(turn).max(1) > 1e-6) | (np.abs(toe_turn).max(1) > 1e-6)
    R_ankle, R_toes = _turned(R_ankle, turn, turned), _turned(R_toes, toe_turn, turned)
    heel, ball = _foot_offsets(legs, side, R_ankle, R_toes)
    lowest = sole_offsets(legs, side, R_ankle, R_toes)[..., 1].min(1)
    shift = _shift(ankle, heel, ball, lowest, stands, both)
    return Footing(shift, R_ankle, R_toes, turned)


def faded_shift(shift_m: np.ndarray, stands: np.ndarray, fps: float) -> np.ndarray:
    """(T, 3) the shift where the foot stands (T,), faded out and in around it; a large one over a longer time."""

    def frames(shift: np.ndarray) -> int:
        # 5.77 is the highest curvature of the quintic step.
        time_s = np.sqrt(5.77 * np.linalg.norm(shift) / _FADE_M_S2)
        return max(1, round(float(np.clip(time_s, FADE_S, LONGEST_FADE_S)) * fps))

    return faded(shift_m, stands, frames)


def faded(values: np.ndarray, holds: np.ndarray, frames: Callable[[np.ndarray], int]) -> np.ndarray:
    """(T, 3) ``values`` where ``holds`` (T,); in between, each side's faded over ``frames(value)`` frames."""
    out = np.where(holds[:, None], values, 0.0)
    for a, b in runs(~holds):
        n = b - a
        # Two fades never reach into the stance on the other side: what meets is a cross-fade.
        most = n + 1 if a and b < len(out) else np.inf
        i = np.arange(1, n + 1)[:, None]
        for edge, steps in ((a - 1, i), (b, i[::-1])):
            if 0 <= edge < len(out):
                out[a:b] += values[edge] * smoothstep(1 - steps / min(frames(values[edge]), most))
    return out


def sole_offsets(legs: Legs, side: int, R_ankle: np.ndarray, R_toes: np.ndarray) -> np.ndarray:
    """(T, 4, 3) sole points of one foot from its ankle, for rotations (T, 3, 3) of foot and toes."""
    return sole_points(legs.person, *_pairs(R_ankle, R_toes))[:, side]


def _foot_offsets(legs: Legs, side: int, R_ankle: np.ndarray, R_toes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    heel, ball = foot_points(legs.person, *_pairs(R_ankle, R_toes))
    return heel[:, side], ball[:, side]


def _pairs(R_ankle: np.ndarray, R_toes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same rotations for both feet."""
    return np.stack([R_ankle] * 2, axis=1), np.stack([R_toes] * 2, axis=1)


def _turn_to_mean(R: np.ndarray) -> np.ndarray:
    """(N, 3) rotation vectors, in the world, that turn each of R (N, 3, 3) into their mean."""
    U, _, Vt = np.linalg.svd(R.mean(axis=0))
    mean = U @ np.diag([1, 1, np.linalg.det(U @ Vt)]) @ Vt
    return Rotation.from_matrix(mean @ np.swapaxes(R, -1, -2)).as_rotvec()


def _turned(R: np.ndarray, turn: np.ndarray, where: np.ndarray) -> np.ndarray:
    out = R.copy()
    out[where] = Rotation.from_rotvec(turn[where]).as_matrix() @ R[where]
    return out


def _shift(
    ankle: np.ndarray, heel: np.ndarray, ball: np.ndarray, lowest: np.ndarray, stands: np.ndarray, both: np.ndarray
) -> np.ndarray:
    """(T, 3) way of the ankle (T, 3) that holds the standing points; heel and ball (T, 3) are seen from it."""
    out = np.zeros(ankle.shape)
    offsets = (heel, ball)
    for a, b in runs(stands.any(1)):
        flat = a + np.flatnonzero(both[a:b])
        places: dict[int, np.ndarray] = {}
        if len(flat):
            # one footprint for the whole stance: heel and ball keep their places before and after they stand together
            foot = np.median(ankle[flat], axis=0)
            foot[1] = _on_ground(foot[1] + lowest[flat[0]]) - lowest[flat[0]]
            places = {0: foot + heel[flat[0]], 1: foot + ball[flat[0]]}
            out[flat] = foot - ankle[flat]
        kinds = np.where(both[a:b], 2, np.where(stands[a:b, 1], 1, 0))
        edges = [0, *(np.flatnonzero(np.diff(kinds)) + 1), b - a]
        for first, last in pairwise(edges):
            k, rows = int(kinds[first]), np.arange(a + first, a + last)
            if k == 2:
                continue
            here = ankle[rows] + offsets[k][rows]
            place = places.get(k)
            if place is None:
                place = np.median(here, axis=0)
                if first:  # from heel to ball without a moment on both: the foot goes on from where it is
                    place = here[0] + out[rows[0] - 1]
                place[1] = _on_ground(place[1])
            out[rows] = place - here
    return out


def _on_ground(height_m: float) -> float:
    return height_m if height_m > ON_FLOOR_M else 0.0
