"""What the formats with a skin share: mesh, bones, weights, local transforms over time and face shapes of one take.

The rest pose is the standing T-pose of the body with identity rotations, hips above the origin and soles on y = 0, so
that every bone's bind transform is a mere translation. Joint names are those of BVH (``--joint-names``). Where a naming
lacks a joint (jaw and eyes in mixamo), its skin follows the nearest joint above it that is there: the head.

Linear blend skinning is all that these formats know, so pose correctives of a body file that has them are not written.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from ...models.errors import HmcapError
from ...models.face import ARKIT_NAMES
from ...models.rotations import same_side
from ...models.skeleton import NUM_JOINTS, PARENTS
from .ends import floor_height_m
from .prepare import Prepared
from .rig import make_rig

INFLUENCES = 4
"""Joints that a vertex may follow; engines take four."""
SKIN_RGB = (0.7, 0.72, 0.76)
"""Colour of the plain material, linear."""
_STILL_M = 1e-6
"""A face shape leaves alone the vertices that it moves less than this."""


@dataclass(frozen=True, slots=True, eq=False)
class FaceShape:
    """One face shape: the vertices that it moves."""

    name: str
    """ARKit's name."""
    vertices: np.ndarray
    """(N,) vertex numbers, rising."""
    offsets_m: np.ndarray
    """(N, 3) their displacement at full weight, in the rest pose."""


@dataclass(frozen=True, slots=True, eq=False)
class Skinned:
    """A skinned person in motion. Right-handed, Y up, facing +Z, metres; J joints, V vertices, T frames."""

    name: str
    """Name of the motion."""
    fps: float
    names: tuple[str, ...]
    """(J,) joint names, parents first."""
    parents: tuple[int, ...]
    """(J,) row of the parent, -1 for the root."""
    offsets_m: np.ndarray
    """(J, 3) rest position relative to the parent; for the root in the world."""
    rest_m: np.ndarray
    """(J, 3) rest position in the world; the inverse bind matrix is its negative translation."""
    vertices_m: np.ndarray
    """(V, 3) float32 rest mesh."""
    normals: np.ndarray
    """(V, 3) float32 unit normals."""
    faces: np.ndarray
    """(F, 3) int64 triangles, counter-clockwise from outside."""
    vertex_joints: np.ndarray
    """(V, 4) int64 rows of the joints that a vertex follows; 0 where the weight is 0."""
    vertex_weights: np.ndarray
    """(V, 4) float32, falling, sum 1."""
    root_m: np.ndarray
    """(T, 3) position of the root in the world."""
    quaternions_xyzw: np.ndarray
    """(T, J, 4) rotation in the parent's frame (the root: in the world); signs continuous over time."""
    positions_m: np.ndarray
    """(T, J, 3) joints in the world."""
    shapes: tuple[FaceShape, ...]
    """Face shapes in ARKit's order; none where the face was not captured."""
    shape_weights: np.ndarray
    """(T, number of shapes)."""

    def __len__(self) -> int:
        return len(self.root_m)

    def scaled(self, factor: float) -> "Skinned":
        """The same in another unit of length: ``factor`` of it are a metre. Field names keep their ``_m``."""
        lengths = ("offsets_m", "rest_m", "vertices_m", "root_m", "positions_m")
        shapes = tuple(replace(shape, offsets_m=shape.offsets_m * factor) for shape in self.shapes)
        return replace(self, shapes=shapes, **{name: getattr(self, name) * factor for name in lengths})


