"""Stick figures of a truth and a prediction, over the footage and on paper."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ....models.proxies import HAND_NAMES
from ....realtime.overlay.projection import project
from ..metrics import procrustes
from ..records import HIPS, Case, Motion3D, Prediction

RGB = tuple[int, int, int]
TRUTH: RGB = (255, 255, 255)
PAPER: RGB = (34, 37, 43)
"""Dark in either colour scheme of the page, so that the truth can be white here and in the picture."""
_OUTLINE: RGB = (20, 20, 24)
_FAINT: RGB = (62, 66, 74)
_ERROR: RGB = (150, 150, 150)
_SHIFT = 4
_MIN_HEIGHT_M = 1.2

_PAIRS = (
    ("neck", "head"), ("neck", "nose"), ("neck", "pelvis"), ("neck", "mid_hip"),
    *((f"{s}_{a}", f"{s}_{b}") for s in ("left", "right") for a, b in (
        ("hip", "knee"), ("knee", "ankle"), ("ankle", "heel"), ("ankle", "big_toe"), ("heel", "big_toe"),
        ("ankle", "foot"), ("big_toe", "small_toe"), ("shoulder", "elbow"), ("elbow", "wrist"), ("shoulder", "hip"))),
    ("left_hip", "right_hip"), ("left_shoulder", "right_shoulder"),
    ("nose", "left_eye"), ("nose", "right_eye"), ("left_eye", "left_ear"), ("right_eye", "right_ear"),
    *((f"{s}_hand_{HAND_NAMES[0 if k % 4 == 1 else k - 1]}", f"{s}_hand_{HAND_NAMES[k]}")
      for s in ("left", "right") for k in range(1, len(HAND_NAMES))),
)  # fmt: skip
_SHOWN = {name for pair in _PAIRS for name in pair}


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """Truth and prediction of one frame, of the joints that both have."""

    names: tuple[str, ...]
    truth_m: np.ndarray | None
    """(J, 3) in the axes of the camera (x right, y down, z forward); None for a truth in the picture alone."""
    aligned_m: np.ndarray | None
    """(J, 3) the prediction, aligned as its error is measured."""
    down: np.ndarray
    """(3,) the true vertical, where it is known, else the camera's."""
    truth_px: np.ndarray | None
    """(J, 2) in the picture; None where the camera is not known."""
    predicted_px: np.ndarray | None
    """(J, 2) where the prediction itself puts them, or the aligned one where it has no place of its own."""


def figures_of(case: Case, prediction: Prediction, row: int, *, in_picture: bool, scaled: bool) -> Figures | None:
    """What to draw of a row; None where truth and prediction share nothing there.

    Args:
        in_picture: take the key points, as for PCK, and not the joints.
        scaled: align by rotation, scale and shift, as for PA-MPJPE, and not by the root alone.
    """
    truth, motion = case.truth, prediction.motion
    if in_picture:
        names = _common(truth.keypoint_names, motion.keypoint_names, ())
        if truth.keypoints_px is None or motion.keypoints_px is None or not names:
            return None
        px = [m.keypoints_px[row, [m.keypoint_names.index(n) for n in names]]
              for m in (truth, motion) if m.keypoints_px is not None]  # fmt: skip
        if truth.keypoint_confidence is not None:
            counts = truth.keypoint_confidence[row, [truth.keypoint_names.index(n) for n in names]] > 0
            px = [np.where(counts[:, None], p, np.nan) for p in px]
        return Figures(names, None, None, np.array([0.0, 1.0, 0.0]), px[0], px[1])
    names = _common(truth.joint_names, motion.joint_names, case.compared)
    true_m, predicted_m = (_in_camera(m, names, row) for m in (truth, motion))
    if true_m is None or predicted_m is None or not np.isfinite(true_m).all(axis=1).any():
        return None
    aligned = _aligned(case, names, true_m, predicted_m, scaled)
    placed = truth.T_cam_world is not None or not truth.in_world
    own_place = motion.in_world and motion.T_cam_world is not None
    return Figures(
        names,
        true_m,
        aligned,
        _down(truth, row),
        project(true_m, np.eye(4), case.camera) if placed else None,
        project(predicted_m if own_place else aligned, np.eye(4), case.camera) if placed else None,
    )


