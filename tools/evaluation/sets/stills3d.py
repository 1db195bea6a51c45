"""Single pictures of Human3.6M and MPI-INF-3DHP with joints in the camera's axes.

Layout of the folder: ``truth.npz`` with ``files`` (N,), ``joints_cam_m`` (N, 17, 3), ``joints_px`` (N, 17, 2), ``K``
(N, 3, 3), ``joint_names`` (N, 17), since the two sets order their joints differently; and the pictures by those names.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ....models.errors import HmcapError
from ..records import LIMBS, Case, Motion3D
from .reading import camera_from_K, read_npz, sided, size_and_rate, still

_SHAPES = {
    "files": ("N",),
    "joints_cam_m": ("N", 17, 3),
    "joints_px": ("N", 17, 2),
    "K": ("N", 3, 3),
    "joint_names": ("N", 17),
}
_NAMES = {**{limb: sided(limb) for limb in LIMBS}, "mid_hip": "root"}
"""Head, neck and spine mean something else in each set, and in ours; the root is the middle of the hips in both."""


def load(folder: Path) -> Iterator[Case]:
    """One case for each picture."""
    file = folder / "truth.npz"
    data = read_npz(file, _SHAPES, texts=("files", "joint_names"))
    for i, name in enumerate(data["files"]):
        lookup = {str(n): k for k, n in enumerate(data["joint_names"][i])}
        missing = [n for n in _NAMES.values() if n not in lookup]
        if missing:
            raise HmcapError(
                f"Expected the joints {', '.join(_NAMES.values())} in row {i} of joint_names of {file}, found no "
                f"{', '.join(missing)}. Take the file as it is published."
            )
        rows = [lookup[n] for n in _NAMES.values()]
        footage = still(folder / str(name))
        width, height, _ = size_and_rate(footage.source)
        px = data["joints_px"][i, rows][None]
        yield Case(
            "stills3d",
            Path(str(name)).stem,
            0.0,
            camera_from_K(file, data["K"][i], width, height),
            Motion3D(
                joint_names=tuple(_NAMES),
                joints_m=data["joints_cam_m"][i, rows][None],
                keypoint_names=tuple(_NAMES),
                keypoints_px=px,
                keypoint_confidence=np.isfinite(px.sum(-1)).astype(np.float64),
            ),
            footage,
            notes="Joints as Human3.6M and MPI-INF-3DHP define them, lens distortion left out.",
        )
