"""A low pass without delay over rotations and the way of the pelvis."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from ...models.rotations import same_side
from ...models.skeleton import EYES, JAW, JOINT_NAMES, NUM_JOINTS
from ..exporters.track import Track
from .measures import calm, change, joints_m
from .stretches import seen_stretches

_PASSES = 2
_ORDER = 2
_CORRECTION = (2 ** (1 / _PASSES) - 1) ** (1 / (2 * _ORDER))
"""Two passes halve the power at the cut-off twice; with this the whole is at -3 dB there (Winter, see choices)."""
_PAD_PERIODS = 4
"""Length of the continuation at both ends, in periods of the cut-off: transients are 1e-8 by then."""
_UNDECIDED = 0.05
"""Length below which a mean of quaternions says nothing: the joint whirls faster than the cut-off can follow."""
_AT_ONCE = 8
"""Joints filtered together; all of a long take's would be gigabytes."""
_JOINTS = [j for j in range(NUM_JOINTS) if not (JAW.start <= j < JAW.stop or EYES.start <= j < EYES.stop)]
"""Speech and glances are fast by nature."""


def smooth(track: Track, fps: float, hz: float, rest_m: np.ndarray, breaks: np.ndarray) -> tuple[Track, str]:
    """Low-pass the local rotations (root included; jaw and eyes left alone) and the way of the pelvis.

    A Butterworth filter of second order, forward and backward: no delay, -3 dB at ``hz``. Rotations are filtered as
    quaternions of continuous sign and normalised again, so that the shortest way between them counts and nothing
    happens at half a turn. Each stretch of motion is continued at both ends by its own mirror image, through which its
    first and last frame stay what they are, and which a steady turn passes unchanged. A joint that does not move in a
    stretch keeps its numbers.

    Args:
        track: motion at exactly ``fps`` frames a second.
        fps: frames a second.
        hz: cut-off.
        rest_m: (55, 3) rest joints of the body.
        breaks: (K,) stamps at which a new stretch begins.

    Returns:
        the smooth track, and what changed.
    """
    if hz >= fps / 2:
        return track, f"smooth: nothing to do, motion at {fps:.5g} fps holds nothing above {fps / 2:.4g} Hz"
    from scipy.signal import butter, sosfiltfilt  # a second of loading, which only smoothing should cost

    sos = butter(_ORDER, np.arctan(np.tan(np.pi * hz / fps) / _CORRECTION) * 2 / np.pi, output="sos")
    pad = int(np.ceil(_PAD_PERIODS * fps / hz))

    def low_pass(x: np.ndarray, mirror: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        return sosfiltfilt(sos, _continued(x, pad, mirror), axis=0, padlen=0)[pad : pad + len(x)]

    poses, trans_m = track.poses.copy(), track.trans_m.copy()
    for a, b in seen_stretches(track, breaks):
        if b - a < 3:
            continue
        if np.ptp(trans_m[a:b], axis=0).any():
            trans_m[a:b] = low_pass(trans_m[a:b], lambda x, end: 2 * end - x)
        moving = [j for j in _JOINTS if np.ptp(poses[a:b, j], axis=0).any()]
        for first in range(0, len(moving), _AT_ONCE):
            some = moving[first : first + _AT_ONCE]
            before = poses[a:b, some]
            q = Rotation.from_rotvec(before.reshape(-1, 3)).as_quat().reshape(b - a, len(some), 4)
            q = low_pass(same_side(q), _mirrored_rotation)
            length = np.linalg.norm(q, axis=-1, keepdims=True)
            R = Rotation.from_quat((q / np.maximum(length, 1e-9) + (length == 0)).reshape(-1, 4))
            poses[a:b, some] = np.where(length > _UNDECIDED, R.as_rotvec().reshape(before.shape), before)
    after = replace(track, poses=poses, trans_m=trans_m)
    return after, _sentence(track, after, fps, hz, rest_m, breaks)


def _mirrored_rotation(q: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Quaternions xyzw (N, J, 4) mirrored at ``end`` (J, 4): as far beyond it as they are before it."""
    return _times(_times(end, q * (-1, -1, -1, 1)), end)


def _times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Product of quaternions xyzw, of whatever length and sign."""
    v, w = a[..., :3], a[..., 3:]
    u, s = b[..., :3], b[..., 3:]
    return np.concatenate([w * u + s * v + np.cross(v, u), w * s - np.sum(v * u, axis=-1, keepdims=True)], axis=-1)


def _continued(x: np.ndarray, pad: int, mirror: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """(pad + N + pad, ...) a signal (N, ...) with its mirror image at each end, again and again where it is short."""
    done = 0
    while done < pad:
        n = min(len(x) - 1, pad - done)
        x = np.concatenate([mirror(x[1 : n + 1][::-1], x[0]), x, mirror(x[-n - 1 : -1][::-1], x[-1])])
        done += n
    return x


def _sentence(before: Track, after: Track, fps: float, hz: float, rest_m: np.ndarray, breaks: np.ndarray) -> str:
    was, now = joints_m(before, rest_m), joints_m(after, rest_m)
    moved_mm = 1000 * np.linalg.norm(now - was, axis=-1)[before.present]
    frame, joint = np.unravel_index(int(moved_mm.argmax()), moved_mm.shape)
    stamp = before.stamps_s[before.present][frame]
    calm_was, calm_now = calm(before, was, fps, breaks), calm(after, now, fps, breaks)
    return (
        f"smooth: {hz:g} Hz; joints moved {moved_mm.mean():.1f} mm on average, {moved_mm.max():.1f} mm at most "
        f"({JOINT_NAMES[joint]} at {stamp:.2f} s); jitter {change(calm_was.jitter, calm_now.jitter, '(10 m/s^3)')}, "
        f"acceleration {change(calm_was.acceleration, calm_now.acceleration, 'm/s^2')}"
    )
