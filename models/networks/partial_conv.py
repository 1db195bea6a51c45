"""Partial dilated convolution over time (ProxyCap supplement, section 1.2, equation 1), causal and incremental.

Masked input has exactly zero influence on the output: it is multiplied by its mask before anything else, and what is
left of a window is scaled up to stand for the whole window. A window with nothing in it gives zero, and is masked for
the layer that follows.

The equation scales by the share of a window's inputs, over frames and joints alike, that is seen. A joint that is
missing then scales up all other joints, which are no substitute for it; so the share is taken for each channel
over the frames of the window (the same thing wherever the mask does not differ between channels, that is in all layers
but the first).
"""

import torch
from torch import nn

KERNEL = 3


class PartialConv(nn.Module):
    """Kernel 3, any dilation; looks back only. Layout (batch, frames, channels)."""

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

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor, cache: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """x (B, T, C), mask (B, T, C or 1) of 0 and 1, cache as it was returned with the frames before.

        Returns y (B, T, out), its mask (B, T, 1), and the cache for the frames that follow.
        """
        frames = x.shape[1]
        joined = torch.cat([cache.to(x.dtype), torch.cat([x * mask, mask.to(x.dtype)], dim=-1)], dim=1)
        taps = [joined[:, k * self.dilation : k * self.dilation + frames] for k in range(KERNEL)]
        values = [t[..., : self.channels] for t in taps]
        masks = torch.stack([t[..., self.channels :] for t in taps])
        seen = masks.sum(0)
        out_mask = (seen.sum(-1, keepdim=True) > 0).to(x.dtype)
        if self.partial:
            share = KERNEL / seen.clamp_min(1.0)
            values = [v * share for v in values]
        y = (self.linear(torch.cat(values, dim=-1)) + self.bias) * out_mask
        return y, out_mask, joined[:, joined.shape[1] - self.reach :]


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
        self, x: torch.Tensor, mask: torch.Tensor, cache: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """x (B, T, C) that is zero where mask (B, T, 1) is; as :meth:`PartialConv.forward`."""
        y, out_mask, cache = self.conv(self.norm(x), mask, cache)
        x = (x + self.mix(nn.functional.silu(y))) * out_mask
        for layer in self.extra:
            x = x + layer(x) * out_mask
        return x, out_mask, cache
