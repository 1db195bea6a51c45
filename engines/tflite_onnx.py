"""Converts a floating-point ``.tflite`` network to ONNX (opset 17), operator by operator.

Inputs and outputs keep their names, layout (NHWC) and shapes. Constants are widened from float16 to float32 and sparse
ones expanded here, once, instead of on every run. ``PRelu`` is written as ``a x + (1 - a) relu(x)``, the same number by
operators that ONNX Runtime runs two to four times faster.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from ..models.errors import HmcapError
from .tflite_graph import GraphBuilder
from .tflite_reader import Malformed, Operator, Table, read_tflite

_NO_OPTIONS = Table(memoryview(bytes(8)), 4)
"""An empty option table: every field has its default."""


def tflite_to_onnx(data: bytes, name: str, batch: int = 1) -> onnx.ModelProto:
    """Convert the bytes of a ``.tflite`` file; ``name`` is what messages call it.

    ``batch``: images at once, the leading dimension of every input and output, which the file itself fixes to 1. Each
    image is computed by itself; a network that mixes that dimension with others is refused.

    Raises :class:`HmcapError` for a damaged file, a quantised network, or an operator that has no conversion here (the
    message names it). The result has passed ``onnx.checker`` with full shape inference.
    """
    network = read_tflite(data, name)
    quantised = {t.dtype.name for t in network.tensors} - {"float32", "float16", "int32", "int64", "bool"}
    if quantised:
        raise HmcapError(
            f"Expected a floating-point network, but {name} holds tensors of type {', '.join(sorted(quantised))}. "
            "Run this network with --engine openvino, or bring a floating-point or .onnx export of it."
        )
    try:
        builder = GraphBuilder(network, batch)
        for op in network.operators:
            if op.code not in OPERATORS:
                what = f"custom operator {op.custom_name!r}" if op.code == 32 else f"operator number {op.code}"
                raise HmcapError(
                    f"Expected operators that can be converted to ONNX, but {name} uses {what} "
                    f"(known: {', '.join(sorted(label for label, _ in OPERATORS.values()))}). "
                    "Run this network with --engine openvino, or bring an .onnx export of it."
                )
            label, convert = OPERATORS[op.code]
            try:
                convert(builder, op, op.options or _NO_OPTIONS)
            except (ValueError, IndexError) as error:  # shapes that do not fit each other
                raise Malformed(f"an operator {label} that does not fit its tensors ({error})") from error
        return builder.model(name)
    except (Malformed, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        if batch != 1:
            raise HmcapError(
                f"Expected a network that can take {batch} images at once, but {name} holds "
                f"{str(error).strip().splitlines()[0]}. Run it on one image at a time."
            ) from error
        raise HmcapError(
            f"Expected a consistent TensorFlow Lite network, but {name} holds {str(error).strip().splitlines()[0]}. "
            "The file is damaged or of a kind that cannot be converted: fetch or export it again."
        ) from error


def _single(op: Operator, inputs: int) -> tuple[int, ...]:
    """The first ``inputs`` input indices (-1 where left out), checked, then the one output index."""
    if len(op.outputs) != 1 or not op.inputs:
        raise Malformed(f"an operator with {len(op.inputs)} inputs and {len(op.outputs)} outputs")
    padded = (*op.inputs, *(-1,) * inputs)
    return (*padded[:inputs], op.outputs[0])


def _activation(b: GraphBuilder, name: str, code: int) -> str:
    if code == 0:
        return name
    if code == 1:
        return b.node("Relu", [name])
    if code in (2, 3):
        low, high = ((-1.0, 1.0), (0.0, 6.0))[code - 2]
        return b.node("Clip", [name, b.const(np.array(low, np.float32)), b.const(np.array(high, np.float32))])
    if code == 4:
        return b.node("Tanh", [name])
    raise Malformed(f"a fused activation of unknown kind {code}")


def _pads(b: GraphBuilder, x: int, y: int, kernel: tuple[int, int], stride: list[int], dilation: list[int], same: bool):
    """ONNX pads (top, left, bottom, right). SAME puts the odd pixel after, as TensorFlow does."""
    if min(*stride, *dilation, *kernel) < 1:
        raise Malformed(f"a window with stride {stride}, dilation {dilation}, kernel {kernel}")
    if not same:
        return [0, 0, 0, 0]
    before, after = [], []
    for size, k, s, d in zip(b.shape(x)[1:3], kernel, stride, dilation, strict=True):
        total = max((math.ceil(size / s) - 1) * s + (k - 1) * d + 1 - size, 0)
        before.append(total // 2)
        after.append(total - total // 2)
    return before + after


def _convolution(b: GraphBuilder, op: Operator, o: Table, depthwise: bool) -> None:
    x, w, bias, y = _single(op, 3)
    weight = b.demand(w, "convolution weights")
    if weight.ndim != 4 or len(b.shape(x)) != 4:
        raise Malformed(f"a convolution of {b.shape(x)} with weights of shape {weight.shape}")
    stride = [o.integer(2), o.integer(1)]
    at = 4 if depthwise else 3  # the depth-wise table has a multiplier before the activation
    dilation = [o.integer(at + 2, default=1), o.integer(at + 1, default=1)]
    channels = b.shape(x)[3]
    if depthwise:
        onnx_weight, group = weight.transpose(3, 0, 1, 2), channels
    else:
        onnx_weight = weight.transpose(0, 3, 1, 2)
        group = channels // max(1, weight.shape[3])
    inputs = [b.nchw(x), b.const(onnx_weight)]
    if bias >= 0:
        inputs.append(b.plain(bias))
    kernel = (weight.shape[1], weight.shape[2])
    pads = _pads(b, x, y, kernel, stride, dilation, o.integer(0, "<b") == 0)
    name = b.node("Conv", inputs, kernel_shape=kernel, strides=stride, dilations=dilation, pads=pads, group=group)
    b.put(y, _activation(b, name, o.integer(at, "<b")), nchw=True)


def _transpose_convolution(b: GraphBuilder, op: Operator, o: Table) -> None:
    _, w, x, bias, y = _single(op, 4)
    weight = b.demand(w, "convolution weights")
    stride, kernel = [o.integer(2), o.integer(1)], weight.shape[1:3]
    if min(stride) < 1 or weight.ndim != 4:
        raise Malformed(f"a transposed convolution with stride {stride} and weights {weight.shape}")
    inputs = [b.nchw(x), b.const(weight.transpose(3, 0, 1, 2))]
    if bias >= 0:
        inputs.append(b.plain(bias))
    before, after = [], []
    for size, out, k, s in zip(b.shape(x)[1:3], b.shape(y)[1:3], kernel, stride, strict=True):
        total = (size - 1) * s + k - out  # what the full result has too much, cut as SAME padding would have added it
        if total < 0:
            raise Malformed("a transposed convolution that is larger than its input reaches")
        before.append(total // 2)
        after.append(total - total // 2)
    name = b.node("ConvTranspose", inputs, kernel_shape=kernel, strides=stride, pads=before + after)
    b.put(y, _activation(b, name, o.integer(3, "<b")), nchw=True)


def _pool(kind: str) -> Callable[[GraphBuilder, Operator, Table], None]:
    def convert(b: GraphBuilder, op: Operator, o: Table) -> None:
        x, y = _single(op, 1)
        stride, kernel = [o.integer(2), o.integer(1)], (o.integer(4), o.integer(3))
        pads = _pads(b, x, y, kernel, stride, [1, 1], o.integer(0, "<b") == 0)
        name = b.node(kind, [b.nchw(x)], kernel_shape=kernel, strides=stride, pads=pads)
        b.put(y, _activation(b, name, o.integer(5, "<b")), nchw=True)

    return convert


def _binary(kind: str, fused: bool = True) -> Callable[[GraphBuilder, Operator, Table], None]:
    def convert(b: GraphBuilder, op: Operator, o: Table) -> None:
        left, right, y = _single(op, 2)
        nchw = _channels_first(b, left, right, y)
        name = b.node(kind, [b.get(left, nchw), b.get(right, nchw)])
        b.put(y, _activation(b, name, o.integer(0, "<b")) if fused else name, nchw=nchw)

    return convert


def _channels_first(b: GraphBuilder, *tensors: int) -> bool:
    """Whether an element-wise operator should work channels-first: some operand is there already, and all can be."""
    computed = [i for i in tensors if b.value(i) is None]
    return any(b.is_nchw(i) for i in computed) and all(len(b.shape(i)) == 4 for i in computed)


def _unary(kind: str) -> Callable[[GraphBuilder, Operator, Table], None]:
    def convert(b: GraphBuilder, op: Operator, o: Table) -> None:
        x, y = _single(op, 1)
        b.put(y, b.node(kind, [b.get(x, b.is_nchw(x))]), nchw=b.is_nchw(x))

    return convert


def _squared_difference(b: GraphBuilder, op: Operator, o: Table) -> None:
    left, right, y = _single(op, 2)
    nchw = _channels_first(b, left, right, y)
    gap = b.node("Sub", [b.get(left, nchw), b.get(right, nchw)])
    b.put(y, b.node("Mul", [gap, gap]), nchw=nchw)


def _reciprocal_root(b: GraphBuilder, op: Operator, o: Table) -> None:
    x, y = _single(op, 1)
    b.put(y, b.node("Reciprocal", [b.node("Sqrt", [b.get(x, b.is_nchw(x))])]), nchw=b.is_nchw(x))


def _clip(code: int) -> Callable[[GraphBuilder, Operator, Table], None]:
    def convert(b: GraphBuilder, op: Operator, o: Table) -> None:
        x, y = _single(op, 1)
        b.put(y, _activation(b, b.get(x, b.is_nchw(x)), code), nchw=b.is_nchw(x))

    return convert


def _prelu(b: GraphBuilder, op: Operator, o: Table) -> None:
    x, a, y = _single(op, 2)
    slope = b.demand(a, "PRELU slopes").astype(np.float32)
    nchw = _channels_first(b, x, y)
    if nchw:
        slope = slope.reshape((1,) * (4 - slope.ndim) + slope.shape).transpose(0, 3, 1, 2)
    name = b.get(x, nchw)
    linear = b.node("Mul", [b.const(slope), name])
    positive = b.node("Mul", [b.const(1 - slope), b.node("Relu", [name])])
    b.put(y, b.node("Add", [linear, positive]), nchw=nchw)


def _leaky_relu(b: GraphBuilder, op: Operator, o: Table) -> None:
    x, y = _single(op, 1)
    b.put(y, b.node("LeakyRelu", [b.get(x, b.is_nchw(x))], alpha=o.number(0, 0.0)), nchw=b.is_nchw(x))


def _pad(b: GraphBuilder, op: Operator, o: Table) -> None:
    x, paddings, value, y = _single(op, 3)
    pairs = b.demand(paddings, "paddings")
    if pairs.shape != (len(b.shape(x)), 2):
        raise Malformed(f"paddings of shape {pairs.shape} for a tensor of shape {b.shape(x)}")
    nchw = b.is_nchw(x) and pairs.shape[0] == 4
    if nchw:
        pairs = pairs[[0, 3, 1, 2]]
    inputs = [b.get(x, nchw), b.ints(*(int(n) for n in pairs.T.ravel()))]
    if value >= 0:
        inputs.append(b.const(b.demand(value, "padding values").reshape(())))
    b.put(y, b.node("Pad", inputs), nchw=nchw)


def _concatenation(b: GraphBuilder, op: Operator, o: Table) -> None:
    y, rank = _single(op, 1)[-1], len(b.shape(op.inputs[0]))
    nchw, axis = _channels_first(b, *op.inputs, y), o.integer(0)
    axis += rank if axis < 0 else 0
    if not 0 <= axis < rank:
        raise Malformed(f"a concatenation along axis {axis} of {rank}")
    name = b.node("Concat", [b.get(i, nchw) for i in op.inputs], axis=(0, 2, 3, 1)[axis] if nchw else axis)
    b.put(y, _activation(b, name, o.integer(1, "<b")), nchw=nchw)


def _resize(mode: str, align_at: int) -> Callable[[GraphBuilder, Operator, Table], None]:
    def convert(b: GraphBuilder, op: Operator, o: Table) -> None:
        x, _, y = _single(op, 2)
        align, half = o.boolean(align_at), o.boolean(align_at + 1)
        how = "align_corners" if align else "half_pixel" if half else "asymmetric"
        # Nearest floors its source position; with half pixels that is the rounding (up) of ONNX's shifted position.
        nearest = "round_prefer_ceil" if align or half else "floor"
        extra: dict[str, Any] = {"nearest_mode": nearest} if mode == "nearest" else {}
        n, h, w, c = b.shape(y)
        inputs = [b.nchw(x), "", "", b.ints(n * b.batch, c, h, w)]
        b.put(y, b.node("Resize", inputs, mode=mode, coordinate_transformation_mode=how, **extra), nchw=True)

    return convert


def _reshape(b: GraphBuilder, op: Operator, o: Table) -> None:
    x, _, y = _single(op, 2)
    if math.prod(b.shape(x)) != math.prod(b.shape(y)):
        raise Malformed(f"a reshape from {b.shape(x)} to {b.shape(y)}")
    b.put(y, b.node("Reshape", [b.plain(x), b.ints(*b.target(y, x))]))


def _depth_to_space(b: GraphBuilder, op: Operator, o: Table) -> None:
    x, y = _single(op, 1)
    b.put(y, b.node("DepthToSpace", [b.nchw(x)], blocksize=max(1, o.integer(0)), mode="DCR"), nchw=True)


def _space_to_depth(b: GraphBuilder, op: Operator, o: Table) -> None:
    x, y = _single(op, 1)
    b.put(y, b.node("SpaceToDepth", [b.nchw(x)], blocksize=max(1, o.integer(0))), nchw=True)


def _fully_connected(b: GraphBuilder, op: Operator, o: Table) -> None:
    x, w, bias, y = _single(op, 3)
    weight = b.demand(w, "fully-connected weights")
    if weight.ndim != 2 or o.integer(1, "<b") != 0:
        raise Malformed(f"fully-connected weights of shape {weight.shape} and format {o.integer(1, '<b')}")
    rows = b.node("Reshape", [b.plain(x), b.ints(-1, weight.shape[1])])
    inputs = [rows, b.const(weight), *([b.plain(bias)] if bias >= 0 else [])]
    name = b.node("Gemm", inputs, transB=1)
    if b.shape(y) != (math.prod(b.shape(y)[:-1]), weight.shape[0]):
        name = b.node("Reshape", [name, b.ints(*b.target(y, x))])
    b.put(y, _activation(b, name, o.integer(0, "<b")))


def _reduced(b: GraphBuilder, op: Operator) -> tuple[int, int, list[int]]:
    """Input, output and the sorted axes of a reduction."""
    x, a, y = _single(op, 2)
    rank = len(b.shape(x))
    return x, y, sorted({int(n) % rank for n in b.demand(a, "axes").ravel()}) if rank else []


def _sum(b: GraphBuilder, op: Operator, o: Table) -> None:
    x, y, axes = _reduced(b, op)
    b.put(y, b.node("ReduceSum", [b.plain(x), b.ints(*axes)], keepdims=int(o.boolean(0))))


def _mean(b: GraphBuilder, op: Operator, o: Table) -> None:
    x, y, axes = _reduced(b, op)
    rank, keep = len(b.shape(x)), o.boolean(0)
    if axes == [1, 2] and rank == 4 and b.is_nchw(x):  # over the image: no need to transpose the large side
        b.put(y, b.node("ReduceMean", [b.nchw(x)], axes=[2, 3], keepdims=int(keep)), nchw=keep)
    else:
        b.put(y, b.node("ReduceMean", [b.plain(x)], axes=axes, keepdims=int(keep)))


def _strided_slice(b: GraphBuilder, op: Operator, o: Table) -> None:
    x, *bounds, y = _single(op, 4)
    begin, end, step = ([int(n) for n in b.demand(i, "slice bounds").ravel()] for i in bounds)
    if o.integer(2) or o.integer(3) or o.boolean(5) or not len(begin) == len(end) == len(step) <= len(b.shape(x)):
        raise Malformed("a strided slice with an ellipsis, a new axis or uneven bounds")
    for k, size in enumerate(b.shape(x)[: len(begin)]):
        if step[k] == 0 or (step[k] < 0 and (o.integer(4) >> k & 1)):
            raise Malformed(f"a strided slice with step {step[k]}")
        if o.integer(0) >> k & 1:
            begin[k] = 0 if step[k] > 0 else size - 1
        if o.integer(4) >> k & 1:  # an index, not a range
            begin[k] += size if begin[k] < 0 else 0
            end[k], step[k] = begin[k] + 1, 1
        elif o.integer(1) >> k & 1:
            end[k] = size if step[k] > 0 else -size - 1
    if b.value(x) is None and (begin[:1], end[:1], step[:1]) == ([0], [1], [1]) and not o.integer(4) & 1:
        end[0] = b.batch  # the one image of the file: all of them
    inputs = [b.plain(x), b.ints(*begin), b.ints(*end), b.ints(*range(len(begin))), b.ints(*step)]
    name = b.node("Slice", inputs)
    if o.integer(4):
        name = b.node("Reshape", [name, b.ints(*b.target(y, x))])
    b.put(y, name)


def _softmax(b: GraphBuilder, op: Operator, o: Table) -> None:
    x, y = _single(op, 1)
    scaled = b.node("Mul", [b.plain(x), b.const(np.array(o.number(0, 1.0), np.float32))])
    b.put(y, b.node("Softmax", [scaled], axis=-1))


def _transpose(b: GraphBuilder, op: Operator, o: Table) -> None:
    x, p, y = _single(op, 2)
    b.put(y, b.node("Transpose", [b.plain(x)], perm=[int(n) for n in b.demand(p, "permutations").ravel()]))


def _unpack_constant(b: GraphBuilder, op: Operator, o: Table) -> None:
    """DEQUANTIZE of float16 and DENSIFY: a constant is already wide and dense; a computed value passes through."""
    x, y = _single(op, 1)
    value = b.value(x)
    if value is not None:
        b.fold(y, value)
    else:
        nchw = b.is_nchw(x)
        b.put(y, b.node("Identity", [b.get(x, nchw)]), nchw=nchw)


OPERATORS: dict[int, tuple[str, Callable[[GraphBuilder, Operator, Table], None]]] = {
    0: ("ADD", _binary("Add")),
    1: ("AVERAGE_POOL_2D", _pool("AveragePool")),
    2: ("CONCATENATION", _concatenation),
    3: ("CONV_2D", lambda b, op, o: _convolution(b, op, o, depthwise=False)),
    4: ("DEPTHWISE_CONV_2D", lambda b, op, o: _convolution(b, op, o, depthwise=True)),
    5: ("DEPTH_TO_SPACE", _depth_to_space),
    6: ("DEQUANTIZE", _unpack_constant),
    9: ("FULLY_CONNECTED", _fully_connected),
    14: ("LOGISTIC", _unary("Sigmoid")),
    17: ("MAX_POOL_2D", _pool("MaxPool")),
    18: ("MUL", _binary("Mul")),
    19: ("RELU", _unary("Relu")),
    20: ("RELU_N1_TO_1", _clip(2)),
    21: ("RELU6", _clip(3)),
    22: ("RESHAPE", _reshape),
    23: ("RESIZE_BILINEAR", _resize("linear", 2)),
    25: ("SOFTMAX", _softmax),
    26: ("SPACE_TO_DEPTH", _space_to_depth),
    28: ("TANH", _unary("Tanh")),
    34: ("PAD", _pad),
    39: ("TRANSPOSE", _transpose),
    40: ("MEAN", _mean),
    41: ("SUB", _binary("Sub")),
    42: ("DIV", _binary("Div")),
    43: ("SQUEEZE", _reshape),
    45: ("STRIDED_SLICE", _strided_slice),
    47: ("EXP", _unary("Exp")),
    54: ("PRELU", _prelu),
    55: ("MAXIMUM", _binary("Max", fused=False)),
    57: ("MINIMUM", _binary("Min", fused=False)),
    59: ("NEG", _unary("Neg")),
    60: ("PADV2", _pad),
    67: ("TRANSPOSE_CONV", _transpose_convolution),
    70: ("EXPAND_DIMS", _reshape),
    74: ("SUM", _sum),
    75: ("SQRT", _unary("Sqrt")),
    76: ("RSQRT", _reciprocal_root),
    97: ("RESIZE_NEAREST_NEIGHBOR", _resize("nearest", 0)),
    98: ("LEAKY_RELU", _leaky_relu),
    99: ("SQUARED_DIFFERENCE", _squared_difference),
    101: ("ABS", _unary("Abs")),
    117: ("HARD_SWISH", _unary("HardSwish")),
    124: ("DENSIFY", _unpack_constant),
}
"""Schema code -> name and conversion. The codes are those of the schema's ``BuiltinOperator``."""
