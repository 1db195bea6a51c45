"""What goes wrong with outputs: nothing that was captured is lost, no half file stays, and each mistake is one clear
sentence."""

import dataclasses
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from hmcap.models.body import load_body
from hmcap.models.errors import HmcapError, UsageError
from hmcap.models.motion import MotionFrame
from hmcap.models.proxies import Proxies
from hmcap.models.skeleton import JOINT_NAMES
from hmcap.realtime import capture_video, export_take, read_take
from hmcap.realtime.codec import decode_motion, encode_motion
from hmcap.realtime.exporters import EXPORTERS, ExportOptions, prepare
from hmcap.realtime.journal import TakeWriter
from hmcap.realtime.locks import is_open, open_alone
from hmcap.realtime.outputs import plan_outputs, write_files
from hmcap.realtime.progress import Display
from hmcap.realtime.report import summarise
from hmcap.realtime.run import Parts
from hmcap.realtime.take import Take
from test_cli import Landmarks, make_video, stand
from test_take import make_header

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX files")
not_root = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere, Windows has other rights"
)


def make_motion(count: int, fps: float = 25.0, stamps_s=None, present=None, seed: int = 0) -> list[MotionFrame]:
    """Somebody who moves a little, as a capture writes it."""
    rng = np.random.default_rng(seed)
    stamps = np.arange(count) / fps if stamps_s is None else stamps_s
    poses = np.cumsum(rng.normal(size=(count, 55, 3)) * 0.01, axis=0)
    proxies = [Proxies.absent(i, float(stamps[i]), (1280, 720)) for i in range(count)]
    frames = stand(proxies, make_header().camera)
    return [
        dataclasses.replace(f, poses=poses[i], present=True if present is None else bool(present[i]))
        for i, f in enumerate(frames)
    ]


def make_take(motion: list[MotionFrame], fps: float = 25.0) -> Take:
    return Take(make_header(fps=fps, settings={}), (), tuple(motion))


def make_proxies(index: int, fps: float = 25.0) -> Proxies:
    return dataclasses.replace(Proxies.absent(index, index / fps, (1920, 1080)), score=0.9)


@pytest.fixture(params=EXPORTERS)
def exporter(request):
    chosen = EXPORTERS[request.param]
    try:
        chosen.check()
    except HmcapError as error:
        pytest.skip(f"{chosen.name}: {error}")
    return chosen


def written(exporter, take: Take, folder, **options):
    path = folder / f"take{exporter.suffix}"
    exporter.export(prepare(take, ExportOptions(**options)), path)
    assert path.stat().st_size > 0
    assert sorted(folder.iterdir()) == sorted(exporter.files(path))
    return path


UNEVEN = {
    "one frame": {"count": 1},
    "two frames": {"count": 2},
    "variable rate": {"count": 6, "stamps_s": np.array([0, 0.02, 0.11, 0.12, 0.3, 0.31])},
    "stamps that stand still": {"count": 5, "stamps_s": np.array([0, 0.04, 0.04, 0.08, 0.12])},
    "seen once": {"count": 5, "present": np.arange(5) == 3},
    "a late start": {"count": 5, "stamps_s": 3600 + np.arange(5) / 25},
}


@pytest.mark.parametrize("case", UNEVEN)
def test_every_format_writes_short_and_uneven_takes(exporter, case, tmp_path):
    written(exporter, make_take(make_motion(**UNEVEN[case])), tmp_path)


@pytest.mark.parametrize("case", ["one frame", "two frames", "variable rate"])
def test_every_format_writes_them_processed(exporter, case, tmp_path):
    written(exporter, make_take(make_motion(**UNEVEN[case])), tmp_path, smooth=6, lock_feet=True, fps=60)


def test_every_format_writes_frames_whose_contact_and_error_are_unknown(exporter, tmp_path):
    unknown = [
        dataclasses.replace(
            f, contact=np.full(4, np.nan), confidence=np.full(8, np.nan), reprojection_error=float("nan")
        )
        for f in make_motion(4)
    ]
    written(exporter, make_take(unknown), tmp_path, lock_feet=True)


