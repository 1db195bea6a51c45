"""Half precision in graphs: close numbers, single where it matters, the same inputs and outputs; batches; certify."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from hmcap.engines import Profile, open_engine, registry
from hmcap.engines.convert import network_model, onnx_for, tflite_file_to_onnx
from hmcap.engines.landmarks.geometry import Roi
from hmcap.engines.landmarks.hands import HandTracker
from hmcap.engines.landmarks.networks import HandNetwork, HandPairNetwork
from hmcap.engines.landmarks.opening import DEFAULT_MODELS, PAIR
from hmcap.engines.precision import lowered
from hmcap.models.errors import HmcapError, UsageError
from hmcap.models.networks.config import STEP_RATE_HZ
from hmcap.models.streaming.graph_info import read_graph_info
from hmcap.models.streaming.stream import MotionNetwork
from hmcap.realtime.motion import open_networks, weights_file
from hmcap.tools import certify
from hmcap.tools.fidelity import Track
from motion_graphs import INFO, seen_at_random, write_small_graph
from onnx import TensorProto, helper, numpy_helper


def run(model: onnx.ModelProto, feeds: dict) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def made(nodes, weights, outputs=("y",), shapes=((4, 64),), x=(4, 64)) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, s) for o, s in zip(outputs, shapes, strict=True)],
        [numpy_helper.from_array(v, n) for n, v in weights.items()],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def weights(*shapes, scale=0.1):
    rng = np.random.default_rng(0)
    return {f"w{k}": (rng.normal(size=s) * scale).astype(np.float32) for k, s in enumerate(shapes)}


def types(model) -> dict[str, list[str]]:
    """Operator -> where each of that kind computes."""
    out: dict[str, list[str]] = {}
    for node in model.graph.node:
        if node.op_type != "Cast":
            out.setdefault(node.op_type, []).append("half" if node.output[0].endswith("/half") else "single")
    return out


def kept_in_single(model):
    """Operator types that a lowered graph still computes in single precision."""
    lower = {o for n in model.graph.node if any(o.endswith("/half") for o in n.output) for o in n.output}
    return {n.op_type for n in model.graph.node if n.op_type not in ("Cast", "Constant") and lower.isdisjoint(n.output)}


def test_layers_are_half_and_heads_and_norms_single():
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"]),
        helper.make_node("Add", ["a", "w2"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("ReduceMean", ["c"], ["m"], axes=[1]),
        helper.make_node("Sub", ["c", "m"], ["d"]),
        helper.make_node("MatMul", ["d", "w1"], ["e"]),
        helper.make_node("Sigmoid", ["e"], ["f"]),
        helper.make_node("MatMul", ["f", "w1"], ["g"]),
        helper.make_node("Relu", ["g"], ["y"]),
    ]
    model = made(nodes, weights((64, 64), (64, 64), (64,)))
    before = model.SerializeToString()
    half = lowered(model, "f16")
    assert model.SerializeToString() == before
    onnx.checker.check_model(half, full_check=True)
    assert types(half) == {
        "MatMul": ["half", "half", "single"],  # the last is the head
        "Add": ["half"],
        "Relu": ["half", "single"],
        "ReduceMean": ["single"],
        "Sub": ["single"],
        "Sigmoid": ["single"],
    }
    assert kept_in_single(half) == {"MatMul", "Relu", "ReduceMean", "Sub", "Sigmoid"}
    for part in ("input", "output"):
        assert getattr(half.graph, part) == getattr(model.graph, part)
    x = np.random.default_rng(1).normal(size=(4, 64)).astype(np.float32)
    a, b = run(model, {"x": x})["y"], run(half, {"x": x})["y"]
    assert 0 < np.abs(a - b).max() < 2e-3 * np.abs(a).max()


def test_what_has_no_trained_weights_or_small_ones_stays():
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"]),  # 64 x 32
        helper.make_node("Transpose", ["x"], ["t"]),
        helper.make_node("MatMul", ["t", "x"], ["b"]),
        helper.make_node("MatMul", ["b", "w1"], ["c"]),  # a layer, but its output is used by the head alone: half
        helper.make_node("MatMul", ["c", "w1"], ["y"]),
        helper.make_node("Identity", ["a"], ["z"]),
    ]
    half = lowered(made(nodes, weights((64, 32), (64, 64)), ("y", "z"), ((64, 64), (4, 32))), "f16")
    assert types(half)["MatMul"] == ["single", "single", "half", "single"]


def test_constants_that_do_not_fit_stay():
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"]),
        helper.make_node("Mul", ["a", "big"], ["b"]),
        helper.make_node("MatMul", ["b", "w0"], ["y"]),
    ]
    model = made(nodes, weights((64, 64)) | {"big": np.array(1e5, np.float32)})
    assert types(lowered(model, "f16"))["Mul"] == ["single"]
    assert types(lowered(model, "bf16"))["Mul"] == ["half"]


def test_brain_floats_are_rounded_to_nearest():
    model = made([helper.make_node("MatMul", ["x", "w0"], ["a"]), helper.make_node("MatMul", ["a", "w0"], ["y"])],
                 weights((64, 64)))  # fmt: skip
    (tensor,) = [t for t in lowered(model, "bf16").graph.initializer if t.data_type == TensorProto.BFLOAT16]
    value = numpy_helper.to_array(tensor).astype(np.float32)
    np.testing.assert_allclose(value, weights((64, 64))["w0"], rtol=2**-8)
    assert np.abs(value / weights((64, 64))["w0"] - 1).mean() < 2**-9


def test_nested_graphs_read_what_they_did():
    inner = helper.make_graph(
        [helper.make_node("Relu", ["a"], ["r"])],
        "then",
        [],
        [helper.make_tensor_value_info("r", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"]),
        helper.make_node("If", ["yes"], ["i"], then_branch=inner, else_branch=inner),
        helper.make_node("MatMul", ["i", "w0"], ["y"]),
    ]
    model = made(nodes, weights((64, 64)) | {"yes": np.array(True)})
    x = np.ones((4, 64), np.float32)
    half = lowered(model, "f16")
    assert types(half)["MatMul"] == ["half", "single"]
    np.testing.assert_allclose(run(half, {"x": x})["y"], run(model, {"x": x})["y"], atol=5e-3)


def test_double_precision_can_be_narrowed():
    nodes = [
        helper.make_node("Cast", ["x"], ["d"], to=TensorProto.DOUBLE),
        helper.make_node("Mul", ["d", "third"], ["e"]),
        helper.make_node("Cast", ["e"], ["y"], to=TensorProto.FLOAT),
    ]
    model = made(nodes, {"third": np.array(1 / 3)})
    narrow = lowered(model, "f32", doubles=False)
    assert not any(t.data_type == TensorProto.DOUBLE for t in narrow.graph.initializer)
    assert TensorProto.DOUBLE not in [a.i for n in narrow.graph.node for a in n.attribute]
    x = np.ones((4, 64), np.float32)
    np.testing.assert_allclose(run(narrow, {"x": x})["y"], run(model, {"x": x})["y"], rtol=1e-6)


def test_the_motion_graph_keeps_its_geometry_in_single():
    path = weights_file()
    model = network_model(path)
    half = lowered(model, "f16", doubles=False)
    assert not {"LayerNormalization", "ReduceSum", "Div", "Exp", "Log", "Sqrt"} & {
        n.op_type for n in half.graph.node if n.output[0].endswith("/half")
    }
    products = [n for n in half.graph.node if n.op_type == "MatMul"]
    lower = [n for n in products if n.output[0].endswith("/half")]
    assert 10 < len(lower) < len(products) / 2
    constants = {t.name for t in half.graph.initializer}
    assert all(n.input[1] in constants for n in lower)  # never two computed ones: those are the normal equations
    assert read_graph_info(path).rate_hz == STEP_RATE_HZ
    assert half.metadata_props == model.metadata_props


def test_half_precision_on_onnx_runtime_is_the_converted_graph(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w0"], ["a"]), helper.make_node("MatMul", ["a", "w0"], ["y"])]
    path = tmp_path / "two.onnx"
    model = made(nodes, weights((64, 64)))
    onnx.save(model, path)
    x = np.random.default_rng(2).normal(size=(4, 64)).astype(np.float32)
    engine = open_engine(path, backend="onnxruntime", precision="f16")
    np.testing.assert_array_equal(engine({"x": x})["y"], run(lowered(model, "f16"), {"x": x})["y"])
    with pytest.raises(HmcapError, match=r"computes in f32 or f16 there, and bf16 was asked for"):
        open_engine(path, backend="onnxruntime", precision="bf16")


# -- two images at once ------------------------------------------------------------------------------------------------


@pytest.mark.network
@pytest.mark.parametrize("name", [*DEFAULT_MODELS.values(), "palm_detection_full"])
def test_two_images_at_once_are_two_images(name):
    path = registry.resolve(name)
    one, two = (onnx.load_model_from_string(tflite_file_to_onnx(path, batch)) for batch in (1, 2))
    (spec,) = two.graph.input
    shape = [d.dim_value for d in spec.type.tensor_type.shape.dim]
    assert shape[0] == 2
    x = np.random.default_rng(0).random(shape, np.float32)
    both, single = run(two, {spec.name: x}), [run(one, {spec.name: x[k : k + 1]}) for k in (0, 1)]
    for output, value in both.items():
        np.testing.assert_allclose(value, np.concatenate([s[output] for s in single]), rtol=1e-4, atol=1e-4)


@pytest.mark.network
def test_the_cache_of_conversions_tells_batches_apart(tmp_path, monkeypatch):
    path = registry.resolve("hand_recrop")
    monkeypatch.setenv("HMCAP_MODELS", str(tmp_path))
    for batch in (2, 1, 2, 1):
        stored = onnx_for(path, batch)
        assert isinstance(stored, str)
        assert onnx.load(stored).graph.input[0].type.tensor_type.shape.dim[0].dim_value == batch
    assert len(list((tmp_path / "converted").iterdir())) == 2


@pytest.mark.network
def test_both_hands_in_one_call_are_what_they_are_one_by_one():
    path = registry.resolve("hand_landmark_full")
    one = HandNetwork(open_engine(path, backend="onnxruntime", threads=1))
    pair = HandPairNetwork(open_engine(path, backend="onnxruntime", threads=1, profile=PAIR))
    image = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    rois = [Roi(100, 120, 90, 0.3), Roi(280, 170, 70, -1.0)]
    for got, roi in zip(pair(image, rois), rois, strict=True):
        want = one(image, roi)
        np.testing.assert_allclose(got.xy_px, want.xy_px, atol=1e-2)
        np.testing.assert_allclose(got.xyz_m, want.xyz_m, atol=1e-4)
        assert got.presence == pytest.approx(want.presence, abs=1e-4)
        assert (got.right_score, got.roi) == (pytest.approx(want.right_score, abs=1e-4), roi)


def test_a_pair_runs_only_where_both_hands_are_looked_at():
    asked = []

    def pair(image, rois):
        asked.append(len(rois))
        return [None, None]

    tracker = HandTracker(None, lambda image, roi: asked.append("one"), pair)  # pyright: ignore[reportArgumentType]
    roi = Roi(1, 1, 1, 0)
    for regions in ([roi, roi], [roi, None], [None, None], [None, roi]):
        tracker.landmarks(np.zeros((2, 2, 3), np.uint8), SimpleNamespace(hands=(None, None)), regions)  # pyright: ignore
    assert asked == [2, "one", "one"]


def test_frames_one_at_a_time_where_the_engine_takes_no_more(tmp_path):
    path = write_small_graph(tmp_path / "motion.onnx")
    live = Profile("live", {"frames": (1, 1, 1)})
    engines = [open_engine(path, backend="onnxruntime", profile=profile) for profile in (None, live)]
    assert [next(s.shape[1] for s in e.inputs if s.name == "xy") for e in engines] == [-1, 1]
    observed = seen_at_random(9)
    whole, apart = (MotionNetwork(e, INFO, INFO.lookaheads[0]).push(observed) for e in engines)
    np.testing.assert_allclose(apart.R_local, whole.R_local, atol=1e-5)
    np.testing.assert_allclose(apart.root_cam_m, whole.root_cam_m, atol=1e-5)


def test_one_engine_serves_files_and_live_where_sizes_need_not_be_known(tmp_path):
    path = write_small_graph(tmp_path / "motion.onnx")
    assert list(open_networks(path, live=True).engines) == ["motion"]


def test_weights_that_are_listed_among_the_inputs_stay_weights():
    """As older exporters write them."""
    weight = onnx.numpy_helper.from_array(np.full((4, 4), 0.5, np.float32), "w")
    value, float32 = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["h"]), onnx.helper.make_node("Relu", ["h"], ["y"])], "old",
        [value("x", float32, [1, 4]), value("w", float32, [4, 4])], [value("y", float32, [1, 4])], [weight],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    for precision in ("f32", "f16"):
        low = lowered(model, precision, doubles=False)
        session = onnxruntime.InferenceSession(low.SerializeToString(), providers=["CPUExecutionProvider"])
        assert [i.name for i in session.get_inputs()] == ["x"]
        np.testing.assert_allclose(session.run(None, {"x": np.ones((1, 4), np.float32)})[0], 2.0)


# -- certify -----------------------------------------------------------------------------------------------------------


def made_run(noise_px=0.0, shake_m=0.0, frames=60) -> certify.Run:
    rng = np.random.default_rng(0)
    t = np.arange(frames)[:, None, None] / 30
    base = np.random.default_rng(1).random((1, 33, 2)) * (200, 800) + (50 * np.sin(2 * t), 0 * t)[0]
    joints = np.random.default_rng(2).random((1, 22, 3)) + 0.2 * np.sin(3 * t)
    pose = base + rng.normal(size=base.shape) * noise_px
    hands = np.broadcast_to(pose[:, None, :21], (frames, 2, 21, 2)).copy()
    none = np.full((frames, 1), np.nan)
    track = Track(pose, none, hands, none)
    joints = joints + rng.normal(size=joints.shape) * shake_m
    return certify.Run(track, np.ones(frames, bool), joints, 30.0, "made")


def test_equal_runs_are_certified_and_different_ones_are_not():
    same = certify.compare(made_run(), made_run())
    assert certify.exceeded(same) == []
    assert (same["body_max_px"], same["accel_ratio"]) == (0, 1)
    assert certify.exceeded(certify.compare(made_run(noise_px=9), made_run())) == ["body_median", "hand_median"]
    assert certify.exceeded(certify.compare(made_run(shake_m=0.01), made_run())) == [
        "pa_median", "accel_ratio", "jitter_ratio",
    ]  # fmt: skip


def test_a_moment_in_which_one_took_something_else_for_the_person_is_counted_apart():
    jumped = made_run()
    jumped.track.pose_px[30] += 500
    jumped.joints_m[28:33] += np.random.default_rng(3).normal(size=(5, 22, 3))
    measures = certify.compare(jumped, made_run())
    assert measures["events"] == pytest.approx(100 / 60)
    assert measures["jitter_ratio"] == pytest.approx(1)
    assert certify.exceeded(measures) == []
    jumped.track.pose_px[31] += 500
    assert certify.exceeded(certify.compare(jumped, made_run())) == ["events"]


def test_what_is_not_seen_is_not_certified():
    empty = made_run()
    empty.track.pose_px[:] = np.nan
    empty.joints_m[:] = np.nan
    assert "pa_median" in certify.exceeded(certify.compare(empty, empty))


def test_settings_are_read():
    assert certify.parse_setting("tensorrt_rtx:f16@cuda:1") == certify.Setting("tensorrt_rtx", "f16", "cuda:1")
    assert str(certify.parse_setting("openvino")) == "openvino:f32"
    for text in ("torch:f32", "openvino:f8"):
        with pytest.raises(UsageError, match=r"A setting is ENGINE:PRECISION"):
            certify.parse_setting(text)
    assert certify.main([str(Path("none.mp4")), "--against", "torch"]) == 2
