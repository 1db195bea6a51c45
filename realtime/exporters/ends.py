"""Where the bones of a body end: finger tips, toes and the top of the head, by the body's own markers."""

import numpy as np

from ...models.body import ShapedBody
from ...models.markers import blazepose_rig, proxy_rig
from ...models.skeleton import JOINT_NAMES
from .rig import FINGERS

_NEAR_M = 0.003
"""Vertices this close to the highest one share the top of the head."""


def bone_ends(body: ShapedBody) -> dict[str, np.ndarray]:
    """Rest positions (3,), metres, of the ends of finger, foot and head bones, by the joint that carries each."""
    hands, feet = proxy_rig(body.model), blazepose_rig(body.model)
    on_hands = dict(zip(hands.names, hands.points_m(body.betas), strict=True))
    on_feet = dict(zip(feet.names, feet.points_m(body.betas), strict=True))
    ends = {"head": _top_of_the_head(body)}
    for side in ("left", "right"):
        ends[f"{side}_foot"] = on_feet[f"{side}_foot_index"]
        ends |= {f"{side}_{finger}3": on_hands[f"{side}_hand_{finger}4"] for finger in FINGERS}
    return {name: np.asarray(end, dtype=np.float64) for name, end in ends.items()}


def floor_height_m(body: ShapedBody) -> float:
    """y of the soles in the rest pose, metres."""
    return float(np.asarray(body.vertices_m())[:, 1].min())


def _top_of_the_head(body: ShapedBody) -> np.ndarray:
    owner = np.asarray(body.model.weights).argmax(axis=1)
    head = np.asarray(body.vertices_m())[owner == JOINT_NAMES.index("head")]
    return head[head[:, 1] >= head[:, 1].max() - _NEAR_M].mean(axis=0)
