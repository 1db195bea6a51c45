"""Partial dilated convolution over time (ProxyCap supplement, section 1.2, equation 1), incremental, with or without a
look ahead.

A layer that looks ahead by its dilation d sees the frames t - d, t and t + d, and answers d frames late. Without, it
sees t - d and t at once: what is not there yet is missing as any masked frame is. The same weights serve both.

Masked input has exactly zero influence on the output: it is multiplied by its mask before anything else, and what is
left of a window is scaled up to stand for the whole window. A window with nothing in it gives zero, and is masked for
the layer that follows.

The equation scales by the share of a window's inputs, over frames and joints alike, that is seen. A joint that is
missing then scales up all other joints, which are no substitute for it; so the share is taken for each channel
over the frames of the window (the same thing wherever the mask does not differ between channels, that is in all layers
but the first).
"""

from dataclasses import dataclass

import torch
from torch import nn

KERNEL = 3


@dataclass(frozen=True)
class Taps:
    """Where a layer looks: before, at, and after the frames that are answered."""

    before: torch.Tensor
    """(T,) rows before, of 2 dilation + T, and"""
    at: torch.Tensor
    """(T,) at the frames that are answered: the newest, unless the layer looks ahead."""
    after: int
    """First row after, as far as the layer looks ahead."""
    ahead: torch.Tensor
    """1 where it does, else 0, int64."""

    @classmethod
    def of(cls, x: torch.Tensor, dilation: int, ahead: torch.Tensor) -> "Taps":
        """Those in x (B, 2 dilation + T, C)."""
        before = torch.arange(x.shape[1] - 2 * dilation, device=x.device) + dilation * (1 - ahead)
        return cls(before, before + dilation, 2 * dilation, ahead)

    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Rows before, at, and after, each (B, T, C), of x (B, 2 dilation + T, C); without a look ahead, none lie
        after."""
        return x.index_select(1, self.before), x.index_select(1, self.at), x[:, self.after :] * self.ahead.to(x.dtype)


class PartialConv(nn.Module):
    """Kernel 3, any dilation. Layout (batch, frames, channels)."""

    def __init__(self, channels: int, out: int, dilation: int = 1, partial: bool = True) -> None:
        super().__init__()
        self.channels, self.dilation, self.partial = channels, dilation, partial
        self.linear = nn.Linear(KERNEL * channels, out, bias=False)
        self.bias = nn.Parameter(torch.zeros(out))

    @property
    def reach(self) -> int:
        """Frames before the newest that the layer looks at, which a cache holds."""
        return (KERNEL - 1) * self.dilation

    def new_cache(self, batch: int, mask_channels: int, like: torch.Tensor) -> torch.Tensor:
        """(batch, reach, channels + mask_channels) zeros: nothing was seen before the take."""
        return like.new_zeros(batch, self.reach, self.channels + mask_channels)

    def forward(self, x: torch.Tensor, mask: torch.Tensor, taps: Taps) -> tuple[torch.Tensor, torch.Tensor]:
        """x (B, reach + T, C), mask (B, reach + T, C or 1) of 0 and 1, taps of that many rows.

        Returns y (B, T, out) and its mask (B, T, 1).
        """
        values, masks = taps(x * mask), taps(mask)
        seen = masks[0] + masks[1] + masks[2]
        out_mask = (seen.amax(-1, keepdim=True) > 0).to(x.dtype)
        joined = torch.cat(values, dim=-1)
        if self.partial:
            share = KERNEL / seen.clamp_min(1.0)
            joined = joined * (share if share.shape[-1] == 1 else share.repeat(1, 1, KERNEL))
        return (self.linear(joined) + self.bias) * out_mask, out_mask


class Block(nn.Module):
    """Norm, partial dilated convolution, non-linearity, mixing, and the way around them."""

    def __init__(self, channels: int, dilation: int, partial: bool, extra: int = 0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.conv = PartialConv(channels, channels, dilation, partial)
        self.mix = nn.Linear(channels, channels)
        self.extra = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(channels), nn.Linear(channels, channels), nn.SiLU(), nn.Linear(channels, channels)
            )
            for _ in range(extra)
        )

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor, cache: torch.Tensor, ahead: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """x (B, T, C) that is zero where mask (B, T, 1) is; cache (B, reach, C + 1) as it was returned with the frames
        before. Returns the same of the frames that are answered, and the cache for what follows."""
        x, mask, cache = joined_with(cache, x, mask)
        taps = Taps.of(x, self.conv.dilation, ahead)
        y, out_mask = self.conv(self.norm(x), mask, taps)
        x = x.index_select(1, taps.at)
        x = (x + self.mix(nn.functional.silu(y))) * out_mask
        for layer in self.extra:
            x = x + layer(x) * out_mask
        return x, out_mask, cache


def joined_with(
    cache: torch.Tensor, x: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x (B, T, C) and mask (B, T, M) after those in the cache (B, reach, C + M), and the cache for what follows."""
    joined = torch.cat([cache, torch.cat([x, mask.to(x.dtype)], dim=-1).to(cache.dtype)], dim=1)
    channels = x.shape[-1]
    return joined[..., :channels], joined[..., channels:], joined[:, x.shape[1] :]
