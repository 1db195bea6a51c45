"""Sizes and switches of the motion networks."""

from dataclasses import asdict, dataclass, fields
from itertools import accumulate
from typing import Any

from ..errors import HmcapError

STEP_RATE_HZ = 30.0
"""Frames a second that the networks are trained at."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Everything that decides the shape of the networks. Checkpoints and exported graphs carry it."""

    size: str = "base"
    """Name of the size: ``base`` for a CPU in real time, ``large`` for a GPU."""
    body_channels: int = 384
    """Channels of the body encoder."""
    hand_channels: int = 128
    """Channels of the hand encoder, which serves both hands, the left one mirrored."""
    dilations: tuple[int, ...] = (3, 9, 27)
    """Dilations of the blocks after the first layer (kernel 3): (1, 3, 9, 27) see 81 frames."""
    blocks_per_dilation: int = 1
    """Blocks of each dilation; those after the first have a kernel of one frame."""
    attention_channels: int = 192
    """Width of the cross attention between body and hands."""
    decoder_channels: int = 512
    """Width of the body decoder; the hand decoder has half of it."""
    descent_channels: int = 128
    """Width of each token of the descent."""
    descent_hidden: int = 384
    """Width of the descent's update."""
    iterations: int = 3
    """Iterations of the descent, N."""
    num_betas: int = 10
    """Shape coefficients."""
    partial: bool = True
    """Partial convolutions; False leaves masked input as zeros (for the ablation)."""
    cross_attention: bool = True
    """Cross attention between body and hands; False leaves them apart (for the ablation)."""
    contact_term: bool = True
    """S_contact in the descent; False leaves it out (for the ablation)."""
    relative_3d: bool = True
    """Whether the landmark networks' own 3-D is looked at."""

    @property
    def lookaheads(self) -> tuple[int, ...]:
        """Frames of look-ahead on offer: none, or as far as the first layers see, each by its dilation."""
        return tuple(accumulate((1, *self.dilations), initial=0))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str) -> "NetworkConfig":
        """The configuration that ``where`` (a file's name) carries. Raises HmcapError where it is another kind."""
        known = {f.name for f in fields(cls)}
        if set(values) != known:
            wrong = sorted(set(values) ^ known)
            raise HmcapError(
                f"Expected the configuration of this version's motion networks in {where}, but {', '.join(wrong)} "
                "does not fit. Train or export it again with this version."
            )
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**plain)


SIZES = {
    "base": NetworkConfig(),
    "large": NetworkConfig(
        size="large",
        body_channels=1024,
        hand_channels=384,
        blocks_per_dilation=2,
        attention_channels=512,
        decoder_channels=1024,
        descent_channels=256,
        descent_hidden=1024,
    ),
}
"""The sizes by name."""
