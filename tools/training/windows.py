"""Windows of the motion bank: which motion a take shows, and when.

Layout as in :mod:`.kinematics`: quaternions (J, 4, B, T), wxyz.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ...models.errors import HmcapError
from ...models.skeleton import JOINT_NAMES, NUM_BODY_JOINTS
from .bank_files import Bank
from .draws import Draws

_EASE_FRAMES = 8.0
"""A clip that is too short slows down over so many frames where it stops or turns back."""
_SWAP = [
    JOINT_NAMES.index({"left": "right_", "right": "left_"}[n.split("_")[0]] + n.partition("_")[2])
    if n.startswith(("left_", "right_"))
    else i
    for i, n in enumerate(JOINT_NAMES[:NUM_BODY_JOINTS])
]
_SWAP_CONTACT = [2, 3, 0, 1]


@dataclass(frozen=True, slots=True, eq=False)
class BodyMotion:
    """Windows of body motion on the mean body."""

    q: torch.Tensor
    """(22, 4, B, T) local rotations, row 0 the root in the world; not normalised."""
    pelvis_m: torch.Tensor
    """(3, B, T) pelvis joint in the world; floor y = 0."""
    contact: torch.Tensor
    """(4, B, T) float32 0 or 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Where windows lie in the bank: its rows before and after each time, and the share of the second."""

    low: torch.Tensor
    """(B, T) int64"""
    high: torch.Tensor
    """(B, T) int64"""
    share: torch.Tensor
    """(B, T)"""

    def of(self, takes: slice | torch.Tensor) -> "Frames":
        """Those of some takes."""
        return Frames(self.low[takes], self.high[takes], self.share[takes])


class MotionWindows:
    """A motion bank on a device, and the drawing of windows from it."""

    def __init__(self, bank: Bank, device: torch.device) -> None:
        for name, count in (("body", len(bank.body)), ("hand", len(bank.hands))):
            if not count:
                raise HmcapError(
                    f"Expected {name} motion in the motion bank {bank.folder}, found none. Build it again."
                )
        self.device = device
        self._body = torch.from_numpy(np.array(bank.body)).to(device)
        self._pelvis = torch.from_numpy(np.array(bank.pelvis, np.float32)).to(device)
        self._contact = torch.from_numpy(np.array(bank.contact)).to(device)
        self._hands = torch.from_numpy(np.array(bank.hands)).to(device)
        self._body_begin, self._body_frames = _table(bank.body_clips.begin, bank.body_clips.frames, device)
        self._hand_begin, self._hand_frames = _table(bank.hand_clips.begin, bank.hand_clips.frames, device)
        body_rows = np.concatenate([[0.0], np.cumsum(np.asarray(bank.weight, np.float64))])
        self._body_weight = torch.from_numpy(body_rows[1:])
        hand_rows = np.repeat(bank.hand_clips.weight / bank.hand_clips.frames, bank.hand_clips.frames)
        self._hand_weight = torch.from_numpy(np.cumsum(hand_rows))

    def draw_body(self, draws: Draws, takes: int, frames: int, speed: torch.Tensor) -> Frames:
        """Windows of body motion, each about a frame drawn by its weight, at ``speed`` (B,)."""
        row = draws.choice((takes,), self._body_weight)
        return self._window(draws, row, self._body_begin, self._body_frames, speed, frames)

    def draw_hands(self, draws: Draws, takes: int, frames: int, speed: torch.Tensor) -> Frames:
        """Windows of hand motion; ``speed`` (B,) may be zero, for hands that are held."""
        row = draws.choice((takes,), self._hand_weight)
        return self._window(draws, row, self._hand_begin, self._hand_frames, speed, frames)

    def body(self, at: Frames) -> BodyMotion:
        """Body motion at the frames of a window."""
        nearest = torch.where(at.share < 0.5, at.low, at.high)
        contact = self._contact[nearest.reshape(-1)].T.reshape(4, *at.low.shape)
        return BodyMotion(_between(self._body, at), _between(self._pelvis, at), contact.to(torch.float32))

    def hands(self, at: Frames) -> torch.Tensor:
        """(15, 4, B, T) right-hand motion at the frames of a window."""
        return _between(self._hands, at)

    def _window(
        self,
        draws: Draws,
        row: torch.Tensor,
        begin: torch.Tensor,
        count: torch.Tensor,
        speed: torch.Tensor,
        frames: int,
    ) -> Frames:
        """Times at which each take reads its clip. The drawn row lies anywhere in the window. Where the clip is too
        short for that, the take goes on by running it backwards from its end, or by standing still there."""
        clip = torch.searchsorted(begin, row, right=True) - 1
        last = (count[clip] - 1).to(torch.float32)
        lasts = speed * (frames - 1)
        takes = len(row)
        start = (row - begin[clip]).to(torch.float32) - draws.uniform((takes,)) * lasts
        fits = lasts <= last
        start = torch.where(fits, torch.minimum(start.clamp_min(0.0), (last - lasts).clamp_min(0.0)), start)
        time = start[:, None] + speed[:, None] * torch.arange(frames, device=self.device)
        held = draws.chance((takes,), 0.35)
        m = last[:, None]
        other = torch.where(held[:, None], _stopping(time, m), _turning_back(time, m))
        time = torch.minimum(torch.where(fits[:, None], time, other).clamp_min(0.0), m)
        low = time.floor()
        high = torch.minimum(low + 1, m)
        rows = begin[clip][:, None]
        return Frames(rows + low.long(), rows + high.long(), time - low)


def mirrored_body(motion: BodyMotion) -> BodyMotion:
    """The mirror image of the motion: left and right exchanged, x reversed."""
    signs = torch.tensor([1.0, 1.0, -1.0, -1.0], device=motion.q.device)[:, None, None]
    across = torch.tensor([-1.0, 1.0, 1.0], device=motion.q.device)[:, None, None]
    return BodyMotion(motion.q[_SWAP] * signs, motion.pelvis_m * across, motion.contact[_SWAP_CONTACT])


def other_hand(q: torch.Tensor) -> torch.Tensor:
    """The other hand in the mirrored pose: (15, 4, B, T)."""
    return q * torch.tensor([1.0, 1.0, -1.0, -1.0], device=q.device)[:, None, None]


def _table(begin: np.ndarray, frames: np.ndarray, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    order = np.argsort(begin, kind="stable")
    return torch.tensor(begin[order], device=device), torch.tensor(frames[order], device=device)


def _between(rows: torch.Tensor, at: Frames) -> torch.Tensor:
    """(..., B, T) float32 of rows (F, ...), read between frames; quaternions of a clip are continuous in sign."""
    inner = rows.shape[1:]
    flat = rows.reshape(len(rows), -1)
    low, high = flat[at.low.reshape(-1)].to(torch.float32), flat[at.high.reshape(-1)].to(torch.float32)
    mixed = torch.lerp(low, high, at.share.reshape(-1, 1))
    return mixed.T.contiguous().reshape(*inner, *at.low.shape)


def _stopping(time: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    """The time, slowed down to a stop at 0 and at ``last``."""
    ease = torch.minimum(last / 2, torch.full_like(last, _EASE_FRAMES)).clamp_min(1e-3)

    def stop(d: torch.Tensor) -> torch.Tensor:
        inner = (d + ease).clamp_min(0.0).square() / (4 * ease)
        return torch.where(d < ease, inner, d)

    return last - stop(last - stop(time))


def _turning_back(time: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    """The time, running to and fro between 0 and ``last``, slowing down where it turns."""
    ease = torch.minimum(last / 2, torch.full_like(last, _EASE_FRAMES)).clamp_min(1e-3)
    span = last + ease

    def turn(d: torch.Tensor) -> torch.Tensor:
        return torch.where(d < ease, (d.square() + ease.square()) / (2 * ease), d)

    y = span - (torch.remainder(time + ease / 2, 2 * span) - span).abs()
    return torch.where(y < span / 2, turn(y) - ease / 2, span - turn(span - y) - ease / 2)
