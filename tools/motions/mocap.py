"""Reads recorded motion in AMASS layout as :class:`Clip`, on the rest pose of our own body, Y up, floor at y = 0.

A user's AMASS folder and a folder with an index are the same thing: every npz below it is a clip. What is read of one:
``poses`` (T, 165) SMPL-X or (T, 156) SMPL-H axis-angle, ``trans`` (T, 3), ``mocap_frame_rate`` or ``mocap_framerate``,
and where they are there ``up_axis`` ("y" or "z"; z where missing, as AMASS is), ``gender``, ``surface_model_type``,
and ``licence``. Two files beside the clips are honoured: ``INDEX.tsv`` with the columns source, clip, licence, action,
split (clips it does not list are left out), and ``rest_skeleton.npz`` with ``joints_m`` (55, 3), the rest pose
that the clips were made for.

Rest poses differ. With a rest skeleton, local rotations are carried over so that every limb keeps its direction
(:func:`hmcap.models.markers.convert_rest_pose`), and places scale by the ratio of the leg lengths. Without one,
rotations stay as they are (the T-poses of SMPL-X and SMPL-H are close to ours) and places scale by the leg length of
the mean body of the model that the file has, which is approximate; the floor is found again afterwards in either case.

    entries = list_clips(folder)
    clip = read_clip(next(e for e in entries if e.split == "test"), fps=30)
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.signal import savgol_filter
from scipy.spatial.transform import Rotation

from ...models.body import BodyModel, load_body
from ...models.errors import HmcapError
from ...models.markers import convert_rest_pose, sole_rig
from ...models.npz import BadNpz, open_npz
from ...models.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from ...models.skeleton import JOINT_NAMES, NUM_JOINTS

_LEG_M = {"smplx": 0.79, "smplh": 0.78, "smpl": 0.78}
"""Thigh and shank of the mean bodies that AMASS was fitted with, where no rest skeleton says better."""
_NOT_CLIPS = ("shape.npz", "rest_skeleton.npz")
_TEST_SETS = ("SSM", "Transitions")
"""AMASS sets that are kept for testing (ProxyCap, supplement 1.4); read off the folder's names without an index."""
_RATES_HZ = (0.1, 10000.0)
_LARGEST = 1e4
"""Radians and metres."""
_STILL_M_S = 0.15
"""A lowest sole point slower than this stands on the floor."""
_Z_UP_TO_Y_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])


@dataclass(frozen=True, slots=True)
class ClipEntry:
    """A clip that has not been read yet."""

    path: Path
    name: str
    source: str
    licence: str
    """"" where nothing says."""
    action: str
    split: str
    """"train" or "test"."""
    rest_file: Path | None
    """The folder's rest skeleton."""

    @property
    def permissive(self) -> bool:
        """Whether the licence is known and allows any use (no "NC" in it)."""
        return bool(self.licence) and "NC" not in self.licence.upper().replace("-", " ").split()


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """Motion of one person on the rest pose of our own body. World: Y up, floor at y = 0, metres."""

    name: str
    source: str
    licence: str
    action: str
    split: str
    fps: float
    poses: np.ndarray
    """(T, 55, 3) axis-angle, radians; row 0 of a frame is the root in the world; hands relative to the flat hand."""
    trans_m: np.ndarray
    """(T, 3); pelvis = rest pelvis of the mean body + trans."""

    @property
    def frames(self) -> int:
        """Number of frames T."""
        return len(self.poses)

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.frames / self.fps


def list_clips(folder: str | Path) -> list[ClipEntry]:
    """The clips of a folder, sorted by source and name. Raises HmcapError where there are none."""
    folder = Path(folder).expanduser()
    step = "Name a folder with motion in AMASS layout (npz files with poses and trans)."
    if not folder.is_dir():
        found = "a file" if folder.is_file() else "nothing"
        raise HmcapError(f"Expected a folder with motion capture at {folder}, found {found} there. {step}")
    rest = folder / "rest_skeleton.npz"
    rest_file = rest if rest.is_file() else None
    index = folder / "INDEX.tsv"
    entries = _indexed(folder, index, rest_file) if index.is_file() else _unindexed(folder, rest_file)
    if not entries:
        where = "INDEX.tsv lists none" if index.is_file() else "no npz lies below it"
        raise HmcapError(f"Expected motion clips in {folder}, but {where}. {step}")
    return sorted(entries, key=lambda e: (e.source, e.name))


