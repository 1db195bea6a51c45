"""Several people before one camera that stands still: the worlds they were solved in, made one.

Each world has its own origin and, from its own evidence, its own opinion of how far the camera is tipped and how high
it stands; all have the floor at y = 0. The tip can be agreed before all are solved with it. The height cannot: it is as
uncertain as the size of the person who was solved with it. A world is moved into another by what leaves gravity and
floor alone: a turn about Y and a way along the floor, under which the two cameras stand over one point and look the
same way.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from .motion import MotionFrame
from .rotations import axis_angle_to_matrix, matrix_to_axis_angle
from .stacked import Stacked, Stacker
from .world import heading_rotation

_SAME_UP_DEG = 0.5


def agreed_vertical(motions: Sequence[Sequence[MotionFrame]]) -> np.ndarray:
    """(3,) unit vector against gravity in the camera's axes, from what each person's motion makes of it.

    What one person says of it is a few degrees off, and a place on the floor several per cent for each; who is seen for
    long, with the pelvis upright, counts most.
    """
    total = np.zeros(3)
    for motion in motions:
        seen = [np.concatenate([f.poses[0], f.T_cam_world[:3, 1]]) for f in motion if f.present]
        poses, ups = np.hsplit(np.array(seen, np.float64).reshape(-1, 6), 2)
        upright = 0.2 + 0.8 * np.clip(axis_angle_to_matrix(poses)[:, 1, 1], 0.0, 1.0) ** 2
        total += upright @ ups
    return total / np.linalg.norm(total)


def agrees(motion: Sequence[MotionFrame], up_cam: np.ndarray) -> bool:
    """Whether a motion was solved with this vertical, to half a degree."""
    return bool(np.asarray(motion[0].T_cam_world, np.float64)[:3, 1] @ up_cam >= np.cos(np.radians(_SAME_UP_DEG)))


def world_from_other(T_cam_world: np.ndarray, T_cam_other: np.ndarray) -> np.ndarray:
    """(4, 4) rigid transform of the other world to the world: x_world = T x_other, y unchanged.

    T_cam_world, T_cam_other: (4, 4) the one camera in each of the two worlds. Where they agree on its height and on
    gravity, a point keeps its place in the picture; otherwise it moves by as much as they differ.
    """
    T_cam_world, T_cam_other = np.asarray(T_cam_world, np.float64), np.asarray(T_cam_other, np.float64)
    to_front, other_to_front = heading_rotation(T_cam_world[:3, :3]), heading_rotation(T_cam_other[:3, :3])
    T = np.eye(4)
    T[:3, :3] = to_front.T @ other_to_front
    T[:3, 3] = (camera_place_m(T_cam_world) - T[:3, :3] @ camera_place_m(T_cam_other)) * [1.0, 0.0, 1.0]
    return T


def camera_place_m(T_cam_world: np.ndarray) -> np.ndarray:
    """(3,) where the camera stands in the world."""
    return -T_cam_world[:3, :3].T @ T_cam_world[:3, 3]


def moved(
    motion: Sequence[MotionFrame], T_world_other: np.ndarray, rest_pelvis_m: Callable[[np.ndarray], np.ndarray]
) -> Stacked[MotionFrame]:
    """The same motion and the same cameras, told in another world.

    T_world_other: (4, 4) rigid transform of the motion's world to the new one. rest_pelvis_m: betas (B,) -> (3,) pelvis
    of the rest pose, about which SMPL-X turns the root. What a frame's own camera sees does not change.
    """
    R, t = T_world_other[:3, :3], T_world_other[:3, 3]
    T_other_world = np.eye(4)
    T_other_world[:3, :3], T_other_world[:3, 3] = R.T, -R.T @ t
    out = Stacker[MotionFrame]()
    for frame in motion:
        pelvis = np.asarray(rest_pelvis_m(frame.betas), np.float64)
        poses = np.array(frame.poses)
        poses[0] = matrix_to_axis_angle(R @ axis_angle_to_matrix(np.asarray(frame.poses[0], np.float64)))
        trans = R @ (np.asarray(frame.trans_m, np.float64) + pelvis) + t - pelvis
        T_cam = np.asarray(frame.T_cam_world, np.float64) @ T_other_world
        out.add(
            replace(
                frame,
                poses=poses,
                trans_m=trans.astype(frame.trans_m.dtype),
                T_cam_world=T_cam.astype(frame.T_cam_world.dtype),
            )
        )
    return out.stacked()
