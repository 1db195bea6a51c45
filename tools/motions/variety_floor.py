"""Key poses of people who sit on chairs, and of people on the floor: sitting, kneeling, crawling, lying, getting up."""

from dataclasses import replace

import numpy as np

from .variety_keys import Key
from .variety_limbs import rest, rx, ry, rz, set_arm, set_head, set_leg, set_trunk
from .variety_rig import ANKLE, HIP, KNEE, TOE, WRIST, Rig, place, skin_m, soles_m
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


def _level(rig: Rig, R: np.ndarray, one: np.ndarray, other: np.ndarray) -> None:
    """Tip the whole body forward or back until the lowest skin of the joints ``one`` is as low as that of ``other``; in
    place."""
    frames = [(0.0, _height(rig, R, one, other))]
    tip = 4.0
    for _ in range(8):
        turned = R.copy()
        turned[0] = _tipped(R[0], tip)
        frames.append((tip, _height(rig, turned, one, other)))
        (a, ya), (b, yb) = frames[-2:]
        if abs(yb) < 1e-3 or abs(yb - ya) < 1e-9:
            break
        tip = float(np.clip(b - yb * (b - a) / (yb - ya), -50, 50))
    R[0] = _tipped(R[0], frames[-1][0])


def _tipped(R_root: np.ndarray, deg: float) -> np.ndarray:
    """Turned forward about the body's own level left axis."""
    left = R_root[:, 0] * [1.0, 0.0, 1.0]
    heading = np.rad2deg(np.arctan2(-left[2], left[0]))
    return ry(heading) @ rx(deg) @ ry(-heading) @ R_root


