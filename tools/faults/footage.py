"""What captures under test see: a clip over and over like a camera, or made-up pictures and stages without networks."""

import dataclasses
import time
from collections import deque
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...models.camera import Camera
from ...models.errors import HmcapError
from ...models.motion import MotionFrame
from ...models.proxies import Proxies
from ...realtime.frames import Frame, Source, Window
from ...realtime.run import Parts
from ...realtime.sources import open_source

MOST_BYTES = 300 << 20
"""Pictures of a clip that are kept in memory: about 50 in Full HD."""
_TIMES_KEPT = 4096


class LoopedSource(Source):
    """Pictures over and over, forwards and backwards, offered like a camera's: at a rate, whoever fetches them.

    Args:
        pictures: (H, W, 3) uint8 each.
        fps: pictures a second that are offered.
        seconds: after which the source ends.
        live: whether to be a camera; else the pictures wait until they are fetched.
    """

    def __init__(self, pictures: Sequence[np.ndarray], fps: float, seconds: float, *, live: bool = True) -> None:
        super().__init__("webcam:0" if live else "made-up.mp4", "loop", Window())
        self.live, self.fps, self._seconds = live, fps, seconds
        self.height_px, self.width_px = pictures[0].shape[:2]
        self.frame_count = None if live else round(seconds * fps)
        there = list(range(len(pictures)))
        # There and back: no jump for which the tracker would have to look again.
        self._order = there + there[-2:0:-1]
        self._pictures = pictures
        self.given_s: dict[int, float] = {}
        """Frame number -> moment at which it was given, on ``time.perf_counter``; of the newest frames."""
        self._newest: deque[int] = deque()

    def _frames(self) -> Iterator[Frame]:
        began = time.perf_counter()
        index = 0
        while index < round(self._seconds * self.fps):
            wait_s = began + index / self.fps - time.perf_counter()
            if wait_s > 0:
                time.sleep(wait_s)
            self.given_s[index] = time.perf_counter()
            self._newest.append(index)
            if len(self._newest) > _TIMES_KEPT:
                self.given_s.pop(self._newest.popleft(), None)
            yield Frame(index, index / self.fps, self._pictures[self._order[index % len(self._order)]])
            index += 1

    def close(self) -> None:
        """Nothing to release."""


def pictures_of(spec: str) -> list[np.ndarray]:
    """The first frames of a clip, decoded."""
    pictures: list[np.ndarray] = []
    with open_source(spec) as source:
        for frame in source:
            pictures.append(frame.image_rgb)
            if (len(pictures) + 1) * frame.image_rgb.nbytes > MOST_BYTES:
                break
    if len(pictures) < 2:
        raise HmcapError(f"Expected at least two frames in {spec}; found {len(pictures)}. Name a longer clip: --video")
    return pictures


def made_up_pictures() -> list[np.ndarray]:
    """Two small grey pictures, for runs whose stages are made up too."""
    return [np.full((48, 64, 3), shade, np.uint8) for shade in (90, 120)]


def stand_ins() -> Parts:
    """Stages that see a person in every picture and let him stand still, without any network."""
    return Parts(_StandInLandmarks(), _StandInMotion(), _stand)


class _StandInLandmarks:
    def __init__(self) -> None:
        self.engines: dict[str, Any] = {}

    def body(self, image_rgb: np.ndarray, index: int, stamp_s: float) -> Any:
        return SimpleNamespace(index=index, stamp_s=stamp_s, size=image_rgb.shape[1::-1], times_s={})

    def hands(self, seen: Any) -> Proxies:
        absent = Proxies.absent(seen.index, seen.stamp_s, seen.size)
        noise = np.random.default_rng(seen.index).random((67, 2)).astype(np.float32)
        return dataclasses.replace(absent, score=0.9, xy_px=noise)


class _StandInMotion:
    together = True

    def push_all(self, proxies: Sequence[Proxies]) -> list[MotionFrame]:
        return _stand(list(proxies), None)


def _stand(proxies: Sequence[Proxies], camera: Camera | None, **_: Any) -> list[MotionFrame]:
    zeros = np.zeros
    return [
        MotionFrame(
            p.index, p.stamp_s, p.present, zeros(10), zeros((55, 3)), np.array([0, 1.0, 0]), np.diag([1.0, -1, -1, 1]),
            camera or Camera.from_fov(*p.image_size_px, 60), np.ones(4), np.ones(8), np.ones(8, bool), 1.0,
        )
        for p in proxies
    ]  # fmt: skip
