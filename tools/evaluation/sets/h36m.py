"""Human3.6M (Ionescu et al., TPAMI 2014): four calibrated static cameras in a studio, joints from markers.

Layout, as published and unpacked: ``S9/Videos/<action>.<camera>.mp4`` and
``S9/MyPoseFeatures/D3_Positions_mono/<action>.<camera>.cdf`` (or ``S9/Poses_D3_Positions_mono/``), the same of S11, and
the cameras: ``metadata.xml`` of the release, or the widely used ``camera-parameters.json`` made of it. A cdf file holds
``Pose`` (1, T, 96): 32 joints in the camera's axes, millimetres; row i is frame i of the video (50 frames a second).

Protocol: subjects 9 and 11, all cameras and frames (Protocol 1 of the literature, root aligned, and with PA-MPJPE also
Protocol 2), on the 12 limb joints instead of 17: head, neck and spine are points of the set's own skeleton. Some
recordings of subject 9 have truth that stands beside the person; like most of the literature, this keeps them. The
world is the published one turned from Z up to Y up; its floor is at 0.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....models.errors import HmcapError
from ..records import LIMBS, Case, Footage, Motion3D
from .reading import camera_from_K, check_shapes, numeric, projected, require_file, require_folder, size_and_rate

FPS = 50.0
SUBJECTS = ("S9", "S11")
CAMERAS = ("54138969", "55011271", "58860488", "60457274")
"""In the order of the release's metadata."""
JOINTS = {
    "right_hip": 1, "right_knee": 2, "right_ankle": 3, "left_hip": 6, "left_knee": 7, "left_ankle": 8,
    "left_shoulder": 17, "left_elbow": 18, "left_wrist": 19, "right_shoulder": 25, "right_elbow": 26,
    "right_wrist": 27, "mid_hip": 0,
}  # fmt: skip
"""Our names among the 32; joint 0 is the middle of the hips."""
_POSES = ("MyPoseFeatures/D3_Positions_mono", "Poses_D3_Positions_mono", "D3_Positions_mono")
_NOTES = "Joints of the set's marker skeleton; published figures take 17 joints, 12 of them these."
_MOVED = ("Greeting", "SittingDown", "Waiting")
_BESIDE = " Of subject 9, some recordings of this action are known for truth that stands beside the person."
_Y_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""Turns the set's world (Z up) into ours (Y up)."""


@dataclass(frozen=True, slots=True)
class Lens:
    """One calibrated camera of one subject, millimetres, in the set's world."""

    K: np.ndarray
    dist: tuple[float, ...]
    """k1 k2 p1 p2 k3"""
    R_cam_world: np.ndarray
    t_cam_world_mm: np.ndarray
    file: Path
    """Where it was read from, for messages."""

    def T_cam_world(self) -> np.ndarray:
        """(4, 4) in metres from a world with Y up."""
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = self.R_cam_world @ _Y_UP.T, self.t_cam_world_mm / 1000
        return T


def load(folder: Path) -> Iterator[Case]:
    """One case for each video of subjects 9 and 11."""
    subjects = [s for s in SUBJECTS if (folder / s).is_dir()]
    if not subjects:
        raise HmcapError(
            f"Expected the folders {' and '.join(SUBJECTS)} of Human3.6M in {folder}, found neither. Name the folder "
            "that holds them."
        )
    lenses = cameras(folder)
    for subject in subjects:
        poses = next((folder / subject / p for p in _POSES if (folder / subject / p).is_dir()), None)
        if poses is None:
            raise HmcapError(
                f"Expected the joints (*.cdf) of {subject} in {folder / subject / _POSES[0]}, found no such folder. "
                "Unpack the release's Poses_D3_Positions_mono there."
            )
        holds = f"the videos of {subject}"
        videos = sorted(require_folder(folder / subject / "Videos", holds).glob("*.mp4"))
        videos = [v for v in videos if not v.name.startswith("_ALL")]
        if not videos:
            raise HmcapError(
                f"Expected {holds} (*.mp4) in {folder / subject / 'Videos'}, found none. Unpack them there."
            )
        for video in videos:
            yield _case(video, require_file(poses / f"{video.stem}.cdf"), subject, lenses)


