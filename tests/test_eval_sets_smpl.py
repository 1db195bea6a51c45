"""Sets that give parameters of a body or meshes of it: tiny ones, made here in the published layouts."""

import json
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from eval_bodies import PER_JOINT, landmark_vertices, write_bodies
from eval_made_sets import (
    FRAMES,
    MAKERS,
    RICH_WORLD,
    SHAPE,
    agora_arrays,
    body_file,
    camera_T,
    save_agora,
    walk,
    write_pickle,
    write_picture,
)
from hmcap.models.errors import HmcapError
from hmcap.tools.evaluation.measure import measure, truth_as_prediction
from hmcap.tools.evaluation.metrics import METRICS
from hmcap.tools.evaluation.records import LIMBS, Case
from hmcap.tools.evaluation.sets import body_truth
from hmcap.tools.evaluation.sets.body_files import TREES, load_body_file
from hmcap.tools.evaluation.sets.registry import SETS, SetMissing


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of made bodies; nothing writes into it afterwards."""
    return write_bodies(tmp_path_factory.mktemp("bodies"))


@pytest.fixture(autouse=True)
def bodies(written: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Made bodies, found as a user's are, with landmarks on their skin."""
    monkeypatch.setenv("HMCAP_BODIES", str(written))
    for kind in TREES:
        monkeypatch.setitem(body_truth.LANDMARK_VERTICES, PER_JOINT * len(TREES[kind]), landmark_vertices())
    return written


