"""Accuracy on held-out scenes while training: the measures of :mod:`hmcap.tools.evaluation.metrics`, in torch."""

from collections.abc import Sequence

import torch

from ...models.networks.inverse import points_of
from ...models.networks.motion_network import MotionNetwork
from ...models.networks.state import NUM_BODY, State
from ...models.proxies import LEFT_HAND, NUM_PROXIES, RIGHT_HAND
from .batches import Batch
from .targets import Targets
from .unroll import unroll

LIMBS = (1, 2, 4, 5, 7, 8, 16, 17, 18, 19, 20, 21)
"""Hips, knees, ankles, shoulders, elbows, wrists."""


@torch.no_grad()
def held_out(
    network: MotionNetwork, batches: Sequence[Batch], lookahead: int, *, descent: bool = True
) -> dict[str, float]:
    """Means over the batches, of the last state and, with the descent, of the initialiser (names with ``first_``):
    MPJPE and PA-MPJPE of 22 and of 12 limb joints, of the hands about their wrists after Procrustes, in mm; angles in
    degrees; acceleration error in m/s^2; relative depth in per cent; contact F1."""
    sums: dict[str, float] = {}
    for batch in batches:
        states, box, truth = unroll(network, batch, lookahead, descent=descent, amp=False)
        for prefix, state in (("", states[-1]), ("first_", states[0]))[: len(states)]:
            for k, v in measures(network, state, box, truth).items():
                sums[prefix + k] = sums.get(prefix + k, 0.0) + v / len(batches)
    return sums


def measures(network: MotionNetwork, state: State, box: torch.Tensor, truth: Targets) -> dict[str, float]:
    """The measures of one batch; the names say the unit."""
    _, joints, marks = network.points(state.R_local(), state.betas)
    body, true_body = joints[..., :NUM_BODY, :], truth.joints_m[..., :NUM_BODY, :]
    limbs, true_limbs = joints[..., LIMBS, :], truth.joints_m[..., LIMBS, :]
    proxies = marks[..., :NUM_PROXIES, :]
    true_proxies = truth.points_m[..., :NUM_PROXIES, :]
    hands, true_hands = (torch.stack([p[..., s, :] for s in (LEFT_HAND, RIGHT_HAND)]) for p in (proxies, true_proxies))
    relative = state.R_body.transpose(-1, -2) @ truth.R_local[..., :NUM_BODY, :, :]
    cosine = ((relative.diagonal(dim1=-1, dim2=-2).sum(-1) - 1) / 2).clamp(-1, 1)
    accel = torch.diff(body, n=2, dim=1) - torch.diff(true_body, n=2, dim=1)
    z = state.root_cam_m(box)[..., 2]
    on, true_on = state.contact > 0, truth.contact > 0.5
    hit = (on & true_on).sum()
    points, true_points = state.points_m, points_of(truth.joints_m, true_proxies)
    return {
        "points_pa_mm": 1000 * _gap(procrustes(points, true_points), true_points),
        "mpjpe_mm": 1000 * _gap(body, true_body),
        "pa_mm": 1000 * _gap(procrustes(body, true_body), true_body),
        "limbs_mm": 1000 * _gap(limbs - limbs[..., :2, :].mean(-2, keepdim=True),
                                true_limbs - true_limbs[..., :2, :].mean(-2, keepdim=True)),
        "limbs_pa_mm": 1000 * _gap(procrustes(limbs, true_limbs), true_limbs),
        "hand_pa_mm": 1000 * _gap(procrustes(hands, true_hands), true_hands),
        "angle_deg": float(torch.rad2deg(torch.acos(cosine)).mean()),
        "accel_m_s2": 900 * float(accel.norm(dim=-1).mean()),
        "depth_percent": 100 * float((z / truth.root_cam_m[..., 2] - 1).abs().mean()),
        "contact_f1": float(2 * hit / (on.sum() + true_on.sum()).clamp_min(1)),
    }  # fmt: skip


def _gap(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm(dim=-1).mean())


def procrustes(points: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Points (..., N, 3) moved, turned and scaled onto the target's (..., N, 3), frame by frame."""
    mean, to = points.mean(-2, keepdim=True), target.mean(-2, keepdim=True)
    a, b = (points - mean).double(), (target - to).double()
    U, S, Vt = torch.linalg.svd(a.transpose(-1, -2) @ b)
    sign = torch.sign(torch.linalg.det(U @ Vt))
    d = torch.ones_like(S)
    d[..., 2] = sign
    scale = (S * d).sum(-1) / (a * a).sum((-1, -2)).clamp_min(1e-12)
    R = (U * d.unsqueeze(-2)) @ Vt
    return ((scale[..., None, None] * (a @ R)).to(points.dtype)) + to
