"""One video stream of an open container, decoded: upright pictures, rotation metadata, packets that fail."""

import errno
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.error import ExitError, FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from ..models.errors import HmcapError
from .frames import DEFAULT_FPS, MAX_PIXELS, SourceMetadata

MAX_SIDE_PX = 16384
# Tags that are no UTF-8 must not hide the footage; PyAV 19 replaces them without being asked, and dropped the argument.
LENIENT: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
DAMAGE_LIMIT = 300
"""Packets in a row that may fail before the rest of a file counts as lost."""


class Decoder:
    """The largest moving picture of a container; closes it where that cannot be shown.

    Iterate :meth:`frames` once. Raises ``HmcapError`` where there is no video, or not one frame of it can be decoded.
    """

    def __init__(self, container: InputContainer, spec: str, *, live: bool = False) -> None:
        self.container, self.spec, self._live = container, spec, live
        self.bad_packets = 0
        """Packets that could not be decoded, or said themselves that they are damaged."""
        self.stopped_by = ""
        """Why reading ended before the end; empty where it did not."""
        self.timed_out = False
        """Whether it ended because nothing came in time."""
        self.hung_up = True
        """Whether the other side ended it in order, as far as can be told."""
        self.opening = b""
        """The first packet, by which the same footage is known again."""
        try:
            self.stream = self._pick_stream()
            self._set_up()
        except BaseException:
            container.close()
            raise

    def _pick_stream(self) -> VideoStream:
        # Cover art of music files is a video stream of one picture; it is not the footage.
        streams = [s for s in self.container.streams.video if s.codec_context is not None]
        moving = [s for s in streams if not _is_picture(s)] or streams
        if self.container.streams.video and not moving:
            raise HmcapError(
                f"Expected a video stream in {self.spec} that can be decoded; its kind is not known here, or the file "
                "was cut off. Copy it again, or convert it: ffmpeg -i INPUT -c:v libx264 fixed.mp4"
            )
        if not moving:
            kinds = sorted({s.type for s in self.container.streams}) or ["nothing"]
            raise HmcapError(
                f"Expected a video stream in {self.spec}; it holds only: {', '.join(kinds)}. "
                "Give the file that carries the pictures."
            )
        return max(moving, key=lambda s: (s.width or 0) * (s.height or 0))

    def _set_up(self) -> None:
        stream = self.stream
        self._refuse_too_large(stream.width or 1, stream.height or 1)
        stream.thread_type = "AUTO"
        # a frame in the middle that claims more is an error of that packet, before memory is taken for it
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        self._converter = VideoReformatter()
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate
        self.fps = float(rate) if rate and 0.1 <= float(rate) <= 1000 else DEFAULT_FPS
        self.frame_count = stream.frames or _count_from_duration(stream, self.container, self.fps)
        self._decoded = self._decode()
        # The rotation is known for certain only once a frame is out: decode one now and give it first later.
        first = next((frame for frame in self._decoded if frame is not None), None)
        if first is None:
            step = "Convert it: ffmpeg -i INPUT -c:v libx264 fixed.mp4"
            if "://" in self.spec:
                step = "Its server may give files from the beginning only: download it and capture the file."
            raise HmcapError(
                f"Expected a video in {self.spec}; not one frame of it could be decoded "
                f"(codec {stream.codec_context.name}). {step}"
            )
        self._refuse_too_large(first.width, first.height)
        self._first: VideoFrame | None = first
        aspect = stream.sample_aspect_ratio
        self._pixel_aspect = float(aspect) if aspect and 0.1 < float(aspect) < 10 else 1.0
        self._orient = _orientation(first)
        self.width_px, self.height_px = self._upright_size(first)
        self.metadata = _lens(self.container, stream)
        start = stream.start_time
        self._start_pts = start if start is not None else first.pts or 0
        self._time_base_s = float(stream.time_base or 0)

    def _refuse_too_large(self, width: int, height: int) -> None:
        if width > MAX_SIDE_PX or height > MAX_SIDE_PX or width * height > MAX_PIXELS:
            raise HmcapError(
                f"Expected pictures of at most {MAX_PIXELS / 1e6:.0f} million pixels, {MAX_SIDE_PX} a side, in "
                f"{self.spec}; found {width}x{height}. Scale the video down first."
            )

    def _decode(self) -> Iterator[VideoFrame | None]:
        """Frames of the stream; a packet that cannot be decoded is counted and passed over. Live, also None for each
        packet that gave no frame, of any stream, so that the caller can look at the clock."""
        failed_in_a_row = 0
        packets = self._packets()
        while True:
            packet = None
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                frames = self._decoded_of(packet)
                failed_in_a_row = 0
            except FFmpegError as error:
                self.bad_packets += 1
                failed_in_a_row += 1
                self.timed_out = isinstance(error, ExitError)
                over = not self._live and failed_in_a_row >= DAMAGE_LIMIT
                if over or self.timed_out or (packet is None and isinstance(error, OSError)):
                    # a server that gives no length and hangs up in order looks like one that fails
                    self.hung_up = isinstance(error, OSError) and error.errno == errno.EIO
                    self.stopped_by = "no data came in time" if self.timed_out else reason(error)
                    return
                if packet is None:  # what reads the container ends with its first error; the next packet may be whole
                    if failed_in_a_row >= DAMAGE_LIMIT:
                        self.stopped_by, self.hung_up = reason(error), False
                        return
                    packets = self._packets()
                frames = []
            yield from frames
            if self._live and not frames:
                yield None

    def _packets(self) -> Iterator[Packet]:
        # Live, packets of sound count as well: where they come and no picture does, the caller must notice.
        return self.container.demux(*(() if self._live else (self.stream,)))

    def _decoded_of(self, packet: Packet) -> list[VideoFrame]:
        if packet.stream_index != self.stream.index:
            return []
        if not self.opening and packet.size:
            self.opening = bytes(packet)
        self.bad_packets += bool(packet.is_corrupt)
        return [frame for frame in packet.decode() if isinstance(frame, VideoFrame)]

    def frames(self) -> Iterator[VideoFrame | None]:
        """Every frame from the first, undecorated; None as in live reading where nothing came of a packet."""
        first, self._first = self._first, None
        if first is None:
            raise RuntimeError("a source can be iterated once; open it again")
        yield first
        del first
        yield from self._decoded

    def raw_s(self, frame: VideoFrame) -> float | None:
        """The container's own stamp, seconds since its start; None where it has none."""
        if frame.pts is None or not self._time_base_s:
            return None
        return (frame.pts - self._start_pts) * self._time_base_s

    def picture(self, frame: VideoFrame) -> np.ndarray:
        """(H, W, 3) uint8 upright picture with square pixels, in the frame's own size."""
        width, height = self._square_size(frame)
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

    def _square_size(self, frame: VideoFrame) -> tuple[int, int]:
        return max(1, round(frame.width * self._pixel_aspect)), frame.height

    def _upright_size(self, frame: VideoFrame) -> tuple[int, int]:
        width, height = self._square_size(frame)
        return (height, width) if self._orient[0] else (width, height)

    def close(self) -> None:
        """Close the container; twice is allowed."""
        self.container.close()


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


def reason(error: BaseException) -> str:
    """What the system said, in small letters, for the middle of a sentence."""
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
