"""Two legs: where they are, and a closed-form reach for where the ankles should be.

Arrays are (T, 2, ...): frames, then left and right. Positions are relative to the pelvis joint, in the world's axes.
"""

from dataclasses import dataclass

import numpy as np

from ..rotations import skew
from .person import ANKLE, HIP, KNEE, TOES, Person

_NEXT, _AFTER = np.array([1, 2, 0]), np.array([2, 0, 1])
_EYE = np.eye(3)
_SKEW = skew(_EYE).reshape(3, 9)
"""A vector times this is its cross-product matrix, flat."""
_STRETCH = 0.9995
"""A leg is never longer than this share of its bones."""
_SOFT = 0.985
"""From this share on a leg stretches more and more slowly."""


@dataclass(frozen=True, slots=True, eq=False)
class Legs:
    """Legs of T frames."""

    person: Person
    R_root: np.ndarray
    """(T, 3, 3) rotation of the pelvis in the world."""
    R_hip: np.ndarray
    """(T, 2, 3, 3) rotation of the thigh in the world."""
    R_knee: np.ndarray
    """(T, 2, 3, 3) of the shank."""
    R_ankle: np.ndarray
    """(T, 2, 3, 3) of the foot."""
    R_toes: np.ndarray
    """(T, 2, 3, 3) of the toes."""
    hip_m: np.ndarray
    """(T, 2, 3)"""
    knee_m: np.ndarray
    """(T, 2, 3)"""
    ankle_m: np.ndarray
    """(T, 2, 3)"""

    def points_m(self) -> np.ndarray:
        """(T, 4, 3) CONTACT_POINTS, from the pelvis."""
        heel, ball = foot_points(self.person, self.R_ankle, self.R_toes)
        return np.stack([self.ankle_m + heel, self.ankle_m + ball], axis=2).reshape(-1, 4, 3)

    def soles_m(self) -> np.ndarray:
        """(T, 2, 4, 3) points of the soles, from the pelvis."""
        return self.ankle_m[:, :, None] + sole_points(self.person, self.R_ankle, self.R_toes)

    def into(self, R_local: np.ndarray) -> np.ndarray:
        """(T, 55, 3, 3) the local rotations R_local (T, 55, 3, 3) with these legs."""
        out = R_local.copy()
        out[:, HIP] = np.swapaxes(self.R_root, -1, -2)[:, None] @ self.R_hip
        for joint, above, R in (
            (KNEE, self.R_hip, self.R_knee),
            (ANKLE, self.R_knee, self.R_ankle),
            (TOES, self.R_ankle, self.R_toes),
        ):
            out[:, joint] = np.swapaxes(above, -1, -2) @ R
        return out


