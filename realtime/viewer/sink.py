"""The viewer as a live output of a capture."""

import logging
import threading
import time
from collections import deque

import numpy as np

from ...models.body import BodyModel
from ...models.errors import HmcapError
from ...models.motion import MotionFrame
from ...models.proxies import Proxies
from ..addresses import Address
from ..exporters import ExportOptions
from ..frames import Frame
from ..take import Take, TakeHeader
from ..watching import Running
from .scene import small_jpeg
from .status import Chip, Speed, engine_rows, live_rows, person_chip, stage_rows, table_html, take_rows
from .viewer import Viewer, announcement

LOG = logging.getLogger("hmcap.viewer")

PICTURE_EVERY_S = 1 / 12
PATH_EVERY_S = 0.5
STATUS_EVERY_S = 0.5
UNWATCHED_EVERY_S = 0.5
"""Time between frames while no browser is open: one that opens then finds a person who stands where he is."""
PATH_FRAMES = 3600


class ViewerSink:
    """Shows the newest frame to every browser. A sink whose work is done on a thread of its own, so that neither the
    capture nor another sink waits for it.

    Its server opens at once, and closes with :meth:`release`, not with the capture: after that the same page can play
    the finished take (:class:`~.playback.Playback`).
    """

    def __init__(
        self,
        body: BodyModel,
        host: str,
        port: int,
        *,
        title: str = "",
        options: ExportOptions | None = None,
        token: str | None = None,
    ) -> None:
        """``token``: see :class:`~.viewer.Viewer`.

        Raises HmcapError where the address cannot be had or the library is missing."""
        self.body, self.options = body, options or ExportOptions()
        self.viewer = Viewer(body, Address(host, port), title, self.options, self._take_now, token)
        self._stop = self.viewer.add_stop(self._ask_to_stop)
        self._changed = threading.Condition()
        self._newest: tuple[Frame, MotionFrame | None] | None = None
        self._pelvis_m: deque[np.ndarray] = deque(maxlen=PATH_FRAMES)
        self._running: Running | None = None
        self._header: TakeHeader | None = None
        self._thread: threading.Thread | None = None
        self._ended = self._released = False
        self.failed = False
        """Whether it broke, after which it shows nothing more; the capture went on without it."""

    @property
    def url(self) -> str:
        """What to open in a browser."""
        return self.viewer.url

    def watch(self, running: Running) -> None:
        """See :class:`~hmcap.realtime.watching.Watcher`."""
        self._running = running

    def open(self, header: TakeHeader) -> None:
        """Begin to show what comes."""
        self._header = header
        self.viewer.title(header.name)
        self._thread = threading.Thread(target=self._work, name="hmcap-viewer", daemon=True)
        self._thread.start()

    def __call__(self, frame: Frame, proxies: Proxies, motion: MotionFrame | None) -> None:
        with self._changed:
            self._newest = (frame, motion)
            if motion is not None and motion.present:
                self._pelvis_m.append(np.array(motion.trans_m, dtype=np.float64))
            self._changed.notify()

    def close(self) -> None:
        """The capture has ended; the page stays, and says so."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if not self._released:
            self._stop.disabled, self._stop.label = True, "Finishing ..."

    def release(self) -> None:
        """Close the server."""
        if not self._released:
            self.close()
            self._released = True
            self.viewer.close()

    def hand_over(self) -> Viewer:
        """The viewer without what belongs to a capture, for the playback of the finished take. Its server is still
        closed by :meth:`release`."""
        self._stop.visible = False
        return self.viewer

    @property
    def said(self) -> tuple[str, ...]:
        """See :class:`~hmcap.realtime.watching.LiveOutput`."""
        return announcement(self.viewer)

    def _ask_to_stop(self) -> None:
        if self._running is not None:
            self._running.stop()

    def _take_now(self) -> Take:
        if self._running is None:
            raise HmcapError("Nothing was captured yet.")
        return self._running.take()

    def _work(self) -> None:
        try:
            self._show_newest()
        except Exception as error:
            # Whatever it was: what is captured counts for more than what is shown of it.
            self.failed = True
            LOG.warning("The viewer failed (%s: %s). The capture goes on without it.", type(error).__name__, error)

    def _show_newest(self) -> None:
        speed = Speed()
        picture_at = path_at = status_at = shown_at = -1e9
        motion: MotionFrame | None = None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or self._newest is not None, timeout=STATUS_EVERY_S)
                newest, self._newest = self._newest, None
                ended = self._ended
                path_m = np.array(self._pelvis_m) if time.monotonic() - path_at >= PATH_EVERY_S else None
            now = time.monotonic()
            watched = self.viewer.clients > 0
            if newest is not None and newest[1] is not None:
                frame, motion = newest[0], newest[1]
                jpeg = None
                if frame.image_rgb.size and now - picture_at >= (PICTURE_EVERY_S if watched else 4 * UNWATCHED_EVERY_S):
                    picture_at = now
                    jpeg = small_jpeg(frame.image_rgb)
                if jpeg is not None or watched or ended or now - shown_at >= UNWATCHED_EVERY_S:
                    shown_at = now
                    self.viewer.scene.show(motion, jpeg)
            if path_m is not None and watched:
                path_at = now
                self.viewer.scene.show_path(path_m)
            if now - status_at >= STATUS_EVERY_S or ended:
                status_at = now
                self._status(motion, speed, ended)
            if ended:
                return

    def _status(self, motion: MotionFrame | None, speed: Speed, ended: bool) -> None:
        if self._header is None:
            return
        chips = [Chip("captured", "good") if ended else Chip("live", "live"), person_chip(motion)]
        details = [take_rows(motion, self._header), engine_rows(self._header.engines)]
        counts: list[tuple[str, str]] = []
        if self._running is not None:
            stats = self._running.stats()
            counts = live_rows(stats, speed.update(stats), self._header)
            details.insert(0, stage_rows(stats))
        self.viewer.status(table_html(chips, [counts]), table_html([], details))
