"""From a track in the world to the motion frames that travel on."""

from collections.abc import Iterable

import numpy as np

from ..camera import Camera
from ..motion import MotionFrame
from ..rotations import matrix_to_axis_angle
from .world_track import WorldTrack


def assemble(track: WorldTrack, index: Iterable[int], stamps_s: Iterable[float], camera: Camera) -> list[MotionFrame]:
    """Motion frames of a track that has one row for every frame of the source.

    index, stamps_s: (T,) numbers and time stamps of the source's frames. camera: intrinsics of all of them. Raises
    ValueError where their numbers differ.
    """
    f32 = np.float32
    poses = matrix_to_axis_angle(np.asarray(track.R_local, np.float64)).astype(f32)
    betas, trans = np.asarray(track.betas, f32), np.asarray(track.trans_m, f32)
    contact, confidence = np.asarray(track.contact, f32), np.asarray(track.confidence, f32)
    return [
        MotionFrame(
            index=int(number),
            stamp_s=float(stamp),
            present=bool(track.present[i]),
            betas=betas[i],
            poses=poses[i],
            trans_m=trans[i],
            T_cam_world=track.T_cam_world[i],
            camera=camera,
            contact=contact[i] * bool(track.present[i]),
            confidence=confidence[i] * bool(track.present[i]),
            measured=track.measured[i] & track.present[i],
            reprojection_error=float(track.reprojection_error[i]),
        )
        for i, number, stamp in zip(range(track.frames), index, stamps_s, strict=True)
    ]
