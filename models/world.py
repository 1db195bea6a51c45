"""From human space to the world: one frame's body and camera, estimated around the person, put on one floor.

Human space of a frame: Y up along gravity, the origin on the ground under the person, heading free. Each frame has its
own, so a turn about Y and a place on the ground must be agreed: the world takes its yaw from the camera, which looks
along -Z (its front axis lies in the y-z plane), and its places from the accumulated displacement of the person, zero in
the first frame. Source: ProxyCap (CVPR 2024), supplement 1.1; the signs are those under which a frame projects to the
same pixels in both spaces.

Every function takes any leading dimensions and works in float64.
"""

from dataclasses import dataclass

import numpy as np

_VERTICAL = 1e-6
"""Sine of the angle off the vertical below which a camera's front axis has no heading."""


@dataclass(frozen=True, slots=True, eq=False)
class HumanFrame:
    """Body root and camera of a frame (or of a batch of frames) in its own human space."""

    R_human_root: np.ndarray
    """(..., 3, 3) rotation of the body's root: theta_H."""
    trans_human_m: np.ndarray
    """(..., 3) SMPL-X translation t_H: the pelvis stands at ``root_rest_m + trans_human_m``."""
    step_human_m: np.ndarray
    """(..., 3) displacement of the person on the ground until the next frame, t_delta; its Y component is not used."""
    R_cam_human: np.ndarray
    """(..., 3, 3) camera rotation R_H: x_cam = R_cam_human x_human + t_cam_human_m."""
    t_cam_human_m: np.ndarray
    """(..., 3) camera translation T_H."""


@dataclass(frozen=True, slots=True, eq=False)
class WorldFrame:
    """The same frame, or batch of frames, in the world."""

    R_world_root: np.ndarray
    """(..., 3, 3) rotation of the body's root: theta_W."""
    trans_world_m: np.ndarray
    """(..., 3) SMPL-X translation t_W."""
    R_cam_world: np.ndarray
    """(..., 3, 3) camera rotation R_W: x_cam = R_cam_world x_world + t_cam_world_m."""
    t_cam_world_m: np.ndarray
    """(..., 3) camera translation T_W."""
    R_world_human: np.ndarray
    """(..., 3, 3) turn about Y from the frame's human space to the world: Q."""
    ground_m: np.ndarray
    """(..., 3) place of the human space's origin in the world, t_xz: x_world = R_world_human x_human + ground_m."""

    @property
    def T_cam_world(self) -> np.ndarray:
        """(..., 4, 4) rigid transform of world points to the OpenCV camera."""
        T = np.zeros((*self.R_cam_world.shape[:-2], 4, 4))
        T[..., :3, :3], T[..., :3, 3], T[..., 3, 3] = self.R_cam_world, self.t_cam_world_m, 1.0
        return T

    def points_m(self, points_human_m: np.ndarray) -> np.ndarray:
        """(..., N, 3) world places of points (..., N, 3) of the frame's human space."""
        return points_human_m @ np.swapaxes(self.R_world_human, -1, -2) + self.ground_m[..., None, :]


def heading_rotation(R_cam_human: np.ndarray) -> np.ndarray:
    """(..., 3, 3) turn about Y that brings the camera's front axis into the y-z plane, looking along -Z: Q.

    A camera that looks straight down or up has a front axis without heading. It takes the one it was tipped from: the
    upper edge of the image is ahead of a camera that looks down, the lower edge of one that looks up.
    """
    R = np.asarray(R_cam_human, np.float64)
    front, down = R[..., 2, :], R[..., 1, :]  # the camera's axes in human space
    vertical = np.hypot(front[..., 0], front[..., 2]) < _VERTICAL
    ahead = np.where(vertical[..., None], down * np.sign(front[..., 1:2]), front)
    x, z = ahead[..., 0], ahead[..., 2]
    length = np.hypot(x, z)
    cos, sin = -z / length, x / length  # turns (x, z) to (0, -length)
    Q = np.zeros(R.shape)
    Q[..., 0, 0] = Q[..., 2, 2] = cos
    Q[..., 0, 2], Q[..., 2, 0] = sin, -sin
    Q[..., 1, 1] = 1.0
    return Q


def to_world(
    frame: HumanFrame, root_rest_m: np.ndarray, ground_m: np.ndarray | None = None
) -> tuple[WorldFrame, np.ndarray]:
    """One frame in the world, and the accumulated ground translation (..., 3) to give for the frame that follows.

    root_rest_m: (3,) root joint of the rest-pose body, metres. ground_m: (..., 3) accumulated so far, None (zero) for
    the first frame.
    """
    Q = heading_rotation(frame.R_cam_human)
    trans = np.asarray(frame.trans_human_m, np.float64)
    ground = np.zeros_like(trans) if ground_m is None else np.asarray(ground_m, np.float64)
    world = _place(frame, np.asarray(root_rest_m, np.float64), Q, ground)
    return world, ground + _ground_step(frame, Q)


def sequence_to_world(
    frames: HumanFrame, root_rest_m: np.ndarray, ground_m: np.ndarray | None = None
) -> tuple[WorldFrame, np.ndarray]:
    """T frames, leading dimension first, in the world at once; the same as :func:`to_world` frame after frame.

    root_rest_m: (3,) root joint of the rest-pose body, metres. ground_m: (3,) accumulated before the first frame, None
    for zero. Returns the frames in the world and the ground translation (3,) that follows the last.
    """
    Q = heading_rotation(frames.R_cam_human)
    before = np.zeros((1, 3)) if ground_m is None else np.asarray(ground_m, np.float64).reshape(1, 3)
    places = np.cumsum(np.concatenate([before, _ground_step(frames, Q)]), axis=0)
    return _place(frames, np.asarray(root_rest_m, np.float64), Q, places[:-1]), places[-1]


def _ground_step(frame: HumanFrame, Q: np.ndarray) -> np.ndarray:
    """(..., 3) Q t_delta, level: only X and Z accumulate, height is in the translation of every frame."""
    return _apply(Q, np.asarray(frame.step_human_m, np.float64)) * [1.0, 0.0, 1.0]


def _place(frame: HumanFrame, root_rest_m: np.ndarray, Q: np.ndarray, ground: np.ndarray) -> WorldFrame:
    R_H, T_H = np.asarray(frame.R_cam_human, np.float64), np.asarray(frame.t_cam_human_m, np.float64)
    R_W = R_H @ np.swapaxes(Q, -1, -2)
    centre_human = -_apply(np.swapaxes(R_H, -1, -2), T_H)
    return WorldFrame(
        R_world_root=Q @ np.asarray(frame.R_human_root, np.float64),
        trans_world_m=_apply(Q, np.asarray(frame.trans_human_m, np.float64) + root_rest_m) - root_rest_m + ground,
        R_cam_world=R_W,
        t_cam_world_m=-_apply(R_W, _apply(Q, centre_human) + ground),
        R_world_human=Q,
        ground_m=ground,
    )


def _apply(R: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (R @ v[..., None])[..., 0]
