"""Writing H.264 with the source's own stamps, and its sound."""

import contextlib
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ...models.errors import HmcapError
from ..file_formats import file_options

H264, PLAIN = "libx264", "mpeg4"
MIN_TIMESCALE = 60_000
"""Ticks a second at least; a tick is far below what any container or camera rounds stamps to."""
MP4_AUDIO = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"})
_BT709 = 1


def rate_fraction(fps: float) -> Fraction:
    """The frame rate as film and television write it: 29.97 becomes 30000/1001, 24 stays 24."""
    rate = Fraction(fps).limit_denominator(1001)
    ntsc = Fraction(round(fps * 1.001) * 1000, 1001)
    return ntsc if abs(float(ntsc) - fps) < 0.004 and rate.denominator != 1 else rate


def video_codec() -> tuple[str, str]:
    """The encoder to use and, where it is not H.264, a sentence for the report (else empty)."""
    if H264 in av.codecs_available:
        return H264, ""
    if PLAIN in av.codecs_available:
        return PLAIN, (
            "This build of PyAV has no libx264, so the overlay is MPEG-4 Part 2: larger, and browsers may not play it."
        )
    raise HmcapError(
        "Expected PyAV to have an H.264 or MPEG-4 encoder, found neither. Install the wheel of the package index: "
        "pip install --force-reinstall av"
    )


class VideoWriter:
    """One mp4 file. Feed frames in time order, then close it (a ``with`` block does).

    Args:
        path: file to write.
        width_px, height_px: size of the pictures that will be fed; odd sizes are padded by one pixel.
        fps: nominal frame rate; stamps decide, this is what the file states.
        audio_from: file whose sound is copied, or None.
        audio_offset_s: time of that file's clock at which the first fed stamp 0 lies.
    """

    def __init__(
        self,
        path: Path,
        width_px: int,
        height_px: int,
        fps: float,
        audio_from: Path | None = None,
        audio_offset_s: float = 0.0,
    ) -> None:
        self.codec, note = video_codec()
        self.warnings: list[str] = [note] if note else []
        rate = rate_fraction(fps)
        timescale = rate.numerator * math.ceil(MIN_TIMESCALE / rate.numerator)
        self._time_base = Fraction(1, timescale)
        self._frame_ticks = max(1, round(timescale / rate))
        self._pad = ((0, height_px % 2), (0, width_px % 2), (0, 0))
        self._size = (width_px, height_px)
        self._last_pts: int | None = None
        with contextlib.ExitStack() as stack:
            self._out: OutputContainer = stack.enter_context(av.open(str(path), "w", format="mp4"))
            self._video = self._add_video(rate)
            self._audio = self._open_audio(stack, audio_from, audio_offset_s)
            self._stack = stack.pop_all()

    def _add_video(self, rate: Fraction) -> VideoStream:
        # Without B-frames decoding order is display order, and the duration is right at any variable rate.
        options = {"crf": "20", "preset": "veryfast", "bf": "0"} if self.codec == H264 else {}
        stream = self._out.add_stream(self.codec, rate=rate, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = self._size[0] + self._pad[1][1], self._size[1] + self._pad[0][1]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = self._time_base
        # Players assume BT.709 for large pictures and BT.601 for small ones unless the file says.
        stream.codec_context.colorspace = _BT709
        stream.codec_context.color_primaries = _BT709
        stream.codec_context.color_trc = _BT709
        stream.codec_context.color_range = 1
        if self.codec == PLAIN:
            stream.codec_context.bit_rate = stream.width * stream.height * 6
        return stream

    def _open_audio(self, stack: contextlib.ExitStack, path: Path | None, offset_s: float) -> Iterator[Packet]:
        if path is None:
            return iter(())
        try:
            source = stack.enter_context(av.open(str(path), options=file_options()))
        except (FFmpegError, OSError, ValueError) as err:
            self.warnings.append(f"The sound of {path.name} was left out: it could not be read ({err}).")
            return iter(())
        if not source.streams.audio:
            return iter(())
        name = source.streams.audio[0].codec_context.name
        if name not in MP4_AUDIO:
            self.warnings.append(f"The sound of {path.name} was left out: mp4 cannot hold {name}.")
            return iter(())
        return self._copied_packets(source, offset_s)

    def _copied_packets(self, source: InputContainer, offset_s: float) -> Iterator[Packet]:
        """Sound packets on the clock of the written file; one that lies before its start is left out."""
        theirs = source.streams.audio[0]
        ours = self._out.add_stream_from_template(theirs)
        shift = round(offset_s / theirs.time_base) if theirs.time_base else 0
        return self._shifted(source, theirs, ours, shift)

    def _shifted(self, source, theirs, ours, shift: int) -> Iterator[Packet]:
        try:
            for packet in source.demux(theirs):
                if packet.dts is None or packet.pts is None or packet.pts < shift:
                    continue
                packet.pts -= shift
                packet.dts -= shift
                packet.stream = ours
                yield packet
        except FFmpegError as err:
            self.warnings.append(f"The sound stops early: the source is damaged ({err}).")

    def write(self, image_rgb: np.ndarray, stamp_s: float) -> None:
        """Encode one picture (H, W, 3) uint8 shown at ``stamp_s`` seconds from the start of the file."""
        if image_rgb.shape[1::-1] != self._size:
            raise ValueError(f"expected a picture of {self._size}, found {image_rgb.shape[1::-1]}")
        if any(after for _, after in self._pad):
            image_rgb = np.pad(image_rgb, self._pad, mode="edge")
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(image_rgb), format="rgb24")
        frame = frame.reformat(format="yuv420p", src_colorspace="ITU709", dst_colorspace="ITU709")
        pts = round(stamp_s / self._time_base)
        frame.pts = pts if self._last_pts is None else max(pts, self._last_pts + 1)
        frame.time_base = self._time_base
        self._last_pts = frame.pts
        self._out.mux(self._video.encode(frame))
        self._mux_audio(float(frame.pts * self._time_base))

    _waiting: Packet | None = None

    def _mux_audio(self, until_s: float) -> None:
        while True:
            packet = self._waiting or next(self._audio, None)
            self._waiting = packet
            if packet is None or packet.pts is None or packet.pts * packet.time_base > until_s:
                return
            self._out.mux(packet)
            self._waiting = None

    def close(self) -> None:
        """Write what the encoder still holds and the index; sound after the last picture is left out."""
        try:
            if self._last_pts is not None:
                self._out.mux(self._video.encode(None))
                self._mux_audio(float((self._last_pts + self._frame_ticks) * self._time_base))
        finally:
            self._stack.close()

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self.close()
        else:
            self._stack.close()


def first_picture_s(path: Path) -> float:
    """Time on the file's clock at which its largest video stream begins; 0 where the file does not say."""
    with av.open(str(path), options=file_options()) as container:
        streams = sorted(container.streams.video, key=lambda s: -(s.width or 0) * (s.height or 0))
        if not streams or streams[0].start_time is None or streams[0].time_base is None:
            return 0.0
        return float(streams[0].start_time * streams[0].time_base)
