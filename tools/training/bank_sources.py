"""What goes into a motion bank: recorded clips, longer takes stitched from short ones, generated motion, and hands.

Recorded motion is read at the networks' rate and smoothed (which takes out what recording and few digits add, and
leaves what people do). Frames in which the person is away from the floor for a reason that neither contact nor flight
explains (climbing, stairs, furniture that nobody sees) are cut out. Clips that are shorter than :data:`SHORT_S` are
joined into takes, each with the one that fits best of a few drawn at random, mirrored or not, on a straight way or on a
curve; where nothing shorter is at hand a take simply ends.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...models.body import BodyModel
from ...models.errors import HmcapError
from ...models.markers import contact_rig, sole_rig
from ...models.rotations import axis_angle_to_quaternion
from ...models.skeleton import LEFT_HAND, NUM_BODY_JOINTS, RIGHT_HAND
from ..motions.contact import contact_labels
from ..motions.hand_motion import KeyPoses, hand_motion, plain_key_poses, read_key_poses
from ..motions.mocap import Clip, ClipEntry, read_clip, smoothed
from ..motions.stitch import BLEND_S, curved, heading_rad, join, mirrored, part_of
from .bank_files import mirror_quaternions

RATE_HZ = 30.0
SHORT_S = 6.0
"""Clips that are shorter become parts of longer takes."""
TAKE_S = 15.0
"""A stitched take ends with the clip that reaches this."""
CHOICES = 16
"""Of so many clips drawn at random the one that fits best comes next."""
CURVED_SHARE, CURVE_RAD_S = 0.5, 0.35
"""Share of the stitched takes that go on a curve, and the standard deviation of its rate."""
MOST_TIMES = 4
"""A short clip of a small source is used in up to so many takes."""
OFF_FLOOR_M, LONGEST_FLIGHT_S = 0.08, 0.9
"""The lowest point of the body is off the floor above the first; nobody flies for longer than the second."""
STILL_M_S, LONGEST_STILL_S = 0.15, 0.3
"""Nor does one fly whose lowest point rises and falls slower than the first for longer than the second."""
DEEPEST_M = 0.16
"""Soles that are deeper than this below the floor stand on another one."""
SHORTEST_S = 0.9
"""Pieces shorter than this are left out."""
_FLESH_M, _SUNK_M = 0.12, 0.07
"""How far the skin reaches below a joint that lies on the floor at most, and how far below it a joint may sink."""
_FEATURE_JOINTS = np.array([3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 18, 19, 20, 21])
TEST_KEY_POSE = 8
"""Every so manyth key pose of a hand file is kept for testing."""
HAND_TAKE_S = 30.0
_MOVES_RAD = 0.02
"""Recorded fingers whose angles spread less than this along a clip do not move: the recording had none."""


@dataclass(frozen=True, slots=True, eq=False)
class SteadyBody(BodyModel):
    """A body in double precision that is its own copy: what is looked up on it once is found again."""

    def astype(self, dtype: Any) -> BodyModel:
        """This body, or a copy in another precision."""
        return self if np.dtype(dtype) == np.float64 else BodyModel.astype(self, dtype)


def steady(body: BodyModel) -> BodyModel:
    """The body as a :class:`SteadyBody`."""
    double = body.astype(np.float64)
    arrays: dict[str, Any] = {f.name: getattr(double, f.name) for f in fields(double)}
    return SteadyBody(**arrays)


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Motion that is ready for the bank: n frames at RATE_HZ."""

    name: str
    kind: str
    """"recorded", "stitched" or "generated"."""
    clip: Clip
    source: tuple[str, ...]
    """(n,) source of each frame."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows of the bank's arrays that a piece becomes, and what is measured on it."""

    body: np.ndarray
    """(n, 22, 4) float16"""
    pelvis: np.ndarray
    """(n, 3) float32"""
    contact: np.ndarray
    """(n, 4) bool"""
    features: np.ndarray
    """(n, K) float32 pose features, metres: joints relative to the pelvis in the heading of the root, height first."""


