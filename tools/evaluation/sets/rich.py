"""RICH (Huang et al. 2022): people in contact with scanned scenes, up to eight still cameras, SMPL-X in the world.

Layout of the folder, as the set's own toolkit arranges the downloads (``test``, else ``val``)::

    bodies/test/<sequence>/<frame>/<subject>.pkl            (or test_body/..., as the archive unpacks)
    images/test/<sequence>/cam_<cc>/<frame>_<cc>.jpeg       (or test/...; .png, .bmp as well)
    scan_calibration/<scene>/calibration/<ccc>.xml
    multicam2world/<scene>_multicam2world.json

A pkl holds the SMPL-X parameters of one person in one frame, each (1, n): ``transl``, ``global_orient``, ``body_pose``
(63), ``betas`` (10), ``left_hand_pose`` and ``right_hand_pose`` as 12 principal components about the mean hand, and of
the face, where they are there, ``jaw_pose``, ``leye_pose``, ``reye_pose`` and ``expression``. They are in the axes of
the first camera. An xml holds ``CameraMatrix`` (3 x 4, those axes to the camera), ``Intrinsics`` (3 x 3, for 4112 x
3008 pixels or upright) and ``Distortion``; the json holds R, t, c with world = c X R + t (a row vector X), the scan's
world with Z up and the ground at z = 0. Bodies keep their own scale: only R and t / c are used, c being the scan's size
against the cameras'.

Protocol: one case for each person and camera; rows are the pictures from the person's first to last fitted frame, 30 a
second. Lens distortion is left out, as in the set's toolkit. Subjects are men or women as the toolkit lists them.
"""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ....models.errors import HmcapError
from ..records import Case, Footage
from .body_files import BodyFile, find_body, load_body_file
from .body_truth import PROTOCOL, Z_UP, Axes, body_motion, box_around
from .nested_values import field, finite_field
from .pickle_data import read_pickle
from .reading import pictures, require_file
from .scaled_camera import scaled_camera

_FPS = 30.0
_FULL_PX = 4112, 3008
"""Size of the pictures that the intrinsics are for (3008 x 4112 for a camera on its side)."""
_WOMEN = frozenset({9, 10, 12, 13, 16, 17, 18, 19, 21})
"""Numbers of the subjects that are women (gender.json of the toolkit); the other of the 22 are men."""
_ONE_SHAPE = 1e-3
"""Shapes of the frames that differ by less are one: a thousandth of a standard deviation is less than 0.1 mm."""
_NOTES = f"{PROTOCOL} Lens distortion is left out, as the set's own toolkit does."


def load(folder: Path) -> Iterator[Case]:
    """One case for each person and camera of the test split, or of the validation split where there is no test."""
    for split in ("test", "val"):
        bodies = [b for b in (folder / "bodies" / split, folder / f"{split}_body") if b.is_dir()]
        images = [i for i in (folder / "images" / split, folder / split) if i.is_dir()]
        if bodies and images:
            for sequence in sorted(p for p in bodies[0].iterdir() if p.is_dir()):
                cameras = sorted((images[0] / sequence.name).glob("cam_[0-9][0-9]"))
                subjects = sorted({f.stem for f in sequence.glob("*/*.pkl")})
                for subject in subjects:
                    yield from _cases(folder, sequence, subject, cameras, len(subjects) > 1)
            return
    raise HmcapError(
        f"Expected bodies/test and images/test (or val) in {folder} (set rich), found neither. "
        "Arrange the downloads as the toolkit of RICH asks."
    )


def _cases(folder: Path, sequence: Path, subject: str, cameras: list[Path], several: bool) -> Iterator[Case]:
    if not cameras:
        return  # pictures of some sequences only
    if not subject.isdigit():
        raise HmcapError(
            f"Expected files named by subject numbers in {sequence}, found {subject}.pkl. Unpack it again."
        )
    body = load_body_file(find_body("smplx", "female" if int(subject) in _WOMEN else "male", folder), "smplx")
    files = {int(f.parent.name): f for f in sequence.glob(f"*/{subject}.pkl") if f.parent.name.isdigit()}
    R, t_m = _world(folder, sequence.name)
    axes = Axes(Z_UP @ R, Z_UP @ t_m)
    frames = {n: _parameters(f, body) for n, f in sorted(files.items())}
    for camera in cameras:
        yield _case(folder, sequence.name, subject if several else "", camera, body, frames, axes)


