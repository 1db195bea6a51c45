"""What a network from outside may be, found out before an inference library sees it.

Those libraries are native code that was written for networks of their own users, not for hostile ones. A file is
therefore read here first, as data: its size, its operators (an allow-list), the sizes it declares, and that it needs no
other file. What is left to the library is a plain network of bounded size.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..models.errors import HmcapError
from .convert import read_network_file
from .tflite_reader import Network, read_tflite

MAX_NODES = 50_000
"""Operators of one network; the motion networks have 6,400, the landmark networks of others up to a few thousand."""
MAX_INPUT_ELEMENTS = 1 << 26
"""Elements of all inputs together (a picture of 4096 x 4096 in colour has 50 million)."""
MAX_VALUE_ELEMENTS = 1 << 28
"""Elements of any one value between operators (1 GiB as float32)."""
MAX_DEPTH = 4
"""Graphs inside graphs (branches of If)."""

DOMAINS = frozenset({"", "ai.onnx"})
"""Where operators may come from: the standard of ONNX alone. Other domains name code of other libraries."""

ONNX_OPERATORS = frozenset({
    "Abs", "Acos", "Acosh", "Add", "And", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan", "Atanh", "AveragePool",
    "BatchNormalization", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Cast", "CastLike",
    "Ceil", "Celu", "CenterCropPad", "Clip", "Compress", "Concat", "Constant", "ConstantOfShape", "Conv",
    "ConvInteger", "ConvTranspose", "Cos", "Cosh", "CumSum", "DeformConv", "DepthToSpace", "DequantizeLinear", "Det",
    "Div", "Dropout", "DynamicQuantizeLinear", "Einsum", "Elu", "Equal", "Erf", "Exp", "Expand", "EyeLike", "Flatten",
    "Floor", "GRU", "Gather", "GatherElements", "GatherND", "Gelu", "Gemm", "GlobalAveragePool", "GlobalLpPool",
    "GlobalMaxPool", "Greater", "GreaterOrEqual", "GridSample", "GroupNormalization", "HardSigmoid", "HardSwish",
    "Hardmax", "Identity", "If", "InstanceNormalization", "IsInf", "IsNaN", "LRN", "LSTM", "LayerNormalization",
    "LeakyRelu", "Less", "LessOrEqual", "Log", "LogSoftmax", "LpNormalization", "LpPool", "MatMul", "MatMulInteger",
    "Max", "MaxPool", "MaxRoiPool", "MaxUnpool", "Mean", "MeanVarianceNormalization", "Min", "Mish", "Mod", "Mul",
    "Neg", "NonMaxSuppression", "NonZero", "Not", "OneHot", "Or", "PRelu", "Pad", "Pow", "QLinearConv",
    "QLinearMatMul", "QuantizeLinear", "RMSNormalization", "RNN", "Range", "Reciprocal", "ReduceL1", "ReduceL2",
    "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
    "ReduceSumSquare", "Relu", "Reshape", "Resize", "ReverseSequence", "RoiAlign", "Round", "ScatterElements",
    "ScatterND", "Selu", "Shape", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Size", "Slice", "Softmax", "Softplus",
    "Softsign", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tan", "Tanh", "ThresholdedRelu", "Tile",
    "TopK", "Transpose", "Trilu", "Unique", "Unsqueeze", "Upsample", "Where", "Xor",
})  # fmt: skip
"""Operators of ONNX that compute numbers in bounded time. Left out: loops, text, pictures in files, random numbers,
sequences and optional values, training."""

TFLITE_OPERATORS = frozenset({
    *range(7), 8, 9, 11, 12, 13, 14, *range(17, 24), 25, 26, 28, 34, *range(36, 44), 45, *range(47, 51),
    *range(53, 68), *range(69, 80), *range(81, 96), *range(97, 103), *range(104, 113), 114, 116, 117,
    *range(120, 125), 126, 128, 130, 140, 145, 150, 152, 156, 158,
})  # fmt: skip
"""Codes of TensorFlow Lite's built-in operators that compute numbers in bounded time. Left out: custom operators and
delegates, calls of other graphs and loops, look-ups in tables, variables, recurrent state, random numbers, text."""

_ITEM_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
"""ONNX's number of a type of elements -> bytes of one. Text and types below a byte are left out."""
_FIELDS = {
    1: "float_data", 2: "int32_data", 3: "int32_data", 4: "int32_data", 5: "int32_data", 6: "int32_data",
    7: "int64_data", 9: "int32_data", 10: "int32_data", 11: "double_data", 12: "uint64_data", 13: "uint64_data",
    16: "int32_data",
}  # fmt: skip
"""The same -> field that holds the elements where they are not raw bytes."""


class _Refused(Exception):
    """What was found in place of a plain network (internal; becomes a :class:`HmcapError`)."""


def check_network(path: Path) -> None:
    """Raise :class:`HmcapError` unless the file is a network that may be handed to an inference library."""
    data = read_network_file(path)
    if path.suffix.lower() == ".tflite":
        check_tflite(data, path.name)
    else:
        check_onnx(data, path.name)


