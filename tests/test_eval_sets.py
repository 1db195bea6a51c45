"""The sets: layouts as published, made in small, and what is said of wrong ones."""

import json
import os
import shutil
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest
from eval_files import (
    MAKERS,
    K,
    h36m_cameras,
    make_3dhp,
    make_3dpw,
    make_beam,
    make_coco,
    make_h36m,
    wholebody_points,
    write_cdf,
)
from hmcap.models.errors import HmcapError, UsageError
from hmcap.models.proxies import PROXY_NAMES
from hmcap.models.skeleton import CONTACT_POINTS
from hmcap.realtime.sources import open_source
from hmcap.tools.evaluation.measure import measure, truth_as_prediction
from hmcap.tools.evaluation.metrics import METRICS
from hmcap.tools.evaluation.records import LIMBS, Case
from hmcap.tools.evaluation.sets import SETS, SetMissing, load_set
from hmcap.tools.evaluation.sets.reading import box_around, camera_from_K, projected, read_npz, to_camera

SAME_AS_TRUTH = {
    "jitter_10m_s3": "truth_jitter_10m_s3",
    "world_jitter_10m_s3": "truth_world_jitter_10m_s3",
    "foot_sliding_mm": "truth_foot_sliding_mm",
}
"""Measures of the prediction alone: of the truth put forward as prediction they are those of the truth."""
DATA = os.environ.get("HMCAP_DATA", "")
needs_data = pytest.mark.skipif(not DATA, reason="set HMCAP_DATA to the folder with gt/ to test the real recordings")


@pytest.fixture(params=list(MAKERS))
def made(request, tmp_path):
    """Name of a set, its made folder and what was put in."""
    return request.param, tmp_path, MAKERS[request.param](tmp_path)


def in_camera(case: Case) -> np.ndarray:
    """(T, 12, 3) LIMBS of a case in the camera's axes."""
    t = case.truth
    limbs = t.joints_m[:, [t.joint_names.index(n) for n in LIMBS]]
    return to_camera(t.T_cam_world, limbs) if t.in_world else limbs


def check_truth_is_perfect(case: Case) -> None:
    """Every error of the truth is zero, and every share is whole."""
    measured = measure(case, truth_as_prediction(case))
    assert measured.values
    for name, value in measured.values.items():
        if METRICS[name].of_truth or name == "detected_percent":
            continue
        if name in SAME_AS_TRUTH:
            assert value == pytest.approx(measured.values[SAME_AS_TRUTH[name]], rel=1e-9), name
        elif METRICS[name].lower_is_better:
            assert abs(value) < 2e-4, (name, value)
        else:
            assert value == (100 if METRICS[name].unit == "%" else 1), name


def test_truth_as_prediction_has_no_error(made):
    name, folder, _ = made
    for case in load_set(name, folder):
        check_truth_is_perfect(case)


def test_a_loader_finds_what_was_made(made):
    name, folder, truth = made
    cases = {case.name: case for case in load_set(name, folder)}
    assert set(truth) <= set(cases)
    for case_name, limbs in truth.items():
        np.testing.assert_allclose(in_camera(cases[case_name]), limbs, atol=2e-6)


def test_a_case_is_whole(made):
    name, folder, _ = made
    for case in load_set(name, folder):
        assert case.set_name == name
        assert case.name
        assert all(c.isalnum() or c in "._-" for c in case.name)
        assert case.footage is not None
        index, t = case.footage.index, case.truth
        assert len(index) == case.frames
        assert (np.diff(index) > 0).all()
        with open_source(str(case.footage.source)) as frames:
            pictures = {f.index: f.image_rgb.shape[:2] for f in frames}
        assert {pictures[i] for i in index.tolist()} == {(case.camera.height_px, case.camera.width_px)}
        assert all(n in PROXY_NAMES or n.startswith("smplx_") for n in (*t.joint_names, *t.keypoint_names))
        if t.joints_m is not None:
            assert t.joints_m.shape == (case.frames, len(t.joint_names), 3)
            assert t.joints_m.dtype == np.float64
            assert set(case.compared) | set(case.root) <= set(t.joint_names)
        assert t.keypoints_px is not None
        assert t.keypoint_confidence is not None
        assert t.keypoints_px.shape == (case.frames, len(t.keypoint_names), 2)
        assert t.keypoint_confidence.shape == t.keypoints_px.shape[:2]
        assert set(np.unique(t.keypoint_confidence)) <= {0.0, 1.0}
        assert np.isfinite(t.keypoints_px[t.keypoint_confidence > 0]).all()
        assert (t.keypoint_confidence > 0).any()


