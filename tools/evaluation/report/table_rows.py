"""The rows of a result table, for the terminal and for the page alike: which measures, which is best, which notes."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ..metrics import METRICS
from ..records import TRUTH
from .published import Published, published_for
from .result_records import Results, SetResult, Value

OURS = ("solver", "networks", "landmarks")
"""Methods of this software; their variants begin with the name and a dash. All others are peers."""


@dataclass(frozen=True, slots=True)
class Measure:
    """How a measure is shown."""

    name: str
    title: str
    unit: str
    lower_is_better: bool | None
    """None where nothing is better or worse: a measure of the truth, or one that this version does not know."""
    digits: int
    definition: str

    def text(self, value: float) -> str:
        """The value as it is shown; "-" where there is none."""
        return f"{value:.{self.digits}f}" if math.isfinite(value) else "-"

    @property
    def label(self) -> str:
        """Title and unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def better(self) -> str:
        """Direction, in a word; empty where it is not known."""
        return {True: "lower", False: "higher", None: ""}[self.lower_is_better]


@dataclass(frozen=True, slots=True)
class Row:
    """One measure of a set: a value for each method, and what papers say."""

    measure: Measure
    values: dict[str, Value]
    """By method; methods without the measure are missing."""
    best: frozenset[str]
    """Methods whose printed value is the best of the row; empty where fewer than two have one, or where those that have
    one were not compared on the same frames of the same cases."""
    published: tuple[Published, ...]
    """Figures of papers, best first: those on this very set where there are any, else those on other data."""
    same_data: bool
    """Whether ``published`` was measured on this set."""

    @property
    def paper(self) -> str:
        """The best published figure, with system and data: "35.9 WHAM 3DPW"."""
        if not self.published:
            return ""
        best = self.published[0]
        return f"{self.measure.text(best.value)} {best.system} {best.data}"


def measure_named(name: str) -> Measure:
    """How to show a measure, also one that only an older or newer version knows."""
    info = METRICS.get(name)
    if info is None:
        return Measure(name, name, "", None, 3, "Not a measure of this version.")
    return Measure(
        name, info.title, info.unit, None if info.of_truth else info.lower_is_better, info.digits, info.definition
    )


def in_order(names: Iterable[str]) -> list[str]:
    """Measures in the order of ``METRICS``, those that it lacks behind, by name."""
    known = list(METRICS)
    return sorted(set(names), key=lambda n: (known.index(n) if n in METRICS else len(known), n))


def kind_of(method: str) -> str:
    """Whose a method is: "ours", "peer", or "check" for the truth put forward as a prediction."""
    if method == TRUTH:
        return "check"
    return "ours" if _place_in_ours(method) < len(OURS) else "peer"


def methods_in_order(names: Iterable[str]) -> list[str]:
    """Our methods in the order of ``OURS``, then the peers by name, then the truth."""
    return sorted(set(names), key=lambda name: (_place_in_ours(name), name == TRUTH, name))


def _place_in_ours(method: str) -> int:
    return next((k for k, own in enumerate(OURS) if method == own or method.startswith(f"{own}-")), len(OURS))


def table_rows(set_name: str, found: SetResult) -> list[Row]:
    """The rows of a set's table, in the order of ``METRICS``; measures that no method has are left out."""
    rows = []
    for name in in_order(n for m in found.methods.values() for n in m.values):
        measure = measure_named(name)
        values = {m: r.values[name] for m, r in found.methods.items() if name in r.values}
        figures, same = published_for(name, set_name, measure.lower_is_better)
        rows.append(Row(measure, values, _best(measure, values, found), figures, same))
    return rows


def _best(measure: Measure, values: dict[str, Value], found: SetResult) -> frozenset[str]:
    # By what is printed: a difference that nobody sees makes nobody the best.
    shown = {m: round(v.value, measure.digits) for m, v in values.items() if m != TRUTH and math.isfinite(v.value)}
    frames = {tuple((c, *r.rows.tolist()) for c, r in found.methods[m].cases.items()) for m in shown}
    if measure.lower_is_better is None or len(shown) < 2 or len(frames) > 1:
        return frozenset()
    best = min(shown.values()) if measure.lower_is_better else max(shown.values())
    winners = frozenset(m for m, v in shown.items() if v == best)
    return winners if len(winners) < len(shown) else frozenset()


def frames_compared(found: SetResult, method: str) -> str:
    """Frames that a method's position measures were taken over, of all frames of the set."""
    return f"{found.methods[method].rows_compared} of {found.frames}"


def set_notes(results: Results, set_name: str, rows: Iterable[Row]) -> list[str]:
    """What a reader of the set's figures must know, one sentence or more each."""
    found = results.sets[set_name]
    notes = list(found.notes)
    common = found.common_rows
    if len(found.methods) > 1:
        if common is None:
            notes.append(
                "The methods were not compared on the same frames, so their errors do not compare: no best is marked "
                "between those of different frames."
            )
        elif common < found.frames:
            notes.append("Position errors are over those frames in which every method found the person.")
    for method in methods_in_order(found.methods):
        lacking = len(found.cases) - len(found.methods[method].cases)
        if lacking:
            notes.append(f"{method} lacks {lacking} of {len(found.cases)} cases.")
        used = {c for v in results.methods.get(method, ()) for c in v.cases if c.startswith(f"{set_name}/")}
        variants = [v for v in results.methods.get(method, ()) if used.intersection(v.cases)]
        if len({v.version for v in variants}) > 1:
            versions = ", ".join(sorted({v.version for v in variants}))
            notes.append(f"{method} was not one version in all cases: {versions}.")
    papers = [r for r in rows if r.published]
    if any(not r.same_data for r in papers):
        notes.append("Figures of papers named with another set are a scale, not a contest.")
    if any(r.same_data for r in papers):
        notes.append("Figures of papers on this set may follow another protocol (joints, split, body model).")
    return notes
