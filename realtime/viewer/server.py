"""The web server of the viewer (viser), made quiet, private and local."""

import contextlib
import functools
import gzip
import importlib.util
import io
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...models.errors import HmcapError
from ..addresses import Address
from .address import check_free
from .guard import MAX_MESSAGE_BYTES, Guard, ViewerConnection

if TYPE_CHECKING:
    import viser

BRAND_RGB = (64, 132, 246)
INSTALL = "pip install 'viser>=1.1,<2'"
_REVIVE = b"""<script>
(() => {
  let drawn = false, gone = 0;
  setInterval(async () => {
    if (document.querySelector("canvas")) { drawn = true; gone = 0; return; }
    if (!drawn || ++gone < 3) return;
    try { if ((await fetch(location.href, {cache: "no-store"})).ok) location.reload(); } catch { /* not there yet */ }
  }, 500);
})();
</script>"""
"""Loads a page anew that went blank, as soon as the server answers. Up to viser 1.1.1 a page does when its connection
was lost for a moment: what it then clears away includes the bones of a skinned mesh, and it fails over them."""


def viewer_available() -> bool:
    """Whether the library that the viewer is built on is installed."""
    return importlib.util.find_spec("viser") is not None


def require_viewer() -> None:
    """Raise HmcapError, with what to install, where the viewer's library is missing."""
    if not viewer_available():
        raise HmcapError(f"Expected the library viser, which the viewer is built on; it is not installed. {INSTALL}")


def open_server(address: Address, label: str, token: str | None = None) -> "viser.ViserServer":
    """Serve the viewer at ``address``; port 0 lets the system choose. ``token``: what a browser must know.

    Raises HmcapError where the library is missing or the address cannot be had.
    """
    require_viewer()
    check_free(address)
    import viser
    import websockets.asyncio.server as websocket_server

    guarded = functools.partial(_serve, websocket_server.serve, Guard(address, token))
    # The library says where it listens, in a box of its own; hmcap says it in its own words.
    with contextlib.redirect_stdout(io.StringIO()), _in_place_of(websocket_server, "serve", guarded):
        server = viser.ViserServer(host=address.host, port=address.port, label=label, verbose=False)
    if address.port not in (0, server.get_port()):
        # Somebody took the port since the check, and the library went on to the next one.
        close_server(server)
        check_free(address)
    # The motion of a person goes to nobody but the address that was asked for: no tunnel through somebody's server.
    server.request_share_url = _no_sharing  # type: ignore[method-assign]
    server.gui.configure_theme(
        control_layout="floating", control_width="medium", dark_mode=True, show_logo=False, show_share_button=False,
        brand_color=BRAND_RGB,
    )  # fmt: skip
    return server


def close_server(server: "viser.ViserServer") -> None:
    """Stop serving."""
    with contextlib.redirect_stdout(io.StringIO()):
        server.stop()


@contextlib.contextmanager
def _in_place_of(module: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def _no_sharing(verbose: bool = True) -> None:
    raise HmcapError("The viewer is not shared through other servers. To open it to your network: --viewer 0.0.0.0")


def _serve(serve: Any, guard: Guard, *arguments: Any, process_request: Any, **options: Any) -> Any:
    """The server, closed to whom the guard refuses: other pages above all, which browsers let connect to a WebSocket on
    this machine; without this, a site in another tab could watch the camera."""

    def guarded(connection: Any, request: Any) -> Any:
        refusal = guard.refusal(connection, request)
        if refusal is not None:
            return refusal
        response = _with_script(process_request(connection, request))
        if response is not None:
            guard.finish(connection, request, response)
        return response

    # A port scanner or a tab that is closed early is no news for the user: the library would print a traceback.
    log = logging.getLogger("hmcap.viewer.connections")
    log.setLevel(logging.CRITICAL)
    options |= {"max_size": MAX_MESSAGE_BYTES, "open_timeout": 5, "server_header": None}
    connection = functools.partial(ViewerConnection, gate=guard.gate)
    return serve(*arguments, process_request=guarded, logger=log, create_connection=connection, **options)


def _with_script(response: Any) -> Any:
    """The answer to a request for the page, with the script that revives it; any other answer (None: a WebSocket) as
    it is."""
    if response is None or not response.headers.get("Content-Type", "").startswith("text/html"):
        return response
    response.body = _page_with_script(response.body, response.headers["Content-Encoding"] == "gzip")
    del response.headers["Content-Length"]
    response.headers["Content-Length"] = str(len(response.body))
    return response


@functools.lru_cache(maxsize=2)
def _page_with_script(page: bytes, packed: bool) -> bytes:
    text = (gzip.decompress(page) if packed else page).replace(b"<head>", b"<head>" + _REVIVE, 1)
    return gzip.compress(text) if packed else text
