"""Live outputs side by side: each says where it goes, none ends a capture, and what they hold is let go in the end."""

import logging
import socket

import hmcap.realtime.run as capture_run
import pytest
from hmcap.models.body import load_body
from hmcap.models.errors import HmcapError
from hmcap.realtime import capture_video, read_take
from hmcap.realtime.journal import TakeWriter
from hmcap.realtime.live_outputs import open_live_outputs
from hmcap.realtime.options import CaptureOptions
from hmcap.realtime.play import play_take
from hmcap.realtime.run import Parts
from hmcap.realtime.viewer.scene import Scene
from test_cli import Landmarks, make_video, stages  # noqa: F401  # a fixture
from viewer_takes import moving_take


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def write_take(path):
    take = moving_take(6)
    with TakeWriter(path, take.header) as writer:
        for frame in take.motion:
            writer.add_motion(frame, 1)
    return path


def test_one_that_cannot_be_opened_lets_go_of_the_others(taken):
    port = free_port()
    with pytest.raises(HmcapError, match=f"{taken} is in use"):
        open_live_outputs(CaptureOptions(websocket=str(port), viewer=str(taken)), load_body())
    assert is_free(port)


def test_each_says_where_it_goes_and_may_be_released_twice(caplog):
    choices = CaptureOptions(vmc="127.0.0.1:39540", websocket="0.0.0.0:0", viewer="0")
    outputs = open_live_outputs(choices, load_body())
    vmc, websocket, viewer = (" ".join(output.said) for output in outputs)
    ports = [outputs[1].address.port, outputs[2].viewer.port]
    assert "127.0.0.1:39540" in vmc
    assert f"ws://0.0.0.0:{ports[0]}" in websocket
    assert outputs[1].token not in websocket
    assert f"http://127.0.0.1:{ports[1]}" in viewer
    for output in (*outputs, *outputs):
        output.release()
    assert all(map(is_free, ports))


@pytest.mark.parametrize("failing", ["motion", "take", "landmarks"])
def test_a_capture_that_fails_at_any_step_frees_every_port(failing, stages, tmp_path, monkeypatch):  # noqa: F811
    def fail(*_, **__):
        raise HmcapError("no such thing")

    class Failing(Landmarks):
        body = fail

    if failing == "motion":
        monkeypatch.setattr(capture_run, "open_motion", fail)
    if failing == "take":
        monkeypatch.setattr(capture_run, "TakeWriter", fail)
    ports = free_port(), free_port()
    video = make_video(tmp_path / "clip.mp4")
    with pytest.raises(HmcapError, match="no such thing"):
        capture_video(
            video, viewer=str(ports[0]), websocket=str(ports[1]),
            parts=Parts(landmarks=Failing() if failing == "landmarks" else None),
        )  # fmt: skip
    assert all(map(is_free, ports))


def test_a_player_whose_viewer_cannot_be_opened_frees_the_other_ports(taken, tmp_path):
    port = free_port()
    with pytest.raises(HmcapError, match=f"{taken} is in use"):
        play_take(write_take(tmp_path / "clip.hmcap"), viewer=str(taken), websocket=str(port))
    assert is_free(port)


def test_a_viewer_that_breaks_leaves_the_capture_alone_and_is_told_at_the_end(stages, tmp_path, monkeypatch, caplog):  # noqa: F811
    def fail(*_):
        raise RuntimeError("no picture today")

    monkeypatch.setattr(Scene, "show", fail)
    with caplog.at_level(logging.WARNING, "hmcap"):
        video = make_video(tmp_path / "clip.mp4")
        with pytest.raises(HmcapError, match=r"viewer failed.*captured is in .*clip\.hmcap"):
            capture_video(video, viewer="0", serve=True, export="bvh")
    assert [record.message for record in caplog.records if "no picture today" in record.message]
    assert len(read_take(tmp_path / "clip.hmcap").motion) == 20
    assert (tmp_path / "clip.bvh").is_file()
