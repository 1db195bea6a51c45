"""The chart of a benchmark: where a frame's time goes, beside the paper's modules and the peer."""

from collections.abc import Sequence
from pathlib import Path

from ...models.errors import HmcapError
from ..evaluation.report.plot_svg import need_matplotlib
from .records import PAPER_MS, ClipTime, SetupTime

_COLOURS = {
    "capture": "#9aa5b1", "pose_detection": "#0b6e99", "pose_landmark": "#1c8fc1", "hand_recrop": "#e08a1e",
    "hand_landmark": "#f4b35e", "following": "#c9d1d9", "initialiser": "#5b8c5a", "descent": "#8fc08d",
    "motion_networks": "#8fc08d", "solver": "#8fc08d", "world": "#7d5ba6", "journal": "#444c56",
}  # fmt: skip


def draw_chart(path: Path, results: Sequence[SetupTime]) -> None:
    """Write a PNG. Raises HmcapError where matplotlib is missing or the file cannot be written."""
    need_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    bars = [(f"{c.clip}\n{r.setup.title}", c) for r in results for c in r.clips]
    figure = Figure(figsize=(11, 2.2 + 0.75 * (len(bars) + 1)), layout="constrained")
    FigureCanvasAgg(figure)
    axes, fps = figure.subplots(1, 2, width_ratios=(3, 1))
    _time_bars(axes, bars)
    _rate_bars(fps, bars)
    try:
        figure.savefig(path, dpi=110, format="png")
    except OSError as error:
        raise HmcapError(
            f"Expected to write a chart to {path}, but the system says: {error.strerror or error}. Name another file "
            "with --chart FILE."
        ) from error


def _time_bars(axes, bars: Sequence[tuple[str, ClipTime]]) -> None:
    shown: set[str] = set()

    def bar(row: int, parts: Sequence[tuple[str, float]]) -> None:
        left = 0.0
        for name, ms in parts:
            label = None if name in shown else name.replace("_", " ")
            shown.add(name)
            axes.barh(row, ms, left=left, color=_COLOURS[name], label=label, height=0.62, edgecolor="white", lw=0.5)
            left += ms
        axes.text(left, row, f" {left:.1f}", va="center", fontsize=8)

    bar(0, [(name, ms) for name, (_, ms) in PAPER_MS.items()])
    for row, (_, clip) in enumerate(bars, start=1):
        bar(row, [(m.name, m.per_frame_ms) for m in clip.modules])
    axes.set_yticks(range(len(bars) + 1), ["the paper\n(RTX 4060 laptop)", *(title for title, _ in bars)], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds a frame, one module after another")
    axes.set_title("where the time goes", loc="left", fontsize=10)
    axes.margins(x=0.08)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(ncols=4, fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.4, -0.16))


def _rate_bars(axes, bars: Sequence[tuple[str, ClipTime]]) -> None:
    for row, (_, clip) in enumerate(bars, start=1):
        axes.barh(row - 0.17, clip.fps, height=0.3, color="#1c8fc1", label="hmcap, a file" if row == 1 else None)
        if clip.peer is not None:
            label = clip.peer.name if row == 1 else None
            axes.barh(row + 0.17, clip.peer.fps, height=0.3, color="#b8c0c8", label=label)
            axes.text(clip.peer.fps, row + 0.17, f" {clip.peer.fps:.0f}", va="center", fontsize=8)
        axes.text(clip.fps, row - 0.17, f" {clip.fps:.0f}", va="center", fontsize=8)
    axes.set_yticks([])
    axes.set_ylim(len(bars) + 0.5, -0.5)
    axes.set_xlabel("frames a second")
    axes.set_title("whole pipeline", loc="left", fontsize=10)
    axes.margins(x=0.15)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False, loc="upper right")
