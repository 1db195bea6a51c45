"""What may be typed after ``hmcap``: one parser for each command. Help is exact, wrong usage is one sentence."""

import argparse
import difflib
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any, NoReturn

from ..models.errors import UsageError
from .postprocess.choices import SMOOTH_HZ

_INTRO = """\
Full-body motion capture from one camera: body, hands and feet in world space.

  hmcap --webcam 0                                live window; q or Ctrl-C ends it
  hmcap --video dance.mp4 --export bvh            dance.bvh beside the input
  hmcap --video sample --export bvh,npz --overlay sample_overlay.mp4
  hmcap export dance.hmcap --to bvh,npz           write files from a recorded take
  hmcap play dance.hmcap                          a recorded take in the browser
  hmcap models list|fetch|add|convert|build       network weights, sample clips, engines for NVIDIA GPUs
  hmcap eval                                      accuracy on footage with truth, beside peers
  hmcap bench                                     speed of every module and of the whole, beside a peer
  hmcap doctor                                    what this machine can use
"""
_OUTRO = """Exit codes: 0 done, 1 a problem with the input or the machine, 2 wrong usage; stopped by
Ctrl-C 130, by SIGTERM 143, by SIGHUP 129. A first Ctrl-C ends a capture cleanly, with 0; what
was captured is kept with all of them."""


class Parser(argparse.ArgumentParser):
    """Reports wrong usage like every other error, and suggests the nearest option."""

    def error(self, message: str) -> NoReturn:
        hint = ""
        if message.startswith("unrecognized arguments:"):
            unknown = next(iter(message.split(":", 1)[1].split()), "")
            known = [o for action in self._actions for o in action.option_strings if o.startswith("--")]
            near = difflib.get_close_matches(unknown.split("=")[0], known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
        message = message if len(message) < 600 else f"{message[:600]} ..."
        raise UsageError(f"{message[:1].upper()}{message[1:]}.{hint} See: {self.prog} --help")


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
    output.add_argument("--side-by-side", metavar="FILE", help="MP4 of the footage beside the body seen from the side")
    output.add_argument("--out", metavar="FOLDER", help="folder of take and exports (default: beside the input)")
    output.add_argument(
        "--record", action="store_true", help="record a webcam from the start, as --export does too (in the window: r)"
    )
    output.add_argument("--report", metavar="FILE", help="write the report as JSON")
    _export_options(output, NAMINGS, UP_AXES)

    live_options(parser)

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
    person.add_argument(
        "--people",
        metavar="N",
        type=int,
        help="people to capture, 1 (default) to 8: files NAME_p1, NAME_p2, ...",
    )
    person.add_argument("--height-m", metavar="M", type=float, help="standing height; sets the scale of the world")
    person.add_argument("--face", action="store_true", help="capture the face too: 52 face shapes")
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

    general_options(parser)
    parser.add_argument("--version", action="version", version=f"hmcap {version('hmcap')}")
    return parser


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
    parser.add_argument("--side-by-side", metavar="FILE", help="MP4 of the footage beside the body seen from the side")
    parser.add_argument("--video", metavar="FILE", help="the footage, if it is no longer where it was captured from")
    parser.add_argument("--out", metavar="FOLDER", help="folder of the files (default: beside the take)")
    parser.add_argument("--report", metavar="FILE", help="write the report as JSON")
    parser.add_argument("--fps", metavar="RATE", type=float, help="frame rate of the files (default: the take's own)")
    parser.add_argument("--trim", metavar="A:B", help="part of the take to write, in seconds: 2.5:10, 2.5: or :10")
    _export_options(parser.add_argument_group("formats"), NAMINGS, UP_AXES)
    general_options(parser)
    return parser


def play_parser() -> argparse.ArgumentParser:
    """Parser of ``hmcap play``."""
    parser = Parser(
        "hmcap play", description="Play a recorded take in the browser, with a time line. Ctrl-C ends it.",
        allow_abbrev=False, argument_default=argparse.SUPPRESS,
    )  # fmt: skip
    parser.add_argument("take", metavar="TAKE", help="take that a capture recorded (NAME.hmcap)")
    parser.add_argument("--loop", action="store_true", help="begin again at the end")
    parser.add_argument("--speed", metavar="FACTOR", type=float, help="1 is the take's own pace, 0.5 half of it")
    live_options(parser)
    general_options(parser)
    return parser


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


def _cut_off(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        # The word after --smooth is taken for its frequency.
        raise argparse.ArgumentTypeError(
            f"expected a frequency in Hz, found {text!r} (write --smooth {SMOOTH_HZ:g}, or put --smooth last)"
        ) from error


def _export_options(group: Any, namings: Iterable[str], up_axes: Iterable[str]) -> None:
    group.add_argument(
        "--joint-names", choices=tuple(namings), help="joint names of BVH, GLB, USD, FBX (default: mixamo)"
    )
    group.add_argument("--t-pose-frame", action="store_true", help="begin BVH, GLB, USD, FBX with one frame of T-pose")
    group.add_argument(
        "--smooth", metavar="HZ", nargs="?", const=SMOOTH_HZ, type=_cut_off,
        help=f"low-pass the motion in the files, without delay (cut-off; {SMOOTH_HZ:g} Hz unless given)",
    )  # fmt: skip
    group.add_argument("--lock-feet", action="store_true", help="hold feet that stand in their places, in the files")
    group.add_argument(
        "--up", choices=tuple(up_axes), help="up axis of npz, c3d, csv and json (default: y; AMASS itself: z)"
    )


def live_options(parser: argparse.ArgumentParser) -> None:
    """What shows or sends the motion while it is captured or played."""
    from .addresses import DEFAULT_VIEWER, DEFAULT_VMC, DEFAULT_WEBSOCKET
    from .streams import FACES

    live = parser.add_argument_group("live")
    live.add_argument(
        "--viewer", metavar="HOST:PORT", nargs="?", const=str(DEFAULT_VIEWER),
        help=f"show it in a browser (default: {DEFAULT_VIEWER}; 0.0.0.0:{DEFAULT_VIEWER.port}: for your whole network, "
        "at an address with a token)",
    )  # fmt: skip
    live.add_argument("--viewer-token", metavar="TOKEN", help="what browsers must know (default: made where needed)")
    live.add_argument(
        "--vmc", metavar="HOST:PORT", nargs="?", const=str(DEFAULT_VMC),
        help=f"send to VSeeFace, Warudo and others (VMC protocol; default: {DEFAULT_VMC})",
    )  # fmt: skip
    live.add_argument("--vmc-face", choices=FACES, help="face shapes sent there (default: both)")
    live.add_argument(
        "--websocket", metavar="HOST:PORT", nargs="?", const=str(DEFAULT_WEBSOCKET),
        help=f"serve lines of JSON (default: {DEFAULT_WEBSOCKET}, this computer alone)",
    )  # fmt: skip
    live.add_argument(
        "--websocket-token", metavar="TOKEN", help="what clients of that must know (default: made where needed)"
    )
    live.add_argument(
        "--virtual-camera", metavar="DEVICE", nargs="?", const="auto", help="show the overlay as a camera (Linux)"
    )


def general_options(parser: argparse.ArgumentParser) -> None:
    general = parser.add_argument_group("general")
    general.add_argument("--quiet", action="store_true", default=False, help="print errors only")
    general.add_argument("--debug", action="store_true", default=False, help="show the traceback of an error")
