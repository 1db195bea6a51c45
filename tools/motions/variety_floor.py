"""Key poses of people on the floor: sitting, kneeling, on all fours, in a plank.

Here a body rests on whatever part of it is lowest; a maker only sees to it that the right parts are.
"""

import numpy as np

from ...models.skeleton import JOINT_NAMES
from .variety_keys import Key
from .variety_limbs import rest, rx, ry, set_arm, set_head, set_leg, set_trunk
from .variety_rig import (
    ANKLE,
    HIP,
    KNEE,
    SIDES,
    TOE,
    WRIST,
    J,
    Rig,
    angles_of,
    place,
    rotations_of,
    skin_m,
    soles_m,
    within_limits,
)
from .variety_standing import Stage
from .variety_upper import between, draw_arms, draw_head, spread

_SEAT = (J["pelvis"], *HIP)
_SITS = ("crossed", "straight", "drawn up", "to the side", "one folded")


def floor_key(stage: Stage, R: np.ndarray, slow: float = 1.0) -> Key:
    """A key that rests on the floor."""
    rng = stage.rng
    move_s, hold_s = between(rng, 0.7, 1.4) * slow, float(rng.exponential(0.4))
    return Key(R, move_s, hold_s, (False, False), flow=between(rng, 0, 0.25))


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


def _settle_leg(rig: Rig, R: np.ndarray, side: int) -> None:
    """Flex the hip so far that the lowest part of the leg lies as low as the seat, and bend the knee less where the hip
    does not flex so far; in place."""
    flexions = np.linspace(-50.0, 50.0, 26)
    best, chosen = np.inf, R
    for straighter in (0.0, 20.0, 40.0, 60.0):
        tries = np.broadcast_to(R, (len(flexions), *R.shape)).copy()
        tries[:, HIP[side]] = rx(-flexions) @ R[HIP[side]]
        tries[:, KNEE[side]] = R[KNEE[side]] @ rx(-straighter)
        tries = rotations_of(tries[:, 0], within_limits(angles_of(tries)))
        R_world, joints = place(rig, tries, np.zeros((len(flexions), 3)))
        skin = skin_m(rig, R_world, joints)[..., 1]
        seat = skin[:, np.isin(rig.skin_joint, _SEAT)].min(1)
        leg = skin[:, np.isin(rig.skin_joint, [KNEE[side], ANKLE[side], TOE[side]])].min(1)
        leg = np.minimum(leg, soles_m(rig, R_world, joints)[:, side, :, 1].min(1))
        off = np.abs(leg - seat) + 0.0004 * np.abs(flexions)
        if off.min() < best:
            best, chosen = off.min(), tries[int(off.argmin())]
        if best < 0.04:
            break
    R[[HIP[side], KNEE[side]]] = chosen[[HIP[side], KNEE[side]]]


def _clear_arms(stage: Stage, R: np.ndarray) -> None:
    """Draw the arms anew until they do not lift the body off the floor; in place."""
    arms = [k for side in SIDES for k, name in enumerate(JOINT_NAMES) if name.startswith(side) and _of_arm(name)]
    on_arm = np.isin(stage.rig.skin_joint, arms)
    for _ in range(8):
        height = skin_m(stage.rig, *place(stage.rig, R, np.zeros(3)))[:, 1]
        if height[on_arm].min() > height[~on_arm].min() - 0.015:
            return
        draw_arms(stage.rng, stage.rig, R)
    draw_arms(stage.rng, stage.rig, R, {"chest": 1.0, "overhead": 1.0})


def _of_arm(name: str) -> bool:
    return not name.endswith(("hip", "knee", "ankle", "foot", "smplhf"))


def sit_key(stage: Stage, style: str | None = None) -> Key:
    """One way of sitting on the floor, legs as ``style`` says."""
    rng, R = stage.rng, rest()
    style = style or _SITS[int(rng.integers(len(_SITS)))]
    # who draws the knees up leans the pelvis back and rounds the spine
    back = between(rng, 18, 35) if style in ("drawn up", "one folded") else between(rng, -5, 25)
    R[0] = stage.root(-back, spread(rng, 3, 6), spread(rng, 6, 15))
    set_trunk(R, 0.8 * back + between(rng, -5, 30), spread(rng, 9, 25), spread(rng, 14, 38))
    draw_head(rng, R)
    draw_arms(rng, stage.rig, R)
    _sitting_legs(rng, R, style)
    for s in (0, 1):
        _settle_leg(stage.rig, R, s)
    _clear_arms(stage, R)
    return floor_key(stage, R)


