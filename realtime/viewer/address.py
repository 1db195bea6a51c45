"""Where the viewer listens: reading what the user typed, and finding out early whether it can be had."""

import errno
import ipaddress
import os
import socket
from dataclasses import dataclass

from ...models.errors import HmcapError, UsageError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080
DEFAULT_ADDRESS = f"{DEFAULT_HOST}:{DEFAULT_PORT}"
"""What ``--viewer`` alone stands for."""
_EVERYWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port to listen on."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def url(self, port: int | None = None) -> str:
        """What to open in a browser; ``port`` where the system chose one."""
        host = self.host
        if host in _EVERYWHERE:
            host = own_address()
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port if port is None else port}"


def parse_address(text: str) -> Address:
    """``HOST:PORT``, ``HOST``, ``PORT`` or ``[IPV6]:PORT``. Raises UsageError."""
    text = text.strip()
    host, port = DEFAULT_HOST, str(DEFAULT_PORT)
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif text.isdecimal():
        port = text
    elif ":" in text:
        host, _, port = text.rpartition(":")
        host = host or DEFAULT_HOST
    elif text:
        host = text
    if not port.isdecimal() or int(port) > 65535 or any(c.isspace() or c in "/@" for c in host):
        raise UsageError(
            f"--viewer takes HOST:PORT, with a port of 0 to 65535; found {text!r}. Try --viewer {DEFAULT_ADDRESS}, or "
            f"--viewer 0.0.0.0:{DEFAULT_PORT} to open it to your network."
        )
    return Address(host, int(port))


def check_free(address: Address) -> None:
    """Raise HmcapError unless this machine can listen there now."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, where in found:
            with socket.socket(family, kind, protocol) as probe:
                if os.name == "posix":
                    # As the server itself does: a port that was closed a moment ago is free.
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6 and hasattr(socket, "IPPROTO_IPV6"):
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(where)
    except OSError as error:
        raise HmcapError(_cannot_listen(address, error)) from error


def own_address() -> str:
    """An address by which others on the network reach this machine; its loopback where there is no network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # No packet is sent: the system only chooses the interface that it would use.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return DEFAULT_HOST
        return probe.getsockname()[0]


def _cannot_listen(address: Address, error: OSError) -> str:
    where = f"{address.host}:{address.port}"
    if error.errno == errno.EADDRINUSE:
        other = address.port + 1 if address.port < 65535 else 0
        return (
            f"Expected a free port for the viewer; {where} is in use by another program, perhaps by another hmcap. End "
            f"that one, or name another port: --viewer {address.host}:{other}"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"Expected to be able to listen on {where} for the viewer; the system does not allow it. Ports below 1024 "
            f"often need an administrator: try --viewer {address.host}:{DEFAULT_PORT}"
        )
    return (
        f"Expected an address of this machine for the viewer; found {address.host} ({error.strerror or error}). Use "
        f"--viewer {DEFAULT_ADDRESS} for this machine alone, or 0.0.0.0:{DEFAULT_PORT} for your whole network."
    )
