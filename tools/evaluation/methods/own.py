"""The methods that this software measures of itself.

A method is anything with the four members of :class:`Method`; :data:`METHODS` names what makes one. What a method
gives is kept by :mod:`.store` and made again only where its version, its settings or the case's input have changed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from ....models.body import load_body
from ....models.camera import DEFAULT_FOV_DEG, Camera
from ....models.markers import contact_rig, proxy_rig
from ....models.motion import GROUP_NAMES, MotionFrame
from ....models.proxies import BODY, BODY_NAMES, LEFT_HAND, RIGHT_HAND, Proxies
from ....models.skeleton import JOINT_NAMES as TREE_NAMES
from ....models.solver import LiveSolver, SolverSettings, solve_take
from ....models.solver.observations import stack
from ....models.solver.segments import find_segments
from ..records import BodyParameters, Case, Motion3D, Prediction
from ..surface import surface_of
from .fingerprint import code_version
from .landmarks import KEYPOINT_NAMES, EngineOptions, Landmarks, Progress, at_rows, keypoints_of, landmark_motion

Settings = Mapping[str, str | int | float | bool]
Solve = Callable[[Sequence[Proxies], Camera], Sequence[MotionFrame | None]]
"""Motion of every frame from its landmarks; None where there is nobody."""
CameraChoice = Literal["truth", "default"]
"""Whether methods are told the true lens, or takes the default field of view as a user would who knows nothing."""

THIS = tuple(f"tools.evaluation.methods.{module}" for module in ("own", "landmarks", "footage"))
"""Modules that turn what the software gives into predictions."""

JOINT_NAMES = (*BODY_NAMES, *(f"smplx_{n}" for n in TREE_NAMES))
"""Joints of the solver's predictions: the body proxies on its body, and all joints of its tree."""


class Method(Protocol):
    """Something that predicts."""

    @property
    def name(self) -> str:
        """As the command line takes it."""
        ...

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        ...

    @property
    def version(self) -> str:
        """Changes with its code."""
        ...

    @property
    def settings(self) -> Settings:
        """Everything else that decides its numbers."""
        ...

    def predict(self, case: Case, progress: Progress) -> Prediction:
        """What it says of a case. Raises HmcapError where it cannot be run on it."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """What methods are made of."""

    landmarks: Landmarks
    camera: CameraChoice = "truth"
    solver: SolverSettings = field(default_factory=SolverSettings)
    engine: EngineOptions = field(default_factory=EngineOptions)
    """What runs the motion networks."""
    motion_weights: Path | None = None
    """File of the motion networks; None for those that come with the package."""


@dataclass(frozen=True, slots=True)
class Solver:
    """The classical solver on this software's landmarks, over whole takes or frame by frame."""

    context: Context
    live: bool = False

    @property
    def name(self) -> str:
        """As the command line takes it."""
        return "solver-live" if self.live else "solver"

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return "hmcap, frame by frame as in live capture" if self.live else "hmcap, whole takes"

    @property
    def version(self) -> str:
        """Changes with its code."""
        return code_version("models", "models.data", "models.solver", *THIS)

    @property
    def settings(self) -> Settings:
        """Camera, and what decides the landmarks."""
        return {"camera": self.context.camera} | dict(self.context.landmarks.settings)

    def predict(self, case: Case, progress: Progress) -> Prediction:
        """Motion in the world, the body's parameters and surface, contact, and the landmarks that it explains."""
        return predict_with(self, self.context, self._solve, case, progress)

    def _solve(self, proxies: Sequence[Proxies], camera: Camera) -> list[MotionFrame] | list[None]:
        if not find_segments(stack(proxies, camera), self.context.solver.max_gap_s):
            return [None] * len(proxies)  # nobody to solve: an answer, though a poor one
        if not self.live:
            return solve_take(proxies, camera, settings=self.context.solver)
        live = LiveSolver(camera, self.context.solver)
        return [live.push(p) for p in proxies]


@dataclass(frozen=True, slots=True)
class LandmarksAlone:
    """This software's landmarks, in the picture and in the networks' own 3-D, without the solver."""

    context: Context

    @property
    def name(self) -> str:
        """As the command line takes it."""
        return "landmarks"

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return "hmcap's landmarks alone"

    @property
    def version(self) -> str:
        """Changes with its code."""
        return code_version("engines.landmarks", *THIS)

    @property
    def settings(self) -> Settings:
        """What decides the landmarks."""
        return self.context.landmarks.settings

    def predict(self, case: Case, progress: Progress) -> Prediction:
        """Hip-centred joints and hands in the axes of the camera, and key points."""
        proxies = self.context.landmarks(case, progress)
        chosen = [proxies[i] if i >= 0 else _nobody(case) for i in at_rows(case, proxies)]
        return Prediction(self.name, self.version, self.settings, landmark_motion(chosen))


