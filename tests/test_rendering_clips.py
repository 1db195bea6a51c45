"""What is rendered: specifications, scenes, exact truth, files, and the set that the evaluation reads."""

import json
import os
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hmcap.models.body import load_body
from hmcap.models.camera import Camera
from hmcap.models.errors import HmcapError, UsageError
from hmcap.models.proxies import BODY_NAMES, NUM_PROXIES, PROXY_NAMES, Proxies
from hmcap.models.skeleton import JOINT_NAMES
from hmcap.realtime.overlay.gl import NoGLError
from hmcap.tools.evaluation.measure import measure, truth_as_prediction
from hmcap.tools.evaluation.records import Case, Footage, Motion3D
from hmcap.tools.evaluation.sets.registry import SETS
from hmcap.tools.motions.hand_motion import plain_key_poses
from hmcap.tools.motions.mocap import ClipEntry, list_clips
from hmcap.tools.motions.virtual_cameras import project_px
from hmcap.tools.rendering import render
from hmcap.tools.rendering.__main__ import main
from hmcap.tools.rendering.arrange import arrange, body_yaw_deg
from hmcap.tools.rendering.clips import MAX_BETA, ClipSpec, canonical_specs, measurement_specs
from hmcap.tools.rendering.realism import Sums, add_case, table
from hmcap.tools.rendering.truth import (
    HIDDEN,
    OUTSIDE,
    VISIBLE,
    flesh_m,
    read_truth,
    save_truth,
    truth_of,
    visibility,
)

BODY = load_body()
SIZE = (160, 120)


