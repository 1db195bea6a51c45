"""Footage as the benchmark needs it: in blocks with a pause between them, or at its own rate like a camera."""

import time
from collections.abc import Callable, Iterator

from ...realtime.frames import Frame, Source


class _Around(Source):
    """A source around another one."""

    def __init__(self, inner: Source) -> None:
        super().__init__(inner.spec, inner.name, inner.window)
        self.inner = inner
        self.width_px, self.height_px = inner.width_px, inner.height_px
        self.fps, self.frame_count, self.metadata = inner.fps, inner.frame_count, inner.metadata

    def __iter__(self) -> Iterator[Frame]:
        return self._frames()

    def interrupt(self) -> None:
        super().interrupt()
        self.inner.interrupt()

    def close(self) -> None:
        self.inner.close()


class BlockSource(_Around):
    """Calls ``between(given)`` before the first frame of every block but the first.

    The first block has ``warm_up`` frames, the others ``block``.
    """

    def __init__(self, inner: Source, warm_up: int, block: int, between: Callable[[int], None]) -> None:
        super().__init__(inner)
        self._warm_up, self._block, self._between = warm_up, block, between

    def _frames(self) -> Iterator[Frame]:
        for given, frame in enumerate(self.inner):
            if given and given >= self._warm_up and (given - self._warm_up) % self._block == 0:
                self._between(given)
            yield frame


class PacedSource(_Around):
    """A file that behaves like a camera: a frame at a time, each at its own stamp, and what is not fetched is lost.

    A frame is due when its stamp has come; it is decoded then, so that decoding counts as part of the delay. When the
    decoder itself cannot keep up, a frame is due when its decoding begins.
    """

    def __init__(self, inner: Source) -> None:
        super().__init__(inner)
        self.live = True
        self.due_s: dict[int, float] = {}
        """Frame number -> when it was due."""

    def _frames(self) -> Iterator[Frame]:
        frames = iter(self.inner)
        began = time.perf_counter()
        first: float | None = None
        due = began
        while True:
            frame = next(frames, None)
            if frame is None:
                return
            first = frame.stamp_s if first is None else first
            self.due_s[frame.index] = due
            yield frame
            scheduled = began + frame.stamp_s - first + 1 / self.fps
            early = scheduled - time.perf_counter()
            if early > 0:
                time.sleep(early)
            due = scheduled if early > 0 else scheduled - early
