"""Hand-made ``.tflite`` files of one operator: what the converter is tested with, and where its fuzzing begins."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np

F32, F16, I32, I8 = 0, 1, 2, 9
"""Schema codes of types."""
RNG = np.random.default_rng(5)


@dataclasses.dataclass
class T:
    """A tensor of a hand-made file: an activation where ``data`` is None."""

    shape: tuple[int, ...]
    data: np.ndarray | None = None
    code: int = F32
    sparsity: dict[str, Any] | None = None


def const(array: Any, code: int = F32) -> T:
    """A constant."""
    array = np.asarray(array, {F32: np.float32, F16: np.float16, I32: np.int32, I8: np.int8}[code])
    return T(array.shape, array, code)


def weights(*shape: int) -> T:
    """A float32 constant of random numbers."""
    return const(RNG.normal(size=shape))


def build(
    op: int, options: tuple[int, dict[int, tuple[str, Any]]], inputs: list[T | None], output: T, custom: str = ""
) -> bytes:
    """The bytes of a ``.tflite`` file with one operator; where all its inputs are constants, an addition of zeros fed
    at run time follows, because a file has to have an input."""
    folded = all(t is None or t.data is not None for t in inputs)
    b = flatbuffers.Builder(1024)
    adders = {
        "i8": b.PrependInt8Slot, "i32": b.PrependInt32Slot, "u32": b.PrependUint32Slot, "u8": b.PrependUint8Slot,
        "f32": b.PrependFloat32Slot, "bool": b.PrependBoolSlot, "at": b.PrependUOffsetTRelativeSlot,
    }  # fmt: skip

    def table(fields: dict[int, tuple[str, Any]]) -> int:
        b.StartObject(max(fields, default=0) + 1)
        for slot, (kind, value) in fields.items():
            adders[kind](slot, value, 0)  # a field equal to the schema's default stays out
        return b.EndObject()

    def ints(values: Sequence[int]) -> int:
        return b.CreateNumpyVector(np.asarray(values, np.int32))

    def tables(offsets: list[int]) -> int:
        b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            b.PrependUOffsetTRelative(offset)
        return b.EndVector()

    def sparse(spec: dict[str, Any]) -> int:
        dims = []
        for dim in spec["dims"]:
            if isinstance(dim, int):
                dims.append(table({0: ("i8", 0), 1: ("i32", dim)}))
            else:
                segments, indices = (table({0: ("at", ints(v))}) for v in dim)
                dims.append(table({0: ("i8", 1), 2: ("u8", 1), 3: ("at", segments), 4: ("u8", 1), 5: ("at", indices)}))
        fields = {0: ("at", ints(spec["order"])), 2: ("at", tables(dims))}
        if "blocks" in spec:
            fields[1] = ("at", ints(spec["blocks"]))
        return table(fields)

    extra = [T(output.shape), T(output.shape)] if folded else []
    present = [t for t in inputs if t is not None] + [output] + extra
    buffers, rows = [table({})], []
    for k, t in enumerate(present):
        if t.data is not None:
            buffers.append(table({0: ("at", b.CreateNumpyVector(np.frombuffer(t.data.tobytes(), np.uint8)))}))
        fields = {
            0: ("at", ints(t.shape)), 1: ("i8", t.code), 2: ("u32", len(buffers) - 1 if t.data is not None else 0),
            3: ("at", b.CreateString(f"t{k}")),
        }  # fmt: skip
        if t.sparsity is not None:
            fields[6] = ("at", sparse(t.sparsity))
        rows.append(table(fields))
    indices = iter(range(len(present)))
    ins = [next(indices) if t is not None else -1 for t in inputs]
    last, result = len(present) - 1, len(present) - 1 - len(extra)
    feeds = [last - 1] if folded else [i for i in range(last) if present[i].data is None]
    kind, fields = options
    operator = {0: ("u32", 0), 1: ("at", ints(ins)), 2: ("at", ints([result]))}
    if kind:
        operator |= {3: ("u8", kind), 4: ("at", table(fields))}
    operators = [table(operator)]
    code = {0: ("i8", min(op, 127)), 2: ("i32", 2 if op in (23, 97) else 1), 3: ("i32", op)}
    if custom:
        code[1] = ("at", b.CreateString(custom))
    codes = [table(code)]
    if folded:
        codes.append(table({2: ("i32", 1)}))
        addition = {0: ("u32", 1), 1: ("at", ints([result, last - 1])), 2: ("at", ints([last])), 3: ("u8", 11)}
        operators.append(table(addition | {4: ("at", table({}))}))
    graph = {
        0: ("at", tables(rows)), 1: ("at", ints(feeds)), 2: ("at", ints([last])), 3: ("at", tables(operators)),
    }  # fmt: skip
    graphs = tables([table(graph)])
    root = table({0: ("u32", 3), 1: ("at", tables(codes)), 2: ("at", graphs), 4: ("at", tables(buffers))})
    b.Finish(root, b"TFL3")
    return bytes(b.Output())


def conv(
    padding: int = 0, stride: tuple[int, int] = (1, 1), dilation: tuple[int, int] = (1, 1), activation: int = 0
) -> tuple[int, dict[int, tuple[str, Any]]]:
    """Options of a convolution; strides and dilations of rows and columns."""
    fields = {0: ("i8", padding), 1: ("i32", stride[1]), 2: ("i32", stride[0]), 3: ("i8", activation)}
    return 1, fields | {4: ("i32", dilation[1]), 5: ("i32", dilation[0])}
