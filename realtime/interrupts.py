"""Signals: a first Ctrl-C that asks, a second that breaks off, and those of the system that end everything.

SIGINT (Ctrl-C) first asks for a clean end where there is something to end cleanly, and breaks off when it comes again.
SIGTERM, SIGHUP and SIGBREAK come from a system that shuts down or a terminal that closes: they leave time for what is
on its way and for nothing else.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

LEAVING = tuple(int(getattr(signal, n)) for n in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, n))
"""Signals that end the run at once, whatever it does. Which there are depends on the system."""
PASSES_S = 0.8
"""For so long after one of them, what was read may still pass all stages."""


class Stopped(KeyboardInterrupt):
    """A signal broke off what ran."""

    def __init__(self, text: str = "", number: int = signal.SIGINT) -> None:
        super().__init__(*([text] if text else []))
        self.number = int(number)
        """The signal."""


def exit_code_of(interrupt: BaseException) -> int:
    """128 and the number of the signal, as shells have it: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP."""
    found: BaseException | None = interrupt
    while found is not None:
        if isinstance(found, Stopped):
            return 128 + found.number
        found = found.__cause__
    return 128 + int(signal.SIGINT)


def stopped_at_once(kept: Sequence[Path], interrupt: BaseException | None = None) -> Stopped:
    """What a capture that was broken off raises; ``kept``: its takes; ``interrupt``: what broke it off."""
    number = signal.SIGINT if interrupt is None else exit_code_of(interrupt) - 128
    if not kept:
        return Stopped("stopped before anything was captured.", number)
    takes = ", ".join(map(str, kept))
    return Stopped(
        f"stopped at once. What was captured is kept in {takes}; to go on: hmcap export {kept[0]} --to bvh", number
    )


class Interrupts:
    """While open, the first SIGINT calls ``ask``, if one is set; a further one, or one of LEAVING, raises ``Stopped``.

    Where ``ask`` is set, nothing is raised out of the blue, but by :meth:`check` and :meth:`settle`, so that whoever
    asks can be in the middle of anything. Once it was raised, further signals change nothing: the run ends already.
    With ``patient``, every signal calls ``ask`` and nothing is raised: for ends that are quick and sure. One that is
    opened while another is takes its place; within a patient one it begins as asked where that was. Does nothing
    outside the main thread, where Python has no signals.
    """

    def __init__(self, patient: bool = False) -> None:
        self.patient = patient
        self.ask: Callable[[], None] | None = None
        """What a signal does instead of breaking off; set while there is something to stop cleanly. It runs in the
        signal handler and must take no locks."""
        self.asked = False
        """Whether a signal has come."""
        self.ended = False
        """Whether a signal has ended what ran; further ones change nothing."""
        self.held = 0
        """How many :func:`shielded` blocks are open."""
        self._due: tuple[int, float] | None = None
        self._before: dict[int, Any] = {}

    def handle(self, number: int, frame: FrameType | None = None) -> None:
        """The signal handler."""
        _Process.heard += 1
        if self.ended:
            return
        first, self.asked = not self.asked, True
        if self.ask is not None:
            self.ask()
        if self.ask is not None and self.patient:
            _Process.ends_with = 0
        elif self.ask is None and not self.held:
            self._end(number)
        elif self.ask is None or not first or number in LEAVING:
            now = time.monotonic()
            lasts = self.ask is not None and self._due is None and number in LEAVING
            self._due = (number if self._due is None else self._due[0], now + PASSES_S if lasts else now)
            _Process.ends_with = 128 + self._due[0]

    def check(self) -> None:
        """Raise ``Stopped`` where a signal has broken off the run and the time for what was on its way is over."""
        if self._due is not None and time.monotonic() >= self._due[1]:
            self._end(self._due[0])

    def settle(self) -> None:
        """What ``ask`` asks has ended: from here on a signal breaks off by itself. Raises ``Stopped`` where one has."""
        self.ask = None
        if self._due is not None:
            self._end(self._due[0])

    def _end(self, number: int) -> None:
        self.ended = True
        _Process.ends_with = 128 + number
        raise Stopped(number=number)

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            for number in (int(signal.SIGINT), *LEAVING):
                before = signal.getsignal(number)
                # nohup and the like: who had it ignored wants the run to outlive the terminal
                if number not in LEAVING or before != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self.handle)
            if _Process.open and _Process.open[-1].patient:
                self.asked = _Process.open[-1].asked
            _Process.open.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self not in _Process.open:
            return
        _Process.open.remove(self)
        for number, handler in self._before.items():
            # None stands for a handler that was not set from Python; the default is the nearest to it.
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        if _Process.open:  # what has ended in here ends out there too
            _Process.open[-1].ended |= self.ended or (self.patient and self.asked)
        else:
            _Process.ends_with = None


class _Process:
    """What all of the process needs to know about signals."""

    open: list[Interrupts] = []  # noqa: RUF012  # one for all
    ends_with: int | None = None
    heard = 0
    last_acts: list[Callable[[], Path]] = []  # noqa: RUF012


def newest() -> Interrupts | None:
    """The ``Interrupts`` that signals reach now."""
    return _Process.open[-1] if _Process.open else None


def ends_with() -> int | None:
    """The exit code of a process that a signal is ending; None while none does."""
    return _Process.ends_with


def heard_signals() -> int:
    """How many signals the main thread has handled so far."""
    return _Process.heard


def last_acts() -> list[Callable[[], Path]]:
    """See :func:`if_stuck`."""
    return list(_Process.last_acts)


@contextmanager
def shielded() -> Iterator[None]:
    """A short step that no signal cuts in two, such as giving a file its name: one that comes waits for its end."""
    interrupts = newest() if threading.current_thread() is threading.main_thread() else None
    if interrupts is None:
        yield
        return
    interrupts.held += 1
    try:
        yield
    finally:
        interrupts.held -= 1
    if not interrupts.held and interrupts.ask is None:
        interrupts.check()


@contextmanager
def if_stuck(act: Callable[[], Path]) -> Iterator[None]:
    """A long step of the main thread. Where a signal ends the process and the step does not give way, ``act`` is called
    from another thread as the last of all; it closes a file that the step does not touch, and returns its path."""
    _Process.last_acts.append(act)
    try:
        yield
    finally:
        _Process.last_acts.remove(act)
