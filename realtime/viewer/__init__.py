"""The browser viewer: the captured body in its world, live or from a take, on any screen of the network.

``ViewerSink`` shows a capture, ``Playback`` plays a take, ``viewer_available`` says whether the library that both
stand on is installed.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .playback import Playback
    from .server import viewer_available
    from .sink import ViewerSink
    from .viewer import Viewer

_HOMES = {
    "Playback": ".playback",
    "Viewer": ".viewer",
    "ViewerSink": ".sink",
    "viewer_available": ".server",
}

__all__ = ["Playback", "Viewer", "ViewerSink", "viewer_available"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: printing help must not wait for drawing libraries.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name], __name__), name)
