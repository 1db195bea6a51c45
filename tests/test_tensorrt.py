"""TensorRT without a GPU: the cache, the builds' inputs, the wrapper on a stand-in library, errors, and real builds."""

import dataclasses
import os
import sys
import threading
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from fake_tensorrt import GPU, FakeDevice, FakeTrt
from hmcap.engines import BACKENDS, EngineOptions, Profile, available, cuda, engine_cache, open_engine
from hmcap.engines import tensorrt as tensorrt_module
from hmcap.engines import tensorrt_library as library_module
from hmcap.engines.backends import choose_backend
from hmcap.engines.engine_cache import Built, Key
from hmcap.engines.tensorrt_build import Target, build, engine_for, key_of, open_sizes
from hmcap.engines.tensorrt_library import FLAVOURS, check_target, load, parse_capability
from hmcap.models.errors import HmcapError
from hmcap.models.streaming.stream import MotionNetwork
from hmcap.realtime import doctor, engines_ahead
from hmcap.realtime.cli import main
from hmcap.realtime.motion import open_networks
from motion_graphs import INFO, seen_at_random, write_small_graph
from onnx import TensorProto, helper

RTX = FLAVOURS["tensorrt_rtx"]
FRAMES = Profile("take", {"frames": (1, 2, 4)})
KEY = Key("net", "ab" * 32, "tensorrt_rtx", "1.2.3", "8.9", "f32", "any", "converter 1, precision 1")


def save(path, nodes, inputs, outputs):
    def entries(shapes):
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]

    graph = helper.make_graph(nodes, "test", entries(inputs), entries(outputs))
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("HMCAP_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def network(tmp_path):
    nodes = [helper.make_node("Add", ["x", "y"], ["sum"]), helper.make_node("Sub", ["x", "y"], ["less"])]
    return save(tmp_path / "net.onnx", nodes, {"y": (2, 3), "x": (2, 3)}, {"sum": (2, 3), "less": (2, 3)})


@pytest.fixture
def growing(tmp_path):
    node = helper.make_node("Add", ["x", "x"], ["twice"])
    return save(tmp_path / "grow.onnx", [node], {"x": ("frames", 3)}, {"twice": ("frames", 3)})


@pytest.fixture
def trt(monkeypatch):
    """The stand-in in place of both packages, and of the GPU."""
    load.cache_clear()
    fake = FakeTrt()
    for name in FLAVOURS:
        monkeypatch.setitem(sys.modules, name, fake)
    monkeypatch.setattr(library_module, "present", lambda flavour: True)
    monkeypatch.setattr(tensorrt_module, "present", lambda flavour: True)
    monkeypatch.setattr(cuda, "gpus", lambda: (GPU,))
    device = FakeDevice(fake)
    monkeypatch.setattr(cuda, "Device", lambda index: device)
    yield fake
    load.cache_clear()


def opened(path, **options):
    return open_engine(path, backend="tensorrt_rtx", device="cuda", warm_up=False, **options)


# -- cache -------------------------------------------------------------------------------------------------------------


def test_what_is_stored_is_found_again(models):
    assert engine_cache.load(KEY, pytest.fail) is None
    built = Built(b"native" * 100, ("x",), ("y", "z"))
    path = engine_cache.store(KEY, built)
    assert path.parent == models / "engines"
    assert engine_cache.load(KEY, pytest.fail) == built
    assert engine_cache.entries() == [(path, path.stat().st_size)]


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Key)])
def test_an_entry_for_anything_else_is_not_used(field):
    other = dataclasses.replace(KEY, **{field: "9.0" if field == "compute_capability" else "other"})
    path = engine_cache.store(KEY, Built(b"native"))
    assert engine_cache.load(other, pytest.fail) is None  # another name
    path.rename(path.with_name(other.file_name))  # even under that name
    said = []
    assert engine_cache.load(other, said.append) is None
    assert f"built for {field}" in said[0]


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda d: d[:20], "cut off"),
        (lambda d: b"", "cut off"),
        (lambda d: d[:-1], "content is cut off or damaged"),
        (lambda d: d + b"x", "content is cut off or damaged"),
        (lambda d: d[:-3] + bytes([d[-3] ^ 1]) + d[-2:], "content is cut off or damaged"),
        (lambda d: d[:60] + bytes([d[60] ^ 1]) + d[61:], "header is damaged"),
        (lambda d: d[:12] + b"\xff\xff\xff\xff" + d[16:], "header is damaged"),
        (lambda d: b"vtrt\0\0\0\0" + d[8:], "not an engine that hmcap built"),
        (lambda d: d[:8] + b"\x63\0\0\0" + d[12:], "format 99"),
    ],
)
def test_a_damaged_entry_is_said_and_not_used(harm, message):
    path = engine_cache.store(KEY, Built(b"native" * 100))
    path.write_bytes(harm(path.read_bytes()))
    said = []
    assert engine_cache.load(KEY, said.append) is None
    assert len(said) == 1
    assert message in said[0]
    assert "building it anew" in said[0]


