"""The capture loop: capture -> body -> hands -> motion -> sinks, one thread each, joined by bounded queues.

The stages are plain objects; this module only wires them. A live source keeps only its newest frame and counts what it
drops; a file never drops. An exception in any thread ends the run, closes the sinks and reaches the caller.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

import cv2
import numpy as np

from ..engines.base import Engine
from ..models.errors import HmcapError
from ..models.motion import MotionFrame
from ..models.proxies import Proxies
from .frames import Frame, Source
from .queues import Ended, Handover
from .take import TakeHeader

T = TypeVar("T")

QUEUE_SIZE = 3
"""Frames waiting between two stages of a file run; decoded 4K frames are 25 MB each."""
_JOIN_S = 20.0
_SWITCH_S = 0.001


class Seen(Protocol):
    """What the first half of a landmark stage hands on to the second."""

    @property
    def times_s(self) -> Mapping[str, float]:
        """Module name -> seconds it took in this frame."""
        ...


class LandmarkStage(Protocol):
    """What :class:`hmcap.engines.landmarks.LandmarkStage` offers and the loop needs. The halves run on two threads: the
    body of one frame while the hands of the one before are measured."""

    engines: dict[str, Engine]

    def body(self, image_rgb: np.ndarray, index: int, stamp_s: float) -> Any:
        """The body in one upright (H, W, 3) uint8 frame: a :class:`Seen`."""
        ...

    def hands(self, seen: Any) -> Proxies:
        """Proxies of the frame, from what :meth:`body` returned."""
        ...


@runtime_checkable
class Advises(Protocol):
    """A landmark stage that has something to tell the user of whom it found."""

    @property
    def warnings(self) -> Sequence[str]:
        """Sentences; more come while it runs."""
        ...


class MotionStage(Protocol):
    """What :class:`hmcap.models.streaming.live.LiveMotion` offers."""

    @property
    def together(self) -> bool:
        """Whether several frames at once take less time than one by one."""
        ...

    def push_all(self, proxies: Sequence[Proxies]) -> list[MotionFrame]:
        """Motion of each of the newest frames; more than one where they came faster than their motion."""
        ...


class Sink(Protocol):
    """Takes every captured frame in order; all three methods run on one thread at a time."""

    def open(self, header: TakeHeader) -> None:
        """Called once before the first frame, on the caller's thread; fails where nothing can be written."""
        ...

    def __call__(self, frame: Frame, proxies: Proxies, motion: MotionFrame | None) -> None:
        """One frame; ``motion`` is None where no motion stage runs."""
        ...

    def close(self) -> None:
        """Called once at the end, also after an error."""
        ...


