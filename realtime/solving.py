"""Pass 2: the motion of a whole take, right after its capture or later from its file."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ..models.body import BodyModel, load_body
from ..models.camera import Camera
from ..models.errors import HmcapError
from ..models.expression import with_expressions
from ..models.motion import MotionFrame
from ..models.proxies import Proxies
from ..models.solver.settings import SolverSettings
from ..models.stacked import Stacked
from .interrupts import shielded
from .journal import write_take
from .locks import is_open
from .memory import enough_memory
from .motion import Solve
from .options import options_from_settings
from .progress import Display
from .report import summarise
from .stages import open_motion
from .take import Take


def solve_again(take: Take, path: Path, final: Path | None, display: Display, solve: Solve | None) -> Take:
    """A take whose capture was cut off before it was solved: solved now, and written to ``final`` in place of ``path``;
    to None while it is still being recorded. Where it cannot be written, the solved take is returned all the same."""
    if not any(p.present for p in take.proxies):
        raise HmcapError(
            f"Expected a person in the take {path}; nobody was seen in its {len(take.proxies)} frames. "
            "Export another take, or capture again with the person in view."
        )
    choices = options_from_settings(take.header.settings)
    body = load_body(choices.body)
    solve = solve or open_motion(choices).solve
    motion = solve_all(take.proxies, take.camera, choices.solver_settings(), body, solve, display)
    solved = dataclasses.replace(take, motion=motion, revision=max(1, take.revision + 1))
    if final is None:
        return solved
    try:
        with shielded():
            saved = write_take(final, take, motion, summarise(solved).to_dict())
    except HmcapError as error:  # a full or read-only disk: the exports may go elsewhere
        display.say(f"Warning: the solved motion could not be added to the take. {error}")
        return solved
    if path != final and not is_open(path):  # a capture that began meanwhile
        try:
            path.unlink()
        except OSError as error:
            display.say(f"{path} is no longer needed and could not be removed: {error.strerror or error}.")
    display.say(f"The solved motion was added to {final}.")
    return saved


def solve_all(
    proxies: Sequence[Proxies],
    camera: Camera,
    settings: SolverSettings,
    body: BodyModel,
    solve: Solve,
    display: Display,
) -> Sequence[MotionFrame]:
    """The motion of a whole take, face included where it was captured, with a progress bar."""
    again = (
        "Close other programs and type hmcap export with the take, do that on a computer with more memory, or capture "
        "the footage in parts: --start and --end."
    )
    with display.stage("solve", len(proxies)) as progress, enough_memory("solve the motion", len(proxies), again):

        def advance(share: float) -> None:
            progress.update(round(share * len(proxies)))

        motion = solve(proxies, camera, settings=settings, model=body, progress=advance)
        progress.update(len(proxies))
        return Stacked.of(with_expressions(motion, proxies))
