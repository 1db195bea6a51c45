"""Builds an ONNX graph from a TensorFlow Lite one, keeping track of which layout each tensor exists in.

TensorFlow Lite works channels-last (NHWC), ONNX convolutions channels-first (NCHW). Every rank-4 tensor may exist in
either layout or both; a transpose is written only when an operator needs the layout that does not exist yet, so that a
chain of convolutions holds none.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .tflite_reader import MAX_CONSTANT_BYTES, Malformed, Network, constant

TO_NCHW, TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)
OPSET = 17
_ELEM = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32, "int64": TensorProto.INT64, "bool": TensorProto.BOOL}


@dataclass
class GraphBuilder:
    """The ONNX graph under construction (mutable: it exists only while one file is converted)."""

    network: Network
    batch: int = 1
    """Leading dimension of everything that is computed; 1 in the file itself."""
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    value_infos: list[onnx.ValueInfoProto] = field(default_factory=list)
    _plain: dict[int, str] = field(default_factory=dict)
    _nchw: dict[int, str] = field(default_factory=dict)
    _constants: dict[int, np.ndarray] = field(default_factory=dict)
    _constant_bytes: int = 0
    _count: int = 0

    def __post_init__(self) -> None:
        names = [self.network.tensors[i].name for i in (*self.network.inputs, *self.network.outputs)]
        if len(set(names)) != len(names) or not all(names):
            raise Malformed(f"inputs and outputs without names of their own ({names})")
        for i in self.network.inputs:
            self._plain[i] = self.network.tensors[i].name

    def shape(self, i: int) -> tuple[int, ...]:
        """The declared shape of tensor ``i`` in the file's layout."""
        return self.network.tensors[i].shape if i >= 0 else ()

    def target(self, y: int, x: int) -> tuple[int, ...]:
        """The shape that tensor ``y`` is to take from ``x`` in the graph, the batch in front."""
        return self._batched(self.shape(y)) if self.value(x) is None else self.shape(y)

    def _batched(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A computed tensor's shape with the graph's batch in place of the file's 1."""
        if self.batch == 1:
            return tuple(shape)
        if not shape or shape[0] != 1:
            raise Malformed(f"a tensor of shape {shape}, which has no batch in front,")
        return (self.batch, *shape[1:])

    def value(self, i: int) -> np.ndarray | None:
        """The constant behind tensor ``i`` (float16 widened, sparse storage expanded once), or None."""
        if i < 0:
            return None
        tensor = self.network.tensors[i]
        if i not in self._constants and len(tensor.data):
            self.fold(i, constant(tensor))
        return self._constants.get(i)

    def demand(self, i: int, what: str) -> np.ndarray:
        """The constant behind tensor ``i``; raises where it is computed at run time."""
        value = self.value(i)
        if value is None:
            raise Malformed(f"{what} that are not constant")
        return value

    def fold(self, i: int, value: np.ndarray) -> None:
        """Record that tensor ``i`` is a constant. The memory of all of them together is bounded, because a small
        hostile file can name the same bytes many times."""
        self._constant_bytes += value.nbytes
        if self._constant_bytes > MAX_CONSTANT_BYTES:
            raise Malformed(f"constants of more than {MAX_CONSTANT_BYTES >> 20} MiB")
        if value.shape != self.shape(i):
            raise Malformed(f"a constant of shape {value.shape} where {self.shape(i)} is declared")
        self._constants[i] = value

    def is_nchw(self, i: int) -> bool:
        """Whether tensor ``i`` already exists channels-first."""
        return i in self._nchw

    def plain(self, i: int) -> str:
        """The ONNX name of tensor ``i`` in the file's own layout."""
        if i not in self._plain:
            value = self.value(i)
            if value is not None:
                self._plain[i] = self.const(value)
            elif i in self._nchw:
                self._plain[i] = self.node("Transpose", [self._nchw[i]], perm=TO_NHWC)
            else:
                raise Malformed(f"a tensor that is used before it is computed ({i})")
        return self._plain[i]

    def nchw(self, i: int) -> str:
        """The ONNX name of rank-4 tensor ``i`` channels-first. A constant of lower rank is given leading ones."""
        if i not in self._nchw:
            value = self.value(i)
            if value is not None:
                if value.ndim > 4:
                    raise Malformed(f"a constant of rank {value.ndim} where 4 is expected")
                value = value.reshape((1,) * (4 - value.ndim) + value.shape)
                self._nchw[i] = self.const(value.transpose(TO_NCHW))
            else:
                if len(self.shape(i)) != 4:
                    raise Malformed(f"a tensor of shape {self.shape(i)} where rank 4 is expected")
                self._nchw[i] = self.node("Transpose", [self.plain(i)], perm=TO_NCHW)
        return self._nchw[i]

    def get(self, i: int, nchw: bool) -> str:
        """The ONNX name of tensor ``i`` in the layout wanted."""
        return self.nchw(i) if nchw else self.plain(i)

    def const(self, array: np.ndarray) -> str:
        """A new initializer."""
        name = self._fresh()
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def ints(self, *values: int) -> str:
        """A new int64 vector initializer."""
        return self.const(np.array(values, np.int64))

    def node(self, op: str, inputs: list[str], **attributes: Any) -> str:
        """A new node; returns the name of its output."""
        name = self._fresh()
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def put(self, i: int, name: str, *, nchw: bool = False) -> None:
        """Record that ``name`` computes tensor ``i``; its declared shape travels along, so that the final shape
        inference proves every step of the conversion."""
        tensor = self.network.tensors[i]
        if i in self._plain or i in self._nchw or len(tensor.data):
            raise Malformed(f"a tensor that is computed twice ({i})")
        (self._nchw if nchw else self._plain)[i] = name
        whole = self._batched(tensor.shape)
        shape = [whole[k] for k in TO_NCHW] if nchw else list(whole)
        self.value_infos.append(helper.make_tensor_value_info(name, _elem(tensor.dtype), shape))

    def _fresh(self) -> str:
        self._count += 1
        return f"/{self._count}"

    def model(self, name: str) -> onnx.ModelProto:
        """The finished model: inputs and outputs with the file's names, layout and shapes."""
        boundary = []
        for group in (self.network.inputs, self.network.outputs):
            tensors = [self.network.tensors[i] for i in group]
            shapes = [self._batched(t.shape) for t in tensors]
            infos = zip(tensors, shapes, strict=True)
            boundary.append([helper.make_tensor_value_info(t.name, _elem(t.dtype), shape) for t, shape in infos])
        for i in self.network.outputs:
            self.nodes.append(helper.make_node("Identity", [self.plain(i)], [self.network.tensors[i].name]))
        graph = helper.make_graph(
            self.nodes, name, boundary[0], boundary[1], self.initializers, value_info=self.value_infos
        )
        model = helper.make_model(
            graph, producer_name="hmcap", ir_version=8, opset_imports=[helper.make_opsetid("", OPSET)]
        )
        onnx.checker.check_model(model, full_check=True)
        return model


def _elem(dtype: np.dtype) -> int:
    kind = "float32" if dtype == np.float16 else dtype.name
    return _ELEM[kind]
