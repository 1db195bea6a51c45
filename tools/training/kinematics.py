"""Poses of many frames at once, laid out for speed: component first, frames last.

A joint's quaternion is (J, 4, B, T) here and its rotation (J, 3, 3, B, T), so that every operation runs over long rows
of frames, on the CPU as on a GPU. That is several times faster than one small matrix product per joint and frame.
:func:`write_frames_first` turns the result round.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ...models.body_stages import BodyModel
from ...models.markers import ProxyRig, blazepose_rig, contact_rig, proxy_rig
from ...models.skeleton import NUM_JOINTS, PARENTS

_OFF_JOINT_M = 1e-5
"""A point nearer than this to its joint is the joint, and is not carried separately."""


def _levels() -> tuple[list[int], list[tuple[int, int, list[int]]]]:
    """Joints sorted by depth; for each depth below the root its span in that order and the parents' places in it."""
    depth = np.zeros(NUM_JOINTS, int)
    for j in range(1, NUM_JOINTS):
        depth[j] = depth[PARENTS[j]] + 1
    order = np.argsort(depth, kind="stable")
    place = np.argsort(order)
    spans = []
    for d in range(1, depth.max() + 1):
        at = np.flatnonzero(depth[order] == d)
        spans.append((int(at[0]), int(at[-1]) + 1, [int(p) for p in place[PARENTS[order[at]]]]))
    return [int(j) for j in order], spans


BY_DEPTH, _SPANS = _levels()


