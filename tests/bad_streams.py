"""A server on this machine that treats its clients as networks do: it stalls, hangs up, comes back with other pictures,
and sends what is no video. Also a camera that is pulled out."""

import io
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

_PACKET = 188
LIVE_HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n"
"""What HTTP says before a stream that has no length."""


def transport_stream(
    count: int, *, size=(64, 48), rate=30, start_s=0.0, stamps_s=None, shade=0, codec="mpeg2video"
) -> bytes:
    """An MPEG transport stream of ``count`` pictures, each a little brighter than the last."""
    out = io.BytesIO()
    with av.open(out, "w", format="mpegts", options={"mpegts_flags": "resend_headers"}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.gop_size = 5
        stream.codec_context.max_b_frames = 0
        packets = []
        for i in range(count):
            image = np.full((size[1], size[0], 3), (shade + i) % 256, np.uint8)
            packets += stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24"))
        for i, packet in enumerate(packets + stream.encode(None)):
            at_s = start_s + (i / rate if stamps_s is None else stamps_s[i])
            packet.time_base = Fraction(1, 90000)
            packet.pts = packet.dts = round(at_s * 90000)
            container.mux(packet)
    return out.getvalue()


@dataclass(frozen=True)
class Send:
    """Send these bytes evenly over so many seconds; the rest is left out once ``until`` is set."""

    data: bytes
    seconds: float = 0.0
    until: threading.Event | None = None


@dataclass(frozen=True)
class Stall:
    """Send nothing and keep the connection."""

    seconds: float


@dataclass(frozen=True)
class Reset:
    """Break the connection off as a crashed machine does."""


class BadServer:
    """Serves its n-th client the n-th script, over TCP or as HTTP without a length; hangs up on all later ones.

    A script that is None refuses one client. Use it in a ``with`` block.
    """

    def __init__(
        self, *scripts: Sequence[Send | Stall | Reset] | None, http: bool = True, head: bytes = LIVE_HEAD
    ) -> None:
        self._scripts, self._http, self._head = scripts, http, head
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.clients = 0
        """How many have come so far."""
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"{'http' if self._http else 'tcp'}://127.0.0.1:{self._listener.getsockname()[1]}/live.ts"

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            script = self._scripts[self.clients] if self.clients < len(self._scripts) else None
            self.clients += 1
            thread = threading.Thread(target=self._serve, args=(client, script), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket, script: Sequence[Send | Stall | Reset] | None) -> None:
        with client:
            try:
                if script is not None and self._http:
                    client.recv(65536)
                    client.sendall(self._head)
                for step in script or ():
                    if isinstance(step, Send):
                        self._send(client, step)
                    elif isinstance(step, Stall):
                        self._closing.wait(step.seconds)
                    else:
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        return
            except OSError:  # the client hung up
                return

    def _send(self, client: socket.socket, step: Send) -> None:
        began = time.monotonic()
        for place in range(0, len(step.data), 7 * _PACKET):
            due = began + step.seconds * place / max(1, len(step.data))
            if self._closing.wait(max(0.0, due - time.monotonic())) or (step.until and step.until.is_set()):
                return
            client.sendall(step.data[place : place + 7 * _PACKET])

    def __enter__(self) -> "BadServer":
        return self

    def __exit__(self, *_) -> None:
        self._closing.set()
        # a socket that another thread waits at is not closed under it
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)


def pulled_camera(*plugged, rate=200.0):
    """A class that stands in for cv2.VideoCapture. ``plugged`` are its lives in turn: (pictures, width, height) gives
    so many pictures and is then pulled out; ``None`` is a try to open it that fails; ``"hangs"`` gives one picture and
    then never returns from ``read`` until ``let_go`` is set."""
    lives = iter(plugged)

    class Camera:
        let_go = threading.Event()
        opened = 0
        released = 0

        def __init__(self, index):
            life = next(lives, None)
            self.hangs = life == "hangs"
            self.left, self.width, self.height = (1, 64, 48) if life == "hangs" else life or (0, 0, 0)
            self.is_open = life is not None
            Camera.opened += self.is_open

        def isOpened(self):
            return self.is_open

        def set(self, *_):
            return True

        def get(self, _):
            return 0.0

        def read(self):
            if self.left > 0:
                time.sleep(1 / rate)
                self.left -= 1
                return True, np.full((self.height, self.width, 3), (1, 2, 3), np.uint8)
            if self.hangs:
                Camera.let_go.wait()
            return False, None

        def release(self):
            Camera.released += self.is_open

    return Camera
