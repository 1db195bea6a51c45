"""The TensorFlow Lite converter against the reference interpreter: networks on footage, operators, bad files."""

import contextlib
from collections.abc import Sequence
from typing import Any

import av
import cv2
import numpy as np
import onnx
import pytest
from hmcap.engines import open_engine, registry
from hmcap.engines.tflite_onnx import OPERATORS, tflite_to_onnx
from hmcap.engines.tflite_reader import constant, read_tflite
from hmcap.models.errors import HmcapError
from hmcap.tools.fuzz.tflite_files import F16, F32, I8, I32, RNG, T, build, const, conv, weights
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# --- whole networks on real frames -----------------------------------------------------------------------------------

CROPS = {
    "image": (200, 1280, 0, 1080),
    "person": (250, 1150, 150, 1050),
    "hand": (520, 700, 540, 720),
    "head": (330, 470, 520, 660),
}
"""Rows and columns of a 1920 x 1080 frame of the sample clip that each kind of network gets."""
NETWORKS = {
    "pose_detection": ("image", -1.0),
    "pose_landmark_full": ("person", 0.0),
    "palm_detection_full": ("person", 0.0),
    "hand_recrop": ("hand", 0.0),
    "hand_landmark_full": ("hand", 0.0),
    "face_landmark": ("head", 0.0),
}
"""Network -> its crop, and the number that black is mapped to (white is 1)."""
TOLERANCE = {("pose_landmark_full", "Identity_2"): 2e-3}
"""Largest error as a part of the output's range where it is not 1e-4: the segmentation map, logits after four
up-samplings that nothing here reads."""


@pytest.fixture(scope="session")
def frames() -> list[np.ndarray]:
    with av.open(str(registry.resolve("sample"))) as clip:
        decoded = [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]
    assert decoded[0].shape == (1920, 1080, 3)
    return [decoded[k] for k in (0, 50, 99)]


def _prepare(frame: np.ndarray, crop: str, low: float, size: int) -> np.ndarray:
    top, bottom, left, right = CROPS[crop]
    image = cv2.resize(frame[top:bottom, left:right], (size, size), interpolation=cv2.INTER_AREA)
    return (image.astype(np.float32) / 255 * (1 - low) + low)[None]


def _reference(data: bytes, feeds: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(model_content=data, num_threads=2)
    interpreter.allocate_tensors()
    for detail, feed in zip(interpreter.get_input_details(), feeds, strict=True):
        interpreter.set_tensor(detail["index"], feed)
    interpreter.invoke()
    return {detail["name"]: interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()}


@pytest.mark.network
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("backend", "suffix"), [("onnxruntime", ".onnx"), ("openvino", ".onnx"), ("openvino", ".tflite")]
)
def test_network_equals_reference_on_footage(name, backend, suffix, frames, tmp_path, record_property):
    source = registry.resolve(name)
    path = source if suffix == ".tflite" else registry.convert(name, tmp_path / f"{name}.onnx")
    engine = open_engine(path, backend=backend, threads=2)
    (entry,) = engine.inputs
    assert entry.shape[0] == 1
    assert entry.shape[3] == 3  # NHWC at the boundary, as in the file
    for frame in frames:
        feed = _prepare(frame, *NETWORKS[name], entry.shape[1])
        expected = _reference(source.read_bytes(), [feed])
        found = engine({entry.name: feed})
        assert {n: v.shape for n, v in found.items()} == {n: v.shape for n, v in expected.items()}
        for output, value in expected.items():
            scale = np.ptp(value) if value.size > 1 else 1.0
            error = float(np.abs(found[output] - value).max() / scale)
            record_property(f"{name}/{output}", error)
            assert error <= TOLERANCE.get((name, output), 1e-4), f"{output}: {error:.1e} of its range {scale:.3g}"


