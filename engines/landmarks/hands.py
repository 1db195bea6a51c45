"""Both hands of a tracked body: where each is, what the hand network says of it, and whether to believe it."""

import math
from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np

from .geometry import Roi, roi_from_points, wrap_angle
from .networks import Body, Hand, HandModule, HandPairNetwork, HandRecrop

_WRIST, _PINKY, _INDEX = (15, 16), (17, 18), (19, 20)
_PALM = [0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]
_MIN_WRIST_VISIBILITY = 0.1
_MIN_PRESENCE = 0.5
_MAX_ROTATION_DEG, _MAX_TRANSLATION, _MAX_SCALE, _MARGIN = 40.0, 0.2, 0.4, -0.1
# A hand that the body's own landmarks place where it was is followed without the re-crop network. On real footage 96 %
# of these are hands that it would have let be followed, and as many hands are found as with it.
_CALM_WRIST_MOVE, _CALM_WRIST_GAP, _CALM_OFFSET, _CALM_TURN_RAD = 0.12, 0.3, 0.25, 0.6
_CALM_SIZES = (0.4, 0.85)
# A hand that was clearly not there in the last frames is looked for less often: (misses, every so many frames).
_RETRY = ((6, 2), (20, 3))
_CLEARLY_NOT = 0.1
_MAX_WRIST_GAP, _MAX_WRIST_GAP_PER_LENGTH = 0.12, 0.25
_MIN_PALM, _MAX_PALM = 0.03, 0.30
_SAME_HAND = 0.35


def roi_from_body(body: Body, side: int) -> Roi:
    """Rough region of a hand (0 left, 1 right) around the middle knuckle guessed from wrist, pinky and index."""
    wrist, pinky, index = (body.xy_px[names[side]].astype(np.float64) for names in (_WRIST, _PINKY, _INDEX))
    middle = (2 * index + pinky) / 3
    towards = roi_from_points(wrist, middle)
    return Roi(float(middle[0]), float(middle[1]), towards.size_px, towards.angle_rad).moved(2.7, -0.1)


def roi_from_hand(xy_px: np.ndarray) -> Roi:
    """Region for the next frame around the palm and the lower halves of the fingers of 21 hand landmarks.

    Turned so that the way from the wrist to the knuckles (middle one twice, index, ring) points up.
    """
    xy = np.asarray(xy_px, np.float64)
    dx, dy = (xy[5] + 2 * xy[9] + xy[13]) / 4 - xy[0]
    angle = wrap_angle(math.pi / 2 - math.atan2(-dy, dx))
    axes = Roi(0, 0, 1, angle).R_image_crop
    local = xy[_PALM] @ axes
    low, high = local.min(axis=0), local.max(axis=0)
    width, height = high - low
    centre = axes @ ((low + high) / 2 + (0.0, -0.1 * height))
    return Roi(float(centre[0]), float(centre[1]), 2 * float(max(width, height)), angle)


def keep_tracking(previous: np.ndarray, recrop: Roi) -> Roi | None:
    """The region that follows from the previous frame's landmarks, if it agrees with the re-cropped one."""
    roi = roi_from_hand(previous)
    if not roi.usable:
        return None
    turn = abs(wrap_angle(roi.angle_rad - recrop.angle_rad))
    offset = np.abs(recrop.to_crop(np.array([roi.x_px, roi.y_px])) - 0.5)
    inside = np.abs(recrop.to_crop(previous) - 0.5) < 0.5 * (1 + _MARGIN)
    agrees = (
        turn <= math.radians(_MAX_ROTATION_DEG)
        and (offset <= _MAX_TRANSLATION).all()
        and abs(roi.size_px / recrop.size_px - 1) <= _MAX_SCALE
        and inside.all()
    )
    return roi if agrees else None


def keep_calm(previous: np.ndarray, wrist_before_px: np.ndarray, rough: Roi, wrist_px: np.ndarray) -> Roi | None:
    """The region that follows from the previous frame's landmarks (21, 2), if the body says that the hand is still
    there: its wrist (2,) has hardly moved, and the region it points at has the place, size and turn that it should.
    """
    roi = roi_from_hand(previous)
    if not roi.usable:
        return None
    calm = (
        math.dist(wrist_px, wrist_before_px) <= _CALM_WRIST_MOVE * roi.size_px
        and math.dist(wrist_px, previous[0]) <= _CALM_WRIST_GAP * roi.size_px
        and math.hypot(roi.x_px - rough.x_px, roi.y_px - rough.y_px) <= _CALM_OFFSET * roi.size_px
        and _CALM_SIZES[0] * rough.size_px <= roi.size_px <= _CALM_SIZES[1] * rough.size_px
        and abs(wrap_angle(roi.angle_rad - rough.angle_rad)) <= _CALM_TURN_RAD
    )
    return roi if calm else None


