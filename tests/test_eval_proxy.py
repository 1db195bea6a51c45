"""The set "proxy": recorded motion, virtual camera, measured noise; made here from two tiny recordings."""

from pathlib import Path

import numpy as np
import pytest
from hmcap.models.body import load_body
from hmcap.models.errors import HmcapError
from hmcap.models.markers import proxy_rig
from hmcap.tools.evaluation.measure import measure, truth_as_prediction
from hmcap.tools.evaluation.records import LIMBS
from hmcap.tools.evaluation.sets import proxy
from hmcap.tools.evaluation.sets.registry import SetMissing, load_set
from hmcap.tools.motions.virtual_cameras import KINDS, project_px


def _folder(path: Path, splits: dict[str, str], seconds: float = 1.5) -> Path:
    """A motion folder in AMASS layout: somebody turns slowly and waves."""
    (path / "made").mkdir(parents=True)
    t = np.arange(round(30 * seconds)) / 30
    lines = ["source\tclip\tframes\tlicence\taction\tgroup\tsplit\tnear_duplicate_in_other_source"]
    for i, (name, split) in enumerate(splits.items()):
        poses = np.zeros((len(t), 165), np.float32)
        poses[:, 1] = 0.5 * t + i
        poses[:, 16 * 3 + 2] = -0.8 + 0.4 * np.sin(3 * t)
        poses[:, 17 * 3 + 2] = 0.9
        arrays = {"poses": poses, "trans": np.zeros((len(t), 3), np.float32), "mocap_frame_rate": np.float64(30)}
        np.savez(path / "made" / f"{name}.npz", up_axis=np.array("y"), **arrays)
        lines.append(f"made\t{name}\t{len(t)}\tCC0\twave {name}\t{name}\t{split}\t")
    (path / "INDEX.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return _folder(tmp_path_factory.mktemp("mocap"), {"a": "test", "b": "train", "c": "test"})


@pytest.fixture(scope="module")
def cases(folder) -> list:
    return list(load_set("proxy", folder))


def test_only_the_test_split_is_taken_and_a_beginning_of_it_on_request(folder, cases):
    assert sorted(c.name.split(".")[0] for c in cases) == ["made_a", "made_c"]
    assert all(c.name.split(".")[1] in KINDS for c in cases)
    one = list(proxy.load(folder, count=1))
    assert [c.name for c in one] == [cases[0].name]
    np.testing.assert_array_equal(one[0].proxies[7].xy_px, cases[0].proxies[7].xy_px)
    assert len(list(proxy.load(folder, count=None))) == 2


def test_the_same_folder_gives_the_same_cases(folder, cases):
    for first, again in zip(cases, load_set("proxy", folder), strict=True):
        assert first.camera == again.camera
        np.testing.assert_array_equal(first.truth.joints_m, again.truth.joints_m)
        for a, b in zip(first.proxies, again.proxies, strict=True):
            np.testing.assert_array_equal(a.xy_px, b.xy_px)
            np.testing.assert_array_equal(a.confidence, b.confidence)
            np.testing.assert_array_equal(a.body_xyz_m, b.body_xyz_m)
            assert a.score == b.score


def test_truth_agrees_with_itself(cases):
    body = load_body()
    for case in cases:
        truth, T = case.truth, case.frames
        assert set(LIMBS) <= set(truth.joint_names)
        assert truth.hands_m.shape == (T, 2, 21, 3)
        assert truth.contact.shape == (T, 4)
        assert len(case.proxies) == T
        posed = body.astype(np.float64).with_shape(truth.body.betas).with_pose(truth.body.poses, truth.body.trans_m)
        points = proxy_rig(body).in_world_m(posed)
        np.testing.assert_allclose(truth.hands_m[:, 0], points[:, 25:46], atol=1e-9)
        np.testing.assert_allclose(project_px(case.camera, truth.T_cam_world, points), truth.keypoints_px, atol=1e-6)
        assert truth.feet_m[..., 1].min() > -0.05
        vertices = truth.surface.vertices_m(slice(0, 2))
        assert np.abs(vertices.mean(axis=1) - truth.joints_m[:2, 0]).max() < 0.5
        assert np.abs(truth.body.poses[:, 25:]).max() > 0.05  # fingers move


def test_truth_as_prediction_has_no_error(cases):
    values = measure(cases[0], truth_as_prediction(cases[0])).values
    for name in ("mpjpe_mm", "pa_mpjpe_mm", "w_mpjpe100_mm", "hand_pa_mpjpe_mm", "angle_deg", "accel_m_s2"):
        if name in values:
            assert values[name] == pytest.approx(0, abs=1e-6), name
    assert values["mpjpe_mm"] == pytest.approx(0, abs=1e-6)


def test_proxies_are_near_the_truth_and_not_on_it(cases):
    for case in cases:
        seen = np.stack([p.xy_px for p in case.proxies])
        confident = np.stack([p.confidence for p in case.proxies]) > 0.5
        size = np.ptp(case.truth.keypoints_px[:, :25], axis=1).max(axis=-1)
        error = np.linalg.norm(seen - case.truth.keypoints_px, axis=-1) / size[:, None]
        assert 0.001 < np.median(error[:, :25][confident[:, :25]]) < 0.1
        stamps = [p.stamp_s for p in case.proxies]
        np.testing.assert_allclose(np.diff(stamps), 1 / case.fps)
        assert all(p.image_size_px == (case.camera.width_px, case.camera.height_px) for p in case.proxies)


def test_what_cannot_be_used_is_named(tmp_path):
    with pytest.raises(SetMissing, match="nowhere"):
        list(load_set("proxy", tmp_path / "nowhere"))
    with pytest.raises(SetMissing, match="nowhere"):
        list(proxy.load(tmp_path / "nowhere"))
    only_train = _folder(tmp_path / "train", {"a": "train"})
    with pytest.raises(HmcapError, match=r"split test in .*train"):
        list(proxy.load(only_train))
    short = _folder(tmp_path / "short", {"a": "test"}, seconds=0.5)
    with pytest.raises(HmcapError, match="found nothing to evaluate"):
        list(load_set("proxy", short))
