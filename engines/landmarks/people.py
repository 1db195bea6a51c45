"""Several people at once: who is who in every frame, so that nobody is measured twice and everybody keeps their number.

All are followed side by side, each by a :class:`~.stage.LandmarkStage` of their own on the same networks. Where two of
them land on one body, for example because one walked behind the other, it goes to the one whom it looks like or, in
like clothes, whose motion it continues; the other counts as lost until somebody appears whom nobody else is. So two
numbers never stand for one body, and two people who were exchanged are put right once their clothes are seen.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from ...models.errors import UsageError
from ...models.proxies import BLAZEPOSE_NAMES, Proxies
from ..base import Engine
from .geometry import Roi, tiles
from .looks import PARTS, learnt, look_of, unlike
from .networks import Body, Detection, thumbnail
from .sides import OTHER_SIDE
from .stage import LandmarkStage, Sighting, check_frame, timed
from .tracking import MAX_PEOPLE, body_roi, choose_subject, is_near

_JOINTS = np.array(
    [
        BLAZEPOSE_NAMES.index(name)
        for name in ("nose", *(f"{s}_{j}" for s in ("left", "right") for j in (
            "shoulder", "elbow", "wrist", "hip", "knee", "ankle")))
    ]
)  # fmt: skip
_NO_ARMS = [row for row in _JOINTS.tolist() if not BLAZEPOSE_NAMES[row].endswith(("elbow", "wrist"))]
_MARGIN = 0.1
_SAME = 0.15
"""Body radii (about a metre for an adult). On real footage the landmarks of one person found from two regions are 0.04
apart at most, those of two people who dance side by side more than 1."""
_TOO_CLOSE_TO_START, _TOO_MUCH_INSIDE = 0.3, 0.75
"""Nearer to somebody than this, or with so many joints where their trunk, head and legs are, nobody is seen for the
first time: the detector at times takes a part of a person for another person."""
_CLEAR = 0.7
_CLEARLY_LIKE, _UNLIKE = 4.0, 25.0
"""Colour differences: of the same person 10 at most within a clip and 25 in changing light, of two people in different
clothes 14 and more."""
_DOUBT_FRAMES = 3
_LOOK_EVERY_S = 0.2
"""How often those are looked for who have been away for longer, or were never seen: it takes as long as a person."""
_ALIKE = 0.08
"""Distance of the centres of two regions around one person, in parts of their size (a fifth of a body radius)."""


@dataclass(frozen=True, slots=True)
class PeopleSighting:
    """What the first half of the stage tells the second half of one frame."""

    index: int
    each: tuple[tuple[LandmarkStage, Sighting], ...]
    """For each person, what was seen of them and by which stage."""
    times_s: dict[str, float]
    """Module name -> seconds it took in this frame, for all people."""


@dataclass(eq=False)
class _Person:
    stage: LandmarkStage
    look: np.ndarray = field(default_factory=lambda: np.full((len(PARTS), 3), np.nan))
    """Mean look over the last frames in which nobody else was near."""
    looks: int = 0
    """How many of those there were."""
    known: bool = False
    """Whether they were ever seen."""
    last: Body | None = None
    """The body of the last frame in which they were seen."""
    doubts: int = 0
    """Frames in a row in which they looked like somebody else."""


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """Somebody whom nobody follows."""

    detection: Detection
    body: Body
    look: np.ndarray


class PeopleStage:
    """Finds ``people`` persons, follows them, and measures body and hands of each.

    The first is whom the stage's ``subject`` says, the others follow by size, or from the same side. Offers what
    :class:`LandmarkStage` offers: :meth:`hands` returns the first person, :meth:`others` the rest.
    """

    engines: dict[str, Engine]

    def __init__(self, stage: LandmarkStage, people: int) -> None:
        if not 1 <= people <= MAX_PEOPLE:
            raise UsageError(f"--people takes a number from 1 to {MAX_PEOPLE}; found {people}.")
        self.engines = stage.engines
        self._first = stage
        self._people = [_Person(stage), *(_Person(stage.another()) for _ in range(people - 1))]
        self._others: dict[int, tuple[Proxies, ...]] = {}
        self._looked_s = -math.inf

    @property
    def warnings(self) -> list[str]:
        """What the user should know of whom was found."""
        return self._first.warnings

    def close(self) -> None:
        """End the threads of all; it must not be used any more."""
        for person in self._people:
            person.stage.close()

    def __call__(self, image_rgb: np.ndarray, index: int, stamp_s: float) -> tuple[Proxies, ...]:
        """Proxies of every person in the (H, W, 3) uint8 RGB frame ``index``, taken at ``stamp_s`` seconds."""
        return (self.hands(self.body(image_rgb, index, stamp_s)), *self.others(index))

    def body(self, image_rgb: np.ndarray, index: int, stamp_s: float) -> PeopleSighting:
        """The first half of a call: who is where."""
        check_frame(image_rgb)
        times_s: dict[str, float] = {}
        picture = thumbnail(image_rgb)
        cuts = [p.stage.begin(picture) for p in self._people]
        bodies = self._find(image_rgb, stamp_s, cuts, times_s)
        each = []
        for person, body, cut in zip(self._people, bodies, cuts, strict=True):
            kept = person.stage.keep(body, picture, stamp_s)
            person.last, person.known = kept or person.last, person.known or kept is not None
            each.append((person.stage, Sighting(image_rgb, index, stamp_s, kept, cut, times_s)))
        return PeopleSighting(index, tuple(each), times_s)

    def hands(self, seen: PeopleSighting) -> Proxies:
        """The second half of a call: the hands of all; the first person's proxies."""
        first, *others = [stage.hands(sighting) for stage, sighting in seen.each]
        self._others[seen.index] = tuple(others)
        return first

    def others(self, index: int) -> tuple[Proxies, ...]:
        """The proxies of the other people in a frame whose :meth:`hands` were measured; can be asked for once."""
        return self._others.pop(index)

    def _find(
        self, image: np.ndarray, stamp_s: float, cuts: Sequence[bool], times_s: dict[str, float]
    ) -> list[Body | None]:
        bodies: list[Body | None] = []
        for person in self._people:
            bodies.append(person.stage.follow(image, stamp_s, times_s))
        looks = [None if body is None else look_of(image, body) for body in bodies]
        for i, j in combinations(range(len(bodies)), 2):
            one, other = bodies[i], bodies[j]
            if one is not None and other is not None and apart(one, other) < _SAME:
                loser = j if self._belongs_to_first(i, j, (one, other), (looks[i], looks[j])) else i
                bodies[loser] = looks[loser] = None
        self._undo_exchanges(bodies, looks)
        self._learn(bodies, looks)
        if None in bodies:
            self._look_for(image, stamp_s, cuts, bodies, times_s)
        return bodies

    def _belongs_to_first(
        self, i: int, j: int, bodies: tuple[Body, Body], looks: tuple[np.ndarray | None, np.ndarray | None]
    ) -> bool:
        """Whether the one body that persons i and j were both found on is that of person i."""
        distance = [
            None if look is None else unlike(self._people[k].look, look) for k, look in zip((i, j), looks, strict=True)
        ]
        if distance[0] is not None and distance[1] is not None and abs(distance[0] - distance[1]) >= _CLEARLY_LIKE:
            return distance[0] < distance[1]
        jumps = []
        for k, body in zip((i, j), bodies, strict=True):
            last = self._people[k].last
            jumps.append(math.inf if last is None else apart(last, body))
        return jumps[0] <= jumps[1]

    def _undo_exchanges(self, bodies: list[Body | None], looks: list[np.ndarray | None]) -> None:
        """Give those who have looked like each other for a while their own bodies back, in place."""
        for k, person in enumerate(self._people):
            look = looks[k]
            like = None if look is None else self._clearly_like(k, look)
            person.doubts = 0 if like is None else person.doubts + 1
            if like is None or person.doubts < _DOUBT_FRAMES:
                continue
            other, others_look = self._people[like], looks[like]
            if others_look is not None and self._clearly_like(like, others_look) != k:
                continue
            person.stage, other.stage = other.stage, person.stage
            person.last, other.last = other.last, person.last
            person.doubts = other.doubts = 0
            bodies[k], bodies[like] = bodies[like], bodies[k]
            looks[k], looks[like] = looks[like], looks[k]

    def _clearly_like(self, k: int, look: np.ndarray) -> int | None:
        """The other known person whom a look is clearly nearer to than to person k; None where there is none."""
        own = unlike(self._people[k].look, look)
        if own is None:
            return None
        near = {
            j: distance
            for j, other in enumerate(self._people)
            if j != k and (distance := unlike(other.look, look)) is not None
        }
        best = min(near, key=lambda j: near[j], default=None)
        return best if best is not None and near[best] + _CLEARLY_LIKE <= own else None

    def _learn(self, bodies: Sequence[Body | None], looks: Sequence[np.ndarray | None]) -> None:
        """Remember how those look who stand clear of the others."""
        for k, (body, look) in enumerate(zip(bodies, looks, strict=True)):
            person = self._people[k]
            others = [b for j, b in enumerate(bodies) if j != k and b is not None]
            if body is None or look is None or person.doubts or any(hips_apart(body, b) < _CLEAR for b in others):
                continue
            person.look, person.looks = learnt(person.look, look, person.looks)

    def _look_for(
        self,
        image: np.ndarray,
        stamp_s: float,
        cuts: Sequence[bool],
        bodies: list[Body | None],
        times_s: dict[str, float],
    ) -> None:
        """Fill in, in place, those who are missing from among the people whom nobody follows."""
        missing = [k for k, body in enumerate(bodies) if body is None]
        recent = {k: where for k in missing if not cuts[k] and (where := self._people[k].stage.track.recent(stamp_s))}
        anybody = any(person.known for person in self._people)
        if anybody and not recent and not any(cuts) and 0 <= stamp_s - self._looked_s < _LOOK_EVERY_S:
            return
        self._looked_s = stamp_s
        followed = [b for b in bodies if b is not None]
        found = self._strangers(image, followed, times_s)
        clear = [not any(_is_part(who.body, b) for b in followed) for who in found]
        # those just lost, where they were; then those long gone, by how they look; then those never seen
        ways: list[dict[tuple[int, int], float]] = [{}, {}]
        for k in missing:
            for f, who in enumerate(found):
                if self._clearly_like(k, who.look) is not None:
                    continue
                distance = unlike(self._people[k].look, who.look)
                if k in recent:
                    old, elapsed_s = recent[k]
                    if is_near(old, who.detection.roi, elapsed_s) and is_near(old, body_roi(who.body), elapsed_s):
                        roi = who.detection.roi
                        ways[0][k, f] = math.hypot(roi.x_px - old.x_px, roi.y_px - old.y_px)
                elif clear[f] and self._people[k].known and (distance is None or distance < _UNLIKE):
                    ways[1][k, f] = _UNLIKE if distance is None else distance
        taken: set[int] = set()
        for way in ways:
            for k, f in sorted(way, key=lambda pair: way[pair]):
                if bodies[k] is None and f not in taken:
                    bodies[k] = found[f].body
                    taken.add(f)
        free = [
            who
            for f, who in enumerate(found)
            if f not in taken
            and not any(bodies[k] is None and is_near(old, who.detection.roi, t) for k, (old, t) in recent.items())
            and not any(b is not None and _is_part(who.body, b) for b in bodies)
        ]
        for k in missing:
            if not self._people[k].known and bodies[k] is None:
                who = self._newcomer(k, free, (image.shape[1], image.shape[0]))
                if who is None and not anybody:
                    self._first.note_too_few(len(free))
                while who is not None and self._first.is_lone_hand(image, who.body, times_s):
                    free = [other for other in free if other is not who]
                    who = self._newcomer(k, free, (image.shape[1], image.shape[0]))
                if who is None:
                    return
                bodies[k] = who.body
                free = [other for other in free if not _is_part(other.body, who.body)]

    def _newcomer(self, k: int, free: Sequence[_Found], image_size_px: tuple[int, int]) -> _Found | None:
        subject = self._first.subject
        if isinstance(subject, int) and k > 0:
            subject = "largest"
        chosen = choose_subject([who.detection for who in free], image_size_px, subject)
        return next((who for who in free if who.detection is chosen), None)

    def _strangers(self, image: np.ndarray, followed: Sequence[Body], times_s: dict[str, float]) -> list[_Found]:
        """The people in the image who are none of those followed."""
        with timed("pose_detection", times_s):
            regions = (None, *tiles(image.shape[1], image.shape[0]))
            detections = [detection for region in regions for detection in self._first.detect(image, region)]
        found: list[_Found] = []
        around = [body_roi(body) for body in followed]
        for detection in detections:
            if any(_alike(detection.roi, region) for region in around):
                continue
            around.append(detection.roi)
            body = self._first.measure(image, detection.roi, times_s)
            if body is None or any(apart(body, b) < _SAME for b in (*followed, *(w.body for w in found))):
                continue
            found.append(_Found(detection, body, look_of(image, body)))
        return found


