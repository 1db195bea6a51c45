"""Overlay: the projection law, agreement of the two renderers, and videos read back."""

import dataclasses
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from hmcap.models.camera import Camera
from hmcap.models.errors import HmcapError, UsageError
from hmcap.models.proxies import LEFT_HAND, NUM_PROXIES, Proxies
from hmcap.realtime.journal import TakeWriter
from hmcap.realtime.overlay import Figure, choose, skeleton, video, write_overlay
from hmcap.realtime.overlay.drawn import DrawnRenderer
from hmcap.realtime.overlay.gl import GLRenderer, NoGLError
from hmcap.realtime.overlay.mesh import NormalSum, covered_box
from hmcap.realtime.overlay.projection import bend, project, to_camera
from hmcap.tools import contact_sheet
from overlay_takes import OFF_CENTRE, audio_span, make_clip, make_motion, make_sound, make_take, mask_of, read_back


def pose(rotation=(3.0, 0.3, 0.1), at=(0.1, 0.2, 3.0)) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = cv2.Rodrigues(np.array(rotation))[0]
    T[:3, 3] = at
    return T


def ball(centre, radius: float, count: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """A closed sphere, faces counter-clockwise from outside."""
    polar, around = np.linspace(0, np.pi, count), np.linspace(0, 2 * np.pi, 2 * count, endpoint=False)
    p, a = np.meshgrid(polar, around, indexing="ij")
    xyz = np.stack((np.sin(p) * np.cos(a), np.sin(p) * np.sin(a), np.cos(p)), axis=-1).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(count - 1), np.arange(2 * count), indexing="ij")
    here, right = i * 2 * count + j, i * 2 * count + (j + 1) % (2 * count)
    below, diagonal = here + 2 * count, right + 2 * count
    faces = np.concatenate(
        [np.stack(f, axis=-1).reshape(-1, 3) for f in ((here, below, right), (right, below, diagonal))]
    )
    return np.asarray(centre) + radius * xyz, faces


