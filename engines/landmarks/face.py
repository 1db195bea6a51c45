"""The face of a tracked body: where it is, its 478 landmarks, and the weights of the face shapes.

Works on the two raw networks of MediaPipe's Face Landmarker (Apache-2.0). Its face detector is not needed, because the
body landmarks say where the face is. Sides are the person's own: a left eye is on the right of a picture of somebody
who faces the camera.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from ...models.face import ARKIT_NAMES
from ...models.proxies import BLAZEPOSE_NAMES
from ..base import Engine
from .geometry import Roi, crop, sigmoid, to_tensor, wrap_angle
from .hands import due
from .mapping import inside_image
from .networks import Body, Network
from .timing import timed

FACE_OUTPUTS = (0, 1)
"""What is used of the landmark network: landmarks and presence."""

SHAPE_NAMES = ("_neutral", *ARKIT_NAMES[:-1])
"""Order of that network's outputs (``kBlendshapeNames`` of MediaPipe's face_blendshapes_graph): it has no tongue."""

SHAPE_LANDMARKS = np.array([
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80,
    81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153,
    154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251,
    263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318,
    321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386,
    387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477,
])  # fmt: skip
"""(146,) the landmarks that network reads, in its order (``kLandmarksSubsetIdxs`` of the same file)."""

RIGHT_CORNER, LEFT_CORNER, FOREHEAD, CHIN = 33, 263, 10, 152
"""Landmarks: outer corners of the eyes, middle of the hair line, tip of the chin."""

MIN_SIZE_PX = 48.0
"""Side of the smallest region that is looked at; the face itself takes two thirds of it. Faces scaled down to this size
keep most of what they say (blinks correlate by 0.75 with those at full size); with 32 pixels, next to nothing."""
MAX_TURN_DEG = 60.0
"""A face that looks further away from the camera gives no weights: half of it is guessed."""
KEPT_SIZE_PX = 38.0
"""The same for a face that is being followed, so that one of about that size does not come and go."""
_MAX_BODY_TURN_DEG = 100.0
_PRESENCE = 0.5
_WIDER = 1.5
# Parts of the region, measured on footage: 0.21 to 0.28 and 0.23 to 0.31 where the face looks at the camera.
_EYES_PART, _MOUTH_PART, _MOUTH_FROM_NOSE = 0.25, 0.275, 1.8
_MAX_OFFSET, _MAX_RATIO, _MAX_ROLL_RAD = 0.3, 1.6, 0.8
_MOVED = 0.1

_NOSE, _LEFT_EYE, _RIGHT_EYE, _LEFT_EAR, _RIGHT_EAR = (
    BLAZEPOSE_NAMES.index(name) for name in ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
)
_MOUTH = [BLAZEPOSE_NAMES.index(name) for name in ("mouth_left", "mouth_right")]


@dataclass(frozen=True, slots=True)
class Face:
    """The landmark network's result in one region of interest."""

    presence: float
    """Probability that the region holds a face."""
    xyz_px: np.ndarray
    """(478, 3) x and y in image pixels; z in the same unit, away from the camera, from the middle of the head."""
    xy_crop: np.ndarray
    """(478, 2) the same x and y in the upright region, 0..1."""
    roi: Roi

    @property
    def turn_deg(self) -> float:
        """Angle between the way the face looks and the way to the camera: 0 when it looks straight at it."""
        across = self.xyz_px[LEFT_CORNER] - self.xyz_px[RIGHT_CORNER]
        inward = np.cross(across, self.xyz_px[CHIN] - self.xyz_px[FOREHEAD])
        return math.degrees(math.acos(np.clip(inward[2] / max(float(np.linalg.norm(inward)), 1e-12), -1, 1)))


