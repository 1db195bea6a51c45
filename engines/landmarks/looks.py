"""What a person wears, in a few colours: tells two people apart where places cannot.

Clothes keep their colour while a body turns; brightness changes with light and shadow and counts half.
"""

import cv2
import numpy as np

from .networks import Body

_TORSO = (11, 12, 23, 24)
_BONES = {"arms": ((11, 13), (12, 14)), "thighs": ((23, 25), (24, 26)), "shins": ((25, 27), (26, 28))}
PARTS = ("chest", "belly", *_BONES)
"""Parts of the body, by the body network's landmarks, whose colours are told."""
_ALONG = np.array([0.3, 0.5, 0.7])
_SEEN = 0.5
_LIGHTNESS_WEIGHT = 0.5


def look_of(image_rgb: np.ndarray, body: Body) -> np.ndarray:
    """(5, 3) median colour of each of :data:`PARTS` in CIELAB with halved lightness; NaN where it is not in view."""
    height, width = image_rgb.shape[:2]
    xy = np.asarray(body.xy_px, np.float64)
    sure = np.asarray(body.visibility) * np.asarray(body.in_frame) >= _SEEN
    left, right, left_hip, right_hip = _TORSO
    out = np.full((len(PARTS), 3), np.nan)
    for row, part in enumerate(PARTS):
        if part in _BONES:
            bones = [bone for bone in _BONES[part] if sure[list(bone)].all()]
            points = [xy[a] + _ALONG[:, None] * (xy[b] - xy[a]) for a, b in bones]
        elif sure[list(_TORSO)].all():
            down = 0.3 if part == "chest" else 0.75
            one, other = (xy[a] + down * (xy[b] - xy[a]) for a, b in ((left, left_hip), (right, right_hip)))
            points = [one + _ALONG[:, None] * (other - one)]
        else:
            points = []
        if not points:
            continue
        columns, rows = np.concatenate(points).round().astype(int).T
        inside = (columns >= 0) & (rows >= 0) & (columns < width) & (rows < height)
        if inside.any():
            pixels = image_rgb[rows[inside], columns[inside]][None].astype(np.float32) / 255
            lab = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2Lab))[0]
            out[row] = np.median(lab, axis=0) * [_LIGHTNESS_WEIGHT, 1, 1]
    return out


def unlike(a: np.ndarray, b: np.ndarray) -> float | None:
    """How far two looks (5, 3) are apart: mean colour difference of the parts that both show, about 2 for what an eye
    just tells apart; None where fewer than two parts can be compared."""
    apart = np.linalg.norm(a - b, axis=1)
    apart = apart[np.isfinite(apart)]
    return float(apart.mean()) if len(apart) >= 2 else None


_MEMORY = 20


def learnt(mean: np.ndarray, look: np.ndarray, looks: int) -> tuple[np.ndarray, int]:
    """The running mean of somebody's looks (5, 3) with one more, and how many it counts for: at most the last 20.

    A part that is seen for the first time starts; one that is out of view stays.
    """
    looks = min(looks + 1, _MEMORY)
    mixed = mean + (look - mean) / looks
    return np.where(np.isnan(mean), look, np.where(np.isnan(look), mean, mixed)), looks
