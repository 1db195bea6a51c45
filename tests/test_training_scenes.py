"""Training scenes: kinematics, feet on the floor, windows of the motion bank, and virtual cameras."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hmcap.models.body import load_body  # noqa: E402
from hmcap.models.errors import HmcapError  # noqa: E402
from hmcap.models.markers import blazepose_rig, contact_rig, proxy_rig, sole_rig  # noqa: E402
from hmcap.models.proxies import PROXY_NAMES  # noqa: E402
from hmcap.models.rotations import axis_angle_to_quaternion, matrix_to_axis_angle  # noqa: E402
from hmcap.models.skeleton import JOINT_NAMES  # noqa: E402
from hmcap.tools.motions.hand_motion import hand_motion, plain_key_poses  # noqa: E402
from hmcap.tools.motions.virtual_cameras import (  # noqa: E402
    DISTANCE_RANGE_M,
    FOV_RANGE_DEG,
    FRAMINGS,
    HEIGHT_RANGE_M,
    IMAGE_SIZES_PX,
    MAX_ROLL_DEG,
    PITCH_RANGE_DEG,
)
from hmcap.tools.training.bank_files import Bank, Clips  # noqa: E402
from hmcap.tools.training.cameras import CameraSettings, draw_cameras  # noqa: E402
from hmcap.tools.training.draws import Draws  # noqa: E402
from hmcap.tools.training.people import PeopleSettings  # noqa: E402
from hmcap.tools.training.scenes import SceneMaker, SceneSettings  # noqa: E402
from hmcap.tools.training.windows import MotionWindows, mirrored_body  # noqa: E402

BODY = load_body()
J = JOINT_NAMES.index
SKATE_M_S = 0.15
CLIPS = (150, 90, 30, 200)
UNTOUCHED = PeopleSettings(mirrored=0.0, other_upper_body=0.0, perturbation=0.0, lowered=0.0)


def mirror_name(name):
    for a, b in (("left", "right"), ("right", "left")):
        if name.startswith(f"{a}_"):
            return b + name[len(a) :]
    return name


def stepping(frames, seed):
    """Somebody who lifts one foot after the other and waves, skating a little: poses, pelvis, contact."""
    rng = np.random.default_rng(seed)
    t = np.arange(frames) / 30.0
    poses = np.zeros((frames, 22, 3))
    phase = rng.uniform(0, 6.28)
    contact = np.ones((frames, 4), bool)
    for k, side in enumerate(("left", "right")):
        lift = np.maximum(np.sin(2 * np.pi * 0.5 * t + phase + np.pi * k), 0) ** 2
        poses[:, J(f"{side}_hip"), 0] = -0.1 - 0.9 * lift
        poses[:, J(f"{side}_knee"), 0] = 0.2 + 1.2 * lift
        poses[:, J(f"{side}_ankle"), 0] = -0.1 - 0.3 * lift
        contact[lift > 1e-3, 2 * k : 2 * k + 2] = False
    for name in ("spine1", "neck", "left_shoulder", "right_shoulder", "left_elbow", "right_wrist"):
        poses[:, J(name)] += 0.4 * np.sin(2 * np.pi * 0.4 * t + rng.uniform(0, 6))[:, None] * rng.normal(0, 1, 3)
    poses[:, J("left_shoulder"), 2] -= 0.9
    poses[:, J("right_shoulder"), 2] += 0.9
    heading = rng.uniform(-3, 3)
    poses[:, 0] = [0, heading, 0]
    full = np.zeros((frames, 55, 3))
    full[:, :22] = poses
    posed = BODY.astype(np.float64).with_shape().with_pose(full, np.zeros((frames, 3)))
    pelvis = posed.joints_m[:, 0].copy()
    pelvis[:, 1] -= sole_rig(BODY).in_world_m(posed)[..., 1].min(1)
    pelvis[:, 0] += SKATE_M_S * t
    return poses, pelvis, contact


@pytest.fixture(scope="module")
def bank():
    made = [stepping(n, i) for i, n in enumerate(CLIPS)]
    rng = np.random.default_rng(0)
    hands = np.concatenate([hand_motion(rng, n, 30.0, plain_key_poses())[:, 1] for n in (100, 25)])
    frames = np.array(CLIPS)
    body_clips = Clips(
        np.cumsum(frames) - frames, frames, frames / frames.sum(), ("made",) * 4, ("made",) * 4, ("",) * 4
    )
    hand_clips = Clips(
        np.array([0, 100]), np.array([100, 25]), np.array([0.8, 0.2]), ("made",) * 2, ("made",) * 2, ("",) * 2
    )
    total = int(frames.sum())
    return Bank(
        Path("made"),
        30.0,
        "train",
        "all",
        0,
        {},
        np.concatenate([axis_angle_to_quaternion(p) for p, _, _ in made]).astype(np.float16),
        np.concatenate([p for _, p, _ in made]).astype(np.float32),
        np.concatenate([c for _, _, c in made]),
        np.full(total, 1 / total, np.float32),
        axis_angle_to_quaternion(hands).astype(np.float16),
        body_clips,
        hand_clips,
    )


def scene_of(bank, seed=0, takes=8, frames=60, settings=None):
    maker = SceneMaker(bank, BODY, settings=SceneSettings(people=settings or PeopleSettings()))
    return maker.draw(torch.Generator().manual_seed(seed), takes, frames)


@pytest.fixture(scope="module")
def scene(bank):
    return scene_of(bank, takes=24, frames=64)


def in_camera(scene, points):
    T = scene.T_cam_world[:, :, None]
    return (T[..., :3, :3] @ points[..., None])[..., 0] + T[..., :3, 3]


def test_the_record_has_the_shapes_and_types_it_says(scene):
    shapes = {
        "betas": (24, 10), "rest_joints_m": (24, 55, 3), "R_local": (24, 64, 55, 3, 3),
        "joints_world_m": (24, 64, 55, 3), "proxies_world_m": (24, 64, 67, 3), "landmarks_world_m": (24, 64, 33, 3),
        "feet_world_m": (24, 64, 4, 3), "contact": (24, 64, 4), "T_cam_world": (24, 64, 4, 4), "static": (24,),
        "focal_px": (24,), "image_size_px": (24, 2),
    }  # fmt: skip
    for name, shape in shapes.items():
        value = getattr(scene, name)
        assert tuple(value.shape) == shape, name
        assert value.dtype == (torch.bool if name == "static" else torch.float32), name
        assert torch.isfinite(value.to(torch.float32)).all(), name


def test_the_kinematics_are_those_of_the_body_model(scene):
    body = BODY.astype(np.float64)
    for take in range(0, 24, 5):
        shaped = body.with_shape(scene.betas[take].numpy().astype(np.float64))
        np.testing.assert_allclose(scene.rest_joints_m[take], shaped.joints_m, atol=1e-6)
        poses = matrix_to_axis_angle(scene.R_local[take].numpy().astype(np.float64))
        trans = scene.joints_world_m[take, :, 0].numpy() - shaped.joints_m[0]
        posed = shaped.with_pose(poses, trans)
        np.testing.assert_allclose(scene.joints_world_m[take], posed.joints_m, atol=2e-5)
        for rig, name in (
            (proxy_rig, "proxies_world_m"),
            (blazepose_rig, "landmarks_world_m"),
            (contact_rig, "feet_world_m"),
        ):
            np.testing.assert_allclose(getattr(scene, name)[take], rig(BODY).in_world_m(posed), atol=2e-5)


def test_rotations_are_rotations(scene):
    R = scene.R_local
    assert torch.allclose(R @ R.transpose(-1, -2), torch.eye(3).expand_as(R), atol=1e-5)
    assert torch.allclose(torch.linalg.det(R), torch.ones(R.shape[:-2]), atol=1e-5)
    assert torch.equal(R[:, :, 22:25], torch.eye(3).expand(24, 64, 3, 3, 3))


def test_the_same_generator_gives_the_same_scene(bank):
    torch.manual_seed(1)
    a = scene_of(bank, 3, takes=4, frames=40)
    torch.manual_seed(2)
    b, c = scene_of(bank, 3, takes=4, frames=40), scene_of(bank, 4, takes=4, frames=40)
    for f in fields(a):
        assert torch.equal(getattr(a, f.name), getattr(b, f.name)), f.name
    assert not torch.equal(a.joints_world_m, c.joints_world_m)


def test_a_mirrored_scene_is_the_mirror_image(bank):
    settings = replace(UNTOUCHED, mirrored_hands=1.0)
    plain = scene_of(bank, 5, settings=settings)
    image = scene_of(bank, 5, settings=replace(settings, mirrored=1.0))
    across = torch.tensor([-1.0, 1.0, 1.0])
    for name, names in (
        ("joints_world_m", JOINT_NAMES),
        ("proxies_world_m", PROXY_NAMES),
        ("feet_world_m", contact_rig(BODY).names),
    ):
        swap = [names.index(mirror_name(n)) for n in names]
        assert torch.allclose(getattr(image, name)[:, :, swap] * across, getattr(plain, name), atol=1e-5), name
    assert torch.equal(image.contact[:, :, [2, 3, 0, 1]], plain.contact)


def test_mirroring_twice_changes_nothing(bank):
    windows = MotionWindows(bank, torch.device("cpu"))
    draws = Draws(torch.Generator().manual_seed(0), torch.device("cpu"))
    motion = windows.body(windows.draw_body(draws, 3, 20, torch.ones(3)))
    twice = mirrored_body(mirrored_body(motion))
    for name in ("q", "pelvis_m", "contact"):
        assert torch.equal(getattr(twice, name), getattr(motion, name))


def slip_m_s(scene):
    """Speed over the ground of each foot's standing points, their mean; of all frames in which something stands."""
    contact = scene.contact.reshape(*scene.contact.shape[:2], 2, 2)
    feet = scene.feet_world_m.reshape(*contact.shape, 3)
    both = (contact[:, 1:] * contact[:, :-1])[..., None]
    step = ((feet[:, 1:] - feet[:, :-1])[..., [0, 2]] * both).sum(3) / both.sum(3).clamp_min(1)
    return 30.0 * step.norm(dim=-1)[both.sum((3, 4)) > 0]


