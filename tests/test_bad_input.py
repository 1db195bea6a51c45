"""Bad input, typed as people type it: each ends in one paragraph that says what was expected, what was found and what
to type next, with the right exit code; what earlier runs wrote stays as it was, and nothing else appears."""

import io
import json
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
import wave
import zipfile
from fractions import Fraction
from pathlib import Path

import av
import cv2
import hmcap.realtime.journal as journal
import hmcap.realtime.run as capture_run
import numpy as np
import pytest
from hmcap.realtime.cli import main
from hmcap.realtime.journal import TakeWriter
from hmcap.tools.fuzz import seeds
from test_cli import make_video, stages

__all__ = ["stages"]
LONG = "x" * 300
LENS = {"fx": 60.0, "fy": 60.0, "cx": 32.0, "cy": 24.0, "width": 64, "height": 48}
posix = pytest.mark.skipif(os.name != "posix", reason="names that only POSIX file systems have")
linux = pytest.mark.skipif(sys.platform != "linux", reason="a folder that root cannot write either")


def npz(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def bomb(path: Path) -> None:
    """An npz of a few kilobytes that stands for 60 GB."""
    header = b"\x93NUMPY\x01\x00v\x00" + repr({"descr": "<f8", "fortran_order": False, "shape": (10**9, 3)}).encode()
    with np.load(io.BytesIO(seeds.bodies()[0])) as body:
        arrays = {name: body[name] for name in body.files if name != "v_template"}
    path.write_bytes(npz(**arrays))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("v_template.npy", header.ljust(127) + b"\n" + bytes(1 << 20))


def takes(folder: Path) -> None:
    whole = seeds.takes()[0]
    (folder / "empty.hmcap").touch()
    (folder / "early.hmcap").write_bytes(whole[:20])
    (folder / "mcap.hmcap").write_bytes(whole[:8] + bytes(200))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "FORMAT_VERSION", 9)
        with TakeWriter(folder / "newer.hmcap", seeds.HEADER) as writer:
            writer.add_proxies(seeds.proxies(0))
    with TakeWriter(folder / "nobody.hmcap", seeds.HEADER) as writer:
        writer.add_proxies(seeds.proxies(0).absent(0, 0.0, (64, 48)))


def videos(folder: Path) -> None:
    make_video(folder / "dance.mp4")
    (folder / "text.mp4").write_text("no video at all\n" * 20)
    (folder / "zero.mp4").touch()
    (folder / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    with av.open(str(folder / "plain.mp4"), "w") as container:  # its index stands at the end
        stream = container.add_stream("mpeg4", rate=Fraction(25))
        stream.width, stream.height = 64, 48
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    whole = (folder / "plain.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with wave.open(str(folder / "sound.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))
    (folder / "folder").mkdir()
    (folder / "broken").mkdir()
    (folder / "broken" / "0.png").write_bytes(b"no picture")
    (folder / "stills").mkdir()
    (folder / "stills" / "0.png").write_bytes(cv2.imencode(".png", np.full((4, 4, 3), 200, np.uint8))[1].tobytes())
    (folder / "pixel").mkdir()
    (folder / "pixel" / "0.png").write_bytes(cv2.imencode(".png", np.zeros((1, 1, 3), np.uint8))[1].tobytes())


