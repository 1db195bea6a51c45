"""The application: sources, capture loop, takes, exports, overlay and the command line.

From Python, the same under the same names as on the command line::

    from hmcap.realtime import capture_video, capture_webcam, export_take

    result = capture_video("dance.mp4", export=("bvh", "npz"), fov_deg=60)
    export_take(result.take, to="bvh", joint_names="smplx")
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .capture import capture_video, capture_webcam, export_take
    from .frames import Frame, Source
    from .journal import TakeWriter
    from .journal_reading import read_take
    from .options import CaptureOptions
    from .outputs import CaptureResult
    from .report import Report, summarise
    from .run import Parts
    from .sources import open_source
    from .take import Take, TakeHeader

_HOMES = {
    "CaptureOptions": ".options",
    "CaptureResult": ".outputs",
    "Frame": ".frames",
    "Parts": ".run",
    "Report": ".report",
    "Source": ".frames",
    "Take": ".take",
    "TakeHeader": ".take",
    "TakeWriter": ".journal",
    "capture_video": ".capture",
    "capture_webcam": ".capture",
    "export_take": ".capture",
    "open_source": ".sources",
    "read_take": ".journal_reading",
    "summarise": ".report",
}

__all__ = [
    "CaptureOptions",
    "CaptureResult",
    "Frame",
    "Parts",
    "Report",
    "Source",
    "Take",
    "TakeHeader",
    "TakeWriter",
    "capture_video",
    "capture_webcam",
    "export_take",
    "open_source",
    "read_take",
    "summarise",
]


def __getattr__(name: str) -> Any:
    # Loaded on first use: reading a take or printing help must not wait for video and drawing libraries.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name], __name__), name)