@pytest.fixture
def folder(tmp_path):
    """A motion folder with two made clips: somebody stands and sways, and somebody drifts ahead."""
    rng = np.random.default_rng(0)
    t = np.arange(45) / 30
    rows = ["source\tclip\tlicence\taction\tsplit"]
    for name, speed in (("sway", 0.0), ("drift", 0.4)):
        poses = np.zeros((45, 55, 3))
        for joint in ("spine1", "left_shoulder", "right_shoulder"):
            poses[:, JOINT_NAMES.index(joint)] = np.sin(2 * np.pi * t)[:, None] * rng.normal(0, 0.2, 3)
        trans = np.stack([0 * t, 0 * t + 1.25, speed * t], axis=1)
        path = tmp_path / "motions" / "made" / f"{name}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, poses=poses.reshape(45, 165), trans=trans, mocap_frame_rate=30.0, up_axis="y")
        rows.append(f"made\t{name}\tCC0\t{name}\ttrain")
    (tmp_path / "motions" / "INDEX.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path / "motions"


def spec(**more):
    values = {"name": "one", "seed": 5, "motions": ("made/drift", "made/sway"), "seconds": 0.5, "size_px": SIZE}
    return ClipSpec(**(values | more))


def arranged(folder, **more):
    return arrange(spec(**more), list_clips(folder), plain_key_poses(), BODY)


@pytest.fixture
def inputs(folder):
    return render.Inputs(tuple(list_clips(folder)), plain_key_poses())


def flat_pictures(arranged):
    """Stands for the renderer where a test is about files."""
    for t in range(arranged.frames):
        yield np.full((SIZE[1], SIZE[0], 3), t, np.uint8), np.full(NUM_PROXIES, VISIBLE, np.uint8)


def test_the_canonical_set_covers_what_it_says():
    specs = canonical_specs()
    assert len(specs) == len({s.name for s in specs}) == len({s.seed for s in specs}) == 12
    assert all(s.seconds == 10 and s.fps == 30 for s in specs)
    assert sum(s.camera == "static" for s in specs) == 8
    assert {s.camera for s in specs} == {"static", "panning", "handheld", "walking"}
    assert sum(s.occluder for s in specs) == 3
    assert sum(s.shutter[0] >= 0.75 for s in specs) == 2
    assert sum(s.dim for s in specs) == 2
    assert sorted(s.framing for s in specs) == ["partly", "upper", *["whole"] * 10]
    assert len({s.size_px[0] > s.size_px[1] for s in specs}) == 2
    np.testing.assert_allclose(sorted(s.skin_tone for s in specs), (np.arange(12) + 0.5) / 12)
    assert min(s.fov_deg[0] for s in specs) == 35
    assert max(s.fov_deg[1] for s in specs) == 95


def test_the_canonical_set_is_of_the_test_split_only():
    data = os.environ.get("HMCAP_DATA")
    if not data:
        pytest.skip("HMCAP_DATA is not set: no motion capture to look the clips up in")
    entries = {f"{e.source}/{e.name}": e for e in list_clips(Path(data) / "mocap")}
    assert {entries[m].split for s in canonical_specs() for m in s.motions} == {"test"}


def test_the_measurement_set_takes_training_clips_that_are_free():
    entries = [
        ClipEntry(Path("x"), f"{source}{k}", source, licence, "", split, None)
        for source, licence in (("a", "MIT"), ("b", "CC0"), ("c", "CC-BY-NC-4.0"), ("d", ""))
        for k, split in enumerate(("train", "train", "test"))
    ]
    specs = measurement_specs(entries, 24)
    assert {m for s in specs for m in s.motions} == {"a/a0", "a/a1", "b/b0", "b/b1"}
    assert specs[:6] == measurement_specs(entries, 6)
    assert len({s.seed for s in specs}) == len({s.name for s in specs}) == 24
    assert all(s.size_px[0] % 2 == s.size_px[1] % 2 == 0 for s in specs)
    with pytest.raises(UsageError, match="any use"):
        measurement_specs([e for e in entries if e.source in "cd"])


def test_a_specification_decides_everything(folder):
    a, b = arranged(folder), arranged(folder)
    ta, tb = truth_of(a), truth_of(b)
    for name in ("proxies_px", "T_cam_world", "betas", "poses", "blur_px"):
        assert np.array_equal(getattr(ta, name), getattr(tb, name)), name
    assert a.scene.appearance == b.scene.appearance
    assert a.film == b.film
    other = truth_of(arranged(folder, seed=6))
    assert not np.array_equal(other.betas, ta.betas)
    assert np.abs(ta.betas).max() <= MAX_BETA


def test_the_camera_keeps_the_ranges(folder):
    a = arranged(folder, fov_deg=(70.0, 80.0), height_m=(1.0, 1.5), body_share=(0.3, 0.6))
    assert 70 <= a.camera.camera.fov_deg <= 80
    R, t = a.camera.T_cam_world[:, :3, :3], a.camera.T_cam_world[:, :3, 3]
    assert 1.0 <= -(np.swapaxes(R, 1, 2) @ t[..., None])[:, 1, 0].mean() <= 1.5
    assert 0.25 <= np.median(truth_of(a).body_height_px) / SIZE[1] <= 0.65
    front = arranged(folder, facing_deg=(0.0, 30.0))
    assert np.median(np.abs(truth_of(front).body_yaw_deg)) < 31
    with pytest.raises(HmcapError, match="none in"):
        arranged(folder, body_share=(0.9, 0.9001))
    with pytest.raises(HmcapError, match="made/gone"):
        arranged(folder, motions=("made/gone",))


def test_truth_agrees_with_opencv(folder):
    truth = truth_of(arranged(folder, distortion=True))
    assert truth.dist.any()
    for t in (0, 14):
        T = truth.T_cam_world[t]
        px, _ = cv2.projectPoints(truth.proxies_world_m[t], cv2.Rodrigues(T[:3, :3])[0], T[:3, 3], truth.K, truth.dist)
        inside = truth.proxies_visible[t] != OUTSIDE
        np.testing.assert_allclose(truth.proxies_px[t][inside], px[:, 0][inside], atol=1e-6)
    assert truth.frames == 15
    assert truth.contact.shape == (15, 4)


def test_nothing_blurs_that_does_not_move(folder):
    a = arranged(folder, motions=("made/sway",))
    still = replace(a, motion=replace(a.motion, poses=a.motion.poses[:1].repeat(15, 0),
                                      trans_m=a.motion.trans_m[:1].repeat(15, 0)))  # fmt: skip
    assert truth_of(still).blur_px.max() < 1e-9
    half, whole = (truth_of(replace(a, shutter=s)).blur_px[3:-3] for s in (0.25, 0.5))
    np.testing.assert_allclose(whole, 2 * half, atol=0.15 + 0.1 * whole.max())
    assert whole.max() > 0.2


@pytest.mark.parametrize(("turn", "expected"), [(0.0, 0.0), (90.0, 90.0), (-90.0, -90.0), (180.0, 180.0)])
def test_heading_relative_to_the_camera(turn, expected):
    T = np.eye(4)
    T[:3, :3] = [[-1, 0, 0], [0, -1, 0], [0, 0, 1]]  # OpenCV camera, image upright, looking along +z
    T[:3, 3] = [0, 1.0, 3.0]  # it stands at z = -3, so a person with a half turn faces it
    poses = np.zeros((1, 55, 3))
    poses[0, 0] = [0, np.pi + np.radians(turn), 0]
    found = body_yaw_deg(poses, np.array([[0, 1.0, 0]]), T[None])
    assert (found[0] - expected + 180) % 360 - 180 == pytest.approx(0, abs=1e-6)


def test_hidden_by_depth_by_hand():
    depth = np.full((20, 30), 5.0)
    depth[:, 15:] = 2.0  # a thing stands before the right half
    px = np.array([[3.0, 3.0], [20.0, 3.0], [20.0, 9.0], [40.0, 3.0], [14.6, 5.0], [np.nan, np.nan]])
    z = np.array([4.0, 4.0, 1.9, 4.0, 4.0, 4.0])
    found = visibility(depth, px, z, np.zeros(6), (30, 20))
    assert found.tolist() == [VISIBLE, HIDDEN, VISIBLE, OUTSIDE, VISIBLE, OUTSIDE]
    deep = visibility(depth, px[:1], np.array([5.08]), np.array([0.05]), (30, 20))
    assert deep.tolist() == [VISIBLE]  # a joint as deep in the flesh as it may be
    assert visibility(depth, px[:1], np.array([5.2]), np.array([0.05]), (30, 20)).tolist() == [HIDDEN]


def test_flesh_is_zero_on_the_skin():
    under = dict(zip(PROXY_NAMES, flesh_m(BODY), strict=True))
    assert under["nose"] == under["left_heel"] == under["left_hand_index4"] == 0
    assert 0.02 < under["left_knee"] < 0.1


def test_truth_survives_the_file(folder, tmp_path):
    truth = truth_of(arranged(folder))
    save_truth(tmp_path / "truth.npz", truth)
    again = read_truth(tmp_path / "truth.npz")
    for name in ("poses", "proxies_px", "contact", "fps", "K"):
        assert np.array_equal(getattr(truth, name), getattr(again, name)), name
    save_truth(tmp_path / "bad.npz", replace(truth, poses=truth.poses * np.nan))
    with pytest.raises(HmcapError, match=r"poses of .*bad\.npz.*NaN"):
        read_truth(tmp_path / "bad.npz")
    save_truth(tmp_path / "bad.npz", replace(truth, proxies_px=truth.proxies_px[:, :60]))
    with pytest.raises(HmcapError, match=r"proxies_px of shape \(15, 67, 2\)"):
        read_truth(tmp_path / "bad.npz")
    np.savez(tmp_path / "bad.npz", poses=truth.poses)
    with pytest.raises(HmcapError, match="lacks"):
        read_truth(tmp_path / "bad.npz")


def test_finished_clips_are_kept_and_changed_ones_made_again(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(render, "pictures", flat_pictures)
    out = tmp_path / "out"
    first = render.render_clip(spec(), out, inputs)
    assert (first.kept, first.frames) == (False, 15)
    stamp = (out / "one" / "truth.npz").stat().st_mtime_ns
    assert render.render_clip(spec(), out, inputs).kept
    assert (out / "one" / "truth.npz").stat().st_mtime_ns == stamp
    assert not render.render_clip(spec(dim=True), out, inputs).kept
    assert not render.render_clip(spec(dim=True), out, inputs, again=True).kept
    (out / "one" / "scene.json").write_text("{", encoding="utf-8")
    assert not render.render_clip(spec(dim=True), out, inputs).kept
    record = json.loads((out / "one" / "scene.json").read_text(encoding="utf-8"))
    assert record["motions"][0]["licence"] == "CC0"
    assert record["specification"]["seed"] == 5
    with av.open(str(out / "one" / "video.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 15


def test_an_interrupted_clip_leaves_nothing_that_looks_finished(inputs, tmp_path, monkeypatch):
    def broken(arranged):
        yield from list(flat_pictures(arranged))[:4]
        raise KeyboardInterrupt

    monkeypatch.setattr(render, "pictures", broken)
    with pytest.raises(KeyboardInterrupt):
        render.render_clip(spec(), tmp_path / "out", inputs)
    assert not (tmp_path / "out" / "one").exists()
    monkeypatch.setattr(render, "pictures", flat_pictures)
    assert [r.kept for r in render.render_set([spec()], tmp_path / "out", inputs, workers=0)] == [False]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["one"]


def test_the_set_reads_what_was_rendered(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(render, "pictures", flat_pictures)
    out = tmp_path / "out"
    render.render_clip(spec(), out, inputs)
    (case,) = list(SETS["rendered"].load(out))
    assert (case.name, case.frames, case.fps) == ("one", 15, 30.0)
    assert (case.camera.width_px, case.camera.height_px) == SIZE
    assert set(BODY_NAMES) <= set(case.truth.joint_names)
    values = measure(case, truth_as_prediction(case)).values
    for name in ("mpjpe_mm", "pa_mpjpe_mm", "mpvpe_mm", "angle_deg", "hand_pa_mpjpe_mm"):
        assert values[name] == pytest.approx(0, abs=1e-4), name
    (out / "one" / "video.mp4").unlink()
    with pytest.raises(HmcapError, match=r"--clips one --again"):
        list(SETS["rendered"].load(out))


def test_a_missing_set_names_the_command(tmp_path):
    with pytest.raises(HmcapError, match=r"python -m hmcap\.tools\.rendering"):
        list(SETS["rendered"].load(tmp_path))


def test_the_command_line_explains_itself(folder, tmp_path, capsys):
    assert main([str(tmp_path / "o"), "--motions", str(tmp_path / "none")]) == 1
    assert "nothing there" in capsys.readouterr().err
    assert main([str(tmp_path / "o"), "--motions", str(folder), "--clips", "zebra"]) == 2
    assert "walk_round_far" in capsys.readouterr().err
    assert main([str(tmp_path / "o"), "--motions", str(folder), "--backgrounds", str(tmp_path)]) == 2
    assert "photos" in capsys.readouterr().err
    assert main([str(tmp_path / "o"), "--motions", str(folder)]) == 1
    assert "--clips" in capsys.readouterr().err


def case_and_proxies(shift_percent):
    """60 frames of a person 200 px tall whose landmarks all lie a little to the right of the truth."""
    rng = np.random.default_rng(1)
    truth = rng.uniform(0, 150, (1, NUM_PROXIES, 2)).repeat(60, 0)
    truth[:, PROXY_NAMES.index("left_ankle")] = [70.0, 200.0]
    truth[:, PROXY_NAMES.index("left_shoulder")] = [70.0, 0.0]
    motion = Motion3D(keypoint_names=PROXY_NAMES, keypoints_px=truth, keypoint_confidence=np.ones((60, NUM_PROXIES)))
    footage = Footage(Path("x.mp4"), np.arange(60))
    case = Case("rendered", "x", 30.0, Camera.from_fov(400, 300, 55.0), motion, footage)
    proxies = [
        replace(
            Proxies.absent(t, t / 30, (400, 300)), xy_px=(truth[t] + [2 * shift_percent, 0]).astype(np.float32),
            confidence=np.ones(NUM_PROXIES, np.float32), score=0.9,
        )
        for t in range(60)
    ]  # fmt: skip
    return case, proxies


def test_realism_figures_by_hand():
    case, proxies = case_and_proxies(3.0)
    proxies[7] = Proxies.absent(7, 7 / 30, (400, 300))
    sums = Sums()
    add_case(sums, case, proxies, np.full((60, NUM_PROXIES), VISIBLE))
    assert (sums.frames, sums.persons, sums.hands, sums.hands_found) == (60, 59, 120, 118)
    knee = np.concatenate(sums.raw["knee"])
    assert len(knee) == 118
    np.testing.assert_allclose(knee, 3.0, atol=1e-3)
    np.testing.assert_allclose(np.concatenate(sums.centred["knee"]), 0.0, atol=1e-3)
    assert "98.3" in table({"rendered": sums})
    assert sums.large_frames == 0  # the person is 200 px tall


def test_realism_counts_hands_of_large_people_apart():
    case, proxies = case_and_proxies(0.0)
    confidence = np.ones(NUM_PROXIES, np.float32)
    confidence[PROXY_NAMES.index("left_hand_wrist") :] = 0  # both hands follow the body's proxies
    large = [replace(p, xy_px=p.xy_px * 3) for p in proxies[:40]]
    sums = Sums()
    add_case(sums, case, [*large[:30], *(replace(p, confidence=confidence) for p in large[30:]), *proxies[40:]], None)
    assert (sums.large_frames, sums.large_hands) == (40, 60)


def test_drawn_frames_show_what_the_truth_says(inputs, tmp_path):
    short = spec(seconds=0.2, body_share=(0.5, 0.95), fov_deg=(50.0, 70.0), shutter=(0.1, 0.1))
    try:
        render.render_clip(short, tmp_path / "a", inputs)
    except NoGLError as error:
        pytest.skip(f"no OpenGL here: {error}")
    render.render_clip(short, tmp_path / "b", inputs)
    folders = [tmp_path / k / "one" for k in "ab"]
    assert (folders[0] / "video.mp4").read_bytes() == (folders[1] / "video.mp4").read_bytes()
    truth = read_truth(folders[0] / "truth.npz")
    assert truth.frames == 6
    seen = truth.proxies_visible == VISIBLE
    assert seen.mean() > 0.3
    assert (truth.proxies_visible == HIDDEN).any()
    with av.open(str(folders[0] / "video.mp4")) as video:
        pictures = [f.to_ndarray(format="rgb24") for f in video.decode(video=0)]
    assert len(pictures) == 6
    assert pictures[0].shape == (SIZE[1], SIZE[0], 3)
    assert pictures[0].std() > 5
    a = arrange(short, inputs.entries, inputs.key_poses, BODY)
    np.testing.assert_allclose(project_px(a.camera.camera, truth.T_cam_world, truth.proxies_world_m), truth.proxies_px)
