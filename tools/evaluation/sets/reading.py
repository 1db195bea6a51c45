"""What every loader needs: checked arrays from files, pictures by path alone, cameras, names of joints."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from ....models.camera import Camera
from ....models.errors import HmcapError
from ....models.npz import BadNpz, open_npz
from ....models.skeleton import BODY, JOINT_NAMES
from ....realtime.sources import open_source
from ....realtime.sources_images import SUFFIXES
from ...motions.virtual_cameras import project_px
from ..records import Footage

_SAME = ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
"""Joints of the SMPL tree that carry the name of a landmark; the others have the prefix ``smplx_``."""
SMPL_NAMES = tuple(
    n if n.partition("_")[2] in _SAME else f"smplx_{n}"
    for n in (*JOINT_NAMES[BODY], "left_hand_middle1", "right_hand_middle1")
)
"""Names of the 24 joints of SMPL in the vocabulary of the records. Its two hand joints, which SMPL-X has not, carry no
name of a method's and are left out by :func:`smpl_joints`."""

COCO_NAMES = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
"""The 17 key points of COCO."""


def smpl_joints(joints_m: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and positions (..., 22, 3) of the first 22 joints of SMPL, SMPL-H or SMPL-X (..., >= 22, 3)."""
    return SMPL_NAMES[:22], np.ascontiguousarray(joints_m[..., :22, :], np.float64)


def read_npz(
    file: Path, shapes: Mapping[str, Sequence[int | str]], texts: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """The named arrays of an npz file, checked: a size given as a number must be met, one given as a letter must be the
    same wherever the letter stands. Those named in ``texts`` as they are, all others as float64. Raises ``HmcapError``
    naming the file and what is wrong."""
    require_file(file)
    try:
        with open_npz(file) as data:
            missing = [n for n in shapes if n not in data]
            if missing:
                raise HmcapError(
                    f"Expected the arrays {', '.join(shapes)} in {file}, found no {', '.join(missing)} among "
                    f"{', '.join(data) or 'none'}. Take the file as it is published."
                )
            arrays = {n: np.asarray(data[n]) for n in shapes}
    except (BadNpz, OSError) as error:
        raise HmcapError(f"Expected an npz file at {file}, but {error}. Take the file as it is published.") from error
    check_shapes(file, arrays, shapes)
    return {n: a if n in texts else numeric(file, n, a) for n, a in arrays.items()}


def check_shapes(
    file: Path, arrays: Mapping[str, np.ndarray], shapes: Mapping[str, Sequence[int | str]]
) -> dict[str, int]:
    """Sizes of the letters of ``shapes``. Raises ``HmcapError`` for an array that has another shape."""
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        found = np.shape(arrays[name])
        fits = len(found) == len(shape) and all(
            have == (want if isinstance(want, int) else sizes.setdefault(want, have))
            for want, have in zip(shape, found, strict=False)
        )
        if not fits:
            wanted = " x ".join(str(sizes.get(s, s) if isinstance(s, str) else s) for s in shape) or "one number"
            seen = " x ".join(map(str, found)) or "one number"
            raise HmcapError(
                f"Expected the array {name} of {file} to be {wanted}, found {seen}. Take the file as it is published."
            )
    return sizes


def numeric(file: Path, name: str, value: object) -> np.ndarray:
    """A float64 array of ``value``. Raises ``HmcapError`` where it is not made of numbers."""
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            array = array.astype(np.float64)
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise HmcapError(
            f"Expected numbers as {name} of {file}, found something else ({error}). Take the file as it is published."
        ) from error


def require_file(file: Path) -> Path:
    """The path itself. Raises ``HmcapError`` where there is no such file."""
    if not file.is_file():
        folder = file.parent
        there = sorted(p.name for p in folder.iterdir())[:5] if folder.is_dir() else None
        found = "no such folder" if there is None else ", ".join(there) or "an empty folder"
        raise HmcapError(f"Expected the file {file}, found {found}. Put it there, or name the folder that holds it.")
    return file


def require_folder(folder: Path, holds: str) -> Path:
    """The path itself. Raises ``HmcapError`` where there is no such folder."""
    if not folder.is_dir():
        raise HmcapError(f"Expected {holds} in {folder}, found no such folder. Put it there as it is published.")
    return folder


def pictures(folder: Path, holds: str = "pictures") -> list[Path]:
    """Images of a folder in the order of ``open_source``, without reading any. Raises ``HmcapError`` where none is."""
    from ....realtime.sources_images import natural_key

    require_folder(folder, holds)
    found = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    if not found:
        raise HmcapError(f"Expected {holds} in {folder}, found no image there. Put them there as they are published.")
    return sorted(found, key=lambda p: natural_key(p.name))


def size_and_rate(source: Path) -> tuple[int, int, float]:
    """Width and height in pixels of the upright pictures, and the frame rate that the source states."""
    require = source if source.is_dir() else require_file(source)
    with open_source(str(require)) as opened:
        return opened.width_px, opened.height_px, opened.fps


def still(file: Path) -> Footage:
    """Footage of one picture."""
    return Footage(require_file(file), np.zeros(1, int))


def camera_from_K(file: Path, K: np.ndarray, width_px: int, height_px: int, dist: Sequence[float] = ()) -> Camera:
    """Camera of an intrinsic matrix (3, 3) in pixels and OpenCV's distortion. Raises ``HmcapError`` naming ``file``,
    which they are from, where no camera has them."""
    if not (np.isfinite(K).all() and np.isfinite(dist).all() and K[0, 0] > 0 and K[1, 1] > 0):
        raise HmcapError(
            f"Expected a lens with focal lengths over 0 in {file}, found the matrix {K.tolist()} and the distortion "
            f"{[float(d) for d in dist]}. Take the file as it is published."
        )
    return Camera(
        width_px,
        height_px,
        float(K[0, 0]),
        float(K[1, 1]),
        float(K[0, 2]),
        float(K[1, 2]),
        tuple(float(d) for d in dist),
        "calibration",
    )


def projected(camera: Camera, joints_cam_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (T, J, 2) of joints (T, J, 3) in the camera's axes, and (T, J) 1 where they are inside the picture, 0
    where they are outside (the pixel is kept unless it is far away), behind the camera or unknown (NaN)."""
    px = project_px(camera, np.eye(4), joints_cam_m)
    far = ~(np.abs(px) < 10 * max(camera.width_px, camera.height_px)).all(axis=-1, keepdims=True)
    px = np.where(far, np.nan, px)
    return px, inside_picture(px, camera)


def inside_picture(px: np.ndarray, camera: Camera) -> np.ndarray:
    """(T, K) 1 for points (T, K, 2) inside the picture, 0 for others and where they are NaN."""
    with np.errstate(invalid="ignore"):
        inside = (px >= 0).all(-1) & (px[..., 0] < camera.width_px) & (px[..., 1] < camera.height_px)
    return inside.astype(np.float64)


def to_camera(T_cam_world: np.ndarray, points_m: np.ndarray) -> np.ndarray:
    """Points (T, J, 3) of the world in the axes of the camera T_cam_world (T, 4, 4)."""
    return np.einsum("tij,tkj->tki", T_cam_world[:, :3, :3], points_m) + T_cam_world[:, None, :3, 3]


def sided(limb: str) -> str:
    """``left_hip`` as ``lhip``, the way short names of joints are written."""
    side, _, part = limb.partition("_")
    return f"{side[0]}{part}"


def box_around(px: np.ndarray, margin: float = 0.2) -> np.ndarray:
    """(T, 4) x, y, width, height of the boxes around points (T, K, 2), each side moved out by ``margin`` of half the
    size; NaN where no point is known."""
    known = np.isfinite(px).all(-1, keepdims=True)
    low = np.where(known, px, np.inf).min(1)
    high = np.where(known, px, -np.inf).max(1)
    with np.errstate(invalid="ignore"):
        half = (high - low) / 2 * (1 + margin)
        box = np.concatenate([(low + high) / 2 - half, 2 * half], axis=1)
    return np.where(np.isfinite(box).all(axis=-1, keepdims=True), box, np.nan)
