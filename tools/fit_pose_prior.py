"""Fit the pose prior of the classical solver from motion capture in AMASS layout.

    python -m hmcap.tools.fit_pose_prior MOCAP_FOLDER models/data/pose_prior.npz [--hands KEY_POSES.npz]

Reads every training clip whose licence allows any use (``split`` and ``licence`` columns of the folder's INDEX.tsv; a
folder without an index is read whole) and writes mean and covariance of the 21 body rotations, the acceleration that
each joint shows, and mean and covariance of the 15 finger rotations of a right hand.
"""

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np

from ..models.body import load_body
from ..models.errors import HmcapError
from ..models.markers import convert_rest_pose
from ..models.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from ..models.skeleton import JOINT_NAMES

FREE = ("cmu_papagina", "cmu_iclone", "cmu_jump", "cmu8", "skillmimic")
"""Sources of the index that are free for any use."""


def training_clips(folder: Path) -> list[Path]:
    """Paths of the training clips that are free for any use."""
    index = folder / "INDEX.tsv"
    if not index.is_file():
        return sorted(folder.rglob("*.npz"))
    with index.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    chosen = [r for r in rows if r["source"] in FREE and r["split"] == "train"]
    clips = [folder / r["source"] / f"{r['clip']}.npz" for r in chosen]
    missing = [c for c in clips if not c.is_file()]
    if missing or not clips:
        raise HmcapError(f"Expected the clips that {index} lists, found {len(missing)} of them missing: {missing[:1]}.")
    return clips


def mirror_body(poses: np.ndarray) -> np.ndarray:
    """Body rotations (..., 21, 3) of the mirrored person (left and right exchanged)."""
    names = JOINT_NAMES[1:22]
    swap = [names.index(_other_side(n)) for n in names]
    return poses[..., swap, :] * np.array([1.0, -1.0, -1.0])


def _other_side(name: str) -> str:
    side, _, rest = name.partition("_")
    return {"left": "right_" + rest, "right": "left_" + rest}.get(side, name)


def accelerations(poses: np.ndarray, fps: float) -> np.ndarray:
    """(T-2, J, 3) angular acceleration in the joint's own frame, rad/s^2, of axis-angle (T, J, 3)."""
    R = axis_angle_to_matrix(poses)
    step = matrix_to_axis_angle(np.swapaxes(R[:-1], -1, -2) @ R[1:])
    return (step[1:] - step[:-1]) * fps**2


def fit(clips: list[Path], rest_joints_m: np.ndarray | None) -> dict[str, np.ndarray]:
    """Mean, covariance and acceleration statistics of body clips.

    ``rest_joints_m``: (55, 3) rest pose of the skeleton that the clips were made for; None for that of our own body.
    """
    own_joints_m = np.asarray(load_body().J_template, np.float64)
    poses, root_acc, joint_acc, trans_acc = [], [], [], []
    for path in clips:
        with np.load(path, allow_pickle=False) as clip:
            R_local = axis_angle_to_matrix(np.asarray(clip["poses"], np.float64).reshape(-1, 55, 3))
            fps = float(clip["mocap_frame_rate"])
            trans = np.asarray(clip["trans"], np.float64)
        if rest_joints_m is not None:
            R_local = convert_rest_pose(R_local, rest_joints_m, own_joints_m)
        full = matrix_to_axis_angle(R_local)
        poses.append(full[:: max(1, round(fps / 10)), 1:22])
        acc = accelerations(full[:, :22], fps)
        root_acc.append(acc[:, 0])
        joint_acc.append(acc[:, 1:])
        trans_acc.append(np.diff(trans, 2, axis=0) * fps**2)
    body = np.concatenate(poses)
    body = np.concatenate([body, mirror_body(body)])
    joints = np.concatenate(joint_acc)
    both = np.concatenate([joints, mirror_body(joints)])
    flat = body.reshape(len(body), 63)
    return {
        "body_mean": flat.mean(0).reshape(21, 3),
        "body_covariance": np.cov(flat.T),
        "body_acceleration_rms": np.sqrt((both**2).mean((0, 2))),
        "root_acceleration_rms": np.sqrt((np.concatenate(root_acc) ** 2).mean()),
        "trans_acceleration_rms": np.sqrt((np.concatenate(trans_acc) ** 2).mean(0)),
        "frames": np.array(len(body) // 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mocap", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--hands", type=Path, help="npz with (N, 15, 3) right-hand key poses in any array")
    args = parser.parse_args()
    rest = None
    if (args.mocap / "rest_skeleton.npz").is_file():
        with np.load(args.mocap / "rest_skeleton.npz", allow_pickle=False) as skeleton:
            rest = np.asarray(skeleton["joints_m"], np.float64)
    result = fit(training_clips(args.mocap), rest)
    if args.hands:
        with np.load(args.hands, allow_pickle=False) as file:
            hands = np.concatenate([np.asarray(file[k], np.float64) for k in file if file[k].shape[1:] == (15, 3)])
        result["hand_mean"] = hands.mean(0)
        result["hand_covariance"] = np.cov(hands.reshape(len(hands), 45).T)
    arrays: dict[str, Any] = {k: np.asarray(v, np.float32) for k, v in result.items()}
    np.savez_compressed(args.out, **arrays)
    print({k: v.shape for k, v in result.items()}, "frames", int(result["frames"]))


if __name__ == "__main__":
    main()
