"""Line drawings over the picture: skeleton, proxies, contact marks and the text in the corner."""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

from ...models.camera import Camera
from ...models.proxies import BODY_NAMES, HAND_NAMES, LEFT_HAND, RIGHT_HAND, Proxies
from ...models.skeleton import JOINT_NAMES, PARENTS
from .projection import project

LEFT, RIGHT, MIDDLE = (64, 170, 255), (255, 140, 50), (240, 240, 240)
"""RGB of the person's left side, right side and middle."""
CONTACT, NO_CONTACT = (70, 220, 90), (150, 150, 150)
_OUTLINE = (25, 25, 30)
_SHIFT = 4
"""Binary digits after the point of the coordinates that OpenCV draws at."""

_BODY_BONES = tuple(
    (BODY_NAMES.index(a), BODY_NAMES.index(b))
    for a, b in (
        ("nose", "neck"), ("neck", "mid_hip"),
        *((f"{s}_{a}" if a not in ("neck", "mid_hip", "nose") else a, f"{s}_{b}")
          for s in ("left", "right")
          for a, b in (("neck", "shoulder"), ("shoulder", "elbow"), ("elbow", "wrist"), ("mid_hip", "hip"),
                       ("hip", "knee"), ("knee", "ankle"), ("ankle", "heel"), ("heel", "big_toe"),
                       ("ankle", "big_toe"), ("nose", "eye"), ("eye", "ear"))),
    )
)  # fmt: skip
_HAND_BONES = tuple((0 if i % 4 == 1 else i - 1, i) for i in range(1, len(HAND_NAMES)))


def side_colour(name: str) -> tuple[int, int, int]:
    """RGB for a joint or proxy by its name."""
    return LEFT if name.startswith("left_") else RIGHT if name.startswith("right_") else MIDDLE


def stroke_px(width_px: int, height_px: int) -> float:
    """Line width that looks the same on every picture size."""
    return max(1.0, max(width_px, height_px) / 450)


def draw_skeleton(
    image_rgb: np.ndarray, joints_world_m: np.ndarray, T_cam_world: np.ndarray, camera: Camera, *, alpha: float = 1.0
) -> np.ndarray:
    """A copy of the picture with the 55 joints of the body as lines: left blue, right orange, middle white.

    Args:
        image_rgb: (H, W, 3) uint8; ``camera`` must be of its size. joints_world_m: (55, 3). alpha: 1 is opaque.
    """
    out = image_rgb.copy()
    px = project(joints_world_m, T_cam_world, camera)
    stroke = stroke_px(camera.width_px, camera.height_px)
    fingers = range(JOINT_NAMES.index("left_index1"), len(JOINT_NAMES))
    order = sorted(range(1, len(JOINT_NAMES)), key=lambda j: -float(joints_world_m[j] @ T_cam_world[2, :3]))
    for j in order:
        if JOINT_NAMES[j] == "jaw" or "eye" in JOINT_NAMES[j]:
            continue
        thick = stroke if j in fingers else 2.2 * stroke
        _line(out, px[PARENTS[j]], px[j], _OUTLINE, thick + max(2.0, 0.8 * stroke))
        _line(out, px[PARENTS[j]], px[j], side_colour(JOINT_NAMES[j]), thick)
    for j in order:
        if "eye" not in JOINT_NAMES[j] and JOINT_NAMES[j] != "jaw":
            _dot(out, px[j], side_colour(JOINT_NAMES[j]), (0.8 if j in fingers else 1.8) * stroke)
    return out if alpha >= 1 else cv2.addWeighted(out, alpha, image_rgb, 1 - alpha, 0)


def draw_proxies(image_rgb: np.ndarray, proxies: Proxies, *, bones: bool = True) -> np.ndarray:
    """A copy of the picture with what the landmark stage saw; the fainter a mark, the less sure.

    The proxies' own picture size is scaled to the size of ``image_rgb``.
    """
    out = image_rgb.copy()
    height, width = out.shape[:2]
    xy = proxies.xy_px * (width / proxies.image_size_px[0], height / proxies.image_size_px[1])
    xy = np.where(proxies.confidence[:, None] > 0, xy, np.nan)
    stroke = stroke_px(width, height)
    groups = [(0, BODY_NAMES, _BODY_BONES, 1.0)]
    groups += [(hand.start, HAND_NAMES, _HAND_BONES, 0.55) for hand in (LEFT_HAND, RIGHT_HAND)]
    for start, names, lines, size in groups:
        side = {0: "", LEFT_HAND.start: "left_", RIGHT_HAND.start: "right_"}[start]
        colours = [side_colour(side + name) for name in names]
        sure = proxies.confidence[start : start + len(names)]
        for a, b in lines if bones else ():
            strength = float(min(sure[a], sure[b]))
            _line(out, xy[start + a], xy[start + b], colours[b], 0.9 * stroke * size, strength)
        for k, colour in enumerate(colours):
            _dot(out, xy[start + k], _OUTLINE, 2.3 * stroke * size + 1, float(sure[k]))
            _dot(out, xy[start + k], colour, 2.3 * stroke * size, float(sure[k]))
    return out


