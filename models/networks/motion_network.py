"""The whole: initialiser and descent, over runs of frames in training and frame by frame in a capture."""

import torch
from torch import nn

from ..body import load_body
from ..observed import Observed
from .config import NetworkConfig
from .descent import PREVIOUS, DescentStep
from .initialiser import Caches, Initialiser
from .kinematics import BodyPoints
from .state import State


class MotionNetwork(nn.Module):
    """Proxies to states. The body is part of it: constants of the built-in one."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.points = BodyPoints(load_body(num_betas=config.num_betas))
        self.initialiser = Initialiser(config)
        self.descent = nn.ModuleList(DescentStep(config, self.points) for _ in range(config.iterations))

    def new_caches(self, batch: int, like: torch.Tensor) -> Caches:
        """Zeros for the start of a take, by name."""
        out = self.initialiser.new_caches(batch, like)
        for i in range(len(self.descent)):
            out[f"descent{i}"] = like.new_zeros(batch, 1, PREVIOUS)
        return out

    def forward(
        self, newest: Observed, at: Observed, ahead: torch.Tensor, caches: Caches
    ) -> tuple[list[State], torch.Tensor, Caches]:
        """States after the initialiser and after each step of the descent, of the frames ``at``.

        newest: (B, T, ...) frames as they come. at: the same frames, later by the look-ahead. ahead: (B, 1, n) one-hot
        among the configuration's look-aheads. Returns the states, the body's box (B, T, 3) in those frames, and the
        caches for the frames that follow.
        """
        body, hands, after = self.initialiser.encode(newest, ahead, caches)
        state, box = self.initialiser.decode(body, hands, at, ahead)
        states, descent_after = self.refine(state, at, box, body, hands, caches)
        return states, box, after | descent_after

    def refine(
        self, state: State, at: Observed, box: torch.Tensor, body: torch.Tensor, hands: torch.Tensor, caches: Caches
    ) -> tuple[list[State], Caches]:
        """The initialiser's state, and the states after each step of the descent."""
        states, after = [state], {}
        for i, step in enumerate(self.descent):
            state, after[f"descent{i}"] = step(state, at, box, body, hands, caches[f"descent{i}"])
            states.append(state)
        return states, after