def joined(*parts: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    starts = np.cumsum([0, *(len(v) for v, _ in parts[:-1])])
    return np.concatenate([v for v, _ in parts]), np.concatenate(
        [f + s for (_, f), s in zip(parts, starts, strict=True)]
    )


@pytest.fixture(params=["gl", "drawn"])
def renderer(request):
    return request.getfixturevalue("gl") if request.param == "gl" else DrawnRenderer("test")


def test_projection_is_opencv_s():
    points = np.random.default_rng(0).normal(size=(50, 3)) * 0.5
    for dist in ((), (-0.2, 0.05, 0.003, -0.002, 0.01)):
        camera = dataclasses.replace(OFF_CENTRE, dist=dist)
        T = pose()
        rvec = cv2.Rodrigues(T[:3, :3])[0]
        theirs = cv2.projectPoints(points, rvec, T[:3, 3], camera.K, np.array(dist or (0.0,) * 4))[0][:, 0]
        assert np.abs(project(points, T, camera) - theirs).max() < 1e-6


def test_points_behind_the_camera_have_no_pixel():
    xyz = np.array([[0.0, 0, 2], [0, 0, -2], [0, 0, 0]])
    px = project(xyz, np.eye(4), OFF_CENTRE)
    assert np.isfinite(px[0]).all()
    assert np.isnan(px[1:]).all()
    camera = dataclasses.replace(OFF_CENTRE, dist=(-0.3,))
    far_out = np.array([[5.0, 0, 1], [0, 0, -1]])
    assert np.array_equal(bend(far_out, camera), far_out)


@pytest.mark.parametrize("dist", [(), (-0.25, 0.08, 0.002, 0.001)])
@pytest.mark.parametrize("where", [(0, 0, 0), (0.55, -0.3, 0.4), (-0.6, 0.35, -0.5)])
def test_a_known_point_lands_on_its_pixel(renderer, where, dist):
    camera = dataclasses.replace(OFF_CENTRE, dist=dist)
    vertices, faces = ball(where, 0.03)
    mask = mask_of(renderer, vertices, faces, pose(), camera)
    rows, columns = np.nonzero(mask)
    assert mask.sum() > 40
    # Pixel centres lie at half pixels of the continuous coordinates.
    seen = np.array([columns.mean() + 0.5, rows.mean() + 0.5])
    assert np.abs(seen - project(np.array(where, dtype=float), pose(), camera)).max() < 1.0


def test_the_nearer_surface_hides_the_farther(renderer):
    far, near = ball((0, 0, 3.0), 0.5), ball((0, 0, 2.0), 0.2)
    camera = Camera.from_focal(320, 240, 300)
    for order in ((far, near), (near, far)):
        vertices, faces = joined(*order)
        image = renderer.render(np.zeros((240, 320, 3), np.uint8), vertices, faces, np.eye(4), camera, opacity=1.0)
        alone = renderer.render(np.zeros((240, 320, 3), np.uint8), *near, np.eye(4), camera, opacity=1.0)
        assert np.abs(image[115:125, 155:165].astype(int) - alone[115:125, 155:165]).max() <= 2


def test_blending_and_the_untouched_rest(renderer):
    vertices, faces = ball((0, 0, 0), 0.3)
    picture = np.random.default_rng(1).integers(0, 255, (360, 640, 3)).astype(np.uint8)
    before = picture.copy()
    out = renderer.render(picture, vertices, faces, pose(), OFF_CENTRE, opacity=0.5)
    mask = mask_of(renderer, vertices, faces, pose(), OFF_CENTRE)
    assert np.array_equal(picture, before)
    outside = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5))) == 0
    assert np.array_equal(out[outside], picture[outside])
    inside = cv2.erode(mask.astype(np.uint8), np.ones((5, 5))) > 0
    solid = renderer.render(np.zeros_like(picture), vertices, faces, pose(), OFF_CENTRE, opacity=1.0)
    expected = 0.5 * picture[inside] + 0.5 * solid[inside]
    assert np.abs(out[inside] - expected).max() <= 1.5
    clear = renderer.render(picture, vertices, faces, pose(), OFF_CENTRE, opacity=0.0)
    assert np.array_equal(clear, picture)


def test_light_comes_from_above(renderer):
    vertices, faces = ball((0, 0, 3.0), 0.6, 40)
    image = renderer.render(
        np.zeros((240, 320, 3), np.uint8), vertices, faces, np.eye(4), Camera.from_focal(320, 240, 300), opacity=1.0
    )
    assert image[80:90, 150:160].mean() > 1.4 * image[150:160, 165:175].mean()


def test_out_of_sight_and_around_the_camera(renderer):
    picture = np.full((360, 640, 3), 77, np.uint8)
    vertices, faces = ball((0, 0, -3.0), 0.5)
    assert np.array_equal(renderer.render(picture, vertices, faces, np.eye(4), OFF_CENTRE), picture)
    assert np.array_equal(
        renderer.render(picture, vertices + np.array([50, 0, 6]), faces, np.eye(4), OFF_CENTRE), picture
    )
    around = renderer.render(picture, *ball((0, 0, 0.3), 1.0), np.eye(4), OFF_CENTRE)
    assert around.shape == picture.shape
    assert covered_box(np.array([[0, 0, -1.0]]), OFF_CENTRE) is None


def test_renderers_agree_on_a_body_of_balls(gl):
    rng = np.random.default_rng(3)
    vertices, faces = joined(*(ball(rng.normal(size=3) * (0.3, 0.6, 0.3), rng.uniform(0.08, 0.25)) for _ in range(12)))
    drawn = DrawnRenderer("test")
    for camera in (OFF_CENTRE, Camera.from_fov(360, 640, 50)):
        a, b = (mask_of(r, vertices, faces, pose(), camera) for r in (gl, drawn))
        assert (a & b).sum() / (a | b).sum() > 0.97
        black = np.zeros((camera.height_px, camera.width_px, 3), np.uint8)
        pictures = [r.render(black, vertices, faces, pose(), camera, opacity=1.0).astype(int) for r in (gl, drawn)]
        inside = cv2.erode((a & b).astype(np.uint8), np.ones((5, 5))) > 0
        assert np.abs(pictures[0] - pictures[1])[inside].mean() < 2


