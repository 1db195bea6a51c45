"""A whole take through the motion networks: proxies in, motion frames out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..body import BodyModel, load_body
from ..camera import Camera
from ..errors import HmcapError
from ..motion import MotionFrame
from ..observed import FIELDS, Observed, observe
from ..proxies import BODY, Proxies
from ..sightings import believed
from ..solver.observations import increasing, stack
from ..solver.segments import find_segments
from ..stacked import Stacker
from . import take_joints
from .assemble import assemble
from .fusion import PlacedTake, place_take, reprojection_error
from .groups import present_in
from .other_body import for_body
from .records import OUTPUTS, RATE_HZ, Estimate, estimate_shapes
from .resample import Sampler
from .stream import MOST_FRAMES, MotionNetwork
from .take_joints import pieces
from .timeline import Timeline, timeline
from .world_settings import WorldSettings
from .world_track import WorldTrack

_BLOCK = 4096
"""Frames whose proxies are stacked at once: in double precision they take ten times the room of what is kept."""
_NETWORK_SHARE = 0.9
"""Share of the time that the networks take, for the progress."""


def motion_of_take(
    proxies: Sequence[Proxies],
    camera: Camera,
    network: MotionNetwork,
    *,
    settings: WorldSettings | None = None,
    model: BodyModel | None = None,
    progress: Callable[[float], None] | None = None,
) -> Sequence[MotionFrame]:
    """Motion of every frame of a take.

    All joints of all frames are never in memory together but in single precision (two kilobytes a frame); what needs
    the whole take (shape, vertical, floor, the way of the pelvis, the feet) needs root and legs alone.

    proxies: all frames in order, those without a person included. camera: intrinsics, of a camera that stands still.
    network: begins anew, with its own look-ahead. model: the body of the motion frames, None for the built-in one.
    progress: called with 0..1. Raises HmcapError where nobody is seen in any frame.
    """
    model, report = model or load_body(), progress or (lambda _: None)
    proxies = believed(proxies)
    source = _Source.of(proxies, camera)
    if not source.present.any():
        raise HmcapError(
            f"Expected a person in the footage, found none in {len(proxies)} frames. Check that a whole person or an "
            "upper body is in view, upright and lit, or choose another part of the video with --start and --end."
        )
    line = timeline(increasing(source.stamps_s), cuts_in(proxies, camera))
    sampler, seen = Sampler.of(line), []

    def at(ticks: slice) -> Observed:
        sample, frames = sampler.piece(ticks)
        observed = sample(observe(proxies[frames], camera))
        seen.append(_body_of(observed))
        return observed

    estimate = for_body(estimate_take(at, line, network, lambda x: report(x * _NETWORK_SHARE)), model)
    placed = _placed(estimate, joined_observed(seen), line, model, settings or WorldSettings())
    stacker = Stacker[MotionFrame]()
    for begin, end in pieces(len(proxies), _frames_at_once(line)):
        track = track_at_stamps(placed, source, line, model, slice(begin, end))
        for frame in assemble(track, source.index[begin:end], source.stamps_s[begin:end], camera):
            stacker.add(frame)
        report(_NETWORK_SHARE + (1 - _NETWORK_SHARE) * end / len(proxies))
    return stacker.stacked()


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    """What is kept of the N frames of the source: a quarter of the proxies."""

    index: np.ndarray
    """(N,) frame numbers."""
    stamps_s: np.ndarray
    """(N,) as the source gave them."""
    present: np.ndarray
    """(N,) bool"""
    body: Observed
    """The body in the picture."""

    @classmethod
    def of(cls, proxies: Sequence[Proxies], camera: Camera) -> "_Source":
        index, stamps, bodies = [], [], []
        for begin in range(0, max(1, len(proxies)), _BLOCK):
            block = proxies[begin : begin + _BLOCK]
            bodies.append(_body_of(observe(block, camera)))
            index += [p.index for p in block]
            stamps += [p.stamp_s for p in block]
        body = joined_observed(bodies)
        return cls(np.array(index), np.array(stamps, np.float64), present_in(body.confidence), body)


def _body_of(observed: Observed) -> Observed:
    """What finds the place in the world: the picture places of the body, and all confidences."""
    none = np.zeros((len(observed.xy), 0), np.float32)
    return Observed(observed.xy[:, BODY].copy(), observed.confidence, none, none, none, none)


def joined_observed(parts: Sequence[Observed]) -> Observed:
    """The frames of all parts in a row."""
    return Observed(*(np.concatenate([getattr(p, name) for p in parts]) for name in FIELDS))


def _frames_at_once(line: Timeline) -> int:
    """Frames of a slow source have many ticks each."""
    return max(1, min(take_joints.PIECE, take_joints.PIECE * len(line.stamps_s) // len(line.ticks_s)))


def estimate_take(
    observed: Callable[[slice], Observed], line: Timeline, network: MotionNetwork, report: Callable[[float], None]
) -> Estimate:
    """The networks' estimates of all ticks; each part of the line is a take of its own to them. ``observed`` gives what
    was seen at some of the ticks, and is asked for all of them in order."""
    network.reset()
    shapes = estimate_shapes(network.info.num_betas)
    out = {name: np.empty((len(line.ticks_s), *shape), np.float32) for name, shape in shapes.items()}
    done = 0

    def take(estimate: Estimate) -> None:
        nonlocal done
        for name, array in out.items():
            array[done : done + estimate.frames] = getattr(estimate, name)
        done += estimate.frames

    for ticks in line.ticks:
        for begin in range(ticks.start, ticks.stop, MOST_FRAMES):
            end = min(begin + MOST_FRAMES, ticks.stop)
            take(network.push(observed(slice(begin, end))))
            report(end / len(line.ticks_s))
        take(network.finish())
    return Estimate(*(out[name] for name in OUTPUTS))


def _placed(
    estimate: Estimate, observed: Observed, line: Timeline, model: BodyModel, settings: WorldSettings
) -> "_Placed":
    """The line's ticks in the world. Between its parts nobody is seen for so long that the person is placed anew: what
    lies on the two sides of a cut is no movement."""
    absent = int(settings.max_gap_s * RATE_HZ) + 2
    counts = np.ones(len(line.ticks_s), int)
    counts[[ticks.stop - 1 for ticks in line.ticks[:-1]]] += absent
    rows = np.repeat(np.arange(len(counts)), counts)
    real = np.cumsum(counts) - counts
    added = np.ones(len(rows), bool)
    added[real] = False
    seen = observed.map(lambda a: np.where(added.reshape(-1, *(1,) * (a.ndim - 1)), np.zeros_like(a[:1]), a[rows]))
    # the rotations, most of all numbers, are not copied
    none = np.zeros((len(rows), 0))
    spread = Estimate(*(none if name == "R_local" else getattr(estimate, name)[rows] for name in OUTPUTS))
    still = replace(spread, step_m=np.where(added[:, None], 0, spread.step_m))
    return _Placed(place_take(still, lambda some: estimate.R_local[rows[some]], seen, model, settings), real)


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """The K ticks of a line in the world."""

    take: PlacedTake
    """With frames between the parts of the line."""
    real: np.ndarray
    """(K,) frame of each tick in it."""

    def R_local(self, ticks: slice) -> np.ndarray:
        """(n, 55, 3, 3) rotations of all joints at some of the ticks."""
        frames = self.real[ticks]
        return self.take.R_local(frames[0], frames[-1] + 1)[frames - frames[0]]


def track_at_stamps(placed: _Placed, source: _Source, line: Timeline, model: BodyModel, rows: slice) -> WorldTrack:
    """The track at some of the source's stamps, from that at the line's ticks."""
    take, real = placed.take, placed.real
    part, ticks = line.piece(rows)
    near = line.nearest()[rows]
    present = source.present[rows]
    T, person = len(present), take.person
    pelvis, R_local = part.smooth(take.pelvis_m[real[ticks]]), part.rotations(placed.R_local(ticks))
    T_cam_world = np.broadcast_to(take.T_cam_world, (T, 4, 4))
    rest = np.asarray(model.rest_joints(np.asarray(person.betas[None], np.float64)), np.float64)[0, 0]
    body = source.body.map(lambda a: a[rows])
    error = reprojection_error(person, R_local, pelvis, T_cam_world, body)
    return WorldTrack(
        present,
        np.broadcast_to(person.betas, (T, len(person.betas))),
        R_local,
        pelvis,
        pelvis - rest,
        T_cam_world,
        part.between(take.contact[real[ticks]]) * present[:, None],
        part.between(take.confidence[real[ticks]]) * present[:, None],
        take.measured[real[near]] & present[:, None],
        np.where(present, error, np.nan),
    )


def observed_in_blocks(proxies: Sequence[Proxies], camera: Camera) -> Observed:
    """:func:`hmcap.models.observed.observe` of a long take, without room for all of it in double precision."""
    blocks = [observe(proxies[i : i + _BLOCK], camera) for i in range(0, max(1, len(proxies)), _BLOCK)]
    return Observed(*(np.concatenate([getattr(b, name) for b in blocks]) for name in FIELDS))


def cuts_in(proxies: Sequence[Proxies], camera: Camera) -> list[int]:
    """Numbers of the frames at which the person is suddenly in another place: the footage was cut, or somebody else is
    followed."""
    starts: list[int] = []
    for begin in range(0, len(proxies), _BLOCK):
        # one frame of the block before, so that a cut between two blocks is seen; absences divide nothing
        first = max(0, begin - 1)
        found = find_segments(stack(proxies[first : begin + _BLOCK], camera), np.inf)
        starts += [first + segment.start for segment in found[1:]]
    return starts