def floor_sit(stage: Stage) -> list[Key]:
    """Sitting on the floor: legs crossed, straight, spread, drawn up, to the side; with moving arms."""
    rng = stage.rng
    style = _SITS[int(rng.integers(len(_SITS)))]
    keys = [sit_key(stage, style)]
    for _ in range(int(rng.integers(2, 6))):
        if rng.random() < 0.2:
            style = _SITS[int(rng.integers(len(_SITS)))]
        key = sit_key(stage, style)
        if rng.random() < 0.65:  # the seat and the legs stay, trunk and arms move
            keep = np.concatenate([[0], HIP, KNEE, ANKLE, TOE])
            key.R[keep] = keys[-1].R[keep]
        keys.append(key)
    return keys


def _sitting_legs(rng: np.random.Generator, R: np.ndarray, style: str) -> None:
    turned = int(rng.integers(2))
    apart, bent = between(rng, 3, 40), rng.beta(1, 2) * 50
    for s in (0, 1):
        if style == "crossed":
            set_leg(R, s, between(rng, 88, 100), between(rng, 38, 48), between(rng, 38, 52), between(rng, 108, 130), 15)
        elif style == "straight":
            set_leg(R, s, between(rng, 75, 92) + bent * 0.5, apart, between(rng, -5, 25), bent, 15)
        elif style == "drawn up":
            set_leg(R, s, between(rng, 108, 125), between(rng, 0, 25), between(rng, -5, 15), between(rng, 95, 135), 15)
        elif style == "to the side":
            inside = s == turned
            set_leg(R, s, 88 if inside else 80, 45 if inside else -2, 48 if inside else -40, between(rng, 105, 130), 25)
        elif s == turned:  # one straight, one folded or drawn up
            set_leg(R, s, between(rng, 78, 90), between(rng, 5, 25), 5, between(rng, 0, 15), 10)
        else:
            out = between(rng, 0, 50)
            set_leg(R, s, between(rng, 90, 118), out * 0.8, out, between(rng, 100, 130), 15)


def kneel_key(stage: Stage, both: bool, side: int, tucked: bool, sat_deg: float | None = None) -> Key:
    """Kneeling on both knees or on the knee of ``side``, with the toes tucked under or flat; sat_deg: how far the
    thighs lean back towards the heels."""
    rng, R = stage.rng, rest()
    lean, sat = between(rng, -8, 25), rng.beta(1, 1.5) * 52 if sat_deg is None else sat_deg
    R[0] = stage.root(lean, 0.0, spread(rng, 8, 20))
    apart = between(rng, 0, 18)
    back = between(rng, 0, 12)
    for s in (0, 1):
        if both or s == side:
            # thigh back by ``sat`` from the vertical, shank flat on the floor behind the knee
            thigh = -sat if both else back
            set_leg(R, s, lean - thigh, apart, 0, 88 - thigh, -25 if tucked else 52, 45 if tucked else -10)
        else:
            ahead = between(rng, 0, 14)
            set_leg(R, s, 88 + lean, between(rng, 0, 20), 5, 88 - ahead, ahead)
    set_trunk(R, between(rng, -10, 35), spread(rng, 9, 25), spread(rng, 14, 38))
    draw_head(rng, R)
    draw_arms(rng, stage.rig, R)
    _clear_arms(stage, R)
    return floor_key(stage, R)


def kneel(stage: Stage) -> list[Key]:
    """Kneeling on one knee or two, upright, sitting on the heels, leaning."""
    rng = stage.rng
    side, tucked, both = int(rng.integers(2)), rng.random() < 0.4, rng.random() < 0.5
    keys: list[Key] = []
    for _ in range(int(rng.integers(3, 7))):
        changed = rng.random() < 0.2
        both = both != changed
        key = kneel_key(stage, both, side, tucked)
        if keys and not changed and rng.random() < 0.5:
            keep = np.concatenate([[0], HIP, KNEE, ANKLE, TOE])
            key.R[keep] = keys[-1].R[keep]
        keys.append(key)
    return keys


