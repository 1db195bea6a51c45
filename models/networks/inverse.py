"""Rotations of the body that bring it near given points, in closed form: swings along bones, twists from the plane in
which a limb bends, trunk, head, hands and feet from triads of points. Shape is that of the mean body; what that and
the closed form leave over is learned."""

import numpy as np
import torch
from torch import nn

from ..body_stages import BodyModel
from ..markers import proxy_rig
from ..proxies import PROXY_NAMES
from ..skeleton import JOINT_NAMES, NUM_BODY_JOINTS, PARENTS
from .kinematics import cross, full_precision, matrix_of_6d, six_of_matrix, skew, turn

_SIDES = ("left", "right")
_EXTRA = (
    "nose", "left_ear", "right_ear",
    *(f"{s}_{n}" for s in _SIDES for n in ("heel", "big_toe", "small_toe")),
    *(f"{s}_hand_{k}" for s in _SIDES for k in ("index1", "middle1", "pinky1")),
)  # fmt: skip
POINT_NAMES = (*JOINT_NAMES[1:NUM_BODY_JOINTS], *_EXTRA)
"""The points: all body joints but the pelvis, which is the origin, and proxies."""
NUM_POINTS = len(POINT_NAMES)
_AT = {"pelvis": 0, **{n: i + 1 for i, n in enumerate(POINT_NAMES)}}
_LIMBS = (  # upper joint, lower joint, end, hinge of the lower joint in the rest pose
    ("left_shoulder", "left_elbow", "left_wrist", (0.0, -1.0, 0.0)),
    ("right_shoulder", "right_elbow", "right_wrist", (0.0, 1.0, 0.0)),
    ("left_hip", "left_knee", "left_ankle", (1.0, 0.0, 0.0)),
    ("right_hip", "right_knee", "right_ankle", (1.0, 0.0, 0.0)),
)
_TRIADS = {  # joint: from, to of the first axis; from, to of a second direction
    "pelvis": ("right_hip", "left_hip", "pelvis", "spine1"),
    "spine3": ("right_shoulder", "left_shoulder", "spine3", "neck"),
    "head": ("right_ear", "left_ear", "head", "nose"),
    "left_ankle": ("left_heel", "left_foot", "left_big_toe", "left_small_toe"),
    "right_ankle": ("right_heel", "right_foot", "right_big_toe", "right_small_toe"),
    "left_wrist": ("left_wrist", "left_hand_middle1", "left_hand_pinky1", "left_hand_index1"),
    "right_wrist": ("right_wrist", "right_hand_middle1", "right_hand_pinky1", "right_hand_index1"),
}
_SWUNG = (("neck", "head"), ("left_collar", "left_shoulder"), ("right_collar", "right_shoulder"))
"""Joints that swing in the chest, neck first, and where they point."""
_EXTRA_PROXY = [PROXY_NAMES.index(n) for n in _EXTRA]
STRAIGHT, BENT = 0.03, 0.18
"""One minus the cosine of a bend below which a limb's plane says nothing of its twist, and above which it says all."""


def points_of(joints: torch.Tensor, proxies: torch.Tensor) -> torch.Tensor:
    """POINT_NAMES (..., N, 3) among joints (..., 55, 3) about the pelvis and proxies (..., >= 67, 3)."""
    return torch.cat([joints[..., 1:NUM_BODY_JOINTS, :], proxies[..., _EXTRA_PROXY, :]], dim=-2)


