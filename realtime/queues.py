"""Bounded hand-over of items from one thread to the next."""

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Ended(Exception):
    """Nothing more comes, or the run was broken off."""


class Handover(Generic[T]):
    """A bounded queue between two threads that can be finished by its giver and broken off by anybody.

    ``newest_only`` makes it lossy: ``put`` never waits, the oldest item gives way, and ``dropped`` counts.
    """

    def __init__(self, size: int, *, newest_only: bool = False) -> None:
        self._items: deque[T] = deque()
        self._size, self._newest_only = size, newest_only
        self._changed = threading.Condition()
        self._finished = self._broken = False
        self.dropped = 0

    def put(self, item: T) -> None:
        """Give an item, waiting for room. Raises ``Ended`` after ``break_off``, and after ``finish`` by another."""
        with self._changed:
            while not self._over and not self._newest_only and len(self._items) >= self._size:
                self._changed.wait()
            if self._over:
                raise Ended
            if len(self._items) >= self._size:
                self._items.popleft()
                self.dropped += 1
            self._items.append(item)
            self._changed.notify_all()

    def get(self) -> T:
        """Take the oldest item, waiting for one. Raises ``Ended`` when no more will come."""
        with self._changed:
            while not self._items and not self._finished and not self._broken:
                self._changed.wait()
            if self._broken or not self._items:
                raise Ended
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def get_all(self) -> list[T]:
        """Take all items that are there, oldest first, waiting for one. Raises ``Ended`` when no more will come."""
        with self._changed:
            items = [self.get()]
            items += self._items
            self._items.clear()
            self._changed.notify_all()
            return items

    @property
    def _over(self) -> bool:
        return self._broken or self._finished

    def finish(self) -> None:
        """Nothing more is given; what is queued can still be taken."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def break_off(self) -> None:
        """Drop everything: both ends get ``Ended`` at once."""
        with self._changed:
            self._broken = True
            self._items.clear()
            self._changed.notify_all()
