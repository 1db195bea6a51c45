"""The pictures of a take's footage on demand: read in the background, newest wish only."""

import contextlib
import dataclasses
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

from ...models.errors import HmcapError
from ..frames import Frame, Source
from ..sources import open_source
from ..take import Take
from .scene import small_jpeg

CACHE_BYTES = 48 << 20
"""Small pictures that are kept, so that a take that loops is decoded once."""
PICTURE_EVERY_S = 1 / 12


class Footage:
    """Gives ``show`` the picture of the frame that was wished for last, as JPEG; None where there is none.

    The footage may be gone: ``missing`` then says why, and nothing is shown.
    """

    def __init__(self, take: Take, show: Callable[[bytes | None], None]) -> None:
        self._take, self._show = take, show
        self._changed = threading.Condition()
        self._wish: int | None = None
        self._stopping = False
        self._source: Source | None = None
        self._frames: Iterator[Frame] = iter(())
        self._next = 0
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._kept_bytes = 0
        self.missing = "it was live" if take.header.live else ""
        """Why there are no pictures; empty while there may be."""
        self._thread = threading.Thread(target=self._work, name="hmcap-footage", daemon=True)
        self._thread.start()

    def want(self, number: int) -> None:
        """Ask for the picture of ``take.motion[number]``; earlier wishes that were not met yet are forgotten."""
        with self._changed:
            self._wish = number
            self._changed.notify()

    def close(self) -> None:
        """End, and close the footage."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        shown: int | None = None
        with contextlib.ExitStack() as stack:
            stack.callback(self._shut)
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._stopping or self._wish is not None)
                    wish, self._wish = self._wish, None
                    if self._stopping:
                        return
                if wish is None or wish == shown or self.missing:
                    continue
                started = time.monotonic()
                try:
                    self._show(self._picture(wish))
                except HmcapError as error:
                    self.missing = str(error)
                    self._show(None)
                shown = wish
                with self._changed:
                    self._changed.wait_for(
                        lambda: self._stopping, timeout=max(0.0, PICTURE_EVERY_S - (time.monotonic() - started))
                    )

    def _picture(self, number: int) -> bytes | None:
        motion = self._take.motion[number]
        if motion.index in self._kept:
            return self._kept[motion.index]
        if self._source is None or motion.index < self._next:
            self._reopen()
        assert self._source is not None
        # Frames before the one that is wanted are decoded, as they must be, but not turned into pictures.
        start_s = max(0.0, motion.stamp_s - 0.5 / self._take.fps)
        self._source.window = dataclasses.replace(self._source.window, start_s=start_s)
        for frame in self._frames:
            self._next = frame.index + 1
            if frame.index >= motion.index:
                picture = small_jpeg(frame.image_rgb)
                self._keep(frame.index, picture)
                return picture
            if self._stopping:
                break
        return None

    def _reopen(self) -> None:
        self._shut()
        spec = self._take.header.source
        # Pictures in a folder carry no rate of their own: they get the one they were captured at.
        source = open_source(spec, fps=self._take.fps if Path(spec).is_dir() else None)
        if source.live:
            source.close()
            raise HmcapError(f"{spec} is live and cannot be read again.")
        self._source, self._frames, self._next = source, iter(source), 0

    def _keep(self, index: int, picture: bytes) -> None:
        self._kept[index] = picture
        self._kept_bytes += len(picture)
        while self._kept_bytes > CACHE_BYTES:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1])

    def _shut(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()