@dataclass(frozen=True, slots=True)
class RunStats:
    """Counts of a run, so far or final."""

    frames: int
    """Frames that passed every stage."""
    seen: int
    """Frames among them with a person in view."""
    dropped: int
    """Frames of a live source that nobody had time for."""
    elapsed_s: float
    """Wall-clock time since the start."""
    busy_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds spent in each stage and, as ``landmarks.NAME``, in each network module."""
    calls: Mapping[str, int] = field(default_factory=dict)
    """How many frames each of them ran on."""
    stopped: bool = False
    """True when the run was asked to stop before the source ended."""

    @property
    def fps(self) -> float:
        """Frames a second over the whole run; 0 before the first."""
        return self.frames / self.elapsed_s if self.elapsed_s > 0 else 0.0

    def stage_fps(self) -> dict[str, float]:
        """Frames a second that each stage alone could do."""
        return {n: self.calls[n] / s for n, s in self.busy_s.items() if s > 0 and self.calls.get(n)}


class CaptureLoop:
    """One run over one source. ``stop`` asks for a clean end; everything captured until then passes all stages."""

    def __init__(
        self,
        source: Source,
        landmarks: LandmarkStage,
        sinks: Sequence[Sink],
        motion: MotionStage | None = None,
    ) -> None:
        self._source, self._landmarks, self._motion = source, landmarks, motion
        self._sinks = tuple(sinks)
        size = 1 if source.live else QUEUE_SIZE
        self._captured: Handover[Frame] = Handover(size, newest_only=source.live)
        self._followed: Handover[tuple[Frame, Seen]] = Handover(1)
        # Live, frames may pile up before the motion only where it takes them all at once.
        self._together = motion is not None and motion.together
        self._measured: Handover[tuple[Frame, Proxies]] = Handover(QUEUE_SIZE if self._together else size)
        self._solved: Handover[tuple[Frame, Proxies, MotionFrame | None]] = Handover(size)
        # A plain flag and not an event: a signal handler sets it, and must never wait for a lock.
        self._stopping = False
        self._finished = threading.Event()
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._busy_s: dict[str, float] = {}
        self._calls: dict[str, int] = {}
        self._frames = self._seen = 0
        self._started = 0.0

    def stop(self) -> None:
        """Stop capturing; what was captured still passes every stage. Safe from signal handlers and other threads."""
        self._stopping = True
        self._source.interrupt()

    def stats(self) -> RunStats:
        """Counts so far."""
        with self._lock:
            elapsed = time.perf_counter() - self._started if self._started else 0.0
            return RunStats(
                self._frames, self._seen, self._captured.dropped, elapsed, dict(self._busy_s), dict(self._calls),
                self._stopping,
            )  # fmt: skip

    def run(
        self, header: TakeHeader, on_tick: Callable[[RunStats], None] | None = None, *, tick_s: float = 0.1
    ) -> RunStats:
        """Open the sinks, run to the end of the source (or ``stop``), close the sinks, and return the counts.

        ``on_tick`` is called on this thread every ``tick_s`` seconds. The first exception of any thread, or one raised
        on this thread meanwhile (a second Ctrl-C), breaks the run off, closes the sinks and is raised from here.
        """
        opened: list[Sink] = []
        threads: list[threading.Thread] = []
        try:
            for sink in self._sinks:
                # Noted first: a sink that fails while opening may hold something to close.
                opened.append(sink)
                sink.open(header)
            self._started = time.perf_counter()
            threads += self._threads()
            with shared_processor():
                for thread in threads:
                    thread.start()
                while not self._finished.wait(tick_s):
                    if on_tick is not None:
                        on_tick(self.stats())
        except BaseException as error:
            self._fail(error)
        finally:
            self._join(threads)
            self._close(opened)
        if self._error is not None:
            raise self._error
        stats = self.stats()
        if on_tick is not None:
            on_tick(stats)
        return stats

    def _threads(self) -> list[threading.Thread]:
        steps = {
            "capture": self._capture,
            "body": self._follow,
            "hands": self._measure,
            "motion": self._solve,
            "sinks": self._give,
        }
        return [
            threading.Thread(target=self._guarded, args=(s,), name=f"hmcap-{n}", daemon=True) for n, s in steps.items()
        ]

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Ended:
            pass
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if self._error is None:
                self._error = error
        self._stopping = True
        for handover in (self._captured, self._followed, self._measured, self._solved):
            handover.break_off()
        self._finished.set()

    def _capture(self) -> None:
        frames = iter(self._source)
        while not self._stopping:
            started = time.perf_counter()
            frame = next(frames, None)
            if frame is None:
                break
            self._note("capture", started)
            self._captured.put(frame)
        self._captured.finish()

    def _follow(self) -> None:
        for frame in _until_ended(self._captured.get):
            started = time.perf_counter()
            seen = self._landmarks.body(frame.image_rgb, frame.index, frame.stamp_s)
            self._note("body", started)
            self._followed.put((frame, seen))
        self._followed.finish()

    def _measure(self) -> None:
        for frame, seen in _until_ended(self._followed.get):
            started = time.perf_counter()
            proxies = self._landmarks.hands(seen)
            self._note("hands", started)
            with self._lock:
                for name, seconds in seen.times_s.items():
                    self._add(f"landmarks.{name}", seconds)
            self._measured.put((frame, proxies))
        self._measured.finish()

    def _solve(self) -> None:
        get = self._measured.get_all if self._together else lambda: [self._measured.get()]
        for measured in _until_ended(get):
            motion: Sequence[MotionFrame | None] = [None] * len(measured)
            if self._motion is not None:
                started = time.perf_counter()
                motion = self._motion.push_all([proxies for _, proxies in measured])
                self._note("motion", started, len(measured))
            for (frame, proxies), solved in zip(measured, motion, strict=True):
                self._solved.put((frame, proxies, solved))
        self._solved.finish()

    def _give(self) -> None:
        for frame, proxies, motion in _until_ended(self._solved.get):
            started = time.perf_counter()
            for sink in self._sinks:
                sink(frame, proxies, motion)
            self._note("sinks", started)
            with self._lock:
                self._frames += 1
                self._seen += proxies.present
        self._finished.set()

    def _note(self, name: str, started: float, frames: int = 1) -> None:
        seconds = time.perf_counter() - started
        with self._lock:
            self._add(name, seconds, frames)

    def _add(self, name: str, seconds: float, frames: int = 1) -> None:
        self._busy_s[name] = self._busy_s.get(name, 0.0) + seconds
        self._calls[name] = self._calls.get(name, 0) + frames

    def _join(self, threads: list[threading.Thread]) -> None:
        until = time.monotonic() + _JOIN_S
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, until - time.monotonic()))
        stuck = [t.name for t in threads if t.is_alive()]
        if stuck and self._error is None:
            # A driver that does not return cannot be interrupted; the threads are daemons and die with the process.
            self._error = HmcapError(
                f"Expected every part of the run to stop within {_JOIN_S:.0f} s; still busy: {', '.join(stuck)}. The "
                "camera or stream does not answer: unplug it or close the program that serves it, then try again."
            )

    def _close(self, sinks: list[Sink]) -> None:
        for sink in reversed(sinks):
            try:
                sink.close()
            except Exception as error:
                # The first error is the cause; a sink that then cannot close either adds nothing.
                if self._error is None:
                    self._error = error


class _Sharing:
    """How many runs share the processor, and what the process's settings were before the first of them."""

    lock = threading.Lock()
    runs = 0
    before: tuple[int, float] = (0, 0.0)


@contextmanager
def shared_processor() -> Iterator[None]:
    """Settings of the process that let stages side by side run freely; as they were once the last run has ended.

    OpenCV's own threads are set aside: its operations here are short. And a stage that waits for the interpreter gets
    it after a millisecond, not five.
    """
    with _Sharing.lock:
        if _Sharing.runs == 0:
            _Sharing.before = cv2.getNumThreads(), sys.getswitchinterval()
        _Sharing.runs += 1
        cv2.setNumThreads(1)
        sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        with _Sharing.lock:
            _Sharing.runs -= 1
            if _Sharing.runs == 0:
                cv2.setNumThreads(_Sharing.before[0])
                sys.setswitchinterval(_Sharing.before[1])


def _until_ended(get: Callable[[], T]) -> Iterator[T]:
    while True:
        try:
            item = get()
        except Ended:
            return
        yield item
