"""How far states are from the truth, in terms that each have a unit."""

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from ...models.networks.inverse import points_of
from ...models.networks.kinematics import BodyPoints, camera_axes_of_up
from ...models.networks.state import NUM_BODY, State
from ...models.proxies import BODY, LEFT_HAND, NUM_PROXIES, RIGHT_HAND
from ...models.skeleton import JOINT_GROUPS, JOINT_NAMES
from .targets import Targets

WEIGHTS = {
    "joints": 1.0,  # metres
    "points": 1.0,  # metres, of the closed form's points
    "hands": 2.0,  # metres about the wrist
    "rotations": 0.06,  # about radians
    "finger_rotations": 0.02,
    "image": 0.5,  # box units
    "depth": 0.25,  # relative
    "up": 0.5,  # about radians
    "height": 0.3,  # metres
    "step": 3.0,  # metres a frame
    "contact": 0.05,  # nats
    "shape": 1.0,  # metres of the rest joints
    "betas": 0.003,
    "speed": 2.0,  # metres a frame, joints about the pelvis
    "skate": 2.0,  # metres a frame of standing points
    "sigma": 0.01,
    "group_error": 0.01,
}
"""Weight of each term, once all of them are in."""
DESCENT_WEIGHTS = {"image": 2.0, "speed": 0.5, "skate": 0.5}
"""Weights that differ in the descent, whose part is what the picture shows; the fusion that follows smooths anyway."""
MOTION_TERMS = ("step", "speed", "skate")
"""Terms of differences between frames. Poses that are still wrong have little to gain from them but standing still, so
they come in slowly."""
EARLY_SHARE, LATE_BEGIN, LATE_END = 0.1, 0.3, 0.8
"""Their share of their weight at first, and the parts of a stage between which it grows to one."""
_GROUPS = [[JOINT_NAMES.index(n) for n in names] for names in JOINT_GROUPS.values()]
_SIDES = (LEFT_HAND, RIGHT_HAND)


