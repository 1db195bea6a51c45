"""Live sources that fail: a camera pulled out or hanging; a stream that stalls, hangs up, changes, sends noise."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from bad_streams import BadServer, Reset, Send, Stall, pulled_camera, transport_stream
from hmcap.models.errors import HmcapError
from hmcap.realtime import sources_live, sources_stream, sources_webcam
from hmcap.realtime.frames import fitted
from hmcap.realtime.pump import Pump
from hmcap.realtime.queues import Ended
from hmcap.realtime.sources import open_source
from test_sources import write_video

HANG_S = 60.0


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """All waits short: their order counts here, not their length."""
    monkeypatch.setattr(sources_live, "FIRST_WAIT_S", 0.1)
    monkeypatch.setattr(sources_live, "LONGEST_WAIT_S", 0.3)
    monkeypatch.setattr(sources_stream, "LIVE_TIMEOUT_S", 1.0)
    monkeypatch.setattr(sources_stream, "_READ_TIMEOUT_S", 1.0)


def captured(source, done):
    """Frames and news of a source until ``done`` says so of a frame, given the news so far; its warnings are then
    complete."""
    frames, news = [], []
    with source:
        for frame in source:
            frames.append(frame)
            news += source.news()
            if done(frame, news):
                source.interrupt()
    assert all(b.index > a.index and b.stamp_s > a.stamp_s for a, b in itertools.pairwise(frames))
    assert {f.image_rgb.shape for f in frames} <= {(source.height_px, source.width_px, 3)}
    return frames, news + source.news()


def is_back(_, news):
    return any("is back" in n for n in news)


def reaches(level):
    """Whether a frame is so bright in its middle: films brighten from frame to frame."""
    return lambda frame, _: middle(frame) >= level


def middle(frame):
    return int(frame.image_rgb[frame.image_rgb.shape[0] // 2, frame.image_rgb.shape[1] // 2].mean())


def plugged(monkeypatch, *lives):
    camera = pulled_camera(*lives)
    monkeypatch.setattr(sources_webcam.cv2, "VideoCapture", camera)
    return camera


def gap_s(frames):
    return float(np.max(np.diff([f.stamp_s for f in frames])))


def test_a_camera_that_is_pulled_out_and_put_back_goes_on(monkeypatch):
    camera = plugged(monkeypatch, (40, 64, 48), None, None, (40, 64, 48))
    source = open_source(0)
    frames, news = captured(source, is_back)
    assert camera.opened == camera.released == 2
    assert len(news) == 2  # each told once, however often it was tried
    assert news[0].startswith("webcam0 is lost (it stopped giving pictures): trying again for 60 s.")
    assert news[1].startswith("webcam0 is back after")
    assert gap_s(frames) >= 0.1  # the absence stays a gap
    assert any("was lost once" in w for w in source.warnings)


def test_a_camera_that_does_not_come_back_ends_the_capture_with_what_there_is(monkeypatch):
    monkeypatch.setattr(sources_live, "GIVE_UP_S", 1.0)
    camera = plugged(monkeypatch, (40, 64, 48))
    source = open_source(0)
    frames, news = captured(source, lambda *_: False)
    assert frames
    assert camera.released == 1
    assert news[-1] == "webcam0 gave no picture for 1 s and was given up; what came before is kept."
    assert source.warnings == news[-1:]


@pytest.mark.parametrize(("size", "bars"), [((128, 96), False), ((48, 64), True)])
def test_a_camera_that_comes_back_with_another_size_is_scaled_into_the_first(monkeypatch, size, bars):
    plugged(monkeypatch, (30, 64, 48), (30, *size))
    source = open_source(0)
    frames, news = captured(source, lambda _, news: len(news) == 3)
    assert bool((frames[-1].image_rgb[:, 0] == 0).all()) == bars
    assert f"now gives {size[0]}x{size[1]}" in news[2]
    assert any("field of view" in w for w in source.warnings) == bars
    assert any("was lost once" in w for w in source.warnings)


def test_a_camera_that_never_answers_again_is_given_up(monkeypatch):
    monkeypatch.setattr(sources_live, "GIVE_UP_S", 1.0)
    camera = plugged(monkeypatch, "hangs")
    monkeypatch.setattr(sources_webcam.WebcamSource, "silence_s", 0.3)
    # the only picture is the one that shows that it works
    with open_source(0) as source:
        assert list(source) == []
    news = source.news()
    assert "no picture comes" in news[0]
    assert "given up" in news[1]
    assert camera.released == 0  # not under the driver that still holds it
    camera.let_go.set()
    until = time.monotonic() + HANG_S
    while not camera.released and time.monotonic() < until:
        time.sleep(0.01)
    assert camera.released == 1


def interrupted(source, after_s=0.3):
    """What a source gives that is interrupted from another thread; it must end."""
    frames = []
    with source:
        thread = threading.Thread(target=lambda: frames.extend(source), daemon=True)
        thread.start()
        time.sleep(after_s)
        source.interrupt()
        thread.join(HANG_S)
        assert not thread.is_alive()
    return frames


def test_a_camera_that_hangs_can_be_interrupted(monkeypatch):
    monkeypatch.setattr(sources_live, "GIVE_UP_S", 1e6)
    camera = plugged(monkeypatch, "hangs")
    assert interrupted(open_source(0)) == []
    camera.let_go.set()


def test_a_camera_that_is_away_can_be_interrupted(monkeypatch):
    monkeypatch.setattr(sources_live, "GIVE_UP_S", 1e6)
    monkeypatch.setattr(sources_live, "LONGEST_WAIT_S", 1e6)
    monkeypatch.setattr(sources_live, "FIRST_WAIT_S", 1e6)
    plugged(monkeypatch, (20, 64, 48))
    interrupted(open_source(0), 1.0)


def test_a_grey_camera_gives_rgb(monkeypatch):
    camera = plugged(monkeypatch, (20, 64, 48))
    monkeypatch.setattr(camera, "read", lambda self: (True, np.full((48, 64), 7, np.uint8)))
    with open_source(0, max_frames=2) as source:
        assert [f.image_rgb.tolist() for f in source] == [np.full((48, 64, 3), 7).tolist()] * 2


@pytest.fixture(scope="module")
def films():
    """Three pieces of one stream: its beginning, its continuation, and another size."""
    return (
        transport_stream(45),
        transport_stream(45, start_s=1.5, shade=60),
        transport_stream(45, size=(48, 64), shade=120),
    )


@pytest.mark.parametrize("http", [True, False])
def test_a_stream_that_breaks_off_comes_back(films, http):
    with BadServer([Send(films[0], 1.5), Reset()], None, [Send(films[1], 1.5)], http=http) as server:
        source = open_source(server.url)
        frames, news = captured(source, reaches(90))
    assert source.live
    assert server.clients == 3
    assert len(news) == 2
    assert "is lost (connection reset by peer)" in news[0]
    assert "is back after" in news[1]
    assert middle(frames[0]) < 50 < 90 <= middle(frames[-1])
    assert gap_s(frames) >= 0.1
    assert any("was lost once" in w for w in source.warnings)


@pytest.mark.parametrize("http", [True, False])
def test_a_stream_that_stalls_is_opened_again_and_may_have_another_size(films, http):
    with BadServer([Send(films[0], 1.5), Stall(HANG_S)], [Send(films[2], 1.5)], http=http) as server:
        source = open_source(server.url)
        frames, news = captured(source, reaches(150))
    assert "lost (no data came in time)" in news[0]
    assert "now gives 48x64 pictures; they are scaled into 64x48, with black bars." in news[2]
    assert gap_s(frames) >= 0.5


def test_noise_between_packets_costs_frames_and_not_the_stream(films):
    noise = np.random.default_rng(0).integers(0, 256, 4000, dtype=np.uint8).tobytes()
    half = len(films[0]) // 376 * 188
    script = [Send(films[0][:half], 0.7), Send(noise), Send(films[0][half:], 0.7), Stall(HANG_S)]
    with BadServer(script) as server:
        frames, _ = captured(open_source(server.url), reaches(40))
    assert middle(frames[-1]) >= 40  # the last pictures came


def test_a_leap_of_the_stream_s_clock_puts_no_hours_into_the_take():
    stamps = [i / 30 + (20000 if i >= 60 else 0) for i in range(90)]
    with BadServer([Send(transport_stream(90, stamps_s=stamps), 3.0)]) as server:
        source = open_source(server.url)
        frames, news = captured(source, reaches(80))
    assert 1 < frames[-1].stamp_s < HANG_S
    assert any("clock leapt" in n for n in news)
    assert any("clock of live leapt" in w for w in source.warnings)


def test_a_recording_that_is_sent_anew_is_captured_once(films):
    with BadServer(*[[Send(films[0], 1.5)]] * 5) as server:
        source = open_source(server.url)
        frames, news = captured(source, lambda *_: False)
    assert server.clients == 2
    assert len(frames) <= 45
    assert "its server sends a recording" in news[-1]
    assert source.warnings == [news[-1]]


def test_a_stream_that_stalls_can_be_interrupted(films, monkeypatch):
    for name in ("LIVE_TIMEOUT_S", "_READ_TIMEOUT_S"):
        monkeypatch.setattr(sources_stream, name, 30.0)
    with BadServer([Send(films[0], 1.0), Stall(HANG_S)], http=False) as server:
        assert interrupted(open_source(server.url), 1.5)


def test_a_served_file_that_stops_in_the_middle_keeps_what_came(tmp_path):
    # With a length it is a file: every frame is given.
    data = write_video(tmp_path / "a.mp4", 200, size=(160, 120), options={"movflags": "faststart"}).read_bytes()
    head = b"HTTP/1.0 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: %d\r\n\r\n" % len(data)

    with (
        BadServer([Send(data[: len(data) // 2]), Stall(HANG_S)], head=head) as server,
        open_source(server.url.replace(".ts", ".mp4")) as source,
    ):
        assert not source.live
        frames = list(source)
    assert 20 < len(frames) < 200
    assert [f.index for f in frames] == list(range(len(frames)))
    assert "damaged or cut short (no data came in time)" in source.warnings[0]


_CHILD = """
import sys
sys.path.insert(0, sys.argv[2])
from test_cli import Landmarks, stand
from hmcap.realtime.capture import capture_video
from hmcap.realtime.run import Parts