def draw_contact(
    image_rgb: np.ndarray, points_world_m: np.ndarray, contact: np.ndarray, T_cam_world: np.ndarray, camera: Camera
) -> np.ndarray:
    """A copy of the picture with a mark at each foot point: a filled green one where it touches the ground.

    Args:
        points_world_m: (4, 3) in CONTACT_POINTS order; contact: (4,) probabilities.
    """
    out = image_rgb.copy()
    stroke = stroke_px(camera.width_px, camera.height_px)
    for xy, sure in zip(project(points_world_m, T_cam_world, camera), contact, strict=True):
        if sure > 0.5:
            _dot(out, xy, CONTACT, 2.6 * stroke)
            _dot(out, xy, (20, 60, 20), 2.6 * stroke, thickness=max(1, round(0.5 * stroke)))
        else:
            _dot(out, xy, NO_CONTACT, 2.2 * stroke, thickness=max(1, round(0.6 * stroke)))
    return out


def draw_text(image_rgb: np.ndarray, lines: Sequence[str], *, scale: float = 1.0) -> np.ndarray:
    """A copy of the picture with lines of ASCII text on a dark strip in the upper left corner."""
    out = image_rgb.copy()
    height, width = out.shape[:2]
    font, size = cv2.FONT_HERSHEY_SIMPLEX, scale * max(0.32, max(width, height) / 2000)
    thick = max(1, round(size * 1.6))
    sizes = [cv2.getTextSize(text, font, size, thick)[0] for text in lines]
    if not sizes:
        return out
    row, pad = int(max(h for _, h in sizes) * 1.7) + 1, max(3, round(10 * size))
    box_w, box_h = min(width, max(w for w, _ in sizes) + 2 * pad), min(height, row * len(lines) + pad)
    out[:box_h, :box_w] = (out[:box_h, :box_w] * 0.4).astype(np.uint8)
    for k, text in enumerate(lines):
        cv2.putText(out, text, (pad, row * (k + 1)), font, size, (245, 245, 245), thick, cv2.LINE_AA)
    return out


def draw_ground(
    image_rgb: np.ndarray,
    T_cam_world: np.ndarray,
    camera: Camera,
    centre_world_m: np.ndarray,
    *,
    half_m: float = 3.0,
    step_m: float = 0.5,
    colour: tuple[int, int, int] = (120, 125, 135),
) -> np.ndarray:
    """A copy of the picture with a grid on the floor (y = 0) around a point; lines stop in front of the camera."""
    out = image_rgb.copy()
    cx, cz = np.round(centre_world_m[[0, 2]] / step_m) * step_m
    along = np.linspace(-half_m, half_m, 81)
    for offset in np.arange(-half_m, half_m + step_m / 2, step_m):
        for x, z in ((along, np.full_like(along, offset)), (np.full_like(along, offset), along)):
            px = project(np.stack((x + cx, np.zeros_like(x), z + cz), axis=-1), T_cam_world, camera)
            for a, b in pairwise(px):
                _line(out, a, b, colour, max(1.0, 0.35 * stroke_px(camera.width_px, camera.height_px)))
    return out


def _fixed(xy: np.ndarray) -> tuple[int, int] | None:
    """Coordinates as OpenCV takes them: the first pixel's centre is 0, with ``_SHIFT`` binary digits."""
    if not np.isfinite(xy).all() or np.abs(xy).max() > 30000:
        return None
    return round((float(xy[0]) - 0.5) * 2**_SHIFT), round((float(xy[1]) - 0.5) * 2**_SHIFT)


def _line(image, a, b, colour, width_px: float, strength: float = 1.0) -> None:
    pa, pb = _fixed(a), _fixed(b)
    if pa is not None and pb is not None and strength > 0:
        cv2.line(image, pa, pb, _faded(colour, strength), max(1, round(width_px)), cv2.LINE_AA, _SHIFT)


def _dot(image, xy, colour, radius_px: float, strength: float = 1.0, thickness: int = -1) -> None:
    p = _fixed(xy)
    if p is not None and strength > 0:
        radius = max(1, round(radius_px * 2**_SHIFT))
        cv2.circle(image, p, radius, _faded(colour, strength), thickness, cv2.LINE_AA, _SHIFT)


def _faded(colour: tuple[int, int, int], strength: float) -> tuple[int, ...]:
    """The colour pulled towards grey as certainty falls."""
    keep = 0.3 + 0.7 * min(1.0, max(0.0, strength))
    return tuple(round(keep * c + (1 - keep) * 90) for c in colour)
