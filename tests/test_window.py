"""The live window: its keys, what is written on it, recording by key, and a real one where there is a display."""

import dataclasses
import os
import shutil
import subprocess
import sys
import time
from collections import deque
from types import SimpleNamespace

import glfw
import hmcap.realtime.run as capture_run
import numpy as np
import pytest
from hmcap.models.body import load_body
from hmcap.models.camera import Camera
from hmcap.models.errors import HmcapError
from hmcap.models.motion import MotionFrame
from hmcap.models.proxies import Proxies
from hmcap.realtime import capture, capture_webcam, journal, panels, read_take, screen, sources_webcam
from hmcap.realtime.frames import Frame
from hmcap.realtime.loop import RunStats
from hmcap.realtime.options import CaptureOptions
from hmcap.realtime.outputs import numbered, plan_outputs, plan_unused
from hmcap.realtime.rates import RecentRates, rates_between
from hmcap.realtime.recording import RecordState, RecordSwitch
from hmcap.realtime.screen import ESCAPE, NoScreenError, Screen, letterbox, why_no_screen
from hmcap.realtime.take import TakeHeader
from hmcap.realtime.window import LiveWindow

CAMERA = Camera.from_fov(64, 48, 60)
HEADER = TakeHeader("webcam:0", "webcam0", 30.0, 64, 48, CAMERA, live=True)


def frame_at(index: int, shade: int = 90) -> Frame:
    return Frame(index, index / 30, np.full((48, 64, 3), shade, np.uint8))


def seen(frame: Frame) -> Proxies:
    return dataclasses.replace(Proxies.absent(frame.index, frame.stamp_s, (64, 48)), score=0.9)


def stood(proxies: Proxies, camera: Camera | None = CAMERA) -> MotionFrame:
    """A person three metres in front of a level camera at hip height."""
    T = np.diag([1.0, -1, -1, 1])
    T[:3, 3] = (0, 0.9, 3)
    zeros = np.zeros
    return MotionFrame(
        proxies.index, proxies.stamp_s, proxies.present, zeros(10), zeros((55, 3)), np.array([0, 0.9, 0]), T,
        camera or CAMERA, np.ones(4), np.ones(8), np.arange(8) > 0, 1.0,
    )  # fmt: skip


def stats_of(frames: int = 0, elapsed_s: float = 0.0, dropped: int = 0, **busy_s: float) -> RunStats:
    return RunStats(frames, frames, dropped, elapsed_s, busy_s, dict.fromkeys(busy_s, frames))


class FakeScreen:
    """Stands in for the window: remembers what it was shown, and types what it is told."""

    def __init__(self, keys=(), size_px=(320, 240)):
        self.typed, self.size_px, self.scale = deque(keys), size_px, 1.0
        self.shown, self.open = [], True
        self.gone = False

    def __call__(self, title, width_px, height_px):
        return self

    def keys(self):
        if self.gone:
            raise NoScreenError("unplugged")
        return [self.typed.popleft()] if self.typed else []

    def show(self, image, panels=()):
        self.shown.append((image, list(panels)))

    def close(self):
        self.open = False


def make_window(tmp_path, keys=(), **more):
    fake, said, now = FakeScreen(keys, **more), [], iter(np.arange(0, 1e4, 0.01))
    switch = RecordSwitch(HEADER, lambda: plan_unused("take", tmp_path, CaptureOptions()))
    window = LiveWindow("cam", load_body(), switch, said.append, fake, lambda: float(next(now)))
    window.open(HEADER)
    return window, fake, switch, said


def give(sinks, index, shade=90):
    frame = frame_at(index, shade)
    for sink in sinks:
        sink(frame, seen(frame), stood(seen(frame)))


# -- what is shown -----------------------------------------------------------------------------------------------------


