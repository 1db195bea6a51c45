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


PRECISIONS = ("f32", "f16", "bf16")
"""Precisions that a network can be asked to compute in; what a device cannot do is an error."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The sizes that a network with open dimensions will be run with, under a name of its own."""

    name: str
    sizes: Mapping[str, tuple[int, int, int]]
    """Name of an open dimension in the graph (``frames``, ``batch``) -> least, usual and greatest size."""

    @property
    def fixed(self) -> dict[str, int]:
        """The dimensions that have one size only."""
        return {name: low for name, (low, _, high) in self.sizes.items() if low == high}


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How a network is to be run."""

    device: str = "cpu"
    """Lower case, with the number of one among several: ``cpu``, ``cuda:1``, ``gpu.0``."""
    threads: int | None = None
    """CPU threads; ``None`` leaves it to the library."""
    precision: str = "f32"
    """One of :data:`PRECISIONS`."""
    streams: int = 1
    """Calls that may run at the same time; each has ``threads`` of its own. More wait for their turn."""
    outputs: tuple[int, ...] | None = None
    """Positions of the outputs that are wanted; what serves the others alone is not computed. ``None``: all."""
    profile: Profile | None = None
    """The sizes that will be asked for; ``None``: any. A back end that must know them builds for these, and one that
    gains from knowing them is faster with them."""


@runtime_checkable
class Engine(Protocol):
    """A network that is loaded and ready on one device."""

    backend: str
    """A name of ``engines.BACKENDS``."""
    device: str
    """The device or provider that really runs the network, asked from the library after loading."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once. ``feeds`` holds every input by name; the result holds every output by name."""
        ...