def _case(
    folder: Path, sequence: str, subject: str, images: Path, body: BodyFile, frames: "dict[int, _Frame]", axes: Axes
) -> Case:
    numbers = {_frame(p): i for i, p in enumerate(pictures(images))}
    seen = [n for n in sorted(numbers) if min(frames) <= n <= max(frames)]
    if not any(n in frames for n in seen):
        raise HmcapError(
            f"Expected pictures of frames {min(frames)} to {max(frames)}, which have bodies, in {images}; found none. "
            "Unpack pictures and bodies of the same split."
        )
    known = np.array([n in frames for n in seen])
    poses, trans, betas, expression = (np.stack(p) for p in zip(*(frames[n] for n in seen if n in frames), strict=True))
    place = np.maximum(np.cumsum(known) - 1, 0)  # a row without a body borrows its neighbour's, and is not known
    one = np.ptp(betas, axis=0).max() < _ONE_SHAPE
    moving = body.animate(poses[place], trans[place], betas.mean(axis=0) if one else betas[place], expression[place])
    scene, number = sequence.partition("_")[0], int(images.name.removeprefix("cam_"))
    file = require_file(folder / "scan_calibration" / scene / "calibration" / f"{number:03d}.xml")
    T_cam_set, K = _calibration(file)
    camera = scaled_camera(file, K, _FULL_PX if K[0, 2] >= K[1, 2] else (_FULL_PX[1], _FULL_PX[0]), images)
    T = np.broadcast_to(axes.turn_camera(T_cam_set), (len(seen), 4, 4))
    motion = body_motion(moving, axes, known, camera, T)
    return Case(
        "rich",
        f"{sequence}_{images.name}" + (f"_{subject}" if subject else ""),
        _FPS,
        camera,
        motion,
        Footage(images, np.array([numbers[n] for n in seen])),
        box_px=box_around(motion, camera) if subject else None,
        notes=_NOTES,
    )


_Frame = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Poses (55, 3), translation (3,), shape (B,) and expression (E,) of one frame."""


def _frame(picture: Path) -> int:
    number = picture.stem.partition("_")[0]
    if not number.isdigit():
        raise HmcapError(
            f"Expected pictures named <frame>_<camera> in {picture.parent}, found {picture.name}. Unpack it again."
        )
    return int(number)


def _parameters(file: Path, body: BodyFile) -> _Frame:
    data = read_pickle(file)
    face = {"jaw_pose": 3, "leye_pose": 3, "reye_pose": 3, "expression": 0}

    def row(name: str, size: int | str) -> np.ndarray:
        if name in face and isinstance(data, dict) and name not in data:
            return np.zeros(face[name])
        return field(file, data, name, (1, size))[0]

    hands = []
    for side, name in enumerate(("left_hand_pose", "right_hand_pose")):
        given = row(name, "n")
        components = body.hand_components[side]
        if len(given) > len(components):
            raise HmcapError(
                f"Expected at least {len(given)} hand components (hands_components{'lr'[side]}) in {body.path}, which "
                f"{file} needs; found {len(components)}. Use the SMPL-X file as downloaded."
            )
        hands.append(body.hands_mean[side] + given @ components[: len(given)])
    parts = [row("global_orient", 3), row("body_pose", 63)]
    parts += [row(n, 3) for n in ("jaw_pose", "leye_pose", "reye_pose")]
    return np.concatenate([*parts, *hands]).reshape(55, 3), row("transl", 3), row("betas", "b"), row("expression", "e")


def _world(folder: Path, sequence: str) -> tuple[np.ndarray, np.ndarray]:
    """R (3, 3), t (3,) with world = R x + t, for a world of the cameras' scale."""
    scene = sequence.partition("_")[0]
    if scene == "LectureHall":  # scanned twice, with other furniture
        scene += "_chair" if "chair" in sequence else "_yoga"
    file = require_file(folder / "multicam2world" / f"{scene}_multicam2world.json")
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise HmcapError(f"Expected JSON in {file}, found something else ({error}). Download it again.") from error
    R = finite_field(file, data, "R", (3, 3))
    t = finite_field(file, data, "t", (3,))
    c = float(finite_field(file, data, "c", ()))
    if not c > 0:
        raise HmcapError(f"Expected a size over 0 as c of {file}, found {c}. Download it again.")
    u, _, vt = np.linalg.svd(R.T)  # published with three decimals for some scenes
    if np.abs(u @ vt - R.T).max() > 5e-3 or np.linalg.det(R) < 0:
        raise HmcapError(f"Expected a rotation as R of {file}, found {R.tolist()}. Download it again.")
    return u @ vt, t / c


def _calibration(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """T (4, 4) of the bodies' axes to the camera, and K (3, 3) for the full picture."""
    try:
        if b"<!" in file.read_bytes():  # entities are named in a document type, which no calibration of the set has
            raise ValueError("a document type or a comment")
        tree = ElementTree.parse(file)  # noqa: S314  # nothing that could be expanded is left in it
        found = {
            k: np.array((tree.findtext(f"./{k}/data") or "").split(), float) for k in ("CameraMatrix", "Intrinsics")
        }
    except (ElementTree.ParseError, ValueError) as error:
        raise HmcapError(f"Expected a calibration in {file}, found something else ({error}).") from error
    if found["CameraMatrix"].size != 12 or found["Intrinsics"].size != 9:
        raise HmcapError(
            f"Expected CameraMatrix with 12 and Intrinsics with 9 numbers in {file}, found "
            f"{found['CameraMatrix'].size} and {found['Intrinsics'].size}. Download it again."
        )
    return np.vstack([found["CameraMatrix"].reshape(3, 4), [0, 0, 0, 1]]), found["Intrinsics"].reshape(3, 3)
