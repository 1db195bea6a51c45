"""The whole command as a process: signals at every stage, what fails beside the capture, and what is left behind.

No time is asserted: the limits on waiting are there so that a run that hangs fails. What is printed and kept counts.
"""

import os
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hmcap.realtime.journal_reading import read_take

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals cannot be sent to one child on Windows")
COUNT = 400
WAIT_S = 60

_CHILD = """
import dataclasses, hashlib, os, sys, threading, time
from types import SimpleNamespace
import numpy as np
from hmcap.models.motion import MotionFrame
from hmcap.models.proxies import Proxies
from hmcap.realtime import cli, journal, outputs, run, sources_images

mode = os.environ["MODE"]

class Landmarks:
    engines = {"net": SimpleNamespace(backend="stand-in", device="none")}
    def body(self, image, index, stamp_s):
        if mode == "body fails" and index == 60:
            raise ZeroDivisionError("a fault")
        return SimpleNamespace(image=image, index=index, stamp_s=stamp_s, times_s={})
    def hands(self, seen):
        if seen.index == 30:
            print("capturing", flush=True)
        time.sleep(0.005)
        return dataclasses.replace(Proxies.absent(seen.index, seen.stamp_s, seen.image.shape[1::-1]), score=0.9)

def solve(proxies, camera, *, settings, model, progress):
    print("solving", flush=True)
    if mode == "solve held":
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)  # minutes in a library, deaf to signals
    if mode == "solve long":
        time.sleep(120)
    zeros = np.zeros
    return [MotionFrame(p.index, p.stamp_s, True, zeros(10), zeros((55, 3)), np.array([0, 1.0, 0]), np.eye(4), camera,
                        zeros(4), np.ones(8), np.ones(8, bool), 1.0) for p in proxies]

def open_landmarks(choices):
    if mode == "opening held":
        print("opening", flush=True)
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)
    return Landmarks()

run.open_landmarks = open_landmarks
run.open_motion = lambda choices, **_: SimpleNamespace(
    engines={}, solve=solve, live=lambda camera, *_: SimpleNamespace(
        together=False, push_all=lambda proxies: solve_quietly(proxies, camera)))

def solve_quietly(proxies, camera):
    zeros = np.zeros
    return [MotionFrame(p.index, p.stamp_s, True, zeros(10), zeros((55, 3)), np.array([0, 1.0, 0]), np.eye(4), camera,
                        zeros(4), np.ones(8), np.ones(8, bool), 1.0) for p in proxies]

if mode == "export long":
    exporter = outputs.EXPORTERS["npz"]
    def slow(ready, path):
        print("exporting", flush=True)
        time.sleep(120)
    outputs.EXPORTERS["npz"] = dataclasses.replace(exporter, export=slow)
if mode == "source hangs":
    frames = sources_images.ImageFolderSource._frames
    def hanging(self):
        for frame in frames(self):
            if frame.index == 60:
                print("hanging", flush=True)
                threading.Event().wait()
            yield frame
    sources_images.ImageFolderSource._frames = hanging
if mode == "disk full":
    message = journal.TakeWriter._message
    def full(self, topic, index, stamp_s, data):
        if index == 50 and self.path.parent.name == "full":
            error = OSError(28, "No space left on device")
            raise self._gave_up(error) from error
        message(self, topic, index, stamp_s, data)
    journal.TakeWriter._message = full
if mode == "sink fails":
    from hmcap.realtime.streams.vmc import VmcStream
    def fails(self, frame, proxies, motion):
        if frame.index >= 20:
            raise MemoryError
    VmcStream.__call__ = fails

code = cli.main()
left = [t.name for t in threading.enumerate() if t is not threading.main_thread() and t.name != "signals"]
if left:
    print("threads left:", left, file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    import cv2

    folder = tmp_path_factory.mktemp("footage") / "clip"
    folder.mkdir()
    data = cv2.imencode(".png", np.zeros((6, 8, 3), np.uint8))[1].tobytes()
    for i in range(COUNT):
        (folder / f"{i}.png").write_bytes(data)
    return folder


class Child:
    def __init__(self, clip, out, mode, *more, stdout=subprocess.PIPE):
        self.out = out
        (out / "home").mkdir()
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MODE": mode, "HOME": str(out / "home")}
        words = ["--video", str(clip), "--out", str(out / "full"), "--export", "npz", "--fov-deg", "60", *more]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, *words], stdout=stdout, stderr=subprocess.PIPE, text=True, env=environment
        )
        self.said = ""

    def until(self, word):
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if word in line:
                return
        pytest.fail(f"never came to {word}: {self.said} {self.process.communicate()}")

    def send(self, *numbers, gap_s=0.1):
        for k, number in enumerate(numbers):
            if k:
                time.sleep(gap_s)
            self.process.send_signal(number)

    def ends(self):
        """Exit code and what stderr says; no thread and no working file is left."""
        out, err = self.process.communicate(timeout=WAIT_S)
        self.said += out or ""
        assert "threads left" not in err
        assert "Traceback" not in err
        assert not list(self.out.rglob("*.part"))
        return self.process.returncode, err

    def take(self, folder="full"):
        take = read_take(self.out / folder / "clip.hmcap")
        assert take.recovery.complete
        assert [p.index for p in take.proxies] == list(range(len(take.proxies)))
        return take

    @property
    def exported(self):
        return (self.out / "full" / "clip.npz").is_file()


INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


def test_the_first_ctrl_c_ends_the_capture_and_everything_is_written(clip, tmp_path):
    child = Child(clip, tmp_path, "")
    child.until("capturing")
    time.sleep(random.uniform(0, 0.8))
    child.send(INT)
    assert child.ends() == (0, "")
    assert "Ctrl-C again stops at once" in child.said
    take = child.take()
    assert 30 <= len(take.proxies) == len(take.motion) <= COUNT
    assert child.exported


@pytest.mark.parametrize(
    ("mode", "word", "signals", "code"),
    [
        ("", "capturing", [INT, INT], 130),
        ("", "capturing", [TERM, TERM, TERM], 143),
        ("", "capturing", [HUP], 129),
        ("solve long", "solving", [INT, TERM], 130),
        ("solve held", "solving", [TERM], 143),
        ("export long", "exporting", [TERM, INT], 143),
    ],
)
def test_what_breaks_off_leaves_a_take_that_is_closed_and_named(clip, tmp_path, mode, word, signals, code):
    child = Child(clip, tmp_path, mode)
    child.until(word)
    child.send(*signals, gap_s=0.02)
    found, err = child.ends()
    assert found == code
    assert f"hmcap export {tmp_path / 'full' / 'clip.hmcap'}" in err
    assert err.count("\n") == 1
    take = child.take()
    assert len(take.proxies) >= 30
    assert take.solved == (mode == "export long")
    assert not child.exported


def test_a_library_that_is_deaf_to_signals_holds_nothing_up(clip, tmp_path):
    child = Child(clip, tmp_path, "opening held")
    child.until("opening")
    child.send(INT)
    assert child.ends() == (130, "hmcap: stopped.\n")


def test_ctrl_c_does_not_wait_for_a_source_that_hangs(clip, tmp_path):
    child = Child(clip, tmp_path, "source hangs")
    child.until("hanging")
    child.send(INT)
    assert child.process.communicate(timeout=WAIT_S)[1] == ""
    assert child.process.returncode == 0
    take = child.take()
    assert len(take.proxies) == len(take.motion) == 60
    assert take.report is not None
    assert any("did not answer any more" in text for text in take.report["warnings"])
    assert child.exported


def test_a_stage_that_fails_is_named_with_the_take(clip, tmp_path):
    code, err = (child := Child(clip, tmp_path, "body fails")).ends()
    assert code == 1
    assert re.search(r"named 'body'.*ZeroDivisionError: a fault.*--debug.*kept in .*clip\.hmcap: hmcap export", err)
    assert len(child.take().proxies) == 60


def test_a_disk_that_is_full_moves_the_take_and_loses_nothing(clip, tmp_path):
    code, err = (child := Child(clip, tmp_path, "disk full")).ends()
    assert code == 1
    assert re.search(r"No space left on device\. It goes on in \S+/home/clip\.hmcap", err)
    take = child.take("home")
    assert len(take.proxies) == len(take.motion) == COUNT
    assert child.exported
    assert len(read_take(tmp_path / "full" / "clip.hmcap").proxies) <= 50


def test_an_output_that_runs_out_of_memory_is_set_aside(clip, tmp_path):
    code, err = (child := Child(clip, tmp_path, "sink fails", "--vmc", "127.0.0.1:39540", "--fps", "200")).ends()
    assert code == 1
    assert "VmcStream failed, and the capture went on without it: MemoryError" in err
    assert len(child.take().motion) == COUNT
    assert child.exported
    assert "VmcStream failed" in child.said  # at once, too


def test_a_reader_of_the_output_that_leaves_ends_nothing(clip, tmp_path):
    reading, writing = os.pipe()
    child = Child(clip, tmp_path, "", stdout=writing)
    os.close(writing)
    os.close(reading)
    code, err = child.process.wait(WAIT_S), child.process.communicate()[1]
    assert "Error" not in err.replace("BrokenPipeError", "")
    assert code in (0, 1)


def test_nothing_is_left_of_a_capture_in_the_process(clip, tmp_path):
    script = (
        _CHILD[: _CHILD.index("code = cli.main()")].replace('print("', 'str("').replace("flush=True", "")
        + """
from hmcap.realtime import capture_video
import signal
def state():
    return (sorted(t.name for t in threading.enumerate()), len(os.listdir("/proc/self/fd")),
            [signal.getsignal(n) for n in (2, 15, 1)])
states = []
for _ in range(3):
    capture_video(sys.argv[1], out=sys.argv[2], export="npz", vmc="127.0.0.1:39541", fps=500.0, max_frames=40)
    states.append(state())
assert states[1] == states[2], states
assert states[0][0] == states[1][0] == ["MainThread"], states
"""
    )
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("the system does not list open files")
    environment = os.environ | {"MODE": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(clip), str(tmp_path)],
        env=environment, capture_output=True, text=True, timeout=WAIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
