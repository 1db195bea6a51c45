"""Reading the take on disk, however it ended; ``journal`` writes it.

Layout: MCAP metadata records ``hmcap`` (format version and header, repeated now and then; the last one counts) and
``hmcap.report``; channel ``/proxies`` with one message a frame; channel ``/motion`` with one message a frame and
revision; messages are msgpack (see ``codec``), in uncompressed chunks with a checksum, several a second. Any MCAP tool
can list and index the file.

A file may end anywhere, and any part of it may be damaged: what is whole counts, also behind a damaged part
(``records`` finds it).
"""

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mcap.opcode import Opcode
from mcap.writer import MCAP0_MAGIC

from ..models.errors import HmcapError
from ..models.motion import MotionFrame
from ..models.paths import user_path
from ..models.proxies import Proxies
from ..models.stacked import Stacked, Stacker
from .codec import decode_motion, decode_proxies
from .records import HEADER, MAX_RECORD_BYTES, REPORT, Records, chunk_data, metadata, records_of
from .take import SUFFIX, Recovery, Take, TakeHeader, newest_motion

PART_SUFFIX = ".part"
"""Ending of a take that is still being written, after ``SUFFIX``."""
PROXIES, MOTION = "/proxies", "/motion"
"""Channels."""
_MESSAGE_HEAD = struct.Struct("<HIQQ")


@dataclass(frozen=True, slots=True)
class _Format:
    """How the takes of one format are read."""

    header: Callable[[str], TakeHeader]
    proxies: Callable[[bytes], Proxies]
    motion: Callable[[bytes], tuple[MotionFrame, int]]
    """One message: the frame and its revision."""


_FORMATS = {1: _Format(TakeHeader.from_json, decode_proxies, decode_motion)}
"""Every format that takes were ever written in. A row is never removed: a take cannot be captured again. A new format
gets a row, and ``tests/data`` a take in it; what has changed since an older one is read by functions of its own."""


