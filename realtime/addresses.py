"""Where a live output goes to or listens: ``HOST:PORT`` as typed, and the socket address behind it."""

import ipaddress
import re
import socket
from dataclasses import dataclass

from ..models.errors import HmcapError, UsageError

_TOKEN = re.compile(r"[A-Za-z0-9._~-]{8,200}")
_HOST = re.compile(r"[A-Za-z0-9_.-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?")


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port."""

    host: str
    """Name or IP address, without brackets."""
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether it is an address that only this computer can reach."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


DEFAULT_VIEWER = Address("127.0.0.1", 8080)
DEFAULT_VMC = Address("127.0.0.1", 39539)
"""Where receivers of the protocol ("marionettes") listen."""
DEFAULT_WEBSOCKET = Address("127.0.0.1", 8770)


def check_token(token: str | None, option: str) -> None:
    """Raise ``UsageError`` unless the token can stand in an address and is not quickly guessed; None passes."""
    if token is not None and not _TOKEN.fullmatch(token):
        raise UsageError(
            f"{option} takes 8 characters or more of letters, digits and . _ ~ -; found others, or fewer. "
            "Leave it out, and hmcap makes one where one is needed."
        )


def check_token_seen(address: Address, token: str | None, option: str, shown: bool) -> None:
    """Raise ``UsageError`` where a token will be made and nothing that is said is shown, so that nobody learns it."""
    if not (shown or address.loopback or token is not None):
        raise UsageError(
            f"{option} {address} can be reached from other computers, so whoever connects needs a token; the one that "
            f"hmcap makes is printed, and nothing is printed here. Choose one: {option}-token TOKEN, or leave --quiet "
            "out (from Python: show=True)."
        )


def parse_address(text: str, option: str, default: Address, *, any_port: bool = False) -> Address:
    """``HOST:PORT``, ``HOST``, ``PORT`` or ``[IPV6]:PORT``; what is missing comes from ``default``.

    ``any_port``: port 0 is allowed, for which the system chooses a free one to listen on.

    Raises ``UsageError`` naming ``option`` where the text is none of these.
    """
    text = text.strip()
    bracketed = re.fullmatch(r"\[([^\]]+)\](?::(.*))?", text)
    if bracketed:
        host, port = bracketed[1], bracketed[2]
    elif text.count(":") > 1:
        host, port = text, None
    else:
        host, colon, port = text.partition(":")
        if not colon:
            host, port = ("", host) if host.isdigit() else (host, None)
    number = default.port if port is None else int(port) if re.fullmatch(r"[0-9]{1,5}", port) else -1
    if not text or not (0 if any_port else 1) <= number <= 65535 or not _HOST.fullmatch(host or default.host):
        raise UsageError(
            f"{option} takes HOST:PORT with a port from {0 if any_port else 1} to 65535; found {text[:100]!r}. "
            f"Try {option} {default}, or {option} alone for the same."
        )
    return Address(host or default.host, number)


def resolve(address: Address, kind: socket.SocketKind, option: str) -> tuple[socket.AddressFamily, tuple]:
    """Address family and socket address, IPv4 where the name has both. Raises ``HmcapError`` for an unknown name."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=kind)
    except (OSError, UnicodeError) as error:
        raise HmcapError(
            f"Expected {option} to name a computer; {address.host!r} was not found ({error}). Give its IP address: "
            f"{option} 192.168.1.20:{address.port}"
        ) from error
    family, _, _, _, where = min(found, key=lambda f: f[0] != socket.AF_INET)
    return family, where


def is_loopback(where: tuple) -> bool:
    """Whether a socket address can be reached from this computer alone."""
    return ipaddress.ip_address(str(where[0]).partition("%")[0]).is_loopback
