"""Truth of the sets that give parameters of a body: positions, feet, hands, mesh, in the axes of the records.

Joints that have the name of a landmark keep it, the other joints of the tree have the prefix ``smplx_``; nose, eyes,
ears, toes and heels are the vertices that SMPL's own landmark lists name, and so are the tips of the fingers. The feet
are heel and big toe, the vertices over which foot sliding is published (WHAM, Shin et al. 2024).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ....models.camera import Camera
from ....models.proxies import HAND_NAMES
from ....models.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from ....models.skeleton import CONTACT_POINTS
from ..records import LIMBS, BodyParameters, Motion3D, Surface
from .body_files import MovingBody
from .reading import SMPL_NAMES, projected, to_camera

PROTOCOL = (
    "The truth's joints are those of the set's own body model. Published figures of this set are taken over other "
    "joints; here all methods are compared over the same 12 limb joints."
)
"""First words of the notes of every set that gives a body."""

_FACE_AND_FEET = (
    *("nose", "right_eye", "left_eye", "right_ear", "left_ear"),
    *("left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel"),
)
POINTS = (
    *_FACE_AND_FEET,
    *(f"{s}_{f}4" for s in ("left", "right") for f in ("thumb", "index", "middle", "ring", "pinky")),
)
"""Landmarks on the skin, in the order in which the outputs of SMPL-X software append them to its 55 joints; the tips of
the fingers as "left_thumb4"."""
_SMPL = (332, 6260, 2800, 4071, 583, 3216, 3226, 3387, 6617, 6624, 6787)
_SMPL_TIPS = (2746, 2319, 2445, 2556, 2673, 6191, 5782, 5905, 6016, 6133)
_SMPLX = (9120, 9929, 9448, 616, 6, 5770, 5780, 8846, 8463, 8474, 8635)
_SMPLX_TIPS = (5361, 4933, 5058, 5169, 5286, 8079, 7669, 7794, 7905, 8022)
LANDMARK_VERTICES: dict[int, Mapping[str, int]] = {
    6890: dict(zip(POINTS, (*_SMPL, *_SMPL_TIPS), strict=True)),
    10475: dict(zip(POINTS, (*_SMPLX, *_SMPLX_TIPS), strict=True)),
}
"""Vertex of each of them in the meshes of SMPL and SMPL+H (6,890 vertices) and of SMPL-X (10,475)."""


@dataclass(frozen=True, slots=True, eq=False)
class Axes:
    """How the axes that a set is given in become those of the records: x -> R x + t."""

    R: np.ndarray
    """(3, 3)"""
    t_m: np.ndarray
    """(3,)"""

    def turn(self, points_m: np.ndarray) -> np.ndarray:
        """(..., 3) points in the axes of the records."""
        return points_m @ self.R.T + self.t_m

    def turn_camera(self, T_cam_set: np.ndarray) -> np.ndarray:
        """(..., 4, 4) transforms of the records' points to a camera, from those of the set's points."""
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = self.R.T, -self.R.T @ self.t_m
        return T_cam_set @ T


SAME = np.eye(3)
"""For points that have the axes of the records already."""
Z_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""Turns a world with Z up into one with Y up: x stays, z becomes y."""


def body_motion(
    moving: MovingBody,
    axes: Axes,
    known: np.ndarray,
    camera: Camera,
    T_cam_world: np.ndarray | None = None,
) -> Motion3D:
    """The truth of a body in motion, with its limb joints projected into the picture as key points.

    known: (T,) bool; the other rows are NaN. T_cam_world: (T, 4, 4) of the records' world, or None where ``axes`` lead
    to the axes of the camera.
    """
    joints = axes.turn(moving.joints_m())
    points = {}
    vertices = LANDMARK_VERTICES.get(len(moving.body.v_template), {})
    if vertices:
        skin = axes.turn(moving.vertices_m(slice(None), np.array(list(vertices.values()))))
        points = {name: skin[:, i] for i, name in enumerate(vertices)}

    def surface_m(rows: slice) -> np.ndarray:
        return np.where(known[rows, None, None], axes.turn(moving.vertices_m(rows)), np.nan)

    return motion_of(
        moving.body.joint_names,
        np.where(known[:, None, None], joints, np.nan),
        {name: np.where(known[:, None], at, np.nan) for name, at in points.items()},
        Surface(moving.body.topology, surface_m),
        camera,
        T_cam_world,
        _parameters(moving, axes, known),
    )


