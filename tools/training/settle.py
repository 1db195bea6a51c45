"""Take the arithmetic of shapes out of an exported graph: tracing leaves a third of its nodes to work out, frame after
frame, shapes of which only the number of frames is not known beforehand.

What each shape comes to is measured at two numbers of frames. Where it is the same, or its second entry alone is the
number of frames, and that of the input too, a constant takes its place. Nodes that nothing needs any more are dropped.
"""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ...engines.ort import import_onnxruntime

FRAMES = 1
"""Axis of the frames."""
_SHAPED_BY = {"Reshape": 0, "Expand": 1}
"""What an entry of the shape says that keeps the input's own size, by operator."""


def settle_shapes(model: onnx.ModelProto, feeds: Mapping[int, Mapping[str, np.ndarray]]) -> None:
    """Settle the shapes of Reshape and Expand in place. feeds: inputs for each of two numbers of frames."""
    nodes = [n for n in model.graph.node if n.op_type in _SHAPED_BY]
    measured = {frames: _measured(model, nodes, feed) for frames, feed in feeds.items()}
    initial = {i.name for i in model.graph.initializer}
    for node in nodes:
        if node.input[1] in initial:
            continue
        shapes = {frames: values[node.input[1]] for frames, values in measured.items()}
        inputs = {frames: values[node.input[0]].shape for frames, values in measured.items()}
        settled = _settled(shapes, inputs, _SHAPED_BY[node.op_type])
        if settled is not None:
            name = f"{node.output[0]}.shape"
            model.graph.initializer.append(numpy_helper.from_array(settled, name))
            node.input[1] = name
    drop_unused(model)


def _measured(model: onnx.ModelProto, nodes: list[onnx.NodeProto], feed: Mapping[str, np.ndarray]) -> dict:
    """Values of both inputs of the nodes, by name."""
    ort = import_onnxruntime()
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    made = {o for n in model.graph.node for o in n.output}
    names = sorted({i for n in nodes for i in n.input[:2]} & made)
    # ONNX Runtime finds out the types by itself
    probe.graph.output.extend(helper.make_empty_tensor_value_info(n) for n in names)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values = dict(zip(names, session.run(names, dict(feed)), strict=True))
    known = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer} | dict(feed)
    return known | values


def _settled(shapes: Mapping[int, np.ndarray], inputs: Mapping[int, tuple[int, ...]], keep: int) -> np.ndarray | None:
    """The constant that says the same as the shapes at every number of frames, or None where there is none."""
    first, second = shapes.values()
    if np.array_equal(first, second):
        return np.asarray(first, np.int64)
    if np.flatnonzero(first != second).tolist() != [FRAMES]:
        return None
    for frames, shape in shapes.items():
        has = inputs[frames]
        # Expand counts axes from the last one
        if len(has) <= FRAMES or has[FRAMES] != frames or shape[FRAMES] != frames or (keep and len(has) != len(shape)):
            return None
    out = np.asarray(first, np.int64).copy()
    out[FRAMES] = keep
    return out


def drop_unused(model: onnx.ModelProto) -> None:
    """Drop nodes and initialisers that no output needs, in place."""
    needed = {o.name for o in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
            for attribute in node.attribute:  # what a branch takes from outside of it
                if attribute.type == onnx.AttributeProto.GRAPH:
                    needed.update(i for n in attribute.g.node for i in n.input)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))
    used = [i for i in model.graph.initializer if i.name in needed]
    del model.graph.initializer[:]
    model.graph.initializer.extend(used)
