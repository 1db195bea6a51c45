"""Tiny cases for the tests of running an evaluation: a folder of pictures with one bright dot, or a walk's proxies."""

from pathlib import Path

import cv2
import numpy as np
from hmcap.models.camera import Camera
from hmcap.models.proxies import NUM_PROXIES, Proxies
from hmcap.tools.evaluation.records import LIMBS, Case, Footage, Motion3D
from solver_takes import CAMERA, the_walk

SIZE = (64, 48)
DOTS = np.array([[20, 10], [24, 14], [28, 18], [32, 22], [36, 26], [40, 30]])
"""Where the dot of each picture is, x and y."""


def write_pictures(folder: Path, dots: np.ndarray = DOTS) -> Path:
    """A folder of pictures, black but for a white dot and, in a corner, a brighter one that nobody means."""
    folder.mkdir(parents=True)
    for i, (x, y) in enumerate(dots.tolist()):
        image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        image[y, x], image[46, 62] = 200, 255
        cv2.imwrite(str(folder / f"{i}.png"), image)
    return folder


def picture_case(source: Path, index=(0, 1, 2, 3, 4, 5), **changes) -> Case:
    """A case on such a folder; its truth stands still."""
    rows = np.array(index)
    joints = np.tile(np.random.default_rng(0).normal(size=(1, len(LIMBS), 3)), (len(rows), 1, 1))
    fields = {
        "set_name": "beam", "name": "dots", "fps": 30.0, "camera": Camera.from_fov(*SIZE, 60.0),
        "truth": Motion3D(joint_names=LIMBS, joints_m=joints), "footage": Footage(source, rows),
    }  # fmt: skip
    return Case(**(fields | changes))


def walk_case(frames: int = 60, **changes) -> Case:
    """A case that begins at the proxies of the solver tests' walk, with the walk as truth."""
    truth, proxies = the_walk()
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = truth.R_cam_world, truth.t_cam_world_m
    names = ("nose", "left_hip")  # the proxies of the walk carry the offsets of the landmark networks
    motion = Motion3D(
        joint_names=LIMBS,
        joints_m=truth.proxies_m[:frames, [_PROXY[n] for n in LIMBS]].astype(np.float64),
        in_world=True,
        T_cam_world=np.tile(T, (frames, 1, 1)),
        keypoint_names=names,
        keypoints_px=np.array([p.xy_px[[_PROXY[n] for n in names]] for p in proxies[:frames]], np.float64),
        keypoint_confidence=np.ones((frames, len(names))),
    )
    fields = {
        "set_name": "proxy", "name": "walk", "fps": 30.0, "camera": CAMERA, "truth": motion,
        "proxies": proxies[:frames],
    }  # fmt: skip
    return Case(**(fields | changes))


class DotStage:
    """A landmark stage that puts every landmark on the brightest pixel, and counts its pictures."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float]] = []
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1

    def __call__(self, image_rgb: np.ndarray, index: int, stamp_s: float) -> Proxies:
        self.seen.append((index, stamp_s))
        y, x = np.unravel_index(int(image_rgb[..., 1].argmax()), image_rgb.shape[:2])
        rng = np.random.default_rng(index)
        return Proxies(
            index, stamp_s, (image_rgb.shape[1], image_rgb.shape[0]),
            np.tile(np.array([x, y], np.float32), (NUM_PROXIES, 1)), np.full(NUM_PROXIES, 0.9, np.float32),
            rng.normal(size=(33, 3)).astype(np.float32), rng.normal(size=(2, 21, 3)).astype(np.float32), 0.9,
        )  # fmt: skip


def nothing(done: int, total: int) -> None:
    """Progress that nobody looks at."""


def _proxy_index() -> dict[str, int]:
    from hmcap.models.proxies import PROXY_NAMES

    return {name: i for i, name in enumerate(PROXY_NAMES)}


_PROXY = _proxy_index()
