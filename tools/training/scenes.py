"""Batches of people who move before cameras: the truth that the motion networks are trained on.

Every take shows a window of the motion bank in another guise: faster or slower, mirrored, with the upper body of
another window, with joints a little off, on a body of another shape, with other hands. Feet that stand go on
standing where they are, see :mod:`.standing`.

    maker = SceneMaker(load_bank("bank"), load_body())
    scene = maker.draw(torch.Generator().manual_seed(1), takes=64, frames=160)
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from ...models.body_stages import BodyModel
from ...models.rotations import axis_angle_to_quaternion
from ...models.skeleton import JOINT_NAMES, NUM_BODY_JOINTS, PARENTS
from ..motions.hand_motion import plain_key_poses
from .bank_files import Bank
from .cameras import Cameras, CameraSettings, draw_cameras
from .draws import Draws
from .kinematics import (
    BY_DEPTH,
    carried_points,
    forward,
    frames_first,
    quaternion_product,
    rotation_matrices,
    small_rotation,
)
from .records import Scene
from .standing import Carriage, feet_rig, stand
from .windows import BodyMotion, MotionWindows, mirrored_body, other_hand

RATE_HZ = 30.0
_UPPER = [
    JOINT_NAMES.index(n)
    for n in (
        "spine1", "spine2", "spine3", "neck", "head", "left_collar", "right_collar", "left_shoulder", "right_shoulder",
        "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    )
]  # fmt: skip
_MOST_LEAN_DEG = 8.0
_CHUNK_FRAMES = 1280
"""Frames that go through the kinematics together on a CPU, so that their arrays stay in its cache."""


@dataclass(frozen=True, slots=True)
class SceneSettings:
    """What varies, and how much."""

    cameras: CameraSettings = field(default_factory=CameraSettings)
    speed: tuple[float, float] = (0.7, 1.4)
    """Range of the speed at which motion is played, drawn evenly in its logarithm."""
    mirrored: float = 0.5
    """Share of the takes that show the mirror image."""
    other_upper_body: float = 0.25
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


class SceneMaker:
    """Makes scenes from a motion bank, all on one device."""

    def __init__(
        self,
        bank: Bank,
        body: BodyModel,
        device: str | torch.device = "cpu",
        settings: SceneSettings | None = None,
    ) -> None:
        """bank: as ``load_bank`` opens it; it is copied to the device. body: the numpy body model."""
        self.device, self.settings = torch.device(device), settings or SceneSettings()
        self._windows = MotionWindows(bank, self.device)
        self._points = carried_points(body, self.device)
        self._feet = feet_rig(body, self.device)
        self._parents = torch.tensor(np.maximum(PARENTS, 0), device=self.device)
        self._joints = torch.tensor(np.asarray(body.J_template), dtype=torch.float32, device=self.device)
        directions = np.asarray(body.J_shapedirs)[..., :10]
        self._joint_directions = torch.tensor(directions, dtype=torch.float32, device=self.device)
        self._by_depth = torch.tensor(BY_DEPTH, device=self.device)
        self._sigma = torch.tensor(_sigma_rad(), dtype=torch.float32, device=self.device)
        plain = axis_angle_to_quaternion(plain_key_poses().poses[:4])
        self._plain_hands = torch.tensor(plain, dtype=torch.float32, device=self.device)

    def draw(self, generator: torch.Generator, takes: int, frames: int) -> Scene:
        """``takes`` takes of ``frames`` frames; the same generator state gives the same scene."""
        draws = Draws(generator, self.device)
        motion = self._motion(draws, takes, frames)
        q = torch.cat([motion.q, self._face(takes, frames), self._hands(draws, takes, frames)])
        betas = self._betas(draws, takes)
        made = self._pose(q, motion, betas, self._carriage(draws, takes, frames))
        cameras = draw_cameras(draws, made["proxies_world_m"], RATE_HZ, self.settings.cameras)
        return _scene(betas, made, cameras)

    def _motion(self, draws: Draws, takes: int, frames: int) -> BodyMotion:
        s = self.settings
        motion, other = (self._windows.body(draws, takes, frames, draws.log_uniform((takes,), *s.speed)) for _ in "ab")
        q = motion.q.clone()
        q = q / q.norm(dim=1, keepdim=True)
        # The other half's trunk must suit the pelvis that carries it.
        upright = torch.minimum(_upright(motion.q[0]), _upright(other.q[0])) > 0.6
        exchange = draws.chance((takes,), s.other_upper_body) & upright
        upper = other.q[_UPPER]
        q[_UPPER] = torch.where(exchange[:, None], upper / upper.norm(dim=1, keepdim=True), q[_UPPER])
        motion = replace(motion, q=q)
        mirror = draws.chance((takes,), s.mirrored)[:, None]
        image = mirrored_body(motion)
        motion = BodyMotion(
            *(torch.where(mirror, getattr(image, k), getattr(motion, k)) for k in ("q", "pelvis_m", "contact"))
        )
        return replace(motion, q=self._perturbed(draws, motion.q))

    def _perturbed(self, draws: Draws, q: torch.Tensor) -> torch.Tensor:
        """Joints of the upper body off by a constant of the take and by a slow drift."""
        takes, frames = q.shape[2:]
        rows = [j for j in range(NUM_BODY_JOINTS) if j in _UPPER]
        sigma = self._sigma[rows] * self.settings.perturbation
        knots = _knots(frames)
        constant = draws.normal((len(rows), 3, takes, 1))
        drift = draws.normal((len(rows), 3, takes, knots)) @ _spline(frames, knots, q.device).T
        turn = small_rotation((0.85 * constant + 0.75 * drift) * sigma[:, :, None, None])
        out = q.clone()
        out[rows] = quaternion_product(q[rows], turn)
        return out

    def _betas(self, draws: Draws, takes: int) -> torch.Tensor:
        s = self.settings
        spread = torch.where(draws.chance((takes, 1), s.wide_shapes), 1.5, 1.0)
        return (draws.normal((takes, 10)) * spread).clamp(-s.max_beta, s.max_beta)

    def _face(self, takes: int, frames: int) -> torch.Tensor:
        out = torch.zeros((3, 4, takes, frames), device=self.device)
        out[:, 0] = 1.0
        return out

    def _hands(self, draws: Draws, takes: int, frames: int) -> torch.Tensor:
        """(30, 4, B, T) left and right hand."""
        right = self._hand(draws, takes, frames)
        left = self._hand(draws, takes, frames)
        same = draws.chance((takes, 1), self.settings.mirrored_hands)
        return torch.cat([other_hand(torch.where(same, right, left)), right])

    def _hand(self, draws: Draws, takes: int, frames: int) -> torch.Tensor:
        """(15, 4, B, T) of a right hand."""
        s = self.settings
        kind = draws.uniform((takes,))
        speed = torch.where(kind < s.held_hands, 0.0, draws.log_uniform((takes,), *s.speed))
        moving = self._windows.hands(draws, takes, frames, speed)
        which = (draws.uniform((takes,)) * len(self._plain_hands)).long()
        still = self._plain_hands[which].permute(1, 2, 0)[..., None]
        return torch.where((kind > 1 - s.plain_hands)[:, None], still, moving)

    def _carriage(self, draws: Draws, takes: int, frames: int) -> Carriage:
        s = self.settings
        knots = _knots(frames)
        drift = draws.normal((5, takes, knots)) @ _spline(frames, knots, self.device).T
        about = draws.normal((5, takes, 1)) + 0.4 * drift
        tilt = small_rotation(about[:3] * math.radians(2.5) * s.perturbation)
        most = math.tan(math.radians(_MOST_LEAN_DEG))
        lean = (about[3:] * math.radians(2.5) * s.perturbation).clamp(-most, most)
        low = torch.where(draws.chance((takes, 1), s.lowered), draws.uniform((takes, 1), 0.0, s.most_lowered), 0.0)
        return Carriage(rotation_matrices(tilt[None])[0], lean, low.expand(takes, frames))

    def _pose(
        self, q: torch.Tensor, motion: BodyMotion, betas: torch.Tensor, carriage: Carriage
    ) -> dict[str, torch.Tensor]:
        """Kinematics of rotations (55, 4, B, T): the arrays of a Scene that do not depend on the camera."""
        takes, frames = q.shape[2:]
        step = takes if self.device.type != "cpu" else max(1, _CHUNK_FRAMES // frames)
        rest = self._joints + torch.einsum("jck,bk->bjc", self._joint_directions, betas)
        parts = []
        for begin in range(0, takes, step):
            rows = slice(begin, min(begin + step, takes))
            some = BodyMotion(q[:, :, rows], motion.pelvis_m[:, rows], motion.contact[:, rows])
            parts.append(self._pose_chunk(some, betas[rows], rest[rows], carriage.of(rows)))
        return {"rest_joints_m": rest, **{k: torch.cat([p[k] for p in parts]) for k in parts[0]}}

    def _pose_chunk(
        self, motion: BodyMotion, betas: torch.Tensor, rest: torch.Tensor, carriage: Carriage
    ) -> dict[str, torch.Tensor]:
        R_local = rotation_matrices(motion.q)
        scale = (_leg_m(rest) / _leg_m(self._joints[None]))[:, None]
        offsets = self._feet.offsets_m(betas)
        pelvis_m = stand(R_local, rest, offsets, self._feet, motion.pelvis_m * scale, motion.contact, carriage)
        bones = (rest - rest[:, self._parents])[:, self._by_depth].permute(1, 2, 0)
        R_world, relative = forward(R_local[self._by_depth], bones)
        points = self._points
        places = points.places(R_world, relative, points.offsets_m(betas)) + pelvis_m
        picked = {
            "joints_world_m": points.joints,
            "proxies_world_m": points.proxies,
            "landmarks_world_m": points.landmarks,
            "feet_world_m": points.feet,
        }
        out = {k: frames_first(places[at]) for k, at in picked.items()}
        return {**out, "R_local": frames_first(R_local), "contact": frames_first(motion.contact)}


def _scene(betas: torch.Tensor, made: dict[str, torch.Tensor], cameras: Cameras) -> Scene:
    return Scene(
        betas=betas,
        **made,
        T_cam_world=cameras.T_cam_world,
        static=cameras.static,
        focal_px=cameras.focal_px,
        image_size_px=cameras.image_size_px,
    )


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


def _leg_m(joints_m: torch.Tensor) -> torch.Tensor:
    """(B,) length of thigh and shank, mean of both sides, of rest joints (B, 55, 3)."""
    parts = []
    for side in ("left", "right"):
        hip, knee, ankle = (joints_m[:, JOINT_NAMES.index(f"{side}_{n}")] for n in ("hip", "knee", "ankle"))
        parts.append((hip - knee).norm(dim=-1) + (knee - ankle).norm(dim=-1))
    return (parts[0] + parts[1]) / 2


def _knots(frames: int) -> int:
    """Number of knots of a slow drift."""
    return max(4, math.ceil(frames / 25) + 3)


def _spline(frames: int, knots: int, device: torch.device) -> torch.Tensor:
    """(T, K) weights of a uniform cubic B-spline, scaled so that knots of unit variance give about unit variance."""
    at = torch.linspace(1.0, knots - 2.0, frames, device=device)
    d = (at[:, None] - torch.arange(knots, device=device)).abs()
    near, far = 2 / 3 - d**2 + d**3 / 2, (2 - d).clamp_min(0.0) ** 3 / 6
    weights = torch.where(d < 1, near, far)
    return weights / weights.square().sum(1, keepdim=True).sqrt()
