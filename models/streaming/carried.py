"""Motion between two ticks of the networks, for sources faster than they run: the last motion goes on as it was going,
so that a body does not stop and jump sixty times a second, and nothing waits for the next tick."""

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from ..motion import MotionFrame

_FARTHEST = 0.6
"""Motion is carried on for at most this share of the time between the two frames before."""


def carried_on(before: MotionFrame | None, last: MotionFrame, index: int, stamp_s: float) -> MotionFrame:
    """The motion of frame ``index`` at ``stamp_s``, after ``last``, at the speed from ``before`` to it; ``last`` as it
    is where somebody is missing in one of them, or there is none before."""
    still = replace(last, index=index, stamp_s=stamp_s)
    if before is None or not (before.present and last.present and last.stamp_s > before.stamp_s):
        return still
    share = float(np.clip((stamp_s - last.stamp_s) / (last.stamp_s - before.stamp_s), 0.0, _FARTHEST))
    was, now = Rotation.from_rotvec(before.poses), Rotation.from_rotvec(last.poses)
    poses = now * Rotation.from_rotvec(share * (was.inv() * now).as_rotvec())
    return replace(
        still,
        poses=poses.as_rotvec().astype(np.float32),
        trans_m=(last.trans_m + share * (last.trans_m - before.trans_m)).astype(np.float32),
    )