def quaternion_product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(..., 4, B, T) a then, in its frame, b: the rotation R(a) R(b); wxyz."""
    aw, ax, ay, az = a.unbind(-3)
    bw, bx, by, bz = b.unbind(-3)
    return torch.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        dim=-3,
    )


def small_rotation(v_rad: torch.Tensor) -> torch.Tensor:
    """(..., 4, B, T) unit quaternions of axis-angle vectors (..., 3, B, T)."""
    half = 0.5 * torch.sqrt((v_rad * v_rad).sum(-3, keepdim=True) + 1e-12)
    return torch.cat([torch.cos(half), v_rad * (0.5 * torch.sin(half) / half)], dim=-3)


def rotation_matrices(q: torch.Tensor) -> torch.Tensor:
    """(J, 3, 3, B, T) of quaternions wxyz (J, 4, B, T) that need not be of unit length."""
    n = 2.0 / (q * q).sum(1)
    w, x, y, z = q.unbind(1)
    xs, ys, zs = x * n, y * n, z * n
    wx, wy, wz = w * xs, w * ys, w * zs
    xx, xy, xz = x * xs, x * ys, x * zs
    yy, yz, zz = y * ys, y * zs, z * zs
    R = q.new_empty((q.shape[0], 3, 3, *q.shape[2:]))
    torch.sub(1 - yy, zz, out=R[:, 0, 0])
    torch.sub(xy, wz, out=R[:, 0, 1])
    torch.add(xz, wy, out=R[:, 0, 2])
    torch.add(xy, wz, out=R[:, 1, 0])
    torch.sub(1 - xx, zz, out=R[:, 1, 1])
    torch.sub(yz, wx, out=R[:, 1, 2])
    torch.sub(xz, wy, out=R[:, 2, 0])
    torch.add(yz, wx, out=R[:, 2, 1])
    torch.sub(1 - xx, yy, out=R[:, 2, 2])
    return R


def write_frames_first(a: torch.Tensor, out: torch.Tensor) -> None:
    """Copy (..., B, T) to ``out`` (B, T, ...), which is contiguous."""
    frames = a.shape[-2] * a.shape[-1]
    out.view(frames, -1).copy_(a.reshape(-1, frames).T)


def forward(R_local: torch.Tensor, bones_m: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """World rotations (55, 3, 3, B, T) and positions (55, 3, B, T) less that of the pelvis, joints BY_DEPTH.

    R_local: (55, 3, 3, B, T) in the same order; bones_m: (55, 3, B) each joint's rest position less its parent's.
    """
    R, p = torch.empty_like(R_local), R_local.new_zeros((NUM_JOINTS, 3, *R_local.shape[3:]))
    R[0] = R_local[0]
    for begin, end, parents in _SPANS:
        at = torch.tensor(parents, device=R.device)
        above, local, bone = R[at], R_local[begin:end], bones_m[begin:end, :, :, None]
        out = torch.mul(above[:, :, 0, None], local[:, None, 0], out=R[begin:end])
        out.addcmul_(above[:, :, 1, None], local[:, None, 1]).addcmul_(above[:, :, 2, None], local[:, None, 2])
        place = torch.addcmul(p[at], above[:, :, 0], bone[:, None, 0], out=p[begin:end])
        place.addcmul_(above[:, :, 1], bone[:, None, 1]).addcmul_(above[:, :, 2], bone[:, None, 2])
    return R, p


@dataclass(frozen=True, slots=True, eq=False)
class CarriedPoints:
    """The points of the rigs as the networks' training needs them: joints, and points fixed to joints.

    The order is that of :func:`places`: first the 55 joints BY_DEPTH, then the S points that lie off the joints, sorted
    by the joint that carries them.
    """

    groups: tuple[tuple[int, int, int], ...]
    """For each carrying joint its place in BY_DEPTH and the span of its points among the S."""
    offset_template: torch.Tensor
    """(S, 3) offsets from the carrying joint, in its frame, on the mean body."""
    offset_shapedirs: torch.Tensor
    """(S, 3, 10)"""
    joints: torch.Tensor
    """(55,) place of each joint in SMPL-X order."""
    proxies: torch.Tensor
    """(67,) place of each proxy."""
    landmarks: torch.Tensor
    """(33,) place of each body landmark."""
    feet: torch.Tensor
    """(4,) place of each of CONTACT_POINTS."""

    def offsets_m(self, betas: torch.Tensor) -> torch.Tensor:
        """(S, 3, B) offsets for shapes (B, 10)."""
        return self.offset_template[..., None] + self.offset_shapedirs @ betas.T

    def places(self, R_world: torch.Tensor, joints_m: torch.Tensor, offsets_m: torch.Tensor) -> torch.Tensor:
        """(55 + S, 3, B, T) joints and points, of world rotations and positions BY_DEPTH and offsets (S, 3, B)."""
        out = joints_m.new_empty((NUM_JOINTS + len(offsets_m), *joints_m.shape[1:]))
        out[:NUM_JOINTS] = joints_m
        for j, begin, end in self.groups:
            R, offset = R_world[j], offsets_m[begin:end, :, :, None]
            rows = out[NUM_JOINTS + begin : NUM_JOINTS + end]
            torch.addcmul(joints_m[j], R[:, 0], offset[:, None, 0], out=rows)
            rows.addcmul_(R[:, 1], offset[:, None, 1]).addcmul_(R[:, 2], offset[:, None, 2])
        return out


def carried_points(body: BodyModel, device: torch.device) -> CarriedPoints:
    """The points of a numpy body's rigs."""
    depth_place = np.argsort(BY_DEPTH)
    rigs: list[ProxyRig] = [proxy_rig(body), blazepose_rig(body), contact_rig(body)]
    joint = np.concatenate([rig.joint for rig in rigs])
    template = np.concatenate([rig.offset_template for rig in rigs])
    directions = np.concatenate([rig.offset_shapedirs[..., :10] for rig in rigs])
    at_joint = (np.abs(template).max(1) < _OFF_JOINT_M) & (np.abs(directions).max((1, 2)) < _OFF_JOINT_M)
    # Points that several rigs share are carried once.
    key = np.concatenate([depth_place[joint][:, None], template, directions.reshape(len(joint), -1)], axis=1)
    unique, inverse = np.unique(key[~at_joint], axis=0, return_inverse=True)
    place = depth_place[joint]
    place[~at_joint] = NUM_JOINTS + inverse.reshape(-1)
    carriers = unique[:, 0].astype(int)
    groups = tuple(
        (int(j), int(np.flatnonzero(carriers == j)[0]), int(np.flatnonzero(carriers == j)[-1]) + 1)
        for j in np.unique(carriers)
    )
    places = np.split(place, np.cumsum([len(rig.joint) for rig in rigs])[:-1])
    return CarriedPoints(
        groups,
        torch.tensor(unique[:, 1:4], dtype=torch.float32, device=device),
        torch.tensor(unique[:, 4:].reshape(len(unique), 3, -1), dtype=torch.float32, device=device),
        torch.tensor(depth_place, device=device),
        *(torch.tensor(p, device=device) for p in places),
    )
