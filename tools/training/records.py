"""What training is made of: people who move before cameras, as torch tensors.

B takes of T frames each, at the networks' frame rate.
"""

from dataclasses import dataclass, fields

import torch


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """The truth. World: Y up, floor y = 0, metres."""

    betas: torch.Tensor
    """(B, 10)"""
    rest_joints_m: torch.Tensor
    """(B, 55, 3) rest joints of the shaped body."""
    R_local: torch.Tensor
    """(B, T, 55, 3, 3) local rotations; row 0 is the rotation of the root in the world."""
    joints_world_m: torch.Tensor
    """(B, T, 55, 3)"""
    proxies_world_m: torch.Tensor
    """(B, T, 67, 3) the proxies of ``proxy_rig``, carried rigidly."""
    landmarks_world_m: torch.Tensor
    """(B, T, 33, 3) the body landmarks of ``blazepose_rig``."""
    feet_world_m: torch.Tensor
    """(B, T, 4, 3) CONTACT_POINTS."""
    contact: torch.Tensor
    """(B, T, 4) 1 where the point stands on the ground, else 0."""
    T_cam_world: torch.Tensor
    """(B, T, 4, 4) rigid transform of world points to the OpenCV camera."""
    static: torch.Tensor
    """(B,) bool: the camera stands still."""
    focal_px: torch.Tensor
    """(B,) focal length."""
    image_size_px: torch.Tensor
    """(B, 2) width and height; the principal point is the middle, there is no lens distortion."""

    def map(self, change) -> "Scene":
        """The record with ``change`` applied to every tensor."""
        return Scene(*(change(getattr(self, f.name)) for f in fields(self)))
