"""The viewer: what it pushes is our body, what it serves is private, and a real browser sees and exports it."""

import dataclasses
import gzip
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.request import Request, urlopen

import cv2
import numpy as np
import pytest
from hmcap.models.body import load_body
from hmcap.models.errors import HmcapError, UsageError
from hmcap.models.proxies import Proxies
from hmcap.models.rotations import axis_angle_to_matrix
from hmcap.realtime import capture_video
from hmcap.realtime.addresses import DEFAULT_VIEWER, Address, parse_address
from hmcap.realtime.exporters import EXPORTERS, ExportOptions
from hmcap.realtime.exporters.bvh import read_bvh
from hmcap.realtime.frames import Frame
from hmcap.realtime.journal import TakeWriter, read_part, write_take
from hmcap.realtime.journal_reading import read_take
from hmcap.realtime.loop import RunStats
from hmcap.realtime.options import CaptureOptions
from hmcap.realtime.player import Feeder, Player
from hmcap.realtime.run import Parts
from hmcap.realtime.take import Take
from hmcap.realtime.viewer import Playback, Viewer, ViewerSink
from hmcap.realtime.viewer.export import export_bytes, missing_html, sort_formats
from hmcap.realtime.viewer.footage import AHEAD_S, Footage
from hmcap.realtime.viewer.guard import same_origin
from hmcap.realtime.viewer.skin import Remakes, top_weights
from hmcap.realtime.viewer.view import FOV_RAD, front_view
from hmcap.realtime.watching import Running
from scipy.spatial.transform import Rotation
from test_cli import Landmarks, make_video, stand
from viewer_takes import FPS, moving_frame, moving_take

WAIT_S = 180
"""Longest wait for a browser that draws without a graphics card on a busy machine."""


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080), ("9000", "127.0.0.1", 9000), ("0.0.0.0", "0.0.0.0", 8080),
        (":81", "127.0.0.1", 81), ("[::1]:82", "::1", 82), ("studio.local:83", "studio.local", 83),
    ],
)  # fmt: skip
def test_addresses_read_as_they_are_typed(text, host, port):
    address = parse_address(text, "--viewer", DEFAULT_VIEWER)
    assert (address.host, address.port) == (host, port)
    assert address.loopback == (host in ("127.0.0.1", "::1"))


@pytest.mark.parametrize("text", ["127.0.0.1:http", "127.0.0.1:70000", "http://127.0.0.1:80", "a b"])
def test_other_addresses_are_wrong_usage(text):
    with pytest.raises(UsageError, match="--viewer"):
        CaptureOptions(viewer=text)


def test_a_port_in_use_is_said_before_anything_is_captured():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(HmcapError, match=f"{port} is in use") as error:
            ViewerSink(load_body(), "127.0.0.1", port)
    assert "--viewer 127.0.0.1:" in str(error.value)


def test_an_address_of_another_machine_is_one_clear_error():
    with pytest.raises(HmcapError, match="address of this machine"):
        ViewerSink(load_body(), "192.0.2.7", 8080)


@pytest.fixture
def viewer():
    page = Viewer(load_body(), Address("127.0.0.1", 0), "clip", ExportOptions(), moving_take)
    yield page
    page.close()


@pytest.mark.parametrize(("origin", "allowed"), [(None, True), ("own", True), ("http://elsewhere.example", False)])
def test_pages_of_other_sites_cannot_connect(viewer, origin, allowed):
    viser = pytest.importorskip("viser")
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    def open_one():
        own = f"http://127.0.0.1:{viewer.port}"
        protocols = [f"viser-v{viser.__version__}"]
        with connect(
            f"ws://127.0.0.1:{viewer.port}", origin=own if origin == "own" else origin, subprotocols=protocols
        ) as socket_:
            return socket_.recv(timeout=60)

    if allowed:
        assert len(open_one()) > 0
    else:
        with pytest.raises(InvalidStatus, match="403"):
            open_one()


def test_an_origin_must_be_the_host_itself():
    assert same_origin("http://10.0.0.5:8080", "10.0.0.5:8080")
    assert not same_origin("http://10.0.0.5:8081", "10.0.0.5:8080")
    assert not same_origin("null", "10.0.0.5:8080")
    assert not same_origin("http://10.0.0.5:8080", None)


def test_nothing_is_shared_through_other_servers(viewer):
    with pytest.raises(HmcapError, match="not shared"):
        viewer._server.request_share_url()


