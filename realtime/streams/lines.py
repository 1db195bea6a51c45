"""What goes over the WebSocket: one JSON object a line, numbers rounded to what they are worth. docs/streams.md has the
same for readers."""

import json
from importlib.metadata import version
from typing import Any

import numpy as np

from ...models.body import BodyModel, forward_kinematics
from ...models.face import ARKIT_NAMES
from ...models.motion import GROUP_NAMES, MotionFrame
from ...models.rotations import axis_angle_to_matrix, axis_angle_to_quaternion
from ...models.skeleton import CONTACT_POINTS, JOINT_NAMES, PARENTS
from ..take import TakeHeader

SCHEMA = 1
"""Version of the lines; it rises when a reader of an older one would misread a newer one."""
_UNITS = {"length": "m", "time": "s", "rotation": "unit quaternion w x y z"}
_WORLD = "right-handed, y up, floor at y = 0"


def hello(header: TakeHeader) -> dict[str, Any]:
    """The first line to each client: all that never changes."""
    return {
        "type": "hello",
        "schema": SCHEMA,
        "hmcap": version("hmcap"),
        "name": header.name,
        "fps": header.fps,
        "units": _UNITS,
        "world": _WORLD,
        "joints": JOINT_NAMES,
        "parents": PARENTS.tolist(),
        "contact_points": CONTACT_POINTS,
        "groups": GROUP_NAMES,
        "expressions": ARKIT_NAMES,
    }


def rest(body: BodyModel, betas: np.ndarray) -> dict[str, Any]:
    """The bone lengths of one shape: sent behind the hello, and again whenever the shape has changed."""
    return {"type": "rest", "rest_joints_m": _rounded(body.rest_joints(betas), 5)}


def frame(motion: MotionFrame, body: BodyModel) -> dict[str, Any]:
    """One frame of motion."""
    poses = np.asarray(motion.poses, np.float64)
    rest_m = np.asarray(body.rest_joints(np.asarray(motion.betas)), np.float64)
    _, joints_m = forward_kinematics(axis_angle_to_matrix(poses), rest_m, np.asarray(motion.trans_m, np.float64))
    return {
        "type": "frame",
        "index": int(motion.index),
        "time_s": round(float(motion.stamp_s), 4),
        "present": bool(motion.present),
        "rotations": _rounded(axis_angle_to_quaternion(poses), 5),
        "joints_m": _rounded(joints_m, 4),
        "contact": _rounded(motion.contact, 2),
        "confidence": _rounded(motion.confidence, 2),
        "measured": [bool(m) for m in motion.measured],
        "expression": _rounded(motion.expression, 3),
    }


def line(fields: dict[str, Any]) -> str:
    """The object as one line. Raises ``ValueError`` where a number is not finite: JSON has no such numbers."""
    return json.dumps(fields, separators=(",", ":"), allow_nan=False)


def _rounded(values: Any, digits: int) -> list:
    return np.round(np.asarray(values, np.float64), digits).tolist()
