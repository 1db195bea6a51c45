"""Recorded motion, contact, fingers and stitched takes, on tiny clips made here."""

from dataclasses import replace

import numpy as np
import pytest
from hmcap.models.body import load_body
from hmcap.models.errors import HmcapError, UsageError
from hmcap.models.markers import contact_rig
from hmcap.models.skeleton import CONTACT_POINTS, JOINT_NAMES, PARENTS
from hmcap.tools.motions.contact import contact_labels, feet_m
from hmcap.tools.motions.hand_motion import (
    KeyPoses,
    hand_motion,
    minimum_jerk,
    mirror_hand,
    plain_key_poses,
    read_key_poses,
)
from hmcap.tools.motions.mocap import (
    Clip,
    at_times,
    leg_m,
    list_clips,
    on_shape,
    read_clip,
    resample,
    smoothed,
    sole_heights_m,
)
from hmcap.tools.motions.stitch import curved, heading_rad, join, mirrored, part_of, take_of, turned
from scipy.spatial.transform import Rotation

FPS = 30.0
BODY = load_body()
J0 = np.asarray(BODY.J_template, np.float64)
TO_Z_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


def made_poses(frames=60, seed=0):
    """Standing on straight legs, trunk and arms swaying."""
    t = np.arange(frames) / FPS
    rng = np.random.default_rng(seed)
    poses = np.zeros((frames, 55, 3))
    for name in ("spine1", "spine3", "left_shoulder", "right_shoulder", "left_elbow", "neck"):
        waves = rng.normal(0, 0.25, 3)
        poses[:, JOINT_NAMES.index(name)] = np.sin(2 * np.pi * 0.7 * t + rng.uniform(0, 6))[:, None] * waves
    return poses


def standing(frames=60, seed=0, heading=0.0, name="stand"):
    poses = made_poses(frames, seed)
    poses[:, 0] = [0, heading, 0]
    height = -float(BODY.v_template[:, 1].min())
    trans = np.tile([0.3, height, -0.2], (frames, 1))
    return Clip(name, "made", "CC0", "stand", "test", FPS, poses, trans)


def write_amass(path, poses, trans, fps=FPS, up=None, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"poses": poses.reshape(len(poses), -1), "trans": trans, "mocap_frame_rate": fps, "betas": np.zeros(10)}
    if up:
        arrays["up_axis"] = up
    np.savez(path, **(arrays | more))


def joints_of(clip):
    return BODY.astype(np.float64).with_shape().with_pose(clip.poses, clip.trans_m).joints_m


def own_rest(folder, scale=1.0):
    np.savez(folder / "rest_skeleton.npz", joints_m=J0 * scale, parents=PARENTS, joint_names=np.array(JOINT_NAMES))


def test_z_up_and_y_up_files_are_the_same_motion(tmp_path):
    clip = standing()
    rotated = clip.poses.copy()
    rotated[:, 0] = (Rotation.from_matrix(TO_Z_UP) * Rotation.from_rotvec(clip.poses[:, 0])).as_rotvec()
    for name, poses, pelvis, up in (
        ("y", clip.poses, clip.trans_m + J0[0], "y"),
        ("z", rotated, (clip.trans_m + J0[0]) @ TO_Z_UP.T, None),
    ):
        folder = tmp_path / name
        write_amass(folder / "set" / "a.npz", poses, pelvis - J0[0], up=up)
        own_rest(folder)
    a, b = (read_clip(list_clips(tmp_path / n)[0]) for n in ("y", "z"))
    np.testing.assert_allclose(joints_of(a), joints_of(b), atol=1e-6)
    np.testing.assert_allclose(joints_of(a), joints_of(clip), atol=5e-3)  # sole points against the lowest vertex


