"""What else may look like the person: a lone hand, a patch of wall, a picture that hangs there, somebody else.

The body network is sure of itself in most of these: it lays a body into a hand at a presence of 1. So each is told by
something that it does not know: the hand network, the joints that are in the picture, motion, the colour of clothes.
"""

import math
from collections.abc import Sequence

import numpy as np

from .geometry import Roi, wrap_angle
from .looks import PARTS, learnt, look_of, unlike
from .networks import Body, Detection
from .tracking import body_roi

SURE_SCORE, SURE_PRESENCE = 0.9, 0.9
"""A person whom detector and body network are so sure of is taken at first sight. Whole and half people who are in
view are found at 0.94 and more (5 %: 0.9); what was taken for one in trees, walls and legs stayed below 0.65."""
STRANGER_AFTER_S = 10.0
"""How long after the person was last seen somebody in other clothes is taken in their place."""

_CORE = np.array([0, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28])
"""Nose, shoulders, elbows, wrists, hips, knees, ankles."""
_TORSO = np.array([11, 12, 23, 24])
_CONFIDENT = 0.5
_FEWEST_IN_VIEW = 3
_HAND_PRESENCE, _MAYBE_HAND_PRESENCE = 0.85, 0.5
_HALF_SEEN = 0.85
_OTHER_CLOTHES, _SURELY_OTHER_CLOTHES = 14.0, 25.0
_LIGHT_CHANGES_S = 3.0
_LEARN_EVERY_S = 0.2
_KNOWN_LOOKS = 4
_STILL = 0.04
_STILL_JOINTS = 3
_STILL_S = 2.0
_CHECK_EVERY_S = 0.5
_MOVES = 0.1
_SAME_PLACE = 0.25
_UPRIGHT_RAD = math.radians(60)


def confidence_of(body: Body) -> np.ndarray:
    """(13,) confidence of the joints that make a person: nose, shoulders to wrists, hips to ankles."""
    return (np.asarray(body.visibility) * np.asarray(body.in_frame))[_CORE]


def in_view(body: Body) -> bool:
    """Whether enough joints of a body are seen to call it one: a head and two shoulders are."""
    return int((confidence_of(body) > _CONFIDENT).sum()) >= _FEWEST_IN_VIEW


def is_half_seen(body: Body) -> bool:
    """Whether so much of a body is not seen that it may be something else, as a hand is."""
    return float(np.asarray(body.visibility)[_CORE].mean()) < _HALF_SEEN


def hand_region(body: Body) -> Roi:
    """Where a hand lies, if the body is in truth one: around the whole of it."""
    return body_roi(body).moved(1.1 / 1.25)


def is_hand(presence: float, sure: bool = True) -> bool:
    """Whether what the hand network says of :func:`hand_region` makes the body a hand. It says 0.9 to 1 of lone hands,
    and 0.5 at most (95 %) of people of all sizes, whole or cut by the picture's edge; less is enough where the body was
    not ``sure``."""
    return presence >= (_HAND_PRESENCE if sure else _MAYBE_HAND_PRESENCE)


def is_tilted(roi: Roi) -> bool:
    """Whether a person is so far from upright that the network may have taken their feet for the head."""
    return abs(wrap_angle(roi.angle_rad)) > _UPRIGHT_RAD


def is_reversed(followed: Roi, detected: Roi) -> bool:
    """Whether the head is on the other side in one of two regions around a person."""
    return abs(wrap_angle(followed.angle_rad - detected.angle_rad)) > math.pi / 2


class KnownPerson:
    """How the followed person looks and when they were last seen, so that they are found again among others."""

    def __init__(self) -> None:
        self._look = np.full((len(PARTS), 3), np.nan)
        self._looks = 0
        self._learnt_s = self._seen_s = -math.inf

    def saw(self, image_rgb: np.ndarray, body: Body, stamp_s: float) -> None:
        """Note the person's look in an (H, W, 3) uint8 frame in which they are followed."""
        self._seen_s = stamp_s
        if 0 <= stamp_s - self._learnt_s < _LEARN_EVERY_S:
            return
        self._learnt_s = stamp_s
        self._look, self._looks = learnt(self._look, look_of(image_rgb, body), self._looks)

    def awaited(self, stamp_s: float) -> bool:
        """Whether the person is known and was seen so short a time ago that nobody else is taken for them."""
        return 0 <= stamp_s - self._seen_s < STRANGER_AFTER_S and self._looks >= _KNOWN_LOOKS

    def unlike(self, image_rgb: np.ndarray, body: Body) -> float | None:
        """How far a body's clothes are from the person's (:func:`~.looks.unlike`); None where that cannot be told."""
        return unlike(self._look, look_of(image_rgb, body))

    def may_be(self, image_rgb: np.ndarray, body: Body) -> bool:
        """Whether a body where the person just was may be them; light and shadow may have changed their clothes."""
        distance = self.unlike(image_rgb, body)
        return distance is None or distance < _SURELY_OTHER_CLOTHES

    def most_alike(self, image_rgb: np.ndarray, bodies: Sequence[Body], stamp_s: float) -> Body | None:
        """The body that looks like the person, the most alike of several; None where all are in other clothes.

        After a while the light may have changed, and more is allowed. A body of which too little is seen to tell comes
        last, but counts: better somebody who may be the person than a long gap.
        """
        most = _OTHER_CLOTHES if stamp_s - self._seen_s < _LIGHT_CHANGES_S else _SURELY_OTHER_CLOTHES
        told = [(most if (d := self.unlike(image_rgb, b)) is None else d, k) for k, b in enumerate(bodies)]
        distance, best = min(told, default=(math.inf, -1))
        return bodies[best] if distance <= most else None