@pytest.mark.parametrize("field", ["poses", "trans_m", "T_cam_world"])
def test_motion_that_is_no_number_is_named(field, tmp_path):
    motion = make_motion(4)
    bad = np.array(getattr(motion[2], field), np.float64)
    bad.flat[1] = np.nan
    motion[2] = dataclasses.replace(motion[2], **{field: bad})
    with pytest.raises(HmcapError, match=f"{field} holds nan"):
        prepare(make_take(motion), ExportOptions())


@pytest.mark.parametrize("count", [0, 5])
def test_a_take_without_anybody_is_one_sentence(count):
    take = make_take(make_motion(count, present=np.zeros(count, bool)))
    with pytest.raises(HmcapError, match=rf"none of the {count} frames.*nothing to export"):
        prepare(take, ExportOptions())


def test_a_take_that_lacks_joints_is_damaged():
    frame = make_motion(1)[0]
    for poses in (frame.poses[:54], frame.poses[:, :2]):
        with pytest.raises(HmcapError, match="'poses'"):
            decode_motion(encode_motion(dataclasses.replace(frame, poses=poses), 0))


@pytest.mark.parametrize("lost", ["left_knee", "right_thumb3"])
def test_a_body_file_that_lacks_a_joint_is_named(lost, tmp_path):
    packaged = load_body().provenance  # the built-in one is read first, so that what fails is the file alone
    assert packaged is not None
    from importlib.resources import files

    keep = [j for j, name in enumerate(JOINT_NAMES) if name != lost]
    with np.load(str(files("hmcap.models") / "data" / "body.npz")) as archive:
        arrays = {k: archive[k] for k in archive.files}
    arrays |= {"J_regressor": arrays["J_regressor"][keep], "weights": arrays["weights"][:, keep],
               "kintree_table": arrays["kintree_table"][:, keep]}  # fmt: skip
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)
    take = dataclasses.replace(make_take(make_motion(2)), header=make_header(settings={"body": str(path)}))
    with pytest.raises(HmcapError, match=r"shape \(55, .*mine\.npz, found \(54, "):
        prepare(take, ExportOptions())


# Where files go.


def test_a_format_that_is_not_there_suggests_the_nearest(tmp_path):
    with pytest.raises(UsageError, match="Did you mean bvh"):
        export_take(tmp_path / "a.hmcap", to="bhv")


def test_a_folder_in_the_place_of_a_file_is_said_before_anything_is_written(exporter, tmp_path):
    take = record(tmp_path / "a.hmcap")
    (tmp_path / f"a{exporter.suffix}").mkdir()
    with pytest.raises(HmcapError, match=r"a folder of that name is there"):
        export_take(take, to=exporter.name)


def test_an_exporter_never_replaces_a_folder(exporter, tmp_path):
    path = tmp_path / f"take{exporter.suffix}"
    path.mkdir()
    (path / "kept.txt").write_text("kept")
    with pytest.raises(HmcapError, match="take"):
        exporter.export(prepare(make_take(make_motion(3)), ExportOptions()), path)
    assert [p.name for p in path.iterdir()] == ["kept.txt"]
    assert list(tmp_path.iterdir()) == [path]


@not_root
def test_a_folder_that_may_not_be_written_is_named(exporter, tmp_path):
    take = record(tmp_path / "a.hmcap")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    with pytest.raises(HmcapError, match=r"locked.*--out"):
        export_take(take, to=exporter.name, out=locked)


