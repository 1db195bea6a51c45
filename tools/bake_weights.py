"""Skinning weights of the baked body: bones merged into joints, joins softened, at most four joints a vertex."""

import numpy as np
from scipy import sparse

from ..models.skeleton import JOINT_NAMES

MAX_INFLUENCES = 4
"""Joints per vertex; four is what glTF carries, so that an exported mesh moves exactly like ours."""

SOFTEN = {"shoulder": (0.17, 60), "hip": (0.19, 75)}
"""Joint: radius in metres within which weights are diffused over the mesh, and number of diffusion steps."""

TWIST_FROM, TWIST_SHARE = 0.35, 0.5
"""The forearm follows the wrist from this fraction of its length on, up to this share of weight at the wrist, because a
turn of the hand is a turn of the radius about the ulna and not of the wrist alone."""


def merge_weights(bone_weights: np.ndarray, joint_of_bone: list[int]) -> np.ndarray:
    """(V, 55) weights from bone weights (V, N): each joint gets the sum of the bones merged into it."""
    out = np.zeros((len(bone_weights), len(JOINT_NAMES)))
    for bone, joint in enumerate(joint_of_bone):
        out[:, joint] += bone_weights[:, bone]
    return out / out.sum(axis=1, keepdims=True)


def smooth_weights(
    weights: np.ndarray, v: np.ndarray, faces: np.ndarray, mirror: np.ndarray, swap: np.ndarray, joints: np.ndarray
) -> np.ndarray:
    """(V, 55) weights, softened, cut to MAX_INFLUENCES and left/right symmetric.

    v (V, 3) and joints (55, 3) are the rest pose; mirror (V,) and swap (55,) are the left/right partners.
    """
    out = _share_twist(weights, v, joints)
    for name, (radius, steps) in SOFTEN.items():
        for side in ("left", "right"):
            out = _diffuse(out, v, faces, joints[JOINT_NAMES.index(f"{side}_{name}")], radius, steps)
    out = (out + out[mirror][:, swap]) / 2
    # Taking off the first weight that has to go, instead of cutting it, leaves no step between neighbours.
    out = np.maximum(out - np.sort(out, axis=1)[:, [-MAX_INFLUENCES - 1]], 0.0)
    return out / out.sum(axis=1, keepdims=True)


def _share_twist(weights: np.ndarray, v: np.ndarray, joints: np.ndarray) -> np.ndarray:
    out = weights.copy()
    for side in ("left", "right"):
        elbow, wrist = (JOINT_NAMES.index(f"{side}_{n}") for n in ("elbow", "wrist"))
        axis = joints[wrist] - joints[elbow]
        t = ((v - joints[elbow]) @ axis / (axis @ axis) - TWIST_FROM) / (1 - TWIST_FROM)
        share = TWIST_SHARE * np.clip(t, 0, 1) ** 2
        both = out[:, elbow] + out[:, wrist]
        moved = np.maximum(out[:, wrist], share * both)
        out[:, elbow], out[:, wrist] = both - moved, moved
    return out


def _diffuse(
    weights: np.ndarray, v: np.ndarray, faces: np.ndarray, centre: np.ndarray, radius: float, steps: int
) -> np.ndarray:
    """Weights averaged over neighbours ``steps`` times, fully at the centre and not at all beyond the radius."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.concatenate([edges, edges[:, ::-1]])
    graph = sparse.coo_matrix((np.ones(len(edges)), edges.T), shape=(len(v), len(v))).tocsr()
    graph.data[:] = 1.0
    mean = sparse.diags(1 / np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1)) @ graph
    near = np.clip(1 - (np.linalg.norm(v - centre, axis=1) / radius) ** 2, 0, 1)[:, None]
    out = weights
    for _ in range(steps):
        out = out + 0.5 * near * (mean @ out - out)
    return out
