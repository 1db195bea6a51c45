"""A network over a batch under some look-ahead, densely: every frame is a target."""

import torch

from ...models.networks.motion_network import MotionNetwork
from ...models.networks.state import State
from .batches import Batch
from .targets import Targets


def unroll(
    network: MotionNetwork, batch: Batch, lookahead: int, *, descent: bool = True, amp: bool = True
) -> tuple[list[State], torch.Tensor, Targets]:
    """States (the initialiser's first), the body's box, and the targets of the T - lookahead frames that come out.

    descent: whether to refine. amp: whether learned layers run in bfloat16. Gradients reach the initialiser only
    without the descent, which is trained on a frozen one (ProxyCap supplement, 1.3).
    """
    seen = batch.seen
    frames = seen.xy.shape[1]
    end = frames - lookahead
    at = seen.map(lambda x: x[:, :end])
    ahead = one_hot(network, lookahead, seen.xy)
    caches = network.new_caches(len(seen.xy), seen.xy)
    with torch.autocast(seen.xy.device.type, torch.bfloat16, enabled=amp):
        with torch.set_grad_enabled(torch.is_grad_enabled() and not descent):
            body, hands, _ = network.initialiser.encode(seen, caches)
            body, hands = body[:, lookahead:], hands[:, lookahead:]
            state, box = network.initialiser.decode(body, hands, at, ahead)
        states = network.refine(state, at, box, body, hands, caches)[0] if descent else [state]
    return states, box, batch.truth.frames(0, end)


def one_hot(network: MotionNetwork, lookahead: int, like: torch.Tensor) -> torch.Tensor:
    """(B, 1, n) which of the configuration's look-aheads."""
    ahead = like.new_zeros(len(like), 1, len(network.config.lookaheads))
    ahead[..., network.config.lookaheads.index(lookahead)] = 1
    return ahead
