"""One viewer: server, world and side panel. What moves it (a capture, or a player) is somewhere else."""

import math
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...models.body import BodyModel
from ..addresses import Address
from ..exporters import ExportOptions
from .address import page_url
from .export import ExportSection, TakeSource
from .scene import Scene
from .server import close_server, open_server

if TYPE_CHECKING:
    import viser

_TURNS = {"Front": 0.0, "Left": -math.pi / 2, "Right": math.pi / 2, "Back": math.pi}
_CAMERA = "Camera"


class Viewer:
    """Serves the page. ``gui`` and ``scene`` are what its owner fills and moves."""

    def __init__(
        self,
        body: BodyModel,
        address: Address,
        title: str,
        options: ExportOptions,
        take: TakeSource,
        token: str | None = None,
    ) -> None:
        """``token``: what a browser must know; made here where others can reach the address and none is given. Raises
        HmcapError where the address cannot be had or the library is missing."""
        self.address = address
        self.token = secrets.token_urlsafe(16) if token is None and not address.loopback else token
        self._server = open_server(address, f"hmcap · {title}" if title else "hmcap", self.token)
        self.port = self._server.get_port()
        self.url = page_url(address, self.port) + (f"/?token={self.token}" if self.token else "")
        self.gui = self._server.gui
        try:
            self.scene = Scene(self._server, body)
            self.top = self.gui.add_folder(None)
            """Room for what the owner puts at the top of the panel: Stop, or the time line."""
            tabs = self.gui.add_tab_group()
            with tabs.add_tab("Status"):
                self._status = self.gui.add_html("")
            with tabs.add_tab("Details"):
                self._details = self.gui.add_html("")
            self.view_tab = tabs.add_tab("View")
            with self.view_tab:
                view = self.gui.add_button_group("From", (*_TURNS, _CAMERA))
            view.on_click(self._turn)
            with tabs.add_tab("Export"):
                self.export = ExportSection(self._server, options, take)
        except BaseException:
            self.close()
            raise

    @property
    def clients(self) -> int:
        """How many browsers look at it."""
        return len(self._server.get_clients())

    def title(self, title: str) -> None:
        """Change the heading of the panel."""
        self.gui.set_panel_label(f"hmcap · {title}")

    def status(self, text: str, details: str) -> None:
        """Show this HTML as the figures of the panel; the details on a tab of their own, so that the panel
        stays low on a phone."""
        for shown, now in ((self._status, text), (self._details, details)):
            if shown.content != now:
                shown.content = now

    def notify(self, title: str, body: str) -> None:
        """Tell every client something."""
        for client in self._server.get_clients().values():
            client.add_notification(title, body, auto_close_seconds=8.0)

    def on_first_connect(self, call: Callable[[], None]) -> None:
        """Call this once, when a browser has opened the page."""
        calls = [call]

        def connected(_: "viser.ClientHandle") -> None:
            if calls:
                calls.pop()()

        self._server.on_client_connect(connected)

    def add_stop(self, call: Callable[[], None]) -> "viser.GuiButtonHandle":
        """A red button at the top of the panel."""
        import viser

        with self.top:
            button = self.gui.add_button("Stop", color="red", icon=viser.Icon.PLAYER_STOP, hint="End the capture")
        button.on_click(lambda _: call())
        return button

    def close(self) -> None:
        """Stop serving."""
        close_server(self._server)

    def _turn(self, event: "viser.GuiEvent") -> None:
        if event.client is None:
            return
        if event.target.value == _CAMERA:
            self.scene.see_as_camera(event.client)
        else:
            self.scene.face(event.client, _TURNS[event.target.value])


def announcement(viewer: Viewer) -> tuple[str, ...]:
    """What the user is told when a viewer opens."""
    if viewer.address.loopback:
        return (f"viewer: {viewer.url}",)
    return (
        f"viewer: {viewer.url}",
        f"The viewer listens on {viewer.address.host}: whoever has this whole address and reaches this machine over "
        "the network can watch, export the motion and stop the capture. Nothing on the way is encrypted.",
    )
