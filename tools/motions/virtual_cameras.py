"""Virtual cameras: where somebody might have stood and filmed a motion.

Every number of a camera is drawn within ranges seen in ordinary footage: field of view 35 to 95 degrees along the
longer side, lens 0.3 to 2.5 m above the floor, pitch from 35 degrees down to 25 up, 1.2 to 8 m from the person; on a
tripod, panning after the person with some lag, held in a hand, or walking along. A proposal is kept if the person is
in the picture the way the framing asks.

World: right-handed, Y up, floor y = 0, metres. Camera: OpenCV. All camera motion is a function of time and not of the
frame number, so the same draw at another frame rate is the same camera.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.signal import lfilter

from ...models.camera import Camera
from ...models.errors import HmcapError, UsageError

Kind = Literal["static", "panning", "handheld", "walking"]
Framing = Literal["whole", "upper", "partly"]

KINDS: tuple[Kind, ...] = ("static", "panning", "handheld", "walking")
FRAMINGS: tuple[Framing, ...] = ("whole", "upper", "partly")
FOV_RANGE_DEG = (35.0, 95.0)
HEIGHT_RANGE_M = (0.3, 2.5)
PITCH_RANGE_DEG = (-35.0, 25.0)
"""Negative looks down."""
DISTANCE_RANGE_M = (1.2, 8.0)
"""Camera to the middle of the person: never nearer, and no farther in the median frame."""
MAX_ROLL_DEG = 6.0
IMAGE_SIZES_PX = ((1280, 720), (1920, 1080), (960, 720), (720, 1280), (1080, 1920), (720, 960))
MIN_SHARE = 0.75
"""Share of the frames in which the person is framed as asked."""

_KIND_WEIGHTS = (0.45, 0.2, 0.2, 0.15)
_FRAMING_WEIGHTS = (0.65, 0.2, 0.15)
_ATTEMPTS = 60
_CHECKED_FRAMES = 48


@dataclass(frozen=True, slots=True, eq=False)
class VirtualCamera:
    """A camera along T frames."""

    camera: Camera
    """Intrinsics; ``dist`` is empty, or k1 k2 p1 p2 where a lens distortion was asked for."""
    T_cam_world: np.ndarray
    """(T, 4, 4) float64 rigid transform of world points to the OpenCV camera."""
    kind: Kind
    framing: Framing

    def project(self, points_world_m: np.ndarray) -> np.ndarray:
        """(T, N, 2) pixels of world points (T, N, 3); NaN for points that are not in front of the camera."""
        return project_px(self.camera, self.T_cam_world, points_world_m)


def sample_camera(
    rng: np.random.Generator,
    points_world_m: np.ndarray,
    fps: float,
    *,
    kind: Kind | None = None,
    framing: Framing | None = None,
    image_size_px: tuple[int, int] | None = None,
    distortion: bool = False,
) -> VirtualCamera:
    """Draw a camera that films a person.

    points_world_m: (T, N, 3) finite points that outline the person (joints, proxies or vertices). ``kind``, ``framing``
    and ``image_size_px`` (width, height) are drawn where None. ``distortion`` adds a lens of random barrel or
    pincushion distortion.

    Framing, in at least :data:`MIN_SHARE` of the frames: "whole" has every point in the picture; "upper" has all points
    of the upper half of the person's height in it and some of the lower half out of it; "partly" has 30 to 90 % of the
    points in it. Raises HmcapError where no such camera is found, which happens when a ``kind`` is asked for that
    cannot follow the motion; with ``kind`` None a camera that follows takes over.
    """
    points = np.asarray(points_world_m, np.float64)
    if points.ndim != 3 or points.shape[-1] != 3 or not points.size or not np.isfinite(points).all():
        raise UsageError(
            f"Expected finite points of shape (T, N, 3) in metres to film, found shape {points.shape}"
            f"{'' if np.isfinite(points).all() else ' with values that are not finite'}. Fill or leave out what is "
            "missing."
        )
    wanted = framing or FRAMINGS[rng.choice(len(FRAMINGS), p=_FRAMING_WEIGHTS)]
    first = kind or KINDS[rng.choice(len(KINDS), p=_KIND_WEIGHTS)]
    following: tuple[Kind, ...] = ("panning", "walking")
    kinds: list[Kind] = [first] if kind else [first, *(k for k in following if k != first)]
    subject = _Subject(points, fps)
    best, best_share = None, -1.0
    for tried in kinds:
        for _ in range(_ATTEMPTS):
            found = _propose(rng, subject, tried, wanted, image_size_px, distortion)
            if found is None:
                continue
            share = _framed_share(found, points)
            if share >= MIN_SHARE:
                return found
            if share > best_share:
                best, best_share = found, share
    seen = "none that keeps its distance" if best is None else f"one with {100 * best_share:.0f} % of the frames"
    raise HmcapError(
        f"Expected a {first} camera that shows the person ({wanted}) in {100 * MIN_SHARE:.0f} % of {len(points)} "
        f"frames, found {seen} in {_ATTEMPTS * len(kinds)} draws. Ask for another kind of camera or a shorter part."
    )


def project_px(camera: Camera, T_cam_world: np.ndarray, points_world_m: np.ndarray) -> np.ndarray:
    """(..., N, 2) pixels of world points (..., N, 3) under T_cam_world (..., 4, 4); NaN where not in front.

    Distortion (k1 k2 p1 p2 [k3]) as in OpenCV inside the picture; well outside of it the distortion of the rim goes on,
    because the polynomial would fold far points back into the picture.
    """
    R, t = T_cam_world[..., None, :3, :3], T_cam_world[..., None, :3, 3]
    xyz = (R @ points_world_m[..., None])[..., 0] + t
    with np.errstate(divide="ignore", invalid="ignore"):
        xy = np.where(xyz[..., 2:] > 1e-6, xyz[..., :2] / xyz[..., 2:], np.nan)
    if camera.dist:
        xy = _distort(xy, camera)
    return xy * [camera.fx_px, camera.fy_px] + [camera.cx_px, camera.cy_px]


def _distort(xy: np.ndarray, camera: Camera) -> np.ndarray:
    k1, k2, p1, p2, k3 = (*camera.dist, 0.0)[:5]
    limit2 = (1.3 * _corner(camera)) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = (xy**2).sum(-1, keepdims=True)
        inside = np.minimum(r2, limit2)
        x, y = np.moveaxis(xy * np.sqrt(inside / np.maximum(r2, 1e-18)), -1, 0)
    radial = 1 + inside * (k1 + inside * (k2 + inside * k3))
    s = inside[..., 0]
    shift = np.stack([2 * p1 * x * y + p2 * (s + 2 * x * x), p1 * (s + 2 * y * y) + 2 * p2 * x * y], axis=-1)
    return xy * radial + shift


def _corner(camera: Camera) -> float:
    """Distance of the picture's farthest corner from the optical axis at depth 1, before distortion."""
    x = max(camera.cx_px, camera.width_px - camera.cx_px) / camera.fx_px
    y = max(camera.cy_px, camera.height_px - camera.cy_px) / camera.fy_px
    return math.hypot(x, y)