def draw_over(image_rgb: np.ndarray, figures: Figures, colour: RGB, height_px: int) -> np.ndarray | None:
    """(height_px, W, 3) the part of the picture around the figures with both drawn in; None where nothing of them is
    in the picture."""
    if figures.truth_px is None or figures.predicted_px is None:
        return None
    box = _around(figures.truth_px, figures.predicted_px, image_rgb.shape[1], image_rgb.shape[0])
    if box is None:
        return None
    x0, y0, x1, y1 = box
    scale = min(height_px / (y1 - y0), 1.5 * height_px / (x1 - x0))
    size = max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    part = cv2.resize(image_rgb[y0:y1, x0:x1], size, interpolation=method)
    out = np.full((height_px, size[0], 3), PAPER, np.uint8)
    top = (height_px - size[1]) // 2
    for points, rgb in ((figures.truth_px, TRUTH), (figures.predicted_px, colour)):
        _stick(part, figures.names, (points - (x0, y0)) * scale, rgb)
    out[top : top + size[1]] = part
    return out


def draw_views(figures: Figures, colour: RGB, height_px: int) -> np.ndarray | None:
    """(height_px, W, 3) both figures from the camera's side and from beside it (the camera is at the left then), level,
    without perspective, with lines between what belongs together; None for figures in the picture alone."""
    if figures.truth_m is None or figures.aligned_m is None:
        return None
    return np.concatenate([draw_view(figures, colour, height_px, turned) for turned in (False, True)], axis=1)


def draw_view(figures: Figures, colour: RGB, height_px: int, turned: bool) -> np.ndarray:
    """One of the two views of :func:`draw_views`, 3/4 as wide as high; the grid is 0.5 m."""
    assert figures.truth_m is not None
    assert figures.aligned_m is not None
    forward = np.array([0.0, 0.0, 1.0]) - figures.down * figures.down[2]
    forward /= np.linalg.norm(forward)
    right = np.cross(figures.down, forward)
    axes = np.stack((forward if turned else right, figures.down))
    truth, predicted = (points @ axes.T for points in (figures.truth_m, figures.aligned_m))
    both = np.concatenate((truth, predicted))
    both = both[np.isfinite(both).all(axis=1)]
    low, high = both.min(axis=0), both.max(axis=0)
    width_px = round(0.75 * height_px)
    extent = np.maximum(high - low, (0.75 * _MIN_HEIGHT_M, _MIN_HEIGHT_M)) * 1.15
    scale = float(min(width_px / extent[0], height_px / extent[1]))
    origin = np.array([width_px, height_px]) / 2 - (low + high) / 2 * scale
    out = np.full((height_px, width_px, 3), PAPER, np.uint8)
    for axis, size in ((0, width_px), (1, height_px)):
        for k in range(int(np.ceil(-origin[axis] / scale / 0.5)), int((size - origin[axis]) / scale / 0.5) + 1):
            at = round(float(origin[axis] + 0.5 * k * scale))
            start, end = ((at, 0), (at, height_px)) if axis == 0 else ((0, at), (width_px, at))
            cv2.line(out, start, end, _FAINT, 1)
    a, b = truth * scale + origin, predicted * scale + origin
    for one, other in zip(a, b, strict=True):
        _line(out, one, other, _ERROR, 1)
    _stick(out, figures.names, a, TRUTH)
    _stick(out, figures.names, b, colour)
    return out


def _common(truth: Sequence[str], predicted: Sequence[str], first: Sequence[str]) -> tuple[str, ...]:
    """Names that both have and that are drawn; of a landmark and a tree joint of one name the one in ``first``."""
    found: dict[str, str] = {}
    for name in (*first, *truth):
        base = name.removeprefix("smplx_")
        if base in _SHOWN and name in truth and name in predicted:
            found.setdefault(base, name)
    return tuple(found.values())


def _in_camera(motion: Motion3D, names: Sequence[str], row: int) -> np.ndarray | None:
    """(J, 3) in the axes of the camera; of a world without a camera, as a level camera that looks along -z sees it."""
    if motion.joints_m is None or not names:
        return None
    joints = motion.joints_m[row, [motion.joint_names.index(n) for n in names]]
    if not motion.in_world:
        return joints
    if motion.T_cam_world is None:
        return joints * (1.0, -1.0, -1.0)
    T = motion.T_cam_world[row]
    return joints @ T[:3, :3].T + T[:3, 3]


