"""Changes to a file that keep its outer layers whole, so that the readers behind a checksum or a length are reached."""

import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import msgpack
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Chunk, Message, Metadata
from mcap.stream_reader import breakup_chunk
from mcap.writer import MCAP0_MAGIC, CompressionType, IndexType, Writer

from ...realtime.records import checksum

Change = Callable[[bytes], bytes]
"""Changes bytes without knowing what they are."""
Mutator = Callable[[bytes, Change, random.Random], bytes]
"""Changes something inside a file; raises ValueError where the bytes are not such a file."""

ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63), 10**400, 0.5, -0.0, 1e308, 1e-320, float("nan"), float("inf"),
    "", "0", "\0", "\ud800", "\udcff", "a/../b", "../../etc/passwd", "x" * 5000, "9" * 5000, b"", b"\0" * 8, [], {},
    [[]], [0] * 100, {"": {}}, ["a", 1, None],
)  # fmt: skip
"""Values that a field seldom has."""


def values(tree: Any, change: Change, rng: random.Random) -> Any:
    """A nested value of maps, lists and plain values with one of its parts altered, left out, doubled or replaced."""
    if isinstance(tree, dict) and tree and rng.random() < 0.9:
        key = rng.choice(list(tree))
        what = rng.random()
        if what < 0.08:
            return {k: v for k, v in tree.items() if k != key}
        if what < 0.12:
            return tree | {str(rng.choice(ODD))[:80]: tree[key]}
        if what < 0.16:
            return tree | {key: tree[rng.choice(list(tree))]}
        return tree | {key: values(tree[key], change, rng)}
    if isinstance(tree, list) and tree and rng.random() < 0.85:
        at, what = rng.randrange(len(tree)), rng.random()
        if what < 0.1:
            return tree[:at] + tree[at + 1 :]
        if what < 0.2:
            return tree[: at + 1] + tree[at:]
        return [*tree[:at], values(tree[at], change, rng), *tree[at + 1 :]]
    what = rng.random()
    if isinstance(tree, bytes) and what < 0.6:
        return change(tree)
    if isinstance(tree, str) and what < 0.5:
        return change(tree.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
    if isinstance(tree, int | float) and not isinstance(tree, bool) and what < 0.5:
        return tree * rng.choice((-1, 2, 0.5, 1000)) if rng.random() < 0.7 else tree + rng.choice((-1, 1, 0.1))
    return rng.choice(ODD)


def json_values(data: bytes, change: Change, rng: random.Random) -> bytes:
    """A JSON document with one of its values altered."""
    return json.dumps(values(json.loads(data), change, rng), default=repr).encode()


def msgpack_values(data: bytes, change: Change, rng: random.Random) -> bytes:
    """A msgpack message with one of its values altered."""
    try:
        packed = msgpack.packb(values(msgpack.unpackb(data), change, rng), unicode_errors="surrogatepass")
    except (TypeError, OverflowError, msgpack.UnpackException) as error:
        raise ValueError("no message") from error
    return bytes(packed or b"")


def zip_members(data: bytes, change: Change, rng: random.Random) -> bytes:
    """An archive with one member altered, left out, named otherwise or stored twice; lengths and checksums fit."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist() if info.file_size < 1 << 22}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, KeyError) as error:
        raise ValueError("no archive") from error
    if not members:
        raise ValueError("no members")
    name, what = rng.choice(list(members)), rng.random()
    if what < 0.05:
        del members[name]
    elif what < 0.1:
        members[rng.choice(list(members))] = members[name]
    elif members[name][:6] == b"\x93NUMPY" and what < 0.5:
        members[name] = array_header(members[name], rng)
    else:
        members[name] = change(members[name])
    packed = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if rng.random() < 0.1 else zipfile.ZIP_STORED
    with zipfile.ZipFile(packed, "w", method) as archive:
        for member, content in members.items():
            archive.writestr(zipfile.ZipInfo(member), content, method)
    return packed.getvalue()


_TYPES = (
    "<f4",
    "<f8",
    "<i8",
    "|b1",
    "|O",
    "<U5",
    "|S3",
    ">f4",
    "<c16",
    "<f2",
    "|V8",
    "<M8[s]",
    "<u8",
    "[('a', '<f4')]",
)
_SHAPES = (
    "()",
    "(0,)",
    "(1,)",
    "(-1,)",
    "(3, 0)",
    "(2, 3, 4)",
    "(1000000000, 3)",
    "(99999999999999999999,)",
    "(True,)",
    "3",
)


def array_header(member: bytes, rng: random.Random) -> bytes:
    """An npy member whose header says another type, shape or order."""
    length = struct.unpack_from("<H", member, 8)[0]
    header, rest = member[10 : 10 + length].decode("latin-1"), member[10 + length :]
    what = rng.random()
    if what < 0.4 and "'shape': (" in header:
        begin, _, tail = header.partition("'shape': ")
        header = f"{begin}'shape': {rng.choice(_SHAPES)}{tail[tail.index(')') + 1 :]}"
    elif what < 0.8 and "'descr': '" in header:
        begin, _, tail = header.partition("'descr': '")
        kind = rng.choice(_TYPES)
        header = f"{begin}'descr': {kind if kind[0] == '[' else repr(kind)}{tail[tail.index(chr(39)) + 1 :]}"
    else:
        header = header.replace("False", "True", 1)
    raw = header.rstrip().encode("latin-1", "replace") + b"\n"
    return member[:8] + struct.pack("<H", len(raw)) + raw + rest


def take_records(data: bytes, change: Change, rng: random.Random) -> bytes:
    """A take with one header, report or message altered, lost or written twice; every length and checksum is right."""
    parts = _take_parts(data)
    at, what = rng.randrange(len(parts)), rng.random()
    name, body = parts[at]
    if what < 0.05:
        del parts[at]
    elif what < 0.1:
        parts.insert(rng.randrange(len(parts) + 1), (name, body))
    elif what < 0.15:
        parts[at] = (rng.choice(parts)[0], body)
    elif what < 0.3:
        parts[at] = (name, change(body))
    else:
        parts[at] = (name, (json_values if name.startswith("hmcap") else msgpack_values)(body, change, rng))
    return _take_of(parts)


def _take_parts(data: bytes) -> list[tuple[str, bytes]]:
    """Names of metadata and numbers of channels, each with its content, in the order of the file."""
    parts: list[tuple[str, bytes]] = []
    at = len(MCAP0_MAGIC)
    while data[: len(MCAP0_MAGIC)] == MCAP0_MAGIC and at + 9 <= len(data):
        opcode, length = struct.unpack_from("<BQ", data, at)
        body, at = data[at + 9 : at + 9 + length], at + 9 + length
        if opcode == Opcode.METADATA:
            record = Metadata.read(ReadDataStream(io.BytesIO(body)))
            parts.append((record.name, record.metadata.get("json", "").encode("utf-8", "surrogateescape")))
        elif opcode == Opcode.CHUNK:
            records = breakup_chunk(Chunk.read(ReadDataStream(io.BytesIO(body))))
            parts += [(str(m.channel_id), m.data) for m in records if isinstance(m, Message)]
    if not parts:
        raise ValueError("no take")
    return parts


def _take_of(parts: list[tuple[str, bytes]]) -> bytes:
    file = io.BytesIO()
    writer = Writer(file, compression=CompressionType.NONE, index_types=IndexType.NONE)
    writer.start("hmcap")
    for topic in ("/proxies", "/motion"):
        writer.register_channel(topic, "msgpack", 0)
    for name, body in parts:
        if name.isdecimal():
            writer.add_message(int(name), 0, body, 0)
        else:
            text = body.decode("utf-8", "replace")
            writer.add_metadata(name, {"format_version": "1", "json": text, "crc32": checksum(text)})
    writer.finish()
    return file.getvalue()
