"""Pin-hole camera intrinsics, OpenCV convention (x right, y down, z forward)."""

import math
from dataclasses import dataclass

import numpy as np

DEFAULT_FOV_DEG = 55.0
"""Field of view along the longer image side when neither the user nor the file says (a phone or a webcam)."""


@dataclass(frozen=True, slots=True)
class Camera:
    """Intrinsics of one image size. ``source`` says where they came from, in words, for the report."""

    width_px: int
    height_px: int
    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float
    dist: tuple[float, ...] = ()
    """OpenCV distortion coefficients (k1 k2 p1 p2 [k3 ...]); empty for none."""
    source: str = "default"

    @property
    def K(self) -> np.ndarray:
        """(3, 3) intrinsic matrix in pixels."""
        return np.array([[self.fx_px, 0, self.cx_px], [0, self.fy_px, self.cy_px], [0, 0, 1.0]])

    @property
    def fov_deg(self) -> float:
        """Field of view along the longer image side, degrees."""
        if self.width_px >= self.height_px:
            return math.degrees(2 * math.atan(self.width_px / (2 * self.fx_px)))
        return math.degrees(2 * math.atan(self.height_px / (2 * self.fy_px)))

    @classmethod
    def from_fov(cls, width_px: int, height_px: int, fov_deg: float, source: str = "--fov-deg") -> "Camera":
        """Square-pixel camera with the principal point at the centre; ``fov_deg`` spans the longer image side."""
        focal_px = max(width_px, height_px) / (2 * math.tan(math.radians(fov_deg) / 2))
        return cls.from_focal(width_px, height_px, focal_px, source)

    @classmethod
    def from_focal(cls, width_px: int, height_px: int, focal_px: float, source: str = "--focal-px") -> "Camera":
        """Square-pixel camera with the principal point at the centre and a focal length in pixels."""
        return cls(width_px, height_px, focal_px, focal_px, width_px / 2, height_px / 2, (), source)

    def scaled_to(self, width_px: int, height_px: int) -> "Camera":
        """The same camera for another resolution of the same picture."""
        sx, sy = width_px / self.width_px, height_px / self.height_px
        return Camera(
            width_px,
            height_px,
            self.fx_px * sx,
            self.fy_px * sy,
            self.cx_px * sx,
            self.cy_px * sy,
            self.dist,
            self.source,
        )
