"""The motion of one person in one world, at the networks' frame rate."""

from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class WorldTrack:
    """T frames of a body in the world of a camera that stands still. World: Y up, floor y = 0, metres."""

    present: np.ndarray
    """(T,) bool: whether the person is seen; where False the pose is held, or carried across a short absence."""
    betas: np.ndarray
    """(T, B) shape coefficients; the same in every frame of a whole take."""
    R_local: np.ndarray
    """(T, 55, 3, 3) rotation of every joint in its parent's frame; row 0 is the rotation of the root in the world."""
    pelvis_m: np.ndarray
    """(T, 3) the pelvis joint in the world."""
    trans_m: np.ndarray
    """(T, 3) SMPL-X translation: pelvis less the rest pelvis of ``betas``."""
    T_cam_world: np.ndarray
    """(T, 4, 4) rigid transform of world points to the OpenCV camera; the same in every frame of a whole take."""
    contact: np.ndarray
    """(T, 4) contact probability of CONTACT_POINTS, above one half where the point was held; 0 where nobody is seen."""
    confidence: np.ndarray
    """(T, 8) in 0..1 for each joint group in GROUP_NAMES order; 0 where nobody is seen."""
    measured: np.ndarray
    """(T, 8) bool: True when the image decided the group, False when it was held or filled in."""
    reprojection_error: np.ndarray
    """(T,) median distance of seen and projected body proxies, per cent of the body's height in the image; NaN where
    nothing was seen."""

    @property
    def frames(self) -> int:
        """Number of frames T."""
        return len(self.present)

    def rows(self, rows: slice | np.ndarray) -> "WorldTrack":
        """Some of the frames."""
        return WorldTrack(*(getattr(self, f.name)[rows] for f in fields(self)))

    @classmethod
    def joined(cls, parts: "list[WorldTrack]") -> "WorldTrack":
        """The frames of several tracks, one after the other."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))
