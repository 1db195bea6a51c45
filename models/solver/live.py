"""The classical solver frame by frame: a short window of the latest frames, each one's motion given at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import ThreadpoolController

from ..body import BodyModel, load_body
from ..camera import Camera
from ..motion import GROUP_NAMES, MotionFrame
from ..proxies import Proxies
from ..sightings import SightingGate
from ..turn_gate import TurnGate
from .assemble import assemble, find_origin
from .energy import Chain, Energy, minimise
from .ground import Gravity, upright_rotation
from .hands import solve_hand
from .initialise import initial_chain, place
from .observations import Observations, body_evidence, increasing, stack
from .prior import hand_prior
from .rigs import build_rigs
from .settings import SolverSettings
from .take import IN_CAMERA, Solution, find_contacts, floor_for, gravity_of, solve_windows, take_shape
from .terms import body_weights

_CALIBRATION_S = 1.5
"""After so much footage of the person, shape, gravity and floor are estimated, once."""
_CALIBRATION_FRAMES = 40
_SEEN_STEP_S = 0.15
"""A frame of the person stands for at most so much time."""
_ITERATIONS = 3
_LOST_FRAMES = 4
"""After so many frames in a row that a fresh start explains much better, it is taken."""
_DOUBTFUL_COST = 150.0
"""Cost of one frame above which a fresh start is tried at all; a well followed frame has 20 to 80."""
_DEFAULT_PITCH_RAD = np.radians(6.0)
_ON_TIME = np.zeros((1, len(GROUP_NAMES)), bool)


@dataclass
class _Window:
    """The latest frames and their poses."""

    proxies: list[Proxies]
    body: Chain
    fingers: np.ndarray
    """(T, 2, 15, 3)"""


class LiveSolver:
    """Give it each frame's proxies with :meth:`push`; it gives that frame's motion.

    The first frames stand on a guessed floor under a nearly level camera; once the person has been seen for a second
    and a half, shape and gravity are estimated from them and kept for the run.
    """

    def __init__(
        self, camera: Camera, settings: SolverSettings | None = None, *, model: BodyModel | None = None
    ) -> None:
        self._camera = camera
        self._settings = settings or SolverSettings()
        self._model = model or load_body()
        self._mean_rigs = build_rigs(self._model)
        self._rigs = self._mean_rigs
        self._betas = np.zeros(self._model.num_betas)
        self._gravity: Gravity | None = None
        self._origin_m = np.zeros(3)
        self._calibrated = False
        self._sample: list[Proxies] = []
        self._window: _Window | None = None
        self._last: MotionFrame | None = None
        self._lost = 0
        self._sightings, self._gate = SightingGate(), TurnGate()
        self._gated_s = 0.0
        # the libraries are looked up once: a search through all of them in every frame is dear
        self._threads = ThreadpoolController()

    together = False
    """Several frames at once take as long as one by one."""

    @property
    def calibrated(self) -> bool:
        """Whether shape, gravity and floor have been estimated from the footage."""
        return self._calibrated

    def push(self, proxies: Proxies) -> MotionFrame:
        """Motion of the frame that ``proxies`` describes; frames come in order, absent ones included."""
        with self._threads.limit(limits=1, user_api="blas"):
            proxies = self._sightings.push(proxies)
            observed = stack([proxies], self._camera)
            if not observed.present[0]:
                return self._held(proxies)
            self._calibrate(proxies)
            self._extend(proxies)
            return self._solve()

    def push_all(self, proxies: Sequence[Proxies]) -> list[MotionFrame]:
        """What :meth:`push` gives for each of some frames."""
        return [self.push(p) for p in proxies]

    # -- state ---------------------------------------------------------------------------------------------------------

    def _held(self, proxies: Proxies) -> MotionFrame:
        """The last pose, marked absent; before anyone came, the resting body."""
        observed = stack([proxies], self._camera)
        if self._last is None:
            chain = Chain(
                np.tile(np.eye(3), (1, 22, 1, 1)), np.array([[0.0, -self._rigs.body.points_m[:, 1].min(), 0.0]])
            )
            rest = np.stack([hand_prior(side).mean for side in ("left", "right")])[None]
            level = upright_rotation(_DEFAULT_PITCH_RAD, 0.0)
            gravity = Gravity(level, -level @ np.array([0.0, 1.0, 3.0]))
            solution = Solution(gravity, self._betas, chain, rest, np.zeros((1, 4)), np.zeros(1, bool), _ON_TIME)
            return assemble(observed, self._camera, self._rigs, solution, self._model.num_betas, np.zeros(3))[0]
        last = self._last
        return MotionFrame(
            index=proxies.index,
            stamp_s=proxies.stamp_s,
            present=False,
            betas=last.betas,
            poses=last.poses,
            trans_m=last.trans_m,
            T_cam_world=last.T_cam_world,
            camera=last.camera,
            contact=np.zeros_like(last.contact),
            confidence=np.zeros_like(last.confidence),
            measured=np.zeros_like(last.measured),
            reprojection_error=float("nan"),
        )

    def _calibrate(self, proxies: Proxies) -> None:
        if self._calibrated:
            return
        self._sample.append(proxies)
        # time without the person does not count
        steps = np.diff(increasing(np.array([p.stamp_s for p in self._sample])))
        enough = bool(np.minimum(steps, _SEEN_STEP_S).sum() >= _CALIBRATION_S - 1e-6)
        if self._gravity is not None and not enough:
            return
        pick = np.linspace(0, len(self._sample) - 1, min(_CALIBRATION_FRAMES, len(self._sample))).astype(int)
        o = stack([self._sample[i] for i in pick], self._camera)
        self._betas = take_shape(o, self._mean_rigs.body, self._settings, self._model)
        self._rigs = self._mean_rigs.with_shape(self._betas)
        evidence, weights = body_evidence(o, self._settings), body_weights(self._settings)
        start = initial_chain(o, self._rigs.body)
        chain = solve_windows(self._rigs.body, evidence, weights, start, IN_CAMERA, None, self._settings, 8)
        self._gravity, world = gravity_of([o], [chain], self._rigs.body)
        contact = find_contacts(o, world, self._rigs.body, self._gravity)
        rest = np.zeros((len(pick), 2, 15, 3))
        solution = Solution(
            self._gravity,
            self._betas,
            world,
            rest,
            contact,
            np.ones(len(pick), bool),
            np.zeros((len(pick), len(GROUP_NAMES)), bool),
        )
        self._origin_m = find_origin(solution, self._rigs)
        # the floor is y = 0 from here on
        drop = np.array([0.0, self._origin_m[1], 0.0])
        self._gravity = Gravity(
            self._gravity.R_cam_world, self._gravity.t_cam_world_m + self._gravity.R_cam_world @ drop
        )
        self._origin_m[1] = 0.0
        self._calibrated = enough
        self._window = None  # begin anew in the new world
        if enough:
            self._sample.clear()

    def _extend(self, proxies: Proxies) -> None:
        """Add a frame to the window, with a first guess of its pose."""
        window = self._window
        if window is not None and proxies.stamp_s - window.proxies[-1].stamp_s > self._settings.max_gap_s:
            window = None
        o = stack([proxies], self._camera)
        if window is None or self._lost >= _LOST_FRAMES:
            rest = np.stack([hand_prior(side).mean for side in ("left", "right")])[None]
            fingers = rest if window is None else window.fingers[-1:]
            self._window, self._lost = _Window([proxies], self._fresh(o), fingers), 0
            return
        guess = self._follow(window.body.frames(slice(-1, None)), o)
        keep = slice(-(self._settings.live_window - 1), None)
        self._window = _Window(
            [*window.proxies[keep], proxies],
            Chain(
                np.concatenate([window.body.R_local[keep], guess.R_local]),
                np.concatenate([window.body.trans_m[keep], guess.trans_m]),
            ),
            np.concatenate([window.fingers[keep], window.fingers[-1:]]),
        )

    def _follow(self, last: Chain, o: Observations) -> Chain:
        """The last pose, moved to where the new frame sees it."""
        gravity, rest = self._gravity, self._rigs.body.joints_m[0]
        assert gravity is not None
        R_cam = last.R_local.copy()
        R_cam[:, 0] = gravity.R_cam_world @ R_cam[:, 0]
        seen = gravity.to_world(Chain(R_cam, place(o, self._rigs.body, R_cam)), rest)
        # a jump in depth is the pose's doing, not the person's
        move_cam = (seen.trans_m - last.trans_m) @ gravity.R_cam_world.T
        move_cam[:, 2] = np.clip(move_cam[:, 2], -0.05, 0.05)
        return Chain(last.R_local, last.trans_m + move_cam @ gravity.R_cam_world)

    def _fresh(self, o: Observations) -> Chain:
        """A pose from this frame alone, in the world."""
        assert self._gravity is not None
        chain = initial_chain(o, self._rigs.body)
        chain, _ = minimise(
            Energy(
                self._rigs.body,
                body_evidence(o, self._settings),
                body_weights(self._settings),
                IN_CAMERA.R_cam_world,
                IN_CAMERA.t_cam_world_m,
            ),
            chain,
            2,
        )
        return self._gravity.to_world(chain, self._rigs.body.joints_m[0])

    def _energy(self, o: Observations) -> Energy:
        assert self._gravity is not None
        return Energy(
            self._rigs.body,
            body_evidence(o, self._settings),
            body_weights(self._settings),
            self._gravity.R_cam_world,
            self._gravity.t_cam_world_m,
        )

    def _watch(self, o: Observations) -> None:
        """Count the frames in a row that a pose found afresh explains much better than the one that was followed."""
        assert self._window is not None
        energy = self._energy(o)
        followed = energy.cost(self._window.body.frames(slice(-1, None)))
        doubtful = followed > _DOUBTFUL_COST * max(1.0, energy.rate**2)
        better = doubtful and energy.cost(self._fresh(o)) < 0.4 * followed
        self._lost = self._lost + 1 if better else 0

    def _solve(self) -> MotionFrame:
        window, gravity = self._window, self._gravity
        assert window is not None
        assert gravity is not None
        o = stack(window.proxies, self._camera)
        settled = 2 if len(window.proxies) >= self._settings.live_window else 0
        contact = find_contacts(o, window.body, self._rigs.body, gravity)
        energy = Energy(
            self._rigs.body,
            body_evidence(o, self._settings),
            body_weights(self._settings),
            gravity.R_cam_world,
            gravity.t_cam_world_m,
            floor_for(contact),
            frozen=settled,
        )
        window.body, _ = minimise(energy, window.body, _ITERATIONS if len(window.proxies) > 1 else 12)
        self._watch(o.frames(slice(-1, None)))
        recent = slice(-6, None)
        for k, side in enumerate(("left", "right")):
            window.fingers[recent, k] = solve_hand(
                o.frames(recent),
                side,
                window.body.frames(recent),
                self._rigs,
                gravity,
                self._settings,
                window.fingers[recent, k],
                3,
            )
        newest = slice(-1, None)
        body = window.body.frames(newest)
        now_s = float(o.stamps_s[-1])
        if len(window.proxies) == 1:  # begun anew
            self._gate = TurnGate()
        R, late = self._gate.push(body.R_local[0], max(now_s - self._gated_s, 1e-3))
        self._gated_s = now_s
        body = Chain(R[None], body.trans_m)
        solution = Solution(
            gravity, self._betas, body, window.fingers[newest], contact[newest], np.ones(1, bool), late[None]
        )
        self._last = assemble(
            o.frames(newest), self._camera, self._rigs, solution, self._model.num_betas, self._origin_m
        )[0]
        return self._last
