"""Exporters: by law (change of frame, unwrapping), by round trip, and against independent readers."""

import dataclasses
import json
import os
import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hmcap.models.body import forward_kinematics, load_body
from hmcap.models.camera import Camera
from hmcap.models.errors import HmcapError, UsageError
from hmcap.models.motion import MotionFrame
from hmcap.models.rotations import axis_angle_to_matrix
from hmcap.models.skeleton import JOINT_NAMES, PARENTS
from hmcap.realtime.exporters import EXPORTERS, bvh, npz
from hmcap.realtime.exporters.ends import bone_ends, floor_height_m
from hmcap.realtime.exporters.euler import continuous_euler_zxy, euler_zxy_to_matrix, matrix_to_euler_zxy
from hmcap.realtime.exporters.files import atomic_path
from hmcap.realtime.exporters.options import ExportOptions
from hmcap.realtime.exporters.prepare import prepare
from hmcap.realtime.exporters.rig import NAMINGS, make_rig
from hmcap.realtime.exporters.track import is_uniform, resample_track, stack_motion, uniform_track, z_up
from hmcap.realtime.take import Take, TakeHeader
from scipy.spatial.transform import Rotation

FPS = 30000 / 1001


def rest_joints() -> np.ndarray:
    """(55, 3) a made-up T-pose with unequal bones, the pelvis off the origin."""
    step = {
        "hip": (0.07, -0.09, -0.01), "knee": (0.03, -0.40, 0.01), "ankle": (-0.01, -0.43, -0.04),
        "foot": (0.04, -0.06, 0.13), "collar": (0.04, 0.09, -0.01), "shoulder": (0.12, 0.04, -0.02),
        "elbow": (0.27, -0.01, -0.03), "wrist": (0.25, 0.01, 0.005), "spine1": (0, 0.11, -0.03),
        "spine2": (0, 0.14, 0.01), "spine3": (0, 0.05, 0.02), "neck": (0, 0.19, -0.04), "head": (0, 0.09, 0.05),
        "jaw": (0, -0.01, 0.02), "eye_smplhf": (0.03, 0.06, 0.07), "pelvis": (0.003, -0.35, 0.012),
        "index": (0.10, 0, 0.03), "middle": (0.11, 0, 0.0), "ring": (0.10, -0.005, -0.02),
        "pinky": (0.09, -0.01, -0.04), "thumb": (0.04, -0.015, 0.04),
    }  # fmt: skip
    joints = np.zeros((55, 3))
    for j, name in enumerate(JOINT_NAMES):
        side, _, part = name.partition("_") if name.startswith(("left_", "right_")) else ("", "", name)
        bone = np.array(step[part] if part in step else step[part[:-1]])
        if part[:-1] in step and part not in step and part[-1] in "23":
            bone = np.array([0.03, 0, 0.005])
        if side == "right":
            bone = bone * (-1, 1, 1)
        joints[j] = bone + (joints[PARENTS[j]] if j else 0)
    return joints


def make_motion(count: int, seed: int = 0, scale: float = 0.6, stamps_s: np.ndarray | None = None) -> list[MotionFrame]:
    """Smooth random motion with large rotations in every joint."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(count, 55, 3)) * scale
    poses = np.cumsum(steps, axis=0) * 0.3 + rng.normal(size=(55, 3)) * 1.5
    trans = np.cumsum(rng.normal(size=(count, 3)) * 0.05, axis=0) + np.array([0, 1.2, 0])
    stamps = np.arange(count) / FPS if stamps_s is None else stamps_s
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler("xyz", [178, 20, 3], degrees=True).as_matrix()
    T[:3, 3] = (0.1, 1.1, 3.5)
    return [
        MotionFrame(
            index=i, stamp_s=float(stamps[i]), present=i % 7 != 3, betas=np.array([0.5, -1.0, 0.2]), poses=poses[i],
            trans_m=trans[i], T_cam_world=T, camera=Camera.from_fov(1280, 720, 60), contact=rng.random(4),
            confidence=rng.random(8), measured=rng.random(8) > 0.3, reprojection_error=1.5,
        )
        for i in range(count)
    ]  # fmt: skip


def make_track(count: int = 60, **kwargs):
    return stack_motion(make_motion(count, **kwargs), lambda betas: rest_joints()[0])


def joint_positions(track, joints_m: np.ndarray) -> np.ndarray:
    """(T, 55, 3) by the body model's own kinematics."""
    return forward_kinematics(axis_angle_to_matrix(track.poses), joints_m, track.trans_m)[1]


