"""Video files and network streams through PyAV: container stamps, rotation metadata, damaged tails."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from ..models.errors import HmcapError, UsageError
from .file_formats import file_options
from .frames import DEFAULT_FPS, Frame, Source, SourceMetadata, Window

_LIVE_SCHEMES = {"rtsp", "rtsps", "rtmp", "rtmps", "udp", "rtp", "srt", "tcp"}
_FILE_SCHEMES = {"http", "https"}
_NETWORK_PROTOCOLS = "http,https,tcp,tls,udp,rtp,rtsp,rtsps,rtmp,rtmps,srt,crypto,httpproxy"
_OPEN_TIMEOUT_S = 15.0
_READ_TIMEOUT_S = 10.0
_MAX_SIDE_PX = 16384
# Tags that are no UTF-8 must not hide the footage; PyAV 19 replaces them without being asked, and dropped the argument.
_LENIENT: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
_DAMAGE_LIMIT = 300
"""Packets in a row that may fail before the rest of a file counts as lost."""


class VideoSource(Source):
    """One video stream of a container. Use ``from_file`` or ``from_url``."""

    def __init__(self, container: InputContainer, spec: str, name: str, window: Window) -> None:
        super().__init__(spec, name, window)
        self._container = container
        try:
            self._stream = self._pick_stream()
            self._set_up()
        except BaseException:
            container.close()
            raise

    @classmethod
    def from_file(cls, path: Path, window: Window, spec: str | None = None, name: str | None = None) -> "VideoSource":
        """Open a file on disk; ``spec`` and ``name`` replace the path in messages and in the take."""
        size = path.stat().st_size
        if size == 0:
            raise HmcapError(f"Expected a video in {path}; the file is empty (0 bytes). Copy or download it again.")
        try:
            # A hostile playlist named .mp4 must not make the demuxer reach for the network, or for other files.
            container = av.open(str(path), options=file_options(), **_LENIENT)
        except (FFmpegError, OSError, ValueError) as error:
            raise HmcapError(_unreadable(path, size, error)) from error
        return cls(container, spec or str(path), name or path.stem, window)

    @classmethod
    def from_url(cls, url: str, scheme: str, window: Window) -> "VideoSource":
        """Open a network address (``http``, ``https``, ``rtsp`` and the like)."""
        if scheme not in _LIVE_SCHEMES | _FILE_SCHEMES:
            raise UsageError(
                f"Expected an address that starts with http, https, rtsp, rtmp, srt or udp; found {scheme}://. "
                "For a file on this machine give its path."
            )
        options = {"protocol_whitelist": _NETWORK_PROTOCOLS}
        if scheme in ("rtsp", "rtsps"):
            options["rtsp_transport"] = "tcp"
        if scheme in _LIVE_SCHEMES:
            options["fflags"] = "nobuffer"
        try:
            container = av.open(url, options=options, timeout=(_OPEN_TIMEOUT_S, _READ_TIMEOUT_S), **_LENIENT)
        except (FFmpegError, OSError, ValueError) as error:
            raise HmcapError(
                f"Expected a video stream at {_without_password(url)}; it could not be opened ({_reason(error)}). "
                "Check the address in a player on this machine, then run the command again."
            ) from error
        name = Path(urlsplit(url).path).stem or urlsplit(url).hostname or "stream"
        source = cls(container, _without_password(url), name, window)
        source.live = scheme in _LIVE_SCHEMES or container.duration is None
        return source

    def _pick_stream(self) -> VideoStream:
        # Cover art of music files is a video stream of one picture; it is not the footage.
        streams = [s for s in self._container.streams.video if s.codec_context is not None]
        moving = [s for s in streams if not _is_picture(s)] or streams
        if self._container.streams.video and not moving:
            raise HmcapError(
                f"Expected a video stream in {self.spec} that can be decoded; its kind is not known here, or the file "
                "was cut off. Copy it again, or convert it: ffmpeg -i INPUT -c:v libx264 fixed.mp4"
            )
        if not moving:
            kinds = sorted({s.type for s in self._container.streams}) or ["nothing"]
            raise HmcapError(
                f"Expected a video stream in {self.spec}; it holds only: {', '.join(kinds)}. "
                "Give the file that carries the pictures."
            )
        return max(moving, key=lambda s: (s.width or 0) * (s.height or 0))

    def _set_up(self) -> None:
        stream = self._stream
        stream.thread_type = "AUTO"
        self._converter = VideoReformatter()
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate
        self.fps = float(rate) if rate and 0.1 <= float(rate) <= 1000 else DEFAULT_FPS
        self.frame_count = stream.frames or _count_from_duration(stream, self._container, self.fps)
        self._decoded = self._decode()
        # The rotation is known for certain only once a frame is out: decode one now and give it first later.
        first = next(self._decoded, None)
        if first is None:
            step = "Convert it: ffmpeg -i INPUT -c:v libx264 fixed.mp4"
            if "://" in self.spec:
                step = "Its server may give files from the beginning only: download it and capture the file."
            raise HmcapError(
                f"Expected a video in {self.spec}; not one frame of it could be decoded "
                f"(codec {stream.codec_context.name}). {step}"
            )
        if not (0 < first.width <= _MAX_SIDE_PX and 0 < first.height <= _MAX_SIDE_PX):
            raise HmcapError(
                f"Expected pictures of at most {_MAX_SIDE_PX} pixels a side in {self.spec}; found "
                f"{first.width}x{first.height}. Scale the video down first."
            )
        self._first: VideoFrame | None = first
        aspect = stream.sample_aspect_ratio
        ratio = float(aspect) if aspect and 0.1 < float(aspect) < 10 else 1.0
        self._size = (max(1, round(first.width * ratio)), first.height)
        """Width and height of the square-pixel picture before rotation; later frames are scaled to it."""
        self._orient = _orientation(first)
        width, height = self._size
        self.width_px, self.height_px = (height, width) if self._orient[0] else (width, height)
        self.metadata = _lens(self._container, stream)
        start = stream.start_time
        self._start_pts: int | None = start if start is not None else first.pts

    def _decode(self) -> Iterator[VideoFrame]:
        """Frames of the stream; a packet that cannot be decoded is counted and passed over."""
        self._bad_packets = 0
        failed_in_a_row = 0
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                self._bad_packets += bool(packet.is_corrupt)
                frames = packet.decode()
                failed_in_a_row = 0
            except FFmpegError as error:
                self._bad_packets += 1
                failed_in_a_row += 1
                if failed_in_a_row >= _DAMAGE_LIMIT or isinstance(error, OSError):
                    self._stopped_by = _reason(error)
                    return
                continue
            for frame in frames:
                if isinstance(frame, VideoFrame):
                    yield frame

    _stopped_by = ""

    def _frames(self) -> Iterator[Frame]:
        previous: float | None = None
        moved = resized = count = 0
        first, self._first = self._first, None
        if first is None:
            raise RuntimeError("a source can be iterated once; open it again")
        base = float(self._stream.time_base or 0)
        frame: VideoFrame | None = first
        while frame is not None:
            natural = count / self.fps if previous is None else previous + 1 / self.fps
            pts = frame.pts
            stamp = natural if pts is None or not base else (pts - (self._start_pts or 0)) * base
            if previous is not None and stamp <= previous:
                moved += 1
                stamp = previous + 0.5 / self.fps
            previous = stamp
            if self.window.end_s is not None and stamp >= self.window.end_s:
                return
            if self._wanted(stamp):
                resized += (frame.width, frame.height) != (first.width, first.height)
                yield Frame(count, stamp, self._picture(frame))
            count += 1
            frame = next(self._decoded, None)
        self._note_end(count, previous or 0.0, moved, resized)

    def _picture(self, frame: VideoFrame) -> np.ndarray:
        width, height = self._size
        # One converter for all frames: each frame's own would be set up anew every time.
        image = self._converter.reformat(frame, width, height, "rgb24").to_ndarray()
        transpose, flip_x, flip_y = self._orient
        if transpose:
            image = image.transpose(1, 0, 2)
        if flip_x:
            image = image[:, ::-1]
        if flip_y:
            image = image[::-1]
        return np.ascontiguousarray(image)

    def _note_end(self, count: int, last_s: float, moved: int, resized: int) -> None:
        if moved:
            self.warnings.append(f"{moved} frames of {self.name} carried a stamp not after the one before; moved on.")
        if resized:
            self.warnings.append(f"{resized} frames of {self.name} had another size and were scaled to the first one.")
        declared = self._stream.frames
        duration_s = float((self._stream.duration or 0) * (self._stream.time_base or 0))
        short = declared > count + 2 and last_s + 3 / self.fps < duration_s
        if self._stopped_by or self._bad_packets or short:
            of = f" of {declared}" if declared else ""
            cause = f" ({self._stopped_by})" if self._stopped_by else ""
            self.warnings.append(
                f"{self.name} is damaged or cut short{cause}: {count}{of} frames could be read, up to {last_s:.2f} s; "
                "they were used."
            )

    def close(self) -> None:
        self._container.close()


def _is_picture(stream: VideoStream) -> bool:
    return bool(stream.disposition.value & 0x0400)  # AV_DISPOSITION_ATTACHED_PIC; int() of it came with PyAV 18


def _count_from_duration(stream: VideoStream, container: InputContainer, fps: float) -> int | None:
    if stream.duration and stream.time_base:
        return max(1, round(float(stream.duration * stream.time_base) * fps))
    if container.duration:
        return max(1, round(container.duration / av.time_base * fps))
    return None


def _orientation(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """(transpose, flip_x, flip_y) that make a decoded picture upright, from its display matrix.

    The matrix is nine little-endian 32-bit numbers [a b u c d v x y w]; a source pixel (x, y) is shown at
    (a x + c y, b x + d y). Angles between quarter turns are rounded to the nearest, as players do.
    """
    records: Any = frame.side_data  # a mapping that takes names, which its type stub does not say
    matrix = records.get("DISPLAYMATRIX")
    m = np.frombuffer(b"" if matrix is None else bytes(matrix), np.int32).astype(np.float64)
    if len(m) < 5:
        return False, False, False
    a, b, c, d = m[0], m[1], m[3], m[4]
    if max(abs(b), abs(c)) > max(abs(a), abs(d)):
        return True, bool(c < 0), bool(b < 0)
    return False, bool(a < 0), bool(d < 0)


def _lens(container: InputContainer, stream: VideoStream) -> SourceMetadata:
    """35 mm equivalent focal length from container or stream tags (phones write it), where there is one."""
    for tags in (stream.metadata, container.metadata):
        for key, value in tags.items():
            if "focal_length" in key.lower() and "35mm" in key.lower():
                try:
                    focal_mm = float(str(value).split()[0])
                except (ValueError, IndexError):
                    continue
                if 4 <= focal_mm <= 2000:
                    return SourceMetadata(focal_mm, f"container tag {key}")
    return SourceMetadata()


def _reason(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()


def _without_password(url: str) -> str:
    # By pattern, because an address that cannot be taken apart has to be shown too.
    return re.sub(r"(://[^/?#:@]*):[^/?#]*@", r"\1:***@", url, count=1)


def _unreadable(path: Path, size: int, error: BaseException) -> str:
    what = f"Expected a video in {path}; "
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as refusal:
        return f"{what}the system said: {_reason(refusal)}. Check that you may read the file."
    if b"ftyp" in head[:16]:
        return (
            f"{what}it is an MP4 whose index cannot be read ({size:,} bytes), so it was probably cut off while being "
            "recorded or copied. Copy it again, or repair it with a tool such as untrunc."
        )
    if head and all(c in b"\t\n\r\f" or 32 <= c < 127 or c >= 128 for c in head) and _is_text(head):
        return f"{what}the file holds text, whatever its name says. Give the video itself."
    return (
        f"{what}no known video format was recognised ({_reason(error)}, {size:,} bytes). Play it in another program "
        "to see if it is intact, or convert it: ffmpeg -i INPUT -c:v libx264 fixed.mp4"
    )


def _is_text(head: bytes) -> bool:
    for cut in range(4):  # the 4096th byte may stand inside a character
        try:
            head[: len(head) - cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return True
    return False
