"""File formats a take can be written in. A take is prepared once; every exporter writes its files from that, whole or
not at all.

A further format is one module with ``export(ready, path)`` and one line in EXPORTERS.
"""

from pathlib import Path

from . import bvh, c3d, csv_table, fbx, json_document, mot, npz, trc, usd
from .files import atomic_path
from .options import UP_AXES, Exporter, ExportOptions
from .prepare import Prepared, prepare
from .rig import NAMINGS

__all__ = ["EXPORTERS", "NAMINGS", "UP_AXES", "ExportOptions", "Exporter", "Prepared", "atomic_path", "prepare"]


def _export_glb(ready: Prepared, path: Path) -> None:
    from . import glb  # Its library takes longer to load than a capture without it should wait.

    glb.export(ready, path)


EXPORTERS: dict[str, Exporter] = {
    exporter.name: exporter
    for exporter in (
        Exporter("bvh", ".bvh", "skeleton animation for Blender, Maya, MotionBuilder, Houdini, Unreal", bvh.export),
        Exporter("glb", ".glb", "skinned person in motion for Blender, Unity, Unreal, the web", _export_glb),
        Exporter(
            "usd",
            ".usdc",
            "the same for Houdini, Omniverse, Maya (pip install hmcap[usd])",
            usd.export,
            check=usd.check,
        ),
        Exporter(
            "fbx",
            ".fbx",
            "the same for Unreal, Unity, Maya, MotionBuilder (needs Blender)",
            fbx.export,
            check=fbx.check,
        ),
        Exporter("npz", ".npz", "SMPL-X parameters in AMASS layout, with contact, confidence and camera", npz.export),
        Exporter("trc", ".trc", "22 markers named as in HALPE-26, for Pose2Sim and OpenSim", trc.export),
        Exporter("mot", ".mot", "joint angles, with their OpenSim model (.osim)", mot.export, (mot.MODEL_SUFFIX,)),
        Exporter("c3d", ".c3d", "the same markers for biomechanics packages", c3d.export),
        Exporter("csv", ".csv", "joints, rotations, contact, confidence: one row a frame", csv_table.export),
        Exporter("json", ".json", "the same and the camera, as one document", json_document.export),
    )
}
"""Name after ``--export`` -> format."""
