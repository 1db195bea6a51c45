"""Who moves in a take, and how: motion of the bank in another guise.

All that is random is drawn first, for all takes; their motion can then be made some takes at a time, so that its arrays
stay in the processor's cache. Layout as in :mod:`.kinematics`.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from ...models.rotations import axis_angle_to_quaternion
from ...models.skeleton import JOINT_NAMES, NUM_BODY_JOINTS
from ..motions.hand_motion import plain_key_poses
from .bank_files import Bank
from .draws import Draws
from .kinematics import quaternion_product, rotation_matrices, small_rotation
from .standing import Carriage
from .windows import BodyMotion, Frames, MotionWindows, mirrored_body, other_hand

_UPPER = [
    JOINT_NAMES.index(n)
    for n in (
        "spine1", "spine2", "spine3", "neck", "head", "left_collar", "right_collar", "left_shoulder", "right_shoulder",
        "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    )
]  # fmt: skip
_UPRIGHT = 0.6
"""Least cosine between a pelvis and the vertical for which another upper body is put on it."""
_CARRIAGE_DEG = 2.5
"""Standard deviation of the pelvis' turn about each axis, and of the lean of the legs."""
_MOST_LEAN_DEG = 8.0
_KNOT_FRAMES = 25
"""Slow drifts are splines with a knot every so many frames."""
_CONSTANT, _DRIFT = 0.85, 0.5
"""Shares of the standard deviation of a joint that are constant in a take, and that drift."""


@dataclass(frozen=True, slots=True)
class PeopleSettings:
    """What varies in people, and how much."""

    speed: tuple[float, float] = (0.7, 1.4)
    """Range of the speed at which motion is played, drawn evenly in its logarithm."""
    mirrored: float = 0.5
    """Share of the takes that show the mirror image."""
    other_upper_body: float = 0.3
    """Share of the takes whose upper body is that of another window; only where both are upright."""
    perturbation: float = 1.0
    """Factor on the standard deviations by which joints are off (about 4 degrees for a ball joint)."""
    lowered: float = 0.4
    """Share of the takes in which somebody who stands keeps the pelvis lower than the motion says."""
    most_lowered: float = 0.12
    """By how much at most, as a share of its height."""
    wide_shapes: float = 0.25
    """Share of the people whose shape coefficients have a standard deviation of 1.5 and not 1."""
    max_beta: float = 2.5
    mirrored_hands: float = 0.2
    """Share of the takes in which the left hand does what the right one does."""
    held_hands: float = 0.12
    """Share of the hands that keep one shape of the bank."""
    plain_hands: float = 0.1
    """Share of the hands that are closed, flat, spread or relaxed throughout."""


@dataclass(frozen=True, slots=True, eq=False)
class _Hands:
    """What is drawn of one hand; B takes."""

    frames: Frames
    plain: torch.Tensor
    """(B,) bool"""
    which: torch.Tensor
    """(B,) which plain shape."""

    def of(self, rows: slice) -> "_Hands":
        return _Hands(self.frames.of(rows), self.plain[rows], self.which[rows])

    def like(self, other: "_Hands", same: torch.Tensor) -> "_Hands":
        """These, where ``same`` (B,) says so replaced by the others."""
        a, b, some = self.frames, other.frames, same[:, None]
        frames = [torch.where(some, y, x) for x, y in ((a.low, b.low), (a.high, b.high), (a.share, b.share))]
        return _Hands(
            Frames(*frames), torch.where(same, other.plain, self.plain), torch.where(same, other.which, self.which)
        )


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """What is drawn of B people."""

    betas: torch.Tensor
    """(B, 10)"""
    motion: Frames
    upper: Frames
    """Where the other upper body comes from."""
    exchanged: torch.Tensor
    """(B,) bool"""
    mirrored: torch.Tensor
    """(B,) bool"""
    right: _Hands
    left: _Hands
    off_rad: torch.Tensor
    """(B, 13, 3) by how much joints of the upper body are off throughout, and"""
    off_knots_rad: torch.Tensor
    """(B, 13, 3, K) in addition, for the knots of the drift."""
    carriage_knots: torch.Tensor
    """(B, 5, K) turn of the pelvis and lean of the legs, radians."""
    lower: torch.Tensor
    """(B,)"""

    def of(self, rows: slice) -> "People":
        """Some of them."""
        return People(
            self.betas[rows],
            self.motion.of(rows),
            self.upper.of(rows),
            self.exchanged[rows],
            self.mirrored[rows],
            self.right.of(rows),
            self.left.of(rows),
            self.off_rad[rows],
            self.off_knots_rad[rows],
            self.carriage_knots[rows],
            self.lower[rows],
        )