def test_the_newest_frame_is_drawn_once_with_the_body_in_it(tmp_path):
    window, fake, *_ = make_window(tmp_path)
    give([window], 0, 10)
    give([window], 1, 90)
    assert not window.draw(stats_of(1, 0.1))
    image, _ = fake.shown[-1]
    assert image.shape == (240, 320, 3)
    assert tuple(image[0, 0]) == (90, 90, 90)
    assert np.abs(image.astype(int) - 90).max() > 60
    assert not window.draw(stats_of(1, 0.1))
    assert len(fake.shown) == 1


def test_without_pictures_the_writing_goes_on(tmp_path):
    window, fake, *_ = make_window(tmp_path)
    for k in range(200):
        window.draw(stats_of(0, k / 100))
    assert 2 <= len(fake.shown) <= 6
    assert fake.shown[-1][0] is None


def test_a_picture_keeps_its_shape_in_any_window(tmp_path):
    for size, wanted in (((320, 240), (240, 320)), ((400, 240), (240, 320)), ((320, 600), (240, 320))):
        window, fake, *_ = make_window(tmp_path, size_px=size)
        give([window], 0)
        window.draw(stats_of(1, 0.1))
        assert fake.shown[-1][0].shape[:2] == wanted
    assert letterbox(1920, 1080, 1000, 1000) == (0, 219, 1000, 562)
    assert letterbox(100, 400, 1000, 200) == (475, 0, 50, 200)


def test_the_status_says_who_is_seen_and_what_is_held():
    def text(motion, dropped=0):
        return [line.text for line in panels.status_lines(frame_at(30), motion, rates, dropped, 1.0)]

    rates = rates_between(stats_of(0, 0), stats_of(28, 1))
    assert text(stood(seen(frame_at(30)))) == ["28.0 fps   frame 30   1.0 s", "held: torso"]
    assert text(None, 3)[1:] == ["3 dropped", "nobody in view"]
    absent = dataclasses.replace(stood(seen(frame_at(30))), present=False)
    assert text(absent)[1:] == ["nobody in view"]
    held = dataclasses.replace(stood(seen(frame_at(30))), measured=np.zeros(8, bool))
    assert len(text(held)) == 5
    assert text(dataclasses.replace(held, measured=np.ones(8, bool)))[1:] == ["all measured"]
    waiting = panels.status_lines(None, None, rates, 0, 4.2)
    assert "waiting" in waiting[0].text


def test_times_are_those_of_the_last_second():
    recent = RecentRates()
    rates = recent(stats_of())
    for k in range(1, 101):  # ten frames a second at 5 ms, then at 20 ms
        slow = max(0, k - 50)
        busy = 0.005 * (k - slow) + 0.020 * slow
        rates = recent(stats_of(k, k / 10, body=busy, **{"landmarks.pose": busy / 2}))
    assert rates.fps == pytest.approx(10)
    assert rates.times_ms == pytest.approx({"body": 20.0, "landmarks.pose": 10.0})
    lines = panels.time_lines(rates)
    assert [(line.text.strip(), line.value) for line in lines] == [("body", "20.0 ms"), ("pose", "10.0 ms")]
    assert panels.time_lines(rates_between(stats_of(), stats_of()))[0].text == "no times yet"
    # what did not run in that second has no time
    assert rates_between(stats_of(3, 1, hands=0.1), stats_of(3, 2, hands=0.1)).times_ms == {}


def test_recording_is_marked_with_its_duration():
    assert panels.record_lines(RecordState(False)) == []
    assert panels.record_lines(RecordState(True, 75.4))[0].text == "REC 1:15"


def test_panels_are_as_high_as_their_lines_and_hold_the_words():
    one, two = (panels.draw_panel([panels.Line("some words")] * n, 20) for n in (1, 2))
    assert two.shape[0] - one.shape[0] == 20
    assert one.shape[1] == two.shape[1]
    assert one[..., :3].max() > 200
    assert panels.draw_panel([panels.Line("größer")], 20).shape[1] > 20
    lines = panels.wrapped("Recording stopped: no room in /" + "x" * 60 + " for it.", 25, panels.RED)
    assert all(0 < len(line.text) <= 25 for line in lines)
    assert "".join(line.text for line in lines).replace(" ", "").endswith("forit.")


