"""The motion stage of a run: the trained networks, or the classical solver; whole takes and live."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..models.body import BodyModel
from ..models.camera import Camera
from ..models.errors import HmcapError
from ..models.expression import LiveExpression
from ..models.motion import MotionFrame
from ..models.paths import user_path
from ..models.proxies import Proxies
from ..models.solver.settings import SolverSettings
from .loop import MotionStage

if TYPE_CHECKING:
    from ..engines.base import Engine, Profile
    from ..models.streaming.graph_info import GraphInfo

DEFAULT_MOTION = "networks"
"""What turns proxies into motion where the user does not say; one of MOTIONS."""
MOTIONS = ("networks", "solver")
"""The two ways: trained networks, or the classical solver."""
WEIGHTS_FILE = "motion_base.onnx"
"""The networks that come with the package, in ``hmcap.models.data``."""

TAKE_FRAMES = (1, 128, 256)
"""Fewest, usual and most frames of a take that the networks are given at once."""

CPU_BACKEND = "onnxruntime"
"""What runs the networks on a CPU unless the user says otherwise: many small operations one frame at a time, in which
it takes half the time of OpenVINO, and the double precision of the descent, which that drops."""
CPU_THREADS = 1
"""Threads of that: a second one finds too little to do in a frame, and takes its time from the landmarks."""


class Solve(Protocol):
    """What :func:`hmcap.models.solver.solve_take` offers."""

    def __call__(
        self,
        proxies: Sequence[Proxies],
        camera: Camera,
        *,
        settings: SolverSettings,
        model: BodyModel,
        progress: Callable[[float], None] | None,
    ) -> Sequence[MotionFrame]:
        """Motion of every frame of a take; ``progress`` is called with the share that is done, 0 to 1."""
        ...


class Motion(Protocol):
    """One of the two ways, open and ready."""

    @property
    def engines(self) -> dict[str, "Engine"]:
        """The networks it runs, by name; empty for the solver."""
        ...

    @property
    def solve(self) -> Solve:
        """Whole takes."""
        ...

    def live(self, camera: Camera, settings: SolverSettings, model: BodyModel) -> MotionStage:
        """A stage for frames as they come."""
        ...


class SolverMotion:
    """The classical solver."""

    engines: dict[str, "Engine"] = {}  # noqa: RUF012  # it runs none

    @property
    def solve(self) -> Solve:
        """Whole takes."""
        from ..models.solver import solve_take

        return solve_take

    def live(self, camera: Camera, settings: SolverSettings, model: BodyModel) -> MotionStage:
        """A stage for frames as they come."""
        from ..models.solver import LiveSolver

        return LiveSolver(camera, settings, model=model)


class MotionWithFace:
    """A live motion stage whose frames carry the expression of the face too."""

    def __init__(self, stage: MotionStage) -> None:
        self._stage, self._expression = stage, LiveExpression()
        self._of: dict[int, np.ndarray] = {}  # by frame number: with a look-ahead, motion is of earlier frames

    @property
    def together(self) -> bool:
        """Whether several frames at once take less time than one by one."""
        return self._stage.together

    def push_all(self, proxies: Sequence[Proxies]) -> list[MotionFrame]:
        """Motion of each of the newest frames."""
        motion = self._stage.push_all(proxies)
        for one in proxies:
            self._of[one.index] = self._expression.push(one.face, one.stamp_s)
        frames = [replace(m, expression=self._of[m.index]) for m in motion]
        for index in [i for i in self._of if i < min((m.index for m in motion), default=0)]:
            del self._of[index]
        return frames


@dataclass(frozen=True, slots=True)
class NetworkMotion:
    """The trained networks on an engine."""

    engine: "Engine"
    info: "GraphInfo"
    look_ahead: int | None = None
    """Frames; None for the most that the weights offer in whole takes, and for the fewest live."""
    live_engine: "Engine | None" = None
    """What runs them live, where another engine than that for whole takes is faster."""

    @property
    def engines(self) -> dict[str, "Engine"]:
        """The one graph, once or twice."""
        return {"motion": self.engine} | ({} if self.live_engine is None else {"motion_live": self.live_engine})

    @property
    def solve(self) -> Solve:
        """Whole takes."""
        return self.solve_take

    def solve_take(
        self,
        proxies: Sequence[Proxies],
        camera: Camera,
        *,
        settings: SolverSettings,
        model: BodyModel,
        progress: Callable[[float], None] | None,
    ) -> Sequence[MotionFrame]:
        """Motion of every frame of a take; of the settings, the height of the person counts."""
        from ..models.streaming.stream import MotionNetwork
        from ..models.streaming.take import motion_of_take
        from ..models.streaming.world_settings import WorldSettings

        ahead = self.info.longest if self.look_ahead is None else self.look_ahead
        network = MotionNetwork(self.engine, self.info, ahead)
        world = WorldSettings(height_m=settings.height_m, up_cam=settings.up_cam)
        return motion_of_take(proxies, camera, network, settings=world, model=model, progress=progress)

    def live(self, camera: Camera, settings: SolverSettings, model: BodyModel) -> MotionStage:
        """A stage for frames as they come."""
        from ..models.streaming.live import LiveMotion
        from ..models.streaming.stream import MotionNetwork
        from ..models.streaming.world_settings import WorldSettings

        ahead = min(self.info.lookaheads) if self.look_ahead is None else self.look_ahead
        network = MotionNetwork(self.live_engine or self.engine, self.info, ahead)
        return LiveMotion(camera, network, WorldSettings(height_m=settings.height_m), model=model)


def weights_file(weights: str | Path | None = None) -> Path:
    """The file of the motion networks: ``weights``, or those that come with the package. Raises HmcapError where there
    is none."""
    if weights is not None:
        return user_path(weights)
    path = Path(str(files("hmcap.models") / "data" / WEIGHTS_FILE))
    if not path.is_file():
        raise HmcapError(
            f"Expected the motion networks in {path}, but there is no such file. Install hmcap again, name networks of "
            "your own with --motion-weights FILE, or choose --motion solver."
        )
    return path


def profiles() -> "tuple[Profile, Profile]":
    """The sizes the networks are run with: ``take`` for whole takes, ``live`` for frames as they come."""
    from ..engines.base import Profile

    return Profile("take", {"frames": TAKE_FRAMES}), Profile("live", {"frames": (1, 1, 1)})


def open_networks(
    weights: str | Path | None = None,
    look_ahead: int | None = None,
    *,
    backend: str = "auto",
    device: str = "cpu",
    threads: int | None = None,
    precision: str = "f32",
    live: bool = False,
) -> NetworkMotion:
    """Open the motion networks in ``weights`` (None: those that come with the package) on an engine.

    ``precision``: what they compute in, one of ``engines.PRECISIONS``. ``live``: whether frames will be pushed as they
    come; an engine that is built for fixed sizes then is opened for those too. Raises UsageError for a look-ahead that
    they do not offer, HmcapError where the file is another one or the device does not come up.
    """
    # Imported here: opening a take or printing help must not load an inference library.
    from ..engines import open_engine
    from ..engines.backends import choose_backend
    from ..models.streaming.graph_info import read_graph_info
    from ..models.streaming.stream import check_interface

    path = weights_file(weights)
    info = read_graph_info(path)
    if look_ahead is not None:
        info.check_ahead(look_ahead)
    if (backend, device) == ("auto", "cpu") and precision != "bf16":  # which that engine has not got
        backend, threads = CPU_BACKEND, threads or CPU_THREADS

    def opened(profile: "Profile") -> "Engine":
        engine = open_engine(
            path, backend=backend, device=device, threads=threads, precision=precision, profile=profile
        )
        check_interface(engine, info)
        return engine

    take_sizes, live_sizes = profiles()
    engine = opened(take_sizes)
    # Elsewhere one engine takes any number of frames in one call, which costs little more than one frame.
    apart = live and choose_backend(backend, device).builds
    return NetworkMotion(engine, info, look_ahead, opened(live_sizes) if apart else None)
