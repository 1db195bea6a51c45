"""A run over several people: names, settings, one world, the overlay of all, and mistakes."""

import dataclasses
import json
from fractions import Fraction
from types import SimpleNamespace

import av
import hmcap.realtime.run as capture_run
import numpy as np
import pytest
from hmcap.models.errors import HmcapError, UsageError
from hmcap.models.motion import MotionFrame
from hmcap.models.proxies import Proxies
from hmcap.realtime import capture_video, capture_webcam, export_take, read_take
from hmcap.realtime.cli import main
from hmcap.realtime.options import CaptureOptions
from hmcap.realtime.outputs import plan_outputs
from hmcap.realtime.overlay import write_overlay
from hmcap.realtime.overlay.painters import hud_lines

COUNT, FPS, WIDTH, HEIGHT = 20, 25, 320, 240


class Landmarks:
    """A stand-in stage of which person k is in view in the first ``seen[k]`` frames of a picture that is not black."""

    def __init__(self, seen):
        self.engines, self.seen, self.rest = {}, seen, {}

    def body(self, image_rgb, index, stamp_s):
        return SimpleNamespace(image_rgb=image_rgb, index=index, stamp_s=stamp_s, times_s={})

    def hands(self, seen):
        nobody = Proxies.absent(seen.index, seen.stamp_s, seen.image_rgb.shape[1::-1])
        bright = seen.image_rgb.max() > 40
        first, *rest = (
            dataclasses.replace(nobody, score=0.5 + k / 10) if bright and seen.index < frames else nobody
            for k, frames in enumerate(self.seen)
        )
        self.rest[seen.index] = tuple(rest)
        return first

    def others(self, index):
        return self.rest.pop(index)


def camera_pose(x_m: float) -> np.ndarray:
    """(4, 4) of a level camera 1 m above the floor, 3 m before the origin and ``x_m`` to its right."""
    T = np.diag([1.0, -1.0, -1.0, 1.0])
    T[:3, 3] = [-x_m, 1.0, 3.0]
    return T


@pytest.fixture
def stages(monkeypatch):
    """Stand-ins: person k was solved at the origin of a world of their own, seen by the camera from k metres away."""
    given = SimpleNamespace(seen=[COUNT, COUNT], solved=[])

    def solve(proxies, camera, *, settings, model, progress):
        k = round((next(p.score for p in proxies if p.present) - 0.5) * 10)
        given.solved.append((k, settings.up_cam))
        return [
            MotionFrame(
                p.index, p.stamp_s, p.present, np.zeros(10), np.zeros((55, 3)), np.array([0, 1.0, 0]),
                camera_pose(float(k)), camera, np.ones(4), np.ones(8), np.ones(8, bool), 1.0,
            )
            for p in proxies
        ]  # fmt: skip

    monkeypatch.setattr(capture_run, "open_landmarks", lambda choices: Landmarks(given.seen))
    monkeypatch.setattr(capture_run, "open_motion", lambda c, **_: SimpleNamespace(engines={}, solve=solve))
    return given


def make_video(path, shade=200):
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for _ in range(COUNT):
            frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), shade, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def video(tmp_path):
    return make_video(tmp_path / "dance.mp4")


def run(capsys, *words):
    code = main([str(w) for w in words])
    out, err = capsys.readouterr()
    return code, out, err


def test_each_person_becomes_a_take_with_exports_and_a_report(stages, video, tmp_path, capsys):
    code, out, err = run(
        capsys, "--video", video, "--people", 2, "--export", "bvh,npz", "--report", tmp_path / "report.json"
    )
    assert (code, err) == (0, "")
    names = {f"dance_p{k}.{s}" for k in (1, 2) for s in ("hmcap", "bvh", "npz")} | {"report_p1.json", "report_p2.json"}
    assert {p.name for p in tmp_path.iterdir()} == names | {"dance.mp4"}
    for k in (1, 2):
        take = read_take(tmp_path / f"dance_p{k}.hmcap")
        assert (take.header.settings["person"], take.header.settings["people"]) == (k, 2)
        assert take.header.name == f"dance_p{k}"
        assert len(take.proxies) == len(take.motion) == COUNT
        assert take.solved
        assert take.proxies[0].score == pytest.approx(0.4 + k / 10)
        assert json.loads((tmp_path / f"report_p{k}.json").read_text())["person"] == f"{k} of 2"
        assert f"{k} of 2" in out
    assert [k for k, _ in stages.solved] == [0, 1]  # one vertical: nobody is solved again


