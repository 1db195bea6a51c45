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
_TINY = 1e-30
"""Keeps a system that is solved already from dividing by nothing."""
ROBUST = 0.03
"""Residual, in units of the box, at which a point begins to count as an outlier."""


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
    curvature = weight / (z * scale)[..., 0] ** 2
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
    local = (R_joint.transpose(-1, -2) @ torque.unsqueeze(-1))[..., 0]
    return -local / (lever.clamp_min(0) + DAMPING)


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
    """(..., J + 1, 3) turns of the joints about their own axes, and the root's displacement in metres, that minimise
    the weighted square of the linearised reprojection residuals plus stiffness times the square of the step; by
    ``rounds`` rounds of preconditioned conjugate gradients on the normal equations.

    R_joint (..., J, 3, 3) and joints (..., J, 3) in the axes of points (..., N, 3) about the root (..., 3) in the
    camera; seen_xy (..., N, 2) normalised, weight (..., N), size (..., 1) of the box, stiffness (..., J + 1); below
    (J, N) is 1 where the point hangs on the joint. Gradients go to weight and stiffness alone.
    """
    R_joint, joints, points, root = (x.detach() for x in (R_joint, joints, points, root))
    seen = points + root.unsqueeze(-2)
    z = seen[..., 2:].clamp_min(0.1)
    projected = seen[..., :2] / z
    unit = 1 / (z * size.unsqueeze(-1))
    residual = ((seen_xy - projected) / size.unsqueeze(-1)) * (weight.unsqueeze(-1) > 0)
    trust = weight.unsqueeze(-1) / (1 + (residual * residual).sum(-1, keepdim=True) / ROBUST**2)
    # What moving a point does to its residuals x and y, each (..., N, 3).
    zero = torch.zeros_like(unit)
    slopes = [
        torch.cat([unit, zero, -projected[..., :1] * unit], -1),
        torch.cat([zero, unit, -projected[..., 1:] * unit], -1),
    ]
    lever = (points.unsqueeze(-3) - joints.unsqueeze(-2)) * below.unsqueeze(-1)
    columns = []
    for slope in slopes:  # a turn w of the joint moves the residual by w . (lever x slope)
        turned = cross(lever, slope.unsqueeze(-3).expand_as(lever)) @ R_joint  # (..., J, N, 3)
        columns.append(torch.cat([turned, slope.unsqueeze(-3)], dim=-3))
    Jt = torch.cat(columns, dim=-2).transpose(-1, -2).flatten(-3, -2)  # (..., 3 (J + 1), 2 N)
    w = torch.cat([trust, trust], dim=-2).transpose(-1, -2)
    damping = stiffness.unsqueeze(-1).expand(*stiffness.shape, 3).flatten(-2).unsqueeze(-1)
    target = torch.cat([residual[..., :1], residual[..., 1:]], dim=-2)  # all x, then all y
    if torch.is_grad_enabled() and (w.requires_grad or damping.requires_grad):
        step = Solution.apply(w, damping, Jt, target, rounds)
    else:
        # In double precision, so that frames one by one and all at once lead to the same step.
        Jt, w, damping, target = (x.double() for x in (Jt, w, damping, target))
        step = conjugate_gradients(Jt, w, damping, (Jt * w) @ target, rounds).to(points.dtype)
    return step[..., 0].unflatten(-1, (-1, 3))


def conjugate_gradients(
    Jt: torch.Tensor, w: torch.Tensor, damping: torch.Tensor, left: torch.Tensor, rounds: int
) -> torch.Tensor:
    """(..., M, 1) about (Jt diag(w) J + diag(damping))^-1 left, for Jt (..., M, N), w (..., 1, N), damping and left
    (..., M, 1)."""
    weighted = Jt * w
    diagonal = (weighted * Jt).sum(-1, keepdim=True) + damping
    scale = diagonal.rsqrt()  # of the unknowns, so that the diagonal is one
    eye = torch.eye(Jt.shape[-2], dtype=Jt.dtype, device=Jt.device)
    normal = (weighted @ Jt.transpose(-1, -2) + eye * damping) * scale * scale.transpose(-1, -2)
    left = scale * left
    step, along = torch.zeros_like(left), left
    power = left.transpose(-1, -2) @ left
    for _ in range(rounds):
        image = normal @ along
        alpha = power / (along.transpose(-1, -2) @ image + _TINY)
        step = step + alpha * along
        left = left - alpha * image
        now = left.transpose(-1, -2) @ left
        along = left + now / (power + _TINY) * along
        power = now
    return scale * step


class Solution(torch.autograd.Function):
    """Conjugate gradients whose backward pass solves the same equations once more instead of going back through the
    rounds. Gradients to w and damping only."""

    @staticmethod
    def forward(
        ctx, w: torch.Tensor, damping: torch.Tensor, Jt: torch.Tensor, target: torch.Tensor, rounds: int
    ) -> torch.Tensor:
        step = conjugate_gradients(Jt, w, damping, (Jt * w) @ target, rounds)
        ctx.save_for_backward(w, damping, Jt, target, step)
        ctx.rounds = rounds
        return step

    @staticmethod
    def backward(ctx, *grads: torch.Tensor):
        w, damping, Jt, target, step = ctx.saved_tensors
        adjoint = conjugate_gradients(Jt, w, damping, grads[0], ctx.rounds)
        J = Jt.transpose(-1, -2)
        to_w = ((J @ adjoint) * (target - J @ step)).transpose(-1, -2)
        return to_w, -adjoint * step, None, None, None
