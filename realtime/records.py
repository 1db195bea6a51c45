"""The records of an MCAP file that may end anywhere and be damaged anywhere: every whole one is found.

MCAP is a row of records, each its kind, its length and its body; one damaged length would hide all that follows. But
chunks and our metadata carry checksums, so the next whole one can be found by looking for its head and trying the sum.
Source: https://mcap.dev/spec (Records; Chunk; Message Index; Metadata).
"""

import io
import re
import struct
import zlib
from collections.abc import Iterator
from typing import IO

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Metadata
from mcap.writer import MCAP0_MAGIC

MAX_RECORD_BYTES = 64 << 20
"""Longest chunk that is read; the writer's own stay under 2 MiB."""
MAX_METADATA_BYTES = 4 << 20
"""Longest metadata record that is read; header and report need a few KiB."""
HEADER, REPORT = "hmcap", "hmcap.report"
"""Metadata records of a take."""

_HEAD = struct.Struct("<BQ")
_CHUNK_HEAD = struct.Struct("<QQQIIQ")
"""Start, end, size, checksum, length of the compression's name (0: none), size again; then the records."""
_INDEX_HEAD = struct.Struct("<HI")
_BEGINNINGS = re.compile(
    # A chunk whose two sizes agree, both below 4 GiB; or a metadata record of ours.
    rb"\x06(?=.{24}(.{4})\0{4}.{4}\0{4}\1\0{4})|\x0c(?=.{8}(?:\x05\0{3}hmcap|\x0c\0{3}hmcap\.report))",
    re.DOTALL,
)
_LONGEST_BEGINNING = 64
_FIRST_STEP, _LAST_STEP = 1 << 12, 1 << 20
_NOT_A_RECORD = (McapError, struct.error, UnicodeDecodeError, OverflowError)
"""What the format's library raises on altered bytes; OverflowError where a length no longer fits a machine word."""


class Records:
    """One pass over a file: iterate for the kind and body of its whole chunks and whole metadata records, in order.

    Memory is bounded by the longest record, work by a few times the length of the file, whatever is in it.
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._size = file, size
        # Where the last record ended whose checksum was right: what lies before is never looked at again.
        self._verified = 0
        self._work = 4 * size + MAX_RECORD_BYTES
        self.damaged = 0
        """Damaged places that were passed over."""
        self.lost_bytes = 0
        """Bytes at the end in which nothing whole was found."""
        self.ended = False
        """Whether the end of the data was reached that a closed file has."""
        self.absurd_length = 0
        """A length that no record of a take has, where one was declared."""

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        at = len(MCAP0_MAGIC)
        while True:
            found = self._record(at)
            if found is None:
                broken_at, found = at, self._next_whole()
                if found is None:
                    self.lost_bytes = self._size - broken_at
                    return
                self.damaged += 1
            opcode, body, at = found
            if opcode == Opcode.DATA_END:
                self.ended = True
                return
            if opcode in (Opcode.CHUNK, Opcode.METADATA):
                self._verified = at
                yield opcode, body

    def _record(self, at: int) -> tuple[int, bytes, int] | None:
        """Kind, body and end of the record at a place; None where there is no whole one."""
        head = self._read(at, _HEAD.size)
        if len(head) < _HEAD.size:
            return None
        opcode, length = _HEAD.unpack(head)
        start, end = at + _HEAD.size, at + _HEAD.size + length
        if opcode in (Opcode.CHUNK, Opcode.METADATA, Opcode.HEADER) and length > MAX_RECORD_BYTES:
            self.absurd_length = self.absurd_length or length
            return None
        if end > self._size:
            return None
        if opcode == Opcode.CHUNK:
            body = self._read(start, length)
            if chunk_data(body) is not None:
                return opcode, body, end
            self._work -= length
            return None
        if opcode == Opcode.METADATA and length <= MAX_METADATA_BYTES:
            body = self._read(start, length)
            if metadata(body) is not None:
                return opcode, body, end
            self._work -= length
            return None
        if opcode == Opcode.MESSAGE_INDEX and length >= _INDEX_HEAD.size:
            _, listed = _INDEX_HEAD.unpack(self._read(start, _INDEX_HEAD.size))
            return (opcode, b"", end) if listed == length - _INDEX_HEAD.size else None
        beginning = opcode == Opcode.HEADER and at == len(MCAP0_MAGIC)
        if beginning or (opcode == Opcode.DATA_END and length == 4):
            return opcode, b"", end
        # After a power cut a file system may leave zeros or old data at the end: opcode 0 is no record.
        return None

    def _next_whole(self) -> tuple[int, bytes, int] | None:
        """Kind, body and end of the next record with a right checksum."""
        at, step = self._verified, _FIRST_STEP
        while at < self._size and self._work > 0:
            window = self._read(at, step + _LONGEST_BEGINNING)
            self._work -= len(window)
            for match in _BEGINNINGS.finditer(window):
                if match.start() < step and (found := self._whole(at + match.start())):
                    return found
                if self._work <= 0:
                    return None
            at, step = at + step, min(2 * step, _LAST_STEP)
        return None

    def _whole(self, at: int) -> tuple[int, bytes, int] | None:
        """The chunk or metadata record at a place, if its checksum is right; the length of a chunk may be damaged."""
        opcode, length = _HEAD.unpack(self._read(at, _HEAD.size))
        start = at + _HEAD.size
        if opcode == Opcode.CHUNK:
            length = _CHUNK_HEAD.size + _CHUNK_HEAD.unpack(self._read(start, _CHUNK_HEAD.size))[-1]
        most = MAX_RECORD_BYTES if opcode == Opcode.CHUNK else MAX_METADATA_BYTES
        if not _CHUNK_HEAD.size < length <= min(most, self._size - start):
            return None
        body = self._read(start, length)
        self._work -= length
        whole = chunk_data(body) if opcode == Opcode.CHUNK else metadata(body)
        return None if whole is None else (opcode, body, start + length)

    def _read(self, at: int, length: int) -> bytes:
        self._file.seek(at)
        return self._file.read(length)


def chunk_data(body: bytes) -> memoryview | None:
    """The records in the body of a chunk; None where its checksum is wrong, or where it is compressed, as no chunk of a
    take is."""
    if len(body) <= _CHUNK_HEAD.size:
        return None
    data = memoryview(body)[_CHUNK_HEAD.size :]
    return data if _CHUNK_HEAD.unpack_from(body)[3] == zlib.crc32(data) else None


def metadata(body: bytes) -> Metadata | None:
    """A metadata record; None where it cannot be read, or is one of a take's and its checksum is wrong."""
    try:
        record = Metadata.read(ReadDataStream(io.BytesIO(body)))
    except _NOT_A_RECORD:
        return None
    if record.name in (HEADER, REPORT) and record.metadata.get("crc32") != checksum(record.metadata.get("json", "")):
        return None
    return record


def checksum(text: str) -> str:
    """What guards a metadata record of a take: MCAP itself protects only chunks."""
    return f"{zlib.crc32(text.encode()):08x}"


def records_of(data: memoryview) -> Iterator[tuple[int, bytes]]:
    """Kind and body of the records in a chunk, one at a time; ends where they no longer make sense."""
    at = 0
    while at + _HEAD.size <= len(data):
        opcode, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        if length > len(data) - at:
            return
        yield opcode, bytes(data[at : at + length])
        at += length