def _indexed(folder: Path, index: Path, rest_file: Path | None) -> list[ClipEntry]:
    with index.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, delimiter="\t")
        missing = {"source", "clip", "licence", "split"} - set(reader.fieldnames or ())
        if missing:
            raise HmcapError(
                f"Expected the columns source, clip, licence and split in {index}, but {', '.join(sorted(missing))} "
                "is missing. Add it, or take the file away to read every npz of the folder."
            )
        rows = list(reader)
    entries = []
    for row in rows:
        path = folder / row["source"] / f"{row['clip']}.npz"
        if not path.is_file():
            raise HmcapError(
                f"Expected {path}, which {index.name} lists, found no such file. Complete the folder, "
                "or take its line out."
            )
        action = row.get("action") or ""
        entries.append(
            ClipEntry(path, row["clip"], row["source"], row["licence"] or "", action, row["split"], rest_file)
        )
    return entries


def _unindexed(folder: Path, rest_file: Path | None) -> list[ClipEntry]:
    entries = []
    for path in sorted(folder.rglob("*.npz")):
        if path.name in _NOT_CLIPS or path.stem.endswith("stagei"):
            continue
        parts = path.relative_to(folder).with_suffix("").parts
        source = parts[0] if len(parts) > 1 else folder.name
        split = "test" if source.startswith(_TEST_SETS) else "train"
        name = "_".join(parts[1:] if len(parts) > 1 else parts)
        entries.append(ClipEntry(path, name, source, "", name.replace("_", " "), split, rest_file))
    return entries


def read_clip(entry: ClipEntry, fps: float | None = None, body: BodyModel | None = None, floor_m: bool = True) -> Clip:
    """Read a clip on the mean shape of ``body`` (None: the built-in one), at ``fps`` (None: its own rate).

    floor_m: whether to move the clip up or down so that what it stands on is y = 0. Raises HmcapError naming the file
    where the layout is another or a number is not finite.
    """
    body = body or load_body()
    arrays = _read(entry.path)
    poses, trans = arrays["poses"], arrays["trans"]
    joints_to = np.asarray(body.J_template, np.float64)
    R_local = axis_angle_to_matrix(poses)
    if entry.rest_file is not None:
        joints_from = _rest(entry.rest_file)
        R_local = convert_rest_pose(R_local, joints_from, joints_to)
        pelvis, leg = joints_from[0], leg_m(joints_from)
    else:
        model = str(arrays["model"])
        pelvis, leg = np.zeros(3), _LEG_M.get(model, _LEG_M["smplx" if model.startswith("smplx") else "smplh"])
    place = trans + pelvis
    if arrays["up"] == "z":
        place = place @ _Z_UP_TO_Y_UP.T
        R_local[:, 0] = _Z_UP_TO_Y_UP @ R_local[:, 0]
    place = place * (leg_m(joints_to) / leg)
    poses = matrix_to_axis_angle(R_local)
    clip = Clip(
        entry.name,
        entry.source,
        entry.licence or str(arrays["licence"]),
        entry.action,
        entry.split,
        float(arrays["fps"]),
        poses,
        place - joints_to[0],
    )
    if fps is not None:
        clip = resample(clip, fps)
    return on_floor(clip, body) if floor_m else clip


def leg_m(joints_m: np.ndarray) -> float:
    """Length of thigh and shank, mean of both sides, of rest joints (55, 3)."""
    names = [[f"{side}_{j}" for j in ("hip", "knee", "ankle")] for side in ("left", "right")]
    legs = [np.linalg.norm(np.diff(joints_m[[JOINT_NAMES.index(n) for n in side]], axis=0), axis=1) for side in names]
    return float(np.sum(legs) / 2)