def make_skinned(ready: Prepared) -> Skinned:
    """Everything a skinned format needs, from a prepared take.

    Raises:
        HmcapError: a number of the motion is not finite.
    """
    track, body, options = ready.track, ready.body, ready.options
    rig = make_rig(ready.rest_joints_m, options.joint_names, floor_m=floor_height_m(body))
    rows = list(rig.joints)
    faces, used = _without_loose_vertices(body.model.faces)
    vertices_m = np.asarray(body.vertices_m(), dtype=np.float64)[used] + rig.offsets_m[0] - rig.rest_pelvis_m
    vertex_joints, vertex_weights = strongest(merged_weights(np.asarray(body.model.weights)[used], rig.joints))
    shapes, shape_weights = _face(ready, used)
    root_m, positions_m = rig.rest_pelvis_m + track.trans_m, ready.positions_m[:, rows]
    quaternions = np.empty((len(track), len(rows), 4))
    for some in ready.blocks():
        turns = Rotation.from_rotvec(track.poses[some, rows].reshape(-1, 3))
        quaternions[some] = turns.as_quat().reshape(-1, len(rows), 4)
    rest_m = ready.rest_joints_m[rows] + rig.offsets_m[0] - rig.rest_pelvis_m
    if options.t_pose_frame:
        root_m = np.concatenate((rest_m[:1], root_m))
        positions_m = np.concatenate((rest_m[None], positions_m))
        quaternions = np.concatenate((np.broadcast_to((0.0, 0.0, 0.0, 1.0), (1, len(rows), 4)), quaternions))
        shape_weights = np.concatenate((np.zeros_like(shape_weights[:1]), shape_weights))
    if not all(np.isfinite(values).all() for values in (root_m, quaternions, shape_weights)):
        raise HmcapError("Expected finite motion to write, found NaN or infinity. Capture the take again.")
    return Skinned(
        name=ready.name,
        fps=ready.fps,
        names=rig.names,
        parents=rig.parents,
        offsets_m=rig.offsets_m,
        rest_m=rest_m,
        vertices_m=vertices_m.astype(np.float32),
        normals=vertex_normals(vertices_m, faces).astype(np.float32),
        faces=faces,
        vertex_joints=vertex_joints,
        vertex_weights=vertex_weights.astype(np.float32),
        root_m=root_m,
        quaternions_xyzw=same_side(quaternions),
        positions_m=positions_m,
        shapes=shapes,
        shape_weights=shape_weights,
    )


def merged_weights(weights: np.ndarray, joints: tuple[int, ...]) -> np.ndarray:
    """Skinning weights (V, J) of the joints kept, from those of all joints (V, 55): what follows a joint that is not
    kept follows the nearest kept one above it."""
    row_of = {joint: row for row, joint in enumerate(joints)}
    merged = np.zeros((len(weights), len(joints)))
    for joint in range(NUM_JOINTS):
        keeper = joint
        while keeper not in row_of:
            keeper = int(PARENTS[keeper])
        merged[:, row_of[keeper]] += weights[:, joint]
    return merged


def strongest(weights: np.ndarray, count: int = INFLUENCES) -> tuple[np.ndarray, np.ndarray]:
    """The ``count`` strongest joints (V, count) of each vertex and their weights, brought to sum 1 again; joint 0
    stands where there is none."""
    joints = np.argsort(-weights, axis=1, kind="stable")[:, :count]
    top = np.take_along_axis(weights, joints, axis=1).astype(np.float64)
    top = np.where(top > 0, top, 0.0)
    return np.where(top > 0, joints, 0), top / top.sum(axis=1, keepdims=True)


def vertex_normals(vertices_m: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals (V, 3): those of the triangles around a vertex, by their area; +Y where they cancel out."""
    a, b, c = (vertices_m[faces[:, k]] for k in range(3))
    across = np.repeat(np.cross(b - a, c - a), 3, axis=0)
    total = np.stack([np.bincount(faces.ravel(), across[:, k], len(vertices_m)) for k in range(3)], axis=1)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(length > 1e-12, total / np.maximum(length, 1e-12), (0.0, 1.0, 0.0))


def _without_loose_vertices(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Triangles renumbered to the vertices that they use, and the numbers of those."""
    used, renumbered = np.unique(faces, return_inverse=True)
    return renumbered.reshape(faces.shape), used


def _face(ready: Prepared, used: np.ndarray) -> tuple[tuple[FaceShape, ...], np.ndarray]:
    """Face shapes over the vertices in use, and their weights (T, N); none where no face was captured or the body's
    expression means something else, as that of SMPL-X's own files does."""
    model, weights = ready.body.model, ready.track.expression
    if not weights.shape[1] or model.expression_names != ARKIT_NAMES:
        return (), np.zeros((len(ready.track), 0))
    shapes = []
    for k, name in enumerate(ARKIT_NAMES):
        offsets_m = np.asarray(model.exprdirs[used, :, k], dtype=np.float64)
        moved = np.flatnonzero(np.abs(offsets_m).max(axis=1) > _STILL_M)
        shapes.append(FaceShape(name, moved, offsets_m[moved]))
    return tuple(shapes), weights