def roi_from_face(xy_px: np.ndarray) -> Roi:
    """Region for the next look at 478 landmarks (478, 2): the square over their box along the eyes' line, widened by
    half, as MediaPipe's face_landmarks_detector_graph has it."""
    xy = np.asarray(xy_px, np.float64)
    dx, dy = xy[LEFT_CORNER] - xy[RIGHT_CORNER]
    axes = Roi(0, 0, 1, math.atan2(dy, dx)).R_image_crop
    local = xy @ axes
    low, high = local.min(axis=0), local.max(axis=0)
    centre = axes @ ((low + high) / 2)
    return Roi(float(centre[0]), float(centre[1]), _WIDER * float((high - low).max()), math.atan2(dy, dx))


def roi_from_head(body: Body) -> Roi:
    """Rough region of the face from the body's eyes and mouth, its size good to a tenth or two. In a side view, where
    the line between the eyes says nothing, the way from mouth to eyes gives size and direction."""
    xy = body.xy_px.astype(np.float64)
    eyes, across = xy[[_LEFT_EYE, _RIGHT_EYE]].mean(axis=0), xy[_LEFT_EYE] - xy[_RIGHT_EYE]
    if body.visibility[_MOUTH].any():
        mouth, lips = xy[_MOUTH].mean(axis=0), xy[_MOUTH[0]] - xy[_MOUTH[1]]
    else:  # a network that has none: as far below the nose again, nearly
        mouth, lips = eyes + _MOUTH_FROM_NOSE * (xy[_NOSE] - eyes), across
    down = mouth - eyes
    along = across + lips + (down[1], -down[0])
    size = max(float(np.linalg.norm(across)) / _EYES_PART, float(np.linalg.norm(down)) / _MOUTH_PART)
    centre = (eyes + mouth) / 2
    return Roi(float(centre[0]), float(centre[1]), size, math.atan2(along[1], along[0]))


def head_turn_deg(body: Body) -> float:
    """Angle between the way the nose points, as the body's relative 3-D has it, and the way to the camera."""
    nose = body.xyz_m[_NOSE] - (body.xyz_m[_LEFT_EAR] + body.xyz_m[_RIGHT_EAR]) / 2
    length = float(np.linalg.norm(nose))
    # without 3-D (a network of the user's, or sides that were exchanged) it may be any way
    return math.degrees(math.acos(np.clip(-nose[2] / length, -1, 1))) if length > 0 else 0.0


class FaceNetwork(Network):
    """face_landmark: 478 landmarks of a face in a region of interest. The engine is opened with FACE_OUTPUTS."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, "face landmark", (478 * 3, 1))

    def __call__(self, image: np.ndarray, roi: Roi) -> Face:
        """Landmarks of the face in ``roi`` of an (H, W, 3) uint8 RGB image."""
        flat, logit = self.run(to_tensor(crop(image, roi, self.size)))
        points = flat.reshape(478, 3) / self.size
        xy_crop = points[:, :2]
        xyz_px = np.column_stack([roi.to_image(xy_crop), points[:, 2] * roi.size_px])
        return Face(float(sigmoid(logit.reshape(()))), xyz_px, xy_crop, roi)


class ShapeNetwork(Network):
    """face_blendshapes: weights of the face shapes from landmarks."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, "face shape", (len(SHAPE_NAMES),))

    def __call__(self, face: Face) -> np.ndarray:
        """(52,) float32 weights in ARKIT_NAMES order, 0..1; ``tongueOut`` is always 0, the network has none."""
        # MediaPipe feeds pixels of the image. The network takes out place and size by itself (the same weights to
        # 1e-5), but not a head that is tilted or lies: upright, those give the weights they give when they stand.
        scores = self.run(face.xy_crop[None, SHAPE_LANDMARKS].astype(np.float32))[0].reshape(-1)
        return np.append(np.clip(scores[1:], 0, 1), 0).astype(np.float32)