class _Subject:
    """What a camera has to know of the motion."""

    def __init__(self, points: np.ndarray, fps: float) -> None:
        self.points, self.fps = points, fps
        self.time_s = np.arange(len(points)) / fps
        low, high = points.min(axis=1), points.max(axis=1)
        self.low_y, self.high_y = low[:, 1], high[:, 1]
        self.middle = (low + high) / 2
        """(T, 3) middle of the person's box."""
        self.place = (self.middle.min(axis=0) + self.middle.max(axis=0)) / 2
        """(3,) middle of the whole path."""


def _propose(
    rng: np.random.Generator,
    subject: _Subject,
    kind: Kind,
    framing: Framing,
    image_size_px: tuple[int, int] | None,
    distortion: bool,
) -> VirtualCamera | None:
    """A camera that keeps all ranges; the framing is not looked at yet. None where the draw cannot keep them."""
    size = image_size_px or IMAGE_SIZES_PX[rng.integers(len(IMAGE_SIZES_PX))]
    camera = _lens(rng, size, distortion)
    azimuth = rng.uniform(-math.pi, math.pi)
    aside = np.array([math.cos(azimuth), 0, -math.sin(azimuth)])
    follows = kind != "static"
    tan_x, tan_y = size[0] / 2 / camera.fx_px, size[1] / 2 / camera.fy_px

    # The part of the person that must fit: across and upright half extents about its middle.
    centre = subject.middle if follows else np.broadcast_to(subject.place, subject.middle.shape)
    bottom = 0.5 if framing == "upper" else 0.0
    low = subject.low_y + bottom * (subject.high_y - subject.low_y)
    about_y = (low + subject.high_y) / 2 if follows else np.full(len(low), (low.min() + subject.high_y.max()) / 2)
    across = np.abs((subject.points - centre[:, None]) @ aside).max()
    upright = max(float((subject.high_y - about_y).max()), float((about_y - low).max()))
    fit_m = max(across / tan_x, upright / tan_y) + 0.25
    near, far = {"whole": (1.05, 2.5), "upper": (1.02, 1.25), "partly": (0.5, 1.0)}[framing]
    distance = math.exp(rng.uniform(math.log(near * fit_m), math.log(far * fit_m)))
    distance = float(np.clip(distance, DISTANCE_RANGE_M[0] * 1.05, DISTANCE_RANGE_M[1] * 0.97))

    aim = np.column_stack([centre[:, 0], about_y, centre[:, 2]])
    mean_y = float(aim[:, 1].mean())
    lowest = max(HEIGHT_RANGE_M[0], mean_y + distance * math.sin(math.radians(-PITCH_RANGE_DEG[1])))
    highest = min(HEIGHT_RANGE_M[1], mean_y + distance * math.sin(math.radians(-PITCH_RANGE_DEG[0])))
    if highest <= lowest:
        return None
    height = rng.uniform(lowest, highest)
    level = math.sqrt(max(distance**2 - (height - mean_y) ** 2, 0.04))
    position = _position(rng, subject, kind, height, level, azimuth, aim)

    # What is left beside the person is where they may stand in the picture.
    spare_x = math.atan(tan_x) - math.atan(min(across / distance, tan_x))
    spare_y = math.atan(tan_y) - math.atan(min(upright / distance, tan_y))
    turn = rng.uniform(-0.8, 0.8, 2) * [spare_x, spare_y]
    if framing == "partly":
        turn = turn + rng.choice([-1.0, 1.0], 2) * rng.uniform(0, 0.6, 2) * [math.atan(tan_x), math.atan(tan_y)]
    lag_s = rng.uniform(0.15, 0.6)
    looked_at = _lagged(aim, subject.fps, lag_s) if follows else aim
    T_cam_world = _looking(rng, subject.time_s, position, looked_at, turn, handheld=kind in ("handheld", "walking"))
    to_person = np.linalg.norm(subject.middle - position, axis=1)
    if to_person.min() < DISTANCE_RANGE_M[0] or np.median(to_person) > DISTANCE_RANGE_M[1]:
        return None
    depth = subject.points @ T_cam_world[:, 2, :3, None] + T_cam_world[:, 2, 3, None, None]
    if depth.min() < 0.2:
        return None
    return VirtualCamera(camera, T_cam_world, kind, framing)


