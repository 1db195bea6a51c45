"""What the user sees while a run lasts: a bar on a terminal, plain lines elsewhere, nothing when asked to be quiet."""

import contextlib
import sys
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

PIPE_WIDTH = 240
"""Columns where there is no terminal: a file or a pipe has no width, and nothing may be folded for it."""
LINE_EVERY_S = 5.0
"""Time between plain lines where there is no terminal."""


def printable(text: str) -> str:
    """The text without control characters, which could move a terminal's cursor or break a page: names in files may
    hold any."""
    return "".join(c if c.isprintable() else "?" for c in text)


class Stdout:
    """Stdout as it is at the time, which may go away: a terminal that was closed, a reader that has ended (``| head``).
    What nobody can read is no reason to end a capture."""

    def write(self, text: str) -> int:
        """Write, or not where nobody reads."""
        try:
            return _stdout().write(text)
        except (OSError, ValueError):  # gone, or closed in this program
            return len(text)

    def flush(self) -> None:
        """Bring out what was written, if anybody reads."""
        with contextlib.suppress(OSError, ValueError):
            _stdout().flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(_stdout(), name)


def _stdout() -> Any:
    # while a bar is shown, rich stands in the place of stdout: what it stands for
    return getattr(sys.stdout, "rich_proxied_file", sys.stdout)


def open_console(quiet: bool = False) -> Console:
    """Console on stdout, as wide as the terminal, or wide enough for any table where there is none."""
    file: Any = Stdout()
    console = Console(file=file, quiet=quiet, highlight=False)
    return console if console.is_terminal else Console(file=file, quiet=quiet, highlight=False, width=PIPE_WIDTH)


class Display:
    """Prints for one run. ``show`` False keeps silent; the console is stdout's unless one is given."""

    def __init__(self, show: bool = True, console: Console | None = None) -> None:
        self._console = console or open_console(quiet=not show)

    @property
    def show(self) -> bool:
        """Whether anything is printed."""
        return not self._console.quiet

    def say(self, text: str) -> None:
        """One line."""
        self._console.print(text, markup=False, soft_wrap=True)

    def table(self, title: str, rows: Iterable[tuple[str, str]]) -> None:
        """A short two-column table."""
        rows = list(rows)
        if not self._console.is_terminal:
            width = max((len(name) for name, _ in rows), default=0)
            for line in (title, *(f"{name:<{width}}  {value}" for name, value in rows)):
                self.say(line)
            return
        table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
        table.add_column(no_wrap=True, style="bold")
        table.add_column(overflow="fold")
        for name, value in rows:
            table.add_row(name, value.replace("[", r"\["))
        self._console.print(table)

    def stage(self, title: str, total: int | None) -> "StageProgress":
        """Progress of one long step; use in a ``with`` block."""
        return StageProgress(self._console, title, total)


class StageProgress:
    """Progress of one step: ``update`` as often as convenient."""

    def __init__(self, console: Console, title: str, total: int | None) -> None:
        self._console, self._title, self._total = console, title, total
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._started = self._last_line = time.monotonic()
        self._done = 0

    def update(self, done: int, total: int | None = None, note: str = "") -> None:
        """``done`` of ``total`` are finished; ``note`` is shown behind."""
        self._done = done
        self._total = total if total is not None else self._total
        rate = done / max(1e-9, time.monotonic() - self._started)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=self._total, rate=f"{rate:.1f} fps", note=note)
        elif not self._console.quiet and time.monotonic() - self._last_line >= LINE_EVERY_S:
            self._last_line = time.monotonic()
            self._console.print(self._line(rate, note), markup=False, soft_wrap=True)

    def _line(self, rate: float, note: str = "") -> str:
        left = ""
        if self._total and rate > 0:
            left = f", {max(0.0, (self._total - self._done) / rate):.0f} s left"
        of = f"/{self._total}" if self._total else ""
        return f"{self._title}: {self._done}{of} frames, {rate:.1f} fps{left}" + (f", {note}" if note else "")

    def __enter__(self) -> "StageProgress":
        self._started = self._last_line = time.monotonic()
        if self._console.is_terminal and not self._console.quiet:
            columns = (
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total}"),
                TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
            )  # fmt: skip
            self._bar = Progress(*columns, console=self._console)
            self._task = self._bar.add_task(self._title, total=self._total, rate="", note="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif not self._console.quiet and kind is None:
            rate = self._done / max(1e-9, time.monotonic() - self._started)
            self._console.print(f"{self._title}: {self._done} frames, {rate:.1f} fps", markup=False, soft_wrap=True)
