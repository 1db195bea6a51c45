"""Virtual cameras for many takes at once: the batched counterpart of :mod:`..motions.virtual_cameras`.

The ranges are those of that module: field of view 35 to 95 degrees along the longer side, lens 0.3 to 2.5 m above the
floor, pitch from 35 degrees down to 25 up, 1.2 to 8 m from the person. Each take has one view (azimuth), one field of
view, one framing and one kind of camera; several distances, heights, aims and formats are proposed in parallel and
judged on some frames, and the first that shows the person as the framing asks is kept, or else the best. Takes for
which none will do, because they move about too much, are filmed by a camera that follows.

World: right-handed, Y up, floor y = 0, metres. Camera: OpenCV.
"""

import math
from dataclasses import dataclass, fields

import torch

from ..motions.virtual_cameras import (
    DISTANCE_RANGE_M,
    FOV_RANGE_DEG,
    FRAMINGS,
    HEIGHT_RANGE_M,
    IMAGE_SIZES_PX,
    KINDS,
    MAX_ROLL_DEG,
    MIN_SHARE,
    PITCH_RANGE_DEG,
)
from .camera_paths import lag_weights, lagged, looking, shake
from .draws import Draws

_STATIC, _PANNING, _HANDHELD, _WALKING = range(len(KINDS))
_WHOLE, _UPPER, _PARTLY = range(len(FRAMINGS))
_NEAR_FAR = ((1.05, 2.5), (1.02, 1.25), (0.5, 1.0))
"""Range of the distance by framing, in units of the distance at which the person just fits."""
_LEAST_SHARE = 0.5
"""Takes whose best proposal frames the person in fewer frames get another kind of camera."""
_NEAREST_DEPTH_M = 0.2
_JUDGED_FRAMES = 20
_JUDGED = (0, *range(2, 8), *range(9, 15), *range(17, 25), *range(29, 46, 4), *range(50, 67, 4))
"""Proxies that outline the person: those of the body, and the finger tips."""


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """What cameras are drawn."""

    kinds: tuple[float, float, float, float] = (0.71, 0.1, 0.13, 0.06)
    """Shares of static, panning, hand-held and walking cameras, before those that must follow are made to."""
    framings: tuple[float, float, float] = (0.6, 0.22, 0.18)
    """Shares of "whole", "upper" and "partly" framed people."""
    proposals: int = 6
    """Proposals that are judged for each take."""


@dataclass(frozen=True, slots=True, eq=False)
class Cameras:
    """Cameras of B takes along T frames."""

    T_cam_world: torch.Tensor
    """(B, T, 4, 4) rigid transform of world points to the camera."""
    static: torch.Tensor
    """(B,) bool: the camera stands still."""
    focal_px: torch.Tensor
    """(B,)"""
    image_size_px: torch.Tensor
    """(B, 2) width and height; the principal point is the middle."""
    kind: torch.Tensor
    """(B,) place in KINDS."""
    framing: torch.Tensor
    """(B,) place in FRAMINGS."""


@dataclass(frozen=True, slots=True, eq=False)
class _Subject:
    """What a camera has to know of the motion of n takes, on F frames that are judged."""

    rows: torch.Tensor
    """(F,) the frames."""
    frames: int
    rate_hz: float
    points: torch.Tensor
    """(n, F, K, 3)"""
    middle: torch.Tensor
    """(n, F, 3) middle of the person's box."""
    low_y: torch.Tensor
    """(n, F)"""
    high_y: torch.Tensor
    """(n, F)"""

    def of(self, takes: torch.Tensor) -> "_Subject":
        parts = (getattr(self, k)[takes] for k in ("points", "middle", "low_y", "high_y"))
        return _Subject(self.rows, self.frames, self.rate_hz, *parts)

    def to_frames(self, values: torch.Tensor) -> torch.Tensor:
        """(n, T, C) of values (n, F, C) on the judged frames, linear in between."""
        t = torch.arange(self.frames, device=values.device)
        high = torch.searchsorted(self.rows, t).clamp(1, max(1, len(self.rows) - 1)).clamp_max(len(self.rows) - 1)
        low = (high - 1).clamp_min(0)
        span = (self.rows[high] - self.rows[low]).clamp_min(1)
        u = ((t - self.rows[low]) / span)[:, None]
        return torch.lerp(values[:, low], values[:, high], u)


