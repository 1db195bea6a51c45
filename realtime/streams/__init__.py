"""Live streams: what sends the motion to other programs while it is captured. Each is a sink of the capture loop.

The streams are in ``vmc``, ``websocket`` and ``virtual_camera``; here is what choosing one needs, which loads fast.
"""

from .vmc_names import FACES

__all__ = ["FACES"]