def _made(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    MAKERS[name](folder)
    return folder


def _cases(tmp_path: Path, name: str) -> list[Case]:
    return list(SETS[name].load(_made(tmp_path, name)))


@pytest.mark.parametrize("name", MAKERS)
def test_truth_as_prediction_has_no_error(tmp_path: Path, name: str) -> None:
    for case in _cases(tmp_path, name):
        got = measure(case, truth_as_prediction(case))
        assert {"mpjpe_mm", "pa_mpjpe_mm", "mpvpe_mm", "pck_body_0_5"} <= set(got.values)
        assert len(got.rows) == np.isfinite(case.truth.joints_m[:, 0, 0]).sum()
        for key, value in got.values.items():
            if METRICS[key].of_truth or "jitter" in key or key == "detected_percent" or key == "foot_sliding_mm":
                continue
            want = 0 if METRICS[key].lower_is_better else (100 if METRICS[key].unit == "%" else 1)
            assert value == pytest.approx(want, abs=1e-9), key


@pytest.mark.parametrize("name", MAKERS)
def test_every_case_is_whole(tmp_path: Path, name: str) -> None:
    cases = _cases(tmp_path, name)
    assert len({c.name for c in cases}) == len(cases) > 0
    for case in cases:
        truth = case.truth
        assert case.set_name == name
        assert set(LIMBS) <= set(truth.joint_names)
        assert {"nose", "left_heel", "smplx_neck"} <= set(truth.joint_names)
        assert not {"neck", "smplx_left_hip", "smplx_left_hand"} & set(truth.joint_names)
        assert truth.joints_m.shape == (case.frames, len(truth.joint_names), 3)
        assert case.footage.source.exists()
        assert len(case.footage.index) == case.frames
        assert (truth.hands_m is None) == (name == "emdb")
        assert truth.feet_m.shape == (case.frames, 4, 3)
        mesh = truth.surface.vertices_m(slice(0, case.frames))
        rows = np.isfinite(truth.joints_m).all((1, 2))
        assert np.array_equal(np.isfinite(mesh).all((1, 2)), rows)
        # joints and mesh in one place: each hip within its own four corners, up to shape and pose correctives
        hip = mesh[rows, PER_JOINT : 2 * PER_JOINT].mean(1)
        assert np.abs(hip - truth.joints_m[rows, truth.joint_names.index("left_hip")]).max() < 0.02
        assert "12 limb joints" in case.notes


@pytest.mark.parametrize("name", ["emdb", "rich", "moyo"])
def test_world_has_y_up_and_a_camera_that_sees_the_person(tmp_path: Path, name: str) -> None:
    for case in _cases(tmp_path, name):
        truth = case.truth
        assert truth.in_world
        at = {n: truth.joints_m[:, i] for i, n in enumerate(truth.joint_names)}
        rows = np.isfinite(at["smplx_head"][:, 0])
        up = (at["smplx_head"] - at["smplx_pelvis"])[rows]
        assert (up[:, 1] > 0.9 * np.linalg.norm(up, axis=1)).all()
        camera_up = -truth.T_cam_world[:, 1, :3]
        np.testing.assert_allclose(camera_up, np.tile([0, 1, 0], (case.frames, 1)), atol=1e-6)
        if name != "emdb":  # whose floor moves its camera
            np.testing.assert_allclose(truth.T_cam_world[0], camera_T("y")[0], atol=1e-6)
        in_camera = np.einsum("tij,tkj->tki", truth.T_cam_world[:, :3, :3], truth.joints_m)
        in_camera += truth.T_cam_world[:, None, :3, 3]
        assert (in_camera[rows, :, 2] > 1).all()
        assert truth.keypoint_confidence[rows].mean() > 0.5


@pytest.mark.parametrize("name", ["rich", "moyo", "agora"])
def test_parameters_give_the_joints(tmp_path: Path, name: str) -> None:
    for case in _cases(tmp_path, name):
        truth = case.truth
        body = load_body_file(Path(truth.body.model), "smplx")
        moving = body.animate(truth.body.poses, truth.body.trans_m, truth.body.betas)
        joints = moving.joints_m()[:, :22]
        np.testing.assert_allclose(joints, truth.joints_m[:, :22], atol=1e-6)


def test_emdb_keeps_its_second_part_and_its_good_frames(tmp_path: Path, bodies: Path) -> None:
    folder = _made(tmp_path, "emdb")
    (case,) = SETS["emdb"].load(folder)
    assert (case.name, case.fps, case.truth.body) == ("P0_09_outdoor_walk", 30.0, None)
    assert np.isnan(case.truth.joints_m[2]).all()
    assert np.isnan(case.box_px[2]).all()
    np.testing.assert_array_equal(case.box_px[0], [10, 20, 50, 70])
    assert np.isfinite(case.truth.T_cam_world).all()  # the camera is known where the person is hidden
    poses, trans = walk(24, "y")
    moving = body_file(bodies, "smpl", "FEMALE").animate(poses, trans, SHAPE)
    seen = np.einsum("tij,tkj->tki", camera_T("y", True)[:, :3, :3], moving.joints_m())
    ours = np.einsum("tij,tkj->tki", case.truth.T_cam_world[:, :3, :3], case.truth.joints_m[:, :22])
    ours += case.truth.T_cam_world[:, None, :3, 3]
    shift = np.array([0, 1.4, 4.0])
    np.testing.assert_allclose(ours[[0, 1, 3]] - shift, seen[[0, 1, 3], :22], atol=1e-9)
    assert case.truth.surface.vertices_m(slice(0, 1))[..., 1].min() == pytest.approx(0, abs=1e-9)


def test_rich_rows_are_pictures_and_gaps_are_unknown(tmp_path: Path) -> None:
    first, second = _cases(tmp_path, "rich")
    assert (first.name, second.name) == ("Pavallion_013_yoga_cam_00", "Pavallion_013_yoga_cam_03")
    # pictures start at frame 8, bodies at 10: row 0 is the third picture; frame 12 has no body
    np.testing.assert_array_equal(first.footage.index, np.arange(2, 2 + FRAMES))
    np.testing.assert_array_equal(np.isnan(first.truth.joints_m[:, 0, 0]), np.arange(FRAMES) == 2)
    np.testing.assert_array_equal(second.footage.index, [0, 1, 2])
    np.testing.assert_allclose(second.truth.joints_m[0], first.truth.joints_m[1], atol=1e-12)
    assert (first.camera.width_px, first.camera.fx_px) == (257, pytest.approx(4000 / 16))
    _, trans = walk(55, "z")
    np.testing.assert_allclose(
        first.truth.joints_m[3, 0] - first.truth.joints_m[0, 0],
        (trans[3] - trans[0])[[0, 2, 1]] * [1, 1, -1],
        atol=1e-6,
    )


def test_rich_tells_two_people_apart(tmp_path: Path, bodies: Path) -> None:
    folder = _made(tmp_path, "rich")
    for i in (10, 11):
        place = folder / "bodies" / "test" / "Pavallion_013_yoga" / f"{i:05d}"
        data = pickle.loads((place / "013.pkl").read_bytes())
        data["transl"] = data["transl"] + RICH_WORLD[:, 0].astype(np.float32)
        write_pickle(place / "011.pkl", data)
    cases = list(SETS["rich"].load(folder))
    assert [c.name[-3:] for c in cases] == ["011", "011", "013", "013"]
    man, woman = cases[0], cases[2]
    assert man.truth.body.model == str(body_file(bodies, "smplx", "MALE").path.resolve())
    assert woman.truth.body.model == str(body_file(bodies, "smplx", "FEMALE").path.resolve())
    assert man.frames == 2
    assert (man.box_px[:, 0] > woman.box_px[:2, 0] + 10).all()  # a metre to the right in the world and the picture
    for case in cases:
        assert measure(case, truth_as_prediction(case)).values["mpjpe_mm"] == pytest.approx(0, abs=1e-9)


def test_rich_face_may_be_left_out(tmp_path: Path) -> None:
    folder = _made(tmp_path, "rich")
    whole = next(iter(SETS["rich"].load(folder)))
    for file in folder.glob("bodies/test/*/*/*.pkl"):
        data = pickle.loads(file.read_bytes())
        write_pickle(file, {k: v for k, v in data.items() if k != "expression" and k[:3] not in ("jaw", "ley", "rey")})
    without = next(iter(SETS["rich"].load(folder)))
    np.testing.assert_array_equal(without.truth.joints_m[:, :22], whole.truth.joints_m[:, :22])
    assert not without.truth.body.poses[0, 22:25].any()


def test_rich_hands_are_components_about_the_mean(tmp_path: Path, bodies: Path) -> None:
    case = _cases(tmp_path, "rich")[0]
    body = body_file(bodies, "smplx", "FEMALE")
    np.testing.assert_allclose(case.truth.body.poses[0, 40:].ravel(), body.hands_mean[1], atol=1e-6)
    given = np.linspace(-1, 1, 12) @ body.hand_components[0, :12] + body.hands_mean[0]
    np.testing.assert_allclose(case.truth.body.poses[0, 25:40].ravel(), given, atol=1e-6)


def test_ehf_is_in_the_axes_of_its_camera(tmp_path: Path) -> None:
    cases = _cases(tmp_path, "ehf")
    assert [c.name for c in cases] == ["01", "02"]
    case = cases[0]
    assert not case.truth.in_world
    assert case.fps == 0
    at = {n: case.truth.joints_m[0, i] for i, n in enumerate(case.truth.joint_names)}
    assert at["left_ankle"][1] > at["left_hip"][1] > at["smplx_head"][1]  # y down
    assert 2 < at["left_hip"][2] < 3
    assert at["left_wrist"][0] > at["right_wrist"][0]  # facing the camera: left is on the right of the picture
    K = case.camera.K @ at["left_hip"]
    index = case.truth.keypoint_names.index("left_hip")
    np.testing.assert_allclose(case.truth.keypoints_px[0, index], K[:2] / K[2], atol=1e-9)


def test_agora_people_have_boxes_and_hidden_ones_do_not_count(tmp_path: Path, bodies: Path) -> None:
    cases = _cases(tmp_path, "agora")
    assert [c.name for c in cases] == ["one_0", "one_1"]
    for case in cases:
        x, y, w, h = case.box_px[0]
        px = case.truth.keypoints_px[0]
        assert ((px >= [x, y]) & (px <= [x + w + 1e-9, y + h + 1e-9])).all()
    assert not np.array_equal(cases[0].box_px, cases[1].box_px)
    # the same people from their joints alone
    arrays = agora_arrays(bodies)
    given = {k: v for k, v in arrays.items() if k in ("imgname", "cam_int", "joints3d_cam", "gtkps", "occlusion")}
    other = tmp_path / "given"
    save_agora(other, given)
    for a, b in zip(SETS["agora"].load(other), cases, strict=True):
        np.testing.assert_allclose(a.truth.joints_m, b.truth.joints_m[:, :22], atol=1e-6)
        assert a.truth.surface is None


def test_moyo_pictures_show_every_other_frame(tmp_path: Path) -> None:
    (case,) = _cases(tmp_path, "moyo")
    assert case.name == "220923_yogi_body_hands_03596_Tree_Pose-a_YOGI_Cam_02"
    assert case.frames == FRAMES + 1
    # picture 1 is the first there is and shows frame 2; the last two lie after the end of the motion
    np.testing.assert_array_equal(np.isnan(case.truth.joints_m[:, 0, 0]), np.arange(FRAMES + 1) >= FRAMES - 1)
    _, trans = walk(55, "z")
    moved = case.truth.joints_m[1, 0] - case.truth.joints_m[0, 0]
    np.testing.assert_allclose(moved, (trans[2] - trans[1])[[0, 2, 1]] * [1, 1, -1], atol=1e-9)
    assert case.camera.fx_px == 150


def _edit(file: Path, change: Callable[[dict], object]) -> None:
    data = pickle.loads(file.read_bytes())
    change(data)
    write_pickle(file, data)


def _edit_npz(file: Path, **changes: np.ndarray) -> None:
    with np.load(file) as data:
        arrays = dict(data) | changes
    np.savez(file, **arrays)


EMDB_FILE = "P0/09_outdoor_walk/P0_09_outdoor_walk_data.pkl"
MOYO = "20220923_20220926_with_hands"
BROKEN: list[tuple[str, Callable[[Path], object], str]] = [
    ("emdb", lambda f: _edit(f / EMDB_FILE, lambda d: d.pop("smpl")), "smpl/poses_root"),
    ("emdb", lambda f: _edit(f / EMDB_FILE, lambda d: d["smpl"].update(trans=np.zeros((3, 3)))), "smpl/trans"),
    ("emdb", lambda f: _edit(f / EMDB_FILE, lambda d: d.update(gender="robot")), "SMPL_ROBOT"),
    ("emdb", lambda f: _edit(f / EMDB_FILE, lambda d: d.update(gender=3)), "a text as gender"),
    ("emdb", lambda f: _edit(f / EMDB_FILE, lambda d: d.update(emdb2=False)), "EMDB 2"),
    ("emdb", lambda f: (f / "P0/09_outdoor_walk/images/00003.jpg").unlink(), "6 pictures"),
    ("emdb", lambda f: (f / "P0").rename(f / "other"), "P0 to P9"),
    (
        "rich",
        lambda f: _edit(f / "bodies/test/Pavallion_013_yoga/00011/013.pkl", lambda d: d.pop("body_pose")),
        "00011",
    ),
    ("rich", lambda f: (f / "multicam2world/Pavallion_multicam2world.json").unlink(), "multicam2world.json"),
    ("rich", lambda f: (f / "scan_calibration/Pavallion/calibration/003.xml").write_text("<a/>"), "CameraMatrix"),
    ("rich", lambda f: write_picture(f / "images/test/Pavallion_013_yoga/cam_00/00008_00.jpeg", (100, 100)), "4112"),
    ("rich", lambda f: (f / "bodies").rename(f / "other"), "bodies/test"),
    ("rich", lambda f: (f / "images/test/Pavallion_013_yoga/cam_00/00008_00.jpeg").rename(f / "a"), ""),
    ("ehf", lambda f: (f / "02_img.jpg").unlink(), "02_img.jpg"),
    ("ehf", lambda f: (f / "02_align.ply").write_text("ply"), "02_align.ply"),
    ("ehf", lambda f: write_picture(f / "01_img.jpg", (120, 160)), "1600 x 1200"),
    ("ehf", lambda f: [p.unlink() for p in f.glob("*.ply")], "01_align.ply"),
    ("agora", lambda f: (f / "validation.npz").unlink(), "npz"),
    ("agora", lambda f: _edit_npz(f / "validation.npz", pose_cam=np.zeros((3, 72))), "pose_cam"),
    ("agora", lambda f: _edit_npz(f / "validation.npz", cam_int=np.tile(3 * np.eye(3), (3, 1, 1))), "gtkps"),
    ("agora", lambda f: (f / "images/a/one.png").unlink(), "one.png"),
    ("moyo", lambda f: (f / MOYO / "AMASS").rename(f / MOYO / "other"), "stageii.npz"),
    ("moyo", lambda f: (f / MOYO / "cameras").rename(f / MOYO / "other"), "cameras_param.json"),
    ("moyo", lambda f: (f / MOYO / "images").rename(f / MOYO / "other"), "images/val"),
]


@pytest.mark.parametrize(("name", "change", "words"), BROKEN, ids=[f"{n}-{w or 'fine'}" for n, _, w in BROKEN])
def test_other_layouts_are_named(tmp_path: Path, name: str, change: Callable[[Path], object], words: str) -> None:
    folder = _made(tmp_path, name)
    change(folder)
    if not words:  # a picture without a body may be missing
        assert list(SETS[name].load(folder))
        return
    with pytest.raises(HmcapError) as error:
        list(SETS[name].load(folder))
    assert words in str(error.value)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("name", MAKERS)
def test_missing_body_and_missing_set_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with pytest.raises(SetMissing):
        SETS[name].load(tmp_path / "nowhere")
    folder = _made(tmp_path, name)
    monkeypatch.setenv("HMCAP_BODIES", str(tmp_path / "nowhere"))
    with pytest.raises(HmcapError, match="HMCAP_BODIES") as error:
        list(SETS[name].load(folder))
    assert not isinstance(error.value, SetMissing)


def test_a_known_shift_gives_the_known_error(tmp_path: Path) -> None:
    case = _cases(tmp_path, "moyo")[0]
    prediction = truth_as_prediction(case)
    joints = prediction.motion.joints_m.copy()
    joints[:, case.truth.joint_names.index("left_wrist")] += [0.0, 0.12, 0.0]
    got = measure(case, replace(prediction, motion=replace(prediction.motion, joints_m=joints)))
    assert got.values["mpjpe_mm"] == pytest.approx(10)  # 120 mm over twelve joints


def test_a_camera_that_is_not_known_is_refused(tmp_path: Path) -> None:
    folder = _made(tmp_path, "rich")
    file = next(folder.rglob("*_multicam2world.json"))
    content = json.loads(file.read_text(encoding="utf-8"))
    content["R"][0][0] = None
    file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(HmcapError, match=re.escape(f"finite numbers as R of {file}")):
        list(SETS["rich"].load(folder))
