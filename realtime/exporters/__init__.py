"""File formats a take can be written in. A take is prepared once; every exporter writes one file from that, whole or
not at all.

A further format is one module with ``export(ready, path)`` and one line in EXPORTERS.
"""

from pathlib import Path

from . import bvh, fbx, npz, usd
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
            "usd", ".usdc", "the same for Houdini, Omniverse, Maya (pip install hmcap[usd])", usd.export, usd.check
        ),
        Exporter(
            "fbx", ".fbx", "the same for Unreal, Unity, Maya, MotionBuilder (needs Blender)", fbx.export, fbx.check
        ),
        Exporter("npz", ".npz", "SMPL-X parameters in AMASS layout, with contact, confidence and camera", npz.export),
    )
}
"""Name after ``--export`` -> format."""
