"""What the image does not show: hands that relax, and legs that stand or sit quietly.

A share of 1 is the networks' own estimate, 0 the body at rest. A part that goes out of view keeps following the
networks for a while, then relaxes; when it is seen again it comes back.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ..rotations import axis_angle_to_matrix
from ..skeleton import LEFT_HAND, RIGHT_HAND
from ..solver.prior import hand_prior
from .blend import between, runs, smoothstep
from .legs import Legs, apply, heading_of, reach
from .person import HIP, Person
from .records import RATE_HZ

_SEATED_BELOW = 0.78
"""Height of the pelvis, as a share of that of a person who stands, below which somebody sits."""
_BENT_BELOW = 0.9
"""The same where the thighs lie rather level."""
_LEVEL_THIGH = 0.5
"""Cosine of a thigh off the vertical below which it counts as level."""
_STANDS_AT = 0.985
"""Height of the pelvis of a person who stands quietly, as a share of that of straight legs."""
_TOE_OUT_RAD = np.radians(8.0)
POSTURE_S = 1.0
"""Time over which it is judged whether a person stands or sits, and with which quiet feet follow the pelvis."""


@cache
def relaxed_hands() -> np.ndarray:
    """(30, 3, 3) rotations of the fingers of both hands at rest."""
    return axis_angle_to_matrix(np.concatenate([hand_prior(s).mean for s in ("left", "right")]))


def relax_hands(R_local: np.ndarray, share: np.ndarray) -> np.ndarray:
    """(T, 55, 3, 3) local rotations with the fingers relaxed where ``share`` (T, 2) is below 1."""
    if (share >= 1).all():
        return R_local
    out, rest = R_local.copy(), relaxed_hands()
    for k, part in enumerate((LEFT_HAND, RIGHT_HAND)):
        out[:, part] = between(R_local[:, part], rest[15 * k : 15 * k + 15], 1 - share[:, k, None])
    return out


@dataclass(frozen=True, slots=True)
class Times:
    """How a part that is out of view comes to rest, and back."""

    wait_s: float
    relax_s: float
    return_s: float


def share_of_take(seen: np.ndarray, times: Times) -> np.ndarray:
    """(T,) share of the networks of a part that is ``seen`` (T,): it is back by the time it is seen again."""
    out = np.ones(len(seen))
    for begin, end in runs(~seen):
        t = np.arange(begin, end)
        down = 1 - smoothstep(((t - begin + 1) / RATE_HZ - times.wait_s) / times.relax_s)
        back = smoothstep(1 - (end - t) / RATE_HZ / times.return_s)
        out[begin:end] = np.maximum(down if begin else 0.0, back if end < len(seen) else 0.0)
    return out


class LiveShare:
    """The same from one frame to the next: a part comes back when it is seen."""

    def __init__(self, times: Times) -> None:
        self._times = times
        self._unseen_s = np.inf
        self._level = 0.0
        self._first = True

    def push(self, seen: bool) -> float:
        """Share in the frame that shows the part, or not."""
        if seen and self._first:
            self._level = 1.0
        self._first = False
        self._unseen_s = 0.0 if seen else self._unseen_s + 1 / RATE_HZ
        if seen:
            self._level = min(1.0, self._level + 1 / (RATE_HZ * self._times.return_s))
        elif self._unseen_s > self._times.wait_s:
            self._level = max(0.0, self._level - 1 / (RATE_HZ * self._times.relax_s))
        u = self._level
        return u**3 * (u * (6 * u - 15) + 10)


def sits(legs: Legs, height_m: np.ndarray) -> np.ndarray:
    """(T,) 0 or 1: whether a frame speaks for a person who sits, by pelvis height (T,) and thighs."""
    share = height_m / legs.person.standing_m
    thigh = legs.knee_m - legs.hip_m
    upright = (-thigh[..., 1] / np.linalg.norm(thigh, axis=-1)).mean(-1)
    return ((share < _SEATED_BELOW) | ((upright < _LEVEL_THIGH) & (share < _BENT_BELOW))).astype(np.float64)


def seated_take(legs: Legs, height_m: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """(T,) 0 to 1, smoothly: whether the person sits, from the frames around in which the legs are ``hidden`` (T,)."""
    sigma, w = POSTURE_S * RATE_HZ, hidden.astype(np.float64)
    votes = gaussian_filter1d(sits(legs, height_m) * w, sigma, mode="nearest")
    seated = votes > 0.5 * gaussian_filter1d(w, sigma, mode="nearest")
    return gaussian_filter1d(seated.astype(np.float64), sigma / 3, mode="nearest")


class LiveSeat:
    """The same from one frame to the next."""

    def __init__(self) -> None:
        self._vote: float | None = None
        self._share = 0.0

    def push(self, legs: Legs, height_m: np.ndarray) -> None:
        """One more frame, in which the legs are hidden."""
        sits_now = float(sits(legs, height_m)[0])
        if self._vote is None:
            self._vote = self._share = sits_now
        self._vote += (sits_now - self._vote) / (POSTURE_S * RATE_HZ)
        step = 1 / (POSTURE_S * RATE_HZ)
        self._share += float(np.clip((self._vote > 0.5) - self._share, -step, step))

    @property
    def seated(self) -> np.ndarray:
        """(1,) 0 to 1: whether the person sits."""
        return smoothstep(np.array([self._share]))


def quiet_height(person: Person, height_m: np.ndarray, seated: np.ndarray) -> np.ndarray:
    """(T,) height of the pelvis of a person whose legs are not seen: one who stands stands nearly straight."""
    standing = person.standing_m
    return seated * height_m + (1 - seated) * np.clip(height_m, _STANDS_AT * standing, standing)


def quiet_legs(legs: Legs, pelvis_m: np.ndarray, feet_m: np.ndarray, R_heading: np.ndarray, seated: np.ndarray) -> Legs:
    """Legs that stand or sit quietly, feet flat on the floor.

    pelvis_m: (T, 3). feet_m: (T, 3) the place that the feet stand under, level with the pelvis' own when nobody moves;
    R_heading: (T, 3, 3) turn about Y that they face. seated: (T,) 0 for standing to 1 for sitting.
    """
    person = legs.person
    thigh, shank = (np.linalg.norm(x, axis=-1) for x in (person.thigh_m, person.shank_m))
    hips = person.joints_m[HIP] - person.joints_m[0]
    hip_y = pelvis_m[:, None, 1] + legs.hip_m[..., 1]
    # the thigh of a person who sits comes down to a knee right above the foot
    fall = np.clip(hip_y - person.ankle_height_m - shank, -0.5 * thigh, 0.98 * thigh)
    ahead = seated[:, None] * np.sqrt(thigh**2 - fall**2)
    place = np.zeros((len(pelvis_m), 2, 3))
    place[..., 0], place[..., 2] = hips[:, 0], hips[:, 2] + ahead
    ankle = feet_m[:, None] + apply(R_heading[:, None], place)
    ankle[..., 1] = person.ankle_height_m
    out = axis_angle_to_matrix(np.array([[0.0, _TOE_OUT_RAD, 0], [0, -_TOE_OUT_RAD, 0]]))
    R_foot = R_heading[:, None] @ out
    # bent a little at first, so that the knee knows its side
    R_hip = R_heading[:, None] @ _about_x(-0.15 - 1.15 * seated)[:, None] @ out
    R_knee = R_heading[:, None] @ _about_x(0.15 - 0.05 * seated)[:, None] @ out
    knee = legs.hip_m + apply(R_hip, person.thigh_m)
    start = Legs(
        person, legs.R_root, R_hip, R_knee, R_foot, R_foot, legs.hip_m, knee, knee + apply(R_knee, person.shank_m)
    )
    return reach(start, ankle - pelvis_m[:, None], R_foot, R_foot)


def quiet_places(pelvis_m: np.ndarray, R_root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places (T, 3) and headings (T, 3, 3) of quiet feet under a pelvis (T, 3), (T, 3, 3): they follow it slowly."""
    sigma = POSTURE_S * RATE_HZ / 2
    place = gaussian_filter1d(pelvis_m, sigma, axis=0, mode="nearest") * [1.0, 0.0, 1.0]
    return place, heading_of(gaussian_filter1d(heading_of(R_root), sigma, axis=0, mode="nearest"))


def blend_legs(R_local: np.ndarray, quiet: np.ndarray, share: np.ndarray) -> np.ndarray:
    """(T, 55, 3, 3) local rotations whose legs go over into ``quiet`` ones as ``share`` (T, 2) falls."""
    out = R_local.copy()
    for side in range(2):
        joints = np.arange(1, 12, 3) + side
        out[:, joints] = between(R_local[:, joints], quiet[:, joints], 1 - share[:, side, None])
    return out


def _about_x(angle: np.ndarray) -> np.ndarray:
    return axis_angle_to_matrix(np.asarray(angle, np.float64)[..., None] * [1.0, 0.0, 0.0])
