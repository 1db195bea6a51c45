"""Gradients of the reprojection and the contact energy with respect to every joint, in closed form (J^T r), and the
damped Gauss-Newton step of the former.

Turning joint j by a small w about its own axes moves a point p below it by (R_j w) x (p - x_j). An energy whose
gradient at the points is g then changes by w . R_j^T sum over the points below of (p - x_j) x g: the sum is a product
with the matrix of which point hangs on which joint, and nothing is differentiated by a machine.
"""

import torch

from .kinematics import cross, full_precision

DAMPING = 0.02
"""Added to the curvature, so that joints that hardly move what is seen take no large steps."""


@full_precision
def reprojection(
    points_cam: torch.Tensor, seen_xy: torch.Tensor, weight: torch.Tensor, size: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Residuals (..., N, 2) of seen minus projected points in units of the box, zero where the weight is, the gradient
    (..., N, 3) of half their weighted square with respect to the points in the camera, and its curvature (..., N).

    points_cam (..., N, 3), seen_xy (..., N, 2) normalised, weight (..., N), size (..., 1) of the box.
    """
    z = points_cam[..., 2:].clamp_min(0.1)
    projected = points_cam[..., :2] / z
    scale = size.unsqueeze(-1)
    residual = ((seen_xy - projected) / scale).clamp(-1.0, 1.0) * (weight.unsqueeze(-1) > 0)
    pull = -residual * weight.unsqueeze(-1) / (z * scale)
    g = torch.cat([pull, -(pull * projected).sum(-1, keepdim=True)], dim=-1)
    curvature = weight / (z * scale).squeeze(-1) ** 2
    return residual, g, curvature


@full_precision
def joint_steps(
    R_joint: torch.Tensor,
    joints: torch.Tensor,
    points: torch.Tensor,
    g: torch.Tensor,
    curvature: torch.Tensor,
    below: torch.Tensor,
) -> torch.Tensor:
    """(..., J, 3) damped descent steps of all joints about their own axes: minus gradient over curvature.

    R_joint (..., J, 3, 3) and joints (..., J, 3) in the axes of points (..., N, 3) and their gradient g (..., N, 3);
    curvature (..., N); below (J, N) is 1 where the point hangs on the joint.
    """
    force = below @ g
    torque = below @ cross(points, g) - cross(joints, force)
    square = (points * points).sum(-1, keepdim=True)
    weight = curvature.unsqueeze(-1)
    # sum over the points below of curvature |p - x|^2, without forming the differences
    lever = (
        below @ (weight * square)
        - 2 * (joints * (below @ (weight * points))).sum(-1, keepdim=True)
        + (joints * joints).sum(-1, keepdim=True) * (below @ weight)
    )
    local = (R_joint.transpose(-1, -2) @ torque.unsqueeze(-1)).squeeze(-1)
    return -local / (lever.clamp_min(0) + DAMPING)


ROBUST = 0.03
"""Residual, in units of the box, at which a point begins to count as an outlier."""


@full_precision
def gauss_newton(
    R_joint: torch.Tensor,
    joints: torch.Tensor,
    points: torch.Tensor,
    root: torch.Tensor,
    seen_xy: torch.Tensor,
    weight: torch.Tensor,
    size: torch.Tensor,
    stiffness: torch.Tensor,
    below: torch.Tensor,
    rounds: int,
) -> torch.Tensor:
    """(..., J + 1, 3) turns of all joints about their own axes, and the root's displacement in metres, that minimise the
    weighted square of the linearised reprojection residuals plus stiffness times the square of the step.

    The normal equations are never formed: ``rounds`` rounds of preconditioned conjugate gradients, each of which needs
    J v and J^T v, sums over the kinematic tree. R_joint (..., J, 3, 3) and joints (..., J, 3) in the axes of points
    (..., N, 3) about the root (..., 3) in the camera; seen_xy (..., N, 2) normalised, weight (..., N), size (..., 1) of the
    box, stiffness (..., J + 1, 1); below (J, N) is 1 where the point hangs on the joint.
    """
    seen = points + root.unsqueeze(-2)
    z = seen[..., 2:].clamp_min(0.1)
    projected = seen[..., :2] / z
    unit = 1 / (z * size.unsqueeze(-1))
    residual = ((seen_xy - projected) / size.unsqueeze(-1)) * (weight.unsqueeze(-1) > 0)
    trust = weight.unsqueeze(-1) / (1 + (residual * residual).sum(-1, keepdim=True) / ROBUST**2)
    above = below.transpose(0, 1)

    def pushed(step: torch.Tensor) -> torch.Tensor:
        """J v: what the residuals of the points (..., N, 2) lose."""
        turn_cam = (R_joint @ step[..., :-1, :].unsqueeze(-1)).squeeze(-1)
        moved = cross(above @ turn_cam, points) - above @ cross(turn_cam, joints) + step[..., -1:, :]
        return (moved[..., :2] - projected * moved[..., 2:]) * unit

    def pulled(q: torch.Tensor) -> torch.Tensor:
        """J^T q."""
        g = torch.cat([q, -(q * projected).sum(-1, keepdim=True)], dim=-1) * unit
        force = below @ g
        torque = below @ cross(points, g) - cross(joints, force)
        return torch.cat([(R_joint.transpose(-1, -2) @ torque.unsqueeze(-1)).squeeze(-1), g.sum(-2, keepdim=True)], -2)

    curvature = trust * unit * unit
    lever = (
        below @ (curvature * (points * points).sum(-1, keepdim=True))
        - 2 * (joints * (below @ (curvature * points))).sum(-1, keepdim=True)
        + (joints * joints).sum(-1, keepdim=True) * (below @ curvature)
    ).clamp_min(0)
    scale = 1 / (torch.cat([lever, curvature.sum(-2, keepdim=True)], dim=-2) * 0.6 + stiffness)
    left = pulled(trust * residual)
    step = torch.zeros_like(left)
    along = scale * left
    size2 = (left * along).sum((-1, -2), keepdim=True)
    for _ in range(rounds):
        image = pulled(trust * pushed(along)) + stiffness * along
        alpha = size2 / (along * image).sum((-1, -2), keepdim=True).clamp_min(1e-12)
        step = step + alpha * along
        left = left - alpha * image
        better = scale * left
        now = (left * better).sum((-1, -2), keepdim=True)
        along = better + now / size2.clamp_min(1e-12) * along
        size2 = now
    return step