def _alike(a: Roi, b: Roi) -> bool:
    """Whether two regions are around one person, by place and size."""
    size_px = max(a.size_px, b.size_px)
    return math.hypot(a.x_px - b.x_px, a.y_px - b.y_px) < _ALIKE * size_px and size_px < 1.3 * min(a.size_px, b.size_px)


def apart(a: Body, b: Body) -> float:
    """Median distance of the joints of two bodies in body radii; the sides of one may be exchanged."""
    radius = (body_roi(a).size_px + body_roi(b).size_px) / 5
    one, other = np.asarray(a.xy_px, np.float64), np.asarray(b.xy_px, np.float64)
    direct, exchanged = (
        float(np.median(np.linalg.norm(one[_JOINTS] - points[_JOINTS], axis=1)))
        for points in (other, other[OTHER_SIDE])
    )
    return min(direct, exchanged) / max(radius, 1e-6)


def inside(a: Body, b: Body) -> float:
    """Share of the joints of body ``a`` in the box around the trunk, head and legs of body ``b``."""
    box = np.asarray(b.xy_px, np.float64)[_NO_ARMS]
    margin = _MARGIN * body_roi(b).size_px / 2.5
    joints = np.asarray(a.xy_px, np.float64)[_JOINTS]
    return float(((joints >= box.min(axis=0) - margin) & (joints <= box.max(axis=0) + margin)).all(axis=1).mean())


def _is_part(a: Body, b: Body) -> bool:
    """Whether body ``a`` may be nobody, but body ``b`` or a part of it."""
    return apart(a, b) < _TOO_CLOSE_TO_START or inside(a, b) > _TOO_MUCH_INSIDE


def hips_apart(a: Body, b: Body) -> float:
    """Distance of the hip centres of two bodies in body radii."""
    one, other = body_roi(a), body_roi(b)
    return math.hypot(one.x_px - other.x_px, one.y_px - other.y_px) / max((one.size_px + other.size_px) / 5, 1e-6)
