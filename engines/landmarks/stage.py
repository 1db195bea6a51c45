"""The landmark stage: one frame in, the 67 proxies of one person out."""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ...models.errors import HmcapError
from ...models.proxies import Proxies
from ..base import Engine
from .doubts import (
    SURE_PRESENCE,
    SURE_SCORE,
    KnownPerson,
    PictureWatch,
    apart_from,
    hand_region,
    in_view,
    is_at,
    is_half_seen,
    is_hand,
    is_reversed,
    is_tilted,
)
from .face import FaceReader
from .geometry import Roi, tiles
from .hands import HandTracker
from .mapping import to_proxies
from .networks import (
    Body,
    BodyModule,
    BodyNetwork,
    Detection,
    HandModule,
    HandNetwork,
    HandPairNetwork,
    HandRecrop,
    PersonDetector,
    thumbnail,
)
from .opening import FACE_MODELS, HAND_PAIR, MODULES, open_parts
from .sides import SideKeeper
from .timing import timed
from .tracking import (
    PRESENCE_THRESHOLD,
    PersonTrack,
    Subject,
    body_roi,
    check_subject,
    choose_subject,
    is_cut,
    reacquire,
    too_few,
)

_SECOND_LOOK_S = 0.5
"""How often a followed body that is half out of view is asked whether it is a hand."""
_UPRIGHT_LOOK_S = 0.25
"""How often the detector is asked where the head of a person is who is far from upright."""
_GLANCE_S = 0.25
"""Away for no longer, the person is whoever is where they were."""
_CANDIDATES = 3
"""Most people who are measured in one frame to find the one who was lost."""
_WAIT_S = 0.1
"""How often that is done while only others are in view."""
_HANDS_TO_SAY = 10
"""Frames with a lone hand after which the user is told."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the first half of the stage tells the second half of one frame."""

    image_rgb: np.ndarray
    """(H, W, 3) uint8."""
    index: int
    stamp_s: float
    body: Body | None
    """``None`` where nobody is seen."""
    cut: bool
    """Whether the picture has nothing to do with the one before."""
    times_s: dict[str, float]
    """Module name -> seconds it took in this frame, crop and decoding included; only those that ran."""


def check_frame(image_rgb: np.ndarray) -> None:
    """Raise HmcapError for what is not an (H, W, 3) uint8 picture."""
    if image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or image_rgb.dtype != np.uint8:
        raise HmcapError(
            f"Expected an RGB frame of shape (H, W, 3) and type uint8, found {image_rgb.shape} {image_rgb.dtype}."
        )


