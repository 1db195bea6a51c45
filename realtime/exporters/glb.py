"""GLB: binary glTF 2.0 with a skinned person in motion. +Y up, facing +Z, metres, seconds.

Specification: https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html (sections 3.6.2 accessors, 3.7 geometry and
skins, 3.11 animations, 4.4 GLB).
"""

from importlib.metadata import version
from pathlib import Path

import numpy as np
import pygltflib as gl

from .files import atomic_path
from .prepare import Prepared
from .skinned import SKIN_RGB, FaceShape, Skinned, make_skinned

_TYPES = {(): gl.SCALAR, (3,): gl.VEC3, (4,): gl.VEC4, (4, 4): gl.MAT4}
_COMPONENTS = {"uint8": gl.UNSIGNED_BYTE, "uint16": gl.UNSIGNED_SHORT, "uint32": gl.UNSIGNED_INT, "float32": gl.FLOAT}


class _Buffer:
    """Collects arrays into one binary buffer and gives each an accessor."""

    def __init__(self, gltf: gl.GLTF2) -> None:
        self.gltf = gltf
        self.blob = bytearray()

    def add(self, values: np.ndarray, target: int | None = None, bounds: bool = False) -> int:
        """Number of a new accessor over ``values`` (N, ...); ``bounds`` where the specification asks for min and
        max."""
        accessor = gl.Accessor(
            bufferView=self.view(values, target), componentType=_COMPONENTS[values.dtype.name], count=len(values),
            type=_TYPES[values.shape[1:]],
        )  # fmt: skip
        if bounds:
            flat = values.reshape(len(values), -1)
            accessor.min, accessor.max = flat.min(axis=0).tolist(), flat.max(axis=0).tolist()
        return self._append(accessor)

    def add_shape(self, shape: FaceShape, vertices: int) -> int:
        """Number of a sparse accessor (section 3.6.2.3): zero but for the vertices that the shape moves."""
        offsets = shape.offsets_m.astype(np.float32)
        within = np.concatenate((np.zeros((1, 3), np.float32), offsets))
        accessor = gl.Accessor(
            componentType=gl.FLOAT, count=vertices, type=gl.VEC3, byteOffset=None,
            min=within.min(axis=0).tolist(), max=within.max(axis=0).tolist(),
        )  # fmt: skip
        if len(offsets):
            numbers = _indices(shape.vertices, vertices)
            accessor.sparse = gl.Sparse(
                count=len(offsets),
                indices=gl.AccessorSparseIndices(
                    bufferView=self.view(numbers), componentType=_COMPONENTS[numbers.dtype.name]
                ),
                values=gl.AccessorSparseValues(bufferView=self.view(offsets)),
            )
        return self._append(accessor)

    def view(self, values: np.ndarray, target: int | None = None) -> int:
        """Number of a new view onto the bytes of ``values``."""
        self.blob += bytes(-len(self.blob) % 4)
        raw = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
        self.gltf.bufferViews.append(
            gl.BufferView(buffer=0, byteOffset=len(self.blob), byteLength=len(raw), target=target)
        )
        self.blob += raw
        return len(self.gltf.bufferViews) - 1

    def _append(self, accessor: gl.Accessor) -> int:
        self.gltf.accessors.append(accessor)
        return len(self.gltf.accessors) - 1


def skinned_to_gltf(skinned: Skinned) -> gl.GLTF2:
    """The whole file: node 0 is the mesh, identity and at the scene's root as its skin wants; nodes 1 and up are the
    joints in the order of ``skinned.names``."""
    gltf = gl.GLTF2(
        asset=gl.Asset(version="2.0", generator=f"hmcap {version('hmcap')}"),
        scene=0,
        scenes=[gl.Scene(nodes=[0, 1])],
        materials=[_material()],
    )
    buffer = _Buffer(gltf)
    gltf.meshes = [_mesh(skinned, buffer)]
    gltf.nodes = [gl.Node(name="Body", mesh=0, skin=0), *_joints(skinned)]
    inverse_binds = np.tile(np.eye(4, dtype=np.float32), (len(skinned.names), 1, 1))
    inverse_binds[:, 3, :3] = -skinned.rest_m  # Matrices are stored by columns.
    gltf.skins = [
        gl.Skin(
            name="Armature", inverseBindMatrices=buffer.add(inverse_binds), skeleton=1,
            joints=list(range(1, len(skinned.names) + 1)),
        )
    ]  # fmt: skip
    gltf.animations = [_animation(skinned, buffer)]
    buffer.blob += bytes(-len(buffer.blob) % 4)
    gltf.buffers = [gl.Buffer(byteLength=len(buffer.blob))]
    gltf.set_binary_blob(bytes(buffer.blob))
    return gltf