def believable(hand: Hand, body: Body, side: int) -> bool:
    """Whether a hand that the network reports belongs at the end of this arm: wrist near wrist, and a hand's size.

    Sizes are in body radii. On real footage 99 % of hands have a gap below 0.11 and a palm of 0.05 to 0.15; a hand that
    is held towards the camera is larger, and so is its gap.
    """
    body_radius_px = body.roi.size_px / 2.5
    gap = float(np.linalg.norm(hand.xy_px[0] - body.xy_px[_WRIST[side]])) / body_radius_px
    palm = float(np.linalg.norm(hand.xy_px[[0, 0, 5]] - hand.xy_px[[5, 17, 17]], axis=1).max()) / body_radius_px
    length = float(np.linalg.norm(hand.xy_px - hand.xy_px[0], axis=1).max()) / body_radius_px
    return (
        hand.presence >= _MIN_PRESENCE
        and _MIN_PALM <= palm <= _MAX_PALM
        and gap <= _MAX_WRIST_GAP + _MAX_WRIST_GAP_PER_LENGTH * length
    )


def _first_believable(hands: Sequence[Hand | None], body: Body, side: int) -> Hand | None:
    return next((h for h in hands if h is not None and believable(h, body, side)), None)


def drop_twin(hands: Sequence[Hand | None], body: Body) -> list[Hand | None]:
    """Both hands, less the worse one where both sit on the same hand of the image.

    The better one is nearer to its own body wrist and of the handedness that its side asks for.
    """
    left, right = hands
    if left is None or right is None:
        return list(hands)
    size = max(float(np.ptp(h.xy_px, axis=0).max()) for h in (left, right))
    apart = float(np.linalg.norm(left.xy_px - right.xy_px, axis=1).mean())
    if apart > _SAME_HAND * size:
        return list(hands)

    def cost(hand: Hand, side: int) -> float:
        gap = float(np.linalg.norm(hand.xy_px[0] - body.xy_px[_WRIST[side]])) / size
        return gap + 1 - hand.agreement(side)

    return [left, None] if cost(left, 0) <= cost(right, 1) else [None, right]


def due(misses: int) -> bool:
    """Whether a hand that was not found in the last ``misses`` frames, looked for or not, is looked for in this one."""
    every = max((n for least, n in _RETRY if misses >= least), default=1)
    return misses % every == 0


class HandTracker:
    """Runs the hand networks on both hands of one person and remembers where each hand was."""

    def __init__(
        self,
        recrop: HandRecrop,
        landmarks: HandModule,
        pair: HandPairNetwork | None = None,
        helper: Executor | None = None,
    ) -> None:
        """Where both hands are to be looked at, ``pair`` runs both in one call, or ``helper`` one while the other runs
        on the caller's thread; without either, one after the other."""
        self._recrop, self._landmarks, self._pair, self._helper = recrop, landmarks, pair, helper
        self.reset()

    def reset(self) -> None:
        """Forget both hands."""
        self._previous: list[np.ndarray | None] = [None, None]
        self._wrists_px: np.ndarray | None = None  # (2, 2) the body's, in the frame before
        self._misses = [0, 0]

    def regions(self, image: np.ndarray, body: Body) -> list[Roi | None]:
        """Region of the left and right hand; ``None`` where the body network sees no wrist or it is out of view."""
        h, w = image.shape[:2]
        out: list[Roi | None] = [None, None]
        wrists_px = body.xy_px[list(_WRIST)].astype(np.float64)
        for side in (0, 1):
            rough = roi_from_body(body, side)
            if body.visibility[_WRIST[side]] < _MIN_WRIST_VISIBILITY or not rough.usable:
                continue
            if not due(self._misses[side]):
                self._misses[side] += 1
                continue
            roi, previous = None, self._previous[side]
            if previous is not None and self._wrists_px is not None:
                roi = keep_calm(previous, self._wrists_px[side], rough, wrists_px[side])
            if roi is None:
                roi = self._recrop(image, rough)
                if previous is not None and roi.usable:
                    roi = keep_tracking(previous, roi) or roi
            if roi.usable and 0 <= roi.x_px < w and 0 <= roi.y_px < h:
                out[side] = roi
        self._wrists_px = wrists_px
        return out

    def landmarks(self, image: np.ndarray, body: Body, regions: Sequence[Roi | None]) -> list[Hand | None]:
        """The left and right hand, ``None`` where none is seen or what is seen cannot be that hand.

        Where the hand network does not see one, the body network's own landmarks of it count, if it has any.
        """
        seen = [roi for roi in regions if roi is not None]
        found: Sequence[Hand | None]
        if self._pair is not None and len(seen) == 2:
            found = self._pair(image, seen)
        elif self._helper is not None and len(seen) == 2:
            right = self._helper.submit(self._landmarks, image, seen[1])
            found = [self._landmarks(image, seen[0]), right.result()]
        else:
            found = [None if roi is None else self._landmarks(image, roi) for roi in regions]
        hands = [_first_believable(pair, body, side) for side, pair in enumerate(zip(found, body.hands, strict=True))]
        hands = drop_twin(hands, body)
        for side in (0, 1):
            hand = found[side]
            if hand is not None:
                self._misses[side] = self._misses[side] + 1 if hand.presence < _CLEARLY_NOT else 0
        self._previous = [None if h is None else h.xy_px for h in hands]
        return hands
