"""Reads a ``.tflite`` file into plain records, checking every offset against the file.

The file is a FlatBuffer of the public TensorFlow Lite schema (identifier ``TFL3``). Tables are read by field index,
without generated code; a field index below is the position of the field in the schema. Nothing in the file is
trusted: positions, lengths, counts and sizes are checked before use, so that a damaged or hostile file ends in a
:class:`HmcapError`.
"""

import math
import struct
from dataclasses import dataclass

import numpy as np

from ..models.errors import HmcapError

MAX_FILE_BYTES = 1 << 29
"""Largest file read (512 MiB; the largest landmark network has 28 MB)."""
MAX_CONSTANT_BYTES = 1 << 30
"""Most memory that the constants of one file may take once unpacked."""
_MAX_ENTRIES = 1 << 15
_MAX_NAME = 1024
_MAX_RANK = 8
_MAX_SPARSE = 1 << 24

DTYPES = {
    0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 8: "complex64", 9: "int8",
    10: "float64", 12: "uint64", 15: "uint32", 16: "uint16",
}  # fmt: skip
"""Schema code -> numpy type of a tensor."""
_INDEX_DTYPES = {1: ("<i4", 4), 2: ("<u2", 2), 3: ("u1", 1)}


@dataclass(frozen=True, slots=True)
class SparseDimension:
    """One level of a sparse tensor's storage tree."""

    dense_size: int
    """Number of children of each node (a dense level); unused where ``segments`` is given."""
    segments: np.ndarray | None
    """int64, of a compressed level: node k of the level above owns the entries ``segments[k]:segments[k + 1]``."""
    indices: np.ndarray | None
    """int64 coordinate of each entry of a compressed level."""