def test_two_contexts_do_not_disturb_each_other(gl):
    vertices, faces = ball((0, 0, 0), 0.3)
    alone = mask_of(gl, vertices, faces, pose(), OFF_CENTRE)
    other = GLRenderer()
    assert np.array_equal(mask_of(other, vertices, faces, pose(), OFF_CENTRE), alone)
    assert np.array_equal(mask_of(gl, vertices, faces, pose(), OFF_CENTRE), alone)
    other.close()
    other.close()
    larger = Camera(1000, 800, 900.0, 900.0, 500.0, 400.0)
    assert mask_of(gl, vertices, faces, pose(), larger).sum() > alone.sum()


def test_a_picture_of_another_size_gets_the_scaled_camera(renderer):
    vertices, faces = ball((0.2, 0.1, 0), 0.3)
    half = renderer.render(np.zeros((180, 320, 3), np.uint8), vertices, faces, pose(), OFF_CENTRE, opacity=1.0).any(-1)
    full = mask_of(renderer, vertices, faces, pose(), OFF_CENTRE)
    assert half.sum() == pytest.approx(full.sum() / 4, rel=0.05)


def test_normals_point_outward():
    vertices, faces = ball((1, 2, 3), 0.5, 40)
    normals = NormalSum(faces, len(vertices))(vertices)
    radial = (vertices - (1, 2, 3)) / 0.5
    assert np.sum(normals * radial, axis=1).min() > 0.95
    assert np.allclose(to_camera(vertices, np.eye(4)), vertices)


def test_the_choice_is_reported(monkeypatch):
    def refuse():
        raise NoGLError("egl: cannot open display")

    monkeypatch.setattr(choose, "GLRenderer", refuse)
    assert choose.open_renderer("auto").description == "drawn (no GL context: egl: cannot open display)"
    with pytest.raises(HmcapError, match="cannot open display"):
        choose.open_renderer("gl")
    with pytest.raises(UsageError, match="vulkan"):
        choose.open_renderer("vulkan")


def test_proxies_are_drawn_where_they_are():
    xy, sure = np.full((NUM_PROXIES, 2), 30.0, np.float32), np.zeros(NUM_PROXIES, np.float32)
    k = LEFT_HAND.start + 8
    xy[k], sure[k] = (100.5, 60.5), 1.0
    proxies = Proxies(0, 0.0, (320, 240), xy, sure, np.zeros((33, 3)), np.zeros((2, 21, 3)), 0.9)
    picture = np.zeros((480, 640, 3), np.uint8)
    out = skeleton.draw_proxies(picture, proxies)
    rows, columns = np.nonzero(out.any(axis=-1))
    assert abs(columns.mean() + 0.5 - 201) < 1
    assert abs(rows.mean() + 0.5 - 121) < 1
    assert tuple(out[120, 200]) == skeleton.LEFT
    assert not picture.any()
    assert not skeleton.draw_proxies(picture, Proxies.absent(0, 0.0, (320, 240))).any()


