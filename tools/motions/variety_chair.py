"""Key poses of people who sit on chairs, sit down and stand up."""

from dataclasses import replace

import numpy as np

from .variety_keys import Key
from .variety_limbs import rest, ry, set_head, set_leg, set_trunk
from .variety_standing import Stage, upright
from .variety_upper import between, draw_arms, draw_head, spread

_SEAT_M = 0.115
"""Height of the joint of the pelvis over the seat of somebody who sits."""


def chair(stage: Stage) -> list[Key]:
    """Sitting on chairs of various heights with moving arms; often sitting down before or standing up after."""
    rng = stage.rng
    seat, feet = _seat(stage)
    sat: list[Key] = []
    for _ in range(int(rng.integers(3, 7))):
        R = rest()
        R[0] = stage.root(between(rng, -22, 15), spread(rng, 3, 8), spread(rng, 5, 12))
        set_trunk(R, between(rng, -5, 40), spread(rng, 9, 25), spread(rng, 14, 38))
        draw_head(rng, R)
        draw_arms(rng, stage.rig, R)
        free = rng.random() < 0.12 and sat and all(sat[-1].planted)
        s = int(rng.integers(2))
        if free:
            set_leg(R, s, between(rng, 70, 95), between(rng, -12, 10), spread(rng, 8, 20), between(rng, 5, 90), 10)
        planted = (not free or s != 0, not free or s != 1)
        sat.append(Key(
            R, between(rng, 0.5, 1.1), float(rng.exponential(0.5)), planted, feet, pelvis_m=seat,
            knees_out_deg=between(rng, -8, 12), flow=between(rng, 0, 0.25)))  # fmt: skip
    if not all(sat[-1].planted):
        sat.append(replace(sat[-1], planted=(True, True), R=sat[0].R.copy()))
    draw = rng.random()
    up = _rise(stage, feet, seat)
    return sat if draw < 0.4 else sat + up if draw < 0.7 else up[::-1] + sat


def rising(stage: Stage) -> list[Key]:
    """Standing up and sitting down, more than once."""
    rng = stage.rng
    seat, feet = _seat(stage)
    keys: list[Key] = []
    for _ in range(2):
        R = rest()
        R[0] = stage.root(between(rng, -15, 10))
        set_trunk(R, between(rng, 0, 30), spread(rng, 6, 15), spread(rng, 8, 20))
        draw_head(rng, R)
        draw_arms(rng, stage.rig, R)
        sat = Key(R, between(rng, 0.5, 0.8), float(rng.exponential(0.4)), feet=feet, pelvis_m=seat)
        keys += [sat, *_rise(stage, feet, seat), *_rise(stage, feet, seat)[1::-1]]
    return keys


def _seat(stage: Stage) -> tuple[np.ndarray, np.ndarray]:
    """The chair of this clip: place of the pelvis (3,) and feet (2, 4)."""
    if stage.seat is None:
        rng = stage.rng
        high = between(rng, 0.33, 0.56)
        feet = stage.feet(between(rng, 0.14, 0.5), spread(rng, 0.08, 0.25), between(rng, -5, 25))
        under = between(rng, -0.13, 0.12) if high > 0.42 else between(rng, 0.0, 0.25)
        back = ry(stage.heading_deg) @ np.array([0, 0, -(0.40 + under)])
        stage.seat = np.array([stage.x_m + back[0], high + _SEAT_M, stage.z_m + back[2]]), feet
    return stage.seat


def _rise(stage: Stage, feet: np.ndarray, seat_m: np.ndarray) -> list[Key]:
    """Lean forward on the seat, lift off, stand."""
    rng = stage.rng
    lean, off = rest(), rest()
    forward = between(rng, 28, 45)
    lean[0], off[0] = stage.root(forward), stage.root(forward + 5)
    for R in (lean, off):
        set_trunk(R, between(rng, 10, 25), 0.0, 0.0)
        set_head(R, -15.0, 0.0, 0.0)
    draw_arms(rng, stage.rig, lean, {"hang": 1.0, "point": 1.0, "bent": 1.0})
    draw_arms(rng, stage.rig, off, {"hang": 1.0, "point": 1.0, "bent": 1.0})
    return [
        Key(lean, between(rng, 0.5, 0.8), 0.0, feet=feet, pelvis_m=seat_m, flow=0.2),
        Key(off, between(rng, 0.35, 0.55), 0.0, feet=feet, stretch=0.72, flow=0.3),
        replace(upright(stage), feet=feet, move_s=between(rng, 0.6, 0.9)),
    ]