def test_every_single_byte_of_the_front_counts():
    data = engine_cache.pack(KEY, Built(b"native", ("x",), ("y",)))
    for k in range(len(data)):
        with pytest.raises(ValueError, match=r"it|header|content"):
            engine_cache.unpack(data[:k] + bytes([data[k] ^ 0x40]) + data[k + 1 :], KEY)


def test_older_entries_of_the_same_network_and_device_go(monkeypatch):
    other = dataclasses.replace(KEY, network="else")
    engine_cache.store(other, Built(b"1"))
    paths = []
    for number in range(4):
        paths.append(engine_cache.store(dataclasses.replace(KEY, version=str(number)), Built(b"1")))
        os.utime(paths[-1], (1000 + number, 1000 + number))
    assert [p.exists() for p in paths] == [False, False, True, True]
    assert engine_cache.load(other, pytest.fail)
    monkeypatch.setattr(engine_cache, "MOST_BYTES", 700)  # one of them
    last = engine_cache.store(dataclasses.replace(KEY, network="large"), Built(bytes(300)))
    assert [p for p, _ in engine_cache.entries()] == [last]


def test_another_folder_is_written_and_not_pruned(tmp_path):
    for number in range(4):
        engine_cache.store(dataclasses.replace(KEY, version=str(number)), Built(b"1"), tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 4
    assert engine_cache.entries() == []


def test_profiles_and_content_tell_keys_apart(network, trt):
    library, target = load("tensorrt_rtx"), Target((8, 9), GPU)
    keys = {
        key_of(library, network, p, profile, target).file_name for p in ("f32", "f16") for profile in (None, FRAMES)
    }
    assert len(keys) == 4
    ahead = key_of(library, network, "f32", None, Target((8, 9)))
    assert ahead == key_of(library, network, "f32", None, target)  # built elsewhere, found here
    classic = key_of(load("tensorrt"), network, "f32", None, target)
    assert classic.compute_capability == "8.9, Test RTX"  # tuned on that model


# -- building ----------------------------------------------------------------------------------------------------------


def test_a_build_is_strongly_typed_without_tf32_and_kept(network, trt, caplog):
    engine_for(load("tensorrt_rtx"), network, "f32", None, Target((8, 9), GPU))
    assert trt.flags == ["no TF32", "SM89"]
    engine_for(load("tensorrt_rtx"), network, "f32", None, Target((8, 9), GPU))
    assert trt.calls == ["build"]
    assert "Building net (any, f32) for compute capability 8.9, once" in caplog.text


def test_a_damaged_entry_is_built_anew(network, trt, caplog):
    args = load("tensorrt_rtx"), network, "f32", None, Target((8, 9), GPU)
    built = engine_for(*args)
    (entry,) = engine_cache.entries()
    entry[0].write_bytes(entry[0].read_bytes()[:-9])
    assert engine_for(*args) == built
    assert trt.calls == ["build", "build"]
    assert "cannot be used (its content is cut off or damaged): building it anew" in caplog.text


def test_a_folder_that_cannot_be_written_still_runs(network, trt, caplog, models):
    models.parent.mkdir(exist_ok=True)
    models.write_bytes(b"a file where the folder would be")
    engine = opened(network)
    feeds = {n: np.ones((2, 3), np.float32) for n in "xy"}
    assert (engine(feeds)["sum"] == 2).all()
    assert "cannot be kept in" in caplog.text


def test_sizes_go_from_the_profile_into_the_build(growing, trt):
    build(load("tensorrt_rtx"), growing, "f32", FRAMES, Target((8, 9)))
    assert trt.flags[-1] == "x ((1, 3), (2, 3), (4, 3))"
    fixed = build(load("tensorrt_rtx"), growing, "f32", Profile("live", {"frames": (1, 1, 1)}), Target((8, 9)))
    model = onnx.load_model_from_string(fixed.engine)
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 3]
    assert open_sizes(model, None, "x") == {}
    with pytest.raises(HmcapError, match=r"input 'x' of grow\.onnx leaves frames open"):
        build(load("tensorrt_rtx"), growing, "f32", None, Target((8, 9)))


