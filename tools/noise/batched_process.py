"""Processes, tables and events of the noise model in torch: whole batches of takes at one constant frame rate.

Arrays lie channels first: (C, T, B), so that every operation runs along the long axes. A process at a constant step is
a normal vector of known covariance over the T frames, so it is drawn by products with triangular matrices, which are
made once per (T, fps), in place of a loop over frames. The law is that of :mod:`.process`.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .events import DURATION_SHARES, VIEWS, Events
from .process import KNOTS, Process

_STEP = float(KNOTS[1] - KNOTS[0])
_REACH = 4.0
_TABLE = round(2 * _REACH / _STEP) + 1
"""Knots of a table that is continued to the reach of the scores."""
_LEAST = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """A process of C channels over T frames: shared latent rows with memory, rows new in every frame, rows that stay
    the same all through a take, and each channel's own part."""

    lower: torch.Tensor
    """(R + O, T, T) lower triangular; R rows of white noise become latent rows, O those of the channels themselves."""
    mix: torch.Tensor
    """(C, R) latent rows into channels."""
    own: bool
    """Whether the channels have parts of their own (O = C, else 0)."""
    fresh: torch.Tensor
    """(C, W) white rows into channels."""
    still: torch.Tensor
    """(C, S) constant rows into channels."""

    def sample(self, generator: torch.Generator, takes: int) -> torch.Tensor:
        """(C, T, takes) standard normal noise."""
        like = self.mix
        frames, channels, rows = self.lower.shape[-1], len(self.mix), self.mix.shape[1]
        white = like.new_empty(len(self.lower), frames, takes).normal_(generator=generator)
        drawn = _by_halves(self.lower, white)
        flat = drawn[rows:].reshape(channels, -1) if self.own else like.new_zeros(channels, frames * takes)
        if rows:
            flat.addmm_(self.mix, drawn[:rows].reshape(rows, -1))
        if self.fresh.shape[1]:
            new = like.new_empty(self.fresh.shape[1], frames * takes).normal_(generator=generator)
            flat.addmm_(self.fresh, new)
        out = flat.reshape(channels, frames, takes)
        if self.still.shape[1]:
            new = like.new_empty(self.still.shape[1], takes).normal_(generator=generator)
            out += (self.still @ new)[:, None]
        return out


