"""Left stays left: undo the body network's sudden exchanges of the person's two sides.

Seen from behind, or in a rare pose, the network now and then takes the front for the back from one frame to the next:
every left joint jumps to the right one's place and back again some frames later, at full confidence.
"""

from dataclasses import replace

import numpy as np

from ...models.proxies import BLAZEPOSE_NAMES
from .networks import Body

_PARTS = {"arms": ("shoulder", "elbow", "wrist"), "legs": ("hip", "knee", "ankle")}
_JOINTS = {
    part: np.array([BLAZEPOSE_NAMES.index(f"{side}_{joint}") for side in ("left", "right") for joint in joints])
    for part, joints in _PARTS.items()
}
"""The joints that tell whether the sides were exchanged."""

_MIN_JUMP = 0.08
_MAX_RATIO = 0.5
_MAX_GAP_S = 0.3
_MAX_EXCHANGED_S = 2.0
_BURST_S = 0.3


def _other_side(name: str) -> str:
    for one, other in (("left", "right"), ("right", "left")):
        if one in name:
            return name.replace(one, other)
    return name


OTHER_SIDE = np.array([BLAZEPOSE_NAMES.index(_other_side(name)) for name in BLAZEPOSE_NAMES])
"""(33,) the body landmark on the other side; a landmark on neither side is its own."""


def exchange_sides(body: Body) -> Body:
    """The same landmarks with left and right exchanged, without their 3-D: that was made for a body facing the other
    way, and misleads whoever believes it."""
    return replace(
        body,
        xy_px=body.xy_px[OTHER_SIDE],
        visibility=body.visibility[OTHER_SIDE],
        in_frame=body.in_frame[OTHER_SIDE],
        xyz_m=np.full_like(body.xyz_m, np.nan),
        small_toes=body.small_toes[::-1],
        hands=body.hands[::-1],
    )


def is_exchanged(body: Body, before_px: np.ndarray, strict: bool = True) -> bool:
    """Whether the limbs jump from where they were (33, 2) in the frame before, unless left and right are exchanged.

    ``strict``: arms and legs must agree, because legs that cross, or an arm that passes the other, say nothing of the
    rest.
    """
    radius_px = body.roi.size_px / 2.5
    joints = np.stack(list(_JOINTS.values()))
    as_given = np.linalg.norm(body.xy_px[joints] - before_px[joints], axis=2).mean(axis=1) / radius_px
    exchanged = np.linalg.norm(body.xy_px[OTHER_SIDE[joints]] - before_px[joints], axis=2).mean(axis=1) / radius_px
    clear = as_given.mean() > _MIN_JUMP and exchanged.mean() < _MAX_RATIO * as_given.mean()
    return bool(clear and (not strict or (exchanged < as_given).all()))


class SideKeeper:
    """Exchanges the sides of a body back where that, and only that, makes it continue the frame before.

    A person who really turns passes through a side view, where both readings are equally near, and the network's is
    taken. Without such a moment the network is believed again after two seconds. Exchanges come in bursts: for a moment
    after one, arms or legs alone are reason enough for the next.
    """

    def __init__(self) -> None:
        self._xy_px: np.ndarray | None = None
        self._stamp_s = 0.0
        self._since_s: float | None = None
        self._last_s = -np.inf

    def __call__(self, body: Body, stamp_s: float) -> Body:
        """``body``, or the same with its sides exchanged."""
        before_px = self._xy_px if 0 <= stamp_s - self._stamp_s <= _MAX_GAP_S else None
        strict = stamp_s - self._last_s > _BURST_S
        kept = body
        if before_px is None or not is_exchanged(body, before_px, strict):
            self._since_s = None
        else:
            self._since_s = stamp_s if self._since_s is None else self._since_s
            if stamp_s - self._since_s <= _MAX_EXCHANGED_S:
                kept, self._last_s = exchange_sides(body), stamp_s
        self._xy_px, self._stamp_s = kept.xy_px, stamp_s
        return kept