# -- keys --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["q", "Q", ESCAPE])
def test_keys_that_end_the_capture(tmp_path, key):
    window, *_ = make_window(tmp_path, ["x", key])
    assert not window.draw(stats_of())
    assert window.draw(stats_of())


def test_keys_that_show_and_hide(tmp_path):
    window, fake, *_ = make_window(tmp_path, ["t", "h", "t", "?"])
    counts = []
    give([window], 0)
    for _ in range(4):
        window.draw(stats_of(5, 20.0, body=0.1))
        counts.append(len(fake.shown[-1][1]))
    assert counts == [2, 3, 2, 1]


def test_the_key_for_recording_begins_and_ends_takes(tmp_path):
    window, fake, switch, _ = make_window(tmp_path, ["r"])
    give([switch, window], 4)
    window.draw(stats_of())
    assert switch.state().on
    for k in range(5, 8):
        give([switch, window], k)
    window.draw(stats_of(8, 30.0))
    assert len(fake.shown[-1][1]) == 2
    assert switch.state().duration_s == pytest.approx(2 / 30)
    fake.typed.append("r")
    window.draw(stats_of(8, 30.0))
    give([switch], 8)
    assert not switch.state().on
    assert [len(take.proxies) for take in switch.takes] == [3]


def test_a_lost_window_is_told_and_ends_nothing(tmp_path):
    window, fake, _, said = make_window(tmp_path)
    give([window], 0)
    fake.gone = True
    assert not window.draw(stats_of())
    assert not window.draw(stats_of())
    assert len(said) == 1
    assert "unplugged" in said[0]
    window.close()

    def refuse(*_):
        raise NoScreenError("no display")

    closed = LiveWindow("cam", load_body(), RecordSwitch(HEADER, lambda: plan_outputs("x", tmp_path, CaptureOptions())),
                        said.append, refuse)  # fmt: skip
    closed.open(HEADER)
    assert not closed.draw(stats_of())
    assert "no display" in said[1]


# -- recording ---------------------------------------------------------------------------------------------------------


def switch_in(folder, **more) -> RecordSwitch:
    return RecordSwitch(HEADER, lambda: plan_unused("take", folder, CaptureOptions()), **more)


def test_each_press_is_a_take_that_begins_at_that_moment(tmp_path):
    with switch_in(tmp_path) as switch:
        for k in range(20):
            if k in (3, 7, 10, 16):
                switch.toggle()
            if k != 12:  # a frame that was dropped
                give([switch], k)
        switch.close()
        assert [t.outputs.take.name for t in switch.takes] == ["take.hmcap", "take-2.hmcap"]
        counts = [take.stats(stats_of(19, 1.0, dropped=7)) for take in switch.takes]
    assert [(c.frames, c.seen, c.dropped) for c in counts] == [(4, 4, 0), (5, 5, 1)]
    for name, indices in (("take", [0, 1, 2, 3]), ("take-2", [0, 1, 3, 4, 5])):
        take = read_take(tmp_path / f"{name}.hmcap")
        assert [p.index for p in take.proxies] == [m.index for m in take.motion] == indices
        assert [p.stamp_s for p in take.proxies] == pytest.approx([i / 30 for i in indices])
        assert take.revision == 0
        assert take.header.created
    told = switch.news()
    assert [text.split()[0] for text in told] == ["Recording", "Recorded", "Recording", "Recorded"]
    assert switch.news() == []


def test_a_take_from_the_start_counts_what_was_dropped_before_its_first_frame(tmp_path):
    with switch_in(tmp_path, on=True) as switch:
        for k in (2, 3, 5):
            give([switch], k)
    assert switch.takes[0].stats(stats_of()).dropped == 3


