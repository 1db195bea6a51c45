"""Whether truth and prediction of a case fit together; everything that does not is one clear error."""

from dataclasses import replace
from typing import NoReturn, overload

import numpy as np

from ...models.errors import HmcapError
from ...models.skeleton import NUM_JOINTS
from .records import BodyParameters, Case, Motion3D, Prediction

LARGEST = 1e6
"""Positions beyond this many metres or pixels are taken for another unit or for garbage."""


def checked(case: Case, prediction: Prediction) -> tuple[Motion3D, Motion3D]:
    """Truth and predicted motion with all arrays as float64, checked for shape, names, infinity and half-found rows.
    ``T_cam_world`` of a motion that is not in a world is left out.

    Raises HmcapError, naming file, case, expectation and finding.
    """
    file = "" if prediction.file is None else f" in {prediction.file}"
    truth = _Checker(
        case,
        f"the truth of {case.set_name}/{case.name}",
        "Check the files of the set against its published layout.",
        False,
    )
    predicted = _Checker(
        case,
        f"the prediction of {prediction.method} for {case.set_name}/{case.name}{file}",
        "Correct the method that made it, or delete the file and have it made again."
        if file
        else "Correct the method that made it.",
        True,
    )
    return truth(case.truth), predicted(prediction.motion)


