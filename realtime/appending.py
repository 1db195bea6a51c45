"""Carries what a capture journals to the disk on threads of its own: the capture never waits for the disk.

One thread writes what was given to the file, so that it outlives the process; another waits for the disk, so that it
outlives a power cut. A disk that takes seconds for that holds up neither the writing nor the capture.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import IO

from mcap.writer import Writer

from .disk import sync

log = logging.getLogger(__name__)

WRITE_EVERY_S = 0.25
"""What was given is in the file after this time at the latest, whether or not more follows."""
SYNC_EVERY_S = 0.4
"""From one wait for the disk to the next; both together, and the wait itself, are what a power cut may take."""
MAX_AHEAD_S = 0.5
"""Footage that may be unwritten: a file that is captured faster than it plays waits for its journal."""
MAX_WAITING_BYTES = 32 << 20
"""What may wait in memory for a disk that takes nothing: about a minute and a half of a live capture."""
SLOW_S = 1.0


class Appender:
    """Runs writes in the order in which they were given, and brings them to the disk.

    Args:
        file: what ``writer`` writes to. Nobody else may touch the two until :meth:`stop`.
        writer: its ``flush`` ends a batch of writes.
        ahead: whether frames are live, and must not wait while there is memory to keep them in.
        write_every_s: how long to gather what is written together.
    """

    def __init__(self, file: IO[bytes], writer: Writer, *, ahead: bool, write_every_s: float = WRITE_EVERY_S) -> None:
        self._file, self._writer, self._ahead, self._write_every_s = file, writer, ahead, write_every_s
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Callable[[], object], int, float | None]] = deque()
        self._bytes = 0
        self._given = self._written = self._synced = 0
        self._written_stamp_s: float | None = None
        # Writes that somebody waits for: those up to this number are not gathered any longer.
        self._wanted = 0
        self._stopped = self._told_slow = False
        self._error: Exception | None = None
        self._threads = [
            threading.Thread(target=step, name=f"hmcap-journal-{name}", daemon=True)
            for name, step in (("write", self._write), ("sync", self._sync))
        ]
        for thread in self._threads:
            thread.start()

    def give(self, write: Callable[[], object], size_bytes: int, stamp_s: float | None = None) -> None:
        """Have ``write`` run soon; ``stamp_s`` is the time of the frame that it journals.

        Waits only where too much is unwritten already. Raises what ended the writing, an OSError as a rule.
        """
        with self._changed:
            while self._error is None and self._full(size_bytes, stamp_s):
                self._want(self._given)
                self._changed.wait()
            if self._error is not None:
                raise self._error
            self._waiting.append((write, size_bytes, stamp_s))
            self._bytes += size_bytes
            self._given += 1
            if stamp_s is not None and self._written_stamp_s is None:
                self._written_stamp_s = stamp_s
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until everything given so far is on the disk. Raises what ended the writing, an OSError as a rule."""
        with self._changed:
            given = self._given
            self._want(given)
            self._changed.wait_for(lambda: self._synced >= given or self._error is not None)
            if self._error is not None:
                raise self._error

    def stop(self) -> None:
        """End the threads; what is still unwritten is dropped. The file is the caller's again."""
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _want(self, number: int) -> None:
        self._wanted = max(self._wanted, number)
        self._changed.notify_all()

    def _full(self, size_bytes: int, stamp_s: float | None) -> bool:
        if self._written == self._given:
            return False
        too_far = (
            not self._ahead
            and stamp_s is not None
            and self._written_stamp_s is not None
            and stamp_s - self._written_stamp_s > MAX_AHEAD_S
        )
        return too_far or self._bytes + size_bytes > MAX_WAITING_BYTES

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopped)
                # More comes soon: many frames share a chunk.
                self._changed.wait_for(lambda: self._wanted > self._written or self._stopped, self._write_every_s)
                if self._stopped:
                    return
                items = tuple(self._waiting)
                self._waiting.clear()
            try:
                for write, _, _ in items:
                    write()
                self._writer.flush()
            except Exception as error:  # raised again where more is given
                self._fail(error)
                return
            with self._changed:
                self._written += len(items)
                self._bytes -= sum(size for _, size, _ in items)
                stamps = [stamp_s for _, _, stamp_s in items if stamp_s is not None]
                self._written_stamp_s = stamps[-1] if stamps else self._written_stamp_s
                self._changed.notify_all()

    def _sync(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._written > self._synced or self._stopped)
                if self._stopped:
                    return
                written = self._written
            started = time.monotonic()
            try:
                sync(self._file)
            except Exception as error:  # raised again where more is given
                self._fail(error)
                return
            took_s = time.monotonic() - started
            with self._changed:
                self._synced = written
                self._changed.notify_all()
            if took_s > SLOW_S and not self._told_slow:
                self._told_slow = True
                log.warning(
                    "The disk of the take is slow: it took %.1f s to store what was captured. A power cut now would "
                    "cost as much; the capture itself goes on.",
                    took_s,
                )
            with self._changed:
                # A flush that waits must not wait for the pause too.
                self._changed.wait_for(
                    lambda: self._wanted > self._synced or self._stopped, max(0.0, SYNC_EVERY_S - took_s)
                )

    def _fail(self, error: Exception) -> None:
        # Whatever ended the writing, the take is as little to be written as on a full disk.
        failed = error if isinstance(error, OSError) else OSError(f"{type(error).__name__}: {error}")
        with self._changed:
            self._error = self._error or failed
            self._changed.notify_all()
