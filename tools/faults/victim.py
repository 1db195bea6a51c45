"""The capture that gets killed: a process of its own that runs the real thing and tells each step through a pipe.

What it tells goes straight to the pipe, without a buffer: what was told before a kill arrives.
"""

import os
import struct
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...models.errors import HmcapError
from ...models.proxies import Proxies
from ...realtime import run as capture_run
from ...realtime.journal import TakeWriter
from ...realtime.options import CaptureOptions
from ...realtime.outputs import plan_outputs, plan_unused
from ...realtime.progress import Display
from ...realtime.sources import open_source
from .footage import LoopedSource, made_up_pictures, pictures_of, stand_ins

PHASES = ("start", "capture", "solve", "export", "rename", "done")
"""What a capture goes through. ``rename`` is the moment at which the finished take gets its name, within ``solve``."""
FRAME = 255
EVENT = struct.Struct("<Bdqd")
"""Phase or ``FRAME``; moment on the system's monotonic clock; number and stamp of a frame that passed the sinks."""


@dataclass(frozen=True, slots=True)
class Capture:
    """What to capture, and how."""

    folder: str
    video: str = "sample"
    motion: str = "solver"
    seconds: float = 12.0
    """Of a live run, or of made-up footage."""
    live: bool = False
    """A camera that shows the video over and over, recorded; else the video as a file."""
    stand_in: bool = False
    """Made-up footage and stages: no network is run."""


def run(capture: Capture, pipe: int) -> None:
    """Capture, telling every step to the file descriptor ``pipe``."""

    def tell(kind: int, index: int = -1, stamp_s: float = 0.0) -> None:
        os.write(pipe, EVENT.pack(kind, time.monotonic(), index, stamp_s))

    def phase(name: str) -> None:
        tell(PHASES.index(name))

    _spy(tell, phase)
    phase("start")
    folder = Path(capture.folder)
    options = CaptureOptions(
        motion=capture.motion, export="bvh,npz", out=folder, record=capture.live, report=folder / "report.json"
    )
    parts = stand_ins() if capture.stand_in else capture_run.Parts()
    if capture.live or capture.stand_in:
        pictures = made_up_pictures() if capture.stand_in else pictures_of(capture.video)
        source = LoopedSource(pictures, 30.0, capture.seconds, live=capture.live)
    else:
        source = open_source(capture.video)
    outputs = plan_outputs(source.name, folder, options)
    with source, closing(capture_run.Run(source, options, outputs, parts, Display(False))) as opened:
        if capture.live:
            opened.live(False, lambda: plan_unused(source.name, folder, options))
        else:
            opened.file()
    phase("done")


def _spy(tell: Callable[[int, int, float], None], phase: Callable[[str], None]) -> None:
    """Tell of what the capture does, from around the functions that do it."""

    def before(owner: Any, name: str, called: str) -> None:
        inner = getattr(owner, name)

        def told(*args: Any, **kwargs: Any) -> Any:
            phase(called)
            return inner(*args, **kwargs)

        setattr(owner, name, told)

    before(capture_run.Run, "pass_1", "capture")
    before(capture_run.Run, "solve_all", "solve")
    before(capture_run, "write_files", "export")
    before(TakeWriter, "_rename", "rename")
    add = TakeWriter.add_proxies

    def added(writer: TakeWriter, proxies: Proxies) -> None:
        add(writer, proxies)
        tell(FRAME, proxies.index, proxies.stamp_s)

    TakeWriter.add_proxies = added  # pyright: ignore[reportAttributeAccessIssue]  # same but for a name


def main(arguments: list[str]) -> int:
    """Capture made-up footage into a folder as the command line would, ending with its message and exit code."""
    try:
        run(Capture(arguments[0], seconds=float(arguments[1]), stand_in=True), os.open(os.devnull, os.O_WRONLY))
    except HmcapError as error:
        print(f"hmcap: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