@pytest.mark.network
def test_sparse_weights_expand_to_what_the_reference_expands():
    data = registry.resolve("pose_detection").read_bytes()
    network = read_tflite(data, "pose_detection")
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = litert.Interpreter(
        model_content=data,
        experimental_preserve_all_tensors=True,
        # The default delegate expands the weights in its own memory, where they cannot be read back.
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    interpreter.invoke()
    densified = [op for op in network.operators if op.code == 124]
    assert len(densified) == 38
    for op in densified:
        np.testing.assert_array_equal(
            constant(network.tensors[op.inputs[0]]), interpreter.get_tensor(op.outputs[0]).astype(np.float32)
        )


# --- single operators ------------------------------------------------------------------------------------------------


def depthwise(padding: int, stride: int, multiplier: int, activation: int):
    fields = {0: ("i8", padding), 1: ("i32", stride), 2: ("i32", stride), 3: ("i32", multiplier)}
    return 2, fields | {4: ("i8", activation), 5: ("i32", 1), 6: ("i32", 1)}


def pool(padding: int, stride: int, size: tuple[int, int]):
    fields = {0: ("i8", padding), 1: ("i32", stride), 2: ("i32", stride)}
    return 5, fields | {3: ("i32", size[1]), 4: ("i32", size[0]), 5: ("i8", 0)}


def stride_masks(begin: int = 0, end: int = 0, shrink: int = 0):
    return 32, {0: ("i32", begin), 1: ("i32", end), 4: ("i32", shrink)}


X = T((1, 7, 9, 4))
SAME = T((1, 7, 9, 4))
NONE = (0, {})
BLOCKS = {"order": (0, 1, 2, 3), "blocks": (0, 1), "dims": (2, ((0, 2, 3), (0, 2, 1)), 2, 2)}
"""A 4 x 6 matrix of 2 x 2 blocks, of which three are stored."""
OUTSIDE = BLOCKS | {"dims": (2, ((0, 2, 3), (0, 3, 1)), 2, 2)}
"""The same with one block beyond the right edge."""

CASES: dict[str, tuple[int, Any, list[T | None], T]] = {
    "add broadcast relu": (0, (11, {0: ("i8", 1)}), [X, weights(4)], SAME),
    "add two inputs relu6": (0, (11, {0: ("i8", 3)}), [X, T((1, 1, 1, 4))], SAME),
    "add rank 2": (0, (11, {}), [T((3, 4)), weights(1, 4)], T((3, 4))),
    "sub": (41, (28, {0: ("i8", 2)}), [weights(1, 7, 9, 4), X], SAME),
    "mul": (18, (21, {}), [X, weights(1, 1, 1, 4)], SAME),
    "div": (42, (29, {}), [X, const(RNG.uniform(1, 2, (4,)))], SAME),
    "maximum": (55, (39, {}), [X, weights(4)], SAME),
    "minimum": (57, (39, {}), [X, weights(4)], SAME),
    "average pool same": (1, pool(0, 2, (3, 2)), [X], T((1, 4, 5, 4))),
    "average pool valid": (1, pool(1, 1, (7, 9)), [X], T((1, 1, 1, 4))),
    "max pool same": (17, pool(0, 2, (3, 3)), [X], T((1, 4, 5, 4))),
    "concatenation": (2, (10, {0: ("i32", -1)}), [X, weights(1, 7, 9, 2)], T((1, 7, 9, 6))),
    "concatenation rows": (2, (10, {0: ("i32", 1)}), [X, T((1, 2, 9, 4))], T((1, 9, 9, 4))),
    "conv same stride 2": (3, conv(stride=(2, 2), activation=1), [X, weights(6, 3, 3, 4), weights(6)], T((1, 4, 5, 6))),
    "conv valid dilated": (3, conv(1, dilation=(2, 1)), [X, weights(5, 3, 3, 4), weights(5)], T((1, 3, 7, 5))),
    "conv even kernel": (3, conv(stride=(1, 2)), [X, weights(5, 2, 4, 4), weights(5)], T((1, 7, 5, 5))),
    "depthwise": (4, depthwise(0, 2, 1, 3), [X, weights(1, 5, 5, 4), weights(4)], T((1, 4, 5, 4))),
    "depthwise multiplier": (4, depthwise(1, 1, 3, 0), [X, weights(1, 3, 3, 12), weights(12)], T((1, 5, 7, 12))),
    "depth to space": (5, (94, {0: ("i32", 2)}), [X], T((1, 14, 18, 1))),
    "space to depth": (26, (19, {0: ("i32", 2)}), [T((1, 6, 8, 3))], T((1, 3, 4, 12))),
    "dequantize": (6, NONE, [const(RNG.normal(size=(3, 4)), F16)], T((3, 4))),
    "densify blocks": (
        124, (99, {}), [T((4, 6), RNG.normal(size=12).astype(np.float32), F32, BLOCKS)], T((4, 6)),
    ),
    "fully connected": (9, (8, {0: ("i8", 1)}), [T((2, 3, 4)), weights(5, 12), weights(5)], T((2, 5))),
    "fully connected keep dims": (9, (8, {2: ("bool", True)}), [T((2, 3, 4)), weights(5, 4), None], T((2, 3, 5))),
    "logistic": (14, NONE, [X], SAME),
    "tanh": (28, NONE, [X], SAME),
    "relu": (19, NONE, [X], SAME),
    "relu n1 to 1": (20, NONE, [X], SAME),
    "relu6": (21, NONE, [X], SAME),
    "reshape": (22, (17, {}), [X, const([1, 63, 4], I32)], T((1, 63, 4))),
    "squeeze": (43, (30, {}), [T((1, 5, 1, 3))], T((5, 3))),
    "expand dims": (70, (52, {}), [T((5, 3)), const([0], I32)], T((1, 5, 3))),
    "resize bilinear": (23, (15, {}), [X, const([14, 18], I32)], T((1, 14, 18, 4))),
    "resize bilinear half": (23, (15, {3: ("bool", True)}), [X, const([13, 20], I32)], T((1, 13, 20, 4))),
    "resize bilinear corners": (23, (15, {2: ("bool", True)}), [X, const([13, 20], I32)], T((1, 13, 20, 4))),
    "resize nearest": (97, (74, {}), [X, const([14, 20], I32)], T((1, 14, 20, 4))),
    "resize nearest half": (97, (74, {1: ("bool", True)}), [X, const([14, 20], I32)], T((1, 14, 20, 4))),
    "softmax": (25, (9, {0: ("f32", 2.0)}), [T((3, 4))], T((3, 4))),
    "pad": (34, (22, {}), [X, const([[0, 0], [1, 2], [0, 3], [2, 0]], I32)], T((1, 10, 12, 6))),
    "pad rank 2": (34, (22, {}), [T((3, 4)), const([[1, 0], [0, 2]], I32)], T((4, 6))),
    "pad value": (60, (43, {}), [T((3, 4)), const([[1, 0], [0, 2]], I32), const(0.5)], T((4, 6))),
    "transpose": (39, (26, {}), [X, const([0, 2, 1, 3], I32)], T((1, 9, 7, 4))),
    "mean over image": (40, (27, {}), [X, const([1, 2], I32)], T((1, 4))),
    "mean kept": (40, (27, {0: ("bool", True)}), [X, const([1, 2], I32)], T((1, 1, 1, 4))),
    "mean last": (40, (27, {}), [X, const([-1], I32)], T((1, 7, 9))),
    "strided slice": (
        45, stride_masks(), [X, const([0, 1, 0, 1], I32), const([1, 6, 9, 4], I32), const([1, 2, 3, 1], I32)],
        T((1, 3, 3, 3)),
    ),
    "strided slice masks": (
        45, stride_masks(0b0010, 0b0100), [X, const([0, 3, 2, 0], I32), const([1, 4, 1, 4], I32), const([1] * 4, I32)],
        T((1, 4, 7, 4)),
    ),
    "strided slice index": (
        45, stride_masks(0b0001, 0b0001, 0b1000),
        [X, const([0, 0, 0, -2], I32), const([1, 7, 9, 3], I32), const([1] * 4, I32)], T((1, 7, 9)),
    ),
    "exp": (47, NONE, [X], SAME),
    "neg": (59, NONE, [X], SAME),
    "abs": (101, NONE, [X], SAME),
    "sum": (74, (27, {}), [X, const([1, 2], I32)], T((1, 4))),
    "sum kept": (74, (27, {0: ("bool", True)}), [T((2, 5, 3)), const([-1], I32)], T((2, 5, 1))),
    "rsqrt": (76, NONE, [const(RNG.uniform(0.1, 4, (5,)))], T((5,))),
    "squared difference": (99, (76, {}), [X, weights(4)], SAME),
    "squared difference of two inputs": (99, (76, {}), [T((3, 4)), T((3, 1))], T((3, 4))),
    "sqrt": (75, NONE, [const(RNG.uniform(0, 4, (5,)))], T((5,))),
    "hard swish": (117, NONE, [X], SAME),
    "leaky relu": (98, (75, {0: ("f32", 0.3)}), [X], SAME),
    "prelu": (54, NONE, [X, weights(1, 1, 4)], SAME),
    "transpose conv": (
        67, (49, {0: ("i8", 0), 1: ("i32", 2), 2: ("i32", 2)}), [const([1, 14, 18, 3], I32), weights(3, 3, 3, 4), X],
        T((1, 14, 18, 3)),
    ),
}  # fmt: skip


def _run_onnx(data: bytes, feeds: Sequence[np.ndarray]) -> np.ndarray:
    from hmcap.engines.ort import import_onnxruntime

    model = tflite_to_onnx(data, "case")
    onnx.checker.check_model(model, full_check=True)
    session = import_onnxruntime().InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {entry.name: feed for entry, feed in zip(session.get_inputs(), feeds, strict=True)})[0]