def test_feet_that_stand_are_on_the_floor_and_stay_there(scene):
    assert 0.4 < scene.contact.mean() < 0.95
    height = scene.feet_world_m[..., 1]
    standing = height[scene.contact > 0]
    # The points of a bare sole lie within a centimetre of its lowest.
    assert standing.abs().quantile(0.95) < 0.015
    assert height.min() > -0.02
    slip = slip_m_s(scene)
    assert slip.median() < 0.1 * SKATE_M_S
    assert slip.quantile(0.9) < 0.4 * SKATE_M_S


def test_the_carriage_of_the_pelvis_leaves_the_feet_alone(bank):
    plain = scene_of(bank, 6, settings=UNTOUCHED)
    held = scene_of(bank, 6, settings=replace(UNTOUCHED, perturbation=1.0, lowered=1.0))
    moved = (held.joints_world_m[:, :, 0] - plain.joints_world_m[:, :, 0]).norm(dim=-1)
    assert moved.median() > 0.02
    apart = (held.feet_world_m - plain.feet_world_m).norm(dim=-1)
    assert apart.quantile(0.95) < 0.002
    knees = [J("left_knee"), J("right_knee")]
    bend = [s.R_local[:, :, knees].diagonal(dim1=-2, dim2=-1).sum(-1) for s in (held, plain)]
    assert (bend[0] < bend[1]).float().mean() > 0.8  # a lower pelvis bends the knees


