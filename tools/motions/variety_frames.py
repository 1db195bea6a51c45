"""From key poses to frames: limbs that go over by minimum jerk with delays of their own, feet that stay planted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from ...models.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from ...models.skeleton import NUM_BODY_JOINTS
from .contact import contact_labels
from .hand_motion import minimum_jerk
from .variety_keys import GRAVITY_M_S2, LEG_JOINTS, Key, Solved, plant_leg, solve_keys
from .variety_limbs import foot_m, reach_leg
from .variety_rig import (
    COLLAR,
    ELBOW,
    HIP,
    SHOULDER,
    SIDES,
    WRIST,
    J,
    Rig,
    angles_of,
    contact_m,
    place,
    rotations_of,
    skin_m,
    soles_m,
    within_limits,
)
from .variety_touch import lead_arms_around

_GROUPS = (
    ("pelvis",), ("spine1", "spine2", "spine3"), ("neck", "head"),
    *((f"{s}_collar", f"{s}_shoulder") for s in SIDES), *((f"{s}_elbow", f"{s}_wrist") for s in SIDES),
    *((f"{s}_hip", f"{s}_knee", f"{s}_ankle", f"{s}_foot") for s in SIDES),
)  # fmt: skip
_DELAY = (0.0, 0.06, 0.22, 0.22, 0.22, 0.3, 0.3, 0.0, 0.0)
"""Most that a group starts after the pelvis, share of the time of the way."""
_GROUP_OF = np.zeros(NUM_BODY_JOINTS, int)
for _g, _names in enumerate(_GROUPS):
    for _n in _names:
        _GROUP_OF[J[_n]] = _g
_NOISE_S = 0.3
PEAK_M_S = (3.5, 9.0)
"""Limbs reach their peak in this range when they hurry."""


@dataclass(slots=True, eq=False)
class Times:
    """When the ways to the keys begin and end, seconds; the first key is there at 0."""

    begin_s: np.ndarray
    end_s: np.ndarray

    @property
    def until_s(self) -> float:
        """When the last way ends."""
        return float(self.end_s[-1])


def times_of(keys: Sequence[Key]) -> Times:
    """One way after the other, each key held for its time."""
    begin, end = [0.0], [0.0]
    for before, key in pairwise(keys):
        begin.append(end[-1] + before.hold_s)
        end.append(begin[-1] + key.move_s)
    return Times(np.array(begin), np.array(end))


def frames_of(
    rng: np.random.Generator, rig: Rig, keys: Sequence[Key], time_s: np.ndarray, on_floor: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (T, 22, 3, 3) and pelvis (T, 3) at the times (T,).

    on_floor: the body rolls and rests on whatever part of it is lowest; else feet stand where their keys say.
    """
    solved = solve_keys(rig, keys)
    keys = _in_time(rng, rig, keys, solved)
    times = times_of(keys)
    step_s = float(np.median(np.diff(time_s)))
    R = _rotations(rng, keys, solved, times, time_s)
    R = lead_arms_around(rig, R, 0.07 / step_s)
    R = rotations_of(R[:, 0], within_limits(angles_of(R)))
    if on_floor:
        return feet_held(rig, R, _rolling(rig, R, time_s), 1 / step_s)
    pelvis = _way(keys, solved.pelvis_m, times, time_s)
    return _planted(rig, keys, solved, times, time_s, R, pelvis)


