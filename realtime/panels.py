"""The writing on the live window: which lines, and their picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..models.motion import GROUP_NAMES, MotionFrame
from .frames import Frame
from .rates import Rates
from .recording import RecordState

WHITE, GREY, YELLOW, RED = (250, 250, 250), (198, 200, 206), (255, 210, 90), (255, 116, 104)
_DOT = (255, 60, 48)
KEYS = (
    ("r", "start and stop recording"),
    ("t", "time that each module takes"),
    ("m", "body as a mesh or as a skeleton"),
    ("h or ?", "these keys"),
    ("q or Esc", "end the capture"),
)
_BEHIND, _COVER = (14, 14, 17), 200
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a panel."""

    text: str
    value: str = ""
    """What stands at the right edge, or in a column of its own."""
    colour: tuple[int, int, int] = WHITE
    dot: bool = False
    """Whether a red disc stands before the text."""


def status_lines(
    frame: Frame | None, motion: MotionFrame | None, rates: Rates, dropped: int, live_s: float
) -> list[Line]:
    """Speed, frame and time; what of the person is held. ``live_s`` is the wall-clock time of the run."""
    if frame is None:
        return [Line(f"waiting for the first picture   {live_s:.0f} s", colour=YELLOW)]
    lines = [Line(f"{rates.fps:.1f} fps   frame {frame.index}   {frame.stamp_s:.1f} s")]
    if dropped:
        lines.append(Line(f"{dropped} dropped", colour=GREY))
    if motion is None or not motion.present:
        return [*lines, Line("nobody in view", colour=YELLOW)]
    held = [name.replace("_", " ") for name, real in zip(GROUP_NAMES, motion.measured, strict=True) if not real]
    if not held:
        return [*lines, Line("all measured", colour=GREY)]
    # Two to a line, or the panel would grow as wide as the picture.
    for k in range(0, len(held), 2):
        lines.append(Line(("held: " if k == 0 else "      ") + ", ".join(held[k : k + 2]), colour=YELLOW))
    return lines


def time_lines(rates: Rates) -> list[Line]:
    """Milliseconds a frame of every stage, and of the networks within the landmark stages."""
    stages = {n: ms for n, ms in rates.times_ms.items() if not n.startswith("landmarks.")}
    networks = {n.removeprefix("landmarks."): ms for n, ms in rates.times_ms.items() if n not in stages}
    lines = [Line(name, f"{ms:.1f} ms") for name, ms in stages.items()]
    lines += [Line(f"  {name.replace('_', ' ')}", f"{ms:.1f} ms", GREY) for name, ms in networks.items()]
    return lines or [Line("no times yet", colour=GREY)]


def record_lines(state: RecordState) -> list[Line]:
    """The recording mark; empty where nothing is recorded."""
    if not state.on:
        return []
    minutes, seconds = divmod(int(state.duration_s), 60)
    return [Line(f"REC {minutes}:{seconds:02d}", dot=True)]


def key_lines() -> list[Line]:
    """The keys, one to a line."""
    return [Line(key, what) for key, what in KEYS]


def wrapped(text: str, columns: int, colour: tuple[int, int, int]) -> list[Line]:
    """A sentence over as many lines as it needs; words longer than a line (paths) are cut."""
    lines = [""]
    for word in text.split():
        for start in range(0, len(word), columns):
            piece = word[start : start + columns]
            if lines[-1] and len(lines[-1]) + 1 + len(piece) > columns:
                lines.append("")
            lines[-1] += (" " if lines[-1] else "") + piece
    return [Line(line, colour=colour) for line in lines if line]


def draw_panel(lines: Sequence[Line], line_px: int, *, column: bool = False) -> np.ndarray:
    """(H, W, 4) uint8: the lines on a dark sheet, each ``line_px`` high. What the font lacks becomes ``?``.

    ``column`` begins the values at one place instead of ending them at the right edge.
    """
    size, thick = line_px / 38, max(1, round(line_px / 22))
    texts = [(_plain(line.text), _plain(line.value)) for line in lines]
    widths = [tuple(cv2.getTextSize(t, _FONT, size, thick)[0][0] if t else 0 for t in pair) for pair in texts]
    pad, dot = round(0.45 * line_px), round(0.95 * line_px)
    column_px = max((w[0] for w in widths), default=0) if column else 0
    inner = max(
        (
            max(w[0], column_px) + (w[1] + line_px if w[1] else 0) + line.dot * dot
            for w, line in zip(widths, lines, strict=True)
        ),
        default=0,
    )
    ink = np.zeros((len(lines) * line_px + pad, inner + 2 * pad), np.uint8)
    colours = np.empty((*ink.shape, 3), np.uint8)
    colours[:] = WHITE
    for k, (line, (text, value), (_, value_px)) in enumerate(zip(lines, texts, widths, strict=True)):
        top, base = k * line_px + pad // 2, round((k + 0.72) * line_px) + pad // 2
        colours[top : top + line_px] = line.colour
        if line.dot:
            centre = (pad + line_px // 3, top + line_px // 2)
            colours[top : top + line_px, : pad + line_px * 3 // 4] = _DOT
            cv2.circle(ink, centre, round(0.27 * line_px), (255,), -1, cv2.LINE_AA)
        cv2.putText(ink, text, (pad + line.dot * dot, base), _FONT, size, (255,), thick, cv2.LINE_AA)
        if value:
            left = pad + (column_px + line_px if column else inner - value_px)
            cv2.putText(ink, value, (left, base), _FONT, size, (255,), thick, cv2.LINE_AA)
    share = ink[..., None].astype(np.uint16)
    rgb = (colours * share + np.array(_BEHIND, np.uint16) * (255 - share)) // 255
    cover = _COVER + (255 - _COVER) * share // 255
    return np.concatenate((rgb, cover), axis=-1).astype(np.uint8)


def _plain(text: str) -> str:
    return text.encode("ascii", "replace").decode()
