"""How cameras move: following with a lag, looking at something, and shaking in a hand or at a walk."""

import math
from dataclasses import dataclass

import torch

from ..motions.virtual_cameras import PITCH_RANGE_DEG
from .draws import Draws

_WAVES = 6
"""Sines that smooth noise is the sum of."""


def lag_weights(
    draws: Draws, takes: int, frames: int, rate_hz: float, lag_s: tuple[float, float] = (0.15, 0.6)
) -> torch.Tensor:
    """(B, T, T) two low-passes in a row that follow a steady motion some lag behind, drawn within ``lag_s``."""
    keep = torch.exp(-2 / (draws.uniform((takes,), *lag_s) * rate_hz))[:, None]
    t = torch.arange(frames, device=keep.device, dtype=torch.float32)
    response = (1 - keep).square() * (t + 1) * keep**t
    behind = t.long()[:, None] - t.long()
    return torch.where(behind >= 0, response[:, behind.clamp_min(0)], 0.0)


def lagged(path: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """A path (B, T, C) that follows another, which stood still before it began; weights of :func:`lag_weights`."""
    first = path[:, :1]
    return first + weights @ (path - first)


def looking(position: torch.Tensor, aim: torch.Tensor, turn_rad: torch.Tensor, roll_rad: torch.Tensor) -> torch.Tensor:
    """(..., 3, 3) R_cam_world of cameras at ``position`` (..., 3) that look at ``aim`` (..., 3), turned aside by
    ``turn_rad`` (..., 2: yaw, pitch) and rolled by ``roll_rad`` (...); the pitch stays within its range."""
    x, y, z = (aim - position).unbind(-1)
    yaw = torch.atan2(x, z) + turn_rad[..., 0]
    pitch = torch.atan2(y, torch.hypot(x, z)) + turn_rad[..., 1]
    lowest, highest = (math.radians(d) for d in PITCH_RANGE_DEG)
    pitch = pitch.clamp(lowest, highest)
    sy, cy, sp, cp = yaw.sin(), yaw.cos(), pitch.sin(), pitch.cos()
    s, c = roll_rad.sin().expand_as(sy), roll_rad.cos().expand_as(sy)
    # right = (-cy, 0, sy); down = ahead x right = (sp sy, -cp, sp cy)
    rows = [-c * cy + s * sp * sy, -s * cp, c * sy + s * sp * cy]
    rows += [c * sp * sy + s * cy, -c * cp, c * sp * cy - s * sy]
    rows += [sy * cp, sp, cy * cp]
    return torch.stack(rows, dim=-1).reshape(*sy.shape, 3, 3)


@dataclass(frozen=True, slots=True, eq=False)
class Shake:
    """What a hand and steps add to a camera's way; zero for a camera that is not held."""

    position_m: torch.Tensor
    """(n, T, 3)"""
    turn_rad: torch.Tensor
    """(n, T, 2) yaw and pitch."""
    roll_rad: torch.Tensor
    """(n, T)"""


def shake(
    draws: Draws, held: torch.Tensor, walks: torch.Tensor, around: torch.Tensor, frames: int, rate_hz: float
) -> Shake:
    """Sway and tremor of cameras that are held (n,), and the bob of those that walk (n,) at azimuths (n, T)."""
    takes = len(held)
    time_s = torch.arange(frames, device=held.device) / rate_hz
    hand = held[:, None, None].to(torch.float32)
    sway = draws.uniform((takes, 1, 1), math.radians(0.3), math.radians(1.2)) * _noise(draws, takes, time_s, 0.1, 1.5)
    tremor = draws.uniform((takes, 1, 1), math.radians(0.01), math.radians(0.06))
    turn = hand * (sway + tremor * _noise(draws, takes, time_s, 6.0, 12.0))
    position = hand * draws.uniform((takes, 1, 1), 0.005, 0.03) * _noise(draws, takes, time_s, 0.1, 1.0)
    steps = walks[:, None].to(torch.float32)
    hz, phase = draws.uniform((takes, 1), 1.5, 2.1), draws.uniform((takes, 1), 0, 2 * math.pi)
    bob = steps * draws.uniform((takes, 1), 0.005, 0.025) * torch.cos(2 * math.pi * hz * time_s + phase)
    side = steps * draws.uniform((takes, 1), 0.005, 0.02) * torch.cos(math.pi * hz * time_s + phase / 2)
    position = position + torch.stack([side * around.cos(), bob, -side * around.sin()], dim=-1)
    return Shake(position, turn[..., :2], turn[..., 2])


def _noise(draws: Draws, takes: int, time_s: torch.Tensor, low_hz: float, high_hz: float) -> torch.Tensor:
    """(n, T, 3) of unit variance within a band."""
    hz = draws.log_uniform((takes, 1, 3, _WAVES), low_hz, high_hz)
    phase = draws.uniform((takes, 1, 3, _WAVES), 0, 2 * math.pi)
    return math.sqrt(2 / _WAVES) * torch.sin(2 * math.pi * hz * time_s[:, None, None] + phase).sum(-1)
