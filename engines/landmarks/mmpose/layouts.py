"""The key-point layouts of MMPose's networks, and where each of our landmarks is found in them.

Order and meaning follow the data sets' own definitions: COCO (17), Halpe with body and feet (26), COCO-WholeBody (133),
and the 21 points of a hand that COCO-WholeBody-Hand, OneHand10K and FreiHAND share.
"""

import difflib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ....models.errors import UsageError
from ....models.proxies import BLAZEPOSE_NAMES, HAND_NAMES

SIDES = ("left", "right")
_COCO = (
    "nose",
    *(f"{side}_{part}" for part in ("eye", "ear") for side in SIDES),
    *(f"{side}_{part}" for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle") for side in SIDES),
)
_HALPE_REST = ("head_top", "neck", "mid_hip", *(f"{s}_{p}" for p in ("big_toe", "small_toe", "heel") for s in SIDES))
_WHOLE_BODY_REST = (
    *(f"{side}_{part}" for side in SIDES for part in ("big_toe", "small_toe", "heel")),
    *(f"face{k}" for k in range(68)),
    *(f"{side}_hand_{name}" for side in SIDES for name in HAND_NAMES),
)


@dataclass(frozen=True, slots=True)
class Layout:
    """The key points of one kind of network."""

    name: str
    part: Literal["body", "hand"]
    summary: str
    points: tuple[str, ...]
    """Name of each key point, in the network's order; those that we use carry our own names."""

    def indices(self, names: tuple[str, ...]) -> np.ndarray:
        """(N,) place of each name in this layout, -1 where it has no such point."""
        places = {name: i for i, name in enumerate(self.points)}
        return np.array([places.get(name, -1) for name in names], np.int64)


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout("coco17", "body", "COCO: head and limbs", _COCO),
        Layout("halpe26", "body", "Halpe body and feet", _COCO + _HALPE_REST),
        Layout("wholebody133", "body", "COCO-WholeBody: body, feet, face, hands", _COCO + _WHOLE_BODY_REST),
        Layout("hand21", "hand", "one hand", HAND_NAMES),
    )
}
"""Every layout by name."""

_IN_PLACE_OF = {
    "foot_index": "big_toe",
    "index": "hand_index1",
    "pinky": "hand_pinky1",
    "thumb": "hand_thumb2",
}


def _name_here(landmark: str) -> str:
    side, _, part = landmark.partition("_")
    return f"{side}_{_IN_PLACE_OF.get(part, part)}" if part else landmark


BODY_LANDMARKS = tuple(_name_here(name) for name in BLAZEPOSE_NAMES)
"""(33,) what stands for each body landmark of the default network, in names of these layouts. Its fingers are knuckles
of the hand; no layout has its corners of mouth and eyes."""
PRESENCE_POINTS = _COCO
"""The points that tell whether somebody is there."""


def get_layout(name: str) -> Layout:
    """The layout of that name. Raises :class:`UsageError` with the nearest name for an unknown one."""
    if name in LAYOUTS:
        return LAYOUTS[name]
    near = difflib.get_close_matches(name.lower(), LAYOUTS, n=1, cutoff=0.3)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise UsageError(f"Expected --layout to be one of {', '.join(LAYOUTS)}; found {name!r}.{hint}")


def layout_of_count(count: int) -> Layout | None:
    """The layout with that number of key points, if there is one."""
    return next((layout for layout in LAYOUTS.values() if len(layout.points) == count), None)