@pytest.mark.parametrize("naming", NAMINGS)
def test_bvh_positions_match_an_independent_reader(naming, tmp_path):
    pybvh = pytest.importorskip("pybvh")
    track, joints = make_track(), rest_joints()
    rig = make_rig(joints, naming)
    path = tmp_path / "motion.bvh"
    bvh.save_bvh(bvh.bvh_lines(track, rig, FPS), path)
    read = pybvh.read_bvh_file(path, world_up="+y")
    xyz = joint_positions(track, joints)
    assert read.joint_names == list(rig.names)
    error_mm = np.abs(read.joint_positions() * 10 - xyz[:, list(rig.joints)] * 1000).max()
    assert error_mm < 0.1, f"an independent reader puts a joint {error_mm:.4f} mm from our forward kinematics"
    assert error_mm < 0.001
    assert abs(read.fps - FPS) < 1e-4


@pytest.mark.parametrize("naming", NAMINGS)
def test_bvh_round_trip(naming):
    track, joints = make_track(), rest_joints()
    rig = make_rig(joints, naming)
    read = bvh.read_bvh(bvh.motion_to_bvh(track, rig, FPS))
    xyz = joint_positions(track, joints)
    assert read.names == rig.names
    assert read.parents == rig.parents
    assert np.abs(read.positions_m() - xyz[:, list(rig.joints)]).max() < 1e-6
    R = Rotation.from_rotvec(track.poses[:, list(rig.joints)].reshape(-1, 3)).as_matrix()
    assert np.abs(read.R_parent_joint.reshape(-1, 3, 3) - R).max() < 1e-7
    assert read.tips_m.keys() == rig.tips_m.keys()
    assert read.frame_time_s * FPS == pytest.approx(1, abs=1e-8)


def test_bvh_rest_pose_stands_at_real_height_in_a_t_pose():
    joints = rest_joints()
    text = bvh.motion_to_bvh(make_track(3), make_rig(joints, "mixamo"), FPS, t_pose_frame=True)
    read = bvh.read_bvh(text)
    assert len(read.root_m) == 4
    rest = read.positions_m()[0]
    at = dict(zip(read.names, rest, strict=True))
    tips = [rest[row] + tip for row, tip in read.tips_m.items()]
    assert min(p[1] for p in [*rest, *tips]) == pytest.approx(0, abs=1e-6)
    assert at["Hips"][1] == pytest.approx(joints[0, 1] - joints[10, 1], abs=0.03)
    assert np.allclose(read.offsets_m[0], at["Hips"], atol=1e-7)
    assert np.all(read.channels_deg[0] == 0)
    assert abs(at["LeftHand"][1] - at["LeftArm"][1]) < 0.05
    assert at["LeftHand"][0] - at["LeftArm"][0] > 0.4
    assert at["RightHand"][0] - at["RightArm"][0] < -0.4


def test_bvh_text_form():
    track = make_track(5)
    text = bvh.motion_to_bvh(track, make_rig(rest_joints(), "mixamo"), FPS)
    assert text.endswith("\n")
    assert "\r" not in text
    assert "," not in text
    assert "nan" not in text.lower().replace("channels", "")
    assert text.count("{") == text.count("}")
    assert "CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation" in text
    assert text.count("End Site") == 2 * 5 + 2 + 1
    names = re.findall(r"(?:ROOT|JOINT) (\S+)", text)
    assert len(names) == 52
    assert names[0] == "Hips"
    assert set(names) == set(NAMINGS["mixamo"].values())
    assert not {n for n in names if "aw" in n or "ye" in n}
    broken = dataclasses.replace(track, poses=np.full_like(track.poses, np.nan))
    with pytest.raises(HmcapError, match="NaN"):
        bvh.motion_to_bvh(broken, make_rig(rest_joints(), "mixamo"), FPS)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda t: "x" + t, "HIERARCHY"),
        (lambda t: t.replace("Zrotation Xrotation Yrotation", "Xrotation Yrotation Zrotation"), "channels"),
        (lambda t: t[:-30], "numbers"),
        (lambda t: t.replace("Frame Time", "Time"), "Frame Time"),
    ],
)
def test_bvh_reader_says_what_is_wrong(damage, says):
    text = bvh.motion_to_bvh(make_track(3), make_rig(rest_joints(), "mixamo"), FPS)
    with pytest.raises(HmcapError, match=says):
        bvh.read_bvh(damage(text))


