"""The export section of the side panel: a format, a button, and the file as the browser's download."""

import html
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...models.errors import HmcapError
from ..exporters import EXPORTERS, ExportOptions, prepare
from ..take import Take

if TYPE_CHECKING:
    import viser

TakeSource = Callable[[], Take]
"""Gives the take to export; raises HmcapError, with the reason, where there is none."""


def sort_formats() -> tuple[list[str], dict[str, str]]:
    """The formats that this machine can write, and of each other one, what it needs."""
    able, missing = [], {}
    for name, exporter in EXPORTERS.items():
        try:
            exporter.check()
            able.append(name)
        except HmcapError as error:
            missing[name] = str(error)
    return able, missing


def export_bytes(take: Take, name: str, options: ExportOptions) -> tuple[str, bytes]:
    """The file name and the bytes of a take in the format ``name``. Raises HmcapError."""
    exporter = EXPORTERS[name]
    stem = "".join(c if c.isalnum() or c in "-_ " else "_" for c in take.header.name).strip() or "take"
    with tempfile.TemporaryDirectory(prefix="hmcap-") as folder:
        path = Path(folder) / f"{stem}{exporter.suffix}"
        exporter.export(prepare(take, options), path)
        return path.name, path.read_bytes()


def missing_html(missing: Mapping[str, str]) -> str:
    """Says of each format that cannot be written here what it needs."""
    lines = "".join(f"<p><b>{html.escape(name)}</b>: {html.escape(why)}</p>" for name, why in missing.items())
    return (
        '<div style="font-size:.75em;line-height:1.35;opacity:.7;padding:.3em .95em;overflow-wrap:anywhere">'
        f"Not on this machine:{lines}</div>"
    )


class ExportSection:
    """The section itself. The work is done on the thread that the server calls buttons on, never on that of a sink."""

    def __init__(self, server: "viser.ViserServer", options: ExportOptions, take: TakeSource) -> None:
        self._options, self.take = options, take
        self._busy = threading.Lock()
        import viser

        able, missing = sort_formats()
        self._format = server.gui.add_dropdown("Format", able, hint="Kind of file to download")
        self._button = server.gui.add_button("Download", icon=viser.Icon.DOWNLOAD, hint="The motion as a file")
        self._button.on_click(self._clicked)
        if missing:
            server.gui.add_html(missing_html(missing))

    def _clicked(self, event: "viser.GuiEvent") -> None:
        client = event.client
        if client is None or not self._busy.acquire(blocking=False):
            return
        try:
            self._button.disabled = True
            self._button.label = "Exporting ..."
            chosen = self._format.value  # a page may send any text
            if chosen not in EXPORTERS:
                raise HmcapError(f"Expected one of {', '.join(EXPORTERS)}; found {chosen[:40]!r}.")
            name, content = export_bytes(self.take(), chosen, self._options)
            client.send_file_download(name, content, save_immediately=True)
        except HmcapError as error:
            client.add_notification("Not exported", str(error), color="red", auto_close_seconds=20.0)
        finally:
            self._button.label = "Download"
            self._button.disabled = False
            self._busy.release()
