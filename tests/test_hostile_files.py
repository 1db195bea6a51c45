"""Files from outside that want more than to be read: bombs, lists of other files, names that lead elsewhere."""

import dataclasses
import hashlib
import io
import json
import socket
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest
from hmcap.engines.fetch import Member, extract
from hmcap.models.body import load_body
from hmcap.models.errors import HmcapError
from hmcap.models.npz import BadNpz, open_npz
from hmcap.realtime.calibration import read_calibration
from hmcap.realtime.capture import export_take
from hmcap.realtime.journal import write_take
from hmcap.realtime.named_by_takes import is_local_path
from hmcap.realtime.play import play_take
from hmcap.realtime.sources import open_source
from hmcap.realtime.viewer.footage import Footage
from test_cli import make_video
from viewer_takes import moving_take

ELSEWHERE = (
    "http://192.0.2.7/dance.mp4", "rtsp://192.0.2.7/live", "webcam:0", "\\\\192.0.2.7\\share\\dance.mp4",
    "//192.0.2.7/share/dance.mp4", "/\\192.0.2.7\\share", "concat:/etc/passwd", "file:///etc/passwd",
    "data:text/plain,x",
)  # fmt: skip


@pytest.fixture
def alone(monkeypatch):
    """Fails the test where anything connects or asks for an address."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


# Arrays


def body_file(path: Path, change: dict[str, bytes]) -> Path:
    """The built-in body with some members replaced by other bytes."""
    own = Path(load_body().provenance.get("source", ""))
    if not own.is_file():
        import hmcap.models.data as data

        own = Path(next(iter(data.__path__))) / "body.npz"
    with zipfile.ZipFile(own) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, change.get(name.removesuffix(".npy"), source.read(name)))
    return path


def header(shape: tuple[int, ...], dtype: str = "<f8") -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": dtype, "fortran_order": False, "shape": shape})
    return out.getvalue()


def test_a_body_is_read_from_the_made_file(tmp_path):
    assert load_body(body_file(tmp_path / "body.npz", {})).num_betas > 0


@pytest.mark.parametrize(
    "shape", [(1 << 50,), (1 << 31, 1 << 31), (13718, 3 << 20), (-1, 3), (1 << 62, 1 << 62)]
)  # fmt: skip
def test_an_array_that_declares_more_than_there_is_takes_no_memory(shape, tmp_path):
    path = body_file(tmp_path / "body.npz", {"v_template": header(shape) + b"\0" * 64})
    with pytest.raises(HmcapError, match=r"body\.npz"):
        load_body(path)


def test_an_array_that_unpacks_to_much_is_not_unpacked(tmp_path, monkeypatch):
    path = body_file(tmp_path / "body.npz", {"posedirs": header((1 << 21,)) + b"\0" * (8 << 21)})
    assert path.stat().st_size < 2 << 20
    monkeypatch.setattr("hmcap.models.npz.MAX_ARRAY_BYTES", 8 << 20)
    with pytest.raises(HmcapError, match="'posedirs' unpacks to 16,777"):
        load_body(path)


def test_a_thousand_arrays_or_more_are_fine_and_more_are_not(tmp_path):
    path = tmp_path / "many.npz"
    with zipfile.ZipFile(path, "w") as target:
        for number in range(5000):
            target.writestr(f"a{number}.npy", header((0,)))
    with pytest.raises(BadNpz, match="5,000 arrays"), open_npz(path):
        pass


def test_numpy_cannot_be_made_to_run_what_is_in_a_body(tmp_path):
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return Path.touch, (ran,)

    out = io.BytesIO()
    np.save(out, np.array([Evil()], object), allow_pickle=True)
    with pytest.raises(HmcapError, match="pickle"):
        load_body(body_file(tmp_path / "body.npz", {"v_template": out.getvalue()}))
    assert not ran.exists()


# Archives


def wheel(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_a_wheel_writes_only_where_the_registry_says(tmp_path):
    target = tmp_path / "in" / "net.tflite"
    content = b"network"
    digest = hashlib.sha256(content).hexdigest()
    made = wheel(tmp_path / "a.whl", {"net": content, "../../outside": b"x", "/etc/outside": b"x"})
    extract(made, [Member("net", digest, len(content), target)])
    assert [p.name for p in target.parent.iterdir()] == ["net.tflite"]
    assert not (tmp_path.parent / "outside").exists()


@pytest.mark.parametrize("member", ["net", "inner.zip!net"])
def test_a_wheel_that_unpacks_to_more_is_not_unpacked(member, tmp_path):
    bomb = b"\0" * (1 << 22)
    inner = wheel(tmp_path / "inner.zip", {"net": bomb}).read_bytes()
    made = wheel(tmp_path / "a.whl", {"net": bomb, "inner.zip": inner})
    target = tmp_path / "net.tflite"
    with pytest.raises(HmcapError, match="4194304 bytes"):
        extract(made, [Member(member, hashlib.sha256(bomb).hexdigest(), 1000, target)])
    assert not target.exists()


# Footage that is a list of other files


@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8", "list.ffconcat", "list.sdp", "list.mpd", "list"])
@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile 'secret.mp4'\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{folder}/secret.mp4\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://192.0.2.7/secret.mp4\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 192.0.2.7\ns=x\nc=IN IP4 192.0.2.7\nt=0 0\nm=video 5004 RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n",
    ],
    ids=["concat", "local playlist", "network playlist", "session"],
)  # fmt: skip
def test_a_list_of_other_footage_is_no_footage(name, text, tmp_path, alone):
    make_video(tmp_path / "secret.mp4", 5)
    path = tmp_path / name
    path.write_text(text.format(folder=tmp_path), encoding="utf-8")
    with pytest.raises(HmcapError, match="Expected a video"):
        open_source(path)


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "avi", "ts", "webm"])
def test_usual_footage_opens_as_before(ending, tmp_path):
    path = tmp_path / f"clip.{ending}"
    codec = "libvpx" if ending == "webm" else "mpeg4"
    with av.open(str(path), "w", format={"mkv": "matroska", "ts": "mpegts"}.get(ending, ending)) as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(25):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
        out.mux(stream.encode(None))
    with open_source(path) as source:
        assert (source.width_px, source.height_px) == (64, 48)


# What a take names


@pytest.mark.parametrize("source", ELSEWHERE)
def test_a_take_opens_no_camera_and_no_other_computer(source, tmp_path, alone, monkeypatch):
    monkeypatch.setattr("hmcap.realtime.sources_webcam.WebcamSource.__init__", lambda *_: pytest.fail("a camera"))
    take = moving_take(5, source)
    path = tmp_path / "theirs.hmcap"
    write_take(path, take, list(take.motion), {})
    with pytest.raises(HmcapError, match="because a take says"):
        export_take(path, overlay=tmp_path / "o.mp4")
    assert export_take(path, to="csv").files
    shown = []
    footage = Footage(take, shown.append)
    footage.want(0)
    footage._thread.join(0.5)
    footage.close()
    assert "because a take says" in footage.missing


@pytest.mark.parametrize("name", ["body", "motion_weights"])
def test_a_take_opens_no_file_of_another_computer(name, tmp_path, alone):
    take = moving_take(5)
    named = dataclasses.replace(take.header, settings={name: "\\\\192.0.2.7\\share\\file"})
    path = tmp_path / "theirs.hmcap"
    write_take(path, dataclasses.replace(take, header=named), list(take.motion), {})
    with pytest.raises(HmcapError, match="because a take says"):
        export_take(path, to="csv")
    with pytest.raises(HmcapError, match="because a take says"):
        play_take(path)


@pytest.mark.parametrize("path", ["dance.mp4", "/videos/a.mp4", "C:\\videos\\a.mp4", "C:/a.mp4", "images/2024:05"])
def test_paths_of_this_computer(path):
    assert is_local_path(path)


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "..\\..\\evil", "a/../../evil", "evil\0", "CON", "."])
def test_the_name_in_a_take_never_leaves_the_folder(name, tmp_path):
    take = moving_take(5)
    inside = tmp_path / "a" / "b"
    path = tmp_path / "theirs.hmcap"
    take = dataclasses.replace(take, header=dataclasses.replace(take.header, name=name))
    write_take(path, take, list(take.motion), {})
    before = set(tmp_path.rglob("*"))
    result = export_take(path, to="bvh,csv,json,npz", out=inside)
    new = set(tmp_path.rglob("*")) - before
    assert set(result.files) <= new
    assert {p.parent for p in new if p.is_file()} == {inside}


# Calibration


@pytest.mark.parametrize(
    "text",
    [
        "%YAML:1.0\na: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(f"b{i}: [*a,*a,*a,*a,*a]\n" for i in range(99)),
        '{"fx": ' + "9" * 5000 + ', "fy": 1, "cx": 1, "cy": 1}',
        "[" * 100_000,
        "%YAML:1.0\na:\n" + "".join(" " * i + "- a:\n" for i in range(1, 2600)),
        '<?xml version="1.0"?><opencv_storage>' + "<a>" * 200_000,
        '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><opencv_storage>&b;</opencv_storage>',
        json.dumps({"camera_matrix": {"rows": 1 << 30, "cols": 1 << 30, "dt": "d", "data": [1]}}),
    ],
    ids=["anchors", "digits", "depth", "indents", "elements", "entities", "huge matrix"],
)  # fmt: skip
@pytest.mark.parametrize("ending", [".json", ".yaml", ".xml", ".toml"])
def test_a_calibration_that_is_none_is_one_clear_error(text, ending, tmp_path):
    path = tmp_path / f"camera{ending}"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(HmcapError):
        read_calibration(path, 640, 480)


def test_a_calibration_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "camera.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(HmcapError, match="too many"):
        read_calibration(path, 640, 480)