def test_what_cannot_be_built_is_explained(tmp_path, network, trt):
    bad = save(tmp_path / "det.onnx", [helper.make_node("Det", ["x"], ["y"])], {"x": (1, 3, 3)}, {"y": (1,)})
    library = load("tensorrt_rtx")
    with pytest.raises(HmcapError, match=r"det\.onnx uses operator Det, which it refuses: no importer.*onnxruntime"):
        build(library, bad, "f32", None, Target((8, 9)))
    trt.complaint = "out of\n memory."
    with pytest.raises(
        HmcapError, match=r"1\.2\.3 to build net\.onnx for compute capability 8\.9.*out of memory\. Run"
    ):
        build(library, network, "f32", None, Target((8, 9)))
    bad.write_bytes(b"hello")
    with pytest.raises(HmcapError, match=r"det\.onnx is not a valid one"):
        build(library, bad, "f32", None, Target((8, 9)))
    with pytest.raises(HmcapError, match=r"compute capability 8\.9, 12\.0 for tensorrt_rtx 1\.2\.3, found 9\.0"):
        check_target(library, (9, 0))


@pytest.mark.parametrize("text", ["8.9", "89", "sm_89", " SM89"])
def test_compute_capabilities_are_read(text):
    assert parse_capability(text) == (8, 9)
    assert parse_capability("120") == parse_capability("12.0") == (12, 0)


# -- running -----------------------------------------------------------------------------------------------------------


def feeds_of(seed, rows=2):
    rng = np.random.default_rng(seed)
    return {name: rng.random((rows, 3), np.float32) for name in "xy"}


@pytest.mark.parametrize("backend", FLAVOURS)
def test_fixed_sizes_run_plainly_once_then_recorded(network, trt, backend):
    engine = open_engine(network, backend=backend, device="cuda", warm_up=False)
    assert (engine.backend, engine.device) == (backend, "cuda:0")
    # the order of the network's file, whatever the library's is
    assert [[s.name for s in side] for side in (engine.inputs, engine.outputs)] == [["y", "x"], ["sum", "less"]]
    kept = []
    for seed in range(4):
        feeds = feeds_of(seed)
        out = engine(feeds)
        assert list(out) == ["sum", "less"]
        kept.append((feeds, out))
    for feeds, out in kept:  # each result is the caller's own
        np.testing.assert_array_equal(out["sum"], feeds["x"] + feeds["y"])
        np.testing.assert_array_equal(out["less"], feeds["x"] - feeds["y"])
    running = [c for c in trt.calls if c not in ("build",) and not c.startswith("jit")]
    assert running == ["run", "wait", "record", *["launch", "run", "wait"] * 3]
    engine.close()
    assert trt.device.memory == {}


def test_a_refused_recording_is_said_once_and_runs_plainly(network, trt, caplog):
    trt.refuse_capture = True
    engine = opened(network)
    for seed in range(4):
        feeds = feeds_of(seed)
        np.testing.assert_array_equal(engine(feeds)["sum"], feeds["x"] + feeds["y"])
    assert caplog.text.count("runs without a recorded CUDA graph") == 1
    assert trt.calls.count("record") == 1
    assert "launch" not in trt.calls


def test_open_sizes_run_within_the_profile(growing, trt):
    engine = opened(growing, profile=FRAMES)
    assert engine.inputs[0].shape == (-1, 3)
    for rows in (1, 4, 2, 2, 3):
        x = feeds_of(rows, rows)["x"]
        np.testing.assert_array_equal(engine({"x": x})["twice"], 2 * x)
    with pytest.raises(HmcapError, match=r"built for input 'x' of shape \(1, 3\) to \(4, 3\), found \(5, 3\)"):
        engine({"x": np.zeros((5, 3), np.float32)})
    x = feeds_of(0)["x"]
    np.testing.assert_array_equal(engine({"x": x})["twice"], 2 * x)  # no harm done
    assert "record" not in trt.calls


def test_several_threads_may_share_an_engine(network, trt):
    engine, wrong = opened(network), []

    def work(seed):
        feeds = feeds_of(seed)
        for _ in range(30):
            if not (engine(feeds)["sum"] == feeds["x"] + feeds["y"]).all():
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_what_the_card_compiled_is_kept_for_the_next_start(network, trt):
    opened(network)(feeds_of(0))
    assert "jit compiled for this GPU" not in trt.calls
    opened(network)(feeds_of(0))
    assert "jit compiled for this GPU" in trt.calls
    assert sorted("-jit." in p.name for p, _ in engine_cache.entries()) == [False, True]


