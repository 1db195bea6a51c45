"""Stand-ins for a window and what was seen, for the tests of the live window and of recording."""

import dataclasses
from collections import deque

import numpy as np
from hmcap.models.camera import Camera
from hmcap.models.motion import MotionFrame
from hmcap.models.proxies import Proxies
from hmcap.realtime.frames import Frame
from hmcap.realtime.loop import RunStats
from hmcap.realtime.screen import NoScreenError
from hmcap.realtime.take import TakeHeader

CAMERA = Camera.from_fov(64, 48, 60)
HEADER = TakeHeader("webcam:0", "webcam0", 30.0, 64, 48, CAMERA, live=True)


def frame_at(index: int, shade: int = 90) -> Frame:
    return Frame(index, index / 30, np.full((48, 64, 3), shade, np.uint8))


def seen(frame: Frame) -> Proxies:
    return dataclasses.replace(Proxies.absent(frame.index, frame.stamp_s, (64, 48)), score=0.9)


def stood(proxies: Proxies, camera: Camera | None = CAMERA) -> MotionFrame:
    """A person three metres in front of a level camera at hip height."""
    T = np.diag([1.0, -1, -1, 1])
    T[:3, 3] = (0, 0.9, 3)
    zeros = np.zeros
    return MotionFrame(
        proxies.index, proxies.stamp_s, proxies.present, zeros(10), zeros((55, 3)), np.array([0, 0.9, 0]), T,
        camera or CAMERA, np.ones(4), np.ones(8), np.arange(8) > 0, 1.0,
    )  # fmt: skip


def stats_of(frames: int = 0, elapsed_s: float = 0.0, dropped: int = 0, **busy_s: float) -> RunStats:
    return RunStats(frames, frames, dropped, elapsed_s, busy_s, dict.fromkeys(busy_s, frames))


class FakeScreen:
    """Stands in for the window: remembers what it was shown, and types what it is told."""

    def __init__(self, keys=(), size_px=(320, 240)):
        self.typed, self.size_px, self.scale = deque(keys), size_px, 1.0
        self.shown, self.open = [], True
        self.gone = False

    def __call__(self, title, width_px, height_px):
        return self

    def keys(self):
        if self.gone:
            raise NoScreenError("unplugged")
        return [self.typed.popleft()] if self.typed else []

    def show(self, image, panels=()):
        self.shown.append((image, list(panels)))

    def close(self):
        self.open = False


def give(sinks, index, shade=90):
    frame = frame_at(index, shade)
    for sink in sinks:
        sink(frame, seen(frame), stood(seen(frame)))