def _lens(rng: np.random.Generator, size: tuple[int, int], distortion: bool) -> Camera:
    fov = rng.uniform(*FOV_RANGE_DEG)
    camera = Camera.from_fov(*size, fov, "virtual camera")
    if not distortion:
        return camera
    # Strength at the corner, so that wide and narrow lenses bend alike: up to 12 % inwards, 4 % outwards.
    corner = _corner(camera)
    k1, k2 = rng.uniform(-0.12, 0.04) / corner**2, rng.uniform(-0.01, 0.03) / corner**4
    return Camera(*size, camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px, (k1, k2, 0.0, 0.0), camera.source)


def _position(
    rng: np.random.Generator,
    subject: _Subject,
    kind: Kind,
    height: float,
    level: float,
    azimuth: float,
    aim: np.ndarray,
) -> np.ndarray:
    """(T, 3) the camera's place."""
    t = subject.time_s
    around = np.full(len(t), azimuth)
    place = np.broadcast_to(subject.place, aim.shape)
    if kind == "walking":
        around = azimuth + math.radians(rng.uniform(-12, 12)) * t + 0.15 * _smooth_noise(rng, t, 1, 0.05, 0.2)[:, 0]
        place = _lagged(subject.middle, subject.fps, rng.uniform(0.3, 0.9))
    out = np.column_stack(
        [place[:, 0] + level * np.sin(around), np.full(len(t), height), place[:, 2] + level * np.cos(around)]
    )
    if kind in ("handheld", "walking"):
        out = out + rng.uniform(0.005, 0.03) * _smooth_noise(rng, t, 3, 0.1, 1.0)
    if kind == "walking":
        step, phase = rng.uniform(1.5, 2.1), rng.uniform(0, 2 * math.pi)
        sideways = np.column_stack([np.cos(around), 0 * t, -np.sin(around)])
        out[:, 1] += rng.uniform(0.005, 0.025) * np.cos(2 * math.pi * step * t + phase)
        out += rng.uniform(0.005, 0.02) * np.cos(math.pi * step * t + phase / 2)[:, None] * sideways
    out[:, 1] = np.clip(out[:, 1], *HEIGHT_RANGE_M)
    return out