@pytest.mark.parametrize("case", CASES)
def test_operator_equals_reference(case):
    op, options, inputs, output = CASES[case]
    data = build(op, options, inputs, output)
    shapes = [t.shape for t in inputs if t is not None and t.data is None]
    feeds = [RNG.normal(size=shape).astype(np.float32) * 3 for shape in shapes] or [np.zeros(output.shape, np.float32)]
    (expected,) = _reference(data, feeds).values()
    found = _run_onnx(data, feeds)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5)


def test_every_operator_is_proved():
    proved = {case[0] for case in CASES.values()}
    assert set(OPERATORS) == proved


# --- what cannot be converted ----------------------------------------------------------------------------------------


def test_unknown_operator_is_named():
    with pytest.raises(HmcapError, match=r"operator number 111 .*known: .*CONV_2D.*--engine openvino"):
        tflite_to_onnx(build(111, NONE, [X], SAME), "elu.tflite")


def test_custom_operator_is_named():
    with pytest.raises(HmcapError, match="custom operator 'Convolution2DTransposeBias'"):
        tflite_to_onnx(build(32, NONE, [X], SAME, custom="Convolution2DTransposeBias"), "custom.tflite")


def test_quantised_network_is_refused():
    with pytest.raises(HmcapError, match=r"floating-point network, but q\.tflite holds tensors of type int8"):
        tflite_to_onnx(build(0, (11, {}), [T((2, 2), code=I8), T((2, 2), code=I8)], T((2, 2), code=I8)), "q.tflite")


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ((22, (17, {}), [X, const([2, 63, 4], I32)], T((2, 63, 4))), "a reshape from"),
        ((0, (11, {}), [X, weights(5)], SAME), "InferenceError|ShapeInference"),
        ((3, conv(stride=(0, 1)), [X, weights(6, 3, 3, 4), weights(6)], SAME), "a window with stride"),
        ((3, conv(), [X, T((6, 3, 3, 4)), weights(6)], T((1, 7, 9, 6))), "convolution weights that are not constant"),
        ((34, (22, {}), [X, const([[0, 0]], I32)], SAME), "paddings of shape"),
        ((2, (10, {0: ("i32", 7)}), [X, X], SAME), "a concatenation along axis 7"),
        ((124, (99, {}), [T((4, 6), np.zeros(11, np.float32), F32, BLOCKS)], T((4, 6))), "sparse tensor with more"),
        (
            (124, (99, {}), [T((4, 6), np.zeros(8, np.float32), F32, BLOCKS | {"dims": (2, ((0, 2), (0, 2)), 2, 2)})],
             T((4, 6))), "too few segments",
        ),
        (
            (124, (99, {}), [T((4, 6), np.zeros(12, np.float32), F32, OUTSIDE)], T((4, 6))),
            "coordinate outside its shape",
        ),
        (
            (124, (99, {}), [T((4, 6), np.zeros(12, np.float32), F32, BLOCKS | {"order": (0, 1, 2, 2)})],
             T((4, 6))), "levels do not match",
        ),
        ((0, (11, {}), [X, T((2, 2), np.zeros(3, np.float32))], SAME), "12 bytes for a tensor of shape"),
        ((0, (11, {}), [T((1 << 20, 1 << 20)), weights(1)], T((1 << 20, 1 << 20))), "a tensor of shape"),
    ],
)  # fmt: skip
def test_inconsistent_network_is_refused(case, message):
    with pytest.raises(HmcapError, match=message):
        tflite_to_onnx(build(*case), "bad.tflite")