def test_joints_fall_on_the_key_points(made):
    name, folder, truth = made
    for case in load_set(name, folder):
        if case.name not in truth:
            continue
        limbs = np.nan_to_num(in_camera(case), nan=1.0)
        lens = case.camera
        px = cv2.projectPoints(limbs.reshape(-1, 1, 3), np.zeros(3), np.zeros(3), lens.K, np.array(lens.dist))[0]
        t = case.truth
        named = [t.keypoint_names.index(n) for n in LIMBS]
        known = t.keypoint_confidence[:, named] > 0
        difference = np.abs(px.reshape(case.frames, 12, 2) - t.keypoints_px[:, named])[known]
        assert difference.max() < 0.05


def test_two_loads_are_the_same(made):
    name, folder, _ = made
    for a, b in zip(load_set(name, folder), load_set(name, folder), strict=True):
        assert (a.name, a.camera, a.notes) == (b.name, b.camera, b.notes)
        for field in ("joints_m", "keypoints_px", "T_cam_world", "feet_m"):
            x, y = getattr(a.truth, field), getattr(b.truth, field)
            assert (x is None and y is None) or np.array_equal(x, y, equal_nan=True)


# What each set knows


def test_beam_has_feet_world_and_camera(tmp_path):
    make_beam(tmp_path)
    case = next(load_set("beam", tmp_path))
    t = case.truth
    assert (case.fps, case.frames, t.in_world, t.contact) == (60.0, 5, True, None)
    points = [n.replace("toe", "big_toe") for n in CONTACT_POINTS]
    np.testing.assert_array_equal(t.feet_m, t.joints_m[:, [t.joint_names.index(n) for n in points]])
    assert "neck" not in t.joint_names


def test_the_stills_order_their_joints_as_the_file_says(tmp_path):
    MAKERS["stills3d"](tmp_path)
    first, second = load_set("stills3d", tmp_path)
    assert first.fps == second.fps == 0
    assert first.truth.joint_names == second.truth.joint_names


def test_people_of_one_picture_are_cases_of_their_own(tmp_path):
    MAKERS["wholebody2d"](tmp_path)
    cases = list(load_set("wholebody2d", tmp_path))
    assert [c.name for c in cases] == ["a_1", "b_1", "b_2"]
    np.testing.assert_allclose(cases[2].box_px, [[30, 5, 20, 60]])
    points = wholebody_points(2).astype(np.float32)
    t = cases[2].truth
    for name, row in (
        ("nose", 0),
        ("left_shoulder", 5),
        ("right_heel", 22),
        ("left_hand_wrist", 91),
        ("right_hand_pinky4", 132),
    ):
        k = t.keypoint_names.index(name)
        assert t.keypoint_confidence[0, k] == (points[row, 2] > 0)
        if points[row, 2] > 0:
            np.testing.assert_array_equal(t.keypoints_px[0, k], points[row, :2])
        else:
            assert np.isnan(t.keypoints_px[0, k]).all()


def test_coco_leaves_out_crowds_and_people_without_a_body(tmp_path):
    make_coco(tmp_path)
    cases = list(load_set("coco-wholebody", tmp_path))
    assert [c.name for c in cases] == ["000000000785_100", "000000000785_101", "000000000786_102"]
    np.testing.assert_allclose(cases[0].box_px, [[1.5, 2, 30, 40.25]])
    hand = [k for k, n in enumerate(cases[1].truth.keypoint_names) if n.startswith("left_hand")]
    assert not cases[1].truth.keypoint_confidence[0, hand].any()  # not valid, whatever its visibility
    assert cases[0].truth.keypoint_confidence[0, hand].any()


def test_3dpw_frames_without_a_valid_camera_have_no_truth(tmp_path):
    make_3dpw(tmp_path)
    first, second = load_set("3dpw", tmp_path)
    assert np.isnan(first.truth.joints_m[2]).all()
    assert np.isnan(first.box_px[2]).all()
    assert np.isfinite(second.truth.joints_m).all()
    assert "smplx_pelvis" in first.truth.joint_names
    px = projected(first.camera, first.truth.joints_m)[0][0]
    x, y, w, h = first.box_px[0]
    assert (px >= [x, y]).all()
    assert (px <= [x + w, y + h]).all()