METHODS: dict[str, Callable[[Context], Method]] = {
    "solver": Solver,
    "solver-live": lambda context: Solver(context, live=True),
    "landmarks": LandmarksAlone,
}
"""This software's own methods without networks of motion, by the name of the command line."""


def predict_with(method: Method, context: Context, solve: Solve, case: Case, progress: Progress) -> Prediction:
    """What a method says of a case, which turns landmarks into motion by ``solve``."""
    proxies = context.landmarks(case, progress)
    motion = solve(proxies, camera_for(case, context.camera))
    rows = at_rows(case, proxies)
    predicted = solved_motion([motion[i] if i >= 0 else None for i in rows])
    keypoints, confidence = keypoints_of([proxies[i] if i >= 0 else _nobody(case) for i in rows])
    predicted = replace(
        predicted, keypoint_names=KEYPOINT_NAMES, keypoints_px=keypoints, keypoint_confidence=confidence
    )
    return Prediction(method.name, method.version, method.settings, predicted)


def camera_for(case: Case, choice: CameraChoice) -> Camera:
    """The lens that the solver is told."""
    if choice == "truth":
        return case.camera
    return Camera.from_fov(case.camera.width_px, case.camera.height_px, DEFAULT_FOV_DEG, "default")


def solved_motion(frames: Sequence[MotionFrame | None]) -> Motion3D:
    """Positions of T solved frames in the world. None, and frames without a person, become rows of NaN, and so does a
    hand that was held and not measured: such a frame says nothing of it."""
    model = load_body()
    known = [i for i, f in enumerate(frames) if f is not None and f.present]
    solved = [f for f in frames if f is not None and f.present]
    T = len(frames)
    shape = {"joints": (len(JOINT_NAMES), 3), "hands": (2, 21, 3), "feet": (4, 3), "contact": (4,)}
    shape |= {"T": (4, 4), "poses": (len(TREE_NAMES), 3), "trans": (3,)}
    rows = {name: np.full((T, *s), np.nan) for name, s in shape.items()}
    betas = np.zeros(model.num_betas)
    if solved:
        betas = np.asarray(solved[-1].betas, np.float64)
        each = np.stack([f.betas for f in solved])
        # One shape of a whole take is one body; live, the shape changes until it is calibrated.
        same = bool((each == each[0]).all())
        posed = model.with_shape(each[0] if same else each).with_pose(
            np.stack([f.poses for f in solved]), np.stack([f.trans_m for f in solved])
        )
        proxies = proxy_rig(model).in_world_m(posed).astype(np.float64)
        tree = np.asarray(posed.joints_m, np.float64)
        rows["joints"][known] = np.concatenate([proxies[:, BODY], tree], axis=1)
        seen = np.stack([f.measured[[GROUP_NAMES.index(h) for h in ("left_hand", "right_hand")]] for f in solved])
        hands = np.stack([proxies[:, LEFT_HAND], proxies[:, RIGHT_HAND]], axis=1)
        rows["hands"][known] = np.where(seen[..., None, None], hands, np.nan)
        rows["feet"][known] = contact_rig(model).in_world_m(posed)
        rows["contact"][known] = np.stack([f.contact for f in solved])
        rows["T"][known] = np.stack([f.T_cam_world for f in solved])
        rows["poses"][known] = np.stack([f.poses for f in solved])
        # Parameters are given for the last shape: the pelvis stays where it was.
        rows["trans"][known] = tree[:, 0] - np.asarray(model.rest_joints(betas), np.float64)[0]
    body = BodyParameters(rows["poses"], rows["trans"], betas, "")
    return Motion3D(
        joint_names=JOINT_NAMES,
        joints_m=rows["joints"],
        in_world=True,
        T_cam_world=rows["T"],
        hands_m=rows["hands"],
        feet_m=rows["feet"],
        contact=rows["contact"],
        body=body,
        surface=surface_of(body),
    )


def _nobody(case: Case) -> Proxies:
    return Proxies.absent(0, 0.0, (case.camera.width_px, case.camera.height_px))