@dataclass(frozen=True, slots=True)
class Sparsity:
    """How the values of a sparse tensor are laid out: levels in storage order, blocks last."""

    traversal: tuple[int, ...]
    block_map: tuple[int, ...]
    dimensions: tuple[SparseDimension, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the graph: activation, input, output or constant."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    data: memoryview
    """Raw bytes of a constant; empty for an activation."""
    sparsity: Sparsity | None


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator: schema code, tensor indices (-1: left out), and its option table."""

    code: int
    custom_name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: "Table | None"


@dataclass(frozen=True, slots=True)
class Network:
    """The first subgraph of a file."""

    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Operator, ...]


class Malformed(Exception):
    """Something in the file points outside it or contradicts itself (internal; becomes a :class:`HmcapError`)."""


@dataclass(frozen=True, slots=True)
class Table:
    """A FlatBuffer table at ``position``; every access is checked against the buffer."""

    buffer: memoryview
    position: int

    def _read(self, form: str, position: int) -> int:
        if position < 0 or position + struct.calcsize(form) > len(self.buffer):
            raise Malformed(f"a value at byte {position}, outside its {len(self.buffer)} bytes")
        return struct.unpack_from(form, self.buffer, position)[0]

    def _field(self, index: int) -> int:
        """Position of a field's value, or 0 where the field is absent (its default holds)."""
        vtable = self.position - self._read("<i", self.position)
        if 4 + 2 * index + 2 > self._read("<H", vtable):
            return 0
        offset = self._read("<H", vtable + 4 + 2 * index)
        return self.position + offset if offset else 0

    def _follow(self, index: int) -> int:
        position = self._field(index)
        return position + self._read("<I", position) if position else 0

    def integer(self, index: int, form: str = "<i", default: int = 0) -> int:
        """A scalar field."""
        position = self._field(index)
        return self._read(form, position) if position else default

    def boolean(self, index: int) -> bool:
        """A bool field (default false)."""
        return self.integer(index, "<B") != 0

    def number(self, index: int, default: float) -> float:
        """A float32 field."""
        position = self._field(index)
        return float(self._read("<f", position)) if position else default

    def table(self, index: int) -> "Table | None":
        """A sub-table, or None where it is absent."""
        position = self._follow(index)
        return Table(self.buffer, position) if position else None

    def raw(self, index: int, item_bytes: int) -> memoryview:
        """The bytes of a vector of fixed-size items; empty where it is absent."""
        position = self._follow(index)
        if not position:
            return self.buffer[:0]
        count = self._read("<I", position)
        start = position + 4
        if count * item_bytes > len(self.buffer) - start:
            raise Malformed(f"a list of {count} entries at byte {position}, which runs past its end")
        return self.buffer[start : start + count * item_bytes]

    def integers(self, index: int, form: str = "<i4", limit: int = _MAX_ENTRIES) -> np.ndarray:
        """A vector of integers as int64."""
        raw = self.raw(index, np.dtype(form).itemsize)
        if len(raw) // np.dtype(form).itemsize > limit:
            raise Malformed(f"a list of more than {limit} entries")
        return np.frombuffer(raw, form).astype(np.int64)

    def text(self, index: int) -> str:
        """A string, or an empty one."""
        raw = self.raw(index, 1)
        if len(raw) > _MAX_NAME:
            raise Malformed(f"a name of {len(raw)} bytes")
        return bytes(raw).decode("utf-8", "replace")

    def tables(self, index: int) -> "tuple[Table, ...]":
        """A vector of tables."""
        offsets = self.integers(index, "<u4")
        start = self._follow(index) + 4
        return tuple(Table(self.buffer, start + 4 * k + int(offset)) for k, offset in enumerate(offsets))


def read_tflite(data: bytes, name: str) -> Network:
    """Parse the bytes of a ``.tflite`` file; ``name`` is what messages call it.

    Raises :class:`HmcapError` for a file that is not one, is damaged, or has control flow (several graphs).
    """
    if len(data) > MAX_FILE_BYTES:
        raise HmcapError(
            f"Expected a network of at most {MAX_FILE_BYTES >> 20} MiB, found {len(data)} bytes in {name}."
        )
    if len(data) < 8 or data[4:8] != b"TFL3":
        raise HmcapError(
            f"Expected a TensorFlow Lite network, but {name} does not start like one. "
            "Check the file, or fetch the published networks with: hmcap models fetch"
        )
    try:
        return _read_network(memoryview(data))
    except Malformed as error:
        raise HmcapError(
            f"Expected a whole TensorFlow Lite network, but {name} holds {error}. The file is damaged or of a kind "
            "that cannot be read here: fetch or export it again."
        ) from error


def _read_network(buffer: memoryview) -> Network:
    model = Table(buffer, struct.unpack_from("<I", buffer)[0])
    subgraphs = model.tables(2)
    if len(subgraphs) != 1:
        raise Malformed(f"{len(subgraphs)} graphs where exactly one is expected")
    graph = subgraphs[0]
    buffers = tuple(b.raw(0, 1) for b in model.tables(4))
    tensors = tuple(_read_tensor(t, buffers) for t in graph.tables(0))
    codes = [_read_code(c) for c in model.tables(1)]
    operators = []
    for op in graph.tables(3):
        index = op.integer(0, "<I")
        if index >= len(codes):
            raise Malformed(f"an operator of kind {index} of {len(codes)}")
        operators.append(Operator(*codes[index], _refs(op, 1, tensors, -1), _refs(op, 2, tensors, 0), op.table(4)))
    network = Network(tensors, _refs(graph, 1, tensors, 0), _refs(graph, 2, tensors, 0), tuple(operators))
    if not network.inputs or not network.outputs:
        raise Malformed("a graph without inputs or outputs")
    return network


def _read_code(code: Table) -> tuple[int, str]:
    # Codes under 127 are stored in the old byte field as well; a file written before the wide field has only that.
    return max(code.integer(0, "<b"), code.integer(3, "<i")), code.text(1)


def _refs(table: Table, index: int, tensors: tuple[Tensor, ...], lowest: int) -> tuple[int, ...]:
    refs = tuple(int(i) for i in table.integers(index))
    if any(not lowest <= i < len(tensors) for i in refs):
        raise Malformed(f"tensor numbers {refs} where there are {len(tensors)}")
    return refs


def _read_tensor(tensor: Table, buffers: tuple[memoryview, ...]) -> Tensor:
    name, code, where = tensor.text(3), tensor.integer(1, "<b"), tensor.integer(2, "<I")
    if code not in DTYPES:
        raise Malformed(f"a tensor of type number {code} ({name!r})")
    shape = tuple(int(n) for n in tensor.integers(0))
    if len(shape) > _MAX_RANK or any(n < 0 for n in shape) or math.prod(shape) > MAX_CONSTANT_BYTES:
        raise Malformed(f"a tensor of shape {shape}")
    if where >= len(buffers):
        raise Malformed(f"a tensor in buffer {where} of {len(buffers)}")
    dtype = np.dtype(DTYPES[code]).newbyteorder("<")
    sparse = tensor.table(6)
    sparsity = _read_sparsity(sparse, len(shape)) if sparse is not None else None
    data = buffers[where]
    if len(data) and sparsity is None and len(data) != math.prod(shape) * dtype.itemsize:
        raise Malformed(f"{len(data)} bytes for a tensor of shape {shape} and type {dtype} ({name!r})")
    return Tensor(name, shape, dtype, data, sparsity)


def _read_sparsity(table: Table, rank: int) -> Sparsity:
    traversal = tuple(int(n) for n in table.integers(0, limit=2 * _MAX_RANK))
    block_map = tuple(int(n) for n in table.integers(1, limit=_MAX_RANK))
    dimensions = []
    for dim in table.tables(2):
        size = dim.integer(1)
        if size < 0:
            raise Malformed(f"a sparse dimension of size {size}")
        if dim.integer(0, "<b") == 0:
            dimensions.append(SparseDimension(size, None, None))
        else:
            dimensions.append(SparseDimension(size, _index_vector(dim, 2), _index_vector(dim, 4)))
    sparsity = Sparsity(traversal, block_map, tuple(dimensions))
    if sorted(traversal) != list(range(len(traversal))) or len(traversal) != len(dimensions):
        raise Malformed("a sparse tensor whose levels do not match its dimensions")
    if len(traversal) != rank + len(block_map) or any(not 0 <= d < rank for d in block_map):
        raise Malformed("a sparse tensor whose blocks do not match its dimensions")
    return sparsity


def _index_vector(table: Table, index: int) -> np.ndarray:
    form, _ = _INDEX_DTYPES.get(table.integer(index, "<B"), (None, 0))
    vector = table.table(index + 1)
    if form is None or vector is None:
        raise Malformed("a sparse dimension without indices")
    return vector.integers(0, form, MAX_FILE_BYTES)


def constant(tensor: Tensor) -> np.ndarray:
    """The value of a constant as a native-endian array of ``tensor.shape``, float16 widened to float32, sparse
    storage expanded. Raises :class:`Malformed` when the storage contradicts the shape."""
    values = np.frombuffer(
        tensor.data[: len(tensor.data) // tensor.dtype.itemsize * tensor.dtype.itemsize], tensor.dtype
    )
    values = values.astype(np.float32 if tensor.dtype == np.float16 else tensor.dtype.newbyteorder("="))
    return values.reshape(tensor.shape) if tensor.sparsity is None else _densify(values, tensor.shape, tensor.sparsity)


def _densify(values: np.ndarray, shape: tuple[int, ...], sparsity: Sparsity) -> np.ndarray:
    """Walk the storage tree level by level, all nodes of a level at once, to the coordinates of every value."""
    rank = len(shape)
    if math.prod(shape) > _MAX_SPARSE:
        raise Malformed(f"a sparse tensor of shape {shape}")
    coordinates: list[np.ndarray] = [np.zeros(0, np.int64)] * len(sparsity.traversal)
    sizes = [1] * len(sparsity.traversal)
    nodes, visited = np.zeros(1, np.int64), []
    # Every place of a dense level needs a segment of the next compressed one, or else a value.
    room, rooms = len(values), []
    for dim in reversed(sparsity.dimensions):
        rooms.append(room)
        room = room if dim.segments is None else len(dim.segments)
    for level, dim, most in zip(sparsity.traversal, sparsity.dimensions, rooms[::-1], strict=True):
        sizes[level] = dim.dense_size
        if dim.segments is None or dim.indices is None:
            if len(nodes) * dim.dense_size > most:
                raise Malformed("a sparse tensor with more places than values or segments")
            parents = np.repeat(np.arange(len(nodes)), dim.dense_size)
            here = np.tile(np.arange(dim.dense_size), len(nodes))
            nodes = nodes[parents] * dim.dense_size + here
        else:
            if len(nodes) and nodes.max() + 1 >= len(dim.segments):
                raise Malformed("a sparse tensor with too few segments")
            first, last = dim.segments[nodes], dim.segments[nodes + 1]
            counts = last - first
            total = int(counts.sum())
            if (counts < 0).any() or (first < 0).any() or (last > len(dim.indices)).any() or total > len(values):
                raise Malformed("a sparse tensor with segments outside its indices")
            parents = np.repeat(np.arange(len(nodes)), counts)
            nodes = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(total)
            here = dim.indices[nodes]
        visited = [(done, at[parents]) for done, at in visited]
        visited.append((level, here))
    for level, at in visited:
        coordinates[level] = at
    if len(nodes) > len(values) or (len(nodes) and nodes.max() >= len(values)):
        raise Malformed("a sparse tensor with more places than values")
    axes = coordinates[:rank]
    for block, axis in enumerate(sparsity.block_map):
        axes[axis] = axes[axis] * sizes[rank + block] + coordinates[rank + block]
    if any(len(at) and (at.min() < 0 or at.max() >= n) for at, n in zip(axes, shape, strict=True)):
        raise Malformed("a sparse tensor with a coordinate outside its shape")
    dense = np.zeros(shape, values.dtype)
    dense[tuple(axes)] = values[nodes]
    return dense
