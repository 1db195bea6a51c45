"""Where the landmark networks mark a joint, as against where the body model has it.

A network learned its landmarks from people who clicked on pictures: its hip lies lower and nearer the middle than the
joint does, its ear ahead of the ear. Seen over many people these offsets are constant in the frame of the bone, so the
solver compares each landmark with the place that the network means. Measured by ``tools/measure_offsets.py`` in one
pass from none: pose and offset trade places, so more passes wander off.
"""

import numpy as np

from ..proxies import PROXY_NAMES

_LEFT_M: dict[str, tuple[float, float, float]] = {
    "shoulder": (-0.008, 0.003, 0.000),
    "elbow": (-0.006, 0.001, 0.003),
    "wrist": (0.011, 0.002, 0.000),
    "hip": (-0.013, -0.018, -0.004),
    "eye": (-0.001, -0.002, -0.006),
    "ear": (-0.023, 0.008, 0.027),
}
"""Offset of the left landmark in the rest frame of its joint, metres: left, up, forward. The right one mirrors it."""

_MIDDLE_M: dict[str, tuple[float, float, float]] = {"nose": (0.000, 0.002, -0.011)}
"""The same for landmarks on neither side."""


def landmark_offsets_m() -> np.ndarray:
    """(67, 3) offsets of the proxies in the rest pose, metres; zero where none was measured."""
    out = np.zeros((len(PROXY_NAMES), 3))
    for name, (x, y, z) in _LEFT_M.items():
        out[PROXY_NAMES.index(f"left_{name}")] = x, y, z
        out[PROXY_NAMES.index(f"right_{name}")] = -x, y, z
    for name, offset in _MIDDLE_M.items():
        out[PROXY_NAMES.index(name)] = offset
    return out
