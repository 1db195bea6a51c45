"""The body of a take, posed frame by frame for drawing."""

from dataclasses import dataclass, replace

import numpy as np

from ...models.body import BodyModel, ShapedBody, load_body
from ...models.face import ARKIT_NAMES
from ...models.markers import contact_rig
from ...models.motion import MotionFrame

_STILL_M = 1e-5


@dataclass(frozen=True, slots=True)
class Posed:
    """The body of one frame in the world, metres."""

    joints_m: np.ndarray
    """(55, 3)"""
    foot_points_m: np.ndarray
    """(4, 3) in CONTACT_POINTS order."""
    vertices_m: np.ndarray
    """(V, 3); (0, 3) where no skin was asked for."""


class Figure:
    """Poses one body model; keeps the shape it used last, since that seldom changes within a take.

    The face of a frame is shown by a body that has those face shapes; another one's stays neutral.
    """

    def __init__(self, model: BodyModel | None = None) -> None:
        self._model = load_body() if model is None else model
        self._face: tuple[np.ndarray, np.ndarray] | None = None
        if self._model.expression_names == ARKIT_NAMES:
            # Face shapes move a part of the vertices only: those (N,), and how each shape moves them (N, 3, 52).
            moving = np.flatnonzero(np.abs(self._model.exprdirs).max(axis=(1, 2)) > _STILL_M)
            self._face = moving, np.ascontiguousarray(self._model.exprdirs[moving])
        self.faces = self._model.faces
        """(F, 3) int triangles."""
        self._betas: np.ndarray | None = None

    def pose(self, frame: MotionFrame, *, skin: bool = True) -> Posed:
        """The body of a frame; without ``skin`` only joints and foot points, which is many times faster."""
        if self._betas is None or not np.array_equal(self._betas, frame.betas):
            self._betas = np.array(frame.betas)
            self._shaped: ShapedBody = self._model.with_shape(self._betas)
            self._rest_m: np.ndarray | None = None
        shaped = self._shaped
        if skin:
            if self._rest_m is None:
                self._rest_m = np.asarray(shaped.vertices_m())
            rest_m = self._with_face(self._rest_m, frame.expression)
            # The rest mesh as it is, in place of the mean body and what changes it. The joints are those of the neutral
            # face, as in every export.
            shaped = ShapedBody(replace(self._model, v_template=rest_m), shaped.joints_m, None, None)
        posed = shaped.with_pose(np.asarray(frame.poses), np.asarray(frame.trans_m))
        feet = contact_rig(self._model).in_world_m(posed)
        vertices = posed.skin().vertices_m if skin else np.empty((0, 3))
        return Posed(np.asarray(posed.joints_m), np.asarray(feet), np.asarray(vertices))

    def _with_face(self, rest_m: np.ndarray, expression: np.ndarray) -> np.ndarray:
        if self._face is None or not expression.any():
            return rest_m
        moving, directions = self._face
        out = rest_m.copy()
        out[moving] += directions @ expression
        return out
