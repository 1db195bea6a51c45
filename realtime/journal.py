"""The take on disk while it is written: an MCAP file that is appended to while capturing and survives being cut off
anywhere. The layout is described where it is read, in ``journal_reading``."""

import contextlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from mcap.writer import CompressionType, IndexType, Writer

from ..models.errors import HmcapError
from ..models.motion import MotionFrame
from ..models.proxies import Proxies
from ..models.stacked import Stacked
from .appending import WRITE_EVERY_S, Appender
from .codec import encode_motion, encode_proxies
from .disk import sync, sync_folder
from .journal_reading import MOTION, PART_SUFFIX, PROXIES, read_proxies, read_take
from .locks import is_at, open_alone
from .records import HEADER, REPORT, checksum
from .take import FORMAT_VERSION, Take, TakeHeader

log = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20
_FIRST_COPY_BYTES = 1 << 16


class TakeWriter:
    """Writes a take while it is captured. The file is ``path`` + ``.part`` until ``close`` gives it its name.

    What is added is written within a quarter of a second and stored by the disk within another half, by threads of the
    writer's own (see ``appending``): a crash or a power cut costs at most the last second, also where no further frame
    comes. The header is written again now and then, so that a damaged beginning costs no more than itself.

    Raises ``HmcapError`` where the folder cannot be written or the disk is full, from the next call after that came to
    light; what was written until then stays readable. One thread at a time may use it.

    Args:
        path: where the finished take goes.
        header: may be changed later by :meth:`update_header`.
        ahead: whether frames may be given as fast as they come; None for those of a live source alone.
        write_every_s: how long to gather what becomes one chunk of the file.
    """

    def __init__(
        self, path: Path, header: TakeHeader, *, ahead: bool | None = None, write_every_s: float = WRITE_EVERY_S
    ) -> None:
        self.path = path
        self.part_path = path.with_name(path.name + PART_SUFFIX)
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
            self._channels = {t: self._writer.register_channel(t, "msgpack", 0) for t in (PROXIES, MOTION)}
            self.header = header
            # Here, and not on the threads: a disk without room is told before the first frame.
            self._add_metadata(HEADER, header.to_json())
            self._writer.flush()
        except BlockingIOError as error:
            raise HmcapError(
                f"Expected to be the only one to write {path}; another capture is recording it at this moment "
                f"({self.part_path.name}). Wait until that has ended, or name another folder: --out FOLDER"
            ) from error
        except OSError as error:
            if self._file is not None:
                self._remove(self._file)
            raise _cannot_write(self.part_path, error) from error
        self._frames = self._message_bytes = 0
        self._copy_header_at = _FIRST_COPY_BYTES
        ahead = header.live if ahead is None else ahead
        self._appender = Appender(self._file, self._writer, ahead=ahead, write_every_s=write_every_s)
        self._appender.give(lambda: sync_folder(self.part_path.parent), 0)

    @property
    def closed(self) -> bool:
        """Whether nothing more can be written (closed, or given up on an error)."""
        return self._file is None

    def update_header(self, header: TakeHeader) -> None:
        """Write the header (again): the last one counts, for example with the frame rate that a webcam really had."""
        self.header = header
        self._metadata(HEADER, header.to_json())

    def add_proxies(self, proxies: Proxies) -> None:
        """Append what was seen in one frame."""
        self._frames += 1
        self._message(PROXIES, proxies.index, proxies.stamp_s, encode_proxies(proxies))

    def add_motion(self, motion: MotionFrame, revision: int = 0) -> None:
        """Append one solved frame; a whole later revision replaces the earlier ones when the take is read."""
        self._message(MOTION, motion.index, motion.stamp_s, encode_motion(motion, revision))

    def add_report(self, report: Mapping[str, Any]) -> None:
        """Append the end-of-run report; the last one counts."""
        self._metadata(REPORT, json.dumps(report, allow_nan=False))

    def flush(self) -> None:
        """Bring everything given so far to the disk, and wait for it."""
        self._open_file()
        try:
            self._appender.flush()
        except OSError as error:
            raise self._gave_up(error) from error

    def read_back(self) -> Stacked[Proxies]:
        """What was seen in every frame so far, from the file itself: while it is written, no frame is kept in memory.
        Writing may go on afterwards. Raises ``HmcapError`` where the file cannot be read."""
        self.flush()
        file = self._open_file()
        try:
            at = file.tell()
            try:  # through the open file: its name may be gone by now
                return read_proxies(file, at, self.part_path)
            finally:
                file.seek(at)
        except OSError as error:
            raise self._gave_up(error) from error

    def close(self, final: Path | None = None) -> Path:
        """Finish the file, give it its final name (or ``final``) and return that. Calling it again does nothing."""
        if self._file is None:
            return self.path
        if final is not None:
            self.path = final
        file = self._file
        try:
            self._appender.flush()
            self._appender.stop()
            self._writer.finish()
            file.flush()
            sync(file)
            self._bring_back(file)
            self._rename(file)
            sync_folder(self.path.parent)
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
                sync(copy)
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
        self._appender.stop()
        self._remove(file)

    def _remove(self, file: IO[bytes]) -> None:
        with contextlib.suppress(OSError):
            file.close()
        with contextlib.suppress(OSError):
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
        nanoseconds = max(0, round(stamp_s * 1e9))
        self._give(
            partial(
                self._writer.add_message,
                self._channels[topic],
                log_time=nanoseconds,
                publish_time=nanoseconds,
                data=data,
                sequence=index & 0xFFFFFFFF,
            ),
            len(data),
            stamp_s if topic == PROXIES else None,
        )
        self._message_bytes += len(data)
        if self._message_bytes >= self._copy_header_at:
            self._copy_header_at *= 2
            self._metadata(HEADER, self.header.to_json())

    def _metadata(self, name: str, text: str) -> None:
        self._give(partial(self._add_metadata, name, text), len(text))

    def _add_metadata(self, name: str, text: str) -> None:
        # MCAP protects chunks but not metadata: the checksum is ours.
        values = {"format_version": str(FORMAT_VERSION), "json": text, "crc32": checksum(text)}
        self._writer.add_metadata(name, values)

    def _give(self, write: Callable[[], object], size_bytes: int, stamp_s: float | None = None) -> None:
        self._open_file()
        try:
            self._appender.give(write, size_bytes, stamp_s)
        except OSError as error:
            raise self._gave_up(error) from error

    def _open_file(self) -> IO[bytes]:
        if self._file is None:
            raise ValueError("the take is closed")
        return self._file

    def _gave_up(self, error: OSError) -> HmcapError:
        """Close without finishing, so that nothing is tried again on a full disk."""
        file, self._file = self._file, None
        self._appender.stop()
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
        return _cannot_write(self.path, error, kept=os.path.isfile(self.path))