def _in_time(rng: np.random.Generator, rig: Rig, keys: Sequence[Key], solved: Solved) -> list[Key]:
    """The keys with ways long enough for their limbs, whose peak speed stays below a drawn one. In flight, where time
    is given, the arms go only part of the way; ``solved`` changes there."""
    nowhere = np.zeros((len(keys), 3))
    _, joints = place(rig, solved.R, nowhere)
    out, arms = [keys[0]], np.concatenate([COLLAR, SHOULDER, ELBOW, WRIST])
    for k in range(1, len(keys)):
        key = keys[k]
        if key.flight:
            way = angles_of(solved.R[k - 1 : k + 1])
            share = min(1.0, key.move_s / 0.4)
            part = way[0] + share * (way[1] - way[0])
            solved.R[k, arms] = rotations_of(solved.R[k, 0], part)[arms]
            _, joints[k] = place(rig, solved.R[k], nowhere[k])
        far = np.linalg.norm(joints[k, :NUM_BODY_JOINTS] - joints[k - 1, :NUM_BODY_JOINTS], axis=-1).max()
        fastest = PEAK_M_S[0] + (PEAK_M_S[1] - PEAK_M_S[0]) * rng.beta(1.2, 2.0)
        # 1.875: peak over mean speed of minimum jerk; a limb goes in an arc and starts late
        needed = 1.875 * 1.35 * far / fastest / (1 + 0.6 * key.flow)
        out.append(key if key.flight or key.move_s >= needed else replace(key, move_s=float(needed)))
    return out


def _rotations(
    rng: np.random.Generator, keys: Sequence[Key], solved: Solved, times: Times, time_s: np.ndarray
) -> np.ndarray:
    """(T, 22, 3, 3): the angles of the joints are sums of minimum-jerk steps, so that they stay within their ranges;
    the pelvis turns by the shortest way."""
    R_root = np.broadcast_to(solved.R[0, 0], (len(time_s), 3, 3)).copy()
    turns = matrix_to_axis_angle(np.swapaxes(solved.R[:-1, 0], -1, -2) @ solved.R[1:, 0])
    targets = angles_of(solved.R)
    angles = np.broadcast_to(targets[0], (len(time_s), *targets.shape[1:])).copy()
    for k in range(1, len(keys)):
        lasts = times.end_s[k] - times.begin_s[k]
        delay = rng.uniform(0, 1, len(_GROUPS)) * _DELAY * (not keys[k].flight)
        extra = keys[k].flow * lasts
        begin = (times.begin_s[k] - extra / 2 + delay * lasts)[_GROUP_OF]
        width = ((lasts + extra) * (1 - 0.5 * delay) * rng.uniform(0.9, 1.0, len(_GROUPS)))[_GROUP_OF]
        first = int(np.searchsorted(time_s, begin.min()))
        share = minimum_jerk(np.clip((time_s[first:, None] - begin) / width, 0, 1))
        angles[first:] += share[:, 1:, None] * (targets[k] - targets[k - 1])
        going = int((share[:, 0] < 1).sum())
        last = first + going
        R_root[first:last] = R_root[first:last] @ axis_angle_to_matrix(share[:going, :1] * turns[k - 1])
        R_root[last:] = R_root[last:] @ axis_angle_to_matrix(turns[k - 1])
    noise = _noise(rng, len(time_s), float(np.median(np.diff(time_s))))
    angles[..., :3] += noise[:, 1:]
    return rotations_of(R_root @ axis_angle_to_matrix(noise[:, 0]), within_limits(angles))


def _noise(rng: np.random.Generator, frames: int, step_s: float) -> np.ndarray:
    """(T, 22, 3) small slow noise on every angle, as of a body that breathes and balances; hinges and legs stay."""
    size = np.deg2rad(np.full((NUM_BODY_JOINTS, 3), 1.2))
    size[[j for legs in LEG_JOINTS for j in legs]] = 0.0
    size[J["pelvis"]] = np.deg2rad(0.7)
    size[ELBOW, 1] = 0.0
    width = _NOISE_S / step_s
    noise = gaussian_filter1d(rng.standard_normal((frames, NUM_BODY_JOINTS, 3)), width, axis=0, mode="nearest")
    return noise * np.sqrt(2 * width * np.sqrt(np.pi)) * size


