"""The classical solver over a whole take: Levenberg-Marquardt in sliding windows, one shape, one camera, one floor."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from threadpoolctl import threadpool_limits

from ..body import BodyModel, load_body
from ..camera import Camera
from ..errors import HmcapError
from ..motion import GROUP_NAMES, MotionFrame
from ..proxies import Proxies
from ..sightings import believed
from ..turn_gate import gated
from .assemble import assemble, find_origin
from .energy import Chain, Energy, Evidence, Ground, Weights, minimise
from .ground import Gravity, contact_probability, estimate_gravity
from .hands import solve_hand
from .initialise import initial_chain
from .observations import Observations, body_evidence, stack
from .rig import Rig
from .rigs import CONTACT_INDEX, SOLE_INDEX, SolverRigs, build_rigs
from .segments import find_segments, windows
from .settings import SolverSettings
from .shape import shape_of_height, solve_shape, stature
from .swaps import undo_swaps
from .terms import body_weights

_SAMPLE_FRAMES = 80
IN_CAMERA = Gravity(np.eye(3), np.zeros(3))


@dataclass(frozen=True)
class Solution:
    """What the solver found for T frames; rows of frames without a person are held."""

    gravity: Gravity
    betas: np.ndarray
    """(B,)"""
    body: Chain
    """Body chain in the world."""
    fingers: np.ndarray
    """(T, 2, 15, 3) axis-angle."""
    contact: np.ndarray
    """(T, 4)"""
    solved: np.ndarray
    """(T,) bool: the frame lies in a segment."""
    late: np.ndarray
    """(T, 8) bool: joint groups that do not follow yet, for no body turns so fast."""


def solve_take(
    proxies: Sequence[Proxies],
    camera: Camera,
    *,
    settings: SolverSettings | None = None,
    model: BodyModel | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[MotionFrame]:
    """Motion of every frame of a take.

    proxies: all frames in order, those without a person included. camera: intrinsics. progress: called with 0..1.
    Raises HmcapError where nobody is seen in any frame.
    """
    settings = settings or SolverSettings()
    model = model or load_body()
    observed = undo_swaps(stack(believed(proxies), camera))
    segments = find_segments(observed, settings.max_gap_s)
    if not segments:
        raise HmcapError(
            f"Expected a person in the footage, found none in {len(proxies)} frames. Check that a whole person or an "
            "upper body is in view, upright and lit, or choose another part of the video with --start and --end."
        )
    report = progress or (lambda _: None)
    rigs = build_rigs(model)
    with threadpool_limits(1, "blas"):  # the blocks are small: threads of BLAS only wait for each other
        betas = take_shape(observed, rigs.body, settings, model)
        rigs = rigs.with_shape(betas)
        solution = _solve_segments(observed, segments, rigs, betas, settings, report)
    return assemble(observed, camera, rigs, solution, model.num_betas, find_origin(solution, rigs))


def take_shape(o: Observations, rig: Rig, settings: SolverSettings, model: BodyModel) -> np.ndarray:
    """Shape from the frames that show most of the body."""
    mean = stature(np.asarray(model.v_template, np.float64), np.asarray(model.shapedirs, np.float64))
    if not settings.fit_shape:
        return shape_of_height(settings.height_m, mean)
    score = np.where(o.present, o.confidence[:, :25].sum(1), 0.0)
    good = np.flatnonzero(score >= 0.8 * np.quantile(score[o.present], 0.9))
    pick = good[np.linspace(0, len(good) - 1, min(_SAMPLE_FRAMES, len(good))).astype(int)]
    sample = o.frames(pick)
    weights = body_weights(settings)
    chain = initial_chain(sample, rig)
    return solve_shape(rig, body_evidence(sample, settings), weights, chain, settings.height_m, mean)


def _solve_segments(
    o: Observations,
    segments: list[slice],
    rigs: SolverRigs,
    betas: np.ndarray,
    settings: SolverSettings,
    report: Callable[[float], None],
) -> Solution:
    weights = body_weights(settings)
    total = sum(s.stop - s.start for s in segments)
    done = 0

    def tick(frames: int, share: float) -> None:
        nonlocal done
        done += frames * share
        report(min(0.99, done / total))

    pieces = [o.frames(s) for s in segments]
    evidence = [body_evidence(p, settings) for p in pieces]
    chains = []
    for piece, e in zip(pieces, evidence, strict=True):
        start = initial_chain(piece, rigs.body)
        chains.append(solve_windows(rigs.body, e, weights, start, IN_CAMERA, None, settings, 8))
        tick(len(e.stamps_s), 0.4)
    gravity, joined = gravity_of(pieces, chains, rigs.body, settings.up_cam)
    contacts, begin = [], 0
    for i, (piece, e) in enumerate(zip(pieces, evidence, strict=True)):
        chain = joined.frames(slice(begin, begin + len(e.stamps_s)))
        begin += len(e.stamps_s)
        for iterations in (5, 8):  # contacts are read anew from the better motion
            contact = find_contacts(piece, chain, rigs.body, gravity)
            ground = floor_for(contact)
            chain = solve_windows(rigs.body, e, weights, chain, gravity, ground, settings, iterations)
        chains[i] = chain
        contacts.append(contact)
        tick(len(e.stamps_s), 0.4)
    return _fill(o, segments, rigs, betas, gravity, chains, contacts, settings, tick)


def gravity_of(
    pieces: list[Observations], chains: list[Chain], rig: Rig, up_cam: tuple[float, float, float] | None = None
) -> tuple[Gravity, Chain]:
    """Gravity and floor from pieces solved in the camera frame, and all their frames joined in that world. ``up_cam``:
    the vertical, where it is known."""
    bounds = np.cumsum([0, *(len(p.stamps_s) for p in pieces)])
    parts = [slice(int(a), int(b)) for a, b in pairwise(bounds)]
    joined = Chain(np.concatenate([c.R_local for c in chains]), np.concatenate([c.trans_m for c in chains]))
    seen = np.concatenate([feet_seen(p) for p in pieces])
    gravity = estimate_gravity(joined, rig, CONTACT_INDEX, [p.stamps_s for p in pieces], parts, seen, up_cam)
    return gravity, gravity.to_world(joined, rig.joints_m[0])


def feet_seen(o: Observations) -> np.ndarray:
    """(T, 4) how well each contact point is seen: confidence of its heel or big toe proxy, or of the ankle."""
    return np.maximum(o.confidence[:, [21, 19, 24, 22]], o.confidence[:, [14, 14, 11, 11]])


def find_contacts(o: Observations, chain: Chain, rig: Rig, gravity: Gravity) -> np.ndarray:
    """(T, 4) contact probabilities of a chain in the world."""
    points = rig.forward(chain.R_local, chain.trans_m).points_m[:, CONTACT_INDEX]
    centre = -gravity.R_cam_world.T @ gravity.t_cam_world_m
    return contact_probability(points, o.stamps_s, centre, feet_seen(o))


def floor_for(contact: np.ndarray) -> Ground:
    """The floor under the contact points (T, 4), and under the whole soles, which only must not sink into it."""
    free = np.zeros((len(contact), len(SOLE_INDEX)))
    return Ground(np.concatenate([CONTACT_INDEX, SOLE_INDEX]), np.concatenate([contact, free], axis=1))


def solve_windows(
    rig: Rig,
    evidence: Evidence,
    weights: Weights,
    chain: Chain,
    gravity: Gravity,
    ground: Ground | None,
    settings: SolverSettings,
    iterations: int,
) -> Chain:
    """A long chain in overlapping windows, each beginning with settled frames of the one before."""
    R, trans = chain.R_local.copy(), chain.trans_m.copy()
    for part, frozen in windows(len(trans), settings.window, settings.overlap):
        local = None
        if ground is not None:
            local = Ground(ground.points, ground.contact[part])
        energy = Energy(
            rig, evidence.frames(part), weights, gravity.R_cam_world, gravity.t_cam_world_m, local, frozen=frozen
        )
        solved, _ = minimise(energy, Chain(R[part], trans[part]), iterations)
        R[part], trans[part] = solved.R_local, solved.trans_m
    return Chain(R, trans)


def _fill(
    o: Observations,
    segments: list[slice],
    rigs: SolverRigs,
    betas: np.ndarray,
    gravity: Gravity,
    chains: list[Chain],
    contacts: list[np.ndarray],
    settings: SolverSettings,
    tick: Callable[[int, float], None],
) -> Solution:
    """Hands, floor height and the frames between segments."""
    T = len(o.stamps_s)
    R, trans, late = np.tile(np.eye(3), (T, 22, 1, 1)), np.zeros((T, 3)), np.zeros((T, len(GROUP_NAMES)), bool)
    fingers, contact, solved = np.zeros((T, 2, 15, 3)), np.zeros((T, 4)), np.zeros(T, bool)
    for part, chain, c in zip(segments, chains, contacts, strict=True):
        R[part], late[part] = gated(chain.R_local, o.stamps_s[part])
        trans[part], contact[part], solved[part] = chain.trans_m, c, True
        for k, side in enumerate(("left", "right")):
            fingers[part, k] = solve_hand(o.frames(part), side, chain, rigs, gravity, settings)
        tick(part.stop - part.start, 0.2)
    # hold the pose where nobody is seen
    known = np.flatnonzero(solved)
    last = known[np.maximum(np.searchsorted(known, np.arange(T), side="right") - 1, 0)]
    body = Chain(R[last], trans[last])
    return Solution(gravity, betas, body, fingers[last], contact, solved, late)
