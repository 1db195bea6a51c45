"""Live outputs that show more than motion: what they may ask of the run, and what they are told of it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from .loop import RunStats
from .take import Take


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
    """What a sink offers that is told about the whole run and outlives it."""

    @property
    def said(self) -> tuple[str, ...]:
        """What the user is to be told now that it is open."""
        ...

    def watch(self, running: Running) -> None:
        """The capture is about to start."""
        ...

    def release(self) -> None:
        """The run has ended in whatever way: free everything. Calling it twice is allowed."""
        ...


def watchers(sinks: Iterable[object]) -> list[Watcher]:
    """Those of the sinks that watch."""
    return [sink for sink in sinks if isinstance(sink, Watcher)]
