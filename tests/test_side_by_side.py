"""The side-by-side video: both halves, the view that follows the body, and one pass for two videos."""

import dataclasses
from fractions import Fraction

import cv2
import numpy as np
import pytest
from hmcap.models.camera import Camera
from hmcap.realtime.overlay import Figure, painters, record, side, write_videos
from hmcap.realtime.overlay.projection import project
from overlay_takes import OFF_CENTRE, audio_span, make_clip, make_motion, make_sound, make_take, mask_of, read_back


@pytest.fixture(scope="module")
def figure():
    return Figure()


@pytest.mark.parametrize(("width", "height"), [(242, 322), (161, 121), (96, 160)])
def test_overlay_and_side_by_side_come_from_one_pass(tmp_path, width, height, monkeypatch):
    fps = 30000 / 1001
    make_clip(tmp_path / "clip.mp4", width, height, 8, fps)
    # The writer of the clip padded odd sizes by a pixel.
    width, height = width + width % 2, height + height % 2
    take = make_take(str(tmp_path / "clip.mp4"), width, height, 8, fps, absent=(5,))
    opened = []
    real = record.open_source
    monkeypatch.setattr(record, "open_source", lambda *a, **k: opened.append(a) or real(*a, **k))
    reports = write_videos(take, take.header.source, overlay=tmp_path / "o.mp4", side_by_side=tmp_path / "s.mp4")
    assert len(opened) == 1
    assert [r.path.name for r in reports] == ["o.mp4", "s.mp4"]
    assert [r.renderer.split(":")[0] for r in reports] == ["overlay", "side by side"]
    (rate, stamps, over, _), (side_rate, side_stamps, side, _) = (read_back(r.path) for r in reports)
    assert side_rate == rate == Fraction(30000, 1001)
    assert np.array_equal(stamps, side_stamps)
    assert over[0].shape == (height, width, 3)
    right = min(width, height)
    assert side[0].shape == (height, width + right, 3)
    for k, image in enumerate(side):
        # the source as it is, then a bright floor with a darker body, unless nobody is there
        assert np.abs(image[:, : width - 4].astype(int) - 40).max() < 12
        panel = image[height // 3 :, width + 4 :]
        assert np.median(panel) > 180
        assert (panel[..., 0] < 120).sum() > 60 if k != 5 else (panel[:, right // 4 :, 0] < 120).sum() == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mp4", "o.mp4", "s.mp4"]


def test_side_by_side_keeps_sound_and_size_limit(tmp_path):
    make_sound(tmp_path / "in.mp4", "aac")
    take = make_take(str(tmp_path / "in.mp4"), 64, 48, 10, 10.0)
    (report,) = write_videos(take, take.header.source, side_by_side=tmp_path / "s.mp4", max_side_px=70)
    assert report.warnings == ()
    span = audio_span(tmp_path / "s.mp4")
    assert span is not None
    assert span[0] == pytest.approx(0, abs=0.05)
    height, width = read_back(tmp_path / "s.mp4")[2][0].shape[:2]
    assert width <= 70
    assert height == 30


@pytest.mark.parametrize("size", [(1920, 1080), (1080, 1920), (3840, 2160), (641, 479), (100, 100), (5000, 90)])
def test_both_halves_are_as_high_and_fit_the_limit(size):
    height, left, right = painters.side_by_side_size(*size, 1920)
    assert max(height, left + right) <= 1920
    assert left / height == pytest.approx(size[0] / size[1], rel=0.02)
    assert right <= max(left, height)
    if size[0] + min(size) <= 1920 and size[1] <= 1920:
        assert (left, height) == size


@pytest.mark.parametrize("turned", [0.0, 1.0, 2.5])
@pytest.mark.parametrize(("width", "height"), [(300, 500), (500, 500)])
def test_the_side_view_follows_and_holds_the_whole_body(figure, turned, width, height):
    motion = []
    for k, frame in enumerate(make_motion(40, 10.0, OFF_CENTRE)):
        away = np.array([0.15 * k, 0, 0.1 * k])
        motion.append(dataclasses.replace(frame, trans_m=frame.trans_m + away, present=k != 7))
    view = side.SideView([(motion, figure)], 10.0, width, height)
    across = []
    for frame in motion[::3]:
        T = view.pose_of_view(frame.index)
        assert np.abs(T[:3, :3] @ T[:3, :3].T - np.eye(3)).max() < 1e-9
        assert np.linalg.det(T[:3, :3]) == pytest.approx(1)
        posed = figure.pose(frame)
        px = project(posed.vertices_m, T, Camera.from_fov(width, height, side.FOV_DEG))
        assert px.min() > 0
        assert (px < (width, height)).all()
        across.append(px[:, 0].mean() / width)
    assert 0.3 < min(across) < max(across) < 0.7
    # Seen from elsewhere, the heading of the view turns by as much.
    c, s = np.cos(turned), np.sin(turned)
    R_y = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    T = np.eye(4)
    T[:3, :3] = motion[0].T_cam_world[:3, :3] @ R_y.T
    assert np.allclose(side.side_rotation([T]), side.side_rotation([motion[0].T_cam_world]) @ R_y.T)
    forward = side.side_rotation([motion[0].T_cam_world])[2]
    assert np.degrees(np.arcsin(-forward[1])) == pytest.approx(side.PITCH_DEG)
    assert forward[[0, 2]] @ motion[0].T_cam_world[2, [0, 2]] == pytest.approx(
        np.cos(np.radians(side.YAW_DEG)) * np.cos(np.radians(side.PITCH_DEG))
    )


def test_a_camera_that_looks_straight_down_has_a_side_view_too():
    R = side.side_rotation([np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 3], [0, 0, 0, 1]])])
    assert np.isfinite(R).all()
    assert np.linalg.det(R) == pytest.approx(1)


def test_the_floor_is_darker_under_the_body(figure, gl):
    motion = make_motion(3, 10.0, OFF_CENTRE)
    view = side.SideView([(motion, figure)], 10.0, 240, 320)
    empty = view.paint(0, [], gl)
    posed = figure.pose(motion[0])
    drawn = view.paint(0, [(posed, figure.faces, motion[0].contact, (170, 180, 200))], gl)
    camera, T = Camera.from_fov(240, 320, side.FOV_DEG), view.pose_of_view(0)
    body = mask_of(gl, posed.vertices_m, figure.faces, T, camera)
    # the edges of the body are mixed with what is behind, and its contact marks reach beyond it
    around = cv2.dilate(body.astype(np.uint8), np.ones((9, 9))) > 0
    shadow = ((empty.astype(int) - drawn).min(axis=-1) > 15) & ~around
    assert shadow.sum() > 30
    assert np.nonzero(shadow.any(axis=1))[0].min() > np.nonzero(body.any(axis=1))[0].mean()
