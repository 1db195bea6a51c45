"""The proxy-to-motion initialiser: encoders, cross attention, decoders (networks, section 2)."""

import torch
from torch import nn

from ..body import load_body
from ..observed import Observed
from .config import NetworkConfig
from .inputs import BodyInput, HandInput, Stream, body_input, hand_input
from .inverse import NUM_POINTS, POINT_NAMES, InverseKinematics
from .kinematics import full_precision
from .lifting import LIFTED_NAMES, NUM_LIFTED
from .partial_conv import Block, PartialConv, Taps, joined_with
from .state import BODY_OUT, FINGERS_OUT, State, state_of

BODY_STREAMS = {"points": 50, "context": 53, "relative": 99, "lifted": 3 * NUM_LIFTED}
HAND_STREAMS = {"points": 42, "context": 50, "relative": 63}
Caches = dict[str, torch.Tensor]


class Encoder(nn.Module):
    """Partial dilated convolutions over the streams of one part of the body. What each stream says is added after the
    first layer, so that a stream that is missing scales up nothing but itself."""

    def __init__(self, name: str, streams: dict[str, int], channels: int, config: NetworkConfig) -> None:
        super().__init__()
        self.name, self.channels = name, channels
        self.streams = dict(streams)
        self.first = nn.ModuleDict({s: PartialConv(n, channels, 1, config.partial) for s, n in streams.items()})
        self.blocks = nn.ModuleList(
            Block(channels, d, config.partial, config.blocks_per_dilation - 1) for d in config.dilations
        )
        self.norm = nn.LayerNorm(channels)

    def new_caches(self, batch: int, like: torch.Tensor) -> Caches:
        """Zeros for the start of a take, by name."""
        out = {f"{self.name}_{s}": self._first(s).new_cache(batch, n, like) for s, n in self.streams.items()}
        for i, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            out[f"{self.name}_block{i}"] = block.conv.new_cache(batch, 1, like)
        return out

    def _first(self, stream: str) -> PartialConv:
        layer = self.first[stream]
        assert isinstance(layer, PartialConv)
        return layer

    def forward(
        self, streams: dict[str, Stream], ahead: torch.Tensor, caches: Caches
    ) -> tuple[torch.Tensor, torch.Tensor, Caches]:
        """Features (B, T, C) of streams (B, T, ...), their mask (B, T, 1), and the caches for what follows. ahead (K,)
        int64 says of each layer whether it looks ahead; features are of as many frames ago as those together."""
        after: Caches = {}
        total, mask, taps = None, None, None
        for name, stream in streams.items():
            key = f"{self.name}_{name}"
            x, mask_in, after[key] = joined_with(caches[key], stream.x, stream.mask)
            taps = taps or Taps.of(x, 1, ahead[0])
            y, m = self._first(name)(x, mask_in, taps)
            total = y if total is None else total + y
            mask = m if mask is None else torch.maximum(mask, m)
        assert total is not None
        assert mask is not None
        x = total
        for i, block in enumerate(self.blocks):
            key = f"{self.name}_block{i}"
            x, mask, after[key] = block(x, mask, caches[key], ahead[i + 1])
        return self.norm(x) * mask, mask, after