class PeopleMaker:
    """A motion bank on a device, and the people that are made of it."""

    def __init__(self, bank: Bank, device: torch.device, settings: PeopleSettings) -> None:
        self.device, self.settings = device, settings
        self._windows = MotionWindows(bank, device)
        self._sigma = torch.tensor(_sigma_rad(), dtype=torch.float32, device=device)[_UPPER]
        plain = axis_angle_to_quaternion(plain_key_poses().poses[:4])
        self._plain_hands = torch.tensor(plain, dtype=torch.float32, device=device)

    def draw(self, draws: Draws, takes: int, frames: int) -> People:
        """Draw all that is random in ``takes`` people."""
        s, n = self.settings, (takes,)
        knots = max(4, math.ceil(frames / _KNOT_FRAMES) + 3)
        spread = torch.where(draws.chance((takes, 1), s.wide_shapes), 1.5, 1.0)
        betas = (draws.normal((takes, 10)) * spread).clamp(-s.max_beta, s.max_beta)
        motion = self._windows.draw_body(draws, takes, frames, draws.log_uniform(n, *s.speed))
        upper = self._windows.draw_body(draws, takes, frames, draws.log_uniform(n, *s.speed))
        exchanged, mirrored = draws.chance(n, s.other_upper_body), draws.chance(n, s.mirrored)
        right, left = self._hand(draws, takes, frames), self._hand(draws, takes, frames)
        same = draws.chance(n, s.mirrored_hands)
        left = left.like(right, same)
        sigma = self._sigma * s.perturbation
        off = draws.normal((takes, len(_UPPER), 3)) * sigma * _CONSTANT
        off_knots = draws.normal((takes, len(_UPPER), 3, knots)) * sigma[..., None] * _DRIFT
        carriage = draws.normal((takes, 5, 1)) + 0.3 * draws.normal((takes, 5, knots))
        carriage = carriage * math.radians(_CARRIAGE_DEG) * s.perturbation
        lower = torch.where(draws.chance(n, s.lowered), draws.uniform(n, 0.0, s.most_lowered), 0.0)
        return People(betas, motion, upper, exchanged, mirrored, right, left, off, off_knots, carriage, lower)

    def _hand(self, draws: Draws, takes: int, frames: int) -> _Hands:
        s = self.settings
        kind = draws.uniform((takes,))
        speed = torch.where(kind < s.held_hands, 0.0, draws.log_uniform((takes,), *s.speed))
        window = self._windows.draw_hands(draws, takes, frames, speed)
        which = (draws.uniform((takes,)) * len(self._plain_hands)).long()
        return _Hands(window, kind > 1 - s.plain_hands, which)

    def motion(self, people: People) -> tuple[BodyMotion, Carriage]:
        """Motion of all 55 joints (55, 4, B, T), quaternions not normalised, and how the pelvis is held."""
        body = self._exchange(self._windows.body(people.motion), people)
        body = _mirror(body, people.mirrored.nonzero()[:, 0])
        takes, frames = body.pelvis_m.shape[1:]
        spline = _spline(frames, people.off_knots_rad.shape[-1], self.device).T
        off = people.off_rad[..., None] + people.off_knots_rad @ spline
        q = body.q.new_zeros((len(JOINT_NAMES), 4, takes, frames))
        q[:NUM_BODY_JOINTS] = body.q
        q[_UPPER] = quaternion_product(body.q[_UPPER], small_rotation(off.permute(1, 2, 0, 3)))
        q[NUM_BODY_JOINTS : NUM_BODY_JOINTS + 3, 0] = 1.0
        q[25:40] = other_hand(self._fingers(people.left))
        q[40:55] = self._fingers(people.right)
        return replace(body, q=q), self._carriage(people, spline)

    def _exchange(self, body: BodyMotion, people: People) -> BodyMotion:
        """Put on the other upper bodies, where the trunks suit the pelvises that carry them."""
        rows = people.exchanged.nonzero()[:, 0]
        if len(rows):
            other = self._windows.body(people.upper.of(rows)).q
            upright = torch.minimum(_upright(body.q[0][:, rows]), _upright(other[0])) > _UPRIGHT
            for j in _UPPER:
                body.q[j][:, rows[upright]] = other[j][:, upright]
        return body

    def _fingers(self, hands: _Hands) -> torch.Tensor:
        """(15, 4, B, T) of a right hand."""
        q = self._windows.hands(hands.frames)
        rows = hands.plain.nonzero()[:, 0]
        q[:, :, rows] = self._plain_hands[hands.which[rows]].permute(1, 2, 0)[..., None]
        return q

    def _carriage(self, people: People, spline: torch.Tensor) -> Carriage:
        held = (people.carriage_knots @ spline).transpose(0, 1)
        most = math.tan(math.radians(_MOST_LEAN_DEG))
        lower = people.lower[:, None].expand(held.shape[1:])
        return Carriage(rotation_matrices(small_rotation(held[:3])[None])[0], held[3:].clamp(-most, most), lower)


