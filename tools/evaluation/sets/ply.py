"""Vertices of a PLY mesh (Turk 1994), text or binary; faces and colours are left where they are."""

from pathlib import Path

import numpy as np

from ....models.errors import HmcapError
from .reading import require_file

_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


def read_vertices(file: Path) -> np.ndarray:
    """(V, 3) float64 positions in the unit of the file. Raises HmcapError where the file is no such mesh."""
    data = require_file(file).read_bytes()
    head, end, body = data.partition(b"end_header")
    lines = [line.split() for line in head.decode("ascii", "replace").splitlines()]
    formats = [line[1] for line in lines if line[:1] == ["format"] and len(line) > 1]
    if not end or lines[:1] != [["ply"]] or not formats or formats[0] not in _ORDERS:
        raise _wrong(file, "a PLY header with its format", "none")
    order = _ORDERS[formats[0]]
    body = body.partition(b"\n")[2]
    elements = [i for i, line in enumerate(lines) if line[:1] == ["element"]]
    if not elements or lines[elements[0]][1:2] != ["vertex"] or len(lines[elements[0]]) != 3:
        raise _wrong(file, "vertices as the first element", "another")
    count = lines[elements[0]][2]
    after = elements[1] if len(elements) > 1 else len(lines)
    properties = [line for line in lines[elements[0] + 1 : after] if line[:1] == ["property"]]
    if not count.isdigit() or any(len(p) != 3 or p[1] not in _TYPES for p in properties):
        raise _wrong(file, "a number of vertices with plain properties", "something else")
    names = [p[2] for p in properties]
    if len(set(names)) != len(names) or not {"x", "y", "z"} <= set(names):
        raise _wrong(file, "the properties x, y and z of a vertex", ", ".join(names) or "none")
    rows = int(count)
    if order:
        record = np.dtype([(p[2], order + _TYPES[p[1]]) for p in properties])
        if len(body) < rows * record.itemsize:
            raise _wrong(file, f"{rows} vertices", f"{len(body) // record.itemsize}")
        table = np.frombuffer(body, record, rows)
        return np.stack([table[k].astype(np.float64) for k in "xyz"], axis=1)
    numbers = [line.split() for line in body.decode("ascii", "replace").splitlines()[:rows]]
    if len(numbers) < rows or any(len(line) != len(names) for line in numbers):
        raise _wrong(file, f"{rows} lines of {len(names)} numbers", "fewer")
    try:
        values = np.array(numbers, np.float64).reshape(rows, len(names))
    except ValueError as error:
        raise _wrong(file, "numbers", str(error)) from error
    return values[:, [names.index(k) for k in "xyz"]]


def _wrong(file: Path, expected: str, found: str) -> HmcapError:
    return HmcapError(f"Expected {expected} in the mesh {file}, found {found}. Take the file as it is published.")
