"""Key poses of people who step, march, shuffle and dance."""

from dataclasses import replace

import numpy as np

from .variety_keys import Key
from .variety_limbs import rest, ry, set_leg
from .variety_standing import Stage, upright
from .variety_upper import between, draw_arms, draw_head, draw_trunk, spread


def steps(stage: Stage) -> list[Key]:
    """Stepping and shuffling in any direction, turning on the way."""
    rng = stage.rng
    first = upright(stage)
    keys = [first]
    towards, pace = between(rng, -180, 180), between(rng, 0.12, 0.5)
    turn, lasts = spread(rng, 12, 35), between(rng, 0.4, 0.75)
    low = between(rng, 0.86, 0.975)
    s = 0 if towards > 0 else 1
    for _ in range(int(rng.integers(4, 10))):
        way = ry(stage.heading_deg + towards) @ np.array([0, 0, pace])
        stage.x_m, stage.z_m = stage.x_m + way[0], stage.z_m + way[2]
        stage.heading_deg += turn
        feet = keys[-1].feet.copy()
        feet[s] = stage.feet(between(rng, 0.2, 0.34), 0.0, between(rng, -5, 15))[s]
        key = replace(upright(stage, wide=0.6), feet=feet, move_s=lasts, hold_s=0.0, stretch=low, support=0.5,
                      lift_m=between(rng, 0.05, 0.13), flow=0.4)  # fmt: skip
        if rng.random() < 0.5:  # the arms stay at what they do
            key.R[13:15], key.R[16:22] = keys[-1].R[13:15], keys[-1].R[16:22]
        keys.append(key)
        s = 1 - s
        if rng.random() < 0.12:
            towards = between(rng, -180, 180)
    keys[-1].hold_s = 0.2
    return keys


def march(stage: Stage) -> list[Key]:
    """High knees on the spot or slowly ahead."""
    rng = stage.rng
    swing = {"bent": 3.0, "free": 1.0, "hang": 1.0, "hips": 0.5, "overhead": 0.5}
    first = upright(stage, swing, 0.5)
    first.feet = stage.feet(between(rng, 0.18, 0.3))
    keys = [first]
    lasts, ahead, high = between(rng, 0.28, 0.5), between(rng, -0.05, 0.22), between(rng, 50, 112)
    s, turn = int(rng.integers(2)), spread(rng, 8, 20)
    for _ in range(int(rng.integers(4, 9))):
        feet = keys[-1].feet.copy()
        way = ry(stage.heading_deg) @ np.array([0, 0, ahead])
        stage.x_m, stage.z_m = stage.x_m + way[0], stage.z_m + way[2]
        stage.heading_deg += turn
        feet[1 - s] = stage.feet(0.22)[1 - s]
        R = rest()
        set_leg(R, 1 - s, high + spread(rng, 8, 15), spread(rng, 6, 15), spread(rng, 6, 15), between(rng, 60, 115), 15)
        R[0] = stage.root(spread(rng, 6, 12), between(rng, 0, 6) * (1 if s else -1), spread(rng, 8, 15))
        draw_trunk(rng, R, 0.7)
        draw_head(rng, R, 0.6)
        draw_arms(rng, stage.rig, R, swing)
        keys.append(Key(R, lasts, 0.0, (s == 0, s == 1), feet, between(rng, 0.95, 0.98), flow=0.3,
                        off_m=rng.normal(0, 0.02, 2)))  # fmt: skip
        keys.append(replace(upright(stage, swing, 0.5), feet=feet, move_s=lasts, hold_s=0.0, flow=0.3,
                            support=0.2 if s == 1 else 0.8))  # fmt: skip
        s = 1 - s
    return keys


def dance(stage: Stage) -> list[Key]:
    """Random poses in a chain that never rests, on one foot and on two, low and high."""
    rng = stage.rng
    keys = [upright(stage, wide=1.2)]
    beat = between(rng, 0.35, 0.7)
    for _ in range(int(rng.integers(6, 13))):
        last = keys[-1]
        R, feet, planted = rest(), last.feet.copy(), (True, True)
        draw = rng.random()
        support, stretch, lift = between(rng, 0.15, 0.85), between(rng, 0.8, 0.98), 0.07
        if not all(last.planted):
            support = 0.8 if last.planted[1] else 0.2
        elif draw < 0.45:
            s = int(last.support < 0.5)
            stage.x_m, stage.z_m = stage.x_m + spread(rng, 0.1, 0.25), stage.z_m + spread(rng, 0.1, 0.25)
            stage.heading_deg += spread(rng, 20, 45)
            feet[s] = stage.feet(between(rng, 0.2, 0.6), spread(rng, 0.12, 0.3), between(rng, -5, 30))[s]
            lift, support = between(rng, 0.05, 0.2), between(rng, 0.35, 0.65)
        elif draw < 0.7:
            s = int(last.support > 0.5)
            planted = (s == 0, s == 1)
            set_leg(R, 1 - s, between(rng, -20, 95), between(rng, 0, 50), spread(rng, 15, 35), between(rng, 5, 120), 20)
            stretch = between(rng, 0.9, 0.98)
        R[0] = stage.root(spread(rng, 14, 40), spread(rng, 9, 22), spread(rng, 22, 45))
        draw_trunk(rng, R, 1.7)
        draw_head(rng, R, 1.3)
        draw_arms(rng, stage.rig, R)
        keys.append(Key(
            R, beat * between(rng, 0.9, 1.1) * (1.4 if planted != last.planted else 1.0), 0.0, planted, feet, stretch,
            support, knees_out_deg=between(rng, 0, 20), lift_m=lift, flow=between(rng, 0.2, 0.45)))  # fmt: skip
    return keys
