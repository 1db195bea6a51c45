"""The body as browsers skin it: a rest mesh with four weights a vertex, and one pose for each bone and frame."""

from dataclasses import dataclass

import numpy as np

from ...models.body import BodyModel, PosedBody, ShapedBody
from ...models.rotations import matrix_to_quaternion

INFLUENCES = 4
"""Bones that a vertex of a skinned mesh in WebGL follows at most."""


@dataclass(frozen=True, slots=True)
class BonePoses:
    """The bones of one frame in the world."""

    wxyz: np.ndarray
    """(55, 4) rotation from the rest pose, where every bone's axes are those of the world."""
    positions_m: np.ndarray
    """(55, 3)"""


def top_weights(weights: np.ndarray, influences: int = INFLUENCES) -> np.ndarray:
    """(V, 55) skinning weights of which only the largest of each vertex are left; rows sum to 1."""
    order = np.argsort(weights, axis=1)[:, :-influences]
    kept = np.array(weights, dtype=np.float64)
    np.put_along_axis(kept, order, 0.0, axis=1)
    return (kept / kept.sum(axis=1, keepdims=True)).astype(np.float32)


def bone_poses(posed: PosedBody) -> BonePoses:
    """The bones that make a skinned rest mesh of ``posed.shaped`` stand as ``posed`` does."""
    return BonePoses(matrix_to_quaternion(np.asarray(posed.R_world)), np.asarray(posed.joints_m))


def rest_bones(shaped: ShapedBody) -> BonePoses:
    """The bones in the rest pose, in which the mesh is handed over."""
    joints_m = np.asarray(shaped.joints_m)
    return BonePoses(np.tile([1.0, 0.0, 0.0, 0.0], (len(joints_m), 1)), joints_m)


class Shapes:
    """The body in the shape of the newest frame; a live capture refines it from frame to frame."""

    def __init__(self, model: BodyModel) -> None:
        self._model = model
        self._betas: np.ndarray | None = None
        self.shaped = model.with_shape()

    def update(self, betas: np.ndarray) -> None:
        """Take the betas (B,) of a frame."""
        if self._betas is None or not np.array_equal(betas, self._betas):
            self._betas = np.array(betas)
            self.shaped = self._model.with_shape(self._betas)
