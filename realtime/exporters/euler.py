"""Euler angles of joint tracks that stay continuous over time."""

import numpy as np

GIMBAL_COS = 1e-6
"""Below this cosine of the middle angle only the sum of the outer two is defined; ignoring the rest costs 1e-6 rad."""


def matrix_to_euler_zxy(R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intrinsic Z-X-Y angles of rotation matrices: ``R = Rz(a) Rx(b) Ry(c)``.

    Args:
        R: (..., 3, 3) rotation matrices.

    Returns:
        angles (..., 3) radians in the order a (Z), b (X), c (Y), with b in -pi/2..pi/2, and a mask (...) that is True
        where the outer axes are parallel; there c is 0 and a carries the whole turn.
    """
    cos_b = np.hypot(R[..., 0, 1], R[..., 1, 1])
    b = np.arctan2(R[..., 2, 1], cos_b)
    locked = cos_b < GIMBAL_COS
    a = np.where(locked, np.arctan2(R[..., 1, 0], R[..., 0, 0]), np.arctan2(-R[..., 0, 1], R[..., 1, 1]))
    c = np.where(locked, 0.0, np.arctan2(-R[..., 2, 0], R[..., 2, 2]))
    return np.stack((a, b, c), axis=-1), locked


def euler_zxy_to_matrix(angles: np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotation matrices of intrinsic Z-X-Y angles (..., 3), radians in the order Z, X, Y."""
    (sa, sb, sc), (ca, cb, cc) = np.moveaxis(np.sin(angles), -1, 0), np.moveaxis(np.cos(angles), -1, 0)
    rows = (
        (ca * cc - sa * sb * sc, -sa * cb, ca * sc + sa * sb * cc),
        (sa * cc + ca * sb * sc, ca * cb, sa * sc - ca * sb * cc),
        (-cb * sc, sb, cb * cc),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def continuous_euler_zxy(R: np.ndarray, before: np.ndarray | None = None) -> np.ndarray:
    """Z-X-Y angles of a rotation track with the fewest jumps a viewer could trip over.

    A rotation has two Euler triples, each up to whole turns; every frame takes the one nearest to the frame before (the
    first: nearest to zero). Where the outer axes are parallel, the turn is shared between them so that both move least.
    No channel ever jumps by more than half a turn.

    Args:
        R: (T, ..., 3, 3) rotation matrices, time first.
        before: (..., 3) angles of the frame before the first, where a long track comes in pieces.

    Returns:
        (T, ..., 3) radians in the order Z, X, Y, not limited to one turn.
    """
    principal, locked = matrix_to_euler_zxy(np.asarray(R, dtype=np.float64))
    mirrored = np.stack((principal[..., 0] + np.pi, np.pi - principal[..., 1], principal[..., 2] + np.pi), axis=-1)
    out = np.empty_like(principal)
    before = np.zeros(principal.shape[1:]) if before is None else before
    for t in range(len(principal)):
        near = [_nearest_turn(candidate[t], before) for candidate in (principal, mirrored)]
        cost = [np.sum((c - before) ** 2, axis=-1) for c in near]
        best = np.where((cost[0] <= cost[1])[..., None], near[0], near[1])
        if locked[t].any():
            best = np.where(locked[t][..., None], _share_locked_turn(principal[t], before), best)
        out[t] = before = best
    return out


def _nearest_turn(angles: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """``angles`` plus the whole turns that bring each within half a turn of ``reference``."""
    return angles - 2 * np.pi * np.round((angles - reference) / (2 * np.pi))


def _share_locked_turn(angles: np.ndarray, before: np.ndarray) -> np.ndarray:
    """The nearest triple of a locked rotation: at b = +pi/2 only a + c counts, at b = -pi/2 only a - c."""
    sign = np.where(angles[..., 1] > 0, 1.0, -1.0)
    total = angles[..., 0] + sign * angles[..., 2]
    total_before = before[..., 0] + sign * before[..., 2]
    half = 0.5 * (_nearest_turn(total, total_before) - total_before)
    # b may have gone past the pole in earlier frames (the mirrored triple), so it takes whole turns of its own.
    middle = _nearest_turn(angles[..., 1], before[..., 1])
    return np.stack((before[..., 0] + half, middle, before[..., 2] + sign * half), axis=-1)
