"""The body model in four immutable stages: model -> with shape -> with pose -> skinned.

Every stage runs on numpy and on torch from this one definition; :meth:`BodyModel.as_torch` makes the torch kind.
Conventions: SMPL-X tree of 55 joints (:mod:`hmcap.models.skeleton`), T-pose rest facing +Z, left = +X, Y up, metres,
axis-angle radians; hand poses are relative to the flat hand. Linear blend skinning as in Loper et al., SMPL (2015),
equations 2 to 4, with the SMPL-X additions (expression, 55 joints) of Pavlakos et al. (2019).
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import array_api_compat
import numpy as np

from .errors import UsageError
from .rotations import Array, axis_angle_to_matrix
from .skeleton import NUM_JOINTS, PARENTS


def _tree_levels() -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Joints of each depth, the place of each one's parent in the level above, and the order that undoes both."""
    depth = np.zeros(NUM_JOINTS, int)
    for j in range(1, NUM_JOINTS):
        depth[j] = depth[PARENTS[j]] + 1
    levels = [np.flatnonzero(depth == d) for d in range(depth.max() + 1)]
    above = [np.searchsorted(levels[d - 1], PARENTS[levels[d]]) for d in range(1, len(levels))]
    return levels, above, np.argsort(np.concatenate(levels))


_LEVELS, _ABOVE, _UNDO = _tree_levels()


def _take(a: Array, index: np.ndarray, axis: int) -> Array:
    xp = array_api_compat.array_namespace(a)
    if array_api_compat.is_numpy_namespace(xp):
        return np.take(a, index, axis=axis)
    return xp.take(a, xp.asarray(index, device=array_api_compat.device(a)), axis=axis)


def _linear(directions: Array, coefficients: Array) -> Array:
    """(..., N, 3) sum of directions (N, 3, B), weighted by coefficients (..., B)."""
    n, _, count = directions.shape
    flat = array_api_compat.array_namespace(directions).reshape(directions, (n * 3, count))
    if coefficients.shape[-1] > count:
        raise UsageError(
            f"Expected at most {count} coefficients for this body model, found {coefficients.shape[-1]}. "
            "Load it with a larger num_betas or num_expressions, or give fewer."
        )
    out = coefficients @ flat[:, : coefficients.shape[-1]].T
    return out.reshape((*coefficients.shape[:-1], n, 3))


def forward_kinematics(R_local: Array, joints_m: Array, trans_m: Array | None = None) -> tuple[Array, Array]:
    """World rotations (..., 55, 3, 3) and positions (..., 55, 3) of all joints, without any vertex.

    R_local: (..., 55, 3, 3) rotation of each joint in its parent's frame (the pelvis: in the world). joints_m: (...,
    55, 3) rest joints; trans_m: (..., 3) added to every position, so that pelvis = joints_m[0] + trans_m. Leading
    dimensions broadcast. One batched product per level of the tree.
    """
    xp = array_api_compat.array_namespace(R_local, joints_m)
    batch = np.broadcast_shapes(tuple(R_local.shape[:-3]), tuple(joints_m.shape[:-2]))
    joints_m = xp.broadcast_to(joints_m, (*batch, NUM_JOINTS, 3))
    bones = joints_m - _take(joints_m, np.maximum(PARENTS, 0), -2)
    R, p = [_take(R_local, _LEVELS[0], -3)], [joints_m[..., :1, :]]
    for joints, above in zip(_LEVELS[1:], _ABOVE, strict=True):
        R_parent = _take(R[-1], above, -3)
        p.append(_take(p[-1], above, -2) + (R_parent @ _take(bones, joints, -2)[..., None])[..., 0])
        R.append(R_parent @ _take(R_local, joints, -3))
    R_world = _take(xp.concat(R, axis=-3), _UNDO, -3)
    positions = _take(xp.concat(p, axis=-2), _UNDO, -2)
    if trans_m is not None:
        positions = positions + trans_m[..., None, :]
    return R_world, positions