@dataclass(frozen=True, slots=True, eq=False)
class HandTake:
    """(n, 15, 4) wxyz of a right hand."""

    quaternions: np.ndarray
    source: str
    kind: str


def on_the_floor(clip: Clip, body: BodyModel) -> np.ndarray:
    """(T,) bool: the person touches the floor, or flies for a moment.

    Looks at the lowest of the soles and of the joints with some flesh below them, so sitting, kneeling and lying on the
    floor count as touching.
    """
    posed = body.with_shape().with_pose(clip.poses, clip.trans_m)
    soles = sole_rig(body).in_world_m(posed)[..., 1].min(1)
    joints = posed.joints_m[:, :NUM_BODY_JOINTS, 1].min(1)
    lowest = np.minimum(soles, joints - _FLESH_M)
    off = lowest > OFF_FLOOR_M
    out = np.ones(clip.frames, bool)
    speed = np.abs(np.gradient(lowest)) * clip.fps if clip.frames > 1 else np.zeros(clip.frames)
    for begin, end in runs(off):
        # Who flies is slower than v for 2 v / g at the top: a thirtieth of a second here.
        still = int((speed[begin:end] < STILL_M_S).sum())
        if end - begin > LONGEST_FLIGHT_S * clip.fps or still > LONGEST_STILL_S * clip.fps:
            out[begin:end] = False
    return out & (soles > -DEEPEST_M) & (joints > -_SUNK_M)


def on_lowest_floor(clip: Clip, body: BodyModel) -> Clip:
    """The clip with y = 0 on the lowest of the floors that it stands on: who climbs stands mostly on the upper one, and
    that is where reading put the floor."""
    if clip.frames < 2:
        return clip
    soles = sole_rig(body).in_world_m(body.with_shape().with_pose(clip.poses, clip.trans_m))
    at = np.arange(clip.frames), soles[..., 1].argmin(1)
    still = np.linalg.norm(np.gradient(soles, axis=0), axis=-1)[at] * clip.fps < STILL_M_S
    lowest = float(np.percentile(soles[..., 1][at][still], 5)) if still.any() else 0.0
    return replace(clip, trans_m=clip.trans_m - [0.0, lowest, 0.0]) if lowest < -OFF_FLOOR_M else clip