def test_four_weights_a_vertex_are_a_whole():
    weights = top_weights(np.asarray(load_body().weights))
    assert (np.count_nonzero(weights, axis=1) <= 4).all()
    assert np.abs(weights.sum(axis=1) - 1).max() < 1e-6


def browser_skin(mesh) -> np.ndarray:
    """(V, 3) the mesh as a browser deforms it, from what was sent to it."""
    R = Rotation.from_quat(np.array([b.wxyz for b in mesh.bones]), scalar_first=True).as_matrix()
    at = np.array([b.position for b in mesh.bones])
    R_rest = Rotation.from_quat(mesh.bone_wxyzs, scalar_first=True).as_matrix()
    A = R @ R_rest.transpose(0, 2, 1)
    carried = np.einsum(
        "vkij,vkj->vki", A[mesh.skin_indices], mesh.vertices[:, None] - mesh.bone_positions[mesh.skin_indices]
    )
    return np.einsum("vk,vki->vi", mesh.skin_weights, carried + at[mesh.skin_indices])


def test_what_the_scene_sends_is_our_skinned_body(viewer):
    rng = np.random.default_rng(3)
    body = load_body()
    for number in (0, 17, 40):
        motion = dataclasses.replace(moving_frame(number), poses=rng.normal(size=(55, 3)) * 0.4)
        viewer.scene.show(motion)
        ours = body.with_shape(motion.betas).with_pose(motion.poses, motion.trans_m).skin().vertices_m
        used = np.unique(body.faces)
        error_m = np.linalg.norm(browser_skin(viewer.scene._meshes[-1]) - ours, axis=1)[used]
        assert np.quantile(error_m, 0.95) < 0.001, f"5 % of the vertices lie {np.quantile(error_m, 0.95):.4f} m off"
        assert error_m.max() < 0.02


def test_the_body_that_is_held_looks_otherwise_and_nobody_is_not_shown(viewer):
    viewer.scene.show(moving_frame(0, present=False))
    assert not viewer.scene._meshes
    viewer.scene.show(moving_frame(1))
    seen = viewer.scene._meshes[-1].color, viewer.scene._meshes[-1].opacity
    viewer.scene.show(moving_frame(2, present=False))
    assert viewer.scene._meshes[-1].opacity < 1
    assert tuple(viewer.scene._meshes[-1].color) != tuple(seen[0])
    viewer.scene.show(moving_frame(3))
    assert (viewer.scene._meshes[-1].color, viewer.scene._meshes[-1].opacity) == seen


def test_feet_that_touch_light_up_where_they_stand(viewer):
    viewer.scene.show(moving_frame(0))
    lit = [tuple(np.ravel(mark.colors)[:3]) for mark in viewer.scene._marks]
    assert lit[0] == lit[1] != lit[2] == lit[3]
    assert all(mark.visible and 0 < mark.position[1] < 0.05 for mark in viewer.scene._marks)


def test_a_shape_that_has_just_changed_moves_the_bones_to_its_joints_and_keeps_the_mesh(viewer):
    viewer.scene.show(moving_frame(0))
    mesh = viewer.scene._meshes[-1]
    taller = dataclasses.replace(moving_frame(1), betas=np.array([2.0, 1.0, 0.0]))
    viewer.scene.show(taller)
    assert viewer.scene._meshes == [mesh]
    joints_m = load_body().with_shape(taller.betas).with_pose(taller.poses, taller.trans_m).joints_m
    assert np.abs(np.array([b.position for b in mesh.bones]) - joints_m).max() < 1e-5


def test_a_finished_take_is_shown_in_its_own_shape_and_the_first_flesh_is_hidden(viewer):
    viewer.scene.show(moving_frame(0))
    taller = dataclasses.replace(moving_frame(1), betas=np.array([2.0, 1.0, 0.0]))
    viewer.scene.frame_whole(taller, np.array([taller.trans_m]))
    viewer.scene.show(taller)
    old, new = viewer.scene._meshes
    assert (old.visible, new.visible) == (False, True)
    ours = load_body().with_shape(taller.betas).with_pose(taller.poses, taller.trans_m).skin().vertices_m
    assert np.quantile(np.linalg.norm(browser_skin(new) - ours, axis=1), 0.95) < 0.001