def test_smplh_layout_and_older_rate_key(tmp_path):
    clip = standing()
    clip.poses[:, 25:] = np.random.default_rng(3).normal(0, 0.2, (60, 30, 3))
    write_amass(tmp_path / "ACCAD" / "x.npz", clip.poses, clip.trans_m, up="y", surface_model_type="smplx")
    without_face = np.delete(clip.poses, (22, 23, 24), axis=1).reshape(60, 156)
    path = tmp_path / "SSM_synced" / "h_poses.npz"
    path.parent.mkdir()
    np.savez(path, poses=without_face, trans=clip.trans_m, mocap_framerate=FPS, up_axis="y")
    np.savez(tmp_path / "SSM_synced" / "shape.npz", betas=np.zeros(16))
    entries = list_clips(tmp_path)
    assert [(e.source, e.split) for e in entries] == [("ACCAD", "train"), ("SSM_synced", "test")]
    x, h = (read_clip(e) for e in entries)
    np.testing.assert_allclose(x.poses, h.poses, atol=1e-9)
    assert h.fps == FPS
    assert not entries[0].permissive


def test_places_scale_with_the_legs_and_the_floor_is_found(tmp_path):
    clip = standing()
    steps = np.linspace(0, 2, 60)[:, None] * [1.0, 0, 0]
    scale = 1.25
    pelvis = (clip.trans_m + J0[0] + steps) * scale + [0, 0.4, 0]
    write_amass(tmp_path / "s" / "a.npz", clip.poses, pelvis - J0[0] * scale, up="y")
    own_rest(tmp_path, scale)
    read = read_clip(list_clips(tmp_path)[0])
    np.testing.assert_allclose(np.ptp(read.trans_m[:, 0]), 2.0, atol=1e-6)
    np.testing.assert_allclose(read.poses, clip.poses, atol=1e-6)
    assert abs(np.median(sole_heights_m(read).min(1))) < 1e-6


@pytest.mark.parametrize("fps", [60.0, 120.0])
def test_resampling_there_and_back(fps):
    clip = standing()
    again = resample(resample(clip, fps), FPS)
    assert again.frames == clip.frames
    np.testing.assert_allclose(again.poses, clip.poses, atol=1e-9)
    np.testing.assert_allclose(again.trans_m, clip.trans_m, atol=1e-12)


def test_resampling_is_exact_for_a_steady_turn():
    clip = standing(31)
    clip.poses[:, 0] = np.outer(np.arange(31), [0.0, 0.05, 0.0])
    poses, _ = at_times(clip, np.array([0.0, 0.01, 0.5, 99.0]))
    np.testing.assert_allclose(poses[:, 0, 1], [0.0, 0.015, 0.75, 1.5], atol=1e-9)


def test_smoothing_keeps_slow_motion_and_takes_out_noise():
    clip = standing(90)
    noisy = replace(clip, trans_m=clip.trans_m + np.random.default_rng(0).normal(0, 0.004, (90, 3)))
    np.testing.assert_allclose(smoothed(clip).poses, clip.poses, atol=2e-3)

    def jerk(c):
        return np.abs(np.diff(c.trans_m, 3, axis=0)).mean()

    assert jerk(smoothed(noisy)) < 0.5 * jerk(noisy)


def test_another_shape_stands_on_the_floor():
    betas = np.array([2.0, -1.5, 1.0, 0.5, 0, 0, 0, 0, 0, 0])
    clip = standing()
    fitted = on_shape(clip, BODY, betas)
    assert abs(np.median(sole_heights_m(fitted, BODY, betas).min(1))) < 1e-6
    ratio = leg_m(np.asarray(BODY.rest_joints(betas), np.float64)) / leg_m(J0)
    moved = replace(clip, trans_m=clip.trans_m + np.linspace(0, 1, 60)[:, None] * [0, 0, 1])
    assert np.ptp(on_shape(moved, BODY, betas).trans_m[:, 2]) == pytest.approx(ratio)


