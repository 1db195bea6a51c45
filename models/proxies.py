"""The 67 proxy joints that the landmark stage measures and the motion stage explains (networks: section 1)."""

from dataclasses import dataclass, field

import numpy as np

BODY_NAMES = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "mid_hip", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
    "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
)  # fmt: skip
"""BODY_25 in OpenPose order."""

HAND_NAMES = ("wrist", *(f"{f}{k}" for f in ("thumb", "index", "middle", "ring", "pinky") for k in (1, 2, 3, 4)))
"""21 joints of one hand: wrist, then five fingers from root to tip."""

PROXY_NAMES = (*BODY_NAMES, *(f"left_hand_{n}" for n in HAND_NAMES), *(f"right_hand_{n}" for n in HAND_NAMES))
"""The 67 proxies: 25 body, 21 left hand, 21 right hand."""

NUM_PROXIES = len(PROXY_NAMES)
BODY = slice(0, 25)
LEFT_HAND = slice(25, 46)
RIGHT_HAND = slice(46, 67)

BLAZEPOSE_NAMES = (
    "nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye", "right_eye_outer",
    "left_ear", "right_ear", "mouth_left", "mouth_right", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_pinky", "right_pinky", "left_index", "right_index",
    "left_thumb", "right_thumb", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    "left_heel", "right_heel", "left_foot_index", "right_foot_index",
)  # fmt: skip
"""The 33 body landmarks of the default landmark network, whose relative 3-D travels as an extra."""


@dataclass(frozen=True, slots=True)
class Proxies:
    """What the landmark stage saw of one person in one frame."""

    index: int
    """Frame number in the source, from 0."""
    stamp_s: float
    """Time stamp of the source, seconds."""
    image_size_px: tuple[int, int]
    """Width and height of the upright image."""
    xy_px: np.ndarray
    """(67, 2) float32 proxy positions, pixels of the upright image; x right, y down. Undefined where masked."""
    confidence: np.ndarray
    """(67,) float32 in 0..1; exactly 0 where the joint is masked (not seen)."""
    body_xyz_m: np.ndarray
    """(33, 3) float32 relative 3-D of the body network in BLAZEPOSE_NAMES order, metres, hip-centred, axes of the
    camera (x right, y down, z forward). NaN where the network gives none."""
    hands_xyz_m: np.ndarray
    """(2, 21, 3) float32 relative 3-D of the left and right hand, same axes, own centre. NaN where no hand is seen."""
    score: float
    """Person presence score in 0..1; 0 when nobody was found."""
    face: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    """(52,) float32 weights of the face shapes in ARKIT_NAMES order, 0..1, all NaN where no face is seen; (0,) where
    the face is not captured."""

    @property
    def present(self) -> bool:
        """Whether a person was found in this frame."""
        return bool(self.score > 0)

    @classmethod
    def absent(cls, index: int, stamp_s: float, image_size_px: tuple[int, int]) -> "Proxies":
        """The record of a frame in which nobody was found: every joint masked."""
        return cls(
            index,
            stamp_s,
            image_size_px,
            np.zeros((NUM_PROXIES, 2), np.float32),
            np.zeros(NUM_PROXIES, np.float32),
            np.full((33, 3), np.nan, np.float32),
            np.full((2, 21, 3), np.nan, np.float32),
            0.0,
        )