def test_a_full_disk_stops_the_recording_and_nothing_else(tmp_path, monkeypatch):
    with switch_in(tmp_path, on=True) as switch:
        for k in range(3):
            give([switch], k)
        writer = switch.takes[0].writer
        writer.flush()

        def full(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(writer._writer, "add_message", full)
        give([switch], 3)
        state = switch.state()
        assert not state.on
        assert "No space left" in state.error
        assert any("No space left" in text for text in switch.news())
        give([switch], 4)
        assert len(switch.errors) == 1
        switch.toggle()
        assert switch.state().error == ""
        give([switch], 5)
    assert len(read_take(tmp_path / "take.hmcap").proxies) == 3
    assert len(read_take(tmp_path / "take-2.hmcap").proxies) == 1


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    switch = switch_in(tmp_path / "file" / "deep", on=True)
    give([switch], 0)
    assert not switch.state().on
    assert "--out FOLDER" in switch.state().error
    assert switch.takes == []


def test_names_that_are_taken_are_left_alone(tmp_path):
    options = CaptureOptions(export="bvh")
    names = []
    for made in ("cam.hmcap", "cam-2.hmcap" + journal.PART_SUFFIX, "cam-3.bvh", None):
        names.append(plan_unused("cam", tmp_path, options).take.name)
        if made is not None:
            (tmp_path / made).touch()
    assert names == ["cam.hmcap", "cam-2.hmcap", "cam-3.hmcap", "cam-4.hmcap"]
    report = tmp_path / "r.json"
    assert (numbered(report, 1), numbered(report, 2)) == (report, tmp_path / "r-2.json")
    assert numbered(None, 2) is None


# -- a whole capture ---------------------------------------------------------------------------------------------------


class Landmarks:
    def __init__(self):
        self.engines = {"net": SimpleNamespace(backend="stand-in", device="none")}

    def body(self, image_rgb, index, stamp_s):
        return SimpleNamespace(frame=Frame(index, stamp_s, image_rgb), times_s={"net": 0.001})

    def hands(self, found):
        return seen(found.frame)


class SlowCamera:
    """Stands in for cv2.VideoCapture: never ends, and leaves time for every frame."""

    def __init__(self, index):
        pass

    def isOpened(self):
        return True

    def set(self, *_):
        return True

    def get(self, _):
        return 30.0

    def read(self):
        time.sleep(0.004)
        return True, np.full((48, 64, 3), 200, np.uint8)

    def release(self):
        pass


@pytest.fixture
def stages(monkeypatch):
    """Stand-ins for camera, networks and solver."""

    def solve(proxies, camera, *, progress, **_):
        progress(1.0)
        return [stood(p, camera) for p in proxies]

    def live(camera, *_):
        return SimpleNamespace(push_all=lambda proxies: [stood(p, camera) for p in proxies], together=True)

    monkeypatch.setattr(sources_webcam.cv2, "VideoCapture", SlowCamera)
    monkeypatch.setattr(capture_run, "open_landmarks", lambda choices: Landmarks())
    monkeypatch.setattr(capture_run, "open_motion", lambda choices, **_: SimpleNamespace(
        engines={}, solve=solve, live=live
    ))  # fmt: skip


class Typist(FakeScreen):
    """Presses each key once some more pictures were shown."""

    def keys(self):
        if self.typed and len(self.shown) >= 6:
            self.shown.clear()
            return [self.typed.popleft()]
        return []


def type_into_the_window(monkeypatch, keys) -> Typist:
    typist = Typist(keys)
    monkeypatch.setattr(capture, "why_no_screen", lambda: "")
    monkeypatch.setattr(capture_run, "LiveWindow", lambda title, body, recording, say: LiveWindow(
        title, body, recording, say, typist
    ))  # fmt: skip
    return typist


def test_takes_recorded_by_key_are_solved_exported_and_named(stages, tmp_path, monkeypatch, capsys):
    typist = type_into_the_window(monkeypatch, "rrrtrq")
    monkeypatch.chdir(tmp_path)
    result = capture_webcam(0, show=True, window=True, report="r.json")
    assert not typist.open
    assert len(result.takes) == len(set(result.takes)) == 2
    assert result.take == result.takes[0]
    assert not result.interrupted
    for path in result.takes:
        take = read_take(path)
        assert path.name.startswith("webcam0-")
        assert take.revision == 1
        assert len(take.motion) == len(take.proxies) > 0
        assert take.proxies[0].index == 0
        assert take.report["frames"] == len(take.proxies)
    assert {path.name for path in result.files} == {"r.json", "r-2.json"}
    out = capsys.readouterr().out
    assert out.count("Recording to") == 2
    assert "Take 2 of 2" in out


def test_recording_from_the_start_ends_with_the_key_and_can_go_on(stages, tmp_path, monkeypatch):
    type_into_the_window(monkeypatch, "rrq")
    result = capture_webcam(0, window=True, export="bvh", out=tmp_path)
    assert [path.suffix for path in result.files] == [".bvh", ".bvh"]
    assert [path.stem for path in result.files] == [path.stem for path in result.takes]
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".bvh", ".bvh", ".hmcap", ".hmcap"]


