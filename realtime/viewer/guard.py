"""Who may see the viewer and what they may say to it: token, host, origin, and the messages that a page of it sends.

The page, its WebSocket and every file pass the same :class:`Guard`. A browser gives the token once, in the address
that hmcap printed; the answer puts it into a cookie, which comes back with everything else that the page asks for.
"""

import http
import ipaddress
from typing import Any
from urllib.parse import urlsplit

import msgpack
from websockets.http11 import Request, Response

from ..addresses import Address
from ..peers import Gate, GuardedConnection, Limits, knows

LIMITS = Limits(
    bytes_per_s=65536.0, bytes_at_once=float(1 << 20), messages_per_s=200.0, messages_at_once=1000.0
)  # fmt: skip
"""A page that is turned with the mouse says where its camera is, some 50 times a second."""
MAX_MESSAGE_BYTES = 1 << 16
_SAID = frozenset({
    "ViewerCameraMessage", "GuiUpdateMessage", "GuiButtonHoldMessage", "CommandTriggerMessage", "FileTransferPartAck",
    "ScenePointerMessage", "SceneNodeClickMessage",
})  # fmt: skip
"""Messages of the page that are passed on. Not among them: uploads, which the library keeps in memory, and requests for
a tunnel through a server of others."""
_MAX_VALUE = 200
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    # The page is one file and speaks to this server alone; and no other page may put it in a frame and steal clicks.
    "Content-Security-Policy": (
        "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; connect-src 'self' {host} data: blob:; "
        "frame-ancestors 'self'; form-action 'none'; base-uri 'none'"
    ),
}


class Guard:
    """Decides about every request to one viewer."""

    def __init__(self, address: Address, token: str | None) -> None:
        self.address, self.token, self.gate = address, token, Gate(LIMITS)

    def refusal(self, connection: GuardedConnection, request: Request) -> Response | None:
        """The answer to a request that may not be met; None for one that may."""
        host = request.headers.get("Host") or ""
        if self.token is None and not own_host(host, self.address):
            # A page of another site whose name was made to point at this computer (DNS rebinding).
            return connection.respond(
                http.HTTPStatus.FORBIDDEN, f"Expected a request to this computer by its own address, {self.address}.\n"
            )
        if self.token is not None and not knows(self.token, request, _cookie(connection)):
            self.gate.wrong_token(connection.address)
            return connection.respond(
                http.HTTPStatus.UNAUTHORIZED, "Open the whole address that hmcap printed, with ?token= behind it.\n"
            )
        if not same_origin(request.headers.get("Origin"), host):
            return connection.respond(http.HTTPStatus.FORBIDDEN, "This page belongs to another site.\n")
        return None

    def finish(self, connection: GuardedConnection, request: Request, response: Response) -> None:
        """Add to an answer what keeps it safe in the browser."""
        host = request.headers.get("Host") or ""
        # The host was checked, or a token was: it still must not end the header it stands in.
        plain = all(c.isalnum() or c in ".:-[]" for c in host)
        for name, value in _HEADERS.items():
            response.headers[name] = value.format(host=f"ws://{host}" if plain else "")
        if self.token is not None and response.status_code == http.HTTPStatus.OK:
            response.headers["Set-Cookie"] = f"{_cookie(connection)}={self.token}; Path=/; HttpOnly; SameSite=Strict"


class ViewerConnection(GuardedConnection):
    """A browser's connection; what no page of the viewer says is dropped."""

    async def recv(self, decode: bool | None = None) -> Any:
        """The next message that is passed on."""
        while not allowed(message := await super().recv(decode)):
            pass
        return message


def allowed(message: object) -> bool:
    """Whether a message is one that the viewer's page sends: of a known kind, and setting nothing but values."""
    if not isinstance(message, bytes) or len(message) > MAX_MESSAGE_BYTES:
        return False
    try:
        fields = msgpack.unpackb(message, raw=False, strict_map_key=True)
    except (ValueError, msgpack.UnpackException, RecursionError):
        return False
    if not isinstance(fields, dict) or not isinstance(fields.get("type"), str) or fields["type"] not in _SAID:
        return False
    if fields["type"] != "GuiUpdateMessage":
        return True
    updates = fields.get("updates")
    return isinstance(updates, dict) and updates.keys() <= {"value"} and all(map(_plain, updates.values()))


def _plain(value: object) -> bool:
    return (
        value is None or isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) < _MAX_VALUE)
    )


def same_origin(origin: str | None, host: str | None) -> bool:
    """Whether a request comes from the viewer's own page, or from a program that is no browser (no ``Origin``)."""
    return origin is None or urlsplit(origin).netloc == host


def own_host(host: str, address: Address) -> bool:
    """Whether a ``Host`` header names this computer in a way that no other site can: ``localhost``, a number, or the
    name that the user gave."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in ("localhost", address.host.lower()):
        return True
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def _cookie(connection: GuardedConnection) -> str:
    # Cookies do not tell ports apart: two viewers on one computer must not take each other's.
    return f"hmcap_viewer_{connection.local_address[1]}"
