"""``hmcap play``: a take in the browser, and to whatever else takes live motion."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from .addresses import DEFAULT_VIEWER, check_token, check_token_seen, parse_address
from .exporters.prepare import take_body
from .interrupts import Interrupts
from .journal_reading import read_take
from .live_outputs import open_live_outputs
from .loop import Sink
from .named_by_takes import check_named_files
from .options import CaptureOptions
from .player import Feeder, Player, check_speed
from .progress import Display
from .recovered import describe_recovery
from .viewer import Playback, Viewer
from .viewer.viewer import announcement
from .watching import release_all

_LOOK_S = 0.2


def play_take(
    take: str | Path,
    *,
    viewer: str = str(DEFAULT_VIEWER),
    viewer_token: str | None = None,
    loop: bool = False,
    speed: float = 1.0,
    show: bool = False,
    **options: Any,
) -> None:
    """Play a recorded take in the viewer until SIGINT (Ctrl-C) or SIGTERM.

    ``viewer``: where to listen, HOST:PORT; ``viewer_token``: what browsers must know, made where others can reach it.
    ``loop``: begin again at the end. ``speed``: factor on the take's own pace.
    ``options``: fields of :class:`CaptureOptions` that concern live outputs; those get the motion at the same pace. A
    take that goes to the viewer alone starts when the first browser opens it. Raises ``HmcapError``.
    """
    check_speed(speed)
    address = parse_address(viewer, "--viewer", DEFAULT_VIEWER, any_port=True)
    check_token(viewer_token, "--viewer-token")
    choices, display = CaptureOptions(**options), Display(show)
    choices.check_tokens_seen(show)
    check_token_seen(address, viewer_token, "--viewer", show)
    recorded = read_take(take)
    for line in describe_recovery(recorded, Path(take).name):
        display.say(line)
    check_named_files(recorded.header)
    player = Player(recorded, speed=speed, loop=loop)
    body = take_body(recorded)
    with Interrupts(patient=True) as interrupts, ExitStack() as stack:
        interrupts.ask = lambda: None  # it is looked at once everything is open
        outputs = open_live_outputs(choices, body)
        stack.callback(release_all, outputs)
        page = Viewer(body, address, recorded.header.name, choices.export_options(), lambda: recorded, viewer_token)
        stack.enter_context(closing(page))
        said = [line for output in outputs for line in output.said]
        serve(page, player, outputs, said=(*said, *announcement(page), "Ctrl-C ends it."), display=display)


def serve(page: Viewer, player: Player, outputs: Sequence[Sink] = (), *, said: Sequence[str], display: Display) -> None:
    """Play in an open viewer, and to other live outputs, until SIGINT or SIGTERM. Raises what an output fails with.

    ``said``: lines for the user, who reads them once a signal would end it well.
    """
    feeder = Feeder(player, [*outputs, Playback(page, player)])
    with Interrupts(patient=True) as interrupts:
        interrupts.ask = lambda: None  # it is looked at below
        feeder.start()
        for line in said:
            display.say(line)
        try:
            if outputs or page.clients:
                player.play()
            else:
                page.on_first_connect(player.play)
            while feeder.alive and not interrupts.asked:
                feeder.join(_LOOK_S)
        finally:
            feeder.stop()
    if feeder.error is not None:
        raise feeder.error
