"""Many frames in little room: the frames of a long take as stacked arrays, which read like a tuple of frames.

A frame of its own costs a dozen Python objects and three times the bytes of its numbers. Here the frames of a block lie
in one array for each field; a frame is made when it is asked for, its arrays being read-only views of the block. Values
and types come back exactly as they were given.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any, Generic, TypeVar, overload

import numpy as np

from .motion import MotionFrame
from .proxies import Proxies

F = TypeVar("F", Proxies, MotionFrame)

BLOCK_FRAMES = 512
"""Frames stacked together; as many at most wait as objects while a take is stacked."""
_SCALARS: dict[type, type[np.generic]] = {bool: np.bool_, int: np.int64, float: np.float64}


class Stacked(Sequence[F], Generic[F]):
    """Frames in a fixed order. Indexing gives a frame, slicing a tuple of frames; made by :class:`Stacker`."""

    def __init__(self, blocks: "Sequence[_Block[F]]", count: int, order: np.ndarray | None = None) -> None:
        self._blocks, self._count, self._order = tuple(blocks), count, order

    @classmethod
    def of(cls, frames: Iterable[F]) -> "Stacked[F]":
        """The same frames in the same order; ``frames`` are taken one by one."""
        if isinstance(frames, Stacked):
            return frames
        stacker = Stacker[F]()
        for frame in frames:
            stacker.add(frame)
        return stacker.stacked()

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> F: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[F, ...]: ...
    def __getitem__(self, at: int | slice) -> F | tuple[F, ...]:
        if isinstance(at, slice):
            return tuple(self._frame(i) for i in range(*at.indices(self._count)))
        if not -self._count <= at < self._count:
            raise IndexError(f"frame {at} of {self._count}")
        return self._frame(at % self._count)

    def __iter__(self) -> Iterator[F]:
        return (self._frame(i) for i in range(self._count))

    def _frame(self, at: int) -> F:
        row = at if self._order is None else int(self._order[at])
        return self._blocks[row // BLOCK_FRAMES].frame(row % BLOCK_FRAMES)


class Stacker(Generic[F]):
    """Collects frames as they come."""

    def __init__(self) -> None:
        self._blocks: list[_Block[F]] = []
        self._waiting: list[F] = []
        self._index: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self._blocks) * BLOCK_FRAMES + len(self._waiting)

    def add(self, frame: F) -> None:
        """One frame more."""
        self._waiting.append(frame)
        if len(self._waiting) == BLOCK_FRAMES:
            self._stack()

    def stacked(self) -> Stacked[F]:
        """All frames so far, in the order in which they came. Add nothing afterwards."""
        count = len(self)
        if self._waiting:
            self._stack()
        return Stacked(self._blocks, count)

    def by_number(self) -> Stacked[F]:
        """All frames so far by rising frame number, of those with the same number the last. Add nothing afterwards."""
        frames = self.stacked()
        number = np.concatenate(self._index) if self._index else np.zeros(0, np.int64)
        if (np.diff(number) > 0).all():
            return frames
        _, from_the_end = np.unique(number[::-1], return_index=True)
        return Stacked(self._blocks, len(from_the_end), len(number) - 1 - from_the_end)

    def _stack(self) -> None:
        self._blocks.append(_Block(self._waiting))
        self._index.append(np.array([frame.index for frame in self._waiting], np.int64))
        self._waiting = []


class ByNumber(Generic[F]):
    """Frames found by their frame number, without a frame kept for each."""

    def __init__(self, frames: Sequence[F]) -> None:
        self._frames = frames
        self._row = {frame.index: row for row, frame in enumerate(frames)}

    def get(self, number: int) -> F | None:
        """The frame of that number, None where there is none."""
        row = self._row.get(number)
        return None if row is None else self._frames[row]


class _Block(Generic[F]):
    """Up to BLOCK_FRAMES frames: for each field the stacked values, or the one value that all share."""

    def __init__(self, frames: Sequence[F]) -> None:
        self._kind = type(frames[0])
        self._columns = [_Column([getattr(frame, f.name) for frame in frames]) for f in fields(frames[0])]

    def frame(self, row: int) -> F:
        return self._kind(*[column.at(row) for column in self._columns])


class _Column:
    """One field of a block."""

    def __init__(self, values: list[Any]) -> None:
        first = values[0]
        self._shared, self._values, self._scalar = False, values, False
        if isinstance(first, np.ndarray):
            if all(isinstance(v, np.ndarray) and v.dtype == first.dtype and v.shape == first.shape for v in values):
                self._values = np.stack(values)
                self._values.flags.writeable = False
        elif all(type(v) is type(first) for v in values):
            if type(first) in _SCALARS:
                self._values, self._scalar = np.array(values, _SCALARS[type(first)]), True
            elif all(v == first for v in values):
                self._shared, self._values = True, first

    def at(self, row: int) -> Any:
        if self._shared:
            return self._values
        return self._values[row].item() if self._scalar else self._values[row]
