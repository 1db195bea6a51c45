"""The capture loop: capture -> body -> hands -> motion -> sinks, one thread each, joined by bounded queues.

The stages are plain objects; this module only wires them. A live source keeps only its newest frame and counts what it
drops; a file never drops. A sink that fails is set aside and the others go on. An exception in any other stage ends the
run: what had passed that stage still reaches the sinks, they are closed, and the exception reaches the caller.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from ..engines.base import Engine
from ..models.motion import MotionFrame
from ..models.proxies import Proxies
from .frames import Frame, Source
from .processor import shared_processor
from .queues import Ended, Handover
from .take import TakeHeader

T = TypeVar("T")

STAGES = ("capture", "body", "hands", "motion", "sinks")
"""The parts of a run, a thread each."""
QUEUE_SIZE = 3
"""Frames waiting between two stages of a file run."""
QUEUE_BYTES = 300 << 20
"""Their pictures take no more; one of 4K takes 25 MB, one of 8K 100."""
_READ_S = 0.8
"""For so long after ``stop`` the source may still be busy with a frame; then the run goes on without it."""
_DRAIN_S = 0.8
"""For so long after a stage failed, what had passed it may take to reach the sinks."""
_JOIN_S = 0.6
"""For so long a run that has ended waits for its threads."""


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


def queue_size(width_px: int, height_px: int) -> int:
    """Pictures of that size that may wait between two stages."""
    return max(1, min(QUEUE_SIZE, QUEUE_BYTES // (2 * 3 * width_px * height_px)))


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
        size = 1 if source.live else queue_size(source.width_px, source.height_px)
        self._captured: Handover[Frame] = Handover(size, newest_only=source.live)
        self._followed: Handover[tuple[Frame, Seen]] = Handover(1)
        # Live, frames may pile up before the motion only where it takes them all at once.
        self._together = motion is not None and motion.together
        self._measured: Handover[tuple[Frame, Proxies]] = Handover(QUEUE_SIZE if self._together else size)
        self._solved: Handover[tuple[Frame, Proxies, MotionFrame | None]] = Handover(size)
        self._handovers: list[Handover[Any]] = [self._captured, self._followed, self._measured, self._solved]
        # A plain flag and not an event: a signal handler sets it, and must never wait for a lock.
        self._stopping = False
        self._finished = threading.Event()
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._busy_s: dict[str, float] = {}
        self._calls: dict[str, int] = {}
        self._frames = self._seen = 0
        self._started = self._stopped_s = self._failed_s = 0.0
        self._threads: dict[str, threading.Thread] = {}
        self._alone = False  # whether the run goes on without its source
        self.failed_stage = ""
        """The stage that the error came from: capture, body, hands, motion or sinks; empty for the caller's thread."""
        self.set_aside: list[tuple[Sink, Exception]] = []
        """Sinks that failed, and with what, in that order; the run went on without them. May be read at any time."""

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

    @property
    def stuck(self) -> list[str]:
        """Stages that have not returned though the run has ended: a driver that does not answer cannot be interrupted.
        Their threads die with the process; until then, nothing that they use may be closed."""
        return [name for name, thread in self._threads.items() if thread.is_alive()]

    def run(
        self, header: TakeHeader, on_tick: Callable[[RunStats], None] | None = None, *, tick_s: float = 0.1
    ) -> RunStats:
        """Open the sinks, run to the end of the source (or ``stop``), close the sinks, and return the counts.

        ``on_tick`` is called on this thread every ``tick_s`` seconds. The first exception of any stage, or one raised
        on this thread meanwhile (a second Ctrl-C), ends the run, closes the sinks and is raised from here. One of a
        sink is only noted in ``set_aside``, unless it cannot be opened or none is left.
        """
        opened: list[Sink] = []
        try:
            for sink in self._sinks:
                # Noted first: a sink that fails while opening may hold something to close.
                opened.append(sink)
                sink.open(header)
            self._started = time.perf_counter()
            with shared_processor():
                self._start()
                while not self._finished.wait(tick_s):
                    self._hurry()
                    if on_tick is not None:
                        on_tick(self.stats())
        except BaseException as error:
            self._break_off(error)
        finally:
            self._join()
            self._close(opened)
        if self._error is not None:
            raise self._error
        stats = self.stats()
        if on_tick is not None:
            on_tick(stats)
        return stats

    def _start(self) -> None:
        steps = (self._capture, self._follow, self._measure, self._solve, self._give)
        for number, (name, step) in enumerate(zip(STAGES, steps, strict=True)):
            thread = threading.Thread(target=self._guarded, args=(number, step), name=f"hmcap-{name}", daemon=True)
            thread.start()
            self._threads[name] = thread

    def _guarded(self, number: int, step: Callable[[], None]) -> None:
        try:
            step()
        except Ended:
            pass
        except BaseException as error:
            with self._lock:
                if self._error is None:
                    self._error, self.failed_stage = error, STAGES[number]
            self._failed_s = time.monotonic()
            self.stop()
            for handover in self._handovers[:number]:
                handover.break_off()
        finally:
            # What passed this stage still reaches the sinks.
            if number < len(self._handovers):
                self._handovers[number].finish()
            else:
                self._finished.set()

    def _hurry(self) -> None:
        """Go on without a source that does not return, and break off where the rest does not come through."""
        now_s = time.monotonic()
        if self._stopping:
            self._stopped_s = self._stopped_s or now_s
            if now_s - self._stopped_s > _READ_S and self._threads["capture"].is_alive() and not self._alone:
                self._alone = True
                self._captured.finish()
        if self._failed_s and now_s - self._failed_s > _DRAIN_S:
            self._end_all()

    def _break_off(self, error: BaseException) -> None:
        with self._lock:
            if self._error is None:
                self._error = error
        self.stop()
        self._end_all()

    def _end_all(self) -> None:
        for handover in self._handovers:
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

    def _follow(self) -> None:
        for frame in _until_ended(self._captured.get):
            started = time.perf_counter()
            seen = self._landmarks.body(frame.image_rgb, frame.index, frame.stamp_s)
            self._note("body", started)
            self._followed.put((frame, seen))

    def _measure(self) -> None:
        for frame, seen in _until_ended(self._followed.get):
            started = time.perf_counter()
            proxies = self._landmarks.hands(seen)
            self._note("hands", started)
            with self._lock:
                for name, seconds in seen.times_s.items():
                    self._add(f"landmarks.{name}", seconds)
            self._measured.put((frame, proxies))

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

    def _give(self) -> None:
        working: Sequence[Sink] = self._sinks
        for frame, proxies, motion in _until_ended(self._solved.get):
            started = time.perf_counter()
            working = self._give_each(working, frame, proxies, motion)
            self._note("sinks", started)
            with self._lock:
                self._frames += 1
                self._seen += proxies.present

    def _give_each(
        self, working: Sequence[Sink], frame: Frame, proxies: Proxies, motion: MotionFrame | None
    ) -> Sequence[Sink]:
        """Those of the sinks that took the frame. Raises what the last of all failed with."""
        still: list[Sink] = []
        for sink in working:
            try:
                sink(frame, proxies, motion)
            except Exception as error:  # whatever it is: what the other sinks keep must not suffer from it
                self.set_aside.append((sink, error))
                if len(self.set_aside) == len(self._sinks):
                    raise
            else:
                still.append(sink)
        return still

    def _note(self, name: str, started: float, frames: int = 1) -> None:
        seconds = time.perf_counter() - started
        with self._lock:
            self._add(name, seconds, frames)

    def _add(self, name: str, seconds: float, frames: int = 1) -> None:
        self._busy_s[name] = self._busy_s.get(name, 0.0) + seconds
        self._calls[name] = self._calls.get(name, 0) + frames

    def _join(self) -> None:
        until = time.monotonic() + _JOIN_S
        for name, thread in self._threads.items():
            if name != "capture" or not self._alone:  # that one has had its time
                thread.join(max(0.0, until - time.monotonic()))

    def _close(self, sinks: list[Sink]) -> None:
        for sink in reversed(sinks):
            try:
                sink.close()
            except Exception as error:
                # One that is set aside has told why; and after an error, that is the cause.
                if self._error is None and all(sink is not other for other, _ in self.set_aside):
                    self.set_aside.append((sink, error))


def _until_ended(get: Callable[[], T]) -> Iterator[T]:
    while True:
        try:
            item = get()
        except Ended:
            return
        yield item
