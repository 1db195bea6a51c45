"""From proxies in pixels to the evidence that the solver weighs."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np

from ..camera import Camera
from ..proxies import BLAZEPOSE_NAMES, NUM_PROXIES, Proxies
from .energy import REFERENCE_FPS, Evidence
from .rigs import BODY_POINT_PROXY, BODY_POINTS, HAND_BONES
from .settings import SolverSettings

_BLAZE = {n: i for i, n in enumerate(BLAZEPOSE_NAMES)}

_BODY_SEGMENTS = [  # bones whose direction the body network's 3-D gives, by landmark name
    *((f"{s}_shoulder", f"{s}_elbow") for s in ("left", "right")),
    *((f"{s}_elbow", f"{s}_wrist") for s in ("left", "right")),
    *((f"{s}_hip", f"{s}_knee") for s in ("left", "right")),
    *((f"{s}_knee", f"{s}_ankle") for s in ("left", "right")),
    *((f"{s}_heel", f"{s}_foot_index") for s in ("left", "right")),
    *((f"{s}_ankle", f"{s}_foot_index") for s in ("left", "right")),
    *((f"{s}_hip", f"{s}_shoulder") for s in ("left", "right")),
    ("left_hip", "right_hip"),
    ("left_shoulder", "right_shoulder"),
    ("left_ear", "right_ear"),
    ("left_ear", "nose"),
    ("right_ear", "nose"),
    *((f"{s}_wrist", f"{s}_index") for s in ("left", "right")),
    *((f"{s}_wrist", f"{s}_pinky") for s in ("left", "right")),
]
_TO_POINT = {"foot_index": "big_toe", "index": "hand_index1", "pinky": "hand_pinky1"}
_HAND_SEGMENTS = [("wrist", "hand_index1"), ("wrist", "hand_pinky1"), ("hand_index1", "hand_pinky1")]
_SHORTEST_FRAME_S = 5e-4
"""Stamps closer than this, or going back, say nothing about time."""
_FAR_PX = 5.0
"""A proxy farther from the middle of the image than this, in longer image sides, is a fault and not a sighting."""
_FAR_M = 5.0
"""The same for relative 3-D."""
_HAND_LANDMARK = {"wrist": 0, "hand_index1": 5, "hand_pinky1": 17}


def _point(blaze: str) -> int:
    side, _, part = blaze.partition("_")
    return BODY_POINTS.index(f"{side}_{_TO_POINT[part]}" if part in _TO_POINT else blaze)


_SEGMENTS = np.array(
    [(_point(a), _point(b)) for a, b in _BODY_SEGMENTS]
    + [
        (BODY_POINTS.index(f"{s}_{a}"), BODY_POINTS.index(f"{s}_{b}"))
        for s in ("left", "right")
        for a, b in _HAND_SEGMENTS
    ]
)
_DERIVED = [BODY_POINTS.index("neck"), BODY_POINTS.index("mid_hip")]
"""Middles of shoulders and hips: they say nothing that these do not."""
_BLAZE_SEGMENTS = np.array([(_BLAZE[a], _BLAZE[b]) for a, b in _BODY_SEGMENTS])
# the body network's guess of a hand's knuckles is coarse, and so are short segments of the head
_SOFT = np.array(
    [0.5 if ("index" in b and "foot" not in b) or "pinky" in b or "nose" in b else 1.0 for _, b in _BODY_SEGMENTS]
)


@dataclass(frozen=True)
class Observations:
    """All that was seen of T frames, stacked."""

    index: np.ndarray
    """(T,) frame numbers."""
    source_stamps_s: np.ndarray
    """(T,) time stamps as the source gave them."""
    stamps_s: np.ndarray
    """(T,) the same, made to increase (:func:`increasing`)."""
    present: np.ndarray
    """(T,) bool"""
    xy: np.ndarray
    """(T, 67, 2) normalised camera coordinates, lens distortion removed."""
    confidence: np.ndarray
    """(T, 67)"""
    body_xyz: np.ndarray
    """(T, 33, 3) relative 3-D of the body network turned into the camera frame; NaN where there is none."""
    hands_xyz: np.ndarray
    """(T, 2, 21, 3) the same for the hands."""
    size: np.ndarray
    """(T,) height of a standing body in normalised units, smoothed; the unit of the 2-D errors."""

    def frames(self, s: slice | np.ndarray) -> "Observations":
        """Some of the frames."""
        return Observations(**{field.name: getattr(self, field.name)[s] for field in fields(self)})


def stack(proxies: Sequence[Proxies], camera: Camera, *, sized: bool = True) -> Observations:
    """Proxies of T frames in normalised coordinates of ``camera`` (the size of the images may differ by a scale).

    Without ``sized``, which takes half of the time, all sizes are 1.
    """
    T = len(proxies)
    xy_px = np.array([p.xy_px for p in proxies], np.float64).reshape(T, NUM_PROXIES, 2)
    confidence = np.array([p.confidence for p in proxies], np.float64).reshape(T, NUM_PROXIES)
    sizes = np.array([p.image_size_px for p in proxies], np.float64).reshape(T, 1, 2)
    with np.errstate(invalid="ignore"):
        off = np.abs(xy_px - sizes / 2).max(-1)
        believable = (off <= _FAR_PX * sizes.max(-1)) & (sizes.min(-1) >= 1) & np.isfinite(confidence)
    xy_px = np.where(believable[..., None], xy_px, 0.0)
    xy_px = xy_px * np.array([camera.width_px, camera.height_px]) / np.maximum(sizes, 1)
    if camera.dist:
        flat = cv2.undistortPoints(xy_px.reshape(-1, 1, 2), camera.K, np.array(camera.dist, np.float64))
        xy = flat.reshape(T, NUM_PROXIES, 2)
        believable &= np.isfinite(xy).all(-1)
        xy = np.where(believable[..., None], xy, 0.0)
    else:
        xy = (xy_px - [camera.cx_px, camera.cy_px]) / [camera.fx_px, camera.fy_px]
    confidence = np.clip(np.where(believable, confidence, 0.0), 0.0, 1.0)
    body = _near(np.array([p.body_xyz_m for p in proxies], np.float64).reshape(T, 33, 3))
    hands = _near(np.array([p.hands_xyz_m for p in proxies], np.float64).reshape(T, 2, 21, 3))
    stamps = np.array([p.stamp_s for p in proxies], np.float64)
    seen = confidence > 0
    present = seen[:, :25].sum(1) >= 4
    body = _face_the_camera(body, _centre(xy, confidence, slice(0, 25)))
    for side, part in enumerate((slice(25, 46), slice(46, 67))):
        hands[:, side] = _face_the_camera(hands[:, side], _centre(xy, confidence, part))
    return Observations(
        np.array([p.index for p in proxies]),
        stamps,
        increasing(stamps),
        present,
        xy,
        confidence,
        body,
        hands,
        _body_size(xy, confidence, body, present) if sized else np.ones(T),
    )


def increasing(stamps_s: np.ndarray) -> np.ndarray:
    """(T,) stamps in which every one that repeats, goes back or is no number is put one usual frame after the last."""
    step = np.diff(stamps_s)
    good = step > _SHORTEST_FRAME_S
    if good.all() and np.isfinite(stamps_s[:1]).all():
        return stamps_s
    usual = float(np.median(step[good])) if good.any() else 1 / REFERENCE_FPS
    first = stamps_s[0] if np.isfinite(stamps_s[0]) else 0.0
    return np.cumsum([first, *np.where(good, step, usual)])


def _near(xyz: np.ndarray) -> np.ndarray:
    """Relative 3-D with NaN for what is no number, or no part of a body."""
    with np.errstate(invalid="ignore"):
        return np.where((np.abs(xyz) < _FAR_M).all(-1, keepdims=True), xyz, np.nan)


def _centre(xy: np.ndarray, confidence: np.ndarray, part: slice) -> np.ndarray:
    """(T, 2) confidence-weighted centre of some proxies; zero where none is seen."""
    c = confidence[:, part, None]
    return (xy[:, part] * c).sum(1) / np.maximum(c.sum(1), 1e-6)


def _face_the_camera(xyz: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Turn relative 3-D seen along the ray through ``centre`` (T, 2) into the camera's axes.

    A landmark network sees a crop and cannot know where in the image it lay: its z axis is the viewing ray.
    """
    ray = np.concatenate([centre, np.ones((len(centre), 1))], axis=1)
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    # shortest rotation of (0, 0, 1) onto the ray
    x, y, z = ray.T
    k = 1 / (1 + z)
    R = np.stack(
        [
            np.stack([1 - k * x * x, -k * x * y, x], -1),
            np.stack([-k * x * y, 1 - k * y * y, y], -1),
            np.stack([-x, -y, z], -1),
        ],
        axis=-2,
    )
    return np.einsum("tij,tmj->tmi", R, xyz)


