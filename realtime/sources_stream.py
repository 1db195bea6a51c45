"""Network addresses through PyAV: live streams that come back after a loss, and files that lie on a server."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import av
from av.container import InputContainer
from av.error import FFmpegError

from ..models.errors import HmcapError, UsageError
from .frames import Frame, Source, Window
from .pump import Pump
from .queues import Ended
from .sources_live import LiveSource, Lost, Picture, patiently
from .sources_video import VideoSource
from .video_decoder import LENIENT, Decoder, reason

LIVE_SCHEMES = {"rtsp", "rtsps", "rtmp", "rtmps", "udp", "rtp", "srt", "tcp"}
FILE_SCHEMES = {"http", "https"}
_NETWORK_PROTOCOLS = "http,https,tcp,tls,udp,rtp,rtsp,rtsps,rtmp,rtmps,srt,crypto,httpproxy"
_OPEN_TIMEOUT_S = 15.0
_READ_TIMEOUT_S = 10.0
LIVE_TIMEOUT_S = 5.0
"""A live stream that sends nothing for so long is lost."""
_PLAYLIST_TIMEOUT_S = 30.0
_PLAYLISTS = (".m3u8", ".mpd")
"""Names of playlists, which hand out many seconds at once and nothing in between."""
NO_PICTURE_S = 20.0
"""So is one that sends only what holds no picture: more than most streams leave between two whole pictures."""
_POLL_S = 0.1
_CLOSE_S = 0.5


def open_url(url: str, scheme: str, window: Window) -> Source:
    """Open a network address (``http``, ``https``, ``rtsp`` and the like)."""
    if scheme not in LIVE_SCHEMES | FILE_SCHEMES:
        raise UsageError(
            f"Expected an address that starts with http, https, rtsp, rtmp, srt or udp; found {scheme}://. "
            "For a file on this machine give its path."
        )
    live, decoder = patiently(lambda: _first(url, scheme), lambda opened: opened[1].close())
    name = Path(urlsplit(url).path).stem or urlsplit(url).hostname or "stream"
    if live:
        return StreamSource(url, scheme, name, window, StreamConnection(decoder))
    return ServedFile(decoder, without_password(url), name, window)


def _first(url: str, scheme: str) -> tuple[bool, Decoder]:
    container = _open(url, scheme, _OPEN_TIMEOUT_S, live=scheme in LIVE_SCHEMES)
    live = scheme in LIVE_SCHEMES or container.duration is None
    return live, Decoder(container, without_password(url), live=live)


def _open(url: str, scheme: str, timeout_s: float, *, live: bool) -> InputContainer:
    """Raises ``HmcapError`` where there is nothing that can be opened."""
    options = {"protocol_whitelist": _NETWORK_PROTOCOLS}
    if scheme in FILE_SCHEMES:  # of a file whose server hangs up in the middle, ask for the rest
        options |= {"reconnect": "1", "reconnect_delay_max": "2"}
    if scheme in ("rtsp", "rtsps"):
        options["rtsp_transport"] = "tcp"
    if scheme in LIVE_SCHEMES:
        options["fflags"] = "nobuffer"
    read_s = LIVE_TIMEOUT_S if live else _READ_TIMEOUT_S
    if _is_playlist(url):
        read_s = _PLAYLIST_TIMEOUT_S
    try:
        return av.open(url, options=options, timeout=(timeout_s, read_s), **LENIENT)
    except (FFmpegError, OSError, ValueError) as error:
        raise HmcapError(
            f"Expected a video stream at {without_password(url)}; it could not be opened ({reason(error)}). "
            "Check the address in a player on this machine, then run the command again."
        ) from error


class StreamConnection:
    """One connection to a live stream."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self.width_px, self.height_px = decoder.width_px, decoder.height_px
        self.fps, self.metadata, self.opening = decoder.fps, decoder.metadata, decoder.opening
        self._frames = decoder.frames()
        self._seen_s = time.monotonic()

    def read(self) -> Picture | None:
        """The next picture; None where a packet gave none."""
        try:
            frame = next(self._frames)
        except StopIteration:
            ended = self._decoder.hung_up
            raise Lost("the connection ended" if ended else self._decoder.stopped_by, ended=ended) from None
        if frame is None:
            if time.monotonic() - self._seen_s > NO_PICTURE_S:
                raise Lost(f"no picture in the data of {NO_PICTURE_S:.0f} s")
            return None
        self._seen_s = time.monotonic()
        return Picture(self._decoder.picture(frame), self._decoder.raw_s(frame))

    def close(self) -> None:
        """Hang up."""
        self._decoder.close()


class StreamSource(LiveSource):
    """A live network stream."""

    def __init__(self, url: str, scheme: str, name: str, window: Window, connection: StreamConnection) -> None:
        self._url, self._scheme = url, scheme
        self.silence_s = (_PLAYLIST_TIMEOUT_S if _is_playlist(url) else LIVE_TIMEOUT_S) + 1
        super().__init__(without_password(url), name, window, connection)

    def _connect(self) -> StreamConnection:
        container = _open(self._url, self._scheme, LIVE_TIMEOUT_S, live=True)
        return StreamConnection(Decoder(container, without_password(self._url), live=True))


class ServedFile(VideoSource):
    """A file on a server: every frame of it, read on a thread of its own, so that a server that does not answer does
    not hold up the end."""

    def __init__(self, decoder: Decoder, spec: str, name: str, window: Window) -> None:
        super().__init__(decoder, spec, name, window)
        self._pump: Pump[Frame] | None = None

    def _frames(self) -> Iterator[Frame]:
        self._pump = pump = Pump(self._read(), f"hmcap-{self.name}", 1, newest_only=False)
        while not self._interrupted:
            try:
                frame = pump.take(_POLL_S)
            except Ended:
                return
            if frame is not None:
                yield frame

    def _read(self) -> Iterator[Frame]:
        try:
            yield from super()._frames()
        finally:
            super().close()

    def close(self) -> None:
        if self._pump is None:
            super().close()
        else:
            self._pump.stop(_CLOSE_S)


def _is_playlist(url: str) -> bool:
    return re.split("[?#]", url, maxsplit=1)[0].lower().endswith(_PLAYLISTS)


def without_password(url: str) -> str:
    """The address as it may be shown and kept."""
    # By pattern, because an address that cannot be taken apart has to be shown too.
    return re.sub(r"(://[^/?#:@]*):[^/?#]*@", r"\1:***@", url, count=1)
