"""The light of a scene: one key light (sun, window or lamp) and what comes from the sky and the ground."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Light:
    """Linear-light colours; a white surface that faces a key of 1 shows 1."""

    towards: tuple[float, float, float]
    """Unit vector from the scene to the key light."""
    key: tuple[float, float, float]
    """Colour and strength of the key light, red green blue."""
    sky: tuple[float, float, float]
    """Ambient light from above."""
    ground: tuple[float, float, float]
    """Ambient light from below."""
    softness_m: float
    """Blur of shadows: half width of the penumbra."""
    fill: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """A second, shadowless light."""
    fill_towards: tuple[float, float, float] = (0.0, 1.0, 0.0)
    """Unit vector from the scene to the second light."""


def temperature_rgb(kelvin: float) -> np.ndarray:
    """(3,) linear RGB of a black body, green = 1, for a camera balanced to 6500 K (a smooth fit, good to some per
    cent between 2500 and 12000 K)."""
    t = np.log(kelvin / 6500.0)
    return np.exp(np.array([-0.75 * t - 0.12 * t * abs(t), 0.0, 0.85 * t - 0.55 * t * abs(t)]))


def _direction(azimuth: float, height: float) -> tuple[float, float, float]:
    c = np.cos(height)
    return (float(c * np.sin(azimuth)), float(np.sin(height)), float(c * np.cos(azimuth)))


def _tuple(v: np.ndarray) -> tuple[float, float, float]:
    return (float(v[0]), float(v[1]), float(v[2]))


def sample_light(rng: np.random.Generator, indoors: bool) -> Light:
    """A light at random: lamps and windows indoors; sun, haze and overcast outdoors. Any azimuth, so also from behind.

    Everything is scaled so that a grey person comes out near middle grey before the film's exposure."""
    azimuth = rng.uniform(-np.pi, np.pi)
    if indoors:
        height = np.radians(rng.uniform(25, 80))
        key = temperature_rgb(rng.uniform(2900, 6800)) * rng.uniform(0.25, 1.1)
        ambient = temperature_rgb(rng.uniform(3200, 7000)) * rng.uniform(0.3, 0.65)
        ground = ambient * rng.uniform(0.35, 0.75)
        softness = rng.uniform(0.02, 0.12)
    else:
        height = np.radians(rng.uniform(15, 75))
        clear = rng.uniform() < 0.6
        key = temperature_rgb(rng.uniform(4600, 6200)) * (rng.uniform(0.9, 1.6) if clear else rng.uniform(0.05, 0.4))
        ambient = temperature_rgb(rng.uniform(6500, 9500)) * (rng.uniform(0.25, 0.5) if clear else rng.uniform(0.6, 1))
        ground = ambient * rng.uniform(0.3, 0.6)
        softness = rng.uniform(0.006, 0.02) if clear else rng.uniform(0.05, 0.15)
    # Most of the colour cast goes in the camera's white balance.
    cast = 0.6 * key + 0.4 * ambient
    adapted = (cast / cast.mean()) ** -rng.uniform(0.5, 1.0)
    key, ambient, ground = key * adapted, ambient * adapted, ground * adapted
    side = azimuth + rng.uniform(1.5, 4.8)
    fill = temperature_rgb(rng.uniform(4000, 7500)) * adapted * rng.uniform(0, 0.35)
    return Light(
        _direction(azimuth, height), _tuple(key), _tuple(ambient), _tuple(ground), float(softness),
        _tuple(fill), _direction(side, np.radians(rng.uniform(5, 50))),
    )  # fmt: skip
