"""The motion networks without torch: an exported graph run over frames as they come, in chunks of any size.

The graph is causal and carries its own memory from call to call ("caches"), so each frame costs the same however long
the take is, and one frame at a time gives the numbers that the whole take at once gives. Interface of the graph, batch
1, T frames a call (float32):

* inputs: the arrays of ``Observed`` for the newest T frames under their names; the same arrays, named ``at_<name>``,
  for the frames that the estimates are of, which lie ``ahead`` frames back; ``ahead`` (1, n) or (1, 1, n), one-hot over
  the look-aheads on offer; ``cache_<name>`` for each cache, zeros at the start of a take;
* outputs: the arrays of ``Estimate`` under their names, each (1, T, ...), and ``next_cache_<name>``.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Protocol

import numpy as np

from ..errors import HmcapError
from ..observed import FIELDS, Observed
from ..proxies import BLAZEPOSE_NAMES, HAND_NAMES, NUM_PROXIES
from .graph_info import GraphInfo
from .records import OUTPUTS, Estimate, estimate_shapes, joined

MOST_FRAMES = 256
"""Frames given to the graph in one call; memory grows with them, speed hardly any more."""

OBSERVED_SHAPES: dict[str, tuple[int, ...]] = {
    "xy": (NUM_PROXIES, 2),
    "confidence": (NUM_PROXIES,),
    "body_xyz_m": (len(BLAZEPOSE_NAMES), 3),
    "body_xyz_known": (),
    "hands_xyz_m": (2, len(HAND_NAMES), 3),
    "hands_xyz_known": (2,),
}
"""Shape of one frame of each array of ``Observed``."""


class Tensor(Protocol):
    """Name and shape of one input or output of an engine; -1 stands for any size."""

    @property
    def name(self) -> str:
        """As in the graph."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """With the batch axis."""
        ...


class Engine(Protocol):
    """What is needed of an inference engine (:class:`hmcap.engines.Engine` has it)."""

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """All inputs."""
        ...

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """All outputs."""
        ...

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once: every input by name in, every output by name out."""
        ...


class MotionNetwork:
    """An exported motion graph at work on one take.

    ``ahead``: look-ahead in frames, one of those that ``info`` offers. An estimate comes out ``ahead`` frames after its
    frame went in. Raises UsageError for a look-ahead that is not offered, HmcapError where the engine's inputs and
    outputs are not those that the metadata promises.
    """

    def __init__(self, engine: Engine, info: GraphInfo, ahead: int = 0) -> None:
        self.info = info
        self.ahead = info.check_ahead(ahead)
        check_interface(engine, info)
        self._engine = engine
        fixed = next(tuple(t.shape)[1] for t in engine.inputs if t.name == "xy")
        self.most_frames = MOST_FRAMES if fixed < 1 else fixed
        """Frames that the engine takes in one call."""
        shape = next(tuple(t.shape) for t in engine.inputs if t.name == "ahead")
        self._one_hot = np.array([n == ahead for n in info.lookaheads], np.float32).reshape(shape)
        self.reset()

    def reset(self) -> None:
        """Forget everything: what is pushed next begins a new take."""
        self._caches = {name: np.zeros(shape, np.float32) for name, shape in self.info.caches.items()}
        self._waiting = masked(self.ahead)
        self._pushed = 0

    def push(self, observed: Observed) -> Estimate:
        """Give the next T frames (numpy, leading dimension T >= 0, at ``RATE_HZ``); take the estimates that are due.

        As many come out as go in, but for the first ``ahead`` frames of a take. Raises HmcapError where the arrays have
        other shapes, or the networks give values that are no numbers.
        """
        _check_observed(observed)
        frames = len(observed.xy)
        most = self.most_frames
        parts = [self._run(observed.map(lambda a, i=i: a[i : i + most])) for i in range(0, frames, most)]
        return joined(parts, self.info.num_betas)

    def finish(self) -> Estimate:
        """The estimates still owed at the end of a take, as many as the look-ahead (or as frames, where they are
        fewer); then :meth:`reset`."""
        owed = self.push(masked(self.ahead))
        self.reset()
        return owed

    def _run(self, newest: Observed) -> Estimate:
        frames = len(newest.xy)
        pairs = [(getattr(self._waiting, n), getattr(newest, n)) for n in FIELDS]
        line = Observed(*(np.concatenate([a, b]) for a, b in pairs))
        at = line.map(lambda a: a[:frames])
        feeds: dict[str, np.ndarray] = {"ahead": self._one_hot}
        for name in FIELDS:
            feeds[name] = np.asarray(getattr(newest, name), np.float32)[None]
            feeds[f"at_{name}"] = np.asarray(getattr(at, name), np.float32)[None]
        out = self._engine(feeds | {f"cache_{name}": cache for name, cache in self._caches.items()})
        estimate = Estimate(*(out[name][0] for name in OUTPUTS))
        if not all(np.isfinite(getattr(estimate, f.name)).all() for f in fields(estimate)):
            raise HmcapError(
                f"Expected numbers from the motion networks, found values that are none after frame {self._pushed} of "
                "the take. Run again with --engine onnxruntime --device cpu, or with --motion solver, and report the "
                "footage."
            )
        self._caches = {name: out[f"next_cache_{name}"] for name in self._caches}
        self._waiting = line.map(lambda a: a[frames:])
        late = max(0, min(frames, self.ahead - self._pushed))  # these are of frames before the first
        self._pushed += frames
        return estimate.part(late, frames)


