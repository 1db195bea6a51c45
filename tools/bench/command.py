"""``hmcap bench``: how long every module takes, what the whole pipeline manages, and a peer on the same frames."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ...engines.backends import choose_backend
from ...models.errors import UsageError
from ...realtime.motion import MOTIONS
from ...realtime.outputs import check_writable
from ...realtime.parsers import Parser
from ...realtime.progress import Display, open_console
from ..evaluation.methods.peers import how_to
from ..evaluation.report.plot_svg import need_matplotlib
from .chart import draw_chart
from .measure import machine, measure_setup
from .peer import PEERS
from .pipeline import WARM_UP_FRAMES, Clip
from .records import Setup
from .table import print_results, write_json

_INTRO = """\
Speed of every module and of the whole pipeline, on your footage and on made input, beside the paper's figures.

  hmcap bench                                     the sample clip, the engine that a capture would take
  hmcap bench dance.mp4 tennis.mp4 --frames 300   several clips
  hmcap bench --engine openvino,onnxruntime       each in turn; so with --threads 1,2
  hmcap bench --peer mediapipe --peer-python FILE MediaPipe Holistic on the same frames, in turns
  hmcap bench --json bench.json --chart bench.png
"""
_OUTRO = "What each figure means: docs/speed.md. Exit codes: 0 done, 1 something did not come up, 2 wrong usage."


def parser() -> argparse.ArgumentParser:
    """Parser of ``hmcap bench``."""
    made = Parser(
        "hmcap bench", description=_INTRO, epilog=_OUTRO, formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="hmcap bench [CLIP ...] [options]", allow_abbrev=False,
    )  # fmt: skip
    made.add_argument("clips", metavar="CLIP", nargs="*", help="videos or folders of images (default: sample)")
    made.add_argument("--video", metavar="CLIP", action="append", default=[], help="the same, by name")
    made.add_argument("--frames", metavar="N", type=int, default=200, help="most frames of each clip (default: 200)")
    made.add_argument("--engine", metavar="NAMES", default="auto", help="one or several: openvino,onnxruntime")
    made.add_argument("--device", metavar="NAME", default="cpu", help="cpu (default), cuda, ...")
    made.add_argument("--threads", metavar="NUMBERS", help="CPU threads of each landmark network, one or several: 1,2")
    made.add_argument("--precision", metavar="KIND", default="f32", help="f32 (default), f16 or bf16")
    made.add_argument("--motion", metavar="NAME", default="networks", choices=MOTIONS, help=" or ".join(MOTIONS))
    made.add_argument("--peer", metavar="NAME", help=f"run a peer on the same frames: {', '.join(PEERS)}")
    made.add_argument("--peer-python", metavar="FILE", help="Python of an environment with mediapipe==0.10.21")
    made.add_argument("--json", metavar="FILE", help="write everything that was measured")
    made.add_argument("--chart", metavar="FILE", help="draw a chart (PNG)")
    made.add_argument("--quiet", action="store_true", help="print errors only")
    made.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code. Raises ``HmcapError`` where something does not come up."""
    options = parser().parse_args(sys.argv[1:] if argv is None else list(argv))
    if options.frames <= WARM_UP_FRAMES:
        raise UsageError(f"--frames takes a number above {WARM_UP_FRAMES}, the warm-up; found {options.frames}.")
    setups = setups_of(options.engine, options.device, options.threads, options.precision)
    peer_python = peer_of(options.peer, options.peer_python)
    clips = [Clip(spec, options.frames) for spec in (*options.clips, *options.video)] or [
        Clip("sample", options.frames)
    ]
    for path in (options.json, options.chart):
        if path is not None:
            check_writable(Path(path).expanduser().absolute().parent)
    if options.chart is not None:
        need_matplotlib()
    for clip in clips:
        clip.open().close()  # a clip that cannot be read is to be known before minutes have passed
    console = open_console(options.quiet)
    display = Display(not options.quiet, console)
    results = [measure_setup(s, clips, peer_python, display.say, motion=options.motion) for s in setups]
    about = machine()
    if not options.quiet:
        print_results(results, about, console)
    if options.json is not None:
        write_json(Path(options.json).expanduser(), results, about)
    if options.chart is not None:
        draw_chart(Path(options.chart).expanduser(), results)
    return 0


def setups_of(engines: str, device: str, threads: str | None, precision: str = "f32") -> list[Setup]:
    """Every engine with every number of threads. Raises UsageError for a number that is none, HmcapError for an engine
    that is not here."""
    names = [n.strip() for n in engines.split(",") if n.strip()]
    numbers: list[int | None] = [None]
    if threads is not None:
        words = [w.strip() for w in threads.split(",")]
        if not all(w.isdecimal() and int(w) > 0 for w in words):
            raise UsageError(f"--threads takes whole numbers, 1 or more, separated by commas; found {threads!r}.")
        numbers = [int(w) for w in words]
    if not names:
        raise UsageError(f"--engine takes names separated by commas; found {engines!r}.")
    for name in names:
        choose_backend(name, device)
    return [Setup(name, device.lower(), number, precision) for name in names for number in numbers]


def peer_of(peer: str | None, python: str | None) -> Path | None:
    """The peer's Python; None where no peer is asked for. Raises UsageError where it is not known or not found."""
    if peer is None:
        if python is not None:
            raise UsageError("--peer-python is for --peer; found it alone. Add --peer mediapipe.")
        return None
    if peer not in PEERS:
        raise UsageError(f"--peer takes {', '.join(PEERS)}; found {peer!r}.")
    path = Path(python or sys.executable).expanduser()
    if not path.is_file():
        raise UsageError(f"Expected a Python as --peer-python, found no file {path}. {how_to(peer)}")
    return path