def others(folder: Path) -> None:
    (folder / "none.npz").unlink(missing_ok=True)
    (folder / "objects.npz").write_bytes(npz(v_template=np.array([{}, []], object)))
    (folder / "other.npz").write_bytes(npz(a=np.zeros(3)))
    (folder / "pickled.npz").write_bytes(pickle.dumps({"v_template": 1}))
    bomb(folder / "bomb.npz")
    (folder / "pickled.onnx").write_bytes(pickle.dumps(os.system))
    (folder / "text.onnx").write_text("no network\n")
    (folder / "zero.onnx").touch()
    network = seeds.networks()[0]
    (folder / "cut.tflite").write_bytes(network[: len(network) // 2])
    (folder / "weights.pt").write_bytes(b"x")
    lenses = {
        "words": LENS | {"fx": "wide"}, "nan": LENS | {"fx": float("nan")}, "minus": LENS | {"fx": -60},
        "other": LENS | {"height": 500}, "endless": LENS | {"width": 10**400}, "fields": {"focal": 3}, "list": [1, 2],
    }  # fmt: skip
    for name, lens in lenses.items():
        (folder / f"{name}.json").write_text(json.dumps(lens))
    (folder / "map.toml").write_text("[a]\nmatrix = [[60, 0, 32], [0, 60, 24], [0, 0, 1]]\nsize = {x = 1}\n")
    (folder / "huge.json").write_bytes(b" " * (5 << 20))


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Every bad file, and the take and exports of an earlier run. No case may change anything here."""
    folder = tmp_path_factory.mktemp("bad")
    for make in (videos, takes, others):
        make(folder)
    (folder / "dance.hmcap").write_bytes(seeds.takes()[0])
    for name in ("dance.bvh", "dance.npz", "over.mp4", "report.json"):
        (folder / name).write_bytes(b"of an earlier run")
    return folder


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below a folder with its bytes and its time."""
    return {
        os.fsencode(path.relative_to(folder)).decode("latin-1"): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


V = ("--video", "dance.mp4")
E = ("export", "dance.hmcap", "--to", "bvh")
A = ("models", "add")
CASES = [
    # (words, exit code, what the paragraph says)
    # --- footage
    (("--video", "none.mp4"), 1, "no such file"),
    (("--video", "no/such/folder/a.mp4"), 1, "does not exist"),
    (("--video", ""), 2, "found nothing"),
    (("--video", "zero.mp4"), 1, "0 bytes"),
    (("--video", "text.mp4"), 1, "holds text"),
    (("--video", "noise.mp4"), 1, "no known video format"),
    (("--video", "cut.mp4"), 1, "cut off"),
    (("--video", "sound.wav"), 1, "it holds only: audio"),
    (("--video", "folder"), 1, "found none"),
    (("--video", "broken"), 1, "none of its 1 files can be read"),
    (("--video", os.devnull), 1, os.devnull),
    (("--video", "ftp://example.org/a.mp4"), 2, "found ftp://"),
    (("--video", "http://127.0.0.1:1/a.mp4"), 1, "could not be opened"),
    (("--video", "http://[::1/a.mp4"), 1, "could not be opened"),
    (("--video", "rtsp://user:secret@127.0.0.1:1/a"), 1, "user:***@127.0.0.1"),
    (("--webcam", "99"), 1, "index 99"),
    (("--webcam", "-1"), 2, "--webcam 0"),
    (("--webcam", "first"), 2, "--webcam"),
    (("--webcam", "9" * 30), 1, "webcam"),
    ((*V, "--start", "100"), 1, "--start"),
    ((*V, "--start", "-1"), 2, "--start"),
    ((*V, "--start", "nan"), 2, "--start"),
    ((*V, "--start", "5", "--end", "4"), 2, "--end"),
    ((*V, "--end", "nan"), 2, "--end"),
    ((*V, "--max-frames", "0"), 2, "--max-frames"),
    ((*V, "--max-frames", "1.5"), 2, "--max-frames"),
    ((*V, "--fps", "25"), 2, "--fps"),
    (("--video", "stills", "--fps", "nan"), 2, "between 0.1 and 1000"),
    (("--video", "stills", "--fps", "0"), 2, "between 0.1 and 1000"),
    # --- names
    (("--video", f"{LONG}.mp4"), 1, "too long"),
    (("--video", "~nobody-of-this-name/a.mp4"), 1, "home folder"),
    (("--video", "a\nb.mp4"), 1, "a b.mp4"),
    (("--video", "[red]a[/red].mp4"), 1, "[red]a[/red].mp4"),
    pytest.param(("--video", os.fsdecode(b"caf\xe9.mp4")), 1, "caf", marks=posix),
    ((*V, "--out", f"deep/{LONG}"), 1, "--out FOLDER"),
    ((*V, "--overlay", f"{LONG}.mp4"), 1, "too long"),
    (("export", f"{LONG}.hmcap", "--to", "bvh"), 1, "too long"),
    # --- lens
    ((*V, "--fov-deg", "400"), 2, "5 to 170"),
    ((*V, "--fov-deg", "-60"), 2, "5 to 170"),
    ((*V, "--fov-deg", "nan"), 2, "5 to 170"),
    ((*V, "--fov-deg", "wide"), 2, "--fov-deg"),
    ((*V, "--fov-deg", "60", "--focal-mm", "35"), 2, "--fov-deg and --focal-mm"),
    ((*V, "--focal-px", "0"), 2, "--focal-px"),
    ((*V, "--focal-px", "1e300"), 2, "--focal-px"),
    ((*V, "--sensor-mm", "6"), 2, "--focal-mm too"),
    ((*V, "--calib", "none.json"), 1, "no such file"),
    ((*V, "--calib", "text.mp4"), 1, "calibration"),
    ((*V, "--calib", "fields.json"), 1, "no camera matrix"),
    ((*V, "--calib", "list.json"), 1, "no JSON object"),
    ((*V, "--calib", "words.json"), 1, "Expected numbers"),
    ((*V, "--calib", "nan.json"), 1, "positive focal lengths"),
    ((*V, "--calib", "minus.json"), 1, "positive focal lengths"),
    ((*V, "--calib", "endless.json"), 1, "endless.json"),
    ((*V, "--calib", "huge.json"), 1, "too many"),
    ((*V, "--calib", "map.toml"), 1, "map.toml"),
    ((*V, "--calib", "other.json"), 2, "64x500"),
    # --- what to write
    ((*V, "--export", "bhv"), 2, "Did you mean bvh?"),
    ((*V, "--export", "bvh,,npz"), 2, "Unknown export format ''"),
    ((*V, "--out", "text.mp4"), 1, "--out FOLDER"),
    ((*V, "--out", "text.mp4/deep"), 1, "--out FOLDER"),
    pytest.param((*V, "--out", "/proc/hmcap"), 1, "--out FOLDER", marks=linux),
    ((*V, "--overlay", "text.mp4/deep/o.mp4"), 1, "--out FOLDER"),
    ((*V, "--overlay", "dance.mp4"), 2, "would be overwritten"),
    ((*V, "--overlay", "o.gif"), 2, "o.mp4"),
    ((*V, "--side-by-side", "o.gif"), 2, "--side-by-side o.mp4"),
    ((*V, "--overlay", "o.mp4", "--side-by-side", "o.mp4"), 2, "two different outputs"),
    (("--webcam", "0", "--side-by-side", "o.mp4"), 2, "--side-by-side needs footage"),
    ((*V, "--report", "dance.bvh", "--export", "bvh"), 2, "two different outputs"),
    ((*V, "--report", "folder"), 1, "a folder of that name"),
    ((*V, "--record"), 2, "--record"),
    # --- whom and how
    ((*V, "--subject", "tallest"), 2, "--subject largest"),
    ((*V, "--subject", "-1"), 2, "--subject"),
    ((*V, "--subject", "9" * 5000), 2, "--subject largest"),
    ((*V, "--people", "0"), 2, "from 1 to 8"),
    ((*V, "--people", "99"), 2, "from 1 to 8"),
    (("--webcam", "0", "--people", "2"), 2, "--people"),
    ((*V, "--height-m", "180"), 2, "--height-m 1.8"),
    ((*V, "--height-m", "nan"), 2, "--height-m"),
    ((*V, "--threads", "0"), 2, "--threads"),
    ((*V, "--precision", "f8"), 2, "f32, f16, bf16"),
    ((*V, "--motion", "networx"), 2, "Did you mean networks?"),
    ((*V, "--look-ahead", "-3"), 2, "--look-ahead"),
    ((*V, "--look-ahead", "3", "--motion", "solver"), 2, "--motion networks"),
    ((*V, "--body-network", "none"), 2, "hmcap models add"),
    ((*V, "--body", "none.npz"), 1, "none.npz"),
    ((*V, "--body", "folder"), 1, "a folder"),
    ((*V, "--body", "text.mp4"), 1, "pickles"),
    ((*V, "--body", "pickled.npz"), 1, "pickles"),
    ((*V, "--body", "objects.npz"), 1, "lacks"),
    ((*V, "--body", "other.npz"), 1, "lacks"),
    ((*V, "--body", "bomb.npz"), 1, "bomb.npz"),
    # --- live outputs
    ((*V, "--viewer", "localhost:99999"), 2, "0 to 65535"),
    ((*V, "--viewer", "a b:80"), 2, "HOST:PORT"),
    ((*V, "--vmc", "localhost:0"), 2, "1 to 65535"),
    ((*V, "--vmc", "host:²"), 2, "HOST:PORT"),
    ((*V, "--websocket", "[::1"), 2, "HOST:PORT"),
    ((*V, "--websocket", "--websocket-token", "short"), 2, "8 characters"),
    ((*V, "--websocket", "--websocket-token", "no spaces, please"), 2, "letters, digits"),
    ((*V, "--websocket-token", "long-enough"), 2, "Add --websocket"),
    ((*V, "--websocket", "127.0.0.1:USED"), 1, "Try another port"),
    ((*V, "--viewer", "127.0.0.1:USED"), 1, "port"),
    # --- the command itself
    ((*V, "--webcam", "0"), 2, "found both"),
    (("--export", "bvh"), 2, "found neither"),
    ((*V, "--exprot", "bvh"), 2, "Did you mean --export?"),
    ((*V, "extra"), 2, "extra"),
    ((*V, ""), 2, "--help"),
    (("dance.mp4",), 2, "hmcap --video dance.mp4"),
    (("exprot", "x"), 2, "hmcap export"),
    (("doctor", "who"), 2, "who"),
    # --- takes
    (("export", "none.hmcap", "--to", "bvh"), 1, "no such file"),
    (("export", "folder", "--to", "bvh"), 1, "it is a folder"),
    (("export", "empty.hmcap", "--to", "bvh"), 1, "empty"),
    (("export", "text.mp4", "--to", "bvh"), 1, "of another kind"),
    (("export", "early.hmcap", "--to", "bvh"), 1, "capture again"),
    (("export", "mcap.hmcap", "--to", "bvh"), 1, "capture again"),
    (("export", "newer.hmcap", "--to", "bvh"), 1, "pip install --upgrade hmcap"),
    (("export", "nobody.hmcap", "--to", "bvh"), 1, "nobody was seen"),
    (("export", "dance.hmcap"), 2, "--to bvh"),
    (("export",), 2, "TAKE"),
    (("export", "dance.hmcap", "--to", "doc"), 2, "Unknown export format"),
    ((*E, "--joint-names", "maya"), 2, "mixamo"),
    ((*E, "--up", "x"), 2, "--up"),
    ((*E, "--trim", "3"), 2, "--trim"),
    ((*E, "--trim", "3:2"), 2, "--trim"),
    ((*E, "--trim", "nan:"), 2, "--trim"),
    ((*E, "--trim", "50:60"), 1, "found none"),
    ((*E, "--smooth", "0"), 2, "--smooth"),
    ((*E, "--smooth", "dance"), 2, "put --smooth last"),
    ((*E, "--fps", "inf"), 2, "--fps"),
    ((*E, "--out", "zero.mp4"), 1, "--out FOLDER"),
    (("export", "dance.hmcap", "--overlay", "new.mp4", "--video", "none.mp4"), 1, "none.mp4"),
    (("play", "none.hmcap"), 1, "no such file"),
    (("play", "dance.hmcap", "--speed", "0"), 2, "--speed"),
    (("play", "dance.hmcap", "--viewer", "127.0.0.1:USED"), 1, "port"),
    # --- networks
    (("models", "burn"), 2, "burn"),
    (("models", "fetch", "none"), 2, "none"),
    ((*A, "none.onnx"), 1, "none.onnx"),
    ((*A, "zero.onnx"), 1, "0 bytes"),
    ((*A, "text.onnx"), 1, "text.onnx"),
    ((*A, "pickled.onnx"), 1, "pickled.onnx"),
    ((*A, "cut.tflite"), 1, "cut.tflite"),
    ((*A, "weights.pt"), 2, "ONNX"),
    ((*A, "text.onnx", "--name", "../up"), 2, "--name"),
    (("models", "convert", "cut.tflite", "new.onnx"), 1, "cut.tflite"),
    (("models", "convert", "text.onnx", "new.onnx"), 2, ".tflite"),
]  # fmt: skip

NEXT = re.compile(
    r"(?i)--[a-z]|Did you mean|\bhmcap [a-z-]|\b(Try|Give|Name|Check|Use|Choose|Add|Leave|Update|Copy|Keep|See|Play|"
    r"Open|Delete|Export|Write|Fetch|Free|Take|Calibrate|Scale|Convert|Record)\b"
)


def words_of(case) -> str:
    words = getattr(case, "values", case)[0]
    return " ".join(w if len(w) < 40 else f"{w[:10]}..." for w in words).encode("ascii", "replace").decode()


@pytest.fixture(scope="module")
def used_port():
    """A port that somebody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield str(server.getsockname()[1])


@pytest.mark.parametrize(("words", "code", "piece"), CASES, ids=map(words_of, CASES))
def test_bad_input_is_one_paragraph_and_leaves_everything_as_it_was(
    place,
    used_port,
    stages,
    capsys,
    monkeypatch,
    tmp_path,
    words,
    code,
    piece,
):
    monkeypatch.chdir(place)
    monkeypatch.setenv("HMCAP_MODELS", str(tmp_path / "models"))
    before = contents(place)
    found = main([word.replace("USED", used_port) for word in words])
    err = capsys.readouterr().err
    check_paragraph(err)
    assert piece in err
    assert found == code
    assert contents(place) == before
    assert not list(tmp_path.rglob("*.onnx"))


def check_paragraph(err: str) -> None:
    assert err.startswith("hmcap: ")
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    assert 30 < len(err) < 1500
    assert NEXT.search(err), err


def test_there_are_forty_and_more():
    assert len({str(getattr(case, "values", case)) for case in CASES}) == len(CASES) >= 40


@pytest.mark.parametrize(("format_name", "module"), [("usd", "pxr"), ("fbx", None)])
def test_a_format_that_needs_more_says_so_before_anything_is_captured(
    place,
    stages,
    capsys,
    monkeypatch,
    format_name,
    module,
):
    monkeypatch.chdir(place)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("HMCAP_BLENDER", raising=False)
    monkeypatch.setitem(sys.modules, module or "bpy", None)
    before = contents(place)
    assert main([*V, "--export", format_name]) == 1
    captured = capsys.readouterr()
    check_paragraph(captured.err)
    assert re.search(r"pip install|HMCAP_BLENDER", captured.err)
    assert "capture:" not in captured.out
    assert contents(place) == before


def test_a_picture_of_one_pixel_shows_nobody_and_its_take_is_named(place, stages, capsys, tmp_path):
    shutil.copytree(place / "pixel", tmp_path / "pixel")
    (tmp_path / "pixel.bvh").write_bytes(b"of an earlier run")
    assert main(["--video", str(tmp_path / "pixel"), "--export", "bvh"]) == 1
    err = capsys.readouterr().err
    check_paragraph(err)
    assert str(tmp_path / "pixel.hmcap") in err
    assert (tmp_path / "pixel.bvh").read_bytes() == b"of an earlier run"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pixel", "pixel.bvh", "pixel.hmcap"]


@pytest.mark.parametrize("option", [("--engine", "magic"), ("--device", "gpu9")])
def test_an_engine_or_device_that_is_not_there_ends_before_anything_is_written(place, capsys, monkeypatch, option):
    from hmcap.engines import open_engine

    network = place.parent / "network.onnx"
    network.write_bytes(seeds.onnx_networks()[0])
    monkeypatch.chdir(place)
    monkeypatch.setattr(
        capture_run, "open_landmarks", lambda c: open_engine(network, backend=c.engine, device=c.device)
    )
    before = contents(place)
    assert main([*V, *option]) in (1, 2)
    err = capsys.readouterr().err
    check_paragraph(err)
    assert option[1] in err
    assert contents(place) == before


def test_a_lens_file_whose_name_is_no_text_is_used_all_the_same(place, stages, tmp_path, capsys):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/lens\xe9.json")
    try:
        Path(path).write_text(json.dumps(LENS))
    except OSError:
        pytest.skip("this file system takes no such name")
    shutil.copy(place / "dance.mp4", tmp_path)
    assert main(["--video", str(tmp_path / "dance.mp4"), "--calib", path]) == 0
    assert main(["export", str(tmp_path / "dance.hmcap"), "--to", "json,csv,npz"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("words", [("--video", "none.mp4"), ("--export", "bvh"), ("--video", "caf\udce9.mp4")])
def test_the_real_program_does_the_same_where_the_terminal_knows_only_ascii(place, words):
    before = contents(place)
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = subprocess.run(
        [sys.executable, "-m", "hmcap.realtime.cli", *words], cwd=place, env=environment, capture_output=True,
        text=True, errors="replace", check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == (2 if words[0] == "--export" else 1)
    assert done.stdout == ""
    check_paragraph(done.stderr)
    assert contents(place) == before
