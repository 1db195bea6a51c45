"""The report: every figure against a motion for which it is known."""

import dataclasses
import json

import numpy as np
import pytest
from hmcap.models.body import load_body
from hmcap.models.camera import Camera
from hmcap.models.markers import sole_rig
from hmcap.models.motion import MotionFrame
from hmcap.models.proxies import Proxies
from hmcap.realtime.loop import RunStats
from hmcap.realtime.report import Report, motion_figures, summarise
from hmcap.realtime.take import Take, TakeHeader

FPS = 30000 / 1001
CAMERA = Camera.from_fov(1280, 720, 65, "--fov-deg")


@pytest.fixture(scope="module")
def body():
    return load_body()


@pytest.fixture(scope="module")
def floor_m(body) -> float:
    """Height of the lowest point of the soles of the rest body whose translation is zero."""
    posed = body.with_shape(np.zeros(10)).with_pose(np.zeros((55, 3)), np.zeros(3))
    return float(sole_rig(body).in_world_m(posed)[:, 1].min())


def make_motion(trans_m, *, contact=1.0, present=None, error=1.5, start=0, poses=None) -> tuple[MotionFrame, ...]:
    frames = []
    for i, t in enumerate(np.asarray(trans_m, float)):
        frames.append(
            MotionFrame(
                start + i, (start + i) / FPS, present is None or bool(present[i]), np.zeros(10),
                np.zeros((55, 3)) if poses is None else poses[i], t, np.eye(4), CAMERA, np.full(4, contact), np.ones(8),
                np.ones(8, bool), float(error if np.isscalar(error) else error[i]),
            )
        )  # fmt: skip
    return tuple(frames)


def line(count: int, step) -> np.ndarray:
    return np.arange(count)[:, None] * np.asarray(step, float)


def test_a_statue_neither_slides_nor_shakes(body, floor_m):
    figures = motion_figures(make_motion(np.tile([0.3, -floor_m, 1.0], (20, 1))), body, FPS)
    assert figures["foot_sliding_mm"] == pytest.approx(0, abs=1e-6)
    assert figures["jitter"] == pytest.approx(0, abs=1e-6)
    assert figures["penetration_mm"] == pytest.approx(0, abs=1e-4)
    assert figures["contact_percent"] == 100
    assert figures["reprojection_percent"] == 1.5


def test_sliding_is_the_way_of_a_frame_while_in_contact(body):
    figures = motion_figures(make_motion(line(30, [0.003, 0, 0.004])), body, FPS)
    assert figures["foot_sliding_mm"] == pytest.approx(5, rel=1e-4)
    assert figures["jitter"] == pytest.approx(0, abs=1e-4)


def test_feet_in_the_air_do_not_slide(body):
    figures = motion_figures(make_motion(line(30, [0.1, 0, 0]), contact=0.4), body, FPS)
    assert figures["foot_sliding_mm"] is None
    assert figures["contact_percent"] == 0


def test_jitter_is_the_third_derivative_over_ten(body):
    t = np.arange(60) / FPS
    figures = motion_figures(make_motion(np.stack([5 * t**3, 0 * t, 0 * t], axis=1)), body, FPS)
    assert figures["jitter"] == pytest.approx(6 * 5 / 10, rel=1e-4)


def test_jitter_is_a_mean_over_joints(body):
    # Only the left elbow turns: of the 22 body joints the wrist alone moves, on a circle of the forearm's length.
    poses = np.zeros((80, 55, 3))
    w = 2.0
    poses[:, 18, 1] = w * np.arange(80) / FPS
    joints = np.asarray(body.rest_joints())
    radius = np.hypot(*(joints[20] - joints[18])[[0, 2]])
    figures = motion_figures(make_motion(np.zeros((80, 3)), poses=poses), body, FPS)
    assert figures["jitter"] == pytest.approx(radius * w**3 / 10 / 22, rel=0.01)


