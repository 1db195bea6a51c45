"""The live window: its keys, what is written on it, recording by key, and a real one where there is a display."""

import dataclasses
import os
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import glfw
import numpy as np
import pytest
from hmcap.models.body import load_body
from hmcap.realtime import panels, screen
from hmcap.realtime.options import CaptureOptions
from hmcap.realtime.outputs import plan_outputs, plan_unused
from hmcap.realtime.rates import RecentRates, rates_between
from hmcap.realtime.recording import RecordState, RecordSwitch
from hmcap.realtime.screen import ESCAPE, NoScreenError, Screen, letterbox, why_no_screen
from hmcap.realtime.window import LiveWindow
from window_parts import HEADER, FakeScreen, frame_at, give, seen, stats_of, stood


def make_window(tmp_path, keys=(), **more):
    fake, said, now = FakeScreen(keys, **more), [], iter(np.arange(0, 1e4, 0.01))
    switch = RecordSwitch(HEADER, lambda: plan_unused("take", tmp_path, CaptureOptions()))
    window = LiveWindow("cam", load_body(), switch, said.append, fake, lambda: float(next(now)))
    window.open(HEADER)
    return window, fake, switch, said


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
    assert [take.frames for take in switch.takes] == [3]


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
