"""Webcams through OpenCV, stamped by the clock when the picture arrives."""

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from ..models.errors import HmcapError
from .frames import DEFAULT_FPS, SourceMetadata, Window
from .sources_live import LiveSource, Lost, Picture, patiently

_WANTED_SIZE_PX = (1280, 720)
_PROBE_LIMIT = 6
_MISSES_ALLOWED = 30
_MISSING_S = 2.0


class WebcamConnection:
    """An open webcam."""

    opening = b""
    metadata = SourceMetadata()

    def __init__(self, capture: cv2.VideoCapture, picture: np.ndarray, fps: float | None) -> None:
        self._capture, self._misses, self._given_s = capture, 0, time.monotonic()
        self.height_px, self.width_px = picture.shape[:2]
        stated = capture.get(cv2.CAP_PROP_FPS)
        self.fps = float(stated) if 1 <= stated <= 1000 else (fps or DEFAULT_FPS)

    def read(self) -> Picture | None:
        """The next picture; None where the camera missed one."""
        picture = _picture(self._capture)
        if picture is not None:
            self._misses, self._given_s = 0, time.monotonic()
            return Picture(picture, None)
        self._misses += 1
        if self._misses >= _MISSES_ALLOWED or time.monotonic() - self._given_s > _MISSING_S:
            raise Lost("it stopped giving pictures")
        time.sleep(0.01)
        return None

    def close(self) -> None:
        """Release the camera."""
        self._capture.release()


class WebcamSource(LiveSource):
    """A webcam by its index; frames are numbered as they arrive and stamped in seconds since the first."""

    def __init__(self, index: int, window: Window, fps: float | None = None) -> None:
        self._index, self._wanted_fps = index, fps
        with _quiet_stderr():
            capture, picture = patiently(lambda: _start(index, fps), lambda opened: _release(opened[0]))
        if capture is None or picture is None:
            _release(capture)
            raise HmcapError(_no_camera(index, opened=capture is not None))
        super().__init__(f"webcam:{index}", f"webcam{index}", window, WebcamConnection(capture, picture, fps))

    def _connect(self) -> WebcamConnection:
        # What the C libraries write about a camera that is not there stays: silencing them would silence all threads.
        capture, picture = _start(self._index, self._wanted_fps)
        if capture is None or picture is None:
            _release(capture)
            raise Lost("it does not open")
        return WebcamConnection(capture, picture, self._wanted_fps)


def _start(index: int, fps: float | None) -> tuple[cv2.VideoCapture | None, np.ndarray | None]:
    """The camera set up as we want it, and its first picture; None for what there is not."""
    capture = _open(index)
    if capture is None:
        return None, None
    # Most webcams reach 720p at full rate only as motion JPEG; one that has none ignores the wish.
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, _WANTED_SIZE_PX[0])
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, _WANTED_SIZE_PX[1])
    capture.set(cv2.CAP_PROP_FPS, fps or DEFAULT_FPS)
    return capture, _picture(capture)


def _picture(capture: cv2.VideoCapture) -> np.ndarray | None:
    """(H, W, 3) RGB of the next picture, also of a camera that gives grey ones; None where it gives none."""
    try:
        ok, image = capture.read()
        if not ok or image is None or not image.size:
            return None
        channels = 1 if image.ndim == 2 else image.shape[2]
        how = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}.get(channels)
        return None if how is None else cv2.cvtColor(image, how)
    except cv2.error:  # a damaged picture
        return None


def _release(capture: cv2.VideoCapture | None) -> None:
    if capture is not None:
        capture.release()


def working_cameras() -> list[int]:
    """Indices of the webcams that open on this machine."""
    found = []
    with _quiet_stderr():
        for index in _candidates():
            capture = _open(index)
            if capture is not None:
                if capture.read()[0]:
                    found.append(index)
                capture.release()
    return found


def _candidates() -> Iterable[int]:
    """Indices worth trying: the devices that exist on Linux, the first few elsewhere."""
    if sys.platform != "linux":
        return range(_PROBE_LIMIT)
    devices = [p.name.removeprefix("video") for p in Path("/dev").glob("video*")]
    return sorted(int(d) for d in devices if d.isdigit())


def _open(index: int) -> cv2.VideoCapture | None:
    try:
        capture = cv2.VideoCapture(index)
    except cv2.error:
        return None
    if capture.isOpened():
        return capture
    capture.release()
    return None


def _no_camera(index: int, opened: bool) -> str:
    found = [i for i in working_cameras() if i != index]
    state = "opens but gives no picture (another program may hold it)" if opened else "does not open"
    if found:
        which = ", ".join(map(str, found))
        return f"Expected a webcam at index {index}; it {state}. These do work here: {which}. Try --webcam {found[0]}."
    return (
        f"Expected a webcam at index {index}; it {state}, and no other webcam was found on this machine. Plug one in, "
        "allow camera access in the system settings, close programs that use it, or capture a file: --video FILE."
    )


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Silence the C libraries under OpenCV, which write about every camera that is not there."""
    sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # no stderr at all, for example under pythonw: nothing to silence
        yield
        return
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
