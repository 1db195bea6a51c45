"""Input that goes missing while training (ProxyCap supplement, 1.2: half of the takes are randomly masked)."""

from dataclasses import replace

import torch

from ...models.observed import Observed
from ...models.proxies import PROXY_NAMES

MASKED_SHARE = 0.5
"""Share of the takes with random masks."""
EVENTS = 4
"""Spans of missing groups in a masked take."""
NO_BODY_3D, NO_HAND_3D = 0.15, 0.25
"""Share of the takes in which the landmark networks' own 3-D of the body, of each hand, is dropped."""


def _groups() -> torch.Tensor:
    """(G, 67) bool: what goes missing together."""
    sides = {}
    for s in ("left", "right"):
        hand = {n for n in PROXY_NAMES if n.startswith(f"{s}_hand_")}
        arm = {f"{s}_elbow", f"{s}_wrist"} | hand
        foot = {f"{s}_{n}" for n in ("big_toe", "small_toe", "heel", "ankle")}
        sides[s] = (hand, arm, foot, foot | {f"{s}_knee"})
    everything = set(PROXY_NAMES)
    legs = sides["left"][3] | sides["right"][3]
    hips = {"mid_hip", "left_hip", "right_hip"}
    both_hands = sides["left"][0] | sides["right"][0]
    head = {n for n in PROXY_NAMES if n.split("_")[-1] in ("nose", "eye", "ear")}
    groups = [*sides["left"], *sides["right"], *sides["left"][:1], *sides["right"][:1], both_hands, legs,
              legs | hips, sides["left"][2] | sides["right"][2], head, everything]  # fmt: skip
    return torch.tensor([[n in g for n in PROXY_NAMES] for g in groups])


GROUPS = _groups()


def random_masks(generator: torch.Generator, o: Observed) -> Observed:
    """The observations (B, T, ...) with some of them gone."""
    B, T = o.confidence.shape[:2]
    device = o.confidence.device

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, device=device)

    groups = GROUPS.to(device)
    which = groups[(draw(B, EVENTS) * len(groups)).long()]
    # Most spans are short, some are the whole take.
    length = torch.where(draw(B, EVENTS) < 0.2, 2.0 * T, T * draw(B, EVENTS) ** 3)
    begin = draw(B, EVENTS) * (T + length) - length
    frame = torch.arange(T, device=device)
    during = (frame >= begin[..., None]) & (frame < (begin + length)[..., None])
    gone = (during[..., None] & which[:, :, None]).any(1)
    gone = gone | (draw(B, T, o.confidence.shape[-1]) < 0.3 * draw(B, 1, 1) ** 2)
    gone = gone & (draw(B, 1, 1) < MASKED_SHARE)
    kept = (~gone).to(o.xy.dtype)
    hands = torch.stack([kept[..., 25:46].amax(-1), kept[..., 46:].amax(-1)], dim=-1)
    body_3d = (draw(B, 1) >= NO_BODY_3D).to(kept.dtype) * kept[..., :25].amax(-1)
    hand_3d = (draw(B, 1, 2) >= NO_HAND_3D).to(kept.dtype) * hands
    return masked(o, kept, body_3d, hand_3d)


def masked(o: Observed, kept: torch.Tensor, body_3d: torch.Tensor, hand_3d: torch.Tensor) -> Observed:
    """The observations where kept (B, T, 67), body_3d (B, T) and hand_3d (B, T, 2) are 1; zero elsewhere."""
    return replace(
        o,
        xy=o.xy * kept[..., None],
        confidence=o.confidence * kept,
        body_xyz_m=o.body_xyz_m * body_3d[..., None, None],
        body_xyz_known=o.body_xyz_known * body_3d,
        hands_xyz_m=o.hands_xyz_m * hand_3d[..., None, None],
        hands_xyz_known=o.hands_xyz_known * hand_3d,
    )
