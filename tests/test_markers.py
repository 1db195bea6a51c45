"""Landmarks on the body: where they lie, that they ride rigidly and linearly, on our mesh and on a foreign one."""

import numpy as np
import pytest
from hmcap.models.body import forward_kinematics, load_body
from hmcap.models.errors import HmcapError
from hmcap.models.markers import (
    SOLE_POINTS,
    blazepose_rig,
    contact_rig,
    convert_rest_pose,
    limb_rest_rotations,
    proxy_rig,
    sole_rig,
)
from hmcap.models.proxies import BLAZEPOSE_NAMES, PROXY_NAMES
from hmcap.models.rotations import axis_angle_to_matrix
from hmcap.models.skeleton import CONTACT_POINTS, JOINT_NAMES, NUM_JOINTS
from test_body import box_body

RIGS = {
    "proxies": (proxy_rig, PROXY_NAMES),
    "blazepose": (blazepose_rig, BLAZEPOSE_NAMES),
    "contact": (contact_rig, CONTACT_POINTS),
    "sole": (sole_rig, SOLE_POINTS),
}


@pytest.fixture(scope="module", params=["built-in", "foreign"])
def body(request, tmp_path_factory):
    if request.param == "built-in":
        return load_body()
    path = tmp_path_factory.mktemp("foreign") / "SMPLX_NEUTRAL.npz"
    np.savez(path, **box_body())
    return load_body(path)


def points(rig) -> dict[str, np.ndarray]:
    return dict(zip(rig.names, rig.points_template, strict=True))


@pytest.mark.parametrize("kind", RIGS)
def test_arrays_and_names(body, kind):
    make, names = RIGS[kind]
    rig = make(body)
    n = len(names)
    assert rig.names == names
    assert rig.joint.shape == (n,)
    assert rig.points_template.shape == (n, 3)
    assert rig.points_shapedirs.shape == (n, 3, body.num_betas)
    assert make(body) is rig


