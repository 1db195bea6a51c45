"""Points on a kinematic tree and their closed-form Jacobians (axis x lever arm), vectorised over frames."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Rig:
    """A tree of J joints with M points riding on it, in the rest pose of one body shape."""

    parents: np.ndarray
    """(J,) parent index, -1 for the root, parents first."""
    joints_m: np.ndarray
    """(J, 3) rest positions."""
    point_joint: np.ndarray
    """(M,) joint that carries each point."""
    points_m: np.ndarray
    """(M, 3) rest positions of the points."""
    joints_shapedirs: np.ndarray
    """(J, 3, B) change of the rest joints per shape coefficient."""
    points_shapedirs: np.ndarray
    """(M, 3, B) change of the rest points per shape coefficient."""

    @property
    def num_variables(self) -> int:
        """D: three of translation, three per joint."""
        return 3 + 3 * len(self.parents)

    def with_shape(self, betas: np.ndarray) -> "Rig":
        """The same rig with shape coefficients (B,) added to its rest pose."""
        return Rig(
            self.parents,
            self.joints_m + self.joints_shapedirs @ betas,
            self.point_joint,
            self.points_m + self.points_shapedirs @ betas,
            self.joints_shapedirs,
            self.points_shapedirs,
        )

    @cached_property
    def ancestors(self) -> np.ndarray:
        """(J, J) bool, [j, k] True when joint k moves what rides on joint j."""
        moves = np.eye(len(self.parents), dtype=bool)
        for j, parent in enumerate(self.parents):
            if parent >= 0:
                moves[j] |= moves[parent]
        return moves

    def forward(self, R_local: np.ndarray, trans_m: np.ndarray) -> "Posed":
        """Pose the tree: local rotations (T, J, 3, 3), translation (T, 3); the root is at its rest place + trans."""
        J = len(self.parents)
        R = np.empty_like(R_local)
        p = np.empty((len(R_local), J, 3))
        for j, parent in enumerate(self.parents):
            if parent < 0:
                R[:, j] = R_local[:, j]
                p[:, j] = self.joints_m[j] + trans_m
            else:
                R[:, j] = R[:, parent] @ R_local[:, j]
                p[:, j] = p[:, parent] + R[:, parent] @ (self.joints_m[j] - self.joints_m[parent])
        lever = self.points_m - self.joints_m[self.point_joint]
        x = p[:, self.point_joint] + np.einsum("tmij,mj->tmi", R[:, self.point_joint], lever)
        return Posed(self, R, p, x)


@dataclass(frozen=True)
class Posed:
    """A rig in T poses."""

    rig: Rig
    R_world_joint: np.ndarray
    """(T, J, 3, 3) rotations of the joints."""
    joints_m: np.ndarray
    """(T, J, 3) joint positions."""
    points_m: np.ndarray
    """(T, M, 3) point positions."""

    def jacobian(self) -> np.ndarray:
        """(T, M, 3, D) derivative of the points by translation and by right perturbations ``R_local exp(d)``."""
        rig = self.rig
        T, M = self.points_m.shape[:2]
        J = len(rig.parents)
        out = np.zeros((T, M, 3, 3 + 3 * J))
        out[..., :3] = np.eye(3)
        axes = np.swapaxes(self.R_world_joint, -1, -2)  # row i of a joint = its axis i in the world
        for j in range(J):
            moved = np.flatnonzero(rig.ancestors[rig.point_joint, j])
            if len(moved) == 0:
                continue
            lever = self.points_m[:, moved] - self.joints_m[:, None, j]
            # axis x lever for the three axes at once
            ax, ay, az = np.moveaxis(axes[:, None, j], -1, 0)
            lx, ly, lz = np.moveaxis(lever[:, :, None, :], -1, 0)
            block = np.stack([ay * lz - az * ly, az * lx - ax * lz, ax * ly - ay * lx], axis=-2)
            out[:, moved, :, 3 + 3 * j : 6 + 3 * j] = block
        return out

    def shape_jacobian(self) -> np.ndarray:
        """(T, M, 3, B) derivative of the points by the shape coefficients."""
        rig = self.rig
        T, B = len(self.joints_m), rig.joints_shapedirs.shape[-1]
        dp = np.empty((T, len(rig.parents), 3, B))
        for j, parent in enumerate(rig.parents):
            if parent < 0:
                dp[:, j] = rig.joints_shapedirs[j]
            else:
                step = rig.joints_shapedirs[j] - rig.joints_shapedirs[parent]
                dp[:, j] = dp[:, parent] + self.R_world_joint[:, parent] @ step
        lever = rig.points_shapedirs - rig.joints_shapedirs[rig.point_joint]
        return dp[:, rig.point_joint] + np.einsum("tmij,mjb->tmib", self.R_world_joint[:, rig.point_joint], lever)
