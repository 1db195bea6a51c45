"""The motion that comes out: one frame of SMPL-X body, camera, contact and confidence in the world."""

from dataclasses import dataclass, field

import numpy as np

from .camera import Camera
from .skeleton import JOINT_GROUPS

GROUP_NAMES = tuple(JOINT_GROUPS)
"""Order of the joint groups in ``MotionFrame.confidence`` and ``MotionFrame.measured``."""


@dataclass(frozen=True, slots=True)
class MotionFrame:
    """One person in one frame. World: right-handed, Y up, floor at y = 0, metres. Pelvis = J0(betas) + trans_m."""

    index: int
    """Frame number in the source, from 0."""
    stamp_s: float
    """Time stamp of the source, seconds."""
    present: bool
    """Whether a person was found; when False the pose is the last one known, or carried across a short absence."""
    betas: np.ndarray
    """(B,) body shape coefficients of the body model in use."""
    poses: np.ndarray
    """(55, 3) axis-angle of every SMPL-X joint, radians; row 0 is the rotation of the root in the world. Hands are
    relative to the flat hand."""
    trans_m: np.ndarray
    """(3,) SMPL-X translation in the world."""
    T_cam_world: np.ndarray
    """(4, 4) rigid transform of world points to the OpenCV camera."""
    camera: Camera
    """Intrinsics used for this frame."""
    contact: np.ndarray
    """(4,) contact probability of CONTACT_POINTS (left heel, left toe, right heel, right toe); above one half where the
    point was held in its place."""
    confidence: np.ndarray
    """(8,) in 0..1 for each joint group in GROUP_NAMES order."""
    measured: np.ndarray
    """(8,) bool for each joint group: True when the image decided it, False when it was held or filled in."""
    reprojection_error: float
    """Median distance between seen and projected body proxies, in per cent of the body's height in the image; NaN when
    nothing was seen."""
    expression: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    """(52,) weights of the face shapes in ARKIT_NAMES order, 0..1; (0,) where the face is not captured."""
