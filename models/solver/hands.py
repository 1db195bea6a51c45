"""Fingers: a small tree per hand, tied to the wrist that the body solve gave."""

import numpy as np

from ..rotations import axis_angle_to_matrix, matrix_to_axis_angle
from .energy import Chain, Energy, minimise
from .ground import Gravity
from .observations import Observations, hand_evidence
from .prior import hand_prior
from .rigs import SolverRigs
from .segments import windows
from .settings import SolverSettings
from .terms import hand_weights

_WRIST = {"left": 20, "right": 21}


def solve_hand(
    o: Observations,
    side: str,
    body: Chain,
    rigs: SolverRigs,
    gravity: Gravity,
    settings: SolverSettings,
    start: np.ndarray | None = None,
    iterations: int = 12,
) -> np.ndarray:
    """(T, 15, 3) finger rotations, axis-angle. Where the hand is not seen they relax to the usual pose of a hand.

    ``start``: (T, 15, 3) where to begin, else that usual pose.
    """
    rest = hand_prior(side).mean
    T = len(o.stamps_s)
    evidence = hand_evidence(o, side, settings)
    seen = np.any(evidence.xy_weight > 0, axis=1)
    fingers = np.broadcast_to(rest, (T, 15, 3)).copy() if start is None else start.copy()
    if not seen.any():
        return 0.9 * fingers + 0.1 * rest  # a live hand that left relaxes bit by bit
    posed = rigs.body.forward(body.R_local, body.trans_m)
    rig = rigs.hands[side]
    R_wrist, p_wrist = posed.R_world_joint[:, _WRIST[side]], posed.joints_m[:, _WRIST[side]]
    R = np.concatenate([R_wrist[:, None], axis_angle_to_matrix(fingers)], axis=1)
    trans = p_wrist - rig.joints_m[0]
    # the hand network sees a wrist that differs from the body network's: let the hand float over it a little
    for part, frozen in windows(T, settings.window, settings.overlap):
        if not seen[part].any():
            continue
        wrist = Chain(R[part, :1].copy(), trans[part].copy())
        energy = Energy(
            rig,
            evidence.frames(part),
            hand_weights(settings, side, wrist),
            gravity.R_cam_world,
            gravity.t_cam_world_m,
            frozen=frozen,
        )
        solved, _ = minimise(energy, Chain(R[part], trans[part]), iterations)
        R[part, 1:] = solved.R_local[:, 1:]
    return matrix_to_axis_angle(R[:, 1:])