@dataclass(frozen=True, slots=True, eq=False)
class _Take:
    """What is drawn once for each of n takes."""

    kind: torch.Tensor
    framing: torch.Tensor
    half_fov_rad: torch.Tensor
    aside: torch.Tensor
    """(n, 3) the camera's right or left, level."""
    across_m: torch.Tensor
    upright_m: torch.Tensor
    """(n,) half extents of what must fit."""
    base: torch.Tensor
    """(n, T, 3) what the camera keeps its distance from: a place, or the person's way with some lag."""
    around: torch.Tensor
    """(n, T) azimuth at each time."""
    aim: torch.Tensor
    """(n, T, 3) what it looks at."""


@dataclass(frozen=True, slots=True, eq=False)
class _Proposal:
    """What is drawn several times, (n, P) each, or (n,) after one was chosen."""

    size_px: torch.Tensor
    """(n, P, 2)"""
    focal_px: torch.Tensor
    level_m: torch.Tensor
    """Distance over the ground."""
    height_m: torch.Tensor
    turn_rad: torch.Tensor
    """(n, P, 2) yaw and pitch by which it looks past the aim."""
    roll_rad: torch.Tensor
    keeps: torch.Tensor
    """bool: there is a height within the range of pitch."""

    def chosen(self, k: torch.Tensor) -> "_Proposal":
        take = torch.arange(len(k), device=k.device)
        return _Proposal(*(getattr(self, f.name)[take, k] for f in fields(self)))


def draw_cameras(
    draws: Draws, proxies_world_m: torch.Tensor, rate_hz: float, settings: CameraSettings = CameraSettings()
) -> Cameras:
    """Draw a camera for each take of proxies (B, T, 67, 3)."""
    takes, frames = proxies_world_m.shape[:2]
    device = proxies_world_m.device
    count = min(frames, _JUDGED_FRAMES)
    rows = torch.linspace(0, frames - 1, count, device=device).round().long()
    points = proxies_world_m[:, rows][:, :, list(_JUDGED)]
    low, high = points.amin(2), points.amax(2)
    subject = _Subject(rows, frames, rate_hz, points, (low + high) / 2, low[..., 1], high[..., 1])
    kind = _drawn(draws, takes, settings.kinds)
    framing = _drawn(draws, takes, settings.framings)
    azimuth = draws.uniform((takes,), -math.pi, math.pi)
    half_fov_rad = 0.5 * draws.uniform((takes,), *(math.radians(d) for d in FOV_RANGE_DEG))
    out = Cameras(
        torch.zeros((takes, frames, 4, 4), device=device),
        torch.zeros(takes, dtype=torch.bool, device=device),
        torch.zeros(takes, device=device),
        torch.zeros((takes, 2), device=device),
        kind,
        framing,
    )
    todo = torch.arange(takes, device=device)
    for attempt in range(3):
        kind, framing = out.kind[todo], out.framing[todo]
        if attempt == 1:
            kind = torch.where(draws.chance(kind.shape, 0.65), _PANNING, _WALKING)
        elif attempt == 2:
            kind, framing = torch.full_like(kind, _WALKING), torch.zeros_like(framing)
        rigid = attempt == 2
        some = subject.of(todo)
        take = _take(draws, some, kind, framing, azimuth[todo], half_fov_rad[todo], rigid)
        proposals = _propose(draws, some, take, settings.proposals)
        found, share = _best(some, take, proposals)
        T_cam_world = _film(draws, take, found, rate_hz, rigid)
        good = _kept(T_cam_world, proxies_world_m[todo], some) & (share >= _LEAST_SHARE)
        done = torch.ones_like(good) if rigid else good
        at = todo[done]
        out.T_cam_world[at] = T_cam_world[done]
        out.static[at] = kind[done] == _STATIC
        out.focal_px[at] = found.focal_px[done]
        out.image_size_px[at] = found.size_px[done]
        out.kind[at], out.framing[at] = kind[done], framing[done]
        todo = todo[~done]
        if not len(todo):
            break
    return out


def _drawn(draws: Draws, takes: int, shares: tuple[float, ...]) -> torch.Tensor:
    return draws.choice((takes,), torch.tensor(shares, dtype=torch.float64).cumsum(0))