def _way(keys: Sequence[Key], at_m: np.ndarray, times: Times, time_s: np.ndarray) -> np.ndarray:
    """(T, 3) way through the places of the keys: quintic pieces that rest at a key that is held, pass one that is not,
    and fly by gravity where there is flight."""
    knots, place_m, speed, gain = [], [], [], []
    for k, key in enumerate(keys):
        v = np.zeros(3)
        arrive, leave = v.copy(), v.copy()
        if k + 1 < len(keys) and keys[k + 1].flight:
            leave = _launch(at_m[k], at_m[k + 1], keys[k + 1].move_s)
        if key.flight:
            arrive = _launch(at_m[k - 1], at_m[k], key.move_s) - [0, GRAVITY_M_S2 * key.move_s, 0]
        if not key.flight and 0 < k < len(keys) - 1 and key.hold_s == 0 and not leave.any():
            before = (at_m[k] - at_m[k - 1]) / key.move_s
            after = (at_m[k + 1] - at_m[k]) / keys[k + 1].move_s
            # as steep as the smaller of the two where both go the same way, at rest where the way turns
            arrive = leave = np.where(before * after > 0, 2 * before * after / (before + after + 1e-12), 0.0)
        down = np.array([0, -GRAVITY_M_S2, 0])
        if k:
            knots.append(times.end_s[k])
            place_m.append(at_m[k])
            speed.append(arrive)
            gain.append(down if key.flight else v)
        knots.append(times.end_s[k] + key.hold_s)
        place_m.append(at_m[k])
        speed.append(leave if k + 1 < len(keys) else arrive)
        gain.append(down if k + 1 < len(keys) and keys[k + 1].flight else v)
    return _quintic(np.array(knots), np.array(place_m), np.array(speed), np.array(gain), time_s)


def _launch(start_m: np.ndarray, end_m: np.ndarray, lasts_s: float) -> np.ndarray:
    return (end_m - start_m) / lasts_s + np.array([0, GRAVITY_M_S2 * lasts_s / 2, 0])