def test_euler_is_the_listed_intrinsic_order():
    angles = np.random.default_rng(1).uniform(-np.pi, np.pi, (200, 3))
    ours = euler_zxy_to_matrix(angles)
    assert np.abs(ours - Rotation.from_euler("ZXY", angles).as_matrix()).max() < 1e-12
    back, _ = matrix_to_euler_zxy(ours)
    assert np.abs(euler_zxy_to_matrix(back) - ours).max() < 1e-12


def through_the_pole(sign: float) -> np.ndarray:
    """A track whose middle angle passes exactly through +-90 degrees and beyond, with some frames on the pole."""
    middle = sign * np.radians(np.concatenate((np.linspace(60, 90, 16), np.full(5, 90.0), np.linspace(90, 130, 21))))
    outer = np.radians(np.linspace(-170, 200, len(middle)))
    return euler_zxy_to_matrix(np.stack((outer, middle, 0.5 * outer), axis=-1))


@pytest.mark.parametrize(
    "R",
    [
        through_the_pole(1.0),
        through_the_pole(-1.0),
        Rotation.from_euler("Y", np.linspace(0, 1500, 90)[:, None], degrees=True).as_matrix(),
        Rotation.from_euler("X", np.linspace(0, -900, 61)[:, None], degrees=True).as_matrix(),
        Rotation.from_rotvec(np.random.default_rng(2).normal(size=(300, 3)) * 2).as_matrix(),
        Rotation.from_euler("ZXY", [(a, b, c) for a in (0, 90, 180) for b in (90, -90) for c in (0, 45, 180)], True)
        .as_matrix(),
    ],
    ids=["pole+", "pole-", "spin", "somersault", "noise", "on the pole"],
)  # fmt: skip
def test_unwrapped_euler_never_jumps_and_stays_the_same_rotation(R):
    angles = continuous_euler_zxy(R)
    assert np.isfinite(angles).all()
    assert np.abs(euler_zxy_to_matrix(angles) - R).max() < 3e-6
    assert np.abs(np.diff(angles, axis=0)).max() <= np.pi + 1e-9


def test_unwrapped_euler_follows_a_smooth_track_smoothly():
    spin = continuous_euler_zxy(Rotation.from_euler("Y", np.linspace(0, 1500, 200)[:, None], degrees=True).as_matrix())
    assert np.degrees(spin[-1, 2]) == pytest.approx(1500)
    somersault = continuous_euler_zxy(
        Rotation.from_euler("X", np.linspace(0, 700, 200)[:, None], degrees=True).as_matrix()
    )
    assert np.abs(np.diff(np.degrees(somersault), axis=0)).max() < 5
    pole = continuous_euler_zxy(through_the_pole(1.0))
    assert np.abs(np.diff(np.degrees(pole), axis=0)).max() < 60


def test_a_uniform_track_is_untouched():
    track = make_track(40)
    assert uniform_track(track, FPS) is track
    rounded = dataclasses.replace(track, stamps_s=np.round(track.stamps_s, 3))
    assert uniform_track(rounded, FPS) is rounded
    assert not is_uniform(track.stamps_s, 30.5)


