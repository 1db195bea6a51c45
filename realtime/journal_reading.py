"""Reading the take on disk, however it ended; ``journal`` writes it.

Layout: MCAP metadata records ``hmcap`` (format version and header) and ``hmcap.report``; channel ``/proxies`` with one
message a frame; channel ``/motion`` with one message a frame and revision; messages are msgpack (see ``codec``), in
uncompressed chunks with a checksum, at least one chunk a second. Any MCAP tool can list and index the file.
"""

import io
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Message, Metadata
from mcap.stream_reader import breakup_chunk
from mcap.writer import MCAP0_MAGIC

from ..models.errors import HmcapError
from ..models.motion import MotionFrame
from ..models.paths import user_path
from ..models.proxies import Proxies
from .codec import decode_motion, decode_proxies
from .take import FORMAT_VERSION, SUFFIX, Recovery, Take, TakeHeader, newest_motion

PART_SUFFIX = ".part"
"""Ending of a take that is still being written, after ``SUFFIX``."""
MAX_RECORD_BYTES = 64 << 20
"""Longest record that is read; the writer's own chunks stay under 2 MiB."""

PROXIES, MOTION = "/proxies", "/motion"
"""Channels."""
HEADER, REPORT = "hmcap", "hmcap.report"
"""Metadata records."""
_RECORD_HEAD = struct.Struct("<BQ")
_NOT_A_RECORD = (McapError, struct.error, UnicodeDecodeError, OverflowError)
"""What the format's library raises on altered bytes; OverflowError where a length no longer fits a machine word."""


def read_take(path: str | Path) -> Take:
    """Read a take, however it ended: every whole chunk counts, and ``Take.recovery`` says how many there were.

    Raises ``HmcapError`` where the file is missing, not a take, of a newer format, declares sizes that no take has, or
    was cut off before its first record.
    """
    path = user_path(path)
    if not path.is_file():
        raise HmcapError(_no_take(path))
    scan = _Scan()
    try:
        with path.open("rb") as file:
            scan.run(file, path.stat().st_size, path)
    except OSError as error:
        raise HmcapError(f"Expected a take in {path}; the system said: {error.strerror or error}.") from error
    if scan.header is None:
        raise HmcapError(
            f"Expected a take in {path}; its header is damaged or was never written, so nothing can be recovered. "
            "Use another copy, or capture again."
        )
    revision, motion = newest_motion(scan.motion)
    proxies = tuple(scan.proxies[i] for i in sorted(scan.proxies))
    return Take(scan.header, proxies, motion, scan.report, revision, scan.recovery())


class _Scan:
    """One pass over the records of a file, keeping what is whole."""

    def __init__(self) -> None:
        self.header: TakeHeader | None = None
        self.report: dict[str, Any] | None = None
        self.proxies: dict[int, Proxies] = {}
        self.motion: dict[int, dict[int, MotionFrame]] = {}
        # The writer always numbers its channels so; kept for files whose first chunk is damaged.
        self._topics = {1: PROXIES, 2: MOTION}
        self._chunks = self._damaged = self._lost = 0
        self._ended = False

    def run(self, file: IO[bytes], size: int, path: Path) -> None:
        """Read every whole record of ``file``, which is ``size`` bytes long."""
        magic = file.read(len(MCAP0_MAGIC))
        if magic != MCAP0_MAGIC:
            short = not magic or MCAP0_MAGIC.startswith(magic)
            raise HmcapError(
                f"Expected a take in {path}; the file is {'empty or cut off at once' if short else 'of another kind'} "
                f"({size:,} bytes). A take ends in {SUFFIX} and is written by hmcap --video or hmcap --webcam --record."
            )
        for opcode, body in self._records(file, size, path):
            if opcode == Opcode.METADATA:
                self._metadata(body)
            elif opcode == Opcode.CHUNK:
                self._chunk(body)
            elif opcode == Opcode.DATA_END:
                self._ended = True
                return

    def recovery(self) -> Recovery:
        whole = self._ended and not self._damaged
        return Recovery(whole, self._chunks, self._damaged, self._lost)

    def _records(self, file: IO[bytes], size: int, path: Path) -> Iterator[tuple[int, bytes]]:
        while True:
            at = file.tell()
            head = file.read(_RECORD_HEAD.size)
            if len(head) < _RECORD_HEAD.size:
                self._lost = size - at
                return
            opcode, length = _RECORD_HEAD.unpack(head)
            known = Opcode.HEADER <= opcode <= Opcode.DATA_END
            if known and length > MAX_RECORD_BYTES and not self.proxies:
                raise HmcapError(
                    f"Expected a take in {path}; it declares a record of {length:,} bytes, more than a take can hold "
                    f"({MAX_RECORD_BYTES:,}). The file is damaged or was not written by hmcap."
                )
            # After a power cut a file system may leave zeros or old data at the end: opcode 0 is no record.
            if not known or length > min(MAX_RECORD_BYTES, size - file.tell()):
                self._lost = size - at
                return
            yield opcode, file.read(length)

    def _metadata(self, body: bytes) -> None:
        try:
            record = Metadata.read(ReadDataStream(io.BytesIO(body)))
        except _NOT_A_RECORD:
            self._damaged += 1
            return
        text = record.metadata.get("json", "")
        if record.name in (HEADER, REPORT) and record.metadata.get("crc32") != checksum(text):
            self._damaged += 1
            return
        if record.name == HEADER:
            version = record.metadata.get("format_version", "")
            if not version.isdecimal() or not 1 <= int(version[:9]) <= FORMAT_VERSION:
                raise HmcapError(
                    f"Expected a take of format {FORMAT_VERSION} or older; this one has format "
                    f"{version[:20] or '(none)'}. Update hmcap: pip install --upgrade hmcap"
                )
            self.header = TakeHeader.from_json(text)
        elif record.name == REPORT:
            try:
                report = json.loads(text)
            except (ValueError, RecursionError):
                report = None
            self.report = report if isinstance(report, dict) else None

    def _chunk(self, body: bytes) -> None:
        try:
            chunk = Chunk.read(ReadDataStream(io.BytesIO(body)))
            intact = (
                chunk.compression == ""
                and chunk.uncompressed_size == len(chunk.data)
                and chunk.uncompressed_crc == zlib.crc32(chunk.data)
            )
            records = breakup_chunk(chunk) if intact else []
        except _NOT_A_RECORD:
            intact, records = False, []
        if not intact:
            self._damaged += 1
            return
        self._chunks += 1
        for record in records:
            if isinstance(record, Channel):
                self._topics[record.id] = record.topic
            elif isinstance(record, Message):
                topic = self._topics.get(record.channel_id)
                if topic == PROXIES:
                    proxies = decode_proxies(record.data)
                    self.proxies[proxies.index] = proxies
                elif topic == MOTION:
                    motion, revision = decode_motion(record.data)
                    self.motion.setdefault(revision, {})[motion.index] = motion


def checksum(text: str) -> str:
    """What guards a metadata record: MCAP itself protects only chunks."""
    return f"{zlib.crc32(text.encode()):08x}"


def _no_take(path: Path) -> str:
    part = path.with_name(path.name + PART_SUFFIX)
    if part.is_file():
        return (
            f"Expected a take at {path}; only {part.name} is there, from a capture that was not closed. "
            f"Export from it: hmcap export {part} --to bvh"
        )
    if path.is_dir():
        return f"Expected a take (a file that ends in {SUFFIX}) at {path}; it is a folder. Name the file in it."
    return f"Expected a take at {path}; there is no such file. Check the path: a capture prints it at its end."
