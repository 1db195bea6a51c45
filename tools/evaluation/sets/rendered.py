"""The project's own body, rendered in recorded motion: everything is known exactly.

Layout: one folder for each clip with ``video.mp4``, ``truth.npz`` (:class:`hmcap.tools.rendering.truth.Truth`) and
``scene.json``, as ``python -m hmcap.tools.rendering OUT --motions MOCAP_FOLDER`` writes it.

A key point counts wherever it lies in the picture, also where the person or a thing hides it, because a method has to
say where hidden limbs are; those outside of the picture do not count.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ....models.body import load_body
from ....models.camera import Camera
from ....models.errors import HmcapError
from ....models.proxies import BODY, BODY_NAMES, LEFT_HAND, PROXY_NAMES, RIGHT_HAND
from ....models.skeleton import JOINT_NAMES
from ...rendering.truth import OUTSIDE, Truth, read_truth
from ..records import BodyParameters, Case, Footage, Motion3D
from ..surface import surface_of

COMMAND = "python -m hmcap.tools.rendering OUT --motions MOCAP_FOLDER"
_VIDEO, _TRUTH, _SCENE = "video.mp4", "truth.npz", "scene.json"


def load(folder: Path) -> Iterator[Case]:
    """One case for each clip of the folder, by name. Raises HmcapError where there is none, or one is incomplete."""
    clips = sorted(p.parent for p in folder.glob(f"*/{_TRUTH}") if not p.parent.name.startswith("."))
    if not clips:
        raise HmcapError(
            f"Expected rendered clips in {folder}, found none. Make them there: {COMMAND.replace('OUT', str(folder))}"
        )
    for clip in clips:
        yield _case(clip)


def _case(clip: Path) -> Case:
    video = clip / _VIDEO
    if not video.is_file():
        raise HmcapError(
            f"Expected {video} beside its {_TRUTH}, found no such file. Render the clip again: "
            f"{COMMAND.replace('OUT', str(clip.parent))} --clips {clip.name} --again"
        )
    truth = read_truth(clip / _TRUTH)
    width, height = (int(v) for v in truth.image_size_px)
    K = truth.K
    dist = tuple(float(d) for d in truth.dist) if truth.dist.any() else ()
    camera = Camera(width, height, K[0, 0], K[1, 1], K[0, 2], K[1, 2], dist, "rendered")
    return Case(
        "rendered",
        clip.name,
        float(truth.fps),
        camera,
        _motion(truth),
        Footage(video, np.arange(truth.frames)),
        notes=_notes(clip / _SCENE),
    )


def _motion(truth: Truth) -> Motion3D:
    body = BodyParameters(truth.poses, truth.trans_m, truth.betas, "")
    posed = load_body().astype(np.float64).with_shape(truth.betas).with_pose(truth.poses, truth.trans_m)
    world = truth.proxies_world_m
    return Motion3D(
        joint_names=(*BODY_NAMES, *(f"smplx_{n}" for n in JOINT_NAMES)),
        joints_m=np.concatenate([world[:, BODY], posed.joints_m], axis=1),
        in_world=True,
        T_cam_world=truth.T_cam_world,
        hands_m=np.stack([world[:, LEFT_HAND], world[:, RIGHT_HAND]], axis=1),
        feet_m=truth.feet_world_m,
        contact=truth.contact.astype(np.float64),
        body=body,
        surface=surface_of(body),
        keypoint_names=PROXY_NAMES,
        keypoints_px=truth.proxies_px,
        keypoint_confidence=(truth.proxies_visible != OUTSIDE).astype(np.float64),
    )


def _notes(scene: Path) -> str:
    """What the clip shows, where its record is there."""
    if not scene.is_file():
        return ""
    try:
        record = json.loads(scene.read_text(encoding="utf-8"))
        licences = sorted({m["licence"] for m in record["motions"]})
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise HmcapError(
            f"Expected the record of a rendered clip in {scene}, but it cannot be read ({error}). Render it again: "
            f"{COMMAND.replace('OUT', str(scene.parent.parent))} --clips {scene.parent.name} --again"
        ) from error
    return f"Rendered from recorded motion ({', '.join(licences)})."
