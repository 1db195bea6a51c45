"""The set "proxy": recorded motion through virtual cameras and the measured noise of the landmarks.

It begins at the proxies, so it measures the motion stage alone, on motion that nothing was fitted to: the split "test"
of a folder of motion in AMASS layout (:mod:`hmcap.tools.motions.mocap`). Fingers are generated where the recording has
none; shape, camera and noise are drawn. Everything of a case follows from its name, so cases do not depend on which
others are asked for.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ....models.body import BodyModel, load_body
from ....models.errors import HmcapError
from ....models.markers import blazepose_rig, proxy_rig
from ....models.proxies import BODY_NAMES, LEFT_HAND, PROXY_NAMES, RIGHT_HAND, Proxies
from ....models.skeleton import LEFT_HAND as LEFT_FINGERS
from ....models.skeleton import RIGHT_HAND as RIGHT_FINGERS
from ...motions.contact import contact_labels, feet_m
from ...motions.hand_motion import hand_motion, plain_key_poses
from ...motions.mocap import Clip, ClipEntry, by_split, list_clips, on_shape, read_clip
from ...motions.stitch import part_of
from ...motions.virtual_cameras import VirtualCamera, sample_camera
from ...noise.model import NoiseModel, load_noise_model
from ...noise.tracks import OUT, Tracks, tracks_of
from ..records import BodyParameters, Case, Motion3D
from ..surface import surface_of
from .reading import SMPL_NAMES
from .registry import SetMissing

COUNT = 40
"""Cases of the set unless more are asked for: enough for every kind of motion of a test split, few enough to solve."""
MAX_SECONDS = 10.0
MIN_SECONDS = 1.0
"""Shorter recordings are left out."""
_STILL_RAD = 0.05
_SHUTTER = (0.1, 0.4)
_TREE = 22
_SKIN = [n for n in BODY_NAMES if n.split("_")[-1] in ("nose", "eye", "ear", "toe", "heel")]


def load(folder: Path, count: int | None = COUNT, noise: Path | None = None) -> Iterator[Case]:
    """The cases of the test split of a motion folder, one after the other; all of them where ``count`` is None.

    ``noise``: another noise model than the one of this package. Raises SetMissing where there is no such folder, and
    HmcapError where it holds no test split.
    """
    if not folder.is_dir():
        raise SetMissing(f"Expected a folder of motion in AMASS layout at {folder}, found no such folder.")
    model, body = load_noise_model(noise), load_body()
    entries = by_split(list_clips(folder), "test")
    if not entries:
        raise HmcapError(
            f"Expected motion of the split test in {folder} (column split of INDEX.tsv), found none. Mark some clips "
            "that nothing is trained on as test."
        )
    names: dict[str, int] = {}
    made = 0
    for entry in stratified(entries):
        if made == count:
            return
        clip = read_clip(entry, body=body)
        if clip.seconds < MIN_SECONDS:
            continue
        name = f"{clip.source}_{clip.name}"
        names[name] = names.get(name, 0) + 1
        if names[name] > 1:
            raise HmcapError(f"Expected one clip of each name in {folder}, found {name} twice. Remove the copy.")
        made += 1
        yield make_case(clip, body, model)


def stratified(entries: Sequence[ClipEntry]) -> list[ClipEntry]:
    """The clips in an order in which any beginning has all kinds of motion (source, first word of the action) alike:
    one of each kind, then a second of each, each kind in the order of a digest of its names."""
    kinds: dict[tuple[str, str], list[ClipEntry]] = {}
    for e in sorted(entries, key=lambda e: (e.source, _kind(e), zlib.crc32(e.name.encode()), e.name)):
        kinds.setdefault((e.source, _kind(e)), []).append(e)
    rounds = max(len(k) for k in kinds.values())
    return [k[i] for i in range(rounds) for k in kinds.values() if i < len(k)]


def _kind(entry: ClipEntry) -> str:
    return (entry.action.replace(",", " ").split() or [""])[0]


def make_case(clip: Clip, body: BodyModel, model: NoiseModel) -> Case:
    """One case: the clip on a person of some shape, filmed by a virtual camera, seen with the landmarks' noise. Its
    name ends in the kind of the camera, so that ``--cases "*.static"`` picks the cameras that stand still."""
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in f"{clip.source}_{clip.name}")
    rng = np.random.default_rng([zlib.crc32(name.encode()), 67])
    most = round(MAX_SECONDS * clip.fps)
    if clip.frames > most:
        begin = int(rng.integers(clip.frames - most))
        clip = part_of(clip, begin, begin + most)
    poses = clip.poses.copy()
    if np.abs(poses[:, LEFT_FINGERS.start :]).max() < _STILL_RAD:
        fingers = hand_motion(rng, clip.frames, clip.fps, plain_key_poses())
        poses[:, LEFT_FINGERS], poses[:, RIGHT_FINGERS] = fingers[:, 0], fingers[:, 1]
    betas = np.clip(rng.normal(0, 1, body.num_betas), -2, 2)
    clip = on_shape(replace(clip, poses=poses), body, betas)
    truth, tracks, camera = _filmed(rng, clip, body, betas)
    noisy = model.sample(rng, tracks, clip.fps)
    size = (camera.camera.width_px, camera.camera.height_px)
    proxies = [
        Proxies(
            t, t / clip.fps, size, noisy.xy_px[t], noisy.confidence[t], noisy.body_xyz_m[t], noisy.hands_xyz_m[t],
            float(noisy.score[t]),
        )
        for t in range(clip.frames)
    ]  # fmt: skip
    return Case(
        "proxy", f"{name}.{camera.kind}", clip.fps, camera.camera, truth, proxies=proxies,
        notes="Recorded motion with drawn shape, fingers, camera and noise; names of cases end in the camera's kind.",
    )  # fmt: skip


def _filmed(
    rng: np.random.Generator, clip: Clip, body: BodyModel, betas: np.ndarray
) -> tuple[Motion3D, Tracks, VirtualCamera]:
    posed = body.astype(np.float64).with_shape(betas).with_pose(clip.poses, clip.trans_m)
    points = np.asarray(proxy_rig(body).in_world_m(posed), np.float64)
    landmarks = np.asarray(blazepose_rig(body).in_world_m(posed), np.float64)
    camera = sample_camera(rng, points, clip.fps)
    px = camera.project(points)
    speed = np.nan_to_num(np.linalg.norm(np.gradient(px, axis=0), axis=-1))
    tracks = tracks_of(points, landmarks, camera.T_cam_world, camera.camera, None, speed * rng.uniform(*_SHUTTER))
    feet = feet_m(body, clip.poses, clip.trans_m, betas)
    parameters = BodyParameters(clip.poses, clip.trans_m, betas, "")
    skin = points[:, [PROXY_NAMES.index(n) for n in _SKIN]]
    return (
        Motion3D(
            joint_names=(*SMPL_NAMES[:_TREE], *_SKIN),
            joints_m=np.concatenate([posed.joints_m[:, :_TREE], skin], axis=1),
            in_world=True,
            T_cam_world=camera.T_cam_world,
            hands_m=np.stack([points[:, LEFT_HAND], points[:, RIGHT_HAND]], axis=1),
            feet_m=feet,
            contact=contact_labels(feet, clip.fps).astype(np.float64),
            body=parameters,
            surface=surface_of(parameters),
            keypoint_names=PROXY_NAMES,
            keypoints_px=px,
            keypoint_confidence=(tracks.visible != OUT).astype(np.float64),
        ),
        tracks,
        camera,
    )