def test_without_the_key_nothing_is_kept(stages, tmp_path, monkeypatch):
    type_into_the_window(monkeypatch, "q")
    monkeypatch.chdir(tmp_path)
    result = capture_webcam(0, window=True)
    assert (result.take, result.takes) == (None, ())
    assert list(tmp_path.iterdir()) == []


def test_one_take_that_fails_stops_none_of_the_others(stages, tmp_path, monkeypatch):
    type_into_the_window(monkeypatch, "rrrq")
    begin = RecordSwitch._begin

    def fail_first(self, frame):
        if not self.errors:
            raise HmcapError("no room for the first take")
        begin(self, frame)

    monkeypatch.setattr(RecordSwitch, "_begin", fail_first)
    with pytest.raises(HmcapError, match="no room for the first take"):
        capture_webcam(0, window=True, out=tmp_path)
    (path,) = tmp_path.iterdir()
    assert read_take(path).revision == 1


# -- where there is no display -----------------------------------------------------------------------------------------


def test_no_window_is_tried_where_linux_has_no_display(monkeypatch):
    monkeypatch.setattr(screen.sys, "platform", "linux")
    monkeypatch.setattr(screen.subprocess, "run", None)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert "no display" in why_no_screen()


@pytest.mark.parametrize(
    ("code", "out", "err", "words"),
    [
        (0, "open\n", "", ""),
        (0, "no: no OpenGL 3.3: nothing\n", "", "no OpenGL 3.3: nothing"),
        (-6, "", "qt: could not connect\naborted\n", "ended the process that tried (code -6: aborted)"),
        (1, "", "", "code 1: it said nothing"),
    ],
)
def test_the_reason_for_no_window_is_in_words(monkeypatch, code, out, err, words):
    monkeypatch.setenv("DISPLAY", ":0")
    done = SimpleNamespace(returncode=code, stdout=out, stderr=err)
    monkeypatch.setattr(screen.subprocess, "run", lambda *_, **__: done)
    assert why_no_screen().endswith(words + (")" if "(" not in words and err == "" and code == 1 else ""))
    assert bool(why_no_screen()) == bool(words)


