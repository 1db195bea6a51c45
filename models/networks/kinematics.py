"""The body in torch, as far as the networks need it: joints, proxies and foot points, without skinning."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import nn

from ..body_stages import BodyModel
from ..markers import contact_rig, proxy_rig
from ..skeleton import NUM_JOINTS, PARENTS

_SKEW = [[0.0, 0, 0, 0, 0, -1, 0, 1, 0], [0, 0, 1, 0, 0, 0, -1, 0, 0], [0, -1, 0, 1, 0, 0, 0, 0, 0]]
"""A vector times this is its cross-product matrix, row after row."""


def full_precision(function: Callable[..., Any]) -> Callable[..., Any]:
    """Runs geometry in float32 where the learned layers around it run in a shorter type."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        device = next((a.device.type for a in args if isinstance(a, torch.Tensor)), "cpu")
        if not torch.is_autocast_enabled(device):
            return function(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            wide = [a.float() if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in args]
            return function(*wide, **kwargs)

    return run


class BodyPoints(nn.Module):
    """Rest joints, proxies and CONTACT_POINTS of a body as functions of shape and rotations; constants only."""

    J_template: torch.Tensor
    J_dirs: torch.Tensor
    offset: torch.Tensor
    offset_dirs: torch.Tensor
    carrier: torch.Tensor
    below: torch.Tensor

    def __init__(self, body: BodyModel) -> None:
        super().__init__()
        rigs = (proxy_rig(body), contact_rig(body))

        def keep(name: str, value: np.ndarray) -> None:
            dtype = torch.int64 if np.issubdtype(np.asarray(value).dtype, np.integer) else torch.float32
            self.register_buffer(name, torch.as_tensor(np.asarray(value), dtype=dtype), persistent=False)

        keep("J_template", body.J_template - body.J_template[0])
        keep("J_dirs", (body.J_shapedirs - body.J_shapedirs[:1]).reshape(NUM_JOINTS * 3, -1))
        keep("offset", np.concatenate([r.offset_template for r in rigs]))
        keep("offset_dirs", np.concatenate([r.offset_shapedirs for r in rigs]).reshape(71 * 3, -1))
        carrier = np.concatenate([r.joint for r in rigs])
        keep("carrier", carrier)
        below = np.zeros((NUM_JOINTS, len(carrier)), np.float32)
        for i, j in enumerate(carrier):
            while j >= 0:
                below[j, i] = 1
                j = PARENTS[j]
        keep("below", below)
        depth = np.zeros(NUM_JOINTS, int)
        for j in range(1, NUM_JOINTS):
            depth[j] = depth[PARENTS[j]] + 1
        self._levels = [np.flatnonzero(depth == d) for d in range(depth.max() + 1)]
        order = np.concatenate(self._levels)
        keep("order", order)
        keep("undo", np.argsort(order))
        for d in range(1, len(self._levels)):
            keep(f"above{d}", np.searchsorted(self._levels[d - 1], PARENTS[self._levels[d]]))
        keep("parents", np.maximum(PARENTS, 0))

    def rest_joints_m(self, betas: torch.Tensor) -> torch.Tensor:
        """(..., 55, 3) rest joints less the pelvis, for betas (..., B)."""
        return self.J_template + (betas @ self.J_dirs.T).unflatten(-1, (NUM_JOINTS, 3))

    def offsets_m(self, betas: torch.Tensor) -> torch.Tensor:
        """(..., 71, 3) rest offsets of 67 proxies and 4 contact points from their joints."""
        return self.offset + (betas @ self.offset_dirs.T).unflatten(-1, (71, 3))

    @full_precision
    def forward(self, R_local: torch.Tensor, betas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Joints and points about the pelvis, in the axes that R_local's row 0 turns the root into.

        R_local (..., 55, 3, 3), betas (..., B). Returns rotations (..., 55, 3, 3) and positions (..., 55, 3) of the
        joints, and the points (..., 71, 3): 67 proxies, 4 CONTACT_POINTS.
        """
        rest = self.rest_joints_m(betas)
        bones = rest - rest.index_select(-2, self.get_buffer("parents"))
        local = _rigid(R_local, bones).index_select(-3, self.get_buffer("order"))
        moved, begin = [local[..., :1, :, :]], 1
        for d, level in enumerate(self._levels[1:], start=1):
            above = moved[-1].index_select(-3, self.get_buffer(f"above{d}"))
            moved.append(above @ local[..., begin : begin + len(level), :, :])
            begin += len(level)
        frames = torch.cat(moved, dim=-3).index_select(-3, self.get_buffer("undo"))
        offsets = self.offsets_m(betas).unsqueeze(-1)
        one = offsets[..., :1, :] * 0 + 1
        points = frames.index_select(-3, self.carrier)[..., :3, :] @ torch.cat([offsets, one], dim=-2)
        return frames[..., :3, :3], frames[..., :3, 3], points[..., 0]


def _rigid(R: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """(..., 4, 4) rigid transforms of rotations R (..., 3, 3) and translations t (..., 3)."""
    upper = torch.cat([R, t.unsqueeze(-1)], dim=-1)
    return torch.cat([upper, upper[..., :1, :] * 0 + upper.new_tensor([0.0, 0, 0, 1])], dim=-2)


def matrix_of_6d(six: torch.Tensor) -> torch.Tensor:
    """(..., 3, 3) rotations of (..., 6): the first two columns, made orthonormal (Zhou et al., 2019)."""
    a, b = six[..., :3], six[..., 3:]
    x = a / a.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    y = b - (x * b).sum(-1, keepdim=True) * x
    y = y / y.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    return torch.stack([x, y, cross(x, y)], dim=-1)


def six_of_matrix(R: torch.Tensor) -> torch.Tensor:
    """(..., 6) first two columns of (..., 3, 3)."""
    return torch.cat([R[..., 0], R[..., 1]], dim=-1)


def turn(w: torch.Tensor) -> torch.Tensor:
    """(..., 3, 3) rotations about w (..., 3) by the angle 2 atan(|w| / 2), which is |w| where it is small."""
    K = skew(w / 2)
    n = 1 / (1 + (w * w).sum(-1)[..., None, None] / 4)
    return torch.eye(3, dtype=w.dtype, device=w.device) + 2 * n * (K + K @ K)


def skew(v: torch.Tensor) -> torch.Tensor:
    """(..., 3, 3) cross-product matrices of v (..., 3). One product with a constant, which engines run at once."""
    return (v @ v.new_tensor(_SKEW)).unflatten(-1, (3, 3))


def cross(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(..., 3) cross product, in operations that every engine has."""
    one, two = (torch.tensor(k, device=a.device) for k in ([1, 2, 0], [2, 0, 1]))
    return a.index_select(-1, one) * b.index_select(-1, two) - a.index_select(-1, two) * b.index_select(-1, one)


def camera_axes_of_up(up_cam: torch.Tensor) -> torch.Tensor:
    """(..., 3, 3) R_cam_human of human space whose yaw is the camera's: Y is up (..., 3), and the camera's front axis
    lies in the y-z plane and looks along -Z. For a camera that looks straight up or down the picture's own up takes
    the place of the front axis."""
    y = up_cam
    front = torch.tensor([0.0, 0.0, 1.0], dtype=up_cam.dtype, device=up_cam.device).expand_as(y)
    back = -(front - (front * y).sum(-1, keepdim=True) * y)
    length = back.norm(dim=-1, keepdim=True)
    down = torch.tensor([0.0, 1.0, 0.0], dtype=up_cam.dtype, device=up_cam.device).expand_as(y)
    other = down - (down * y).sum(-1, keepdim=True) * y
    z = torch.where(
        length > 1e-3, back / length.clamp_min(1e-3), other / other.norm(dim=-1, keepdim=True).clamp_min(1e-3)
    )
    return torch.stack([cross(y, z), y, z], dim=-1)
