"""What stands in the takes of ``tests/data``, one for each format that takes were ever written in."""

import numpy as np
from hmcap.models.camera import Camera
from hmcap.models.motion import MotionFrame
from hmcap.models.proxies import Proxies
from hmcap.realtime.take import TakeHeader

COUNT = 3
CAMERA = Camera(1920, 1080, 1500.25, 1499.5, 960.5, 541.0, (0.1, -0.2, 0.001, 0.002), "--calib lens.json")
REPORT = {"frames": COUNT, "jitter": None}
HEADER = TakeHeader(
    source="/videos/dance.mp4",
    name="dance",
    fps=30000 / 1001,
    width_px=1920,
    height_px=1080,
    camera=CAMERA,
    frame_count=COUNT,
    engines={"pose": {"backend": "openvino", "device": "CPU"}},
    settings={"height_m": 1.8, "subject": "largest", "body": None},
    created="2025-01-01T00:00:00+00:00",
    version="0.1.0",
)


def numbers(*shape: int, start: float = 0.0, kind: type = np.float64) -> np.ndarray:
    """Sixteenths that any kind of float holds exactly."""
    return (np.arange(np.prod(shape)).reshape(shape) / 16 + start).astype(kind)


def proxies_at(index: int) -> Proxies:
    """What was seen in a frame, face included; the second hand is not in view."""
    hands = numbers(2, 21, 3, start=index, kind=np.float32)
    hands[1] = np.nan
    return Proxies(
        index, index / 30, (1920, 1080), numbers(67, 2, start=index, kind=np.float32),
        numbers(67, kind=np.float32) / 16, numbers(33, 3, start=-index, kind=np.float32), hands, 0.875,
        numbers(52, kind=np.float32) / 16,
    )  # fmt: skip


def motion_at(index: int, revision: int) -> MotionFrame:
    """The motion of a frame; the second revision lies elsewhere."""
    return MotionFrame(
        index, index / 30, index != 1, numbers(10), numbers(55, 3) / 16, numbers(3, start=revision), np.eye(4), CAMERA,
        numbers(4), numbers(8), np.arange(8) % 2 > 0, float("nan") if index == 1 else 1.25,
        numbers(52, start=revision) / 16,
    )  # fmt: skip