def test_a_display_that_does_not_answer_is_a_reason(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")

    def hang(words, **more):
        raise subprocess.TimeoutExpired(words, more["timeout"])

    monkeypatch.setattr(screen.subprocess, "run", hang)
    assert "did not answer" in why_no_screen()


@pytest.mark.skipif(sys.platform != "linux", reason="a display that is not there")
def test_a_display_that_is_not_there_ends_no_process(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":987")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert "display" in why_no_screen()


def test_without_a_window_the_user_is_told_what_else_there_is(stages, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(capture, "why_no_screen", lambda: "there is no display here")
    monkeypatch.setattr(capture, "fallback_viewer", lambda choices: (choices, "Watch at http://127.0.0.1:8080"))
    result = capture_webcam(0, show=True, window=True, max_frames=3, record=True, out=tmp_path)
    assert len(result.takes) == 1
    assert "No window: there is no display here. Watch at http://127.0.0.1:8080" in capsys.readouterr().out


# -- a real window -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def display():
    """A display: a virtual one where Xvfb is installed, else the one that is there."""
    if sys.platform == "linux" and shutil.which("Xvfb"):
        read_end, write_end = os.pipe()
        words = ["Xvfb", "-displayfd", str(write_end), "-screen", "0", "1280x800x24", "-nolisten", "tcp"]
        server = subprocess.Popen(words, pass_fds=[write_end], stderr=subprocess.DEVNULL)
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            number = pipe.readline().strip()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DISPLAY", f":{number}")
            patch.delenv("WAYLAND_DISPLAY", raising=False)
            reason = why_no_screen() if number else "Xvfb does not start"
            if not reason:
                yield f":{number}"
        server.terminate()
        server.wait()
    else:
        reason = why_no_screen()
        if not reason:
            yield ""
    if reason:
        pytest.skip(reason)


def settle(window: Screen, image, panels=()) -> np.ndarray:
    """Show until the window system has caught up; the pixels."""
    for _ in range(20):
        window.keys()
        window.show(image, panels)
        time.sleep(0.01)
    return window.read()


def test_a_real_window_shows_picture_and_panels_in_their_place(display):
    image = np.zeros((90, 160, 3), np.uint8)
    image[:45, :80], image[45:, 80:] = (250, 30, 20), (20, 30, 250)
    window = Screen("hmcap test", 160, 90)
    try:
        rgba = np.full((20, 30, 4), 255, np.uint8)
        pixels = settle(window, image, [screen.Panel(rgba, 3, 5)])
        width, height = window.size_px
        assert pixels.shape == (height, width, 3)
        left, top, w, h = letterbox(160, 90, width, height)
        for x, y, colour in ((0.25, 0.25, image[0, 0]), (0.75, 0.75, image[-1, -1]), (0.75, 0.25, (0, 0, 0))):
            found = pixels[top + round(y * h), left + round(x * w)].astype(int)
            assert np.abs(found - colour).max() <= 3, (x, y, found)
        white = np.argwhere((pixels == 255).all(axis=-1))
        assert (white.min(axis=0) == (5, 3)).all()
        assert (white.max(axis=0) == (24, 32)).all()
        glfw.set_window_size(window._window, 300, 600)
        pixels = settle(window, image)
        if pixels.shape[0] > pixels.shape[1]:  # a window manager may refuse
            assert pixels[2].max() < 40
            assert pixels[pixels.shape[0] // 2 - 10, 10, 0] > 200
    finally:
        window.close()
    window.close()


def test_a_real_window_draws_mesh_and_skeleton(display, tmp_path):
    switch = RecordSwitch(HEADER, lambda: plan_outputs("x", tmp_path, CaptureOptions()))
    window = LiveWindow("cam", load_body(), switch)
    window.open(HEADER)
    try:
        pictures = []
        for mesh in (False, True, False):
            window.mesh = mesh
            give([window], 0)
            window.draw(stats_of(1, 60.0))
            pictures.append(window._screen.read())
        skeleton, mesh, again = pictures
        assert np.array_equal(skeleton, again)
        changed = np.abs(mesh.astype(int) - skeleton).max(axis=-1) > 20
        assert changed.mean() > 0.02
    finally:
        window.close()


@pytest.mark.skipif(shutil.which("xdotool") is None, reason="xdotool presses the keys")
def test_a_real_window_hears_keys(display):
    window = Screen("hmcap keys", 160, 90)
    try:
        settle(window, None)
        found = subprocess.run(
            ["xdotool", "search", "--name", "hmcap keys"], capture_output=True, text=True, check=True
        )
        name = found.stdout.split()[0]
        subprocess.run(["xdotool", "windowfocus", name, "key", "r", "question", "Q", "Escape"], check=True)
        heard = []
        until = time.monotonic() + 20
        while len(heard) < 4 and time.monotonic() < until:
            heard += window.keys()
            time.sleep(0.01)
        assert heard == ["r", "?", "Q", ESCAPE]
        glfw.set_window_should_close(window._window, True)
        assert window.keys() == [ESCAPE]
        assert window.keys() == []
    finally:
        window.close()