def test_contact_marks_and_skeleton_lie_on_their_points():
    camera, T = OFF_CENTRE, pose()
    points = np.array([[0.3, 0, 0], [0.35, 0, 0.1], [-0.3, 0, 0], [-0.35, 0, 0.1]])
    out = skeleton.draw_contact(np.zeros((360, 640, 3), np.uint8), points, np.array([1, 0, 0, 0.9]), T, camera)
    for point, sure in zip(points, (1, 0, 0, 0.9), strict=True):
        u, v = project(point, T, camera)
        green = tuple(out[int(v), int(u)]) == skeleton.CONTACT
        assert green == (sure > 0.5)
    joints = np.random.default_rng(5).normal(size=(55, 3)) * 0.3
    drawn = skeleton.draw_skeleton(np.zeros((360, 640, 3), np.uint8), joints, T, camera)
    for point in project(joints[:22], T, camera):
        if 2 < point[0] < 638 and 2 < point[1] < 358:
            assert drawn[int(point[1]), int(point[0])].any()


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), Fraction(24000, 1001), Fraction(25), Fraction(5)])
def test_video_keeps_fractional_rates_exactly(tmp_path, fps):
    stamps = np.arange(40) / float(fps)
    with video.VideoWriter(tmp_path / "a.mp4", 161, 121, float(fps)) as writer:
        for k, stamp in enumerate(stamps):
            writer.write(np.full((121, 161, 3), 5 * k, np.uint8), stamp)
    rate, got, images, duration = read_back(tmp_path / "a.mp4")
    assert rate == fps
    assert len(got) == 40
    assert np.abs(got - stamps).max() < 1e-9
    assert images[0].shape == (122, 162, 3)
    assert duration == pytest.approx(40 / float(fps), abs=1e-3)
    assert all(abs(int(image[60, 80, 0]) - 5 * k) <= 6 for k, image in enumerate(images))


def test_video_keeps_variable_stamps(tmp_path):
    stamps = np.concatenate(([0.0], np.cumsum(np.random.default_rng(0).uniform(0.01, 0.3, 30))))
    with video.VideoWriter(tmp_path / "a.mp4", 64, 48, 30.0) as writer:
        for stamp in stamps:
            writer.write(np.zeros((48, 64, 3), np.uint8), float(stamp))
    _, got, _, duration = read_back(tmp_path / "a.mp4")
    assert len(got) == 31
    assert np.abs(got - stamps).max() < 1e-4
    assert duration > stamps[-1]


def test_video_colours_survive(tmp_path):
    colours = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (128, 128, 128)]
    with video.VideoWriter(tmp_path / "a.mp4", 64, 64, 25.0) as writer:
        for k, colour in enumerate(colours):
            writer.write(np.full((64, 64, 3), colour, np.uint8), k / 25)
    with av.open(str(tmp_path / "a.mp4")) as container:
        for frame, colour in zip(container.decode(video=0), colours, strict=True):
            rgb = frame.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray()
            assert np.abs(rgb[32, 32].astype(int) - colour).max() <= 6


def test_rates_are_written_as_broadcast_does():
    pairs = {29.97: "30000/1001", 23.976: "24000/1001", 59.94: "60000/1001", 24.0: "24", 12.5: "25/2", 30.0: "30"}
    assert {fps: str(video.rate_fraction(fps)) for fps in pairs} == pairs
    assert abs(float(video.rate_fraction(29.827114)) - 29.827114) < 1e-4


@pytest.mark.parametrize("offset_s", [0.0, 0.7])
def test_sound_is_copied_and_stays_in_step(tmp_path, offset_s):
    make_sound(tmp_path / "in.mp4", "aac")
    with video.VideoWriter(tmp_path / "out.mp4", 64, 48, 10.0, tmp_path / "in.mp4", offset_s) as writer:
        for k in range(10):
            writer.write(np.zeros((48, 64, 3), np.uint8), k / 10)
    assert writer.warnings == []
    span = audio_span(tmp_path / "out.mp4")
    assert span is not None
    assert span[0] == pytest.approx(0, abs=0.05)
    assert span[1] == pytest.approx(1.0, abs=0.08)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.audio[0].codec_context.name == "aac"


def test_sound_that_mp4_cannot_hold_is_named(tmp_path):
    make_sound(tmp_path / "in.mkv", "pcm_s16le")
    with video.VideoWriter(tmp_path / "out.mp4", 64, 48, 10.0, tmp_path / "in.mkv") as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8), 0.0)
    assert "pcm_s16le" in writer.warnings[0]
    assert audio_span(tmp_path / "out.mp4") is None