def _quintic(t: np.ndarray, p: np.ndarray, v: np.ndarray, a: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Quintic Hermite pieces through places p with speeds v and accelerations a at knots t."""
    k = np.clip(np.searchsorted(t, at, side="right") - 1, 0, len(t) - 2)
    h = np.maximum(t[k + 1] - t[k], 1e-6)[:, None]
    u = np.clip((at - t[k])[:, None] / h, 0, 1)
    d = p[k + 1] - p[k]
    v0, v1, a0, a1 = v[k] * h, v[k + 1] * h, a[k] * h**2, a[k + 1] * h**2
    c3 = 10 * d - 6 * v0 - 4 * v1 - 1.5 * a0 + 0.5 * a1
    c4 = -15 * d + 8 * v0 + 7 * v1 + 1.5 * a0 - a1
    c5 = 6 * d - 3 * v0 - 3 * v1 - 0.5 * a0 + 0.5 * a1
    return p[k] + v0 * u + a0 / 2 * u**2 + c3 * u**3 + c4 * u**4 + c5 * u**5


def _feet(
    keys: Sequence[Key], solved: Solved, times: Times, time_s: np.ndarray, side: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Along the frames: place of the foot (T, 4), its lift (T,), the share of planting against free motion (T,), and
    whether it stands (T,)."""
    feet = np.broadcast_to(solved.feet[0, side], (len(time_s), 4)).copy()
    weight = np.full(len(time_s), float(solved.planted[0, side]))
    lift, stands = np.zeros(len(time_s)), np.full(len(time_s), bool(solved.planted[0, side]))
    for k in range(1, len(keys)):
        here = time_s >= times.begin_s[k]
        u = np.clip((time_s[here] - times.begin_s[k]) / (times.end_s[k] - times.begin_s[k]), 0, 1)
        was, comes = bool(solved.planted[k - 1, side]), bool(solved.planted[k, side])
        if was and comes:
            old, new = solved.feet[k - 1, side], solved.feet[k, side]
            if np.abs(old[:3] - new[:3]).max() < 1e-9 and not keys[k].flight:
                feet[here] = old + minimum_jerk(u)[:, None] * (new - old)
                continue
            swing = u if keys[k].flight else np.clip((u - 0.08) / 0.84, 0, 1)
            feet[here] = old + minimum_jerk(swing)[:, None] * (new - old)
            hop = keys[k].lift_m if not keys[k].flight else 0.0
            lift[here] = hop * 16 * (swing * (1 - swing)) ** 2
            stands[here] = (swing <= 0) | (swing >= 1)
            if keys[k].flight:
                weight[here] = 1 - 16 * (u * (1 - u)) ** 2
        elif was:
            w = np.clip(u / (0.25 if keys[k].flight else 0.6), 0, 1)
            weight[here], stands[here] = 1 - minimum_jerk(w), u <= 0
            lift[here] = 0.12 * minimum_jerk(w)
        elif comes:
            w = np.clip((1 - u) / (0.25 if keys[k].flight else 0.6), 0, 1)
            feet[here] = solved.feet[k, side]
            weight[here], stands[here] = 1 - minimum_jerk(w), u >= 1
            lift[here] = 0.12 * minimum_jerk(w)
        else:
            weight[here], stands[here] = 0.0, False
            lift[here] = 0.0
    return feet, lift, weight, stands


def _planted(
    rig: Rig,
    keys: Sequence[Key],
    solved: Solved,
    times: Times,
    time_s: np.ndarray,
    R: np.ndarray,
    pelvis_m: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Legs over their feet, the pelvis low enough for both, and free feet kept off the floor."""
    feet, lift, weight, stands = (
        np.stack(part) for part in zip(*(_feet(keys, solved, times, time_s, s) for s in (0, 1)), strict=True)
    )
    out = np.interp(time_s, times.end_s, [k.knees_out_deg for k in keys])
    pelvis_m = pelvis_m.copy()
    pelvis_m[:, 1] -= _too_high_m(rig, R, pelvis_m, feet, lift, stands)
    _, joints = place(rig, R, pelvis_m)
    for s in (0, 1):
        on = weight[s] > 0
        if not on.any():
            continue
        legs, _ = plant_leg(rig, R[on], joints[on, HIP[s]], feet[s, on], s, out[on], lift[s, on])
        free = R[on][:, LEG_JOINTS[s]]
        step = matrix_to_axis_angle(np.swapaxes(free, -1, -2) @ legs)
        R[np.ix_(on, LEG_JOINTS[s])] = free @ axis_angle_to_matrix(step * weight[s, on][:, None, None])
    return _above_floor(rig, R, pelvis_m, stands), pelvis_m


def _too_high_m(
    rig: Rig, R: np.ndarray, pelvis_m: np.ndarray, feet: np.ndarray, lift: np.ndarray, stands: np.ndarray
) -> np.ndarray:
    """(T,) how far the pelvis must come down for standing legs to reach their feet, smooth along the frames."""
    _, joints = place(rig, R, pelvis_m)
    need = np.zeros(len(R))
    for s in (0, 1):
        _, ankle = foot_m(rig, s, feet[s], lift[s])
        hip = joints[:, HIP[s]]
        flat2 = ((hip - ankle)[:, [0, 2]] ** 2).sum(1)
        highest = ankle[:, 1] + np.sqrt(np.maximum((0.9975 * rig.leg_m) ** 2 - flat2, 0.01))
        need = np.maximum(need, np.where(stands[s], hip[:, 1] - highest, 0.0))
    return gaussian_filter1d(maximum_filter1d(need, 7), 1.5, mode="nearest")


def _above_floor(rig: Rig, R: np.ndarray, pelvis_m: np.ndarray, stands: np.ndarray) -> np.ndarray:
    """Feet that do not stand are raised where a sole would go through the floor."""
    R_world, joints = place(rig, R, pelvis_m)
    low = soles_m(rig, R_world, joints)[..., 1].min(-1)
    for s in (0, 1):
        depth = np.where(stands[s], 0.0, np.maximum(0.004 - low[:, s], 0.0))
        rows = depth > 0
        if not rows.any():
            continue
        hip, knee, ankle, _ = LEG_JOINTS[s]
        goal = joints[rows, ankle] + np.stack([0 * depth[rows], depth[rows], 0 * depth[rows]], -1)
        parts = reach_leg(
            rig, joints[rows, hip], goal, R_world[rows, ankle], R[rows, 0], s, R_world[rows, knee][:, :, 2]
        )
        R[np.ix_(rows, LEG_JOINTS[s][:3])] = np.stack(parts, axis=1)
    return R


def feet_held(rig: Rig, R: np.ndarray, pelvis_m: np.ndarray, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Motion whose feet stay where they are while they touch the floor, as the labels of contact see it."""
    R_world, joints = place(rig, R, pelvis_m)
    points = contact_m(rig, R_world, joints)
    labels = contact_labels(points, fps)
    R = R.copy()
    for s in (0, 1):
        shift = _hold(points[:, 2 * s : 2 * s + 2], labels[:, 2 * s : 2 * s + 2], round(0.17 * fps))
        rows = np.abs(shift).max(1) > 1e-6
        if not rows.any():
            continue
        hip, knee, ankle, _ = LEG_JOINTS[s]
        parts = reach_leg(
            rig, joints[rows, hip], joints[rows, ankle] + shift[rows], R_world[rows, ankle], R[rows, 0], s,
            R_world[rows, knee][:, :, 2])  # fmt: skip
        R[np.ix_(rows, LEG_JOINTS[s][:3])] = np.stack(parts, axis=1)
    return R, pelvis_m


def _hold(points_m: np.ndarray, labels: np.ndarray, fade: int) -> np.ndarray:
    """(T, 3) level shift that keeps a foot's points (T, 2, 3) at their middle place during each contact (T, 2); it
    comes and goes over ``fade`` frames, and is left out where the foot moves too far for it."""
    shift, any_ = np.zeros((len(points_m), 3)), labels.any(1)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], any_, [False]]).astype(int)))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        weight = labels[begin:end, :, None] + 1e-9
        # what touches may change from heel to toe: follow the steps of what touches, not its place
        step = (np.diff(points_m[begin:end], axis=0) * weight[1:]).sum(1) / weight[1:].sum(1)
        drift = np.concatenate([np.zeros((1, 3)), np.cumsum(step, axis=0)])
        back = (np.median(drift, axis=0) - drift) * [1.0, 0.0, 1.0]
        if np.abs(back).max() > 0.08:
            continue
        shift[begin:end] += back
        before = np.arange(max(0, begin - fade), begin)
        after = np.arange(end, min(len(shift), end + fade))
        shift[before] += minimum_jerk(1 - (begin - before) / (fade + 1))[:, None] * back[0]
        shift[after] += minimum_jerk(1 - (after - end + 1) / (fade + 1))[:, None] * back[-1]
    return shift


def _rolling(rig: Rig, R: np.ndarray, time_s: np.ndarray) -> np.ndarray:
    """(T, 3) pelvis of a body that rests on its lowest points: they neither leave the floor nor slide on it."""
    R_world, joints = place(rig, R, np.zeros((len(R), 3)))
    points = np.concatenate([skin_m(rig, R_world, joints), soles_m(rig, R_world, joints).reshape(len(R), 8, 3)], axis=1)
    low = points[..., 1].min(1)
    weight = np.exp(-(points[..., 1] - low[:, None]) / 0.012)
    weight[:, -8:] *= 6.0  # of all that touches, feet slide least
    between = (weight[1:] * weight[:-1])[..., None]
    slide = (np.diff(points, axis=0) * between).sum(1) / between.sum(1)
    pelvis = np.zeros((len(R), 3))
    pelvis[1:] = -np.cumsum(slide, axis=0)
    step_s = float(np.median(np.diff(time_s)))
    pelvis = gaussian_filter1d(pelvis, 0.04 / step_s, axis=0, mode="nearest")
    pelvis[:, 1] = gaussian_filter1d(-low, 0.03 / step_s, mode="nearest")
    return pelvis
