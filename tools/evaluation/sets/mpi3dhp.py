"""MPI-INF-3DHP (Mehta et al., 3DV 2017): studio and outdoors, joints from a markerless system of many cameras.

Layout, as published. Test set: ``TS1`` to ``TS6`` (also inside ``mpi_inf_3dhp_test_set``), each with
``annot_data.mat`` (MATLAB 7.3, that is HDF5: ``annot2`` (N, 1, 17, 2) pixels, ``annot3`` (N, 1, 17, 3) millimetres in
the camera's axes, ``valid_frame`` (N, 1)) and ``imageSequence/img_000001.jpg``. Training sequences: ``S1/Seq1`` to
``S8/Seq2``, each with ``annot.mat`` (``annot2`` and ``annot3``, for each camera (N, 56) and (N, 84), ``cameras``),
``camera.calibration`` and ``imageSequence/video_0.avi``.

Protocol: frames of the test set that are not valid have no truth. The joints are those of the true size (``annot3``),
which fit the picture; figures in the literature often take the ones scaled to one height (``univ_annot3``), and 14 or
17 joints where these are the 12 limbs. The camera of a test sequence follows from its two annotations.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ....models.camera import Camera
from ....models.errors import HmcapError
from ....realtime.sources import open_source
from ..records import LIMBS, Case, Footage, Motion3D
from .reading import (
    camera_from_K,
    check_shapes,
    inside_picture,
    numeric,
    pictures,
    projected,
    require_file,
    size_and_rate,
)

TEST_FPS = 25.0
"""The frame rate of the test pictures is not published; this is the rate of most training sequences."""
_FAST = {("S1", "Seq2"), ("S3", "Seq1"), ("S3", "Seq2"), ("S5", "Seq1"), ("S5", "Seq2")}
"""Training sequences of 50 frames a second, by the tools of the release; the others have 25."""
TEST_JOINTS = {
    "right_shoulder": 2, "right_elbow": 3, "right_wrist": 4, "left_shoulder": 5, "left_elbow": 6, "left_wrist": 7,
    "right_hip": 8, "right_knee": 9, "right_ankle": 10, "left_hip": 11, "left_knee": 12, "left_ankle": 13,
    "mid_hip": 14,
}  # fmt: skip
"""Our names among the 17 joints of the test set; its root is the middle of the hips."""
TRAIN_JOINTS = {
    "left_shoulder": 9, "left_elbow": 10, "left_wrist": 11, "right_shoulder": 14, "right_elbow": 15, "right_wrist": 16,
    "left_hip": 18, "left_knee": 19, "left_ankle": 20, "right_hip": 23, "right_knee": 24, "right_ankle": 25,
    "mid_hip": 4,
}  # fmt: skip
"""Our names among the 28 joints of the training set."""
_FIT_PX = 5.0
"""Annotations that agree leave less than this between the pixels and the projected joints."""
_NOTES = "Joints of a markerless system's skeleton, true size; published figures take 14 or 17 joints."


def load(folder: Path) -> Iterator[Case]:
    """One case for each test sequence, then one for each video of the training sequences that are there."""
    test = sorted([*folder.glob("TS*/annot_data.mat"), *folder.glob("*/TS*/annot_data.mat")])
    train = sorted(folder.glob("S*/Seq*/annot.mat"))
    if not test and not train:
        raise HmcapError(
            f"Expected TS*/annot_data.mat (test) or S*/Seq*/annot.mat (training) of MPI-INF-3DHP in {folder}, found "
            "neither. Name the folder that holds the sequences."
        )
    for file in test:
        yield _test_case(file)
    for file in train:
        yield from _train_cases(file)


def _test_case(file: Path) -> Case:
    arrays = _read_hdf5(file)
    check_shapes(file, arrays, {"annot2": ("N", 1, 17, 2), "annot3": ("N", 1, 17, 3), "valid_frame": ("N",)})
    valid = arrays["valid_frame"] > 0
    rows = list(TEST_JOINTS.values())
    joints = arrays["annot3"][:, 0] / 1000
    px = arrays["annot2"][:, 0]
    paths = pictures(file.parent / "imageSequence", f"the pictures of {file.parent.name}")
    if len(paths) < len(valid):
        raise HmcapError(
            f"Expected {len(valid)} pictures in {file.parent / 'imageSequence'}, as many as {file} has rows, found "
            f"{len(paths)}. Unpack all of them."
        )
    if not (np.isfinite(joints[valid]).all() and np.isfinite(px[valid]).all() and (joints[valid, :, 2] > 0).all()):
        raise HmcapError(
            f"Expected joints before the camera in annot3 and pixels in annot2 of {file} in every valid frame, found "
            "others. Take the file as it is published."
        )
    width, height, _ = size_and_rate(paths[0])
    camera = camera_of(file, joints[valid], px[valid], width, height)
    limbs = [TEST_JOINTS[n] for n in LIMBS]
    known = np.where(valid[:, None, None], px[:, limbs], np.nan)
    return Case(
        "3dhp",
        file.parent.name,
        TEST_FPS,
        camera,
        Motion3D(
            joint_names=tuple(TEST_JOINTS),
            joints_m=np.where(valid[:, None, None], joints[:, rows], np.nan),
            keypoint_names=LIMBS,
            keypoints_px=known,
            keypoint_confidence=inside_picture(known, camera),
        ),
        Footage(file.parent / "imageSequence", np.arange(len(valid))),
        notes=f"{_NOTES} The frame rate is not published: {TEST_FPS:g} is assumed.",
    )


def _read_hdf5(file: Path) -> dict[str, np.ndarray]:
    try:
        import h5py
    except ImportError as error:
        raise HmcapError(
            f"Expected the package h5py to read {file}, found none. Type: pip install 'hmcap[eval]'"
        ) from error
    out: dict[str, np.ndarray] = {}
    try:
        with h5py.File(file, "r") as data:
            for name in ("annot2", "annot3", "valid_frame"):
                item = data.get(name)
                if not isinstance(item, h5py.Dataset):
                    raise HmcapError(
                        f"Expected annot2, annot3 and valid_frame in {file}, found no {name}. Take the file as it is "
                        "published."
                    )
                out[name] = numeric(file, name, item[()])
    except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
        raise HmcapError(
            f"Expected a MATLAB 7.3 file at {file}, found one that cannot be read ({str(error)[:150]}). "
            "Download it again."
        ) from error
    out["valid_frame"] = out["valid_frame"].reshape(-1)
    return out


def camera_of(file: Path, joints_m: np.ndarray, px: np.ndarray, width_px: int, height_px: int) -> Camera:
    """The pin-hole camera that takes joints (N, J, 3) in its axes to pixels (N, J, 2), by least squares. Raises
    ``HmcapError`` where none does."""
    found: list[tuple[float, float]] = []
    residual = np.inf
    if len(joints_m):
        x, y, z = np.moveaxis(joints_m.reshape(-1, 3), -1, 0)
        uv = px.reshape(-1, 2)
        residuals = []
        for axis, ratio in enumerate((x / z, y / z)):
            A = np.stack([ratio, np.ones_like(ratio)], axis=-1)
            solution = np.linalg.lstsq(A, uv[:, axis], rcond=None)[0]
            residuals.append(np.abs(A @ solution - uv[:, axis]))
            found.append((float(solution[0]), float(solution[1])))
        residual = float(np.median(np.hypot(*residuals)))
    if not (residual < _FIT_PX and min(f for f, _ in found) > 0):
        raise HmcapError(
            f"Expected annot3 of {file} to fall on annot2 through one camera, found a distance of {residual:.0f} "
            "pixels (median over the valid frames). Take the file as it is published."
        )
    (fx, cx), (fy, cy) = found
    return Camera(width_px, height_px, fx, fy, cx, cy, (), "annotations")


def _train_cases(file: Path) -> Iterator[Case]:
    folder = file.parent
    videos = sorted((folder / "imageSequence").glob("video_*.avi"), key=lambda p: (len(p.stem), p.stem))
    if not videos:
        raise HmcapError(
            f"Expected videos (video_0.avi, ...) in {folder / 'imageSequence'}, found none. Download a camera set."
        )
    lenses = read_calibration(require_file(folder / "camera.calibration"))
    joints, numbers = _read_mat(file)
    subject, sequence = folder.parent.name, folder.name
    for video in videos:
        number = video.stem.rpartition("_")[2]
        if number not in lenses or number not in numbers:
            raise HmcapError(
                f"Expected the camera of {video} among those of {folder / 'camera.calibration'} "
                f"({', '.join(lenses) or 'none'}) and of {file} ({', '.join(numbers) or 'none'}), found none of that "
                "number. Take the files as they are published."
            )
        K, T = lenses[number]
        with open_source(str(video)) as opened:
            width, height, frames = opened.width_px, opened.height_px, opened.frame_count
        camera = camera_from_K(folder / "camera.calibration", K, width, height)
        mine = joints[numbers.index(number)]
        mine = mine[: len(mine) if frames is None else min(frames, len(mine))]  # a few videos end before the joints do
        mine = mine[:, list(TRAIN_JOINTS.values())]
        px, inside = projected(camera, mine[:, [list(TRAIN_JOINTS).index(n) for n in LIMBS]])
        yield Case(
            "3dhp",
            f"{subject}_{sequence}_{video.stem}",
            50.0 if (subject, sequence) in _FAST else 25.0,
            camera,
            Motion3D(
                joint_names=tuple(TRAIN_JOINTS),
                joints_m=(mine - T[:3, 3]) @ T[:3, :3],
                in_world=True,
                T_cam_world=np.broadcast_to(T, (len(mine), 4, 4)).copy(),
                keypoint_names=LIMBS,
                keypoints_px=px,
                keypoint_confidence=inside,
            ),
            Footage(video, np.arange(len(mine))),
            notes=_NOTES,
        )


def _read_mat(file: Path) -> tuple[list[np.ndarray], list[str]]:
    """For each camera the joints (N, 28, 3) in its axes, metres; and the numbers of the cameras."""
    from scipy.io import loadmat

    try:
        data: dict[str, Any] = loadmat(file, variable_names=["annot3", "cameras"])
    except Exception as error:  # broken files lead scipy's reader to errors of many kinds
        raise HmcapError(
            f"Expected a MATLAB file at {file}, found one that cannot be read ({type(error).__name__}: "
            f"{str(error)[:150]}). Download it again."
        ) from error
    cells = data.get("annot3")
    if not isinstance(cells, np.ndarray) or cells.dtype != object or "cameras" not in data:
        raise HmcapError(
            f"Expected cameras, and a cell for each of them in annot3, in {file}, found something else. Take the "
            "file as it is published."
        )
    numbers = [str(int(n)) for n in numeric(file, "cameras", data["cameras"]).ravel()]
    joints = [numeric(file, "annot3", cell) for cell in cells.ravel()]
    if len(joints) != len(numbers):
        raise HmcapError(
            f"Expected annot3 of {file} to have {len(numbers)} cells, one for each of its cameras, found "
            f"{len(joints)}. Take the file as it is published."
        )
    for cell in joints:
        check_shapes(file, {"annot3": cell}, {"annot3": ("N", 84)})
    return [cell.reshape(-1, 28, 3) / 1000 for cell in joints], numbers


def read_calibration(file: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """K (3, 3) in pixels and T_cam_world (4, 4) in metres of each camera by its number; the world has Y up."""
    out: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    name, K = "", None
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        key, *values = line.split() or [""]
        if key == "name":
            name, K = " ".join(values), None
        elif key in ("intrinsic", "extrinsic"):
            matrix = numeric(file, key, values)
            check_shapes(file, {key: matrix}, {key: (16,)})
            matrix = matrix.reshape(4, 4)
            if key == "intrinsic":
                K = matrix[:3, :3]
            elif K is not None:
                T = matrix.copy()
                T[:3, 3] /= 1000
                out[name] = (K, T)
    if not out:
        raise HmcapError(
            f"Expected cameras with name, intrinsic and extrinsic lines in {file}, found none. Take the file as it is "
            "published."
        )
    return out
