"""What the networks should say of a scene: the truth in the camera, and where up and the ground are."""

from dataclasses import dataclass

import torch

from ...models.networks.kinematics import camera_axes_of_up
from .records import Scene


@dataclass(frozen=True)
class Targets:
    """Of B takes of T frames. Positions about the pelvis are in the camera's axes, metres."""

    betas: torch.Tensor
    """(B, 1, num_betas)"""
    rest_joints_m: torch.Tensor
    """(B, 1, 55, 3) less the pelvis."""
    R_local: torch.Tensor
    """(B, T, 55, 3, 3) row 0: the root in the camera's axes."""
    joints_m: torch.Tensor
    """(B, T, 55, 3) about the pelvis."""
    points_m: torch.Tensor
    """(B, T, 71, 3) proxies and CONTACT_POINTS about the pelvis."""
    root_cam_m: torch.Tensor
    """(B, T, 3)"""
    up_cam: torch.Tensor
    """(B, T, 3)"""
    height_m: torch.Tensor
    """(B, T, 1)"""
    step_m: torch.Tensor
    """(B, T, 3) human space."""
    contact: torch.Tensor
    """(B, T, 4)"""

    def frames(self, begin: int, end: int) -> "Targets":
        """Some of the frames."""
        part = slice(begin, end)
        return Targets(
            self.betas, self.rest_joints_m,
            *(x[:, part] for x in (self.R_local, self.joints_m, self.points_m, self.root_cam_m, self.up_cam,
                                   self.height_m, self.step_m, self.contact)),
        )  # fmt: skip


def targets_of(scene: Scene, stretch: torch.Tensor | None = None) -> Targets:
    """The targets of a scene. stretch (B,): what the focal length was taken for, over what it is: a lens believed too
    long by a factor shows a person farther away by it."""
    R_cam, t_cam = scene.T_cam_world[..., :3, :3], scene.T_cam_world[..., :3, 3]
    pelvis = scene.joints_world_m[..., :1, :]

    def about(points: torch.Tensor) -> torch.Tensor:
        return (points - pelvis) @ R_cam.transpose(-1, -2)

    root = (R_cam @ pelvis.squeeze(-2).unsqueeze(-1)).squeeze(-1) + t_cam
    if stretch is not None:
        root = torch.cat([root[..., :2], root[..., 2:] * stretch[:, None, None]], dim=-1)
    up = R_cam[..., :, 1]
    moved = torch.diff(pelvis.squeeze(-2), dim=1, prepend=pelvis[:, :1, 0])
    R_human_world = camera_axes_of_up(up).transpose(-1, -2) @ R_cam
    R_local = torch.cat([(R_cam @ scene.R_local[..., 0, :, :]).unsqueeze(-3), scene.R_local[..., 1:, :, :]], dim=-3)
    rest = scene.rest_joints_m - scene.rest_joints_m[:, :1]
    return Targets(
        scene.betas[:, None],
        rest[:, None],
        R_local,
        about(scene.joints_world_m),
        about(torch.cat([scene.proxies_world_m, scene.feet_world_m], dim=-2)),
        root,
        up,
        pelvis[..., 0, 1:2],
        (R_human_world @ moved.unsqueeze(-1)).squeeze(-1),
        scene.contact,
    )
