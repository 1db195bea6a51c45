"""Real faults: captures in processes of their own that are killed, disks that fill up, and the tools for both."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hmcap.models.errors import HmcapError
from hmcap.realtime import cli, read_take
from hmcap.realtime.appending import MAX_AHEAD_S
from hmcap.realtime.journal import TakeWriter
from hmcap.tools.faults import __main__ as faults
from hmcap.tools.faults import disk, kill
from hmcap.tools.faults.victim import Capture
from test_take import make_header, make_motion, make_proxies

posix = pytest.mark.skipif(os.name != "posix", reason="SIGKILL and pipes of POSIX")


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The tool itself, on made-up footage: a few captures, killed in whichever phase the seed says."""
    out = tmp_path_factory.mktemp("kill") / "kills.json"
    words = ["kill", "--stand-in", "--seconds", "1.5", "--tries", "5", "--jobs", "2", "--seed", "4", "--out", str(out)]
    code = faults.main(words)
    return code, words, json.loads(out.read_text())


@posix
def test_captures_that_are_killed_lose_less_than_a_second(killed):
    code, _, record = killed
    assert code == 0
    assert len(record["tries"]) == 5
    for one in record["tries"]:
        assert (one["opened"], one["exported"], one["problem"]) == (True, True, "")
        # Half a second that may be unwritten, and no more than the frame that was on its way.
        assert one["lost_footage_s"] <= MAX_AHEAD_S + 0.1
        if one["phase"] != "capture":
            assert one["kept"] == one["told"] == 45


@posix
def test_tries_that_were_made_are_not_repeated(killed, capsys):
    _, words, record = killed
    assert faults.main(words) == 0
    assert "phases:" not in capsys.readouterr().out
    assert json.loads(Path(words[-1]).read_text()) == record
    assert faults.main([*words, "--seed", "5"]) == 1
    assert "Name another --out" in capsys.readouterr().err


@posix
def test_a_live_recording_that_is_killed_keeps_its_frames(tmp_path):
    capture = Capture(str(tmp_path), seconds=60, live=True, stand_in=True)
    told = kill._follow(capture, "capture", 1.2)
    one = kill.judge(tmp_path, 0, told)
    assert (one.opened, one.exported) == (True, True)
    assert one.told > 0


def test_a_kill_is_judged_by_what_had_passed_the_sinks(tmp_path):
    with TakeWriter(tmp_path / "a.hmcap", make_header(settings={})) as writer:
        for i in range(7):
            writer.add_proxies(make_proxies(i))
    frames = tuple((i, i / 10, 50 + i / 5) for i in range(10))
    one = kill.judge(tmp_path, 3, kill.Told({"start": 0.0, "capture": 1.0}, frames, 52.0))
    assert (one.phase, one.told, one.kept, one.opened, one.exported) == ("capture", 10, 7, True, True)
    assert one.lost_wall_s == pytest.approx(0.6)
    assert one.lost_footage_s == pytest.approx(0.3)
    (tmp_path / "a.hmcap").unlink()
    one = kill.judge(tmp_path, 3, kill.Told({"start": 0.0, "capture": 1.0}, frames, 52.0))
    assert not one.opened
    assert "all" in kill.table([one])


@pytest.fixture
def small_disk():
    """A file system of 160 KiB; skipped where none can be mounted."""
    try:
        with disk.memory_disk(160) as folder:
            yield folder
    except HmcapError as error:
        pytest.skip(str(error))


def test_a_take_on_a_full_disk_goes_on_in_the_home_folder(small_disk, tmp_path):
    command = [sys.executable, "-m", "hmcap.tools.faults.victim", str(small_disk), "4"]
    home = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ | home)
    assert ended.returncode == 1
    assert "No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr
    (first,) = small_disk.iterdir()
    (take,) = tmp_path.iterdir()
    assert f"It goes on in {take}, which holds everything from its first frame." in ended.stdout + ended.stderr
    assert 30 < len(read_take(first).proxies) < 120
    assert len(read_take(take).proxies) == 120


def test_a_take_on_a_full_disk_is_solved_and_exported_elsewhere(small_disk, tmp_path, monkeypatch, capsys):
    from hmcap.realtime import run as capture_run
    from hmcap.tools.faults.footage import stand_ins

    with TakeWriter(tmp_path / "a.hmcap", make_header(settings={})) as writer:
        for i in range(60):
            writer.add_proxies(make_proxies(i))
    take = small_disk / "a.hmcap"
    shutil.copy(tmp_path / "a.hmcap", take)
    whole = take.read_bytes()
    (small_disk / "other").write_bytes(bytes((160 << 10) - len(whole) - 3 * 4096))
    monkeypatch.setattr(capture_run, "open_motion", lambda choices: stand_ins())
    assert cli.main(["export", str(take), "--to", "npz", "--out", str(tmp_path / "out")]) == 0
    assert "could not be added to the take" in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "out" / "a.npz").is_file()
    assert take.read_bytes() == whole
    assert sorted(path.name for path in small_disk.iterdir()) == ["a.hmcap", "other"]


def test_a_take_that_cannot_be_written_anew_stays_as_it_was(tmp_path, monkeypatch):
    from hmcap.realtime import journal

    path = tmp_path / "a.hmcap"
    with TakeWriter(path, make_header()) as writer:
        writer.add_proxies(make_proxies(0))
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal, "sync", full)
    with pytest.raises(HmcapError, match=r"write .*a\.hmcap; .*No space left") as caught:
        journal.write_take(path, read_take(path), [make_motion(0)])
    assert "kept" not in str(caught.value)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_take_on_a_disk_that_turns_read_only_goes_on_in_the_home_folder(tmp_path):
    def command(folder):
        return [sys.executable, "-m", "hmcap.tools.faults.victim", str(folder), "4"]

    try:
        one = disk.read_only("read-only", command, tmp_path)
    except HmcapError as error:
        pytest.skip(str(error))
    assert (one.exit_code, one.exported) == (1, True)
    assert "Read-only file system" in one.said
    assert "Traceback" not in one.said
    assert any(name.startswith("~/loop.hmcap (") for name in one.left)
    assert one.frames == 120


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs /proc")
def test_a_short_soak_gives_its_figures(tmp_path, capsys):
    out = tmp_path / "soak.json"
    words = ["soak", "--stand-in", "--minutes", "0.05", "--every", "0.5", "--offered-fps", "60", "--out", str(out)]
    assert faults.main(words) == 0
    record = json.loads(out.read_text())
    figures = record["figures"]
    assert figures["frames"] == figures["frames_in_take"] > 0
    assert figures["frames"] + figures["dropped"] <= 180
    assert len(record["samples"]) >= 2
    assert figures["delay_ms_last_minute"]["p50"] > 0
    assert {"memory_mb_per_hour", "threads", "files", "clients"} <= set(figures)