def test_a_shape_that_never_settles_makes_few_meshes():
    now_s, made = 0.0, 0
    remakes = Remakes(lambda: now_s)
    shapes = [load_body().with_shape(np.array([b, 0.0, 0.0])) for b in (-2.0, 2.0)]
    shown = shapes[0]
    for second in range(3600):
        now_s = float(second)
        wanted = shapes[second % 2]
        if remakes.due(wanted, shown):
            shown, made = wanted, made + 1
    assert 8 <= made <= 12
    assert not remakes.due(shown, shown)


def test_the_page_carries_the_script_that_revives_it(viewer):
    address = f"http://127.0.0.1:{viewer.port}/"
    pages = []
    for encoding in ("identity", "gzip"):
        with urlopen(Request(address, headers={"Accept-Encoding": encoding}), timeout=60) as answer:
            assert answer.headers["Content-Encoding"] == encoding
            page = answer.read()
        pages.append(gzip.decompress(page) if encoding == "gzip" else page)
    assert pages[0] == pages[1]
    assert pages[0].count(b"location.reload()") > 0
    assert pages[0].index(b"<head>") < pages[0].index(b"location.reload()")


def test_formats_that_cannot_be_written_here_say_why(monkeypatch):
    def check():
        raise HmcapError("Expected <Blender>; not found.")

    monkeypatch.setitem(EXPORTERS, "fbx", dataclasses.replace(EXPORTERS["fbx"], check=check))
    able, missing = sort_formats()
    assert "bvh" in able
    assert "fbx" not in able
    assert "<b>fbx</b>: Expected &lt;Blender&gt;; not found." in missing_html(missing)


@pytest.mark.parametrize("aspect", [390 / 844, 1280 / 800])
@pytest.mark.parametrize("turned", [False, True])
def test_the_first_view_shows_the_whole_person_from_the_front(aspect, turned):
    body = load_body().with_shape()
    R_root = axis_angle_to_matrix(np.array([0, np.pi if turned else 0.2, 0]))
    T = moving_frame(0).T_cam_world
    way_m = np.array([[-0.6, 0.9, 0], [0.7, 0.95, 0.4]])
    facing = R_root @ np.array([0, 0, 1.0])
    view = front_view(way_m, facing, T, aspect)
    ahead = view.look_at_m - view.position_m
    ahead /= np.linalg.norm(ahead)
    assert ahead @ facing < -0.6, "the view is not from the front"
    right = np.cross(ahead, [0, 1, 0])
    right /= np.linalg.norm(right)
    up = np.cross(right, ahead)
    for pelvis_m in way_m:
        points = (body.vertices_m() - body.joints_m[0]) @ R_root.T + pelvis_m - view.position_m
        depth = points @ ahead
        assert np.abs(points @ up / depth).max() < np.tan(FOV_RAD / 2)
        assert np.abs(points @ right / depth).max() < np.tan(FOV_RAD / 2) * aspect


def test_an_export_is_the_file_that_the_command_line_writes():
    name, content = export_bytes(moving_take(), "bvh", ExportOptions())
    assert name == "clip.bvh"
    assert len(read_bvh(content.decode()).root_m) == 50


def shades(folder: Path) -> Path:
    """Footage whose frame k is a grey of 5 k."""
    path = folder / "shades.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (64, 48))
    for number in range(50):
        writer.write(np.full((48, 64, 3), 5 * number, np.uint8))
    writer.release()
    return path


def test_footage_gives_the_picture_that_was_asked_for_last(tmp_path):
    path = shades(tmp_path)
    pictures: list[float] = []
    came = threading.Condition()

    def show(jpeg):
        with came:
            pictures.append(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).mean())
            came.notify()

    footage = Footage(moving_take(source=str(path)), show)
    for count, number in enumerate((3, 40, 39, 3, 49), 1):
        kept = footage.want(number)
        assert (kept is not None) == (count == 4)  # the one that was shown before is there at once
        if kept is not None:
            show(kept)
        with came:
            assert came.wait_for(lambda count=count: len(pictures) == count, timeout=60)
        assert pictures[-1] == pytest.approx(5 * number, abs=2)
    footage.close()
    assert not footage.missing