@dataclass(frozen=True, slots=True, eq=False)
class BodyModel:
    """A body as read from its file; numpy arrays, or torch tensors after :meth:`as_torch`."""

    v_template: Array
    """(V, 3) mesh of the mean body in the rest pose, metres."""
    shapedirs: Array
    """(V, 3, B) change of the rest mesh per unit of each shape coefficient (one standard deviation), metres."""
    exprdirs: Array
    """(V, 3, E) change of the rest mesh per unit of each expression coefficient, metres."""
    posedirs: Array | None
    """(V, 3, 486) pose correctives, metres per entry of the local rotations less identity; None when all are zero."""
    J_regressor: Array
    """(55, V) rest joints from the rest mesh."""
    weights: Array
    """(V, 55) skinning weights; rows sum to 1."""
    faces: np.ndarray
    """(F, 3) int64 triangles, counter-clockwise seen from outside; numpy in every kind."""
    J_template: Array
    """(55, 3) rest joints of the mean body, metres."""
    J_shapedirs: Array
    """(55, 3, B) change of the rest joints per unit of each shape coefficient: J = J_template + J_shapedirs @ betas."""
    J_exprdirs: Array
    """(55, 3, E) the same for expression coefficients."""
    expression_names: tuple[str, ...]
    """Name of each expression coefficient (52 ARKit names in the built-in body); empty when the file names none."""
    hands_mean: Array
    """(2, 15, 3) mean pose of the left and right hand in the file, relative to the flat hand; never added here."""
    provenance: dict
    """Where the file came from."""

    @property
    def num_betas(self) -> int:
        """Number of shape coefficients B."""
        return self.shapedirs.shape[-1]

    def as_torch(self, device: Any = None, dtype: Any = None) -> "BodyModel":
        """The same model in torch tensors; the stages that follow are then differentiable. Imports torch."""
        import torch

        arrays = {
            f.name: torch.as_tensor(getattr(self, f.name), device=device, dtype=dtype or torch.float32)
            for f in fields(self)
            if isinstance(getattr(self, f.name), np.ndarray) and f.name != "faces"
        }
        return replace(self, **arrays)

    def astype(self, dtype: Any) -> "BodyModel":
        """The same numpy model in another precision, for example np.float64."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "faces"}
        return replace(self, **{k: a.astype(dtype) for k, a in arrays.items() if isinstance(a, np.ndarray)})

    def rest_joints(self, betas: Array | None = None, expression: Array | None = None) -> Array:
        """(..., 55, 3) rest joints for shape coefficients (..., <= B), without touching the mesh."""
        joints = self.J_template
        if betas is not None:
            joints = joints + _linear(self.J_shapedirs, betas)
        if expression is not None:
            joints = joints + _linear(self.J_exprdirs, expression)
        return joints

    def with_shape(self, betas: Array | None = None, expression: Array | None = None) -> "ShapedBody":
        """The body of one person. betas: (..., <= B), expression: (..., <= E); None is the mean body, neutral face."""
        return ShapedBody(self, self.rest_joints(betas, expression), betas, expression)


@dataclass(frozen=True, slots=True, eq=False)
class ShapedBody:
    """A body of a certain shape in the rest pose."""

    model: BodyModel
    joints_m: Array
    """(..., 55, 3) rest joints."""
    betas: Array | None
    """(..., <= B) shape coefficients, or None for the mean body."""
    expression: Array | None
    """(..., <= E) expression coefficients, or None for a neutral face."""

    def vertices_m(self) -> Array:
        """(..., V, 3) rest mesh."""
        v = self.model.v_template
        if self.betas is not None:
            v = v + _linear(self.model.shapedirs, self.betas)
        if self.expression is not None:
            v = v + _linear(self.model.exprdirs, self.expression)
        return v

    def with_pose(self, poses: Array, trans_m: Array | None = None) -> "PosedBody":
        """Pose it. poses: (..., 55, 3) or (..., 165) axis-angle in SMPL-X joint order, hands relative to the flat hand;
        trans_m: (..., 3) or None for zero. Leading dimensions broadcast with those of the shape."""
        if poses.shape[-1] == 3 * NUM_JOINTS:
            poses = poses.reshape((*poses.shape[:-1], NUM_JOINTS, 3))
        if poses.shape[-2:] != (NUM_JOINTS, 3):
            raise UsageError(
                f"Expected poses of shape (..., {NUM_JOINTS}, 3) or (..., {3 * NUM_JOINTS}), "
                f"found {tuple(poses.shape)}. Fill the joints that you do not have with zeros."
            )
        R_local = axis_angle_to_matrix(poses)
        R_world, positions = forward_kinematics(R_local, self.joints_m, trans_m)
        return PosedBody(self, R_local, R_world, positions)


@dataclass(frozen=True, slots=True, eq=False)
class PosedBody:
    """A body in a pose; the mesh is not computed until :meth:`skin`."""

    shaped: ShapedBody
    R_local: Array
    """(..., 55, 3, 3) rotation of each joint in its parent's frame."""
    R_world: Array
    """(..., 55, 3, 3) rotation of each joint's frame in the world (identity in the rest pose)."""
    joints_m: Array
    """(..., 55, 3) joint positions in the world."""

    def attach(self, joint: np.ndarray, points_m: Array) -> Array:
        """(..., N, 3) world positions of rest-pose points (..., N, 3), each carried rigidly by its joint (N,)."""
        offset = points_m - _take(self.shaped.joints_m, joint, -2)
        return _take(self.joints_m, joint, -2) + (_take(self.R_world, joint, -3) @ offset[..., None])[..., 0]

    def skin(self) -> "SkinnedBody":
        """The mesh in this pose by linear blend skinning (with the file's pose correctives, if it has any)."""
        xp = array_api_compat.array_namespace(self.R_world)
        model, v = self.shaped.model, self.shaped.vertices_m()
        if model.posedirs is not None:
            eye = xp.asarray(np.eye(3), dtype=v.dtype, device=array_api_compat.device(v))
            features = (self.R_local[..., 1:, :, :] - eye).reshape((*self.R_local.shape[:-3], 9 * (NUM_JOINTS - 1)))
            v = v + _linear(model.posedirs, features)
        shift = self.joints_m - (self.R_world @ self.shaped.joints_m[..., None])[..., 0]
        rows = xp.concat([self.R_world, shift[..., None]], axis=-1)
        batch = rows.shape[:-3]
        blended = (model.weights @ rows.reshape((*batch, NUM_JOINTS, 12))).reshape((*batch, v.shape[-2], 3, 4))
        return SkinnedBody(self, (blended[..., :3] @ v[..., None])[..., 0] + blended[..., 3])


@dataclass(frozen=True, slots=True, eq=False)
class SkinnedBody:
    """The mesh of a posed body."""

    posed: PosedBody
    vertices_m: Array
    """(..., V, 3) vertices in the world."""

    @property
    def faces(self) -> np.ndarray:
        """(F, 3) int64 triangles."""
        return self.posed.shaped.model.faces