def foot_points(person: Person, R_ankle: np.ndarray, R_toes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Contact points under heel and ball (T, 2, 3) from the ankle, for rotations (T, 2, 3, 3) of foot and toes."""
    heel = apply(R_ankle, person.heel_m)
    return heel, apply(R_ankle, person.instep_m) + apply(R_toes, person.ball_m)


def sole_points(person: Person, R_ankle: np.ndarray, R_toes: np.ndarray) -> np.ndarray:
    """(T, 2, 4, 3) points of the soles from the ankle: heel, both sides of the ball, and the tip of the toes."""
    fixed = np.einsum("tsij,spj->tspi", R_ankle, person.soles_m)
    tip = apply(R_ankle, person.instep_m) + apply(R_toes, person.soles_m[:, 3] - person.instep_m)
    fixed[:, :, 3] = tip
    return fixed


def legs_of(person: Person, R_local: np.ndarray) -> Legs:
    """The legs of local rotations (T, >= 12, 3, 3), row 0 the root in the world."""
    R_root = R_local[:, 0]
    R_hip = R_root[:, None] @ R_local[:, HIP]
    R_knee = R_hip @ R_local[:, KNEE]
    R_ankle = R_knee @ R_local[:, ANKLE]
    hip = apply(R_root[:, None], person.joints_m[HIP] - person.joints_m[0])
    knee = hip + apply(R_hip, person.thigh_m)
    return Legs(
        person,
        R_root,
        R_hip,
        R_knee,
        R_ankle,
        R_ankle @ R_local[:, TOES],
        hip,
        knee,
        knee + apply(R_knee, person.shank_m),
    )


def reach(legs: Legs, ankle_m: np.ndarray, R_ankle: np.ndarray, R_toes: np.ndarray) -> Legs:
    """The legs bent so that the ankles come to ``ankle_m`` (T, 2, 3), with feet turned to R_ankle and R_toes.

    The knee bends forward about its own axis: one that kept the side it is bent to would have none where the leg is
    straight, and change it from frame to frame. Then the whole leg turns by the shortest rotation. Where a
    place is out of reach, the leg stretches towards it. An ankle that is there already changes nothing.
    """
    person = legs.person
    thigh, shank = legs.knee_m - legs.hip_m, legs.ankle_m - legs.knee_m
    now, want = legs.ankle_m - legs.hip_m, ankle_m - legs.hip_m
    length = person.leg_m
    now_m, want_m = np.sqrt(_dot(now, now)), np.sqrt(_dot(want, want))
    # a leg that the networks stretch further than a soft reach allows may stay as it is
    limit = np.maximum(softened(want_m / length), np.minimum(now_m, want_m) / length) * length
    distance = np.minimum(want_m, np.minimum(limit, _STRETCH * length))
    axis = legs.R_hip[..., 0]
    a1, a2 = _dot(thigh, axis), _dot(shank, axis)
    p1, p2 = thigh - a1[..., None] * axis, shank - a2[..., None] * axis
    product = np.sqrt(_dot(p1, p1) * _dot(p2, p2))
    bend = np.arctan2(_dot(_cross(p1, p2), axis), _dot(p1, p2))
    lengths2 = (person.thigh_m**2).sum(-1) + (person.shank_m**2).sum(-1)
    cosine = (distance**2 - lengths2 - 2 * a1 * a2) / np.maximum(2 * product, 1e-9)
    wanted = np.arccos(np.clip(cosine, -1.0, 1.0))
    B = _about(axis, wanted - bend)
    bent = thigh + apply(B, shank)
    S = shortest_rotation(bent, want)
    R_hip, R_knee = S @ legs.R_hip, S @ B @ legs.R_knee
    knee = legs.hip_m + apply(S, thigh)
    return Legs(person, legs.R_root, R_hip, R_knee, R_ankle, R_toes, legs.hip_m, knee, legs.hip_m + apply(S, bent))


def softened(share: np.ndarray) -> np.ndarray:
    """Reach as a share of the leg, with a smooth approach to the full length instead of a stop."""
    room = _STRETCH - _SOFT
    over = np.maximum(share - _SOFT, 0.0)
    return np.minimum(share, _SOFT) + room * (1 - np.exp(-over / room))


def shortest_rotation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(..., 3, 3) the smallest rotation of directions a to directions b (..., 3), which must not be opposite."""
    a = a / np.sqrt(_dot(a, a))[..., None]
    b = b / np.sqrt(_dot(b, b))[..., None]
    w = _cross(a, b)
    c = _dot(a, b)[..., None, None]
    K = (w @ _SKEW).reshape(*w.shape, 3)
    return _EYE + K + K @ K / np.maximum(1 + c, 1e-6)


def _about(axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """(..., 3, 3) turn about a unit axis (..., 3) by an angle (...)."""
    K = (axis @ _SKEW).reshape(*axis.shape, 3)
    a = angle[..., None, None]
    return _EYE + np.sin(a) * K + (1 - np.cos(a)) * (K @ K)


def heading_of(R: np.ndarray) -> np.ndarray:
    """(..., 3, 3) turn about Y alone that is nearest to R: a foot so turned stands flat."""
    x, z = R[..., 0, 2] - R[..., 2, 0], R[..., 0, 0] + R[..., 2, 2]
    length = np.maximum(np.hypot(x, z), 1e-9)
    s, c = x / length, z / length
    out = np.zeros(R.shape)
    out[..., 0, 0] = out[..., 2, 2] = c
    out[..., 0, 2], out[..., 2, 0] = s, -s
    out[..., 1, 1] = 1.0
    return out


def apply(R: np.ndarray, v: np.ndarray) -> np.ndarray:
    """R (..., 3, 3) times v (..., 3)."""
    return (R @ v[..., None])[..., 0]


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., _NEXT] * b[..., _AFTER] - a[..., _AFTER] * b[..., _NEXT]


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(-1)