@pytest.mark.parametrize("kind", RIGS)
def test_points_are_linear_in_shape_and_lie_on_the_shaped_mesh(body, kind):
    rig = RIGS[kind][0](body)
    betas = np.random.default_rng(0).normal(size=(3, body.num_betas)).astype(np.float32)
    shaped = body.with_shape(betas)
    mesh = shaped.vertices_m()
    for i, ids in enumerate(rig.vertices):
        assert bool(len(ids)) == rig.on_surface[i]
        if len(ids):
            np.testing.assert_allclose(rig.points_m(betas)[:, i], mesh[:, ids].mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(rig.points_m(betas), shaped.joints_m[:, rig.joint] + rig.offsets_m(betas), atol=1e-5)


def test_left_and_right_mirror_each_other():
    flip = np.array([-1, 1, 1])
    for make, names in RIGS.values():
        p = points(make(load_body()))
        for name in names:
            if "left" in name:
                np.testing.assert_allclose(p[name], p[name.replace("left", "right")] * flip, atol=0.002, err_msg=name)
            elif "right" not in name:
                assert abs(p[name][0]) < 0.002, name


def test_face_lies_as_a_face_does(body):
    p = points(blazepose_rig(body))
    assert p["nose"][2] >= p["left_eye"][2] - 1e-6
    assert p["left_ear"][0] >= p["left_eye_outer"][0] > 0 > p["right_eye_outer"][0] >= p["right_ear"][0]
    eye = body.J_template[JOINT_NAMES.index("left_eye_smplhf")]
    assert np.linalg.norm(p["left_eye"][:2] - eye[:2]) < 0.005  # straight ahead of the eyeball's centre
    assert p["left_eye"][2] > eye[2]
    assert p["left_ear"][2] <= p["left_eye"][2] + 1e-6


def test_face_of_the_built_in_body_in_millimetres():
    p = points(blazepose_rig(load_body()))
    assert p["left_ear"][0] > p["left_eye_outer"][0] + 0.02
    eyes = np.linalg.norm(p["left_eye"] - p["right_eye"])
    assert 0.05 < eyes < 0.07
    assert 0.02 < p["left_eye"][1] - p["nose"][1] < 0.05
    assert 0.02 < p["nose"][1] - p["mouth_left"][1] < 0.045
    assert 0.03 < p["mouth_left"][0] - p["mouth_right"][0] < 0.06
    assert 0.13 < p["left_ear"][0] - p["right_ear"][0] < 0.2
    assert p["left_eye"][0] > p["left_eye_inner"][0] + 0.008
    assert p["left_eye_outer"][0] > p["left_eye"][0] + 0.008


@pytest.mark.parametrize("side", ["left", "right"])
def test_finger_tips_are_past_the_last_joint(body, side):
    p = points(proxy_rig(body))
    for finger in ("thumb", "index", "middle", "ring", "pinky"):
        chain = [p[f"{side}_hand_{finger}{k}"] for k in (1, 2, 3, 4)]
        bone = chain[2] - chain[1]
        step = chain[3] - chain[2]
        assert step @ bone > 0.5 * np.linalg.norm(step) * np.linalg.norm(bone), finger
        assert 0.01 < np.linalg.norm(step) < 0.05, finger
    np.testing.assert_array_equal(p[f"{side}_hand_wrist"], p[f"{side}_wrist"])


@pytest.mark.parametrize("side", ["left", "right"])
def test_feet(body, side):
    p = {**points(proxy_rig(body)), **points(blazepose_rig(body))}
    sole = points(sole_rig(body))
    contact = points(contact_rig(body))
    out = 1 if side == "left" else -1
    heel, big, small, ankle = (p[f"{side}_{n}"] for n in ("heel", "big_toe", "small_toe", "ankle"))
    assert heel[2] < ankle[2] < small[2] <= big[2] + 1e-6
    assert heel[1] < ankle[1]
    assert big[0] * out < small[0] * out
    assert p[f"{side}_foot_index"][2] >= big[2] - 0.01
    floor = body.v_template[:, 1].min()
    for point in (contact[f"{side}_heel"], contact[f"{side}_toe"]):
        assert floor - 1e-6 <= point[1] < floor + 0.06
    assert contact[f"{side}_heel"][2] < contact[f"{side}_toe"][2] < big[2] + 1e-6
    assert sole[f"{side}_ball_inner"][0] * out < sole[f"{side}_ball_outer"][0] * out
    assert sole[f"{side}_heel"][2] < sole[f"{side}_toe"][2]


def test_soles_of_the_built_in_body_are_level_and_at_the_bottom():
    body = load_body()
    floor = body.v_template[:, 1].min()
    for make in (sole_rig, contact_rig):
        height = make(body).points_template[:, 1] - floor
        assert (height >= 0).all()
        assert height.max() < 0.008


def test_joint_landmarks_are_the_joints(body):
    p, J = points(proxy_rig(body)), body.J_template
    for name in ("left_shoulder", "right_knee", "left_hip", "right_ankle", "left_elbow"):
        np.testing.assert_array_equal(p[name], J[JOINT_NAMES.index(name)])
    hips = J[[JOINT_NAMES.index("left_hip"), JOINT_NAMES.index("right_hip")]].mean(axis=0)
    np.testing.assert_allclose(p["mid_hip"], hips, atol=1e-6)
    assert proxy_rig(body).joint[PROXY_NAMES.index("mid_hip")] == 0


@pytest.mark.parametrize("kind", RIGS)
def test_rigid_points_follow_the_skinned_mesh(kind):
    body = load_body()
    rig = RIGS[kind][0](body)
    rng = np.random.default_rng(5)
    poses = (0.4 * rng.normal(size=(6, NUM_JOINTS, 3))).astype(np.float32)
    poses[:, [JOINT_NAMES.index(f"{s}_eye_smplhf") for s in ("left", "right")]] = 0  # eyes turn under the lids
    poses[:, [JOINT_NAMES.index(f"{s}_foot") for s in ("left", "right")]] *= 0.4  # toes bend less than limbs
    mesh = body.with_shape(rng.normal(size=10).astype(np.float32)).with_pose(poses, rng.normal(size=(6, 3))).skin()
    distance = np.linalg.norm(rig.in_world_m(mesh.posed) - rig.on_mesh_m(mesh), axis=-1)
    surface = distance[:, rig.on_surface]
    # The ball of the foot bends between two joints, and the mouth between skull and jaw; all else is nearly rigid.
    soft = np.array([("ball" in n or "toe" in n or "mouth" in n) for n in np.array(rig.names)[rig.on_surface]])
    assert surface[:, ~soft].max() < 0.01
    assert surface.max() < 0.03


def test_in_world_uses_rotation_and_position(body):
    rig = proxy_rig(body)
    poses = np.zeros((NUM_JOINTS, 3), np.float32)
    poses[0] = [0, np.pi / 2, 0]
    trans = np.array([1.0, 2.0, 3.0], np.float32)
    posed = body.with_shape().with_pose(poses, trans)
    pelvis = body.J_template[0]
    expected = (rig.points_template - pelvis) @ axis_angle_to_matrix(poses[0]).T + pelvis + trans
    np.testing.assert_allclose(rig.in_world_m(posed), expected, atol=1e-5)


def test_a_mesh_without_hands_is_named(tmp_path):
    arrays = box_body(20)
    finger, wrist = JOINT_NAMES.index("left_index3"), JOINT_NAMES.index("left_wrist")
    arrays["weights"][:, wrist] += arrays["weights"][:, finger]
    arrays["weights"][:, finger] = 0
    np.savez(tmp_path / "mitten.npz", **arrays)
    with pytest.raises(HmcapError, match="left_index3"):
        proxy_rig(load_body(tmp_path / "mitten.npz"))


def test_limb_directions_survive_a_change_of_rest_pose():
    ours = load_body()
    rng = np.random.default_rng(2)
    other = ours.J_template + 0.03 * rng.normal(size=(NUM_JOINTS, 3))
    poses = axis_angle_to_matrix(0.6 * rng.normal(size=(4, NUM_JOINTS, 3)))
    _, before = forward_kinematics(poses, other)
    _, after = forward_kinematics(convert_rest_pose(poses, other, ours.J_template), ours.J_template)
    for side in ("left", "right"):
        for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist")):
            i, j = JOINT_NAMES.index(f"{side}_{a}"), JOINT_NAMES.index(f"{side}_{b}")
            u, w = (x[:, j] - x[:, i] for x in (before, after))
            u, w = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (u, w))
            np.testing.assert_allclose(u, w, atol=1e-6)
    C = limb_rest_rotations(other, ours.J_template)
    np.testing.assert_allclose(C @ np.swapaxes(C, -1, -2), np.broadcast_to(np.eye(3), C.shape), atol=1e-12)
