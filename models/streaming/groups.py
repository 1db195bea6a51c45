"""Which parts of the body the image decides: confidence and measured or held, for every joint group and frame."""

import numpy as np

from ..motion import GROUP_NAMES
from ..observed import Observed
from ..proxies import BODY, LEFT_HAND, NUM_PROXIES, PROXY_NAMES, RIGHT_HAND
from ..solver.assemble import group_confidence
from .world_settings import WorldSettings

HANDS = np.array([GROUP_NAMES.index(f"{s}_hand") for s in ("left", "right")])
TORSO = GROUP_NAMES.index("torso")
LEGS = np.array([GROUP_NAMES.index(f"{s}_leg") for s in ("left", "right")])
_USUAL_ERROR_M = np.array([0.25 if n in HANDS else 0.20 for n in range(len(GROUP_NAMES))])
"""Expected error of a group at which it counts half."""
_MEANS = group_confidence(np.eye(NUM_PROXIES))
"""(67, 8) proxy confidences times this are the groups'."""
_SEEN = 0.2
"""Mean confidence from which a hand or a leg counts as in view."""
_LEG_PROXIES = np.array([PROXY_NAMES.index(f"{s}_{j}") for s in ("left", "right") for j in ("knee", "ankle")])
_MIN_PROXIES = 4


def present_in(confidence: np.ndarray) -> np.ndarray:
    """(T,) bool: whether a person is seen, from proxy confidences (T, 67)."""
    return (confidence[..., BODY] > 0).sum(-1) >= _MIN_PROXIES


def confidence_of_groups(confidence: np.ndarray, group_error_m: np.ndarray) -> np.ndarray:
    """(T, 8) mean confidence of each group's proxies (T, 67), less where the networks expect a large error (T, 8)."""
    doubt = np.maximum(np.asarray(group_error_m, np.float64), 0.0) / _USUAL_ERROR_M
    return np.asarray(confidence, np.float64) @ _MEANS / (1 + doubt**2)


class Hysteresis:
    """Measured or held, frame by frame: a group changes its state only beyond the other threshold."""

    def __init__(self, settings: WorldSettings) -> None:
        self._on, self._off = settings.measured_above, settings.held_below
        self._state: np.ndarray | None = None

    def push(self, confidence: np.ndarray) -> np.ndarray:
        """(8,) bool for one frame's group confidences (8,)."""
        if self._state is None:
            self._state = confidence >= (self._on + self._off) / 2
        self._state = np.where(self._state, confidence >= self._off, confidence >= self._on)
        return self._state

    def run(self, confidence: np.ndarray) -> np.ndarray:
        """(T, 8) bool for (T, 8)."""
        return np.array([self.push(c) for c in confidence]).reshape(confidence.shape)


def hands_seen(observed: Observed) -> np.ndarray:
    """(T, 2) bool: the left and the right hand are in view."""
    c = observed.confidence
    return c[..., LEFT_HAND.start : RIGHT_HAND.stop].reshape(*c.shape[:-1], 2, -1).mean(-1) > _SEEN


def legs_seen(observed: Observed) -> np.ndarray:
    """(T, 2) bool: the left and the right leg are in view, be it the knee alone."""
    c = observed.confidence[..., _LEG_PROXIES]
    return c.reshape(*c.shape[:-1], 2, 2).max(-1) > _SEEN
