"""Key poses of people on their feet: standing, balancing on one leg, lunging, kicking, squatting, bending, jumping."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .variety_keys import Key
from .variety_limbs import rest, rx, ry, rz, set_leg, set_trunk
from .variety_rig import Rig
from .variety_upper import STYLES, between, draw_arms, draw_head, draw_trunk, spread


@dataclass(slots=True)
class Stage:
    """Where somebody stands, and the draws of one clip."""

    rng: np.random.Generator
    rig: Rig
    x_m: float = 0.0
    z_m: float = 0.0
    heading_deg: float = 0.0
    seat: tuple[np.ndarray, np.ndarray] | None = None
    """Place of the pelvis on the chair and of the feet before it, once there is a chair."""

    def feet(
        self, width_m: float = 0.26, ahead_m: float = 0.0, toes_out_deg: float | tuple[float, float] = 0.0
    ) -> np.ndarray:
        """(2, 4) both feet: so far apart, the left so far ahead of the right, toes turned out from their rest."""
        out = np.deg2rad(np.broadcast_to(toes_out_deg, 2))
        local = np.array([[width_m / 2, ahead_m / 2], [-width_m / 2, -ahead_m / 2]])
        turn = ry(self.heading_deg)[np.ix_([0, 2], [0, 2])]
        place = local @ turn.T + [self.x_m, self.z_m]
        heading = np.deg2rad(self.heading_deg)
        return np.column_stack([place, [heading + out[0], heading - out[1]], [0.0, 0.0]])

    def root(self, forward_deg: float = 0.0, side_deg: float = 0.0, turn_deg: float = 0.0) -> np.ndarray:
        """(3, 3) pelvis tilted forward and with its left side up, turned from the heading."""
        return ry(self.heading_deg + turn_deg) @ rz(side_deg) @ rx(forward_deg)

    def usual_feet(self) -> np.ndarray:
        """Feet of somebody who just stands."""
        rng = self.rng
        return self.feet(
            between(rng, 0.13, 0.42), spread(rng, 0.07, 0.22), (between(rng, -8, 22), between(rng, -8, 22))
        )


def upright(stage: Stage, styles: dict[str, float] | None = None, wide: float = 1.0) -> Key:
    """Standing on both feet with the arms anywhere."""
    rng, R = stage.rng, rest()
    R[0] = stage.root(spread(rng, 5 * wide, 20), spread(rng, 3 * wide, 10), spread(rng, 8 * wide, 25))
    draw_trunk(rng, R, wide)
    draw_head(rng, R, wide)
    draw_arms(rng, stage.rig, R, styles)
    return Key(
        R,
        move_s=between(rng, 0.45, 1.1),
        hold_s=float(rng.exponential(0.35)),
        feet=stage.usual_feet(),
        stretch=0.997 - 0.04 * rng.beta(1, 2),
        support=between(rng, 0.3, 0.7),
    )


def step_to(stage: Stage, key: Key, feet: np.ndarray, first: int) -> list[Key]:
    """Keys that bring the feet of ``key`` one after the other to new places, with the rest of the pose as it is."""
    keys = []
    now = key.feet.copy()
    for s in (first, 1 - first):
        now = now.copy()
        now[s] = feet[s]
        R = key.R.copy()
        R[0] = stage.root(3.0)
        keys.append(replace(
            key, R=R, feet=now, planted=(True, True), move_s=between(stage.rng, 0.45, 0.65), hold_s=0.0, flow=0.3,
            support=0.5, stretch=0.965, pelvis_m=None, lift_m=between(stage.rng, 0.05, 0.1)))  # fmt: skip
    return keys


def move_on(stage: Stage, key: Key) -> list[Key]:
    """Now and then: a pair of steps to another place and heading nearby."""
    rng = stage.rng
    if rng.random() > 0.35:
        return []
    turn = spread(rng, 35, 70)
    way = ry(stage.heading_deg) @ np.array([spread(rng, 0.15, 0.35), 0, spread(rng, 0.2, 0.45)])
    stage.x_m += way[0]
    stage.z_m += way[2]
    stage.heading_deg += turn
    # the foot on the side of the turn goes first, or the legs would cross
    return step_to(stage, key, stage.usual_feet(), 0 if turn + 60 * way[0] > 0 else 1)


def stand(stage: Stage) -> list[Key]:
    """Standing with arms anywhere."""
    first = upright(stage)
    keys = [first]
    for _ in range(int(stage.rng.integers(3, 7))):
        keys.append(replace(upright(stage), feet=first.feet, flow=between(stage.rng, 0, 0.3)))
    return keys + move_on(stage, keys[-1])


def one_leg(stage: Stage) -> list[Key]:
    """A balance on one leg with wide arm swings and leans."""
    rng = stage.rng
    s = int(rng.integers(2))
    free = 1 - s
    calm = {"level": 3.0, "free": 3.0, "hang": 1.0, "hips": 1.0, "overhead": 2.0, "chest": 1.0, "point": 1.0}
    start = upright(stage, calm, 0.7)
    shifted = replace(start, R=start.R.copy(), support=0.93 if s else 0.07, move_s=between(rng, 0.5, 0.8), hold_s=0.0)
    keys = [start, shifted]
    style = _FREE_LEG[int(rng.integers(len(_FREE_LEG)))]
    for _ in range(int(rng.integers(2, 6))):
        R = rest()
        if rng.random() < 0.25:
            style = _FREE_LEG[int(rng.integers(len(_FREE_LEG)))]
        forward, side, turn, trunk = style(rng, R, free)
        sign = 1.0 if free == 0 else -1.0
        R[0] = stage.root(forward, sign * side, turn * sign)
        set_trunk(R, trunk + spread(rng, 8, 20), sign * spread(rng, 9, 25), spread(rng, 12, 38))
        draw_head(rng, R)
        draw_arms(rng, stage.rig, R, calm if rng.random() < 0.7 else None)
        keys.append(Key(
            R, between(rng, 0.4, 1.2), float(rng.exponential(0.4)), (s == 0, s == 1), start.feet,
            between(rng, 0.94, 0.995), off_m=rng.normal(0, 0.015, 2), flow=between(rng, 0, 0.35)))  # fmt: skip
    return [*keys, replace(upright(stage, calm, 0.7), feet=start.feet, support=0.8 if s else 0.2, move_s=0.8)]


Leans = tuple[float, float, float, float]
"""Pelvis forward, free side up, turned to the free side; spine forward. Degrees."""


def _tree(rng: np.random.Generator, R: np.ndarray, side: int) -> Leans:
    set_leg(R, side, between(rng, 35, 65), between(rng, 45, 65), between(rng, 25, 45), between(rng, 105, 140), 10)
    return spread(rng, 4, 10), between(rng, 0, 8), 0.0, 2.0


def _plane(rng: np.random.Generator, R: np.ndarray, side: int) -> Leans:
    lean = between(rng, 30, 88)
    set_leg(R, side, between(rng, -22, 12), between(rng, 0, 12), spread(rng, 10, 25), rng.beta(1, 3) * 50, 30)
    return lean, spread(rng, 8, 20), spread(rng, 10, 25), -between(rng, 0, 25)


def _knee_up(rng: np.random.Generator, R: np.ndarray, side: int) -> Leans:
    set_leg(
        R,
        side,
        between(rng, 55, 122),
        spread(rng, 12, 30),
        spread(rng, 12, 30),
        between(rng, 50, 140),
        spread(rng, 18, 35),
    )
    return spread(rng, 8, 18), between(rng, -3, 10), spread(rng, 12, 25), spread(rng, 10, 20)


def _stork(rng: np.random.Generator, R: np.ndarray, side: int) -> Leans:
    set_leg(R, side, between(rng, -15, 25), between(rng, -3, 20), spread(rng, 12, 28), between(rng, 60, 138), 25)
    return between(rng, -5, 30), spread(rng, 5, 12), spread(rng, 10, 20), spread(rng, 10, 20)


def _side(rng: np.random.Generator, R: np.ndarray, side: int) -> Leans:
    up = between(rng, 15, 45)
    set_leg(R, side, spread(rng, 10, 25), between(rng, 18, 58), between(rng, -10, 35), rng.beta(1, 4) * 60, 15)
    return spread(rng, 6, 15), up * 0.8, 0.0, 0.0


def _front(rng: np.random.Generator, R: np.ndarray, side: int) -> Leans:
    set_leg(
        R,
        side,
        between(rng, 25, 95),
        between(rng, -5, 25),
        spread(rng, 12, 30),
        rng.beta(1, 4) * 70,
        spread(rng, 20, 35),
    )
    return between(rng, -22, 12), between(rng, 0, 8), spread(rng, 10, 20), between(rng, -10, 15)


def _behind(rng: np.random.Generator, R: np.ndarray, side: int) -> Leans:
    set_leg(R, side, -between(rng, 5, 28), between(rng, 0, 22), spread(rng, 12, 30), rng.beta(1, 2) * 100, 30)
    return between(rng, 5, 45), between(rng, 0, 12), spread(rng, 12, 30), spread(rng, 12, 25)


_FREE_LEG: tuple[Callable[[np.random.Generator, np.ndarray, int], Leans], ...] = (
    _tree, _plane, _plane, _knee_up, _stork, _side, _side, _front, _behind,
)  # fmt: skip


def lunge(stage: Stage) -> list[Key]:
    """Deep lunges ahead, aside, back and between, each foot."""
    rng = stage.rng
    start = upright(stage, wide=0.7)
    keys = [start]
    for _ in range(int(rng.integers(1, 3))):
        s = int(rng.integers(2))
        sign = 1.0 if s == 0 else -1.0
        towards = between(rng, -25, 200)  # 0 ahead, 90 to the side of the foot, 180 back
        far = between(rng, 0.55, 0.95)
        way = ry(stage.heading_deg) @ ry(sign * towards) @ np.array([0, 0, far])
        feet = start.feet.copy()
        feet[s, :2] += way[[0, 2]]
        back = s if towards > 120 else 1 - s
        aside = 50 < towards < 130
        if aside:
            feet[s, 2] += sign * np.deg2rad(between(rng, 5, 40))
        else:
            feet[back, 3] = np.deg2rad(between(rng, 15, 52))
        for n in range(int(rng.integers(1, 4))):
            R = rest()
            lean = between(rng, -8, 35) if not aside else between(rng, 5, 45)
            R[0] = stage.root(lean, spread(rng, 4, 10), sign * min(towards, 90) * 0.2 + spread(rng, 8, 20))
            draw_trunk(rng, R, 1.4)
            draw_head(rng, R)
            draw_arms(rng, stage.rig, R)
            front = (1 - back) if not aside else s
            weight = between(rng, 0.45, 0.85)
            keys.append(Key(
                R, between(rng, 0.6, 1.0), float(rng.exponential(0.35)), (True, True), feet,
                between(rng, 0.78, 0.97), weight if front == 1 else 1 - weight, knees_out_deg=between(rng, 0, 15),
                lift_m=between(rng, 0.06, 0.16) if n == 0 else 0.0, flow=between(rng, 0, 0.2)))  # fmt: skip
        keys.append(replace(upright(stage, wide=0.7), feet=start.feet, move_s=between(rng, 0.6, 1.0), lift_m=0.08))
    return keys


def kick(stage: Stage) -> list[Key]:
    """Kicks ahead, aside and back."""
    rng = stage.rng
    fists = {"bent": 4.0, "chest": 2.0, "free": 1.5, "level": 1.0, "face": 1.0}
    start = replace(upright(stage, fists, 0.8), stretch=between(rng, 0.9, 0.97))
    keys = [start]
    for _ in range(int(rng.integers(1, 4))):
        s = int(rng.integers(2))
        free, sign = 1 - s, (1.0 if s == 1 else -1.0)
        kind = int(rng.integers(3))
        keys.append(replace(start, support=0.9 if s else 0.1, move_s=between(rng, 0.3, 0.5), hold_s=0.0))
        for out in (False, True, False):
            R = rest()
            high = between(rng, 30, 105)
            if kind == 0:
                set_leg(R, free, high if out else between(rng, 60, 105), spread(rng, 6, 15), spread(rng, 8, 20),
                        between(rng, 0, 20) if out else between(rng, 80, 125), 10)  # fmt: skip
                lean = (-high * 0.25 if out else -4.0, 4.0, sign * -8.0)
            elif kind == 1:
                up, aside, bent = (
                    (between(rng, 5, 40), between(rng, 30, 62), between(rng, 0, 20)) if out else (60, 35, 110)
                )
                set_leg(R, free, up, aside, between(rng, -20, 25), bent, -5)
                lean = (spread(rng, 8, 15), sign * (between(rng, 20, 50) if out else 10.0), -sign * 25.0)
            else:
                set_leg(R, free, -between(rng, 5, 25) if out else 70, between(rng, 0, 20), spread(rng, 8, 20),
                        between(rng, 0, 25) if out else 110, 5)  # fmt: skip
                lean = (between(rng, 25, 70) if out else 10.0, 0.0, spread(rng, 10, 20))
            R[0] = stage.root(*lean)
            draw_trunk(rng, R, 1.2)
            draw_head(rng, R, 0.7)
            draw_arms(rng, stage.rig, R, fists)
            quick = between(rng, 0.16, 0.35) if out else between(rng, 0.25, 0.45)
            keys.append(Key(R, quick, between(rng, 0, 0.15) if out else 0.0, (s == 0, s == 1), start.feet,
                            between(rng, 0.93, 0.98), flow=0.3))  # fmt: skip
        keys.append(replace(upright(stage, fists, 0.8), feet=start.feet, move_s=between(rng, 0.45, 0.7)))
    return keys + move_on(stage, keys[-1])


def squat(stage: Stage) -> list[Key]:
    """Squats from shallow to deep."""
    rng = stage.rng
    out = between(rng, 0, 35)
    feet = stage.feet(between(rng, 0.2, 0.6), spread(rng, 0.04, 0.1), out)
    keys = [replace(upright(stage), feet=feet)]
    for n in range(int(rng.integers(2, 6))):
        if n % 2 and rng.random() < 0.6:
            keys.append(replace(upright(stage), feet=feet, move_s=between(rng, 0.5, 1.1)))
            continue
        R, depth = rest(), between(rng, 0.42, 0.9)
        low = (0.9 - depth) / 0.48
        R[0] = stage.root(between(rng, 5, 15) + low * between(rng, 5, 35), spread(rng, 4, 12), spread(rng, 6, 18))
        set_trunk(R, 8 + low * between(rng, -5, 30), spread(rng, 6, 20), spread(rng, 10, 30))
        draw_head(rng, R)
        draw_arms(rng, stage.rig, R)
        keys.append(Key(
            R, between(rng, 0.5, 1.2), float(rng.exponential(0.4)), feet=feet, stretch=depth,
            support=between(rng, 0.3, 0.7), knees_out_deg=out * 0.6 + between(rng, 0, 15)))  # fmt: skip
    return [*keys, replace(upright(stage), feet=feet, move_s=0.9)]


def bend(stage: Stage) -> list[Key]:
    """Bends and twists of the trunk in all directions."""
    rng = stage.rng
    feet = stage.feet(between(rng, 0.2, 0.7), spread(rng, 0.06, 0.2), between(rng, -5, 25))
    keys = [replace(upright(stage), feet=feet)]
    for _ in range(int(rng.integers(3, 7))):
        R = rest()
        forward = rng.beta(1, 1.3) * 85 if rng.random() < 0.7 else -between(rng, 0, 15)
        R[0] = stage.root(forward, spread(rng, 8, 20), spread(rng, 18, 40))
        set_trunk(R, spread(rng, 18, 32) + forward * 0.35, spread(rng, 18, 36), spread(rng, 24, 48))
        draw_head(rng, R, 1.2)
        draw_arms(rng, stage.rig, R)
        keys.append(Key(
            R, between(rng, 0.5, 1.2), float(rng.exponential(0.35)), feet=feet, stretch=between(rng, 0.88, 0.985),
            support=between(rng, 0.15, 0.85), flow=between(rng, 0, 0.3)))  # fmt: skip
    return keys


def jump(stage: Stage) -> list[Key]:
    """Star jumps and jumps with flight, up and to other places."""
    rng = stage.rng
    star = rng.random() < 0.4
    keys = [upright(stage, {"hang": 3.0, "free": 1.0, "bent": 1.0}, 0.5)]
    wide = 0.0
    for _ in range(int(rng.integers(2, 5))):
        before = keys[-1].feet.copy()
        before[:, 3] = 0.0
        wide = (0.0 if wide else between(rng, 0.4, 0.75)) if star else between(rng, 0, 0.3)
        high = between(rng, 0.04, 0.14) if star else between(rng, 0.06, 0.42)
        if not star:
            way = ry(stage.heading_deg) @ np.array([spread(rng, 0.15, 0.4), 0, spread(rng, 0.25, 0.6)])
            stage.x_m, stage.z_m = stage.x_m + way[0], stage.z_m + way[2]
            stage.heading_deg += spread(rng, 25, 80)
        after = stage.feet(0.2 + wide, 0.0, between(rng, 0, 15))
        half = float(np.sqrt(2 * high / 9.81))
        arms = STYLES if not star else {"overhead": 3.0, "level": 1.0} if wide else {"hang": 3.0, "level": 1.0}
        crouch = replace(keys[-1], R=keys[-1].R.copy(), planted=(True, True), feet=before, hold_s=0.0, support=0.5,
                         stretch=0.9 if star else between(rng, 0.7, 0.88), move_s=between(rng, 0.3, 0.5))  # fmt: skip
        crouch.R[0] = crouch.R[0] @ rx(12.0 if not star else 4.0)
        draw_arms(rng, stage.rig, crouch.R, {"back": 2.0, "hang": 1.0} if not star else {"hang": 1.0, "free": 1.0})
        up = before.copy()
        up[:, 3] = np.deg2rad(45)
        off = replace(crouch, R=keys[-1].R.copy(), feet=up, stretch=0.985, move_s=between(rng, 0.22, 0.32))
        draw_arms(rng, stage.rig, off.R, arms)
        air = rest()
        air[0] = stage.root(spread(rng, 8, 20), spread(rng, 5, 15))
        tuck = 0.0 if star else rng.beta(1, 1.5) * min(1.0, high / 0.35)
        for s in (0, 1):
            set_leg(air, s, 5 + tuck * between(rng, 40, 100), 3 + wide * 30 + between(rng, 0, 25) * (not star), 5,
                    10 + tuck * between(rng, 40, 110), 30)  # fmt: skip
        draw_trunk(rng, air)
        draw_head(rng, air, 0.6)
        draw_arms(rng, stage.rig, air, arms)
        top = Key(air, half, 0.0, (False, False), after, flight=True)
        landing = after.copy()
        landing[:, 3] = np.deg2rad(25)
        low = upright(stage, arms, 0.6)
        land = replace(low, feet=landing, stretch=0.95, move_s=half, hold_s=0.0, flight=True, support=0.5)
        soft = replace(low, R=low.R.copy(), feet=after, stretch=between(rng, 0.75, 0.9), hold_s=0.0, support=0.5)
        soft.move_s = between(rng, 0.15, 0.25)
        soft.R[0] = soft.R[0] @ rx(15.0)
        stood = replace(
            upright(stage, None if not star else arms, 0.6), feet=after, move_s=between(rng, 0.35, 0.6), hold_s=0.05
        )
        keys += [crouch, off, top, land, soft] + ([stood] if not star or rng.random() < 0.3 else [])
    return keys