def masked(frames: int) -> Observed:
    """``frames`` frames in which nothing is seen."""
    return Observed(*(np.zeros((frames, *OBSERVED_SHAPES[name]), np.float32) for name in FIELDS))


def check_interface(engine: Engine, info: GraphInfo) -> None:
    """Raise HmcapError unless the engine's inputs and outputs are those of a motion graph with this metadata."""
    rank = next((len(t.shape) for t in engine.inputs if t.name == "ahead"), 2)
    wanted_in: dict[str, tuple[int, ...]] = {"ahead": (1,) * (2 if rank == 3 else 1) + (len(info.lookaheads),)}
    for name, shape in OBSERVED_SHAPES.items():
        wanted_in[name] = wanted_in[f"at_{name}"] = (1, -1, *shape)
    wanted_in |= {f"cache_{name}": shape for name, shape in info.caches.items()}
    wanted_out = {name: (1, -1, *shape) for name, shape in estimate_shapes(info.num_betas).items()}
    wanted_out |= {f"next_cache_{name}": shape for name, shape in info.caches.items()}
    for what, tensors, wanted in (("input", engine.inputs, wanted_in), ("output", engine.outputs, wanted_out)):
        found = {t.name: tuple(t.shape) for t in tensors}
        missing, unknown = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
        if missing or unknown:
            told = [f"no {', '.join(missing)}"] * bool(missing) + [f"the unknown {', '.join(unknown)}"] * bool(unknown)
            raise _other_graph(f"among its {what}s is {' and '.join(told)}")
        for name, shape in wanted.items():
            if not _fits(found[name], shape):
                raise _other_graph(f"its {what} {name!r} has the shape {found[name]} where {shape} is due")


def _fits(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether a tensor's shape is the wanted one. Frames may be open, or one at a time; any other fixed number is not
    what chunks of any size can be cut into."""
    # some libraries report what they could not derive as -1
    return len(found) == len(wanted) and all(f in (-1, 1 if w == -1 else w) for f, w in zip(found, wanted, strict=True))


def _check_observed(observed: Observed) -> None:
    frames = len(observed.xy)
    for name, shape in OBSERVED_SHAPES.items():
        if getattr(observed, name).shape != (frames, *shape):
            raise HmcapError(
                f"Expected {name} of shape {(frames, *shape)} for the motion networks, found "
                f"{getattr(observed, name).shape}. Make the record with hmcap.models.observed.observe."
            )


def _other_graph(reason: str) -> HmcapError:
    return HmcapError(
        f"Expected the inputs and outputs of a motion graph that fit its metadata, but {reason}. Install hmcap again "
        "to get its own weights back, or export yours again with this version."
    )
