"""Key poses that stand in balance: what a key says, and where the pelvis and the planted legs go for it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.spatial.transform import Rotation

from ...models.rotations import matrix_to_axis_angle
from .variety_limbs import DORSIFLEXION_DEG, foot_m, reach_leg, ry
from .variety_rig import ANKLE, HIP, KNEE, SIDES, TOE, J, Rig, beyond_limits_deg, centre_of_mass_m, place, skin_m

PELVIS = J["pelvis"]
GRAVITY_M_S2 = 9.81
EASED_DEG = 5.0
"""A standing leg may be so far beyond its range."""
KNEE_M = 0.075
"""Least height of a knee over the floor of somebody who stands."""


@dataclass(slots=True, eq=False)
class Key:
    """A pose to go to, how long that takes and how long it is held."""

    R: np.ndarray
    """(22, 3, 3) local rotations, the pelvis in the world. Legs that stand are solved for."""
    move_s: float = 0.8
    hold_s: float = 0.3
    planted: tuple[bool, bool] = (True, True)
    """Whether the left and the right foot stand."""
    feet: np.ndarray = field(default_factory=lambda: np.array([[0.13, 0, 0, 0], [-0.13, 0, 0, 0.0]]))
    """(2, 4) where each foot stands: x and z under the ankle, heading, heel up, radians."""
    stretch: float = 0.98
    """Distance from hip to ankle of the leg that is stretched most, share of the leg's length."""
    support: float = 0.5
    """Where the centre of mass is held, from the left foot (0) to the right (1)."""
    off_m: np.ndarray = field(default_factory=lambda: np.zeros(2))
    """(2,) how far off balance, x and z."""
    pelvis_m: np.ndarray | None = None
    """(3,) a given place of the pelvis, as on a chair; None where balance and legs decide."""
    knees_out_deg: float = 4.0
    """How far the knees point out beside the feet."""
    lift_m: float = 0.07
    """How high a foot is lifted that steps here."""
    flow: float = 0.0
    """Share of its time by which the way here and the ways before and after it run into each other."""
    flight: bool = False
    """Whether the way here is through the air."""


@dataclass(slots=True, eq=False)
class Solved:
    """Keys as arrays, K of them, with every leg and every place known."""

    R: np.ndarray
    """(K, 22, 3, 3)"""
    pelvis_m: np.ndarray
    """(K, 3)"""
    feet: np.ndarray
    """(K, 2, 4)"""
    planted: np.ndarray
    """(K, 2) bool"""


def knee_direction(R_pelvis: np.ndarray, feet: np.ndarray, side: int, knees_out_deg: np.ndarray) -> np.ndarray:
    """(..., 3) where a standing knee points: over the toes, a little towards the front of the pelvis."""
    sign = 1.0 if side == 0 else -1.0
    toes = (ry(np.rad2deg(feet[..., 2]) + sign * (10.0 + knees_out_deg)))[..., :, 2]
    front = R_pelvis[..., :, 2] * np.array([1.0, 0.0, 1.0])
    return toes + 0.3 * front + np.array([0.0, 0.05, 0.0])


