"""A take: what was seen and what was solved in one recording. Every exporter reads one; nothing writes to it."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from ..models.camera import Camera
from ..models.errors import HmcapError
from ..models.motion import MotionFrame
from ..models.proxies import Proxies
from .codec import MAX_SIDE_PX, camera_from_dict, camera_to_dict

FORMAT_VERSION = 1
"""Version of the take format that is written; ``journal_reading`` reads this and every older one, and refuses newer."""
SUFFIX = ".hmcap"
AWAY_S = 2.0
"""After so long without any frame, a source was away."""
MOST_FPS = 10000.0
"""Highest frame rate that a header may state."""


@dataclass(frozen=True, slots=True)
class TakeHeader:
    """What is known about a recording before its first frame."""

    source: str
    """What opens the footage again: a path, an address, ``webcam:0`` or ``sample``."""
    name: str
    """Short name of the footage."""
    fps: float
    """Mean frame rate of the source; every frame also has its own stamp."""
    width_px: int
    height_px: int
    camera: Camera
    """Intrinsics; ``camera.source`` says where they came from."""
    frame_count: int | None = None
    """Frames that the source promised; None when unknown."""
    live: bool = False
    """Whether frames could be lost because nobody fetched them in time."""
    engines: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Module name to the ``backend`` and ``device`` that really run it."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Choices of this run (plain numbers, text, lists and maps): body file, subject, static camera, ..."""
    created: str = ""
    """Start of the capture, ISO 8601 in UTC."""
    version: str = ""
    """hmcap version that wrote the take."""

    def to_json(self) -> str:
        """Text form that ``from_json`` reads back to an equal header."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        fields["camera"] = camera_to_dict(self.camera)
        return json.dumps(fields, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "TakeHeader":
        """Raises ``HmcapError`` where the text is not the header of a take."""
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _bad_header("it is not JSON") from error
        if not isinstance(fields, dict):
            raise _bad_header("it is not a map")
        kinds: dict[str, type | tuple[type, ...]] = {
            "source": str, "name": str, "fps": (int, float), "width_px": int, "height_px": int, "live": bool,
            "engines": dict, "settings": dict, "created": str, "version": str, "frame_count": (int, type(None)),
        }  # fmt: skip
        for name, kind in kinds.items():
            if name not in fields or not isinstance(fields[name], kind):
                raise _bad_header(f"its field {name!r} is missing or of the wrong kind")
        if not 0 < fields["fps"] <= MOST_FPS:
            raise _bad_header(f"its frame rate is {str(fields['fps'])[:20]}")
        if not all(0 < fields[side] <= MAX_SIDE_PX for side in ("width_px", "height_px")):
            raise _bad_header(f"its picture size is {str(fields['width_px'])[:20]}x{str(fields['height_px'])[:20]}")
        if not all(isinstance(engine, dict) for engine in fields["engines"].values()):
            raise _bad_header("its engines are not maps")
        known = {name: fields[name] for name in kinds}
        return cls(**(known | {"fps": float(fields["fps"]), "camera": camera_from_dict(fields.get("camera"))}))


@dataclass(frozen=True, slots=True)
class Recovery:
    """How whole the file was that a take was read from."""

    complete: bool
    """True when the file was closed properly and every part of it passed its check."""
    chunks: int
    """Whole chunks that were read."""
    damaged: int
    """Places that failed their check and were passed over."""
    lost_bytes: int
    """Bytes at the end in which nothing is whole."""
    undecodable: int = 0
    """Messages in whole chunks that are none of a take's."""

    def __str__(self) -> str:
        chunks = "1 whole chunk" if self.chunks == 1 else f"{self.chunks:,} whole chunks"
        if self.complete and not self.undecodable:
            return f"complete ({chunks})"
        parts = [f"{chunks} recovered"]
        if self.damaged:
            parts.append(f"{self.damaged:,} damaged {'place' if self.damaged == 1 else 'places'} passed over")
        if self.undecodable:
            parts.append(f"{self.undecodable:,} {'message' if self.undecodable == 1 else 'messages'} left out")
        if self.lost_bytes:
            parts.append(f"{self.lost_bytes:,} bytes cut off at the end")
        return ("damaged: " if self.complete else "not closed properly: ") + ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Take:
    """One recording, read whole."""

    header: TakeHeader
    proxies: Sequence[Proxies]
    """What the landmark stage saw, by rising frame number."""
    motion: Sequence[MotionFrame]
    """The newest whole revision of the motion, by rising frame number; empty while nothing was solved."""
    report: Mapping[str, Any] | None = None
    """The end-of-run report as ``Report.to_dict`` wrote it, or None."""
    revision: int = -1
    """Revision that ``motion`` is: 0 while capturing, 1 and more solved later, -1 when there is none."""
    recovery: Recovery = Recovery(True, 0, 0, 0)

    @property
    def fps(self) -> float:
        """Mean frame rate of the source."""
        return self.header.fps

    @property
    def camera(self) -> Camera:
        """Intrinsics of the recording."""
        return self.header.camera

    @property
    def solved(self) -> bool:
        """Whether every captured frame has its motion."""
        return bool(self.motion) and len(self.motion) >= len(self.proxies)


def newest_motion(revisions: Mapping[int, Sequence[MotionFrame]]) -> tuple[int, Sequence[MotionFrame]]:
    """The revision that counts and its frames, which come by rising number: the newest of the most complete ones.

    Revisions are never mixed, because a later one may place the world elsewhere; one that was cut off while it was
    being written loses against a whole earlier one. (-1, ()) where there is none.
    """
    if not revisions:
        return -1, ()
    best = max(revisions, key=lambda r: (len(revisions[r]), r))
    return best, revisions[best]


def _bad_header(what: str) -> HmcapError:
    return HmcapError(
        f"Expected a take written by hmcap; its header cannot be used: {what}. The file is damaged or comes from "
        "somewhere else: use another copy, or capture again."
    )


def with_measured_fps(header: TakeHeader, stamps_s: Sequence[float]) -> TakeHeader:
    """The header with the frame rate that these stamps really have; unchanged below two frames. Time in which nothing
    came for long does not count: a camera that was away for an hour is no slower for it."""
    if len(stamps_s) < 2 or stamps_s[-1] <= stamps_s[0]:
        return header
    away = [after - before for before, after in pairwise(stamps_s) if after - before > AWAY_S]
    if len(away) == len(stamps_s) - 1:  # a source that is as slow as that
        away = []
    passed_s = stamps_s[-1] - stamps_s[0] - sum(away)
    fps = (len(stamps_s) - 1 - len(away)) / passed_s if passed_s > 0 else 0.0
    return dataclasses.replace(header, fps=fps) if 0 < fps <= MOST_FPS else header