@pytest.mark.parametrize(
    "data", [b"", b"TFL3", b"\0" * 64, b"PK\3\4TFL3" + b"\0" * 64, b"\xff\xff\xff\xffTFL3" + b"\0" * 64]
)
def test_file_that_is_no_network_is_refused(data):
    with pytest.raises(HmcapError, match=r"Expected a (whole )?TensorFlow Lite network"):
        tflite_to_onnx(data, "text.tflite")


BASE = build(3, conv(stride=(2, 2), activation=1), [X, weights(2, 3, 3, 4), weights(2)], T((1, 4, 5, 2)))
SPARSE = build(*CASES["densify blocks"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    base=st.sampled_from([BASE, SPARSE]),
    cut=st.none() | st.integers(0, len(BASE)),
    edits=st.lists(st.tuples(st.integers(0, len(BASE) - 1), st.integers(0, 255)), max_size=6),
)
def test_damaged_bytes_end_in_one_error_or_a_valid_model(base, cut, edits):
    data = bytearray(base[:cut])
    for position, value in edits:
        if position < len(data):
            data[position] = value
    with contextlib.suppress(HmcapError):  # every other exception fails the test
        onnx.checker.check_model(tflite_to_onnx(bytes(data), "damaged.tflite"))


def test_every_truncation_is_refused():
    for length in range(0, len(BASE), 7):
        with contextlib.suppress(HmcapError):
            onnx.checker.check_model(tflite_to_onnx(BASE[:length], "cut.tflite"))
    with pytest.raises(HmcapError):
        tflite_to_onnx(BASE[: len(BASE) // 2], "cut.tflite")
