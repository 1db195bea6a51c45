"""Gains and regressions between two results of the evaluation, and whether each is more than chance."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ....realtime.progress import printable
from .result_records import CaseResult, MethodResult, MethodVariant, Results, SetResult
from .results import MIN_CASES, gather, read_json, resampled_means
from .table import arrows_for, direction
from .table_rows import Measure, in_order, measure_named, methods_in_order

GAIN, REGRESSION, SAME, CHANCE, UNTESTED = "gain", "regression", "same", "within chance", "untested"
"""What became of a measure. ``SAME``: alike as printed. ``CHANCE``: the 95 % interval of the difference holds zero.
``UNTESTED``: different, but from too little data to tell, or without a direction."""
WORST_SHOWN = 5
_STYLES = {GAIN: "green", REGRESSION: "bold red", SAME: "dim", CHANCE: "dim", UNTESTED: "yellow"}


@dataclass(frozen=True, slots=True)
class Change:
    """One measure of one method on one set, in both results, over the cases that both have."""

    measure: Measure
    a: float
    b: float
    low: float
    """Ends of the 95 % interval of b - a; NaN where it cannot be told."""
    high: float
    verdict: str

    @property
    def percent(self) -> float:
        """Change in per cent of ``a``; NaN where that is zero."""
        return 100 * (self.b - self.a) / abs(self.a) if self.a else math.nan


@dataclass(frozen=True, slots=True)
class CaseChange:
    """A measure that became worse on one case."""

    case: str
    measure: Measure
    a: float
    b: float

    @property
    def percent(self) -> float:
        """Change in per cent of ``a``; infinite where that is zero."""
        return 100 * (self.b - self.a) / abs(self.a) if self.a else math.inf


@dataclass(frozen=True, slots=True)
class Pair:
    """One method on one set, in both results."""

    set_name: str
    method: str
    cases: int
    """Cases that both have."""
    changes: tuple[Change, ...]
    worst: tuple[CaseChange, ...]
    """Cases that became worse, the most first."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two results beside each other."""

    name_a: str
    name_b: str
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]
    """What only one of the two has, and what differs in how the predictions were made."""

    @property
    def verdict(self) -> str:
        """One line."""
        count = Counter(c.verdict for p in self.pairs for c in p.changes)
        if not count:
            return "Nothing to compare: no set, method and measure is in both."
        plural = "s" if count[REGRESSION] != 1 else ""
        line = f"{count[GAIN]} gain{'s' if count[GAIN] != 1 else ''}, {count[REGRESSION]} regression{plural}"
        rest = [f"{count[k]} {k}" for k in (CHANCE, UNTESTED, SAME) if count[k]]
        return line + (f" ({', '.join(rest)})" if rest else "")


def compare(path_a: Path, path_b: Path) -> Comparison:
    """Compare two files of ``hmcap eval``: what ``b`` gained and lost against ``a``.

    Raises:
        HmcapError: one of them cannot be read.
    """
    return compare_results(read_json(path_a), read_json(path_b), str(path_a), str(path_b))


