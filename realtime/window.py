"""The live window: the newest picture with what was captured in it, and the keys that steer the capture."""

import threading
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from ..models.body import BodyModel
from ..models.motion import MotionFrame
from ..models.proxies import Proxies
from .frames import Frame
from .loop import RunStats
from .overlay import Figure
from .overlay.gl import GLRenderer
from .overlay.live import live_picture
from .panels import RED, Line, draw_panel, key_lines, record_lines, status_lines, time_lines, wrapped
from .rates import Rates, RecentRates
from .recording import RecordSwitch
from .screen import ESCAPE, NoScreenError, Panel, Screen, letterbox
from .take import TakeHeader

TICK_S = 0.008
"""How often ``draw`` wants to be called: a new picture waits no longer than this, and nothing is done in between."""
_MAX_DRAWN_PX = 1920
"""Longer side of the picture that is drawn on; a larger window stretches it."""
_LINE_PX = 23
"""Height of a line of text on an ordinary display."""
_LINES_FIT = 22
_HINT_S = 10.0
_AGAIN_S = 0.5


class LiveWindow:
    """Shows the newest frame with the captured skeleton, or the mesh. A sink, of which ``open``, ``draw`` and ``close``
    belong to the main thread: the only one that may touch windows on macOS.

    Args:
        title: what is captured.
        body: the model that the motion moves.
        recording: what the key r switches.
        say: prints a sentence for the user, should the window be lost.
        open_screen: opens the window (for tests).
        clock: monotonic seconds.
    """

    def __init__(
        self,
        title: str,
        body: BodyModel,
        recording: RecordSwitch,
        say: Callable[[str], None] = print,
        open_screen: Callable[[str, int, int], Any] = Screen,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title, self._figure, self._recording, self._say = f"hmcap - {title}", Figure(body), recording, say
        self._open_screen, self._clock = open_screen, clock
        self._lock = threading.Lock()
        self._newest: tuple[Frame, Proxies, MotionFrame | None] | None = None
        self._shown: tuple[Frame, Proxies, MotionFrame | None] | None = None
        self._shown_at = -1.0
        self._image: np.ndarray | None = None
        self._image_size = (0, 0)
        self._screen: Screen | None = None
        self._mesh: GLRenderer | None = None
        self._rates = RecentRates()
        self._panels: dict[str, tuple[object, np.ndarray]] = {}
        self.failed = ""
        """What the window failed with, if that was none of the ways in which windows go; empty otherwise."""
        self.times = self.help = self.mesh = False
        """What the keys t, h and m switch."""

    def open(self, header: TakeHeader) -> None:
        """Open the window."""
        try:
            self._screen = self._open_screen(self._title, header.width_px, header.height_px)
        except NoScreenError as error:
            self._lost(error)

    def __call__(self, frame: Frame, proxies: Proxies, motion: MotionFrame | None) -> None:
        with self._lock:
            self._newest = (frame, proxies, motion)

    def draw(self, stats: RunStats) -> bool:
        """Show the newest frame and obey the keys; True when the user asks to end the capture."""
        rates = self._rates(stats)
        if self._screen is None:
            return False
        try:
            keys = self._screen.keys()
            ends = [self.press(key) for key in keys]
            with self._lock:
                newest, self._newest = self._newest, None
            self._shown = newest or self._shown
            now = self._clock()
            # Without a new picture the writing still has to be right: the time, and that nothing comes.
            if newest is not None or keys or now - self._shown_at >= _AGAIN_S:
                self._shown_at = now
                self._show(self._screen, rates, stats, fresh=newest is not None or bool(keys))
        except NoScreenError as error:
            self._lost(error)
            return False
        except Exception as error:  # whatever it is: what is captured counts for more than what is shown of it
            self.failed = f"The window failed, and the capture went on without it: {type(error).__name__}: {error}."
            self._lost(error)
            return False
        return any(ends)

    def press(self, key: str) -> bool:
        """Do what a key asks for; True for the end of the capture."""
        key = key.lower()
        if key == "r":
            self._recording.toggle()
        elif key == "t":
            self.times = not self.times
        elif key == "m":
            self.mesh = not self.mesh
        elif key in ("h", "?"):
            self.help = not self.help
        return key in ("q", ESCAPE)

    def picture(
        self, frame: Frame, proxies: Proxies, motion: MotionFrame | None, width_px: int, height_px: int
    ) -> np.ndarray:
        """(height, width, 3) uint8 RGB: the frame with landmarks, body and ground contact."""
        image = frame.image_rgb
        if image.shape[1::-1] != (width_px, height_px):
            smaller = width_px < image.shape[1]
            image = cv2.resize(
                image, (width_px, height_px), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
            )
        renderer = self._renderer() if self.mesh else None
        return live_picture(image, proxies, motion, self._figure, renderer)

    def close(self) -> None:
        """Close the window."""
        if self._mesh is not None:
            self._mesh.close()
            self._mesh = None
        if self._screen is not None:
            self._screen.close()
            self._screen = None

    def _renderer(self) -> GLRenderer | None:
        """The mesh on the window's own graphics; two contexts in one thread would disturb each other."""
        if self._mesh is None and self._screen is not None:
            self._mesh = GLRenderer(self._screen.context)
        return self._mesh

    def _lost(self, error: Exception) -> None:
        if self._screen is not None:
            self._screen.close()
        self._screen = self._mesh = None
        self._say(f"The window is gone: {error}. Capturing goes on; Ctrl-C ends it.")

    def _show(self, screen: Screen, rates: Rates, stats: RunStats, *, fresh: bool) -> None:
        width, height = screen.size_px
        if self._shown is not None and (fresh or self._image_size != (width, height)):
            self._image_size = (width, height)
            source = self._shown[0].image_rgb
            _, _, to_w, to_h = letterbox(source.shape[1], source.shape[0], width, height)
            shrink = min(1.0, _MAX_DRAWN_PX / max(to_w, to_h))
            self._image = self.picture(*self._shown, max(1, round(to_w * shrink)), max(1, round(to_h * shrink)))
        screen.show(self._image, self._layout(screen, rates, stats))

    def _layout(self, screen: Screen, rates: Rates, stats: RunStats) -> list[Panel]:
        """The panels: speed upper left, times below, recording upper right, errors and a hint at the bottom."""
        width, height = screen.size_px
        line_px = max(11, round(min(_LINE_PX * screen.scale, height / _LINES_FIT, width / 26)))
        gap, state = line_px // 2, self._recording.state()
        frame, _, motion = self._shown or (None, None, None)
        panels = []

        def add(name: str, lines: list[Line], x: float, y: float) -> int:
            """Place a panel: x and y from 0 (left, top) to 1; negative y is a distance from the top. Its height."""
            rgba = self._panel(name, lines, line_px)
            left = gap + round(x * (width - 2 * gap - rgba.shape[1]))
            top = round(-y) if y < 0 else gap + round(y * (height - 2 * gap - rgba.shape[0]))
            panels.append(Panel(rgba, max(0, left), max(0, top)))
            return rgba.shape[0]

        used = add("status", status_lines(frame, motion, rates, stats.dropped, stats.elapsed_s), 0, 0)
        if self.times:
            add("times", time_lines(rates), 0, -(2 * gap + used))
        if recorded := record_lines(state):
            add("record", recorded, 1, 0)
        if state.error:
            columns = max(20, round(1.7 * width / line_px))
            add("error", wrapped(f"Recording stopped: {state.error}", columns, RED), 0, 1)
        elif stats.elapsed_s < _HINT_S and not self.help:
            add("hint", [Line("h shows the keys")], 0, 1)
        if self.help:
            add("help", key_lines(), 0.5, 0.5)
        return panels

    def _panel(self, name: str, lines: list[Line], line_px: int) -> np.ndarray:
        """The picture of the lines, drawn anew only when they changed."""
        wanted, held = (tuple(lines), line_px), self._panels.get(name)
        if held is None or held[0] != wanted:
            held = self._panels[name] = wanted, draw_panel(lines, line_px, column=name == "help")
        return held[1]
