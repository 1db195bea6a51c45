"""hmcap bench: what is timed is what runs, turns with a peer, the tables and files it writes, and what it refuses."""

import dataclasses
import json
import threading
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hmcap.engines.base import TensorSpec
from hmcap.models.errors import HmcapError
from hmcap.models.motion import MotionFrame
from hmcap.models.proxies import LEFT_HAND, Proxies
from hmcap.realtime.cli import main
from hmcap.realtime.frames import Frame, Source, Window
from hmcap.realtime.motion import weights_file
from hmcap.tools.bench import alone, measure, pipeline
from hmcap.tools.bench.alone import initialiser_graph, input_of, noise, spread_of
from hmcap.tools.bench.clocks import Arrivals
from hmcap.tools.bench.measure import module_times
from hmcap.tools.bench.peer import Peer
from hmcap.tools.bench.records import PAPER_MS, PAPER_SUM_MS, Spread
from hmcap.tools.bench.sources import BlockSource, PacedSource
from hmcap.tools.bench.table import sum_like_paper

SLOW_S = 0.004
"""What the stand-in for the body network takes."""
MODULES = ("pose_detection", "pose_landmark", "hand_recrop", "hand_landmark")


class Engine:
    """A network that does nothing, of a shape of its own."""

    backend, device = "stand-in", "none"

    def __init__(self, *shape):
        self.inputs = (TensorSpec("image", shape, np.dtype(np.float32)),)
        self.outputs = ()
        self.calls = 0

    def __call__(self, feeds):
        assert [v.shape for v in feeds.values()] == [s.shape for s in self.inputs]
        self.calls += 1
        return {}


class Landmarks:
    """Sees a left hand in every frame; its body takes SLOW_S."""

    def __init__(self):
        self.engines = {m: Engine(1, 8, 8, 3) for m in MODULES}
        self.threads = set()

    def reset(self):
        pass

    def body(self, image_rgb, index, stamp_s):
        time.sleep(SLOW_S)
        self.threads.add(threading.current_thread().name)
        seen = SimpleNamespace(image=image_rgb, index=index, stamp_s=stamp_s, times_s={"pose_landmark": SLOW_S})
        if index == 12:
            seen.times_s["pose_detection"] = 0.001
        return seen

    def hands(self, seen):
        seen.times_s["hand_landmark"] = 0.002
        absent = Proxies.absent(seen.index, seen.stamp_s, seen.image.shape[1::-1])
        confidence = np.zeros_like(absent.confidence)
        confidence[LEFT_HAND] = 1.0
        return dataclasses.replace(absent, confidence=confidence, score=0.9)


def stand(p, camera):
    zeros = np.zeros
    return MotionFrame(
        p.index, p.stamp_s, True, zeros(10), zeros((55, 3)), np.array([0, 1.0, 0]), np.diag([1.0, -1, -1, 1]), camera,
        np.ones(4), np.ones(8), np.ones(8, bool), 1.0,
    )  # fmt: skip


class Motion:
    """A solver without a network."""

    def __init__(self):
        self.engines, self.solved = {}, []

    def live(self, camera, *_):
        return SimpleNamespace(push_all=lambda proxies: [stand(p, camera) for p in proxies], together=True)

    def solve(self, proxies, camera, **_):
        self.solved.append(len(proxies))
        return [stand(p, camera) for p in proxies]


@pytest.fixture
def stages(monkeypatch):
    landmarks, motion = Landmarks(), Motion()
    monkeypatch.setattr(pipeline, "open_landmarks", lambda choices: landmarks)
    monkeypatch.setattr(pipeline, "open_motion", lambda choices, **_: motion)
    monkeypatch.setattr(measure, "ALONE_S", 0.01)
    monkeypatch.setattr(pipeline, "BLOCK_FRAMES", 20)
    return SimpleNamespace(landmarks=landmarks, motion=motion)


@pytest.fixture
def clip(tmp_path):
    folder = tmp_path / "walk"
    folder.mkdir()
    for i in range(55):
        cv2.imwrite(str(folder / f"{i:03d}.png"), np.full((48, 64, 3), 40, np.uint8))
    return folder


@pytest.fixture
def mediapipe(tmp_path, monkeypatch):
    """A package of that name that takes 2 ms a picture and notes nothing else."""
    package = tmp_path / "others" / "mediapipe"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "import time\n"
        "class Holistic:\n"
        "    def __init__(self, model_complexity, smooth_landmarks):\n"
        "        assert (model_complexity, smooth_landmarks) == (1, True)\n"
        "    def process(self, image):\n"
        "        assert image.shape == (48, 64, 3)\n"
        "        time.sleep(0.002)\n"
        "class solutions:\n"
        "    class holistic:\n"
        "        Holistic = Holistic\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(package.parent))