class CrossAttention(nn.Module):
    """Body and hands of one frame look at each other: wrists agree with the arm and with the hand."""

    HEADS = 4

    def __init__(self, body: int, hand: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.body_in, self.hand_in = nn.Linear(body, channels), nn.Linear(hand, channels)
        self.which = nn.Parameter(torch.randn(3, channels) * 0.02)
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.body_out, self.hand_out = nn.Linear(channels, body), nn.Linear(channels, hand)

    def forward(
        self, body: torch.Tensor, hands: torch.Tensor, masks: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """body (..., C_b) and hands (..., 2, C_h) with what they learn of each other added; masks (..., 3) of the body,
        the left and the right hand: who is masked says nothing, but listens."""
        tokens = torch.cat([self.body_in(body).unsqueeze(-2), self.hand_in(hands)], dim=-2) + self.which
        seen = attend(self.qkv(self.norm(tokens)), masks, self.HEADS)
        return body + self.body_out(seen[..., 0, :]), hands + self.hand_out(seen[..., 1:, :])


@full_precision
def attend(qkv: torch.Tensor, masks: torch.Tensor | None, heads: int) -> torch.Tensor:
    """Attention among N tokens: qkv (..., N, 3 C), masks (..., N) of those that may be looked at. (..., N, C)."""
    parts = qkv.unflatten(-1, (3, heads, -1))
    q, k, v = (parts[..., i, :, :].transpose(-2, -3) for i in range(3))
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    if masks is not None:
        scores = scores + (masks[..., None, None, :] - 1) * 1e4
    out = scores.softmax(-1) @ v
    if masks is not None:  # nobody to look at
        out = out * masks.amax(-1)[..., None, None, None]
    return out.transpose(-2, -3).flatten(-2)


class Decoder(nn.Module):
    """Two hidden layers over encoded context and the frame itself."""

    def __init__(self, context: int, local: int, hidden: int, out: int) -> None:
        super().__init__()
        self.context = nn.Linear(context, hidden)
        self.local = nn.Linear(local, hidden, bias=False)
        self.hidden = nn.Sequential(nn.LayerNorm(hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        self.out = nn.Linear(hidden, out)
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)

    def forward(self, context: torch.Tensor, local: torch.Tensor) -> torch.Tensor:
        """(..., out) of context (..., C) and local (..., L)."""
        x = self.context(context) + self.local(local)
        return self.out(x + self.hidden(x)).float()


class Initialiser(nn.Module):
    """Proxies in, a state for every frame out."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        n = len(config.lookaheads)
        self.inverse = InverseKinematics(load_body(num_betas=config.num_betas))
        self.of_lifted = nn.Parameter(_points_of_lifted())
        self.body = Encoder("body", BODY_STREAMS, config.body_channels, config)
        self.hand = Encoder("hand", HAND_STREAMS, config.hand_channels, config)
        self.attention = (
            CrossAttention(config.body_channels, config.hand_channels, config.attention_channels)
            if config.cross_attention
            else None
        )
        self.body_decoder = Decoder(
            config.body_channels,
            sum(BODY_STREAMS.values()) + n,
            config.decoder_channels,
            BODY_OUT + config.num_betas + 3 * NUM_POINTS,
        )
        self.hand_decoder = Decoder(
            config.hand_channels, sum(HAND_STREAMS.values()) + n, config.decoder_channels // 2, FINGERS_OUT
        )

    def new_caches(self, batch: int, like: torch.Tensor) -> Caches:
        """Zeros for the start of a take; a hand's caches have the left hands first, then the right ones."""
        return self.body.new_caches(batch, like) | self.hand.new_caches(2 * batch, like)

    def encode(
        self, newest: Observed, ahead: torch.Tensor, caches: Caches
    ) -> tuple[torch.Tensor, torch.Tensor, Caches]:
        """Features of the body (B, T, C_b) and the hands (B, T, 2, C_h), F'_body and F'_hand, of the frames that lie
        the look-ahead before each of T frames; ahead (B, 1, n) is one-hot, the same for the whole batch."""
        layers = layers_ahead(ahead)
        body_in = body_input(newest, self.config.relative_3d)
        hand_in = hand_input(newest, body_in.box, self.config.relative_3d)
        body, body_mask, after = self.body(_streams(body_in), layers, caches)
        both = {k: Stream(_sides_first(s.x), _sides_first(s.mask)) for k, s in _streams(hand_in).items()}
        hands, hand_mask, hand_after = self.hand(both, layers, caches)
        hands, hand_mask = _sides_last(hands), _sides_last(hand_mask)
        if self.attention is not None:
            masks = torch.cat([body_mask, hand_mask[..., 0]], dim=-1)
            body, hands = self.attention(body, hands, masks)
        return body, hands, after | hand_after

    def decode(
        self, body: torch.Tensor, hands: torch.Tensor, at: Observed, ahead: torch.Tensor
    ) -> tuple[State, torch.Tensor]:
        """The state of the frames ``at``, from features that have seen ``ahead`` (B, 1, n one-hot) frames more, and the
        body's box (B, T, 3) in those frames."""
        body_in = body_input(at, self.config.relative_3d)
        hand_in = hand_input(at, body_in.box, self.config.relative_3d)
        ahead = ahead.to(at.xy.dtype).expand(*body.shape[:-1], -1)
        raw = self.body_decoder(body, torch.cat([_local(body_in), ahead], dim=-1))
        raw, points = raw[..., : -3 * NUM_POINTS], raw[..., -3 * NUM_POINTS :].unflatten(-1, (NUM_POINTS, 3))
        points = 0.2 * points + of_lifted(self.of_lifted, body_in.lift.points_m)
        R_points = self.inverse(points.detach())
        side = ahead.unsqueeze(-2).expand(*hands.shape[:-1], -1)
        fingers = self.hand_decoder(hands, torch.cat([_local(hand_in), side], dim=-1))
        return state_of(raw, fingers, points, R_points, body_in.lift.place, self.config.num_betas), body_in.box


def _streams(i: BodyInput | HandInput) -> dict[str, Stream]:
    out = {"points": i.points, "context": i.context, "relative": i.relative}
    return out | {"lifted": i.lifted} if isinstance(i, BodyInput) else out


def layers_ahead(ahead: torch.Tensor) -> torch.Tensor:
    """(K,) int64: 1 for each layer that looks ahead, 0 for the others, of one-hot (B, 1, K + 1) look-aheads."""
    flags = ahead[0, 0]
    total = flags.sum()
    return (total - flags.cumsum(0)[:-1] > 0.5).to(torch.int64)


@full_precision
def of_lifted(weight: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """(..., N, 3) sums of points (..., M, 3) with weights (N, M)."""
    return weight @ points


def _points_of_lifted() -> torch.Tensor:
    """(NUM_POINTS, NUM_LIFTED) a rough guess of every point of the inverse kinematics as a mean of lifted proxies."""
    middle = {
        "spine1": {"mid_hip": 0.8, "neck": 0.2},
        "spine2": {"mid_hip": 0.55, "neck": 0.45},
        "spine3": {"mid_hip": 0.4, "neck": 0.6},
        "head": {"left_ear": 0.5, "right_ear": 0.5},
        **{f"{s}_collar": {"neck": 0.8, f"{s}_shoulder": 0.2} for s in ("left", "right")},
        **{f"{s}_foot": {f"{s}_big_toe": 0.7, f"{s}_heel": 0.3} for s in ("left", "right")},
    }
    weight = torch.zeros(NUM_POINTS, NUM_LIFTED)
    for i, name in enumerate(POINT_NAMES):
        for source, share in middle.get(name, {name: 1.0}).items():
            weight[i, LIFTED_NAMES.index(source)] = share
    return weight


def _local(i: BodyInput | HandInput) -> torch.Tensor:
    return torch.cat([s.x * s.mask for s in _streams(i).values()], dim=-1)


def _sides_first(x: torch.Tensor) -> torch.Tensor:
    """(B, T, 2, C) -> (2 B, T, C), left hands first."""
    return torch.cat([x[:, :, 0], x[:, :, 1]], dim=0)


def _sides_last(x: torch.Tensor) -> torch.Tensor:
    """The inverse."""
    half = x.shape[0] // 2
    return torch.stack([x[:half], x[half:]], dim=2)
