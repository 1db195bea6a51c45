"""A file played at its own rate, for outputs that are watched while it is captured."""

import time
from collections.abc import Callable, Iterator

from .frames import Frame, Source


class Paced(Source):
    """A source whose frames come no sooner than their stamps say. Nothing is dropped: a machine that is too slow falls
    behind, and the rest follows as fast as it can."""

    def __init__(
        self,
        source: Source,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(source.spec, source.name, source.window)
        self._source, self._clock, self._sleep = source, clock, sleep
        self.width_px, self.height_px = source.width_px, source.height_px
        self.fps, self.frame_count, self.live = source.fps, source.frame_count, source.live
        self.metadata, self.warnings = source.metadata, source.warnings

    def _frames(self) -> Iterator[Frame]:
        due_s: float | None = None
        for frame in self._source:
            # A frame that is late moves all that follow, so that none of them has to catch up.
            now_s = self._clock() - frame.stamp_s
            due_s = now_s if due_s is None else max(due_s, now_s)
            if due_s > now_s:
                self._sleep(due_s - now_s)
            yield frame

    def interrupt(self) -> None:
        """Ask the source to end soon."""
        super().interrupt()
        self._source.interrupt()

    def close(self) -> None:
        """Release the source."""
        self._source.close()