def test_errors_name_the_file_and_what_to_do(tmp_path):
    with pytest.raises(HmcapError, match="nothing there"):
        list_clips(tmp_path / "none")
    with pytest.raises(HmcapError, match="no npz"):
        list_clips(tmp_path)
    clip = standing(10)
    bad = clip.poses.copy()
    bad[3, 4] = np.nan
    write_amass(tmp_path / "s" / "nan.npz", bad, clip.trans_m, up="y")
    with pytest.raises(HmcapError, match=r"nan\.npz.*NaN"):
        read_clip(list_clips(tmp_path)[0])
    np.savez(tmp_path / "s" / "nan.npz", joints=np.zeros(3))
    with pytest.raises(HmcapError, match=r"nan\.npz.*lacks poses"):
        read_clip(list_clips(tmp_path)[0])
    write_amass(tmp_path / "s" / "nan.npz", clip.poses[:, :20], clip.trans_m, up="y")
    with pytest.raises(HmcapError, match=r"\(T, 165\)"):
        read_clip(list_clips(tmp_path)[0])
    (tmp_path / "INDEX.tsv").write_text("source\tclip\tlicence\tsplit\ns\tgone\tCC0\ttest\n", encoding="utf-8")
    with pytest.raises(HmcapError, match=r"gone\.npz"):
        list_clips(tmp_path)
    (tmp_path / "INDEX.tsv").write_text("source\tclip\ns\tnan\n", encoding="utf-8")
    with pytest.raises(HmcapError, match="licence, split"):
        list_clips(tmp_path)


def test_the_index_says_split_and_licence(tmp_path):
    clip = standing(10)
    for name in ("a", "b", "c"):
        write_amass(tmp_path / "s" / f"{name}.npz", clip.poses, clip.trans_m, up="y")
    rows = "s\ta\tCC-BY-NC-4.0\ttrain\ns\tb\tMIT / CMU-free\ttest\n"
    (tmp_path / "INDEX.tsv").write_text("source\tclip\tlicence\tsplit\n" + rows, encoding="utf-8")
    entries = list_clips(tmp_path)
    assert [(e.name, e.split, e.permissive) for e in entries] == [("a", "train", False), ("b", "test", True)]


def test_contact_by_hand():
    y = np.full((30, 4), 0.01)
    x = np.zeros((30, 4))
    y[10:20, 0] = 0.2  # lifted
    x[:, 1] = np.arange(30) * 0.6 / FPS  # slides at 0.6 m/s
    y[:, 2] = 0.045  # between the heights: never lands, so never touches
    y[:, 3] = np.clip(0.01 + 0.005 * (np.arange(30) - 5), 0.01, 0.045)  # landed before, so goes on
    feet = np.stack([x, y, np.zeros((30, 4))], axis=-1)
    labels = contact_labels(feet, FPS)
    assert labels[:9, 0].all()
    assert not labels[10:20, 0].any()
    assert labels[21:, 0].all()
    assert not labels[:, 1].any()
    assert not labels[:, 2].any()
    assert labels[:, 3].all()


def test_contact_does_not_depend_on_the_frame_rate():
    t60 = np.arange(240) / 60
    height = 0.02 + 0.15 * np.clip(np.sin(2 * np.pi * 0.5 * t60), 0, None)
    feet = np.stack([0 * t60, height, 0 * t60], -1)[:, None].repeat(4, 1)
    at60, at30 = contact_labels(feet, 60.0)[::2], contact_labels(feet[::2], 30.0)
    assert (at60 != at30).mean() < 0.03
    assert 0.3 < at30.mean() < 0.7


def test_mirroring_twice_is_nothing_and_once_is_the_mirror_image():
    clip = standing(seed=4, heading=0.4)
    assert np.array_equal(mirrored(mirrored(clip)).poses, clip.poses)
    swap = [JOINT_NAMES.index({"left": "right", "right": "left"}[n[: n.index("_")]] + n[n.index("_") :])
            if n.startswith(("left_", "right_")) else i for i, n in enumerate(JOINT_NAMES)]  # fmt: skip
    expected = joints_of(clip)[:, swap] * [-1, 1, 1]
    np.testing.assert_allclose(joints_of(mirrored(clip)), expected, atol=2e-3)  # the body is symmetric within this


def test_turning_turns_every_joint():
    clip = standing(5)
    R = Rotation.from_rotvec([0, 0.7, 0])
    expected = R.apply(joints_of(clip).reshape(-1, 3)).reshape(5, 55, 3) + np.array([1.0, 0, 2.0])
    np.testing.assert_allclose(joints_of(turned(clip, 0.7, np.array([1.0, 0, 2.0]))), expected, atol=1e-9)
    np.testing.assert_allclose(heading_rad(turned(clip, 0.7).poses), 0.7, atol=1e-9)


