"""Made body files with few vertices, in the layouts of SMPL, SMPL+H and SMPL-X, for the tests of the sets."""

from pathlib import Path

import numpy as np
from hmcap.tools.evaluation.sets.body_files import TREES
from hmcap.tools.evaluation.sets.body_truth import POINTS

PER_JOINT = 4
_BODY = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)


def parents(kind: str) -> np.ndarray:
    """(J,) parents of the published trees."""
    tree = list(_BODY)
    if kind == "smpl":
        return np.array([*tree, 20, 21])
    if kind == "smplx":
        tree += [15, 15, 15]
    for wrist in (20, 21):
        for _ in range(5):
            tree += [wrist, len(tree), len(tree) + 1]
    return np.array(tree)


def body_arrays(kind: str, seed: int = 0, shapes: int = 10) -> dict[str, np.ndarray]:
    """The arrays of a body whose joints are spread as a person's are: Y up, left +X, the head 1.5 m over the feet."""
    rng = np.random.default_rng(seed)
    names, tree = TREES[kind], parents(kind)
    step = {"hip": (0.1, -0.1, 0), "knee": (0, -0.4, 0), "ankle": (0, -0.4, 0), "foot": (0, -0.05, 0.15)}
    step |= {"collar": (0.08, 0.1, 0), "shoulder": (0.1, 0, 0), "elbow": (0.25, 0, 0), "wrist": (0.25, 0, 0)}
    joints = np.zeros((len(names), 3))
    for j, name in enumerate(names[1:], 1):
        side = -1 if name.startswith("right") else 1
        part = name.partition("_")[2] if "_" in name else name
        x, y, z = step.get(part, (0.03, 0, 0.01) if "_" in name else (0, 0.12, 0))
        joints[j] = joints[tree[j]] + (side * x, y, z)
    joints += rng.normal(0, 0.005, joints.shape)
    corners = np.tile(np.array([[1.0, 0, 1], [-1, 0, 1], [-1, 0, -1], [1, 0, -1]]) * 0.02, (len(names), 1))
    v = np.repeat(joints, PER_JOINT, axis=0) + corners
    J_regressor = np.kron(np.eye(len(names)), np.full((1, PER_JOINT), 1 / PER_JOINT))
    weights = 0.8 * np.repeat(np.eye(len(names)), PER_JOINT, axis=0)
    weights[np.arange(len(v)), np.repeat(np.maximum(tree, 0), PER_JOINT)] += 0.2
    expressions = 10 if kind == "smplx" else 0
    corners_of = np.arange(len(v)).reshape(-1, PER_JOINT)
    arrays = {
        "v_template": v,
        "shapedirs": rng.normal(0, 0.003, (len(v), 3, shapes + expressions)),
        "posedirs": rng.normal(0, 0.002, (len(v), 3, 9 * (len(names) - 1))),
        "J_regressor": J_regressor,
        "weights": weights,
        "f": np.concatenate([corners_of[:, :3], corners_of[:, [0, 2, 3]]]).astype(np.uint32),
        "kintree_table": np.array([tree, np.arange(len(names))]).astype(np.uint32),
    }
    if kind != "smpl":
        for side in "lr":
            arrays[f"hands_mean{side}"] = rng.normal(0, 0.2, 45)
            arrays[f"hands_components{side}"] = np.linalg.qr(rng.normal(size=(45, 45)))[0]
    return arrays


def landmark_vertices() -> dict[str, int]:
    """A vertex for each landmark of the skin of a made body."""
    return {name: PER_JOINT * (j + 1) for j, name in enumerate(POINTS)}


def write_bodies(folder: Path) -> Path:
    """Every kind and gender, each another person, as npz in ``folder``."""
    for kind in TREES:
        for seed, gender in enumerate(("NEUTRAL", "MALE", "FEMALE")):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            np.savez(folder / kind / f"{kind.upper()}_{gender}.npz", **body_arrays(kind, seed))
    return folder