def test_without_h264_the_report_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(video.av, "codecs_available", {"mpeg4"})
    with video.VideoWriter(tmp_path / "out.mp4", 64, 48, 10.0) as writer:
        for k in range(5):
            writer.write(np.zeros((48, 64, 3), np.uint8), k / 10)
    assert writer.codec == "mpeg4"
    assert "libx264" in writer.warnings[0]
    assert len(read_back(tmp_path / "out.mp4")[1]) == 5
    monkeypatch.setattr(video.av, "codecs_available", set())
    with pytest.raises(HmcapError, match="encoder"):
        video.video_codec()


@pytest.fixture(scope="module")
def figure():
    return Figure()


def test_renderers_agree_on_the_posed_body(gl, figure):
    camera = Camera(360, 480, 420.0, 420.0, 170.0, 260.0)
    for motion in make_motion(25, 10.0, camera)[::8]:
        vertices = figure.pose(motion).vertices_m
        a, b = (mask_of(r, vertices, figure.faces, motion.T_cam_world, camera) for r in (gl, DrawnRenderer("test")))
        agreement = (a & b).sum() / (a | b).sum()
        assert agreement > 0.97, f"silhouettes agree by {agreement:.3f}"
        assert a.sum() > 5000


def test_the_figure_stands_on_its_foot_points(figure):
    motion = make_motion(1, 10.0, OFF_CENTRE)[0]
    straight = dataclasses.replace(motion, poses=np.zeros((55, 3)))
    posed = figure.pose(straight)
    assert np.abs(posed.foot_points_m[:, 1]).max() < 0.008
    assert posed.vertices_m[:, 1].min() == pytest.approx(0, abs=1e-3)
    bones_only = figure.pose(straight, skin=False)
    assert bones_only.vertices_m.shape == (0, 3)
    assert np.array_equal(bones_only.joints_m, posed.joints_m)
    wider = figure.pose(dataclasses.replace(straight, betas=np.full(10, 1.0)))
    assert np.abs(wider.vertices_m - posed.vertices_m).max() > 0.01
    assert np.array_equal(figure.pose(straight).vertices_m, posed.vertices_m)


