"""TensorRT-RTX back end: engines built anywhere for RTX cards, the rest compiled on the card when first run."""

from .tensorrt import backend

BACKEND = backend("tensorrt_rtx")