def _body_size(xy: np.ndarray, confidence: np.ndarray, body: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Height of a standing body in normalised units: extent seen over extent in metres of the network's 3-D, x 1.7."""
    pairs = [(_BLAZE[a], _BLAZE[b], _point(a), _point(b)) for a, b in _BODY_SEGMENTS[:14]]
    a3, b3, a2, b2 = (np.array(c) for c in zip(*pairs, strict=True))
    c = np.minimum(confidence[:, BODY_POINT_PROXY[a2]], confidence[:, BODY_POINT_PROXY[b2]])
    seen = np.linalg.norm(xy[:, BODY_POINT_PROXY[a2]] - xy[:, BODY_POINT_PROXY[b2]], axis=-1)
    true = np.linalg.norm(body[:, a3, :2] - body[:, b3, :2], axis=-1)
    c = np.where(np.isfinite(true), c, 0.0)
    true = np.nan_to_num(true)
    num, den = (c * seen).sum(1), (c * true).sum(1)
    shown = (confidence[:, :25] > 0)[..., None]
    low = np.where(shown, xy[:, :25], np.inf).min(1)
    extent = np.where(present, (np.where(shown, xy[:, :25], -np.inf).max(1) - low).max(-1), 1.0)
    size = np.where(den > 0.05, 1.7 * num / np.maximum(den, 1e-6), extent)
    size = np.where(present, np.clip(size, 1e-3, 10.0), np.nan)
    return _smooth(size)


def _smooth(x: np.ndarray, radius: int = 7) -> np.ndarray:
    """Running median that ignores NaN; gaps take the nearest value."""
    if not np.isfinite(x).any():
        return np.ones_like(x)
    good = np.flatnonzero(np.isfinite(x))
    filled = np.interp(np.arange(len(x)), good, x[good])
    padded = np.pad(filled, radius, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1), axis=-1)


