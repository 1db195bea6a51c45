"""Records of what an evaluation found, for every set and method: means, intervals, cases, frames and joints."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Value:
    """Mean of a measure over the cases of a set."""

    value: float
    low: float
    """Lower and upper end of the 95 % bootstrap interval over cases; NaN with fewer than ``MIN_CASES``."""
    high: float
    cases: int
    """Cases in which the measure could be taken."""
    weight: float
    """Sum of their weights: frames, chunks or samples behind the mean."""


@dataclass(frozen=True, slots=True, eq=False)
class CaseResult:
    """What one method reached on one case; the fields are those of :class:`~..records.Measured`."""

    rows: np.ndarray
    """(n,) int frames that the position measures were taken over."""
    values: Mapping[str, float]
    weights: Mapping[str, float]
    """A weight for every value."""
    per_frame: Mapping[str, np.ndarray]
    """(T,) each, to 5 significant digits; NaN where the measure is not defined."""
    per_joint: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True, eq=False)
class MethodResult:
    """What one method reached on one set."""

    values: Mapping[str, Value]
    per_joint: Mapping[str, Mapping[str, float]]
    """Of each measure that is defined joint by joint, the weighted mean over cases of every joint."""
    cases: Mapping[str, CaseResult]

    @property
    def rows_compared(self) -> int:
        """Frames that the position measures were taken over."""
        return sum(len(c.rows) for c in self.cases.values())


@dataclass(frozen=True, slots=True)
class CaseInfo:
    """What a reader must know of a case."""

    fps: float
    frames: int
    compared: tuple[str, ...]
    root: tuple[str, ...]
    notes: str


@dataclass(frozen=True, slots=True, eq=False)
class SetResult:
    """One set: its cases and what each method reached on them."""

    cases: Mapping[str, CaseInfo]
    methods: Mapping[str, MethodResult]

    @property
    def frames(self) -> int:
        """Frames of all cases."""
        return sum(c.frames for c in self.cases.values())

    @property
    def common_rows(self) -> int | None:
        """Frames compared, where every method was compared on the very same frames of the same cases; else None."""
        rows = [{name: tuple(c.rows.tolist()) for name, c in m.cases.items()} for m in self.methods.values()]
        if not rows or any(r != rows[0] for r in rows):
            return None
        return sum(len(r) for r in rows[0].values())

    @property
    def notes(self) -> tuple[str, ...]:
        """The different notes of the cases, in the order of the cases."""
        return tuple(dict.fromkeys(c.notes for c in self.cases.values() if c.notes))


@dataclass(frozen=True, slots=True)
class MethodVariant:
    """One version of a method with the settings that decide its numbers, and the cases it was used for."""

    version: str
    settings: Mapping[str, str | int | float | bool]
    cases: tuple[str, ...]
    """Each as set/case."""


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """Everything an evaluation found. Sets, methods, cases, measures and joints are in the order of their names."""

    hmcap_version: str
    methods: Mapping[str, tuple[MethodVariant, ...]]
    """More than one variant of a method means that its predictions were not all made alike."""
    sets: Mapping[str, SetResult]
