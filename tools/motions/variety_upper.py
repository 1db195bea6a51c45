"""Arms, head and trunk of a key pose, drawn so that every direction an arm can take comes up."""

import numpy as np

from .variety_limbs import reach_arm, set_arm, set_head, set_trunk
from .variety_rig import Rig

STYLES = {
    "free": 6.0, "overhead": 1.5, "hips": 1.0, "head": 1.0, "behind head": 0.7, "crossed": 0.8, "behind back": 1.0,
    "across": 1.0, "point": 1.2, "level": 1.2, "face": 0.8, "chest": 0.8, "hang": 1.0, "back": 0.8, "bent": 1.0,
}  # fmt: skip
"""Weight of each way to hold an arm."""
_AT = {  # wrist from the joint spine3, in the axes of the chest, left; where the elbow points
    "hips": ((0.22, -0.25, 0.05), (1.0, 0.0, -0.55)),
    "head": ((0.14, 0.40, 0.04), (1.0, -0.1, 0.25)),
    "behind head": ((0.09, 0.33, -0.10), (1.0, 0.0, 0.15)),
    "crossed": ((-0.07, -0.07, 0.23), (0.8, -0.7, 0.25)),
    "behind back": ((0.08, -0.25, -0.12), (0.8, -0.1, -0.8)),
    "face": ((0.05, 0.22, 0.19), (0.7, -0.8, 0.2)),
    "chest": ((0.06, -0.03, 0.27), (0.9, -0.6, -0.1)),
}


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """A uniform number."""
    return float(rng.uniform(low, high))


def spread(rng: np.random.Generator, size: float, most: float) -> float:
    """A normal number around 0, cut at ``most``."""
    return float(np.clip(rng.normal(0.0, size), -most, most))


def choose(rng: np.random.Generator, weights: dict[str, float]) -> str:
    """A key, as often as its weight says."""
    p = np.array(list(weights.values()))
    return list(weights)[int(rng.choice(len(p), p=p / p.sum()))]


def draw_arms(rng: np.random.Generator, rig: Rig, R: np.ndarray, styles: dict[str, float] | None = None) -> None:
    """Both arms, alike half of the time; in place."""
    one = choose(rng, styles or STYLES)
    other = one if rng.random() < 0.45 or one == "crossed" else choose(rng, styles or STYLES)
    seed = int(rng.integers(2**32))
    alike = one == other and rng.random() < 0.6
    draw_arm(np.random.default_rng(seed), rig, R, 0, one)
    draw_arm(np.random.default_rng(seed if alike else seed + 1), rig, R, 1, other)


def draw_arm(rng: np.random.Generator, rig: Rig, R: np.ndarray, side: int, style: str) -> None:
    """One arm; in place."""
    palm = spread(rng, 40, 80)
    wrist = (spread(rng, 22, 60), spread(rng, 8, 20))
    if style in _AT:
        at, elbow = (np.array(v) for v in _AT[style])
        at = at + rng.normal(0, 0.02, 3)
        if style == "crossed" and side == 1:
            at = at + np.array([0.0, -0.06, 0.05])
        reach_arm(rig, R, side, at, elbow + rng.normal(0, 0.1, 3), palm, wrist)
        return
    draws = {
        "overhead": (between(rng, 145, 176), between(rng, 0, 110), between(rng, -90, 10), rng.beta(1, 2.5) * 110),
        "across": (between(rng, 55, 115), between(rng, 105, 133), spread(rng, 30, 60), rng.beta(1, 2) * 90),
        "point": (between(rng, 70, 115), between(rng, 50, 110), spread(rng, 40, 80), rng.beta(1, 4) * 60),
        "level": (between(rng, 70, 110), between(rng, -20, 25), spread(rng, 50, 90), rng.beta(1, 3) * 100),
        "hang": (between(rng, 4, 22), between(rng, 0, 90), spread(rng, 15, 35), rng.beta(1.5, 3) * 70),
        "back": (between(rng, 25, 62), between(rng, -80, -40), spread(rng, 20, 45), rng.beta(1, 2) * 80),
        "bent": (between(rng, 10, 60), between(rng, 0, 95), spread(rng, 40, 75), between(rng, 60, 140)),
    }
    if style == "free":
        up = float(np.rad2deg(np.arccos(between(rng, -0.99, 0.99))))
        ahead = between(rng, -45, 130)
        if ahead < 0 and up > 70:  # what is behind and above the shoulder is out of reach
            ahead *= max(0.2, 1 - (up - 70) / 60)
        twist = between(rng, -90, 60 if up < 120 else 20)
        draws["free"] = (up, ahead, twist, rng.beta(1.0, 1.4) * 145)
    set_arm(R, side, *draws[style], palm, wrist)


def draw_head(rng: np.random.Generator, R: np.ndarray, wide: float = 1.0) -> None:
    """Somewhere to look; in place."""
    set_head(R, spread(rng, 18 * wide, 48), spread(rng, 10 * wide, 32), spread(rng, 26 * wide, 68))


def draw_trunk(rng: np.random.Generator, R: np.ndarray, wide: float = 1.0) -> None:
    """Some bend and twist of the spine; in place."""
    set_trunk(R, 6 + spread(rng, 10 * wide, 34), spread(rng, 7 * wide, 30), spread(rng, 10 * wide, 40))