def test_an_engine_that_the_library_will_not_load_is_explained(network, trt):
    opened(network)
    trt.complaint = "version tag does not match."
    with pytest.raises(HmcapError, match=r"net\.onnx to load on Test RTX.*version tag does not match\. Check.*delete"):
        opened(network)


def test_wrong_feeds_are_explained(network, trt):
    engine = opened(network)
    with pytest.raises(HmcapError, match=r"expects input 'y' of shape \(2, 3\), found \(1, 3\)"):
        engine(feeds_of(0, 1))


# -- what is not there -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FLAVOURS)
def test_a_missing_package_says_what_to_type(network, name, monkeypatch):
    monkeypatch.setattr(library_module, "present", lambda flavour: False)
    monkeypatch.setattr(tensorrt_module, "present", lambda flavour: False)
    with pytest.raises(HmcapError, match=rf"package {name} is not installed \(to add it: pip install .*offers: .*cpu"):
        open_engine(network, backend=name, device="cuda")


def test_a_package_that_does_not_load_says_why(network, trt, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(HmcapError, match=r"tensorrt_rtx for --engine tensorrt_rtx, but it does not load: import of"):
        opened(network)


def test_no_driver_is_explained_in_its_loaders_words(network, trt, monkeypatch):
    def none():
        raise cuda.CudaError("no NVIDIA driver: libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(cuda, "gpus", none)
    with pytest.raises(
        HmcapError, match=r"GPU cannot be used: no NVIDIA driver: libcuda\.so\.1: cannot open.*nvidia-smi"
    ):
        opened(network)
    with pytest.raises(HmcapError, match=r"runs on GPUs alone \(type --device cuda\)"):
        open_engine(network, backend="tensorrt_rtx")


def test_a_gpu_that_does_not_exist_is_explained(network, trt, monkeypatch):
    def refuse(index):
        raise cuda.CudaError(f"cuDeviceGet: CUDA_ERROR_INVALID_DEVICE: invalid device ordinal {index}")

    monkeypatch.setattr(cuda, "Device", refuse)
    with pytest.raises(HmcapError, match=r"device 'cuda:5'.*the driver says: cuDeviceGet: .*ordinal 5"):
        open_engine(network, backend="tensorrt_rtx", device="cuda:5")


def test_a_card_that_the_library_does_not_know_is_explained(network, trt, monkeypatch):
    device = FakeDevice(trt)
    device.gpu = dataclasses.replace(GPU, compute_capability=(9, 0))
    monkeypatch.setattr(cuda, "Device", lambda index: device)
    with pytest.raises(HmcapError, match=r"found 9\.0\. Use --engine tensorrt or --engine onnxruntime"):
        opened(network)


def test_automatic_choice(trt):
    """The processor's engine is as before; on cuda, TensorRT comes after an ONNX Runtime that has it."""
    assert list(BACKENDS) == ["openvino", "onnxruntime", "tensorrt", "tensorrt_rtx"]
    assert tensorrt_module.devices(RTX) == ("cuda",)
    assert choose_backend("auto", "cpu").name == "openvino"
    with_cuda = "cuda" in available()["onnxruntime"]
    assert choose_backend("auto", "cuda").name == ("onnxruntime" if with_cuda else "tensorrt")


def test_live_motion_has_an_engine_of_its_own(tmp_path, trt):
    path = write_small_graph(tmp_path / "motion.onnx")
    way = open_networks(path, backend="tensorrt_rtx", device="cuda", live=True)
    assert {n: next(s.shape[1] for s in e.inputs if s.name == "xy") for n, e in way.engines.items()} == {
        "motion": -1,
        "motion_live": 1,
    }
    want = MotionNetwork(open_engine(path, backend="onnxruntime"), INFO, INFO.lookaheads[0]).push(seen_at_random(4))
    for engine in way.engines.values():
        got = MotionNetwork(engine, INFO, INFO.lookaheads[0]).push(seen_at_random(4))
        np.testing.assert_allclose(got.R_local, want.R_local, atol=1e-5)
        np.testing.assert_allclose(got.root_cam_m, want.root_cam_m, atol=1e-5)


def test_options_carry_precision_and_profile():
    options = EngineOptions("cuda", precision="f16", profile=FRAMES)
    assert options.profile is not None
    assert options.profile.fixed == {}
    assert engine_cache.profile_text(FRAMES) == "take frames=1..2..4"
    assert engine_cache.profile_text(Profile("pair", {"batch": (2, 2, 2)})) == "pair batch=2"
    assert engine_cache.profile_text(None) == "any"


# -- command line ------------------------------------------------------------------------------------------------------


def test_models_build_fills_the_cache_that_the_run_reads(network, trt, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(engines_ahead, "networks", lambda names: [("net", network, None, None)])
    assert main(["models", "build", "--compute-capability", "8.9,12.0", "--precision", "f32,f16"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in printed[:-1]] == [
        ["net", "any", p, c] for c in ("8.9", "12.0") for p in ("f32", "f16")
    ]
    before = trt.calls.count("build")
    opened(network)  # the card here has 8.9
    assert trt.calls.count("build") == before == 4
    assert main(["models", "build", "--compute-capability", "8.9", "--out", str(tmp_path / "out")]) == 0
    assert "was built before" in capsys.readouterr().out
    assert len(list((tmp_path / "out").glob("*.engine"))) == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--engine", "openvino"], 2, "Only tensorrt and tensorrt_rtx build engines"),
        (["--precision", "f8"], 2, "--precision takes some of f32, f16, bf16"),
        (["face"], 2, "Unknown network 'face': expected some of pose_detection"),
        ([], 2, "Try --compute-capability 8.9"),
        (["--compute-capability", "new"], 2, "takes numbers such as 8.9"),
        (["--compute-capability", "9.0"], 1, "found 9.0"),
        (["--engine", "tensorrt"], 1, "Expected a GPU for --engine tensorrt"),
    ],
)
def test_models_build_explains_what_it_cannot(trt, monkeypatch, capsys, words, code, message):
    def none():
        raise cuda.CudaError("no NVIDIA driver")

    monkeypatch.setattr(cuda, "gpus", none)
    if words == ["face"]:
        words = [*words, "--compute-capability", "8.9"]
    assert main(["models", "build", *words]) == code
    assert message in capsys.readouterr().err


def test_precision_is_checked_before_anything_starts(capsys):
    assert main(["--video", "sample", "--precision", "f8"]) == 2
    assert "--precision takes one of f32, f16, bf16; found 'f8'" in capsys.readouterr().err


def test_doctor_says_what_there_is_of_tensorrt(trt, monkeypatch, network):
    monkeypatch.setattr(doctor, "present", lambda flavour: True)
    state, _, text = doctor._tensorrt("tensorrt_rtx", ("cuda",))
    assert (state, text) == ("ok", "1.2.3, driver for CUDA 13.0; cuda: Test RTX, compute capability 8.9")
    opened(network)
    ((_, name, text),) = doctor._engine_cache()
    assert name == "built engines"
    assert text.startswith("1 (0 MB) in ")

    def none():
        raise cuda.CudaError("no NVIDIA driver")

    monkeypatch.setattr(cuda, "gpus", none)
    state, _, text = doctor._tensorrt("tensorrt_rtx", ())
    assert state == "note"
    assert text.startswith("1.2.3, but the GPU cannot be used: no NVIDIA driver")
    monkeypatch.setattr(doctor, "present", lambda flavour: False)
    assert doctor._tensorrt("tensorrt_rtx", ())[2] == "not installed (pip install 'hmcap[tensorrt]')"


@pytest.mark.network
def test_engines_built_ahead_are_those_that_a_capture_opens(monkeypatch):
    """The same files, sizes and outputs on both sides: else a run would build again what lies there."""
    from hmcap.engines.landmarks import opening, stage
    from hmcap.realtime.motion import open_networks

    asked = set()

    def opened(path, *, profile=None, outputs=None, **_):
        asked.add((path.name, None if profile is None else profile.name, outputs))
        engine = open_engine(path, backend="onnxruntime", outputs=outputs, profile=profile, warm_up=False)
        engine.backend, engine.device = "tensorrt_rtx", "cuda:0"
        return engine

    monkeypatch.setattr(opening, "open_engine", opened)
    monkeypatch.setattr("hmcap.engines.open_engine", opened)
    builds = SimpleNamespace(builds=True)
    monkeypatch.setattr(
        "hmcap.engines.backends.choose_backend",
        lambda name, device: builds if name == "tensorrt_rtx" else choose_backend(name, device),
    )
    stage.LandmarkStage.open(backend="tensorrt_rtx", device="cuda", face=True)
    open_networks(backend="tensorrt_rtx", device="cuda", live=True)
    ahead = {
        (p.name, None if profile is None else profile.name, out) for _, p, profile, out in engines_ahead.networks()
    }
    assert asked == ahead
    assert len(ahead) == 9
