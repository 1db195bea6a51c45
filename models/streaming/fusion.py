"""A whole take in one world, before a camera that stands still (networks, section 4).

The networks say in every frame where the body is in the camera, where up is, how high the pelvis stands, how far it
moved, and which foot points touch. Of all frames together follow one shape, one vertical, one camera height
(:mod:`hmcap.models.streaming.static_camera`), and the pelvis' places that agree best with the picture, the steps and
the standing feet (:mod:`hmcap.models.streaming.root_smoother`). Then the feet are set down, and what was not seen is
held.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..body import BodyModel, load_body
from ..errors import HmcapError
from ..observed import Observed
from ..proxies import BODY
from ..skeleton import NUM_BODY_JOINTS
from ..world import WorldFrame, sequence_to_world
from .blend import runs
from .feet import set_feet
from .groups import LEGS, Hysteresis, confidence_of_groups, hands_seen, legs_seen, present_in
from .held import (
    Times,
    blend_legs,
    quiet_height,
    quiet_legs,
    quiet_places,
    relax_hands,
    seated_take,
    share_of_take,
)
from .legs import Legs, legs_of
from .person import Person, body_height_m, of_height, proxy_points_m
from .picture import place_in_picture, still_feet
from .records import RATE_HZ, Estimate
from .root_smoother import smooth_places
from .root_terms import root_terms
from .sightlines import sightlines
from .static_camera import (
    StaticCamera,
    camera_on_floor,
    floor_evidence,
    human_frames,
    mean_vertical,
    uprightness,
)
from .take_joints import TakeJoints, pieces
from .world_settings import WorldSettings
from .world_track import WorldTrack

_PLANE_ROUNDS = 4
_KNOWN_UP_RAD = 1e-4
"""Error of a vertical that is given."""
_MARGIN = 0.1
"""The contact that is told keeps this distance from one half."""
_SHAPE_OUTLIER = 1.0
"""Distance of shape coefficients from the agreed ones at which a frame's begin to be outliers."""
_TO_LEGS = 12
"""Joints of root, spine and legs: those after them take no part in finding the world."""


@dataclass(frozen=True, slots=True, eq=False)
class PlacedTake:
    """A take in its world, T frames; of its joints the first twelve, the others come with :meth:`R_local`."""

    person: Person
    present: np.ndarray
    """(T,) bool: whether the person is seen."""
    R_legs: np.ndarray
    """(T, 12, 3, 3) rotations of root, spine and legs, row 0 the root in the world."""
    pelvis_m: np.ndarray
    """(T, 3)"""
    T_cam_world: np.ndarray
    """(4, 4)"""
    contact: np.ndarray
    """(T, 4), 0 where nobody is seen."""
    confidence: np.ndarray
    """(T, 8), 0 where nobody is seen."""
    measured: np.ndarray
    """(T, 8) bool"""
    hands: np.ndarray
    """(T, 2) what of the hands is in view, 1, or relaxed, 0."""
    row: np.ndarray
    """(T,) the frame whose pose each frame has: itself, or the last one known before."""
    joints: TakeJoints

    def R_local(self, begin: int, end: int) -> np.ndarray:
        """(end - begin, 55, 3, 3) rotations of all joints in some of the frames, row 0 the root in the world."""
        row = self.row[begin:end]
        rest = self.joints.frames(begin, end, slice(_TO_LEGS, None))
        inside = (row >= begin) & (row < end)
        out = rest[np.where(inside, row - begin, 0)]
        for other in np.unique(row[~inside]):  # one at most: the last known before, or the first of all
            out[row == other] = self.joints.frames(other, other + 1, slice(_TO_LEGS, None))
        return relax_hands(np.concatenate([self.R_legs[begin:end], out], axis=1), self.hands[begin:end])


def world_of_take(
    estimate: Estimate, observed: Observed, model: BodyModel | None = None, settings: WorldSettings | None = None
) -> WorldTrack:
    """The motion of a whole take. estimate, observed: the same T frames at RATE_HZ, in numpy.

    Raises HmcapError where nobody is seen in any frame.
    """
    placed = place_take(estimate, lambda rows: estimate.R_local[rows], observed, model, settings)
    T, person = len(placed.present), placed.person
    T_cam_world = np.broadcast_to(placed.T_cam_world, (T, 4, 4))
    R_local = placed.R_local(0, T)
    error = reprojection_error(person, R_local, placed.pelvis_m, T_cam_world, observed)
    return WorldTrack(
        placed.present,
        np.broadcast_to(person.betas, (T, len(person.betas))),
        R_local,
        placed.pelvis_m,
        placed.pelvis_m - person.joints_m[0],
        T_cam_world,
        placed.contact,
        placed.confidence,
        placed.measured,
        np.where(placed.present, error, np.nan),
    )


