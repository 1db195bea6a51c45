"""Run inside Blender by test_blender.py: import a file with Blender's own reader and say where the bones are.

python blender_read.py -- FILE OUT.npz FRAME,FRAME,...,LAST FPS
"""

import math
import sys

import bpy
import numpy as np

IMPORTS = {
    "bvh": lambda path: bpy.ops.import_anim.bvh(
        filepath=path, axis_forward="-Z", axis_up="Y", global_scale=0.01, frame_start=0, update_scene_fps=True,
        update_scene_duration=True,
    ),
    "glb": lambda path: bpy.ops.import_scene.gltf(filepath=path),
    "fbx": lambda path: bpy.ops.import_scene.fbx(filepath=path, anim_offset=0.0),
    "usdc": lambda path: bpy.ops.wm.usd_import(filepath=path),
}  # fmt: skip


def main(path: str, out: str, frames: list[int], fps: float) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    for addon in ("io_scene_gltf2", "io_scene_fbx", "io_anim_bvh"):
        bpy.ops.preferences.addon_enable(module=addon)
    scene.render.fps = math.ceil(fps)
    IMPORTS[path.rpartition(".")[2]](path)
    armature = next(thing for thing in bpy.data.objects if thing.type == "ARMATURE")
    skins = [thing for thing in bpy.data.objects if thing.type == "MESH" and thing.find_armature() is not None]
    names = [bone.name for bone in armature.data.bones]
    heads, vertices, shapes = [], [], []
    # Where the keys lie: Blender's readers disagree about frame rates that are no whole numbers.
    first, last = armature.animation_data.action.frame_range
    for frame in frames:
        at = first + (last - first) * frame / max(frames[-1], 1)
        scene.frame_set(math.floor(at + 1e-4), subframe=max(at - math.floor(at + 1e-4), 0.0))
        heads.append([armature.matrix_world @ armature.pose.bones[name].head for name in names])
        if skins:
            posed = skins[0].evaluated_get(bpy.context.evaluated_depsgraph_get())
            vertices.append([posed.matrix_world @ v.co for v in posed.data.vertices])
            keys = skins[0].data.shape_keys
            shapes.append([key.value for key in keys.key_blocks[1:]] if keys else [])
    keys = skins[0].data.shape_keys if skins else None
    np.savez(
        out,
        names=np.array(names),
        heads_m=y_up(heads),
        vertices_m=y_up(vertices),
        shape_names=np.array([key.name for key in keys.key_blocks[1:]] if keys else [], dtype=str),
        shapes=np.array(shapes, dtype=float),
        fps=scene.render.fps / scene.render.fps_base,
        keys=np.array([first, last]),
        scale=np.array(armature.matrix_world.to_scale()),
        turn=np.array(armature.matrix_world.to_euler()),
    )


def y_up(values: list) -> np.ndarray:
    """From Blender's Z up to Y up."""
    xyz = np.array([[tuple(v) for v in row] for row in values], dtype=float).reshape(
        len(values), -1 if values else 0, 3
    )
    return np.stack((xyz[..., 0], xyz[..., 2], -xyz[..., 1]), axis=-1)


if __name__ == "__main__":
    file, out, frames, fps = sys.argv[sys.argv.index("--") + 1 :]
    main(file, out, [int(f) for f in frames.split(",")], float(fps))