class InverseKinematics(nn.Module):
    """Constants of the mean body at rest."""

    def __init__(self, body: BodyModel) -> None:
        super().__init__()
        rest = torch.as_tensor(np.asarray(body.J_template - body.J_template[0]), dtype=torch.float32)
        marks = torch.as_tensor(proxy_rig(body).points_template - body.J_template[0], dtype=torch.float32)
        points = torch.cat([torch.zeros(1, 3), points_of(rest, marks)])

        def keep(name: str, value: torch.Tensor) -> None:
            self.register_buffer(name, value.contiguous(), persistent=False)

        ends = torch.tensor([[_AT[n] for n in row] for row in _TRIADS.values()])
        keep("triad_ends", ends)
        keep("triads_rest", self._triads(points, ends))
        limbs = torch.tensor([[_AT[n] for n in row[:3]] for row in _LIMBS])
        keep("limb_ends", limbs)
        upper = unit(points[limbs[:, 1]] - points[limbs[:, 0]])
        hinge = torch.tensor([row[3] for row in _LIMBS])
        keep("upper_rest", upper)
        keep("lower_rest", unit(points[limbs[:, 2]] - points[limbs[:, 1]]))
        keep("hinge_rest", hinge)
        keep("limbs_rest", axes_of(upper, hinge))
        swung = torch.tensor([[_AT[a], _AT[b]] for a, b in _SWUNG])
        keep("swung_ends", swung)
        keep("swung_rest", unit(points[swung[:, 1]] - points[swung[:, 0]]))
        found = [
            *_TRIADS,
            "spine1",
            "spine2",
            *(a for a, _ in _SWUNG),
            *(r[0] for r in _LIMBS),
            *(r[1] for r in _LIMBS),
        ]
        toes = {"left_foot": "left_ankle", "right_foot": "right_ankle"}
        keep("order", torch.tensor([found.index(toes.get(n, n)) for n in JOINT_NAMES[:NUM_BODY_JOINTS]]))
        keep("above", torch.tensor(PARENTS[1:NUM_BODY_JOINTS].tolist()))

    @staticmethod
    def _triads(points: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
        a, b, c, d = (points.index_select(-2, ends[:, k]) for k in range(4))
        return axes_of(b - a, d - c)

    @full_precision
    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """(..., 22, 3, 3) local rotations, row 0 the root's in the axes of points (..., NUM_POINTS, 3) about the
        pelvis."""
        p = torch.cat([torch.zeros_like(points[..., :1, :]), points], dim=-2)
        solid = self._triads(p, self.get_buffer("triad_ends")) @ self.get_buffer("triads_rest").transpose(-1, -2)
        pelvis, spine3 = solid[..., :1, :, :], solid[..., 1:2, :, :]
        third = cube_root(pelvis.transpose(-1, -2) @ spine3)
        spine1 = pelvis @ third
        # Neck and collars swing in the chest.
        swung = self.get_buffer("swung_ends")
        along = unit(p.index_select(-2, swung[:, 1]) - p.index_select(-2, swung[:, 0]))
        swing = spine3 @ shortest_arc(self.get_buffer("swung_rest"), turned_back(spine3, along))
        upper, lower = self._limbs(p, torch.cat([swing[..., 1:, :, :], pelvis, pelvis], dim=-3))
        found = torch.cat([solid, spine1, spine1 @ third, swing, upper, lower], dim=-3)
        whole = found.index_select(-3, self.get_buffer("order"))
        above = whole.index_select(-3, self.get_buffer("above"))
        return torch.cat([whole[..., :1, :, :], above.transpose(-1, -2) @ whole[..., 1:, :, :]], dim=-3)

    def _limbs(self, p: torch.Tensor, parents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(..., 4, 3, 3) rotations of the upper and the lower joints, given those of the joints above."""
        ends = self.get_buffer("limb_ends")
        top, middle, end = (p.index_select(-2, ends[:, k]) for k in range(3))
        u, v = unit(middle - top), unit(end - middle)
        swing = parents @ shortest_arc(self.get_buffer("upper_rest"), turned_back(parents, u))
        plain = (swing @ self.get_buffer("hinge_rest").unsqueeze(-1))[..., 0]
        seen = unit(cross(u, v))
        bend = 1 - (u * v).sum(-1, keepdim=True)
        sure = ((bend - STRAIGHT) / (BENT - STRAIGHT)).clamp(0, 1) * ((seen * plain).sum(-1, keepdim=True) + 0.6).clamp(
            0, 1
        )
        hinge = sure * seen + (1 - sure) * plain
        upper = axes_of(u, hinge) @ self.get_buffer("limbs_rest").transpose(-1, -2)
        lower = upper @ shortest_arc(self.get_buffer("lower_rest"), turned_back(upper, v))
        return upper, lower


def unit(v: torch.Tensor) -> torch.Tensor:
    """v (..., 3) of length one; zero where it has none."""
    return v / v.norm(dim=-1, keepdim=True).clamp_min(1e-6)


def axes_of(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """(..., 3, 3) right-handed axes as columns: along ``first``, towards ``second`` as far as it is square to it."""
    x = unit(first)
    z = unit(cross(x, second))
    return torch.stack([x, cross(z, x), z], dim=-1)


def turned_back(R: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """R^T v for R (..., 3, 3) and v (..., 3)."""
    return (R.transpose(-1, -2) @ v.unsqueeze(-1))[..., 0]


def shortest_arc(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(..., 3, 3) the smallest turn from unit vectors a to unit vectors b; half a turn where they are opposed."""
    v = cross(a.expand_as(b), b)
    c = (a * b).sum(-1)[..., None, None]
    eye = torch.eye(3, dtype=b.dtype, device=b.device)
    R = c * eye + skew(v) + v.unsqueeze(-1) * v.unsqueeze(-2) / (1 + c).clamp_min(0.02)
    return matrix_of_6d(six_of_matrix(R))


def cube_root(R: torch.Tensor) -> torch.Tensor:
    """(..., 3, 3) the rotation that, done three times, is R."""
    w = ((1 + R.diagonal(dim1=-1, dim2=-2).sum(-1, keepdim=True)).clamp_min(0.1)).sqrt() / 2
    odd = (R - R.transpose(-1, -2)).flatten(-2)
    v = odd.index_select(-1, torch.tensor([7, 2, 3], device=R.device)) / (4 * w)
    s = v.norm(dim=-1, keepdim=True)
    third = torch.atan(s / w) / 3
    # turn() takes twice the tangent of half the angle
    return turn(v * torch.where(s > 1e-6, 2 * torch.tan(third) / s.clamp_min(1e-6), torch.full_like(s, 2 / 3)))
