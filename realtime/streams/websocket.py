"""The motion as lines of JSON for any number of programs and web pages, over WebSocket.

A slow reader gets fewer frames, always the newest, and nothing waits for it: a client holds one event, and what it has
not read is never kept. Whoever may not read the motion gets an HTTP error in place of the connection.
"""

import asyncio
import contextlib
import functools
import http
import logging
import re
import secrets
import socket
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from ...models.body import BodyModel
from ...models.errors import HmcapError
from ...models.motion import MotionFrame
from ...models.proxies import Proxies
from ..addresses import Address, is_loopback, resolve
from ..frames import Frame
from ..peers import Gate, GuardedConnection, Limits, knows
from ..take import TakeHeader
from . import lines

LOG = logging.getLogger("hmcap.streams")

MAX_CLIENTS = 16
_MAX_INCOMING = 1024
"""Bytes of a message from a client; clients have nothing to say."""
_UNSENT_BYTES = 2**16
"""What may wait for a slow client, in this process and again in the system: a dozen frames each."""
_LOCAL_PAGE = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?")
_READY_S = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class _Newest:
    """What every client is to get next."""

    frame: str
    rest: str


class WebSocketStream:
    """Serves the motion. A sink that uses nothing but the motion."""

    def __init__(self, address: Address, body: BodyModel, token: str | None = None) -> None:
        self._body = body
        family, where = resolve(address, socket.SOCK_STREAM, "--websocket")
        try:
            self._socket = socket.create_server(where[:2], family=family)
        except OSError as error:
            raise HmcapError(
                f"Expected to be able to listen at {address}; the system said: {error.strerror or error}. Another "
                f"program, perhaps another hmcap, has this port, or the address is not of this computer. Try another "
                f"port: --websocket {Address(address.host, address.port % 65535 + 1)}"
            ) from error
        # What waits in the system for a slow client is old motion: little of it.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNSENT_BYTES)
        self.address = address = Address(address.host, self._socket.getsockname()[1])
        """Where it listens."""
        if token is None and not is_loopback(where):
            token = secrets.token_urlsafe(16)
            anywhere = address.host in ("0.0.0.0", "::")  # noqa: S104  # recognised, not chosen
            shown = Address("THIS-COMPUTER", address.port) if anywhere else address
            LOG.warning(
                "WebSocket: %s can be reached from other computers, so clients need a token: "
                "ws://%s/?token=%s (choose your own with --websocket-token)",
                address, shown, token,
            )  # fmt: skip
        self.token = token
        """What a client must know; None where any program of this computer may read."""
        self._hello = ""
        self._lock = threading.Lock()
        self._newest: MotionFrame | None = None
        self._told = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        # The rest belongs to the thread of the loop.
        self._stop: asyncio.Event
        self._gate = Gate(Limits())
        self._events: set[asyncio.Event] = set()
        self._next: _Newest | None = None
        self._betas: np.ndarray | None = None
        self._rest = ""

    @property
    def said(self) -> tuple[str, ...]:
        """See :class:`~hmcap.realtime.watching.LiveOutput`."""
        return (f"websocket: ws://{self.address}" + (", for clients with the token" if self.token else ""),)

    def open(self, header: TakeHeader) -> None:
        """Begin to serve."""
        self._hello = lines.line(lines.hello(header))
        self._set_shape(np.zeros(self._body.num_betas))
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="hmcap-websocket", daemon=True)
        self._thread.start()
        if not self._ready.wait(_READY_S):
            raise HmcapError(
                f"Expected the WebSocket server at {self.address} to start within {_READY_S:.0f} s; it did not. Leave "
                "--websocket out, or try again with --debug."
            )

    def __call__(self, frame: Frame | None, proxies: Proxies | None, motion: MotionFrame | None) -> None:
        """Offer the newest motion to all clients."""
        if motion is None:
            return
        with self._lock:
            self._newest = motion
            if self._loop is not None and not self._told:
                self._told = True
                self._loop.call_soon_threadsafe(self._publish)

    def close(self) -> None:
        """Say goodbye to every client and stop."""
        with self._lock:
            loop, self._loop = self._loop, None
            if loop is not None:
                loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            self._thread.join(5.0)
        self._socket.close()

    def release(self) -> None:
        """The same, also where nothing was served."""
        self.close()

    async def _serve(self) -> None:
        # The library says much about clients that come and go wrongly; none of it is about the capture.
        quiet = logging.Logger("hmcap.websocket", logging.CRITICAL + 1)
        guarded: Any = functools.partial(GuardedConnection, gate=self._gate)  # the library says it wants a class
        self._stop = asyncio.Event()
        async with serve(
            self._client, sock=self._socket, process_request=self._refusal, compression=None, logger=quiet,
            max_size=_MAX_INCOMING, max_queue=4, write_limit=_UNSENT_BYTES, open_timeout=5, close_timeout=1,
            server_header=None, create_connection=guarded,
        ):  # fmt: skip
            with self._lock:
                self._loop = asyncio.get_running_loop()
            self._ready.set()
            try:
                await self._stop.wait()
            finally:
                with self._lock:
                    self._loop = None

    def _refusal(self, connection: Any, request: Request) -> Response | None:
        """The answer to a client that may not read; None for one that may."""
        if self.token is not None:
            if not knows(self.token, request):
                self._gate.wrong_token(connection.address)
                answer = connection.respond(
                    http.HTTPStatus.UNAUTHORIZED,
                    "Expected the token that hmcap was started with or has printed: ?token=TOKEN behind the address, "
                    "or the header Authorization: Bearer TOKEN.\n",
                )
                answer.headers["WWW-Authenticate"] = "Bearer"
                return answer
        elif not all(map(_LOCAL_PAGE.fullmatch, request.headers.get_all("Origin"))):
            # Any page of the web that a browser here has open may connect to this computer; browsers name the page.
            return connection.respond(
                http.HTTPStatus.FORBIDDEN,
                "Expected a program, or a page served by this computer; found another page. Start hmcap with "
                "--websocket-token TOKEN and give the page that token.\n",
            )
        if len(self._events) >= MAX_CLIENTS:
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, f"Already {MAX_CLIENTS} clients.\n")
        return None

    async def _client(self, connection: ServerConnection) -> None:
        event = asyncio.Event()
        self._events.add(event)
        listening = asyncio.create_task(_ignore(connection))
        listening.add_done_callback(lambda _: event.set())  # wakes what waits below for a client that is gone
        told_rest = ""
        try:
            await connection.send(self._hello)
            while not listening.done():
                if told_rest != self._rest:
                    told_rest = self._rest
                    await connection.send(told_rest)
                await event.wait()
                event.clear()
                newest = self._next
                if newest is None or listening.done():
                    continue
                if told_rest != newest.rest:
                    told_rest = newest.rest
                    await connection.send(told_rest)
                await connection.send(newest.frame)
        except ConnectionClosed:
            pass
        finally:
            self._events.discard(event)
            listening.cancel()

    def _publish(self) -> None:
        with self._lock:
            motion, self._told = self._newest, False
        if motion is None or not self._events:
            return
        if self._betas is None or not np.array_equal(self._betas, motion.betas):
            self._set_shape(np.array(motion.betas))
        try:
            frame = lines.line(lines.frame(motion, self._body))
        except ValueError:  # not a number: nothing that a reader could use
            return
        self._next = _Newest(frame, self._rest)
        for event in self._events:
            event.set()

    def _set_shape(self, betas: np.ndarray) -> None:
        self._betas = betas
        self._rest = lines.line(lines.rest(self._body, betas))


async def _ignore(connection: ServerConnection) -> None:
    """Read what the client says, so that its pongs are seen, and drop it."""
    with contextlib.suppress(ConnectionClosed):
        async for _ in connection:
            pass
