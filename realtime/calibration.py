"""Camera calibration files: OpenCV FileStorage, plain JSON, and Pose2Sim TOML."""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..models.camera import Camera
from ..models.errors import HmcapError, UsageError
from ..models.paths import user_path
from .codec import DISTORTION_COUNTS, MAX_SIDE_PX

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]  # only there on Python 3.10

_MAX_BYTES = 4 << 20
_MAX_NESTED = 1000
_ASPECT_TOLERANCE = 0.015
_KNOWN = "OpenCV YAML/XML/JSON, plain JSON with fx fy cx cy width height dist, or Pose2Sim TOML"
_STEP = "Give another file, or state the angle itself: --fov-deg 65"


def read_calibration(spec: str | Path, width_px: int, height_px: int) -> Camera:
    """Camera of a calibration file, scaled to the picture size. ``FILE#NAME`` names one camera of several.

    Raises ``HmcapError`` where the file cannot be read or understood, ``UsageError`` where it is of a picture of
    another shape or holds several cameras and none is named.
    """
    text = str(spec)
    path, _, wanted = (text, "", "") if user_path(text).is_file() else text.partition("#")
    path = user_path(path)
    if not path.is_file():
        raise HmcapError(
            f"Expected a calibration file at {path}; there is no such file. Check the path. Known kinds: {_KNOWN}."
        )
    if path.stat().st_size > _MAX_BYTES:
        raise HmcapError(
            f"Expected a calibration file in {path}; {path.stat().st_size:,} bytes are too many for one. {_STEP}"
        )
    cameras = _read(path)
    if wanted and wanted not in cameras:
        raise UsageError(f"--calib names the camera {wanted!r}; {path.name} holds: {', '.join(cameras)}.")
    if not wanted and len(cameras) > 1:
        names = list(cameras)
        raise UsageError(
            f"{path.name} holds {len(names)} cameras ({', '.join(names)}): name one, --calib {path}#{names[0]}"
        )
    name = wanted or next(iter(cameras))
    return _fit(cameras[name], path, name if len(cameras) > 1 else "", width_px, height_px)


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Name -> raw numbers (K (3, 3), dist, size or None) of each camera in the file."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".toml":
            found = _from_toml(tomllib.loads(path.read_text(encoding="utf-8")))
        elif suffix == ".json":
            found = _from_json(path)
        else:
            found = _from_file_storage(path)
    except (ValueError, KeyError, TypeError, OSError, RecursionError, cv2.error) as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise HmcapError(
            f"Expected a camera calibration in {path} ({_KNOWN}); it cannot be read: {reason[:160]}. {_STEP}"
        ) from error
    if not found:
        raise HmcapError(
            f"Expected a camera calibration in {path} ({_KNOWN}); no camera matrix was found in it. {_STEP}"
        )
    return found


def _from_toml(tables: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        str(table.get("name", key)): {
            "K": table["matrix"],
            "dist": table.get("distortions", []),
            "size": table.get("size"),
        }
        for key, table in tables.items()
        if isinstance(table, dict) and "matrix" in table
    }


def _from_json(path: Path) -> dict[str, dict[str, Any]]:
    fields = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(fields, dict):
        raise ValueError("the file holds no JSON object")
    if not {"fx", "fy", "cx", "cy"} <= fields.keys():
        return _from_file_storage(path)
    K = [[fields["fx"], 0, fields["cx"]], [0, fields["fy"], fields["cy"]], [0, 0, 1]]
    size = [fields["width"], fields["height"]] if {"width", "height"} <= fields.keys() else None
    return {path.stem: {"K": K, "dist": fields.get("dist", []), "size": size}}


def _from_file_storage(path: Path) -> dict[str, dict[str, Any]]:
    # Given as text, because OpenCV cannot open names outside the code page on Windows.
    text = path.read_text(encoding="utf-8")
    brackets = text.count("[") + text.count("{")
    if max(brackets, text.count("<") // 4, text.count("- "), _widest_indent(text)) > _MAX_NESTED:
        # The library reads what is inside of something by a call inside a call, until the process has no stack left.
        raise ValueError(f"more than {_MAX_NESTED} lists and maps, which may lie inside each other")
    storage = cv2.FileStorage()  # opened in a second step: the constructor turns its errors into a SystemError
    if not text.strip() or not storage.open(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY):
        return {}

    def matrix(*names: str) -> np.ndarray | None:
        for name in names:
            node = storage.getNode(name)
            if not node.empty() and node.isMap():
                return node.mat()
        return None

    def number(*names: str) -> int | None:
        for name in names:
            node = storage.getNode(name)
            if not node.empty() and (node.isInt() or node.isReal()):
                return int(node.real())
        return None

    K = matrix("camera_matrix", "cameraMatrix", "Camera_Matrix", "K", "M1")
    if K is None:
        return {}
    dist = matrix("distortion_coefficients", "distCoeffs", "Distortion_Coefficients", "dist", "D", "D1")
    width, height = number("image_width", "image_Width", "width"), number("image_height", "image_Height", "height")
    size = [width, height] if width and height else None
    return {path.stem: {"K": K, "dist": [] if dist is None else dist, "size": size}}


def _widest_indent(text: str) -> int:
    return max((len(line) - len(line.lstrip()) for line in text.splitlines()), default=0)


def _fit(raw: Mapping[str, Any], path: Path, name: str, width_px: int, height_px: int) -> Camera:
    try:
        K = np.asarray(raw["K"], dtype=np.float64)
        dist = tuple(float(d) for d in np.asarray(raw["dist"], dtype=np.float64).ravel())
        size = None if raw["size"] is None else (int(raw["size"][0]), int(raw["size"][1]))
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        raise HmcapError(
            f"Expected numbers in the calibration {path}; found something else: {str(error)[:150]}. {_STEP}"
        ) from error
    sound = K.shape == (3, 3) and np.isfinite(K).all() and K[0, 0] > 0 and K[1, 1] > 0 and all(map(math.isfinite, dist))
    sized = size is None or 1 <= min(size) <= max(size) <= MAX_SIDE_PX
    if not (sound and sized and len(dist) in DISTORTION_COUNTS):
        raise HmcapError(
            f"Expected a 3x3 camera matrix with positive focal lengths, a picture size and 0, 4, 5, 8, 12 or 14 "
            f"distortion numbers in {path}; found a matrix of shape {K.shape}, size {str(size)[:60]} and "
            f"{len(dist)} of those. {_STEP}"
        )
    source = f"--calib {path.name}" + (f"#{name}" if name else "")
    dist = dist if any(dist) else ()
    if size is None:
        size = (width_px, height_px)
        inside = 0 < K[0, 2] < width_px and 0 < K[1, 2] < height_px
        if not inside:
            raise UsageError(
                f"The calibration {path.name} states no picture size, and its centre ({K[0, 2]:.0f}, {K[1, 2]:.0f}) "
                f"lies outside the {width_px}x{height_px} picture: it is of another size. Add the size to the file."
            )
    if abs(size[0] / size[1] * height_px / width_px - 1) > _ASPECT_TOLERANCE:
        raise UsageError(
            f"The calibration {path.name} is of {size[0]}x{size[1]} pictures; the source gives {width_px}x{height_px}, "
            "which is another shape. Calibrate with the same mode and orientation of the camera, or use --fov-deg."
        )
    camera = Camera(*size, K[0, 0].item(), K[1, 1].item(), K[0, 2].item(), K[1, 2].item(), dist, source)
    return camera.scaled_to(width_px, height_px)
