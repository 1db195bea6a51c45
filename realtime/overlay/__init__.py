"""Pictures of what was captured: the body over the source's picture, skeleton, landmarks, and the overlay video."""

from .choose import RENDERERS, open_renderer
from .figure import Figure, Posed
from .mesh import MeshRenderer
from .record import MAX_SIDE_PX, STYLES, OverlayReport, write_overlay, write_videos
from .skeleton import draw_contact, draw_ground, draw_proxies, draw_skeleton, draw_text

__all__ = [
    "MAX_SIDE_PX",
    "RENDERERS",
    "STYLES",
    "Figure",
    "MeshRenderer",
    "OverlayReport",
    "Posed",
    "draw_contact",
    "draw_ground",
    "draw_proxies",
    "draw_skeleton",
    "draw_text",
    "open_renderer",
    "write_overlay",
    "write_videos",
]
