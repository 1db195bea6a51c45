"""Body files that a user owns: reading them, and skinning against a plain reading of the equations."""

import importlib.util
import pickle
import runpy
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from eval_bodies import body_arrays, write_bodies
from hmcap.models.body import load_body
from hmcap.models.errors import HmcapError
from hmcap.tools.evaluation.sets.body_files import TREES, BodyFile, find_body, load_body_file
from hmcap.tools.evaluation.sets.body_truth import LANDMARK_VERTICES
from hmcap.tools.evaluation.sets.ply import read_vertices
from scipy import sparse
from scipy.spatial.transform import Rotation

KINDS = tuple(TREES)


def _saved(tmp_path: Path, kind: str) -> BodyFile:
    file = tmp_path / f"{kind.upper()}_NEUTRAL.npz"
    np.savez(file, **body_arrays(kind))
    return load_body_file(file, kind)


def _plain_skinning(a: dict[str, np.ndarray], pose: np.ndarray, trans: np.ndarray, betas: np.ndarray):
    """SMPL equations 2 to 10 for one pose, one vertex and one joint after the other."""
    v = a["v_template"] + a["shapedirs"][..., : len(betas)] @ betas
    rest = a["J_regressor"] @ v
    R = Rotation.from_rotvec(pose).as_matrix()
    v = v + a["posedirs"] @ (R[1:] - np.eye(3)).ravel()
    tree = a["kintree_table"][0].astype(np.int64)
    G = []
    for j in range(len(rest)):
        local = np.eye(4)
        local[:3, :3] = R[j]
        local[:3, 3] = rest[j] if j == 0 else rest[j] - rest[tree[j]]
        G.append(local if j == 0 else G[tree[j]] @ local)
    out = np.zeros_like(v)
    for i, point in enumerate(v):
        for j, T in enumerate(G):
            out[i] += a["weights"][i, j] * (T @ np.append(point - rest[j], 1))[:3]
    return np.array([T[:3, 3] for T in G]) + trans, out + trans


@pytest.mark.parametrize("kind", KINDS)
def test_joints_and_mesh_follow_the_equations(tmp_path: Path, kind: str) -> None:
    body, rng = _saved(tmp_path, kind), np.random.default_rng(1)
    poses, trans = rng.normal(0, 0.5, (35, len(TREES[kind]), 3)), rng.normal(size=(35, 3))
    betas = rng.normal(size=10)
    moving = body.animate(poses, trans, betas)
    for row in (0, 34):
        joints, mesh = _plain_skinning(body_arrays(kind), poses[row], trans[row], betas)
        np.testing.assert_allclose(moving.joints_m()[row], joints, atol=1e-9)
        np.testing.assert_allclose(moving.vertices_m(slice(row, row + 1))[0], mesh, atol=1e-6)
    np.testing.assert_allclose(moving.vertices_m(slice(0, 35))[34], mesh, atol=1e-6)
    np.testing.assert_allclose(moving.vertices_m(slice(None), np.array([5, 2]))[34], mesh[[5, 2]], atol=1e-6)
    assert moving.vertices_m(slice(3, 3)).shape == (0, len(mesh), 3)


def test_shape_of_each_row_is_that_of_the_row(tmp_path: Path) -> None:
    body, rng = _saved(tmp_path, "smplx"), np.random.default_rng(2)
    poses, trans = rng.normal(0, 0.5, (3, 55, 3)), rng.normal(size=(3, 3))
    betas, expression = rng.normal(size=(3, 10)), rng.normal(size=(3, 10))
    whole = body.animate(poses, trans, betas, expression)
    for i in range(3):
        one = body.animate(poses[i : i + 1], trans[i : i + 1], betas[i], expression[i : i + 1])
        np.testing.assert_allclose(whole.joints_m()[i], one.joints_m()[0], atol=1e-12)
        np.testing.assert_allclose(whole.vertices_m(slice(i, i + 1)), one.vertices_m(slice(0, 1)), atol=1e-12)


def test_smplx_agrees_with_the_body_of_the_solver(tmp_path: Path) -> None:
    body, rng = _saved(tmp_path, "smplx"), np.random.default_rng(3)
    poses, trans, betas = rng.normal(0, 0.4, (4, 55, 3)), rng.normal(size=(4, 3)), rng.normal(size=10)
    ours = load_body(body.path).astype(np.float64).with_shape(betas).with_pose(poses, trans)
    moving = body.animate(poses, trans, betas)
    np.testing.assert_allclose(moving.joints_m(), ours.joints_m, atol=1e-5)
    np.testing.assert_allclose(moving.vertices_m(slice(None)), ours.skin().vertices_m, atol=1e-5)


