"""What travels through the evaluation: a case with its truth, a prediction for it, and what was measured.

Every loader of a set yields :class:`Case`, every method gives a :class:`Prediction`, and ``measure`` makes a
:class:`Measured` of the two. Arrays are float64, one row per frame of the truth; NaN says "not known" in a truth and
"nothing found" in a prediction.

Names of positions. Landmarks carry the names of :data:`hmcap.models.proxies.PROXY_NAMES` ("left_hip", "nose",
"left_big_toe", ...), joints of the SMPL-X tree that are no such landmark the prefix ``smplx_`` ("smplx_neck").
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...models.camera import Camera
from ...models.proxies import Proxies

LIMBS = tuple(f"{s}_{j}" for s in ("left", "right") for j in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist"))
"""The 12 joints that every set of real footage and every method has."""
HIPS = ("left_hip", "right_hip")
"""Root of a position error: the middle of the hips."""

TRUTH = "truth"
"""Name of the method that puts the truth forward as a prediction, to check a set; it competes with nobody."""


@dataclass(frozen=True, slots=True, eq=False)
class BodyParameters:
    """SMPL-X parameters of T frames."""

    poses: np.ndarray
    """(T, 55, 3) axis-angle, radians; row 0 of a frame is the root in the axes of the
    joints. Hands relative to the flat hand."""
    trans_m: np.ndarray
    """(T, 3); pelvis = rest pelvis + trans."""
    betas: np.ndarray
    """(B,)"""
    model: str
    """Path of the body model file; "" is the built-in body. Rotations and meshes compare within one model only."""


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """A mesh in motion, made a few rows at a time because all of it would not fit."""

    topology: str
    """Meshes of one topology have corresponding vertices."""
    vertices_m: Callable[[slice], np.ndarray]
    """Vertices (n, V, 3) of a slice of the rows, in the axes of the joints."""


@dataclass(frozen=True, slots=True, eq=False)
class Motion3D:
    """Positions of T frames; shared by truth and prediction."""

    joint_names: tuple[str, ...] = ()
    joints_m: np.ndarray | None = None
    """(T, J, 3) in the world if ``in_world``, else in the axes of the camera (x right, y down, z forward)."""
    in_world: bool = False
    """Whether joints, hands, feet and surface are in a world with Y up, floor at y = 0."""
    T_cam_world: np.ndarray | None = None
    """(T, 4, 4) where ``in_world`` and the camera is known."""
    hands_m: np.ndarray | None = None
    """(T, 2, 21, 3) left and right hand in HAND_NAMES order, same axes as the joints; any origin."""
    feet_m: np.ndarray | None = None
    """(T, 4, 3) CONTACT_POINTS, same axes as the joints."""
    contact: np.ndarray | None = None
    """(T, 4) 0 or 1 in a truth, probability in a prediction."""
    body: BodyParameters | None = None
    surface: Surface | None = None
    keypoint_names: tuple[str, ...] = ()
    keypoints_px: np.ndarray | None = None
    """(T, K, 2) in the upright image; NaN where there is none."""
    keypoint_confidence: np.ndarray | None = None
    """(T, K): in a truth 1 for a labelled point, 0 for one that does not count; in a prediction its confidence."""


@dataclass(frozen=True, slots=True, eq=False)
class Footage:
    """Where the pictures of a case are."""

    source: Path
    """A video, one image, or a folder of images, as ``open_source`` takes it."""
    index: np.ndarray
    """(T,) int frame of the source that each row of the truth belongs to; increasing."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """Something to be predicted, with its truth."""

    set_name: str
    """Name of the set, as the command line takes it."""
    name: str
    """Name within the set; unique, letters, digits, dots, dashes and underscores."""
    fps: float
    """Frame rate of the rows; 0 for single pictures, which have no derivative measures."""
    camera: Camera
    truth: Motion3D
    footage: Footage | None = None
    """None for a set that begins at the proxies."""
    proxies: Sequence[Proxies] | None = None
    """T records; None for a set that begins at the pictures."""
    compared: tuple[str, ...] = LIMBS
    """Joints of the position errors: a method must have every one of them."""
    root: tuple[str, ...] = HIPS
    """Joints whose mean is brought together before MPJPE; empty compares positions as they are."""
    box_px: np.ndarray | None = None
    """(T, 4) x y width height of the person meant, for sets with several people in one picture."""
    notes: str = ""
    """What a reader of the figures must know (for example: the truth's joints are not those of our skeleton)."""

    @property
    def frames(self) -> int:
        """Number of rows T."""
        for value in (self.truth.joints_m, self.truth.keypoints_px, self.truth.hands_m):
            if value is not None:
                return len(value)
        return 0 if self.footage is None else len(self.footage.index)

    @property
    def index(self) -> np.ndarray:
        """(T,) int64 frame number in the source of each row; counted from 0 where there is no source."""
        if self.footage is not None:
            return np.asarray(self.footage.index, np.int64)
        if self.proxies is not None:
            return np.array([p.index for p in self.proxies], np.int64)
        return np.arange(self.frames)


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a method says of a case."""

    method: str
    """Name, as the command line takes it: "solver", "mediapipe", ..."""
    version: str
    """Version of the software that made it."""
    settings: Mapping[str, str | int | float | bool]
    """Everything that decides its numbers."""
    motion: Motion3D
    """Positions with the case's rows; NaN rows where nothing was found. ``in_world`` False and any origin for a
    method that gives no world."""
    file: Path | None = None
    """Where it was read from, for error messages."""


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Error of one prediction on one case."""

    set_name: str
    case: str
    method: str
    frames: int
    """Rows of the case."""
    rows: np.ndarray
    """(n,) int rows that the position measures are taken over."""
    per_frame: Mapping[str, np.ndarray]
    """(T,) of each measure that is defined frame by frame; NaN elsewhere."""
    per_joint: Mapping[str, Mapping[str, float]]
    """Of each measure that is defined joint by joint, its value for each joint."""
    values: Mapping[str, float]
    """The measures of the case by their name in ``METRICS``; those that cannot be taken are missing."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """How much each value weighs in a mean over cases (frames, chunks, or samples behind it)."""
