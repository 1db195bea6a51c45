"""Writes half precision into an ONNX graph: the heavy layers compute in it, whatever is sensitive stays in single.

Back ends whose networks are strongly typed compute in what the graph says. What is lowered, and what is not:

* *lowered*: convolutions, and products with a trained matrix of at least 64 by 64, that is nearly all the work and
  nearly all the weights; between them, sums, products, activations, pooling and moves of data whose operands are all
  lowered already;
* *kept in single*: the last such layer before every output, and all that follows it (a coordinate of 0 to 256 pixels
  would be rounded to an eighth of a pixel); means, sums, norms and normalisations, soft-max, sigmoid, exp, log, square
  roots and divisions (they lose range or digits); everything without trained weights, which is the geometry of the
  motion networks: rotations, projection, and the normal equations of the descent with their solution;
* inputs and outputs keep their names, shapes and types.

Casts stand only where the two meet. Double precision, which some libraries lack, can be narrowed to single.
"""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PRECISION_VERSION = 1
"""Raised whenever this module writes different graphs, so that engines built from them are built anew."""

_KINDS = {"f16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
_WEIGHTED = ("Conv", "ConvTranspose", "MatMul", "Gemm")
_LEAST_SIDE = 64
"""A trained matrix with a shorter side is too small to gain from half precision."""
_MOST = 6e4
"""Constants beyond it do not fit float16."""
_FOLLOWS: dict[str, tuple[int, ...] | None] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Max", "Min", "Clip", "Concat")),
    **dict.fromkeys(
        ("Relu", "LeakyRelu", "HardSwish", "Neg", "Abs", "MaxPool", "Identity", "Transpose", "Reshape", "Squeeze",
         "Unsqueeze", "Slice", "Resize", "DepthToSpace", "SpaceToDepth"),
        (0,),
    ),
    "Pad": (0, 2),
}  # fmt: skip
"""Operators that compute in half where all that they read is half -> which of their inputs are values (None: all)."""


def lowered(model: onnx.ModelProto, precision: str, *, doubles: bool = True) -> onnx.ModelProto:
    """``model`` with ``precision`` (``f32``, ``f16``, ``bf16``) written into it; the argument is left as it was.

    ``doubles``: whether the graph may go on computing in double precision where it does; ``False`` narrows that to
    single.
    """
    out = onnx.ModelProto()
    out.CopyFrom(model)
    # Older exporters list weights among the inputs, as what may be fed in their place: here they are weights.
    weights = {t.name for t in out.graph.initializer}
    for given in [i for i in out.graph.input if i.name in weights]:
        out.graph.input.remove(given)
    if not doubles:
        _narrow(out.graph)
        del out.graph.value_info[:]  # says what was double
    if precision != "f32":
        _Halver(out, _KINDS[precision]).run()
    return out


_SUFFIX = "/half"