def _directions(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors from a to b and whether they are defined."""
    d = b - a
    length = np.linalg.norm(d, axis=-1)
    good = np.isfinite(length) & (length > 1e-3)
    return np.where(good[..., None], d / np.where(good, length, 1.0)[..., None], 0.0), good


def body_evidence(o: Observations, settings: SolverSettings) -> Evidence:
    """Evidence for the body rig."""
    confidence = o.confidence[:, BODY_POINT_PROXY]
    sigma = np.where(BODY_POINT_PROXY < 25, settings.sigma_body_2d, settings.sigma_hand_2d)
    weight = np.where(confidence > 0.02, confidence / (sigma * o.size[:, None]), 0.0)
    weight[:, _DERIVED] = 0.0
    unit, good = _directions(o.body_xyz[:, _BLAZE_SEGMENTS[:, 0]], o.body_xyz[:, _BLAZE_SEGMENTS[:, 1]])
    # an unseen bone still has a plausible direction, at half the say
    ends = np.minimum(confidence[:, _SEGMENTS[: len(unit[0]), 0]], confidence[:, _SEGMENTS[: len(unit[0]), 1]])
    w = np.where(good & o.present[:, None], _SOFT * (0.5 + 0.5 * ends) / settings.sigma_direction, 0.0)
    units, weights = [unit], [w]
    for side in range(2):
        for a, b in _HAND_SEGMENTS:
            unit, good = _directions(o.hands_xyz[:, side, _HAND_LANDMARK[a]], o.hands_xyz[:, side, _HAND_LANDMARK[b]])
            seen = o.confidence[:, 25 + 21 * side] > 0
            units.append(unit[:, None])
            weights.append(np.where(good & seen, 1 / settings.sigma_hand_direction, 0.0)[:, None])
    return Evidence(
        o.stamps_s, o.xy[:, BODY_POINT_PROXY], weight, _SEGMENTS, np.concatenate(units, 1), np.concatenate(weights, 1)
    )


def hand_evidence(o: Observations, side: str, settings: SolverSettings) -> Evidence:
    """Evidence for one hand's rig."""
    k = 0 if side == "left" else 1
    part = slice(25 + 21 * k, 46 + 21 * k)
    confidence = o.confidence[:, part]
    weight = np.where(confidence > 0.02, confidence / (settings.sigma_hand_2d * o.size[:, None]), 0.0)
    unit, good = _directions(o.hands_xyz[:, k, HAND_BONES[:, 0]], o.hands_xyz[:, k, HAND_BONES[:, 1]])
    seen = (confidence[:, :1] > 0) & good
    return Evidence(
        o.stamps_s, o.xy[:, part], weight, HAND_BONES, unit, np.where(seen, 1 / settings.sigma_hand_direction, 0.0)
    )
