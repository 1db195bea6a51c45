"""The motion networks as methods: whole takes with their full look-ahead, and frame by frame without any."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ....engines.store import sha256_of
from ....models.body import load_body
from ....models.camera import Camera
from ....models.motion import MotionFrame
from ....models.proxies import Proxies
from ....models.streaming.graph_info import GraphInfo, read_graph_info
from ....models.streaming.groups import present_in
from ....models.streaming.take import observed_in_blocks
from ....realtime.motion import NetworkMotion, open_networks, weights_file
from ..records import Case, Prediction
from .fingerprint import code_version
from .landmarks import EngineOptions, Progress
from .own import THIS, Context, Method, Settings, predict_with

_CODE = (
    "models",
    "models.data",
    "models.solver",
    "models.streaming",
    "realtime.motion",
    "tools.evaluation.methods.networks",
)
_DIGITS = 12
"""Of the weights' SHA-256 in the version."""


@dataclass(frozen=True, slots=True)
class Networks:
    """The motion networks on this software's landmarks, over whole takes or frame by frame."""

    context: Context
    live: bool = False

    @property
    def name(self) -> str:
        """As the command line takes it."""
        return "networks-live" if self.live else "networks"

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return "hmcap's networks, frame by frame as in live capture" if self.live else "hmcap's networks, whole takes"

    @property
    def version(self) -> str:
        """Changes with its code and with the weights."""
        return f"{code_version(*_CODE, *THIS)}.{_weights_digest(self._weights)[:_DIGITS]}"

    @property
    def settings(self) -> Settings:
        """Camera, look-ahead, and what decides the landmarks."""
        info = _info(self._weights)
        ahead = min(info.lookaheads) if self.live else info.longest
        return {"camera": self.context.camera, "look_ahead": ahead} | dict(self.context.landmarks.settings)

    def predict(self, case: Case, progress: Progress) -> Prediction:
        """Motion in the world, the body's parameters and surface, contact, and the landmarks that it explains."""
        return predict_with(self, self.context, self._solve, case, progress)

    def check(self) -> None:
        """Raise HmcapError where there are no weights, or they are not of this version."""
        _info(self._weights)

    @property
    def _weights(self) -> Path:
        return weights_file(self.context.motion_weights)

    def _solve(self, proxies: Sequence[Proxies], camera: Camera) -> Sequence[MotionFrame | None]:
        if not present_in(observed_in_blocks(proxies, camera).confidence).any():
            return [None] * len(proxies)  # nobody to see: an answer, though a poor one
        networks, settings = _opened(self._weights, self.context.engine), self.context.solver
        if not self.live:
            return networks.solve(list(proxies), camera, settings=settings, model=load_body(), progress=None)
        stage = networks.live(camera, settings, load_body())
        return [stage.push_all([p])[0] for p in proxies]


NETWORKS: dict[str, Callable[[Context], Method]] = {
    "networks": Networks,
    "networks-live": lambda context: Networks(context, live=True),
}
"""The methods by the name of the command line."""


def _weights_digest(path: Path) -> str:
    _info(path)  # says in words what is wrong with a file that is not there
    stat = path.stat()
    return _digest(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=8)
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    return sha256_of(path)


@lru_cache(maxsize=8)
def _info(path: Path) -> GraphInfo:
    return read_graph_info(path)


@lru_cache(maxsize=2)
def _opened(path: Path, options: EngineOptions) -> NetworkMotion:
    return open_networks(path, backend=options.backend, device=options.device, threads=options.threads)
