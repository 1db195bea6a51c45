"""Feet that stand stay where they are: on the floor, without sliding, whatever is done to the body above them.

Recorded feet skate, and on a body of another shape they would also step beside their places. Here the root first goes
along with what the standing feet slide in common, over the ground and in height. Each foot is then put where its stance
began to the end, the pelvis may be tilted, leant and lowered, and the legs follow in closed form: hip, knee and ankle
are turned so that the foot keeps its place and its orientation (two-bone inverse kinematics).

Layout as in :mod:`.kinematics`: rotations (..., 3, 3, B, T), vectors (..., 3, B, T). Where both legs go together the
first dimension is left and right.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ...models.body_stages import BodyModel
from ...models.markers import contact_rig, sole_rig
from ...models.skeleton import JOINT_NAMES
from .kinematics import rotation_matrices, small_rotation

_HIP, _KNEE, _ANKLE, _FOOT = (
    [JOINT_NAMES.index(f"{side}_{n}") for side in ("left", "right")] for n in ("hip", "knee", "ankle", "foot")
)
_MOST_SHIFT_M = 0.10
"""A foot is moved no farther than this; beyond, it goes on sliding."""
_REACH = 0.9995
"""Share of its full length that a leg may be stretched to."""
_STRAIGHT = 0.15
"""Sine of the knee's bend below which the joint's own axis, rather than the bend, says in which plane it bends."""


@dataclass(frozen=True, slots=True, eq=False)
class FeetRig:
    """Contact points and soles of both feet."""

    carrier: tuple[int, ...]
    """For each of six points of a foot (heel and toe of CONTACT_POINTS, four of the sole): 0 ankle, 1 foot joint."""
    template: torch.Tensor
    """(2, 6, 3) offsets from the carrier, of the left and the right foot."""
    shapedirs: torch.Tensor
    """(2, 6, 3, 10)"""

    def offsets_m(self, betas: torch.Tensor) -> torch.Tensor:
        """(2, 6, 3, B) offsets for shapes (B, 10)."""
        return self.template[..., None] + self.shapedirs @ betas.T


def feet_rig(body: BodyModel, device: torch.device) -> FeetRig:
    """The feet of a numpy body."""
    contact, sole = contact_rig(body), sole_rig(body)
    rows = [np.r_[2 * s : 2 * s + 2] for s in (0, 1)], [np.r_[4 * s : 4 * s + 4] for s in (0, 1)]

    def both(name: str) -> np.ndarray:
        a, b = getattr(contact, name), getattr(sole, name)
        return np.stack([np.concatenate([a[i], b[k]]) for i, k in zip(*rows, strict=True)])

    carrier = (both("joint") == np.array(_FOOT)[:, None]).astype(int)
    if (carrier[0] != carrier[1]).any():
        raise ValueError("the two feet of the body are not built alike")
    template, directions = both("offset_template"), both("offset_shapedirs")[..., :10]
    return FeetRig(
        tuple(carrier[0].tolist()),
        torch.tensor(template, dtype=torch.float32, device=device),
        torch.tensor(directions, dtype=torch.float32, device=device),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Carriage:
    """How somebody holds the pelvis, in addition to what the motion says."""

    tilt: torch.Tensor
    """(3, 3, B, T) turn of the pelvis in its own frame."""
    lean: torch.Tensor
    """(2, B, T) tangents of the lean of the legs, forwards and to the left."""
    lower: torch.Tensor
    """(B, T) share of the pelvis' height by which it is lowered."""


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(..., 3, 3, B, T) matrix products."""
    out = a[..., :, 0, None, :, :] * b[..., None, 0, :, :, :]
    out = torch.addcmul(out, a[..., :, 1, None, :, :], b[..., None, 1, :, :, :])
    return out.addcmul_(a[..., :, 2, None, :, :], b[..., None, 2, :, :, :])


def moved_by(a: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """(..., 3, B, T) matrices (..., 3, 3, B, T) times vectors that broadcast with (..., 3, B, T)."""
    out = a[..., 0, :, :] * v[..., None, 0, :, :]
    out = torch.addcmul(out, a[..., 1, :, :], v[..., None, 1, :, :])
    return out.addcmul_(a[..., 2, :, :], v[..., None, 2, :, :])


def stand(
    R_local: torch.Tensor,
    rest_m: torch.Tensor,
    offsets_m: torch.Tensor,
    rig: FeetRig,
    pelvis_m: torch.Tensor,
    contact: torch.Tensor,
    carriage: Carriage,
) -> torch.Tensor:
    """Put the feet down. Returns the way of the pelvis (3, B, T), and changes root, hips, knees and ankles in place.

    R_local: (55, 3, 3, B, T), SMPL-X order; rest_m: (B, 55, 3); offsets_m: of ``rig``; pelvis_m: (3, B, T) its way so
    far; contact: (4, B, T).
    """
    hip_m, thigh_m, shank_m, instep_m = (
        (rest_m[:, j] - rest_m[:, i]).permute(1, 2, 0)[..., None]
        for i, j in (([0, 0], _HIP), (_HIP, _KNEE), (_KNEE, _ANKLE), (_ANKLE, _FOOT))
    )
    root = R_local[0]
    R_hip = product(root, R_local[_HIP])
    R_knee = product(R_hip, R_local[_KNEE])
    R_ankle = product(R_knee, R_local[_ANKLE])
    R_foot = product(R_ankle, R_local[_FOOT])
    thigh, shank = moved_by(R_hip, thigh_m), moved_by(R_knee, shank_m)
    ankle = moved_by(root, hip_m) + thigh + shank
    points = _foot_points(ankle, R_ankle, R_foot, instep_m, offsets_m, rig)

    stands = contact.reshape(2, 2, *contact.shape[1:])
    settled = _settled(points, pelvis_m, stands)
    shift = _planted(points + settled, stands)
    new_root, carried = _carried(root, settled, carriage)
    # From the hips to where the ankles shall be.
    target = ankle + shift + (settled - carried) - moved_by(new_root, hip_m)
    length = _length(thigh_m) + _length(shank_m)
    drop = _out_of_reach(target, length, stands.amax(1))
    target[:, 1] += drop
    carried[1] -= drop

    R_hip, R_new_knee = _bent(thigh, shank, R_hip, R_knee, target)
    R_local[0] = new_root
    R_local[_HIP] = product(new_root.transpose(0, 1), R_hip)
    R_local[_KNEE] = product(R_hip.transpose(1, 2), R_new_knee)
    R_local[_ANKLE] = product(R_new_knee.transpose(1, 2), R_ankle)
    return carried


def _foot_points(
    ankle_m: torch.Tensor,
    R_ankle: torch.Tensor,
    R_foot: torch.Tensor,
    instep_m: torch.Tensor,
    offsets_m: torch.Tensor,
    rig: FeetRig,
) -> torch.Tensor:
    """(2, 6, 3, B, T) the points of the feet, relative to the pelvis joint."""
    foot_m = ankle_m + moved_by(R_ankle, instep_m)
    carriers = ((ankle_m, R_ankle), (foot_m, R_foot))
    out = ankle_m.new_empty((2, len(rig.carrier), *ankle_m.shape[1:]))
    for k, carrier in enumerate(rig.carrier):
        place, R = carriers[carrier]
        out[:, k] = place + moved_by(R, offsets_m[:, k, :, :, None])
    return out


def _settled(points: torch.Tensor, pelvis_m: torch.Tensor, stands: torch.Tensor) -> torch.Tensor:
    """(3, B, T) way of the pelvis under which the standing points (2, 2, B, T) do not slide in the mean, and the soles
    that stand are near the floor; points (2, 6, 3, B, T) relative to the pelvis."""
    frames = pelvis_m.shape[-1]
    feet = points[:, :2] + pelvis_m
    # What the standing points would slide is taken off the way of the root, from frame to frame.
    both = stands[..., 1:] * stands[..., :-1]
    slide = ((feet[..., 1:] - feet[..., :-1]) * both[:, :, None])[:, :, [0, 2]].sum((0, 1))
    slide = slide / both.sum((0, 1)).clamp_min(1.0)
    slide = torch.nn.functional.pad(slide, (1, 0)) @ smoothing(frames, 1.5, pelvis_m.device)
    # Height: the lowest sole point of the feet that stand, followed slowly; over long flights the take's mean.
    low = (points[:, 2:, 1] + pelvis_m[1]).amin(1)
    low = torch.where(stands.amax(1) > 0, low, torch.inf).amin(0)
    known = torch.isfinite(low).to(low.dtype)
    low = torch.where(known > 0, low, 0.0)
    mean = low.sum(-1, keepdim=True) / known.sum(-1, keepdim=True).clamp_min(1.0)
    kernel = smoothing(frames, 5.0, pelvis_m.device)
    height = (low @ kernel + 0.02 * mean) / (known @ kernel + 0.02)
    out = pelvis_m.clone()
    out[[0, 2]] -= slide.cumsum(-1)
    out[1] -= height
    out[[0, 2]] -= out[[0, 2]].mean(-1, keepdim=True)
    return out


def _planted(points_m: torch.Tensor, stands: torch.Tensor) -> torch.Tensor:
    """(2, 3, B, T) shift of each foot under which what stands does not slide and no sole is below the floor.

    Through a stance the foot's slide is undone, about its mean place; its lowest sole point lies at y = 0. While it
    swings the foot goes over from the shift of one stance to that of the next.
    """
    standing = stands.amax(1) > 0
    both = (stands[..., 1:] * stands[..., :-1])[:, :, None]
    slide = ((points_m[:, :2, :, :, 1:] - points_m[:, :2, :, :, :-1]) * both).sum(1) / both.sum(1).clamp_min(1.0)
    slid = torch.nn.functional.pad(slide, (1, 0)).cumsum(-1)
    begins = standing & ~torch.nn.functional.pad(standing[..., :-1], (1, 0))
    stance = begins.long().cumsum(-1)
    shift = _mean_of_run(slid, stance, standing) - slid
    low = points_m[:, 2:, :][:, :, 1].amin(1)
    shift[:, 1] = -low
    shift = _between_stances(shift, standing) @ smoothing(shift.shape[-1], 0.8, shift.device)
    shift[:, 1] = torch.maximum(shift[:, 1], -low)
    far = _length(shift)
    return shift * (_MOST_SHIFT_M / far.clamp_min(_MOST_SHIFT_M))


def _mean_of_run(values: torch.Tensor, run: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """(2, 3, B, T) mean of values (2, 3, B, T) over each run, numbered along T by run (2, B, T)."""
    index = run[:, None].expand_as(values)
    weight = inside[:, None].to(values.dtype).expand_as(values)
    size = (*values.shape[:-1], values.shape[-1] + 1)
    total = values.new_zeros(size).scatter_add(-1, index, values * weight)
    count = values.new_zeros(size).scatter_add(-1, index, weight)
    return (total / count.clamp_min(1.0)).gather(-1, index)


def _between_stances(shift: torch.Tensor, standing: torch.Tensor) -> torch.Tensor:
    """The shift (2, 3, B, T) where the foot stands (2, B, T), and in between a smooth way from one to the next."""
    frames = shift.shape[-1]
    t = torch.arange(frames, device=shift.device).expand_as(standing)
    before = torch.where(standing, t, -1).cummax(-1).values
    after = torch.where(standing, t, frames).flip(-1).cummin(-1).values.flip(-1)
    u = ((t - before) / (after - before).clamp_min(1)).clamp(0.0, 1.0)
    u = torch.where(before < 0, 1.0, torch.where(after >= frames, 0.0, u * u * (3 - 2 * u)))[:, None]
    a, b = (shift.gather(-1, at.clamp(0, frames - 1)[:, None].expand_as(shift)) for at in (before, after))
    never = ((before < 0) & (after >= frames))[:, None]
    return torch.where(standing[:, None], shift, torch.where(never, 0.0, torch.lerp(a, b, u)))


def _carried(root: torch.Tensor, pelvis_m: torch.Tensor, carriage: Carriage) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotation and way of the pelvis as it is held; unchanged for somebody who does not stand upright."""
    ahead = torch.stack([root[0, 2], root[2, 2]])
    ahead = ahead / _length(ahead).clamp_min(0.1)
    fx, fz = ahead.unbind(0)
    upright = ((root[1, 1] - 0.5) / 0.35).clamp(0.0, 1.0)
    upright = upright * upright * (3 - 2 * upright)
    forwards, left = (carriage.lean * upright).unbind(0)
    none = torch.zeros_like(fx)
    # Left of somebody who looks along (fx, 0, fz) is (fz, 0, -fx); a lean forwards turns about it.
    about = torch.stack([forwards * fz - left * fx, none, -forwards * fx - left * fz])
    leant = rotation_matrices(small_rotation(about)[None])[0]
    height = pelvis_m[1].clamp_min(0.0)
    out = pelvis_m.clone()
    out[0] += height * (forwards * fx + left * fz)
    out[2] += height * (forwards * fz - left * fx)
    lean2 = forwards.square() + left.square()
    out[1] -= height * (0.5 * lean2 + upright * carriage.lower)
    identity = torch.eye(3, device=root.device)[:, :, None, None]
    tilt = identity + (carriage.tilt - identity) * upright
    # Not quite a rotation while the person gets up; made one again.
    return _orthonormal(product(product(leant, root), tilt)), out


