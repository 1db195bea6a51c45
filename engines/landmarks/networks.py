"""The four landmark networks: what goes in, what comes out, in image pixels and metres.

pose_detection finds people; pose_landmark gives 33 body landmarks in a region of interest; hand_recrop refines the
region of a hand; hand_landmark gives its 21 landmarks. The palm detector of the same family is not used: the body
landmarks say where the hands are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np

from ...models.errors import HmcapError
from ..base import Engine
from .geometry import Roi, crop, roi_from_points, sigmoid, to_tensor

DETECTION_SIZE = 224
_STRIDES = (8, 16, 32, 32, 32)
_MIN_SCORE = 0.5
_MIN_OVERLAP = 0.3
_HEATMAP_KERNEL = 9  # measured: the published pipeline agrees with 9 to 0.02 crop pixels, with 7 to 0.12
_HEATMAP_MIN_CONFIDENCE = 0.5
BODY_OUTPUTS = (0, 1, 3, 4)
"""What is used of the body network: without the mask of the person, a third of its time is saved."""


class Network:
    """An engine with one image input, whose outputs are read by position and checked by size."""

    def __init__(self, engine: Engine, role: str, sizes: tuple[int, ...]) -> None:
        found = tuple(int(np.prod(s.shape)) for s in engine.outputs)
        if len(engine.inputs) != 1 or found != sizes:
            raise HmcapError(
                f"Expected a {role} network with one input and outputs of {sizes} numbers, found {len(engine.inputs)} "
                f"inputs and outputs of {found}. Fetch the right file with: hmcap models fetch"
            )
        self.engine = engine
        self._input = engine.inputs[0].name
        self.size = int(engine.inputs[0].shape[1])

    def run(self, tensor: np.ndarray) -> list[np.ndarray]:
        """The outputs in the network's own order."""
        out = self.engine({self._input: tensor})
        return [out[s.name] for s in self.engine.outputs]


@dataclass(frozen=True, slots=True)
class Detection:
    """A person found in the whole image."""

    score: float
    box_px: np.ndarray
    """(4,) left, top, right, bottom of the face box."""
    keypoints_px: np.ndarray
    """(4, 2): hip centre, a point on the circle around the whole body, shoulder centre, one around the upper body."""

    @property
    def roi(self) -> Roi:
        """Region of interest of the whole body, head up."""
        return roi_from_points(self.keypoints_px[0], self.keypoints_px[1]).moved(1.25)


def ssd_anchors(size: int = DETECTION_SIZE, strides: tuple[int, ...] = _STRIDES) -> np.ndarray:
    """(N, 2) anchor centres in 0..1: two per cell and layer; layers of equal stride share their cells."""
    parts = []
    for stride in sorted(set(strides)):
        cells = -(-size // stride)
        centres = (np.arange(cells) + 0.5) / cells
        grid = np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 2)
        parts.append(np.repeat(grid, 2 * strides.count(stride), axis=0))
    return np.concatenate(parts).astype(np.float32)


