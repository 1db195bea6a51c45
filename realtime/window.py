"""The live overlay window, where the installed OpenCV can open one."""

import os
import sys
import threading

import cv2
import numpy as np

from ..models.body import BodyModel
from ..models.motion import MotionFrame
from ..models.proxies import Proxies
from .frames import Frame
from .overlay import Figure, draw_contact, draw_proxies, draw_skeleton, draw_text
from .take import TakeHeader

_QUIT_KEYS = (ord("q"), 27)


def has_window() -> bool:
    """Whether OpenCV was built with a window system and one can be opened here."""
    # Qt, which OpenCV's builds for Linux use, ends the whole process where there is no display.
    if sys.platform.startswith("linux") and not any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY"))):
        return False
    lines = [line.split(":", 1)[1].strip() for line in cv2.getBuildInformation().splitlines() if "GUI:" in line]
    if not lines or lines[0].upper() in ("NONE", "NO", ""):
        return False
    try:
        cv2.namedWindow("hmcap", cv2.WINDOW_NORMAL)
        cv2.destroyWindow("hmcap")
    except cv2.error:
        return False
    return True


def live_picture(figure: Figure, frame: Frame, proxies: Proxies, motion: MotionFrame | None) -> np.ndarray:
    """(H, W, 3) uint8 RGB: the frame with landmarks, skeleton and ground contact."""
    image = draw_proxies(frame.image_rgb, proxies, bones=False) if proxies.present else frame.image_rgb
    if motion is None or not motion.present:
        return draw_text(image, [f"frame {frame.index}", "nobody in view"])
    posed = figure.pose(motion, skin=False)
    image = draw_skeleton(image, posed.joints_m, motion.T_cam_world, motion.camera)
    image = draw_contact(image, posed.foot_points_m, motion.contact, motion.T_cam_world, motion.camera)
    return draw_text(image, [f"frame {frame.index}   {frame.stamp_s:.1f} s"])


class LiveWindow:
    """Shows the newest frame with the captured skeleton. A sink, of which ``draw`` belongs to the main thread: the only
    one that may touch windows on macOS."""

    def __init__(self, title: str, body: BodyModel) -> None:
        self._title = f"hmcap - {title} (q ends the capture)"
        self._figure = Figure(body)
        self._lock = threading.Lock()
        self._newest: tuple[Frame, Proxies, MotionFrame | None] | None = None
        self._shown = 0
        self._open = False

    def open(self, header: TakeHeader) -> None:
        """Open the window; called on the main thread."""
        cv2.namedWindow(self._title, cv2.WINDOW_NORMAL)
        cv2.resizeWindow(self._title, header.width_px, header.height_px)
        self._open = True

    def __call__(self, frame: Frame, proxies: Proxies, motion: MotionFrame | None) -> None:
        with self._lock:
            self._newest = (frame, proxies, motion)

    def draw(self) -> bool:
        """Show the newest frame; True when the user asks to end the capture. Main thread only."""
        with self._lock:
            newest, self._newest = self._newest, None
        if newest is not None:
            self._shown += 1
            cv2.imshow(self._title, cv2.cvtColor(self.picture(*newest), cv2.COLOR_RGB2BGR))
        return (cv2.waitKey(1) & 0xFF) in _QUIT_KEYS

    def picture(self, frame: Frame, proxies: Proxies, motion: MotionFrame | None) -> np.ndarray:
        """(H, W, 3) uint8 RGB: the frame with landmarks, skeleton and ground contact."""
        return live_picture(self._figure, frame, proxies, motion)

    def close(self) -> None:
        """Close the window."""
        if self._open:
            self._open = False
            cv2.destroyWindow(self._title)
