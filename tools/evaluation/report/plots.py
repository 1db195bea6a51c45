"""Plots of the page: each an inline SVG that takes the page's text colour, the same bytes for the same results."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ....realtime.progress import printable
from ..metrics import METRICS, PCK_GROUPS, PCK_THRESHOLDS_PERCENT, fit_similarity
from ..records import HIPS, TRUTH, Case, Motion3D, Prediction
from .plot_svg import INK, Plot, Styles, need_matplotlib, to_svg
from .result_records import SetResult
from .results import Key
from .table_rows import Measure, measure_named, methods_in_order

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHAPE_MEASURES = ("mpjpe_mm", "pa_mpjpe_mm", "mpvpe_mm", "hand_pa_mpjpe_mm", "angle_deg", "pck_body_2", "pck_hand_2")
MAX_CASES = 6
_MAX_BARS = 30
_MIN_SAMPLES = 5
_MAX_STEPS = 300
_MAX_POINTS = 600
_MIN_TRACK_M = 0.1


def main_measures(found: SetResult) -> list[Measure]:
    """The measures that plots and worst frames of a set are about: up to two that are defined frame by frame, those
    first that most methods have, and the most telling first among these."""
    have = {
        name: sum(any(name in c.per_frame for c in m.cases.values()) for m in found.methods.values())
        for name in (*_SHAPE_MEASURES, *(n for n in METRICS if METRICS[n].per_frame and not METRICS[n].of_truth))
    }
    names = sorted((n for n, count in have.items() if count), key=lambda n: -have[n])
    return [measure_named(n) for n in names[:2]]


def set_plots(
    set_name: str, found: SetResult, styles: Styles, cases: Sequence[Case], predictions: Mapping[Key, Prediction]
) -> list[Plot]:
    """Every plot that the results of a set allow. ``cases`` and ``predictions`` of the set may be empty: then there is
    no path over the floor.

    Raises:
        HmcapError: matplotlib is not installed.
    """
    need_matplotlib()
    plots: list[Plot | None] = []
    measures = main_measures(found)
    if measures:
        plots += [
            _over_time(set_name, found, measures[0], styles),
            _by_case(set_name, found, measures[0], styles),
            *(_distribution(set_name, found, m, styles) for m in measures),
        ]
    plots.append(_by_joint(set_name, found, styles))
    plots.append(_pck(set_name, found, styles))
    plots.append(_paths(set_name, styles, cases, predictions))
    return [p for p in plots if p is not None]


def _over_time(set_name: str, found: SetResult, measure: Measure, styles: Styles) -> Plot | None:
    moving = [c for c, info in found.cases.items() if info.fps > 0 and info.frames > 1]
    ranked = sorted(moving, key=lambda c: -_badness(found, c, measure))
    shown = [c for c in moving if c in ranked[:MAX_CASES]]
    methods = _with_frames(found, measure, shown)
    if not shown or not methods:
        return None

    def draw(figure: "Figure") -> None:
        axes = _grid(figure, len(shown))
        for ax, case in zip(axes, shown, strict=True):
            ax.set_title(printable(case), fontsize=9, loc="left")
            for method in methods:
                values = _frames(found, method, case, measure)
                if values is None:
                    continue
                colour, dashes = styles[method]
                times, values = _thinned(np.arange(len(values)) / found.cases[case].fps, values)
                ax.plot(times, values, color=colour, ls=dashes, lw=1.3)
            ax.set_xlabel("s")
            ax.set_ylabel(measure.unit)
        # One scale for all cases, set by all but the very worst moments.
        every = [v for c in shown for m in methods if (v := _frames(found, m, c, measure)) is not None]
        known = np.concatenate(every)
        known = known[np.isfinite(known)]
        for ax in axes if known.size else ():
            ax.set_ylim(0, max(float(np.percentile(known, 99.5)) * 1.1, 1e-6))
        _legend(figure, methods, styles)

    more = f" The {len(shown)} of {len(moving)} cases with the largest errors." if len(moving) > len(shown) else ""
    long = " Long cases show the median of neighbouring frames."
    long = long if any(found.cases[c].frames > _MAX_POINTS for c in shown) else ""
    text = f"{measure.label} of every frame over time, for {_listed(methods)}, case by case.{more}{long}"
    height = 0.5 + 1.75 * math.ceil(len(shown) / 2)
    return Plot(f"{measure.title} over time", text, to_svg(f"{set_name} time", (8, height), draw))


def _by_case(set_name: str, found: SetResult, measure: Measure, styles: Styles) -> Plot | None:
    cases = list(found.cases)
    if len(cases) < 2:
        return None
    ranked = sorted(cases, key=lambda c: -_badness(found, c, measure))
    shown = cases if len(cases) <= _MAX_BARS else ranked[:_MAX_BARS]
    methods = [m for m, r in found.methods.items() if any(measure.name in c.values for c in r.cases.values())]
    methods = methods_in_order(methods)

    def draw(figure: "Figure") -> None:
        ax = figure.subplots()
        _bars(ax, shown, {m: [_case_value(found, m, c, measure) for c in shown] for m in methods}, styles)
        ax.set_xlabel(measure.label)
        _legend(figure, methods, styles, bars=True)

    more = f" The {len(shown)} worst of {len(cases)}." if len(cases) > len(shown) else ""
    text = f"{measure.label} of each case, for {_listed(methods)}.{more}"
    size = 8, 0.9 + len(shown) * (0.12 + 0.14 * len(methods))
    return Plot(f"{measure.title} by case", text, to_svg(f"{set_name} cases", size, draw))


def _distribution(set_name: str, found: SetResult, measure: Measure, styles: Styles) -> Plot | None:
    samples: dict[str, np.ndarray] = {}
    for method in methods_in_order(found.methods):
        frames = [v for c in found.cases if (v := _frames(found, method, c, measure)) is not None]
        values = np.concatenate(frames) if frames else np.empty(0)
        samples[method] = np.sort(values[np.isfinite(values)])
    samples = {m: v for m, v in samples.items() if len(v) >= _MIN_SAMPLES}
    if not samples:
        return None

    def draw(figure: "Figure") -> None:
        ax = figure.subplots()
        for method, values in samples.items():
            colour, dashes = styles[method]
            share = np.linspace(0, 100, 1 + min(len(values), _MAX_STEPS))
            steps = np.concatenate((values[:1], np.percentile(values, share[1:], method="inverted_cdf")))
            ax.step(steps, share, where="post", color=colour, ls=dashes, lw=1.8)
        # The last hundredth may reach far out.
        ax.set_xlim(0, max(1.15 * max(float(np.percentile(v, 99)) for v in samples.values()), 1e-6))
        ax.set_ylim(0, 100)
        ax.set_xlabel(measure.label)
        ax.set_ylabel("% of frames with no more")
        _legend(figure, list(samples), styles)

    medians = ", ".join(f"{m} {measure.text(float(np.median(v)))}" for m, v in samples.items())
    further = "left" if measure.lower_is_better else "right"
    text = f"Share of frames whose {measure.label} is no more than a value; further {further} is better. Half of the "
    text += f"frames: {medians}."
    return Plot(f"Distribution of {measure.title}", text, to_svg(f"{set_name} {measure.name}", (5, 3.2), draw))


def _by_joint(set_name: str, found: SetResult, styles: Styles) -> Plot | None:
    names = [n for n in _SHAPE_MEASURES if any(n in m.per_joint for m in found.methods.values())]
    if not names:
        return None
    measure = measure_named(max(names, key=lambda n: sum(n in m.per_joint for m in found.methods.values())))
    methods = [m for m in methods_in_order(found.methods) if measure.name in found.methods[m].per_joint]
    known = {j for m in methods for j in found.methods[m].per_joint[measure.name]}
    compared = [j for c in found.cases.values() for j in c.compared if j in known]
    joints = list(dict.fromkeys((*compared, *sorted(known))))[:_MAX_BARS]

    def draw(figure: "Figure") -> None:
        ax = figure.subplots()
        values = {m: [found.methods[m].per_joint[measure.name].get(j, math.nan) for j in joints] for m in methods}
        _bars(ax, [j.replace("_", " ") for j in joints], values, styles)
        ax.set_xlabel(measure.label)
        _legend(figure, methods, styles, bars=True)

    text = f"{measure.label} of each joint, mean over cases, for {_listed(methods)}."
    size = 8, 0.9 + len(joints) * (0.12 + 0.14 * len(methods))
    return Plot(f"{measure.title} by joint", text, to_svg(f"{set_name} joints", size, draw))


def _pck(set_name: str, found: SetResult, styles: Styles) -> Plot | None:
    groups = [g for g in PCK_GROUPS if any(f"pck_{g}_1" in m.values for m in found.methods.values())]
    if not groups:
        return None
    limits = list(PCK_THRESHOLDS_PERCENT.values())
    methods = [m for m in methods_in_order(found.methods) if any(n.startswith("pck_") for n in found.methods[m].values)]

    def draw(figure: "Figure") -> None:
        axes = np.atleast_1d(figure.subplots(1, len(groups), sharey=True))
        for ax, group in zip(axes, groups, strict=True):
            for method in methods:
                values = found.methods[method].values
                share = [values[n].value if (n := f"pck_{group}_{k}") in values else math.nan
                         for k in PCK_THRESHOLDS_PERCENT]  # fmt: skip
                colour, dashes = styles[method]
                ax.plot([0, *limits], [0, *share], color=colour, ls=dashes, lw=1.6, marker="o", ms=3.5)
            ax.set_title(group, fontsize=9, loc="left")
            ax.set_xlabel("within % of the longer side")
            ax.set_ylim(0, 102)
        axes[0].set_ylabel("% of points")
        _legend(figure, methods, styles)

    text = (
        f"Share of key points of {_listed(groups)} found within a distance, for {_listed(methods)}; higher is better."
    )
    return Plot("Key points found (PCK)", text, to_svg(f"{set_name} pck", (min(8, 2.2 + 2.3 * len(groups)), 2.9), draw))


def _paths(set_name: str, styles: Styles, cases: Sequence[Case], predictions: Mapping[Key, Prediction]) -> Plot | None:
    found: list[tuple[str, np.ndarray, dict[str, np.ndarray]]] = []
    for case in cases:
        truth = root_track_m(case.truth)
        if case.set_name != set_name or truth is None or _length_m(truth) < _MIN_TRACK_M:
            continue
        tracks = {}
        for method in (m for m in styles if m != TRUTH):
            prediction = predictions.get((set_name, case.name, method))
            track = None if prediction is None else root_track_m(prediction.motion)
            if track is not None and np.isfinite(track).all(axis=1).sum() >= 3:
                tracks[method] = fit_similarity(track, truth, with_scale=False)(track)
        if tracks:
            found.append((case.name, truth, tracks))
    shown = sorted(found, key=lambda f: -_length_m(f[1]))[:MAX_CASES]
    if not shown:
        return None
    shown.sort(key=lambda f: f[0])
    methods = [m for m in styles if any(m in tracks for _, _, tracks in shown)]

    def draw(figure: "Figure") -> None:
        axes = _grid(figure, len(shown), columns=3)
        for ax, (name, truth, tracks) in zip(axes, shown, strict=True):
            ax.set_title(printable(name), fontsize=9, loc="left")
            for method, track in {TRUTH: truth, **tracks}.items():
                colour, dashes = styles[method] if method in tracks else (INK, "-")
                x, z = track[_evenly(len(track))][:, [0, 2]].T
                ax.plot(x, z, color=colour, ls=dashes, lw=2.2 if method == TRUTH else 1.4)
            start = truth[np.isfinite(truth).all(axis=1)][0]
            ax.plot(start[0], start[2], "o", color=INK, ms=4)
            ax.set_aspect("equal", adjustable="datalim")
            ax.invert_yaxis()
            ax.set_xlabel("x (m)")
            ax.set_ylabel("z (m)")
        _legend(figure, methods, styles, truth=True)

    more = f" The {len(shown)} of {len(found)} with the longest paths." if len(found) > len(shown) else ""
    text = (
        f"Path of the middle of the hips over the floor, seen from above, of the truth and of {_listed(methods)}, each "
        f"laid on the truth as a whole without change of size (as for RTE). The dot is the true start.{more}"
    )
    height = 0.5 + 2.7 * math.ceil(len(shown) / 3)
    return Plot("Path over the floor", text, to_svg(f"{set_name} paths", (8, height), draw))


def root_track_m(motion: Motion3D) -> np.ndarray | None:
    """(T, 3) middle of the hips in the world; None for a motion without world or hips."""
    names = motion.joint_names
    for prefix in ("", "smplx_"):
        hips = [prefix + h for h in HIPS]
        if motion.in_world and motion.joints_m is not None and all(h in names for h in hips):
            return motion.joints_m[:, [names.index(h) for h in hips]].mean(axis=1)
    return None


def _length_m(track_m: np.ndarray) -> float:
    known = track_m[np.isfinite(track_m).all(axis=1)]
    return float(np.ptp(known[:, [0, 2]], axis=0).max()) if len(known) else 0.0


def _frames(found: SetResult, method: str, case: str, measure: Measure) -> np.ndarray | None:
    result = found.methods[method].cases.get(case)
    return None if result is None else result.per_frame.get(measure.name)


def _case_value(found: SetResult, method: str, case: str, measure: Measure) -> float:
    result = found.methods[method].cases.get(case)
    return math.nan if result is None else result.values.get(measure.name, math.nan)


def _badness(found: SetResult, case: str, measure: Measure) -> float:
    values = [v for m in found.methods if math.isfinite(v := _case_value(found, m, case, measure))]
    if not values:
        return -math.inf
    return -min(values) if measure.lower_is_better is False else max(values)


def _with_frames(found: SetResult, measure: Measure, cases: Sequence[str]) -> list[str]:
    return [m for m in methods_in_order(found.methods) if any(_frames(found, m, c, measure) is not None for c in cases)]


def _thinned(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most ``_MAX_POINTS`` points: the median of neighbouring frames."""
    step = math.ceil(len(values) / _MAX_POINTS)
    if step <= 1:
        return times, values
    starts = range(0, len(values), step)
    parts = [values[k : k + step] for k in starts]
    medians = [np.median(p[np.isfinite(p)]) if np.isfinite(p).any() else np.nan for p in parts]
    return times[::step], np.array(medians)


