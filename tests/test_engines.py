"""Back ends by contract: names, layout, ownership, devices that do not come up, and nothing reported to anyone."""

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from hmcap.engines import BACKENDS, Engine, available, open_engine
from hmcap.engines import backends as backends_module
from hmcap.engines import openvino as openvino_module
from hmcap.engines import ort as ort_module
from hmcap.models.errors import HmcapError, UsageError
from onnx import TensorProto, helper

ALL = pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])


def _save(path: Path, nodes: list, inputs: dict, outputs: dict) -> Path:
    def entries(shapes: dict) -> list:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]

    graph = helper.make_graph(nodes, "test", entries(inputs), entries(outputs))
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """sum = left + right, and double = 2 left, on (1, 2, 3)."""
    nodes = [helper.make_node("Add", ["left", "right"], ["sum"]), helper.make_node("Add", ["left", "left"], ["double"])]
    shape = (1, 2, 3)
    return _save(tmp_path / "sum.onnx", nodes, {"left": shape, "right": shape}, {"sum": shape, "double": shape})


@ALL
def test_named_arrays_in_and_out(network, backend):
    engine = open_engine(network, backend=backend, threads=1)
    assert isinstance(engine, Engine)
    assert (engine.backend, engine.device) == (backend, "cpu")
    assert [(s.name, s.shape, s.dtype) for s in engine.inputs] == [
        ("left", (1, 2, 3), np.float32),
        ("right", (1, 2, 3), np.float32),
    ]
    left, right = np.arange(6, dtype=np.float32).reshape(1, 2, 3), np.full((1, 2, 3), 0.5, np.float32)
    out = engine({"right": right, "left": left})
    assert list(out) == ["sum", "double"]
    np.testing.assert_array_equal(out["sum"], left + right)
    np.testing.assert_array_equal(out["double"], 2 * left)


@ALL
def test_results_belong_to_the_caller(network, backend):
    engine = open_engine(network, backend=backend, threads=1)
    feed = np.ones((1, 2, 3), np.float32)
    first = engine({"left": feed, "right": feed})
    kept = {name: value.copy() for name, value in first.items()}
    engine({"left": 7 * feed, "right": feed})
    feed[:] = 9
    for name, value in first.items():
        np.testing.assert_array_equal(value, kept[name])
        value[:] = 0  # writeable


@ALL
def test_non_contiguous_and_double_feeds_give_the_same_numbers(network, backend):
    engine = open_engine(network, backend=backend, threads=1)
    wide = np.arange(12, dtype=np.float64).reshape(1, 2, 6)
    out = engine({"left": wide[:, :, ::2], "right": wide[:, ::-1, ::2]})
    np.testing.assert_array_equal(out["sum"], (wide[:, :, ::2] + wide[:, ::-1, ::2]).astype(np.float32))


@ALL
def test_shape_and_name_mistakes_are_explained(network, backend):
    engine = open_engine(network, backend=backend, threads=1)
    good = np.zeros((1, 2, 3), np.float32)
    with pytest.raises(HmcapError, match=r"expects input 'left' of shape \(1, 2, 3\), found \(2, 3\)"):
        engine({"left": good[0], "right": good})
    with pytest.raises(HmcapError, match=r"expects the inputs \['left', 'right'\], found \['left'\]"):
        engine({"left": good})


@ALL
def test_dynamic_sizes_run(tmp_path, backend):
    node = helper.make_node("Add", ["x", "x"], ["y"])
    path = _save(tmp_path / "dynamic.onnx", [node], {"x": ("batch", 3)}, {"y": ("batch", 3)})
    engine = open_engine(path, backend=backend, threads=1)
    assert engine.inputs[0].shape == (-1, 3)
    for batch in (1, 4, 2):
        assert engine({"x": np.ones((batch, 3), np.float32)})["y"].shape == (batch, 3)


@ALL
def test_several_threads_may_share_an_engine(network, backend):
    engine = open_engine(network, backend=backend, threads=1)
    wrong = []

    def work(value: float) -> None:
        feed = np.full((1, 2, 3), value, np.float32)
        for _ in range(50):
            if not (engine({"left": feed, "right": feed})["sum"] == 2 * value).all():
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(float(k),)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_auto_takes_the_first_back_end_that_reports_the_device(network):
    assert open_engine(network, threads=1).backend == next(n for n, devices in available().items() if "cpu" in devices)


def _absent_device() -> str:
    present = {d for devices in available().values() for d in devices}
    return next(d for d in ("cuda", "directml", "coreml", "npu") if d not in present)


@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
def test_absent_device_is_an_error_that_lists_what_there_is(network, backend):
    with pytest.raises(HmcapError, match=r"Expected to run on device .* This machine offers: .*\(cpu.*--device"):
        open_engine(network, backend=backend, device=_absent_device())