def motion_of(
    joint_names: Sequence[str],
    joints_m: np.ndarray,
    points: Mapping[str, np.ndarray],
    surface: Surface | None,
    camera: Camera,
    T_cam_world: np.ndarray | None = None,
    body: BodyParameters | None = None,
) -> Motion3D:
    """The record of positions that are in the axes of the records.

    joint_names, joints_m: J names of the tree, as the body has them, and (T, J, 3); points: landmarks of the skin, (T,
    3) each, by the names of ``LANDMARK_VERTICES``.
    """
    count = min(len(SMPL_NAMES) - 2, len(joint_names))
    on_skin = [n for n in _FACE_AND_FEET if n in points]
    names = (*SMPL_NAMES[:count], *on_skin)
    positions = np.concatenate([joints_m[:, :count], *(points[n][:, None] for n in on_skin)], axis=1)
    limbs = positions[:, [names.index(n) for n in LIMBS]]
    in_camera = limbs if T_cam_world is None else to_camera(T_cam_world, limbs)
    px, inside = projected(camera, in_camera)
    return Motion3D(
        joint_names=names,
        joints_m=positions,
        in_world=T_cam_world is not None,
        T_cam_world=T_cam_world,
        hands_m=_hands(joint_names, joints_m, points),
        feet_m=_feet(points),
        body=body,
        surface=surface,
        keypoint_names=LIMBS,
        keypoints_px=px,
        keypoint_confidence=inside,
    )


def _hands(names: Sequence[str], joints_m: np.ndarray, points: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """(T, 2, 21, 3) in HAND_NAMES order; None for a body without fingers, or whose finger tips are not known."""
    if "left_thumb1" not in names or "left_thumb4" not in points:
        return None
    lookup = {n: joints_m[:, i] for i, n in enumerate(names)} | dict(points)
    hands = [np.stack([lookup[f"{side}_{n}"] for n in HAND_NAMES], axis=1) for side in ("left", "right")]
    return np.stack(hands, axis=1)


def _feet(points: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """(T, 4, 3) CONTACT_POINTS; None where the vertices of the feet are not known."""
    names = [n.replace("_toe", "_big_toe") for n in CONTACT_POINTS]
    return np.stack([points[n] for n in names], axis=1) if all(n in points for n in names) else None


def _parameters(moving: MovingBody, axes: Axes, known: np.ndarray) -> BodyParameters | None:
    """The parameters in the axes of the records; None for a body that is not SMPL-X, or whose shape changes."""
    if moving.body.kind != "smplx" or moving.betas.ndim > 1:
        return None
    poses = moving.poses.copy()
    poses[:, 0] = matrix_to_axis_angle(axes.R @ axis_angle_to_matrix(poses[:, 0]))
    pelvis = moving.rest_joints_m()[..., 0, :]
    trans = axes.turn(pelvis + moving.trans_m) - pelvis
    return BodyParameters(
        np.where(known[:, None, None], poses, np.nan),
        np.where(known[:, None], trans, np.nan),
        moving.betas,
        str(moving.body.path.resolve()),
    )


def standing_on(moving: MovingBody, row: int, R: np.ndarray) -> Axes:
    """Axes turned by R, with the floor under the lowest vertex of a row: for sets that state no height of the floor."""
    lowest = (moving.vertices_m(slice(row, row + 1))[0] @ R.T)[:, 1].min()
    return Axes(R, np.array([0.0, -lowest, 0.0]))


def box_around(motion: Motion3D, camera: Camera) -> np.ndarray:
    """(T, 4) x, y, width, height around all joints of a motion in the picture, for one of several people; NaN where it
    is not known or behind the camera."""
    assert motion.joints_m is not None
    joints = motion.joints_m if motion.T_cam_world is None else to_camera(motion.T_cam_world, motion.joints_m)
    px = projected(camera, joints)[0]
    known = np.isfinite(px).all(-1, keepdims=True)
    low = np.where(known, px, np.inf).min(axis=1)
    size = np.where(known, px, -np.inf).max(axis=1) - low
    box = np.concatenate([low, size], axis=1)
    return np.where(np.isfinite(box).all(axis=1, keepdims=True), box, np.nan)
