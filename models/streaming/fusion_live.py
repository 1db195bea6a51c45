"""One frame after the other in one world, before a camera that stands still: the causal form of
:mod:`hmcap.models.streaming.fusion`, with the same terms, at a constant cost a frame.

Camera and shape are running means that settle; the place of the pelvis is a Kalman filter; feet are held from what has
been seen so far.
"""

from dataclasses import replace

import numpy as np

from ..body import BodyModel, load_body
from ..errors import UsageError
from ..joint_limits import limited_rotations
from ..observed import Observed
from ..proxies import BODY
from ..skeleton import NUM_JOINTS
from ..turn_gate import TurnGate
from ..world import to_world
from .feet_live import LiveFeet
from .fusion import agreed_contact, hand_times, leg_times, reprojection_error, resized, trusted_contact
from .groups import LEGS, TORSO, Hysteresis, confidence_of_groups, hands_seen, legs_seen, present_in
from .held import POSTURE_S, LiveSeat, LiveShare, blend_legs, quiet_height, quiet_legs, relax_hands, relaxed_hands
from .legs import Legs, heading_of, legs_of
from .live_smoothing import LiveRotations
from .person import Person, of_height
from .picture import LiveStillFeet, place_in_picture
from .records import RATE_HZ, Estimate
from .root_smoother import PlaceFilter
from .root_terms import RootTerms, root_terms
from .sightlines import sightlines
from .static_camera import StaticCamera, camera_on_floor, floor_evidence, human_frames, uprightness, vertical_sigma
from .world_settings import WorldSettings
from .world_track import WorldTrack

_SHAPE_STEP = 0.01
"""The body is built anew when a shape coefficient has changed by more."""
_PITCH_DEG, _HEIGHT_M, _DISTANCE_M = 6.0, 1.2, 3.0
"""Where the camera is taken to stand before anybody came."""


class _RunningCamera:
    """Vertical and height of the camera, agreed over the frames so far; old ones are slowly forgotten."""

    def __init__(self, settings: WorldSettings) -> None:
        self._settings = settings
        self._keep = np.exp(-1 / (settings.settle_s * RATE_HZ))
        self._up = np.zeros(3)
        self._weight = 0.0
        self._spread = 0.0
        self._H, self._b = np.zeros((4, 4)), np.zeros(4)
        self.camera: StaticCamera | None = None

    def vertical(self, up_cam: np.ndarray, weight: float) -> np.ndarray:
        """(3,) the running mean with one more vertical (3,)."""
        if self._weight > 0:
            mean = self._up / np.linalg.norm(self._up)
            distance2 = float(((up_cam - mean) ** 2).sum())
            # at first nothing is agreed that a frame could be off from
            allowed = np.radians(self._settings.up_outlier_deg) ** 2 * (1 + 30 / self._weight)
            weight = weight / (1 + distance2 / allowed)
            self._spread = self._keep * self._spread + weight * distance2 / 2
        self._up = self._keep * self._up + weight * up_cam
        self._weight = self._keep * self._weight + weight
        return self._up / np.linalg.norm(self._up)

    def push(self, root_cam_m, feet_cam_m, height_m, contact, weight, along_m, up: np.ndarray) -> StaticCamera:
        """The camera after one more frame; arguments as of ``floor_evidence``, one frame of each."""
        evidence = floor_evidence(root_cam_m, feet_cam_m, height_m, contact, weight, along_m, up, self._settings)
        before = None if self.camera is None else self.camera.height_m
        H, b = evidence.equations(up, before, self._settings.robust_sigmas)
        self._H, self._b = self._keep * self._H + H, self._keep * self._b + b
        sigma = vertical_sigma(self._spread / max(self._weight, 1e-9), self._weight, self._settings)
        agreed, camera_m = camera_on_floor(up, sigma, (self._H, self._b))
        self.camera = StaticCamera.of(agreed, camera_m)
        return self.camera


class _RunningPerson:
    """The shape so far."""

    def __init__(self, model: BodyModel, settings: WorldSettings) -> None:
        self._model, self._settings = model, settings
        self._keep = np.exp(-1 / (settings.settle_s * RATE_HZ))
        self._sum, self._weight = np.zeros(model.num_betas), 0.0
        self.person = Person.of(model, of_height(model, self._sum, settings.height_m))

    def push(self, betas: np.ndarray, weight: float) -> Person:
        """The person after one more frame's shape (B,)."""
        self._sum = self._keep * self._sum[: len(betas)] + weight * betas
        self._weight = self._keep * self._weight + weight
        mean = of_height(self._model, self._sum / self._weight, self._settings.height_m)
        if len(mean) != len(self.person.betas) or np.abs(mean - self.person.betas).max() > _SHAPE_STEP:
            self.person = Person.of(self._model, mean)
        return self.person


