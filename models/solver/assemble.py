"""From a solution to the motion frames that travel on: world origin, floor, confidence, what was measured."""

from typing import TYPE_CHECKING

import numpy as np

from ..camera import Camera
from ..joint_limits import limited
from ..motion import GROUP_NAMES, MotionFrame
from ..proxies import PROXY_NAMES
from ..rotations import matrix_to_axis_angle
from ..skeleton import LEFT_HAND, NUM_JOINTS, RIGHT_HAND
from .energy import Chain
from .observations import Observations
from .rigs import BODY_POINT_PROXY, CONTACT_INDEX, SolverRigs

if TYPE_CHECKING:
    from .take import Solution

_MEASURED = 0.3
"""Mean confidence above which a joint group counts as measured."""
_GROUP_PROXIES = {
    "torso": ("left_shoulder", "right_shoulder", "left_hip", "right_hip"),
    "head": ("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
    **{f"{s}_arm": (f"{s}_elbow", f"{s}_wrist") for s in ("left", "right")},
    **{f"{s}_leg": (f"{s}_knee", f"{s}_ankle") for s in ("left", "right")},
    **{f"{s}_hand": tuple(n for n in PROXY_NAMES if n.startswith(f"{s}_hand_")) for s in ("left", "right")},
}
_GROUP_INDEX = [np.array([PROXY_NAMES.index(n) for n in _GROUP_PROXIES[g]]) for g in GROUP_NAMES]


def group_confidence(confidence: np.ndarray) -> np.ndarray:
    """(T, 8) mean proxy confidence of each joint group, from (T, 67)."""
    return np.stack([confidence[:, i].mean(1) for i in _GROUP_INDEX], axis=1)


def reprojection_error(o: Observations, body: Chain, rigs: SolverRigs, R: np.ndarray, t: np.ndarray) -> np.ndarray:
    """(T,) median distance of seen and projected body proxies, per cent of the body's height; NaN: none seen."""
    points = rigs.body.forward(body.R_local, body.trans_m).points_m[:, :25] @ R.T + t
    xy = points[..., :2] / np.maximum(points[..., 2:], 0.05)
    index = BODY_POINT_PROXY[:25]
    distance = np.linalg.norm(xy - o.xy[:, index], axis=-1) / o.size[:, None] * 100
    seen = o.confidence[:, index] > 0.3
    out = np.full(len(distance), np.nan)
    for i in np.flatnonzero(seen.any(1)):
        out[i] = np.median(distance[i, seen[i]])
    return out


def find_origin(solution: "Solution", rigs: SolverRigs) -> np.ndarray:
    """(3,) point on the floor under the person's first place, in the solver's world."""
    first = int(np.flatnonzero(solution.solved)[0])
    origin = solution.body.trans_m[first] + rigs.body.joints_m[0]
    origin[1] = _floor(solution, rigs)
    return origin


def assemble(
    o: Observations, camera: Camera, rigs: SolverRigs, solution: "Solution", num_betas: int, origin_m: np.ndarray
) -> list[MotionFrame]:
    """Motion frames in a world whose origin is ``origin_m`` (3,) of the solver's."""
    gravity, body, shift = solution.gravity, solution.body, origin_m
    T_cam_world = np.eye(4)
    T_cam_world[:3, :3] = gravity.R_cam_world
    T_cam_world[:3, 3] = gravity.t_cam_world_m + gravity.R_cam_world @ shift
    error = reprojection_error(o, body, rigs, gravity.R_cam_world, gravity.t_cam_world_m)
    poses = np.zeros((len(o.stamps_s), NUM_JOINTS, 3))
    poses[:, :22] = matrix_to_axis_angle(body.R_local)
    poses[:, LEFT_HAND], poses[:, RIGHT_HAND] = solution.fingers[:, 0], solution.fingers[:, 1]
    confidence = group_confidence(o.confidence) * ~solution.late
    poses = limited(poses)
    betas = solution.betas.astype(np.float32)
    frames = []
    for i in range(len(poses)):
        present = bool(solution.solved[i] and o.present[i])
        frames.append(
            MotionFrame(
                index=int(o.index[i]),
                stamp_s=float(o.source_stamps_s[i]),
                present=present,
                betas=betas[:num_betas],
                poses=poses[i].astype(np.float32),
                trans_m=(body.trans_m[i] - shift).astype(np.float32),
                T_cam_world=T_cam_world,
                camera=camera,
                contact=solution.contact[i].astype(np.float32) * present,
                confidence=(confidence[i] * present).astype(np.float32),
                measured=(confidence[i] > _MEASURED) & present,
                reprojection_error=float(error[i]) if present else float("nan"),
            )
        )
    return frames


def _floor(solution: "Solution", rigs: SolverRigs) -> float:
    """Height of the feet while they stand, in the solver's world."""
    posed = rigs.body.forward(solution.body.R_local, solution.body.trans_m)
    heights = posed.points_m[:, CONTACT_INDEX, 1]
    standing = solution.contact > 0.5
    return float(np.median(heights[standing])) if standing.any() else float(heights[solution.solved].min())