def _rest(path: Path) -> np.ndarray:
    with np.load(path, allow_pickle=False) as file:
        joints = np.asarray(file["joints_m"], np.float64) if "joints_m" in file.files else np.zeros(0)
    if joints.shape != (NUM_JOINTS, 3):
        raise HmcapError(
            f"Expected joints_m of shape ({NUM_JOINTS}, 3) in {path}, found {joints.shape}. "
            "Take the file away if the clips are made for the rest pose of SMPL-X itself."
        )
    return joints


def _read(path: Path) -> dict[str, np.ndarray]:
    """poses (T, 55, 3), trans (T, 3), fps, up, model and licence of one file, checked."""
    step = "Give files in AMASS layout, or take this one out of the folder."
    try:
        with open_npz(path) as file:
            rate = next((k for k in ("mocap_frame_rate", "mocap_framerate") if k in file.files), None)
            missing = [k for k in ("poses", "trans") if k not in file.files]
            if missing or rate is None:
                lacks = ", ".join(missing or ["mocap_frame_rate"])
                raise HmcapError(f"Expected a motion clip in AMASS layout in {path}, but it lacks {lacks}. {step}")
            poses, trans = np.asarray(file["poses"], np.float64), np.asarray(file["trans"], np.float64)
            fps = float(file[rate])
            text = {k: str(file[k]) if k in file.files else "" for k in ("up_axis", "surface_model_type", "licence")}
    except (BadNpz, OSError) as error:
        raise HmcapError(f"Expected a motion clip in {path}, but {error}. {step}") from error
    count = poses.shape[0] if poses.ndim else 0
    if count == 0 or poses.reshape(count, -1).shape[1] not in (165, 156) or trans.shape != (count, 3):
        raise HmcapError(
            f"Expected poses of shape (T, 165) or (T, 156) and trans of shape (T, 3) in {path}, found "
            f"{poses.shape} and {trans.shape}. {step}"
        )
    low, high = _RATES_HZ
    if not (max(np.abs(poses).max(), np.abs(trans).max()) < _LARGEST and low <= fps <= high):
        raise HmcapError(
            f"Expected poses and trans that people have, and a frame rate of {low:g} to {high:g}, in {path}, found "
            f"NaN, infinity, numbers beyond {_LARGEST:g}, or a rate of {fps:g}. {step}"
        )
    up = text["up_axis"].lower() or "z"
    if up not in ("y", "z"):
        raise HmcapError(f"Expected up_axis y or z in {path}, found {up}. {step}")
    flat = poses.reshape(count, -1)
    full = np.zeros((count, NUM_JOINTS, 3))
    if flat.shape[1] == 165:
        full[:] = flat.reshape(count, NUM_JOINTS, 3)
    else:  # SMPL-H: 22 body joints and two hands, no jaw and no eyes between them
        full[:, :22] = flat[:, :66].reshape(count, 22, 3)
        full[:, 25:] = flat[:, 66:].reshape(count, 30, 3)
    model = text["surface_model_type"] or ("smplx" if flat.shape[1] == 165 else "smplh")
    made = {"fps": fps, "up": up, "model": model, "licence": text["licence"]}
    return {"poses": full, "trans": trans, **{k: np.asarray(v) for k, v in made.items()}}


def resample(clip: Clip, fps: float) -> Clip:
    """The clip at another frame rate: rotations by slerp, places linearly; the first frame stays the first."""
    if abs(fps - clip.fps) < 1e-9:
        return clip
    count = int(np.floor((clip.frames - 1) / clip.fps * fps + 1e-6)) + 1
    poses, trans = at_times(clip, np.arange(count) / fps)
    return replace(clip, fps=fps, poses=poses, trans_m=trans)


