"""Read a pickle as data, executing nothing of it.

Some sets are published as Python pickles, and a pickle is a program: loading one the usual way runs whatever its writer
wanted. This reader walks through the instructions itself (protocols 0 to 5, also those that Python 2 wrote) and builds
None, truth values, numbers, text, bytes, lists, tuples, dictionaries, sets, and numpy arrays, numbers and types. Any
other name in the file is refused. A name of :func:`read_pickle`'s ``inert`` gives a record of what the file says of the
object, so that a few known classes can be understood without being imported.

Text of Python 2 is read as Latin-1, as numpy needs it. An ordered dictionary becomes a dictionary. Memory stays within
a small multiple of the file's size.
"""

import io
import pickletools
import re
import struct
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np

from ....models.errors import HmcapError
from .pickle_globals import Budget, Global, Inert, Refused, build, check_key, set_array_state, set_dtype_state

__all__ = ["Inert", "read_pickle", "read_pickle_bytes"]

_TRIES = (ValueError, TypeError, LookupError, OverflowError, EOFError, MemoryError, AttributeError, struct.error)
"""What Python and numpy raise for instructions that make no sense."""


def read_pickle(file: Path, inert: Collection[str] = ()) -> Any:
    """The value in a pickle file.

    inert: classes ("module.name") whose objects become :class:`Inert` records. Raises ``HmcapError`` where the file is
    missing, is no pickle, or asks for anything but data, naming what it asks for.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise HmcapError(f"Expected a pickle file at {file}, found none that can be read ({error}).") from error
    return read_pickle_bytes(data, str(file), inert)


def read_pickle_bytes(data: bytes, where: str, inert: Collection[str] = ()) -> Any:
    """As :func:`read_pickle` for the bytes of the file; ``where`` names them in errors."""
    reader = _Reader(data, frozenset(inert))
    try:
        return reader.run()
    except Refused as refused:
        raise HmcapError(
            f"Expected a pickle of plain data and numpy arrays in {where}, found {refused} (byte {reader.at}). It is "
            "refused, and nothing of the file was executed. Take the file as it is published."
        ) from refused
    except _TRIES as error:
        raise HmcapError(
            f"Expected a pickle in {where}, found something that cannot be read as one (byte {reader.at} of "
            f"{len(data)}: {str(error)[:200]}). It may be cut off: download it again."
        ) from error


class _Mark:
    """Where a group of values begins on the stack."""


_MARK = _Mark()
_INSTRUCTIONS = {op.code.encode("latin-1"): op for op in pickletools.opcodes}


class _Reader:
    """The stack machine of pickle, with nothing behind its names."""

    def __init__(self, data: bytes, inert: frozenset[str]) -> None:
        self.stream = io.BytesIO(data)
        self.at = 0
        self.inert = inert
        self.budget = Budget(len(data))
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Follow the instructions to the end."""
        while True:
            self.at = self.stream.tell()
            code = self.stream.read(1)
            if not code:
                raise EOFError("it ends without its last instruction")
            known = _INSTRUCTIONS.get(code)
            if known is None:
                raise ValueError(f"{code!r} is no instruction")
            name = known.name
            if name == "STOP":
                return self.value()
            if name == "STRING":
                self.stack.append(_python2_text(self.stream.readline()))
                continue
            arg = known.arg.reader(self.stream) if known.arg is not None else None
            if name in _LITERAL:
                self.stack.append(arg)
            elif name in _CONSTANT:
                self.stack.append(_CONSTANT[name]())
            elif name in _STEPS:
                _STEPS[name](self, arg)
            else:
                raise Refused(f"the instruction {name}")

    def pop(self) -> Any:
        """The top of the stack, which may not be a mark."""
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value belongs")
        return value

    def value(self) -> Any:
        """The top of the stack, which has to be data."""
        value = self.pop()
        if isinstance(value, Global):
            raise Refused(f"the name {value.name}")
        return value

    def group(self) -> list[Any]:
        """The values above the last mark, in order, both taken off."""
        out: list[Any] = []
        while (value := self.stack.pop()) is not _MARK:
            out.append(value)
        return out[::-1]

    def values(self) -> list[Any]:
        """As :meth:`group`, all of it data."""
        out = self.group()
        for value in out:
            if isinstance(value, Global):
                raise Refused(f"the name {value.name}")
        return out

    def top(self, kind: type) -> Any:
        """The top of the stack, left there."""
        if not isinstance(self.stack[-1], kind):
            raise ValueError(f"no {kind.__name__} to add to")
        return self.stack[-1]

    def fill(self, pairs: list[Any]) -> None:
        """Put keys and values, in turn, into the dictionary on top."""
        if len(pairs) % 2:
            raise ValueError("a key without a value")
        target = self.top(dict)
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            check_key(key)
            target[key] = value

    def add(self, items: list[Any]) -> None:
        """Put items into the set on top."""
        target = self.top(set)
        for item in items:
            check_key(item)
            target.add(item)

    def remember(self, place: int) -> None:
        """Keep the top of the stack under a number."""
        if self.stack[-1] is _MARK:
            raise ValueError("a mark where a value belongs")
        self.memo[place] = self.stack[-1]

    def recall(self, place: int) -> None:
        """Put a kept value on the stack again."""
        self.stack.append(self.memo[place])

    def name(self, name: str) -> None:
        """Put a name on the stack."""
        self.stack.append(Global(name))

    def name_from_stack(self) -> None:
        """Put a name on the stack whose module and word are there."""
        word, module = self.pop(), self.pop()
        if not (isinstance(word, str) and isinstance(module, str)):
            raise ValueError("a name that is no text")
        self.name(f"{module}.{word}")

    def call(self) -> None:
        """Build the value of a name and its arguments."""
        args, target = self.pop(), self.pop()
        if not (isinstance(target, Global) and isinstance(args, tuple)):
            raise ValueError("arguments without a name")
        if target.name in self.inert:
            self.stack.append(Inert(target.name, args))
        elif target.name in ("copyreg._reconstructor", "copy_reg._reconstructor"):
            self.stack.append(self.plain_object(args))
        else:
            self.stack.append(build(target, args, self.budget))

    def plain_object(self, args: tuple[Any, ...]) -> Inert:
        """An object of an inert class as the first protocols wrote it."""
        kind = args[0]
        if not (isinstance(kind, Global) and kind.name in self.inert):
            raise Refused(f"the name {kind.name if isinstance(kind, Global) else 'copyreg._reconstructor'}")
        return Inert(kind.name, ())

    def new(self) -> None:
        """An object of an inert class as the later protocols wrote it."""
        args, target = self.pop(), self.pop()
        if not (isinstance(target, Global) and isinstance(args, tuple)):
            raise ValueError("arguments without a name")
        if target.name not in self.inert:
            raise Refused(f"the name {target.name}")
        self.stack.append(Inert(target.name, args))

    def state(self) -> None:
        """Give the object on top its state."""
        state, target = self.value(), self.stack[-1]
        if isinstance(target, np.dtype):
            set_dtype_state(target, state)
        elif isinstance(target, np.ndarray):
            set_array_state(target, state, self.budget)
        elif isinstance(target, Inert):
            target.state = state
        else:
            raise Refused(f"a state for a {type(target).__name__}")

    def duplicate(self) -> None:
        """Put the top of the stack there again."""
        value = self.pop()
        self.stack += [value, value]


