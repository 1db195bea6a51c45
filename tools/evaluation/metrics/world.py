"""Measures in the world: W- and WA-MPJPE, the error of the root's track, and of the vertical."""

import numpy as np

from .align import fit_similarity, known_points, known_sets
from .pose import distances_mm

CHUNK_ROWS = 100
"""Rows of a chunk of W-MPJPE100 and WA-MPJPE100."""
MIN_PATH_M = 0.1
"""A root whose true track is shorter has no RTE: a percentage of next to nothing says nothing."""


def chunk_numbers(known: np.ndarray) -> np.ndarray:
    """(T,) int number of the chunk of each row: rows whose truth is ``known`` (T,) bool are counted off in hundreds, as
    published (GVHMR takes the rows without valid truth out first). -1 for rows that are not known. The last chunk is
    as short as it comes out (GVHMR; WHAM lets the last full chunk swallow the rest and has none below 101 rows)."""
    return np.where(known, (np.cumsum(known) - 1) // CHUNK_ROWS, -1)


def world_errors_mm(
    predicted_m: np.ndarray, truth_m: np.ndarray, chunks: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """W and WA errors (T, J) of each joint (T, J, 3) in the world, millimetres; their means are W-MPJPE100 and
    WA-MPJPE100.

    Each chunk of 100 rows is aligned by one similarity, scale included (Umeyama 1991): fitted to the joints of the
    chunk's first two rows for W, of all its rows for WA. This is how SLAHMR, WHAM and GVHMR compute both; the scale is
    free in both, although papers often speak of W as of a rigid alignment. Rows with a missing prediction (NaN) are
    left out, and the first two that remain in the chunk align it; a chunk of one or two rows is aligned by all of them,
    so that W equals WA there. ``chunks`` (T,): see :func:`chunk_numbers`; None counts off the rows whose truth is
    known, so that chunks begin at the same rows for every method.
    """
    if chunks is None:
        chunks = chunk_numbers(known_sets(truth_m))
    used = known_sets(predicted_m, truth_m)
    w, wa = np.full(truth_m.shape[:2], np.nan), np.full(truth_m.shape[:2], np.nan)
    for chunk in range(int(chunks.max(initial=-1)) + 1):
        rows = np.flatnonzero((chunks == chunk) & used)
        if not len(rows):
            continue
        for out, by in ((w, rows[:2]), (wa, rows)):
            move = fit_similarity(predicted_m[by].reshape(-1, 3), truth_m[by].reshape(-1, 3))
            out[rows] = distances_mm(move(predicted_m[rows]), truth_m[rows])
    return w, wa


def root_track_errors_percent(predicted_m: np.ndarray, truth_m: np.ndarray) -> np.ndarray:
    """(T,) distance of the predicted root (T, 3) from the true one in per cent of the true path's length, after one
    rigid alignment, without scale, of the whole track; its mean is RTE (WHAM; the code that GVHMR shares with it).

    Rows in which either is missing (NaN) are left out; the path runs straight from each row that remains to the next.
    All NaN where fewer than three rows remain or the true path is shorter than :data:`MIN_PATH_M`.
    """
    out = np.full(len(truth_m), np.nan)
    rows = np.flatnonzero(known_points(predicted_m, truth_m))
    p, t = predicted_m[rows], truth_m[rows]
    path_m = np.sqrt((np.diff(t, axis=0) ** 2).sum(-1)).sum()
    if len(rows) >= 3 and path_m >= MIN_PATH_M:
        out[rows] = distances_mm(fit_similarity(p, t, with_scale=False)(p), t) / 1000 / path_m * 100
    return out


def gravity_errors_deg(predicted_T_cam_world: np.ndarray, true_T_cam_world: np.ndarray) -> np.ndarray:
    """(T,) angle in degrees between the predicted and the true vertical in the axes of the camera, from world-to-camera
    transforms (T, 4, 4) of worlds with Y up; NaN where either is missing. Heading and place do not count. Our own
    measure: a floor that tilts by one degree slides a person by 17 mm per metre of height."""
    p, t = (x[..., :3, 1] for x in (predicted_T_cam_world, true_T_cam_world))
    return np.degrees(np.arctan2(np.sqrt((np.cross(p, t) ** 2).sum(-1)), (p * t).sum(-1)))