def smoothed(clip: Clip, frames: int = 5) -> Clip:
    """The clip without what recording and few digits add: rotations and places by a moving quadratic fit over
    ``frames`` (Savitzky and Golay 1964). Over 5 frames at 30 fps it keeps what is slower than about 6 Hz."""
    if clip.frames < frames:
        return clip
    quaternions = Rotation.from_rotvec(clip.poses.reshape(-1, 3)).as_quat().reshape(clip.frames, NUM_JOINTS, 4)
    turned_over = np.sum(quaternions[1:] * quaternions[:-1], axis=-1) < 0
    sign = np.concatenate([np.ones((1, NUM_JOINTS)), np.cumprod(np.where(turned_over, -1.0, 1.0), axis=0)])
    fitted = np.asarray(savgol_filter(quaternions * sign[..., None], frames, 2, axis=0))
    poses = Rotation.from_quat(fitted.reshape(-1, 4)).as_rotvec().reshape(clip.poses.shape)
    return replace(clip, poses=poses, trans_m=savgol_filter(clip.trans_m, frames, 2, axis=0))


def at_times(clip: Clip, times_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Poses (N, 55, 3) and trans (N, 3) at times (N,) from the start of the clip; held before it and after its end."""
    at = np.clip(np.asarray(times_s, np.float64) * clip.fps, 0, clip.frames - 1)
    low = np.minimum(at.astype(int), max(clip.frames - 2, 0))
    high = np.minimum(low + 1, clip.frames - 1)
    u = (at - low)[:, None]
    first = Rotation.from_rotvec(clip.poses[low].reshape(-1, 3))
    step = (first.inv() * Rotation.from_rotvec(clip.poses[high].reshape(-1, 3))).as_rotvec()
    part = step.reshape(len(at), NUM_JOINTS, 3) * u[..., None]
    poses = (first * Rotation.from_rotvec(part.reshape(-1, 3))).as_rotvec().reshape(len(at), NUM_JOINTS, 3)
    return poses, clip.trans_m[low] * (1 - u) + clip.trans_m[high] * u


def sole_heights_m(clip: Clip, body: BodyModel | None = None, betas: np.ndarray | None = None) -> np.ndarray:
    """(T, 8) heights of the sole points (:data:`hmcap.models.markers.SOLE_POINTS`)."""
    body = body or load_body()
    posed = body.astype(np.float64).with_shape(betas).with_pose(clip.poses, clip.trans_m)
    return sole_rig(body).in_world_m(posed)[..., 1]


def on_floor(clip: Clip, body: BodyModel | None = None, betas: np.ndarray | None = None) -> Clip:
    """The clip moved up or down as a whole, so that its soles stand at y = 0: the median height of the lowest sole
    point over the frames in which that point is still, or the fifth percentile where it never is."""
    body = body or load_body()
    posed = body.astype(np.float64).with_shape(betas).with_pose(clip.poses, clip.trans_m)
    soles = sole_rig(body).in_world_m(posed)
    lowest = soles[..., 1].argmin(1)
    row = np.arange(clip.frames)
    height = soles[row, lowest, 1]
    if clip.frames > 1:
        speed = np.linalg.norm(np.gradient(soles, axis=0), axis=-1)[row, lowest] * clip.fps
        still = speed < _STILL_M_S
    else:
        still = np.ones(1, bool)
    floor = np.median(height[still]) if still.sum() >= min(5, clip.frames) else np.percentile(height, 5)
    return replace(clip, trans_m=clip.trans_m - [0.0, floor, 0.0])


def on_shape(clip: Clip, body: BodyModel, betas: np.ndarray) -> Clip:
    """The clip for a person of another shape: the pelvis' way scales with the legs, and the soles stand on the floor.

    trans_m is then that of the shape: pelvis = rest pelvis for ``betas`` + trans.
    """
    mean = np.asarray(body.J_template, np.float64)
    own = np.asarray(body.rest_joints(betas), np.float64)
    pelvis = (clip.trans_m + mean[0]) * (leg_m(own) / leg_m(mean))
    return on_floor(replace(clip, trans_m=pelvis - own[0]), body, betas)


def by_split(entries: Sequence[ClipEntry], split: str, permissive: bool = False) -> list[ClipEntry]:
    """Entries of one split; with ``permissive`` only those whose licence is known to allow any use."""
    return [e for e in entries if e.split == split and (e.permissive or not permissive)]
