"""The take on disk: an MCAP file that is appended to while capturing and survives being cut off anywhere.

Layout: MCAP metadata records ``hmcap`` (format version and header) and ``hmcap.report``; channel ``/proxies`` with one
message a frame; channel ``/motion`` with one message a frame and revision; messages are msgpack (see ``codec``), in
uncompressed chunks with a checksum, at least one chunk a second. Any MCAP tool can list and index the file.
"""

import contextlib
import dataclasses
import io
import json
import logging
import os
import shutil
import struct
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Message, Metadata
from mcap.stream_reader import breakup_chunk
from mcap.writer import MCAP0_MAGIC, CompressionType, IndexType, Writer

from ..models.errors import HmcapError
from ..models.motion import MotionFrame
from ..models.proxies import Proxies
from .codec import decode_motion, decode_proxies, encode_motion, encode_proxies
from .locks import is_at, open_alone
from .take import FORMAT_VERSION, SUFFIX, Recovery, Take, TakeHeader, newest_motion

log = logging.getLogger(__name__)

PART_SUFFIX = ".part"
"""Ending of a take that is still being written, after ``SUFFIX``."""
MAX_RECORD_BYTES = 64 << 20
"""Longest record that is read; the writer's own chunks stay under 2 MiB."""

_PROXIES, _MOTION = "/proxies", "/motion"
_HEADER, _REPORT = "hmcap", "hmcap.report"
_CHUNK_BYTES = 1 << 20
_FLUSH_EVERY_S = 0.5
_RECORD_HEAD = struct.Struct("<BQ")
_NOT_A_RECORD = (McapError, struct.error, UnicodeDecodeError, OverflowError)
"""What the format's library raises on altered bytes; OverflowError where a length no longer fits a machine word."""


