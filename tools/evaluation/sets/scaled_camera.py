"""Cameras of pictures that were made smaller after the calibration."""

from pathlib import Path

import numpy as np

from ....models.camera import Camera
from ....models.errors import HmcapError
from .reading import camera_from_K, size_and_rate


def scaled_camera(file: Path, K: np.ndarray, full_px: tuple[int, int], source: Path) -> Camera:
    """Camera of the pictures in ``source``; the calibration K (3, 3), which ``file`` holds, is for pictures ``full_px``
    wide and high.

    Raises HmcapError where the pictures have another shape, as cropped or turned ones have.
    """
    width, height, _ = size_and_rate(source)
    if abs(width * full_px[1] - height * full_px[0]) > 0.02 * width * full_px[1]:
        raise HmcapError(
            f"Expected pictures of {full_px[0]} x {full_px[1]} pixels or scaled down from that in {source}, as the "
            f"calibration says; found {width} x {height}. Use the pictures as published."
        )
    return camera_from_K(file, K, *full_px).scaled_to(width, height)