def decode_detections(raw: np.ndarray, logits: np.ndarray, anchors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores (M,) and decoded rows (M, 12) above the score threshold, best first.

    ``raw`` (N, 12): centre x, y, width, height, then four points, in input pixels relative to the anchor. A decoded
    row is left, top, right, bottom and the four points in 0..1.
    """
    scores = sigmoid(logits.reshape(-1))
    rows = np.flatnonzero(scores >= _MIN_SCORE)
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    values = raw[rows].reshape(-1, 6, 2) / DETECTION_SIZE
    centre, half, points = values[:, 0] + anchors[rows], values[:, 1] / 2, values[:, 2:] + anchors[rows, None]
    decoded = np.concatenate([centre - half, centre + half, points.reshape(-1, 8)], axis=1)
    valid = (half >= 0).all(axis=1)
    return scores[rows][valid], decoded[valid]


def weighted_nms(scores: np.ndarray, decoded: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """Merge overlapping detections: each survivor is the score-weighted mean of all that overlap its best one."""
    merged = []
    while len(scores):
        box, rest = decoded[0, :4], decoded[:, :4]
        sides = np.minimum(box[2:], rest[:, 2:]) - np.maximum(box[:2], rest[:, :2])
        shared = np.prod(np.maximum(sides, 0), axis=1)
        areas = np.prod(rest[:, 2:] - rest[:, :2], axis=1)
        overlaps = shared / np.maximum(areas + areas[0] - shared, 1e-12) > _MIN_OVERLAP
        overlaps[0] = True
        merged.append((float(scores[0]), np.average(decoded[overlaps], axis=0, weights=scores[overlaps])))
        scores, decoded = scores[~overlaps], decoded[~overlaps]
    return merged


class PersonDetector(Network):
    """pose_detection: the people in the whole image, best score first."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, "person detection", (2254 * 12, 2254))
        self._anchors = ssd_anchors()

    def __call__(self, image: np.ndarray, region: Roi | None = None) -> list[Detection]:
        """People in an (H, W, 3) uint8 RGB image, or in one region of it, where smaller ones are found."""
        h, w = image.shape[:2]
        region = region or Roi(w / 2, h / 2, max(h, w))
        raw, logits = self.run(to_tensor(crop(image, region, self.size, zero_border=True), -1, 1))
        people = []
        for score, row in weighted_nms(*decode_detections(raw[0], logits[0], self._anchors)):
            points = region.to_image(row.reshape(6, 2))
            people.append(Detection(score, points[:2].reshape(4), points[2:]))
        return [p for p in people if p.roi.usable]


@dataclass(frozen=True, slots=True)
class Body:
    """The body network's result in one region of interest."""

    presence: float
    xy_px: np.ndarray
    """(33, 2) image pixels."""
    visibility: np.ndarray
    """(33,) probability that the landmark is in the image and not occluded."""
    in_frame: np.ndarray
    """(33,) probability that the landmark is in the image (occluded or not)."""
    xyz_m: np.ndarray
    """(33, 3) hip-centred, axes of the image (x right, y down, z forward)."""
    aux_px: np.ndarray
    """(2, 3) hip centre and a point on the circle around the body, image pixels; z in the same unit."""
    roi: Roi
    small_toes: np.ndarray = field(default_factory=lambda: np.zeros((2, 3)))
    """(2, 3) left and right small toe: x and y in image pixels, and confidence; 0 where the network has none."""
    hands: tuple["Hand | None", "Hand | None"] = (None, None)
    """Left and right hand, where the body network itself gives their landmarks."""


class BodyModule(Protocol):
    """What measures a body in a region of the image."""

    engine: Engine

    def __call__(self, image: np.ndarray, roi: Roi) -> Body:
        """Landmarks of the person in ``roi`` of an (H, W, 3) uint8 RGB image."""
        ...


def refine_from_heatmap(xy: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Landmarks (N, 2) in 0..1 moved to the centroid of their heat map (h, w, N logits) near them, where it is sure."""
    h, w, count = logits.shape
    half = (_HEATMAP_KERNEL - 1) // 2
    size = np.array([w, h])
    centre = np.trunc(xy * size).astype(np.int64)
    inside = ((centre >= 0) & (centre < size)).all(axis=1)
    offsets = np.arange(-half, half + 1)
    cols, rows = centre[:, :1] + offsets, centre[:, 1:] + offsets
    window = np.clip(rows, 0, h - 1)[:, :, None], np.clip(cols, 0, w - 1)[:, None, :]
    weights = sigmoid(logits[window[0], window[1], np.arange(count)[:, None, None]])
    valid = ((rows >= 0) & (rows < h))[:, :, None] & ((cols >= 0) & (cols < w))[:, None, :]
    weights = np.where(valid, weights, 0)
    sums = np.maximum(weights.sum(axis=(1, 2)), 1e-12)
    refined = np.stack(
        [(weights * cols[:, None, :]).sum(axis=(1, 2)), (weights * rows[:, :, None]).sum(axis=(1, 2))], axis=1
    ) / (sums[:, None] * size)
    sure = inside & (weights.max(axis=(1, 2)) >= _HEATMAP_MIN_CONFIDENCE)
    return np.where(sure[:, None], refined, xy)


class BodyNetwork(Network):
    """pose_landmark (lite, full or heavy): body landmarks in a region of interest.

    The engine is opened with :data:`BODY_OUTPUTS`.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, "body landmark", (195, 1, 64 * 64 * 39, 117))

    def __call__(self, image: np.ndarray, roi: Roi) -> Body:
        """Landmarks of the person in ``roi`` of an (H, W, 3) uint8 RGB image."""
        flat, presence, heatmap, world = self.run(to_tensor(crop(image, roi, self.size)))
        points = flat.reshape(39, 5)
        xy = refine_from_heatmap(points[:, :2] / self.size, heatmap[0])
        xy_px = roi.to_image(xy)
        aux = np.column_stack([xy_px[33:35], points[33:35, 2] / self.size * roi.size_px])
        seen = sigmoid(points[:33, 3:])
        return Body(
            float(presence.reshape(())),
            xy_px[:33].astype(np.float32),
            seen[:, 0],
            seen[:, 1],
            roi.rotate_to_image(world.reshape(39, 3)[:33]),
            aux,
            roi,
        )


class HandRecrop(Network):
    """hand_recrop: a tighter region of interest for a hand that the body landmarks only point at."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, "hand re-crop", (4,))

    def __call__(self, image: np.ndarray, roi: Roi) -> Roi:
        """Region of the hand, fingers up, from a rough one."""
        points = self.run(to_tensor(crop(image, roi, self.size)))[0].reshape(2, 2) / self.size
        centre, edge = roi.to_image(points)
        return roi_from_points(centre, edge, upward=False).moved(1.0, -0.1)


@dataclass(frozen=True, slots=True)
class Hand:
    """The hand network's result in one region of interest."""

    presence: float
    right_score: float | None
    """Near 1 for a person's right hand, near 0 for a left one, as the network sees it; None where it does not say."""
    xy_px: np.ndarray
    """(21, 2) image pixels."""
    xyz_m: np.ndarray
    """(21, 3) own centre, axes of the image; NaN where the network gives none."""
    roi: Roi
    confidence: np.ndarray | None = None
    """(21,) of each landmark; None where ``presence`` is all that the network says."""

    def agreement(self, side: int) -> float:
        """How far the network takes it for the left (0) or right (1) hand; 1 where it does not say."""
        if self.right_score is None:
            return 1.0
        return self.right_score if side else 1 - self.right_score


class HandModule(Protocol):
    """What measures one hand in a region of the image."""

    engine: Engine

    def __call__(self, image: np.ndarray, roi: Roi) -> Hand:
        """Landmarks of the hand in ``roi`` of an (H, W, 3) uint8 RGB image."""
        ...


class HandNetwork(Network):
    """hand_landmark (lite or full): 21 landmarks of one hand."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, "hand landmark", (63, 1, 1, 63))

    def __call__(self, image: np.ndarray, roi: Roi) -> Hand:
        """Landmarks of the hand in ``roi`` of an (H, W, 3) uint8 RGB image."""
        return _hand(self.run(to_tensor(crop(image, roi, self.size))), roi, self.size)


class HandPairNetwork(Network):
    """hand_landmark on both hands in one call, for devices that take two crops in little more time than one."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, "hand landmark pair", (126, 2, 2, 126))

    def __call__(self, image: np.ndarray, rois: Sequence[Roi]) -> list[Hand]:
        """Landmarks of the hands in two regions of an (H, W, 3) uint8 RGB image."""
        out = self.run(np.concatenate([to_tensor(crop(image, roi, self.size)) for roi in rois]))
        return [_hand([value[k] for value in out], roi, self.size) for k, roi in enumerate(rois)]


def _hand(out: Sequence[np.ndarray], roi: Roi, size: int) -> Hand:
    flat, presence, handedness, world = out
    return Hand(
        float(presence.reshape(())),
        float(handedness.reshape(())),
        roi.to_image(flat.reshape(21, 3)[:, :2] / size).astype(np.float32),
        roi.rotate_to_image(world.reshape(21, 3)),
        roi,
    )


def thumbnail(image: np.ndarray, width: int = 64, height: int = 36) -> np.ndarray:
    """(height, width) float32 grey samples of the picture, at a cost that does not grow with its size."""
    h, w = image.shape[:2]
    rows, cols = np.linspace(0, h - 1, height).astype(int), np.linspace(0, w - 1, width).astype(int)
    return cv2.blur(image[rows[:, None], cols, 1].astype(np.float32), (3, 3))