def test_variable_rate_is_resampled_by_stamp():
    rng = np.random.default_rng(4)
    stamps = 2.0 + np.cumsum(rng.uniform(0.02, 0.09, 80))
    turn = np.array([0.3, 1.1, -0.4])  # radians a second, so interpolation must be exact
    motion = [
        dataclasses.replace(
            f, poses=np.tile(turn * (s - 2.0), (55, 1)), trans_m=np.array([1.0, 0.5, -2.0]) * s, stamp_s=float(s)
        )
        for f, s in zip(make_motion(80, stamps_s=stamps), stamps, strict=True)
    ]
    track = stack_motion(motion, lambda betas: np.zeros(3))
    out = uniform_track(track, 30.0)
    assert np.allclose(np.diff(out.stamps_s), 1 / 30)
    assert out.stamps_s[0] == stamps[0]
    assert 0 <= stamps[-1] - out.stamps_s[-1] < 1 / 30
    R = Rotation.from_rotvec(out.poses[:, 7]) * Rotation.from_rotvec(turn * (out.stamps_s - 2.0)[:, None]).inv()
    assert R.magnitude().max() < 1e-9
    assert np.abs(out.trans_m - np.array([1.0, 0.5, -2.0]) * out.stamps_s[:, None]).max() < 1e-9
    assert np.abs(out.T_cam_world - track.T_cam_world[0]).max() < 1e-9
    same = resample_track(track, stamps)
    assert np.abs(same.contact - track.contact).max() < 1e-12
    assert np.array_equal(same.measured, track.measured)
    assert np.array_equal(same.present, track.present)


def test_repeated_stamps_do_not_divide_by_zero():
    stamps = np.array([0.0, 0.1, 0.1, 0.05, 0.2, 0.5])
    out = uniform_track(make_track(6, stamps_s=stamps), 10.0)
    assert len(out) == 6
    assert np.isfinite(out.poses).all()


def test_the_camera_centre_moves_on_a_straight_line():
    a, b = make_motion(2, stamps_s=np.array([0.0, 1.0]))
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler("y", 60, degrees=True).as_matrix()
    T[:3, 3] = (1, 2, 3)
    track = stack_motion([a, dataclasses.replace(b, T_cam_world=T, present=True)], lambda betas: np.zeros(3))
    half = resample_track(track, np.array([0.5])).T_cam_world[0]

    def centre(T):
        return -T[:3, :3].T @ T[:3, 3]

    assert np.allclose(centre(half), (centre(a.T_cam_world) + centre(T)) / 2)
    assert np.allclose(half[:3, :3] @ half[:3, :3].T, np.eye(3))


def test_one_shape_keeps_the_pelvis_where_it_was():
    def rest_pelvis(betas):
        return np.array([0.0, -0.3, 0.0]) + 0.01 * betas[:3]

    motion = make_motion(10)
    motion = [dataclasses.replace(f, betas=f.betas * (1 + 0.1 * f.index), present=True) for f in motion]
    track = stack_motion(motion, rest_pelvis)
    assert np.array_equal(track.betas, motion[-1].betas)
    before = np.array([rest_pelvis(f.betas) + f.trans_m for f in motion])
    assert np.allclose(rest_pelvis(track.betas) + track.trans_m, before)


def test_nobody_in_the_take_is_one_clear_error():
    with pytest.raises(HmcapError, match="nothing to export"):
        stack_motion([dataclasses.replace(f, present=False) for f in make_motion(4)], lambda betas: np.zeros(3))
    broken = [dataclasses.replace(f, trans_m=np.array([0, np.nan, 0])) for f in make_motion(4)]
    with pytest.raises(HmcapError, match="trans_m"):
        stack_motion(broken, lambda betas: np.zeros(3))


def test_z_up_is_a_true_change_of_frame():
    track, joints = make_track(20), rest_joints()
    turned = z_up(track, joints[0])
    y_up_xyz = joint_positions(track, joints)
    z_up_xyz = joint_positions(turned, joints)
    x, y, z = np.moveaxis(y_up_xyz, -1, 0)
    assert np.abs(z_up_xyz - np.stack((x, -z, y), axis=-1)).max() < 1e-12

    def in_camera(T, xyz):
        return np.einsum("tij,tkj->tki", T[:, :3, :3], xyz) + T[:, None, :3, 3]

    assert np.abs(in_camera(turned.T_cam_world, z_up_xyz) - in_camera(track.T_cam_world, y_up_xyz)).max() < 1e-12


