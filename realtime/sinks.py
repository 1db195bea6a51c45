"""Sinks of the capture loop that keep frames: the journal on disk, or the last minutes in memory."""

from collections import deque
from collections.abc import Sequence

from ..models.motion import MotionFrame
from ..models.proxies import Proxies
from .frames import Frame
from .journal import TakeWriter
from .take import TakeHeader

RECENT_FRAMES = 3600
"""Frames that the report of an unrecorded live run looks back on."""


class JournalSink:
    """Appends every frame to a take; leaves it open at the end, because the solved motion follows.

    It keeps no frame: the take on disk is the only store, so that a capture of hours needs no more memory than one of
    seconds.
    """

    def __init__(self, writer: TakeWriter) -> None:
        self._writer = writer

    def proxies(self) -> Sequence[Proxies]:
        """Everything seen so far, in order, read back from the take."""
        return self._writer.read_back()

    def open(self, header: TakeHeader) -> None:
        """The header is written when the take is opened."""
        if header != self._writer.header:
            self._writer.update_header(header)

    def __call__(self, frame: Frame, proxies: Proxies, motion: MotionFrame | None) -> None:
        self._writer.add_proxies(proxies)
        if motion is not None:
            self._writer.add_motion(motion, 0)

    def close(self) -> None:
        """Bring everything to the disk."""
        if not self._writer.closed:
            self._writer.flush()


class RecentFrames:
    """Keeps the last frames of an unrecorded run for its report."""

    def __init__(self) -> None:
        self.proxies: deque[Proxies] = deque(maxlen=RECENT_FRAMES)
        self.motion: deque[MotionFrame] = deque(maxlen=RECENT_FRAMES)

    def open(self, header: TakeHeader) -> None:
        """Nothing to prepare."""

    def __call__(self, frame: Frame, proxies: Proxies, motion: MotionFrame | None) -> None:
        self.proxies.append(proxies)
        if motion is not None:
            self.motion.append(motion)

    def close(self) -> None:
        """Nothing to release."""
