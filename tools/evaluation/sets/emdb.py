"""EMDB 2 (Kaufmann et al. 2023): 25 long walks and climbs outdoors, seen by a moving camera, SMPL in one world.

Layout of the folder, as published::

    P0 ... P9/<sequence>/<P>_<sequence>_data.pkl
    P0 ... P9/<sequence>/images/00000.jpg ...

A pkl holds ``gender``, ``name``, ``emdb1``, ``emdb2``, ``n_frames``, ``good_frames_mask`` (T,), ``camera``
(``intrinsics`` (3, 3), ``extrinsics`` (T, 4, 4) world to camera, ``width``, ``height``), ``smpl`` (``poses_root``
(T, 3), ``poses_body`` (T, 69), ``trans`` (T, 3), ``betas`` (10,)) and ``bboxes`` (``bboxes`` (T, 4) x0 y0 x1 y1,
``invalid_idxs``). Metres; the world has Y up; 30 frames a second.

Protocol: the sequences with ``emdb2``, over which W-MPJPE, RTE, jitter and foot sliding are published (WHAM, GVHMR,
TRAM); rows outside ``good_frames_mask``, where the person is hidden or out of the picture, are not known. The body is
SMPL of the sequence's gender. EMDB states no height of the ground: the floor is put under the lowest vertex of the
first good frame, and means nothing after stairs and slopes.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ....models.errors import HmcapError
from ..records import Case, Footage
from .body_files import find_body, load_body_file
from .body_truth import PROTOCOL, SAME, body_motion, standing_on
from .nested_values import field, finite_field, flag, text
from .pickle_data import read_pickle
from .reading import camera_from_K, pictures

_FPS = 30.0
_NOTES = f"{PROTOCOL} EMDB states no height of the ground: the floor lies under the feet of the first frame."


def load(folder: Path) -> Iterator[Case]:
    """One case for each sequence of EMDB 2."""
    files = sorted(folder.glob("P*/*/*_data.pkl"))
    if not files:
        raise HmcapError(
            f"Expected P0 to P9 with <sequence>/*_data.pkl in {folder} (set emdb), found no such file. "
            "Name the folder that holds P0 to P9, unpacked."
        )
    found = False
    for file in files:
        data = read_pickle(file)
        if flag(file, data, "emdb2"):
            found = True
            yield _case(folder, file, data)
    if not found:
        raise HmcapError(
            f"Expected sequences of EMDB 2 (those whose emdb2 is true) in {folder}, found {len(files)} of others. "
            "Add the folders of EMDB 2, for example P0/09_outdoor_walk."
        )


def _case(folder: Path, file: Path, data: object) -> Case:
    poses_root = field(file, data, "smpl/poses_root", ("T", 3))
    T = len(poses_root)
    poses_body = field(file, data, "smpl/poses_body", (T, 69))
    trans = field(file, data, "smpl/trans", (T, 3))
    betas = field(file, data, "smpl/betas", ("B",))
    good = field(file, data, "good_frames_mask", (T,)) > 0
    K = finite_field(file, data, "camera/intrinsics", (3, 3))
    extrinsics = field(file, data, "camera/extrinsics", (T, 4, 4))
    width, height = (int(finite_field(file, data, f"camera/{k}", ())) for k in ("width", "height"))
    box = field(file, data, "bboxes/bboxes", (T, 4))
    images = file.parent / "images"
    count = len(pictures(images, "the pictures of the sequence"))
    if count != T:
        raise HmcapError(
            f"Expected {T} pictures in {images}, as many as {file.name} has rows, found {count}. "
            "Unpack the sequence again."
        )
    body = load_body_file(find_body("smpl", text(file, data, "gender"), folder), "smpl")
    poses = np.concatenate([poses_root, poses_body], axis=1).reshape(T, 24, 3)
    moving = body.animate(poses, trans, betas)
    axes = standing_on(moving, int(np.argmax(good)), SAME)
    camera = camera_from_K(file, K, width, height)
    xywh = np.concatenate([box[:, :2], box[:, 2:] - box[:, :2]], axis=1)
    valid = good & (xywh[:, 2:] > 0).all(axis=1)
    return Case(
        "emdb",
        text(file, data, "name"),
        _FPS,
        camera,
        body_motion(moving, axes, good, camera, axes.turn_camera(extrinsics)),
        Footage(images, np.arange(T)),
        box_px=np.where(valid[:, None], xywh, np.nan),
        notes=_NOTES,
    )