def test_shapes_vary_within_their_limit_and_taller_people_have_higher_hips(bank):
    scene = scene_of(bank, 7, takes=40, frames=8, settings=replace(UNTOUCHED, wide_shapes=1.0))
    assert scene.betas.abs().max() <= 2.5
    assert scene.betas.std() > 1.1
    rest = scene.rest_joints_m
    leg = (rest[:, J("left_hip"), 1] - rest[:, J("left_ankle"), 1]).numpy()
    hip = scene.joints_world_m[:, :, 0, 1].amax(1).numpy()
    assert np.corrcoef(leg, hip)[0, 1] > 0.9


def test_windows_stay_within_one_clip_and_show_all_of_it(bank):
    frames = np.array(CLIPS)
    clip = np.repeat(np.arange(4), frames)
    marked = np.stack([100.0 * clip, np.concatenate([np.arange(n) for n in frames]), 0 * clip], axis=1)
    windows = MotionWindows(replace(bank, pelvis=marked.astype(np.float32)), torch.device("cpu"))
    draws = Draws(torch.Generator().manual_seed(0), torch.device("cpu"))
    speed = torch.full((400,), 1.3)
    which, at = windows.body(windows.draw_body(draws, 400, 64, speed)).pelvis_m[:2]
    assert torch.equal(which.amin(1), which.amax(1))
    step = (at[:, 1:] - at[:, :-1]).abs()
    assert step.max() < 1.3 + 1e-3
    for k, n in enumerate(CLIPS):
        shown = at[which[:, 0] == 100.0 * k]
        assert shown.min() < 2
        assert shown.max() > n - 3
        assert shown.max() <= n - 1
    # Motion that must stop or turn back slows down first.
    assert (step[:, 1:] - step[:, :-1]).abs().max() < 0.6