def _mirror(body: BodyMotion, rows: torch.Tensor) -> BodyMotion:
    """The mirror image of some of the takes, in place."""
    if len(rows):
        image = mirrored_body(BodyMotion(body.q[:, :, rows], body.pelvis_m[:, rows], body.contact[:, rows]))
        body.q[:, :, rows], body.pelvis_m[:, rows], body.contact[:, rows] = image.q, image.pelvis_m, image.contact
    return body


def _sigma_rad() -> np.ndarray:
    """(22, 3) standard deviation about the axes of each joint; little about the axes that a hinge does not have."""
    degrees = np.full((NUM_BODY_JOINTS, 3), 4.0)
    for name, axes in {
        "spine1": 3.0, "spine2": 3.0, "spine3": 3.0, "collar": 2.5, "elbow": (3.0, 5.0, 1.0), "wrist": (2.0, 4.0, 4.0),
        "shoulder": 5.0,
    }.items():  # fmt: skip
        for j, joint in enumerate(JOINT_NAMES[:NUM_BODY_JOINTS]):
            if joint.endswith(name):
                degrees[j] = axes
    return np.radians(degrees)


def _upright(q_root: torch.Tensor) -> torch.Tensor:
    """(B,) least cosine between a root's own up and the world's, of (4, B, T)."""
    w, x, y, z = q_root.unbind(0)
    n = w * w + x * x + y * y + z * z
    return (1 - 2 * (x * x + z * z) / n).amin(-1)


def _spline(frames: int, knots: int, device: torch.device) -> torch.Tensor:
    """(T, K) weights of a uniform cubic B-spline; of knots that are all alike it makes a constant."""
    at = torch.linspace(1.0, knots - 2.0, frames, device=device)
    d = (at[:, None] - torch.arange(knots, device=device)).abs()
    near, far = 2 / 3 - d**2 + d**3 / 2, (2 - d).clamp_min(0.0) ** 3 / 6
    return torch.where(d < 1, near, far)
