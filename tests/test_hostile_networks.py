"""Networks from outside: what may not be run is refused before any inference library sees it."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hmcap.engines import backends, network_checks, open_engine, registry
from hmcap.engines.network_checks import check_network
from hmcap.models.errors import HmcapError
from hmcap.models.streaming.graph_info import read_graph_info
from onnx import TensorProto, helper, numpy_helper
from test_tflite_onnx import NONE, SAME, X, build

ONES = numpy_helper.from_array(np.ones(4, np.float32), "w")


def model(nodes=(), *, shape=(1, 4), init=(ONES,), opsets=(("", 17),), inside=None, inputs=()) -> onnx.ModelProto:
    """A network x -> y, which is sound unless something is given."""
    nodes = list(nodes) or [helper.make_node("Mul", ["x", "w"], ["y"])]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape), *inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", "columns"])], list(init),
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid(*o) for o in opsets], ir_version=9)
    if inside is not None:
        inside(made)
    return made


def sized(*shape: int) -> list[onnx.TensorProto]:
    return [ONES, numpy_helper.from_array(np.array(shape, np.int64), "s")]


def nested(depth: int) -> onnx.NodeProto:
    """If inside If, ``depth`` times."""

    def branch(node: onnx.NodeProto) -> onnx.GraphProto:
        return helper.make_graph([node], "inner", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])

    plain = helper.make_node("Identity", ["w"], ["y"])
    inner = nested(depth - 1) if depth else plain
    return helper.make_node("If", ["c"], ["y"], then_branch=branch(inner), else_branch=branch(plain))


CONDITION = numpy_helper.from_array(np.array(True), "c")


def loop() -> onnx.NodeProto:
    """A loop without end."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"])], "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []),
         helper.make_tensor_value_info("go", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, [])],
    )  # fmt: skip
    return helper.make_node("Loop", ["", "c"], [], body=body)


def outside(made: onnx.ModelProto, place: str = "../../../etc/passwd") -> None:
    """Weights that lie in a file of the machine."""
    tensor = made.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, place)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL


def shorter(made: onnx.ModelProto) -> None:
    made.graph.initializer[0].raw_data = b"\0" * 8


def huge_constant(made: onnx.ModelProto) -> None:
    del made.graph.initializer[0].dims[:]
    made.graph.initializer[0].dims.extend([1 << 40, 1 << 20])


def sparse(made: onnx.ModelProto) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "w")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "w_i")
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [1 << 40]))
    del made.graph.initializer[:]


def function(made: onnx.ModelProto) -> None:
    made.functions.append(
        helper.make_function(
            "own", "F", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])], [helper.make_opsetid("", 17)]
        )
    )


node = helper.make_node
VALUE = "a value of shape"
HOSTILE = {
    "operator of another library": ("the domain 'com.microsoft'", lambda: model(
        [node("Inverse", ["x"], ["y"], domain="com.microsoft")], opsets=(("", 17), ("com.microsoft", 1))
    )),
    "domain of another library": ("the domain 'evil.example'", lambda: model(opsets=(("", 17), ("evil.example", 1)))),
    "operator of no table": ("the operator 'System'", lambda: model([node("System", ["x"], ["y"])])),
    "loop": ("the operator 'Loop'", lambda: model([loop(), node("Mul", ["x", "w"], ["y"])], init=(ONES, CONDITION))),
    "picture decoder": (
        "the operator 'ImageDecoder'", lambda: model([node("ImageDecoder", ["x"], ["y"])], opsets=(("", 20),))
    ),
    "weights elsewhere": ("other files", lambda: model(inside=outside)),
    "constant without its elements": ("without as many elements", lambda: model(inside=shorter)),
    "constant of absurd size": ("without as many elements", lambda: model(inside=huge_constant)),
    "sparse bomb": ("sparse constants", lambda: model(inside=sparse)),
    "function": ("functions of its own", lambda: model(inside=function)),
    "absurd input": ("inputs of", lambda: model(shape=(1, 3, 1 << 20, 1 << 20))),
    "size below zero": ("below 0", lambda: model(shape=(1, -5))),
    "fill bomb": (VALUE, lambda: model([node("ConstantOfShape", ["s"], ["y"])], init=sized(1 << 20, 1 << 20))),
    "tile bomb": (VALUE, lambda: model([node("Tile", ["x", "s"], ["y"])], init=sized(1 << 16, 1 << 16))),
    "expand bomb": (VALUE, lambda: model([node("Expand", ["w", "s"], ["y"])], init=sized(1 << 30, 4))),
    "computed bomb": (VALUE, lambda: model(
        [node("Concat", ["s", "s"], ["t"], axis=0), node("ConstantOfShape", ["t"], ["y"])],
        init=sized(1 << 15),
    )),
    "deep graphs": ("inside each other", lambda: model([nested(20)], init=(ONES, CONDITION))),
    "many operators": ("more than 50000", lambda: model([
        node("Neg", [f"v{i}" if i else "x"], [f"v{i + 1}" if i < network_checks.MAX_NODES else "y"])
        for i in range(network_checks.MAX_NODES + 1)
    ])),
    "training part": ("a training part", lambda: model(inside=lambda made: made.training_info.add())),
}  # fmt: skip


