"""Where the viewer listens: whether that can be had, and what to open in a browser."""

import errno
import os
import socket

from ...models.errors import HmcapError
from ..addresses import DEFAULT_VIEWER, Address

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  # recognised, not chosen


def page_url(address: Address, port: int) -> str:
    """What to open in a browser; ``port`` is the one that is served, which the system chose where 0 was asked for."""
    host = own_address() if address.host in _EVERYWHERE else address.host
    return f"http://{Address(host, port)}"


def free_address() -> Address:
    """The usual address where it is free, else port 0, for which the system chooses one."""
    try:
        check_free(DEFAULT_VIEWER)
    except HmcapError:
        return Address(DEFAULT_VIEWER.host, 0)
    return DEFAULT_VIEWER


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
            return DEFAULT_VIEWER.host
        return probe.getsockname()[0]


def _cannot_listen(address: Address, error: OSError) -> str:
    where = f"{address}"
    if error.errno == errno.EADDRINUSE:
        other = address.port + 1 if address.port < 65535 else 0
        return (
            f"Expected a free port for the viewer; {where} is in use by another program, perhaps by another hmcap. End "
            f"that one, or name another port: --viewer {address.host}:{other}"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"Expected to be able to listen on {where} for the viewer; the system does not allow it. Ports below 1024 "
            f"often need an administrator: try --viewer {address.host}:{DEFAULT_VIEWER.port}"
        )
    return (
        f"Expected an address of this machine for the viewer; found {address.host} ({error.strerror or error}). Use "
        f"--viewer {DEFAULT_VIEWER} for this machine alone, or 0.0.0.0:{DEFAULT_VIEWER.port} for your whole network."
    )