def _evenly(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, _MAX_POINTS)).round().astype(int))


def _bars(ax: "Axes", names: Sequence[str], values: Mapping[str, Sequence[float]], styles: Styles) -> None:
    place, thick = np.arange(len(names)), 0.8 / max(len(values), 1)
    for k, (method, lengths) in enumerate(values.items()):
        shift = (k - (len(values) - 1) / 2) * thick
        known = np.isfinite(lengths)
        ax.barh(place[known] + shift, np.array(lengths)[known], height=0.92 * thick, color=styles[method][0])
    ax.set_yticks(place, [printable(n) for n in names])
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)


def _grid(figure: "Figure", count: int, columns: int = 2) -> "list[Axes]":
    columns = min(columns, count)
    axes = np.atleast_1d(figure.subplots(math.ceil(count / columns), columns)).ravel().tolist()
    for ax in axes[count:]:
        ax.remove()
    return axes[:count]


def _legend(
    figure: "Figure", methods: Sequence[str], styles: Styles, *, truth: bool = False, bars: bool = False
) -> None:
    from matplotlib.lines import Line2D

    looks = [("truth", (INK, "-"))] if truth else []
    looks += [(m, (styles[m][0], "-" if bars else styles[m][1])) for m in methods]
    width = 6 if bars else 2.2
    handles = [
        Line2D([], [], color=colour, ls=dashes, lw=width, label=printable(name)) for name, (colour, dashes) in looks
    ]  # pyright: ignore[reportArgumentType]
    figure.legend(handles=handles, loc="outside upper left", ncols=4 if figure.get_figwidth() > 6 else 2, frameon=False)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)
