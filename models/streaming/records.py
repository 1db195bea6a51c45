"""What the motion networks say of a run of frames, before it is put into the world."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from ..skeleton import CONTACT_POINTS, JOINT_GROUPS, NUM_JOINTS

RATE_HZ = 30.0
"""Frames a second that the networks were trained at; other rates are resampled by stamp."""


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """T frames at RATE_HZ: the body in the camera, and where up is (numpy float32)."""

    betas: np.ndarray
    """(T, B) shape coefficients; they change slowly and settle."""
    R_cam_root: np.ndarray
    """(T, 3, 3) rotation of the body's root in the camera's axes."""
    R_local: np.ndarray
    """(T, 54, 3, 3) rotations of joints 1 to 54 in their parents' frames; jaw and eyes are the identity."""
    root_cam_m: np.ndarray
    """(T, 3) pelvis joint in the camera, metres."""
    root_sigma_m: np.ndarray
    """(T, 2) expected error of that place: across the ray, and along it."""
    up_cam: np.ndarray
    """(T, 3) unit vector against gravity, in the camera's axes."""
    height_m: np.ndarray
    """(T,) height of the pelvis joint above the ground."""
    step_m: np.ndarray
    """(T, 3) displacement of the pelvis from the frame before, over the ground and not in the picture: human space,
    Y up, with the yaw of the camera, whose front axis lies in the y-z plane and looks along -Z."""
    contact: np.ndarray
    """(T, 4) contact probability of CONTACT_POINTS."""
    group_error_m: np.ndarray
    """(T, 8) expected mean error of the joints of each group of JOINT_GROUPS, root-aligned."""

    @property
    def frames(self) -> int:
        """Number of frames T."""
        return len(self.betas)

    def part(self, begin: int, end: int) -> "Estimate":
        """Frames ``begin`` to ``end`` (not included)."""
        return Estimate(*(getattr(self, f.name)[begin:end] for f in fields(self)))


OUTPUTS = tuple(f.name for f in fields(Estimate))
"""Names of the arrays, in order; the exported graph's outputs carry them."""


def estimate_shapes(num_betas: int) -> dict[str, tuple[int, ...]]:
    """Shape of one frame of each array of ``Estimate``."""
    return {
        "betas": (num_betas,),
        "R_cam_root": (3, 3),
        "R_local": (NUM_JOINTS - 1, 3, 3),
        "root_cam_m": (3,),
        "root_sigma_m": (2,),
        "up_cam": (3,),
        "height_m": (),
        "step_m": (3,),
        "contact": (len(CONTACT_POINTS),),
        "group_error_m": (len(JOINT_GROUPS),),
    }


def joined(parts: Sequence[Estimate], num_betas: int) -> Estimate:
    """The frames of all parts in a row; no parts, or parts without frames, give an estimate of no frames."""
    full = [part for part in parts if part.frames]
    if not full:
        return Estimate(*(np.zeros((0, *shape), np.float32) for shape in estimate_shapes(num_betas).values()))
    return full[0] if len(full) == 1 else Estimate(*(np.concatenate([getattr(p, n) for p in full]) for n in OUTPUTS))
