"""What every video source gives: upright RGB frames with the source's own time stamps."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from ..models.errors import UsageError

DEFAULT_FPS = 30.0
"""Frame rate assumed where the source states none (image folders, some webcams)."""


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

    def __init__(self, spec: str, name: str, window: Window) -> None:
        self.spec, self.name, self.window = spec, name, window
        self.warnings = []
        self.metadata = SourceMetadata()
        self.live = False
        self.frame_count = None
        self.fps = DEFAULT_FPS
        self.interrupted = False

    def interrupt(self) -> None:
        """Ask the source to end soon. Safe from any thread; the iteration then ends without an error."""
        self.interrupted = True

    @abstractmethod
    def _frames(self) -> Iterator[Frame]:
        """Every frame that ``_wanted`` accepts, in order; may also give frames outside the window."""

    @abstractmethod
    def close(self) -> None:
        """Release files and devices; calling it twice is allowed."""

    def _wanted(self, stamp_s: float) -> bool:
        """Whether a frame with this stamp has to be converted to a picture at all."""
        return stamp_s >= self.window.start_s and (self.window.end_s is None or stamp_s < self.window.end_s)

    def __iter__(self) -> Iterator[Frame]:
        given = 0
        for frame in self._frames():
            if self.window.end_s is not None and frame.stamp_s >= self.window.end_s:
                return
            if frame.stamp_s < self.window.start_s:
                continue
            yield frame
            given += 1
            if given == self.window.max_frames:
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