@pytest.mark.parametrize("style", ["mesh", "skeleton"])
def test_overlay_of_a_take_reads_back(tmp_path, style):
    fps = 30000 / 1001
    make_clip(tmp_path / "clip.mp4", 242, 322, 12, fps)
    take = make_take(str(tmp_path / "clip.mp4"), 242, 322, 12, fps, absent=(5, 6))
    seen = []
    report = write_overlay(
        take, take.header.source, tmp_path / "out.mp4", style=style, progress=lambda done, of: seen.append((done, of))
    )
    rate, stamps, images, _ = read_back(tmp_path / "out.mp4")
    assert report.frames == len(stamps) == 12
    assert rate == Fraction(30000, 1001)
    assert np.abs(stamps - np.arange(12) / fps).max() < 1e-4
    assert images[0].shape == (322, 242, 3)
    assert seen == [(k, 12) for k in range(1, 13)]
    assert report.renderer.startswith("overlay: " + ("skeleton" if style == "skeleton" else ""))
    # Somebody stands in the middle of the picture, except where nobody was seen.
    middle = [np.abs(image[100:300].astype(int) - 40).max() > 40 for image in images]
    assert middle == [k not in (5, 6) for k in range(12)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mp4", "out.mp4"]


def test_overlay_of_a_part_starts_where_the_take_starts(tmp_path):
    make_clip(tmp_path / "clip.mp4", 64, 96, 20, 10.0)
    whole = make_take(str(tmp_path / "clip.mp4"), 64, 96, 20, 10.0)
    part = dataclasses.replace(whole, motion=whole.motion[5:12], proxies=whole.proxies[5:12])
    report = write_overlay(part, part.header.source, tmp_path / "out.mp4", renderer="drawn")
    _, stamps, _, _ = read_back(tmp_path / "out.mp4")
    assert np.abs(stamps - np.arange(7) / 10).max() < 1e-4
    assert report.renderer == "overlay: drawn (as asked)"


def test_an_image_folder_keeps_the_rate_it_was_captured_at(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for k in range(8):
        cv2.imwrite(str(folder / f"{k:03d}.png"), np.full((96, 64, 3), 40, np.uint8))
    take = make_take(str(folder), 64, 96, 8, 4.0)
    report = write_overlay(take, take.header.source, tmp_path / "out.mp4", style="skeleton")
    rate, stamps, _, _ = read_back(tmp_path / "out.mp4")
    assert rate == 4
    assert np.abs(stamps - np.arange(8) / 4).max() < 1e-4
    assert report.frames == 8


def test_sound_of_the_source_is_in_the_overlay(tmp_path):
    make_sound(tmp_path / "in.mp4", "aac")
    take = make_take(str(tmp_path / "in.mp4"), 64, 48, 20, 10.0)
    part = dataclasses.replace(take, motion=take.motion[5:15], proxies=take.proxies[5:15])
    report = write_overlay(part, take.header.source, tmp_path / "out.mp4", style="skeleton")
    assert report.warnings == ()
    span = audio_span(tmp_path / "out.mp4")
    assert span is not None
    assert span[0] == pytest.approx(0, abs=0.05)
    assert span[1] == pytest.approx(1.0, abs=0.08)


def test_large_pictures_are_scaled_down(tmp_path):
    make_clip(tmp_path / "clip.mp4", 300, 200, 2, 10.0)
    take = make_take(str(tmp_path / "clip.mp4"), 300, 200, 2, 10.0)
    write_overlay(take, take.header.source, tmp_path / "out.mp4", max_side_px=151, style="skeleton")
    assert read_back(tmp_path / "out.mp4")[2][0].shape == (102, 152, 3)


def test_a_wrong_video_leaves_no_file(tmp_path):
    make_clip(tmp_path / "clip.mp4", 64, 96, 20, 10.0)
    take = make_take(str(tmp_path / "clip.mp4"), 64, 96, 20, 10.0)
    late = dataclasses.replace(take, motion=tuple(dataclasses.replace(m, stamp_s=m.stamp_s * 3) for m in take.motion))
    with pytest.raises(HmcapError, match="Give the same video"):
        write_overlay(late, take.header.source, tmp_path / "out.mp4", style="skeleton")
    beyond = dataclasses.replace(take, motion=tuple(dataclasses.replace(m, index=m.index + 99) for m in take.motion))
    with pytest.raises(HmcapError, match="none of them"):
        write_overlay(beyond, take.header.source, tmp_path / "out.mp4", style="skeleton")
    with pytest.raises(HmcapError, match="empty"):
        write_overlay(dataclasses.replace(take, motion=()), take.header.source, tmp_path / "out.mp4")
    with pytest.raises(UsageError, match="cartoon"):
        write_overlay(take, take.header.source, tmp_path / "out.mp4", style="cartoon")
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]


def test_contact_sheet_from_the_command_line(tmp_path, capsys):
    make_clip(tmp_path / "clip.mp4", 242, 322, 12, 10.0)
    take = make_take(str(tmp_path / "clip.mp4"), 242, 322, 12, 10.0, absent=(5,))
    with TakeWriter(tmp_path / "clip.hmcap", take.header) as writer:
        for proxies, motion in zip(take.proxies, take.motion, strict=True):
            writer.add_proxies(proxies)
            writer.add_motion(motion)
    out = tmp_path / "sheet.png"
    assert contact_sheet.main([str(tmp_path / "clip.hmcap"), "--frames", "3", "--out", str(out)]) == 0
    assert "3 frames" in capsys.readouterr().out
    picture = cv2.imread(str(out))
    assert picture.shape[0] == 3 * contact_sheet.CELL_H_PX + contact_sheet.PLOT_H_PX
    assert picture.std() > 10
    assert contact_sheet.main([str(tmp_path / "clip.hmcap"), "--at", "4,400", "--out", str(out)]) == 2
    assert "400" in capsys.readouterr().err
    assert contact_sheet.main([str(tmp_path / "none.hmcap")]) == 1
    assert contact_sheet.pick_frames(take, 4) == sorted(set(contact_sheet.pick_frames(take, 4)))
    assert 5 not in contact_sheet.pick_frames(take, 50)