def test_h36m_cameras_of_metadata_and_json_are_the_same(tmp_path):
    make_h36m(tmp_path)
    before = list(load_set("h36m", tmp_path))
    from hmcap.tools.evaluation.sets.h36m import cameras

    lenses = cameras(tmp_path)
    for key, T in h36m_cameras().items():
        np.testing.assert_allclose(lenses[key].T_cam_world(), T, atol=1e-12)
    content: dict = {"intrinsics": {}, "extrinsics": {}}
    for (subject, name), lens in lenses.items():
        content["intrinsics"][name] = {"calibration_matrix": lens.K.tolist(), "distortion": list(lens.dist)}
        pose = {"R": lens.R_cam_world.tolist(), "t": lens.t_cam_world_mm[:, None].tolist()}
        content["extrinsics"].setdefault(subject, {})[name] = pose
    (tmp_path / "metadata.xml").unlink()
    (tmp_path / "camera-parameters.json").write_text(json.dumps(content), encoding="utf-8")
    for a, b in zip(before, load_set("h36m", tmp_path), strict=True):
        assert a.camera == b.camera
        np.testing.assert_allclose(a.truth.joints_m, b.truth.joints_m, atol=1e-9)


def test_h36m_says_where_its_truth_is_doubtful(tmp_path):
    make_h36m(tmp_path)
    for file in [*(tmp_path / "S9").rglob("Directions 1.*")]:
        file.rename(file.with_name(file.name.replace("Directions", "SittingDown")))
    notes = {c.name.partition("_")[0]: c.notes for c in load_set("h36m", tmp_path)}
    assert "beside the person" in notes["S9"]
    assert "beside the person" not in notes["S11"]


def test_h36m_angles_turn_as_the_published_cameras_do():
    from hmcap.tools.evaluation.sets.h36m import _turn

    # The first camera of subject 1 as it is widely listed, rounded; the angles are those of Rx Ry Rz.
    R = np.array([[-0.91536, 0.40181, 0.02575], [0.05155, 0.18037, -0.98225], [-0.39932, -0.89778, -0.18582]])
    angles = np.arctan2(-R[1, 2], R[2, 2]), np.arcsin(R[0, 2]), np.arctan2(-R[0, 1], R[0, 0])
    np.testing.assert_allclose(_turn(*angles), R, atol=2e-5)


def test_worlds_stand_upright(tmp_path):
    for name in ("beam", "h36m", "3dhp"):
        folder = tmp_path / name
        folder.mkdir()
        MAKERS[name](folder)
        for case in load_set(name, folder):
            if case.truth.in_world:
                up = dict(zip(case.truth.joint_names, case.truth.joints_m[0, :, 1], strict=True))
                assert up["left_shoulder"] > up["left_hip"] > up["left_ankle"] > 0


def test_3dhp_test_camera_comes_from_the_annotations(tmp_path):
    make_3dhp(tmp_path)
    cases = {c.name: c for c in load_set("3dhp", tmp_path)}
    np.testing.assert_allclose(cases["TS1"].camera.K, K, rtol=1e-9)
    assert np.isnan(cases["TS1"].truth.joints_m[1]).all()
    assert cases["S1_Seq1_video_8"].frames == 4


def test_3dhp_training_sequences_have_the_published_rates(tmp_path):
    make_3dhp(tmp_path)
    shutil.move(tmp_path / "S1", tmp_path / "S3")
    rates = {c.name.partition("_")[0]: c.fps for c in load_set("3dhp", tmp_path)}
    assert rates == {"TS1": 25.0, "S3": 50.0}


# Wrong layouts


def refused(name: str, folder: Path) -> str:
    """The one paragraph that a broken set leads to."""
    with pytest.raises(HmcapError) as caught:
        list(load_set(name, folder))
    text = str(caught.value)
    assert text.startswith("Expected")
    assert "\n" not in text
    assert str(folder) in text
    return text


def test_a_missing_folder_is_a_missing_set(tmp_path):
    for name in SETS:
        with pytest.raises(SetMissing, match="found no such folder"):
            load_set(name, tmp_path / "nothing")


def test_every_set_has_its_loader_and_place():
    for name, info in SETS.items():
        assert name == info.name
        assert callable(import_module(f"hmcap.tools.evaluation.sets.{info.module}").load)
        assert all((info.title, info.needs, info.obtain, info.layout))
    assert len({info.module for info in SETS.values()}) == len(SETS)
    assert len({info.relative for info in SETS.values()}) == len(SETS)


def test_names_that_come_twice_are_refused(tmp_path, monkeypatch):
    make_beam(tmp_path)
    case = next(load_set("beam", tmp_path))
    monkeypatch.setattr("hmcap.tools.evaluation.sets.beam.load", lambda folder: [case, case])
    assert "cam01 twice" in refused("beam", tmp_path)
    monkeypatch.setattr("hmcap.tools.evaluation.sets.beam.load", lambda folder: [])
    assert "found nothing to evaluate" in refused("beam", tmp_path)