def read_take(path: str | Path) -> Take:
    """Read a take, however it ended: every whole chunk counts, and ``Take.recovery`` says how many there were.

    Raises ``HmcapError`` where the file is missing, not a take, of a newer format, or holds nothing that is whole.
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
    if scan.undecodable is not None and not scan.proxies and not scan.motion:
        raise scan.undecodable
    revision, motion = newest_motion({number: frames.by_number() for number, frames in scan.motion.items()})
    return Take(scan.header, scan.proxies.by_number(), motion, scan.report, revision, scan.recovery())


def read_proxies(file: IO[bytes], size: int, path: Path) -> Stacked[Proxies]:
    """What was seen in the frames of a take that is open, by rising frame number. ``file`` stands anywhere before and
    after. Raises ``HmcapError`` and ``OSError``."""
    scan = _Scan(topics=(PROXIES,))
    file.seek(0)
    scan.run(file, size, path)
    return scan.proxies.by_number()


class _Scan:
    """One pass over a file, keeping what is whole."""

    def __init__(self, topics: tuple[str, ...] = (PROXIES, MOTION)) -> None:
        self.header: TakeHeader | None = None
        self.report: dict[str, Any] | None = None
        # stacked while reading: as objects, two hours of frames are over a gigabyte
        self.proxies: Stacker[Proxies] = Stacker()
        self.motion: dict[int, Stacker[MotionFrame]] = {}
        self.unusable: HmcapError | None = None
        """What was wrong with the first header that could not be used."""
        self.undecodable: HmcapError | None = None
        """What was wrong with the first message that could not be used, though its chunk was whole."""
        self._wanted = topics
        self._format = _FORMATS[max(_FORMATS)]
        # The writer always numbers its channels so; kept for files whose first chunk is damaged.
        self._topics = {1: PROXIES, 2: MOTION}
        # Chunks that came before any header, which says how they are read.
        self._early: list[bytes] = []
        self._early_bytes = self._chunks = self._damaged = self._lost = self._undecodable = 0
        self._ended = False

    def run(self, file: IO[bytes], size: int, path: Path) -> None:
        """Read every whole record of ``file``, which is ``size`` bytes long."""
        magic = file.read(len(MCAP0_MAGIC))
        named = path.name.removesuffix(PART_SUFFIX).endswith(SUFFIX)
        if magic != MCAP0_MAGIC and (len(magic) < len(MCAP0_MAGIC) or not named):
            raise _of_another_kind(path, size, magic)
        records = Records(file, size)
        for opcode, body in records:
            if opcode == Opcode.METADATA:
                self._metadata(body)
            else:
                self._chunk(body)
        self._ended, self._lost = records.ended, records.lost_bytes
        self._damaged += records.damaged
        if self.header is None and self.unusable is not None:
            raise self.unusable
        if self.header is None and magic != MCAP0_MAGIC:
            raise _of_another_kind(path, size, magic)
        if self.header is None and records.absurd_length:
            raise HmcapError(
                f"Expected a take in {path}; it declares a record of {records.absurd_length:,} bytes, more than a take "
                f"can hold ({MAX_RECORD_BYTES:,}). The file is damaged or was not written by hmcap."
            )

    def recovery(self) -> Recovery:
        whole = self._ended and not self._damaged
        return Recovery(whole, self._chunks, self._damaged, self._lost, self._undecodable)

    def _metadata(self, body: bytes) -> None:
        record = metadata(body)
        if record is None:
            return
        text = record.metadata.get("json", "")
        if record.name == HEADER:
            try:
                form = _format(record.metadata.get("format_version", ""))
                self.header, self._format = form.header(text), form
            except HmcapError as error:  # another copy may be better
                self._damaged += 1
                self.unusable = self.unusable or error
                return
            early, self._early = self._early, []
            for chunk in early:
                self._chunk(chunk)
        elif record.name == REPORT:
            try:
                report = json.loads(text)
            except (ValueError, RecursionError):
                report = None
            self.report = report if isinstance(report, dict) else None

    def _chunk(self, body: bytes) -> None:
        if self.header is None:
            self._early_bytes += len(body)
            if self._early_bytes <= MAX_RECORD_BYTES:
                self._early.append(body)
            else:
                self._damaged += 1
            return
        data = chunk_data(body)
        if data is None:
            return
        self._chunks += 1
        for opcode, record in records_of(data):
            if opcode == Opcode.CHANNEL:
                self._channel(record)
            elif opcode == Opcode.MESSAGE and len(record) >= _MESSAGE_HEAD.size:
                channel = _MESSAGE_HEAD.unpack_from(record)[0]
                try:
                    self._message(self._topics.get(channel, ""), record[_MESSAGE_HEAD.size :])
                except HmcapError as error:
                    self._undecodable += 1
                    self.undecodable = self.undecodable or error

    def _channel(self, record: bytes) -> None:
        """Note the topic of a channel: its number, that of its schema, and its name with the length before it."""
        if len(record) >= 8:
            number, _, length = struct.unpack_from("<HHI", record)
            self._topics[number] = record[8 : 8 + length].decode("utf-8", "replace")

    def _message(self, topic: str, data: bytes) -> None:
        if topic not in self._wanted:
            return
        if topic == PROXIES:
            self.proxies.add(self._format.proxies(data))
        elif topic == MOTION:
            motion, revision = self._format.motion(data)
            self.motion.setdefault(revision, Stacker()).add(motion)


def _format(version: str) -> _Format:
    number = int(version) if version.isdecimal() and version.isascii() and len(version) < 10 else 0
    if number in _FORMATS:
        return _FORMATS[number]
    if number > max(_FORMATS):
        raise HmcapError(
            f"Expected a take of format {max(_FORMATS)} or older; this one has format {number}, which a newer hmcap "
            "wrote. Update hmcap: pip install --upgrade hmcap"
        )
    raise HmcapError(
        f"Expected a take of format {max(_FORMATS)} or older; this one names the format {version[:20]!r}, which no "
        "hmcap ever wrote. The file comes from somewhere else: use another copy, or capture again."
    )


def _of_another_kind(path: Path, size: int, magic: bytes) -> HmcapError:
    short = not magic or MCAP0_MAGIC.startswith(magic)
    return HmcapError(
        f"Expected a take in {path}; the file is {'empty or cut off at once' if short else 'of another kind'} "
        f"({size:,} bytes). A take ends in {SUFFIX} and is written by hmcap --video or hmcap --webcam --record."
    )


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
