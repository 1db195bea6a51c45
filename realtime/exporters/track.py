"""A take's motion as arrays over time, at a uniform rate when a format needs one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from scipy.spatial.transform import Rotation

from ...models.errors import HmcapError
from ...models.motion import MotionFrame
from ...models.skeleton import NUM_JOINTS

UNIFORM_TOLERANCE = 0.1
"""Share of a frame by which stamps may stray from the even grid and still count as uniform (containers round them)."""
MOST_FRAMES = 2_000_000
"""Longest motion that is made even: 18 hours at 30 frames a second. More comes only from stamps with holes of days."""
_BLOCK = 2048
"""Frames whose rotations are interpolated at a time."""


@dataclass(frozen=True, slots=True)
class Track:
    """The motion of one person over T frames. World: right-handed, metres; Y up unless :func:`z_up` made it."""

    stamps_s: np.ndarray
    """(T,) time of each frame, seconds."""
    present: np.ndarray
    """(T,) bool, False where nobody was found and the pose is held."""
    poses: np.ndarray
    """(T, 55, 3) axis-angle, radians; joint 0 is the root in the world."""
    trans_m: np.ndarray
    """(T, 3) SMPL-X translation; pelvis = J0(betas) + trans."""
    betas: np.ndarray
    """(B,) the one body shape of the track."""
    T_cam_world: np.ndarray
    """(T, 4, 4) world to OpenCV camera."""
    K: np.ndarray
    """(T, 3, 3) camera intrinsics, pixels."""
    contact: np.ndarray
    """(T, 4) contact probability in CONTACT_POINTS order."""
    confidence: np.ndarray
    """(T, 8) in GROUP_NAMES order."""
    measured: np.ndarray
    """(T, 8) bool in GROUP_NAMES order."""
    reprojection_error: np.ndarray
    """(T,) per cent of the body's height in the image; NaN where nothing was seen."""
    expression: np.ndarray
    """(T, 52) weights of the face shapes in ARKIT_NAMES order; (T, 0) where the face was not captured."""

    def __len__(self) -> int:
        return len(self.stamps_s)


def stack_motion(motion: Sequence[MotionFrame], rest_pelvis: Callable[[np.ndarray], np.ndarray]) -> Track:
    """Stack frames into arrays with one body shape: that of the last frame in which the person was seen.

    Where another frame had another shape, its translation is changed so that the pelvis stays where it was.

    Args:
        motion: frames in time order.
        rest_pelvis: function of betas (B,) giving J0(betas), the pelvis of the rest body, (3,) metres.

    Raises:
        HmcapError: there is no frame, no frame with a person, or a number is not finite.
    """
    if not any(f.present for f in motion):
        raise HmcapError(
            f"Expected motion of a person, but none of the {len(motion)} frames of this take has one, so there is "
            "nothing to export. Run the capture again on footage in which a person can be seen."
        )
    betas = np.asarray([f for f in motion if f.present][-1].betas, dtype=np.float64)
    trans_m = np.array([f.trans_m for f in motion], dtype=np.float64)
    if any(not np.array_equal(f.betas, betas) for f in motion):
        trans_m += np.array([rest_pelvis(np.asarray(f.betas)) for f in motion]) - rest_pelvis(betas)
    track = Track(
        stamps_s=np.array([f.stamp_s for f in motion], dtype=np.float64),
        present=np.array([f.present for f in motion], dtype=bool),
        poses=np.array([f.poses for f in motion], dtype=np.float64).reshape(-1, NUM_JOINTS, 3),
        trans_m=trans_m,
        betas=betas,
        T_cam_world=np.array([f.T_cam_world for f in motion], dtype=np.float64),
        K=np.array([f.camera.K for f in motion], dtype=np.float64),
        contact=np.array([f.contact for f in motion], dtype=np.float64),
        confidence=np.array([f.confidence for f in motion], dtype=np.float64),
        measured=np.array([f.measured for f in motion], dtype=bool),
        reprojection_error=np.array([f.reprojection_error for f in motion], dtype=np.float64),
        expression=_stack_faces(motion),
    )
    for name in ("stamps_s", "poses", "trans_m", "betas", "T_cam_world", "expression"):
        values = getattr(track, name)
        if not np.isfinite(values).all():
            bad = np.argwhere(~np.isfinite(values))[0]
            raise HmcapError(
                f"Expected finite numbers in the take, but {name} holds {values[tuple(bad)]} at index "
                f"{tuple(int(i) for i in bad)}. The take is damaged: capture it again from the video."
            )
    return track


def is_uniform(stamps_s: np.ndarray, fps: float) -> bool:
    """Whether stamps (T,) lie on an even grid of ``fps`` frames a second, up to the rounding of containers."""
    ideal = np.arange(len(stamps_s)) / fps
    offset = np.asarray(stamps_s) - ideal
    return bool(np.ptp(offset) <= 2 * UNIFORM_TOLERANCE / fps) if len(offset) else True