def fours_key(stage: Stage, way_deg: float | None = None) -> Key:
    """On hands and knees; way_deg: how far left arm and right leg are ahead of the others in a crawl."""
    rng, R = stage.rng, rest()
    R[0] = stage.root(between(rng, 78, 95), spread(rng, 3, 8), spread(rng, 5, 10))
    set_trunk(R, spread(rng, 12, 28), spread(rng, 7, 18), spread(rng, 8, 18))
    set_head(R, between(rng, -45, 20), spread(rng, 6, 20), spread(rng, 18, 45))
    reach = spread(rng, 8, 15)
    for s in (0, 1):
        ahead = reach if way_deg is None else way_deg * (1 if s == 0 else -1)
        leg = spread(rng, 6, 15) if way_deg is None else -ahead
        set_leg(R, s, 88 + leg, between(rng, 0, 12), 0, between(rng, 82, 100), 48)
        set_arm(R, s, 88 + ahead, between(rng, 76, 92), spread(rng, 10, 25), between(rng, 3, 25), 0, (-68.0, 0.0))
    if way_deg is None and rng.random() < 0.3:
        _lift_one(rng, R)
    _level(stage.rig, R, WRIST, KNEE)
    return floor_key(stage, R)


def all_fours(stage: Stage) -> list[Key]:
    """On hands and knees, in place or crawling."""
    rng = stage.rng
    if rng.random() < 0.4:
        return [fours_key(stage) for _ in range(int(rng.integers(3, 7)))]
    keys: list[Key] = []
    pace, way = between(rng, 0.4, 0.7), between(rng, 8, 22) * float(rng.choice([-1.0, 1.0]))
    for _ in range(int(rng.integers(5, 11))):
        key = fours_key(stage, way)
        key.move_s, key.hold_s, key.flow = pace, 0.0, 0.3
        keys.append(key)
        way = -way
    return keys


def _lift_one(rng: np.random.Generator, R: np.ndarray) -> None:
    """Stretch an arm or a leg out from all fours."""
    s = int(rng.integers(2))
    if rng.random() < 0.5:
        set_arm(R, s, between(rng, 120, 170), between(rng, 40, 100), 0, between(rng, 0, 30))
    else:
        set_leg(R, s, between(rng, -10, 25), between(rng, 0, 25), 0, between(rng, 0, 60), 30)


def plank_key(stage: Stage, down: float, wide_deg: float = 15.0, on_elbows: bool = False, pike_deg: float = 0.0) -> Key:
    """A plank on hands or forearms; down: how far the arms are bent for a push-up, 0..1."""
    rng, R = stage.rng, rest()
    R[0] = stage.root(between(rng, 65, 80), spread(rng, 3, 10), 0.0)
    set_trunk(R, spread(rng, 6, 14), 0.0, spread(rng, 3, 10))
    set_head(R, between(rng, -40, 5), 0.0, spread(rng, 12, 35))
    for s in (0, 1):
        set_leg(R, s, pike_deg, between(rng, 0, 8), 0, between(rng, 0, 8), -22, 48)
        if on_elbows:
            set_arm(R, s, 85, 88, 10, 92, 80)
        else:
            bent = (-68 + 30 * down, 0.0)
            set_arm(R, s, 85 - 50 * down, 92 - wide_deg * 0.5 - 30 * down, -10, 8 + 100 * down, 0, bent)
    _level(stage.rig, R, WRIST, TOE)
    return floor_key(stage, R, 0.7)


def plank(stage: Stage) -> list[Key]:
    """Push-ups and planks, on hands or forearms."""
    rng = stage.rng
    wide, low = between(rng, 5, 40), rng.random() < 0.25
    keys: list[Key] = []
    for n in range(int(rng.integers(4, 9))):
        pike = between(rng, -6, 12) if rng.random() < 0.8 else between(rng, 20, 70)
        keys.append(plank_key(stage, 0.0 if n % 2 == 0 or low else float(rng.beta(2, 1)), wide, low, pike))
    return keys
