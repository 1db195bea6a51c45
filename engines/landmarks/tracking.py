"""Following one person from frame to frame: where to look next, and when to stop believing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...models.errors import UsageError
from ...models.one_euro import OneEuroFilter
from .geometry import Roi, roi_from_points
from .networks import Body, Detection

PRESENCE_THRESHOLD = 0.5
_MEMORY_S = 1.0
_MAX_JUMP = 0.2
_MAX_SPEED_PER_S = 3.0
_MAX_GROWTH = 1.6
_CUT_DIFFERENCE = 28.0
_CUT_CORRELATION = 0.5
_SUBJECT_WORDS = ("largest", "left", "right")

MAX_PEOPLE = 8
"""Most people that are followed at once."""

Subject = str | int
"""Whom to capture when several people are in view: ``largest`` (and most central), ``left``, ``right`` or the n-th from
the left, counted from 0."""


def check_subject(subject: Subject) -> Subject:
    """``subject`` itself, a number in a string turned into an int; raises :class:`UsageError` for anything else."""
    if isinstance(subject, str) and subject.isdecimal() and len(subject) < 10:
        subject = int(subject)
    if subject in _SUBJECT_WORDS or (isinstance(subject, int) and not isinstance(subject, bool) and subject >= 0):
        return subject
    raise UsageError(
        f"Expected the subject to be one of {', '.join(_SUBJECT_WORDS)} or a number from 0 (counted from the left), "
        f"found {str(subject)[:60]!r}. Try --subject largest"
    )


def reacquire(people: Sequence[Detection], last: Roi, elapsed_s: float) -> Detection | None:
    """The detected person who can be the one last seen at ``last``: the nearest of several, or ``None``."""
    near = [p for p in people if is_near(last, p.roi, elapsed_s)]
    return min(near, key=lambda p: math.hypot(p.roi.x_px - last.x_px, p.roi.y_px - last.y_px), default=None)


def choose_subject(people: Sequence[Detection], image_size_px: tuple[int, int], subject: Subject) -> Detection | None:
    """The person to start with; ``None`` when nobody, or fewer people than the number asked for, is in view.

    ``largest`` weighs the size of the body by its distance from the middle of the picture and by the detector's score.
    """
    if not people:
        return None
    ordered = sorted(people, key=lambda p: p.roi.x_px)
    if isinstance(subject, int):
        return ordered[subject] if subject < len(ordered) else None
    if subject in ("left", "right"):
        return ordered[0 if subject == "left" else -1]
    w, h = image_size_px

    def weight(person: Detection) -> float:
        off_centre = math.hypot((person.roi.x_px - w / 2) / w, (person.roi.y_px - h / 2) / h)
        return person.roi.size_px * person.score * (1 - 0.5 * min(off_centre, 1.0))

    return max(people, key=weight)


def too_few(subject: Subject, in_view: int) -> str:
    """What to tell the user where ``subject`` asks for more people than are in view; empty where it does not."""
    if not isinstance(subject, int) or subject < in_view:
        return ""
    people = "1 person is" if in_view == 1 else f"{in_view} people are"
    return (
        f"--subject {subject} is person {subject + 1} from the left, and {people} in view: nobody is captured until "
        "so many are. Choose --subject largest, left, right" + (f" or 0 to {in_view - 1}." if in_view > 1 else " or 0.")
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    roi: Roi
    """Where the person was, unsmoothed."""
    stamp_s: float


class PersonTrack:
    """The region of interest of the tracked person; empty at the start and after :meth:`lose`."""

    def __init__(self) -> None:
        self._filter = OneEuroFilter(0.01, 10.0)
        self._last: _Seen | None = None
        self.roi: Roi | None = None
        """Where to look in the next frame; ``None`` when nobody is tracked."""

    def plausible(self, body: Body, stamp_s: float) -> bool:
        """Whether ``body`` can be the tracked person: near, and of like size, given the time that has passed."""
        recent = self.recent(stamp_s)
        return recent is None or is_near(recent[0], body_roi(body), recent[1])

    def recent(self, stamp_s: float) -> tuple[Roi, float] | None:
        """Where the person was last seen and how long ago in seconds; ``None`` when that is too long ago to help."""
        if self._last is None or not 0 <= stamp_s - self._last.stamp_s <= _MEMORY_S:
            return None
        return self._last.roi, stamp_s - self._last.stamp_s

    def update(self, body: Body, stamp_s: float) -> None:
        """Follow ``body`` into the next frame."""
        raw = body_roi(body)
        if self.roi is None:
            self._filter = OneEuroFilter(0.01, 10.0)
        aux = self._filter(body.aux_px[:, :2], stamp_s, max(raw.size_px / 1.25, 1e-6))
        roi = roi_from_points(aux[0], aux[1]).moved(1.25)
        self.roi = roi if roi.usable else None
        self._last = _Seen(raw, stamp_s)

    def lose(self) -> None:
        """Stop tracking; where the person was is remembered for a while."""
        self.roi = None


def body_roi(body: Body) -> Roi:
    """The region of interest that the landmarks themselves ask for."""
    return roi_from_points(body.aux_px[0, :2], body.aux_px[1, :2]).moved(1.25)


def is_near(old: Roi, new: Roi, dt_s: float) -> bool:
    """Whether one person can have moved from ``old`` to ``new`` in ``dt_s`` seconds.

    Distances are in body radii (about a metre for an adult): a fifth for noise and 3 per second of motion. Real
    footage of sport and dance stays below 0.13 from one frame to the next.
    """
    if not new.usable:
        return False
    radius = max(old.size_px, new.size_px) / 2.5
    distance = math.hypot(new.x_px - old.x_px, new.y_px - old.y_px) / radius
    growth = max(new.size_px / old.size_px, old.size_px / new.size_px)
    elapsed_s = max(dt_s, 0.0)
    return distance <= _MAX_JUMP + _MAX_SPEED_PER_S * elapsed_s and growth <= _MAX_GROWTH + elapsed_s


def is_cut(old: np.ndarray, new: np.ndarray) -> bool:
    """Whether two thumbnails (grey, 0..255) come from different shots: other brightness and no common structure."""
    if np.abs(old - new).mean() < _CUT_DIFFERENCE:
        return False
    a, b = old - old.mean(), new - new.mean()
    norm = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return norm == 0 or float((a * b).sum()) / norm < _CUT_CORRELATION