def _down(truth: Motion3D, row: int) -> np.ndarray:
    if truth.in_world and truth.T_cam_world is not None and np.isfinite(truth.T_cam_world[row]).all():
        down = -truth.T_cam_world[row, :3, 1]
        # Seen from above or below there is no side of the camera.
        if abs(down[2]) < 0.98 * np.linalg.norm(down):
            return down / np.linalg.norm(down)
    return np.array([0.0, 1.0, 0.0])


def _aligned(case: Case, names: Sequence[str], truth: np.ndarray, predicted: np.ndarray, scaled: bool) -> np.ndarray:
    compared = [k for k, n in enumerate(names) if not case.compared or n in case.compared]
    known = [k for k in compared if np.isfinite(truth[k]).all() and np.isfinite(predicted[k]).all()]
    if scaled and len(known) >= 3:
        return _moved_as(predicted, known, procrustes(predicted[None, known], truth[None, known])[0])
    wanted = case.root or HIPS
    root = [k for k in known if names[k].removeprefix("smplx_") in {n.removeprefix("smplx_") for n in wanted}] or known
    if not root:
        return predicted
    return predicted - predicted[root].mean(axis=0) + truth[root].mean(axis=0)


def _moved_as(points: np.ndarray, known: Sequence[int], moved: np.ndarray) -> np.ndarray:
    """All points by the affine map that took those of ``known`` to ``moved``."""
    source = np.column_stack((points[list(known)], np.ones(len(known))))
    return np.column_stack((points, np.ones(len(points)))) @ np.linalg.lstsq(source, moved, rcond=None)[0]


def _around(
    truth_px: np.ndarray, predicted_px: np.ndarray, width: int, height: int
) -> tuple[int, int, int, int] | None:
    """x0, y0, x1, y1 around the truth, and around the prediction where it is not far off."""
    size = np.array([width, height], dtype=np.float64)
    true = truth_px[np.isfinite(truth_px).all(axis=1)]
    if not len(true):
        return None
    low, high = true.min(axis=0), true.max(axis=0)
    reach = 0.6 * max(float((high - low).max()), 0.05 * float(size.max()))
    near = predicted_px[np.isfinite(predicted_px).all(axis=1)]
    near = np.clip(near, low - reach, high + reach)
    points = np.concatenate((true, near))
    margin = 0.12 * max(float(np.ptp(points, axis=0).max()), 0.05 * float(size.max()))
    first = np.clip(np.floor(points.min(axis=0) - margin), 0, size - 1).astype(int)
    last = np.clip(np.ceil(points.max(axis=0) + margin), 1, size).astype(int)
    if (last - first < 8).any():
        return None
    return int(first[0]), int(first[1]), int(last[0]), int(last[1])


def _stick(image: np.ndarray, names: Sequence[str], points: np.ndarray, colour: RGB) -> None:
    place = {n.removeprefix("smplx_"): k for k, n in enumerate(names)}
    bones = [(place[a], place[b]) for a, b in _PAIRS if a in place and b in place]
    thick = max(2, round(image.shape[0] / 150))
    for width, rgb in ((thick + 2, _OUTLINE), (thick, colour)):
        for a, b in bones:
            fine = "_hand_" in names[a] or "_eye" in names[b] or "_ear" in names[b]
            _line(image, points[a], points[b], rgb, max(1, width - 1) if fine else width)
    for k, name in enumerate(names):
        if np.isfinite(points[k]).all() and np.abs(points[k]).max() < 30000:
            at = tuple(round(float(v) * 2**_SHIFT) for v in points[k])
            radius = round((0.8 if "_hand_" in name else 1.4) * thick * 2**_SHIFT)
            cv2.circle(image, at, radius, colour, -1, cv2.LINE_AA, _SHIFT)


def _line(image: np.ndarray, a: np.ndarray, b: np.ndarray, colour: RGB, width: int) -> None:
    if np.isfinite((a, b)).all() and np.abs((a, b)).max() < 30000:
        start, end = (tuple(round(float(v) * 2**_SHIFT) for v in p) for p in (a, b))
        cv2.line(image, start, end, colour, width, cv2.LINE_AA, _SHIFT)