def _take(
    draws: Draws,
    s: _Subject,
    kind: torch.Tensor,
    framing: torch.Tensor,
    azimuth: torch.Tensor,
    half_fov_rad: torch.Tensor,
    rigid: bool,
) -> _Take:
    takes = len(kind)
    follows, walks = kind != _STATIC, kind == _WALKING
    place = (s.middle.amin(1) + s.middle.amax(1)) / 2
    centre = torch.where(follows[:, None, None], s.middle, place[:, None])
    aside = torch.stack([azimuth.cos(), torch.zeros_like(azimuth), -azimuth.sin()], dim=-1)
    # The part of the person that must fit: across and upright half extents about its middle.
    across = ((s.points - centre[:, :, None]) @ aside[:, None, :, None]).abs().amax((1, 2, 3))
    bottom = torch.where(framing == _UPPER, 0.5, 0.0)[:, None]
    low, high = s.low_y + bottom * (s.high_y - s.low_y), s.high_y
    fixed = (low.amin(1) + high.amax(1)) / 2
    about_y = torch.where(follows[:, None], (low + high) / 2, fixed[:, None])
    upright = torch.maximum((high - about_y).amax(1), (about_y - low).amax(1))

    aim = s.to_frames(torch.stack([centre[..., 0], about_y, centre[..., 2]], dim=-1))
    middle = s.to_frames(s.middle)
    base = place[:, None].expand(-1, s.frames, -1)
    around = azimuth[:, None].expand(-1, s.frames)
    if rigid:
        base = middle
    else:
        aim = torch.where(follows[:, None, None], lagged(aim, lag_weights(draws, takes, s.frames, s.rate_hz)), aim)
        behind = lagged(middle, lag_weights(draws, takes, s.frames, s.rate_hz, (0.3, 0.9)))
        base = torch.where(walks[:, None, None], behind, base)
        time_s = torch.arange(s.frames, device=azimuth.device) / s.rate_hz
        drift = draws.uniform((takes, 1), *(math.radians(d) for d in (-12, 12))) * (time_s - time_s[-1] / 2)
        around = torch.where(walks[:, None], around + drift, around)
    return _Take(kind, framing, half_fov_rad, aside, across, upright, base, around, aim)


def _propose(draws: Draws, s: _Subject, take: _Take, count: int) -> _Proposal:
    takes, device = len(take.kind), take.kind.device
    shape = (takes, count)
    sizes = torch.tensor(IMAGE_SIZES_PX, dtype=torch.float32, device=device)
    size = sizes[(draws.uniform(shape) * len(sizes)).long()]
    focal = size.amax(-1) / (2 * torch.tan(take.half_fov_rad[:, None]))
    tan = size / 2 / focal[..., None]

    across, upright = take.across_m[:, None], take.upright_m[:, None]
    fit_m = torch.maximum(across / tan[..., 0], upright / tan[..., 1]) + 0.25
    near_far = torch.tensor(_NEAR_FAR, device=device)[take.framing].log()
    near, far = near_far[:, :1], near_far[:, 1:]
    distance = fit_m * torch.exp(near + (far - near) * draws.uniform(shape))
    distance = distance.clamp(DISTANCE_RANGE_M[0] * 1.05, DISTANCE_RANGE_M[1] * 0.97)

    mean_y = take.aim[..., 1].mean(-1, keepdim=True)
    down, up = (math.sin(math.radians(d)) for d in PITCH_RANGE_DEG)
    lowest = (mean_y - distance * up).clamp_min(HEIGHT_RANGE_M[0])
    highest = (mean_y - distance * down).clamp_max(HEIGHT_RANGE_M[1])
    height = lowest + (highest - lowest) * draws.uniform(shape)
    level = (distance.square() - (height - mean_y).square()).clamp_min(0.04).sqrt()

    # What is left beside the person is where they may stand in the picture.
    wide = torch.atan(tan)
    taken = torch.stack([across / distance, upright / distance], dim=-1)
    turn = draws.uniform((*shape, 2), -0.8, 0.8) * (wide - torch.atan(torch.minimum(taken, tan)))
    sign = torch.where(draws.chance((*shape, 2), 0.5), 1.0, -1.0)
    past = sign * draws.uniform((*shape, 2), 0, 0.6) * wide
    turn = turn + torch.where((take.framing == _PARTLY)[:, None, None], past, 0.0)
    roll = draws.normal(shape, math.radians(1.2)).clamp(-math.radians(4), math.radians(4))
    return _Proposal(size, focal, level, height, turn, roll, highest > lowest)


