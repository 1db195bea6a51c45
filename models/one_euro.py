"""The one-euro filter, which smooths what is nearly still and lets through what moves."""

import math

import numpy as np


class OneEuroFilter:
    """Speed-adaptive low pass (Casiez, Roussel, Vogel 2012) over an array of any shape."""

    def __init__(self, min_cutoff_hz: float, beta: float, derivative_cutoff_hz: float = 1.0) -> None:
        self._min_cutoff_hz, self._beta, self._derivative_cutoff_hz = min_cutoff_hz, beta, derivative_cutoff_hz
        self._raw = self._value = self._speed = None
        self._stamp_s = 0.0

    def __call__(self, value: np.ndarray, stamp_s: float, scale: float) -> np.ndarray:
        """The filtered value; ``scale`` is the object's size, which makes the speed independent of resolution."""
        if self._raw is None or self._value is None or self._speed is None:
            self._raw, self._value, self._speed, self._stamp_s = value, value, np.zeros_like(value), stamp_s
            return value
        dt_s = stamp_s - self._stamp_s
        if dt_s <= 0:
            return value
        speed = (value - self._raw) / (scale * dt_s)
        self._speed = self._blend(self._speed, speed, self._derivative_cutoff_hz, dt_s)
        cutoff_hz = self._min_cutoff_hz + self._beta * np.abs(self._speed)
        self._value = self._blend(self._value, value, cutoff_hz, dt_s)
        self._raw, self._stamp_s = value, stamp_s
        return self._value

    @staticmethod
    def _blend(old: np.ndarray, new: np.ndarray, cutoff_hz: np.ndarray | float, dt_s: float) -> np.ndarray:
        alpha = 1 / (1 + 1 / (2 * math.pi * cutoff_hz * dt_s))
        return alpha * new + (1 - alpha) * old