def test_footage_runs_ahead_of_a_take_that_plays(tmp_path):
    path = shades(tmp_path)
    late: list[bytes | None] = []
    footage = Footage(moving_take(source=str(path)), late.append)
    assert footage.want(5, speed=1.0) is None
    due = footage.moments(5, 1.0)
    assert len(due) >= 3
    assert due[0] > 5
    assert footage.moments(5, 0.25) == list(range(6, 6 + round(AHEAD_S * FPS / 4)))
    deadline = time.monotonic() + 60
    for number in due:
        while (jpeg := footage._kept.get(number)) is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).mean() == pytest.approx(5 * number, abs=2)
        assert footage.want(number, speed=1.0) == jpeg
    assert not late  # each came before its moment, to be shown with its pose
    footage.close()


def test_footage_that_is_gone_is_no_error():
    asked = threading.Event()
    footage = Footage(moving_take(), lambda jpeg: asked.set())
    footage.want(0)
    assert asked.wait(60)
    footage.close()
    assert "nowhere.mp4" in footage.missing


def counts(frames=3):
    return RunStats(frames, frames, 0, 1.0, {"body": 0.03, "sinks": 0.01}, {"body": frames, "sinks": frames})


def test_a_sink_shows_the_newest_and_reports_the_run(tmp_path):
    take = moving_take()
    sink = ViewerSink(load_body(), "127.0.0.1", 0)
    try:
        with TakeWriter(tmp_path / "clip.hmcap", take.header) as writer:
            sink.watch(Running(counts, lambda: None, lambda: read_part(writer)))
            sink.open(take.header)
            for motion in take.motion:
                frame = Frame(motion.index, motion.stamp_s, np.full((48, 64, 3), 90, np.uint8))
                proxies = Proxies.absent(motion.index, motion.stamp_s, (64, 48))
                writer.add_proxies(proxies)
                writer.add_motion(motion, 0)
                sink(frame, proxies, motion)
            writer.flush()
            so_far = sink._take_now()
            sink.close()
            ours = load_body().with_shape(motion.betas).with_pose(motion.poses, motion.trans_m)
            shown_m = np.array([b.position for b in sink.viewer.scene._meshes[-1].bones])
            assert np.abs(shown_m - ours.joints_m).max() < 1e-5
            assert "in view" in sink.viewer._status.content
            assert "10.0 ms" in sink.viewer._details.content
        assert len(so_far.motion) == 50
        assert len(read_take(tmp_path / "clip.hmcap").motion) == 50
    finally:
        sink.release()
        sink.release()
    with socket.socket() as again:
        again.bind(("127.0.0.1", sink.viewer.port))


def test_a_capture_from_python_shows_itself_and_lets_go_of_the_port(tmp_path):
    def solve(proxies, camera, *, settings, model, progress):
        return stand(proxies, camera)

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    video = make_video(tmp_path / "dance.mp4", count=5)
    camera = moving_frame(0).camera
    live = SimpleNamespace(push_all=lambda proxies: stand(proxies, camera), together=True)
    result = capture_video(
        video, viewer=f"127.0.0.1:{port}", parts=Parts(landmarks=Landmarks(), motion=live, solve=solve)
    )
    assert result.report.frames == 5
    assert result.take is not None
    with socket.socket() as again:
        again.bind(("127.0.0.1", port))


