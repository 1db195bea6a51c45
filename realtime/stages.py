"""Opening the stages of a run, so that they share the processor's cores without fighting for them.

Capture, body, hands, motion and sinks run at the same time, each on its own thread. Networks and warps that would
spread over all cores then mostly wait for each other: on two cores, one thread each is a third faster in all.
"""

from typing import Protocol, runtime_checkable

from .loop import LandmarkStage
from .machine import cores
from .motion import Motion, SolverMotion, open_networks
from .options import CaptureOptions

_CORES_PER_THREAD = 4


@runtime_checkable
class Closes(Protocol):
    """What a landmark stage with threads of its own offers to whoever opened it."""

    def close(self) -> None:
        """End them; the stage must not be used any more."""
        ...


def landmark_threads(choices: CaptureOptions) -> int | None:
    """CPU threads of each landmark network: those asked for, else one for every four cores; off the CPU, the engine's
    own choice."""
    if choices.threads is not None or choices.device != "cpu":
        return choices.threads
    return max(1, cores() // _CORES_PER_THREAD)


def open_landmarks(choices: CaptureOptions) -> LandmarkStage:
    """The landmark stage that was asked for. Raises HmcapError where a network or device does not come up."""
    # Imported here: opening a take or printing help must not load an inference library.
    from ..engines.landmarks import LandmarkStage as Stage

    stage = Stage.open(
        backend=choices.engine,
        device=choices.device,
        threads=landmark_threads(choices),
        precision=choices.precision,
        subject=choices.subject,
        body_network=choices.body_network,
        hand_network=choices.hand_network,
        face=choices.face,
    )
    if choices.people == 1:
        return stage
    from ..engines.landmarks.people import PeopleStage

    return PeopleStage(stage, choices.people)


def open_motion(choices: CaptureOptions, live: bool = False) -> Motion:
    """The motion stage that was asked for, one that is to run live too with ``live``. Raises HmcapError where its
    networks or the device do not come up."""
    if choices.motion == "solver":
        return SolverMotion()
    return open_networks(
        choices.motion_weights,
        choices.look_ahead,
        backend=choices.engine,
        device=choices.device,
        threads=choices.threads,
        precision=choices.precision,
        live=live,
    )