def test_an_unknown_set_is_a_mistake_of_usage(tmp_path):
    with pytest.raises(UsageError, match="3dpw"):
        load_set("4dpw", tmp_path)


@pytest.mark.parametrize("name", list(MAKERS))
def test_an_empty_folder_is_refused_and_not_missing(name, tmp_path):
    with pytest.raises(HmcapError) as caught:
        list(load_set(name, tmp_path))
    assert not isinstance(caught.value, SetMissing)
    assert str(tmp_path) in str(caught.value)


def test_every_file_of_a_set_is_needed(made):
    name, folder, _ = made
    pictured = {".jpg", ".mp4", ".avi"}
    for file in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix not in pictured):
        content = file.read_bytes()
        for broken in (b"", b"not what it should be", content[: len(content) // 2]):
            file.write_bytes(broken)
            refused(name, folder)
        file.write_bytes(content)
    assert list(load_set(name, folder))


def test_missing_pictures_are_named(made):
    name, folder, _ = made
    files = sorted(p for p in folder.rglob("*") if p.suffix in {".jpg", ".mp4", ".avi"})
    for file in files:
        file.unlink()
    refused(name, folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"joints_world_m": np.zeros((5, 20, 3))}, "joints_world_m"),
        ({"K": np.zeros((2, 3))}, "2 x 3"),
        ({"joint_names": np.array([f"j{i}" for i in range(21)])}, "rhip"),
        ({"fps": None}, "fps"),
        ({"R_cam_world": np.zeros((3, 3, 3))}, "2 x 3 x 3"),
    ],
)
def test_wrong_beam_files_name_the_array(tmp_path, change, words):
    make_beam(tmp_path)
    with np.load(tmp_path / "truth.npz") as data:
        arrays = {**data, **change}
    np.savez(tmp_path / "truth.npz", **{k: v for k, v in arrays.items() if v is not None})
    assert words in refused("beam", tmp_path)


def test_an_npz_of_objects_is_refused(tmp_path):
    file = tmp_path / "truth.npz"
    np.savez(file, a=np.array([{}], object))
    with pytest.raises(HmcapError, match=r"truth\.npz"):
        read_npz(file, {"a": ("N",)})


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("jointPositions", [np.zeros((4, 71))] * 2, "71"),
        ("jointPositions", "text", "jointPositions"),
        ("cam_poses", np.zeros((3, 4, 4)), "cam_poses"),
        ("cam_intrinsics", "text", "cam_intrinsics"),
        ("campose_valid", [np.ones(4)], "campose_valid"),
        ("cam_poses", None, "cam_poses"),
    ],
)
def test_wrong_3dpw_files_name_the_field(tmp_path, key, value, words):
    import pickle

    make_3dpw(tmp_path)
    (file,) = (tmp_path / "sequenceFiles/test").iterdir()
    content = pickle.loads(file.read_bytes())
    content[key] = value
    if value is None:
        del content[key]
    file.write_bytes(pickle.dumps(content, 2))
    text = refused("3dpw", tmp_path)
    assert words in text
    assert str(file) in text


def test_too_few_3dpw_pictures_are_refused(tmp_path):
    make_3dpw(tmp_path)
    next((tmp_path / "imageFiles").rglob("*.jpg")).unlink()
    assert "Expected 4 pictures" in refused("3dpw", tmp_path)


def test_wrong_h36m_files_are_named(tmp_path):
    from cdflib.cdfwrite import CDF

    make_h36m(tmp_path)
    file = next((tmp_path / "S9").rglob("*.cdf"))
    file.unlink()
    assert file.name in refused("h36m", tmp_path)
    write_cdf(CDF, file, np.zeros((4, 31, 3)))
    assert "4 x 93" in refused("h36m", tmp_path) or "1 x 4 x 93" in refused("h36m", tmp_path)
    file.unlink()
    write_cdf(CDF, file, np.zeros((4, 32, 3)), "Angles")
    assert "Pose" in refused("h36m", tmp_path)


def test_3dhp_annotations_that_disagree_are_refused(tmp_path):
    import h5py

    make_3dhp(tmp_path)
    with h5py.File(tmp_path / "TS1" / "annot_data.mat", "r+") as data:
        data["annot2"][...] = np.random.default_rng(0).uniform(0, 60, data["annot2"].shape)
    assert "pixels" in refused("3dhp", tmp_path)