def losses(
    state: State, box: torch.Tensor, truth: Targets, points: BodyPoints, static: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Every term's mean over the batch, unweighted. static (B,) bool: standing points must not move in the camera."""
    _, joints, marks = points(state.R_local(), state.betas)
    proxies, true_proxies = marks[..., :NUM_PROXIES, :], truth.points_m[..., :NUM_PROXIES, :]
    out: dict[str, torch.Tensor] = {}
    body = torch.cat([joints[..., 1:NUM_BODY, :], proxies[..., BODY, :]], dim=-2)
    true_body = torch.cat([truth.joints_m[..., 1:NUM_BODY, :], true_proxies[..., BODY, :]], dim=-2)
    out["joints"] = _length(body - true_body).mean()
    out["points"] = _length(state.points_m - points_of(truth.joints_m, true_proxies)).mean()
    hands = [_about_first(proxies[..., s, :]) - _about_first(true_proxies[..., s, :]) for s in _SIDES]
    out["hands"] = torch.cat([_length(h[..., 1:, :]) for h in hands], dim=-1).mean()
    out["rotations"] = _angle(state.R_body, truth.R_local[..., :NUM_BODY, :, :]).mean()
    out["finger_rotations"] = _angle(state.R_hands, truth.R_local[..., 25:, :, :]).mean()

    root = state.root_cam_m(box)
    z, true_z = root[..., 2:], truth.root_cam_m[..., 2:]
    at, true_at = (p / q.clamp_min(0.3) for p, q in ((root[..., :2], z), (truth.root_cam_m[..., :2], true_z)))
    across = _length((at - true_at) / box[..., 2:]).clamp_max(2.0)
    relative = (torch.log(z.clamp_min(0.05)) - torch.log(true_z.clamp_min(0.3))).abs().squeeze(-1)
    out["depth"] = relative.mean()
    drawn = _projected(marks[..., :25, :] + root.unsqueeze(-2)) - _projected(
        truth.points_m[..., :25, :] + truth.root_cam_m.unsqueeze(-2)
    )
    out["image"] = (_length(drawn / box[..., None, 2:]).clamp_max(1.0)).mean() + across.mean()

    out["up"] = _length(state.up_cam - truth.up_cam).mean()
    out["height"] = (state.height_m - truth.height_m).abs().mean()
    step_error = (state.step_m - truth.step_m)[:, 1:]
    out["step"] = _length(step_error, 1e-4).mean()
    out["contact"] = binary_cross_entropy_with_logits(state.contact, truth.contact)
    out["shape"] = _length(points.rest_joints_m(state.betas)[..., :25, :] - truth.rest_joints_m[..., :25, :]).mean()
    out["betas"] = ((state.betas - truth.betas) ** 2).mean()

    moved = torch.diff(body, dim=1) - torch.diff(true_body, dim=1)
    out["speed"] = _length(moved, 1e-4).mean()
    feet, true_feet = marks[..., NUM_PROXIES:, :], truth.points_m[..., NUM_PROXIES:, :]
    stands = (truth.contact[:, 1:] * truth.contact[:, :-1]).unsqueeze(-1)
    axes, true_axes = state.R_cam_human()[:, 1:], camera_axes_of_up(truth.up_cam)[:, 1:]
    slid = torch.diff(feet, dim=1) @ axes + state.step_m[:, 1:, None]
    true_slid = torch.diff(true_feet, dim=1) @ true_axes + truth.step_m[:, 1:, None]
    seen_slid = torch.diff(feet + root.unsqueeze(-2), dim=1) - torch.diff(
        true_feet + truth.root_cam_m.unsqueeze(-2), dim=1
    )
    still = stands * static[:, None, None, None].to(stands.dtype)
    total = stands.sum().clamp_min(1.0)
    out["skate"] = (_length((slid - true_slid) * stands, 1e-4).sum() / total) + 0.3 * (
        _length(seen_slid * still, 1e-4).clamp_max(0.1).sum() / total
    )

    errors = torch.stack([across * box[..., 2].clamp_min(0.02), relative], dim=-1).detach()
    out["sigma"] = _laplace(errors, state.log_sigma)
    gaps = _length(joints - truth.joints_m).detach()
    groups = torch.stack([gaps[..., g].mean(-1) for g in _GROUPS], dim=-1)
    out["group_error"] = _laplace(groups, state.log_group_error)
    return out


def total(terms: dict[str, torch.Tensor], progress: float = 1.0, *, descent: bool = False) -> torch.Tensor:
    """The weighted sum, ``progress`` (0 to 1) of the way through a stage; descent: of the second."""
    weights = WEIGHTS | DESCENT_WEIGHTS if descent else WEIGHTS
    u = min(max((progress - LATE_BEGIN) / (LATE_END - LATE_BEGIN), 0.0), 1.0)
    late = EARLY_SHARE + (1 - EARLY_SHARE) * u * u * (3 - 2 * u)
    return torch.stack([weights[k] * (late if k in MOTION_TERMS else 1.0) * v for k, v in terms.items()]).sum()


def _length(v: torch.Tensor, soft: float = 1e-3) -> torch.Tensor:
    """Euclidean length, rounded off below ``soft`` so that its gradient stays finite."""
    return ((v * v).sum(-1) + soft * soft).sqrt()


def _about_first(p: torch.Tensor) -> torch.Tensor:
    return p - p[..., :1, :]


def _angle(R: torch.Tensor, true_R: torch.Tensor) -> torch.Tensor:
    """2 sqrt(2) sin(angle / 2): about the angle times 1.4, without its kinks."""
    return (((R - true_R) ** 2).sum((-1, -2)) + 1e-6).sqrt() / 1.414


def _projected(p: torch.Tensor) -> torch.Tensor:
    return p[..., :2] / p[..., 2:].clamp_min(0.3)


def _laplace(error: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    """Negative log likelihood of errors under a Laplace distribution of that scale."""
    s = log_scale.clamp(-8, 3)
    return (error * torch.exp(-s) + s).mean()
