"""COCO-WholeBody's 133 key points of one person as a case."""

import numpy as np

from ....models.camera import DEFAULT_FOV_DEG, Camera
from ....models.proxies import HAND_NAMES
from ..records import Case, Footage, Motion3D
from .reading import COCO_NAMES

_FEET = ("left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel")
_HANDS = tuple(f"{s}_hand_{n}" for s in ("left", "right") for n in HAND_NAMES)
NAMES = (*COCO_NAMES, *_FEET, *_HANDS)
"""The 65 of the 133 that are proxies: 17 body, 6 foot, 21 left hand, 21 right hand. COCO has no neck and no middle of
the hips, and the proxies have no face."""
ROWS = (*range(23), *range(91, 133))
"""Their places among the 133: body 0 to 16, feet 17 to 22, (face 23 to 90,) left hand 91 to 111, right hand to 132."""
_NOTES = (
    f"Nothing is known of the lens: a field of view of {DEFAULT_FOV_DEG:g} degrees is assumed. Key points that are "
    "labelled but hidden count like those that are seen."
)


def wholebody_case(
    set_name: str,
    name: str,
    footage: Footage,
    size_px: tuple[int, int],
    keypoints: np.ndarray,
    box_px: np.ndarray,
) -> Case:
    """The case of one person.

    keypoints: (133, 3) x, y, visibility; labelled where the visibility is over 0 (1 hidden, 2 seen; those of feet and
    hands may be fractions). box_px: (4,) x, y, width, height of the person.
    """
    chosen = keypoints[list(ROWS)]
    labelled = (chosen[:, 2] > 0) & np.isfinite(chosen[:, :2]).all(-1)
    return Case(
        set_name,
        name,
        0.0,
        Camera.from_fov(*size_px, DEFAULT_FOV_DEG, "assumed"),
        Motion3D(
            keypoint_names=NAMES,
            keypoints_px=np.where(labelled[:, None], chosen[:, :2], np.nan)[None],
            keypoint_confidence=labelled[None].astype(np.float64),
        ),
        footage,
        compared=(),
        root=(),
        box_px=box_px[None],
        notes=_NOTES,
    )