def runs(row: np.ndarray) -> list[tuple[int, int]]:
    """First row of each run of True in (T,), and the one after its last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], row, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def recorded(entries: Sequence[ClipEntry], body: BodyModel, tell: Callable[[str], None]) -> list[Clip]:
    """The clips at RATE_HZ, smoothed, cut where the person leaves the floor. Raises HmcapError naming a file that is
    damaged or holds NaN."""
    out, cut, short = [], 0, 0
    for n, entry in enumerate(entries):
        clip = on_lowest_floor(smoothed(read_clip(entry, RATE_HZ, body)), body)
        good = on_the_floor(clip, body)
        cut += int((~good).sum())
        for begin, end in runs(good):
            if end - begin < SHORTEST_S * RATE_HZ:
                short += end - begin
            else:
                out.append(part_of(clip, begin, end))
        if (n + 1) % 500 == 0:
            tell(f"read {n + 1} of {len(entries)} clips")
    tell(
        f"read {len(entries)} clips: {sum(c.frames for c in out) / RATE_HZ / 3600:.2f} h on the floor; left out "
        f"{cut} frames off the floor and {short} frames of pieces under {SHORTEST_S:g} s"
    )
    return out


def pieces(clips: Sequence[Clip], body: BodyModel, rng: np.random.Generator) -> Iterator[Piece]:
    """The long ones of the clips as they are, and takes stitched from the short ones."""
    short = [c for c in clips if c.frames < SHORT_S * RATE_HZ]
    for c in clips:
        if c.frames >= SHORT_S * RATE_HZ:
            yield Piece(c.name, "recorded", c, (c.source,) * c.frames)
    yield from stitched(short, body, rng)


def stitched(clips: Sequence[Clip], body: BodyModel, rng: np.random.Generator) -> Iterator[Piece]:
    """Takes of TAKE_S put together from short clips; every clip is used at least once, those of small sources up to
    MOST_TIMES times, each time in other company."""
    blend = max(2, round(BLEND_S * RATE_HZ))
    clips = [c for c in clips if c.frames >= blend + 2]
    if not clips:
        return
    frames: dict[str, int] = {}
    for c in clips:
        frames[c.source] = frames.get(c.source, 0) + c.frames
    most = max(frames.values())
    times = [int(np.clip(round(np.sqrt(most / frames[c.source])), 1, MOST_TIMES)) for c in clips]
    left = rng.permutation(np.repeat(np.arange(len(clips)), times)).tolist()
    first, last = (np.stack([_pose_and_speed(c, body, end) for c in clips]) for end in (False, True))
    while left:
        at = left.pop()
        flip = rng.random() < 0.5
        out = mirrored(clips[at]) if flip else clips[at]
        source = [out.source] * out.frames
        while left and out.frames < TAKE_S * RATE_HZ:
            ways = [(int(k), bool(m)) for k in rng.choice(len(left), min(CHOICES, len(left)), False) for m in (0, 1)]
            end = last[at, int(flip)]
            cost = [np.linalg.norm(first[left[k], int(m)] - end) for k, m in ways]
            k, flip = ways[int(np.argmin(cost))]
            at = left.pop(k)
            following = mirrored(clips[at]) if flip else clips[at]
            out = join(out, following, body)
            begins = max(out.frames - following.frames + blend // 2, 1)
            source = [*source[:begins], *[following.source] * out.frames][: out.frames]
        if rng.random() < CURVED_SHARE:
            out = curved(out, float(rng.normal(0, CURVE_RAD_S)), body)
        yield Piece(f"take of {out.name[:60]}", "stitched", out, tuple(source))


def generated(
    make: Callable[[np.random.Generator], Clip], seconds: float, rng: np.random.Generator, body: BodyModel
) -> Iterator[Piece]:
    """At least so many seconds of made motion; ``make`` gives one clip of it. Frames off the floor are cut out."""
    made, n = 0.0, 0
    while made < seconds:
        clip = make(rng)
        for begin, end in runs(on_the_floor(clip, body)):
            if end - begin >= SHORT_S * RATE_HZ:
                part = part_of(clip, begin, end)
                yield Piece(f"{clip.name} {n}", "generated", part, (clip.action or clip.name,) * part.frames)
                made += part.seconds
        n += 1
        if n > 20 + 10 * seconds / SHORT_S:
            raise HmcapError(
                f"Expected generated motion of at least {SHORT_S:g} s on the floor, but {n} clips gave only "
                f"{made:.0f} of {seconds:.0f} s. Leave generated motion out with --hours 0."
            )


def rows_of(piece: Piece, body: BodyModel) -> Rows:
    """The arrays of a piece. Raises HmcapError naming it where a number is not finite."""
    clip = piece.clip
    if not (np.isfinite(clip.poses).all() and np.isfinite(clip.trans_m).all()):
        raise HmcapError(
            f"Expected finite motion for the bank, found NaN or infinity in {piece.kind} motion {piece.name}. "
            "Leave that clip out of the folder."
        )
    posed = body.with_shape().with_pose(clip.poses, clip.trans_m)
    joints = posed.joints_m
    yaw = heading_rad(clip.poses)
    local = joints[:, _FEATURE_JOINTS] - joints[:, :1]
    c, s = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    x, y, z = np.moveaxis(local, -1, 0)
    level = np.stack([c * x - s * z, y, s * x + c * z], axis=-1).reshape(clip.frames, -1)
    features = np.concatenate([joints[:, 0, 1:2], level], axis=1)
    contact = contact_labels(contact_rig(body).in_world_m(posed), clip.fps)
    body_q = continuous(axis_angle_to_quaternion(clip.poses[:, :NUM_BODY_JOINTS]))
    return Rows(body_q.astype(np.float16), joints[:, 0].astype(np.float32), contact, features.astype(np.float32))


def continuous(quaternions: np.ndarray) -> np.ndarray:
    """(T, ..., 4) with signs chosen so that each is near the one before it in time."""
    turned_over = np.sum(quaternions[1:] * quaternions[:-1], axis=-1) < 0
    sign = np.cumprod(np.where(turned_over, -1.0, 1.0), axis=0)
    return np.concatenate([quaternions[:1], quaternions[1:] * sign[..., None]])


def recorded_hands(clips: Sequence[Clip]) -> Iterator[HandTake]:
    """Fingers of clips that have moving ones, both hands as right hands."""
    for c in clips:
        for side in (LEFT_HAND, RIGHT_HAND):
            if c.poses[:, side].std(axis=0).max() > _MOVES_RAD:
                q = continuous(axis_angle_to_quaternion(c.poses[:, side]))
                yield HandTake(mirror_quaternions(q) if side is LEFT_HAND else q, c.source, "recorded")


def hand_files(path: Path | None, permissive: bool, tell: Callable[[str], None]) -> list[KeyPoses]:
    """Key poses by file. With ``permissive`` only those of files whose name says "permissive", or whose entry
    ``licence`` names one without "NC"; the built-in shapes where ``path`` is None."""
    if path is None:
        return [plain_key_poses()]
    path = path.expanduser()
    files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    used = [f for f in files if not permissive or _allows_any_use(f)]
    if not used:
        why = "none whose licence is known to allow any use" if files else "no npz file"
        raise HmcapError(
            f"Expected hand key poses in {path}, found {why}. Name a file with right-hand key poses (its name or its "
            'entry "licence" says which licence it has), or leave --hands out to use the built-in shapes.'
        )
    for f in files:
        if f not in used:
            tell(f"left out {f.name}: its licence does not allow any use, or does not say")
    return [read_key_poses(f) for f in used]


def _allows_any_use(file: Path) -> bool:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            licence = str(arrays["licence"]) if "licence" in arrays.files else ""
    except (ValueError, OSError, EOFError):
        return True  # reading it afterwards says what is wrong with it
    if licence:
        return "NC" not in licence.upper().replace("-", " ").split()
    return "permissive" in file.stem.lower() and "nonpermissive" not in file.stem.lower()


def of_split(key_poses: KeyPoses, split: str) -> KeyPoses:
    """Every TEST_KEY_POSE-th key pose for "test", the others for "train"."""
    test = np.arange(len(key_poses.poses)) % TEST_KEY_POSE == TEST_KEY_POSE - 1
    return replace(key_poses, poses=key_poses.poses[test if split == "test" else ~test])


def generated_hands(sets: Sequence[KeyPoses], seconds: float, rng: np.random.Generator) -> Iterator[HandTake]:
    """Takes between key poses: of each set in turn, and of all of them together where there are several."""
    together = KeyPoses(np.concatenate([s.poses for s in sets]), ", ".join(s.source for s in sets))
    turns = [*sets, together] if len(sets) > 1 else list(sets)
    frames = round(HAND_TAKE_S * RATE_HZ)
    for n in range(int(np.ceil(seconds / HAND_TAKE_S / 2))):
        keys = turns[n % len(turns)]
        both = hand_motion(rng, frames, RATE_HZ, keys, together="independent")
        left, right = (continuous(axis_angle_to_quaternion(both[:, i])) for i in (0, 1))
        for q in (mirror_quaternions(left), right):
            yield HandTake(q, keys.source, "generated")


def _pose_and_speed(clip: Clip, body: BodyModel, at_end: bool) -> np.ndarray:
    """(2, K) features of the first or last blend of a clip, and of its mirror image."""
    blend = max(2, round(BLEND_S * RATE_HZ))
    part = part_of(clip, clip.frames - blend, clip.frames) if at_end else part_of(clip, 0, blend)
    out = []
    for c in (part, mirrored(part)):
        posed = body.with_shape().with_pose(c.poses, c.trans_m)
        yaw = float(heading_rad(c.poses)[blend // 2])
        turn = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
        joints = posed.joints_m[:, :NUM_BODY_JOINTS] @ turn.T
        speed = (joints[-1] - joints[0]) * clip.fps / (blend - 1)
        out.append(np.concatenate([(joints - joints[:, :1] * [1, 0, 1])[blend // 2], 0.1 * speed]).ravel())
    return np.stack(out)
