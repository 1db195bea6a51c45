"""What a bad span did to the motion, against the motion of the same take without it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from ...models.body import BodyModel
from ...models.motion import MotionFrame
from ...models.rotations import axis_angle_to_matrix
from ...models.skeleton import PARENTS

SETTLE_S = 0.5
"""After a bad span, the motion has so long to be back."""
NEAR_M, NEAR_DEG = 0.05, 15.0
"""How near the pose has to be to the clean run's: mean of the joints about the pelvis, and the root's rotation."""
_ARRAYS = ("poses", "trans_m", "betas", "T_cam_world", "contact", "confidence", "expression")


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one run with a bad span."""

    not_finite: int
    """Numbers that are none, in the whole run."""
    root_step_m: float
    """Largest step of the root from frame to frame, from the span's beginning until it has settled."""
    root_speed_m_s: float
    """The same as a speed."""
    root_turn_deg: float
    """Largest turn of the root from frame to frame there."""
    joint_turn_deg: float
    """Largest turn of a joint of the body in its parent from frame to frame there."""
    finger_turn_deg: float
    """The same of the fingers."""
    measured: float
    """Share of joint groups told to be measured within the span."""
    confidence: float
    """Mean confidence within the span, over that of the clean run."""
    recovery_s: float
    """Time after the span until the pose is near the clean run's and stays so for 0.2 s; infinite where it never is."""
    place_m: float
    """Distance of the root from the clean run's place, one second after the span."""
    worst_m: float
    """Largest distance of the pose (mean of joints, from the pelvis) from the clean run's, in the span."""


def not_finite(frames: Sequence[MotionFrame]) -> int:
    """Numbers that are none in motion frames; the reprojection error may be NaN."""
    return sum(int((~np.isfinite(np.asarray(getattr(f, n), np.float64))).sum()) for f in frames for n in _ARRAYS)


def joints_of(frames: Sequence[MotionFrame], model: BodyModel) -> np.ndarray:
    """(T, 22, 3) body joints from the pelvis, in the world's axes."""
    poses, betas = np.stack([f.poses for f in frames]), np.stack([f.betas for f in frames])
    R = axis_angle_to_matrix(poses[:, :22].astype(np.float64))
    rest = np.asarray(model.rest_joints(betas.astype(np.float64)), np.float64)
    world, out = R.copy(), np.zeros((len(frames), 22, 3))
    for j in range(1, 22):
        above = int(PARENTS[j])
        world[:, j] = world[:, above] @ R[:, j]
        out[:, j] = out[:, above] + (world[:, above] @ (rest[:, j] - rest[:, above])[..., None])[..., 0]
    return out


def turns_deg(frames: Sequence[MotionFrame]) -> np.ndarray:
    """(T - 1, 55) turn of every joint from frame to frame."""
    poses = np.stack([f.poses for f in frames]).astype(np.float64)
    R = Rotation.from_rotvec(poses.reshape(-1, 3))
    n = poses.shape[1]
    step = R[:-n].inv() * R[n:]
    return np.degrees(step.magnitude()).reshape(-1, n)


def compare(
    clean: Sequence[MotionFrame], bad: Sequence[MotionFrame], rows: slice, stamps_s: np.ndarray, model: BodyModel
) -> Figures:
    """Figures of the run ``bad`` whose frames ``rows`` were spoiled; stamps_s: the clean take's."""
    broken = not_finite(bad)
    if broken:
        nan = float("nan")
        return Figures(broken, *([nan] * 10))
    first = max(rows.start - 1, 0)
    last = min(int(np.searchsorted(stamps_s, stamps_s[rows.stop - 1] + SETTLE_S, side="right")), len(stamps_s) - 1)
    around = slice(first, last + 1)
    trans = np.stack([f.trans_m for f in bad])
    step = np.linalg.norm(np.diff(trans[around], axis=0), axis=-1)
    turns = turns_deg(bad[around])
    apart = np.linalg.norm(joints_of(bad, model) - joints_of(clean, model), axis=-1)[:, 1:].mean(-1)
    roots = [Rotation.from_rotvec(np.stack([f.poses[0] for f in frames])) for frames in (clean, bad)]
    turned = np.degrees((roots[0].inv() * roots[1]).magnitude())
    near = (apart < NEAR_M) & (turned < NEAR_DEG)
    hold = max(1, round(0.2 / float(np.median(np.diff(stamps_s)))))
    stays = [bool(near[i : i + hold].all()) for i in range(len(near))]
    back = next((i for i in range(rows.stop, len(near)) if stays[i]), None)
    place = np.linalg.norm(trans - np.stack([f.trans_m for f in clean]), axis=-1)
    later = min(int(np.searchsorted(stamps_s, stamps_s[rows.stop - 1] + 1.0)), len(stamps_s) - 1)
    told = np.stack([f.confidence for f in clean[rows]]).mean()
    return Figures(
        0,
        float(step.max()),
        float((step / np.maximum(np.diff(stamps_s[around]), 1e-3)).max()),
        float(turns[:, 0].max()),
        float(turns[:, 1:22].max()),
        float(turns[:, 25:].max()),
        float(np.stack([f.measured for f in bad[rows]]).mean()),
        float(np.stack([f.confidence for f in bad[rows]]).mean() / max(told, 1e-6)),
        float("inf") if back is None else float(stamps_s[back] - stamps_s[rows.stop - 1]),
        float(place[later]),
        float(apart[rows].max()),
    )
