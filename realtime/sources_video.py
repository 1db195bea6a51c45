"""Video files through PyAV: container stamps, rotation metadata, damaged tails."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError

from ..models.errors import HmcapError
from .file_formats import file_options
from .frames import Frame, Source, Window, fitted, same_shape
from .stamps import FileStamps
from .video_decoder import LENIENT, Decoder, reason


class VideoSource(Source):
    """A video that is read as fast as it is wanted, every frame of it."""

    def __init__(self, decoder: Decoder, spec: str, name: str, window: Window) -> None:
        super().__init__(spec, name, window)
        self._decoder = decoder
        self.fps, self.frame_count, self.metadata = decoder.fps, decoder.frame_count, decoder.metadata
        self.width_px, self.height_px = decoder.width_px, decoder.height_px
        self._resized = self._reshaped = 0

    @classmethod
    def from_file(cls, path: Path, window: Window, spec: str | None = None, name: str | None = None) -> "VideoSource":
        """Open a file on disk; ``spec`` and ``name`` replace the path in messages and in the take."""
        size = path.stat().st_size
        if size == 0:
            raise HmcapError(f"Expected a video in {path}; the file is empty (0 bytes). Copy or download it again.")
        try:
            # A hostile playlist named .mp4 must not make the demuxer reach for the network, or for other files.
            container = av.open(str(path), options=file_options(), **LENIENT)
        except (FFmpegError, OSError, ValueError) as error:
            raise HmcapError(_unreadable(path, size, error)) from error
        spec = spec or str(path)
        return cls(Decoder(container, spec), spec, name or path.stem, window)

    def _frames(self) -> Iterator[Frame]:
        stamps, count, stamp = FileStamps(self.fps), 0, 0.0
        try:
            for frame in self._decoder.frames():
                if frame is None:
                    continue
                stamp = stamps.stamp(self._decoder.raw_s(frame))
                if self.window.end_s is not None and stamp >= self.window.end_s:
                    return
                if self._wanted(stamp):
                    yield Frame(count, stamp, self._in_first_size(self._decoder.picture(frame)))
                count += 1
            self._note_end(count, stamp)
        finally:
            self._note_odd(stamps)

    def _in_first_size(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        if (width, height) != (self.width_px, self.height_px):
            self._resized += 1
            self._reshaped += not same_shape(width, height, self.width_px, self.height_px)
        return fitted(image, self.width_px, self.height_px)

    def _note_odd(self, stamps: FileStamps) -> None:
        if stamps.moved:
            self.warnings.append(
                f"{stamps.moved} frames of {self.name} carried a stamp not after the one before; moved on."
            )
        if stamps.leaps:
            ahead = f", {stamps.closed_s:.0f} s of it ahead" if stamps.closed_s else ""
            times = "once" if stamps.leaps == 1 else f"{stamps.leaps} times"
            self.warnings.append(
                f"The clock of {self.name} leapt {times}{ahead}; the frames after a leap follow the one before it."
            )
        if self._resized:
            text = f"{self._resized} frames of {self.name} had another size and were scaled to the first one"
            if self._reshaped:
                text += (
                    f", {self._reshaped} of them between black bars because they had another shape; the field of view "
                    "of the first frame may not hold for them"
                )
            self.warnings.append(f"{text}.")

    def _note_end(self, count: int, last_s: float) -> None:
        decoder = self._decoder
        declared = decoder.stream.frames
        duration_s = float((decoder.stream.duration or 0) * (decoder.stream.time_base or 0))
        short = declared > count + 2 and last_s + 3 / self.fps < duration_s
        if decoder.stopped_by or decoder.bad_packets or short:
            of = f" of {declared}" if declared else ""
            cause = f" ({decoder.stopped_by})" if decoder.stopped_by else ""
            self.warnings.append(
                f"{self.name} is damaged or cut short{cause}: {count}{of} frames could be read, up to {last_s:.2f} s; "
                "they were used."
            )

    def close(self) -> None:
        self._decoder.close()


def _unreadable(path: Path, size: int, error: BaseException) -> str:
    what = f"Expected a video in {path}; "
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as refusal:
        return f"{what}the system said: {reason(refusal)}. Check that you may read the file."
    if b"ftyp" in head[:16]:
        return (
            f"{what}it is an MP4 whose index cannot be read ({size:,} bytes), so it was probably cut off while being "
            "recorded or copied. Copy it again, or repair it with a tool such as untrunc."
        )
    if head and all(c in b"\t\n\r\f" or 32 <= c < 127 or c >= 128 for c in head) and _is_text(head):
        return f"{what}the file holds text, whatever its name says. Give the video itself."
    return (
        f"{what}no known video format was recognised ({reason(error)}, {size:,} bytes). Play it in another program "
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