def _orthonormal(R: torch.Tensor) -> torch.Tensor:
    """(3, 3, B, T) by Gram and Schmidt on the columns."""
    x = _unit(R[:, 0])
    y = R[:, 1]
    y = _unit(y - x * (x * y).sum(0, keepdim=True))
    return torch.stack([x, y, torch.linalg.cross(x, y, dim=0)], dim=1)


def _out_of_reach(target: torch.Tensor, length_m: torch.Tensor, standing: torch.Tensor) -> torch.Tensor:
    """(B, T) how far the pelvis must come down, smoothly, for the legs to reach the feet that stand (2, B, T)."""
    most = (_REACH * length_m[:, 0]).square()
    level = target[:, 0].square() + target[:, 2].square()
    lack = -target[:, 1] - (most - level).clamp_min(0.0).sqrt()
    lack = (lack * standing).amax(0).clamp(0.0, _MOST_SHIFT_M)
    around = torch.nn.functional.max_pool1d(lack[:, None], 7, stride=1, padding=3)[:, 0]
    return around @ smoothing(lack.shape[-1], 1.5, lack.device)


def _bent(
    thigh: torch.Tensor, shank: torch.Tensor, R_hip: torch.Tensor, R_knee: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """World rotations (2, 3, 3, B, T) of hips and knees under which the ankles are at target (2, 3, B, T) from the
    hips, knees bent in the plane they were; thigh, shank: (2, 3, B, T) as they are."""
    a, b = _length(thigh), _length(shank)
    normal = torch.linalg.cross(thigh, shank, dim=1) / (a * b) + _STRAIGHT * R_knee[:, :, 0]
    to = _unit(target)
    d = torch.minimum(_length(target).clamp_min(0.2 * (a + b)), _REACH * (a + b))
    across = _unit(normal - to * (to * normal).sum(1, keepdim=True))
    cos = ((a * a + d * d - b * b) / (2 * a * d)).clamp(-1.0, 1.0)
    out = torch.linalg.cross(to, across, dim=1)
    new_thigh = a * (cos * to + (1 - cos * cos).clamp_min(0.0).sqrt() * out)
    new_shank = d * to - new_thigh
    return _turned(R_hip, thigh, normal, new_thigh, across), _turned(R_knee, shank, normal, new_shank, across)


def _turned(
    R: torch.Tensor, bone: torch.Tensor, normal: torch.Tensor, new_bone: torch.Tensor, new_normal: torch.Tensor
) -> torch.Tensor:
    """Rotations (2, 3, 3, B, T) turned as a bone and the normal (2, 3, B, T) of the plane it bends in are."""
    x, new_x = _unit(bone), _unit(new_bone)
    y = _unit(normal - x * (x * normal).sum(1, keepdim=True))
    z, new_z = torch.linalg.cross(x, y, dim=1), torch.linalg.cross(new_x, new_normal, dim=1)
    turn = new_x[:, :, None] * x[:, None] + new_normal[:, :, None] * y[:, None] + new_z[:, :, None] * z[:, None]
    return product(turn, R)


def _length(v: torch.Tensor) -> torch.Tensor:
    """(..., 1, B, T) lengths of vectors (..., C, B, T)."""
    return v.square().sum(-3, keepdim=True).sqrt()


def _unit(v: torch.Tensor) -> torch.Tensor:
    """Vectors (..., 3, B, T) of length one."""
    return v / _length(v).clamp_min(1e-6)


def smoothing(frames: int, sigma: float, device: torch.device) -> torch.Tensor:
    """(T, T) Gaussian smoothing over frames, to multiply rows (..., T) with; the weights for each frame sum to 1."""
    t = torch.arange(frames, device=device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * ((t[:, None] - t) / sigma) ** 2)
    return kernel / kernel.sum(0, keepdim=True)
