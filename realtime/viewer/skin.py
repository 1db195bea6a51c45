"""The body as browsers skin it: a rest mesh with four weights a vertex, and one pose for each bone and frame."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...models.body import BodyModel, PosedBody, ShapedBody
from ...models.rotations import matrix_to_quaternion

INFLUENCES = 4
"""Bones that a vertex of a skinned mesh in WebGL follows at most."""
FIRST_REMAKE_S = 2.0
REMAKE_OFF_M = 0.008
"""Distance by which a tenth of the flesh is off before it is made anew."""


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


class Remakes:
    """When the mesh is made anew because the shape has moved away from it: rarely, as a mesh that browsers were given
    stays with them. A capture's shape settles within seconds, so each time waits twice as long as the one before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wait_s, self._made_s = FIRST_REMAKE_S, clock()

    def due(self, shaped: ShapedBody, made: ShapedBody) -> bool:
        """Whether to make the mesh of ``shaped`` now, where browsers have that of ``made``."""
        if shaped is made or self._clock() - self._made_s < self._wait_s:
            return False
        off_m = np.linalg.norm(np.asarray(shaped.vertices_m()) - np.asarray(made.vertices_m()), axis=1)
        if np.quantile(off_m, 0.9) < REMAKE_OFF_M:
            return False
        self._made_s = self._clock()
        self._wait_s *= 2
        return True

    def at_once(self) -> None:
        """Wait no longer: the next shape is that of a finished take."""
        self._made_s = -math.inf
