"""The ``hmcap`` command."""

import argparse
import contextlib
import difflib
import logging
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import entry_points, version
from typing import Any, NoReturn

from ..models.errors import HmcapError, UsageError

COMMANDS = ("export", "models", "doctor")
"""Commands of the application itself."""
_MORE_COMMANDS = "hmcap.commands"
"""Group of entry points that add commands, each a function from arguments to exit code: capture needs none of them, so
that this module depends on no developer's tool."""

_INTRO = """\
Full-body motion capture from one camera: body, hands and feet in world space.

  hmcap --webcam 0                                live; Ctrl-C ends it
  hmcap --video dance.mp4 --export bvh            dance.bvh beside the input
  hmcap --video sample --export bvh,npz --overlay sample_overlay.mp4
  hmcap export dance.hmcap --to bvh,npz           write files from a recorded take
  hmcap models list|fetch|add|convert|build       network weights, sample clips, engines for NVIDIA GPUs
  hmcap eval                                      accuracy on footage with truth, beside peers
  hmcap bench                                     speed of every module and of the whole, beside a peer
  hmcap doctor                                    what this machine can use
"""
_OUTRO = "Exit codes: 0 done, 1 a problem with the input or the machine, 2 wrong usage. Ctrl-C ends a capture cleanly."


class Parser(argparse.ArgumentParser):
    """Reports wrong usage like every other error, and suggests the nearest option."""

    def error(self, message: str) -> NoReturn:
        hint = ""
        if message.startswith("unrecognized arguments:"):
            unknown = message.split(":", 1)[1].split()[0]
            known = [o for action in self._actions for o in action.option_strings if o.startswith("--")]
            near = difflib.get_close_matches(unknown.split("=")[0], known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(f"{message[:1].upper()}{message[1:]}.{hint} See: {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. Errors are one paragraph on stderr; ``--debug`` adds a traceback."""
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        # File names may hold characters that the console's code page lacks; a question mark is better than a crash.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    try:
        return _dispatch(words)
    except HmcapError as error:
        if "--debug" in words:
            traceback.print_exc()
        print(f"hmcap: {one_paragraph(error)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        if "--debug" in words:
            traceback.print_exc()
        print(f"hmcap: {one_paragraph(interrupt) or 'stopped.'}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of our output went away (for example `| head`): nothing is left to say to it.
        sys.stdout = None
        return 1


def one_paragraph(error: BaseException) -> str:
    """The message of an error as the command line prints it."""
    from .progress import printable

    return printable(" ".join(str(error).split()))


def _dispatch(words: list[str]) -> int:
    if words and words[0] in COMMANDS:
        return {"export": _export, "models": _models, "doctor": _doctor}[words[0]](words[1:])
    if words and not words[0].startswith("-"):
        more = {point.name: point for point in entry_points(group=_MORE_COMMANDS)}
        if words[0] in more:
            return more[words[0]].load()(words[1:])
        commands = (*COMMANDS, *sorted(more))
        near = difflib.get_close_matches(words[0], commands, n=1)
        hint = f"Did you mean: hmcap {near[0]}?" if near else f"To capture a video: hmcap --video {words[0]}"
        raise UsageError(f"Expected an option or one of the commands {', '.join(commands)}; found {words[0]!r}. {hint}")
    return _capture(words)


def capture_parser() -> argparse.ArgumentParser:
    """Parser of ``hmcap --video`` and ``hmcap --webcam``; what is not typed keeps the default of ``CaptureOptions``."""
    from .exporters import EXPORTERS, NAMINGS, UP_AXES
    from .motion import DEFAULT_MOTION, MOTIONS

    parser = Parser(
        "hmcap", usage="hmcap (--video FILE | --webcam INDEX) [options]", description=_INTRO, epilog=_OUTRO,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, argument_default=argparse.SUPPRESS,
    )  # fmt: skip
    formats = "; ".join(f"{e.name}: {e.summary}" for e in EXPORTERS.values())
    source = parser.add_argument_group("input (one of the two)")
    source.add_argument(
        "--video", metavar="FILE", help="video file, folder of images, http or rtsp address, or 'sample'"
    )
    source.add_argument("--webcam", metavar="INDEX", type=int, help="webcam, counted from 0")
    source.add_argument("--start", metavar="SECONDS", type=float, help="first second to use")
    source.add_argument("--end", metavar="SECONDS", type=float, help="second to stop at")
    source.add_argument("--max-frames", metavar="N", type=int, help="most frames to capture")
    source.add_argument("--fps", metavar="RATE", type=float, help="rate of an image folder (30), or to ask of a webcam")

    output = parser.add_argument_group("output")
    output.add_argument(
        "--export", metavar="FORMATS", action="append", help=f"files to write, for example bvh,npz ({formats})"
    )
    output.add_argument("--overlay", metavar="FILE", help="MP4 of the footage with the captured body over it")
    output.add_argument("--out", metavar="FOLDER", help="folder of take and exports (default: beside the input)")
    output.add_argument("--record", action="store_true", help="keep a take of a webcam capture")
    output.add_argument("--report", metavar="FILE", help="write the report as JSON")
    _export_options(output, NAMINGS, UP_AXES)

    camera = parser.add_argument_group("camera (default: what the file says, else 55 degrees)")
    camera.add_argument(
        "--fov-deg", metavar="DEG", type=float, help="field of view along the longer side of the picture"
    )
    camera.add_argument(
        "--focal-mm", metavar="MM", type=float, help="focal length: 35 mm equivalent, or with --sensor-mm"
    )
    camera.add_argument(
        "--sensor-mm", metavar="MM", type=float, help="longer side of the sensor that --focal-mm is for"
    )
    camera.add_argument("--focal-px", metavar="PX", type=float, help="focal length in pixels")
    camera.add_argument("--calib", metavar="FILE", help="calibration: OpenCV YAML/XML/JSON, plain JSON, Pose2Sim TOML")

    person = parser.add_argument_group("person")
    person.add_argument(
        "--subject", metavar="WHO", help="largest (default), left, right, or a number from the left, from 0"
    )
    person.add_argument("--height-m", metavar="M", type=float, help="standing height; sets the scale of the world")
    person.add_argument("--body", metavar="FILE", help="your SMPLX_NEUTRAL.npz in place of the built-in body")

    engine = parser.add_argument_group("engine")
    engine.add_argument(
        "--engine", metavar="NAME", help="auto (default), openvino, onnxruntime, tensorrt or tensorrt_rtx"
    )
    engine.add_argument(
        "--device", metavar="NAME", help="cpu (default), cuda, ...; one that does not come up is an error"
    )
    engine.add_argument("--threads", metavar="N", type=int, help="CPU threads of each network")
    engine.add_argument("--precision", metavar="KIND", help="f32 (default), f16 or bf16, where the device has it")

    engine.add_argument(
        "--body-network", metavar="NAME", help="body landmarks by a network of your own, from: hmcap models add"
    )
    engine.add_argument("--hand-network", metavar="NAME", help="hand landmarks by a network of your own")

    motion = parser.add_argument_group("motion")
    motion.add_argument("--motion", metavar="WAY", help=f"{' or '.join(MOTIONS)} (default: {DEFAULT_MOTION})")
    motion.add_argument(
        "--look-ahead", metavar="FRAMES", type=int, help="frames that the networks wait for (files: the most; live: 0)"
    )
    motion.add_argument("--motion-weights", metavar="FILE", help="ONNX file of motion networks of your own")

    _general_options(parser)
    parser.add_argument("--version", action="version", version=f"hmcap {version('hmcap')}")
    return parser


def _export_options(group: Any, namings: Iterable[str], up_axes: Iterable[str]) -> None:
    group.add_argument("--bvh-names", choices=tuple(namings), help="joint names of BVH (default: mixamo)")
    group.add_argument("--t-pose-frame", action="store_true", help="begin BVH with one frame of T-pose")
    group.add_argument("--up", choices=tuple(up_axes), help="up axis of npz (default: y; AMASS itself: z)")


def _general_options(parser: argparse.ArgumentParser) -> None:
    general = parser.add_argument_group("general")
    general.add_argument("--quiet", action="store_true", default=False, help="print errors only")
    general.add_argument("--debug", action="store_true", default=False, help="show the traceback of an error")


def _capture(words: list[str]) -> int:
    parser = capture_parser()
    if not words:
        parser.print_help()
        return 2
    options = vars(parser.parse_args(words))
    quiet, _ = options.pop("quiet"), options.pop("debug")
    with _log_level(logging.ERROR if quiet else logging.NOTSET):
        return _captured(options, quiet)


@contextlib.contextmanager
def _log_level(level: int) -> Iterator[None]:
    """What the library says by itself (an engine that is built) is at least this grave."""
    log = logging.getLogger("hmcap")
    before = log.level
    log.setLevel(level)
    try:
        yield
    finally:
        log.setLevel(before)


def _captured(options: dict[str, Any], quiet: bool) -> int:
    video, webcam = options.pop("video", None), options.pop("webcam", None)
    if (video is None) == (webcam is None):
        found = "both" if video is not None else "neither"
        raise UsageError(f"Expected one of --video FILE and --webcam INDEX; found {found}. Try: hmcap --video sample")
    from .capture import capture_video, capture_webcam

    if webcam is not None:
        if webcam < 0:
            raise UsageError(f"--webcam takes an index, 0 or more; found {webcam}. Try --webcam 0")
        capture_webcam(webcam, show=not quiet, window=True, **options)
        return 0
    if "record" in options:
        raise UsageError("--record keeps a take of a webcam; --video always keeps one. Leave --record out.")
    capture_video(video, show=not quiet, **options)
    return 0


def export_parser() -> argparse.ArgumentParser:
    """Parser of ``hmcap export``."""
    from .exporters import EXPORTERS, NAMINGS, UP_AXES

    parser = Parser(
        "hmcap export", description="Write files from a recorded take, without running the networks again.",
        allow_abbrev=False, argument_default=argparse.SUPPRESS,
    )  # fmt: skip
    parser.add_argument("take", metavar="TAKE", help="take that a capture recorded (NAME.hmcap)")
    formats = "; ".join(f"{e.name}: {e.summary}" for e in EXPORTERS.values())
    parser.add_argument(
        "--to", metavar="FORMATS", action="append", help=f"files to write, for example bvh,npz ({formats})"
    )
    parser.add_argument("--overlay", metavar="FILE", help="MP4 of the footage with the captured body over it")
    parser.add_argument("--video", metavar="FILE", help="the footage, if it is no longer where it was captured from")
    parser.add_argument("--out", metavar="FOLDER", help="folder of the files (default: beside the take)")
    parser.add_argument("--report", metavar="FILE", help="write the report as JSON")
    parser.add_argument("--fps", metavar="RATE", type=float, help="frame rate of the files (default: the take's own)")
    _export_options(parser.add_argument_group("formats"), NAMINGS, UP_AXES)
    _general_options(parser)
    return parser


def _export(words: list[str]) -> int:
    options = vars(export_parser().parse_args(words))
    quiet, _ = options.pop("quiet"), options.pop("debug")
    take = options.pop("take")
    if not {"to", "overlay", "report"} & options.keys():
        raise UsageError(f"Expected what to write; found nothing. Try: hmcap export {take} --to bvh")
    from .capture import export_take

    export_take(take, show=not quiet, **options)
    return 0


def models_parser() -> argparse.ArgumentParser:
    """Parser of ``hmcap models``."""
    from ..engines.landmarks.mmpose import LAYOUTS

    parser = Parser("hmcap models", description="Network weights: where each comes from, and getting them in place.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    commands.add_parser("list", help="every file with licence, size, checksum and state")
    fetch = commands.add_parser("fetch", help="download what is missing, verified")
    fetch.add_argument("names", metavar="NAME", nargs="*", help="which ones (default: every network)")
    add = commands.add_parser("add", help="add a network of your own")
    add.add_argument("file", metavar="FILE", help=".onnx or .tflite file")
    add.add_argument("--name", help="what to call it (default: the name of the file)")
    add.add_argument("--layout", help=f"its key points: {', '.join(LAYOUTS)} (default: by their number)")
    add.add_argument("--peak", metavar="SCORE", type=float, help="score of a certain key point, if not 1 (RTMW: 10)")
    add.add_argument("--role", help="what it does")
    add.add_argument("--licence", default="user", help="its licence")
    convert = commands.add_parser("convert", help="write the ONNX form of a .tflite network")
    convert.add_argument("network", metavar="NAME_OR_FILE", help="a name from the list, or a file")
    convert.add_argument("out", metavar="OUT", help="the .onnx file to write")
    build = commands.add_parser("build", help="build TensorRT engines ahead of time, also for GPUs elsewhere")
    build.add_argument("names", metavar="NAME", nargs="*", help="which networks (default: all that a capture runs)")
    build.add_argument("--compute-capability", metavar="LIST", help="for example 8.9 or 8.6,8.9 (default: of the GPU)")
    build.add_argument("--engine", default="tensorrt_rtx", help="tensorrt_rtx (default) or tensorrt")
    build.add_argument(
        "--precision", metavar="LIST", default="f32", help="f32 (default), f16, bf16 or several: f32,f16"
    )
    build.add_argument("--out", metavar="FOLDER", help="write them here, to be carried to another machine")
    for command in (parser, *commands.choices.values()):
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _models(words: list[str]) -> int:
    from ..engines import registry

    options = models_parser().parse_args(words)
    if options.command == "fetch":
        for name, path in registry.fetch(options.names or None).items():
            print(f"{name}: {path}")
    elif options.command == "add":
        info = registry.add(options.file, options.name, options.layout, options.role, options.licence, options.peak)
        print(f"{info.name}: {info.path}" + (f" ({info.layout})" if info.layout else ""))
    elif options.command == "build":
        _build(options)
    elif options.command == "convert":
        print(registry.convert(options.network, options.out))
    else:
        from .doctor import models_table

        models_table()
    return 0


def _build(options: argparse.Namespace) -> None:
    from ..engines.engine_cache import folder
    from .engines_ahead import build_engines

    for line in build_engines(
        options.names, engine=options.engine, compute_capability=options.compute_capability,
        precision=options.precision, out=options.out,
    ):  # fmt: skip
        print(line, flush=True)
    if options.out is None:
        print(f"folder: {folder()}")
    else:
        print(f"folder: {options.out}; copy its files into the engines folder that hmcap doctor shows over there")


def _doctor(words: list[str]) -> int:
    parser = Parser("hmcap doctor", description="What this machine can use, what is missing, and what to type next.")
    _general_options(parser)
    parser.parse_args(words)
    from .doctor import examine

    return examine()


if __name__ == "__main__":
    sys.exit(main())
