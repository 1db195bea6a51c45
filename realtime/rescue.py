"""A take that moves on to another folder where it cannot be written any more."""

import contextlib
import os
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ..models.errors import HmcapError
from ..models.motion import MotionFrame
from ..models.proxies import Proxies
from .frames import Frame
from .interrupts import shielded
from .journal import TakeWriter
from .journal_reading import PART_SUFFIX, read_proxies
from .memory import enough_memory
from .player import NO_PICTURE
from .sinks import JournalSink
from .take import TakeHeader

RECENT_FRAMES = 8192
"""Newest frames that are kept in memory, because they may not have reached the file when writing it fails: more than
fit into what waits for a disk (``appending.MAX_WAITING_BYTES``)."""


def other_folders() -> tuple[Path, ...]:
    """Where a take goes on whose folder fails, in the order tried: the home folder, then that for temporary files."""
    found: list[Path] = []
    for find in (Path.home, tempfile.gettempdir):
        with contextlib.suppress(OSError, RuntimeError):  # a user without a home, no folder that can be written to
            found.append(Path(find()))
    return tuple(found)


class SafeJournal:
    """A sink that journals every frame of a take, and takes it to another folder where writing fails: the disk is full,
    or its folder cannot be reached any more. Use it in a ``with`` block, which closes the take.

    The frames are on disk alone, but for the newest: a take that moves is read back from where it was.

    Args:
        writer: the take where it is wanted.
        tell: is given a sentence each time that the take had to move; may be called from the thread of the sinks.

    Every method raises HmcapError where no folder is left; what was written until then is kept.
    """

    def __init__(self, writer: TakeWriter, tell: Callable[[str], None]) -> None:
        self.writer = writer
        """What is written to now."""
        self._journal = JournalSink(writer)
        self._tell = tell
        self._recent: deque[Proxies] = deque(maxlen=RECENT_FRAMES)
        self.frames = 0
        """How many were given."""
        self.seen = 0
        """Frames among them with a person in view."""
        self._left = [folder for folder in other_folders() if folder.resolve() != writer.path.parent.resolve()]

    def proxies(self) -> Sequence[Proxies]:
        """Everything seen so far, in order, read back from the take."""
        if self.writer.closed:
            kept = f"What was captured until then is kept in it: hmcap export {self.path} --to bvh" if self.kept else ""
            raise HmcapError(
                f"Expected to be able to go on writing {self.path}; no folder was left that takes it. {kept}"
            )
        with enough_memory("read the take back", self.frames, "Export it on a computer with more: hmcap export."):
            try:
                return self.writer.read_back()
            except HmcapError as error:
                self._move(error)
                return self.writer.read_back()

    @property
    def path(self) -> Path:
        """The take's file."""
        return self.writer.path

    @property
    def kept(self) -> list[Path]:
        """The take's file, where there is a frame in it."""
        return [self.path] if self.frames and os.path.isfile(self.path) else []

    def open(self, header: TakeHeader) -> None:
        """See :class:`JournalSink`."""
        self._journal.open(header)

    def __call__(self, frame: Frame, proxies: Proxies, motion: MotionFrame | None) -> None:
        self.frames += 1
        self.seen += proxies.present
        self._recent.append(proxies)
        try:
            self._journal(frame, proxies, motion)
        except HmcapError as error:
            self._move(error)  # with this frame

    def close(self) -> None:
        """Bring everything to the disk; the take stays open for the solved motion."""
        with shielded():
            try:
                self._journal.close()
            except HmcapError as error:
                self._move(error)

    def update_header(self, header: TakeHeader) -> None:
        """Write the header again."""
        try:
            self.writer.update_header(header)
        except HmcapError as error:
            self._move(error, header)

    def finish(self, motion: Sequence[MotionFrame], report: Mapping[str, Any]) -> Path:
        """Put the solved motion and the report into the take and close it; returns its file."""
        while True:
            try:
                with shielded():
                    for frame in motion:
                        self.writer.add_motion(frame, 1)
                    self.writer.add_report(report)
                    return self.writer.close()
            except HmcapError as error:
                self._move(error)

    def end(self) -> Path:
        """Close the take as it is, wherever it goes on by now; returns its file."""
        return self.writer.close()

    def discard(self) -> None:
        """Give up the take, as of a person whom nobody saw."""
        self.frames = 0
        self.writer.discard()

    def _move(self, error: HmcapError, header: TakeHeader | None = None) -> None:
        """Go on in the next folder that takes everything so far. Raises ``error`` where there is none."""
        with shielded():
            self._go_on(error, header)

    def _go_on(self, error: HmcapError, header: TakeHeader | None) -> None:
        written = self._written()
        while self._left:
            folder = self._left.pop(0)
            moved: TakeWriter | None = None
            try:
                name = self.path.name.removesuffix(PART_SUFFIX)
                moved = TakeWriter(_unused(folder, name), header or self.writer.header)
                journal = JournalSink(moved)
                for proxies in (*written, *self._recent):
                    journal(Frame(proxies.index, proxies.stamp_s, NO_PICTURE), proxies, None)
                moved.flush()
            except (HmcapError, OSError):
                if moved is not None:
                    with contextlib.suppress(OSError):
                        moved.path.unlink()  # a part of what stands elsewhere already
                continue
            earlier = f" What was written before is still in {self.path}." if os.path.isfile(self.path) else ""
            self.writer, self._journal = moved, journal
            saved = len(written) + len(self._recent)
            holds = "everything from its first frame" if saved >= self.frames else f"its last {saved:,} frames"
            self._tell(
                f"The take could not be written any further: {_cause(error)} It goes on in {moved.path}, which holds "
                f"{holds}.{earlier}"
            )
            return
        raise error

    def _written(self) -> Sequence[Proxies]:
        """Frames older than those in memory, from the take as it was left; none where it cannot be read any more."""
        if self.frames <= len(self._recent):
            return ()
        try:
            with self.path.open("rb") as file:
                frames = read_proxies(file, os.path.getsize(self.path), self.path)
        except (HmcapError, OSError, MemoryError):
            return ()
        oldest = self._recent[0].index
        return frames[: next((row for row, one in enumerate(frames) if one.index >= oldest), len(frames))]

    def __enter__(self) -> "SafeJournal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with shielded():
            self.writer.__exit__(kind, error, trace)


def begin_elsewhere(path: Path, header: TakeHeader, error: HmcapError, tell: Callable[[str], None]) -> TakeWriter:
    """A take that could not be begun at ``path`` because of ``error``, in the next folder that takes it. Raises
    ``error`` where there is none."""
    for folder in other_folders():
        try:
            writer = TakeWriter(_unused(folder, path.name), header)
        except (HmcapError, OSError):
            continue
        tell(f"The take could not be begun in {path.parent}: {_cause(error)} It is in {writer.path}.")
        return writer
    raise error


def _unused(folder: Path, name: str) -> Path:
    path, number = folder / name, 1
    while os.path.exists(path) or os.path.exists(path.with_name(path.name + PART_SUFFIX)):
        number += 1
        path = (folder / name).with_stem(f"{Path(name).stem}-{number}")
    return path


def _cause(error: HmcapError) -> str:
    """What the system said, as a sentence."""
    cause = error.__cause__
    return f"{cause.strerror or cause}." if isinstance(cause, OSError) else str(error)
