"""Longer takes from short clips: the next one begins where the last one stands, turned to its heading, blended over."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from ...models.body import BodyModel, load_body
from ...models.body_stages import PosedBody
from ...models.errors import UsageError
from ...models.markers import contact_rig, sole_rig
from ...models.skeleton import JOINT_NAMES, NUM_JOINTS
from .contact import contact_labels
from .hand_motion import minimum_jerk
from .mocap import Clip

BLEND_S = 0.4
"""How long one clip goes over into the next."""
_SEARCH_S = 0.8
"""The cut is where the poses fit best within so much of the end of one clip and the beginning of the other."""
_SWAP = np.array(
    [
        JOINT_NAMES.index({"left": "right_", "right": "left_"}[n.split("_")[0]] + n.partition("_")[2])
        if n.startswith(("left_", "right_"))
        else i
        for i, n in enumerate(JOINT_NAMES)
    ]
)


def mirrored(clip: Clip) -> Clip:
    """The clip of the mirror image: left and right exchanged, x reversed."""
    poses = clip.poses[:, _SWAP] * [1.0, -1.0, -1.0]
    return replace(clip, name=f"{clip.name}_mirrored", poses=poses, trans_m=clip.trans_m * [-1.0, 1.0, 1.0])


def turned(clip: Clip, yaw_rad: float, shift_m: np.ndarray | None = None, body: BodyModel | None = None) -> Clip:
    """The clip turned about the vertical through the origin, then shifted by (3,)."""
    rest = np.asarray((body or load_body()).J_template[0], np.float64)
    turn = Rotation.from_rotvec([0.0, yaw_rad, 0.0])
    poses = clip.poses.copy()
    poses[:, 0] = (turn * Rotation.from_rotvec(clip.poses[:, 0])).as_rotvec()
    trans = turn.apply(clip.trans_m + rest) - rest + (0.0 if shift_m is None else shift_m)
    return replace(clip, poses=poses, trans_m=trans)


def heading_rad(poses: np.ndarray) -> np.ndarray:
    """(T,) heading of the root about the vertical, of poses (T, 55, 3): the turn about Y that fits the root's rotation
    best (its twist), so that it is defined for a person who leans far as well."""
    x, y, z, w = np.moveaxis(Rotation.from_rotvec(poses[:, 0]).as_quat(), -1, 0)
    del x, z
    return np.unwrap(2 * np.arctan2(y, w))


def curved(clip: Clip, rad_per_s: float, body: BodyModel | None = None) -> Clip:
    """The clip on a curve: the whole motion turns at ``rad_per_s`` about the vertical through the foot that stands, so
    that stance feet turn on the spot and do not slide; about the root while none does."""
    body = (body or load_body()).astype(np.float64)
    posed = _posed(clip, body)
    feet = contact_rig(body).in_world_m(posed)
    weight = contact_labels(feet, clip.fps) + 1e-3
    # One foot after the other takes over gradually, or the pivot would jump.
    kernel = np.hanning(7)[1:-1] / np.hanning(7).sum()
    weight = np.apply_along_axis(lambda row: np.convolve(row, kernel, mode="same"), 0, weight)
    pivot = (feet * weight[..., None]).sum(1) / weight.sum(1)[:, None]
    standing = np.clip(weight.max(1), 0, 1)[:, None]
    pivot = pivot * standing + posed.joints_m[:, 0] * (1 - standing)
    step = Rotation.from_rotvec([0.0, rad_per_s / clip.fps, 0.0])
    turn, shift = Rotation.identity(), np.zeros(3)
    poses, trans = clip.poses.copy(), clip.trans_m.copy()
    rest = np.asarray(body.J_template[0], np.float64)
    for t in range(1, clip.frames):
        about = pivot[t] * [1.0, 0.0, 1.0]
        # The turn about the pivot comes first, in the axes of the straight clip, then all that came before it.
        shift = turn.apply(about - step.apply(about)) + shift
        turn = turn * step
        poses[t, 0] = (turn * Rotation.from_rotvec(clip.poses[t, 0])).as_rotvec()
        trans[t] = turn.apply(clip.trans_m[t] + rest) + shift - rest
    return replace(clip, poses=poses, trans_m=trans)


def join(first: Clip, second: Clip, body: BodyModel | None = None) -> Clip:
    """The two clips one after the other. The cut is searched for near the end of the first and the beginning of the
    second, where poses and speeds fit best. During the blend rotations go over by slerp, and the root moves so that a
    foot which stands in both clips stays where it is, or at the blended speed where none does."""
    if abs(first.fps - second.fps) > 1e-6:
        raise UsageError(
            f"Expected two clips of one frame rate, found {first.fps:g} and {second.fps:g}. Resample one of them."
        )
    body = (body or load_body()).astype(np.float64)
    blend = max(2, round(BLEND_S * first.fps))
    if min(first.frames, second.frames) < blend + 2:
        raise UsageError(
            f"Expected clips of at least {blend + 2} frames to join, found {first.frames} ({first.name}) and "
            f"{second.frames} ({second.name}). Leave the short one out."
        )
    i, k = _cut(first, second, blend, body)
    before, after = part_of(first, 0, i + blend), part_of(second, k, second.frames)
    yaw = heading_rad(before.poses[-blend // 2 :])[0] - heading_rad(after.poses[blend - blend // 2 :])[0]
    after = turned(after, float(yaw), body=body)
    w = minimum_jerk(np.arange(1, blend + 1) / (blend + 1))
    poses = _slerp(before.poses[i:], after.poses[:blend], w)
    trans = _blended_root(before, after, i, poses, w, body)
    # What follows the blend begins where it ends.
    step = after.trans_m[blend:] - after.trans_m[blend - 1] if after.frames > blend else np.zeros((0, 3))
    tail = trans[-1] + step
    tail[:, 1] = after.trans_m[blend:, 1]
    return replace(
        first,
        name=f"{first.name}+{second.name}",
        licence=first.licence if first.licence == second.licence else f"{first.licence}; {second.licence}",
        source=first.source if first.source == second.source else f"{first.source}+{second.source}",
        action=first.action if first.action == second.action else f"{first.action}, {second.action}",
        poses=np.concatenate([before.poses[:i], poses, after.poses[blend:]]),
        trans_m=np.concatenate([before.trans_m[:i], trans, tail]),
    )


def take_of(
    clips: Sequence[Clip], seconds: float, rng: np.random.Generator | None = None, body: BodyModel | None = None
) -> Clip:
    """A take of at least ``seconds`` out of the clips in turn (again from the first when they are used up); with
    ``rng`` some of them mirrored. The take is cut to the frame where it is longer than asked."""
    if not clips:
        raise UsageError("Expected at least one clip to make a take of, found none. Choose other clips.")
    blend = max(2, round(BLEND_S * clips[0].fps))
    usable = [c for c in clips if c.frames >= blend + 2]
    wanted = round(seconds * clips[0].fps)
    if not usable:
        raise UsageError(
            f"Expected a clip of at least {blend + 2} frames, found at most {max(c.frames for c in clips)}. "
            "Choose longer clips."
        )
    out, n = None, 0
    while out is None or out.frames < wanted:
        following = usable[n % len(usable)]
        if rng is not None and rng.random() < 0.5:
            following = mirrored(following)
        grown = following if out is None else join(out, following, body)
        if out is not None and grown.frames <= out.frames:
            raise UsageError(
                f"Expected clips that last longer than their blends, but {following.name} adds nothing to "
                f"{out.frames} frames. Choose longer clips."
            )
        out, n = grown, n + 1
    return part_of(out, 0, wanted)


def part_of(clip: Clip, begin: int, end: int) -> Clip:
    """Frames ``begin`` to ``end`` (not included) of a clip."""
    return replace(clip, poses=clip.poses[begin:end], trans_m=clip.trans_m[begin:end])


def _slerp(a: np.ndarray, b: np.ndarray, w: np.ndarray) -> np.ndarray:
    first = Rotation.from_rotvec(a.reshape(-1, 3))
    way = (first.inv() * Rotation.from_rotvec(b.reshape(-1, 3))).as_rotvec() * np.repeat(w, NUM_JOINTS)[:, None]
    return (first * Rotation.from_rotvec(way)).as_rotvec().reshape(a.shape)


def _posed(clip: Clip, body: BodyModel) -> PosedBody:
    return body.with_shape().with_pose(clip.poses, clip.trans_m)


def _cut(first: Clip, second: Clip, blend: int, body: BodyModel) -> tuple[int, int]:
    """Frame of the first clip where the blend begins, and of the second."""
    # Of a short clip at most two thirds are given away, so that every clip makes the take longer.
    search = min(round(_SEARCH_S * first.fps), (second.frames - blend) // 3)
    from_i = max(1, first.frames - blend - search)
    last_k = max(1, search)
    a = _features(part_of(first, from_i - 1, first.frames), body)[1:]
    b = _features(part_of(second, 0, last_k + blend), body)
    middle = blend // 2
    at_i, at_k = np.arange(first.frames - blend - from_i + 1), np.arange(last_k)
    # The sum of the time given away is small change against a pose that does not fit.
    cost = np.linalg.norm(a[at_i + middle][:, None] - b[at_k + middle][None], axis=-1)
    cost = cost + 0.003 * (len(at_i) - 1 - at_i)[:, None] + 0.003 * at_k[None]
    i, k = np.unravel_index(int(cost.argmin()), cost.shape)
    return from_i + int(i), int(k)


def _features(clip: Clip, body: BodyModel) -> np.ndarray:
    """(T, F) joints relative to the root in its heading, and their way in a tenth of a second."""
    posed = _posed(clip, body)
    soles = sole_rig(body).in_world_m(posed)
    points = np.concatenate([posed.joints_m[:, 1:22], soles], axis=1)
    root = posed.joints_m[:, :1] * [1, 0, 1]
    back = Rotation.from_rotvec(np.outer(-heading_rad(clip.poses), [0.0, 1, 0])).as_matrix()
    local = np.einsum("tij,tnj->tni", back, points - root)
    velocity = np.einsum("tij,tnj->tni", back, np.gradient(points, axis=0)) * clip.fps if clip.frames > 1 else local * 0
    return np.concatenate([local, 0.1 * velocity], axis=1).reshape(clip.frames, -1) / np.sqrt(points.shape[1])


def _blended_root(before: Clip, after: Clip, i: int, poses: np.ndarray, w: np.ndarray, body: BodyModel) -> np.ndarray:
    """(n, 3) translations of the blend."""
    n = len(w)
    a, b = _posed(before, body), _posed(part_of(after, 0, n), body)
    rig, soles = contact_rig(body), sole_rig(body)
    feet_a, feet_b = rig.in_world_m(a), rig.in_world_m(b)
    stands = (contact_labels(feet_a, before.fps)[i:] & contact_labels(feet_b, before.fps)).all(0)
    va = np.gradient(before.trans_m, axis=0)[i:]
    vb = np.gradient(after.trans_m[: n + 1], axis=0)[:n] if after.frames > n else np.gradient(after.trans_m, axis=0)[:n]
    speed = va + (vb - va) * w[:, None]
    bare = body.with_shape().with_pose(poses, np.zeros((n, 3)))
    points, lowest = rig.in_world_m(bare), soles.in_world_m(bare)[..., 1].min(1)
    trans = np.zeros((n, 3))
    last = before.trans_m[i - 1]
    previous = rig.in_world_m(_posed(part_of(before, i - 1, i), body))[0]
    anchor = int(np.flatnonzero(stands)[0]) if stands.any() else None
    for t in range(n):
        trans[t] = last + speed[t]
        if anchor is not None:
            trans[t, [0, 2]] = (previous[anchor] - points[t, anchor])[[0, 2]]
            previous = points[t] + trans[t]
        last = trans[t]
    low_a, low_b = soles.in_world_m(a)[i:, :, 1].min(1), soles.in_world_m(b)[..., 1].min(1)
    trans[:, 1] = low_a + (low_b - low_a) * w - lowest
    return trans
