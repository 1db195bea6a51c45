"""What an evaluation found: gathered from the measurements, written to a file and read again.

The public names of the results are here: the records of :mod:`.result_records`, :func:`make_results`, and the JSON
file of :mod:`.results_file`, which describes the layout.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version

import numpy as np

from ..records import Case, Measured, Prediction
from .result_records import CaseInfo, CaseResult, MethodResult, MethodVariant, Results, SetResult, Value
from .results_file import read_json, write_json

__all__ = [
    "MIN_CASES",
    "CaseInfo",
    "CaseResult",
    "Key",
    "MethodResult",
    "MethodVariant",
    "Results",
    "SetResult",
    "Value",
    "gather",
    "make_results",
    "read_json",
    "resampled_means",
    "write_json",
]

MIN_CASES = 3
"""Fewer cases than this give no interval: a resampling of one or two says nothing."""
RESAMPLINGS = 2000
_SEED = 1
_AT_ONCE = 1_000_000
"""Draws in memory together."""
_DIGITS = 5
"""Significant digits that are kept of values of single frames."""

Key = tuple[str, str, str]
"""Set, case and method of a prediction."""


def make_results(measured: Sequence[Measured], cases: Sequence[Case], predictions: Mapping[Key, Prediction]) -> Results:
    """Gather what was measured.

    A mean over cases weighs each by ``Measured.weights``; where that names no weight, by the number of frames in
    which a per-frame measure is defined; else all alike. So the mean of a per-frame measure is that over all frames.
    The order of the arguments does not matter.

    Args:
        measured: one record for each set, case and method.
        cases: every case that was measured.
        predictions: those that were measured, by (set, case, method); only version and settings are looked at.

    Raises:
        ValueError: a record twice, or one whose case or prediction is missing.
    """
    by_key = {(m.set_name, m.case, m.method): m for m in measured}
    if len(by_key) != len(measured):
        raise ValueError("a set, case and method was measured twice")
    infos: dict[str, dict[str, CaseInfo]] = {}
    for case in sorted(cases, key=lambda c: (c.set_name, c.name)):
        info = CaseInfo(float(case.fps), case.frames, tuple(case.compared), tuple(case.root), case.notes)
        infos.setdefault(case.set_name, {})[case.name] = info
    found: dict[str, dict[str, dict[str, CaseResult]]] = {name: {} for name in infos}
    variants: dict[str, list[tuple[Prediction, list[str]]]] = {}
    for key in sorted(by_key):
        set_name, case, method = key
        if case not in infos.get(set_name, {}) or key not in predictions:
            raise ValueError(f"no case or no prediction for {key}")
        found[set_name].setdefault(method, {})[case] = _case_result(by_key[key])
        _add_variant(variants.setdefault(method, []), predictions[key], f"{set_name}/{case}")
    sets = {
        name: SetResult(infos[name], {m: gather(found[name][m]) for m in sorted(found[name])}) for name in sorted(infos)
    }
    methods = {
        method: tuple(
            MethodVariant(p.version, {k: p.settings[k] for k in sorted(p.settings)}, tuple(used)) for p, used in group
        )
        for method, group in sorted(variants.items())
    }
    return Results(version("hmcap"), methods, sets)


def gather(cases: Mapping[str, CaseResult]) -> MethodResult:
    """Means over the cases of one method on one set."""
    values = {}
    for name in sorted({n for c in cases.values() for n in c.values}):
        pairs = [(c.values[name], c.weights[name]) for c in cases.values() if np.isfinite(c.values.get(name, np.nan))]
        if pairs:
            values[name] = _mean_with_interval(np.array(pairs))
    joints: dict[str, dict[str, float]] = {}
    for name in sorted({n for c in cases.values() for n in c.per_joint}):
        sums: dict[str, tuple[float, float]] = {}
        for case in cases.values():
            weight = case.weights.get(name, 1.0)
            for joint, value in case.per_joint.get(name, {}).items():
                if np.isfinite(value):
                    total, weights = sums.get(joint, (0.0, 0.0))
                    sums[joint] = (total + weight * value, weights + weight)
        joints[name] = {joint: total / weights for joint, (total, weights) in sorted(sums.items()) if weights > 0}
    return MethodResult(values, joints, dict(cases))


def resampled_means(values: np.ndarray, weights: np.ndarray, count: int = RESAMPLINGS) -> np.ndarray:
    """(count,) weighted means of (n,) values over samples of n of them drawn with replacement.

    The draws depend on n alone, so that two methods on the same n cases are resampled alike (a paired comparison).
    NaN where every drawn weight is zero.
    """
    rng, n = np.random.default_rng(_SEED), len(values)
    means = []
    for start in range(0, count, max(1, _AT_ONCE // n)):
        drawn = rng.integers(n, size=(min(max(1, _AT_ONCE // n), count - start), n))
        total = weights[drawn].sum(axis=1)
        weighted = (values * weights)[drawn].sum(axis=1)
        means.append(np.divide(weighted, total, out=np.full(len(drawn), np.nan), where=total > 0))
    return np.concatenate(means)


def _mean_with_interval(pairs: np.ndarray) -> Value:
    values, weights = pairs.T
    total = float(weights.sum())
    mean = float((values * weights).sum() / total) if total > 0 else float(values.mean())
    low = high = float("nan")
    if len(values) >= MIN_CASES and total > 0:
        low, high = (float(v) for v in np.nanpercentile(resampled_means(values, weights), (2.5, 97.5)))
    return Value(mean, low, high, len(values), total)


def _case_result(measured: Measured) -> CaseResult:
    frames = {k: np.asarray(v, dtype=np.float64) for k, v in sorted(measured.per_frame.items())}
    counted = {k: int(np.isfinite(v).sum()) for k, v in frames.items()}
    values = {k: float(np.nanmean(frames[k])) for k in frames if counted[k]}
    values |= {k: float(v) for k, v in measured.values.items()}
    weights = {k: float(measured.weights.get(k, counted.get(k, 1.0))) for k in values}
    return CaseResult(
        np.asarray(measured.rows, dtype=np.int64),
        {k: values[k] for k in sorted(values)},
        {k: weights[k] for k in sorted(weights)},
        {k: np.array([float(f"{x:.{_DIGITS}g}") for x in v.tolist()]) for k, v in frames.items()},
        {m: {j: float(v) for j, v in sorted(joints.items())} for m, joints in sorted(measured.per_joint.items())},
    )


def _add_variant(group: list[tuple[Prediction, list[str]]], prediction: Prediction, place: str) -> None:
    for known, used in group:
        if known.version == prediction.version and dict(known.settings) == dict(prediction.settings):
            used.append(place)
            return
    group.append((prediction, [place]))
