"""The few names that a pickle of plain data and numpy arrays refers to, each built here from checked arguments.

Nothing is looked up by name: a name that is not in the table of :func:`build` is refused by the caller.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

_CODE = re.compile(r"[|<>=]?(\?|b1?|[iu][1248]?|f(2|4|8)?|d|c(8|16)?|O[48]?|[SU]\d*)")
"""Types of elements that are read: truth values, integers, floats, complex numbers, objects, byte strings, text."""
_CONTAINERS = frozenset({"set", "frozenset", "bytes", "bytearray", "complex"})


class Refused(Exception):
    """The stream asks for something that is not data; the message says what."""


@dataclass(slots=True, eq=False)
class Inert:
    """An object of a class that the caller named: what the stream says of it, and nothing of the class itself."""

    name: str
    """Module and name of the class, with a dot between them."""
    args: tuple[Any, ...]
    state: Any = None


@dataclass(frozen=True, slots=True)
class Global:
    """A name that the stream refers to; never the thing of that name."""

    name: str


class Budget:
    """Bytes that may be made in all, so that a small file cannot ask for a large memory by naming one part often."""

    def __init__(self, size: int) -> None:
        self.left = 16 * size + 65536

    def spend(self, size: int) -> None:
        """Take ``size`` bytes off. Raises ``Refused`` where they are not left."""
        self.left -= size
        if self.left < 0:
            raise Refused("arrays that are larger than the file")


def build(target: Global, args: tuple[Any, ...], budget: Budget) -> Any:
    """The value that a known name makes of its arguments. Raises ``Refused`` for any other name."""
    module, _, name = target.name.rpartition(".")
    if module in ("builtins", "__builtin__") and name in _CONTAINERS:
        return _container(name, args, budget)
    maker = _MAKERS.get(target.name)
    if maker is None:
        raise Refused(f"the name {target.name}")
    return maker(args, budget)


def check_key(value: Any) -> None:
    """Raises ``Refused`` unless ``value`` may be a key: text, number, bytes, None, or small tuples and sets of these.

    Hashing anything larger could take without end, since tuples may hold the same tuple twice, and that again.
    """
    waiting, seen = [(value, 0)], 0
    while waiting:
        item, depth = waiting.pop()
        seen += 1
        if isinstance(item, tuple | frozenset) and depth < 8 and seen + len(item) <= 1000:
            waiting.extend((i, depth + 1) for i in item)
        elif not (item is None or isinstance(item, bool | int | float | complex | str | bytes | np.generic)):
            raise Refused(f"a {type(item).__name__} as a key")


def _container(name: str, args: tuple[Any, ...], budget: Budget) -> Any:
    if name == "complex":
        real, imaginary = args
        return complex(float(real), float(imaginary))
    if not args:
        return {"set": set, "frozenset": frozenset, "bytes": bytes, "bytearray": bytearray}[name]()
    if name in ("set", "frozenset"):
        (items,) = args
        if not isinstance(items, list | tuple):
            raise Refused(f"a set of a {type(items).__name__}")
        budget.spend(64 * len(items))
        for item in items:
            check_key(item)
        return set(items) if name == "set" else frozenset(items)
    data = raw_bytes(args[0])
    if len(args) > 2 or (len(args) == 2 and args[1] not in ("latin-1", "latin1")):
        raise Refused(f"{name} of these arguments")
    budget.spend(len(data))
    return data if name == "bytes" else bytearray(data)


def raw_bytes(value: Any) -> bytes:
    """Bytes of a byte string; of text, the bytes that Latin-1 stands for (Python 2 wrote bytes as such text)."""
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, str):
        return value.encode("latin-1")
    raise Refused(f"a {type(value).__name__} where bytes belong")


def _encode(args: tuple[Any, ...], budget: Budget) -> bytes:
    text, encoding = args
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise Refused(f"text encoded as {str(encoding)[:40]}")
    budget.spend(len(text))
    return text.encode("latin-1")


def _ordered(args: tuple[Any, ...], budget: Budget) -> dict[Any, Any]:
    if args:
        raise Refused("an OrderedDict made of arguments")
    return {}


def _dtype(args: tuple[Any, ...], budget: Budget) -> np.dtype[Any]:
    code = args[0].decode("latin-1") if isinstance(args[0], bytes) else args[0]
    if not (isinstance(code, str) and len(args) in (1, 3) and _CODE.fullmatch(code)):
        raise Refused(f"the numpy type {str(code)[:60]!r}")
    return np.dtype(code, False, True)  # a new one, since its byte order follows


def set_dtype_state(dtype: np.dtype[Any], state: Any) -> None:
    """Give a type its byte order, from the state that numpy pickled."""
    if not (isinstance(state, tuple) and len(state) >= 8 and state[0] in (3, 4)):
        raise Refused("a numpy type of another version")
    order, *structure, size, align = state[1:7]
    order = order.decode("latin-1") if isinstance(order, bytes) else order
    known: tuple[Any, ...] = dtype.__reduce__()[2]  # type: ignore[assignment]
    simple = order in ("<", ">", "|", "=") and structure == [None] * 3 and len(state) == 8
    if not (simple and size in (-1, dtype.itemsize) and align in (-1, known[6], dtype.alignment)):
        raise Refused("a numpy type with fields, or of another size than its own")
    if dtype.kind in "OSb" or dtype.itemsize == 1:
        order = known[1]
    # What numpy itself says of such a type, and of the stream's words only the byte order.
    dtype.__setstate__((3, order, *known[2:8]))  # type: ignore[attr-defined]


def _reconstruct(args: tuple[Any, ...], budget: Budget) -> np.ndarray:
    kind, shape, code = args
    if kind != Global("numpy.ndarray") or tuple(shape) != (0,) or raw_bytes(code) != b"b":
        raise Refused("an array of another class than numpy.ndarray")
    return np.zeros(0, np.int8)


def set_array_state(array: np.ndarray, state: Any, budget: Budget) -> None:
    """Give an array its shape, type and elements, from the state that numpy pickled."""
    if not (isinstance(state, tuple) and len(state) == 5 and state[0] in (0, 1)):
        raise Refused("a numpy array of another version")
    _, shape, dtype, fortran, data = state
    count = _count(shape, dtype)
    if dtype.hasobject:
        if not (isinstance(data, list) and len(data) == count):
            raise Refused("an array of objects with more or fewer objects than its shape says")
    else:
        data = raw_bytes(data)
        if len(data) != count * dtype.itemsize:
            raise Refused(f"an array of {count} x {dtype.itemsize} bytes with {len(data)} bytes")
    budget.spend(count * dtype.itemsize)
    array.__setstate__((1, tuple(int(n) for n in shape), dtype, bool(fortran), data))  # type: ignore[attr-defined]


def _count(shape: Any, dtype: Any) -> int:
    whole = isinstance(shape, tuple) and all(isinstance(n, int) and 0 <= n < 2**62 for n in shape)
    if not whole or len(shape) > 32 or not isinstance(dtype, np.dtype):
        raise Refused("an array without a proper shape or type")
    return math.prod(shape)


def _scalar(args: tuple[Any, ...], budget: Budget) -> Any:
    dtype, data = args
    data = raw_bytes(data)
    if not isinstance(dtype, np.dtype) or dtype.hasobject or len(data) != dtype.itemsize:
        raise Refused("a numpy number of another size than its type")
    if not data:
        return dtype.type()
    return np.frombuffer(data, dtype, 1)[0]


def _frombuffer(args: tuple[Any, ...], budget: Budget) -> np.ndarray:
    data, dtype, shape, order, *axes = args
    count = _count(shape, dtype)
    if dtype.hasobject or not isinstance(data, bytes | bytearray) or len(data) != count * dtype.itemsize:
        raise Refused("an array of another size than its shape says")
    budget.spend(len(data))
    flat = np.frombuffer(bytearray(data), dtype) if len(data) else np.zeros(0, dtype)
    if axes and axes[0] is not None:
        if order != "K" or sorted(axes[0]) != list(range(len(shape))):
            raise Refused("an array whose axes are in no order")
        return flat.reshape(shape).transpose(axes[0])
    if order not in ("C", "F"):
        raise Refused("an array whose elements are in no order")
    return flat.reshape(shape, order=order)


_MAKERS: dict[str, Callable[[tuple[Any, ...], Budget], Any]] = {
    "_codecs.encode": _encode,
    "collections.OrderedDict": _ordered,
    "numpy.dtype": _dtype,
    **{f"numpy.{c}.multiarray._reconstruct": _reconstruct for c in ("core", "_core")},
    **{f"numpy.{c}.multiarray.scalar": _scalar for c in ("core", "_core")},
    **{f"numpy.{c}.numeric._frombuffer": _frombuffer for c in ("core", "_core")},
}
