"""SMPL-X motion in the layout of AMASS, plus what AMASS has no place for (contact, confidence, camera, face)."""

from pathlib import Path

import numpy as np

from ...models.face import ARKIT_NAMES
from ...models.motion import GROUP_NAMES
from ...models.skeleton import BODY, CONTACT_POINTS, EYES, JAW, LEFT_HAND, RIGHT_HAND
from .files import atomic_path
from .prepare import Prepared
from .track import Track, z_up

PARTS = {"root_orient": slice(0, 1), "pose_body": slice(1, BODY.stop), "pose_jaw": JAW, "pose_eye": EYES}
"""Key -> joints of each part of ``poses``; ``pose_hand`` follows with the left and then the right hand."""


def track_to_arrays(track: Track, fps: float, up: str) -> dict[str, np.ndarray]:
    """Every key of the npz file.

    ``poses`` (T, 165) = root_orient 3 | pose_body 63 | pose_jaw 3 | pose_eye 6 | pose_hand 90, axis-angle radians,
    hands relative to the flat hand; pelvis = J0(betas) + ``trans``, metres.

    Args:
        track: uniform motion, in the world whose up axis is ``up``.
        fps: frames a second of the track.
        up: ``y`` or ``z``; stored, nothing is turned here.
    """
    count = len(track)
    parts = {key: track.poses[:, joints].reshape(count, -1) for key, joints in PARTS.items()}
    parts["pose_hand"] = track.poses[:, LEFT_HAND.start : RIGHT_HAND.stop].reshape(count, -1)
    arrays = {
        "poses": np.concatenate(list(parts.values()), axis=1),
        **parts,
        "trans": track.trans_m,
        "betas": track.betas,
        "T_cam_world": track.T_cam_world,
        "K": track.K,
        "stamps_s": track.stamps_s,
        "mocap_frame_rate": fps,
        "mocap_framerate": fps,
        "mocap_time_length": count / fps,
    }
    arrays = {key: np.asarray(value, dtype=np.float64) for key, value in arrays.items()}
    # Probabilities and percentages need no more than single precision.
    for key in ("contact", "confidence", "reprojection_error"):
        arrays[key] = getattr(track, key).astype(np.float32)
    face: dict[str, np.ndarray] = {}
    if track.expression.shape[1]:
        face = {"expression": track.expression.astype(np.float32), "expression_names": np.array(ARKIT_NAMES)}
    labels = {
        "present": track.present,
        "measured": track.measured,
        "contact_names": np.array(CONTACT_POINTS),
        "group_names": np.array(GROUP_NAMES),
        "num_betas": np.array(track.betas.size),
        "gender": np.array("neutral"),
        "surface_model_type": np.array("smplx"),
        "up_axis": np.array(up),
        "flat_hand_mean": np.array(True),
    }
    return {**arrays, **face, **labels}


def save_npz(arrays: dict[str, np.ndarray], path: str | Path) -> None:
    """Write arrays to ``path`` (compressed, no pickles), whole or not at all."""
    with atomic_path(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]


def export(ready: Prepared, path: Path) -> None:
    """Write a take's motion as AMASS npz. Raises HmcapError where the file cannot be written."""
    up = ready.options.up
    track = z_up(ready.track, ready.rest_joints_m[0]) if up == "z" else ready.track
    save_npz(track_to_arrays(track, ready.fps, up), path)