def _python2_text(line: bytes) -> str:
    text = line.strip()
    if not line.endswith(b"\n") or len(text) < 2 or text[:1] not in (b"'", b'"') or text[-1:] != text[:1]:
        raise ValueError("text without its quotes")
    return _ESCAPE.sub(_unescaped, text[1:-1]).decode("latin-1")


_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.?)", re.DOTALL)
_ESCAPED = {b"\\": b"\\", b"'": b"'", b'"': b'"', b"n": b"\n", b"r": b"\r", b"t": b"\t"}
"""What Python 2 wrote behind a backslash, besides the code of a byte."""


def _unescaped(match: re.Match[bytes]) -> bytes:
    found = match[1]
    if len(found) == 3:
        return bytes([int(found[1:], 16)])
    if found not in _ESCAPED:
        raise ValueError(f"an unknown escape {match[0]!r}")
    return _ESCAPED[found]


def _global(reader: _Reader, arg: str) -> None:
    module, _, word = arg.partition(" ")
    reader.name(f"{module}.{word}")


_LITERAL = frozenset({
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "BINSTRING", "SHORT_BINSTRING", "BINBYTES",
    "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "FLOAT",
    "BINFLOAT",
})  # fmt: skip
_CONSTANT: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
    "MARK": lambda: _MARK,
}


def _dict(reader: _Reader, arg: Any) -> None:
    pairs = reader.values()
    reader.stack.append({})
    reader.fill(pairs)


def _frozenset(reader: _Reader, arg: Any) -> None:
    items = reader.values()
    for item in items:
        check_key(item)
    reader.stack.append(frozenset(items))


def _tuple_of(count: int) -> Callable[[_Reader, Any], None]:
    def step(reader: _Reader, arg: Any) -> None:
        reader.stack.append(tuple([reader.pop() for _ in range(count)][::-1]))

    return step


def _set_item(reader: _Reader, arg: Any) -> None:
    value, key = reader.value(), reader.value()
    reader.fill([key, value])


def _append(reader: _Reader, arg: Any) -> None:
    value = reader.value()
    reader.top(list).append(value)


def _appends(reader: _Reader, arg: Any) -> None:
    values = reader.values()
    reader.top(list).extend(values)


_STEPS: dict[str, Callable[[_Reader, Any], object]] = {
    "PROTO": lambda reader, arg: None,
    "FRAME": lambda reader, arg: None,
    "POP": lambda reader, arg: reader.stack.pop(),
    "POP_MARK": lambda reader, arg: reader.group(),
    "DUP": lambda reader, arg: reader.duplicate(),
    "LIST": lambda reader, arg: reader.stack.append(reader.values()),
    "TUPLE": lambda reader, arg: reader.stack.append(tuple(reader.group())),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "DICT": _dict,
    "FROZENSET": _frozenset,
    "APPEND": _append,
    "APPENDS": _appends,
    "SETITEM": _set_item,
    "SETITEMS": lambda reader, arg: reader.fill(reader.values()),
    "ADDITEMS": lambda reader, arg: reader.add(reader.values()),
    "GET": lambda reader, arg: reader.recall(int(arg)),
    "BINGET": lambda reader, arg: reader.recall(arg),
    "LONG_BINGET": lambda reader, arg: reader.recall(arg),
    "PUT": lambda reader, arg: reader.remember(int(arg)),
    "BINPUT": lambda reader, arg: reader.remember(arg),
    "LONG_BINPUT": lambda reader, arg: reader.remember(arg),
    "MEMOIZE": lambda reader, arg: reader.remember(len(reader.memo)),
    "GLOBAL": _global,
    "STACK_GLOBAL": lambda reader, arg: reader.name_from_stack(),
    "REDUCE": lambda reader, arg: reader.call(),
    "NEWOBJ": lambda reader, arg: reader.new(),
    "BUILD": lambda reader, arg: reader.state(),
}