def test_joined_clips_go_over_without_a_jump_and_without_sliding():
    first, second = standing(60, 1), standing(60, 2, heading=2.0, name="other")
    take = join(first, second)
    assert take.name == "stand+other"
    assert 60 < take.frames < 120
    step = np.linalg.norm(np.diff(joints_of(take), axis=0), axis=-1)
    assert step.max() < 0.12  # arms sway at up to 1 m/s; the two clips' ends lie up to 0.5 m apart
    feet = feet_m(BODY, take.poses, take.trans_m)
    assert np.linalg.norm(np.diff(feet, axis=0), axis=-1).max() < 2e-3
    assert np.ptp(heading_rad(take.poses)) < 1e-6
    np.testing.assert_allclose(take.poses[:20], first.poses[:20], atol=1e-9)


def test_a_take_has_the_frames_asked_for_and_is_repeatable():
    clips = [standing(40, k, heading=k) for k in range(2)]
    a, b = (take_of(clips, 5.0, np.random.default_rng(7)) for _ in range(2))
    assert a.frames == 150
    assert np.array_equal(a.poses, b.poses)
    assert np.array_equal(a.trans_m, b.trans_m)
    with pytest.raises(UsageError, match="at least one clip"):
        take_of([], 1.0)
    with pytest.raises(UsageError, match="longer clips"):
        take_of([part_of(clips[0], 0, 5)], 1.0)


def test_a_curved_way_turns_about_the_standing_feet():
    clip = standing(60)
    way = curved(clip, 0.5)
    assert np.ptp(heading_rad(way.poses)) == pytest.approx(0.5 * 59 / FPS, abs=1e-6)
    middle = feet_m(BODY, way.poses, way.trans_m).mean(1)
    assert np.linalg.norm(middle - middle[0], axis=-1).max() < 5e-3
    assert contact_rig(BODY).names == CONTACT_POINTS


def test_finger_motion_is_a_function_of_the_seed_and_goes_between_key_poses():
    keys = plain_key_poses()
    assert keys.poses.shape[1:] == (15, 3)
    assert np.isfinite(keys.poses).all()
    a, b = (hand_motion(np.random.default_rng(3), 120, FPS, keys) for _ in range(2))
    assert a.shape == (120, 2, 15, 3)
    assert np.array_equal(a, b)
    assert np.abs(np.diff(a, axis=0)).max() * FPS < 25  # rad/s
    still = KeyPoses(np.zeros((1, 15, 3)), "none")
    moved = hand_motion(np.random.default_rng(3), 600, FPS, still, "independent")
    assert moved[..., 2].std() < 0.5


def test_mirrored_hands_are_mirror_images_but_for_noise():
    hands = hand_motion(np.random.default_rng(5), 90, FPS, plain_key_poses(), "mirrored")
    assert np.abs(mirror_hand(hands[:, 0]) - hands[:, 1]).mean() < 0.06
    assert np.array_equal(mirror_hand(mirror_hand(hands)), hands)


def test_minimum_jerk_starts_and_ends_at_rest():
    u = np.linspace(0, 1, 1001)
    s = minimum_jerk(u)
    assert s[0] == 0
    assert s[-1] == pytest.approx(1)
    assert s[500] == pytest.approx(0.5)
    assert np.diff(s)[[0, -1]].max() < 1e-8
    assert (np.diff(s) >= 0).all()


def test_key_poses_from_files(tmp_path):
    np.savez(tmp_path / "free.npz", axis_angle=np.zeros((2, 15, 3)), name=np.array(["a", "b"]))
    np.savez(tmp_path / "noncommercial.npz", axis_angle=np.ones((3, 15, 3)))
    assert len(read_key_poses(tmp_path).poses) == 5
    assert len(read_key_poses(tmp_path, permissive=True).poses) == 2
    np.savez(tmp_path / "free.npz", axis_angle=np.full((2, 15, 3), np.nan))
    with pytest.raises(HmcapError, match=r"free\.npz.*NaN"):
        read_key_poses(tmp_path / "free.npz")
    with pytest.raises(HmcapError, match="cannot be read"):
        read_key_poses(tmp_path / "gone.npz")
