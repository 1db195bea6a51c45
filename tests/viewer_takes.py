"""Made-up takes that the tests of player and viewer share."""

import numpy as np
from hmcap.models.camera import Camera
from hmcap.models.motion import MotionFrame
from hmcap.models.skeleton import JOINT_NAMES
from hmcap.realtime.take import Take, TakeHeader

FPS = 25.0


def moving_frame(number: int, count: int = 50, present: bool = True) -> MotionFrame:
    """A person in front of the camera whose arms go all the way up and down again, and who takes a step aside."""
    share = number / max(1, count - 1)
    poses = np.zeros((55, 3))
    poses[JOINT_NAMES.index("left_shoulder")] = (0, 0, -1.3 + 2.6 * share)
    poses[JOINT_NAMES.index("right_shoulder")] = (0, 0, 1.3 - 2.6 * share)
    poses[JOINT_NAMES.index("left_knee"), 0] = 0.8 * np.sin(np.pi * share)
    T = np.diag([1.0, -1.0, -1.0, 1.0])
    T[:3, 3] = (0.0, 1.2, 3.0)
    planted = np.array([0.9, 0.9, 0.1, 0.1])
    return MotionFrame(
        number, number / FPS, present, np.array([0.3, -0.5, 0.2]), poses, np.array([0.2 * share, 1.25, 0.0]), T,
        Camera.from_fov(640, 480, 60), planted, np.ones(8), np.ones(8, bool), 1.0,
    )  # fmt: skip


def moving_take(count: int = 50, source: str = "nowhere.mp4") -> Take:
    """The take of that person; its footage is not there."""
    header = TakeHeader(source, "clip", FPS, 640, 480, Camera.from_fov(640, 480, 60))
    return Take(header, (), tuple(moving_frame(i, count) for i in range(count)), None, 1)
