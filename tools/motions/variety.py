"""Motion that recordings lack: generated poses within the limits of the joints, joined to smooth, grounded motion.

Recordings are mostly walks and waves. Here key poses are drawn from distributions of their own for each kind (balances
on one leg, lunges, kicks, squats, floor work, ...), standing people are balanced over feet that stay where they are,
and limbs go from key to key by minimum jerk (Flash and Hogan 1985) with delays of their own.

    clip = varied_motion(np.random.default_rng(1), 10.0, kind="one leg")
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ...models.body import BodyModel, load_body
from ...models.errors import UsageError
from ...models.rotations import matrix_to_axis_angle
from ...models.skeleton import NUM_BODY_JOINTS, NUM_JOINTS
from .mocap import Clip
from .stitch import mirrored
from .variety_chair import chair, rising
from .variety_floor import all_fours, floor_sit, kneel, plank
from .variety_frames import frames_of, times_of
from .variety_keys import Key, one_foot_at_a_time
from .variety_limbs import rest
from .variety_lying import anywhere, down_and_up, lie, tumble
from .variety_rig import rig_of
from .variety_standing import Stage, bend, jump, kick, lunge, one_leg, squat, stand, upright
from .variety_steps import dance, march, steps
from .variety_upper import between, spread


def _anywhere_on_feet(stage: Stage) -> list[Key]:
    """Every joint of trunk, head and arms anywhere in its range, and one leg too, on one foot or two."""
    rng = stage.rng
    feet = stage.feet(between(rng, 0.15, 0.75), spread(rng, 0.2, 0.5), (between(rng, -15, 35), between(rng, -15, 35)))
    keys = [replace(upright(stage), feet=feet)]
    for _ in range(int(rng.integers(4, 9))):
        R = rest()
        anywhere(rng, stage.rig, R)
        R[0] = stage.root(between(rng, -20, 70), between(rng, -18, 18), between(rng, -35, 35))
        planted = (True, True)
        if rng.random() < 0.5 and all(keys[-1].planted):
            s = int(rng.integers(2))
            planted = (s == 0, s == 1)
        elif not all(keys[-1].planted) and rng.random() < 0.6:
            planted = keys[-1].planted
        keys.append(Key(
            R, between(rng, 0.5, 1.1), float(rng.exponential(0.3)), planted, feet, between(rng, 0.55, 0.98),
            support=between(rng, 0.1, 0.9), knees_out_deg=between(rng, -5, 25), flow=between(rng, 0, 0.3)))  # fmt: skip
    return keys


_MAKERS: dict[str, tuple[Callable[[Stage], list[Key]], bool, float]] = {
    "standing": (stand, False, 1.2), "one leg": (one_leg, False, 2.0), "lunge": (lunge, False, 1.3),
    "kick": (kick, False, 1.0), "squat": (squat, False, 1.0), "bend": (bend, False, 1.2), "jump": (jump, False, 0.8),
    "steps": (steps, False, 0.8), "march": (march, False, 0.6), "dance": (dance, False, 1.3),
    "chair": (chair, False, 1.0), "sit to stand": (rising, False, 0.5), "floor sit": (floor_sit, True, 0.9),
    "kneel": (kneel, True, 0.8), "all fours": (all_fours, True, 0.6), "plank": (plank, True, 0.5),
    "lie": (lie, True, 0.9), "random on feet": (_anywhere_on_feet, False, 1.5), "tumble": (tumble, True, 0.8),
    "down and up": (down_and_up, True, 0.8),
}  # fmt: skip
"""Maker of key poses, whether the body rests on the floor with any part of it, weight."""

KINDS = {name: weight for name, (_, _, weight) in _MAKERS.items()}
"""Every kind of motion and how often it is drawn."""


def varied_motion(
    rng: np.random.Generator,
    seconds: float,
    fps: float = 30.0,
    body: BodyModel | None = None,
    kind: str | None = None,
) -> Clip:
    """A clip of generated motion on the mean shape of ``body`` (None: the built-in one), with straight fingers.

    ``kind`` is one of KINDS, or None to draw one. The floor is y = 0; the person starts near the origin with any
    heading. A pure function of ``rng``. Raises UsageError for an unknown kind.
    """
    if kind is not None and kind not in KINDS:
        raise UsageError(f"Expected a kind of motion out of {', '.join(KINDS)}, found {kind!r}. Give one of them.")
    kind = kind or str(rng.choice(list(KINDS), p=np.array(list(KINDS.values())) / sum(KINDS.values())))
    frames = max(1, round(seconds * fps))
    rig = rig_of(body or load_body())
    maker, on_floor, _ = _MAKERS[kind]
    stage = Stage(rng, rig, heading_deg=between(rng, -180, 180))
    keys = maker(stage)
    while times_of(keys).until_s < (frames + 1) / fps:
        keys += maker(stage)
    keys = one_foot_at_a_time(keys)
    R, pelvis = frames_of(rng, rig, keys, np.arange(frames + 1) / fps, on_floor)
    R, pelvis = R[:frames], pelvis[:frames]
    poses = np.zeros((frames, NUM_JOINTS, 3))
    poses[:, :NUM_BODY_JOINTS] = matrix_to_axis_angle(R)
    clip = Clip(
        f"variety_{kind.replace(' ', '_')}", "variety", "generated", kind, "train", fps, poses, pelvis - rig.rest_m[0]
    )
    return mirrored(clip) if rng.random() < 0.5 else clip