class FaceTracker:
    """Finds the face of one person, and remembers where it was."""

    def __init__(self, network: FaceNetwork) -> None:
        self._network = network
        self.reset()

    def reset(self) -> None:
        """Forget the face."""
        self._next: Roi | None = None
        self._rough: Roi | None = None
        self._misses = 0

    def regions(self, image_size_px: tuple[int, int], body: Body) -> tuple[Roi, Roi | None] | None:
        """Where to look for the face of a body: the rough region that follows from the body, and the one that follows
        from the frame before. ``None`` where looking is in vain: too small, turned away or out of the picture."""
        rough, before, roi = roi_from_head(body), self._rough, self._next
        self._rough, self._next = rough, None
        least_px = MIN_SIZE_PX if roi is None else KEPT_SIZE_PX
        if not rough.usable or rough.size_px < least_px or head_turn_deg(body) > _MAX_BODY_TURN_DEG:
            return None
        if not inside_image(np.array([rough.x_px, rough.y_px]), image_size_px):
            return None
        if roi is not None and before is not None:
            roi = follow(roi, before, rough)
        if roi is None and not due(self._misses):
            self._misses += 1
            return None
        return rough, roi

    def landmarks(self, image: np.ndarray, rough: Roi, roi: Roi | None) -> Face | None:
        """The face in those regions of an (H, W, 3) uint8 RGB image; ``None`` where there is none, or it looks too far
        away from the camera."""
        if roi is None:
            # In the rough region the network sees roughly: a second look, at what the first one found.
            roi = self._sound(self._network(image, rough), rough)
        if roi is not None:
            face = self._network(image, roi)
            self._next = self._sound(face, rough)
            if self._next is not None:
                self._misses = 0
                return face if face.turn_deg <= MAX_TURN_DEG else None
        self._misses += 1
        return None

    @staticmethod
    def _sound(face: Face, rough: Roi) -> Roi | None:
        """The region around a face, if it is one, and that of the body."""
        roi = roi_from_face(face.xyz_px[:, :2])
        return roi if face.presence >= _PRESENCE and agree(roi, rough) else None


class FaceReader:
    """The face of one person, frame after frame."""

    def __init__(self, landmarks: Engine, shapes: Engine) -> None:
        """The engines of face_landmark, opened with FACE_OUTPUTS, and of face_blendshapes."""
        self._tracker, self._shapes = FaceTracker(FaceNetwork(landmarks)), ShapeNetwork(shapes)

    def reset(self) -> None:
        """Forget the face."""
        self._tracker.reset()

    def __call__(
        self, image: np.ndarray, body: Body | None, times_s: dict[str, float], *, cut: bool = False
    ) -> np.ndarray:
        """(52,) float32 weights of the face shapes in ARKIT_NAMES order in an (H, W, 3) uint8 RGB image, all NaN where
        no face is seen. What the two networks took is added to ``times_s``. ``cut``: the picture has nothing to do with
        the one before."""
        nothing = np.full(len(ARKIT_NAMES), np.nan, np.float32)
        if cut or body is None:
            self.reset()
        if body is None:
            return nothing
        regions = self._tracker.regions((image.shape[1], image.shape[0]), body)
        if regions is None:
            return nothing
        with timed("face_landmark", times_s):
            face = self._tracker.landmarks(image, *regions)
        if face is None:
            return nothing
        with timed("face_blendshapes", times_s):
            return self._shapes(face)


def agree(roi: Roi, rough: Roi) -> bool:
    """Whether a face can be there, given where the body's eyes and mouth are."""
    return (
        roi.usable
        and math.hypot(roi.x_px - rough.x_px, roi.y_px - rough.y_px) <= _MAX_OFFSET * rough.size_px
        and 1 / _MAX_RATIO <= roi.size_px / rough.size_px <= _MAX_RATIO
        and abs(wrap_angle(roi.angle_rad - rough.angle_rad)) <= _MAX_ROLL_RAD
    )


def follow(roi: Roi, rough_before: Roi, rough: Roi) -> Roi | None:
    """The region that the frame before left, moved along with the body's head where that moved clearly; ``None`` where
    it has nothing to do with the head any more."""
    dx, dy = rough.x_px - rough_before.x_px, rough.y_px - rough_before.y_px
    if math.hypot(dx, dy) > _MOVED * roi.size_px:
        roi = replace(roi, x_px=roi.x_px + dx, y_px=roi.y_px + dy)
    return roi if agree(roi, rough) else None
