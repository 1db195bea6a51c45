"""3DPW (von Marcard et al., ECCV 2018): people outdoors, one moving hand-held camera, SMPL bodies from sensors.

Layout, as published: ``sequenceFiles/test/<sequence>.pkl`` and ``imageFiles/<sequence>/image_00000.jpg`` (30 pictures a
second). A sequence file is a pickle of Python 2, read here as data only: ``jointPositions`` (for each actor (N, 72):
the 24 SMPL joints in the world, metres), ``cam_poses`` (N, 4, 4) world to camera, ``cam_intrinsics`` (3, 3),
``campose_valid`` (for each actor (N,)), ``sequence``.

Protocol: the test split, every actor a case, every frame a row; frames whose camera is not valid for the actor have no
truth, as in the evaluations of SPIN and VIBE. Those take 14 joints regressed from the meshes, which need licence-gated
files; here the 12 limb joints of the SMPL skeleton are compared. Positions are in the camera's axes: the published
world drifts, so that nobody measures in it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ....models.errors import HmcapError
from ..records import LIMBS, Case, Footage, Motion3D
from .pickle_data import read_pickle
from .reading import (
    box_around,
    camera_from_K,
    check_shapes,
    numeric,
    pictures,
    projected,
    require_folder,
    size_and_rate,
    smpl_joints,
    to_camera,
)

FPS = 30.0
_KEYS = ("jointPositions", "cam_poses", "cam_intrinsics", "campose_valid")
_NOTES = (
    "Joints of the SMPL skeleton; published figures take 14 joints regressed from the mesh. Key points are the truth's "
    "joints in the picture, hidden or not."
)


def load(folder: Path) -> Iterator[Case]:
    """One case for each actor of each sequence of the test split."""
    holds = "the sequence files (*.pkl) of the test split"
    files = sorted(require_folder(folder / "sequenceFiles" / "test", holds).glob("*.pkl"))
    if not files:
        raise HmcapError(f"Expected {holds} in {folder / 'sequenceFiles' / 'test'}, found none. Unpack them there.")
    for file in files:
        yield from _sequence(file, folder / "imageFiles" / file.stem)


def _sequence(file: Path, images: Path) -> Iterator[Case]:
    content = read_pickle(file)
    missing = [k for k in _KEYS if not isinstance(content, dict) or k not in content]
    if missing:
        raise HmcapError(
            f"Expected a dictionary with {', '.join(_KEYS)} in {file}, found no {', '.join(missing)}. "
            "Take the sequence files as they are published."
        )
    joints, valid = _per_actor(file, content, "jointPositions"), _per_actor(file, content, "campose_valid")
    if len(joints) != len(valid):
        raise HmcapError(
            f"Expected campose_valid of {file} to be one array for each of {len(joints)} actors, found {len(valid)}. "
            "Take the sequence files as they are published."
        )
    K = numeric(file, "cam_intrinsics", content["cam_intrinsics"])
    cameras = numeric(file, "cam_poses", content["cam_poses"])
    paths = pictures(images, f"the pictures of {file.stem}")
    width, height, _ = size_and_rate(paths[0])
    for actor, (position, trust) in enumerate(zip(joints, valid, strict=True)):
        shapes = {"jointPositions": ("N", 72), "cam_poses": ("N", 4, 4), "cam_intrinsics": (3, 3)}
        arrays = {"jointPositions": position, "cam_poses": cameras, "cam_intrinsics": K, "campose_valid": trust}
        rows = check_shapes(file, arrays, {**shapes, "campose_valid": ("N",)})["N"]
        if len(paths) < rows:
            raise HmcapError(
                f"Expected {rows} pictures in {images}, as many as {file.name} has frames, found {len(paths)}. "
                "Unpack all of them."
            )
        camera = camera_from_K(file, K, width, height)
        names, smpl = smpl_joints(position.reshape(rows, 24, 3))
        in_camera = np.where((trust > 0)[:, None, None], to_camera(cameras, smpl), np.nan)
        limbs = in_camera[:, [names.index(n) for n in LIMBS]]
        px, inside = projected(camera, limbs)
        yield Case(
            "3dpw",
            f"{file.stem}_{actor}",
            FPS,
            camera,
            Motion3D(
                joint_names=names,
                joints_m=in_camera,
                keypoint_names=LIMBS,
                keypoints_px=px,
                keypoint_confidence=inside,
            ),
            Footage(images, np.arange(rows)),
            box_px=box_around(projected(camera, in_camera)[0]),
            notes=_NOTES,
        )


def _per_actor(file: Path, content: dict[str, Any], key: str) -> list[np.ndarray]:
    if not isinstance(content[key], list | tuple | np.ndarray) or not len(content[key]):
        raise HmcapError(
            f"Expected {key} of {file} to be a list with an array for each actor, found a "
            f"{type(content[key]).__name__}. Take the sequence files as they are published."
        )
    return [numeric(file, key, v) for v in content[key]]
