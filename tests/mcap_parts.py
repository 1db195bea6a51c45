"""MCAP read from the text of its specification (https://mcap.dev/spec), to judge our own reader by."""

import struct
import zlib
from dataclasses import dataclass

MAGIC = b"\x89MCAP0\r\n"
CHUNK, CHANNEL, MESSAGE, METADATA = 0x06, 0x04, 0x05, 0x0C


@dataclass(frozen=True)
class Part:
    """One record of a file."""

    opcode: int
    start: int
    end: int
    messages: tuple[tuple[str, int], ...] = ()
    """Topic and sequence number of what a chunk holds."""


def parts_of(data: bytes) -> list[Part]:
    """The records of a file whose every byte is right, to the end of what is whole."""
    assert data.startswith(MAGIC)
    parts, at, topics = [], len(MAGIC), {}
    while at + 9 <= len(data):
        opcode, length = struct.unpack_from("<BQ", data, at)
        end = at + 9 + length
        if end > len(data):
            break
        messages = chunk_messages(data[at + 9 : end], topics) if opcode == CHUNK else ()
        parts.append(Part(opcode, at, end, messages))
        at = end
    return parts


def chunk_messages(body: bytes, topics: dict[int, str]) -> tuple[tuple[str, int], ...]:
    """Messages of an uncompressed chunk; ``topics`` remembers the channels across chunks."""
    _, _, size, crc, name = struct.unpack_from("<QQQII", body)
    assert name == 0
    (length,) = struct.unpack_from("<Q", body, 32)
    records = body[40:]
    assert size == length == len(records)
    assert crc == zlib.crc32(records)
    found, at = [], 0
    while at < len(records):
        opcode, length = struct.unpack_from("<BQ", records, at)
        at += 9
        if opcode == CHANNEL:
            number, _, chars = struct.unpack_from("<HHI", records, at)
            topics[number] = records[at + 8 : at + 8 + chars].decode()
        elif opcode == MESSAGE:
            number, sequence = struct.unpack_from("<HI", records, at)
            found.append((topics[number], sequence))
        at += length
    return tuple(found)
