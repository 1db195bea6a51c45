"""A take in the viewer, with a time line."""

import time
from typing import TYPE_CHECKING

import numpy as np

from ...models.motion import MotionFrame
from ...models.proxies import Proxies
from ..frames import Frame
from ..player import Player
from ..take import Take, TakeHeader
from .footage import Footage
from .status import Chip, engine_rows, person_chip, table_html, take_rows
from .viewer import Viewer

if TYPE_CHECKING:
    import viser

SPEEDS = ("0.1x", "0.25x", "0.5x", "1x", "2x", "4x")
PANEL_EVERY_S = 0.1
_HOLD_S = 0.7
"""Time after a hand on the time line during which the player leaves it alone."""


class Playback:
    """A sink of a player's :class:`~hmcap.realtime.player.Feeder`: shows the take in a viewer, and lets the panel turn
    the player. The viewer belongs to whoever opened it."""

    def __init__(self, viewer: Viewer, player: Player) -> None:
        import viser

        self._viewer, self._player = viewer, player
        self._take: Take = player.take
        self._footage: Footage | None = None
        self._place = {m.index: number for number, m in enumerate(self._take.motion)}
        self._panel_at = self._touched_at = -1e9
        self._icons = (viser.Icon.PLAYER_PLAY, viser.Icon.PLAYER_PAUSE)
        gui = viewer.gui
        viewer.title(self._take.header.name)
        viewer.export.take = lambda: self._take
        speed = f"{player.speed:g}x"
        with viewer.top:
            self._play = gui.add_button("Play", icon=self._icons[0])
            self._line = gui.add_slider("Frame", 0, max(1, len(player) - 1), 1, 0)
        with viewer.view_tab:
            self._speed = gui.add_dropdown(
                "Speed", SPEEDS if speed in SPEEDS else (*SPEEDS, speed), initial_value=speed
            )
            self._loop = gui.add_checkbox("Loop", player.loop)
        self._play.on_click(lambda _: self._turn())
        gui.add_command("Play or pause", hotkey="space").on_trigger(lambda _: self._turn())
        self._line.on_update(self._seek)
        self._speed.on_update(lambda _: player.set_speed(float(self._speed.value.rstrip("x"))))
        self._loop.on_update(lambda _: player.set_loop(self._loop.value))

    def open(self, header: TakeHeader) -> None:
        """Show the whole way, and look at it."""
        pelvis_m = np.array([f.trans_m for f in self._take.motion if f.present], dtype=np.float64)
        scene = self._viewer.scene
        scene.show(self._take.motion[0])
        first = next((f for f in self._take.motion if f.present), None)
        if first is not None:
            scene.show_path(pelvis_m)
            scene.frame_whole(first, pelvis_m)
        self._footage = Footage(self._take, scene.show_picture)

    def __call__(self, frame: Frame, proxies: Proxies, motion: MotionFrame | None) -> None:
        if motion is None:
            return
        number, playing, now = self._player.frame, self._player.playing, time.monotonic()
        jpeg = None
        if self._footage is not None:
            jpeg = self._footage.want(self._place[motion.index], self._player.speed if playing else 0.0)
        self._viewer.scene.show(motion, jpeg)
        if playing and now - self._panel_at < PANEL_EVERY_S:
            return
        self._panel_at = now
        self._play.label, self._play.icon = ("Pause", self._icons[1]) if playing else ("Play", self._icons[0])
        if now - self._touched_at >= _HOLD_S and self._line.value != number:
            self._line.value = number
        self._viewer.status(*self._figures(motion))

    def close(self) -> None:
        """Stop reading the footage; the page stays as it is."""
        if self._footage is not None:
            self._footage.close()
            self._footage = None

    def _turn(self) -> None:
        if self._player.playing:
            self._player.pause()
        else:
            self._player.play()

    def _seek(self, event: "viser.GuiEvent") -> None:
        if event.client is None:
            return  # the player itself moved it
        self._touched_at = time.monotonic()
        self._player.seek(self._line.value)

    def _figures(self, motion: MotionFrame) -> tuple[str, str]:
        take, header = self._take, self._take.header
        rows = [("time", f"{motion.stamp_s:.2f} of {take.motion[-1].stamp_s:.2f} s")]
        footage = self._footage.missing if self._footage is not None else ""
        notes = [("pictures", "footage not found" if not header.live else "none, it was live")] if footage else []
        details = [take_rows(motion, header) + notes, engine_rows(header.engines)]
        return table_html([Chip("take", "none"), person_chip(motion)], [rows]), table_html([], details)