def save_glb(gltf: gl.GLTF2, path: str | Path) -> None:
    """Write glTF to ``path`` as one binary file, whole or not at all."""
    with atomic_path(path) as part:
        gltf.save_binary(str(part))


def _material() -> gl.Material:
    # metallicFactor counts as 1 where it is not written.
    look = gl.PbrMetallicRoughness(baseColorFactor=[*SKIN_RGB, 1.0], metallicFactor=0.0, roughnessFactor=0.8)
    return gl.Material(name="Skin", pbrMetallicRoughness=look, alphaCutoff=None)


def _mesh(skinned: Skinned, buffer: _Buffer) -> gl.Mesh:
    vertices = len(skinned.vertices_m)
    attributes = gl.Attributes(
        POSITION=buffer.add(skinned.vertices_m, gl.ARRAY_BUFFER, bounds=True),
        NORMAL=buffer.add(skinned.normals, gl.ARRAY_BUFFER),
        JOINTS_0=buffer.add(skinned.vertex_joints.astype(np.uint8), gl.ARRAY_BUFFER),
        WEIGHTS_0=buffer.add(skinned.vertex_weights, gl.ARRAY_BUFFER),
    )
    triangles = buffer.add(_indices(skinned.faces.ravel(), vertices), gl.ELEMENT_ARRAY_BUFFER)
    primitive = gl.Primitive(attributes=attributes, indices=triangles, material=0)
    if not skinned.shapes:
        return gl.Mesh(name="Body", primitives=[primitive])
    primitive.targets = [gl.Attributes(POSITION=buffer.add_shape(shape, vertices)) for shape in skinned.shapes]
    names = [shape.name for shape in skinned.shapes]
    return gl.Mesh(name="Body", primitives=[primitive], weights=[0.0] * len(names), extras={"targetNames": names})


def _joints(skinned: Skinned) -> list[gl.Node]:
    nodes = [
        gl.Node(name=name, translation=offset.tolist())
        for name, offset in zip(skinned.names, skinned.offsets_m, strict=True)
    ]
    for row, parent in enumerate(skinned.parents):
        if parent >= 0:
            nodes[parent].children = [*(nodes[parent].children or []), row + 1]
    return nodes


def _animation(skinned: Skinned, buffer: _Buffer) -> gl.Animation:
    times = buffer.add((np.arange(len(skinned)) / skinned.fps).astype(np.float32), bounds=True)
    animation = gl.Animation(name=skinned.name)

    def channel(node: int, path: str, values: np.ndarray) -> None:
        output = buffer.add(np.ascontiguousarray(values, dtype=np.float32))
        animation.samplers.append(gl.AnimationSampler(input=times, output=output, interpolation=gl.ANIM_LINEAR))
        target = gl.AnimationChannelTarget(node=node, path=path)
        animation.channels.append(gl.AnimationChannel(sampler=len(animation.samplers) - 1, target=target))

    channel(1, "translation", skinned.root_m)
    for row in range(len(skinned.names)):
        channel(row + 1, "rotation", skinned.quaternions_xyzw[:, row])
    if skinned.shapes:
        channel(0, "weights", skinned.shape_weights.ravel())
    return animation


def _indices(numbers: np.ndarray, vertices: int) -> np.ndarray:
    # The largest number of each kind is not allowed as an index.
    return numbers.astype(np.uint16 if vertices < 65535 else np.uint32)


def export(ready: Prepared, path: Path) -> None:
    """Write a take's motion as GLB. Raises HmcapError where a number is not finite or the file cannot be written."""
    save_glb(skinned_to_gltf(make_skinned(ready)), path)
