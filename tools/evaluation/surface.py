"""The mesh of a body in motion, skinned a few rows at a time."""

import zlib

import numpy as np

from ...models.body import load_body
from .records import BodyParameters, Surface


def topology_name(vertices: int, faces: np.ndarray) -> str:
    """Name of a mesh's topology: equal for two meshes exactly where number of vertices and triangles (F, 3) agree."""
    return f"{vertices} vertices, triangles {zlib.crc32(np.ascontiguousarray(faces, '<i4').tobytes()):08x}"


def surface_of(body: BodyParameters) -> Surface:
    """The skinned mesh of SMPL-X parameters, by linear blend skinning of the body model file they name (the built-in
    body for ""). float32; rows of NaN give NaN. Raises HmcapError where the file cannot be read."""
    betas = np.asarray(body.betas, np.float32)
    model = load_body(body.model or None, num_betas=max(10, len(betas)))
    shaped = model.with_shape(betas)
    poses, trans_m = np.asarray(body.poses, np.float32), np.asarray(body.trans_m, np.float32)

    def vertices_m(rows: slice) -> np.ndarray:
        return shaped.with_pose(poses[rows], trans_m[rows]).skin().vertices_m

    return Surface(topology_name(len(model.v_template), model.faces), vertices_m)
