"""Who may connect to what this computer serves: how many, how often, with which token, and how much they may say.

Nothing here knows what is served. A :class:`Gate` counts for one server; :class:`GuardedConnection` asks it as soon as
a connection is there, before a byte of it is read, so that others can use up neither this process's file handles nor
its time.
"""

import hmac
import http.cookies
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server takes from others."""

    connections: int = 64
    """Connections at a time, those included that have not said anything yet."""
    per_address: int = 32
    """The same from one address."""
    opened_per_s: float = 10.0
    """New connections a second from one address, in the long run."""
    opened_at_once: float = 60.0
    """New connections from one address that may come at once after a pause."""
    wrong_token_costs: float = 5.0
    """As many connections as a wrong token counts for: two a second can be tried in the long run."""
    bytes_per_s: float = 8192.0
    """Bytes a second that one connection may send, in the long run."""
    bytes_at_once: float = 65536.0
    """Bytes that it may send at once after a pause."""
    messages_per_s: float = 20.0
    """Messages a second, pings included."""
    messages_at_once: float = 200.0
    """Messages at once after a pause."""


class Bucket:
    """An allowance that fills up with time: ``most`` at first and at most, ``per_s`` more each second."""

    def __init__(self, per_s: float, most: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._most, self._clock = per_s, most, clock
        self._left, self._at_s = most, clock()

    @property
    def left(self) -> float:
        """What may be taken now."""
        now_s = self._clock()
        self._left = min(self._most, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        return self._left

    @property
    def full(self) -> bool:
        """Whether it is as if nothing had ever been taken."""
        return self.left >= self._most

    def take(self, amount: float = 1.0) -> bool:
        """Take ``amount``; False, and everything gone, where there is less."""
        enough = self.left >= amount
        self._left = self._left - amount if enough else 0.0
        return enough


class Gate:
    """Counts the connections of one server, on the thread of its loop."""

    MOST_ADDRESSES = 1024
    """Addresses that are remembered; beyond, the longest known is forgotten."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits, self._clock = limits, clock
        self._open: dict[str, int] = {}
        self._buckets: dict[str, Bucket] = {}

    @property
    def open(self) -> int:
        """Connections now."""
        return sum(self._open.values())

    def enter(self, address: str) -> bool:
        """Count a new connection; False where it is one too many, which then does not count."""
        limits, here = self.limits, self._open.get(address, 0)
        if not self._bucket(address).take() or self.open >= limits.connections or here >= limits.per_address:
            return False
        self._open[address] = here + 1
        return True

    def leave(self, address: str) -> None:
        """A connection that was counted is gone."""
        left = self._open.get(address, 0) - 1
        if left > 0:
            self._open[address] = left
        else:
            self._open.pop(address, None)

    def wrong_token(self, address: str) -> None:
        """Somebody there guesses."""
        self._bucket(address).take(self.limits.wrong_token_costs)

    def _bucket(self, address: str) -> Bucket:
        if address not in self._buckets:
            if len(self._buckets) >= self.MOST_ADDRESSES:
                self._buckets = {a: b for a, b in self._buckets.items() if not b.full}
            if len(self._buckets) >= self.MOST_ADDRESSES:
                self._buckets.pop(next(iter(self._buckets)))
            self._buckets[address] = Bucket(self.limits.opened_per_s, self.limits.opened_at_once, self._clock)
        return self._buckets[address]


class GuardedConnection(ServerConnection):
    """A connection that the gate lets in, and that is cut off where it says too much. For ``create_connection`` of
    ``websockets.asyncio.server.serve``, with the gate filled in by ``functools.partial``."""

    def __init__(self, *arguments: Any, gate: Gate, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.gate, self.address = gate, ""
        limits = gate.limits
        self._entered = False
        self._bytes = Bucket(limits.bytes_per_s, limits.bytes_at_once)
        self._messages = Bucket(limits.messages_per_s, limits.messages_at_once)

    def connection_made(self, transport: Any) -> None:
        self.address = str((transport.get_extra_info("peername") or ("",))[0])
        self._entered = self.gate.enter(self.address)
        if self._entered:
            super().connection_made(transport)
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._entered:
            self.gate.leave(self.address)
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._entered:
            return
        if self._bytes.take(len(data)):
            super().data_received(data)
        else:
            self.transport.abort()

    def process_event(self, event: Any) -> None:
        if self._messages.take():
            super().process_event(event)
        else:
            self.transport.abort()

    def eof_received(self) -> None:
        if self._entered:
            super().eof_received()


def knows(token: str, request: Request, cookie: str = "") -> bool:
    """Whether the request carries the token: in its query, in a header, or in the ``cookie`` of that name. Takes
    equally long for every wrong one of a length."""
    given = urllib.parse.parse_qs(urllib.parse.urlsplit(request.path).query).get("token", [])
    for value in request.headers.get_all("Authorization"):
        scheme, _, rest = value.partition(" ")
        if scheme.lower() == "bearer":
            given.append(rest.strip())
    for value in request.headers.get_all("Cookie") if cookie else ():
        try:
            found = http.cookies.SimpleCookie(value).get(cookie)
        except http.cookies.CookieError:
            continue
        given += [] if found is None else [found.value]
    return any(hmac.compare_digest(g.encode(errors="surrogateescape"), token.encode()) for g in given)
