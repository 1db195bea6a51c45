"""Measures in the picture: the share of key points that are right."""

import numpy as np

from .align import known_points

FOOT_WORDS = ("toe", "heel")


def keypoint_group(name: str) -> str:
    """ "hand", "foot" (toes and heels) or "body" (all else, ankles and wrists of the body included) of a point named as
    in :data:`hmcap.models.proxies.PROXY_NAMES`."""
    if "_hand_" in name:
        return "hand"
    return "foot" if name.endswith(FOOT_WORDS) else "body"


def relative_distances(
    predicted_px: np.ndarray, truth_px: np.ndarray, labelled: np.ndarray, image_size_px: tuple[int, int]
) -> np.ndarray:
    """(T, K) distance of each predicted point (T, K, 2) from its truth as a share of the image size, the longer side of
    the picture ``image_size_px`` (width, height). Infinite where the prediction is missing (NaN), NaN for points that
    do not count: not ``labelled`` (T, K), or without a true position."""
    distance = np.sqrt(((predicted_px - truth_px) ** 2).sum(-1)) / max(image_size_px)
    distance = np.where(known_points(predicted_px), distance, np.inf)
    return np.where(labelled & known_points(truth_px), distance, np.nan)


def pck_percent(distances: np.ndarray, threshold_percent: float) -> np.ndarray:
    """(T, K) 100 where a point is right, 0 where it is wrong, NaN where it does not count; means are PCK@threshold.

    Right: no farther from its truth than ``threshold_percent`` per cent of the image size (``distances`` as given by
    :func:`relative_distances`). A point that was not found is wrong. (Yang & Ramanan 2013, with the image for the box.)
    """
    with np.errstate(invalid="ignore"):
        right = np.where(distances <= threshold_percent / 100, 100.0, 0.0)
    return np.where(np.isnan(distances), np.nan, right)
