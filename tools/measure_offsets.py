"""Measure where the landmark networks mark each body joint, from takes of many people; no ground truth is needed.

    python -m hmcap.tools.measure_offsets take.hmcap [take.hmcap ...]

Each take is solved with the mean body and the offsets in use; what is left between seen and projected landmarks, turned
into the frame of the carrying bone and averaged over frames, is what the offsets lack. Prints the sum of both, mirrored
sides averaged, in the form of the tables of ``models/solver/offsets.py``.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from ..models.body import load_body
from ..models.errors import HmcapError
from ..models.markers import proxy_rig
from ..models.proxies import BODY_NAMES
from ..models.solver import SolverSettings, solve_take
from ..models.solver.observations import stack
from ..models.solver.offsets import landmark_offsets_m
from ..realtime.journal_reading import read_take
from ..realtime.take import Take

_RIDGE = 0.002
"""Pull towards no offset, for a direction that no frame shows."""


def residual_offsets_m(take: Take) -> np.ndarray:
    """(25, 3) offsets that the body proxies of one take lack, metres; NaN for those never seen."""
    model = load_body()
    rig = proxy_rig(model)
    frames = [m for m in solve_take(take.proxies, take.camera, settings=SolverSettings(fit_shape=False)) if m.present]
    seen = {m.index for m in frames}
    observed = stack([p for p in take.proxies if p.index in seen], take.camera)
    posed = model.with_shape(frames[0].betas).with_pose(
        np.stack([m.poses for m in frames]), np.stack([m.trans_m for m in frames])
    )
    T = frames[0].T_cam_world
    offsets = landmark_offsets_m()
    R_cam_joint = T[:3, :3] @ posed.R_world[:, rig.joint[:25]]
    points = rig.in_world_m(posed)[:, :25] @ T[:3, :3].T + T[:3, 3]
    points = points + np.einsum("tmij,mj->tmi", R_cam_joint, offsets[:25])
    depth = points[..., 2:]
    miss = (observed.xy[:, :25] - points[..., :2] / depth) * depth
    out = np.full((25, 3), np.nan)
    for k in range(25):
        weight = observed.confidence[:, k]
        if weight.sum() < 5:
            continue
        A = (R_cam_joint[:, k, :2] * weight[:, None, None]).reshape(-1, 3)
        b = (miss[:, k] * weight[:, None]).reshape(-1)
        out[k] = np.linalg.solve(A.T @ A + _RIDGE * len(A) * np.eye(3), A.T @ b)
    return out + offsets[:25]


def mirrored_mean(offsets_m: np.ndarray) -> dict[str, np.ndarray]:
    """Median over takes (N, 25, 3) of every landmark, left and right made one; keys as in the tables."""
    median = np.nanmedian(offsets_m, axis=0)
    table = {}
    for k, name in enumerate(BODY_NAMES):
        if name.startswith("left_"):
            other = median[BODY_NAMES.index(name.replace("left", "right"))]
            table[name[5:]] = (median[k] + other * [-1, 1, 1]) / 2
        elif not name.startswith("right_"):
            table[name] = median[k] * [0, 1, 1]
    return {name: value for name, value in table.items() if np.isfinite(value).all()}


def main() -> int:
    """Command line; exit code 0, or 1 where a take cannot be used."""
    parser = argparse.ArgumentParser(prog="measure_offsets", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("takes", nargs="+", type=Path)
    args = parser.parse_args()
    try:
        offsets = np.stack([residual_offsets_m(read_take(path)) for path in args.takes])
    except HmcapError as error:
        print(f"measure_offsets: {error}", file=sys.stderr)
        return error.exit_code
    spread = np.nanstd(offsets, axis=0)
    for name, value in mirrored_mean(offsets).items():
        k = BODY_NAMES.index(name if name in BODY_NAMES else f"left_{name}")
        numbers = ", ".join(f"{v:.3f}" for v in value)
        print(f'    "{name}": ({numbers}),  # spread over takes {np.round(spread[k], 3).tolist()}')
    return 0


if __name__ == "__main__":
    sys.exit(main())
