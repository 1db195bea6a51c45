"""The figures of the side panel, as small HTML tables. Pure functions."""

import html
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...models.motion import GROUP_NAMES, MotionFrame
from ..loop import RunStats
from ..take import TakeHeader

STAGES = ("capture", "body", "hands", "motion", "sinks")
_CHIPS = {"good": "#2f9e61", "held": "#b7791f", "none": "#5c6675", "live": "#d6455d"}


@dataclass(frozen=True, slots=True)
class Chip:
    """A word that is seen from afar."""

    text: str
    kind: str
    """One of ``good``, ``held``, ``none``, ``live``."""


class Speed:
    """Frames a second over the last few seconds, from counts that only grow."""

    def __init__(self, window_s: float = 4.0) -> None:
        self._window_s = window_s
        self._points: deque[tuple[float, int]] = deque()

    def update(self, stats: RunStats) -> float:
        """Take the newest counts; 0 until two of them differ in time."""
        self._points.append((stats.elapsed_s, stats.frames))
        while len(self._points) > 2 and self._points[-1][0] - self._points[0][0] > self._window_s:
            self._points.popleft()
        (t0, n0), (t1, n1) = self._points[0], self._points[-1]
        return (n1 - n0) / (t1 - t0) if t1 > t0 else 0.0


def person_chip(motion: MotionFrame | None) -> Chip:
    """Whether the person of a frame was seen."""
    if motion is None:
        return Chip("nobody yet", "none")
    if not motion.present:
        return Chip("out of view, pose held", "held")
    held = [n.replace("_", " ") for n, real in zip(GROUP_NAMES, motion.measured, strict=True) if not real]
    if not held:
        return Chip("in view", "good")
    return Chip("held: " + ", ".join(held), "held")


def live_rows(stats: RunStats, fps: float, header: TakeHeader) -> list[tuple[str, str]]:
    """Speed and counts of a capture that runs."""
    rows = [("speed", f"{fps:.1f} fps (source {header.fps:.5g})"), ("frames", f"{stats.frames:,}")]
    if header.live or stats.dropped:
        rows.append(("dropped", f"{stats.dropped:,}"))
    return rows


def stage_rows(stats: RunStats) -> list[tuple[str, str]]:
    """Milliseconds that each stage takes for a frame; they work at the same time."""
    times = [
        (name, 1000 * stats.busy_s[name] / stats.calls[name])
        for name in STAGES
        if stats.calls.get(name) and name in stats.busy_s
    ]
    return [(name, f"{ms:.1f} ms") for name, ms in times]


def take_rows(motion: MotionFrame | None, header: TakeHeader) -> list[tuple[str, str]]:
    """What holds for a whole take."""
    rows = [("footage", f"{header.width_px}×{header.height_px}, {header.fps:.5g} fps")]
    camera = header.camera if motion is None else motion.camera
    return [*rows, ("field of view", f"{camera.fov_deg:.1f}°")]


def engine_rows(engines: Mapping[str, Mapping[str, str]]) -> list[tuple[str, str]]:
    """Each network with the engine and the device that run it; networks that share both stand in one row."""
    by_engine: dict[str, list[str]] = {}
    for name, engine in engines.items():
        where = " on ".join(filter(None, (engine.get("backend"), engine.get("device"))))
        by_engine.setdefault(where, []).append(name.replace("_", " "))
    return [(", ".join(names), where) for where, names in by_engine.items()]


def table_html(chips: Iterable[Chip], groups: Iterable[Iterable[tuple[str, str]]]) -> str:
    """Chips above groups of rows (name, value)."""
    text = "".join(
        f'<span style="display:inline-block;margin:0 .35em .35em 0;padding:.1em .6em;border-radius:1em;color:#fff;'
        f'background:{_CHIPS[chip.kind]}">{html.escape(chip.text)}</span>'
        for chip in chips
    )
    body = ""
    for rows in groups:
        lines = "".join(
            f'<tr><td style="opacity:.62;padding:.1em .8em .1em 0;vertical-align:top">{html.escape(name)}</td>'
            f'<td style="text-align:right;font-variant-numeric:tabular-nums;padding:.1em 0">{html.escape(value)}</td>'
            "</tr>"
            for name, value in rows
        )
        if lines:
            body += f'<table style="width:100%;border-collapse:collapse;margin:.15em 0 .45em">{lines}</table>'
    return f'<div style="font-size:.8125em;line-height:1.35;padding:.1em .75em 0">{text}{body}</div>'
