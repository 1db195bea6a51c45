"""What the networks estimate of each frame, as the descent refines it."""

from dataclasses import dataclass, fields

import torch

from .kinematics import camera_axes_of_up, full_precision, matrix_of_6d

NUM_BODY = 22
NUM_FINGERS = 15


@dataclass(frozen=True)
class State:
    """The body in the camera, (B, T, ...). Human space follows: its up is ``up_cam``, its origin the ground under the
    pelvis, its yaw the camera's (networks: the camera is expressed relative to the person)."""

    betas: torch.Tensor
    """(B, T, num_betas)"""
    R_body: torch.Tensor
    """(B, T, 22, 3, 3) local rotations of the body joints; row 0 turns the root into the camera's axes."""
    R_hands: torch.Tensor
    """(B, T, 30, 3, 3) of the left and right fingers."""
    place: torch.Tensor
    """(B, T, 3) pelvis: image position relative to the body's box, in its units, and the logarithm of depth times the
    box's size."""
    up_cam: torch.Tensor
    """(B, T, 3) unit."""
    height_m: torch.Tensor
    """(B, T, 1) of the pelvis above the ground."""
    step_m: torch.Tensor
    """(B, T, 3) displacement of the pelvis since the frame before, human space."""
    contact: torch.Tensor
    """(B, T, 4) log odds."""
    log_sigma: torch.Tensor
    """(B, T, 2) logarithm of the expected relative error of the place: across the ray, along it."""
    log_group_error: torch.Tensor
    """(B, T, 8) logarithm of the expected error of each joint group, metres."""
    points_m: torch.Tensor
    """(B, T, NUM_POINTS, 3) where the initialiser sees the points of the inverse kinematics, about the pelvis."""

    def root_cam_m(self, box: torch.Tensor) -> torch.Tensor:
        """(B, T, 3) pelvis in the camera, for the body's box (B, T, 3)."""
        z = torch.exp(self.place[..., 2:].clamp(-3, 4)) / box[..., 2:]
        return torch.cat([(box[..., :2] + box[..., 2:] * self.place[..., :2]) * z, z], dim=-1)

    def R_local(self) -> torch.Tensor:
        """(B, T, 55, 3, 3) with jaw and eyes at rest."""
        eye = torch.eye(3, dtype=self.R_body.dtype, device=self.R_body.device)
        face = eye.expand(*self.R_body.shape[:-3], 3, 3, 3)
        return torch.cat([self.R_body, face, self.R_hands], dim=-3)

    def R_cam_human(self) -> torch.Tensor:
        """(B, T, 3, 3) camera rotation R_H."""
        return camera_axes_of_up(self.up_cam)

    def detached(self) -> "State":
        """Without gradients."""
        return State(*(getattr(self, f.name).detach() for f in fields(self)))


PLACE_OF_MEAN = (0.0, 0.0, 0.45)
"""Place of a whole upright person: in the middle of the box, at the depth where 1.6 m fill it."""
HEIGHT_OF_MEAN_M = 0.9


@full_precision
def state_of(
    raw: torch.Tensor,
    fingers: torch.Tensor,
    points_m: torch.Tensor,
    R_points: torch.Tensor,
    place_of_hips: torch.Tensor,
    num_betas: int,
) -> State:
    """The state that the decoders' outputs mean: raw (B, T, BODY_OUT + num_betas), fingers (B, T, 2, 90) of the left
    (still mirrored) and the right hand, on top of the rotations R_points (B, T, 22, 3, 3) that the points_m have given
    and of the place that the lifting has."""
    sizes = [NUM_BODY * 6, 3, 3, 1, 3, 4, 2, 8, num_betas]
    six, place, up, height, step, contact, sigma, group, betas = raw.split(sizes, dim=-1)
    rest = raw.new_tensor([1.0, 0, 0, 0, 1.0, 0])
    R_body = R_points @ matrix_of_6d(six.unflatten(-1, (NUM_BODY, 6)) + rest)
    R = matrix_of_6d(fingers.unflatten(-1, (NUM_FINGERS, 6)) + rest)
    mirror = raw.new_tensor([[1.0, -1, -1], [-1, 1, 1], [-1, 1, 1]])  # diag(-1, 1, 1) R diag(-1, 1, 1)
    up = up * 0.5 + raw.new_tensor([0.0, -1.0, 0.0])
    return State(
        betas=betas,
        R_body=R_body,
        R_hands=torch.cat([R[..., 0, :, :, :] * mirror, R[..., 1, :, :, :]], dim=-3),
        place=place * 0.3 + place_of_hips,
        up_cam=up / up.norm(dim=-1, keepdim=True).clamp_min(1e-6),
        height_m=height * 0.3 + HEIGHT_OF_MEAN_M,
        step_m=step * 0.03,
        contact=contact,
        log_sigma=sigma - 2.5,
        log_group_error=group - 2.5,
        points_m=points_m,
    )


BODY_OUT = NUM_BODY * 6 + 3 + 3 + 1 + 3 + 4 + 2 + 8
"""Outputs of the body decoder besides the shape coefficients."""
FINGERS_OUT = NUM_FINGERS * 6
