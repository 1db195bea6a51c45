"""Live streams: what sends the motion to other programs while it is captured. Each is a sink of the capture loop.

The streams are in ``vmc``, ``websocket`` and ``virtual_camera``; here is what choosing one needs, which loads fast.
"""

from .addresses import DEFAULT_VMC, DEFAULT_WEBSOCKET, Address, check_token, parse_address
from .vmc_names import FACES

__all__ = ["DEFAULT_VMC", "DEFAULT_WEBSOCKET", "FACES", "Address", "check_token", "parse_address"]
