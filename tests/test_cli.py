"""The command line: what it writes, what it says, and one paragraph with the right exit code for every mistake."""

import dataclasses
import functools
import json
import threading
import time
from fractions import Fraction
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import av
import hmcap.realtime.run as capture_run
import numpy as np
import pytest
from hmcap.engines import registry
from hmcap.engines.landmarks.opening import DEFAULT_MODELS
from hmcap.models.body import load_body
from hmcap.models.errors import HmcapError, UsageError
from hmcap.models.motion import MotionFrame
from hmcap.models.proxies import Proxies
from hmcap.realtime import capture, capture_video, capture_webcam, doctor, export_take, read_take, sources_webcam
from hmcap.realtime.cli import main
from hmcap.realtime.exporters import EXPORTERS
from hmcap.realtime.options import CaptureOptions, parse_formats
from hmcap.realtime.outputs import plan_outputs
from hmcap.realtime.parsers import capture_parser, export_parser


class Landmarks:
    """A stand-in stage that sees a person wherever the picture is not black."""

    def __init__(self):
        self.engines = {"net": SimpleNamespace(backend="stand-in", device="none")}

    def body(self, image_rgb, index, stamp_s):
        return SimpleNamespace(image_rgb=image_rgb, index=index, stamp_s=stamp_s, times_s={"net": 0.001})

    def hands(self, seen):
        proxies = Proxies.absent(seen.index, seen.stamp_s, seen.image_rgb.shape[1::-1])
        return dataclasses.replace(proxies, score=0.9) if seen.image_rgb.max() > 40 else proxies


def stand(proxies, camera, **_):
    """A person who stands still, held where nobody is seen."""
    zeros = np.zeros
    return [
        MotionFrame(
            p.index, p.stamp_s, p.present, zeros(10), zeros((55, 3)), np.array([0, 1.0, 0]), np.diag([1.0, -1, -1, 1]),
            camera, np.ones(4), np.ones(8), np.ones(8, bool), 1.0,
        )
        for p in proxies
    ]  # fmt: skip


@pytest.fixture
def stages(monkeypatch):
    """Stand-ins for the networks and the solver; the calls to the solver."""
    calls = []

    def solve(proxies, camera, *, settings, model, progress):
        calls.append(SimpleNamespace(camera=camera, settings=settings, model=model))
        progress(1.0)
        return stand(proxies, camera)

    live = SimpleNamespace(push_all=lambda proxies: stand(proxies, None))
    monkeypatch.setattr(capture_run, "open_landmarks", lambda choices: Landmarks())
    monkeypatch.setattr(capture_run, "open_motion", lambda choices, **_: SimpleNamespace(
        engines={}, solve=solve, live=lambda camera, *_: SimpleNamespace(
            push_all=lambda proxies: [dataclasses.replace(m, camera=camera) for m in live.push_all(proxies)],
            together=True,
        ),
    ))  # fmt: skip
    return calls


def make_video(path, count=20, shade=200):
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(count):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), shade, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def video(tmp_path):
    return make_video(tmp_path / "dance.mp4")


def run(capsys, *words) -> tuple[int, str, str]:
    code = main([str(w) for w in words])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_video_becomes_a_take_exports_overlay_and_report(stages, video, tmp_path, capsys):
    report, overlay = tmp_path / "r" / "report.json", tmp_path / "over.mp4"
    code, out, err = run(
        capsys, "--video", video, "--export", "bvh,npz", "--overlay", overlay, "--report", report, "--fov-deg", 62,
        "--height-m", 1.7,
    )  # fmt: skip
    assert (code, err) == (0, "")
    for name in ("dance.hmcap", "dance.bvh", "dance.npz", "over.mp4"):
        assert (tmp_path / name).stat().st_size > 0
    take = read_take(tmp_path / "dance.hmcap")
    assert len(take.proxies) == len(take.motion) == 20
    assert take.header.engines == {"net": {"backend": "stand-in", "device": "none"}}
    assert take.camera.fov_deg == pytest.approx(62)
    assert take.camera.source == "--fov-deg"
    assert take.header.settings["height_m"] == 1.7
    assert stages[0].settings.height_m == 1.7
    stored = json.loads(report.read_text())
    assert stored["frames"] == 20
    assert stored["foot_sliding_mm"] == pytest.approx(0, abs=1e-6)
    assert take.report == stored
    for piece in ("field of view 62.0 deg", "--fov-deg", "stand-in on none", "person visible", "100.0 %", "dance.bvh"):
        assert piece in out


