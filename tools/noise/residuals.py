"""Errors of observed clips, in the units and axes that the noise model is written in."""

from dataclasses import dataclass

import numpy as np

from .events import exchange, find_flips, find_swaps, flip
from .model import ABSENT_POINTS
from .observe import Observation
from .tracks import GROUP, MIRROR, MIRROR_33, centred3d, turned

MAX_ERROR = 0.5
"""An error beyond this share of the body's size is another person, or nobody: it is counted, not fitted. Hands: their
own size times five."""


@dataclass(frozen=True, slots=True, eq=False)
class Residuals:
    """Errors of the T frames of one clip; NaN where there is none to speak of."""

    fps: float
    error: np.ndarray
    """(T, 67, 2) of proxies, units and axes of the groups; exchanged sides are put right first."""
    true3: np.ndarray
    """(T, 75, 3) true 3-D, 33 body landmarks and two hands, in units of stature and hand; limbs turned over as seen."""
    seen3: np.ndarray
    """(T, 75, 3) observed 3-D, metres."""
    view: np.ndarray
    """(T, 3) radians."""
    visible: np.ndarray
    """(T, 67)."""
    size_px: np.ndarray
    """(T, 67) size of the group."""
    blur: np.ndarray
    """(T, 67) in units of the group."""
    swaps: np.ndarray
    """(T, 3) bool SWAPS."""
    flips: np.ndarray
    """(T, 8) bool segments turned over in depth."""
    flips_known: np.ndarray
    """(T, 8) bool whether one could tell."""
    axes: np.ndarray
    """(T, 3, 2, 2) of the groups, as in ``Conditions``."""
    strangers: float
    """Share of the body points beyond MAX_ERROR."""


def residuals(seen: Observation) -> Residuals:
    """Errors of one clip."""
    cond, tracks = seen.cond, seen.tracks
    swaps = find_swaps(np.nan_to_num(seen.xy_px, nan=-1e9), tracks.xy_px, cond.size_px[:, 0])
    swaps &= seen.present[:, None]
    size = cond.size_px[:, GROUP]
    error: np.ndarray = turned(cond, (exchange(seen.xy_px, swaps) - tracks.xy_px) / size[..., None], GROUP)
    error[:, ABSENT_POINTS] = np.nan
    with np.errstate(invalid="ignore"):
        far = np.greater(np.linalg.norm(error, axis=-1), np.where(GROUP == 0, MAX_ERROR, 5.0))
    strangers = float(far[:, GROUP == 0].sum() / max(1, np.isfinite(error[:, GROUP == 0, 0]).sum()))
    # A frame of another person says nothing at any point; a hand that is elsewhere nothing of that hand.
    for group in range(3):
        lost = np.mean(far[:, group == GROUP], axis=1) > 0.5
        far[:, group == GROUP] |= lost[:, None]
    error = np.where(far[..., None], np.nan, error)
    body, hands = centred3d(tracks, cond)
    stature = cond.size_m[:, 0, None, None]
    flips, known = find_flips(seen.body_xyz_m / stature, body)
    known &= ~np.any(swaps, axis=1)[:, None]
    flips &= known
    upset = np.any(swaps, axis=1) | np.any(far[:, GROUP == 0], axis=1)
    seen_body = np.where(upset[:, None, None], np.nan, seen.body_xyz_m)
    true3 = np.concatenate([flip(body, flips), hands.reshape(len(body), 42, 3)], axis=1)
    seen3 = np.concatenate([seen_body, seen.hands_xyz_m.reshape(len(body), 42, 3)], axis=1)
    # NaN where the 2-D of the same hand is NaN too
    for g in (1, 2):
        rows = slice(33 + 21 * (g - 1), 54 + 21 * (g - 1))
        seen3[:, rows] = np.where(
            np.all(np.isfinite(error[:, g == GROUP]), axis=(1, 2))[:, None, None], seen3[:, rows], np.nan
        )
    return Residuals(
        seen.fps,
        error,
        true3,
        seen3,
        cond.view_rad,
        tracks.visible,
        size,
        cond.blur,
        swaps,
        flips,
        known,
        cond.axes,
        strangers,
    )


_FLIP_X = np.array([-1.0, 1.0])
_FLIP_X3 = np.array([-1.0, 1.0, 1.0])


def mirrored(error: np.ndarray) -> np.ndarray:
    """Body errors (T, 25, 2) of the same take seen in a mirror; views change sign with it."""
    return error[:, MIRROR[:25]] * _FLIP_X


def mirrored3(values: np.ndarray) -> np.ndarray:
    """Body landmarks (T, 33, 3) of the same take seen in a mirror."""
    return values[:, MIRROR_33] * _FLIP_X3