def test_turning_the_root_turns_the_person(tmp_path: Path) -> None:
    body, rng = _saved(tmp_path, "smplh"), np.random.default_rng(4)
    poses, trans, betas = rng.normal(0, 0.4, (2, 52, 3)), np.zeros((2, 3)), rng.normal(size=10)
    turn = Rotation.from_rotvec([0.3, 1.0, -0.2])
    turned = poses.copy()
    turned[:, 0] = (turn * Rotation.from_rotvec(poses[:, 0])).as_rotvec()
    before, after = (body.animate(p, trans, betas).vertices_m(slice(None)) for p in (poses, turned))
    pelvis = body.animate(poses, trans, betas).rest_joints_m()[0]
    np.testing.assert_allclose(after, turn.apply((before - pelvis).reshape(-1, 3)).reshape(before.shape) + pelvis)


def _published_pkl(protocol: int, sparse_module: str) -> bytes:
    """A pickle as SMPL's: shapes in an object of chumpy, the regressor in a sparse matrix, keys by their names."""
    module = types.ModuleType("chumpy.ch")
    Ch = type("Ch", (), {"__module__": "chumpy.ch"})
    module.Ch = Ch  # type: ignore[attr-defined]
    arrays: dict[str, object] = dict(body_arrays("smpl"))
    shapes = Ch()
    shapes.__dict__.update(x=arrays["shapedirs"], _dirty_vars=set(), _itr=None)
    arrays |= {"shapedirs": shapes, "J_regressor": sparse.csc_matrix(arrays["J_regressor"]), "bs_style": "lbs"}
    packages = {"chumpy": types.ModuleType("chumpy"), "chumpy.ch": module}
    sys.modules.update(packages)
    try:
        data = pickle.dumps(arrays, protocol)
    finally:
        for name in packages:
            del sys.modules[name]
    # the length of a name is written before it from protocol 4 on only
    return data.replace(b"scipy.sparse._csc", sparse_module.encode())


@pytest.mark.parametrize(
    ("protocol", "module"), [(0, "scipy.sparse.csc"), (2, "scipy.sparse.csc"), (4, "scipy.sparse._csc")]
)
def test_published_pkl_is_read_without_its_classes(tmp_path: Path, protocol: int, module: str) -> None:
    file = tmp_path / "SMPL_NEUTRAL.pkl"
    file.write_bytes(_published_pkl(protocol, module))
    body, same = load_body_file(file, "smpl"), _saved(tmp_path, "smpl")
    for name in ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "parents", "faces"):
        np.testing.assert_array_equal(getattr(body, name), getattr(same, name))


def test_sparse_matrix_with_numbers_out_of_range_is_refused(tmp_path: Path) -> None:
    arrays: dict[str, object] = dict(body_arrays("smpl"))
    matrix = sparse.csc_matrix(arrays["J_regressor"])
    matrix.indices[0] = 10**6
    arrays["J_regressor"] = matrix
    file = tmp_path / "SMPL_NEUTRAL.pkl"
    file.write_bytes(pickle.dumps(arrays, 2))
    with pytest.raises(HmcapError, match="sparse matrices that are whole"):
        load_body_file(file, "smpl")


@pytest.mark.parametrize(
    ("kind", "gender", "name"),
    [
        ("smplx", "neutral", "models/smplx/SMPLX_NEUTRAL.npz"),
        ("smplx", "m", "smplx/SMPLX_MALE.pkl"),
        ("smpl", "f", "smpl/models/basicmodel_f_lbs_10_207_0_v1.1.0.pkl"),
        ("smpl", "neutral", "SMPL_NEUTRAL.pkl"),
        ("smplh", "male", "smplh/male/model.npz"),
    ],
)
def test_body_is_found_as_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, gender: str, name: str
) -> None:
    monkeypatch.setenv("HMCAP_BODIES", str(tmp_path / "bodies"))
    for root in (tmp_path / "set" / "models", tmp_path / "bodies"):  # the variable goes before the set's folder
        file = root / name
        file.parent.mkdir(parents=True)
        file.write_bytes(b"")
        assert find_body(kind, gender, tmp_path / "set") == file


def test_missing_body_says_what_where_and_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HMCAP_BODIES", str(tmp_path / "bodies"))
    with pytest.raises(HmcapError) as error:
        find_body("smpl", "female", tmp_path / "set")
    for words in ("SMPL_FEMALE", str(tmp_path / "bodies"), str(tmp_path / "set" / "models"), "export HMCAP_BODIES="):
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weights": None}, "weights"),
        ({"weights": np.ones((3, 3))}, "weights of shape"),
        ({"posedirs": np.ones((96, 3, 207), object)}, "pickle"),
        ({"kintree_table": np.zeros((2, 24), np.int64) + 5}, "parents"),
        ({"v_template": np.zeros((96, 2))}, "v_template of shape"),
        ({"hands_meanl": np.zeros(44)}, "hands"),
    ],
)
def test_wrong_body_file_is_named(tmp_path: Path, change: dict[str, np.ndarray | None], words: str) -> None:
    arrays = {k: v for k, v in {**body_arrays("smpl"), **change}.items() if v is not None}
    file = tmp_path / "SMPL_NEUTRAL.npz"
    np.savez(file, **arrays)
    with pytest.raises(HmcapError, match=words) as error:
        load_body_file(file, "smpl")
    assert str(file) in str(error.value)