def test_a_video_behind_an_address_gets_its_overlay_too(stages, video, tmp_path, capsys):
    handler = functools.partial(QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{server.server_address[1]}/dance.mp4"
        code, _, err = run(capsys, "--video", address, "--out", tmp_path, "--overlay", tmp_path / "over.mp4")
        server.shutdown()
        thread.join()
    assert (code, err) == (0, "")
    assert read_take(tmp_path / "dance.hmcap").header.source == address
    assert (tmp_path / "over.mp4").stat().st_size > 0


def test_exports_of_a_take_need_no_networks(stages, video, tmp_path, capsys, monkeypatch):
    assert run(capsys, "--video", video, "--quiet") == (0, "", "")
    monkeypatch.setattr(capture_run, "open_landmarks", None)
    monkeypatch.setattr(capture_run, "open_motion", None)
    code, out, _ = run(
        capsys, "export", tmp_path / "dance.hmcap", "--to", "bvh", "--to", "npz", "--joint-names", "smplx", "--out",
        tmp_path / "x" / "y",
    )  # fmt: skip
    assert code == 0
    assert "left_hip" in (tmp_path / "x" / "y" / "dance.bvh").read_text()
    assert (tmp_path / "x" / "y" / "dance.npz").is_file()
    assert "dance.npz" in out


def test_python_has_the_same_names(stages, video, tmp_path):
    result = capture_video(video, export=("bvh",), out=tmp_path / "o", start=0.2, end=0.6, subject="left")
    assert result.take == tmp_path / "o" / "dance.hmcap"
    assert result.files == (tmp_path / "o" / "dance.bvh",)
    assert result.report.frames == 10
    assert not result.interrupted
    assert [p.index for p in read_take(result.take).proxies] == list(range(5, 15))
    again = export_take(result.take, to="npz", up="z")
    assert np.load(again.files[0], allow_pickle=False)["up_axis"] == "z"
    with pytest.raises(TypeError):
        capture_video(video, fov=60)


def test_options_of_the_command_line_are_the_fields_of_the_options():
    typed = {a.dest for a in capture_parser()._actions} - {"help", "version", "video", "webcam", "quiet", "debug"}
    assert typed == {f.name for f in dataclasses.fields(CaptureOptions)}
    assert {"take", "to", "overlay", "video", "out", "report"} <= {a.dest for a in export_parser()._actions}


def test_nobody_in_view_is_an_error_that_keeps_and_names_the_take(stages, tmp_path, capsys):
    empty = make_video(tmp_path / "empty.mp4", shade=0)
    code, _, err = run(capsys, "--video", empty, "--export", "bvh")
    assert code == 1
    assert "nobody was found in any of its 20 frames" in err
    assert str(tmp_path / "empty.hmcap") in err
    assert len(read_take(tmp_path / "empty.hmcap").proxies) == 20
    assert not (tmp_path / "empty.bvh").exists()


def test_a_take_without_anybody_does_not_replace_an_earlier_one(stages, video, tmp_path, capsys):
    assert run(capsys, "--video", video)[0] == 0
    earlier = (tmp_path / "dance.hmcap").read_bytes()
    make_video(video, shade=0)
    code, _, err = run(capsys, "--video", video)
    assert code == 1
    assert str(tmp_path / "dance_nobody.hmcap") in err
    assert (tmp_path / "dance.hmcap").read_bytes() == earlier
    assert len(read_take(tmp_path / "dance_nobody.hmcap").proxies) == 20


def test_a_part_without_frames_is_an_error_that_leaves_no_take(stages, video, tmp_path, capsys):
    code, _, err = run(capsys, "--video", video, "--start", 100)
    assert code == 1
    assert "--start" in err
    assert [p.name for p in tmp_path.iterdir()] == ["dance.mp4"]


def check_paragraph(err: str) -> None:
    assert err.startswith("hmcap: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_debug_shows_where(capsys):
    code, _, err = run(capsys, "--video", "none.mp4", "--debug")
    assert code == 1
    assert "Traceback" in err


def test_an_interrupt_is_one_line_and_code_130(stages, video, capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(capture_run, "open_motion", lambda choices, **_: SimpleNamespace(engines={}, solve=interrupt))
    code, _, err = run(capsys, "--video", video)
    assert code == 130
    assert f"hmcap export {video.with_suffix('.hmcap')}" in err
    check_paragraph(err)
    assert len(read_take(video.with_suffix(".hmcap")).proxies) == 20


def test_without_words_it_helps_and_says_so_by_its_code(capsys):
    code, out, _ = run(capsys)
    assert code == 2
    assert "hmcap --webcam 0" in out


@pytest.mark.parametrize("words", ["--help", "export --help", "models --help", "doctor --help", "--version"])
def test_help_and_version_work(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words.split())
    assert caught.value.code == 0
    assert "hmcap" in capsys.readouterr().out


class FakeCamera:
    """Stands in for cv2.VideoCapture; never ends, and leaves time for every frame."""

    def __init__(self, index):
        self.index = index

    def isOpened(self):
        return True

    def set(self, *_):
        return True

    def get(self, _):
        return 30.0

    def read(self):
        time.sleep(0.004)
        return True, np.full((24, 32, 3), 200, np.uint8)

    def release(self):
        pass


def test_a_webcam_is_captured_live_and_recorded_when_asked(stages, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sources_webcam.cv2, "VideoCapture", FakeCamera)
    monkeypatch.setattr(capture, "why_no_screen", lambda: "there is no display here")
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "--webcam", 0, "--max-frames", 12)
    assert code == 0
    assert "No window: there is no display here." in out
    assert list(tmp_path.iterdir()) == []
    assert stages == []
    result = capture_webcam(0, record=True, export="bvh", out=tmp_path / "o", max_frames=12)
    assert result.take is not None
    assert result.takes == (result.take,)
    take = read_take(result.take)
    assert take.header.live
    assert take.revision == 1
    assert len(take.motion) == len(take.proxies) == result.report.frames
    assert result.report.frames + result.report.dropped >= 12 >= result.report.frames
    stamps = [p.stamp_s for p in take.proxies]
    if len(stamps) > 1:
        assert take.fps == pytest.approx((len(stamps) - 1) / (stamps[-1] - stamps[0]))
    assert result.files[0].is_file()
    with pytest.raises(UsageError, match="live window"):
        capture_webcam(0, overlay="x.mp4")


def test_models_and_doctor_print_tables(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HMCAP_MODELS", str(tmp_path))
    code, out, _ = run(capsys, "models", "list")
    assert code == 0
    assert "pose_landmark_full" in out
    assert "Apache-2.0" in out
    code, out, _ = run(capsys, "doctor")
    assert code == 0
    for piece in ("openvino", "hmcap models fetch", "webcams", "overlay", "bvh, glb"):
        assert piece in out


@pytest.mark.parametrize("builds", [["onnxruntime"], ["onnxruntime", "onnxruntime-gpu"]])
def test_doctor_names_builds_that_overwrite_each_other(monkeypatch, builds):
    def version(name):
        if name not in builds:
            raise doctor.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(doctor, "version", version)
    notes = [text for state, name, text in doctor._engines() if (state, name) == ("note", "engine builds")]
    assert len(notes) == len(builds) - 1
    assert all("--no-deps onnxruntime-gpu" in text for text in notes)


def test_doctor_misses_no_network_that_a_capture_does_not_use(monkeypatch):
    states = {w.name: "ready" if w.name in DEFAULT_MODELS.values() else "missing" for w in registry.REGISTRY.values()}
    listed = [SimpleNamespace(name=name, state=state) for name, state in states.items()]
    monkeypatch.setattr(registry, "list_models", lambda: listed)
    assert doctor._models()[0] == "ok"
    listed[0].state = "missing"
    assert doctor._models()[0] == "note"


def test_formats_are_split_checked_and_counted_once():
    assert parse_formats("bvh,npz") == ("bvh", "npz")
    assert parse_formats(["BVH", " npz , bvh"]) == ("bvh", "npz")
    assert parse_formats("") == parse_formats(()) == ()
    with pytest.raises(UsageError, match="bvh"):
        parse_formats("bvh,")
    assert set(parse_formats(",".join(EXPORTERS))) == set(EXPORTERS)


@pytest.mark.parametrize(("name", "stem"), [("a/b:c", "a_b_c"), ("..", "take"), ("tanz ü", "tanz ü"), ("x\0y", "x_y")])
def test_outputs_stay_in_their_folder(tmp_path, name, stem):
    outputs = plan_outputs(name, tmp_path, CaptureOptions(export="bvh"))
    assert outputs.take == tmp_path / f"{stem}.hmcap"
    assert outputs.exports == {"bvh": tmp_path / f"{stem}.bvh"}


def test_a_body_of_the_user_reaches_solver_and_take(stages, video, tmp_path):
    from importlib.resources import files

    path = tmp_path / "mine.npz"
    path.write_bytes((files("hmcap.models") / "data" / "body.npz").read_bytes())
    result = capture_video(video, body=path)
    assert read_take(result.take).header.settings["body"] == str(path.resolve())
    assert stages[0].model is load_body(path)
    assert stages[0].model is not load_body()
    path.unlink()
    with pytest.raises(HmcapError, match=r"mine\.npz"):
        export_take(result.take, to="bvh")
