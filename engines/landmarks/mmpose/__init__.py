"""Landmark networks of MMPose (RTMPose, RTMW, HRNet, ViTPose, ...) that a user brings as ONNX files.

``layouts``: which key point is which. ``form``: what a file holds, found out when it is added. ``decoders``: from its
outputs to pixels. ``networks``: the body and the hand module that the landmark stage runs.
"""

from .form import Form, one_picture, recognise
from .layouts import LAYOUTS, Layout, get_layout
from .networks import MmposeBody, MmposeHand, find_network

__all__ = [
    "LAYOUTS", "Form", "Layout", "MmposeBody", "MmposeHand", "find_network", "get_layout", "one_picture", "recognise",
]  # fmt: skip