@pytest.mark.skipif(os.name != "posix", reason="signals of another process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_ends_the_player_well(tmp_path, number):
    path = tmp_path / "clip.hmcap"
    write_take(path, moving_take(), moving_take().motion)
    words = [sys.executable, "-u", "-m", "hmcap.realtime.cli", "play", str(path), "--viewer", "127.0.0.1:0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        process.send_signal(number)
        _, err = process.communicate(timeout=WAIT_S)
    assert "viewer: http://127.0.0.1:" in lines[0]
    assert (process.returncode, err) == (0, "")


def chromium() -> str | None:
    """A Chromium that is installed here."""
    named = os.environ.get("HMCAP_CHROMIUM")
    found = [shutil.which(n) for n in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")]
    return named or next(filter(None, found), None)


@pytest.fixture
def open_page():
    """Opens a page in a browser; at the end, none of its pages may have complained."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = chromium()
    if path is None:
        pytest.skip("no Chromium here; HMCAP_CHROMIUM names one")
    complaints: list[str] = []
    # The first flags draw WebGL without a graphics card; a browser that runs as root has no sandbox to run in.
    flags = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    flags += ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with playwright.sync_playwright() as api:
        browser = api.chromium.launch(executable_path=path, args=flags, timeout=WAIT_S * 1000)

        def open_one(url: str):
            # Small, because every pixel is drawn by the processor.
            page = browser.new_page(viewport={"width": 700, "height": 360})
            page.set_default_timeout(WAIT_S * 1000)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
            page.goto(url)
            page.wait_for_selector("canvas")
            return page

        yield open_one
        browser.close()
    assert complaints == []


def picture(page) -> np.ndarray:
    """The part of the page in which the body stands, with no panel over it."""
    png = page.screenshot(clip={"x": 190, "y": 20, "width": 180, "height": 330}, timeout=WAIT_S * 1000)
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR).astype(int)


def changed(a: np.ndarray, b: np.ndarray) -> float:
    """Share of the pixels that differ by more than rounding."""
    return float((np.abs(a - b).max(axis=-1) > 12).mean())


def settled(page) -> np.ndarray:
    """The picture once it no longer changes: the page fades in at first, slowly where drawing is slow."""
    until = time.monotonic() + WAIT_S
    before = picture(page)
    while True:
        now = picture(page)
        if changed(before, now) < 0.001 and now.max() > 100:
            return now
        assert time.monotonic() < until, "the picture does not come to rest"
        before = now


@pytest.mark.browser
@pytest.mark.slow
def test_a_browser_sees_the_body_move_and_downloads_the_motion(viewer, open_page, tmp_path):
    player = Player(moving_take(), loop=True)
    feeder = Feeder(player, [Playback(viewer, player)])
    feeder.start()
    try:
        page = open_page(viewer.url)
        first = settled(page)
        assert changed(first, picture(page)) < 0.001, "a paused player's picture changes"
        page.get_by_role("button", name="Play", exact=True).click()
        until = time.monotonic() + WAIT_S
        while changed(first, picture(page)) < 0.02:
            assert time.monotonic() < until, "the body does not move"
        assert player.playing
        page.get_by_role("button", name="Pause", exact=True).click()
        until = time.monotonic() + WAIT_S
        while player.playing:
            assert time.monotonic() < until, "the player does not pause"
            time.sleep(0.05)
        player.seek(0)
        assert changed(first, settled(page)) < 0.01, "the first frame looks another way the second time"
        player.seek(49)
        assert changed(first, settled(page)) > 0.02, "the last frame looks like the first"
        page.get_by_role("tab", name="Export").click()
        with page.expect_download(timeout=WAIT_S * 1000) as download:
            page.get_by_role("button", name="Download").click()
        assert download.value.suggested_filename == "clip.bvh"
        download.value.save_as(tmp_path / "clip.bvh")
    finally:
        feeder.stop()
    assert feeder.error is None
    assert len(read_bvh((tmp_path / "clip.bvh").read_text()).root_m) == 50


@pytest.mark.browser
@pytest.mark.slow
def test_stop_in_the_browser_ends_a_capture(open_page):
    stopped = threading.Event()
    take = moving_take()
    sink = ViewerSink(load_body(), "127.0.0.1", 0)
    try:
        sink.watch(Running(counts, stopped.set, lambda: Take(take.header, (), take.motion[:9], None, 0)))
        sink.open(take.header)
        page = open_page(sink.url)
        motion = take.motion[0]
        frame = Frame(0, 0.0, np.full((48, 64, 3), 90, np.uint8))
        sink(frame, Proxies.absent(0, 0.0, (64, 48)), motion)
        page.get_by_text("in view").wait_for()
        page.get_by_role("button", name="Stop").click()
        assert stopped.wait(WAIT_S)
    finally:
        sink.release()


@pytest.mark.browser
@pytest.mark.slow
def test_a_browser_with_the_token_sees_the_body_and_asks_nobody_else(open_page):
    served = Viewer(load_body(), Address("127.0.0.1", 0), "clip", ExportOptions(), moving_take, "a-token-of-the-test")
    try:
        served.scene.show(moving_frame(0))
        page = open_page(served.url)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda opened: asked.append(opened.url))
        page.goto(f"http://127.0.0.1:{served.port}/")  # the cookie stands for the token from here on
        page.wait_for_selector("canvas")
        until = time.monotonic() + WAIT_S
        while not served.clients or not any(url.startswith("ws://") for url in asked):
            assert time.monotonic() < until, "the page does not connect"
            page.wait_for_timeout(100)
        own = (f"http://127.0.0.1:{served.port}", f"ws://127.0.0.1:{served.port}", "data:", "blob:")
        assert [url for url in asked if not url.startswith(own)] == []
    finally:
        served.close()