@pytest.mark.parametrize("wrong", [np.nan, 0.0])
def test_3dhp_joints_that_are_nowhere_before_the_camera_are_refused(tmp_path, wrong):
    import h5py

    make_3dhp(tmp_path)
    with h5py.File(tmp_path / "TS1" / "annot_data.mat", "r+") as data:
        data["annot3"][...] = wrong
    assert "annot3" in refused("3dhp", tmp_path)


def test_a_3dhp_video_of_an_unknown_camera_is_refused(tmp_path):
    make_3dhp(tmp_path)
    folder = tmp_path / "S1/Seq1/imageSequence"
    (folder / "video_0.avi").rename(folder / "video_3.avi")
    assert "video_3.avi" in refused("3dhp", tmp_path)


def test_wrong_coco_annotations_are_named(tmp_path):
    make_coco(tmp_path)
    file = next((tmp_path / "annotations").iterdir())
    content = json.loads(file.read_text(encoding="utf-8"))
    content["annotations"][1]["lefthand_valid"] = True
    content["annotations"][1]["lefthand_kpts"] = [1, 2, 3]
    file.write_text(json.dumps(content), encoding="utf-8")
    assert "annotation 101" in refused("coco-wholebody", tmp_path)
    del content["annotations"][1]["lefthand_kpts"]
    file.write_text(json.dumps(content), encoding="utf-8")
    assert "lefthand_kpts" in refused("coco-wholebody", tmp_path)


# Helpers of the loaders


def test_points_outside_behind_and_far_away_do_not_count():
    lens = camera_from_K(Path("lens.npz"), K, 64, 80)
    points = np.array([[[0, 0, 2.0], [3, 0, 2], [0, 0, -2], [1, 0, 1e-5], [np.nan] * 3]])
    px, inside = projected(lens, points)
    np.testing.assert_array_equal(inside, [[1, 0, 0, 0, 0]])
    np.testing.assert_allclose(px[0, :2], [[31, 42], [31 + 105, 42]])
    assert np.isnan(px[0, 2:]).all()


def test_a_box_holds_the_known_points():
    px = np.array([[[10.0, 20], [30, 60], [np.nan, 3]], [[np.nan, np.nan]] * 3])
    np.testing.assert_allclose(box_around(px, 0.0)[0], [10, 20, 20, 40])
    np.testing.assert_allclose(box_around(px, 0.5)[0], [5, 10, 30, 60])
    assert np.isnan(box_around(px)[1]).all()


# The real recordings


@needs_data
@pytest.mark.parametrize("name", ["beam", "stills3d", "wholebody2d"])
def test_the_real_truth_has_no_error_against_itself(name):
    for case in load_set(name, Path(DATA) / SETS[name].relative):
        check_truth_is_perfect(case)


@needs_data
@pytest.mark.parametrize(("name", "count"), [("beam", 4), ("stills3d", 6)])
def test_the_real_joints_fall_on_their_key_points(name, count):
    cases = list(load_set(name, Path(DATA) / SETS[name].relative))
    assert len(cases) == count
    for case in cases:
        t = case.truth
        limbs = in_camera(case)
        px = projected(case.camera, limbs)[0]
        named = [t.keypoint_names.index(n) for n in LIMBS]
        assert np.abs(px - t.keypoints_px[:, named]).max() < 3  # the lens distortion of the stills is not published
        # Their picture has the person the right way up, so have the axes.
        assert (limbs[..., 2] > 0).all()


@pytest.mark.parametrize("focal_px", [0.0, -500.0, np.nan])
def test_a_lens_that_no_camera_has_is_refused(tmp_path, focal_px):
    make_beam(tmp_path)
    with np.load(tmp_path / "truth.npz", allow_pickle=False) as file:
        arrays = dict(file)
    arrays["K"][1, 0, 0] = focal_px
    np.savez(tmp_path / "truth.npz", **arrays)
    assert str(tmp_path / "truth.npz") in refused("beam", tmp_path)


@pytest.mark.parametrize("change", [{"fps": np.array(np.nan)}, {"fps": np.array(-30.0)}, {"joints_world_m": slice(0)}])
def test_a_case_without_frames_or_with_no_rate_is_refused(tmp_path, change):
    make_beam(tmp_path)
    with np.load(tmp_path / "truth.npz", allow_pickle=False) as file:
        arrays = dict(file)
    arrays |= {k: arrays[k][v] if isinstance(v, slice) else v for k, v in change.items()}
    np.savez(tmp_path / "truth.npz", **arrays)
    assert "frames at a rate" in refused("beam", tmp_path)