def test_npz_reads_back(tmp_path):
    track = make_track(50)
    path = tmp_path / "motion.npz"
    npz.save_npz(npz.track_to_arrays(track, FPS, "y"), path)
    with np.load(path, allow_pickle=False) as file:
        data = dict(file)
    assert data["poses"].shape == (50, 165)
    assert np.array_equal(data["poses"].reshape(50, 55, 3), track.poses)
    order = ("root_orient", "pose_body", "pose_jaw", "pose_eye", "pose_hand")
    assert [data[k].shape[1] for k in order] == [3, 63, 3, 6, 90]
    assert np.array_equal(np.concatenate([data[k] for k in order], axis=1), data["poses"])
    assert np.array_equal(data["trans"], track.trans_m)
    assert int(data["num_betas"]) == data["betas"].size == 3
    assert (str(data["gender"]), str(data["surface_model_type"]), str(data["up_axis"])) == ("neutral", "smplx", "y")
    assert float(data["mocap_frame_rate"]) == float(data["mocap_framerate"]) == FPS
    assert float(data["mocap_time_length"]) == pytest.approx(50 / FPS)
    assert bool(data["flat_hand_mean"])
    assert data["contact"].shape == (50, 4)
    assert data["confidence"].shape == data["measured"].shape == (50, 8)
    assert data["T_cam_world"].shape == (50, 4, 4)
    assert data["K"].shape == (50, 3, 3)
    assert not any(v.dtype == object for v in data.values())
    json.dumps({k: v.shape for k, v in data.items()})


def test_no_half_file_is_left(tmp_path):
    path = tmp_path / "deep" / "file.bvh"

    def fail_half_way():
        with atomic_path(path) as part:
            part.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert list(path.parent.iterdir()) == []
    with atomic_path(path) as part:
        part.write_text("whole")
        assert part.suffix == ".bvh"
        assert not path.exists()
    assert [p.name for p in path.parent.iterdir()] == ["file.bvh"]


def test_an_unwritable_folder_is_one_clear_error(tmp_path):
    blocker = tmp_path / "not_a_folder"
    blocker.write_text("x")
    with pytest.raises(HmcapError, match="Expected to be able to write"):
        bvh.save_bvh(["HIERARCHY"], blocker / "out.bvh")


@pytest.mark.parametrize("wrong", [{"joint_names": "maya"}, {"up": "x"}, {"fps": 0.0}, {"fps": float("nan")}])
def test_wrong_options_say_so(wrong):
    with pytest.raises(UsageError, match=r"expects .*found"):
        ExportOptions(**wrong)


def make_take(count: int = 40, fps: float = FPS, **kwargs) -> Take:
    camera = Camera.from_fov(1280, 720, 60)
    header = TakeHeader("clip.mp4", "clip", fps, 1280, 720, camera)
    return Take(header, (), tuple(make_motion(count, **kwargs)))


@pytest.mark.parametrize("name", EXPORTERS)
def test_every_exporter_writes_whole_files(name, tmp_path):
    exporter = EXPORTERS[name]
    try:
        exporter.check()
    except HmcapError as error:
        pytest.skip(str(error))
    path = tmp_path / f"take{exporter.suffix}"
    exporter.export(prepare(make_take(), ExportOptions()), path)
    written = sorted(exporter.files(path))
    assert sorted(tmp_path.iterdir()) == written
    assert min(p.stat().st_size for p in written) > 1000
    nobody = Take(make_take().header, (), tuple(dataclasses.replace(f, present=False) for f in make_motion(3)))
    with pytest.raises(HmcapError, match="nothing to export"):
        exporter.export(prepare(nobody, ExportOptions()), tmp_path / f"nobody{exporter.suffix}")
    assert sorted(tmp_path.iterdir()) == written


