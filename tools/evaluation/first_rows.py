"""The first rows of a case or of a prediction: for a quick look at a large set."""

from dataclasses import replace

import numpy as np

from .records import BodyParameters, Case, Footage, Motion3D, Prediction, Surface


def head_of_case(case: Case, count: int) -> Case:
    """The case with its first ``count`` rows, all of it where it has fewer."""
    if count >= case.frames:
        return case
    footage = case.footage
    return replace(
        case,
        truth=head_of_motion(case.truth, count),
        footage=None if footage is None else Footage(footage.source, footage.index[:count]),
        proxies=None if case.proxies is None else case.proxies[:count],
        box_px=_head(case.box_px, count),
    )


def head_of_prediction(prediction: Prediction, count: int) -> Prediction:
    """The prediction with its first ``count`` rows."""
    return replace(prediction, motion=head_of_motion(prediction.motion, count))


def head_of_motion(motion: Motion3D, count: int) -> Motion3D:
    """The motion with its first ``count`` rows."""
    body, surface = motion.body, motion.surface
    if body is not None:
        body = BodyParameters(body.poses[:count], body.trans_m[:count], body.betas, body.model)
    if surface is not None:
        surface = _head_of_surface(surface, count)
    return replace(
        motion,
        joints_m=_head(motion.joints_m, count),
        T_cam_world=_head(motion.T_cam_world, count),
        hands_m=_head(motion.hands_m, count),
        feet_m=_head(motion.feet_m, count),
        contact=_head(motion.contact, count),
        keypoints_px=_head(motion.keypoints_px, count),
        keypoint_confidence=_head(motion.keypoint_confidence, count),
        body=body,
        surface=surface,
    )


def _head(array: np.ndarray | None, count: int) -> np.ndarray | None:
    return None if array is None else array[:count]


def _head_of_surface(surface: Surface, count: int) -> Surface:
    whole = surface.vertices_m

    def vertices_m(rows: slice) -> np.ndarray:
        return whole(slice(*rows.indices(count)))

    return Surface(surface.topology, vertices_m)
