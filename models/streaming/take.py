"""A whole take through the motion networks: proxies in, motion frames out."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..body import BodyModel, load_body
from ..camera import Camera
from ..errors import HmcapError
from ..motion import MotionFrame
from ..observed import FIELDS, Observed, observe
from ..proxies import Proxies
from ..sightings import believed
from ..solver.observations import increasing, stack
from ..solver.segments import find_segments
from .assemble import assemble
from .fusion import reprojection_error, world_of_take
from .groups import present_in
from .other_body import for_body
from .person import Person
from .records import OUTPUTS, RATE_HZ, Estimate, joined
from .resample import observed_at_ticks
from .stream import MOST_FRAMES, MotionNetwork
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
) -> list[MotionFrame]:
    """Motion of every frame of a take.

    proxies: all frames in order, those without a person included. camera: intrinsics, of a camera that stands still.
    network: begins anew, with its own look-ahead. model: the body of the motion frames, None for the built-in one.
    progress: called with 0..1. Raises HmcapError where nobody is seen in any frame.
    """
    model, report = model or load_body(), progress or (lambda _: None)
    proxies = believed(proxies)
    source = observed_in_blocks(proxies, camera)
    if not present_in(source.confidence).any():
        raise HmcapError(
            f"Expected a person in the footage, found none in {len(proxies)} frames. Check that a whole person or an "
            "upper body is in view, upright and lit, or choose another part of the video with --start and --end."
        )
    line = timeline(increasing(np.array([p.stamp_s for p in proxies], np.float64)), cuts_in(proxies, camera))
    observed = observed_at_ticks(source, line)
    estimate = for_body(estimate_take(observed, line, network, lambda x: report(x * _NETWORK_SHARE)), model)
    track = track_at_stamps(_world(estimate, observed, line, model, settings or WorldSettings()), source, line, model)
    return assemble(track, [p.index for p in proxies], [p.stamp_s for p in proxies], camera)


def estimate_take(
    observed: Observed, line: Timeline, network: MotionNetwork, report: Callable[[float], None]
) -> Estimate:
    """The networks' estimates of all ticks; each part of the line is a take of its own to them."""
    network.reset()
    parts = []
    for ticks in line.ticks:
        for begin in range(ticks.start, ticks.stop, MOST_FRAMES):
            end = min(begin + MOST_FRAMES, ticks.stop)
            parts.append(network.push(observed.map(lambda a, rows=slice(begin, end): a[rows])))
            report(end / len(line.ticks_s))
        parts.append(network.finish())
    return joined(parts, network.info.num_betas)


def _world(
    estimate: Estimate, observed: Observed, line: Timeline, model: BodyModel, settings: WorldSettings
) -> WorldTrack:
    """The track of the line's ticks. Between its parts nobody is seen for so long that the person is placed anew: what
    lies on the two sides of a cut is no movement."""
    absent = int(settings.max_gap_s * RATE_HZ) + 2
    counts = np.ones(len(line.ticks_s), int)
    counts[[ticks.stop - 1 for ticks in line.ticks[:-1]]] += absent
    rows = np.repeat(np.arange(len(counts)), counts)
    real = np.cumsum(counts) - counts
    added = np.ones(len(rows), bool)
    added[real] = False
    seen = observed.map(lambda a: np.where(added.reshape(-1, *(1,) * (a.ndim - 1)), np.zeros_like(a[:1]), a[rows]))
    spread = Estimate(*(getattr(estimate, name)[rows] for name in OUTPUTS))
    still = replace(spread, step_m=np.where(added[:, None], 0, spread.step_m))
    return world_of_take(still, seen, model, settings).rows(real)


def track_at_stamps(track: WorldTrack, source: Observed, line: Timeline, model: BodyModel) -> WorldTrack:
    """The track of the line's K ticks at the source's N stamps; ``source`` (N, ...) is what was seen there."""
    near = line.nearest()
    present = present_in(source.confidence)
    betas, pelvis, R_local = track.betas[near], line.smooth(track.pelvis_m), line.rotations(track.R_local)
    T_cam_world = track.T_cam_world[near]
    rest = np.asarray(model.rest_joints(np.asarray(betas[:1], np.float64)), np.float64)[0, 0]
    error = reprojection_error(Person.of(model, betas[0]), R_local, pelvis, T_cam_world, source)
    return WorldTrack(
        present,
        betas,
        R_local,
        pelvis,
        pelvis - rest,
        T_cam_world,
        line.between(track.contact) * present[:, None],
        line.between(track.confidence) * present[:, None],
        track.measured[near] & present[:, None],
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