def compare_results(a: Results, b: Results, name_a: str = "a", name_b: str = "b") -> Comparison:
    """The same of results in memory.

    Whether a difference is more than chance is told by a paired bootstrap. Where both have at least three cases,
    cases are drawn; with fewer, stretches of one second (single pictures: frames), because neighbouring frames are
    no independent witnesses.
    """
    notes = [*_only_in_one("set", a.sets, b.sets)]
    pairs = []
    for set_name in (s for s in a.sets if s in b.sets):
        one, other = a.sets[set_name], b.sets[set_name]
        notes += _only_in_one(f"{set_name}: method", one.methods, other.methods)
        for method in methods_in_order(m for m in one.methods if m in other.methods):
            pairs.append(_pair(set_name, method, one, other))
    for method in methods_in_order(m for m in a.methods if m in b.methods):
        notes += _made_otherwise(method, a.methods[method], b.methods[method])
    return Comparison(name_a, name_b, tuple(pairs), tuple(notes))


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print a table for every set and method, the cases that became worse, and the verdict in the last line."""
    console.print(Text(f"a: {printable(comparison.name_a)}\nb: {printable(comparison.name_b)}\n"))
    for pair in comparison.pairs:
        cases = f"{pair.cases} case" + ("" if pair.cases == 1 else "s")
        console.print(Text(f"{printable(pair.set_name)}, {printable(pair.method)}: {cases} in both", "bold"))
        table = Table(box=None, pad_edge=False, show_edge=False, header_style="", padding=(0, 2, 0, 0))
        for heading in ("", "", "a", "b", "b - a", "%", "95 % of b - a", " "):
            table.add_column(heading, justify="left" if heading.strip() == "" else "right")
        different = [c for c in pair.changes if c.verdict != SAME]
        for change in different:
            table.add_row(*_cells(change, arrows_for(console)))
        if different:
            console.print(table)
        alike = len(pair.changes) - len(different)
        if alike:
            console.print(Text(f"{alike} measure{'' if alike == 1 else 's'} alike as printed", "dim"))
        if pair.worst:
            console.print(Text("cases that became worse:"))
        for worse in pair.worst:
            m = worse.measure
            share = f"{worse.percent:+.1f} %" if math.isfinite(worse.percent) else "from nothing"
            console.print(
                Text(f"  {printable(worse.case)}: {m.label} {m.text(worse.a)} -> {m.text(worse.b)} ({share})")
            )
        for note in pair.notes:
            console.print(Text(f"- {printable(note)}", "dim"))
        console.print()
    for note in comparison.notes:
        console.print(Text(f"- {printable(note)}", "dim"))
    console.print(Text(comparison.verdict, "bold"))


def _cells(change: Change, arrows: tuple[str, str]) -> list[Text]:
    m, style = change.measure, _STYLES[change.verdict]
    difference = change.b - change.a
    share = f"{change.percent:+.1f}" if math.isfinite(change.percent) else "-"
    interval = f"{_signed(change.low, m)} to {_signed(change.high, m)}" if math.isfinite(change.low) else "-"
    texts = [m.label, direction(m, arrows), m.text(change.a), m.text(change.b), _signed(difference, m), share, interval]
    return [*(Text(t) for t in texts), Text(change.verdict, style)]


def _signed(value: float, measure: Measure) -> str:
    # Adding zero turns a rounded -0.0 into 0.0.
    return f"{round(value, measure.digits) + 0.0:+.{measure.digits}f}"


def _pair(set_name: str, method: str, one: SetResult, other: SetResult) -> Pair:
    all_a, all_b = one.methods[method], other.methods[method]
    both = [c for c in all_a.cases if c in all_b.cases]
    a, b = (gather({c: r.cases[c] for c in both}) for r in (all_a, all_b))
    notes = [*_only_in_one("case", all_a.cases, all_b.cases)]
    notes += _only_in_one("measure", a.values, b.values, lambda n: measure_named(n).title)
    lengths = [c for c in both if one.cases[c].frames != other.cases[c].frames]
    if lengths:
        notes.append(f"Not the same number of frames in {_listed(lengths)}: the truth was not the same.")
    rows = [c for c in both if c not in lengths and not np.array_equal(a.cases[c].rows, b.cases[c].rows)]
    if rows:
        notes.append(f"Compared on different frames in {_listed(rows)}: the differences are not of one thing alone.")
    fps = {c: one.cases[c].fps for c in both}
    names = in_order(n for n in a.values if n in b.values)
    changes = tuple(_change(measure_named(n), a, b, fps) for n in names)
    return Pair(set_name, method, len(both), changes, _worst(names, a, b), tuple(notes))


def _change(measure: Measure, a: MethodResult, b: MethodResult, fps: Mapping[str, float]) -> Change:
    value_a, value_b = a.values[measure.name].value, b.values[measure.name].value
    low, high = _interval(measure.name, a, b, fps)
    if measure.text(value_a) == measure.text(value_b):
        verdict = SAME
    elif measure.lower_is_better is None or math.isnan(low):
        verdict = UNTESTED
    elif low <= 0 <= high:
        verdict = CHANCE
    else:
        verdict = GAIN if _improved(measure, value_a, value_b) else REGRESSION
    return Change(measure, value_a, value_b, low, high, verdict)


def _improved(measure: Measure, a: float, b: float) -> bool:
    return (b < a) == measure.lower_is_better


def _interval(name: str, a: MethodResult, b: MethodResult, fps: Mapping[str, float]) -> tuple[float, float]:
    """95 % interval of the difference b - a; NaN where fewer than three cases or stretches stand behind it."""
    known = [c for c in a.cases if all(math.isfinite(r.cases[c].values.get(name, math.nan)) for r in (a, b))]
    if len(known) >= MIN_CASES:
        units = [(a.cases[c].values[name], a.cases[c].weights[name], b.cases[c].values[name], b.cases[c].weights[name])
                 for c in known]  # fmt: skip
    else:
        units = [u for c in known for u in _stretches(name, a.cases[c], b.cases[c], fps[c])]
    if len(units) < MIN_CASES:
        return math.nan, math.nan
    value_a, weight_a, value_b, weight_b = np.array(units).T
    difference = resampled_means(value_b, weight_b) - resampled_means(value_a, weight_a)
    if not np.isfinite(difference).any():
        return math.nan, math.nan
    low, high = np.nanpercentile(difference, (2.5, 97.5))
    return float(low), float(high)


def _stretches(name: str, a: CaseResult, b: CaseResult, fps: float) -> Iterator[tuple[float, float, float, float]]:
    """Mean and number of frames in a and in b of every second of a case, over the frames that both measure."""
    frames_a, frames_b = a.per_frame.get(name), b.per_frame.get(name)
    if frames_a is None or frames_b is None or len(frames_a) != len(frames_b):
        return
    length = max(1, round(fps))
    for start in range(0, len(frames_a), length):
        part_a, part_b = frames_a[start : start + length], frames_b[start : start + length]
        known = np.isfinite(part_a) & np.isfinite(part_b)
        if known.any():
            count = float(known.sum())
            yield float(part_a[known].mean()), count, float(part_b[known].mean()), count


def _worst(names: list[str], a: MethodResult, b: MethodResult) -> tuple[CaseChange, ...]:
    worse = []
    for name in names:
        measure = measure_named(name)
        for case in a.cases if measure.lower_is_better is not None else ():
            one, other = (r.cases[case].values.get(name, math.nan) for r in (a, b))
            seen = math.isfinite(one + other) and measure.text(one) != measure.text(other)
            if seen and not _improved(measure, one, other):
                worse.append(CaseChange(case, measure, one, other))
    return tuple(sorted(worse, key=lambda c: (-abs(c.percent), c.case, c.measure.name))[:WORST_SHOWN])


def _only_in_one(
    thing: str,
    a: Mapping[str, object],
    b: Mapping[str, object],
    title: Callable[[str], str] = str,
) -> Iterator[str]:
    for one, other, name in ((a, b, "a"), (b, a, "b")):
        only = [title(k) for k in one if k not in other]
        if only:
            plural = "s" if len(only) > 1 else ""
            yield f"Only in {name}: {thing}{plural} {_listed(only)}."


def _made_otherwise(method: str, a: tuple[MethodVariant, ...], b: tuple[MethodVariant, ...]) -> Iterator[str]:
    versions = tuple(" and ".join(sorted({v.version for v in variants})) for variants in (a, b))
    if versions[0] != versions[1]:
        yield f"{method}: version {versions[0]} in a, {versions[1]} in b."
    settings = tuple(_values_of_settings(variants) for variants in (a, b))
    for name in sorted({*settings[0], *settings[1]}):
        one, other = (s.get(name, "not there") for s in settings)
        if one != other:
            yield f"{method}: setting {name} is {one} in a, {other} in b."


def _values_of_settings(variants: tuple[MethodVariant, ...]) -> dict[str, str]:
    names = sorted({n for v in variants for n in v.settings})
    return {n: " or ".join(sorted({str(v.settings.get(n, "not there")) for v in variants})) for n in names}


def _listed(names: list[str], most: int = 8) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
