"""What every inference back end offers: named numpy arrays in and out, and the truth about the device."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, shape and type of one network input or output."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype


@runtime_checkable
class Engine(Protocol):
    """A network that is loaded and ready on one device."""

    backend: str
    """``openvino`` or ``onnxruntime`` (further back ends register in ``engines.open_engine``)."""
    device: str
    """The device or provider that really runs the network, asked from the library after loading."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once. ``feeds`` holds every input by name; the result holds every output by name."""
        ...
