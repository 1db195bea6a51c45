"""How a capture ends that does not end well: what failed, and what is kept of it."""

from collections.abc import Sequence
from pathlib import Path

from ..models.errors import HmcapError
from .interrupts import shielded
from .loop import Sink
from .rescue import SafeJournal


class CaptureFailedError(HmcapError):
    """A capture that ended by an error, whose takes are closed."""

    @classmethod
    def of(cls, error: Exception, stage: str) -> "CaptureFailedError":
        """``error`` came from ``stage`` of the capture; what is no HmcapError is a fault of the program."""
        if isinstance(error, HmcapError):
            return cls(str(error))
        where = f"The part of hmcap named {stage!r}" if stage else "hmcap"
        return cls(
            f"{where} failed, which it never should: {type(error).__name__}: {error}. Please report this with what the "
            "same command prints with --debug."
        )

    def with_kept(self, kept: Sequence[Path]) -> "CaptureFailedError":
        """The same with where the takes are."""
        if not kept or str(kept[0]) in str(self):
            return self
        return CaptureFailedError(
            f"{self} What was captured until then is kept in {', '.join(map(str, kept))}: hmcap export {kept[0]} --to "
            "bvh"
        )


def closed(journals: Sequence[SafeJournal]) -> list[Path]:
    """Close takes that a run broke off; the files of those that hold a frame. An empty one is given up."""
    kept: list[Path] = []
    for journal in journals:
        if not journal.frames:
            journal.discard()
            continue
        try:
            with shielded():
                kept.append(journal.writer.close())
        except HmcapError:
            # The run has an error to tell already; the path of what is left is told with it.
            kept += journal.kept
    return kept


def aside(sink: Sink, error: Exception) -> str:
    """That the capture goes on without a sink."""
    why = str(error) if isinstance(error, HmcapError) else f"{type(error).__name__}: {error}"
    return f"{type(sink).__name__} failed, and the capture went on without it: {why.rstrip('. ')}."