class _Halver:
    """One pass over one graph."""

    def __init__(self, model: onnx.ModelProto, kind: int) -> None:
        self._graph, self._kind = model.graph, kind
        inferred = onnx.shape_inference.infer_shapes(model).graph
        values = (*inferred.input, *inferred.output, *inferred.value_info)
        self._singles = {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT}
        self._constants = dict(_constants(model.graph))
        self._singles |= {n for n, value in self._constants.items() if value.dtype == np.float32}
        self._outputs = {o.name for o in model.graph.output}
        self._made: set[str] = set()
        """Tensors that exist in half."""
        self._nodes: list[onnx.NodeProto] = []
        self._written: set[str] = set()
        """Names that the new nodes already give."""

    def run(self) -> None:
        """Rewrite the graph."""
        heads = self._heads()
        for k, node in enumerate(self._graph.node):
            values = _value_inputs(node)
            if k not in heads and self._can_be_half(node, values):
                self._write_half(node, values)
            else:
                for name in (*node.input, *_read_inside(node)):
                    self._in_single(name)
                self._nodes.append(node)
        for name in self._outputs:
            self._in_single(name)
        nodes = _reached(self._nodes, self._outputs)
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        used = {name for n in nodes for name in (*n.input, *_read_inside(n))} | self._outputs
        kept = [t for t in self._graph.initializer if t.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)
        left = [v for v in self._graph.value_info if v.name not in self._made]
        del self._graph.value_info[:]
        self._graph.value_info.extend(left)

    def _heads(self) -> set[int]:
        """Places of the last weighted layer before each output, and of all that comes after it."""
        giver = {name: k for k, node in enumerate(self._graph.node) for name in node.output}
        heads, waiting = set[int](), list(self._outputs)
        while waiting:
            k = giver.get(waiting.pop())
            if k is None or k in heads:
                continue
            heads.add(k)
            node = self._graph.node[k]
            if not self._is_weighted(node):
                waiting += [*node.input, *_read_inside(node)]
        return heads

    def _is_weighted(self, node: onnx.NodeProto) -> bool:
        if node.op_type not in _WEIGHTED:
            return False
        weights = [self._constants[n] for n in node.input[:2] if n in self._constants]
        large = node.op_type.startswith("Conv") or (weights and min(weights[0].shape[-2:], default=0) >= _LEAST_SIDE)
        return len(weights) == 1 and bool(large)

    def _can_be_half(self, node: onnx.NodeProto, values: list[str]) -> bool:
        if not values or not all(v in self._singles for v in (*values, *node.output)):
            return False
        if not all(self._fits(v) for v in values if v in self._constants):
            return False
        if self._is_weighted(node):
            return True
        computed = [v for v in values if v not in self._constants]
        return node.op_type in _FOLLOWS and bool(computed) and all(v in self._made for v in computed)

    def _fits(self, name: str) -> bool:
        value = self._constants[name]
        return self._kind != TensorProto.FLOAT16 or not value.size or float(np.abs(value).max()) <= _MOST

    def _write_half(self, node: onnx.NodeProto, values: list[str]) -> None:
        new = onnx.NodeProto()
        new.CopyFrom(node)
        for k, name in enumerate(node.input):
            new.input[k] = self._in_half(name) if name in values else name
        for k, name in enumerate(node.output):
            new.output[k] = name + _SUFFIX
            self._made.add(name)
        self._nodes.append(new)

    def _in_half(self, name: str) -> str:
        """The name of a value in half precision; written where it does not exist yet."""
        lower = name + _SUFFIX
        if name not in self._made and lower not in self._written:
            self._written.add(lower)
            if name in self._constants:
                self._graph.initializer.append(_half_tensor(self._constants[name], lower, self._kind))
            else:
                self._nodes.append(helper.make_node("Cast", [name], [lower], to=self._kind))
        return lower

    def _in_single(self, name: str) -> None:
        """Have a tensor that was made in half also exist in single precision, under its own name."""
        if name in self._made and name not in self._written:
            self._written.add(name)
            self._nodes.append(helper.make_node("Cast", [name + _SUFFIX], [name], to=TensorProto.FLOAT))


def _value_inputs(node: onnx.NodeProto) -> list[str]:
    places = _FOLLOWS.get(node.op_type)
    return [name for k, name in enumerate(node.input) if name and (places is None or k in places)]


def _half_tensor(value: np.ndarray, name: str, kind: int) -> TensorProto:
    if kind == TensorProto.FLOAT16:
        return numpy_helper.from_array(np.ascontiguousarray(value.astype(np.float16)), name)
    bits = np.ascontiguousarray(value, np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)  # to the nearest, ties to even
    return helper.make_tensor(name, kind, value.shape, rounded.tobytes(), raw=True)


def _constants(graph: onnx.GraphProto) -> Iterator[tuple[str, np.ndarray]]:
    """Every constant by name: initialisers, Constant nodes, and what Cast to single precision makes of them."""
    known = {t.name: t for t in graph.initializer}
    for name, tensor in known.items():
        yield name, numpy_helper.to_array(tensor)
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            known[node.output[0]] = node.attribute[0].t
            yield node.output[0], numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == "Cast" and node.input[0] in known and node.attribute[0].i == TensorProto.FLOAT:
            yield node.output[0], numpy_helper.to_array(known[node.input[0]]).astype(np.float32)


def _read_inside(node: onnx.NodeProto) -> Iterator[str]:
    """Names that the graphs nested in a node read (some of them from outside)."""
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else []), *attribute.graphs):
            yield from (o.name for o in graph.output)
            for inner in graph.node:
                yield from inner.input
                yield from _read_inside(inner)


def _reached(nodes: list[onnx.NodeProto], outputs: set[str]) -> list[onnx.NodeProto]:
    """The nodes that some output depends on, in their order."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if not wanted.isdisjoint(node.output):
            kept.append(node)
            wanted.update(node.input, _read_inside(node))
    return kept[::-1]


def _narrow(graph: onnx.GraphProto) -> None:
    """Double precision to single, everywhere but in the graph's own inputs and outputs."""
    for tensor in graph.initializer:
        _narrow_tensor(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                _narrow_tensor(attribute.t)
            elif attribute.name in ("to", "dtype") and attribute.i == TensorProto.DOUBLE:
                attribute.i = TensorProto.FLOAT
            elif attribute.type == onnx.AttributeProto.GRAPH:
                _narrow(attribute.g)
                del attribute.g.value_info[:]


def _narrow_tensor(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.DOUBLE:
        value = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
