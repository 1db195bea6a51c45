"""Gradients of the reprojection and the contact energy with respect to every joint, in closed form (J^T r).

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
