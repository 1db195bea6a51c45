"""What live outputs offer beyond a sink, and what those that show the run itself are told of it."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from .loop import RunStats, Sink
from .take import Take


class LiveOutput(Sink, Protocol):
    """A sink that shows or sends the motion. It takes its port or device when it is made, so that one that is not to be
    had is told before anything is captured; it never ends a capture that runs."""

    @property
    def said(self) -> tuple[str, ...]:
        """Lines for the user: where it goes."""
        ...

    def release(self) -> None:
        """Free everything, whether or not it was ever opened. Calling it twice is allowed."""
        ...


@dataclass(frozen=True, slots=True)
class Running:
    """A capture as a live output sees it; every function may be called from any thread."""

    stats: Callable[[], RunStats]
    """Counts so far."""
    stop: Callable[[], None]
    """Ends the capture cleanly, as Ctrl-C does."""
    take: Callable[[], Take]
    """What was captured so far. Reads it anew at each call; raises HmcapError where nothing can be read yet."""


@runtime_checkable
class Watcher(Protocol):
    """What a sink offers that is told about the whole run."""

    def watch(self, running: Running) -> None:
        """The capture is about to start."""
        ...


def release_all(outputs: Iterable[LiveOutput]) -> None:
    """Release each of them, also where another fails to."""
    with ExitStack() as stack:
        for output in outputs:
            stack.callback(output.release)
