"""How a person looks: skin, hair, clothes. Plain values; :mod:`.dressing` lays them on the mesh.

Colours are linear-light albedo, red green blue in 0..1; lengths in metres on the mean body.
"""

from dataclasses import dataclass

import numpy as np

RGB = tuple[float, float, float]
PATTERNS = ("plain", "stripes", "upright_stripes", "checks", "melange", "blocks", "print", "logo")
HAIR_STYLES = ("bald", "buzz", "short", "full", "bun", "ponytail", "long")
NECKLINES = ("round", "v", "wide", "high")


@dataclass(frozen=True, slots=True)
class Cloth:
    """One piece of clothing."""

    rgb: RGB
    rgb2: RGB
    """Second colour of the pattern."""
    pattern: str
    """One of PATTERNS."""
    scale_m: float
    """Repeat of the pattern."""
    loose_m: float
    """How far the cloth stands off the skin."""
    folds: float
    """0 smooth to 1 crumpled."""
    gloss: float
    """0 wool to 1 satin."""


@dataclass(frozen=True, slots=True)
class Appearance:
    """Everything about the look of one person."""

    skin: RGB
    redness: float
    """Strength of the red of cheeks, nose, ears, knuckles and elbows, 0..1."""
    blemish: float
    """Strength of freckles and uneven tone, 0..1."""
    oil: float
    """Shine of the skin, 0..1."""
    lips: RGB
    iris: RGB
    hair: RGB
    hair_style: str
    """One of HAIR_STYLES."""
    hair_m: float
    """Thickness of the hair on the scalp."""
    hair_hangs_m: float
    """How far long hair hangs down from the ears."""
    brow: float
    """Strength of the brows, 0..1."""
    beard: float
    """0 shaven, about 0.3 a shadow, 1 a full beard."""
    shirt: Cloth
    sleeve: float
    """0 at the shoulder, 1 at the elbow, 2 at the wrist; below 0 no sleeve at all."""
    neckline: str
    """One of NECKLINES."""
    hem_m: float
    """How far the shirt hangs below the hips' joints (negative: above)."""
    trousers: Cloth
    leg: float
    """Length of the trousers: 0 at the hip, 1 at the knee, 2 at the ankle."""
    shoes: RGB
    sole: RGB
    shoe_m: float
    """Height of the shoe above the ankle joint; below -0.2 barefoot."""
    sock: RGB
    sock_m: float
    """Height of the sock above the ankle joint; below -0.2 none."""
    nails: RGB
    nail_paint: float
    """0 bare nails, 1 painted with ``nails``."""
    seed: int
    """Of the noise in cloth, skin and hair."""

    @property
    def barefoot(self) -> bool:
        """Whether there are no shoes."""
        return self.shoe_m < -0.2


def linear(srgb: np.ndarray) -> np.ndarray:
    """Linear light of sRGB values in 0..1."""
    srgb = np.asarray(srgb, np.float64)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((np.maximum(srgb, 0) + 0.055) / 1.055) ** 2.4)


def _rgb(v: np.ndarray) -> RGB:
    v = np.clip(v, 0.004, 0.95)
    return (float(v[0]), float(v[1]), float(v[2]))


# Median sRGB of forearm skin from light to dark, after the six Fitzpatrick types.
_SKIN = np.array([
    (241, 207, 186), (228, 186, 157), (208, 160, 127), (182, 130, 96), (138, 92, 65), (92, 60, 46), (66, 44, 36)
]) / 255  # fmt: skip
_HAIR = np.array([
    (18, 15, 14), (34, 25, 20), (52, 36, 25), (74, 50, 33), (104, 74, 48), (150, 115, 76), (184, 152, 104),
    (120, 62, 34), (130, 128, 126), (196, 192, 186)
]) / 255  # fmt: skip
_IRIS = np.array([(60, 36, 20), (84, 54, 30), (96, 84, 48), (84, 104, 84), (96, 124, 146), (70, 76, 82)]) / 255


def skin_of(tone: float) -> np.ndarray:
    """(3,) linear albedo of skin, ``tone`` 0 lightest to 1 darkest."""
    x = np.clip(tone, 0, 1) * (len(_SKIN) - 1)
    k = min(int(x), len(_SKIN) - 2)
    return linear(_SKIN[k] + (x - k) * (_SKIN[k + 1] - _SKIN[k]))


def _cloth_colour(rng: np.random.Generator) -> np.ndarray:
    kind = rng.choice(4, p=(0.3, 0.15, 0.3, 0.25))
    if kind == 0:  # black, greys, white
        value = rng.choice((0.012, 0.03, 0.08, 0.2, 0.45, 0.75)) * rng.uniform(0.8, 1.2)
        return value * rng.normal(1, 0.03, 3)
    if kind == 1:  # denim and navy
        return linear(np.array([0.14, 0.2, 0.34]) * rng.uniform(0.5, 1.8))
    hue, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 0.5) if kind == 2 else rng.uniform(0.5, 0.95)
    wave = 0.5 + 0.5 * np.cos(hue - np.array([0, 2.094, 4.189]))
    return linear(rng.uniform(0.25, 0.9) * (1 - strength + strength * wave))


