"""Finger motion from key poses: minimum-jerk blends with per-finger delays, holds, and small slow noise.

Key poses are (N, 15, 3) axis-angle of a right hand relative to the flat hand, in the joint order of SMPL-X (index,
middle, pinky, ring, thumb; three joints each, root to tip). A folder of npz files gives them, or a built-in generator
of plain shapes (fist, flat, point, pinch, relaxed and what lies between) where nobody has a file.
"""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.signal import lfilter

from ...models.errors import HmcapError

FINGERS = ("index", "middle", "pinky", "ring", "thumb")
"""Order of the fingers; joint 3 f + k is the k-th of finger f."""
Together = Literal["independent", "mirrored"]

MOVE_S = (0.18, 0.7)
"""Range of the duration of one finger's way to the next key pose."""
DELAY_S = 0.12
"""A finger starts up to this much after the first one."""
MEAN_HOLD_S = 0.6
"""Mean of the exponentially distributed time that a key pose is held."""
RELAXED_SHARE = 0.55
"""Share of the held shapes that are a relaxed hand, varied a little."""
NOISE_RAD, NOISE_TIME_S = 0.03, 0.35
"""Standard deviation and correlation time of the Ornstein-Uhlenbeck noise on every bend."""
_MIRROR = np.array([1.0, -1.0, -1.0])

_BEND = {  # (three bends along the finger, spread towards the thumb), radians
    "fist": ((1.35, 1.65, 1.0), 0.0),
    "flat": ((0.05, 0.05, 0.03), 0.0),
    "spread": ((-0.05, 0.05, 0.03), 0.22),
    "relaxed": ((0.35, 0.45, 0.25), 0.03),
    "hook": ((0.15, 1.45, 0.9), 0.0),
}
_THUMB = {  # axis-angle of the three joints
    "out": ((0.15, -0.45, 0.1), (0.0, -0.1, -0.1), (0.0, -0.1, 0.0)),
    "relaxed": ((0.6, -0.3, 0.4), (-0.05, 0.0, 0.0), (0.0, 0.2, 0.05)),
    "across": ((0.9, -0.1, 0.7), (-0.1, 0.5, 0.1), (-0.05, 0.8, 0.1)),
    "opposed": ((0.95, -0.4, 0.6), (-0.05, 0.2, 0.0), (0.0, 0.4, 0.05)),
}
_PLAIN = {  # shape of index, middle, pinky, ring; of the thumb
    "fist": ("fist", "fist", "fist", "fist", "across"),
    "flat": ("flat", "flat", "flat", "flat", "out"),
    "spread": ("spread", "spread", "spread", "spread", "out"),
    "relaxed": ("relaxed", "relaxed", "relaxed", "relaxed", "relaxed"),
    "point": ("flat", "fist", "fist", "fist", "across"),
    "two": ("spread", "spread", "fist", "fist", "across"),
    "thumb up": ("fist", "fist", "fist", "fist", "out"),
    "hook": ("hook", "hook", "hook", "hook", "relaxed"),
}
_SPREAD_SIDE = (1.0, 0.25, -1.0, -0.4)


@dataclass(frozen=True, slots=True, eq=False)
class KeyPoses:
    """Shapes of a right hand."""

    poses: np.ndarray
    """(N, 15, 3) axis-angle relative to the flat hand, radians."""
    source: str
    """Where they come from, for the record."""


def plain_key_poses() -> KeyPoses:
    """Built-in key poses: the plain shapes, a pinch, and each shape half-way to the relaxed hand."""
    shapes = [_shape(fingers) for fingers in _PLAIN.values()]
    relaxed = shapes[list(_PLAIN).index("relaxed")]
    pinch = relaxed.copy()
    pinch[0:3] = _finger((0.75, 0.85, 0.35), 0.0, 0)
    pinch[12:15] = np.array(_THUMB["opposed"])
    shapes.append(pinch)
    return KeyPoses(np.stack(shapes + [(s + relaxed) / 2 for s in shapes if s is not relaxed]), "built-in")


def _shape(fingers: tuple[str, ...]) -> np.ndarray:
    rows = [_finger(*_BEND[name], f) for f, name in enumerate(fingers[:4])]
    return np.concatenate([*rows, np.array(_THUMB[fingers[4]])])


def _finger(bends: tuple[float, ...], spread: float, finger: int) -> np.ndarray:
    """(3, 3): a right hand's fingers point along -X with the palm down, so they bend about +Z and spread about Y."""
    out = np.zeros((3, 3))
    out[:, 2] = bends
    out[0, 1] = -spread * _SPREAD_SIDE[finger]
    return out