def test_body_of_another_kind_or_no_body_is_refused(tmp_path: Path) -> None:
    folder = write_bodies(tmp_path)
    with pytest.raises(HmcapError, match="posedirs of shape"):
        load_body_file(folder / "smplh" / "SMPLH_MALE.npz", "smplx")
    for name, data in (("a.npz", b"no npz"), ("a.pkl", b"no pickle"), ("b.pkl", pickle.dumps([1, 2]))):
        file = tmp_path / name
        file.write_bytes(data)
        with pytest.raises(HmcapError, match=name):
            load_body_file(file, "smpl")


def test_more_components_than_the_file_has_are_refused(tmp_path: Path) -> None:
    body = _saved(tmp_path, "smpl")
    with pytest.raises(HmcapError, match="11 shape components"):
        body.animate(np.zeros((1, 24, 3)), np.zeros((1, 3)), np.zeros(11))
    with pytest.raises(HmcapError, match="poses"):
        body.animate(np.zeros((1, 55, 3)), np.zeros((1, 3)), np.zeros(10))


POINTS_M = np.array([[0.5, -1.25, 3.0], [1e-3, 2.0, -0.75]])


def _ply(kind: str) -> bytes:
    properties = b"property float x\nproperty uchar red\nproperty float y\nproperty double z\n"
    head = b"ply\nformat " + kind.encode() + b" 1.0\ncomment made\nelement vertex 2\n" + properties
    head += b"element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    if kind == "ascii":
        return head + b"".join(b"%r 7 %r %r\n" % (x, y, z) for x, y, z in POINTS_M.tolist()) + b"3 0 1 0\n"
    order = "<" if kind == "binary_little_endian" else ">"
    table = np.zeros(2, [("x", order + "f4"), ("red", "u1"), ("y", order + "f4"), ("z", order + "f8")])
    for k, name in enumerate("xyz"):
        table[name] = POINTS_M[:, k]
    return head + table.tobytes() + b"\x03" + np.array([0, 1, 0], order + "i4").tobytes()


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_vertices_are_read(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "01_align.ply"
    file.write_bytes(_ply(kind))
    np.testing.assert_allclose(read_vertices(file), POINTS_M, rtol=1e-6)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"solid stl", "PLY header"),
        (_ply("ascii").replace(b"ascii 1.0", b"other 1.0"), "PLY header"),
        (_ply("ascii").replace(b"property double z\n", b""), "x, y and z"),
        (_ply("ascii").replace(b"vertex 2", b"vertex 9"), "9 lines"),
        (_ply("ascii").replace(b" 7 ", b" red "), "numbers"),
        (_ply("binary_little_endian")[:-20], "2 vertices"),
        (_ply("ascii").replace(b"element vertex", b"element point"), "vertices as the first"),
    ],
)
def test_broken_ply_is_named(tmp_path: Path, data: bytes, words: str) -> None:
    file = tmp_path / "01_align.ply"
    file.write_bytes(data)
    with pytest.raises(HmcapError, match=words) as error:
        read_vertices(file)
    assert str(file) in str(error.value)


def test_landmark_vertices_are_those_of_the_published_list() -> None:
    spec = importlib.util.find_spec("smplx")
    if spec is None or spec.origin is None:
        pytest.skip("smplx is not installed; it holds the published list")
    # the list by itself: the package would import torch
    listed = runpy.run_path(str(Path(spec.origin).with_name("vertex_ids.py")))["vertex_ids"]
    names = {"nose": "nose", "right_eye": "reye", "left_eye": "leye", "right_ear": "rear", "left_ear": "lear"}
    for side, letter in (("left", "L"), ("right", "R")):
        names |= {f"{side}_big_toe": f"{letter}BigToe", f"{side}_small_toe": f"{letter}SmallToe"}
        names |= {f"{side}_heel": f"{letter}Heel"}
        names |= {f"{side}_{f}4": f"{letter.lower()}{f}" for f in ("thumb", "index", "middle", "ring", "pinky")}
    for vertices, kind in ((6890, "smplh"), (10475, "smplx")):
        ours = LANDMARK_VERTICES[vertices]
        assert {names[n]: v for n, v in ours.items()} == listed[kind]