def place_take(
    estimate: Estimate,
    local: Callable[[slice], np.ndarray],
    observed: Observed,
    model: BodyModel | None = None,
    settings: WorldSettings | None = None,
) -> PlacedTake:
    """The place of a take in the world. estimate, observed: the same T frames at RATE_HZ, in numpy; ``R_local`` of the
    estimate is not used: ``local`` gives it (n, 54, 3, 3) for some of the frames. Of the observations the picture
    places of the body and all confidences are.

    Raises HmcapError where nobody is seen in any frame.
    """
    model, settings = model or load_body(), settings or WorldSettings()
    present = present_in(observed.confidence)
    segments = segments_of(present, settings.max_gap_s)
    if not segments:
        raise HmcapError(
            f"Expected a person in the footage, found none in {len(present)} frames. Check that a whole person or an "
            "upper body is in view, upright and lit, or choose another part of the video with --start and --end."
        )
    T = len(present)
    visible = np.where(present, observed.confidence[:, BODY].mean(-1), 0.0)
    betas = of_height(model, take_shape(np.asarray(estimate.betas, np.float64), visible), settings.height_m)
    person = Person.of(model, betas)
    estimate = resized(estimate, model, betas)
    view = _View.of(observed, settings)
    known = np.zeros(T, bool)
    for begin, end in segments:
        known[begin:end] = True
    joints = TakeJoints.of(estimate.R_cam_root, local, segments, settings.smooth_frames)
    estimate, R_legs = _in_picture(estimate, person, joints, observed)
    contact = np.array(estimate.contact, np.float64)
    for begin, end in segments:
        looks = observed.map(lambda a, rows=slice(begin, end): a[rows])
        contact[begin:end] *= still_feet(looks, estimate.root_cam_m[begin:end, 2])
    estimate = replace(estimate, R_cam_root=R_legs[:, 0].copy(), contact=contact)

    up, sigma = mean_vertical(
        np.asarray(estimate.up_cam, np.float64), visible * uprightness(estimate.R_cam_root, estimate.up_cam), settings
    )
    if settings.up_cam is not None:
        up, sigma = np.array(settings.up_cam, np.float64), _KNOWN_UP_RAD
    camera = _camera(estimate, person, R_legs, view, visible, up, sigma, settings)
    world, _ = sequence_to_world(human_frames(estimate, camera.R_cam_world, person.joints_m[0]), person.joints_m[0])
    R_legs[:, 0] = world.R_world_root

    pelvis, contact = np.zeros((T, 3)), np.zeros((T, 4))
    for begin, end in segments:
        R_legs[begin:end], pelvis[begin:end], contact[begin:end] = _segment(
            slice(begin, end), estimate, world, observed, person, R_legs, view, present, camera, settings
        )
    row = last_known(known)
    pelvis = pelvis[row]
    origin = pelvis[0] * [1.0, 0.0, 1.0]
    confidence = confidence_of_groups(observed.confidence, estimate.group_error_m) * (present[:, None] & ~joints.late)
    measured = Hysteresis(settings).run(confidence) & present[:, None] & ~joints.late
    measured[:, LEGS] &= view.legs > 0.5
    return PlacedTake(
        person,
        present,
        R_legs[row],
        pelvis - origin,
        camera.T_cam_world(origin),
        contact * present[:, None],
        confidence,
        measured,
        view.hands,
        row,
        joints,
    )


def _in_picture(
    estimate: Estimate, person: Person, joints: TakeJoints, observed: Observed
) -> tuple[Estimate, np.ndarray]:
    """The estimate with the pelvis where the picture has it, and the rotations (T, 12, 3, 3) of root, spine and legs,
    the root in the camera."""
    T = len(observed.confidence)
    R_legs = np.empty((T, _TO_LEGS, 3, 3))
    root, sigma = np.empty((T, 3)), np.empty((T, 2))
    for begin, end in pieces(T):
        rows = slice(begin, end)
        R = joints.frames(begin, end, slice(NUM_BODY_JOINTS))
        placed = place_in_picture(estimate.part(begin, end), person, R, observed.map(lambda a, rows=rows: a[rows]))
        R_legs[rows], root[rows], sigma[rows] = R[:, :_TO_LEGS], placed.root_cam_m, placed.root_sigma_m
    return replace(estimate, root_cam_m=root, root_sigma_m=sigma), R_legs