@pytest.mark.parametrize("naming", NAMINGS)
def test_a_take_as_bvh_stands_and_moves_as_the_body_does(naming, tmp_path):
    pybvh = pytest.importorskip("pybvh")
    take = make_take()
    EXPORTERS["bvh"].export(prepare(take, ExportOptions(joint_names=naming)), tmp_path / "take.bvh")
    read = pybvh.read_bvh_file(tmp_path / "take.bvh", world_up="+y")
    body = load_body().astype(np.float64).with_shape(take.motion[0].betas)
    to_ours = {theirs: JOINT_NAMES.index(ours) for ours, theirs in NAMINGS[naming].items()}
    poses, trans = (np.array([getattr(f, k) for f in take.motion]) for k in ("poses", "trans_m"))
    xyz_mm = body.with_pose(poses, trans).joints_m[:, [to_ours[n] for n in read.joint_names]] * 1000
    error_mm = np.abs(read.joint_positions() * 10 - xyz_mm).max()
    assert error_mm < 0.1, f"the BVH puts a joint {error_mm:.3f} mm from the body's"
    rest_cm = read.rest_pose_positions()  # this reader puts the hips of its rest pose at the origin
    hips_cm = body.joints_m[0, 1] * 100 - body.vertices_m()[:, 1].min() * 100
    assert read.nodes[0].offset[1] == pytest.approx(hips_cm, abs=0.01)
    assert 60 < hips_cm < 130
    assert 0 < rest_cm[:, 1].min() + hips_cm < 5
    if naming == "mixamo":  # with SMPL-X names the head ends in jaw and eyes
        assert np.ptp(rest_cm[:, 1]) == pytest.approx(np.ptp(body.vertices_m()[:, 1]) * 100, abs=5)


