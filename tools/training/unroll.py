"""A network over a batch under some look-ahead, densely: every frame is a target."""

import torch

from ...models.networks.motion_network import MotionNetwork
from ...models.networks.state import State
from ...models.observed import Observed
from .batches import Batch
from .targets import Targets


def unroll(
    network: MotionNetwork, batch: Batch, lookahead: int, *, descent: bool = True, amp: bool = True
) -> tuple[list[State], torch.Tensor, Targets]:
    """States (the initialiser's first), the body's box, and the targets, all of the batch's T frames. After the last
    of them nothing is seen, as at the end of a file.

    descent: whether to refine. amp: whether learned layers run in bfloat16. Gradients reach the initialiser only
    without the descent, which is trained on a frozen one (ProxyCap supplement, 1.3).
    """
    seen = batch.seen
    ahead = one_hot(network, lookahead, seen.xy)
    caches = network.new_caches(len(seen.xy), seen.xy)
    with torch.autocast(seen.xy.device.type, torch.bfloat16, enabled=amp):
        with torch.set_grad_enabled(torch.is_grad_enabled() and not descent):
            body, hands, _ = network.initialiser.encode(followed_by_nothing(seen, lookahead), ahead, caches)
            state, box = network.initialiser.decode(body[:, lookahead:], hands[:, lookahead:], seen, ahead)
        if not descent:
            return [state], box, batch.truth
        features = body[:, lookahead:], hands[:, lookahead:]
        return network.refine(state, seen, box, *features, caches)[0], box, batch.truth


def followed_by_nothing(seen: Observed, frames: int) -> Observed:
    """Observations (B, T, ...) and as many masked frames more."""
    return seen.map(lambda x: torch.cat([x, x.new_zeros(len(x), frames, *x.shape[2:])], dim=1)) if frames else seen


def one_hot(network: MotionNetwork, lookahead: int, like: torch.Tensor) -> torch.Tensor:
    """(B, 1, n) which of the configuration's look-aheads."""
    ahead = like.new_zeros(len(like), 1, len(network.config.lookaheads))
    ahead[..., network.config.lookaheads.index(lookahead)] = 1
    return ahead