def _position(take: _Take, level: torch.Tensor, height: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
    """(n, P, F, 3) the cameras' places without shake, for distances and heights (n, P)."""
    base, around = (take.base, take.around) if rows is None else (take.base[:, rows], take.around[:, rows])
    level, height = level[..., None], height[..., None]
    return torch.stack(
        [
            base[:, None, :, 0] + level * around.sin()[:, None],
            height.expand(-1, -1, base.shape[1]),
            base[:, None, :, 2] + level * around.cos()[:, None],
        ],
        dim=-1,
    )


def _best(s: _Subject, take: _Take, p: _Proposal) -> tuple[_Proposal, torch.Tensor]:
    """The first good proposal or the best one, and the share (n,) of the frames in which it frames as asked."""
    position = _position(take, p.level_m, p.height_m, s.rows)
    R = looking(position, take.aim[:, None, s.rows], p.turn_rad[..., None, :], p.roll_rad[..., None])
    moved = s.points[:, None] - position[..., None, :]
    xyz = moved @ R.transpose(-1, -2)
    depth = xyz[..., 2]
    limit = (p.size_px / 2 / p.focal_px[..., None])[:, :, None, None] * depth[..., None]
    inside = (xyz[..., :2].abs() <= limit).all(-1)
    share = _framed(inside, s, take.framing)
    to_person = (s.middle[:, None] - position).norm(dim=-1)
    keeps = p.keeps & (depth.amin((2, 3)) > 1.2 * _NEAREST_DEPTH_M)
    keeps &= (to_person.amin(-1) >= DISTANCE_RANGE_M[0] * 1.02) & (to_person.median(-1).values <= DISTANCE_RANGE_M[1])
    score = torch.where(keeps, share, share - 2)
    first = torch.arange(score.shape[1], 0, -1, device=score.device)
    k = torch.where(score >= MIN_SHARE, 2.0 + first, score).argmax(-1)
    return p.chosen(k), score.gather(1, k[:, None])[:, 0]


def _framed(inside: torch.Tensor, s: _Subject, framing: torch.Tensor) -> torch.Tensor:
    """(n, P) share of the frames in which points that are inside (n, P, F, K) are so as the framing asks."""
    everything = inside.all(-1)
    part = inside.to(torch.float32).mean(-1)
    middle_y = s.low_y + 0.5 * (s.high_y - s.low_y)
    upper = (s.points[..., 1] >= middle_y[..., None])[:, None]
    asked = torch.stack([everything, (inside | ~upper).all(-1) & ~everything, (part >= 0.3) & (part <= 0.9)])
    return asked.to(torch.float32).mean(-1)[framing, torch.arange(len(framing), device=framing.device)]


def _film(draws: Draws, take: _Take, p: _Proposal, rate_hz: float, rigid: bool) -> torch.Tensor:
    """(n, T, 4, 4) of the chosen proposals, at every frame, with the shake of a hand."""
    position = _position(take, p.level_m[:, None], p.height_m[:, None], None)[:, 0]
    turn = p.turn_rad[:, None].expand(-1, position.shape[1], -1)
    roll = p.roll_rad[:, None].expand(-1, position.shape[1])
    if not rigid:
        held = (take.kind == _HANDHELD) | (take.kind == _WALKING)
        moved = shake(draws, held, take.kind == _WALKING, take.around, position.shape[1], rate_hz)
        position, turn, roll = position + moved.position_m, turn + moved.turn_rad, roll + moved.roll_rad
    x, y, z = position.unbind(-1)
    position = torch.stack([x, y.clamp(*HEIGHT_RANGE_M), z], dim=-1)
    most = math.radians(MAX_ROLL_DEG)
    R = looking(position, take.aim, turn, roll.clamp(-most, most))
    T = torch.zeros((*R.shape[:2], 4, 4), device=R.device)
    T[..., :3, :3], T[..., 3, 3] = R, 1.0
    T[..., :3, 3] = -(R @ position[..., None])[..., 0]
    return T


def _kept(T_cam_world: torch.Tensor, points: torch.Tensor, s: _Subject) -> torch.Tensor:
    """(n,) whether no frame of the final way comes too near; the rest was seen to on the judged frames."""
    depth = (points @ T_cam_world[..., 2, :3, None])[..., 0] + T_cam_world[..., 2, 3, None]
    R, t = T_cam_world[..., :3, :3], T_cam_world[..., :3, 3]
    centre = -(R.transpose(-1, -2) @ t[..., None])[..., 0]
    to_person = (s.to_frames(s.middle) - centre).norm(dim=-1)
    far = to_person.median(-1).values <= DISTANCE_RANGE_M[1]
    return (depth.amin((1, 2)) >= _NEAREST_DEPTH_M) & (to_person.amin(-1) >= DISTANCE_RANGE_M[0]) & far
