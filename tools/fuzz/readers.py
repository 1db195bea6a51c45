"""Everything that reads bytes of others, under one signature."""

import contextlib
import functools
import io
import json
import os
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHeaderValue
from websockets.http11 import Request

from ...engines.fetch import extract
from ...engines.landmarks.mmpose import find_network
from ...engines.store import ENVIRONMENT
from ...engines.tflite_onnx import tflite_to_onnx
from ...engines.user_files import check_onnx
from ...models.body import load_body
from ...models.errors import HmcapError
from ...models.streaming.graph_info import read_graph_info
from ...realtime.addresses import DEFAULT_VIEWER, check_token, parse_address
from ...realtime.calibration import read_calibration
from ...realtime.codec import decode_motion, decode_proxies, encode_motion, encode_proxies
from ...realtime.exif import focal_35mm_mm
from ...realtime.exporters import ExportOptions
from ...realtime.journal_reading import read_take
from ...realtime.options import CaptureOptions, options_from_settings, parse_formats
from ...realtime.parsers import capture_parser, export_parser
from ...realtime.peers import knows
from ...realtime.sources import open_source
from ...realtime.sources_images import read_rgb
from ...realtime.streams.websocket import _LOCAL_PAGE
from ...realtime.take import TakeHeader
from ..evaluation.methods import store
from ..evaluation.report import results_file
from ..evaluation.sets import reading
from ..evaluation.sets.body_files import load_body_file
from ..evaluation.sets.pickle_data import read_pickle_bytes
from ..evaluation.sets.ply import read_vertices
from ..motions.mocap import ClipEntry, read_clip
from . import mutation, seeds

LONGEST_MESSAGE = 2500
"""Characters of a paragraph that somebody still reads; a path may be long."""
SLOW_S = 3.0
"""An input that takes longer is a finding."""


@dataclass(frozen=True, slots=True)
class Reader:
    """One reader of bytes of others."""

    name: str
    read: Callable[[bytes, Path], object]
    """Reads the bytes; may use files in the folder, which is its own."""
    seeds: Callable[[], list[bytes]]
    """Whole inputs to begin with."""
    mutate: mutation.Mutator | None = None
    """Changes an input and keeps its outer layers whole; None where blind changes get far enough."""
    words: tuple[bytes, ...] = ()
    """What such inputs are made of, for blind changes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a reader must not do."""

    kind: str
    """``crash``, ``slow``, ``message`` or, from outside the process, ``native``, ``hang``, ``memory``."""
    where: str
    """Exception and the last line of hmcap that it passed; findings of one place count once."""
    detail: str = ""


def outcome(reader: Reader, data: bytes, folder: Path) -> Finding | None:
    """Read once. None for a value, or an HmcapError with one readable paragraph."""
    start = time.monotonic()
    try:
        reader.read(data, folder)
    except HmcapError as error:
        text = str(error)
        if not text.strip() or len(text) > LONGEST_MESSAGE:
            return Finding("message", _place(error), f"{len(text)} characters: {text[:200]}")
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:
        return Finding("crash", _place(error), "".join(traceback.format_exception(error))[-3000:])
    took = time.monotonic() - start
    return Finding("slow", reader.name, f"{took:.1f} s for {len(data)} bytes") if took > SLOW_S else None


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "hmcap" in f.filename or "/engines/" in f.filename] or list(frames)
    inner = [f for f in own if f"{os.sep}fuzz{os.sep}" not in f.filename] or own
    last = inner[-1]
    return f"{type(error).__name__} at {'/'.join(Path(last.filename).parts[-2:])}:{last.lineno} ({last.name})"