def uniform_track(track: Track, fps: float, breaks_s: np.ndarray | None = None) -> Track:
    """The track at exactly ``fps`` frames a second, by its stamps.

    A track that is uniform already comes back untouched. Otherwise rotations are interpolated on the shortest arc,
    positions, contact and confidence linearly, and flags are taken from the nearer frame. Frames whose stamp does not
    grow are left out, since they have no place in time. Up to a stamp of ``breaks_s`` (K,), where the motion is put
    into another place, the frame before it is held.

    Raises:
        HmcapError: ``fps`` is not a positive number.
    """
    if not (np.isfinite(fps) and fps > 0):
        raise HmcapError(f"Expected a frame rate above 0, found {fps}. Give one with --fps, for example --fps 30.")
    if is_uniform(track.stamps_s, fps):
        return track
    grows = np.concatenate(([True], track.stamps_s[1:] > np.maximum.accumulate(track.stamps_s)[:-1]))
    track = _take_rows(track, np.flatnonzero(grows))
    first, last = track.stamps_s[0], track.stamps_s[-1]
    # The last grid point may lie a hair behind the last stamp through rounding alone.
    count = int(np.floor((last - first) * fps + UNIFORM_TOLERANCE)) + 1
    if count > MOST_FRAMES:
        k = int(np.diff(track.stamps_s).argmax())
        raise HmcapError(
            f"Expected motion of at most {MOST_FRAMES:,} frames at an even rate; the {len(track):,} frames of this "
            f"take would become {count:,} at {fps:.5g} fps, for between {track.stamps_s[k]:.2f} and "
            f"{track.stamps_s[k + 1]:.2f} s there is none. Write the parts on both sides of that: --trim, or ask for "
            "fewer frames a second: --fps."
        )
    times = np.minimum(first + np.arange(count) / fps, last)
    return resample_track(track, times, breaks_s)


def resample_track(track: Track, times_s: np.ndarray, breaks_s: np.ndarray | None = None) -> Track:
    """The track at the given times (N,), which must lie between its first and last stamp; stamps must grow strictly.
    Nothing is interpolated across ``breaks_s``, stamps of frames at which a new stretch of motion begins."""
    if len(track) == 1:
        return _take_rows(track, np.zeros(len(times_s), dtype=int))
    i = np.clip(np.searchsorted(track.stamps_s, times_s, side="right") - 1, 0, len(track) - 2)
    j = i + 1
    w = (times_s - track.stamps_s[i]) / (track.stamps_s[j] - track.stamps_s[i])
    if breaks_s is not None and len(breaks_s):
        stretch = np.searchsorted(np.sort(breaks_s), track.stamps_s, side="right")
        w = np.where(stretch[i] < stretch[j], np.floor(w), w)
    nearest = np.where(w < 0.5, i, j)

    def lerp(values: np.ndarray) -> np.ndarray:
        u = w.reshape(-1, *([1] * (values.ndim - 1)))
        return (1 - u) * values[i] + u * values[j]

    R_cam_world = track.T_cam_world[:, :3, :3]
    centre_world = -np.einsum("tji,tj->ti", R_cam_world, track.T_cam_world[:, :3, 3])
    R = slerp(Rotation.from_matrix(R_cam_world[i]), Rotation.from_matrix(R_cam_world[j]), w).as_matrix()
    T_cam_world = np.tile(np.eye(4), (len(times_s), 1, 1))
    T_cam_world[:, :3, :3] = R
    T_cam_world[:, :3, 3] = -np.einsum("tij,tj->ti", R, lerp(centre_world))
    poses = np.empty((len(times_s), NUM_JOINTS, 3))
    for begin in range(0, len(times_s), _BLOCK):
        some = slice(begin, begin + _BLOCK)
        a, b = (Rotation.from_rotvec(track.poses[k[some]].reshape(-1, 3)) for k in (i, j))
        poses[some] = slerp(a, b, np.repeat(w[some], NUM_JOINTS)).as_rotvec().reshape(-1, NUM_JOINTS, 3)
    return replace(
        track,
        stamps_s=np.asarray(times_s, dtype=np.float64),
        present=track.present[nearest],
        poses=poses,
        trans_m=lerp(track.trans_m),
        T_cam_world=T_cam_world,
        K=lerp(track.K),
        contact=lerp(track.contact),
        confidence=lerp(track.confidence),
        measured=track.measured[nearest],
        reprojection_error=track.reprojection_error[nearest],
        expression=lerp(track.expression),
    )


def slerp(a: Rotation, b: Rotation, weight: np.ndarray) -> Rotation:
    """Rotations on the shortest arc from ``a`` to ``b``; ``weight`` (N,) from 0 to 1."""
    return a * Rotation.from_rotvec((a.inv() * b).as_rotvec() * weight[:, None])


Z_UP_FROM_Y_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""(3, 3) rotation by +90 degrees about x: y (up) becomes z (up), z (towards the viewer) becomes -y."""


def z_up(track: Track, rest_pelvis_m: np.ndarray) -> Track:
    """The same motion in a world whose Z axis points up.

    The SMPL-X body turns about its pelvis and not about the origin, so the translation follows from
    ``J0 + trans' = R (J0 + trans)``, with J0 = ``rest_pelvis_m`` (3,).
    """
    R = Z_UP_FROM_Y_UP
    poses = track.poses.copy()
    poses[:, 0] = (Rotation.from_matrix(R) * Rotation.from_rotvec(track.poses[:, 0])).as_rotvec()
    T_cam_world = track.T_cam_world.copy()
    T_cam_world[:, :3, :3] = track.T_cam_world[:, :3, :3] @ R.T
    trans_m = (rest_pelvis_m + track.trans_m) @ R.T - rest_pelvis_m
    return replace(track, poses=poses, trans_m=trans_m, T_cam_world=T_cam_world)


def _stack_faces(motion: Sequence[MotionFrame]) -> np.ndarray:
    """(T, 52), neutral in frames without a face; (T, 0) where no frame has one."""
    width = max(len(f.expression) for f in motion)
    return np.array([f.expression if len(f.expression) else np.zeros(width) for f in motion], dtype=np.float64)


def _take_rows(track: Track, rows: np.ndarray) -> Track:
    over_time = {f.name: getattr(track, f.name)[rows] for f in fields(track) if f.name != "betas"}
    return replace(track, **over_time)