def read_key_poses(path: str | Path, permissive: bool = False) -> KeyPoses:
    """Key poses of an npz file, or of every npz of a folder (``permissive`` leaves out names with "noncommercial").

    Each array of shape (N, 15, 3) in a file counts. Raises HmcapError where there is none.
    """
    path = Path(path).expanduser()
    files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    files = [f for f in files if not (permissive and path.is_dir() and "noncommercial" in f.name.lower())]
    step = "Name a file or folder with right-hand key poses, or leave the option out to use the built-in ones."
    found = []
    for file in files:
        try:
            with np.load(file, allow_pickle=False) as arrays:
                names = [k for k in arrays.files if arrays[k].ndim == 3 and arrays[k].shape[1:] == (15, 3)]
                found.extend(np.asarray(arrays[k], np.float64) for k in names)
        except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            raise HmcapError(f"Expected hand key poses in {file}, but it cannot be read ({error}). {step}") from error
    if not found:
        raise HmcapError(f"Expected an array of shape (N, 15, 3) in {path}, found none. {step}")
    poses = np.concatenate(found)
    if not np.isfinite(poses).all():
        raise HmcapError(f"Expected finite key poses in {path}, found NaN or infinity. {step}")
    return KeyPoses(poses, ", ".join(f.name for f in files))


def mirror_hand(poses: np.ndarray) -> np.ndarray:
    """The other hand in the mirrored pose, (..., 15, 3) axis-angle."""
    return poses * _MIRROR


def hand_motion(
    rng: np.random.Generator, frames: int, fps: float, key_poses: KeyPoses, together: Together | None = None
) -> np.ndarray:
    """(T, 2, 15, 3) axis-angle of the left and the right hand along T frames.

    ``together``: whether the hands move independently or as mirror images (drawn where None, 1 in 4 mirrored). A pure
    function of ``rng``.
    """
    together = together or ("mirrored" if rng.random() < 0.25 else "independent")
    right = _one_hand(rng, frames, fps, key_poses.poses)
    left = right if together == "mirrored" else _one_hand(rng, frames, fps, key_poses.poses)
    hands = np.stack([mirror_hand(left), right], axis=1)
    return hands + _noise(rng, (frames, 2, 15, 3), fps) * [0.3, 0.3, 1.0]


def _one_hand(rng: np.random.Generator, frames: int, fps: float, poses: np.ndarray) -> np.ndarray:
    time_s = np.arange(frames) / fps
    key = _target(rng, poses)
    out = np.broadcast_to(key, (frames, 15, 3)).copy()
    begin_s = float(rng.uniform(0, 1.5 * MEAN_HOLD_S))
    while begin_s < time_s[-1]:
        target = _target(rng, poses)
        delays = rng.uniform(0, DELAY_S, 5)
        delays -= delays.min()
        lasts = rng.uniform(*MOVE_S) * rng.uniform(0.85, 1.15, 5)
        for f in range(5):
            u = np.clip((time_s - begin_s - delays[f]) / lasts[f], 0, 1)
            rows = slice(3 * f, 3 * f + 3)
            out[:, rows] += minimum_jerk(u)[:, None, None] * (target - key)[rows]
        begin_s += float((delays + lasts).max() + rng.exponential(MEAN_HOLD_S))
        key = target
    return out


def _target(rng: np.random.Generator, poses: np.ndarray) -> np.ndarray:
    """A key pose, mostly only in part: at work and at rest hands are near the relaxed shape, and seldom form a sign."""
    share = rng.uniform(0.05, 0.4) if rng.random() < RELAXED_SHARE else rng.uniform(0.5, 1.0)
    relaxed = _shape(_PLAIN["relaxed"])
    return relaxed + (poses[rng.integers(len(poses))] - relaxed) * share


def minimum_jerk(u: np.ndarray) -> np.ndarray:
    """Share of the way at share ``u`` of the time, 0..1, with zero speed and acceleration at both ends (Flash and Hogan
    1985)."""
    return u**3 * (10 - 15 * u + 6 * u**2)


def _noise(rng: np.random.Generator, shape: tuple[int, ...], fps: float) -> np.ndarray:
    """Ornstein-Uhlenbeck noise along axis 0, twice filtered so that speed is continuous; standard deviation
    NOISE_RAD."""
    keep = float(np.exp(-1 / (fps * NOISE_TIME_S / 2)))
    warm = round(5 * NOISE_TIME_S * fps)
    white = rng.standard_normal((shape[0] + warm, *shape[1:]))
    for _ in range(2):
        white = np.asarray(lfilter([1 - keep], [1, -keep], white, axis=0))
    # Variance of a twice filtered white row: (1-a)^4 (1+a^2) / (1-a^2)^3.
    sd = np.sqrt((1 - keep) ** 4 * (1 + keep**2) / (1 - keep**2) ** 3)
    return white[warm:] * (NOISE_RAD / sd)
