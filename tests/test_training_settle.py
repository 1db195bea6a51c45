"""Shapes that are settled in an exported graph: fewer nodes, the same numbers at any number of frames."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import onnx  # noqa: E402
from hmcap.engines.ort import import_onnxruntime  # noqa: E402
from hmcap.tools.training.settle import drop_unused, settle_shapes  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


class Shaped(torch.nn.Module):
    """Flattens, unflattens and expands, and reshapes across the frames, which must stay as it is."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rows = x.unflatten(-1, (2, 3)) * 2
        spread = x[..., :1].expand(*x.shape[:-1], 4)
        across = x.reshape(-1, 6)
        return rows.flatten(-2) + 1, spread, across


def feed(frames: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(frames).normal(size=(2, frames, 6)).astype(np.float32)}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    path: Path = tmp_path_factory.mktemp("graph") / "g.onnx"
    torch.onnx.export(
        Shaped(), (torch.zeros(2, 5, 6),), path, input_names=["x"], output_names=["a", "b", "c"],
        dynamic_axes={"x": {1: "frames"}}, dynamo=False,
    )  # fmt: skip
    return onnx.load(path)


def run(model: onnx.ModelProto, frames: int) -> list[np.ndarray]:
    session = import_onnxruntime().InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feed(frames))


@pytest.mark.filterwarnings("ignore")
def test_settled_graphs_say_the_same_with_fewer_nodes(model: onnx.ModelProto) -> None:
    settled = onnx.ModelProto()
    settled.CopyFrom(model)
    settle_shapes(settled, {n: feed(n) for n in (5, 7)})
    onnx.checker.check_model(settled)
    kinds = [[n.op_type for n in m.graph.node] for m in (model, settled)]
    assert "Shape" in kinds[0]
    assert kinds[1].count("Shape") < kinds[0].count("Shape")
    assert len(kinds[1]) < len(kinds[0])
    for frames in (1, 5, 7, 40):
        for was, now in zip(run(model, frames), run(settled, frames), strict=True):
            assert np.array_equal(was, now), frames


def test_what_only_a_branch_needs_is_kept() -> None:
    def branch(name: str, source: str) -> onnx.GraphProto:
        return helper.make_graph([helper.make_node("Identity", [source], [name])], name, [],
                                 [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])])  # fmt: skip

    nodes = [
        helper.make_node("Neg", ["x"], ["needed"]),
        helper.make_node("Abs", ["x"], ["unused"]),
        helper.make_node("If", ["yes"], ["y"], then_branch=branch("t", "needed"), else_branch=branch("e", "x")),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(np.array(True), "yes"), numpy_helper.from_array(np.zeros(3), "spare")],
    )  # fmt: skip
    model = helper.make_model(graph)
    drop_unused(model)
    assert [n.op_type for n in model.graph.node] == ["Neg", "If"]
    assert [i.name for i in model.graph.initializer] == ["yes"]
