"""Inference back ends and the networks they run.

from hmcap.engines import open_engine
engine = open_engine("pose_landmark_full.tflite")
outputs = engine({engine.inputs[0].name: image})
"""

from .backends import BACKENDS, available, describe_available, open_engine
from .base import Engine, TensorSpec

__all__ = ["BACKENDS", "Engine", "TensorSpec", "available", "describe_available", "open_engine"]
