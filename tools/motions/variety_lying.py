"""Key poses of people who lie, roll, tumble, and get down to the floor and up again."""

import numpy as np

from .variety_floor import floor_key, fours_key, kneel_key, plank_key, sit_key
from .variety_keys import Key
from .variety_limbs import rest, rx, ry, rz, set_head, set_leg, set_trunk
from .variety_rig import J, Rig, place, skin_m
from .variety_standing import Stage, upright
from .variety_upper import STYLES, between, draw_arms, spread

_DRAWS = 14
_OPEN = {"level": 1.0, "overhead": 1.0, "hang": 1.0, "chest": 0.5}
_TRUNK = tuple(J[name] for name in ("pelvis", "spine1", "spine2", "spine3", "left_hip", "right_hip"))


def lie_key(stage: Stage, roll_deg: float, head_towards_deg: float = 180.0) -> Key:
    """Lying: on the back (roll 0), the front (180) or a side (90 and -90), with the head towards a heading from that of
    the stage. Limbs are drawn until they do not carry the trunk."""
    rng, R = stage.rng, rest()
    R[0] = ry(stage.heading_deg + head_towards_deg + 180.0) @ rx(-90.0) @ ry(roll_deg + spread(rng, 6, 15))
    prone, aside = np.cos(np.deg2rad(roll_deg)) < -0.5, abs(np.sin(np.deg2rad(roll_deg))) > 0.5
    easy = {"overhead": 1.0, "hang": 1.0} if prone else {"point": 1.0, "overhead": 0.5} if aside else _OPEN
    best, chosen = np.inf, R
    for n in range(_DRAWS):
        ease = 1 - n / _DRAWS
        bend = between(rng, -20, 5) if prone else between(rng, -5, 30 * ease)
        set_trunk(R, bend, spread(rng, 8, 22) * ease, spread(rng, 12, 30) * ease)
        nod = between(rng, -40, 0) if prone else between(rng, -5, 35)
        set_head(R, nod, spread(rng, 8, 20), spread(rng, 25, 65))
        draw_arms(rng, stage.rig, R, STYLES if n < _DRAWS / 2 else easy)
        for s in (0, 1):
            flexion = between(rng, -6, 8) if prone else rng.beta(1, 1.3) * 115
            knee = rng.beta(0.7, 2) * 130 if prone else float(np.clip(flexion * between(rng, 0.2, 1.6), 0, 140))
            apart = between(rng, -8, 12) * ease if aside else between(rng, 0, 40)
            set_leg(R, s, flexion, apart, spread(rng, 12, 35) * ease, knee, between(rng, 0, 40))
        carried = _carried_m(stage.rig, R)
        if carried < best:
            best, chosen = carried, R.copy()
        if carried < (0.06 if aside else 0.035):
            break
    R = chosen
    return floor_key(stage, R)


def _carried_m(rig: Rig, R: np.ndarray) -> float:
    """How far the trunk is above what carries the body."""
    R_world, joints = place(rig, R, np.zeros(3))
    skin = skin_m(rig, R_world, joints)[:, 1]
    return float(skin[np.isin(rig.skin_joint, _TRUNK)].min() - skin.min())


def lie(stage: Stage) -> list[Key]:
    """Lying on the back, the front and the side with limbs anywhere, and rolling over."""
    rng = stage.rng
    keys: list[Key] = []
    roll = float(rng.choice([0.0, 0.0, 180.0, 90.0, -90.0]))
    for _ in range(int(rng.integers(3, 7))):
        if rng.random() < 0.3:
            roll += float(rng.choice([-90.0, 90.0]))
        keys.append(lie_key(stage, roll))
    return keys


def _stand_key(stage: Stage) -> Key:
    key = upright(stage, wide=0.6)
    key.feet = stage.feet(between(stage.rng, 0.16, 0.3))
    return key


def _squat_key(stage: Stage, stretch: float) -> Key:
    key = upright(stage, {"bent": 1.0, "point": 1.0, "hang": 1.0}, 0.5)
    key.feet, key.stretch, key.hold_s = stage.feet(0.28, 0.0, 12.0), stretch, 0.0
    key.R[0] = stage.root(between(stage.rng, 15, 35))
    return key


def down_and_up(stage: Stage) -> list[Key]:
    """From standing down to the floor by one knee or by a squat, on to sitting, lying or all fours, and up again."""
    rng = stage.rng
    side, tucked = int(rng.integers(2)), rng.random() < 0.5
    sat = between(rng, 40, 52)
    knees = [kneel_key(stage, False, side, tucked), kneel_key(stage, True, side, tucked, 8.0)]
    by_knees = [_squat_key(stage, 0.78), *knees]
    way = int(rng.integers(4))
    if way == 0:  # to the hands, flat on the front
        on = [*by_knees, fours_key(stage), plank_key(stage, 0.2), plank_key(stage, 0.9), lie_key(stage, 180.0, 0.0)]
        middle = [lie_key(stage, 180.0, 0.0)]
    elif way == 1:  # over the heels to a seat
        on = [*by_knees, kneel_key(stage, True, side, tucked, sat), sit_key(stage, "to the side")]
        middle = [sit_key(stage), sit_key(stage)]
    elif way == 2:  # by a deep squat to the seat and on to the back
        on = [_squat_key(stage, 0.5), sit_key(stage, "drawn up"), sit_key(stage, "straight")]
        middle = [lie_key(stage, 0.0), lie_key(stage, 0.0)]
    else:
        on, middle = by_knees, [kneel_key(stage, True, side, tucked), kneel_key(stage, True, side, tucked, sat)]
    for key in on[1:]:
        key.hold_s *= 0.3
    back = [_again(rng, key) for key in on[::-1]]
    return [_stand_key(stage), *on, *middle, *back, _stand_key(stage)]


def _again(rng: np.random.Generator, key: Key) -> Key:
    move_s, hold_s = key.move_s * between(rng, 0.9, 1.2), 0.5 * key.hold_s
    return Key(key.R.copy(), move_s, hold_s, key.planted, key.feet, key.stretch, flow=0.2)


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
        keys.append(floor_key(stage, R))
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