def test_hands_move_or_keep_their_shape_as_asked(bank):
    def fingers(**settings):
        return scene_of(bank, 8, takes=6, frames=40, settings=replace(UNTOUCHED, **settings)).R_local[:, :, 25:]

    still = fingers(held_hands=1.0, plain_hands=0.0)
    assert torch.allclose(still, still[:, :1].expand_as(still), atol=1e-6)
    moving = fingers(held_hands=0.0, plain_hands=0.0)
    assert (moving[:, 0] - moving[:, -1]).abs().amax((1, 2, 3)).min() > 0.02
    both = fingers(mirrored_hands=1.0, held_hands=0.0, plain_hands=0.0)
    flip = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    assert torch.allclose(flip @ both[:, :, :15] @ flip, both[:, :, 15:], atol=1e-6)


def test_upper_bodies_are_exchanged_and_legs_are_not(bank):
    plain = scene_of(bank, 9, settings=UNTOUCHED)
    other = scene_of(bank, 9, settings=replace(UNTOUCHED, other_upper_body=1.0))
    legs = [J(f"{s}_{n}") for s in ("left", "right") for n in ("hip", "knee", "ankle", "foot")]
    assert torch.equal(plain.R_local[:, :, legs], other.R_local[:, :, legs])
    assert (plain.R_local[:, :, J("left_shoulder")] - other.R_local[:, :, J("left_shoulder")]).abs().max() > 0.05


def test_cameras_keep_their_ranges(bank):
    scene = scene_of(bank, 10, takes=160, frames=40)
    T = scene.T_cam_world
    R = T[..., :3, :3]
    assert torch.allclose(R @ R.transpose(-1, -2), torch.eye(3).expand_as(R), atol=1e-5)
    assert torch.allclose(torch.linalg.det(R), torch.ones(R.shape[:2]), atol=1e-5)
    centre = -(R.transpose(-1, -2) @ T[..., :3, 3:])[..., 0]
    assert centre[..., 1].min() >= HEIGHT_RANGE_M[0] - 1e-4
    assert centre[..., 1].max() <= HEIGHT_RANGE_M[1] + 1e-4
    pitch = torch.rad2deg(torch.asin(R[..., 2, 1].clamp(-1, 1)))
    assert pitch.min() >= PITCH_RANGE_DEG[0] - 0.1
    assert pitch.max() <= PITCH_RANGE_DEG[1] + 0.1
    assert pitch.amin() < -20
    assert pitch.amax() > 8
    # Roll: how far the picture's x axis leaves the level.
    assert torch.rad2deg(torch.asin(R[..., 0, 1].abs())).max() <= MAX_ROLL_DEG + 0.1
    box = torch.stack([scene.proxies_world_m.amin(2), scene.proxies_world_m.amax(2)]).mean(0)
    distance = (box - centre).norm(dim=-1)
    assert distance.min() > DISTANCE_RANGE_M[0] - 0.05
    assert distance.median(1).values.max() < DISTANCE_RANGE_M[1] + 0.05
    fov = torch.rad2deg(2 * torch.atan(scene.image_size_px.amax(1) / 2 / scene.focal_px))
    assert fov.min() > FOV_RANGE_DEG[0] - 0.1
    assert fov.max() < FOV_RANGE_DEG[1] + 0.1
    assert fov.max() - fov.min() > 50
    sizes = {(int(w), int(h)) for w, h in scene.image_size_px.tolist()}
    assert sizes == set(IMAGE_SIZES_PX)
    assert in_camera(scene, scene.proxies_world_m)[..., 2].min() > 0.15
    still = (T - T[:, :1]).abs().amax((1, 2, 3)) == 0
    assert torch.equal(still, scene.static)
    assert 0.45 < scene.static.float().mean() < 0.8