def _height(rig: Rig, R: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    R_world, joints = place(rig, R, np.zeros(3))
    points = np.concatenate([skin_m(rig, R_world, joints), soles_m(rig, R_world, joints).reshape(8, 3)])
    joint = np.concatenate([rig.skin_joint, rig.sole_joint])
    lows = [points[np.isin(joint, list(group)), 1].min() for group in (one, other)]
    return float(lows[0] - lows[1])


def _key(stage: Stage, R: np.ndarray, slow: float = 1.0) -> Key:
    rng = stage.rng
    return Key(
        R, between(rng, 0.7, 1.4) * slow, float(rng.exponential(0.4)), (False, False), flow=between(rng, 0, 0.25)
    )


def floor_sit(stage: Stage) -> list[Key]:
    """Sitting on the floor: legs crossed, straight, spread, drawn up, to the side; with moving arms."""
    rng = stage.rng
    keys: list[Key] = []
    style, legs = int(rng.integers(5)), None
    for _ in range(int(rng.integers(3, 7))):
        R = rest()
        if rng.random() < 0.2:
            style, legs = int(rng.integers(5)), None
        R[0] = stage.root(between(rng, -28, 5), spread(rng, 3, 6), spread(rng, 6, 15))
        set_trunk(R, between(rng, 5, 50), spread(rng, 9, 25), spread(rng, 14, 38))
        draw_head(rng, R)
        draw_arms(rng, stage.rig, R)
        if legs is None or rng.random() < 0.3:
            _sitting_legs(rng, R, style)
        else:
            R[legs[0]] = legs[1]
        rows = np.concatenate([HIP, KNEE, ANKLE, TOE])
        legs = rows, R[rows].copy()
        keys.append(_key(stage, R))
    return keys


def _sitting_legs(rng: np.random.Generator, R: np.ndarray, style: int) -> None:
    turned = int(rng.integers(2))
    apart, bent = between(rng, 3, 40), rng.beta(1, 2) * 50
    for s in (0, 1):
        if style == 0:  # crossed
            set_leg(R, s, between(rng, 78, 92), between(rng, 42, 52), between(rng, 30, 45), between(rng, 112, 132), 15)
        elif style == 1:  # straight, spread
            set_leg(R, s, between(rng, 75, 92) + bent * 0.5, apart, between(rng, -5, 25), bent, 15)
        elif style == 2:  # drawn up
            set_leg(R, s, between(rng, 108, 125), between(rng, 0, 25), between(rng, -5, 15), between(rng, 95, 135), 15)
        elif style == 3:  # both legs folded to one side
            inside = s == turned
            set_leg(R, s, 85 if inside else 75, 48 if inside else -5, 42 if inside else -38, between(rng, 105, 130), 25)
        elif s == turned:  # one straight, one folded or drawn up
            set_leg(R, s, between(rng, 78, 90), between(rng, 5, 25), 5, between(rng, 0, 15), 10)
        else:
            set_leg(R, s, between(rng, 90, 118), between(rng, 5, 40), 25, between(rng, 100, 130), 15)


def kneel(stage: Stage) -> list[Key]:
    """Kneeling on one knee or two, upright, sitting on the heels, leaning."""
    rng = stage.rng
    keys: list[Key] = []
    side, tucked = int(rng.integers(2)), rng.random() < 0.4
    both = rng.random() < 0.5
    for _ in range(int(rng.integers(3, 7))):
        if rng.random() < 0.15:
            both = not both
        R = rest()
        lean, sat = between(rng, -8, 25), rng.beta(1, 1.5) * 52
        R[0] = stage.root(lean, 0.0, spread(rng, 8, 20))
        apart = between(rng, 0, 18)
        for s in (0, 1):
            if both or s == side:
                # thigh back by ``sat`` from the vertical, shank flat on the floor behind the knee
                thigh = -sat if both else between(rng, 0, 12)
                set_leg(R, s, lean - thigh, apart, 0, 88 - thigh, -25 if tucked else 52, 45 if tucked else -10)
            else:
                set_leg(R, s, 88 + lean, between(rng, 0, 20), 5, 88, 0)
        set_trunk(R, between(rng, -10, 35), spread(rng, 9, 25), spread(rng, 14, 38))
        draw_head(rng, R)
        draw_arms(rng, stage.rig, R)
        keys.append(_key(stage, R))
    return keys


def all_fours(stage: Stage) -> list[Key]:
    """On hands and knees, in place or crawling."""
    rng = stage.rng
    keys: list[Key] = []
    crawl = rng.random() < 0.6
    pace, phase = between(rng, 0.4, 0.7), int(rng.integers(2))
    for n in range(int(rng.integers(4, 10))):
        R = rest()
        R[0] = stage.root(between(rng, 78, 95), spread(rng, 3, 8), spread(rng, 5, 10))
        set_trunk(R, spread(rng, 12, 28), spread(rng, 7, 18), spread(rng, 8, 18))
        set_head(R, between(rng, -45, 20), spread(rng, 6, 20), spread(rng, 18, 45))
        reach = between(rng, 8, 22) if crawl else spread(rng, 8, 15)
        for s in (0, 1):
            way = reach * (1 if (s + n + phase) % 2 else -1)
            set_leg(
                R, s, 88 + (way if crawl else spread(rng, 6, 15)), between(rng, 0, 12), 0, between(rng, 82, 100), 48
            )
            set_arm(R, s, 88 - way, between(rng, 76, 92), spread(rng, 10, 25), between(rng, 3, 25), 0, (-68.0, 0.0))
        if not crawl and rng.random() < 0.4:
            _lift_one(rng, R)
        _level(stage.rig, R, WRIST, KNEE)
        key = _key(stage, R)
        if crawl:
            key.move_s, key.hold_s, key.flow = pace, 0.0, 0.3
        keys.append(key)
    return keys


def _lift_one(rng: np.random.Generator, R: np.ndarray) -> None:
    """Stretch an arm or a leg out from all fours."""
    s = int(rng.integers(2))
    if rng.random() < 0.5:
        set_arm(R, s, between(rng, 120, 170), between(rng, 40, 100), 0, between(rng, 0, 30))
    else:
        set_leg(R, s, between(rng, -10, 25), between(rng, 0, 25), 0, between(rng, 0, 60), 30)


def plank(stage: Stage) -> list[Key]:
    """Push-ups and planks, on hands or forearms."""
    rng = stage.rng
    keys: list[Key] = []
    wide, low = between(rng, 5, 40), rng.random() < 0.25
    for n in range(int(rng.integers(4, 9))):
        R = rest()
        R[0] = stage.root(between(rng, 65, 80), spread(rng, 3, 10), 0.0)
        set_trunk(R, spread(rng, 6, 14), 0.0, spread(rng, 3, 10))
        set_head(R, between(rng, -40, 5), 0.0, spread(rng, 12, 35))
        pike = between(rng, -6, 12) if rng.random() < 0.8 else between(rng, 20, 70)
        down = 0.0 if n % 2 == 0 or low else rng.beta(2, 1)
        for s in (0, 1):
            set_leg(R, s, pike, between(rng, 0, 8), 0, between(rng, 0, 8), -22, 48)
            if low:
                set_arm(R, s, 85, 88, 10, 92, 80)
            else:
                set_arm(
                    R, s, 85 - 50 * down, 92 - wide * 0.5 - 30 * down, -10, 8 + 100 * down, 0, (-68 + 30 * down, 0.0)
                )
        _level(stage.rig, R, WRIST, TOE)
        keys.append(_key(stage, R, 0.7))
    return keys


def lie(stage: Stage) -> list[Key]:
    """Lying on the back, the front and the side with limbs anywhere, and rolling over."""
    rng = stage.rng
    keys: list[Key] = []
    roll = float(rng.choice([0.0, 180.0, 90.0, -90.0]))
    for _ in range(int(rng.integers(3, 7))):
        if rng.random() < 0.3:
            roll += float(rng.choice([-90.0, 90.0]))
        R = rest()
        R[0] = ry(stage.heading_deg) @ rx(-90.0) @ ry(roll + spread(rng, 8, 20))
        prone, aside = abs(np.cos(np.deg2rad(roll / 2))) < 0.5, abs(np.sin(np.deg2rad(roll))) > 0.5
        set_trunk(R, between(rng, -20, 5) if prone else between(rng, -5, 30), spread(rng, 8, 22), spread(rng, 12, 30))
        set_head(R, between(rng, -40, 10) if prone else between(rng, -5, 35), spread(rng, 8, 20), spread(rng, 25, 65))
        draw_arms(rng, stage.rig, R)
        for s in (0, 1):
            flexion = between(rng, -10, 8) if prone else rng.beta(1, 1.3) * 115
            if prone:
                knee = rng.beta(0.7, 2) * 130
            else:
                knee = float(np.clip(flexion * between(rng, 0.2, 1.6), 0, 140))
            apart = between(rng, 0, 40) if not aside else between(rng, 0, 15)
            set_leg(R, s, flexion, apart, spread(rng, 12, 35), knee, between(rng, 0, 40))
        keys.append(_key(stage, R))
    return keys


def tumble(stage: Stage) -> list[Key]:
    """Every joint anywhere in its range, the body turned any way, resting on what is lowest."""
    rng = stage.rng
    keys = []
    R_root = rz(between(rng, -180, 180)) @ rx(between(rng, -180, 180))
    for _ in range(int(rng.integers(4, 9))):
        R = rest()
        R_root = R_root @ rx(spread(rng, 30, 70)) @ ry(spread(rng, 30, 70)) @ rz(spread(rng, 20, 50))
        R[0] = R_root
        anywhere(rng, stage.rig, R)
        keys.append(_key(stage, R))
    return keys


def anywhere(rng: np.random.Generator, rig: Rig, R: np.ndarray) -> None:
    """Trunk, head, arms and legs with wide marginals; in place."""
    set_trunk(R, between(rng, -25, 60), between(rng, -32, 32), between(rng, -42, 42))
    set_head(R, between(rng, -45, 48), between(rng, -30, 30), between(rng, -65, 65))
    draw_arms(rng, rig, R, {"free": 1.0})
    for s in (0, 1):
        flexion = between(rng, -20, 120)
        set_leg(
            R, s, flexion, between(rng, -15, 60), between(rng, -30, 45), between(rng, 0, 140), between(rng, -25, 50)
        )
