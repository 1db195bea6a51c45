"""Accuracy of the whole pipeline on footage with ground truth, beside a peer on the same frames.

    python -m hmcap.tools.ground_truth FOLDER [--peer PEER_FOLDER]

FOLDER holds ``balance_beam/`` (four calibrated cameras) and ``stills_3d/`` in the layout of their ``truth.npz``;
PEER_FOLDER holds the results of ``tools/peer_mediapipe.py`` on each file, by the file's name. The error is that of the
12 limb joints (hips, knees, ankles, shoulders, elbows, wrists), MPJPE with the middle of the hips brought together.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..engines.landmarks import LandmarkStage
from ..models.body import load_body
from ..models.camera import Camera
from ..models.errors import HmcapError
from ..models.markers import proxy_rig
from ..models.motion import MotionFrame
from ..models.proxies import BLAZEPOSE_NAMES, PROXY_NAMES, Proxies
from ..models.solver import SolverSettings, solve_take
from ..realtime.sources import open_source
from .evaluation.metrics import acceleration_error, jitter, mpjpe_mm, pa_mpjpe_mm

LIMBS = tuple(f"{s}_{j}" for s in ("left", "right") for j in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist"))
_HIPS = (LIMBS.index("left_hip"), LIMBS.index("right_hip"))
_PROXY = [PROXY_NAMES.index(n) for n in LIMBS]
_BLAZE = [BLAZEPOSE_NAMES.index(n) for n in LIMBS]


@dataclass(frozen=True)
class Case:
    """Footage with truth."""

    name: str
    source: Path
    camera: Camera
    joints_cam_m: np.ndarray
    """(T, 12, 3) true LIMBS in the camera's axes."""
    up_cam: np.ndarray | None
    """(3,) true vertical in the camera's axes, where it is known."""
    fps: float


def _named(names: np.ndarray) -> list[int]:
    lookup = {str(n).lower(): i for i, n in enumerate(names)}
    return [lookup[f"{n[0]}{n.partition('_')[2]}"] for n in LIMBS]


def beam_cases(folder: Path) -> Iterator[Case]:
    """The four views of the balance beam."""
    with np.load(folder / "truth.npz", allow_pickle=False) as truth:
        joints = truth["joints_world_m"][:, _named(truth["joint_names"])].astype(np.float64)
        for i, name in enumerate(truth["camera_names"]):
            source = folder / f"{name}.mp4"
            with open_source(str(source)) as video:
                width, height = video.width_px, video.height_px
            K, R = truth["K"][i], truth["R_cam_world"][i]
            camera = Camera(width, height, K[0, 0], K[1, 1], K[0, 2], K[1, 2], tuple(truth["dist"][i]), "calibration")
            yield Case(
                f"beam {name}", source, camera, joints @ R.T + truth["t_cam_world_m"][i], R[:, 1], float(truth["fps"])
            )


def still_cases(folder: Path) -> Iterator[Case]:
    """The single frames."""
    with np.load(folder / "truth.npz", allow_pickle=False) as truth:
        for i, name in enumerate(truth["files"]):
            K = truth["K"][i]
            source = folder / str(name)
            with open_source(str(source)) as video:
                width, height = video.width_px, video.height_px
            joints = truth["joints_cam_m"][i][_named(truth["joint_names"][i])][None].astype(np.float64)
            camera = Camera(width, height, K[0, 0], K[1, 1], K[0, 2], K[1, 2], (), "calibration")
            yield Case(Path(str(name)).stem, source, camera, joints, None, 1.0)


def measured_joints_cam_m(motion: list[MotionFrame]) -> np.ndarray:
    """(T, 12, 3) LIMBS of a motion in the camera's axes."""
    model = load_body()
    rig = proxy_rig(model)
    shaped = model.with_shape(motion[0].betas)
    posed = shaped.with_pose(np.stack([m.poses for m in motion]), np.stack([m.trans_m for m in motion]))
    world = rig.in_world_m(posed)[:, _PROXY].astype(np.float64)
    T = np.stack([m.T_cam_world for m in motion])
    return np.einsum("tij,tmj->tmi", T[:, :3, :3], world) + T[:, None, :3, 3]


