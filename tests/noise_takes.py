"""Takes whose landmarks were spoilt in a known way, for the tests of the noise model."""

from dataclasses import dataclass

import numpy as np
from hmcap.models.body import load_body
from hmcap.models.camera import Camera
from hmcap.models.markers import blazepose_rig, proxy_rig
from hmcap.tools.noise.events import SEGMENTS, exchange, flip
from hmcap.tools.noise.observe import Observation
from hmcap.tools.noise.tracks import GROUP, HIDDEN, MIRROR, VISIBLE, Tracks, centred3d, conditions, tracks_of, turned


@dataclass(frozen=True)
class Spoilt:
    """What is done to the landmarks."""

    bias: float = 0.02
    """Right (of the group's axes) on every proxy, times the cosine of the view."""
    sd: float = 0.01
    """Deviation of errors in sizes of the group, seen in the picture."""
    hidden: float = 3.0
    """Times that for hidden points."""
    memory_s: float = 0.4
    """Time constant of the errors."""
    shared: float = 0.6
    """Correlation of the left leg's joints with each other."""
    tail: float = 0.0
    """Share of errors that are five times as large."""
    swap_hz: float = 0.0
    swap_s: float = 0.3
    flip_hz: float = 0.0
    flip_s: float = 0.4
    hand_lost: float = 0.2
    """Share of frames without a hand."""
    depth: float = 0.8
    """Metres of observed depth per metre of true depth, of a body of 1.7 m."""


def make_tracks(rng: np.random.Generator, frames: int, fps: float, turn_hz: float = 0.15) -> Tracks:
    """Truth of a person who turns on the spot and waves all limbs."""
    body = load_body()
    t = np.arange(frames) / fps
    poses = np.zeros((frames, 55, 3), np.float32)
    hz, phase = rng.uniform(0.1, 0.6, (55, 3)), rng.uniform(0, 6.28, (55, 3))
    poses[:] = 0.25 * np.sin(2 * np.pi * hz * t[:, None, None] + phase)
    poses[:, 0] = 0
    poses[:, 0, 1] = rng.uniform(0, 6.28) + 2 * np.pi * turn_hz * t * rng.choice([-1, 1])
    poses[:, [16, 17], 2] += [-0.9, 0.9]
    poses[:, [18, 19], 1] += [-1.2, 1.2]  # forearms ahead
    posed = body.with_shape(rng.normal(0, 1, 10).astype(np.float32)).with_pose(poses, np.zeros((frames, 3), np.float32))
    world = np.asarray(proxy_rig(body).in_world_m(posed), np.float64)
    world33 = np.asarray(blazepose_rig(body).in_world_m(posed), np.float64)
    T = np.tile(np.diag([1.0, -1, -1, 1]), (frames, 1, 1))
    T[:, 2, 3] = rng.uniform(3.0, 5.0)
    camera = Camera.from_focal(1280, 720, 700)
    visible = np.where(rng.random((1 + frames // 15, 67)) < 0.25, HIDDEN, VISIBLE).repeat(15, axis=0)[:frames]
    return tracks_of(world, world33, T, camera, visible, np.zeros((frames, 67)))


def _ar(rng: np.random.Generator, shape: tuple[int, ...], step: float, memory_s: float) -> np.ndarray:
    keep = np.exp(-step / memory_s)
    out = rng.standard_normal(shape)
    for t in range(1, len(out)):
        out[t] = keep * out[t - 1] + np.sqrt(1 - keep**2) * out[t]
    return out


def _runs(rng: np.random.Generator, frames: int, fps: float, rate_hz: float, length_s: float) -> np.ndarray:
    out, left = np.zeros(frames, bool), 0
    for t in range(frames):
        left = max(0, left - 1)
        if left == 0 and rng.random() < rate_hz / fps:
            left = round(length_s * fps)
        out[t] = left > 0
    return out


def observe_made(rng: np.random.Generator, name: str, how: Spoilt, frames: int = 300, fps: float = 30.0) -> Observation:
    """A take spoilt as told, by code that shares nothing with the model's own sampling."""
    tracks = make_tracks(rng, frames, fps)
    cond = conditions(tracks)
    z = _ar(rng, (frames, 67, 2), 1 / fps, how.memory_s)
    leg = [13, 14, 21]  # left knee, ankle, heel
    z[:, leg] = np.sqrt(1 - how.shared) * z[:, leg] + np.sqrt(how.shared) * _ar(
        rng, (frames, 1, 2), 1 / fps, how.memory_s
    )
    scale = how.sd * np.where(tracks.visible == HIDDEN, how.hidden, 1.0)[..., None]
    scale = scale * np.where(rng.random((frames, 67, 1)) < how.tail, 5.0, 1.0)
    side = how.bias * np.cos(cond.view_rad[:, GROUP])
    error = np.stack([np.where(GROUP == 0, 0, side), np.where(GROUP == 0, side, 0)], axis=-1) + scale * z
    size = cond.size_px[:, GROUP, None]
    swaps = np.zeros((frames, 3), bool)
    swaps[:, 2] = _runs(rng, frames, fps, how.swap_hz, how.swap_s)
    xy = exchange(tracks.xy_px + size * turned(cond, error, GROUP, back=True), swaps)
    body, hands = centred3d(tracks, cond)
    flips = np.zeros((frames, 2 * len(SEGMENTS)), bool)
    flips[:, 1] = _runs(rng, frames, fps, how.flip_hz, how.flip_s)
    flips[:, 5] = _runs(rng, frames, fps, how.flip_hz, how.flip_s)
    body = flip(body, flips) * 1.7 * np.array([1, 1, how.depth]) + 0.01 * rng.standard_normal((frames, 33, 3))
    hands = hands * 0.18 + 0.003 * rng.standard_normal((frames, 2, 21, 3))
    lost = _ar(rng, (frames, 2), 1 / fps, 0.5) < -0.8416 if how.hand_lost else np.zeros((frames, 2), bool)
    hands[lost] = np.nan
    known = np.concatenate([np.ones((frames, 25), bool), np.repeat(~lost, 21, axis=1)], axis=1)
    # Confident where seen and right.
    length = np.linalg.norm(error, axis=-1)
    doubt = np.log(length / how.sd + 1e-3) + 0.5 * rng.standard_normal((frames, 67))
    confidence = 1 / (1 + np.exp(doubt - 3 * (tracks.visible == VISIBLE)))
    confidence = np.where(known, confidence, 0)
    confidence[:, [20, 23]] = 0
    return Observation(
        name, fps, tracks, cond, np.where(known[..., None], xy, np.nan), confidence, body, hands, np.full(frames, 0.99)
    )


def mirror_tracks(tracks: Tracks) -> Tracks:
    """The same take in a mirror: the picture turned over, left and right renamed."""
    from hmcap.tools.noise.tracks import MIRROR_33

    over = np.array([-1.0, 1, 1])
    xy = tracks.xy_px[..., MIRROR, :] * [-1, 1] + [tracks.image_size_px[0], 0]
    return Tracks(
        xy, tracks.cam_m[..., MIRROR, :] * over, tracks.body33_cam_m[..., MIRROR_33, :] * over,
        tracks.visible[..., MIRROR], tracks.blur_px[..., MIRROR], tracks.focal_px, tracks.image_size_px,
    )  # fmt: skip