def _looking(
    rng: np.random.Generator,
    time_s: np.ndarray,
    position: np.ndarray,
    aim: np.ndarray,
    turn_rad: np.ndarray,
    *,
    handheld: bool,
) -> np.ndarray:
    """(T, 4, 4) of cameras at ``position`` that look at ``aim``, turned aside by ``turn_rad`` (yaw, pitch)."""
    towards = aim - position
    yaw = np.arctan2(towards[:, 0], towards[:, 2]) + turn_rad[0]
    pitch = np.arctan2(towards[:, 1], np.hypot(towards[:, 0], towards[:, 2])) + turn_rad[1]
    roll = np.full(len(time_s), math.radians(np.clip(rng.normal(0, 1.2), -4, 4)))
    if handheld:
        sway = math.radians(rng.uniform(0.3, 1.2)) * _smooth_noise(rng, time_s, 3, 0.1, 1.5)
        tremor = math.radians(rng.uniform(0.01, 0.06)) * _smooth_noise(rng, time_s, 3, 6.0, 12.0)
        yaw, pitch, roll = (a + b for a, b in zip((yaw, pitch, roll), (sway + tremor).T, strict=True))
    pitch = np.clip(pitch, *np.radians(PITCH_RANGE_DEG))
    roll = np.clip(roll, -math.radians(MAX_ROLL_DEG), math.radians(MAX_ROLL_DEG))
    ahead = np.column_stack([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    right = np.column_stack([-np.cos(yaw), 0 * yaw, np.sin(yaw)])
    down = np.cross(ahead, right)
    c, s = np.cos(roll)[:, None], np.sin(roll)[:, None]
    R = np.stack([c * right + s * down, c * down - s * right, ahead], axis=1)
    T = np.zeros((len(yaw), 4, 4))
    T[:, :3, :3], T[:, 3, 3] = R, 1
    T[:, :3, 3] = -(R @ position[..., None])[..., 0]
    return T


def _lagged(path: np.ndarray, fps: float, lag_s: float) -> np.ndarray:
    """A path (T, C) that follows another: two low-passes in a row, ``lag_s`` behind a steady motion."""
    keep = math.exp(-2 / (lag_s * fps))
    out = path
    for _ in range(2):
        out, _ = lfilter([1 - keep], [1, -keep], out, axis=0, zi=keep * out[:1])
    return out


def _smooth_noise(
    rng: np.random.Generator, time_s: np.ndarray, channels: int, low_hz: float, high_hz: float
) -> np.ndarray:
    """(T, channels) of unit variance within a band: sines of random frequency and phase, so any frame rate will do."""
    waves = 8
    hz = np.exp(rng.uniform(math.log(low_hz), math.log(high_hz), (waves, channels)))
    phase = rng.uniform(0, 2 * math.pi, (waves, channels))
    return math.sqrt(2 / waves) * np.sin(2 * math.pi * hz * time_s[:, None, None] + phase).sum(axis=1)


def _framed_share(found: VirtualCamera, points: np.ndarray) -> float:
    """Share of the frames in which the person is in the picture as asked."""
    rows = np.unique(np.linspace(0, len(points) - 1, min(len(points), _CHECKED_FRAMES)).round().astype(int))
    seen = points[rows]
    px = project_px(found.camera, found.T_cam_world[rows], seen)
    size = np.array([found.camera.width_px, found.camera.height_px])
    inside = np.all((px >= 0) & (px <= size - 1), axis=-1)
    if found.framing == "whole":
        return float(np.all(inside, axis=1).mean())
    if found.framing == "partly":
        share = np.mean(inside, axis=1)
        return float(((share >= 0.3) & (share <= 0.9)).mean())
    low, high = seen[..., 1].min(axis=1, keepdims=True), seen[..., 1].max(axis=1, keepdims=True)
    upper = seen[..., 1] >= low + 0.5 * (high - low)
    return float(np.mean(np.all(inside | ~upper, axis=1) & ~np.all(inside, axis=1)))