def check_tflite(data: bytes, name: str) -> Network:
    """The network in the bytes of a ``.tflite`` file. Raises :class:`HmcapError` for one that may not be run."""
    network = read_tflite(data, name)
    try:
        if len(network.operators) > MAX_NODES:
            raise _Refused(f"{len(network.operators)} operators, more than {MAX_NODES}")
        for op in network.operators:
            if op.custom_name or op.code not in TFLITE_OPERATORS:
                raise _Refused(f"the operator {repr(op.custom_name[:60]) if op.custom_name else f'number {op.code}'}")
        _check_inputs([network.tensors[i].shape for i in network.inputs])
        for tensor in network.tensors:
            _check_value(tensor.shape, tensor.name)
    except _Refused as found:
        raise _error(name, found) from found
    return network


def check_onnx(data: bytes, name: str) -> Any:
    """The ``onnx.ModelProto`` in the bytes of an ``.onnx`` file. Raises :class:`HmcapError` unless it is whole,
    self-contained and may be run."""
    import onnx  # takes a moment to import, and few runs need it
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(data)
        _check_parts(model)  # before the library's own check, which is native code too
        onnx.checker.check_model(model)
        _check_sizes(onnx.shape_inference.infer_shapes(model, data_prop=True))
    except _Refused as found:
        raise _error(name, found) from found
    except (DecodeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise HmcapError(
            f"Expected an ONNX network, but {name} is not a valid one ({reason[0][:200]}). "
            "Export it again, and check it with onnx.checker."
        ) from error
    if not model.graph.input or not model.graph.output:
        raise HmcapError(f"Expected an ONNX network with inputs and outputs, but {name} has none. Export it again.")
    return model


def _error(name: str, found: _Refused) -> HmcapError:
    return HmcapError(
        f"Expected a self-contained network of standard operators in {name}, found {found}. It was not loaded. Export "
        "it again in one file, without custom operators, loops and sizes that no landmark network has."
    )


def _check_parts(model: Any) -> None:
    domains = {opset.domain for opset in model.opset_import} - DOMAINS
    if domains:
        raise _Refused(f"operators of the domain {min(domains)[:60]!r}")
    if model.functions or model.training_info:
        raise _Refused("functions of its own" if model.functions else "a training part")
    count = 0
    for graph, depth in _graphs(model.graph, 0):
        if depth > MAX_DEPTH:
            raise _Refused(f"more than {MAX_DEPTH} graphs inside each other")
        count += len(graph.node)
        if count > MAX_NODES:
            raise _Refused(f"more than {MAX_NODES} operators")
        if graph.sparse_initializer:
            raise _Refused("sparse constants")
        for node in graph.node:
            if node.domain not in DOMAINS or node.op_type not in ONNX_OPERATORS:
                raise _Refused(f"the operator {'.'.join(filter(None, (node.domain, node.op_type)))[:80]!r}")
            if any(a.HasField("sparse_tensor") or a.sparse_tensors for a in node.attribute):
                raise _Refused("sparse constants")
        for tensor in _tensors(graph):
            _check_tensor(tensor)


def _graphs(graph: Any, depth: int) -> Iterator[tuple[Any, int]]:
    """A graph, and those inside it with their depth; stops one level below what is allowed."""
    yield graph, depth
    if depth > MAX_DEPTH:
        return
    for attribute in (a for node in graph.node for a in node.attribute):
        for nested in ((attribute.g,) if attribute.HasField("g") else ()) + tuple(attribute.graphs):
            yield from _graphs(nested, depth + 1)


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for attribute in (a for node in graph.node for a in node.attribute):
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors


def _check_tensor(tensor: Any) -> None:
    """A constant holds exactly the elements that its shape declares, in the file itself."""
    if tensor.data_location or tensor.external_data:
        raise _Refused("weights that lie in other files")
    if tensor.data_type not in _ITEM_BYTES or tensor.HasField("segment"):
        raise _Refused(f"a constant of type number {tensor.data_type} ({tensor.name[:60]!r})")
    count = _count(tensor.dims, tensor.name)
    size = count * _ITEM_BYTES[tensor.data_type]
    stored = len(getattr(tensor, _FIELDS[tensor.data_type]))
    if (len(tensor.raw_data) != size) if tensor.HasField("raw_data") else (stored != count):
        raise _Refused(f"a constant of shape {tuple(tensor.dims)} without as many elements ({tensor.name[:60]!r})")


def _check_sizes(model: Any) -> None:
    """Every size that the file declares, or that follows from it."""
    stored = {tensor.name for tensor in model.graph.initializer}
    _check_inputs([_shape(v) for v in model.graph.input if v.name not in stored])
    for graph, _ in _graphs(model.graph, 0):
        for value in (*graph.input, *graph.output, *graph.value_info):
            _check_value(_shape(value), value.name)


def _shape(value: Any) -> tuple[int, ...]:
    """Sizes of a value; 1 where the file leaves one open."""
    dims = value.type.tensor_type.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") else 1 for d in dims)


def _check_inputs(shapes: list[tuple[int, ...]]) -> None:
    total = sum(_count(shape, "input") for shape in shapes)
    if total > MAX_INPUT_ELEMENTS:
        raise _Refused(f"inputs of {total} elements, more than {MAX_INPUT_ELEMENTS}")


def _check_value(shape: tuple[int, ...], name: str) -> None:
    if _count(shape, name) > MAX_VALUE_ELEMENTS:
        raise _Refused(f"a value of shape {shape} ({name[:60]!r}), more than {MAX_VALUE_ELEMENTS} elements")


def _count(shape: Any, name: str) -> int:
    if any(n < 0 for n in shape):
        raise _Refused(f"a size below 0 ({name[:60]!r})")
    return math.prod(shape)
