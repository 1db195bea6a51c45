"""Benchmark results on the terminal and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ...models.errors import HmcapError
from .records import PAPER_MS, PAPER_SUM_MS, ClipTime, ModuleTime, SetupTime, Spread

JSON_VERSION = 1


def print_results(results: Sequence[SetupTime], machine: dict[str, Any], console: Console) -> None:
    """Tables of every setup and clip, and one that compares the setups where there are several."""
    console.print(
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, {machine['system']}",
        markup=False, soft_wrap=True,
    )  # fmt: skip
    for result in results:
        for clip in result.clips:
            console.print()
            console.print(_modules(result, clip))
            for line in whole_lines(clip):
                console.print(line, markup=False, soft_wrap=True)
        if result.memory_peak_mb is not None:
            console.print(f"largest memory {result.memory_peak_mb:,.0f} MB", markup=False)
    if len(results) > 1:
        console.print()
        console.print(_setups(results))


def _modules(result: SetupTime, clip: ClipTime) -> Table:
    title = f"{clip.clip} ({clip.width_px}x{clip.height_px}, {clip.clip_fps:.4g} fps), {result.setup.title}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    columns = ("module", "input", "runs on", "alone ms", "p95", "at work ms", "p95", "a frame ms", "share", "paper ms")
    for i, name in enumerate(columns):
        table.add_column(name, no_wrap=True, justify="left" if i < 3 else "right")
    total = sum(m.per_frame_ms for m in clip.modules)
    for m in clip.modules:
        paper = PAPER_MS.get(m.name)
        table.add_row(
            m.name, m.input, m.engine, *_spread(m.alone), *_spread(m.at_work), f"{m.per_frame_ms:.2f}",
            f"{100 * m.per_frame_ms / total:.0f} %", "" if paper is None else f"{paper[1]:g}",
        )  # fmt: skip
    ours = sum_like_paper(clip.modules)
    table.add_row("sum", "", "", "", "", "", "", f"{total:.2f}", "", "")
    table.add_row("the paper's modules", "", "", "", "", "", "", f"{ours:.2f}", "", f"{PAPER_SUM_MS:g}")
    return table


def sum_like_paper(modules: Sequence[ModuleTime]) -> float:
    """Milliseconds a frame of the modules that the paper's sum holds."""
    return sum(m.per_frame_ms for m in modules if m.name in PAPER_MS or m.name == "motion_networks")


def whole_lines(clip: ClipTime) -> list[str]:
    """The whole pipeline in a few lines."""
    lines = [
        f"as a file: {clip.fps:.1f} fps from first frame to last motion (capture, body, hands, journal, then motion "
        f"and world of the whole take; {clip.cpu_ms:.1f} ms of processor time a frame; {clip.frames} frames, "
        f"{clip.hands_percent:.0f} % of hands seen)",
        f"live: {clip.live_fps:.1f} fps as fast as it goes (capture, body, hands, motion, world, journal at once; "
        f"{clip.live_cpu_ms:.1f} ms of processor time a frame)",
        f"live at {clip.clip_fps:.4g} fps: from capture to motion median {clip.latency.median_ms:.1f} ms, p95 "
        f"{clip.latency.p95_ms:.1f} ms; {clip.dropped} of {clip.dropped + clip.latency.count} frames dropped",
    ]
    if clip.peer is not None:
        p, ratios = clip.peer, clip.ratios()
        lines.append(
            f"{p.name}: {p.fps:.1f} fps, {p.fps_without_reading:.1f} without reading the footage (median "
            f"{p.process.median_ms:.1f} ms, p95 {p.process.p95_ms:.1f} ms); ratio as a file {ratios['file']:.2f} "
            f"({ratios['file_strict']:.2f} against the latter), live {ratios['live']:.2f} ({ratios['live_strict']:.2f})"
        )
    return lines


def _setups(results: Sequence[SetupTime]) -> Table:
    table = Table(title="setups", title_justify="left", box=None, pad_edge=False)
    for i, name in enumerate(("setup", "clip", "file fps", "processor ms", "live fps", "median ms", "p95 ms")):
        table.add_column(name, no_wrap=True, justify="left" if i < 2 else "right")
    for result in results:
        for c in result.clips:
            table.add_row(
                result.setup.title, c.clip, f"{c.fps:.1f}", f"{c.cpu_ms:.1f}", f"{c.live_fps:.1f}",
                f"{c.latency.median_ms:.1f}", f"{c.latency.p95_ms:.1f}",
            )  # fmt: skip
    return table


def _spread(spread: Spread | None) -> tuple[str, str]:
    if spread is None or not spread.count:
        return "", ""
    return f"{spread.median_ms:.2f}", f"{spread.p95_ms:.2f}"


def write_json(path: Path, results: Sequence[SetupTime], machine: dict[str, Any]) -> None:
    """Everything that was measured. Raises HmcapError where the file cannot be written."""
    data = {
        "version": JSON_VERSION,
        "machine": machine,
        "paper_ms": {ours: ms for ours, (_, ms) in PAPER_MS.items()} | {"sum": PAPER_SUM_MS},
        "setups": [asdict(r) for r in results],
    }
    for result, plain in zip(results, data["setups"], strict=True):
        for clip, row in zip(result.clips, plain["clips"], strict=True):
            row["ratios"] = clip.ratios()
    try:
        path.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise HmcapError(
            f"Expected to write results to {path}, but the system says: {error.strerror or error}. Name another file "
            "with --json FILE."
        ) from error
