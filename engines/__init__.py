"""Inference back ends and the networks they run.

from hmcap.engines import open_engine
engine = open_engine("pose_landmark_full.tflite")
outputs = engine({engine.inputs[0].name: image})
"""

from .backends import BACKENDS, available, describe_available, open_engine
from .base import PRECISIONS, Engine, EngineOptions, Profile, TensorSpec

__all__ = [
    "BACKENDS",
    "PRECISIONS",
    "Engine",
    "EngineOptions",
    "Profile",
    "TensorSpec",
    "available",
    "describe_available",
    "open_engine",
]