class LandmarkStage:
    """Finds one person, follows them, and measures body and both hands.

    Stateful: feed frames in order, each in one call or as its two halves, :meth:`body` and :meth:`hands`.
    """

    engines: dict[str, Engine]
    """Module name -> the engine that runs it."""

    def __init__(
        self,
        engines: Mapping[str, Engine],
        *,
        subject: Subject = "largest",
        body: BodyModule | None = None,
        hand: HandModule | None = None,
        side_by_side: bool = False,
    ) -> None:
        """``engines``: one for each of :data:`MODULES`, and perhaps one for :data:`HAND_PAIR` and both of
        :data:`FACE_MODELS`, with which the face is measured too; ``body`` and ``hand`` stand for the modules
        pose_landmark and hand_landmark, which then need none. ``side_by_side``: the engine for hands takes two calls at
        the same time."""
        own = {"pose_landmark": body, "hand_landmark": hand}
        engines = {**engines, **{m: module.engine for m, module in own.items() if module is not None}}
        missing = [m for m in MODULES if m not in engines]
        if missing:
            raise HmcapError(f"Expected an engine for each of {', '.join(MODULES)}; missing: {', '.join(missing)}.")
        self.engines = {m: engines[m] for m in (*MODULES, HAND_PAIR, *FACE_MODELS) if m in engines}
        self.subject = check_subject(subject)
        self.detect = PersonDetector(self.engines["pose_detection"])
        self._again = partial(
            LandmarkStage, self.engines, subject=subject, body=body, hand=hand, side_by_side=side_by_side
        )
        self._body = body or BodyNetwork(self.engines["pose_landmark"])
        pair = HandPairNetwork(self.engines[HAND_PAIR]) if hand is None and HAND_PAIR in self.engines else None
        one = hand or HandNetwork(self.engines["hand_landmark"])
        self._helper = ThreadPoolExecutor(1, "hmcap-hand") if side_by_side else None
        self._hands = HandTracker(HandRecrop(self.engines["hand_recrop"]), one, pair, self._helper)
        # What other networks than the published one say of a body that is a hand is not known.
        self._lone_hand = one if isinstance(one, HandNetwork) else None
        self.warnings: list[str] = []
        """What the user should know of whom was found, one sentence or two each; grows while the stage runs."""
        with_face = FACE_MODELS.keys() <= self.engines.keys()
        self._face = FaceReader(*(self.engines[m] for m in FACE_MODELS)) if with_face else None
        # The hands of a frame take about as long: beside them, the face costs no time where a core is free.
        self._beside = ThreadPoolExecutor(1, "hmcap-face")
        self.reset()

    @classmethod
    def open(
        cls,
        *,
        backend: str = "auto",
        device: str = "cpu",
        threads: int | None = None,
        precision: str = "f32",
        models: Mapping[str, str | Path] | None = None,
        subject: Subject = "largest",
        body_network: str | None = None,
        hand_network: str | None = None,
        face: bool = False,
    ) -> "LandmarkStage":
        """Open the four networks, and the two of the face with ``face``.

        ``models`` replaces single entries of :data:`.opening.DEFAULT_MODELS`: module name -> registry name, or path of
        a file.
        ``body_network`` and ``hand_network``: names of networks of the user's (``hmcap models add``) with one of the
        layouts of :mod:`.mmpose`, in place of pose_landmark and hand_landmark. ``precision``: what they compute in, one
        of ``engines.PRECISIONS``. Raises :class:`HmcapError` where a network, engine or device does not come up.
        """
        parts = open_parts(
            models or {}, body_network, hand_network, face=face,
            backend=backend, device=device, threads=threads, precision=precision,
        )  # fmt: skip
        return cls(parts.engines, subject=subject, body=parts.body, hand=parts.hand, side_by_side=parts.side_by_side)

    def another(self) -> "LandmarkStage":
        """A stage on the same networks that follows a person of its own."""
        return self._again()

    def close(self) -> None:
        """End its threads; it must not be used any more."""
        for helper in (self._helper, self._beside):
            if helper is not None:
                helper.shutdown(cancel_futures=True)

    def reset(self) -> None:
        """Forget the person: the next frame starts with a detection."""
        self._forget()
        self._lone_hands = 0
        self._told_too_few = False
        self._hands.reset()
        if self._face is not None:
            self._face.reset()
        self._last_picture: np.ndarray | None = None  # thumbnail of the last frame in which the person was seen

    def __call__(self, image_rgb: np.ndarray, index: int, stamp_s: float) -> Proxies:
        """Proxies of the (H, W, 3) uint8 RGB frame ``index``, taken at ``stamp_s`` seconds."""
        return self.hands(self.body(image_rgb, index, stamp_s))

    def body(self, image_rgb: np.ndarray, index: int, stamp_s: float) -> Sighting:
        """The first half of a call: the person and their body. The halves share nothing but what this returns, so that
        one thread may look for the body of a frame while another measures the hands of the frame before."""
        check_frame(image_rgb)
        times_s: dict[str, float] = {}
        picture = thumbnail(image_rgb)
        cut = self.begin(picture)
        body = self.keep(self._find_body(image_rgb, stamp_s, cut, times_s), picture, stamp_s)
        return Sighting(image_rgb, index, stamp_s, body, cut, times_s)

    def begin(self, picture: np.ndarray) -> bool:
        """Whether the picture with this thumbnail has nothing to do with the last in which the person was seen; where
        they were then says nothing any more."""
        cut = self._last_picture is not None and is_cut(self._last_picture, picture)
        if cut:
            self.track.lose()
            self._sides = SideKeeper()
            self._known, self._watch, self._pictures = KnownPerson(), PictureWatch(), []
        return cut

    def keep(self, body: Body | None, picture: np.ndarray, stamp_s: float) -> Body | None:
        """The person's body, its sides put right, noted for the next frame; ``None`` where nobody is seen."""
        if body is None:
            self.track.lose()
            return None
        self._last_picture = picture
        body = self._sides(body, stamp_s)
        self.track.update(body, stamp_s)
        return body

    def hands(self, seen: Sighting) -> Proxies:
        """The second half of a call: both hands of the body that was seen, and its face where that is asked for. Its
        times are added to those of ``seen``."""
        size_px = (seen.image_rgb.shape[1], seen.image_rgb.shape[0])
        if seen.cut or seen.body is None:
            self._hands.reset()
        face = None
        if self._face is not None:
            face = self._beside.submit(self._face, seen.image_rgb, seen.body, seen.times_s, cut=seen.cut)
        if seen.body is None:
            proxies = Proxies.absent(seen.index, seen.stamp_s, size_px)
        else:
            with timed("hand_recrop", seen.times_s):
                regions = self._hands.regions(seen.image_rgb, seen.body)
            with timed("hand_landmark", seen.times_s):
                hands = self._hands.landmarks(seen.image_rgb, seen.body, regions)
            proxies = to_proxies(seen.index, seen.stamp_s, size_px, seen.body, hands)
        return proxies if face is None else replace(proxies, face=face.result())

    def measure(self, image: np.ndarray, roi: Roi, times_s: dict[str, float]) -> Body | None:
        """The body in a region of the image; ``None`` where the network sees none."""
        with timed("pose_landmark", times_s):
            body = self._body(image, roi)
        return body if body.presence >= PRESENCE_THRESHOLD else None

    def follow(self, image: np.ndarray, stamp_s: float, times_s: dict[str, float]) -> Body | None:
        """The tracked person's body where they are expected; ``None`` where it is not there, or nobody is tracked."""
        if self.track.roi is None:
            return None
        body = self.measure(image, self.track.roi, times_s)
        if body is None or not self.track.plausible(body, stamp_s):
            return None
        if is_half_seen(body) and (self._hand_looks or not 0 <= stamp_s - self._asked_s < _SECOND_LOOK_S):
            self._asked_s = stamp_s
            # Twice in a row: a person is given up for what is surely none.
            self._hand_looks = self._hand_looks + 1 if self.is_lone_hand(image, body, times_s) else 0
            if self._hand_looks >= 2:
                self._forget()
                return None
        elif not is_half_seen(body):
            self._hand_looks = 0
        if is_tilted(self.track.roi) and not 0 <= stamp_s - self._righted_s < _UPRIGHT_LOOK_S:
            self._righted_s = stamp_s
            return self._head_up(image, body, stamp_s, times_s)
        return body

    def is_lone_hand(self, image: np.ndarray, body: Body, times_s: dict[str, float], sure: bool = True) -> bool:
        """Whether what the body network takes for a person is a hand; ``sure``: of which there was no doubt so far."""
        if self._lone_hand is None:
            return False
        with timed("hand_landmark", times_s):
            return is_hand(self._lone_hand(image, hand_region(body)).presence, sure)

    def _head_up(self, image: np.ndarray, body: Body, stamp_s: float, times_s: dict[str, float]) -> Body:
        """``body``, or another reading of it where the detector sees the head at the other end: a body network that is
        shown a person upside down lays them in feet first, and would go on so for good."""
        seen = reacquire(self._detected(image, times_s), body_roi(body), _UPRIGHT_LOOK_S)
        if seen is None or not is_reversed(body_roi(body), seen.roi):
            return body
        righted = self.measure(image, seen.roi, times_s)
        if righted is None:
            return body
        self.track.lose()
        self._sides = SideKeeper()
        return righted

    def _detected(self, image: np.ndarray, times_s: dict[str, float], closely: bool = False) -> list[Detection]:
        """The people in the image; with ``closely`` also those who are small beside a large picture."""
        regions = (None, *(tiles(image.shape[1], image.shape[0]) if closely else ()))
        with timed("pose_detection", times_s):
            found = [person for region in regions for person in self.detect(image, region)]
        return [p for k, p in enumerate(found) if not is_at(p.roi, [q.roi for q in found[:k]])]

    def _find_body(self, image: np.ndarray, stamp_s: float, cut: bool, times_s: dict[str, float]) -> Body | None:
        body = self.follow(image, stamp_s, times_s)
        if body is not None:
            self._watch.saw(body)
            living = self._who_moves(image, body, stamp_s, times_s) if self._watch.due(stamp_s) else None
            body = living or body
        else:
            body = self._find_again(image, stamp_s, cut, times_s)
        if body is not None:
            self._known.saw(image, body, stamp_s)
        return body

    def _find_again(self, image: np.ndarray, stamp_s: float, cut: bool, times_s: dict[str, float]) -> Body | None:
        people = self._detected(image, times_s, closely=bool(self._pictures))
        recent = self.track.recent(stamp_s)
        if recent is not None:
            last = reacquire(people, *recent)
            body = None if last is None else self.measure(image, last.roi, times_s)
            # For a moment the place says enough; clothes in a blurred picture would say less.
            place = recent[1] <= _GLANCE_S
            if body is not None and self.track.plausible(body, stamp_s) and (place or self._known.may_be(image, body)):
                return body
            # Better nobody for a moment than a bystander: another person is chosen only when the memory of the last
            # one has faded, or the picture has become another one.
            if not cut:
                return None
        people = [p for p in people if not is_at(p.roi, self._pictures)]
        if self._known.awaited(stamp_s):
            return self._find_known(image, people, stamp_s, times_s)
        return self._choose(image, people, stamp_s, times_s)

    def _find_known(
        self, image: np.ndarray, people: Sequence[Detection], stamp_s: float, times_s: dict[str, float]
    ) -> Body | None:
        """The person who was lost some time ago, wherever they come back; nobody else for a while."""
        if not people or 0 <= stamp_s - self._waited_s < _WAIT_S:
            return None
        largest = sorted(people, key=lambda p: -p.roi.size_px * p.score)[:_CANDIDATES]
        bodies = [b for p in largest if (b := self._at_first_sight(image, p, times_s)) is not None]
        found = self._known.most_alike(image, bodies, stamp_s)
        if found is None:
            self._waited_s = stamp_s
        return found

    def _choose(
        self, image: np.ndarray, people: Sequence[Detection], stamp_s: float, times_s: dict[str, float]
    ) -> Body | None:
        """Whom to follow from now on."""
        for _ in range(_CANDIDATES):
            chosen = choose_subject(people, (image.shape[1], image.shape[0]), self.subject)
            if chosen is None:
                self.note_too_few(len(people))
                return None
            body = self._at_first_sight(image, chosen, times_s)
            if body is not None:
                self._known = KnownPerson()
                self._watch.start(stamp_s, watch=self.subject == "largest")
                return body
            if isinstance(self.subject, int):
                return None
            people = [p for p in people if p is not chosen]  # a hand, or a wall: it stands in nobody's way
            if not people:
                return None
        return None

    def note_too_few(self, in_view: int) -> None:
        """Tell the user, once, where the number of the subject is larger than that of the people in view."""
        text = too_few(self.subject, in_view) if in_view else ""
        if text and not self._told_too_few:
            self._told_too_few = True
            self.warnings.append(text)

    def _at_first_sight(self, image: np.ndarray, person: Detection, times_s: dict[str, float]) -> Body | None:
        """The body of a detected person; ``None`` where it is none, or may as well be a wall, or is a hand."""
        body = self.measure(image, person.roi, times_s)
        if body is None:
            return None
        sure = person.score >= SURE_SCORE and body.presence >= SURE_PRESENCE
        if not sure:
            again = self.measure(image, body_roi(body), times_s) if body_roi(body).usable else None
            if again is None or not in_view(again):
                return None
        if not self.is_lone_hand(image, body, times_s, sure):
            return body
        self._lone_hands += 1
        if self._lone_hands == _HANDS_TO_SAY:
            self.warnings.append(
                "Only a hand is in view at times. It is not captured without its body: have at least head and "
                "shoulders in the picture."
            )
        return None

    def _who_moves(self, image: np.ndarray, body: Body, stamp_s: float, times_s: dict[str, float]) -> Body | None:
        """Another person who moves, where the followed one has not since they were chosen."""
        others = apart_from(self._detected(image, times_s, closely=True), body_roi(body))
        largest = sorted(others, key=lambda p: -p.roi.size_px)[:_CANDIDATES]
        bodies = [b for p in largest if (b := self.measure(image, p.roi, times_s)) is not None]
        living = self._watch.living(bodies, stamp_s)
        if living is None:
            return None
        self.warnings.append(
            f"What was followed until {stamp_s:.1f} s did not move and counts as a picture on the wall; from then on "
            "it is somebody who moves. Name the person with --subject left, right or a number if that was wrong."
        )
        self._pictures.append(body_roi(body))
        self.track.lose()
        self._sides, self._known = SideKeeper(), KnownPerson()
        self._watch.start(stamp_s)
        return living

    def _forget(self) -> None:
        """Begin again with nobody known."""
        self.track = PersonTrack()
        self._sides = SideKeeper()
        self._known, self._watch = KnownPerson(), PictureWatch()
        self._pictures: list[Roi] = []
        self._hand_looks = 0
        self._asked_s = self._righted_s = self._waited_s = -math.inf
