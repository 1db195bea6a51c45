"""AGORA (Patel et al. 2021): rendered scans of people, 5 to 15 in a picture, SMPL-X in the camera's axes.

AGORA publishes tables of another library's objects; what is read here is the npz that research code commonly makes of
them (the names are those of BEDLAM's and AGORA's training labels). Layout of the folder: one or more ``*.npz``, and the
pictures by the names they give, under the folder or its ``images``. Arrays of N people, metres and pixels of the
pictures as they are there:

==================  =====================================================================================
``imgname`` (N,)    name of the picture, as text
``cam_int``         (N, 3, 3) intrinsic matrix
``joints3d_cam``    (N, J, 3) joints in the camera's axes (x right, y down, z forward) in SMPL-X order, J >= 22; the
                    table's ``gt_joints_3d``. With 55 or more the fingers are read, with 76 or more nose to toes and
                    finger tips. Or, instead of it:
``pose_cam``        (N, 165) axis-angle with the root in the camera's axes, hands relative to the flat hand
``shape``           (N, B) shape of the body file that ``gender`` names
``trans_cam``       (N, 3) translation; that of ``cam_ext`` (N, 4, 4), where it is there, is added to it
``gender`` (N,)     "neutral", "male" or "female" (m, f): whose body file shape and pose belong to; neutral if missing
``gtkps``           optional, (N, K, 2 or 3) the joints in the picture; the positions must project onto them
``occlusion`` (N,)  optional, per cent of the person that is hidden; people at 90 and more do not count, as in the set's
                    own evaluation
``kid`` (N,)        optional; children have a body of their own and are read from ``joints3d_cam`` only
==================  =====================================================================================

Protocol: one case for each person, single pictures. Published figures match people first and count those missed; here
the person meant is given by a box around the true joints.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from ....models.camera import Camera
from ....models.errors import HmcapError
from ....models.skeleton import JOINT_NAMES, NUM_BODY_JOINTS
from ..records import Case, Motion3D
from .body_files import find_body, load_body_file
from .body_truth import POINTS, PROTOCOL, SAME, Axes, body_motion, box_around, motion_of
from .reading import camera_from_K, read_npz, size_and_rate, still

_HIDDEN_PERCENT = 90.0
_AWAY = 0.05
"""Distance of projected joints from those given, over the person's size, beyond which something is wrong."""
_NOTES = f"{PROTOCOL} People are given by their box, so none is missed by being taken for another."


_NEEDED: dict[str, tuple[int | str, ...]] = {"imgname": ("N",), "cam_int": ("N", 3, 3)}
_TEXTS = ("imgname", "gender")
_OPTIONAL: dict[str, tuple[int | str, ...]] = {
    "joints3d_cam": ("N", "J", 3),
    "pose_cam": ("N", 165),
    "shape": ("N", "B"),
    "trans_cam": ("N", 3),
    "cam_ext": ("N", 4, 4),
    "gender": ("N",),
    "gtkps": ("N", "K", "D"),
    "occlusion": ("N",),
    "kid": ("N",),
}


def load(folder: Path) -> Iterator[Case]:
    """One case for each person."""
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise HmcapError(
            f"Expected *.npz with imgname, cam_int and joints3d_cam (or pose_cam, shape, trans_cam) in {folder} (set "
            "agora), found no npz. Make them of AGORA's tables; the module agora says what each array holds."
        )
    count: Counter[str] = Counter()
    for file in files:
        data = _read(file)
        for i in range(len(data["imgname"])):
            if "occlusion" in data and float(data["occlusion"][i]) >= _HIDDEN_PERCENT:
                continue
            if "joints3d_cam" not in data and "kid" in data and bool(data["kid"][i]):
                continue
            picture = str(data["imgname"][i])
            name = re.sub(r"[^A-Za-z0-9._-]", "_", Path(picture).stem)
            yield _case(folder, file, data, i, f"{name}_{count[name]}")
            count[name] += 1


def _read(file: Path) -> Mapping[str, np.ndarray]:
    read_npz(file, _NEEDED, _TEXTS)
    with np.load(file, allow_pickle=False) as archive:
        there = set(archive.files)
    positions = ("joints3d_cam",) if "joints3d_cam" in there else ("pose_cam", "shape", "trans_cam")
    data = read_npz(file, _NEEDED | {k: v for k, v in _OPTIONAL.items() if k in there or k in positions}, _TEXTS)
    if "joints3d_cam" in data and data["joints3d_cam"].shape[1] < NUM_BODY_JOINTS:
        raise HmcapError(
            f"Expected at least the {NUM_BODY_JOINTS} body joints of SMPL-X as joints3d_cam of {file}, found "
            f"{data['joints3d_cam'].shape[1]}. Take gt_joints_3d of AGORA's table with SMPL-X joints."
        )
    return data


def _case(folder: Path, file: Path, data: Mapping[str, np.ndarray], i: int, name: str) -> Case:
    picture = str(data["imgname"][i])
    inside = folder / "images" / picture
    footage = still(inside if inside.is_file() else folder / picture)
    camera = camera_from_K(file, data["cam_int"][i], *_size_px(footage.source))
    motion = _given(data["joints3d_cam"][i], camera) if "joints3d_cam" in data else _posed(folder, data, i, camera)
    if "gtkps" in data:
        _check(file, data["gtkps"], i, motion)
    return Case("agora", name, 0.0, camera, motion, footage, box_px=box_around(motion, camera), notes=_NOTES)


@lru_cache(maxsize=32)
def _size_px(picture: Path) -> tuple[int, int]:
    width, height, _ = size_and_rate(picture)
    return width, height


def _given(joints: np.ndarray, camera: Camera) -> Motion3D:
    """The truth of one person by joints (J, 3)."""
    extra = joints[len(JOINT_NAMES) :]
    points = {n: extra[None, k] for k, n in enumerate(POINTS)} if len(extra) >= len(POINTS) else {}
    names = JOINT_NAMES if len(joints) >= len(JOINT_NAMES) else JOINT_NAMES[:NUM_BODY_JOINTS]
    return motion_of(names, joints[None, : len(names)], points, None, camera)


def _posed(folder: Path, data: Mapping[str, np.ndarray], i: int, camera: Camera) -> Motion3D:
    pose, shape, trans = (data[k][i] for k in ("pose_cam", "shape", "trans_cam"))
    gender = str(data["gender"][i]) if "gender" in data else "neutral"
    body = load_body_file(find_body("smplx", gender, folder), "smplx")
    moving = body.animate(pose.reshape(1, 55, 3), trans[None], shape)
    shift = data["cam_ext"][i, :3, 3] if "cam_ext" in data else np.zeros(3)
    return body_motion(moving, Axes(SAME, shift), np.ones(1, bool), camera)


def _check(file: Path, keypoints: np.ndarray, i: int, motion: Motion3D) -> None:
    """The limbs of the truth must lie where the file says that they are seen."""
    assert motion.keypoints_px is not None
    given = keypoints[i, [JOINT_NAMES.index(n) for n in motion.keypoint_names], :2]
    away = np.median(np.linalg.norm(given - motion.keypoints_px[0], axis=-1))
    size = np.ptp(given, axis=0).max()
    if not away <= _AWAY * size:
        raise HmcapError(
            f"Expected the joints of person {i} of {file} to project onto its gtkps, found them {away:.0f} pixels away "
            f"on a person of {size:.0f}. Check that cam_int is for the size of the pictures, and that gender names the "
            "body file that the parameters belong to."
        )
