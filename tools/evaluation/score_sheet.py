"""Where the measures of a case are written down while they are taken."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .metrics import mean_known


@dataclass
class Sheet:
    """The measures of one case; what is defined nowhere is left out."""

    frames: int
    per_frame: dict[str, np.ndarray] = field(default_factory=dict)
    per_joint: dict[str, dict[str, float]] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, samples: np.ndarray, names: Sequence[str] = (), pooled: bool = False) -> None:
        """Write down a measure given by its samples (T,) or (T, N), NaN where it is not defined; nothing where it is
        defined nowhere. The value is the mean over rows of each row's mean, or over all samples where ``pooled``."""
        by_row = samples if samples.ndim == 1 else mean_known(samples, -1)
        over = samples if pooled else by_row
        weight = int((~np.isnan(over)).sum())
        if not weight:
            return
        self.per_frame[name] = by_row
        self.values[name] = float(mean_known(over))
        self.weights[name] = float(weight)
        if names:
            means = mean_known(samples, 0)
            self.per_joint[name] = {n: float(v) for n, v in zip(names, means, strict=True) if not np.isnan(v)}

    def add_share(self, name: str, value: float, weight: int) -> None:
        """Write down a share of ``weight`` samples; a mean weighted so is the share over all cases together."""
        if weight:
            self.values[name], self.weights[name] = value, float(weight)
