"""MOYO (Tripathi et al. 2023): yoga on a mat, eight still cameras, SMPL-X in the world.

Layout of the folder, as the set's own toolkit downloads it, for one or both sessions (or the folder of one session)::

    20220923_20220926_with_hands/images/val/<sequence>/YOGI_Cam_<cc>/<sequence>_YOGI_Cam_<cc>_<frame>.jpg
    20220923_20220926_with_hands/AMASS/YOGI_2_latest_smplx_neutral/val/<sequence>_stageii.npz   (or ..._smplx_female)
    20220923_20220926_with_hands/cameras/<yyyymmdd>/*_PROCESSED_CAMERA_PARAMS/cameras_param.json
    20221004_with_com/...

An npz is in AMASS layout: ``poses`` (N, 165), hands relative to the flat hand, ``trans`` (N, 3), ``betas``, ``gender``
and ``mocap_frame_rate``, at 60 frames a second; metres, Z up, the mat at z = 0. (The fits in ``mosh`` stand on the
subject's own scan, which the AMASS ones have as ``betas``; only these are read.) The json holds for each camera
(``cam_1``, ...) ``focal`` and ``princpt`` in pixels of the full picture, twice the published one in width and height,
``rotation`` (3, 3) world to camera, and ``position``, the camera's place in millimetres.

Protocol: the validation split, one case for each sequence and camera that has pictures; picture n, 30 a second, shows
frame 2 n of the motion, as the set's evaluation takes them. Pressure and centre of mass are not read.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ....models.camera import Camera
from ....models.errors import HmcapError
from ..records import Case, Footage
from .body_files import find_body, load_body_file
from .body_truth import PROTOCOL, Z_UP, Axes, body_motion
from .nested_values import finite_field, text
from .reading import camera_from_K, pictures, read_npz, require_file, size_and_rate

_FPS = 30.0
_PUBLISHED = 0.5
"""Width of a published picture over that of the calibrated one."""
_SESSIONS = ("20220923_20220926_with_hands", "20221004_with_com")
_BODIES = ("YOGI_2_latest_smplx_neutral", "YOGI_2_latest_smplx_female")
_NOTES = f"{PROTOCOL} Picture n is taken to show frame 2 n of the motion; the set states it no better than a frame."


def load(folder: Path) -> Iterator[Case]:
    """One case for each sequence of the validation split and camera."""
    sessions = [folder / s for s in _SESSIONS if (folder / s / "images" / "val").is_dir()]
    if not sessions and (folder / "images" / "val").is_dir():
        sessions = [folder]
    if not sessions:
        raise HmcapError(
            f"Expected {_SESSIONS[0]}/images/val in {folder} (set moyo), found no such folder. "
            "Download with the toolkit of MOYO (-i -u, then -a SMPLX_NEUTRAL) and name the folder it downloads to."
        )
    for session in sessions:
        for sequence in sorted(p for p in (session / "images" / "val").iterdir() if p.is_dir()):
            for images in sorted(sequence.glob("YOGI_Cam_[0-9][0-9]")):
                yield _case(folder, session, sequence.name, images)


def _case(folder: Path, session: Path, sequence: str, images: Path) -> Case:
    places = [session / "AMASS" / b / "val" / f"{sequence}_stageii.npz" for b in _BODIES]
    file = next((p for p in places if p.is_file()), None) or require_file(places[0])
    data = read_npz(
        file,
        {"poses": ("N", 165), "trans": ("N", 3), "betas": ("B",), "gender": (), "mocap_frame_rate": ()},
        texts=("gender",),
    )
    step = float(finite_field(file, data, "mocap_frame_rate", ())) / _FPS
    if not 1 <= step <= 1000 or step != round(step):
        raise HmcapError(
            f"Expected a mocap_frame_rate that is a multiple of {_FPS:g} in {file}, found {step * _FPS:g}."
        )
    poses, trans, betas = (data[k] for k in ("poses", "trans", "betas"))
    frames = np.array([_frame(p) for p in pictures(images)]) * int(step)
    if (np.diff(frames) <= 0).any():
        raise HmcapError(f"Expected pictures in the order of their frames in {images}, found others. Unpack it again.")
    known = frames < len(trans)
    at = np.minimum(frames, len(trans) - 1)
    body = load_body_file(find_body("smplx", text(file, data, "gender"), folder), "smplx")
    moving = body.animate(poses[at].reshape(-1, 55, 3), trans[at], _used(betas))
    T_cam_set, camera = _camera(session, sequence, images)
    axes = Axes(Z_UP, np.zeros(3))
    T = np.broadcast_to(axes.turn_camera(T_cam_set), (len(frames), 4, 4))
    motion = body_motion(moving, axes, known, camera, T)
    return Case(
        "moyo",
        f"{sequence}_{images.name}",
        _FPS,
        camera,
        motion,
        Footage(images, np.arange(len(frames))),
        notes=_NOTES,
    )


def _frame(picture: Path) -> int:
    found = re.search(r"_(\d+)$", picture.stem)
    if not found:
        raise HmcapError(
            f"Expected pictures named ..._<frame> in {picture.parent}, found {picture.name}. Unpack it again."
        )
    return int(found.group(1))


def _used(betas: np.ndarray) -> np.ndarray:
    """The shape without the zeros at its end, which no body file need have components for."""
    return betas[: int(np.max(np.flatnonzero(betas), initial=-1)) + 1]


def _camera(session: Path, sequence: str, images: Path) -> tuple[np.ndarray, Camera]:
    """T (4, 4) of the set's world to the camera, and the camera of the published pictures."""
    day = session / "cameras" / f"20{sequence[:6]}"
    files = sorted(day.glob("*_PROCESSED_CAMERA_PARAMS/cameras_param.json"))
    file = require_file(files[0] if files else day / "*_PROCESSED_CAMERA_PARAMS" / "cameras_param.json")
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise HmcapError(f"Expected JSON in {file}, found something else ({error}). Download it again.") from error
    name = f"cam_{int(images.name.removeprefix('YOGI_Cam_'))}"
    R, position_mm = (
        finite_field(file, data, f"{name}/rotation", (3, 3)),
        finite_field(file, data, f"{name}/position", (3,)),
    )
    focal, centre = (
        float(finite_field(file, data, f"{name}/focal", ())),
        finite_field(file, data, f"{name}/princpt", (2,)),
    )
    if np.abs(R @ R.T - np.eye(3)).max() > 1e-3:
        raise HmcapError(f"Expected a rotation as {name}/rotation of {file}, found {R.tolist()}. Download it again.")
    K = np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]]) * [[_PUBLISHED], [_PUBLISHED], [1]]
    width, height, _ = size_and_rate(images)
    if not (0.25 < K[0, 2] / width < 0.75 and 0.25 < K[1, 2] / height < 0.75):
        raise HmcapError(
            f"Expected pictures of about {round(2 * K[0, 2])} x {round(2 * K[1, 2])} in {images}, half the size that "
            f"{file} is for; found {width} x {height}. Use the pictures as published."
        )
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, -R @ position_mm / 1000
    return T, camera_from_K(file, K, width, height)
