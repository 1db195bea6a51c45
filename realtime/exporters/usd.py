"""USD: a UsdSkel person in motion, as binary crate (``.usdc``). Y up, facing +Z, metres, one time code a frame.

A schema of Pixar's UsdSkel: SkelRoot ``/Person`` over Skeleton, SkelAnimation, skinned Mesh and blend shapes
(https://openusd.org/release/api/_usd_skel__schemas.html). The library is imported when a file is written only.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ...models.errors import HmcapError
from .files import atomic_path
from .prepare import Prepared
from .skinned import INFLUENCES, SKIN_RGB, Skinned, make_skinned

ROOT = "/Person"


def check() -> None:
    """Raises HmcapError where OpenUSD for Python is missing."""
    try:
        _pxr("UsdSkel")
    except ImportError as error:
        raise HmcapError(
            f"Expected OpenUSD's Python package for --export usd, found none that loads ({error}). "
            'Type: pip install "hmcap[usd]"'
        ) from error


def skinned_to_stage(skinned: Skinned) -> Any:
    """A ``Usd.Stage`` in memory with the person and its motion."""
    Gf, Kind, Sdf, Usd, UsdGeom, UsdSkel, Vt = _pxr("Gf", "Kind", "Sdf", "Usd", "UsdGeom", "UsdSkel", "Vt")

    stage = Usd.Stage.CreateInMemory("person.usdc")
    root = UsdSkel.Root.Define(stage, ROOT)
    stage.SetDefaultPrim(root.GetPrim())
    Usd.ModelAPI(root.GetPrim()).SetKind(Kind.Tokens.component)
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, UsdGeom.LinearUnits.meters)
    stage.SetTimeCodesPerSecond(skinned.fps)
    stage.SetFramesPerSecond(skinned.fps)
    stage.SetStartTimeCode(0)
    stage.SetEndTimeCode(len(skinned) - 1)

    skeleton = UsdSkel.Skeleton.Define(stage, f"{ROOT}/Skeleton")
    paths = _joint_paths(skinned)
    skeleton.CreateJointsAttr(paths)
    skeleton.CreateJointNamesAttr(list(skinned.names))
    skeleton.CreateBindTransformsAttr(_translations(skinned.rest_m))
    skeleton.CreateRestTransformsAttr(_translations(skinned.offsets_m))

    motion = UsdSkel.Animation.Define(stage, f"{ROOT}/Motion")
    motion.GetPrim().SetDisplayName(skinned.name)
    motion.CreateJointsAttr(paths)
    motion.CreateScalesAttr(Vt.Vec3hArray(len(paths), Gf.Vec3h(1, 1, 1)))
    _animate(motion, skinned)
    UsdSkel.BindingAPI.Apply(skeleton.GetPrim()).CreateAnimationSourceRel().SetTargets([motion.GetPath()])

    mesh = UsdGeom.Mesh.Define(stage, f"{ROOT}/Body")
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(skinned.vertices_m))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray(len(skinned.faces), 3))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(skinned.faces.ravel().astype(np.int32)))
    mesh.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(skinned.normals))
    mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    mesh.CreateExtentAttr(_box(skinned.vertices_m.min(axis=0), skinned.vertices_m.max(axis=0)))
    mesh.CreateDisplayColorAttr(Vt.Vec3fArray([Gf.Vec3f(*SKIN_RGB)]))
    binding = UsdSkel.BindingAPI.Apply(mesh.GetPrim())
    binding.CreateSkeletonRel().SetTargets([skeleton.GetPath()])
    binding.CreateGeomBindTransformAttr(Gf.Matrix4d(1))
    joints, weights = skinned.vertex_joints.ravel().astype(np.int32), skinned.vertex_weights.ravel()
    binding.CreateJointIndicesPrimvar(False, INFLUENCES).Set(Vt.IntArray.FromNumpy(joints))
    binding.CreateJointWeightsPrimvar(False, INFLUENCES).Set(Vt.FloatArray.FromNumpy(weights))
    if skinned.shapes:
        targets = []
        for shape in skinned.shapes:
            blend = UsdSkel.BlendShape.Define(stage, mesh.GetPath().AppendChild(shape.name))
            blend.CreateOffsetsAttr(Vt.Vec3fArray.FromNumpy(shape.offsets_m.astype(np.float32)))
            blend.CreatePointIndicesAttr(Vt.IntArray.FromNumpy(shape.vertices.astype(np.int32)))
            targets.append(blend.GetPath())
        binding.CreateBlendShapesAttr([shape.name for shape in skinned.shapes])
        binding.CreateBlendShapeTargetsRel().SetTargets(targets)

    extent = root.CreateExtentAttr()
    lowest, highest = _reach(skinned)
    with Sdf.ChangeBlock():
        for frame in range(len(skinned)):
            extent.Set(_box(lowest[frame], highest[frame]), frame)
    return stage


def save_stage(stage: Any, path: str | Path) -> None:
    """Write a stage to ``path``, whole or not at all; the suffix says in which form."""
    (Tf,) = _pxr("Tf")

    with atomic_path(path) as part:
        try:
            written = stage.GetRootLayer().Export(str(part))
        except Tf.ErrorException as error:
            raise OSError(f"OpenUSD cannot write it ({' '.join(str(error).split())})") from error
        if not written:
            raise OSError("OpenUSD cannot write it")


def _pxr(*names: str) -> Any:
    """Modules of OpenUSD. They fill themselves when they load, so the type checker sees nothing in them."""
    return [import_module(f"pxr.{name}") for name in names]


def _animate(motion: Any, skinned: Skinned) -> None:
    """Time samples of a SkelAnimation: one a frame, for all joints at once as the schema wants."""
    Sdf, Vt = _pxr("Sdf", "Vt")

    translations = np.tile(skinned.offsets_m.astype(np.float32), (len(skinned), 1, 1))
    translations[:, 0] = skinned.root_m
    quaternions = skinned.quaternions_xyzw.astype(np.float32)
    # USD keeps imaginary parts before the real one, as we do; FromNumpy takes them in that order.
    rotation, translation = motion.CreateRotationsAttr(), motion.CreateTranslationsAttr()
    weights = skinned.shape_weights.astype(np.float32)
    if skinned.shapes:
        motion.CreateBlendShapesAttr([shape.name for shape in skinned.shapes])
    weight = motion.CreateBlendShapeWeightsAttr() if skinned.shapes else None
    with Sdf.ChangeBlock():
        for frame in range(len(skinned)):
            rotation.Set(Vt.QuatfArray.FromNumpy(quaternions[frame]), frame)
            translation.Set(Vt.Vec3fArray.FromNumpy(translations[frame]), frame)
            if weight is not None:
                weight.Set(Vt.FloatArray.FromNumpy(weights[frame]), frame)


def _joint_paths(skinned: Skinned) -> list[str]:
    paths: list[str] = []
    for name, parent in zip(skinned.names, skinned.parents, strict=True):
        paths.append(name if parent < 0 else f"{paths[parent]}/{name}")
    return paths


def _translations(xyz_m: np.ndarray) -> Any:
    Gf, Vt = _pxr("Gf", "Vt")

    return Vt.Matrix4dArray([Gf.Matrix4d(1).SetTranslate(Gf.Vec3d(*xyz)) for xyz in xyz_m.tolist()])


def _box(lowest: np.ndarray, highest: np.ndarray) -> Any:
    (Vt,) = _pxr("Vt")

    return Vt.Vec3fArray.FromNumpy(np.stack((lowest, highest)).astype(np.float32))


def _reach(skinned: Skinned) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner (T, 3) of a box that the skin cannot leave: the joints, and around them the farthest
    that a vertex is from a joint that it follows."""
    from_joint = skinned.vertices_m[:, None] - skinned.rest_m[skinned.vertex_joints]
    distance = np.linalg.norm(from_joint, axis=-1)
    shape = max((float(np.linalg.norm(s.offsets_m, axis=1).max(initial=0.0)) for s in skinned.shapes), default=0.0)
    pad = float(distance[skinned.vertex_weights > 0].max()) + shape
    return skinned.positions_m.min(axis=1) - pad, skinned.positions_m.max(axis=1) + pad


def export(ready: Prepared, path: Path) -> None:
    """Write a take's motion as USD. Raises HmcapError where OpenUSD is missing, a number is not finite or the file
    cannot be written."""
    check()
    save_stage(skinned_to_stage(make_skinned(ready)), path)
