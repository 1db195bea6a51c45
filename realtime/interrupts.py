"""Ctrl-C that first asks and then breaks off."""

import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any


def stopped_at_once(kept: Sequence[Path]) -> KeyboardInterrupt:
    """What a capture that was broken off raises; ``kept``: its takes."""
    if not kept:
        return KeyboardInterrupt("stopped before anything was captured.")
    takes = ", ".join(map(str, kept))
    return KeyboardInterrupt(
        f"stopped at once. What was captured is kept in {takes}; to go on: hmcap export {kept[0]} --to bvh"
    )


class Interrupts:
    """While open, the first SIGINT or SIGTERM calls ``ask``, if one is set; every further one raises KeyboardInterrupt.

    With ``patient``, every one calls ``ask``: for ends that are quick and sure, and signals that may come twice.
    Without an ``ask`` the first one raises already. Does nothing outside the main thread, where Python has no signals.
    """

    def __init__(self, patient: bool = False) -> None:
        self._patient = patient
        self.ask: Callable[[], None] | None = None
        """What a first signal does instead of breaking off; set while there is something to stop cleanly."""
        self.asked = False
        """Whether a signal has come."""
        self._before: dict[int, Any] = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        first, self.asked = not self.asked, True
        if (first or self._patient) and self.ask is not None:
            self.ask()
            return
        raise KeyboardInterrupt

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            # None stands for a handler that was not set from Python; the default is the nearest to it.
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
