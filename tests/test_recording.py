"""Recording that is switched on and off by key while a webcam runs, up to the solved and exported takes."""

import time
from types import SimpleNamespace

import hmcap.realtime.run as capture_run
import numpy as np
import pytest
from hmcap.models.errors import HmcapError
from hmcap.realtime import capture, capture_webcam, journal, read_take, rescue, sources_webcam
from hmcap.realtime.frames import Frame
from hmcap.realtime.options import CaptureOptions
from hmcap.realtime.outputs import numbered, plan_unused
from hmcap.realtime.recording import RecordSwitch
from hmcap.realtime.window import LiveWindow
from test_cli import FakeCamera
from window_parts import HEADER, FakeScreen, give, seen, stats_of, stood


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


def fill_disk(switch, monkeypatch):
    """No more room from frame 3 on, which the writing thread finds."""
    writer = switch.takes[0].journal.writer
    writer.flush()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer._writer, "add_message", full)
    give([switch], 3)
    deadline = time.monotonic() + 60
    while writer._appender._error is None:  # comes to light a moment later
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_full_disk_without_another_folder_stops_the_recording_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(rescue, "other_folders", tuple)
    with switch_in(tmp_path, on=True) as switch:
        for k in range(3):
            give([switch], k)
        fill_disk(switch, monkeypatch)
        give([switch], 4)
        state = switch.state()
        assert not state.on
        assert "No space left" in state.error
        assert any("No space left" in text for text in switch.news())
        give([switch], 5)
        assert len(switch.errors) == 1
        switch.toggle()
        assert switch.state().error == ""
        give([switch], 6)
    assert len(read_take(tmp_path / "take.hmcap").proxies) == 3
    assert len(read_take(tmp_path / "take-2.hmcap").proxies) == 1


def test_a_full_disk_moves_the_recording_to_another_folder(tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setattr(rescue, "other_folders", lambda: (other,))
    with switch_in(tmp_path / "full", on=True) as switch:
        for k in range(3):
            give([switch], k)
        fill_disk(switch, monkeypatch)
        for k in (4, 5):
            give([switch], k)
        assert switch.state().on
        assert any(str(other / "take.hmcap") in text and "No space left" in text for text in switch.news())
        assert len(switch.errors) == 1
    assert len(read_take(other / "take.hmcap").proxies) == 6
    assert len(read_take(tmp_path / "full" / "take.hmcap").proxies) == 3


def test_a_folder_that_cannot_be_made_is_told_where_no_other_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(rescue, "other_folders", tuple)
    (tmp_path / "file").touch()
    switch = switch_in(tmp_path / "file" / "deep", on=True)
    give([switch], 0)
    assert not switch.state().on
    assert "--out FOLDER" in switch.state().error
    assert switch.takes == []


def test_a_take_that_cannot_be_begun_where_it_is_wanted_is_begun_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setattr(rescue, "other_folders", lambda: (other,))
    with switch_in(tmp_path / "file", on=True) as switch:
        give([switch], 0)
        assert switch.state().on
        assert any(str(other / "take.hmcap") in text for text in switch.news())
    assert len(switch.errors) == 1
    assert len(read_take(other / "take.hmcap").proxies) == 1


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


class SlowCamera(FakeCamera):
    """Never ends, and leaves time for every frame."""

    def read(self):
        time.sleep(0.004)
        return True, np.full((48, 64, 3), 200, np.uint8)


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


def test_without_a_window_the_user_is_told_what_else_there_is(stages, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(capture, "why_no_screen", lambda: "there is no display here")
    monkeypatch.setattr(capture, "fallback_viewer", lambda choices: choices)
    result = capture_webcam(0, show=True, window=True, max_frames=3, record=True, out=tmp_path)
    assert len(result.takes) == 1
    assert "No window: there is no display here. Watch in a browser instead." in capsys.readouterr().out
