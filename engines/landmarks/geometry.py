"""Square rotated regions of interest and the affine maps between an image and a crop.

The crop follows the convention the landmark networks were trained with: crop coordinate 0 is the region's edge, crop
coordinate ``n`` its opposite edge, and both images are sampled at integer coordinates (no half-pixel offset).
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

_NEARLY_SQUARE = 1.2


@dataclass(frozen=True, slots=True)
class Roi:
    """A square region of an image; ``angle_rad`` turns the upright crop into the image (clockwise on the screen)."""

    x_px: float
    y_px: float
    size_px: float
    angle_rad: float = 0.0

    @property
    def usable(self) -> bool:
        """Whether the region is finite and at least a few pixels wide."""
        return all(map(math.isfinite, (self.x_px, self.y_px, self.size_px, self.angle_rad))) and self.size_px >= 4

    @property
    def R_image_crop(self) -> np.ndarray:
        """(2, 2) rotation from crop axes to image axes."""
        c, s = math.cos(self.angle_rad), math.sin(self.angle_rad)
        return np.array([[c, -s], [s, c]])

    def image_from_crop(self, n: int) -> np.ndarray:
        """(2, 3) affine map from pixels of an ``n`` x ``n`` crop to image pixels."""
        linear = self.R_image_crop * (self.size_px / n)
        centre = np.array([self.x_px, self.y_px])
        return np.hstack([linear, (centre - linear @ np.full(2, n / 2))[:, None]])

    def to_image(self, xy: np.ndarray) -> np.ndarray:
        """Image pixels (..., 2) of crop coordinates (..., 2) in 0..1."""
        return (np.asarray(xy) - 0.5) @ (self.R_image_crop.T * self.size_px) + (self.x_px, self.y_px)

    def to_crop(self, xy_px: np.ndarray) -> np.ndarray:
        """Crop coordinates (..., 2) in 0..1 of image pixels (..., 2)."""
        return (np.asarray(xy_px) - (self.x_px, self.y_px)) @ (self.R_image_crop / self.size_px) + 0.5

    def rotate_to_image(self, xyz_m: np.ndarray) -> np.ndarray:
        """Network 3-D (..., 3), given upright in the crop, turned about the viewing axis into the image's axes."""
        out = np.array(xyz_m, np.float32)
        out[..., :2] = out[..., :2] @ self.R_image_crop.T
        return out

    def moved(self, scale: float, shift_y: float = 0.0) -> "Roi":
        """Shifted along its own y axis by a part of its size, then scaled about its centre."""
        dx, dy = self.R_image_crop @ (0.0, shift_y * self.size_px)
        return Roi(self.x_px + float(dx), self.y_px + float(dy), self.size_px * scale, self.angle_rad)


def wrap_angle(angle_rad: float) -> float:
    """The same angle in -pi..pi."""
    return angle_rad - 2 * math.pi * math.floor((angle_rad + math.pi) / (2 * math.pi))


def roi_from_points(centre_px: np.ndarray, edge_px: np.ndarray, upward: bool = True) -> Roi:
    """The square around the circle with this centre that passes through ``edge_px``.

    Rotated so that the direction from centre to edge points up in the crop (``upward``) or down.
    """
    dx, dy = (float(v) for v in np.asarray(edge_px, np.float64) - np.asarray(centre_px, np.float64))
    angle = wrap_angle((math.pi / 2 if upward else -math.pi / 2) - math.atan2(-dy, dx))
    return Roi(float(centre_px[0]), float(centre_px[1]), 2 * math.hypot(dx, dy), angle)


def tiles(width_px: int, height_px: int) -> list[Roi]:
    """Squares of the image's shorter side, half of each over the next, that cover it; none where it is nearly square.

    The detector sees the whole image in 224 pixels and misses people who are small in it, or stand beside a large one.
    """
    side, length = min(width_px, height_px), max(width_px, height_px)
    if length < _NEARLY_SQUARE * side:
        return []
    at = np.linspace(side / 2, length - side / 2, 1 + math.ceil(2 * (length - side) / side))
    return [Roi(x, side / 2, side) if width_px > height_px else Roi(side / 2, x, side) for x in at.tolist()]


def crop(image: np.ndarray, roi: Roi, n: int, *, zero_border: bool = False) -> np.ndarray:
    """(n, n, 3) uint8 crop of an (H, W, 3) uint8 image: one warp straight from the full frame.

    Outside the image the edge is repeated, or black with ``zero_border``.
    """
    return cv2.warpAffine(
        image,
        roi.image_from_crop(n),
        (n, n),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT if zero_border else cv2.BORDER_REPLICATE,
    )


def to_tensor(pixels: np.ndarray, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """(1, n, n, 3) float32 network input in ``low..high`` of an (n, n, 3) uint8 crop."""
    tensor = np.multiply(pixels[None], np.float32((high - low) / 255), dtype=np.float32)
    return tensor if low == 0 else np.add(tensor, np.float32(low), out=tensor)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Logistic function; large values saturate without a warning."""
    return 1 / (1 + np.exp(-np.clip(x, -80, 80)))