@pytest.fixture
def no_engine(monkeypatch):
    """Fails the test where an inference library is asked."""

    def reached(*_: object) -> None:
        raise AssertionError("an inference library was asked to load a hostile file")

    monkeypatch.setattr(backends, "choose_backend", reached)


def test_a_sound_network_passes(tmp_path):
    path = tmp_path / "sound.onnx"
    path.write_bytes(model().SerializeToString())
    check_network(path)
    for backend in ("onnxruntime", "openvino"):
        (y,) = open_engine(path, backend=backend)({"x": np.full((1, 4), 3, np.float32)}).values()
        assert y.tolist() == [[3, 3, 3, 3]]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_network_reaches_no_engine_by_any_way(name, tmp_path, monkeypatch, no_engine):
    monkeypatch.setenv("HMCAP_MODELS", str(tmp_path / "models"))
    path = tmp_path / "hostile.onnx"
    reason, made = HOSTILE[name]
    path.write_bytes(made().SerializeToString())
    for load in (open_engine, registry.add):
        with pytest.raises(HmcapError, match=rf"hostile\.onnx, found .*{reason}"):
            load(path)
    assert not (tmp_path / "models" / "user").exists()


@pytest.mark.parametrize("ending", [".onnx", ".tflite"])
@pytest.mark.parametrize("data", [b"", b"not a network", b"\x08" * 100_000, b"\x0a\xff\xff\xff\xff\x0f"])
def test_what_is_no_network_reaches_no_engine(ending, data, tmp_path, no_engine):
    path = tmp_path / f"hostile{ending}"
    path.write_bytes(data)
    with pytest.raises(HmcapError, match="hostile"):
        open_engine(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path, no_engine):
    path = tmp_path / "hostile.onnx"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole: no disk is filled
    for read in (open_engine, read_graph_info):
        with pytest.raises(HmcapError, match="MiB"):
            read(path)


@pytest.mark.parametrize(("code", "custom"), [(32, "RunShell"), (119, ""), (142, ""), (148, ""), (173, "")])
def test_a_tflite_operator_that_is_no_arithmetic_reaches_no_engine(code, custom, tmp_path, no_engine):
    path = tmp_path / "hostile.tflite"
    path.write_bytes(build(code, NONE, [X], SAME, custom=custom))
    for load in (open_engine, registry.add):
        with pytest.raises(HmcapError, match=r"hostile\.tflite, found the operator"):
            load(path)


def test_a_network_that_was_changed_after_it_was_added_is_not_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("HMCAP_MODELS", str(tmp_path / "models"))
    path = tmp_path / "mine.onnx"
    path.write_bytes(model().SerializeToString())
    kept = Path(registry.add(path).path)
    kept.write_bytes(kept.read_bytes()[:-1] + b"\x01")
    with pytest.raises(HmcapError, match="damaged"):
        registry.resolve("mine")
