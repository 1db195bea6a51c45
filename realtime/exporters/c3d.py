"""C3D: the markers of TRC as points in millimetres, for biomechanics packages. Y up by default, Z up on request."""

import warnings
from pathlib import Path
from typing import Any

import c3d
import numpy as np

from .files import atomic_path
from .markers import MARKER_NAMES, take_markers_m
from .prepare import Prepared
from .track import Z_UP_FROM_Y_UP

MM_PER_M = 1000.0
SCREEN = {"y": ("+X", "+Y"), "z": ("+X", "+Z")}
"""Up axis -> POINT:X_SCREEN and POINT:Y_SCREEN, the axes that point right and up on a screen."""


def points_mm(xyz_m: np.ndarray, present: np.ndarray) -> np.ndarray:
    """(T, M, 5) float32 rows of x y z in millimetres, residual and camera mask.

    xyz_m: (T, M, 3) metres; present: (T,) bool. The residual is -1 (no measurement) where the person is absent, else 0.
    """
    points = np.zeros((*xyz_m.shape[:2], 5), dtype=np.float32)
    points[..., :3] = xyz_m * MM_PER_M
    points[~np.asarray(present, dtype=bool), :, 3] = -1.0
    return points


def export(ready: Prepared, path: Path) -> None:
    """Write a take's markers as C3D. Raises HmcapError where the file cannot be written."""
    xyz_m = take_markers_m(ready)
    if ready.options.up == "z":
        xyz_m = xyz_m @ Z_UP_FROM_Y_UP.T
    writer: Any = c3d.Writer(point_rate=ready.fps, point_units="mm")
    writer.set_point_labels(MARKER_NAMES)
    writer.set_screen_axis(*SCREEN[ready.options.up])
    no_analog = np.zeros((0, 1), dtype=np.float32)
    for points in points_mm(xyz_m, ready.track.present):
        writer.add_frames((points, no_analog))
    with atomic_path(path) as part, part.open("wb") as file, warnings.catch_warnings():
        # Markers without force plates are nothing to warn of.
        warnings.filterwarnings("ignore", message="No analog data")
        writer.write(file)
