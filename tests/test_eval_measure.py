"""Measuring a prediction against its truth: the truth has no error, and a known mistake has the known error."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from eval_case import T, made_case, motion_of, moved, predicted, rigid
from hmcap.models.body import load_body
from hmcap.models.proxies import PROXY_NAMES, Proxies
from hmcap.models.skeleton import JOINT_NAMES
from hmcap.tools.evaluation.measure import (
    common_hands,
    common_keypoints,
    common_rows,
    found_rows,
    measure,
    truth_as_prediction,
)
from hmcap.tools.evaluation.metrics import METRICS
from hmcap.tools.evaluation.records import LIMBS, Case, Footage, Measured, Motion3D, Prediction, Surface
from hmcap.tools.evaluation.surface import surface_of
from scipy.spatial.transform import Rotation
from threadpoolctl import threadpool_limits

pytestmark = pytest.mark.filterwarnings("error")

SHARES = {"contact_precision": 1.0, "contact_recall": 1.0, "contact_f1": 1.0}


@pytest.fixture(scope="module")
def case() -> Case:
    return made_case()


def _assert_no_error(found: Measured) -> None:
    for name, value in found.values.items():
        if METRICS[name].of_truth or name in ("jitter_10m_s3", "world_jitter_10m_s3", "foot_sliding_mm"):
            continue  # these say how much the motion moves, not by how much it is wrong
        ideal = SHARES.get(name, 0.0 if METRICS[name].lower_is_better else 100.0)
        assert value == pytest.approx(ideal, abs=1e-5), name


def test_the_truth_as_prediction_has_no_error(case):
    found = measure(case, truth_as_prediction(case))
    _assert_no_error(found)
    assert set(found.values) == set(METRICS)
    assert list(found.values) == list(METRICS)
    assert set(found.weights) == set(found.values)
    assert found.values["jitter_10m_s3"] == found.values["truth_jitter_10m_s3"] > 0
    assert found.values["foot_sliding_mm"] == found.values["truth_foot_sliding_mm"]
    assert found.rows.tolist() == list(range(T))
    assert set(found.per_frame) == {n for n in METRICS if METRICS[n].per_frame}
    assert all(v.shape == (T,) for v in found.per_frame.values())


def test_values_are_the_means_of_their_frames_and_joints(case):
    rng = np.random.default_rng(1)
    found = measure(case, predicted(case, joints_m=case.truth.joints_m + rng.normal(scale=0.02, size=(T, 67, 3))))
    for name in ("mpjpe_mm", "pa_mpjpe_mm", "accel_m_s2", "jitter_10m_s3", "w_mpjpe100_mm", "wa_mpjpe100_mm"):
        value = found.values[name]
        assert value == pytest.approx(np.nanmean(found.per_frame[name]))
        assert tuple(found.per_joint[name]) == LIMBS
        assert value == pytest.approx(np.mean(list(found.per_joint[name].values())))
        assert found.weights[name] == np.isfinite(found.per_frame[name]).sum()
    assert found.weights["accel_m_s2"] == T - 2
    assert found.weights["jitter_10m_s3"] == T - 3


def test_another_world_seen_by_its_own_camera_is_no_error(case):
    truth, between = case.truth, rigid(Rotation.from_euler("y", 130, degrees=True), (3.0, 0.0, -2.0))
    root = between[:3, :3] @ Rotation.from_rotvec(truth.body.poses[:, 0]).as_matrix()
    pelvis = load_body().rest_joints(truth.body.betas)[0]
    body = replace(
        truth.body,
        poses=np.concatenate([Rotation.from_matrix(root).as_rotvec()[:, None], truth.body.poses[:, 1:]], axis=1),
        trans_m=(truth.body.trans_m + pelvis) @ between[:3, :3].T + between[:3, 3] - pelvis,
    )
    elsewhere = motion_of(body, truth.T_cam_world @ np.linalg.inv(between))
    np.testing.assert_allclose(elsewhere.joints_m, moved(between, truth.joints_m), atol=1e-6)
    found = measure(case, Prediction("there", "1", {}, replace(elsewhere, contact=truth.contact)))
    for name in found.values:
        if "mm" in name and "sliding" not in name:
            assert found.values[name] < 2e-3, name  # the mesh is float32
    assert found.values["root_angle_deg"] < 1e-4
    assert found.values["gravity_deg"] < 1e-5
    assert found.values["pck_body_0_5"] == 100


def test_a_tilted_world_is_an_error_of_gravity_and_not_of_the_pose(case):
    tilt = rigid(Rotation.from_euler("x", 7, degrees=True), (0.0, 0.1, 0.0))
    found = measure(
        case,
        predicted(
            case,
            joints_m=moved(tilt, case.truth.joints_m),
            T_cam_world=case.truth.T_cam_world @ np.linalg.inv(tilt),
            body=None,
            surface=None,
        ),
    )
    assert found.values["gravity_deg"] == pytest.approx(7)
    assert found.values["mpjpe_mm"] < 1e-6
    assert found.values["w_mpjpe100_mm"] < 1e-6
    assert "angle_deg" not in found.values


def test_a_known_mistake_has_the_known_error(case):
    joints, px = case.truth.joints_m.copy(), case.truth.keypoints_px.copy()
    knee = PROXY_NAMES.index("left_knee")
    joints[:, knee] += [0.03, 0.0, 0.04]
    px[:, PROXY_NAMES.index("nose")] += [0, 0.015 * 1280]
    hands = case.truth.hands_m.copy()
    hands[:, 1, 8] += [0.0, 0.021, 0.0]  # one finger tip of the right hand
    poses = case.truth.body.poses.copy()
    elbow = JOINT_NAMES.index("left_elbow")
    turned = Rotation.from_rotvec(poses[:, elbow]) * Rotation.from_euler("z", 42, degrees=True)
    poses[:, elbow] = turned.as_rotvec()
    contact = case.truth.contact.copy()
    contact[:, 0] = 1 - contact[:, 0]
    found = measure(
        case,
        predicted(
            case, joints_m=joints, keypoints_px=px, hands_m=hands, contact=contact,
            body=replace(case.truth.body, poses=poses), surface=None,
        ),
    )  # fmt: skip
    values = found.values
    assert values["mpjpe_mm"] == pytest.approx(50 / 12)
    assert found.per_joint["mpjpe_mm"]["left_knee"] == pytest.approx(50)
    assert values["hand_mpjpe_mm"] == pytest.approx(21 / 42)
    assert found.per_joint["hand_mpjpe_mm"]["right_hand_index4"] == pytest.approx(21)
    of_hands = found.per_joint["hand_pa_mpjpe_mm"]
    assert of_hands["right_hand_index4"] > 10
    assert max(v for n, v in of_hands.items() if n.startswith("left")) < 1e-9
    assert values["angle_deg"] == pytest.approx(2)
    assert found.per_joint["angle_deg"]["left_elbow"] == pytest.approx(42)
    assert values["hand_angle_deg"] == 0
    assert values["root_angle_deg"] == pytest.approx(0, abs=1e-9)
    assert values["pck_body_1"] == pytest.approx(100 * 18 / 19)
    assert values["pck_body_2"] == values["pck_foot_0_5"] == values["pck_hand_0_5"] == 100
    assert found.per_joint["pck_body_1"]["nose"] == 0
    assert found.weights["contact_f1"] * (1 - values["contact_f1"]) == pytest.approx(T)  # one wrong answer a frame
    # the mesh is made from the parameters where there is no surface
    assert 1 < values["mpvpe_mm"] < 50
    # The mistake does not change over time but as the camera turns: 50 mm at 0.24 rad/s, in one joint of 12.
    assert values["accel_m_s2"] < 0.05 * 0.24**2 / 12


def test_a_mesh_that_is_shifted_against_its_joints(case):
    truth = case.truth.surface

    def shifted(rows: slice) -> np.ndarray:
        return truth.vertices_m(rows) + np.array([0.0, 0.03, 0.04])

    found = measure(case, predicted(case, surface=Surface(truth.topology, shifted)))
    assert found.values["mpvpe_mm"] == pytest.approx(50, abs=1e-4)
    assert found.values["pa_mpvpe_mm"] < 1e-3
    other = measure(case, predicted(case, surface=Surface("another mesh", shifted)))
    assert "mpvpe_mm" not in other.values


def test_rotations_and_meshes_compare_within_one_body_model_only(case):
    found = measure(case, predicted(case, body=replace(case.truth.body, model="other.npz"), surface=None))
    assert not {"angle_deg", "hand_angle_deg", "root_angle_deg", "mpvpe_mm"} & set(found.values)


def test_a_method_without_a_world_compares_in_the_axes_of_the_camera(case):
    truth = case.truth
    camera = moved(truth.T_cam_world, truth.joints_m)
    origin = np.random.default_rng(0).normal(size=(T, 1, 3))  # anew in each frame, as a hip-centred method has it
    motion = Motion3D(PROXY_NAMES, camera - origin, hands_m=(camera - origin)[:, 25:].reshape(T, 2, 21, 3))
    found = measure(case, Prediction("peer", "1", {}, motion))
    for name in ("mpjpe_mm", "pa_mpjpe_mm", "hand_mpjpe_mm", "accel_m_s2"):
        assert found.values[name] == pytest.approx(0, abs=1e-6)
    assert not [n for n in found.values if "world" in n or "100" in n or n in ("rte_percent", "foot_sliding_mm")]


def test_worlds_without_a_camera_compare_root_aligned(case):
    unseen = replace(case, truth=replace(case.truth, T_cam_world=None))
    found = measure(unseen, predicted(case, joints_m=case.truth.joints_m + np.array([0.5, 0.1, 0.5])))
    assert found.values["mpjpe_mm"] == pytest.approx(0, abs=1e-9)
    assert "gravity_deg" not in found.values
    # camera axes against a world whose camera nobody knows: only what alignment makes comparable
    camera = moved(case.truth.T_cam_world, case.truth.joints_m)
    found = measure(unseen, Prediction("peer", "1", {}, Motion3D(PROXY_NAMES, camera)))
    assert found.values["pa_mpjpe_mm"] == pytest.approx(0, abs=1e-6)
    assert not {"mpjpe_mm", "accel_m_s2"} & set(found.values)


def test_positions_compare_as_they_are_where_the_case_has_no_root(case):
    bare = replace(case, root=())
    found = measure(bare, predicted(case, joints_m=case.truth.joints_m + np.array([0.0, 0.06, 0.08])))
    assert found.values["mpjpe_mm"] == pytest.approx(100)
    assert found.values["rte_percent"] == pytest.approx(0, abs=1e-9)


def test_rows_that_were_not_found(case):
    def without(array: np.ndarray) -> np.ndarray:
        array = np.array(array)
        array[[3, 7]] = np.nan
        return array

    t = case.truth
    lost = predicted(case, joints_m=without(t.joints_m), keypoints_px=without(t.keypoints_px), surface=None, body=None)
    found = measure(case, lost)
    assert found.values["detected_percent"] == pytest.approx(1000 / T)
    assert found.values["pck_body_1"] == pytest.approx(1000 / T)
    assert found.weights["pck_body_1"] == T * 19
    assert found.rows.tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10, 11]
    assert found.weights["mpjpe_mm"] == found.weights["rte_percent"] == 10
    assert np.flatnonzero(np.isfinite(found.per_frame["accel_m_s2"])).tolist() == [1, 5, 9, 10]
    assert found.weights["foot_sliding_mm"] <= 4 * 7
    assert found_rows(case, lost).tolist() == [i not in (3, 7) for i in range(T)]


def test_rows_restrict_positions_but_not_the_shares_found(case):
    joints, px = case.truth.joints_m.copy(), case.truth.keypoints_px.copy()
    joints[5:, :25] += np.random.default_rng(0).normal(scale=0.1, size=(T - 5, 25, 3))
    px[5:] += 1000
    found = measure(case, predicted(case, joints_m=joints, keypoints_px=px), rows=np.arange(5))
    assert found.values["mpjpe_mm"] == pytest.approx(0, abs=1e-9)
    assert found.rows.tolist() == [0, 1, 2, 3, 4]
    assert found.values["detected_percent"] == 100
    assert found.values["pck_body_5"] == pytest.approx(500 / T)
    assert measure(case, predicted(case), rows=np.arange(0)).values.keys() >= {"detected_percent", "pck_body_1"}


def test_rows_and_key_points_that_all_methods_have(case):
    late, early = np.array(case.truth.joints_m), np.array(case.truth.joints_m)
    late[:2], early[-3:] = np.nan, np.nan
    few = [PROXY_NAMES.index(n) for n in ("nose", "left_big_toe")]
    a, b = predicted(case, joints_m=late), predicted(
        case, joints_m=early, keypoint_names=("nose", "left_big_toe"), keypoints_px=case.truth.keypoints_px[:, few],
        keypoint_confidence=None,
    )  # fmt: skip
    assert common_rows(case, [a, b]).tolist() == list(range(2, T - 3))
    assert common_rows(case, []).tolist() == list(range(T))
    names = common_keypoints(case, [a, b])
    assert names == ("nose", "left_big_toe")
    for prediction in (a, b):
        found = measure(case, prediction, keypoint_names=names)
        assert list(found.per_joint["pck_body_1"]) == ["nose"]
        assert list(found.per_joint["pck_foot_1"]) == ["left_big_toe"]
        assert "pck_hand_1" not in found.values
    # points that a method never gives are left out, not held against it
    assert measure(case, b).values["pck_body_1"] == 100
    assert measure(case, b).weights["pck_body_1"] == T


def test_key_points_with_confidence_zero_are_missing(case):
    confidence = np.ones((T, 67))
    confidence[:, PROXY_NAMES.index("nose")] = 0
    found = measure(case, predicted(case, keypoint_confidence=confidence))
    assert found.values["pck_body_5"] == pytest.approx(100 * 18 / 19)


def test_hands_compare_where_every_method_found_them(case):
    shifted = case.truth.hands_m + [0.0, 0.0, 0.01] * np.arange(21)[:, None]
    easy, all_of_them = shifted.copy(), shifted.copy()
    easy[: T - 3, 1] = np.nan
    all_of_them[0] = np.nan
    predictions = [predicted(case, hands_m=easy), predicted(case, hands_m=all_of_them), predicted(case, hands_m=None)]
    hands = common_hands(case, predictions)
    assert hands.sum(0).tolist() == [T - 1, 3]
    one, other, none = (measure(case, p, hands=hands) for p in predictions)
    for name in ("hand_mpjpe_mm", "hand_pa_mpjpe_mm"):
        assert one.values[name] == other.values[name] > 0
        assert one.weights[name] == other.weights[name] == T + 2
        assert name not in none.values
    assert one.values["hand_detected_percent"] < other.values["hand_detected_percent"]


def test_hands_that_were_not_found(case):
    hands = case.truth.hands_m.copy()
    hands[:4, 0] = np.nan
    found = measure(case, predicted(case, hands_m=hands))
    assert found.values["hand_detected_percent"] == pytest.approx(100 * (2 * T - 4) / (2 * T))
    assert found.weights["hand_mpjpe_mm"] == 2 * T - 4


def test_a_truth_that_knows_a_part_only(case):
    joints, hands, feet, contact = (
        np.array(x) for x in (case.truth.joints_m, case.truth.hands_m, case.truth.feet_m, case.truth.contact)
    )
    joints[2, PROXY_NAMES.index("right_wrist")] = np.nan
    joints[5, PROXY_NAMES.index("left_hip")] = np.nan  # a root joint
    joints[9] = np.nan
    hands[:, 0, 12:] = np.nan
    feet[4, 1] = np.nan
    contact[3] = np.nan
    camera = case.truth.T_cam_world.copy()
    camera[7] = np.nan
    part = replace(
        case,
        truth=replace(case.truth, joints_m=joints, hands_m=hands, feet_m=feet, contact=contact, T_cam_world=camera),
    )
    for prediction in (truth_as_prediction(part), truth_as_prediction(case)):
        found = measure(part, prediction)
        _assert_no_error(replace(found, values={k: v for k, v in found.values.items() if k != "detected_percent"}))
        assert found.weights["mpjpe_mm"] == T - 3
        assert found.weights["pa_mpjpe_mm"] == T - 2
        assert 9 not in found.rows
    assert measure(part, truth_as_prediction(case)).values["detected_percent"] == 100


def test_single_pictures_have_no_measures_over_time(case):
    stills = replace(case, fps=0.0)
    found = measure(stills, truth_as_prediction(stills)).values
    over_time = {
        "accel_m_s2",
        "foot_sliding_mm",
        "truth_foot_sliding_mm",
        "w_mpjpe100_mm",
        "wa_mpjpe100_mm",
        "rte_percent",
    }
    assert not (over_time | {n for n in METRICS if "jitter" in n}) & set(found)
    assert {"mpjpe_mm", "gravity_deg", "contact_f1"} <= set(found)


def test_gaps_of_the_footage_break_derivatives(case):
    index = np.array([0, 2, 4, 6, 8, 10, 20, 22, 24, 26, 28, 30])
    gap = replace(case, footage=Footage(Path("walk.mp4"), index))
    assert measure(gap, truth_as_prediction(gap)).weights["accel_m_s2"] == 8
    absent = [Proxies.absent(int(i), i / 30, (1280, 720)) for i in index]
    gap = replace(case, proxies=absent)
    assert measure(gap, truth_as_prediction(gap)).weights["jitter_10m_s3"] == 6


def test_a_prediction_of_key_points_alone(case):
    motion = Motion3D(keypoint_names=PROXY_NAMES, keypoints_px=case.truth.keypoints_px)
    found = measure(case, Prediction("landmarks", "1", {}, motion))
    assert found.values["detected_percent"] == 100
    assert {n.split("_")[0] for n in found.values} == {"detected", "pck"}


def test_a_truth_of_key_points_alone(case):
    flat = replace(case, truth=Motion3D(keypoint_names=PROXY_NAMES, keypoints_px=case.truth.keypoints_px))
    found = measure(flat, truth_as_prediction(case))
    assert {n.removeprefix("world_").split("_")[0] for n in found.values} == {"detected", "pck"}


def test_nothing_found_leaves_the_shares_alone(case):
    t = case.truth
    nothing = {
        name: np.full_like(getattr(t, name), np.nan, dtype=float)
        for name in ("joints_m", "hands_m", "feet_m", "contact", "T_cam_world", "keypoints_px")
    }
    found = measure(case, predicted(case, body=None, surface=None, **nothing))
    assert found.values["detected_percent"] == found.values["pck_hand_5"] == found.values["hand_detected_percent"] == 0
    assert {n.split("_")[0] for n in found.values} == {"detected", "pck", "hand"}
    assert not len(found.rows)


@pytest.mark.parametrize("frames", [0, 1, 2, 3])
def test_short_cases(case, frames):
    t = case.truth
    body = replace(t.body, poses=t.body.poses[:frames], trans_m=t.body.trans_m[:frames])
    cut = {
        name: getattr(t, name)[:frames]
        for name in (
            "joints_m", "hands_m", "feet_m", "contact", "T_cam_world", "keypoints_px", "keypoint_confidence",
        )
    }  # fmt: skip
    short = replace(case, truth=replace(t, body=body, surface=surface_of(body), **cut))
    found = measure(short, truth_as_prediction(short))
    _assert_no_error(found)
    assert np.isfinite(list(found.values.values())).all()
    assert ("accel_m_s2" in found.values) == (frames == 3)


def test_the_same_once_more(case):
    rng = np.random.default_rng(5)
    prediction = predicted(case, joints_m=case.truth.joints_m + rng.normal(scale=0.05, size=(T, 67, 3)))
    assert measure(case, prediction).values == measure(case, prediction).values


def test_weighted_means_of_parts_are_the_whole(case):
    rng = np.random.default_rng(7)
    prediction = predicted(
        case,
        joints_m=case.truth.joints_m + rng.normal(scale=0.05, size=(T, 67, 3)),
        hands_m=case.truth.hands_m + rng.normal(scale=0.02, size=(T, 2, 21, 3)),
        contact=rng.random((T, 4)),
        body=replace(case.truth.body, poses=case.truth.body.poses + rng.normal(scale=0.1, size=(T, 55, 3))),
        surface=None,
    )
    whole = measure(case, prediction)
    parts = [measure(case, prediction, rows) for rows in (np.arange(5), np.arange(5, T))]
    # left out: what looks across rows, and what rows do not restrict
    for name in [n for n in whole.values if n.split("_")[0] in ("mpjpe", "pa", "mpvpe", "hand", "angle", "contact")]:
        weights = [p.weights[name] for p in parts]
        mean = np.average([p.values[name] for p in parts], weights=weights)
        assert mean == pytest.approx(whole.values[name]), name
        if name != "hand_detected_percent":
            assert sum(weights) == whole.weights[name]


@pytest.mark.parametrize("threads", [1, 3])
def test_the_last_digit_does_not_depend_on_the_threads(case, threads):
    poses = case.truth.body.poses + np.random.default_rng(6).normal(scale=0.05, size=(T, 55, 3))
    prediction = predicted(case, body=replace(case.truth.body, poses=poses), surface=None)
    with threadpool_limits(threads, user_api="blas"):
        found = measure(case, prediction)
    assert found.values == measure(case, prediction).values


def test_order_of_the_joints_is_free(case):
    order = np.random.default_rng(0).permutation(67)
    shuffled = predicted(
        case, joint_names=tuple(PROXY_NAMES[i] for i in order), joints_m=case.truth.joints_m[:, order],
        keypoint_names=tuple(PROXY_NAMES[i] for i in order), keypoints_px=case.truth.keypoints_px[:, order],
    )  # fmt: skip
    _assert_no_error(measure(case, shuffled))


def test_the_mesh_of_a_body_is_its_skin(case):
    body = case.truth.body
    surface = surface_of(body)
    model = load_body()
    whole = model.with_shape(body.betas).with_pose(body.poses, body.trans_m).skin().vertices_m
    np.testing.assert_allclose(surface.vertices_m(slice(3, 6)), whole[3:6], atol=1e-5)
    assert surface.topology == surface_of(replace(body, betas=np.zeros(0))).topology
    assert str(len(model.v_template)) in surface.topology
