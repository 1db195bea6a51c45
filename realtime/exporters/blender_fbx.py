"""Run inside Blender, never imported by hmcap: turn a GLB into an FBX.

    blender --background --python blender_fbx.py -- IN.glb OUT.fbx WHOLE_FPS FPS NAME
    python blender_fbx.py -- IN.glb OUT.fbx WHOLE_FPS FPS NAME    (a Python that has bpy)

The GLB comes turned and scaled (see :mod:`~.fbx`) so that Blender's own numbers, after its import has swapped axes, are
those of a file with Y up in centimetres. They are written as they stand: no object of the FBX carries a rotation or a
scale, which the usual way through Blender leaves on the armature (-90 degrees, 100).
"""

import sys

import bpy  # pyright: ignore[reportMissingImports]


def main(glb: str, fbx: str, whole_fps: int, fps: float, name: str) -> None:
    """Read ``glb``, whose frames come at ``whole_fps``, and write ``fbx``, where they come at ``fps`` a second and the
    animation is called ``name``."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    for addon in ("io_scene_gltf2", "io_scene_fbx"):  # An empty start has none of them in some builds.
        bpy.ops.preferences.addon_enable(module=addon)
    scene = bpy.context.scene
    scene.name = name
    # Blender's rate is a whole number over a divisor, which its glTF import (5.0) multiplies by instead of dividing.
    # So the GLB comes at the whole rate, every frame on a frame, and the divisor follows after the import.
    scene.render.fps, scene.render.fps_base = whole_fps, 1.0
    known = bpy.ops.import_scene.gltf.get_rna_type().properties.keys()
    wanted = {"bone_heuristic": "BLENDER", "disable_bone_shape": True, "guess_original_bind_pose": False}
    bpy.ops.import_scene.gltf(filepath=glb, **{key: value for key, value in wanted.items() if key in known})
    mesh = next(thing for thing in bpy.data.objects if thing.type == "MESH" and thing.find_armature() is not None)
    for thing in list(bpy.data.objects):
        if thing != mesh and thing.type != "ARMATURE":  # Place-holders that Blender adds.
            bpy.data.objects.remove(thing)
    mesh.name = "Body"
    for modifier in mesh.modifiers:  # The skin is written as it is bound: Blender need not bend it in every frame.
        modifier.show_viewport = False
    # The import leaves the motion both active and in a track; the exporter has to see one.
    animated = [thing.animation_data for thing in (*bpy.data.objects, *bpy.data.shape_keys) if thing.animation_data]
    for animation in animated:
        for track in list(animation.nla_tracks):
            animation.nla_tracks.remove(track)
    ranges = [action.frame_range for action in bpy.data.actions]
    scene.frame_start, scene.frame_end = 0, max(round(last) for _, last in ranges)
    scene.render.fps_base = scene.render.fps / fps
    scene.unit_settings.system = "METRIC"
    scene.unit_settings.scale_length = 0.01
    bpy.ops.export_scene.fbx(
        filepath=fbx,
        object_types={"ARMATURE", "MESH"},
        use_space_transform=False,
        axis_forward="-Z",
        axis_up="Y",
        apply_unit_scale=True,
        apply_scale_options="FBX_SCALE_NONE",
        # The import turned every bone by 90 degrees about X together with the world; this turns them back.
        primary_bone_axis="Z",
        secondary_bone_axis="X",
        add_leaf_bones=False,
        mesh_smooth_type="OFF",
        bake_anim=True,
        bake_anim_use_all_bones=True,
        bake_anim_use_nla_strips=False,
        bake_anim_use_all_actions=False,
        bake_anim_force_startend_keying=True,
        bake_anim_step=1.0,
        bake_anim_simplify_factor=0.0,
    )


if __name__ == "__main__":
    arguments = sys.argv[sys.argv.index("--") + 1 :]
    main(arguments[0], arguments[1], int(arguments[2]), float(arguments[3]), arguments[4])