def read_part(writer: TakeWriter) -> Take:
    """What a writer has brought to the disk so far; the writer goes on undisturbed. Raises ``HmcapError`` as
    :func:`read_take` does."""
    return read_take(writer.part_path if writer.part_path.is_file() else writer.path)


def write_take(path: Path, take: Take, motion: Iterable[MotionFrame], report: Mapping[str, Any] | None = None) -> Take:
    """Write a take anew with ``motion`` as its next revision, in place of what stands at ``path``.

    The old file is replaced only once the new one is complete. Returns the take as it now stands on disk.
    """
    new = path.with_name(path.name + ".new")
    writer = TakeWriter(new, take.header, ahead=True)
    try:
        with writer:
            for proxies in take.proxies:
                writer.add_proxies(proxies)
            for frame in motion:
                writer.add_motion(frame, max(1, take.revision + 1))
            if report is not None:
                writer.add_report(report)
        os.replace(new, path)
    except (HmcapError, OSError) as error:
        # The old file still has everything.
        with contextlib.suppress(OSError):
            writer.path.unlink(missing_ok=True)
        cause = error if isinstance(error, OSError) else error.__cause__
        raise _cannot_write(path, cause) if isinstance(cause, OSError) else error from error
    sync_folder(path.parent)
    return read_take(path)


def _cannot_write(path: Path, error: OSError, kept: bool = False) -> HmcapError:
    keeps = (
        f" What was captured until then is kept in {path}: hmcap export {path} --to bvh --out FOLDER" if kept else ""
    )
    return HmcapError(
        f"Expected to be able to write {path}; the system said: {error.strerror or error}. Name a folder that exists "
        f"or can be made, that you may write to and that has room: --out FOLDER.{keeps if kept else ''}"
    )
