"""Motion between two ticks of the networks."""

from dataclasses import replace

import numpy as np
import pytest
from hmcap.models.camera import Camera
from hmcap.models.motion import MotionFrame
from hmcap.models.streaming.carried import carried_on


def frame(index: int, angle: float, x_m: float, present: bool = True) -> MotionFrame:
    poses = np.zeros((55, 3), np.float32)
    poses[16, 2] = angle
    return MotionFrame(
        index, index / 60, present, np.zeros(10), poses, np.float32([x_m, 1, 0]), np.eye(4),
        Camera.from_fov(640, 480, 55),
        np.zeros(4), np.ones(8), np.ones(8, bool), 1.0,
    )  # fmt: skip


def test_a_steady_motion_goes_on() -> None:
    out = carried_on(frame(0, 0.2, 0.1), frame(2, 0.4, 0.3), 3, 3 / 60)
    assert (out.index, out.stamp_s) == (3, 3 / 60)
    assert out.poses[16] == pytest.approx([0, 0, 0.5], abs=1e-6)
    assert out.trans_m == pytest.approx([0.4, 1, 0], abs=1e-6)
    assert not np.any(np.delete(out.poses, 16, axis=0))


def test_it_does_not_go_far() -> None:
    out = carried_on(frame(0, 0.2, 0.1), frame(2, 0.4, 0.3), 60, 1.0)
    assert out.poses[16, 2] == pytest.approx(0.52, abs=1e-6)
    assert out.trans_m[0] == pytest.approx(0.42, abs=1e-6)


@pytest.mark.parametrize(
    "before", [None, frame(0, 0.2, 0.1, present=False), replace(frame(0, 0.2, 0.1), stamp_s=2 / 60)]
)
def test_without_a_motion_before_the_body_stands(before: MotionFrame | None) -> None:
    last = frame(2, 0.4, 0.3)
    out = carried_on(before, last, 3, 3 / 60)
    assert np.array_equal(out.poses, last.poses)
    assert np.array_equal(out.trans_m, last.trans_m)
    assert out.index == 3