def _case(video: Path, file: Path, subject: str, lenses: dict[tuple[str, str], Lens]) -> Case:
    title, _, name = video.stem.rpartition(".")
    action = title.partition(" ")[0]
    lens = lenses.get((subject, name))
    if lens is None:
        known = sorted({c for s, c in lenses if s == subject})
        raise HmcapError(
            f"Expected the name of {video} to end in the number of a camera ({', '.join(known) or 'none is known'}), "
            f"found {name}. Take the videos as they are published."
        )
    width, height, _ = size_and_rate(video)
    camera = camera_from_K(lens.file, lens.K, width, height, lens.dist)
    joints = read_cdf(file)[:, list(JOINTS.values())]
    T = lens.T_cam_world()
    limbs = joints[:, [list(JOINTS).index(n) for n in LIMBS]]
    px, inside = projected(camera, limbs)
    return Case(
        "h36m",
        f"{subject}_{video.stem.replace(' ', '_')}",
        FPS,
        camera,
        Motion3D(
            joint_names=tuple(JOINTS),
            joints_m=(joints - T[:3, 3]) @ T[:3, :3],
            in_world=True,
            T_cam_world=np.broadcast_to(T, (len(joints), 4, 4)).copy(),
            keypoint_names=LIMBS,
            keypoints_px=px,
            keypoint_confidence=inside,
        ),
        Footage(video, np.arange(len(joints))),
        notes=_NOTES + (_BESIDE if subject == "S9" and action in _MOVED else ""),
    )


def read_cdf(file: Path) -> np.ndarray:
    """(T, 32, 3) joints of a cdf file in the camera's axes, metres."""
    try:
        import cdflib
    except ImportError as error:
        raise HmcapError(
            f"Expected the package cdflib to read {file}, found none. Type: pip install 'hmcap[eval]'"
        ) from error
    try:
        pose: Any = cdflib.CDF(file).varget("Pose")
    except Exception as error:  # cdflib has no error class of its own, and raises whatever a broken file leads to
        raise HmcapError(
            f"Expected a cdf file with the variable Pose at {file}, found one that cannot be read "
            f"({type(error).__name__}: {str(error)[:150]}). Unpack it again."
        ) from error
    pose = numeric(file, "Pose", pose)
    pose = pose[None] if pose.ndim == 2 else pose
    check_shapes(file, {"Pose": pose}, {"Pose": (1, "T", 96)})
    return pose[0].reshape(-1, 32, 3) / 1000


def cameras(folder: Path) -> dict[tuple[str, str], Lens]:
    """The cameras by subject and number, from whichever file of them is there."""
    for place in ("metadata.xml", "Release-v1.1/metadata.xml"):
        if (folder / place).is_file():
            return _from_metadata(folder / place)
    for place in ("camera-parameters.json", "camera_parameters.json"):
        if (folder / place).is_file():
            return _from_json(folder / place)
    raise HmcapError(
        f"Expected the cameras of Human3.6M in {folder} as metadata.xml (of the release) or camera-parameters.json, "
        "found neither. Put one there."
    )


def _from_metadata(file: Path) -> dict[tuple[str, str], Lens]:
    """The list ``w0``: for each camera and each of 11 subjects three angles and the camera's place, then for each
    camera fx fy cx cy k1 k2 k3 p1 p2."""
    found = re.search(r"<w0>\s*\[([^\]<]*)\]", file.read_text(encoding="utf-8", errors="replace"))
    w0 = numeric(file, "w0", found[1].split() if found else [])
    if w0.shape != (300,):
        raise HmcapError(
            f"Expected a list w0 of 300 numbers in {file}, found {len(w0)}. Take the metadata.xml of the release."
        )
    out: dict[tuple[str, str], Lens] = {}
    for c, name in enumerate(CAMERAS):
        fx, fy, cx, cy, k1, k2, k3, p1, p2 = w0[264 + 9 * c : 273 + 9 * c]
        K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
        for s in range(11):
            extrinsic = w0[6 * (11 * c + s) :][:6]
            R = _turn(*extrinsic[:3])
            out[f"S{s + 1}", name] = Lens(K, (k1, k2, p1, p2, k3), R, -R @ extrinsic[3:], file)
    return out


def _turn(x: float, y: float, z: float) -> np.ndarray:
    """Rotation Rx Ry Rz of angles in radians."""
    (sx, sy, sz), (cx, cy, cz) = np.sin([x, y, z]), np.cos([x, y, z])
    Rx = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    Ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    Rz = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return Rx @ Ry @ Rz


def _from_json(file: Path) -> dict[tuple[str, str], Lens]:
    """``intrinsics[camera]`` with ``calibration_matrix`` and ``distortion`` (k1 k2 p1 p2 k3); ``extrinsics[subject]
    [camera]`` with ``R`` and ``t``, world to camera, millimetres."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        intrinsics, extrinsics = content["intrinsics"], content["extrinsics"]
        return {
            (subject, name): Lens(
                np.array(intrinsics[name]["calibration_matrix"], np.float64).reshape(3, 3),
                tuple(float(d) for d in intrinsics[name]["distortion"]),
                np.array(pose["R"], np.float64).reshape(3, 3),
                np.array(pose["t"], np.float64).reshape(3),
                file,
            )
            for subject, placed in extrinsics.items()
            for name, pose in placed.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise HmcapError(
            f"Expected intrinsics (calibration_matrix, distortion) and extrinsics (R, t) of each camera in {file}, "
            f"found something else ({type(error).__name__}: {error}). Take the file as it is published, or "
            "the release's metadata.xml."
        ) from error
