"""Which camera took the pictures: what the user says, else what the file says, else a stated default."""

import math
from dataclasses import dataclass
from pathlib import Path

from ..models.camera import DEFAULT_FOV_DEG, Camera
from ..models.errors import UsageError
from .calibration import read_calibration
from .frames import SourceMetadata

FOV_LIMITS_DEG = (5.0, 170.0)
FULL_FRAME_DIAGONAL_MM = math.hypot(36.0, 24.0)
"""A 35 mm equivalent focal length is the one that gives the same diagonal angle on 36 x 24 mm film."""


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """What the user says about the lens; at most one of the four ways (``sensor_mm`` belongs to ``focal_mm``)."""

    fov_deg: float | None = None
    """Field of view along the longer side of the picture, degrees."""
    focal_mm: float | None = None
    """Focal length, millimetres: the 35 mm equivalent, or the real one where ``sensor_mm`` is given."""
    sensor_mm: float | None = None
    """Width (longer side) of the sensor, millimetres."""
    focal_px: float | None = None
    """Focal length in pixels of the source's own pictures."""
    calib: str | Path | None = None
    """Calibration file: OpenCV YAML, XML or JSON, plain JSON, or Pose2Sim TOML; ``FILE#CAMERA`` picks one."""

    def __post_init__(self) -> None:
        ways = {
            "--fov-deg": self.fov_deg, "--focal-mm": self.focal_mm, "--focal-px": self.focal_px, "--calib": self.calib,
        }  # fmt: skip
        given = [name for name, value in ways.items() if value is not None]
        if len(given) > 1:
            raise UsageError(f"Expected one way to state the lens; found {' and '.join(given)}. Keep one of them.")
        if self.sensor_mm is not None and self.focal_mm is None:
            raise UsageError("--sensor-mm states the sensor that --focal-mm was measured on; give --focal-mm too.")
        low, high = FOV_LIMITS_DEG
        if self.fov_deg is not None and not low <= self.fov_deg <= high:
            raise UsageError(
                f"--fov-deg takes the angle along the picture's longer side, {low:g} to {high:g} degrees; found "
                f"{self.fov_deg:g}. A phone or webcam has 50 to 80: try --fov-deg 65"
            )
        for name, value in (
            ("--focal-mm", self.focal_mm),
            ("--sensor-mm", self.sensor_mm),
            ("--focal-px", self.focal_px),
        ):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UsageError(f"{name} takes a length above 0; found {value:g}.")


def choose_camera(width_px: int, height_px: int, options: CameraOptions, metadata: SourceMetadata) -> Camera:
    """Intrinsics for pictures of this size; ``Camera.source`` says in words where they came from.

    Raises ``UsageError`` where the lens would be absurd for the picture, or the calibration is of another shape, and
    ``HmcapError`` where a calibration file cannot be read.
    """
    if options.calib is not None:
        return _check(read_calibration(options.calib, width_px, height_px), "--calib")
    if options.fov_deg is not None:
        return Camera.from_fov(width_px, height_px, options.fov_deg, "--fov-deg")
    if options.focal_px is not None:
        return _check(Camera.from_focal(width_px, height_px, options.focal_px, "--focal-px"), "--focal-px")
    if options.focal_mm is not None and options.sensor_mm is not None:
        focal_px = options.focal_mm / options.sensor_mm * max(width_px, height_px)
        source = f"--focal-mm {options.focal_mm:g} on a {options.sensor_mm:g} mm sensor"
        return _check(Camera.from_focal(width_px, height_px, focal_px, source), "--focal-mm with --sensor-mm")
    if options.focal_mm is not None:
        source = f"--focal-mm {options.focal_mm:g} (35 mm equivalent)"
        return _check(from_focal_35mm(width_px, height_px, options.focal_mm, source), "--focal-mm")
    if metadata.focal_35mm_mm is not None:
        source = f"{metadata.origin}: {metadata.focal_35mm_mm:g} mm (35 mm equivalent)"
        camera = from_focal_35mm(width_px, height_px, metadata.focal_35mm_mm, source)
        if _plausible(camera):
            return camera
    return Camera.from_fov(width_px, height_px, DEFAULT_FOV_DEG, "default, the source does not say")


def from_focal_35mm(width_px: int, height_px: int, focal_mm: float, source: str) -> Camera:
    """Camera with the same diagonal angle of view as this focal length has on 36 x 24 mm film."""
    focal_px = focal_mm * math.hypot(width_px, height_px) / FULL_FRAME_DIAGONAL_MM
    return Camera.from_focal(width_px, height_px, focal_px, source)


def describe(camera: Camera) -> str:
    """One line for the console and the report."""
    lens = ", with lens distortion" if any(camera.dist) else ""
    return f"field of view {camera.fov_deg:.1f} deg (focal length {camera.fx_px:.0f} px{lens}) from: {camera.source}"


def _plausible(camera: Camera) -> bool:
    return FOV_LIMITS_DEG[0] <= camera.fov_deg <= FOV_LIMITS_DEG[1]


def _check(camera: Camera, option: str) -> Camera:
    if not _plausible(camera):
        raise UsageError(
            f"{option} gives a field of view of {camera.fov_deg:.1f} degrees on {camera.width_px}x{camera.height_px} "
            f"pixels; expected {FOV_LIMITS_DEG[0]:g} to {FOV_LIMITS_DEG[1]:g}. Check the unit, or state the angle "
            "itself: --fov-deg 65"
        )
    return camera