@contextmanager
def files_end_at(size: int):
    """No file can grow beyond ``size`` bytes, as on a full disk: writing more fails with an error of the system."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@posix
@pytest.mark.parametrize("size", [0, 700])
def test_a_full_disk_leaves_the_old_file_and_no_half_one(exporter, size, tmp_path):
    ready = prepare(make_take(make_motion(40)), ExportOptions())
    path = tmp_path / f"take{exporter.suffix}"
    path.write_bytes(b"the earlier one")
    names = "|".join(file.name for file in exporter.files(path))
    with files_end_at(size), pytest.raises(HmcapError, match=names):
        exporter.export(ready, path)
    assert path.read_bytes() == b"the earlier one"
    assert list(tmp_path.iterdir()) == [path]


def test_one_format_that_fails_stops_no_other(tmp_path, monkeypatch):
    take = make_take(make_motion(5))
    choices = SimpleNamespace(export=("bvh", "npz"), overlay=None, side_by_side=None, report=None, people=1)
    outputs = plan_outputs("a", tmp_path, choices)
    (tmp_path / "a.bvh").mkdir()
    with pytest.raises(HmcapError, match=r"a\.bvh"):
        write_files(take, outputs, ExportOptions(), "", summarise(take), Display(False))
    assert (tmp_path / "a.npz").is_file()


def test_a_video_that_fails_stops_no_other_file_and_hides_no_other_error(tmp_path):
    take = make_take(make_motion(5))
    overlay, report = tmp_path / "a.mp4", tmp_path / "a.json"
    choices = SimpleNamespace(export=("bvh", "npz"), overlay=overlay, side_by_side=None, report=report, people=1)
    (tmp_path / "a.bvh").mkdir()
    gone = tmp_path / "gone.mp4"
    with pytest.raises(HmcapError, match=r"a\.bvh.*gone\.mp4"):
        write_files(take, plan_outputs("a", tmp_path, choices), ExportOptions(), gone, summarise(take), Display(False))
    assert (tmp_path / "a.npz").is_file()
    assert report.is_file()
    assert not overlay.exists()


def test_it_is_said_where_processing_does_not_reach(tmp_path, capsys):
    take = record(tmp_path / "a.hmcap")
    export_take(take, report=tmp_path / "a.json", smooth=6, show=True)
    assert "report stay as captured" in capsys.readouterr().out
    export_take(take, to="npz", smooth=6, lock_feet=True, trim=":0.3", show=True)
    out = capsys.readouterr().out
    assert "as captured" not in out
    assert [word in out for word in ("trim: ", "smooth: ", "feet: ")] == [True] * 3


# A take while it is recorded.


def record(path, count: int = 12, close: bool = True, motion: bool = True):
    """A take as a capture leaves it; the writer where it stays open."""
    writer = TakeWriter(path, make_header(settings={}, fps=25.0), write_every_s=0.01)
    for i in range(count):
        writer.add_proxies(make_proxies(i))
    if not close:
        return writer
    for frame in make_motion(count) if motion else ():
        writer.add_motion(frame, 1)
    return writer.close()


def solve(proxies, camera, *, settings, model, progress):
    return stand(proxies, camera)


@posix
@pytest.mark.parametrize("ending", ["close", "error", "moved"])
def test_a_folder_that_vanishes_takes_nothing_with_it(tmp_path, ending, monkeypatch):
    folder = tmp_path / "deep" / "takes"
    writer = record(folder / "a.hmcap", close=False)
    if ending == "moved":
        folder.rename(tmp_path / "elsewhere")
    else:
        shutil.rmtree(tmp_path / "deep")
    for i in range(12, 20):
        writer.add_proxies(make_proxies(i))
    if ending == "error":

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(writer._writer, "finish", full)
        with pytest.raises(HmcapError, match=r"No space left.*kept in .*a\.hmcap"):
            writer.close()
    else:
        writer.close()
    take = read_take(folder / "a.hmcap")
    assert len(take.proxies) >= 12 if ending == "error" else len(take.proxies) == 20
    assert take.recovery.complete == (ending != "error")
    assert list(folder.iterdir()) == [folder / "a.hmcap"]


@posix
def test_a_capture_whose_folder_is_cleared_away_ends_with_take_and_files(tmp_path):
    out = tmp_path / "out"

    class Clearing(Landmarks):
        def hands(self, seen):
            if seen.index == 10:
                shutil.rmtree(out)
            return super().hands(seen)

    parts = Parts(landmarks=Clearing(), solve=solve)
    video = make_video(tmp_path / "dance.mp4")
    result = capture_video(video, parts=parts, out=out, export="bvh,npz", report=out / "r.json")
    assert sorted(p.name for p in out.iterdir()) == ["dance.bvh", "dance.hmcap", "dance.npz", "r.json"]
    assert result.take == out / "dance.hmcap"
    take = read_take(result.take)
    assert len(take.proxies) == 20
    assert take.recovery.complete


@posix
def test_where_nothing_can_be_brought_back_it_promises_nothing(tmp_path):
    folder = tmp_path / "takes"
    writer = record(folder / "a.hmcap", close=False)
    shutil.rmtree(folder)
    folder.write_text("a file stands where the folder was")
    with pytest.raises(HmcapError) as caught:
        writer.close()
    assert "kept" not in str(caught.value)


@posix
def test_exports_make_a_folder_that_vanished(exporter, tmp_path):
    take = make_take(make_motion(3))
    path = tmp_path / "gone" / f"take{exporter.suffix}"
    exporter.export(prepare(take, ExportOptions()), path)
    assert path.is_file()


def test_a_recording_that_goes_on_is_exported_so_far_and_left_alone(tmp_path, capsys):
    path = tmp_path / "a.hmcap"
    writer = record(path, close=False)
    writer.flush()
    part = tmp_path / "a.hmcap.part"
    before = part.read_bytes()
    assert is_open(part)
    result = export_take(part, to="npz", solve=solve, show=True)
    assert "still being recorded" in capsys.readouterr().out
    assert result.take == part
    assert part.read_bytes() == before
    assert not path.exists()
    with np.load(tmp_path / "a.npz") as arrays:
        assert len(arrays["poses"]) == 12
    for i in range(12, 20):
        writer.add_proxies(make_proxies(i))
    assert writer.close() == path
    assert len(read_take(path).proxies) == 20


def test_a_recording_that_was_cut_off_is_finished_as_before(tmp_path):
    path = tmp_path / "a.hmcap"
    writer = record(path, close=False)
    writer.flush()
    assert writer._file is not None
    writer._file.close()  # as the system does when the process dies
    part = tmp_path / "a.hmcap.part"
    assert not is_open(part)
    assert export_take(part, to="npz", solve=solve).take == path
    assert not part.exists()
    assert read_take(path).solved


def test_two_captures_never_write_one_take(tmp_path):
    first = record(tmp_path / "a.hmcap", close=False)
    with pytest.raises(HmcapError, match="another capture is recording"):
        TakeWriter(tmp_path / "a.hmcap", make_header())
    first.close()
    assert len(read_take(tmp_path / "a.hmcap").proxies) == 12
    TakeWriter(tmp_path / "a.hmcap", make_header()).discard()
    assert len(read_take(tmp_path / "a.hmcap").proxies) == 12


def test_other_processes_know_of_the_lock_and_death_undoes_it(tmp_path):
    path = tmp_path / "a.part"
    script = (
        "import sys, time; from pathlib import Path; from hmcap.realtime.locks import open_alone\n"
        f"f = open_alone(Path({str(path)!r})); f.write(b'mine'); f.flush(); print('open', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline().strip() == "open"
        assert is_open(path)
        with pytest.raises(BlockingIOError):
            open_alone(path)
        assert path.read_bytes() == b"mine"
        writer.kill()
    assert not is_open(path)
    with open_alone(path) as file:
        assert file.read() == b""


def test_nothing_is_open_where_nothing_is(tmp_path):
    assert not is_open(tmp_path / "nothing")
    assert not is_open(tmp_path)
