"""Predictions: made from footage and proxies, kept as files, read back whole or refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from eval_cases import DOTS, SIZE, DotStage, nothing, picture_case, walk_case, write_pictures
from hmcap.models.body import load_body
from hmcap.models.camera import DEFAULT_FOV_DEG
from hmcap.models.errors import HmcapError
from hmcap.models.proxies import PROXY_NAMES
from hmcap.tools.evaluation.first_rows import head_of_case, head_of_motion
from hmcap.tools.evaluation.measure import measure
from hmcap.tools.evaluation.methods.fingerprint import case_fingerprint, code_version
from hmcap.tools.evaluation.methods.footage import GROW, pictures, view_of
from hmcap.tools.evaluation.methods.landmarks import KEYPOINT_NAMES, Landmarks
from hmcap.tools.evaluation.methods.own import JOINT_NAMES, METHODS, Context, Solver, camera_for, solved_motion
from hmcap.tools.evaluation.methods.sources import Kept
from hmcap.tools.evaluation.methods.store import (
    FORMAT,
    ForeignPrediction,
    is_brought,
    prediction_path,
    read_prediction,
    write_prediction,
)
from hmcap.tools.evaluation.records import LIMBS, Case, Motion3D, Prediction
from solver_takes import absent, solved, the_walk


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_pictures(tmp_path / "pictures")


@pytest.fixture
def case(folder) -> Case:
    return picture_case(folder)


def arrays_of(motion: Motion3D) -> dict[str, np.ndarray]:
    names = ("joints_m", "T_cam_world", "hands_m", "feet_m", "contact", "keypoints_px", "keypoint_confidence")
    arrays = {n: getattr(motion, n) for n in names}
    if motion.body is not None:
        arrays |= {n: getattr(motion.body, n) for n in ("poses", "trans_m", "betas")}
    return {n: a for n, a in arrays.items() if a is not None}


def assert_same_motion(a: Motion3D, b: Motion3D) -> None:
    assert arrays_of(a).keys() == arrays_of(b).keys()
    for name, array in arrays_of(a).items():
        np.testing.assert_array_equal(array, arrays_of(b)[name], err_msg=name)
    assert (a.joint_names, a.keypoint_names, a.in_world) == (b.joint_names, b.keypoint_names, b.in_world)


def walked(frames: int = 60) -> Prediction:
    return Prediction("solver", "1", {"camera": "truth", "threads": 2}, solved_motion(solved()[:frames]))


# -- the store ---------------------------------------------------------------------------------------------------------


def test_a_prediction_comes_back_as_it_was(tmp_path):
    case, prediction = walk_case(), walked()
    path = prediction_path(tmp_path, "solver", case)
    write_prediction(path, prediction, case)
    back = read_prediction(path, case, "solver")
    assert path == tmp_path / "solver" / "proxy" / "walk.npz"
    assert (back.method, back.version, back.settings, back.file) == ("solver", "1", prediction.settings, path)
    assert_same_motion(back.motion, prediction.motion)
    rows = slice(3, 5)
    np.testing.assert_array_equal(back.motion.surface.vertices_m(rows), prediction.motion.surface.vertices_m(rows))
    assert not is_brought(path)
    again = path.with_name("again.npz")
    write_prediction(again, prediction, case)
    assert again.read_bytes() == path.read_bytes()


def brought(case: Case) -> dict[str, np.ndarray]:
    """The least that a file of another system holds."""
    return {
        "format": np.array(FORMAT), "method": np.array("other"), "version": np.array("2"), "settings": np.array("{}"),
        "index": np.asarray(case.footage.index), "joint_names": np.array(LIMBS),
        "joints_m": np.asarray(case.truth.joints_m, np.float32),
    }  # fmt: skip


def test_the_least_that_another_system_brings_is_enough(tmp_path, case):
    path = tmp_path / "other.npz"
    np.savez(path, **brought(case))
    assert is_brought(path)
    prediction = read_prediction(path, case, "other")
    assert prediction.motion.joints_m.dtype == np.float64
    assert measure(case, prediction).values["mpjpe_mm"] < 1e-3


WRONG = {
    "no index": ({"index": None}, "no index"),
    "another format": ({"format": np.array("mine")}, FORMAT),
    "an unknown array": ({"joint_m": np.zeros(3)}, "unknown: joint_m"),
    "rows": ({"index": np.arange(5), "joints_m": np.zeros((5, 12, 3))}, "6 rows"),
    "other frames": ({"index": np.array([0, 1, 2, 3, 4, 7])}, "frame 7 and not 5 in row 5"),
    "fractions": ({"index": np.arange(6.0)}, "whole numbers"),
    "joint count": ({"joints_m": np.zeros((6, 14, 3))}, "J = 12 (joint_names)"),
    "too few rows of joints": ({"joints_m": np.zeros((5, 12, 3))}, "T = 6 (rows of the case)"),
    "names alone": ({"joints_m": None}, "together"),
    "a joint twice": ({"joint_names": np.array(("left_hip",) * 12)}, "each name once"),
    "other joints": ({"joint_names": np.array([f"j{i}" for i in range(12)])}, "left_hip"),
    "texts for numbers": ({"joints_m": np.full((6, 12, 3), "x")}, "numbers (T, J, 3)"),
    "infinity": ({"joints_m": np.full((6, 12, 3), np.inf)}, "infinity"),
    "NaN alone": ({"joints_m": np.full((6, 12, 3), np.nan)}, "NaN alone"),
    "NaN in a row": ({"joints_m": np.where(np.arange(12)[:, None] == 3, np.nan, np.ones((6, 12, 3)))}, "NaN"),
    "no substance": ({"joints_m": None, "joint_names": None, "contact": np.zeros((6, 4))}, "none of them"),
    "half a body": ({"poses": np.zeros((6, 55, 3))}, "only poses"),
    "a camera without a world": ({"T_cam_world": np.tile(np.eye(4), (6, 1, 1))}, "in_world"),
    "settings that are no JSON": ({"settings": np.array("camera")}, "JSON"),
    "nested settings": ({"settings": np.array('{"a": [1]}')}, "JSON object of texts"),
    "settings beyond all numbers": ({"settings": np.array('{"a": 1e999}')}, "finite numbers"),
    "settings without end": ({"settings": np.array("[" * 100000)}, "JSON object"),
    "another method": ({"method": np.array("mine")}, "the method other"),
    "another case": ({"case": np.array("sheet")}, "one for beam/sheet"),
    "another input": ({"fingerprint": np.array("00")}, "footage and camera"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_is_laid_out_wrong_is_refused_by_name(tmp_path, case, name):
    changes, said = WRONG[name]
    path = tmp_path / "wrong.npz"
    np.savez(path, **{k: v for k, v in (brought(case) | changes).items() if v is not None})
    with pytest.raises(HmcapError) as error:
        read_prediction(path, case, "other")
    text = str(error.value)
    assert str(path) in text
    assert said in text
    assert "Expected" in text
    assert "\n" not in text


def test_pickles_and_garbage_are_refused_by_name(tmp_path, case):
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, **(brought(case) | {"joints_m": np.array([{}], object)}))
    garbage = tmp_path / "garbage.npz"
    garbage.write_bytes(b"PK\x03\x04 and no more")
    cut = tmp_path / "cut.npz"
    np.savez_compressed(cut, **brought(case))
    cut.write_bytes(cut.read_bytes()[:-200])
    single = tmp_path / "single.npz"
    with single.open("wb") as file:
        np.save(file, np.zeros(3))
    for path in (pickled, garbage, cut, single, tmp_path / "absent.npz"):
        with pytest.raises(HmcapError, match=path.name):
            read_prediction(path, case, "other")


def test_a_prediction_belongs_to_its_input_and_not_to_its_place(tmp_path, folder, case):
    path = tmp_path / "kept.npz"
    prediction = Prediction("other", "1", {}, case.truth)
    write_prediction(path, prediction, case)
    moved = folder.rename(tmp_path / "elsewhere")
    assert read_prediction(path, picture_case(moved), "other").motion.joints_m is not None
    first = moved / "0.png"
    first.write_bytes((moved / "1.png").read_bytes())
    with pytest.raises(ForeignPrediction, match="footage and camera"):
        read_prediction(path, picture_case(moved), "other")


def test_a_fingerprint_tells_inputs_apart_and_leaves_the_truth_out(folder, case):
    same = case_fingerprint(case)
    assert case_fingerprint(replace(case, truth=replace(case.truth, joints_m=case.truth.joints_m + 1))) == same
    assert case_fingerprint(replace(case, compared=("left_hip",), notes="other")) == same
    others = [
        replace(case, name="other"), replace(case, fps=25.0), picture_case(folder, (0, 1, 2, 3, 4)),
        replace(case, camera=replace(case.camera, fx_px=50.0)), replace(case, box_px=np.tile([1.0, 2, 3, 4], (6, 1))),
        walk_case(), walk_case(59), walk_case(proxies=[*the_walk()[1][:59], absent(the_walk()[1][59])]),
    ]  # fmt: skip
    assert len({same, *map(case_fingerprint, others)}) == len(others) + 1


@pytest.mark.parametrize("name", ["../other", "a/b", "a\\b", "", ".hidden", "C:x"])
def test_a_name_never_leads_out_of_the_folder(tmp_path, case, name):
    with pytest.raises(HmcapError, match="letters, digits"):
        prediction_path(tmp_path, "solver", replace(case, name=name))


# -- footage and landmarks ---------------------------------------------------------------------------------------------


def boxes(size=10.0) -> np.ndarray:
    return np.column_stack([DOTS - size / 2, np.full((len(DOTS), 2), size)])


def test_a_box_shows_the_person_meant_alone(folder):
    case = picture_case(folder, box_px=boxes())
    view = view_of(case)
    left, top, right, bottom = view.rect_px
    reach = 10 / 2 + 10 * GROW
    assert (left, top) == tuple(np.floor(DOTS.min(0) - reach).clip(0).astype(int))
    assert (right, bottom) == tuple(np.ceil(DOTS.max(0) + reach).astype(int))
    shown = list(pictures(case, view))
    assert [f.index for f in shown] == list(range(6))
    for frame, dot in zip(shown, DOTS, strict=True):
        h, w = frame.image_rgb.shape[:2]
        assert (w, h) == (right - left, bottom - top)
        assert frame.image_rgb.max() == 200  # the brighter one is out of every box
        y, x = np.argwhere(frame.image_rgb[..., 0] == 200)[0]
        np.testing.assert_array_equal((x + left, y + top), dot)


def test_boxes_between_rows_and_unknown_ones_are_interpolated(folder):
    some = boxes()[[0, 2, 5]]
    some[1] = np.nan
    view = view_of(picture_case(folder, (0, 2, 5), box_px=some))
    corners = np.stack([np.interp(range(6), (0, 5), DOTS[[0, 5], k] - 7.5) for k in (0, 1)], axis=1)
    np.testing.assert_array_equal(view.boxes_px[:, :2], np.floor(corners).clip(0))
    with pytest.raises(HmcapError, match=r"beam/dots.*0 usable"):
        view_of(picture_case(folder, box_px=np.full((6, 4), np.nan)))


def test_a_box_outside_the_picture_still_gives_a_picture(folder):
    case = picture_case(folder, box_px=np.tile([500.0, 500, 5, 5], (6, 1)))
    assert all(min(f.image_rgb.shape[:2]) >= 1 for f in pictures(case, view_of(case)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"index": (0, 1, 9)}, "at least 10 frames"),
        ({"camera": replace(walk_case(1).camera, width_px=65, height_px=48)}, "65x48"),
    ],
)
def test_footage_that_does_not_fit_its_truth_is_refused_by_name(folder, changes, said):
    case = picture_case(folder, **changes)
    with pytest.raises(HmcapError, match=said) as error:
        list(pictures(case, view_of(case)))
    assert str(folder) in str(error.value)


def test_landmarks_are_measured_once_and_shared(tmp_path, folder):
    case, stage = picture_case(folder, (2, 4), box_px=boxes()[[2, 4]]), DotStage()
    landmarks = Landmarks(tmp_path / "proxies", stage=stage)
    first = landmarks(case, nothing)
    assert [p.index for p in first] == [0, 1, 2, 3, 4]  # all up to the last row, in order
    assert {p.image_size_px for p in first} == {SIZE}
    np.testing.assert_array_equal([p.xy_px[7] for p in first[2:]], DOTS[2:5])
    np.testing.assert_allclose(np.diff([s for _, s in stage.seen]), 1 / 60)  # every second frame is a row, at 30 fps
    again = Landmarks(tmp_path / "proxies", stage=stage)(case, nothing)
    assert (len(stage.seen), stage.resets) == (5, 1)
    for a, b in zip(first, again, strict=True):
        assert (a.index, a.stamp_s, a.image_size_px, a.score) == (b.index, b.stamp_s, b.image_size_px, b.score)
        for name in ("xy_px", "confidence", "body_xyz_m", "hands_xyz_m"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
            assert getattr(a, name).dtype == getattr(b, name).dtype


def test_landmarks_of_other_pictures_are_measured_anew(tmp_path, folder):
    stage = DotStage()
    landmarks = Landmarks(tmp_path / "proxies", stage=stage)
    landmarks(picture_case(folder), nothing)
    landmarks(picture_case(folder, box_px=boxes()), nothing)
    (folder / "3.png").write_bytes((folder / "0.png").read_bytes())
    landmarks(picture_case(folder, box_px=boxes()), nothing)
    assert stage.resets == 3
    fresh = Landmarks(tmp_path / "proxies", stage=stage, fresh=True)
    fresh(picture_case(folder, box_px=boxes()), nothing)
    fresh(picture_case(folder, box_px=boxes()), nothing)  # for the next method: fresh already
    assert stage.resets == 4


def test_a_damaged_file_of_landmarks_is_named(tmp_path, folder):
    path = tmp_path / "beam" / "dots.npz"
    path.parent.mkdir()
    path.write_bytes(b"nothing")
    with pytest.raises(HmcapError, match=r"dots\.npz.*--fresh"):
        Landmarks(tmp_path, stage=DotStage())(picture_case(folder), nothing)


def test_the_networks_settings_need_no_network(tmp_path):
    settings = Landmarks(tmp_path).settings
    assert settings["engine"].split()[0] in ("openvino", "onnxruntime")
    assert settings.keys() == {"engine", "device", "threads", "networks", "stage"}
    assert json.loads(json.dumps(settings)) == settings


def test_a_version_follows_the_code():
    versions = {
        code_version("models"),
        code_version("engines.landmarks"),
        code_version("tools.evaluation.methods.footage"),
    }
    assert len(versions) == 3
    assert all(v.startswith("0.") and "+" in v for v in versions)


# -- methods -----------------------------------------------------------------------------------------------------------


def context(tmp_path, stage=None, **options) -> Context:
    return Context(Landmarks(tmp_path / "proxies", stage=stage or DotStage()), **options)


def test_the_solvers_prediction_is_that_of_the_pipeline(tmp_path):
    case = walk_case()
    motion = Solver(context(tmp_path)).predict(case, nothing).motion
    assert_same_motion(
        replace(motion, keypoint_names=(), keypoints_px=None, keypoint_confidence=None), solved_motion(solved())
    )
    values = measure(case, Prediction("solver", "", {}, motion)).values
    assert values["pa_mpjpe_mm"] < 40
    assert values["pck_body_0_5"] == values["detected_percent"] == 100


def test_joints_body_and_surface_are_one_body():
    motion = solved_motion(solved()[:4])
    body = load_body()
    posed = body.with_shape(motion.body.betas).with_pose(motion.body.poses, motion.body.trans_m)
    tree = motion.joints_m[:, [JOINT_NAMES.index(f"smplx_{n}") for n in ("pelvis", "head", "left_wrist")]]
    np.testing.assert_allclose(posed.joints_m[:, [0, 15, 20]], tree, atol=2e-6)
    np.testing.assert_allclose(posed.skin().vertices_m, motion.surface.vertices_m(slice(0, 4)), atol=2e-6)
    assert motion.surface.vertices_m(slice(0, 4)).min(axis=(1, 2))[0] < motion.feet_m.min() + 0.05


def test_one_body_stands_for_a_shape_that_changed_on_the_way():
    frames = [replace(f, betas=f.betas + 0.5 * i) for i, f in enumerate(solved()[:3])]
    motion = solved_motion(frames)
    posed = load_body().with_shape(motion.body.betas).with_pose(motion.body.poses, motion.body.trans_m)
    pelvis = motion.joints_m[:, JOINT_NAMES.index("smplx_pelvis")]
    np.testing.assert_allclose(posed.joints_m[:, 0], pelvis, atol=2e-6)
    alone = [solved_motion([f]).joints_m[0] for f in frames]
    np.testing.assert_allclose(motion.joints_m, alone, atol=2e-6)


def test_frames_without_a_person_and_held_hands_say_nothing():
    frames = list(solved()[:4])
    left = np.array([n != 6 for n in range(8)])
    frames[1] = replace(frames[1], present=False)
    frames[2] = replace(frames[2], measured=frames[2].measured & left)
    motion = solved_motion([*frames, None])
    for array in (motion.joints_m, motion.feet_m, motion.contact, motion.T_cam_world, motion.body.poses):
        known = np.isfinite(array).reshape(5, -1)
        np.testing.assert_array_equal(known.all(1), [True, False, True, True, False])
        np.testing.assert_array_equal(known.any(1), known.all(1))
    hands = np.isfinite(motion.hands_m).all((2, 3))
    np.testing.assert_array_equal(hands, [[True] * 2, [False] * 2, [False, True], [True] * 2, [False] * 2])
    assert np.isnan(solved_motion([None, None]).joints_m).all()


def test_nobody_is_an_answer(tmp_path):
    empty = walk_case(5, proxies=[absent(p) for p in the_walk()[1][:5]])
    for name in METHODS:
        prediction = METHODS[name](context(tmp_path)).predict(empty, nothing)
        assert measure(empty, prediction).values["detected_percent"] == 0
        path = prediction_path(tmp_path, name, empty)
        write_prediction(path, prediction, empty)
        assert_same_motion(read_prediction(path, empty, name).motion, prediction.motion)


def test_the_live_solver_is_asked_frame_by_frame(tmp_path):
    live = METHODS["solver-live"](context(tmp_path))
    few, more = walk_case(6), walk_case(9)
    a, b = (live.predict(c, nothing).motion for c in (few, more))
    np.testing.assert_array_equal(a.joints_m, b.joints_m[:6])  # what comes later changes nothing
    assert live.predict(few, nothing).method == "solver-live"


def test_landmarks_alone_are_the_networks_own(tmp_path):
    case = walk_case(3)
    prediction = METHODS["landmarks"](context(tmp_path)).predict(case, nothing)
    motion, proxies = prediction.motion, case.proxies
    ankle = motion.joints_m[:, motion.joint_names.index("left_ankle")]
    np.testing.assert_array_equal(ankle, np.float64([p.body_xyz_m[27] for p in proxies]))
    neck = motion.joints_m[:, motion.joint_names.index("neck")]
    np.testing.assert_allclose(neck, np.float64([p.body_xyz_m[[11, 12]].mean(0) for p in proxies]), atol=1e-7)
    assert "left_small_toe" not in motion.joint_names
    assert motion.keypoint_names == KEYPOINT_NAMES
    nose = motion.keypoints_px[:, KEYPOINT_NAMES.index("right_hand_pinky4")]
    np.testing.assert_array_equal(nose, np.float64([p.xy_px[PROXY_NAMES.index("right_hand_pinky4")] for p in proxies]))


def test_rows_are_picked_by_their_frames(tmp_path, folder):
    method = METHODS["landmarks"](context(tmp_path))
    whole = method.predict(picture_case(folder), nothing).motion
    some = method.predict(picture_case(folder, (1, 4)), nothing).motion
    np.testing.assert_array_equal(some.joints_m, whole.joints_m[[1, 4]])
    (folder / "4.png").write_bytes(b"no picture")
    damaged = method.predict(picture_case(folder, (1, 4, 5)), nothing).motion
    np.testing.assert_array_equal(np.isnan(damaged.joints_m).all((1, 2)), [False, True, False])


def test_the_default_camera_knows_the_size_alone(tmp_path):
    case = walk_case()
    assert camera_for(case, "truth") is case.camera
    default = camera_for(case, "default")
    assert (default.width_px, default.fov_deg) == (case.camera.width_px, pytest.approx(DEFAULT_FOV_DEG))
    settings = [Solver(context(tmp_path, camera=c)).settings for c in ("truth", "default")]
    assert settings[0] != settings[1]


class Counting:
    """A method that counts how often it is run."""

    name, title, version = "counting", "", "1"

    def __init__(self) -> None:
        self.runs, self.settings = 0, {"a": 1}

    def predict(self, case, progress):
        self.runs += 1
        return Prediction(self.name, self.version, self.settings, case.truth)


def test_a_method_runs_once_for_its_version_settings_and_input(tmp_path, folder, case):
    method = Counting()
    kept = Kept(method, tmp_path)
    first = kept.predict(case, nothing)
    assert_same_motion(kept.predict(case, nothing).motion, first.motion)
    assert method.runs == 1
    method.settings = {"a": 2}
    assert kept.predict(case, nothing).settings == {"a": 2}
    method.version = "2"
    assert kept.predict(case, nothing).version == "2"
    (folder / "0.png").write_bytes((folder / "5.png").read_bytes())
    kept.predict(case, nothing)
    assert method.runs == 4
    Kept(method, tmp_path, fresh=True).predict(case, nothing)
    assert method.runs == 5


def test_a_method_never_writes_over_what_others_brought(tmp_path, case):
    path = prediction_path(tmp_path, "counting", case)
    path.parent.mkdir(parents=True)
    np.savez(path, **(brought(case) | {"method": np.array("counting")}))
    before = path.read_bytes()
    for fresh in (False, True):
        with pytest.raises(HmcapError, match="not written over"):
            Kept(Counting(), tmp_path, fresh).predict(case, nothing)
    assert path.read_bytes() == before


def test_a_damaged_file_is_named_and_made_again_when_asked(tmp_path, case):
    path = prediction_path(tmp_path, "counting", case)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PK damaged")
    with pytest.raises(HmcapError, match=r"dots\.npz.*--fresh"):
        Kept(Counting(), tmp_path).predict(case, nothing)
    assert Kept(Counting(), tmp_path, fresh=True).predict(case, nothing).file == path


def test_the_head_of_a_case_is_its_first_rows(folder):
    case = head_of_case(picture_case(folder, box_px=boxes()), 4)
    assert (case.frames, len(case.footage.index), len(case.box_px), len(case.truth.joints_m)) == (4, 4, 4, 4)
    assert head_of_case(case, 9) is case
    assert len(head_of_case(walk_case(), 7).proxies) == 7
    motion = solved_motion(solved()[:5])
    head = head_of_motion(motion, 2)
    assert {len(a) for n, a in arrays_of(head).items() if n != "betas"} == {2}
    np.testing.assert_array_equal(head.surface.vertices_m(slice(0, None)), motion.surface.vertices_m(slice(0, 2)))