class TakeWriter:
    """Writes a take while it is captured. The file is ``path`` + ``.part`` until ``close`` gives it its name.

    Frames reach the disk at least every half second, so a crash loses at most the last second. Raises ``HmcapError``
    where the folder cannot be written or the disk is full; what was written until then stays readable.
    """

    def __init__(self, path: Path, header: TakeHeader, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self.part_path = path.with_name(path.name + PART_SUFFIX)
        self._clock = clock
        self._file: IO[bytes] | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open_alone(self.part_path)
            self._writer = Writer(
                self._file,
                chunk_size=_CHUNK_BYTES,
                compression=CompressionType.NONE,
                index_types=IndexType.ALL,
                use_statistics=True,
            )
            self._writer.start(profile="hmcap", library=f"hmcap {header.version}")
            self._channels = {t: self._writer.register_channel(t, "msgpack", 0) for t in (_PROXIES, _MOTION)}
        except BlockingIOError as error:
            raise HmcapError(
                f"Expected to be the only one to write {path}; another capture is recording it at this moment "
                f"({self.part_path.name}). Wait until that has ended, or name another folder: --out FOLDER"
            ) from error
        except OSError as error:
            raise _cannot_write(self.part_path, error) from error
        self._flushed_at = clock()
        self._frames = 0
        self.update_header(header)

    @property
    def closed(self) -> bool:
        """Whether nothing more can be written (closed, or given up on an error)."""
        return self._file is None

    def update_header(self, header: TakeHeader) -> None:
        """Write the header (again): the last one counts, for example with the frame rate that a webcam really had."""
        self.header = header
        self._metadata(_HEADER, header.to_json())

    def add_proxies(self, proxies: Proxies) -> None:
        """Append what was seen in one frame."""
        self._frames += 1
        self._message(_PROXIES, proxies.index, proxies.stamp_s, encode_proxies(proxies))

    def add_motion(self, motion: MotionFrame, revision: int = 0) -> None:
        """Append one solved frame; a whole later revision replaces the earlier ones when the take is read."""
        self._message(_MOTION, motion.index, motion.stamp_s, encode_motion(motion, revision))

    def add_report(self, report: Mapping[str, Any]) -> None:
        """Append the end-of-run report; the last one counts."""
        self._metadata(_REPORT, json.dumps(report, allow_nan=False))

    def flush(self) -> None:
        """Bring everything given so far to the disk."""
        file = self._open_file()
        try:
            self._writer.flush()
            os.fsync(file.fileno())
        except OSError as error:
            raise self._gave_up(error) from error
        self._flushed_at = self._clock()

    def close(self, final: Path | None = None) -> Path:
        """Finish the file, give it its final name (or ``final``) and return that. Calling it again does nothing."""
        if self._file is None:
            return self.path
        if final is not None:
            self.path = final
        file = self._file
        try:
            self._writer.finish()
            file.flush()
            os.fsync(file.fileno())
            self._bring_back(file)
            self._rename(file)
        except OSError as error:
            raise self._gave_up(error) from error
        self._file = None
        return self.path

    def _bring_back(self, file: IO[bytes]) -> None:
        """Where the file was removed while it was written (its folder was cleared away), write it again: as long as it
        is open, what is in it can be read."""
        if is_at(file, self.part_path):
            return
        # Somebody else's file of that name, if there is one by now, is left alone.
        again = self.part_path.with_name(f".{self.path.name}.{uuid.uuid4().hex[:8]}{PART_SUFFIX}")
        again.parent.mkdir(parents=True, exist_ok=True)
        file.seek(0)
        try:
            with again.open("xb") as copy:
                shutil.copyfileobj(file, copy)
                copy.flush()
                os.fsync(copy.fileno())
        except OSError:
            again.unlink(missing_ok=True)
            raise
        self.part_path = again
        log.warning("%s was removed while it was written; it was written again.", self.path)

    def _rename(self, file: IO[bytes]) -> None:
        """Close the file under its final name."""
        if os.name == "posix":
            # While it is still ours, so that no capture that begins now takes it for a left-over and empties it.
            os.replace(self.part_path, self.path)
            file.close()
        else:  # an open file cannot be renamed
            file.close()
            os.replace(self.part_path, self.path)

    def discard(self) -> None:
        """Give up the file, so that an earlier take of the same name stays; for a capture without a single frame."""
        if self._file is None:
            return
        file, self._file = self._file, None
        with contextlib.suppress(OSError):
            file.close()
            self.part_path.unlink()

    def __enter__(self) -> "TakeWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and not self._frames:
            self.discard()
        else:
            self.close()

    def _message(self, topic: str, index: int, stamp_s: float, data: bytes) -> None:
        file = self._open_file()
        nanoseconds = max(0, round(stamp_s * 1e9))
        try:
            self._writer.add_message(
                self._channels[topic],
                log_time=nanoseconds,
                publish_time=nanoseconds,
                data=data,
                sequence=index & 0xFFFFFFFF,
            )
            file.flush()
        except OSError as error:
            raise self._gave_up(error) from error
        if self._clock() - self._flushed_at >= _FLUSH_EVERY_S:
            self.flush()

    def _metadata(self, name: str, text: str) -> None:
        self._open_file()
        try:
            # MCAP protects chunks but not metadata: the checksum is ours.
            values = {"format_version": str(FORMAT_VERSION), "json": text, "crc32": _crc(text)}
            self._writer.add_metadata(name, values)
        except OSError as error:
            raise self._gave_up(error) from error
        self.flush()

    def _open_file(self) -> IO[bytes]:
        if self._file is None:
            raise ValueError("the take is closed")
        return self._file

    def _gave_up(self, error: OSError) -> HmcapError:
        """Close without finishing, so that nothing is tried again on a full disk."""
        file, self._file = self._file, None
        if file is not None:
            # Python releases the descriptor even so; the first error is the one to tell.
            with contextlib.suppress(OSError):
                self._bring_back(file)
            with contextlib.suppress(OSError):
                file.close()
        try:
            os.replace(self.part_path, self.path)
        except OSError:
            self.path = self.part_path
        return _cannot_write(self.path, error, kept=self.path.is_file())


def read_take(path: str | Path) -> Take:
    """Read a take, however it ended: every whole chunk counts, and ``Take.recovery`` says how many there were.

    Raises ``HmcapError`` where the file is missing, not a take, of a newer format, declares sizes that no take has, or
    was cut off before its first record.
    """
    path = Path(path).expanduser()
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


def read_part(writer: TakeWriter) -> Take:
    """What a writer has brought to the disk so far; the writer goes on undisturbed. Raises ``HmcapError`` as
    :func:`read_take` does."""
    return read_take(writer.part_path if writer.part_path.is_file() else writer.path)


def write_take(path: Path, take: Take, motion: Iterable[MotionFrame], report: Mapping[str, Any] | None = None) -> Take:
    """Write a take anew with ``motion`` as its next revision, in place of what stands at ``path``.

    The old file is replaced only once the new one is complete. Returns the take as it now stands on disk.
    """
    new = path.with_name(path.name + ".new")
    with TakeWriter(new, take.header) as writer:
        for proxies in take.proxies:
            writer.add_proxies(proxies)
        for frame in motion:
            writer.add_motion(frame, max(1, take.revision + 1))
        if report is not None:
            writer.add_report(report)
    try:
        os.replace(new, path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    return read_take(path)


class _Scan:
    """One pass over the records of a file, keeping what is whole."""

    def __init__(self) -> None:
        self.header: TakeHeader | None = None
        self.report: dict[str, Any] | None = None
        self.proxies: dict[int, Proxies] = {}
        self.motion: dict[int, dict[int, MotionFrame]] = {}
        # The writer always numbers its channels so; kept for files whose first chunk is damaged.
        self._topics = {1: _PROXIES, 2: _MOTION}
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
        if record.name in (_HEADER, _REPORT) and record.metadata.get("crc32") != _crc(record.metadata.get("json", "")):
            self._damaged += 1
            return
        if record.name == _HEADER:
            version = record.metadata.get("format_version", "")
            if not version.isdecimal() or not 1 <= int(version[:9]) <= FORMAT_VERSION:
                raise HmcapError(
                    f"Expected a take of format {FORMAT_VERSION} or older; this one has format "
                    f"{version[:20] or '(none)'}. Update hmcap: pip install --upgrade hmcap"
                )
            self.header = TakeHeader.from_json(record.metadata["json"])
        elif record.name == _REPORT:
            try:
                report = json.loads(record.metadata["json"])
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
                if topic == _PROXIES:
                    proxies = decode_proxies(record.data)
                    self.proxies[proxies.index] = proxies
                elif topic == _MOTION:
                    motion, revision = decode_motion(record.data)
                    self.motion.setdefault(revision, {})[motion.index] = motion


def _crc(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def with_measured_fps(header: TakeHeader, stamps_s: list[float]) -> TakeHeader:
    """The header with the frame rate that these stamps really have; unchanged below two frames."""
    if len(stamps_s) < 2 or stamps_s[-1] <= stamps_s[0]:
        return header
    return dataclasses.replace(header, fps=(len(stamps_s) - 1) / (stamps_s[-1] - stamps_s[0]))


def _no_take(path: Path) -> str:
    part = path.with_name(path.name + PART_SUFFIX)
    if part.is_file():
        return (
            f"Expected a take at {path}; only {part.name} is there, from a capture that was not closed. "
            f"Export from it: hmcap export {part} --to bvh"
        )
    if path.is_dir():
        return f"Expected a take (a file that ends in {SUFFIX}) at {path}; it is a folder. Name the file in it."
    return f"Expected a take at {path}; there is no such file. A capture prints the path of its take at the end."


def _cannot_write(path: Path, error: OSError, kept: bool = False) -> HmcapError:
    keeps = f" What was captured until then is kept in {path}: hmcap export {path} --to bvh" if kept else ""
    return HmcapError(
        f"Expected to be able to write {path}; the system said: {error.strerror or error}. Name a folder that exists "
        f"or can be made, that you may write to and that has room: --out FOLDER.{keeps}"
    )
