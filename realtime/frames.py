"""What every video source gives: upright RGB frames with the source's own time stamps."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

import cv2
import numpy as np

from ..models.errors import UsageError

DEFAULT_FPS = 30.0
"""Frame rate assumed where the source states none (image folders, some webcams)."""
MAX_PIXELS = 1 << 26
"""Pixels of the largest picture that is read: 8192x8192, 200 MB as RGB, of which a run holds up to 14."""
_SHAPE_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class Frame:
    """One upright picture of a source."""

    index: int
    """Frame number in the source, from 0; frames that a live source dropped leave a gap."""
    stamp_s: float
    """The source's own time stamp in seconds since its start; strictly increasing."""
    image_rgb: np.ndarray
    """(H, W, 3) uint8, rows from the top, after the rotation that the source's metadata asks for."""


@dataclass(frozen=True, slots=True)
class SourceMetadata:
    """What the file says about the lens that took it; None where it says nothing."""

    focal_35mm_mm: float | None = None
    """Focal length as the 35 mm equivalent, millimetres."""
    origin: str = ""
    """Where that was written, in words, for the report (for example ``EXIF of 000.jpg``)."""


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a source that is wanted; the default is all of it."""

    start_s: float = 0.0
    """Frames stamped before this many seconds are skipped."""
    end_s: float | None = None
    """Frames stamped at or after this many seconds are not read."""
    max_frames: int | None = None
    """At most this many frames are given."""

    def __post_init__(self) -> None:
        if not self.start_s >= 0:
            raise UsageError(f"--start takes seconds from the beginning, 0 or more; found {self.start_s:g}.")
        if self.end_s is not None and not self.end_s > self.start_s:
            raise UsageError(
                f"--end must lie after --start: found --start {self.start_s:g} and --end {self.end_s:g} seconds."
            )
        if self.max_frames is not None and self.max_frames < 1:
            raise UsageError(f"--max-frames takes a whole number, 1 or more; found {self.max_frames}.")


class Source(ABC):
    """An open video source. Iterate once for its frames; ``close`` (or a ``with`` block) releases it."""

    spec: str
    """What opens the same source again (a path, a URL or ``webcam:0``)."""
    name: str
    """Short name for files and titles, without folder or suffix."""
    width_px: int
    height_px: int
    fps: float
    """Mean frame rate that the source states; single frames keep their own stamps."""
    frame_count: int | None
    """Number of frames where the source knows it; None for streams, webcams and files that do not say."""
    live: bool
    """True when frames that are not fetched in time are lost (webcam, network stream)."""
    metadata: SourceMetadata
    warnings: list[str]
    """Sentences about what was wrong with the source but did not stop it; complete once iteration has ended."""
    # A plain flag and not an event: a signal handler may set it, and must never wait for a lock.
    _interrupted = False

    def __init__(self, spec: str, name: str, window: Window) -> None:
        self.spec, self.name, self.window = spec, name, window
        self.warnings = []
        self._news: deque[str] = deque()
        self.metadata = SourceMetadata()
        self.live = False
        self.frame_count = None
        self.fps = DEFAULT_FPS

    @abstractmethod
    def _frames(self) -> Iterator[Frame]:
        """Every frame that ``_wanted`` accepts, in order; may also give frames outside the window."""

    @abstractmethod
    def close(self) -> None:
        """Release files and devices; calling it twice is allowed."""

    def interrupt(self) -> None:
        """Ask the source to end soon; safe from any thread and from signal handlers' threads; the iteration then ends
        without an error."""
        self._interrupted = True

    def news(self) -> list[str]:
        """What happened since the last call that the user should know at once, a sentence each. Safe from any
        thread."""
        return [self._news.popleft() for _ in range(len(self._news))]

    def _wanted(self, stamp_s: float) -> bool:
        """Whether a frame with this stamp has to be converted to a picture at all."""
        return stamp_s >= self.window.start_s and (self.window.end_s is None or stamp_s < self.window.end_s)

    def __iter__(self) -> Iterator[Frame]:
        given = 0
        for frame in self._frames():
            if self.window.end_s is not None and frame.stamp_s >= self.window.end_s:
                return
            if frame.stamp_s >= self.window.start_s:
                yield frame  # also one that an interruption found on its way: it was captured
                given += 1
            if given == self.window.max_frames or self._interrupted:
                return

    def __enter__(self) -> "Source":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def expected_frames(self) -> int | None:
        """Frames that an iteration is expected to give (window included), None when unknown."""
        if self.frame_count is None:
            return self.window.max_frames if not self.live else None
        last = self.frame_count if self.window.end_s is None else min(self.frame_count, self.window.end_s * self.fps)
        count = max(0, round(last - self.window.start_s * self.fps))
        return count if self.window.max_frames is None else min(count, self.window.max_frames)


def fitted(image: np.ndarray, width_px: int, height_px: int) -> np.ndarray:
    """(height_px, width_px, 3) the picture scaled into that size, whole and undistorted: centred between black bars
    where it is of another shape, by more than rounding."""
    height, width = image.shape[:2]
    if (width, height) == (width_px, height_px):
        return image
    scale = min(width_px / width, height_px / height)
    inner = [
        full if abs(side * scale - full) <= max(1.0, _SHAPE_TOLERANCE * full) else max(1, round(side * scale))
        for side, full in ((width, width_px), (height, height_px))
    ]
    small = cv2.resize(image, inner, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    if inner == [width_px, height_px]:
        return small
    out = np.zeros((height_px, width_px, 3), np.uint8)
    left, top = (width_px - inner[0]) // 2, (height_px - inner[1]) // 2
    out[top : top + inner[1], left : left + inner[0]] = small
    return out


def same_shape(width_px: int, height_px: int, other_width_px: int, other_height_px: int) -> bool:
    """Whether two picture sizes have one shape, but for rounding."""
    return abs(width_px * other_height_px / (height_px * other_width_px) - 1) <= _SHAPE_TOLERANCE
