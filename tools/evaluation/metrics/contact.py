"""Ground contact of the feet as a yes-or-no question."""

from dataclasses import dataclass

import numpy as np

THRESHOLD = 0.5
"""A predicted probability from here on says "in contact"."""


@dataclass(frozen=True, slots=True)
class ContactCounts:
    """Answers counted over foot points and frames."""

    hits: int
    """In contact, and said so."""
    false_alarms: int
    """Not in contact, but said so."""
    misses: int
    """In contact, but not said so."""

    @property
    def precision(self) -> float:
        """Share of the contacts said that are true; NaN where none was said."""
        return _share(self.hits, self.hits + self.false_alarms)

    @property
    def recall(self) -> float:
        """Share of the true contacts that were said; NaN where there is none."""
        return _share(self.hits, self.hits + self.misses)

    @property
    def f1(self) -> float:
        """Harmonic mean of both; NaN where there is no contact, neither true nor said."""
        return _share(2 * self.hits, 2 * self.hits + self.false_alarms + self.misses)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def count_contacts(predicted: np.ndarray, truth: np.ndarray) -> ContactCounts:
    """Counts over predicted probabilities (T, P) and truth (T, P) of 0 and 1, at :data:`THRESHOLD`; entries that are
    NaN in either do not count."""
    known = ~(np.isnan(predicted) | np.isnan(truth))
    said, true = predicted[known] >= THRESHOLD, truth[known] >= THRESHOLD
    return ContactCounts(int((said & true).sum()), int((said & ~true).sum()), int((~said & true).sum()))