class Seeing(Landmarks):
    def body(self, image_rgb, index, stamp_s):
        print("seen", flush=True)
        return super().body(image_rgb, index, stamp_s)

def solve(proxies, camera, **_):
    return stand(proxies, camera)

result = capture_video(sys.argv[1], show=True, parts=Parts(Seeing(), None, solve), out=sys.argv[3])
print("take", result.take, result.interrupted, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process there")
def test_ctrl_c_while_a_stream_is_away_keeps_the_take(tmp_path):
    away = threading.Event()
    script = [Send(transport_stream(60, shade=100), 2.0, away), Reset()]
    words = [sys.executable, "-u", "-c", _CHILD]
    # It breaks off again and again, however long the child takes to begin, and for good once a frame was seen.
    with BadServer(*[script] * 500, http=False) as server:
        child = subprocess.Popen(
            [*words, server.url, os.path.dirname(__file__), str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("seen"):
                away.set()
            if away.is_set() and "is lost" in line:
                break
        child.send_signal(signal.SIGINT)
        rest, _ = child.communicate(timeout=3 * HANG_S)
    assert child.returncode == 0, rest
    assert "Stopping: what was captured is kept" in rest
    assert f"take {tmp_path / 'live.hmcap'} True" in rest


def test_an_address_that_does_not_answer_can_be_left(monkeypatch):
    gate, opened, closed = threading.Event(), [], []

    def slow():
        gate.wait(HANG_S)
        opened.append(1)
        return 1

    def leave(self, timeout=None):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", leave)
        with pytest.raises(KeyboardInterrupt):
            sources_live.patiently(slow, closed.append)
    gate.set()
    until = time.monotonic() + HANG_S
    while not closed and time.monotonic() < until:
        time.sleep(0.01)
    assert (opened, closed) == ([1], [1])


def test_a_pump_hands_on_everything_and_then_the_error():
    def items():
        yield from range(5)
        raise HmcapError("broken")

    pump = Pump(items(), "test", 2, newest_only=False)
    assert [pump.take(HANG_S) for _ in range(5)] == list(range(5))
    with pytest.raises(HmcapError, match="broken"):
        pump.take(HANG_S)
    ended = Pump(iter(()), "test", 2, newest_only=False)
    with pytest.raises(Ended):
        ended.take(HANG_S)


def test_pictures_are_fitted_whole_and_undistorted():
    image = np.full((30, 60, 3), 200, np.uint8)
    out = fitted(image, 40, 40)
    assert out.shape == (40, 40, 3)
    assert (out[10:30] == 200).all()
    assert (out[:10] == 0).all()
    assert (out[30:] == 0).all()
    assert (fitted(image, 30, 15) == 200).all()
    assert (fitted(image, 31, 15) == 200).all()  # rounding is no other shape
    assert fitted(image, 1, 1).shape == (1, 1, 3)