def test_everything_is_measured_and_written(stages, clip, mediapipe, tmp_path, capsys):
    out, chart = tmp_path / "b.json", tmp_path / "b.png"
    words = ["bench", str(clip), "--frames", "50", "--peer", "mediapipe", "--json", str(out), "--chart", str(chart)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    for piece in ("pose_landmark", "stand-in none", "8x8x3", "paper ms", "23.5", "ratio as a file", "journal"):
        assert piece in printed
    data = json.loads(out.read_text())
    assert data["machine"]["cores"] >= 1
    assert data["paper_ms"] == {n: ms for n, (_, ms) in PAPER_MS.items()} | {"sum": PAPER_SUM_MS}
    (setup,) = data["setups"]
    (found,) = setup["clips"]
    assert (found["clip"], found["width_px"], found["height_px"], found["frames"]) == ("walk", 64, 48, 40)
    assert found["hands_percent"] == 50.0
    rows = {m["name"]: m for m in found["modules"]}
    assert list(rows) == [
        "capture", *MODULES, "following", "solver", "journal"
    ]  # fmt: skip
    body = rows["pose_landmark"]
    assert body["at_work"]["median_ms"] == pytest.approx(1e3 * SLOW_S)
    assert body["at_work"]["count"] == 40
    assert body["alone"]["count"] >= 5
    # ran in one frame of forty
    assert rows["pose_detection"]["at_work"]["count"] == 1
    assert rows["pose_detection"]["per_frame_ms"] == pytest.approx(1 / 40)
    # the rate cannot be above what the slowest stage allows, nor the peer's above its own
    assert 0 < found["fps"] <= 1 / SLOW_S
    assert 0 < found["live_fps"] <= 1 / SLOW_S
    assert found["peer"]["process"]["count"] == 40
    assert 0 < found["peer"]["fps"] <= found["peer"]["fps_without_reading"] <= 500
    assert found["ratios"]["file"] == pytest.approx(found["fps"] / found["peer"]["fps"])
    assert found["ratios"]["live_strict"] == pytest.approx(found["live_fps"] / found["peer"]["fps_without_reading"])
    assert found["latency"]["count"] + found["dropped"] == 40
    assert found["latency"]["median_ms"] >= 1e3 * SLOW_S
    assert stages.motion.solved == [50]  # the whole take, warm-up included
    assert chart.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_every_engine_and_number_of_threads_has_its_turn(stages, clip, capsys, tmp_path):
    out = tmp_path / "b.json"
    words = ["bench", str(clip), "--frames", "20", "--engine", "openvino,onnxruntime", "--threads", "1,2"]
    assert main([*words, "--json", str(out)]) == 0
    setups = [s["setup"] for s in json.loads(out.read_text())["setups"]]
    assert [(s["engine"], s["threads"]) for s in setups] == [
        ("openvino", 1), ("openvino", 2), ("onnxruntime", 1), ("onnxruntime", 2)
    ]  # fmt: skip
    assert "onnxruntime on cpu, 2 threads" in capsys.readouterr().out


class Frames(Source):
    def __init__(self, count, fps=100.0):
        super().__init__("made", "made", Window())
        self.width_px, self.height_px, self.fps, self.count = 8, 6, fps, count

    def _frames(self):
        for i in range(self.count):
            yield Frame(i, i / self.fps, np.zeros((6, 8, 3), np.uint8))

    def close(self):
        pass


def test_blocks_are_divided_after_the_warm_up():
    halts = []
    frames = list(BlockSource(Frames(35), 5, 10, halts.append))
    assert len(frames) == 35
    assert halts == [5, 15, 25]


def test_a_paced_source_keeps_the_time_of_its_stamps():
    source = PacedSource(Frames(12))
    began = time.perf_counter()
    came = [time.perf_counter() - began for _ in source]
    assert source.live
    # never early; how late is the machine's affair
    assert all(t >= i / 100 - 1e-3 for i, t in enumerate(came))
    due = [source.due_s[i] - began for i in range(12)]
    assert all(d >= i / 100 - 1e-3 for i, d in enumerate(due))
    assert all(d <= t + 1e-3 for d, t in zip(due, came, strict=True))


def test_frames_that_do_not_come_are_not_waited_for_for_ever():
    with pytest.raises(HmcapError, match="Expected 3 frames to come through the pipeline, found 0"):
        Arrivals().wait_for(3, timeout_s=0.01)


def test_a_call_is_timed():
    spread = spread_of(lambda: time.sleep(0.002), 0.02)
    assert spread.count >= 5
    assert 2.0 <= spread.median_ms <= spread.p95_ms


def test_spread_of_nothing_is_nothing():
    assert Spread.of([]) == Spread(0, 0.0, 0.0)
    assert Spread.of([0.001] * 99 + [1.0]).median_ms == pytest.approx(1.0)


def test_made_input_has_the_shape_of_the_network():
    engine = SimpleNamespace(inputs=(
        TensorSpec("a", (1, -1, 3), np.dtype(np.float32)), TensorSpec("b", (2,), np.dtype(np.int64)),
    ))  # fmt: skip
    assert {n: (v.shape, v.dtype.name) for n, v in noise(engine.inputs).items()} == {
        "a": ((1, 1, 3), "float32"), "b": ((2,), "int64"),
    }  # fmt: skip
    assert input_of(engine) == "5 values"
    assert input_of(Engine(1, 224, 192, 3)) == "192x224x3"
    assert input_of(Engine(1, 3, 256, 192)) == "192x256x3"


def test_the_motion_graph_is_cut_before_the_descent():
    """The first part alone gives the descent's inputs, and none of the graph's own outputs."""
    import onnx
    import onnxruntime

    path = weights_file()
    part = onnx.load_model_from_string(initialiser_graph(path))
    assert 0 < len(part.graph.node) < len(onnx.load(str(path)).graph.node)
    assert not any(n.name.startswith("/network/descent.") for n in part.graph.node)
    session = onnxruntime.InferenceSession(part.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {
        i.name: np.zeros([1 if isinstance(n, str) else n for n in i.shape], np.float32) for i in session.get_inputs()
    }
    assert all(np.isfinite(o).all() for o in session.run(None, feeds) if o.dtype.kind == "f")


def test_initialiser_and_descent_share_the_time_at_work():
    engine = Engine(1, 4)
    engines = dict.fromkeys(MODULES, Engine(1, 8, 8, 3)) | {"motion": engine}
    times = {"motion": [0.010] * 4, "motion_networks": [0.008] * 4}
    both = {"motion_networks": Spread(9, 8.0, 9.0), "initialiser": Spread(9, 2.0, 3.0), "descent": Spread(9, 6.0, 7.0)}
    rows = {r.name: r for r in module_times(times, 4, both, engines, (64, 48))}
    assert rows["initialiser"].per_frame_ms == pytest.approx(2.0)
    assert rows["descent"].at_work.median_ms == pytest.approx(6.0)
    assert rows["world"].per_frame_ms == pytest.approx(2.0)
    assert sum_like_paper(list(rows.values())) == pytest.approx(8.0)
    # an engine whose graph is not cut has one row
    rows = {r.name: r for r in module_times(times, 4, {}, engines, (64, 48))}
    assert rows["motion_networks"].per_frame_ms == pytest.approx(8.0)
    # more than one call a frame: the mean is known
    rows = {r.name: r for r in module_times(times | {"motion_networks": [0.004] * 6}, 4, {}, engines, (64, 48))}
    assert rows["world"].per_frame_ms == pytest.approx(4.0)
    assert alone.WARM_UP > 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--frames", "10"], 2, "above 10"),
        (["--threads", "two"], 2, "whole numbers"),
        (["--threads", "0"], 2, "whole numbers"),
        (["--engine", ","], 2, "names separated by commas"),
        (["--engine", "tensorflow"], 2, "Unknown engine 'tensorflow'"),
        (["--device", "quantum"], 1, "Expected to run on device 'quantum'"),
        (["--peer", "openpose"], 2, "--peer takes mediapipe; found 'openpose'"),
        (["--peer-python", "python"], 2, "Add --peer mediapipe"),
        (["--peer", "mediapipe", "--peer-python", "no/such/python"], 2, "pip install mediapipe=="),
        (["no_such_clip.mp4"], 1, "no such file"),
    ],
)
def test_bad_input_is_explained(words, code, said, capsys):
    assert main(["bench", *words]) == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_footage_shorter_than_the_warm_up_is_refused(stages, clip, capsys):
    for picture in sorted(clip.iterdir())[8:]:
        picture.unlink()
    assert main(["bench", str(clip)]) == 1
    assert "Expected more than 10 frames" in capsys.readouterr().err


def test_results_that_cannot_be_written_are_known_before_the_run(stages, clip, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["bench", str(clip), "--json", str(tmp_path / "file" / "b.json")]) == 1
    assert "Expected to be able to write" in capsys.readouterr().err
    assert stages.motion.solved == []


def test_a_peer_that_fails_is_explained(tmp_path, monkeypatch, clip):
    import sys
    from pathlib import Path

    broken = tmp_path / "broken" / "mediapipe"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('numpy is too new')\n")
    monkeypatch.setenv("PYTHONPATH", str(broken.parent))
    with pytest.raises(HmcapError, match=r"numpy is too new.*pip install mediapipe=="):
        Peer(Path(sys.executable), str(clip))
