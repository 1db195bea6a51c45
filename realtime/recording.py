"""Recording that is switched on and off while a live capture runs: each time a take of its own."""

import dataclasses
import datetime
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from ..models.errors import HmcapError
from ..models.motion import MotionFrame
from ..models.proxies import Proxies
from .frames import Frame
from .interrupts import shielded
from .journal import TakeWriter, read_part
from .loop import RunStats
from .outputs import Outputs
from .rescue import SafeJournal, begin_elsewhere
from .take import Take, TakeHeader


@dataclass(eq=False)
class Recording:
    """One take of a live run."""

    journal: SafeJournal
    """Open until the solved motion is in it; its writer is closed already where writing failed."""
    outputs: Outputs
    """Where the take and its exports go."""
    before: int
    """Frames of the source that came before the take."""
    first_index: int
    first_s: float
    frames: int = 0
    seen: int = 0
    """Frames with a person in view."""
    last_index: int = 0
    """Number of the newest frame, counted from the take's own start. The frames themselves are on disk alone."""
    duration_s: float = 0.0

    def stats(self, run: RunStats) -> RunStats:
        """The counts of the run, with the take's own frames in place of the run's."""
        dropped = self.last_index + self.first_index + 1 - self.before - self.frames
        return dataclasses.replace(run, frames=self.frames, seen=self.seen, dropped=dropped)


@dataclass(frozen=True, slots=True)
class RecordState:
    """What a display shows about recording."""

    on: bool
    duration_s: float = 0.0
    """Of the take that is being recorded."""
    name: str = ""
    """Of the newest take."""
    error: str = ""
    """Why recording stopped by itself; empty once it is switched on again."""


class RecordSwitch:
    """A sink that appends frames to a take while it is on. Use it in a ``with`` block: whatever happens, the takes that
    it began are closed and keep what was written.

    A take that can no longer be written goes on in another folder; where there is none, it ends by itself and the
    capture goes on. ``news`` tells of both, ``state`` says why one ended, and ``errors`` holds all of it.

    Args:
        header: header of the takes; each gets its own moment of start.
        plan: gives a new take its files, at names that are not used yet.
        on: whether to record from the first frame.
    """

    def __init__(self, header: TakeHeader, plan: Callable[[], Outputs], *, on: bool = False) -> None:
        self._header, self._plan = header, plan
        self._lock = threading.Lock()
        self._wanted = on
        self._current: Recording | None = None
        self._next_index = 0
        self._error = ""
        self._news: list[str] = []
        self.takes: list[Recording] = []
        """Every take that was begun, in order."""
        self.errors: list[HmcapError] = []
        """Why takes could not be begun, moved to another folder, or ended by themselves."""

    def toggle(self) -> None:
        """Begin a take with the next frame, or end the one that is being recorded. Safe from any thread."""
        with self._lock:
            self._wanted = not self._wanted
            if self._wanted:
                self._error = ""

    def state(self) -> RecordState:
        """What is being recorded. Safe from any thread."""
        with self._lock:
            take = self._current
            name = self.takes[-1].outputs.take.name if self.takes else ""
            return RecordState(self._wanted, 0.0 if take is None else take.duration_s, name, self._error)

    def news(self) -> list[str]:
        """What happened since the last call, a sentence each. Safe from any thread."""
        with self._lock:
            news, self._news = self._news, []
        return news

    def so_far(self) -> Take | None:
        """The newest take, as far as it has come; None before the first. Safe from any thread."""
        with self._lock:
            newest = self.takes[-1] if self.takes else None
        return None if newest is None else read_part(newest.journal.writer)

    def open(self, header: TakeHeader) -> None:
        """Takes begin with their first frame."""

    def __call__(self, frame: Frame, proxies: Proxies, motion: MotionFrame | None) -> None:
        with self._lock:
            wanted = self._wanted
        try:
            if wanted and self._current is None:
                self._begin(frame)
            elif not wanted:
                self._end()
            if self._current is not None:
                self._append(self._current, frame, proxies, motion)
        except HmcapError as error:
            self._fail(error)
        except Exception as error:  # whatever it is: the next take may succeed, and the capture goes on
            self._fail(HmcapError(f"{type(error).__name__}: {error}"))
        self._next_index = frame.index + 1

    def close(self) -> None:
        """End the take that is being recorded."""
        with self._lock:
            self._wanted = False
        try:
            self._end()
        except HmcapError as error:
            self._fail(error)

    def __enter__(self) -> "RecordSwitch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failed: list[HmcapError] = []
        for take in self.takes:
            try:
                with shielded():
                    take.journal.writer.close()
            except HmcapError as late:
                failed.append(late)
        if failed and kind is None:
            raise failed[0]

    def _begin(self, frame: Frame) -> None:
        outputs = self._plan()
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        header = dataclasses.replace(self._header, created=now)
        try:
            writer = TakeWriter(outputs.take, header)
        except HmcapError as error:
            writer = begin_elsewhere(outputs.take, header, error, self._moved)
        take = Recording(SafeJournal(writer, self._moved), outputs, self._next_index, frame.index, frame.stamp_s)
        with self._lock:
            self._current = take
            self.takes.append(take)
            self._news.append(f"Recording to {writer.path}")

    def _append(self, take: Recording, frame: Frame, proxies: Proxies, motion: MotionFrame | None) -> None:
        index, stamp_s = frame.index - take.first_index, frame.stamp_s - take.first_s
        proxies = dataclasses.replace(proxies, index=index, stamp_s=stamp_s)
        take.frames, take.seen, take.last_index = take.frames + 1, take.seen + proxies.present, index
        if motion is not None:
            motion = dataclasses.replace(motion, index=index, stamp_s=stamp_s)
        take.journal(frame, proxies, motion)
        with self._lock:
            take.duration_s = stamp_s

    def _end(self) -> None:
        with self._lock:
            take, self._current = self._current, None
        if take is not None and not take.journal.writer.closed:
            take.journal.close()
            with self._lock:
                self._news.append(f"Recorded {take.frames} frames, {take.duration_s:.1f} s.")

    def _moved(self, text: str) -> None:
        self.errors.append(HmcapError(text))
        with self._lock:
            self._news.append(text)

    def _fail(self, error: HmcapError) -> None:
        self.errors.append(error)
        with self._lock:
            self._current, self._wanted, self._error = None, False, str(error)
            self._news.append(f"Recording stopped: {error}")