def plant_leg(
    rig: Rig,
    R: np.ndarray,
    hip_m: np.ndarray,
    feet: np.ndarray,
    side: int,
    knees_out_deg: np.ndarray,
    lift_m: np.ndarray | float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """(..., 4, 3, 3) hip, knee, ankle and toes of a leg whose foot stands at ``feet`` (..., 4), and how far its heel is
    up (...,): more than asked where the shank leans farther than the ankle bends."""
    feet = feet.copy()
    towards = knee_direction(R[..., PELVIS, :, :], feet, side, knees_out_deg)
    for _ in range(3):
        R_foot, ankle = foot_m(rig, side, feet, lift_m)
        parts = reach_leg(rig, hip_m, ankle, R_foot, R[..., PELVIS, :, :], side, towards)
        # the angle between sole and shank, seen from the side of the foot
        bent = np.arctan2(-parts[2][..., 2, 1], parts[2][..., 1, 1])
        feet[..., 3] += np.maximum(bent - np.deg2rad(DORSIFLEXION_DEG), 0.0)
        feet[..., 3] = np.minimum(feet[..., 3], np.deg2rad(62.0))
    R_foot, ankle = foot_m(rig, side, feet, lift_m)
    parts = reach_leg(rig, hip_m, ankle, R_foot, R[..., PELVIS, :, :], side, towards)
    toes = np.swapaxes(R_foot, -1, -2) @ ry(np.rad2deg(feet[..., 2]))
    return np.stack([*parts, toes], axis=-3), feet[..., 3]


def _solve(rig: Rig, keys: Sequence[Key]) -> Solved:
    """Place every key: the centre of mass over the standing feet, the legs as far stretched as asked."""
    R = np.stack([k.R for k in keys])
    feet = np.stack([k.feet for k in keys]).astype(np.float64)
    planted = np.array([k.planted for k in keys])
    stretch = np.array([k.stretch for k in keys]) * rig.leg_m
    support = np.array([k.support for k in keys])
    support = np.where(planted.all(1), support, np.where(planted[:, 1], 1.0, 0.0))
    off = np.stack([k.off_m for k in keys])
    given = np.array([k.pelvis_m is not None for k in keys])
    out = np.array([k.knees_out_deg for k in keys])
    middle = np.stack([_middle_m(rig, feet[:, s], s) for s in (0, 1)], axis=1)
    target = middle[:, 0] * (1 - support[:, None]) + middle[:, 1] * support[:, None] + off
    pelvis = np.stack([k.pelvis_m if k.pelvis_m is not None else [*t, 0.9] for k, t in zip(keys, target, strict=True)])
    pelvis[~given, :] = np.stack([target[:, 0], np.full(len(keys), 0.9), target[:, 1]], axis=1)[~given]
    raised = np.zeros(len(keys))
    for _ in range(6):
        height = np.full((len(keys), 2), np.inf)
        _, joints = place(rig, R, pelvis)
        for s in range(len(SIDES)):
            _, ankle = foot_m(rig, s, feet[:, s])
            hip = joints[:, HIP[s]]
            flat2 = ((hip - ankle)[:, [0, 2]] ** 2).sum(1)
            rise = ankle[:, 1] + np.sqrt(np.maximum(stretch**2 - flat2, 0.15**2))
            height[:, s] = np.where(planted[:, s], pelvis[:, 1] + rise - hip[:, 1], np.inf)
        standing = ~given & planted.any(1)
        pelvis[standing, 1] = height.min(1)[standing] + raised[standing]
        _, joints = place(rig, R, pelvis)
        for s in range(len(SIDES)):
            legs, heel = plant_leg(rig, R, joints[:, HIP[s]], feet[:, s], s, out)
            on = planted[:, s]
            R[on[:, None] & _LEG[s][None]] = legs[on].reshape(-1, 3, 3)
            feet[:, s, 3] = np.where(on, heel, feet[:, s, 3])
        _, joints = place(rig, R, pelvis)
        knees = np.where(planted, joints[:, KNEE, 1], np.inf).min(1)
        raised = np.clip(raised + 1.2 * (KNEE_M - knees), 0.0, 0.3)
        error = target - centre_of_mass_m(joints)[:, [0, 2]]
        pelvis[:, [0, 2]] += np.where(standing[:, None], error, 0.0)
    _fly(keys, pelvis)
    return Solved(R, pelvis, feet, planted)


def solve_keys(rig: Rig, keys: Sequence[Key]) -> Solved:
    """The same, with standing keys eased that ask too much: where a leg would leave its range or a part of the body the
    space above the floor, the pelvis comes upright and the legs stretch, by half, as often as it takes."""
    keys = list(keys)
    solved = _solve(rig, keys)
    for _ in range(4):
        R_world, joints = place(rig, solved.R, solved.pelvis_m)
        over = beyond_limits_deg(solved.R)
        legs = np.concatenate([HIP, ANKLE]) - 1
        bad = (over[:, legs].max(1) > EASED_DEG) | (skin_m(rig, R_world, joints)[..., 1].min(1) < -0.012)
        bad &= solved.planted.any(1)
        if not bad.any():
            break
        keys = [_eased(key) if b else key for key, b in zip(keys, bad, strict=True)]
        solved = _solve(rig, keys)
    return solved


def _eased(key: Key) -> Key:
    R = key.R.copy()
    turn = matrix_to_axis_angle(R[0])
    up = Rotation.from_rotvec(turn).as_quat() * [0.0, 1.0, 0.0, 1.0]
    level = Rotation.from_quat(up / max(np.linalg.norm(up), 1e-9))
    heading = level * Rotation.from_rotvec([0.0, _toes_rad(key.feet, level), 0.0])
    tilt = (heading.inv() * Rotation.from_rotvec(turn)).as_rotvec()
    R[0] = (heading * Rotation.from_rotvec(0.6 * tilt)).as_matrix()
    return replace(
        key,
        R=R,
        stretch=key.stretch + 0.4 * (0.97 - key.stretch),
        support=key.support + 0.45 * (0.5 - key.support),
        knees_out_deg=0.6 * key.knees_out_deg,
    )


def _toes_rad(feet: np.ndarray, level: Rotation) -> float:
    """Half of the turn from the pelvis to the middle of the feet."""
    heading = level.as_rotvec()[1]
    middle = np.arctan2(np.sin(feet[:, 2]).sum(), np.cos(feet[:, 2]).sum())
    return 0.5 * float((middle - heading + np.pi) % (2 * np.pi) - np.pi)


def _fly(keys: Sequence[Key], pelvis_m: np.ndarray) -> None:
    """Put keys in the air on the way of a thrown body between the keys before and after; in place."""
    for k in range(1, len(keys) - 1):
        if keys[k].flight and not any(keys[k].planted):
            up, whole = keys[k].move_s, keys[k].move_s + keys[k + 1].move_s
            fall = 0.5 * GRAVITY_M_S2 * up * (whole - up)
            pelvis_m[k] = pelvis_m[k - 1] + (pelvis_m[k + 1] - pelvis_m[k - 1]) * (up / whole) + [0.0, fall, 0.0]


_LEG = np.zeros((2, 22), bool)
for _s in (0, 1):
    _LEG[_s, [HIP[_s], KNEE[_s], ANKLE[_s], TOE[_s]]] = True
LEG_JOINTS = [np.array([HIP[s], KNEE[s], ANKLE[s], TOE[s]]) for s in (0, 1)]
"""Hip, knee, ankle and toes of each side."""


def _middle_m(rig: Rig, feet: np.ndarray, side: int) -> np.ndarray:
    """(K, 2) x and z that the centre of mass is held over: the middle of the foot, its ball when the heel is up."""
    ahead = (ry(np.rad2deg(feet[:, 2])) @ rig.toe_offset_m[side])[:, [0, 2]]
    return feet[:, :2] + ahead * np.clip(0.4 + 0.6 * feet[:, 3:4] / 0.6, 0.4, 1.0)


def one_foot_at_a_time(keys: Sequence[Key]) -> list[Key]:
    """The keys with steps put in between wherever a standing foot would move without the other one to stand on."""
    out = [keys[0]]
    for key in keys[1:]:
        for _ in range(3):
            step = None if key.flight else _step_between(out[-1], key)
            if step is None:
                break
            out.append(step)
        out.append(key)
    return out


def _step_between(last: Key, key: Key) -> Key | None:
    moves = [
        last.planted[s] and key.planted[s] and np.abs(last.feet[s, :3] - key.feet[s, :3]).max() > 1e-9 for s in (0, 1)
    ]
    if not any(moves):
        return None
    feet = last.feet.copy()
    feet[:, 3] = 0.0
    if all(moves):
        first = _first_foot(last.feet, key.feet)
        feet[first] = key.feet[first]
    else:
        s = int(moves[1])
        if last.planted[1 - s] and key.planted[1 - s]:
            return None
        mover = s if last.planted[1 - s] else 1 - s
        feet[mover] = key.feet[mover]
    half = max(0.36, key.move_s / 2)
    key.move_s = half
    seat = key.pelvis_m if last.pelvis_m is not None else None
    return replace(
        key, R=key.R.copy(), feet=feet, planted=(True, True), move_s=half, hold_s=0.0, support=0.5, pelvis_m=seat,
        stretch=min(key.stretch, 0.96), off_m=np.zeros(2))  # fmt: skip


def _first_foot(old: np.ndarray, new: np.ndarray) -> int:
    """The foot that can go first without crossing the other."""
    left = np.array([np.cos(new[:, 2].mean()), -np.sin(new[:, 2].mean())])
    apart = [float((new[0, :2] - old[1, :2]) @ left), float((old[0, :2] - new[1, :2]) @ left)]
    return int(apart[1] > apart[0])