def landmarks(source: Path) -> list[Proxies]:
    """Proxies of every frame."""
    stage = LandmarkStage.open()
    with open_source(str(source)) as frames:
        return [stage(f.image_rgb, f.index, f.stamp_s) for f in frames]


def _row(name: str, predicted: np.ndarray, case: Case) -> dict[str, float | str]:
    truth = case.joints_cam_m
    good = np.isfinite(predicted).all((1, 2))
    if not good.any():
        return {"who": name}
    row: dict[str, float | str] = {
        "who": name,
        "mpjpe": float(mpjpe_mm(predicted[good], truth[good], _HIPS).mean()),
        "pa": float(pa_mpjpe_mm(predicted[good], truth[good]).mean()),
        "seen": float(good.mean() * 100),
    }
    if len(truth) > 4 and good.all():
        root = predicted[:, _HIPS].mean(1, keepdims=True), truth[:, _HIPS].mean(1, keepdims=True)
        row["accel"] = acceleration_error(predicted - root[0], truth - root[1], case.fps)
        row["jitter"] = jitter(predicted - root[0], case.fps)
    return row


def evaluate(case: Case, peer: Path | None) -> list[dict[str, float | str]]:
    """Rows of this software and, where its file exists, of the peer."""
    proxies = landmarks(case.source)
    motion = solve_take(proxies, case.camera, settings=SolverSettings())
    rows = [_row("hmcap", measured_joints_cam_m(motion), case)]
    if case.up_cam is not None:
        cosine = float(np.clip(case.up_cam @ motion[0].T_cam_world[:3, 1], -1, 1))
        rows[0]["gravity"] = float(np.degrees(np.arccos(cosine)))
    file = None if peer is None else peer / f"{case.source.stem}.npz"
    if file is not None and file.is_file():
        with np.load(file, allow_pickle=False) as data:
            rows.append(_row("MediaPipe", data["world_m"][:, _BLAZE].astype(np.float64), case))
    return rows


def main() -> int:
    """Command line; exit code 0, or 1 where the data is not there."""
    parser = argparse.ArgumentParser(prog="ground_truth", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peer", type=Path, help="folder with the peer's npz files")
    args = parser.parse_args()
    try:
        cases: list[Case] = []
        for part, load in (("balance_beam", beam_cases), ("stills_3d", still_cases)):
            if (args.folder / part / "truth.npz").is_file():
                cases.extend(load(args.folder / part))
            else:
                print(f"skipped: {args.folder / part} has no truth.npz")
        if not cases:
            raise HmcapError(f"Expected balance_beam/ or stills_3d/ in {args.folder}, found neither. Name the folder.")
        print(f"{'case':44s}{'who':11s}{'MPJPE':>7s}{'PA':>7s}{'Accel':>7s}{'jitter':>8s}{'gravity':>9s}")
        found: dict[str, list[float]] = {}
        for case in cases:
            for row in evaluate(case, args.peer):
                group = f"{'beam' if case.up_cam is not None else 'stills'} {row['who']}"
                cells = [f"{row[k]:.1f}" if k in row else "-" for k in ("mpjpe", "pa", "accel", "jitter", "gravity")]
                print(
                    f"{case.name:44s}{row['who']:11s}"
                    + "".join(c.rjust(w) for c, w in zip(cells, (7, 7, 7, 8, 9), strict=True))
                )
                if "pa" in row:
                    found.setdefault(group, []).append(float(row["pa"]))
        for group, values in found.items():
            print(f"mean PA-MPJPE, {group}: {np.mean(values):.1f} mm over {len(values)}")
    except HmcapError as error:
        print(f"ground_truth: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
