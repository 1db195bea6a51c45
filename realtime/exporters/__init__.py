"""File formats a take can be written in. A take is prepared once; every exporter writes one file from that, whole or
not at all.

A further format is one module with ``export(ready, path)`` and one line in EXPORTERS.
"""

from . import bvh, npz
from .files import atomic_path
from .options import UP_AXES, Exporter, ExportOptions
from .prepare import Prepared, prepare
from .rig import NAMINGS

__all__ = ["EXPORTERS", "NAMINGS", "UP_AXES", "ExportOptions", "Exporter", "Prepared", "atomic_path", "prepare"]

EXPORTERS: dict[str, Exporter] = {
    exporter.name: exporter
    for exporter in (
        Exporter("bvh", ".bvh", "skeleton animation for Blender, Maya, MotionBuilder, Houdini, Unreal", bvh.export),
        Exporter("npz", ".npz", "SMPL-X parameters in AMASS layout, with contact, confidence and camera", npz.export),
    )
}
"""Name after ``--export`` -> format."""