class LiveWorld:
    """Puts one frame's estimate after the other into the world."""

    def __init__(self, model: BodyModel | None = None, settings: WorldSettings | None = None) -> None:
        self._model, self._settings = model or load_body(), settings or WorldSettings()
        self._camera = _RunningCamera(self._settings)
        self._person = _RunningPerson(self._model, self._settings)
        self._hysteresis = Hysteresis(self._settings)
        self._hands = [LiveShare(hand_times(self._settings)) for _ in range(2)]
        self._legs = [LiveShare(leg_times(self._settings)) for _ in range(2)]
        self._seat = LiveSeat()
        self._last: WorldTrack | None = None
        self._centre_m: np.ndarray | None = None
        self._missing_s = np.inf
        self._start()

    def _start(self) -> None:
        """Forget where the person was: nobody has been seen for long."""
        self._filter, self._feet = PlaceFilter(), LiveFeet(self._settings)
        self._feet_before: tuple[np.ndarray, np.ndarray] | None = None
        self._quiet: tuple[np.ndarray, np.ndarray] | None = None
        self._still = LiveStillFeet()
        self._gate, self._smooth, self._flips = TurnGate(), LiveRotations(self._settings), False

    def push(self, estimate: Estimate, observed: Observed) -> WorldTrack:
        """The world of one frame: T = 1 in everything. Frames come in order, those without a person included."""
        if estimate.frames != 1 or len(observed.confidence) != 1:
            raise UsageError(
                f"Expected one frame at a time, found {estimate.frames} estimates and {len(observed.confidence)} "
                "observations. Use world_of_take for whole takes."
            )
        present = bool(present_in(observed.confidence)[0])
        self._missing_s = 0.0 if present else self._missing_s + 1 / RATE_HZ
        if not present and (self._last is None or self._missing_s > self._settings.max_gap_s):
            self._start()
            return self._held()
        track = self._follow(estimate, observed, present)
        self._last = track
        return track

    def _held(self) -> WorldTrack:
        """The last pose, marked absent; before anybody came, a body that stands quietly."""
        last = self._last or self._nobody()
        return replace(
            last,
            present=np.zeros(1, bool),
            contact=np.zeros((1, 4)),
            confidence=np.zeros((1, 8)),
            measured=np.zeros((1, 8), bool),
            reprojection_error=np.full(1, np.nan),
        )

    def _nobody(self) -> WorldTrack:
        person = self._person.person
        R = np.tile(np.eye(3), (1, NUM_JOINTS, 1, 1))
        R[:, 25:] = relaxed_hands()
        pelvis = np.array([[0.0, quiet_height(person, np.zeros(1), np.zeros(1))[0], 0.0]])
        here = pelvis * [1.0, 0.0, 1.0]
        R = quiet_legs(legs_of(person, R), pelvis, here, np.eye(3)[None], np.zeros(1)).into(R)
        up = np.array([0.0, -np.cos(np.radians(_PITCH_DEG)), -np.sin(np.radians(_PITCH_DEG))])
        T = StaticCamera.of(up, _HEIGHT_M).T_cam_world(np.array([0.0, 0.0, -_DISTANCE_M]))
        return self._track(
            person, R, pelvis, T, np.zeros((1, 4)), np.zeros((1, 8)), np.zeros((1, 8), bool), np.nan, True
        )

    def _follow(self, estimate: Estimate, observed: Observed, present: bool) -> WorldTrack:
        visible = np.array([float(observed.confidence[0, BODY].mean()) if present else 0.0])
        if present:
            person = self._person.push(np.asarray(estimate.betas[0], np.float64), float(visible[0]))
        else:
            person = self._person.person
        estimate = resized(estimate, self._model, person.betas)
        hands = np.array([[s.push(bool(v)) for s, v in zip(self._hands, hands_seen(observed)[0], strict=True)]])
        share = np.array([[s.push(bool(v)) for s, v in zip(self._legs, legs_seen(observed)[0], strict=True)]])
        R = np.concatenate([np.asarray(estimate.R_cam_root, np.float64)[:, None], estimate.R_local], axis=1)
        given = limited_rotations(R)[0]
        R, late = self._gate.push(given, 1 / RATE_HZ)
        # a body turned to its other side: a foot that went on standing would be wrung
        self._flips = bool(late[TORSO]) and (self._flips or float((given[0] * R[0]).sum()) < 1)
        if self._flips:
            self._feet = LiveFeet(self._settings)
        R = self._smooth.push(R)[None]
        estimate = replace(estimate, R_cam_root=R[:, 0])
        estimate = place_in_picture(estimate, person, R, observed)
        still = self._still.push(observed, estimate.root_cam_m[:, 2])
        estimate = replace(estimate, contact=estimate.contact * still)
        contact = trusted_contact(estimate.contact, share)
        camera = self._see_camera(estimate, legs_of(person, R), contact, visible, share)
        rest = person.joints_m[0]
        world, _ = to_world(human_frames(estimate, camera.R_cam_world, rest), rest)
        R[:, 0] = world.R_world_root
        legs = legs_of(person, R)
        terms = self._terms(estimate, observed, camera, legs, contact, share, present)
        pelvis = self._filter.push(terms)[None].copy()
        points = legs.points_m()
        self._feet_before = (points[0], contact[0])
        placed = self._feet.push(pelvis, legs, contact)
        R, pelvis = placed.legs.into(R), placed.pelvis_m
        contact = agreed_contact(estimate.contact, placed.stands)
        R, contact = self._quiet_legs(placed.legs, R, pelvis, share, contact)
        R = relax_hands(R, hands)
        centre = pelvis[0] * [1.0, 0.0, 1.0] if self._centre_m is None else self._centre_m
        self._centre_m = centre
        confidence = confidence_of_groups(observed.confidence, estimate.group_error_m) * (present & ~late)
        measured = self._hysteresis.push(confidence[0])[None] & present
        measured[:, LEGS] &= share > 0.5
        measured &= ~late
        pelvis = pelvis - centre
        T = camera.T_cam_world(centre)
        error = reprojection_error(person, R, pelvis, T[None], observed)[0] if present else np.nan
        return self._track(person, R, pelvis, T, contact * present, confidence, measured, error, not present)

    def _see_camera(
        self, estimate: Estimate, legs: Legs, contact: np.ndarray, visible: np.ndarray, share: np.ndarray
    ) -> StaticCamera:
        if self._camera.camera is not None and not visible[0]:
            return self._camera.camera
        up_cam = np.asarray(estimate.up_cam, np.float64)
        up = self._camera.vertical(up_cam[0], float(visible[0] * uprightness(estimate.R_cam_root, up_cam)[0]))
        height = self._height(legs, up, np.asarray(estimate.height_m, np.float64), share)
        root = np.asarray(estimate.root_cam_m, np.float64)
        along = np.asarray(estimate.root_sigma_m[:, 1], np.float64)
        return self._camera.push(root, root[:, None] + legs.points_m(), height, contact, visible, along, up)

    def _height(self, legs: Legs, up: np.ndarray, height_m: np.ndarray, share: np.ndarray) -> np.ndarray:
        """(1,) height of the pelvis, a guess that fits quiet legs where they are not seen."""
        if share.max() >= 0.5:
            return height_m
        R = StaticCamera.of(up, 0.0).R_cam_world
        legs = replace(legs, hip_m=legs.hip_m @ R, knee_m=legs.knee_m @ R, ankle_m=legs.ankle_m @ R)
        self._seat.push(legs, height_m)
        return quiet_height(legs.person, height_m, self._seat.seated)

    def _terms(
        self,
        estimate: Estimate,
        observed: Observed,
        camera: StaticCamera,
        legs: Legs,
        contact: np.ndarray,
        share: np.ndarray,
        present: bool,
    ) -> RootTerms:
        place = np.asarray(estimate.root_cam_m, np.float64) @ camera.R_cam_world
        height = np.asarray(estimate.height_m, np.float64)
        if share.max() < 0.5:
            height = quiet_height(legs.person, height, self._seat.seated)
        depth = np.linalg.norm(place, axis=-1)
        sight = sightlines(legs, observed, camera.R_cam_world, camera.height_m, depth, contact, self._settings)
        feet_before, contact_before = self._feet_before or (None, None)
        return root_terms(
            place,
            np.asarray(estimate.root_sigma_m, np.float64),
            np.asarray(estimate.step_m, np.float64) * [1.0, 0.0, 1.0],
            legs.points_m(),
            height,
            contact,
            np.array([present]),
            sight,
            camera.height_m,
            self._settings,
            feet_before,
            contact_before,
        )

    def _quiet_legs(
        self, legs: Legs, R: np.ndarray, pelvis: np.ndarray, share: np.ndarray, contact: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Local rotations and contact with unseen legs at rest; their feet follow the pelvis slowly."""
        here, heading = pelvis[0] * [1.0, 0.0, 1.0], heading_of(R[0, 0])
        if self._quiet is None:
            self._quiet = here, heading
        follow = 1 / (POSTURE_S * RATE_HZ)
        place, facing = self._quiet
        self._quiet = place + follow * (here - place), heading_of(facing + follow * (heading - facing))
        if (share >= 1).all():
            return R, contact
        quiet = quiet_legs(legs, pelvis, self._quiet[0][None], self._quiet[1][None], self._seat.seated)
        held = np.repeat(share, 2, axis=-1)
        return blend_legs(R, quiet.into(R), share), contact * held + 1 - held

    def _track(self, person, R, pelvis, T, contact, confidence, measured, error, absent: bool) -> WorldTrack:
        return WorldTrack(
            np.array([not absent]),
            person.betas[None],
            R,
            pelvis,
            pelvis - person.joints_m[0],
            T[None],
            contact,
            confidence,
            measured,
            np.array([error], np.float64),
        )