class _Checker:
    def __init__(self, case: Case, what: str, next_step: str, whole_rows: bool) -> None:
        self.case, self.what, self.next_step, self.whole_rows = case, what, next_step, whole_rows
        self.needed = tuple(dict.fromkeys((*case.compared, *case.root)))

    def bad(self, expected: str, found: str) -> NoReturn:
        raise HmcapError(f"Expected {expected} in {self.what}, found {found}. {self.next_step}")

    def __call__(self, motion: Motion3D) -> Motion3D:
        joints = self.joints(motion)
        hands = self.array("hands", motion.hands_m, (2, 21, 3), LARGEST)
        self.whole("a hand", hands, (2, 3))
        feet = self.array("foot points", motion.feet_m, (4, 3), LARGEST)
        self.whole("a foot point", feet, (2,))
        contact = self.array("contact", motion.contact, (4,), 1.0)
        self.whole("contact", contact, (1,))
        if contact is not None and (contact < 0).any():
            self.bad("contact between 0 and 1", f"{np.nanmin(contact):g} in {self.frame(contact < 0)}")
        count = len(motion.keypoint_names)
        self.once("key point", motion.keypoint_names)
        keypoints = self.array("key points", motion.keypoints_px, (count, 2), LARGEST)
        self.whole("a key point", keypoints, (2,))
        return replace(
            motion,
            joints_m=joints,
            hands_m=hands,
            feet_m=feet,
            contact=contact,
            T_cam_world=self.camera(motion, joints),
            body=None if motion.body is None else self.body(motion.body),
            keypoints_px=keypoints,
            keypoint_confidence=self.array("key point confidence", motion.keypoint_confidence, (count,), LARGEST),
        )

    def joints(self, motion: Motion3D) -> np.ndarray | None:
        """Joint positions; every compared joint is there, and in each frame all of them or none."""
        if motion.joints_m is None:
            return None
        names = motion.joint_names
        self.once("joint", names)
        missing = [n for n in self.needed if n not in names]
        if missing:
            self.bad("every compared joint of the set", f"no {', '.join(missing)} among its {len(names)} joint names")
        joints = self.array("joints", motion.joints_m, (len(names), 3), LARGEST)
        self.whole("joints", self.compared(motion, joints), (1, 2))
        return joints

    def once(self, what: str, names: tuple[str, ...]) -> None:
        """Every name must stand for one position."""
        twice = [n for n in dict.fromkeys(names) if names.count(n) > 1]
        if twice:
            self.bad(f"every {what} name once", f"{', '.join(twice)} more than once")

    def compared(self, motion: Motion3D, joints: np.ndarray) -> np.ndarray:
        """(T, N, 3) compared joints and root joints."""
        return joints[:, [motion.joint_names.index(n) for n in self.needed]]

    def camera(self, motion: Motion3D, joints: np.ndarray | None) -> np.ndarray | None:
        """Rigid transforms to the camera, in each frame that has joints in the world."""
        if motion.T_cam_world is None or not motion.in_world:
            return None
        T = self.array("T_cam_world", motion.T_cam_world, (4, 4), LARGEST)
        self.whole("T_cam_world", T, (1, 2))
        R = T[:, :3, :3]
        with np.errstate(invalid="ignore"):
            off = np.abs(np.swapaxes(R, -1, -2) @ R - np.eye(3)).max((1, 2)) > 1e-3
            off |= (np.linalg.det(R) < 0) | (np.abs(T[:, 3] - [0, 0, 0, 1]).max(-1) > 1e-6)
        if off.any():
            self.bad(
                "rigid transforms of world points to the camera as T_cam_world, last row 0 0 0 1",
                f"another matrix in {self.frame(off)}",
            )
        if self.whole_rows and joints is not None:
            blind = np.isfinite(self.compared(motion, joints)).all((1, 2)) & np.isnan(T[:, 0, 0])
            if blind.any():
                self.bad(
                    "T_cam_world in every frame with joints",
                    f"{int(blind.sum())} without, the first in {self.frame(blind)}",
                )
        return T

    def body(self, body: BodyParameters) -> BodyParameters:
        """Parameters of the body model."""
        poses = self.array("poses", body.poses, (NUM_JOINTS, 3), LARGEST)
        trans_m = self.array("trans", body.trans_m, (3,), LARGEST)
        self.whole("poses", poses, (1, 2))
        self.whole("trans", trans_m, (1,))
        betas = np.asarray(body.betas)
        if betas.ndim != 1 or betas.dtype.kind not in "fiu" or not np.isfinite(betas).all():
            self.bad("one row of finite shape coefficients as betas", f"{betas.dtype} of shape {betas.shape}")
        return replace(body, poses=poses, trans_m=trans_m)

    @overload
    def array(self, name: str, value: None, shape: tuple[int, ...], largest: float) -> None: ...
    @overload
    def array(self, name: str, value: np.ndarray, shape: tuple[int, ...], largest: float) -> np.ndarray: ...
    @overload
    def array(
        self, name: str, value: np.ndarray | None, shape: tuple[int, ...], largest: float
    ) -> np.ndarray | None: ...
    def array(self, name: str, value: np.ndarray | None, shape: tuple[int, ...], largest: float) -> np.ndarray | None:
        """The array as float64; its shape must be (frames, *shape) and no number infinite or beyond ``largest``."""
        if value is None:
            return None
        value = np.asarray(value)
        if value.dtype.kind not in "fiub":
            self.bad(f"numbers for {name}", str(value.dtype))
        value = value.astype(np.float64)
        if value.shape != (self.case.frames, *shape):
            self.bad(f"{name} of shape {(self.case.frames, *shape)} (rows first)", str(value.shape))
        if np.isinf(value).any():
            self.bad(f"finite numbers or NaN for {name}", f"infinity in {self.frame(np.isinf(value))}")
        with np.errstate(invalid="ignore"):
            huge = np.abs(value) > largest
        if huge.any():
            self.bad(f"{name} no larger than {largest:g}", f"{value[huge][0]:g} in {self.frame(huge)}")
        return value

    def whole(self, name: str, value: np.ndarray | None, axes: tuple[int, ...]) -> None:
        """NaN must fill the given axes wholly or not at all. Truths may know a part only."""
        if value is None or not self.whole_rows:
            return
        nan = np.isnan(value)
        torn = nan.any(axes) & ~nan.all(axes)
        if torn.any():
            self.bad(
                f"{name} wholly found or wholly NaN in each frame",
                f"{int(torn.sum())} found in part, the first in {self.frame(torn)}",
            )

    def frame(self, where: np.ndarray | np.bool_) -> str:
        """The first row with a True in (T, ...), in words."""
        row = int(np.argwhere(where)[0, 0])
        return f"row {row} (frame {int(self.case.index[row])} of the source)"