def test_provider_that_does_not_come_up_is_no_silent_cpu_run(network, monkeypatch, capsys):
    """The library lists a provider, opens the session on the processor instead and raises nothing."""
    library = ort_module.import_onnxruntime()
    session = library.InferenceSession(str(network), providers=["CPUExecutionProvider"])
    monkeypatch.setattr(library, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(library, "InferenceSession", lambda *_, **__: session)
    monkeypatch.setattr(library, "preload_dlls", lambda: print("Failed to load libcublas"), raising=False)
    with pytest.raises(
        HmcapError,
        match=r"device 'cuda'.*the session came up on CPUExecutionProvider \(Failed to load libcublas\)\. "
        r"This machine offers: .*onnxruntime \(cpu\)\. .*To repair it: check the driver",
    ):
        open_engine(network, backend="onnxruntime", device="cuda")
    assert capsys.readouterr() == ("", "")


def test_openvino_that_runs_elsewhere_is_an_error(network, monkeypatch):
    core = openvino_module._core()

    class Elsewhere:
        available_devices = ("CPU", "GPU")

        def read_model(self, path: str):
            return core.read_model(path)

        def compile_model(self, model, device, config):
            assert device == "GPU"
            return core.compile_model(model, "CPU")

    monkeypatch.setattr(openvino_module, "_core", Elsewhere)
    with pytest.raises(HmcapError, match=r"device 'gpu'.*the network came up on cpu"):
        open_engine(network, backend="openvino", device="gpu")


def test_library_that_is_not_installed_is_an_error(network, monkeypatch):
    def missing():
        raise ImportError("no module")

    monkeypatch.setattr(ort_module, "import_onnxruntime", missing)
    assert available()["onnxruntime"] == ()
    with pytest.raises(HmcapError, match=r"'onnxruntime', but that library is not installed.*offers: openvino \(cpu"):
        open_engine(network, backend="onnxruntime")


@ALL
def test_network_that_fails_to_run_is_found_by_the_warm_up(tmp_path, backend):
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [7, 5])
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 3))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (7, 5))],
        [shape],
    )
    path = tmp_path / "impossible.onnx"
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), path)
    with pytest.raises(HmcapError, match=r"impossible\.onnx"):
        open_engine(path, backend=backend)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda p: open_engine(p, backend="tensorflow"), UsageError, "Unknown engine 'tensorflow'"),
        (lambda p: open_engine(p, threads=0), UsageError, "at least 1 thread, found 0"),
        (lambda p: open_engine(p.with_name("none.onnx")), HmcapError, "there is no such file"),
        (lambda p: open_engine(p.with_suffix(".pt")), HmcapError, r"ends in \.tflite or \.onnx"),
    ],
)
def test_wrong_use_is_explained(network, call: Callable, kind, message):
    with pytest.raises(kind, match=message):
        call(network)


@ALL
@pytest.mark.parametrize("suffix", [".onnx", ".tflite"])
@pytest.mark.parametrize("content", [b"", b"hello", b"\0\0\0\0TFL3\xff\xff\xff\xff" * 9])
def test_damaged_file_is_explained(tmp_path, backend, suffix, content):
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(content)
    with pytest.raises(HmcapError, match=r"damaged\.(onnx|tflite)"):
        open_engine(path, backend=backend)


def test_a_further_back_end_is_one_line(network, monkeypatch):
    """What a TensorRT module would do: a module with BACKEND, and a row in the table."""
    opened = []

    class Other:
        backend, device, inputs, outputs = "other", "fast", (), ()

        def __init__(self, path, options):
            opened.append((path, options.device, options.threads))

        def __call__(self, feeds):
            return {}

    module = type(sys)("hmcap.engines.other")
    module.BACKEND = backends_module.Backend("other", (".onnx",), lambda: ("fast",), Other)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hmcap.engines.other", module)
    monkeypatch.setitem(BACKENDS, "other", ".other")
    assert open_engine(network, device="fast", threads=3).backend == "other"
    assert opened == [(network, "fast", 3)]


def test_libraries_report_nothing(tmp_path, network):
    """Neither library's usage reporting is loaded, and neither leaves a client id in the home folder."""
    home = tmp_path / "home"
    home.mkdir()
    program = textwrap.dedent(
        f"""
        import sys
        from hmcap.engines import open_engine
        for backend in ("openvino", "onnxruntime"):
            open_engine({str(network)!r}, backend=backend, threads=1)
        print(sorted(name for name in sys.modules if "telemetry" in name))
        """
    )
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY" and not k.startswith("XDG_")}
    environment |= {"HOME": str(home), "USERPROFILE": str(home), "LOCALAPPDATA": str(home), "APPDATA": str(home)}
    environment.pop("CI", None)  # the libraries keep still in continuous integration; a user's machine is what counts
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
    assert [str(p.relative_to(home)) for p in home.rglob("*") if "onnx" in p.name or "openvino" in p.name] == []


def test_networks_of_one_thread_each_do_not_share_a_core(network):
    """The library pins threads unless told otherwise, and then every such network to the first core."""
    engine = open_engine(network, backend="openvino", threads=1, streams=2)
    compiled = engine._compiled  # pyright: ignore[reportAttributeAccessIssue]
    assert compiled.get_property("ENABLE_CPU_PINNING") is False
    assert (compiled.get_property("NUM_STREAMS"), compiled.get_property("INFERENCE_NUM_THREADS")) == (2, 2)


@ALL
def test_streams_give_what_one_gives(network, backend):
    engine = open_engine(network, backend=backend, threads=1, streams=2)
    feeds = [
        {s.name: np.full([max(1, n) for n in s.shape], k, s.dtype) for s in engine.inputs} for k in range(8)
    ]  # fmt: skip
    one = [engine(f) for f in feeds]
    with ThreadPoolExecutor(2) as pool:
        for a, b in zip(pool.map(engine, feeds), one, strict=True):
            for name in b:
                np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize("precision", ["f16", "bf16"])
def test_a_precision_is_what_was_asked_for_or_an_error(network, precision):
    """Which of the two depends on the machine; another precision without a word is neither."""
    said, computes = "", ""
    try:
        engine = open_engine(network, backend="openvino", precision=precision)
        computes = engine._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()  # pyright: ignore
    except HmcapError as error:
        said = str(error)
    assert f"{precision} was asked for" in said or computes in (
        precision, {"f16": "float16", "bf16": "bfloat16"}[precision]
    )  # fmt: skip
