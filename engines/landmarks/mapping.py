"""From the landmark networks' joints to the 67 proxies and their confidence."""

from collections.abc import Sequence

import numpy as np

from ...models.proxies import BLAZEPOSE_NAMES, BODY, BODY_NAMES, LEFT_HAND, NUM_PROXIES, RIGHT_HAND, Proxies
from .networks import Body, Hand

_RENAMED = {"left_big_toe": "left_foot_index", "right_big_toe": "right_foot_index"}
_PAIRS = {"neck": ("left_shoulder", "right_shoulder"), "mid_hip": ("left_hip", "right_hip")}
_ABSENT = ("left_small_toe", "right_small_toe")


def _sources() -> np.ndarray:
    rows = []
    for name in BODY_NAMES:
        pair = _PAIRS.get(name, (_RENAMED.get(name, name),) * 2)
        rows.append([0, 0] if name in _ABSENT else [BLAZEPOSE_NAMES.index(n) for n in pair])
    return np.array(rows)


_SOURCES = _sources()
"""(25, 2) the two body landmarks whose middle is the proxy (twice the same one for most)."""

_SMALL_TOES = [BODY_NAMES.index(name) for name in _ABSENT]

_WRONG_SIDE_PENALTY = 0.6

_KNOWN = np.array([name not in _ABSENT for name in BODY_NAMES])


def inside_image(xy_px: np.ndarray, image_size_px: tuple[int, int]) -> np.ndarray:
    """(...,) whether points (..., 2) lie in the image."""
    return np.all((xy_px >= 0) & (xy_px <= np.subtract(image_size_px, 1)), axis=-1)


def to_proxies(
    index: int, stamp_s: float, image_size_px: tuple[int, int], body: Body, hands: Sequence[Hand | None]
) -> Proxies:
    """The proxies of one frame.

    The body's confidence is visibility times in-frame probability, the lower one of a pair; a hand's is what the
    network says of each landmark, or else its presence score, less up to 60 % where the network takes it for a hand of
    the other side: then it sits in the right place, but its thumb and little finger may be exchanged. Joints outside
    the image, hands that are not seen, and small toes of a network that has none are masked.
    """
    xy_px = np.zeros((NUM_PROXIES, 2), np.float32)
    confidence = np.zeros(NUM_PROXIES, np.float32)
    hands_xyz_m = np.full((2, 21, 3), np.nan, np.float32)
    xy_px[BODY] = body.xy_px[_SOURCES].mean(axis=1)
    confidence[BODY] = (body.visibility * body.in_frame)[_SOURCES].min(axis=1) * _KNOWN
    toes = body.small_toes[:, 2] > 0
    if toes.any():
        rows = np.array(_SMALL_TOES)[toes]
        xy_px[rows], confidence[rows] = body.small_toes[toes, :2], body.small_toes[toes, 2]
    for side, (hand, part) in enumerate(zip(hands, (LEFT_HAND, RIGHT_HAND), strict=True)):
        if hand is not None:
            xy_px[part], hands_xyz_m[side] = hand.xy_px, hand.xyz_m
            given = hand.presence if hand.confidence is None else hand.confidence
            confidence[part] = given * (1 - _WRONG_SIDE_PENALTY * (1 - hand.agreement(side)))
    confidence *= inside_image(xy_px, image_size_px)
    return Proxies(
        index,
        stamp_s,
        image_size_px,
        xy_px,
        np.clip(confidence, 0, 1),
        body.xyz_m.astype(np.float32),
        hands_xyz_m,
        float(np.clip(body.presence, 0, 1)),
    )