def test_people_are_seen_from_all_sides(bank):
    scene = scene_of(bank, 11, takes=240, frames=8)
    R = scene.T_cam_world[:, 0, :3, :3]
    centre = -(R.transpose(-1, -2) @ scene.T_cam_world[:, 0, :3, 3:])[..., 0]
    to_camera = centre - scene.joints_world_m[:, 0, 0]
    ahead = scene.R_local[:, 0, 0, :, 2]
    angle = torch.atan2(
        to_camera[:, 0] * ahead[:, 2] - to_camera[:, 2] * ahead[:, 0],
        to_camera[:, 0] * ahead[:, 0] + to_camera[:, 2] * ahead[:, 2],
    )
    counts = torch.histc(angle, 6, -np.pi, np.pi)
    assert counts.min() > 240 / 6 / 2


@pytest.mark.parametrize("framing", FRAMINGS)
def test_people_are_framed_as_asked(bank, framing):
    scene = scene_of(bank, 12, takes=40, frames=40)
    shares = tuple(float(f == framing) for f in FRAMINGS)
    draws = Draws(torch.Generator().manual_seed(0), torch.device("cpu"))
    cameras = draw_cameras(draws, scene.proxies_world_m, 30.0, CameraSettings(framings=shares))
    asked = cameras.framing == FRAMINGS.index(framing)
    assert asked.float().mean() > 0.8
    scene = replace(
        scene, T_cam_world=cameras.T_cam_world, focal_px=cameras.focal_px, image_size_px=cameras.image_size_px
    )
    xyz = in_camera(scene, scene.proxies_world_m)
    limit = (cameras.image_size_px / 2 / cameras.focal_px[:, None])[:, None, None]
    inside = (xyz[..., :2].abs() <= limit * xyz[..., 2:]).all(-1)[asked]
    if framing == "whole":
        good = inside.float().mean(-1) > 0.9
    elif framing == "partly":
        share = inside.float().mean(-1)
        good = (share > 0.15) & (share < 0.98)
    else:
        y = scene.proxies_world_m[asked][..., 1]
        upper = y > y.amin(-1, keepdim=True) + 0.6 * (y.amax(-1, keepdim=True) - y.amin(-1, keepdim=True))
        good = ((inside | ~upper).float().mean(-1) > 0.9) & ~inside.all(-1)
    assert good.float().mean(1).median() > 0.9
    assert good.float().mean() > 0.75


def test_people_who_run_far_are_followed(bank):
    scene = scene_of(bank, 13, takes=12, frames=80)
    far = torch.linspace(0, 25, 80)[None, :, None, None] * torch.tensor([0.0, 0, 1])
    draws = Draws(torch.Generator().manual_seed(0), torch.device("cpu"))
    points = scene.proxies_world_m + far
    cameras = draw_cameras(draws, points, 30.0)
    assert not cameras.static.any()
    scene = replace(scene, T_cam_world=cameras.T_cam_world)
    assert in_camera(scene, points)[..., 2].min() > 0.15


def test_a_bank_without_motion_is_refused(bank):
    with pytest.raises(HmcapError, match="Expected hand motion"):
        MotionWindows(replace(bank, hands=bank.hands[:0]), torch.device("cpu"))