def test_the_people_of_a_run_stand_in_one_world(stages, video):
    result = capture_video(video, people=2)
    assert result.takes == (result.take, video.with_name("dance_p2.hmcap"))
    first, second = (read_take(path).motion[0] for path in result.takes)
    np.testing.assert_allclose(first.trans_m, [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(second.trans_m, [-1, 1, 0], atol=1e-6)
    np.testing.assert_allclose(second.T_cam_world, first.T_cam_world, atol=1e-6)


def test_verticals_that_differ_are_agreed_before_all_are_solved_with_one(stages, video, monkeypatch):
    tilted = camera_pose(1.0)
    c, s = np.cos(0.1), np.sin(0.1)
    tilted[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ tilted[:3, :3]
    level = camera_pose
    monkeypatch.setitem(globals(), "camera_pose", lambda x: tilted if x == 1.0 else level(x))
    capture_video(video, people=2)
    (a, none), (b, none_2), (again, up), (again_2, up_2) = stages.solved
    assert (a, b, again, again_2) == (0, 1, 0, 1)
    assert none is None
    assert none_2 is None
    assert up == up_2
    assert np.degrees(np.arctan2(-up[2], -up[1])) == pytest.approx(np.degrees(0.05), abs=0.01)


def test_one_person_is_written_as_ever(stages, video, tmp_path):
    result = capture_video(video, export="bvh")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dance.bvh", "dance.hmcap", "dance.mp4"]
    assert result.takes == (result.take,)
    assert "person" not in read_take(result.take).header.settings
    assert result.report.person == ""


def test_fewer_people_than_asked_for_are_said_and_written(stages, video, tmp_path, capsys):
    stages.seen = [COUNT, COUNT // 2, 3, 0]
    (tmp_path / "dance_p4.hmcap").write_bytes(b"earlier")
    code, out, _ = run(capsys, "--video", video, "--people", 4, "--export", "bvh")
    assert code == 0
    assert "2 of the 4 people asked for were found. 1 more for less than 0.3 s" in out
    made = sorted(p.name for p in tmp_path.iterdir())
    assert made == ["dance.mp4", "dance_p1.bvh", "dance_p1.hmcap", "dance_p2.bvh", "dance_p2.hmcap", "dance_p4.hmcap"]
    assert (tmp_path / "dance_p4.hmcap").read_bytes() == b"earlier"
    report = read_take(tmp_path / "dance_p2.hmcap").report
    assert report is not None
    assert report["person_visible_percent"] == 50
    assert report["person"] == "2 of 4"


def test_nobody_at_all_is_an_error_that_leaves_the_take_of_the_first(stages, tmp_path, capsys):
    stages.seen = [COUNT] * 3
    code, _, err = run(capsys, "--video", make_video(tmp_path / "empty.mp4", shade=0), "--people", 3)
    assert code == 1
    assert "nobody was found" in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty.mp4", "empty_p1.hmcap"]


def test_a_take_of_one_person_is_exported_by_itself(stages, video, tmp_path):
    capture_video(video, people=2)
    result = export_take(tmp_path / "dance_p2.hmcap", to="bvh,npz")
    assert sorted(p.name for p in result.files) == ["dance_p2.bvh", "dance_p2.npz"]
    assert result.takes == (tmp_path / "dance_p2.hmcap",)
    assert result.report.person == "2 of 2"


@pytest.mark.parametrize("style", ["mesh", "skeleton"])
def test_the_overlay_shows_everybody(stages, video, tmp_path, style):
    result = capture_video(video, people=2, overlay=tmp_path / "over.mp4", fov_deg=60)
    assert (tmp_path / "over.mp4") in result.files
    takes = [read_take(path) for path in result.takes]
    covered = []
    for name, drawn in (("both", takes), ("one", takes[:1]), ("other", takes[1:])):
        path = tmp_path / f"{name}.mp4"
        write_overlay(drawn, video, path, style=style, renderer="drawn")
        with av.open(str(path)) as container:
            image = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
        covered.append((np.abs(image - 200).max(-1) > 50)[60:])  # below the text
    both, one, other = covered
    assert one.sum() > 30
    assert other.sum() > 30
    assert np.median(np.nonzero(one)[1]) > np.median(np.nonzero(other)[1]) + 10
    assert (both ^ (one | other)).mean() < 0.02


def test_the_text_of_the_overlay_has_a_line_for_each():
    nobody = SimpleNamespace(present=False)
    lines = hud_lines(3, 0.1, 30.0, None, nobody)  # pyright: ignore[reportArgumentType]
    assert lines[1:] == ["p1   no record of this frame", "p2   held: nobody in view"]


def test_names_of_all_people_are_planned_and_checked_before_the_capture(stages, video, tmp_path):
    outputs = plan_outputs("dance", tmp_path, CaptureOptions(people=3, export="bvh", report=tmp_path / "r.json"))
    planned = (outputs, *outputs.others)
    assert [o.take.name for o in planned] == ["dance_p1.hmcap", "dance_p2.hmcap", "dance_p3.hmcap"]
    assert [o.exports["bvh"].name for o in planned] == ["dance_p1.bvh", "dance_p2.bvh", "dance_p3.bvh"]
    assert [o.report.name for o in planned if o.report] == ["r_p1.json", "r_p2.json", "r_p3.json"]
    (tmp_path / "dance_p2.bvh").mkdir()
    with pytest.raises(HmcapError, match=r"dance_p2\.bvh"):
        capture_video(video, people=2, export="bvh")
    assert not list(tmp_path.glob("*.hmcap*"))
    with pytest.raises(UsageError, match="two different outputs"):
        dataclasses.replace(outputs, report=outputs.others[0].take).check()


@pytest.mark.parametrize(
    ("words", "piece"),
    [
        (["--video", "dance.mp4", "--people", "0"], "1 to 8"),
        (["--video", "dance.mp4", "--people", "9"], "1 to 8"),
        (["--video", "dance.mp4", "--people", "two"], "--people"),
        (["--webcam", "0", "--people", "2"], "is for video files"),
    ],
)
def test_mistakes_are_one_paragraph(stages, video, tmp_path, capsys, monkeypatch, words, piece):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *words)
    assert code == 2
    assert piece in err
    assert err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["dance.mp4"]


def test_a_webcam_is_refused_before_it_is_opened():
    with pytest.raises(UsageError, match="leave --people out"):
        capture_webcam(97, people=2)
