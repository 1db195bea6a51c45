"""Random numbers of one generator, delivered where they are needed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """Draws float32 tensors from a generator and puts them on a device.

    The numbers are made on the generator's own device, so that a CPU generator gives the same ones for every device.
    """

    generator: torch.Generator
    device: torch.device

    def uniform(self, shape: Sequence[int], low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        """Evenly distributed between ``low`` and ``high``."""
        made = torch.rand(tuple(shape), generator=self.generator, device=self.generator.device)
        return (low + (high - low) * made).to(self.device)

    def log_uniform(self, shape: Sequence[int], low: float, high: float) -> torch.Tensor:
        """Positive numbers whose logarithm is evenly distributed."""
        return torch.exp(self.uniform(shape, math.log(low), math.log(high)))

    def normal(self, shape: Sequence[int], sigma: float = 1.0) -> torch.Tensor:
        """Gaussian with mean zero."""
        made = torch.randn(tuple(shape), generator=self.generator, device=self.generator.device)
        return (made * sigma).to(self.device)

    def chance(self, shape: Sequence[int], share: float) -> torch.Tensor:
        """True with a probability of ``share``."""
        return self.uniform(shape) < share

    def choice(self, shape: Sequence[int], cumulative: torch.Tensor) -> torch.Tensor:
        """int64 indices, by the cumulative weights (N,) float64, which need not end at one."""
        made = torch.rand(tuple(shape), generator=self.generator, device=self.generator.device, dtype=torch.float64)
        found = torch.searchsorted(cumulative, made.to(cumulative.device) * cumulative[-1], right=True)
        return found.clamp_max(len(cumulative) - 1).to(self.device)
