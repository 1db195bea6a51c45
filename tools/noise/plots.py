"""Pictures of the noise model beside what was observed; needs matplotlib (the extra ``eval``)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...models.body import load_body
from ...models.errors import HmcapError
from ...models.markers import proxy_rig
from ...models.proxies import BODY_NAMES, HAND_NAMES
from .check import CONFIDENCE_EDGES, PARTS, Gaussian, calibration, part_points, sample_clips
from .events import SEGMENTS, SWAPS, VIEWS, by_view
from .model import BLUR_KNOTS, SIZE_KNOTS, NoiseModel
from .observe import Observation
from .residuals import Residuals, residuals
from .tracks import GROUP, VISIBLE

_LINES = (
    ("nose", "neck"), ("neck", "mid_hip"), ("right_shoulder", "left_shoulder"), ("right_hip", "left_hip"),
    *((f"{s}_{a}", f"{s}_{b}") for s in ("left", "right") for a, b in (
        ("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"), ("ankle", "heel"),
        ("ankle", "big_toe"), ("eye", "ear"),
    )),
)  # fmt: skip
_COLOURS = {"observed": "#222222", "model": "#1f77b4", "Gaussian": "#d62728"}


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise HmcapError("Expected matplotlib for --plots, found none. Type: pip install 'hmcap[eval]'") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def save_plots(model: NoiseModel, clips: Sequence[Observation], folder: Path, seed: int = 0) -> list[Path]:
    """Draw everything into ``folder``; gives the files written."""
    plt = _pyplot()
    parts = [residuals(c) for c in clips]
    sampled = sample_clips(model, clips, seed, repeats=1)
    plain = Gaussian.fit(clips)
    rng = np.random.default_rng([seed, 2])
    blind = [plain.sample(rng, c) for c in clips]
    takes = {"observed": parts, "model": [residuals(c) for c in sampled], "Gaussian": [residuals(c) for c in blind]}
    drawn = {
        "bias_and_covariance.png": _views(plt, model),
        "hand.png": _hand(plt, model),
        "size_blur_visibility.png": _dependence(plt, model, parts),
        "distribution.png": _distribution(plt, takes),
        "autocorrelation.png": _memory(plt, takes),
        "calibration.png": _calibration(plt, {"observed": clips, "model": sampled, "Gaussian": blind}),
        "events.png": _events(plt, model),
        "correlation.png": _correlation(plt, model),
        "tracks.png": _tracks(plt, takes),
    }
    for name, figure in drawn.items():
        figure.savefig(folder / name, dpi=80, metadata={"Software": None})
        plt.close(figure)
    return [folder / name for name in drawn]


def _standing(view_rad: float) -> np.ndarray:
    """(25, 2) proxies of the mean body with lowered arms, in statures, group axes, seen from a view."""
    body = load_body()
    poses = np.zeros((55, 3), np.float32)
    poses[[16, 17], 2] = [-1.1, 1.1]
    points = np.asarray(proxy_rig(body).in_world_m(body.with_shape().with_pose(poses)), np.float64)[:25]
    c, s = np.cos(view_rad), np.sin(view_rad)
    # The camera moves to the person's left, so the picture turns the other way; x to the right of the picture.
    x = c * points[:, 0] - s * points[:, 2]
    return np.column_stack([x, points[:, 1] - points[8, 1]]) / 1.75


def _views(plt: Any, model: NoiseModel) -> Any:
    figure, axes = plt.subplots(2, 4, figsize=(18, 13), layout="constrained")
    for v, ax in enumerate(axes.flat):
        view = 2 * np.pi * v / VIEWS
        at = _standing(view)
        for a, b in _LINES:
            rows = [BODY_NAMES.index(a), BODY_NAMES.index(b)]
            ax.plot(*at[rows].T, color="#c0c0c0", lw=1.5, zorder=0)
        for i in range(25):
            if "small_toe" in BODY_NAMES[i]:
                continue
            turn = np.linspace(0, 2 * np.pi, 40)
            ring = at[i] + model.bias[v, i] + (model.chol[v, i] @ np.stack([np.cos(turn), np.sin(turn)])).T
            colour = "#1f77b4" if "left" in BODY_NAMES[i] else "#d62728" if "right" in BODY_NAMES[i] else "#2ca02c"
            ax.plot(*ring.T, color=colour, lw=0.9)
            ax.annotate("", at[i] + model.bias[v, i], at[i], arrowprops={"arrowstyle": "->", "color": colour})
        ax.set_title(f"camera {45 * v} degrees round to the person's left", fontsize=11)
        ax.set_aspect("equal")
        ax.axis("off")
    figure.suptitle("Bias (arrow) and one standard deviation (ring) of each proxy by view; left blue, right red")
    return figure


def _hand(plt: Any, model: NoiseModel) -> Any:
    body = load_body()
    points = np.asarray(proxy_rig(body).points_m(), np.float64)[46:]
    at = np.column_stack([points[:, 2], -points[:, 0]])  # right hand, fingers up, thumb side to the right
    at = (at - at[0]) / np.linalg.norm(at[12] - at[0])
    figure, axes = plt.subplots(2, 4, figsize=(18, 10), layout="constrained")
    for v, ax in enumerate(axes.flat):
        x = np.cos(2 * np.pi * v / VIEWS)
        place = at * [1 if abs(x) < 0.1 else np.sign(x) * max(abs(x), 0.3), 1]
        for f in range(5):
            rows = [0, *range(1 + 4 * f, 5 + 4 * f)]
            ax.plot(*place[rows].T, color="#c0c0c0", zorder=0)
        for i in range(21):
            turn = np.linspace(0, 2 * np.pi, 40)
            ring = place[i] + model.bias[v, 25 + i] + (model.chol[v, 25 + i] @ np.stack([np.cos(turn), np.sin(turn)])).T
            ax.plot(*ring.T, lw=0.8, color="#1f77b4")
            ax.annotate("", place[i] + model.bias[v, 25 + i], place[i], arrowprops={"arrowstyle": "->"})
        ax.set_title(f"camera {45 * v} degrees round from the palm to the index finger", fontsize=10)
        ax.set_aspect("equal")
        ax.axis("off")
    figure.suptitle("Hand: bias and one standard deviation by view (picture of the hand: flat, schematic)")
    return figure


def _dependence(plt: Any, model: NoiseModel, parts: Sequence[Residuals]) -> Any:
    figure, axes = plt.subplots(2, 3, figsize=(17, 9), layout="constrained")
    length = np.concatenate([100 * np.linalg.norm(p.error, axis=-1) for p in parts])
    size, blur, state = (np.concatenate([getattr(p, f) for p in parts]) for f in ("size_px", "blur", "visible"))
    for k, (name, group) in enumerate((("body", GROUP == 0), ("hand", GROUP > 0))):
        good = np.isfinite(length) & group & (state == VISIBLE)
        ax = axes[k, 0]
        _binned(ax, np.log2(np.maximum(size[good], 1)), length[good], SIZE_KNOTS[k])
        ax.plot(SIZE_KNOTS[k], np.median(length[good]) * model.scale_size[k], "o-", label="model's factor x median")
        ax.set_xlabel(f"log2 of the {name}'s size, px")
        ax.set_ylabel("error, % of its size")
        ax.legend()
        ax = axes[k, 1]
        _binned(ax, blur[good], length[good], BLUR_KNOTS[k])
        ax.plot(BLUR_KNOTS[k], np.median(length[good]) * model.scale_blur[k], "o-")
        ax.set_xlabel("motion blur / size")
        ax = axes[k, 2]
        rows = slice(0, 25) if k == 0 else slice(25, 46)
        names = BODY_NAMES if k == 0 else HAND_NAMES
        for s, label in enumerate(("outside", "hidden")):
            ax.bar(np.arange(len(names)) + 0.4 * s, model.scale_state[s, rows], 0.4, label=label)
        ax.set_xticks(np.arange(len(names)), names, rotation=90, fontsize=7)
        ax.axhline(1, color="k", lw=0.5)
        ax.set_ylabel("spread, times that of seen points")
        ax.legend()
    figure.suptitle("What the spread depends on: median (dots) and quartiles of the errors of seen points")
    return figure


def _binned(ax: Any, x: np.ndarray, y: np.ndarray, knots: np.ndarray) -> None:
    edges = np.concatenate([[-np.inf], (knots[1:] + knots[:-1]) / 2, [np.inf]])
    for k in range(len(knots)):
        at = (x >= edges[k]) & (x < edges[k + 1])
        if at.sum() > 20:
            low, middle, high = np.percentile(y[at], (25, 50, 75))
            ax.plot([knots[k]] * 2, [low, high], color="#888888")
            ax.plot(knots[k], middle, "o", color="#222222")
            ax.text(knots[k], high, f"{at.sum()}", fontsize=7)


def _distribution(plt: Any, takes: dict[str, list[Residuals]]) -> Any:
    figure, axes = plt.subplots(3, 4, figsize=(18, 11), layout="constrained")
    for ax, part in zip(axes.flat, PARTS, strict=False):
        at = part_points(part)
        for label, found in takes.items():
            values = np.concatenate([100 * np.linalg.norm(p.error[:, at], axis=-1).ravel() for p in found])
            values = np.sort(values[np.isfinite(values)])
            if len(values):
                ax.plot(values, 1 - np.arange(len(values)) / len(values), color=_COLOURS[label], label=label)
        ax.set_title(part)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_ylim(1e-3, 1)
        ax.set_xlabel("error, % of size")
    axes.flat[0].legend()
    axes.flat[-1].axis("off")
    figure.suptitle("Share of the errors beyond a size")
    return figure


def _memory(plt: Any, takes: dict[str, list[Residuals]]) -> Any:
    figure, axes = plt.subplots(3, 4, figsize=(18, 11), layout="constrained")
    lags = np.array([0, 1, 2, 3, 5, 8, 12, 18, 25, 35, 45])
    for ax, part in zip(axes.flat, PARTS, strict=False):
        at = part_points(part)
        for label, found in takes.items():
            every = np.concatenate([p.error[:, at] for p in found])
            mean = np.nanmean(np.where(np.isfinite(every), every, np.nan), axis=0)
            top, norm = np.zeros(len(lags)), np.zeros(len(lags))
            for p in found:
                z = p.error[:, at] - mean
                for i, lag in enumerate(lags):
                    if lag >= len(z):
                        continue
                    a, b = z[: len(z) - lag], z[lag:]
                    known = np.isfinite(a) & np.isfinite(b)
                    top[i] += (a[known] * b[known]).sum()
                    norm[i] += ((a[known] ** 2).sum() + (b[known] ** 2).sum()) / 2
            ax.plot(lags / found[0].fps, top / np.maximum(norm, 1e-12), "o-", ms=3, color=_COLOURS[label], label=label)
        ax.set_title(part)
        ax.set_ylim(-0.2, 1.05)
        ax.set_xlabel("lag, s")
    axes.flat[0].legend()
    axes.flat[-1].axis("off")
    figure.suptitle("Autocorrelation of the errors")
    return figure


def _calibration(plt: Any, sets: dict[str, Sequence[Observation]]) -> Any:
    figure, (left, right) = plt.subplots(1, 2, figsize=(14, 6), layout="constrained")
    middle = (CONFIDENCE_EDGES[1:] + CONFIDENCE_EDGES[:-1]) / 2
    for label, clips in sets.items():
        left.plot(middle, [s for s, _ in calibration(clips).values()], "o-", color=_COLOURS[label], label=label)
        for state, style in ((VISIBLE, "-"), (1, "--")):
            values = np.concatenate([c.confidence[:, :25][c.tracks.visible[:, :25] == state] for c in clips])
            values = np.sort(values[values > 0])
            name = f"{label}, {'seen' if state == VISIBLE else 'hidden'}"
            right.plot(values, np.linspace(0, 1, len(values)), style, color=_COLOURS[label], label=name)
    left.set_xlabel("reported confidence")
    left.set_ylabel("% of body proxies with a small error")
    right.set_xlabel("reported confidence")
    right.set_ylabel("share below")
    left.legend()
    right.legend()
    return figure


def _events(plt: Any, model: NoiseModel) -> Any:
    figure, axes = plt.subplots(1, 3, figsize=(17, 5), layout="constrained")
    degrees = np.arange(VIEWS + 1) * 45
    for ax, events, names, title in (
        (axes[0], model.swaps, SWAPS, "left and right exchanged"),
        (axes[1], model.flips, [f"left {s}" for s in SEGMENTS], "turned over in depth"),
        (axes[2], model.no_depth, ["body"], "no 3-D"),
    ):
        share = 100 * by_view(events.share(), np.radians(degrees))
        for k, name in enumerate(names):
            length = f"{np.median(events.duration_s[k]):.2f} s"
            ax.plot(degrees, share[:, k], "o-", label=f"{name} (median {length})")
        ax.set_xlabel("view, degrees to the person's left")
        ax.set_ylabel("% of the time")
        ax.set_title(title)
        ax.legend()
    return figure


def _correlation(plt: Any, model: NoiseModel) -> Any:
    figure, axes = plt.subplots(1, 3, figsize=(19, 6), layout="constrained")
    for ax, process, lag, title in (
        (axes[0], model.process_body, 0.0, "body: 25 proxies, then 33 landmarks in 3-D"),
        (axes[1], model.process_body, 0.5, "body, half a second apart"),
        (axes[2], model.process_hand, 0.0, "hand: 21 proxies, then 21 landmarks in 3-D"),
    ):
        shown = ax.imshow(process.covariance(lag), vmin=-1, vmax=1, cmap="RdBu_r")
        ax.set_title(title)
    figure.colorbar(shown, ax=axes)
    return figure


def _tracks(plt: Any, takes: dict[str, list[Residuals]]) -> Any:
    """The error of a few points over time, in the longest clips."""
    figure, axes = plt.subplots(4, 3, figsize=(18, 11), sharey="row", layout="constrained")
    longest = np.argsort([-len(p.error) for p in takes["observed"]], kind="stable")[:4]
    for column, (label, found) in enumerate(takes.items()):
        for row, name in enumerate(("left_wrist", "right_knee", "left_ankle", "nose")):
            p = found[int(longest[row])]
            t = np.arange(len(p.error)) / p.fps
            axes[row, column].plot(t, 100 * p.error[:, BODY_NAMES.index(name)], lw=0.9)
            axes[row, column].set_title(f"{label}: {name}", fontsize=9)
            axes[row, column].set_ylabel("error x, y; % body")
    return figure
