"""The mirror image of what is seen and of what is estimated: two looks at one person, whose errors partly cancel."""

from dataclasses import fields

import torch

from ..observed import Observed
from ..proxies import BLAZEPOSE_NAMES, PROXY_NAMES
from ..skeleton import CONTACT_POINTS, JOINT_GROUPS, JOINT_NAMES
from .inverse import POINT_NAMES
from .kinematics import matrix_of_6d, six_of_matrix
from .state import NUM_BODY, State


def _swapped(names: tuple[str, ...]) -> list[int]:
    """For each name the index of the same on the other side."""

    def other(name: str) -> str:
        for a, b in (("left", "right"), ("right", "left")):
            if name.startswith(f"{a}_") or name.endswith(f"_{a}"):
                return name.replace(a, b)
        return name

    return [names.index(other(n)) for n in names]


_PROXIES, _BLAZEPOSE, _POINTS = _swapped(PROXY_NAMES), _swapped(BLAZEPOSE_NAMES), _swapped(POINT_NAMES)
_BODY = _swapped(JOINT_NAMES[:NUM_BODY])
_FINGERS = [*range(15, 30), *range(15)]
MIRRORED_JOINTS = _swapped(JOINT_NAMES)
"""For each joint the index of the same on the other side."""
MIRRORED_CONTACT = _swapped(CONTACT_POINTS)
"""The same for the foot points, and"""
MIRRORED_MARKS = [*_PROXIES, *(len(PROXY_NAMES) + i for i in MIRRORED_CONTACT)]
"""for the proxies with the foot points after them."""
_GROUPS = _swapped(tuple(JOINT_GROUPS))
_SIDES = [1, 0]


def flip(v: torch.Tensor) -> torch.Tensor:
    """The mirror image of vectors (..., 2 or 3) with x turned over."""
    return torch.cat([-v[..., :1], v[..., 1:]], dim=-1)


def flip_matrices(R: torch.Tensor) -> torch.Tensor:
    """The mirror image M R M of rotations (..., 3, 3), M = diag(-1, 1, 1)."""
    return R * R.new_tensor([[1.0, -1, -1], [-1, 1, 1], [-1, 1, 1]])


def mirrored_observed(o: Observed) -> Observed:
    """What the same camera would see of the mirror image."""
    return Observed(
        flip(o.xy[..., _PROXIES, :]),
        o.confidence[..., _PROXIES],
        flip(o.body_xyz_m[..., _BLAZEPOSE, :]),
        o.body_xyz_known,
        flip(o.hands_xyz_m[..., _SIDES, :, :]),
        o.hands_xyz_known[..., _SIDES],
    )


def mirrored_state(s: State) -> State:
    """The estimate of the mirror image. Bodies are the same on both sides, so their shape stays."""
    return State(
        betas=s.betas,
        R_body=flip_matrices(s.R_body[..., _BODY, :, :]),
        R_hands=flip_matrices(s.R_hands[..., _FINGERS, :, :]),
        place=flip(s.place),
        up_cam=flip(s.up_cam),
        height_m=s.height_m,
        step_m=flip(s.step_m),
        contact=s.contact[..., MIRRORED_CONTACT],
        log_sigma=s.log_sigma,
        log_group_error=s.log_group_error[..., _GROUPS],
        points_m=flip(s.points_m[..., _POINTS, :]),
    )


def mean_state(a: State, b: State) -> State:
    """The middle of two estimates."""
    middle = {f.name: (getattr(a, f.name) + getattr(b, f.name)) / 2 for f in fields(State)}
    for name in ("R_body", "R_hands"):
        middle[name] = matrix_of_6d(six_of_matrix(getattr(a, name)) + six_of_matrix(getattr(b, name)))
    middle["up_cam"] = middle["up_cam"] / middle["up_cam"].norm(dim=-1, keepdim=True).clamp_min(1e-6)
    return State(**middle)