def _file(name: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    """A reader of a path as a reader of bytes."""

    def run(data: bytes, folder: Path) -> object:
        path = folder / name
        path.write_bytes(data)
        return read(path)

    return run


def _network(data: bytes, folder: Path) -> object:
    return tflite_to_onnx(data, "a.tflite").SerializeToString()


def _clip(path: Path) -> object:
    return read_clip(ClipEntry(path, "a", "b", "", "", "train", None), fps=20.0, floor_m=False)


def _read_body(path: Path) -> object:
    from ...models import body

    body._load.cache_clear()  # a path names the same body for as long as a process lives
    return load_body(path)


def _calibration(data: bytes, folder: Path) -> object:
    suffixes = {b"{": ".json", b"<": ".xml", b"%": ".yml"}
    path = folder / f"lens{suffixes.get(data[:1], '.toml')}"
    path.write_bytes(data)
    return read_calibration(path, 64, 48)


def _picture(path: Path) -> object:
    return focal_35mm_mm(path), read_rgb(path)


def _video(path: Path) -> object:
    with open_source(path) as source:
        return [frame.stamp_s for frame in islice(source, 20)]


def _user_record(data: bytes, folder: Path) -> object:
    (folder / "user").mkdir(exist_ok=True)
    (folder / "user" / "mine.json").write_bytes(data)
    os.environ[ENVIRONMENT] = str(folder)
    return find_network("mine", "body")


def _wheel(path: Path) -> object:
    # One at a time: what is wrong with the first must not hide the second.
    for member in seeds.wheel_members(path.parent):
        try:
            extract(path, [member])
        except HmcapError:
            continue
    return None


def _words(data: bytes) -> list[str]:
    """Lines as words of a command line; bytes that are no text as the system hands them over."""
    return data.decode("utf-8", "surrogateescape").split("\n")


_parsers = functools.lru_cache(maxsize=1)(lambda: (capture_parser(), export_parser()))


def _typed(data: bytes, folder: Path) -> object:
    capture, export = _parsers()
    words = [word for word in _words(data) if not word.startswith(("--body", "--calib", "--hand"))]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):  # --help and --version end it
        if words[:1] == ["export"]:
            options = vars(export.parse_args(words[1:]))
            parse_formats(options.get("to", ()))
            kept = ("joint_names", "t_pose_frame", "up", "fps", "trim", "smooth", "lock_feet")
            return ExportOptions(**{k: v for k, v in options.items() if k in kept})
        options = vars(capture.parse_args(words))
        return CaptureOptions(**{k: v for k, v in options.items() if k not in ("video", "webcam", "quiet", "debug")})
    return None


def _address(data: bytes, folder: Path) -> object:
    text = data.decode("utf-8", "surrogateescape")
    with contextlib.suppress(HmcapError):
        check_token(text, "--viewer-token")
    found = parse_address(text, "--viewer", DEFAULT_VIEWER, any_port=True)
    return str(found), found.loopback


def _request(data: bytes, folder: Path) -> object:
    path, _, rest = data.decode("utf-8", "surrogateescape").partition("\n")
    headers = Headers()
    for line in rest.split("\n"):
        with contextlib.suppress(InvalidHeaderValue):  # the library takes no such line from a client
            headers["Authorization"] = line
    _LOCAL_PAGE.fullmatch(rest)
    return knows("a-long-token", Request(path, headers))


def _text(read: Callable[[str], object]) -> Callable[[bytes, Path], object]:
    return lambda data, folder: read(data.decode("utf-8", "surrogateescape"))


def _settings(text: str) -> object:
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return options_from_settings(tree) if isinstance(tree, dict) else None


def _lines(*found: str) -> Callable[[], list[bytes]]:
    return lambda: [text.encode() for text in found]


def _made(*parts: Callable[[], bytes]) -> Callable[[], list[bytes]]:
    return lambda: [part() for part in parts]


_RESULTS = (
    '{"schema": "hmcap-evaluation", "schema_version": 1, "hmcap_version": "0.1.0", "methods": {}, "sets": {"a": {'
    '"cases": {"c": {"fps": 30.0, "frames": 2, "compared": ["x"], "root": [], "notes": ""}}, "methods": {"m": {'
    '"values": {}, "joints": {}, "cases": {"c": {"rows": [0, 1], "values": {"v": 1.0}, "weights": {"v": 2},'
    '"frames": {"v": [1.0, null]}, "joints": {}}}}}}}}'
)
_EVAL_SHAPES: dict[str, tuple[int | str, ...]] = {"poses": ("T", 165), "trans": ("T", 3)}


