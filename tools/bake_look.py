"""Contact sheet of a body file in hard poses, to look at after every bake.

::

    python -m hmcap.tools.bake_look --output sheet.png [--body FILE] [--size-px 420]
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from ..models.body import BodyModel, load_body
from ..models.skeleton import JOINT_NAMES, NUM_JOINTS


def _pose(**angles_deg: tuple[float, float, float]) -> np.ndarray:
    """(55, 3) axis-angle radians; a key without side stands for both, mirrored."""
    out = np.zeros((NUM_JOINTS, 3), np.float32)
    for name, value in angles_deg.items():
        v = np.radians(value)
        if name in JOINT_NAMES:
            out[JOINT_NAMES.index(name)] = v
        else:
            out[JOINT_NAMES.index("left_" + name)] = v
            out[JOINT_NAMES.index("right_" + name)] = v * [1, -1, -1]
    return out


def _fist(deg: float) -> dict[str, tuple[float, float, float]]:
    fingers = {f"{f}{k}": (0.0, 0.0, -deg) for f in ("index", "middle", "ring", "pinky") for k in (1, 2, 3)}
    return {**fingers, "thumb1": (20.0, 10.0, -10.0), "thumb2": (20.0, 25.0, -10.0), "thumb3": (0.0, 50.0, 0.0)}


POSES = {
    "T-pose": _pose(),
    "arms down": _pose(collar=(0, 0, -5), shoulder=(0, 0, -65)),
    "arms up": _pose(collar=(0, 0, 18), shoulder=(0, 0, 62)),
    "arms forward": _pose(collar=(0, -12, 0), shoulder=(0, -75, 0), elbow=(0, -15, 0)),
    "elbow bent": _pose(elbow=(0, -120, 0), shoulder=(0, 0, -30)),
    "crouch": _pose(
        pelvis=(25, 0, 0),
        hip=(-110, 0, 10),
        knee=(130, 0, 0),
        ankle=(-25, 0, 0),
        shoulder=(0, -60, -30),
        spine2=(15, 0, 0),
    ),
    "leg raised": _pose(left_hip=(-90, 0, 0), shoulder=(0, 0, -40)),
    "split": _pose(left_hip=(0, 0, 60), right_hip=(0, 0, -20)),
    "twisted forearm": _pose(wrist=(85, 0, 0)),
    "fists": _pose(**_fist(75.0)),
    "twist": _pose(spine1=(0, 15, 0), spine2=(0, 15, 0), spine3=(0, 15, 0), neck=(0, 25, 0), head=(0, 25, 0)),
}


def render(
    vertices: np.ndarray, faces: np.ndarray, size_px: int, centre: np.ndarray, metres: float, yaw_deg: float,
    pitch_deg: float = 0.0, points: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """(size, size, 3) uint8 picture, parallel projection, painted from back to front, with optional points (N, 3)."""
    a, e = np.radians(yaw_deg), np.radians(pitch_deg)
    turn = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
    turn = np.array([[1, 0, 0], [0, np.cos(e), -np.sin(e)], [0, np.sin(e), np.cos(e)]]) @ turn

    def project(p: np.ndarray) -> np.ndarray:
        return (p - centre) @ turn.T * [1, -1, 1] * (size_px / metres) + [size_px / 2, size_px / 2, 0]

    q = project(vertices)
    tri = q[faces]
    normal = np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0])
    normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    # Screen y points down, so an outward front face has a normal with negative z here.
    shade = np.clip(normal @ np.array([0.3, 0.45, -0.84]), 0, 1) * 200 + 45
    image = np.full((size_px, size_px, 3), 255, np.uint8)
    corners = np.round(tri[..., :2] * 16).astype(np.int32)
    front = normal[:, 2] < 0
    for i in np.argsort(tri[..., 2].mean(axis=1)):
        if front[i]:
            g = float(shade[i])
            cv2.fillConvexPoly(image, corners[i], (g * 0.8, g * 0.85, g), cv2.LINE_AA, 4)
    if points is not None:
        for x, y, _ in project(points):
            cv2.circle(image, (round(x), round(y)), 3, (0, 0, 220), -1, cv2.LINE_AA)
    return image


def sheet(body: BodyModel, size_px: int = 420) -> np.ndarray:
    """One row of pictures per view, one column per pose of :data:`POSES`."""
    shaped = body.with_shape()
    columns = []
    for name, pose in POSES.items():
        mesh = shaped.with_pose(pose).skin().vertices_m
        hand = np.mean(mesh[body.weights[:, JOINT_NAMES.index("left_middle1")] > 0.5], axis=0)
        close = name in ("twisted forearm", "fists")
        views = []
        for yaw in (20, -60, 160):
            if close:
                views.append(render(mesh, body.faces, size_px, hand - [0.1, 0, 0], 0.5, yaw, 30))
            else:
                views.append(render(mesh, body.faces, size_px, np.array([0, -0.3, 0]), 2.1, yaw))
        cv2.putText(views[0], name, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 1, cv2.LINE_AA)
        columns.append(np.concatenate(views))
    return np.concatenate(columns, axis=1)


def main() -> None:
    """Command line: draw the sheet and write it as a PNG."""
    parser = argparse.ArgumentParser(description="Draw a body file in hard poses.")
    parser.add_argument("--body", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--size-px", type=int, default=420)
    args = parser.parse_args()
    cv2.imwrite(str(args.output), sheet(load_body(args.body), args.size_px))


if __name__ == "__main__":
    main()