def shape_of(body: Body) -> np.ndarray:
    """(13, 2) joints relative to the trunk in body radii; NaN where one is not seen. A pose, wherever it stands."""
    radius_px = max(body_roi(body).size_px / 2.5, 1e-6)
    shape = (body.xy_px[_CORE].astype(np.float64) - body.xy_px[_TORSO].mean(axis=0)) / radius_px
    shape[confidence_of(body) < _CONFIDENT] = np.nan
    return shape


class PictureWatch:
    """Whether the followed person is a picture: has never moved a limb since they were chosen, while another moves.

    Somebody who stands still and is alone stays. So does everybody who has moved once: the watch ends with that.
    """

    def __init__(self) -> None:
        self.moved: bool
        """Whether the person lives; True, too, where nobody is watched."""
        self._others: list[tuple[Roi, np.ndarray, int]] = []
        self.start(0.0, watch=False)

    def start(self, stamp_s: float, watch: bool = True) -> None:
        """Watch a person who was just chosen, or not where the user named them."""
        self.moved = not watch
        self._low = self._high = np.full((len(_CORE), 2), np.nan)
        self._since_s = self._checked_s = stamp_s
        self._others = []

    def saw(self, body: Body) -> None:
        """Note the pose of the followed person in a frame."""
        if self.moved:
            return
        shape = shape_of(body)
        self._low, self._high = np.fmin(self._low, shape), np.fmax(self._high, shape)
        range_ = np.sort(np.nan_to_num((self._high - self._low).max(axis=1)))
        # of several joints: a single one may flicker in a picture
        self.moved = bool(range_[-_STILL_JOINTS] > _STILL)

    def due(self, stamp_s: float) -> bool:
        """Whether it is time to look at the others: from a second after the choice on, while nothing has moved."""
        due = not self.moved and stamp_s - self._since_s >= _STILL_S / 2
        if due and not 0 <= stamp_s - self._checked_s < _CHECK_EVERY_S:
            self._checked_s = stamp_s
            return True
        return False

    def living(self, others: Sequence[Body], stamp_s: float) -> Body | None:
        """Of the other people in view, one who was seen to move twice; None while there is none, or the
        followed person has not stood still for long enough."""
        before, self._others = self._others, []
        for body in others:
            roi, shape = body_roi(body), shape_of(body)
            near = [o for o in before if math.hypot(o[0].x_px - roi.x_px, o[0].y_px - roi.y_px) < roi.size_px]
            old = min(near, key=lambda o: math.hypot(o[0].x_px - roi.x_px, o[0].y_px - roi.y_px), default=None)
            times = 0
            if old is not None:
                change = np.sort(np.nan_to_num(np.linalg.norm(shape - old[1], axis=1)))
                times = old[2] + int(change[-_STILL_JOINTS] > _MOVES)
            self._others.append((roi, shape, times))
        lively = [body for body, (_, _, times) in zip(others, self._others, strict=True) if times >= 2]
        if self.moved or stamp_s - self._since_s < _STILL_S:
            return None
        return max(lively, key=lambda body: body_roi(body).size_px, default=None)


def is_at(roi: Roi, places: Sequence[Roi]) -> bool:
    """Whether a region lies on one of these places, by centre and size."""
    return any(
        math.hypot(roi.x_px - p.x_px, roi.y_px - p.y_px) < _SAME_PLACE * p.size_px / 2.5
        and 1 / 1.4 < roi.size_px / p.size_px < 1.4
        for p in places
    )


def apart_from(people: Sequence[Detection], roi: Roi) -> list[Detection]:
    """The detected people who are clearly not the one in this region."""
    return [
        p
        for p in people
        if math.hypot(p.roi.x_px - roi.x_px, p.roi.y_px - roi.y_px) > 0.5 * min(p.roi.size_px, roi.size_px) / 2.5
    ]