def segments_of(present: np.ndarray, max_gap_s: float) -> list[tuple[int, int]]:
    """First frame, and the frame after the last, of every run in which the person is never missing for longer."""
    out: list[tuple[int, int]] = []
    for begin, end in runs(present):
        if out and (begin - out[-1][1]) / RATE_HZ <= max_gap_s:
            out[-1] = (out[-1][0], end)
        else:
            out.append((begin, end))
    return out


def last_known(known: np.ndarray) -> np.ndarray:
    """(T,) for every frame the last one that is ``known`` (T,), or the first where there is none before."""
    rows = np.flatnonzero(known)
    return rows[np.maximum(np.searchsorted(rows, np.arange(len(known)), side="right") - 1, 0)]


def take_shape(betas: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(B,) robust mean of shape coefficients (T, B), weighted (T,)."""
    mean = np.median(betas[weight > 0], axis=0)
    for _ in range(5):
        w = weight / (1 + ((betas - mean) ** 2).sum(-1) / _SHAPE_OUTLIER**2)
        mean = w @ betas / w.sum()
    return mean


def resized(estimate: Estimate, model: BodyModel, betas: np.ndarray) -> Estimate:
    """The estimate for a body of another shape (B,): what looks the same stands farther away when it is taller."""
    scale = body_height_m(model, betas) / body_height_m(model, np.asarray(estimate.betas, np.float64))
    return replace(
        estimate,
        root_cam_m=estimate.root_cam_m * scale[:, None],
        root_sigma_m=estimate.root_sigma_m * scale[:, None],
        height_m=estimate.height_m * scale,
        step_m=estimate.step_m * scale[:, None],
    )


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """What of the body is in view, 1, or held, 0, smoothly."""

    hands: np.ndarray
    """(T, 2)"""
    legs: np.ndarray
    """(T, 2)"""

    @classmethod
    def of(cls, observed: Observed, settings: WorldSettings) -> "_View":
        hands, legs = hands_seen(observed), legs_seen(observed)
        return cls(
            np.stack([share_of_take(hands[:, k], hand_times(settings)) for k in range(2)], axis=-1),
            np.stack([share_of_take(legs[:, k], leg_times(settings)) for k in range(2)], axis=-1),
        )


def hand_times(settings: WorldSettings) -> Times:
    """How hands relax."""
    return Times(settings.hand_wait_s, settings.hand_relax_s, settings.hand_return_s)


def leg_times(settings: WorldSettings) -> Times:
    """How legs come to rest."""
    return Times(settings.legs_wait_s, settings.legs_relax_s, settings.legs_relax_s)


def trusted_contact(contact: np.ndarray, legs_share: np.ndarray) -> np.ndarray:
    """(T, 4) contact probabilities (T, 4), nothing where the leg (T, 2) is not seen."""
    return np.asarray(contact, np.float64) * np.repeat(legs_share, 2, axis=-1)


def agreed_contact(contact: np.ndarray, stands: np.ndarray) -> np.ndarray:
    """(T, 4) contact probabilities (T, 4) on the side of one half that agrees with which points were held (T, 4): who
    locks feet by them finds those locked that were."""
    contact = np.asarray(contact, np.float64)
    return np.where(stands, contact.clip(0.5 + _MARGIN, 1.0), contact.clip(0.0, 0.5 - _MARGIN))


def _camera(
    estimate: Estimate,
    person: Person,
    R_local: np.ndarray,
    view: _View,
    visible: np.ndarray,
    up: np.ndarray,
    up_sigma_rad: float,
    settings: WorldSettings,
) -> StaticCamera:
    """Vertical and height of the camera. R_local (T, 12, 3, 3) here has the root in the camera."""
    legs = legs_of(person, R_local)
    feet = estimate.root_cam_m[:, None] + legs.points_m()
    height = quiet_heights(_upright(legs, up), np.asarray(estimate.height_m, np.float64), view.legs)
    contact = trusted_contact(estimate.contact, view.legs)
    root, along = np.asarray(estimate.root_cam_m, np.float64), np.asarray(estimate.root_sigma_m[:, 1], np.float64)
    camera_m = None
    agreed = up
    for _ in range(_PLANE_ROUNDS):
        evidence = floor_evidence(root, feet, height, contact, visible, along, agreed, settings)
        agreed, camera_m = camera_on_floor(
            up, up_sigma_rad, evidence.equations(agreed, camera_m, settings.robust_sigmas)
        )
    assert camera_m is not None
    return StaticCamera.of(agreed, camera_m)


def _upright(legs: Legs, up: np.ndarray) -> Legs:
    """Legs seen from the camera, with their places in a space whose Y is ``up`` (3,)."""
    R = StaticCamera.of(up, 0.0).R_cam_world
    return replace(legs, hip_m=legs.hip_m @ R, knee_m=legs.knee_m @ R, ankle_m=legs.ankle_m @ R)


def quiet_heights(legs: Legs, height_m: np.ndarray, legs_share: np.ndarray) -> np.ndarray:
    """(T,) pelvis heights (T,) of a person of whose legs (T, 2) some are not seen: a guess that fits quiet legs."""
    hidden = legs_share.max(-1) < 0.5
    if not hidden.any():
        return height_m
    quiet = quiet_height(legs.person, height_m, seated_take(legs, height_m, hidden))
    return np.where(hidden, quiet, height_m)


def _segment(
    rows: slice,
    estimate: Estimate,
    world: WorldFrame,
    observed: Observed,
    person: Person,
    R_local: np.ndarray,
    view: _View,
    present: np.ndarray,
    camera: StaticCamera,
    settings: WorldSettings,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Local rotations, pelvis and contact of one run of frames, in the axes of the world."""
    R = R_local[rows]
    legs = legs_of(person, R)
    share = view.legs[rows]
    contact = trusted_contact(estimate.contact[rows], share)
    centre = -(np.swapaxes(world.R_cam_world, -1, -2) @ world.t_cam_world_m[..., None])[..., 0]
    place = (world.trans_world_m + person.joints_m[0] - centre)[rows]
    step = np.diff(world.ground_m, axis=0, prepend=world.ground_m[:1])[rows]
    height = quiet_heights(legs, np.asarray(estimate.height_m, np.float64)[rows], share)
    depth = np.linalg.norm(place, axis=-1)
    looks = observed.map(lambda a: a[rows])
    sight = sightlines(legs, looks, camera.R_cam_world, camera.height_m, depth, contact, settings)
    terms = root_terms(
        place,
        np.asarray(estimate.root_sigma_m, np.float64)[rows],
        step,
        legs.points_m(),
        height,
        contact,
        present[rows],
        sight,
        camera.height_m,
        settings,
    )
    pelvis = smooth_places(terms, settings.iterations)
    placed = set_feet(pelvis, legs, contact, settings)
    R, pelvis = placed.legs.into(R), placed.pelvis_m
    contact = agreed_contact(estimate.contact[rows], placed.stands)
    if (share < 1).any():
        seated = seated_take(legs, pelvis[:, 1], share.max(-1) < 0.5)
        feet, heading = quiet_places(pelvis, R[:, 0])
        quiet = quiet_legs(placed.legs, pelvis, feet, heading, seated)
        R = blend_legs(R, quiet.into(R), share)
        held = np.repeat(share, 2, axis=-1)
        contact = contact * held + 1 - held
    return R, pelvis, contact


def reprojection_error(
    person: Person, R_local: np.ndarray, pelvis_m: np.ndarray, T_cam_world: np.ndarray, observed: Observed
) -> np.ndarray:
    """(T,) median distance of seen and projected body proxies, per cent of the body's height in the image; NaN where
    none is seen."""
    points = proxy_points_m(person, R_local, pelvis_m)
    x = points @ np.swapaxes(T_cam_world[:, :3, :3], -1, -2) + T_cam_world[:, None, :3, 3]
    xy = x[..., :2] / np.maximum(x[..., 2:], 0.05)
    height = person.stature_m / np.maximum(x[..., 2].mean(1), 0.05)
    distance = np.linalg.norm(xy - observed.xy[:, BODY], axis=-1) / height[:, None] * 100
    seen = observed.confidence[:, BODY] > 0.3
    out = np.full(len(distance), np.nan)
    for i in np.flatnonzero(seen.any(1)):
        some = np.sort(distance[i, seen[i]])
        out[i] = (some[(len(some) - 1) // 2] + some[len(some) // 2]) / 2
    return out
