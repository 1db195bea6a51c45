"""Balancing on a beam, seen by four static calibrated cameras: the truth is triangulated, in a world with Y up.

Layout of the folder: ``truth.npz`` with ``joint_names`` (J,), ``joints_world_m`` (T, J, 3), ``fps``, ``camera_names``
(C,), ``K`` (C, 3, 3), ``dist`` (C, 4) as k1 k2 p1 p2, ``R_cam_world`` (C, 3, 3), ``t_cam_world_m`` (C, 3); and
``<camera name>.mp4`` of each camera, whose frame i is row i of the truth.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ....models.errors import HmcapError
from ..records import LIMBS, Case, Footage, Motion3D
from .reading import camera_from_K, projected, read_npz, require_file, sided, size_and_rate, to_camera

_SHAPES = {
    "joint_names": ("J",),
    "joints_world_m": ("T", "J", 3),
    "fps": (),
    "camera_names": ("C",),
    "K": ("C", 3, 3),
    "dist": ("C", 4),
    "R_cam_world": ("C", 3, 3),
    "t_cam_world_m": ("C", 3),
}
_SIDES, _PARTS = ("left", "right"), ("big_toe", "small_toe", "heel")
_FEET = {f"{s}_{p}": f"{s[0]}{p.replace('_', '')}" for s in _SIDES for p in _PARTS}
# Without its "Neck", 6 cm from the middle of the shoulders that the proxy of that name is, and "Head", which is none.
_NAMES = {**{limb: sided(limb) for limb in LIMBS}, **_FEET, "nose": "nose"}
_CONTACT = ("left_heel", "left_big_toe", "right_heel", "right_big_toe")
_NOTES = (
    "Truth is triangulated from the four views, not from markers: differences under 30 mm mean nothing. "
    "The person stands on a beam, not on the floor."
)


def load(folder: Path) -> Iterator[Case]:
    """One case for each camera."""
    file = folder / "truth.npz"
    data = read_npz(file, _SHAPES, texts=("joint_names", "camera_names"))
    lookup = {str(n).lower(): i for i, n in enumerate(data["joint_names"])}
    missing = [n for n in _NAMES.values() if n not in lookup]
    if missing:
        raise HmcapError(
            f"Expected the joints {', '.join(_NAMES.values())} in joint_names of {file}, found no "
            f"{', '.join(missing)}. Take the file as it is published."
        )
    names = tuple(_NAMES)
    joints = data["joints_world_m"][:, [lookup[n] for n in _NAMES.values()]]
    feet = joints[:, [names.index(n) for n in _CONTACT]]
    for i, name in enumerate(data["camera_names"]):
        source = require_file(folder / f"{name}.mp4")
        width, height, _ = size_and_rate(source)
        # Two files are 8 columns narrower than the pictures that were calibrated. Landmarks found in them lie no better
        # on the truth with a shift or a scale, so the columns count as cut off at the right.
        camera = camera_from_K(file, data["K"][i], width, height, data["dist"][i])
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = data["R_cam_world"][i], data["t_cam_world_m"][i]
        T_cam_world = np.broadcast_to(T, (len(joints), 4, 4)).copy()
        px, inside = projected(camera, to_camera(T_cam_world, joints))
        yield Case(
            "beam",
            str(name),
            float(data["fps"]),
            camera,
            Motion3D(
                joint_names=names,
                joints_m=joints,
                in_world=True,
                T_cam_world=T_cam_world,
                feet_m=feet,
                keypoint_names=names,
                keypoints_px=px,
                keypoint_confidence=inside,
            ),
            Footage(source, np.arange(len(joints))),
            notes=_NOTES,
        )
