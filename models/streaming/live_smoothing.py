"""Rotations made smooth as they come: the one-euro filter (Casiez, Roussel and Vogel, 2012), on rotations.

What hardly turns is smoothed much, so that it does not tremble; what turns fast hardly at all, so that it does not lag.
"""

import numpy as np

from ..rotations import axis_angle_to_matrix, matrix_to_axis_angle
from .records import RATE_HZ
from .world_settings import WorldSettings


class LiveRotations:
    """Smooths (J, 3, 3) rotations frame by frame."""

    def __init__(self, settings: WorldSettings) -> None:
        self._settings = settings
        self._R: np.ndarray | None = None
        self._velocity_rad_s = np.zeros(3)

    def push(self, R: np.ndarray) -> np.ndarray:
        """(J, 3, 3) of one frame more, smoothed; the first is as it is."""
        s, R = self._settings, np.asarray(R, np.float64)
        if self._R is None:
            self._R, self._velocity_rad_s = R.copy(), np.zeros((len(R), 3))
            return R
        turn = matrix_to_axis_angle(self._R.transpose(0, 2, 1) @ R)
        self._velocity_rad_s += _share(s.live_speed_hz) * (turn * RATE_HZ - self._velocity_rad_s)
        cutoff = s.live_cutoff_hz + s.live_cutoff_per_rad * np.linalg.norm(self._velocity_rad_s, axis=-1)
        # What the networks give is orthonormal to their precision; a first-order mend keeps the product so.
        turned = self._R @ axis_angle_to_matrix(_share(cutoff)[:, None] * turn)
        self._R = smooth = 1.5 * turned - 0.5 * turned @ (turned.transpose(0, 2, 1) @ turned)
        return smooth.copy()


def _share(cutoff_hz: float | np.ndarray) -> np.ndarray:
    """Share of the new in a first-order low pass."""
    return 1 / (1 + RATE_HZ / (2 * np.pi * np.asarray(cutoff_hz, np.float64)))
