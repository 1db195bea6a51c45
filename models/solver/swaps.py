"""Frames in which the detector took left for right: found by continuity, undone before anything is solved.

Body networks mistake a front for a back on hard poses and exchange the sides for a while. A limb cannot change sides
between two frames, so the labelling whose limbs travel least is the likelier one (Viterbi over kept / exchanged).
"""

from dataclasses import replace

import numpy as np

from ..proxies import BLAZEPOSE_NAMES, PROXY_NAMES
from .observations import Observations

_EXCHANGED_COST = 0.006
"""Cost of one exchanged frame at 30 fps, per joint and as a fraction of body height: detectors are mostly right."""
_SWITCH_COST = 0.02
"""Cost of each change, same unit: two arms that hang on top of each other are no evidence."""
_FAR = 0.5
"""Travel beyond which a joint is simply lost, as a fraction of body height."""
_PARTS = {
    "arms": (("shoulder", "elbow", "wrist"), ("shoulder", "elbow", "wrist", "pinky", "index", "thumb")),
    "legs": (("hip", "knee", "ankle", "big_toe", "heel"), ("hip", "knee", "ankle", "heel", "foot_index")),
}
"""Each part's proxies and body landmarks, without their side."""


def undo_swaps(o: Observations) -> Observations:
    """The observations with exchanged arms and legs put right.

    The relative 3-D of an exchanged part was made for a body that faces the other way: it is dropped (NaN).
    """
    xy, confidence = o.xy.copy(), o.confidence.copy()
    body_xyz, hands_xyz = o.body_xyz.copy(), o.hands_xyz.copy()
    for part, (proxies, landmarks) in _PARTS.items():
        left = np.array([PROXY_NAMES.index(f"left_{n}") for n in proxies])
        right = np.array([PROXY_NAMES.index(f"right_{n}") for n in proxies])
        swapped = _swapped(o, left, right)
        if not swapped.any():
            continue
        if part == "arms":
            left = np.concatenate([left, np.arange(25, 46)])
            right = np.concatenate([right, np.arange(46, 67)])
            hands_xyz[swapped] = np.nan
        else:  # few networks see the small toes, so they have no vote, but they go with the foot
            left = np.append(left, PROXY_NAMES.index("left_small_toe"))
            right = np.append(right, PROXY_NAMES.index("right_small_toe"))
        rows = np.flatnonzero(swapped)[:, None]
        for array in (xy, confidence):
            array[rows, left], array[rows, right] = array[rows, right], array[rows, left]
        drop = [BLAZEPOSE_NAMES.index(f"{s}_{n}") for s in ("left", "right") for n in landmarks]
        body_xyz[rows, np.array(drop)] = np.nan
    return replace(o, xy=xy, confidence=confidence, body_xyz=body_xyz, hands_xyz=hands_xyz)


def _swapped(o: Observations, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(T,) bool, by the cheapest path."""
    T = len(o.stamps_s)
    seen = np.flatnonzero(o.present)
    out = np.zeros(T, bool)
    if len(seen) < 3:
        return out
    kept = o.xy[seen][:, np.concatenate([left, right])] / o.size[seen, None, None]
    other = o.xy[seen][:, np.concatenate([right, left])] / o.size[seen, None, None]
    weight = o.confidence[seen][:, np.concatenate([left, right])]
    weight_other = o.confidence[seen][:, np.concatenate([right, left])]
    n = len(left) * 2

    def travel(a: np.ndarray, b: np.ndarray, wa: np.ndarray, wb: np.ndarray) -> np.ndarray:
        distance = np.minimum(np.linalg.norm(b - a, axis=-1), _FAR)
        return (distance * np.minimum(wa, wb)).sum(-1)

    same = travel(kept[:-1], kept[1:], weight[:-1], weight[1:])
    change = travel(kept[:-1], other[1:], weight[:-1], weight_other[1:])
    dt = np.minimum(np.diff(o.stamps_s[seen], prepend=o.stamps_s[seen[0]] - 1 / 30), 0.2)
    unary = _EXCHANGED_COST * n * dt * 30
    # frames apart in time say nothing about each other
    apart = dt[1:] >= 0.2
    same, change = np.where(apart, 0, same), np.where(apart, 0, change)
    cost = np.array([0.0, unary[0]])
    back = np.zeros((len(seen), 2), int)
    for t in range(1, len(seen)):
        stay, switch = cost + same[t - 1], cost[::-1] + change[t - 1] + _SWITCH_COST * n
        back[t] = np.where(stay <= switch, [0, 1], [1, 0])
        cost = np.minimum(stay, switch)
        cost[1] += unary[t]
    state = int(cost.argmin())
    for t in range(len(seen) - 1, -1, -1):
        out[seen[t]] = state == 1
        state = back[t, state]
    return out