def test_penetration_is_the_depth_of_the_lowest_point(body, floor_m):
    depths = np.array([0.0, 0.010, 0.030, -0.5])
    trans = np.stack([0 * depths, -floor_m - depths, 0 * depths], axis=1)
    figures = motion_figures(make_motion(trans), body, FPS)
    assert figures["penetration_mm"] == pytest.approx(10, abs=0.01)
    assert figures["penetration_max_mm"] == pytest.approx(30, abs=0.01)


def test_neither_a_gap_nor_an_absence_counts_as_movement(body):
    here, there = np.zeros((10, 3)), np.tile([5.0, 0, 0], (10, 1))
    apart = make_motion(here) + make_motion(there, start=40)
    lost = make_motion(np.concatenate([here, there]), present=[i != 10 for i in range(20)])
    for motion in (apart, lost):
        figures = motion_figures(motion, body, FPS)
        assert figures["foot_sliding_mm"] == pytest.approx(0, abs=1e-6)
        assert figures["jitter"] == pytest.approx(0, abs=1e-6)


def test_held_frames_and_unknown_errors_do_not_count(body):
    motion = make_motion(np.zeros((5, 3)), present=[1, 1, 1, 0, 1], error=[1.0, np.nan, 3.0, 99.0, 2.0])
    assert motion_figures(motion, body, FPS)["reprojection_percent"] == 2.0


def test_nothing_gives_nothing(body):
    assert set(motion_figures((), body, FPS).values()) == {None}
    one = motion_figures(make_motion(np.zeros((1, 3))), body, FPS)
    assert one["jitter"] is None
    assert one["foot_sliding_mm"] is None


def test_a_change_of_shape_is_followed(body):
    motion = make_motion(np.zeros((6, 3)))
    grown = tuple(dataclasses.replace(m, betas=np.full(10, 1.0 if m.index > 2 else 0.0)) for m in motion)
    assert motion_figures(grown, body, FPS)["foot_sliding_mm"] > 1


def make_take(**changes) -> Take:
    header = TakeHeader(
        "x.mp4", "x", FPS, 1280, 720, CAMERA, engines={"pose": {"backend": "openvino", "device": "CPU"}}
    )
    proxies = tuple(
        dataclasses.replace(Proxies.absent(i, i / FPS, (1280, 720)), score=0.9 if i % 4 else 0.0) for i in range(40)
    )
    return Take(header, proxies, make_motion(line(40, [0.001, 0, 0])), **changes)


def test_the_summary_of_a_take_is_printable_and_json():
    stats = RunStats(40, 30, 3, 4.0, {"landmarks": 2.0}, {"landmarks": 40})
    report = summarise(make_take(), stats, ("cut short",))
    assert (report.frames, report.dropped, report.solved_frames) == (40, 3, 40)
    assert report.person_visible_percent == 75
    assert report.duration_s == pytest.approx(40 / FPS)
    assert report.stage_fps == {"landmarks": 20}
    assert report.fov_deg == pytest.approx(65)
    rows = dict(report.rows())
    assert rows["person visible"] == "75.0 %"
    assert rows["foot sliding"] == "1.0 mm per frame in contact"
    assert rows["engine pose"] == "openvino on CPU"
    assert "65.0 deg" in rows["camera"]
    assert rows["note"] == "cut short"
    again = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert Report(**again | {"warnings": tuple(again["warnings"])}) == report


def test_what_only_the_run_knew_comes_from_the_stored_report():
    stats = RunStats(40, 30, 3, 4.0, {"landmarks": 2.0}, {"landmarks": 40})
    first = summarise(make_take(), stats, ("cut short",))
    assert summarise(make_take(report=first.to_dict())) == first


def test_a_take_without_anything_has_a_report():
    empty = dataclasses.replace(make_take(), proxies=(), motion=())
    assert summarise(empty).person_visible_percent == 0
    assert dict(summarise(empty).rows())["jitter"] == "-"
