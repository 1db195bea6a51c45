"""Webcams through OpenCV, stamped by the clock when the picture arrives."""

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2

from ..models.errors import HmcapError
from .frames import DEFAULT_FPS, Frame, Source, Window

_WANTED_SIZE_PX = (1280, 720)
_PROBE_LIMIT = 6
_MISSES_ALLOWED = 30


class WebcamSource(Source):
    """A webcam by its index; frames are numbered as they arrive and stamped in seconds since the first."""

    def __init__(self, index: int, window: Window, fps: float | None = None) -> None:
        super().__init__(f"webcam:{index}", f"webcam{index}", window)
        self.live = True
        with _quiet_stderr():
            capture = _open(index)
            picture = None
            if capture is not None:
                # Most webcams reach 720p at full rate only as motion JPEG; one that has none ignores the wish.
                capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
                capture.set(cv2.CAP_PROP_FRAME_WIDTH, _WANTED_SIZE_PX[0])
                capture.set(cv2.CAP_PROP_FRAME_HEIGHT, _WANTED_SIZE_PX[1])
                capture.set(cv2.CAP_PROP_FPS, fps or DEFAULT_FPS)
                picture = capture.read()[1]
                if picture is None:
                    capture.release()
        if capture is None or picture is None:
            raise HmcapError(_no_camera(index, opened=capture is not None))
        self._capture = capture
        self.height_px, self.width_px = picture.shape[:2]
        stated = capture.get(cv2.CAP_PROP_FPS)
        self.fps = float(stated) if 1 <= stated <= 1000 else (fps or DEFAULT_FPS)

    def _frames(self) -> Iterator[Frame]:
        index = misses = 0
        start: float | None = None
        while True:
            ok, bgr = self._capture.read()
            now = time.perf_counter()
            if not ok or bgr is None:
                misses += 1
                if misses >= _MISSES_ALLOWED:
                    self.warnings.append(f"{self.name} stopped giving pictures after {index} frames.")
                    return
                time.sleep(0.01)
                continue
            misses = 0
            start = now if start is None else start
            yield Frame(index, now - start, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
            index += 1

    def close(self) -> None:
        self._capture.release()


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
