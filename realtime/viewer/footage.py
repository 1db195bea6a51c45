"""The pictures of a take's footage: read in the background, ahead of a player that plays."""

import contextlib
import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ...models.errors import HmcapError
from ..frames import Frame, Source
from ..named_by_takes import named_footage
from ..sources import open_source
from ..take import Take
from .scene import small_jpeg

CACHE_BYTES = 48 << 20
"""Small pictures that are kept, so that a take that loops is decoded once."""
PICTURES_PER_S = 12
"""Pictures that are made ahead of a take that plays."""
AHEAD_S = 0.6
"""How far ahead of it, in seconds on the wall."""


class Footage:
    """The pictures of a take's frames as JPEG: ahead of the player while it plays, so that each can be shown together
    with the pose of its moment; else the one that was wished for last, given to ``show`` (None where there is none).

    The footage may be gone: ``missing`` then says why, and nothing is shown.
    """

    def __init__(self, take: Take, show: Callable[[bytes | None], None]) -> None:
        self._take, self._show = take, show
        self._stamps_s = np.array([m.stamp_s for m in take.motion])
        self._changed = threading.Condition()
        self._wish = -1
        self._due: list[int] = []
        self._stopping = False
        self._source: Source | None = None
        self._frames: Iterator[Frame] = iter(())
        self._next = 0
        self._kept: OrderedDict[int, bytes | None] = OrderedDict()
        self._kept_bytes = 0
        self.missing = "it was live" if take.header.live else ""
        """Why there are no pictures; empty while there may be."""
        self._thread = threading.Thread(target=self._work, name="hmcap-footage", daemon=True)
        self._thread.start()

    def want(self, number: int, speed: float = 0.0) -> bytes | None:
        """The picture of ``take.motion[number]`` where it is there already.

        Where not, it is made: at once and given to ``show`` for a player that stands still (``speed`` 0); else those of
        the next moments at that speed are. Earlier wishes that were not met are forgotten.
        """
        due = self.moments(number, speed) if speed > 0 else [number]
        with self._changed:
            self._wish, self._due = number, due
            self._changed.notify()
            return self._kept.get(self._take.motion[number].index)

    def moments(self, number: int, speed: float) -> list[int]:
        """Places in ``take.motion`` of the frames whose pictures are shown next, after ``number``, at that speed."""
        until = number + 1 + max(1, round(AHEAD_S * speed * self._take.fps))
        step = np.floor(self._stamps_s[number:until] * (PICTURES_PER_S / speed) + 1e-6)
        return (number + 1 + np.flatnonzero(np.diff(step))).tolist()

    def close(self) -> None:
        """End, and close the footage."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self._shut)
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._stopping or self._to_do() is not None)
                    number = self._to_do()
                if self._stopping or number is None:
                    return
                try:
                    picture = self._picture(number)
                except HmcapError as error:
                    self.missing = str(error)
                    self._show(None)
                    continue
                with self._changed:
                    self._keep(self._take.motion[number].index, picture)
                    # On time, it goes out with its pose; too late, it is still newer than the one on show.
                    too_late = number <= self._wish
                if too_late:
                    self._show(picture)

    def _to_do(self) -> int | None:
        """The place in the take whose picture is made next; None while there is nothing to do."""
        return next((n for n in self._due if not self.missing and self._take.motion[n].index not in self._kept), None)

    def _picture(self, number: int) -> bytes | None:
        motion = self._take.motion[number]
        if self._source is None or motion.index < self._next:
            self._reopen()
        assert self._source is not None
        # Frames before the one that is wanted are decoded, as they must be, but not turned into pictures.
        start_s = max(0.0, motion.stamp_s - 0.5 / self._take.fps)
        self._source.window = dataclasses.replace(self._source.window, start_s=start_s)
        for frame in self._frames:
            self._next = frame.index + 1
            if frame.index >= motion.index:
                return small_jpeg(frame.image_rgb)
            if self._stopping:
                break
        return None

    def _reopen(self) -> None:
        self._shut()
        spec = named_footage(self._take.header)
        # Pictures in a folder carry no rate of their own: they get the one they were captured at.
        source = open_source(spec, fps=self._take.fps if Path(spec).is_dir() else None)
        if source.live:
            source.close()
            raise HmcapError(f"{spec} is live and cannot be read again.")
        self._source, self._frames, self._next = source, iter(source), 0

    def _keep(self, index: int, picture: bytes | None) -> None:
        self._kept[index] = picture
        self._kept_bytes += len(picture or b"")
        while self._kept_bytes > CACHE_BYTES:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1] or b"")

    def _shut(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()