def _by_halves(lower: torch.Tensor, white: torch.Tensor) -> torch.Tensor:
    """lower @ white, without most of the products with the zeros of the upper triangle."""
    frames = lower.shape[-1]
    if frames < 32:
        return lower @ white
    out = torch.empty_like(white)
    parts = 4
    edges = [frames * p // parts for p in range(parts + 1)]
    for begin, end in itertools.pairwise(edges):
        torch.bmm(lower[:, begin:end, :end], white[:, :end], out=out[:, begin:end])
    return out


def correlation(time_s: float, step_s: float, frames: int) -> np.ndarray:
    """(T, T) correlation between frames of one part of a process: of two low-passes in a row, as they are sampled.

    With a = exp(-step / tau): a^n (1 + n (1 - a^2) / (1 + a^2)) at n frames, which follows from the recursion of
    ``Process.sample``.
    """
    lag = np.abs(np.subtract.outer(np.arange(frames), np.arange(frames)))
    if np.isinf(time_s):
        return np.ones((frames, frames))
    if time_s == 0:
        return np.eye(frames)
    a = np.exp(-step_s / time_s)
    return a**lag * (1 + lag * (1 - a**2) / (1 + a**2))


def make_kernel(process: Process, frames: int, fps: float, like: torch.Tensor) -> Kernel:
    """The process over ``frames`` frames, with the type and on the device of ``like``."""
    factor, diag = process.factor.astype(np.float64), process.diag.astype(np.float64)
    if factor.shape[1] == 1:  # one channel has everything for itself
        diag, factor = diag + (factor**2).sum(-1), np.zeros((len(factor), 1, 0))
    tau = process.time_s.astype(np.float64)
    channels = factor.shape[1]
    used = [f[:, (f**2).sum(0) > _LEAST] for f in factor]
    rows = [correlation(t, 1 / fps, frames) for t in tau]
    memory = [k for k, t in enumerate(tau) if 0 < t < np.inf and used[k].shape[1]]

    def gather(which: Sequence[int]) -> np.ndarray:
        return np.concatenate([np.zeros((channels, 0)), *(used[k] for k in which)], axis=1)

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(values, dtype=like.dtype, device=like.device).contiguous()

    lower = [np.linalg.cholesky(rows[k] + 1e-9 * np.eye(frames)) for k in memory for _ in range(used[k].shape[1])]
    own = bool((diag > _LEAST).any())
    if own:
        total = np.tensordot(diag.T, np.stack(rows), 1)
        lower.extend(np.linalg.cholesky(total + 1e-9 * np.eye(frames)))
    return Kernel(
        lower=tensor(np.stack(lower) if lower else np.zeros((0, frames, frames))),
        mix=tensor(gather(memory)),
        own=own,
        fresh=tensor(gather([k for k, t in enumerate(tau) if t == 0])),
        still=tensor(gather([k for k, t in enumerate(tau) if np.isinf(t)])),
    )


def white_factor(process: Process, like: torch.Tensor) -> torch.Tensor:
    """(C, C) lower factor of the covariance of a process that is new in every frame. Raises ValueError for others."""
    if len(process.time_s) != 1 or process.time_s[0] != 0:
        raise ValueError(f"expected a process without memory, found time constants of {process.time_s} s")
    covariance = process.covariance() + 1e-9 * np.eye(process.factor.shape[1])
    return torch.as_tensor(np.linalg.cholesky(covariance), dtype=like.dtype, device=like.device)


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """Values at normal scores for C channels, each with S tables to choose from."""

    low: torch.Tensor
    """(C, S * 21) value at each knot, tables side by side."""
    rise: torch.Tensor
    """(C, S * 21) difference to the next knot; 0 at the last."""

    def __call__(self, scores: torch.Tensor, choice: torch.Tensor | None = None) -> torch.Tensor:
        """(C, n) values at scores (C, n), by the tables ``choice`` (C', n) int64 for the first C' channels."""
        at = (scores * (1 / _STEP)).add_(_REACH / _STEP).clamp_(0, _TABLE - 1)
        i = at.to(torch.int64)
        at -= i
        if choice is not None:
            i[: len(choice)].add_(choice, alpha=_TABLE)
        return torch.addcmul(self.low.gather(1, i), at, self.rise.gather(1, i))


def make_tables(values: np.ndarray, like: torch.Tensor) -> Tables:
    """Tables of values (C, S, 17) at KNOTS."""
    values = np.asarray(values, np.float64)
    more = round((_REACH - KNOTS[-1]) / _STEP)
    before = values[..., :1] + np.arange(-more, 0) * (values[..., 1:2] - values[..., :1])
    after = values[..., -1:] + np.arange(1, more + 1) * (values[..., -1:] - values[..., -2:-1])
    low = np.concatenate([before, values, after], axis=-1)
    rise = np.concatenate([np.diff(low, axis=-1), np.zeros((*low.shape[:-1], 1))], axis=-1)
    low, rise = (torch.as_tensor(v.reshape(len(v), -1), dtype=like.dtype, device=like.device) for v in (low, rise))
    return Tables(low, rise)


def view_shares(view_rad: torch.Tensor) -> torch.Tensor:
    """(8, ...) share of each view bin in what is interpolated at views (...): ``by_view`` is a product with them."""
    at = torch.remainder(view_rad * (VIEWS / (2 * np.pi)), VIEWS)
    bins = torch.arange(VIEWS, dtype=at.dtype, device=at.device).reshape(-1, *(1,) * at.ndim)
    apart = (at - bins).abs_()
    return (1 - torch.minimum(apart, VIEWS - apart)).clamp_(min=0)


def sample_events(
    generator: torch.Generator, events: Sequence[Events], shares: torch.Tensor, fps: float
) -> list[torch.Tensor]:
    """(E, T, B) bool whether each kind of each of several events is on; shares (8, T, B) of the views."""
    # In double precision: durations are often whole frames, and the last bit says whether one frame more is on.
    table, durations = (
        torch.as_tensor(np.concatenate(v, axis=a), dtype=torch.float64, device=shares.device)
        for v, a in (([e.rate_hz for e in events], 1), ([e.duration_s for e in events], 0))
    )
    kinds, frames, takes = table.shape[1], *shares.shape[1:]
    rate = (table.T.to(shares.dtype) @ shares.reshape(VIEWS, -1)).reshape(kinds, frames, takes)
    start = torch.empty_like(rate).uniform_(generator=generator)
    begins = start < -torch.expm1(rate * (-1 / fps))
    place = torch.empty_like(rate).uniform_(generator=generator).mul_(len(DURATION_SHARES) - 1).reshape(kinds, -1)
    i = place.to(torch.int64).clamp_(max=len(DURATION_SHARES) - 2)
    low = durations.gather(1, i)
    duration = low.addcmul_(durations.gather(1, i + 1) - low, place - i).reshape(rate.shape)
    # The take begins in the middle of things.
    busy = rate[:, 0] * durations.mean(-1, keepdim=True)
    on = start[:, 0] < busy / (1 + busy)
    left = torch.where(on, duration[:, 0] * torch.empty_like(rate[:, 0]).uniform_(generator=generator), 0.0)
    out = torch.empty_like(begins)
    out[:, 0] = left > 0
    for t in range(1, frames):
        left = left - 1 / fps
        left = torch.where((left <= 0) & begins[:, t], duration[:, t], left)
        out[:, t] = left > 0
    return list(out.split([e.rate_hz.shape[1] for e in events]))
