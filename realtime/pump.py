"""An iterator run on a thread of its own, so that whoever waits for it can stop waiting."""

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from .queues import Ended

T = TypeVar("T")


class Pump(Generic[T]):
    """Takes items from an iterator on a daemon thread and keeps up to ``size`` of them.

    A driver or a network that does not answer blocks this thread alone. Nobody can interrupt it there, so the iterator
    must release what it holds by itself (in a ``finally``) once it is closed, which happens on that thread too. With
    ``newest_only`` the oldest item gives way to a new one.
    """

    def __init__(self, items: Iterator[T], name: str, size: int, *, newest_only: bool) -> None:
        self._items, self._size, self._newest_only = items, size, newest_only
        self._kept: deque[T] = deque()
        self._changed = threading.Condition()
        self._over = self._stopping = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def stopping(self) -> bool:
        """Whether the iterator should end."""
        return self._stopping

    def take(self, timeout_s: float) -> T | None:
        """The oldest item; None where none came in time. Raises ``Ended`` after the last, or what the iterator
        raised."""
        with self._changed:
            if not self._kept and not self._over:
                self._changed.wait(timeout_s)
            if self._kept:
                item = self._kept.popleft()
                self._changed.notify_all()
                return item
            if self._error is not None:
                raise self._error
            if self._over:
                raise Ended
            return None

    def stop(self, wait_s: float) -> bool:
        """Ask the thread to end and wait for it so long; whether it did."""
        with self._changed:
            self._stopping = True
            self._kept.clear()
            self._changed.notify_all()
        self._thread.join(wait_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    break
        except BaseException as error:
            self._error = error
        finally:
            close = getattr(self._items, "close", None)
            if close is not None:
                close()
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _put(self, item: T) -> bool:
        with self._changed:
            while len(self._kept) >= self._size and not self._newest_only and not self._stopping:
                self._changed.wait()
            if self._stopping:
                return False
            if len(self._kept) >= self._size:
                self._kept.popleft()
            self._kept.append(item)
            self._changed.notify_all()
            return True