def _cloth(rng: np.random.Generator, patterns: np.ndarray, loose_m: float) -> Cloth:
    first, second = _cloth_colour(rng), _cloth_colour(rng)
    return Cloth(
        _rgb(first), _rgb(second), str(rng.choice(PATTERNS, p=patterns)), float(np.exp(rng.uniform(-4.2, -2.3))),
        loose_m, float(rng.uniform(0.2, 1.0)), float(rng.uniform(0, 0.5) ** 2),
    )  # fmt: skip


def sample_appearance(rng: np.random.Generator) -> Appearance:
    """A person at random: the whole range of skin, hair of all lengths, everyday and sports clothes."""
    tone = rng.uniform()
    skin = skin_of(tone) * rng.normal(1, 0.04, 3)
    dark_haired = rng.uniform() < 0.35 + 0.65 * min(1.0, 2.2 * tone)
    hair = linear(_HAIR[rng.integers(3) if dark_haired else rng.integers(3, len(_HAIR))]) * rng.uniform(0.7, 1.3)
    style = str(rng.choice(HAIR_STYLES, p=(0.05, 0.12, 0.28, 0.19, 0.1, 0.1, 0.16)))
    hair_m = {"bald": 0.001, "buzz": 0.004, "short": rng.uniform(0.009, 0.018), "full": rng.uniform(0.02, 0.045)}.get(
        style, rng.uniform(0.008, 0.02)
    )
    beard = 0.0 if style in ("bun", "ponytail", "long") or rng.uniform() < 0.55 else rng.uniform(0.15, 1.0)
    lips = skin * np.array([0.86, 0.6, 0.6])
    if beard == 0 and rng.uniform() < 0.3:
        lips = lips * 0.4 + linear(np.array([0.7, 0.15, 0.2])) * rng.uniform(0.4, 0.8)
    iris = linear(_IRIS[rng.integers(2) if dark_haired else rng.integers(len(_IRIS))]) * rng.uniform(0.8, 1.3)
    sleeve = (rng.uniform(0.35, 0.95), rng.uniform(1.8, 2.05), rng.uniform(1.0, 1.8), -0.05)[
        rng.choice(4, p=(0.5, 0.26, 0.08, 0.16))
    ]
    leg = (2.05, rng.uniform(0.45, 1.15), rng.uniform(1.4, 1.9))[rng.choice(3, p=(0.6, 0.3, 0.1))]
    tight = rng.uniform() < 0.35
    shirt = _cloth(
        rng,
        np.array([0.36, 0.13, 0.04, 0.08, 0.12, 0.07, 0.1, 0.1]),
        float(rng.uniform(0.002, 0.006) if tight else rng.uniform(0.008, 0.03)),
    )
    trousers = _cloth(
        rng,
        np.array([0.6, 0.02, 0.02, 0.05, 0.25, 0.06, 0.0, 0.0]),
        float(rng.uniform(0.002, 0.005) if rng.uniform() < 0.35 else rng.uniform(0.007, 0.032)),
    )
    barefoot = rng.uniform() < 0.14
    socks = rng.uniform() < 0.7
    sole = linear(np.full(3, rng.choice((0.08, 0.3, 0.85)))) * rng.uniform(0.8, 1.1)
    return Appearance(
        skin=_rgb(skin),
        redness=float(rng.uniform(0.1, 0.8)),
        blemish=float(rng.uniform(0, 1) ** 2),
        oil=float(rng.uniform(0.1, 0.9)),
        lips=_rgb(lips),
        iris=_rgb(iris),
        hair=_rgb(hair),
        hair_style=style,
        hair_m=float(hair_m),
        hair_hangs_m=float(rng.uniform(0.08, 0.35)),
        brow=float(rng.uniform(0.4, 1.0)),
        beard=float(beard),
        shirt=shirt,
        sleeve=float(sleeve),
        neckline=str(rng.choice(NECKLINES, p=(0.55, 0.2, 0.15, 0.1))),
        hem_m=float(rng.uniform(-0.03, 0.12)),
        trousers=trousers,
        leg=float(leg),
        shoes=_rgb(_cloth_colour(rng)),
        sole=_rgb(sole),
        shoe_m=-1.0 if barefoot else float(rng.choice((-0.025, 0.0, 0.07)) + rng.uniform(-0.01, 0.02)),
        sock=_rgb(linear(np.full(3, rng.choice((0.12, 0.9, 0.5)))) * rng.uniform(0.8, 1.05)),
        sock_m=float(rng.uniform(0.01, 0.14)) if socks and not barefoot else -1.0,
        nails=_rgb(_cloth_colour(rng)),
        nail_paint=float(beard == 0 and rng.uniform() < 0.2),
        seed=int(rng.integers(2**31)),
    )