def _all() -> Iterable[Reader]:
    npz, tree = mutation.zip_members, mutation.json_values
    yield Reader("take", _file("a.hmcap", read_take), seeds.takes, mutation.take_records)
    yield Reader(
        "take-proxies", lambda d, _: decode_proxies(d), _made(lambda: encode_proxies(seeds.proxies(3))),
        mutation.msgpack_values,
    )  # fmt: skip
    yield Reader(
        "take-motion", lambda d, _: decode_motion(d), _made(lambda: encode_motion(seeds.motion(3), 1)),
        mutation.msgpack_values,
    )  # fmt: skip
    yield Reader("take-header", _text(TakeHeader.from_json), _made(lambda: seeds.HEADER.to_json().encode()), tree)
    yield Reader("take-settings", _text(_settings), _lines('{"height_m": 1.7, "body": null, "motion": "solver"}',
                 '{"look_ahead": 3, "motion_weights": "a.onnx", "motion": "networks"}'), tree)  # fmt: skip
    yield Reader("tflite", _network, seeds.networks)
    yield Reader("onnx", lambda d, _: check_onnx(d, "a.onnx"), seeds.onnx_networks)
    yield Reader("motion-weights", _file("a.onnx", read_graph_info), lambda: seeds.onnx_networks()[::-1])
    yield Reader("network-record", _user_record, seeds.user_records, tree)
    yield Reader("wheel", _file("a.whl", _wheel), seeds.wheels, npz)
    yield Reader("body", _file("a.npz", _read_body), seeds.bodies, npz)
    yield Reader("calibration", _calibration, seeds.calibrations, None,
                 (b"camera_matrix", b"!!opencv-matrix", b"rows", b"data", b"size", b"matrix", b"distortions", b"inf",
                  b"nan", b"1e400", b"fx", b"width"))  # fmt: skip
    yield Reader("calibration-json", _calibration, lambda: seeds.calibrations()[:1], tree)
    yield Reader("picture", _file("a.jpg", _picture), seeds.pictures)
    yield Reader("video", _file("a.mp4", _video), seeds.videos)
    yield Reader("address", _address, _lines("127.0.0.1:8080", "[::1]:80", "localhost", "8080", "fe80::1%eth0"), None,
                 (b"[", b"]:", b"::", b"%25", b"65536", "²".encode()))  # fmt: skip
    yield Reader("token", _request, _lines("/?token=a-long-token\nBearer x", "/x?a=b&token=%ff\nbearer a-long-token"))
    yield Reader(
        "command-line", _typed,
        _lines("--video\na.mp4\n--export\nbvh,npz\n--fov-deg\n60\n--people\n2",
               "export\na.hmcap\n--to\nbvh\n--trim\n1:2",
               "--webcam\n0\n--viewer\n--vmc\nlocalhost:39539\n--subject\n3\n--max-frames\n9\n--height-m\n1.8",
               "--video\na\n--smooth\n6\n--websocket\n--websocket-token\nabcdefgh\n--start\n1\n--end\n2\n--threads\n2"),
        None, (*(o.encode() for a in capture_parser()._actions for o in a.option_strings), b"nan", b"inf", b"-1"),
    )  # fmt: skip
    yield Reader("eval-pickle", lambda d, _: read_pickle_bytes(d, "a.pkl", ("chumpy.ch.Ch",)), seeds.pickles)
    yield Reader("eval-body", _file("a.npz", _eval_body), seeds.bodies, npz)
    yield Reader("eval-body-pickle", _file("a.pkl", _eval_body), seeds.pickled_bodies)
    yield Reader("eval-npz", _file("a.npz", lambda p: reading.read_npz(p, _EVAL_SHAPES)), seeds.clips, npz)
    yield Reader("eval-prediction", _file("a.npz", lambda p: store.read_npz(p, "a", "b")), seeds.clips, npz)
    yield Reader("eval-results", _text(lambda t: results_file.from_text(t, Path("a.json"))), _lines(_RESULTS), tree)
    yield Reader("eval-mesh", _file("a.ply", read_vertices), seeds.meshes, None, (b"property", b"element", b"double"))
    yield Reader("motion-clip", _file("a.npz", _clip), seeds.clips, npz)


def _eval_body(path: Path) -> object:
    load_body_file.cache_clear()
    return load_body_file(path, "smplx")


READERS = {reader.name: reader for reader in _all()}