def test_the_body_file_of_the_take_is_used(tmp_path):
    take = make_take(3)
    gone = dataclasses.replace(take.header, settings={"body": str(tmp_path / "gone.npz")})
    with pytest.raises(HmcapError, match=r"gone\.npz"):
        EXPORTERS["bvh"].export(prepare(dataclasses.replace(take, header=gone), ExportOptions()), tmp_path / "a.bvh")
    odd = dataclasses.replace(take.header, settings={"body": {"x": 1}})
    with pytest.raises(HmcapError, match="path of a body file"):
        EXPORTERS["npz"].export(prepare(dataclasses.replace(take, header=odd), ExportOptions()), tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


def test_betas_change_the_offsets(tmp_path):
    offsets = []
    for scale in (0.0, 1.5):
        take = make_take(3)
        motion = tuple(dataclasses.replace(f, betas=np.full(10, scale)) for f in take.motion)
        EXPORTERS["bvh"].export(
            prepare(dataclasses.replace(take, motion=motion), ExportOptions()), tmp_path / "take.bvh"
        )
        offsets.append(bvh.read_bvh((tmp_path / "take.bvh").read_text()).offsets_m)
    assert np.abs(offsets[0] - offsets[1]).max() > 0.005


def test_bone_ends_lie_where_a_person_has_them():
    body = load_body().with_shape()
    ends, joints = bone_ends(body), body.joints_m
    at = {name: joints[JOINT_NAMES.index(name)] for name in JOINT_NAMES}
    for side, sign in (("left", 1), ("right", -1)):
        for finger in ("index", "middle", "ring", "pinky"):
            bone = ends[f"{side}_{finger}3"] - at[f"{side}_{finger}3"]
            assert 0.012 < np.linalg.norm(bone) < 0.04, (side, finger)
            assert sign * bone[0] > 0
        toe = ends[f"{side}_foot"] - at[f"{side}_foot"]
        assert 0.03 < toe[2] < 0.13
        assert floor_height_m(body) < ends[f"{side}_foot"][1] < floor_height_m(body) + 0.05
    assert 0.1 < ends["head"][1] - at["head"][1] < 0.3
    assert ends["head"][1] == pytest.approx(body.vertices_m()[:, 1].max(), abs=0.02)


@pytest.mark.parametrize("up", ["y", "z"])
def test_smplx_makes_the_same_joints_from_the_npz(up, tmp_path):
    smplx, torch = pytest.importorskip("smplx"), pytest.importorskip("torch")
    take = make_take(12)
    EXPORTERS["npz"].export(prepare(take, ExportOptions(up=up)), tmp_path / "take.npz")
    with np.load(tmp_path / "take.npz", allow_pickle=False) as file:
        data = {key: file[key] for key in file.files}
    (tmp_path / "SMPLX_NEUTRAL.npz").write_bytes((files("hmcap.models") / "data" / "body.npz").read_bytes())
    model = smplx.create(
        tmp_path / "SMPLX_NEUTRAL.npz", model_type="smplx", num_betas=int(data["num_betas"]), use_pca=False,
        flat_hand_mean=bool(data["flat_hand_mean"]), batch_size=12,
    )  # fmt: skip
    poses = {key: torch.tensor(data[key], dtype=torch.float32) for key in ("root_orient", "pose_body", "pose_jaw")}
    eyes, hands = (torch.tensor(data[key], dtype=torch.float32) for key in ("pose_eye", "pose_hand"))
    theirs = model(
        betas=torch.tensor(data["betas"], dtype=torch.float32).expand(12, -1), global_orient=poses["root_orient"],
        body_pose=poses["pose_body"], jaw_pose=poses["pose_jaw"], leye_pose=eyes[:, :3], reye_pose=eyes[:, 3:],
        left_hand_pose=hands[:, :45], right_hand_pose=hands[:, 45:],
        transl=torch.tensor(data["trans"], dtype=torch.float32),
    ).joints.detach().numpy()[:, :55]  # fmt: skip
    body = load_body().with_shape(take.motion[0].betas)
    ours = np.array([body.with_pose(f.poses, f.trans_m).joints_m for f in take.motion])
    if up == "z":
        ours = np.stack((ours[..., 0], -ours[..., 2], ours[..., 1]), axis=-1)
    assert np.abs(theirs - ours).max() < 1e-4
    assert str(data["up_axis"]) == up


def test_a_variable_rate_take_is_written_evenly(tmp_path):
    stamps = np.cumsum(np.random.default_rng(0).uniform(0.02, 0.08, 60))
    take = make_take(60, fps=20.0, stamps_s=stamps)
    EXPORTERS["npz"].export(prepare(take, ExportOptions()), tmp_path / "take.npz")
    EXPORTERS["bvh"].export(prepare(take, ExportOptions(fps=60.0, t_pose_frame=True)), tmp_path / "take.bvh")
    with np.load(tmp_path / "take.npz", allow_pickle=False) as data:
        assert np.allclose(np.diff(data["stamps_s"]), 1 / 20)
        assert float(data["mocap_frame_rate"]) == 20.0
        assert len(data["poses"]) == int((stamps[-1] - stamps[0]) * 20 + 0.1) + 1
    read = bvh.read_bvh((tmp_path / "take.bvh").read_text())
    assert read.frame_time_s == pytest.approx(1 / 60)
    assert len(read.root_m) == int((stamps[-1] - stamps[0]) * 60 + 0.1) + 2


@pytest.mark.skipif("HMCAP_DATA" not in os.environ, reason="HMCAP_DATA does not name a folder with mocap/")
def test_recorded_motion_as_bvh(tmp_path):
    pybvh = pytest.importorskip("pybvh")
    clips = sorted(Path(os.environ["HMCAP_DATA"], "mocap").glob("*/*.npz"))[::400]
    assert clips
    body = load_body().astype(np.float64).with_shape()
    for clip in clips:
        with np.load(clip, allow_pickle=False) as data:
            poses, trans = data["poses"].astype(np.float64).reshape(-1, 55, 3), data["trans"].astype(np.float64)
        motion = [
            dataclasses.replace(f, poses=p, trans_m=t, betas=np.zeros(10))
            for f, p, t in zip(make_motion(len(poses), stamps_s=np.arange(len(poses)) / 30), poses, trans, strict=True)
        ]
        take = dataclasses.replace(make_take(fps=30.0), motion=tuple(motion))
        EXPORTERS["bvh"].export(prepare(take, ExportOptions()), tmp_path / "clip.bvh")
        read = pybvh.read_bvh_file(tmp_path / "clip.bvh", world_up="+y")
        rows = [JOINT_NAMES.index(o) for n in read.joint_names for o, t in NAMINGS["mixamo"].items() if t == n]
        xyz_mm = body.with_pose(poses, trans).joints_m[:, rows] * 1000
        assert np.abs(read.joint_positions() * 10 - xyz_mm).max() < 0.1, clip.name
        channels_deg = bvh.read_bvh((tmp_path / "clip.bvh").read_text()).channels_deg
        assert np.abs(np.diff(channels_deg, axis=0)).max() <= 180, clip.name
