"""JSON lines over WebSocket: what clients get, who may be one, and that a slow one costs nothing."""

import contextlib
import dataclasses
import http
import json
import socket
import threading
from pathlib import Path

import numpy as np
import pytest
from hmcap.models.body import load_body
from hmcap.models.errors import HmcapError
from hmcap.models.face import ARKIT_NAMES
from hmcap.models.skeleton import JOINT_NAMES
from hmcap.realtime.addresses import Address
from hmcap.realtime.live_outputs import open_live_outputs
from hmcap.realtime.options import CaptureOptions
from hmcap.realtime.streams import lines
from hmcap.realtime.streams.websocket import MAX_CLIENTS, WebSocketStream
from scipy.spatial.transform import Rotation
from test_streams import HEADER, make_frame
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

HERE = Address("127.0.0.1", 0)
TOKEN = "a-token-of-the-test"


@pytest.fixture
def serve():
    """Open streams; closed at the end."""
    opened = []

    def start(**choices) -> WebSocketStream:
        stream = WebSocketStream(HERE, load_body(), **choices)
        opened.append(stream)
        stream.open(HEADER)
        return stream

    yield start
    for stream in opened:
        stream.close()


def client(stream: WebSocketStream, query: str = "", **options):
    return connect(f"ws://{stream.address}/{query}", open_timeout=20, **options)


def read(connection) -> dict:
    return json.loads(connection.recv(timeout=20))


def begin(connection) -> tuple[dict, dict]:
    """What every client gets first."""
    return read(connection), read(connection)


def refused(stream: WebSocketStream, query: str = "", **options) -> http.HTTPStatus:
    with pytest.raises(InvalidStatus) as refusal:
        client(stream, query, **options)
    return http.HTTPStatus(refusal.value.response.status_code)


def test_a_client_gets_what_it_needs_to_rebuild_the_pose(serve):
    stream, body = serve(), load_body()
    motion = make_frame(7, face=True)
    with client(stream) as connection:
        hello, _ = begin(connection)
        stream(None, None, motion)
        rest, frame = read(connection), read(connection)
    assert (hello["type"], hello["schema"], hello["fps"]) == ("hello", 1, 30.0)
    assert hello["joints"] == list(JOINT_NAMES)
    assert hello["expressions"] == list(ARKIT_NAMES)
    assert hello["units"]["rotation"] == "unit quaternion w x y z"
    assert (frame["type"], frame["index"], frame["present"]) == ("frame", 7, True)
    assert frame["time_s"] == pytest.approx(7 / 30, abs=1e-4)
    assert frame["expression"] == pytest.approx(motion.expression, abs=1e-3)
    assert rest["type"] == "rest"
    # forward kinematics from the lines alone
    R: list[Rotation] = []
    at: list[np.ndarray] = []
    rest_m = np.array(rest["rest_joints_m"])
    for joint, parent in enumerate(hello["parents"]):
        local = Rotation.from_quat(frame["rotations"][joint], scalar_first=True)
        R.append(local if parent < 0 else R[parent] * local)
        bone = rest_m[joint] - rest_m[parent]
        at.append(np.array(frame["joints_m"][0]) if parent < 0 else at[parent] + R[parent].apply(bone))
    posed = body.with_shape(motion.betas).with_pose(motion.poses, motion.trans_m)
    assert np.array(at) == pytest.approx(posed.joints_m, abs=1e-3)
    assert np.array(frame["joints_m"]) == pytest.approx(posed.joints_m, abs=1e-4)


def test_every_field_is_documented():
    text = (Path(__file__).resolve().parents[1] / "docs" / "streams.md").read_text(encoding="utf-8")
    body, motion = load_body(), make_frame()
    for message in (lines.hello(HEADER), lines.rest(body, motion.betas), lines.frame(motion, body)):
        assert [name for name in message if name != "type" and f"`{name}`" not in text] == []
        assert f"**`{message['type']}`**" in text


def test_bones_are_sent_again_only_when_the_shape_changes(serve):
    stream = serve()
    with client(stream) as connection:
        begin(connection)
        kinds = []
        for index, seed in enumerate((1, 1, 2)):
            motion = make_frame(index, seed=seed)
            stream(None, None, motion)
            kinds.append(read(connection)["type"])
            while kinds[-1] != "frame":
                kinds.append(read(connection)["type"])
    assert kinds == ["rest", "frame", "frame", "rest", "frame"]


def test_a_late_client_gets_the_bones_of_now(serve):
    stream, motion = serve(), make_frame()
    with client(stream) as first:
        begin(first)
        stream(None, None, motion)
        read(first), read(first)
        with client(stream) as second:
            _, rest = begin(second)
    expected = load_body().rest_joints(motion.betas)
    assert np.array(rest["rest_joints_m"]) == pytest.approx(expected, abs=1e-4)


def test_what_is_no_number_is_not_sent(serve):
    stream, motion = serve(), make_frame()
    with client(stream) as connection:
        begin(connection)
        stream(None, None, motion)
        read(connection), read(connection)
        stream(None, None, dataclasses.replace(motion, index=1, trans_m=np.full(3, np.nan)))
        stream(None, None, dataclasses.replace(motion, index=2))
        assert read(connection)["index"] == 2


def test_a_token_opens_by_query_or_header_from_any_page(serve):
    stream = serve(token=TOKEN)
    for query, options in (
        (f"?token={TOKEN}", {}),
        ("", {"additional_headers": {"Authorization": f"Bearer {TOKEN}"}}),
        (f"?token={TOKEN}", {"origin": "https://somewhere.example"}),
    ):
        with client(stream, query, **options) as connection:
            assert read(connection)["type"] == "hello"
    wrong = ("", "?token=", f"?token={TOKEN}x", f"?token={TOKEN[:-1]}", "?token=%ff%fe")
    assert {refused(stream, query) for query in wrong} == {http.HTTPStatus.UNAUTHORIZED}
    for header in (f"Basic {TOKEN}", "Bearer", "Bearer other"):
        assert refused(stream, additional_headers={"Authorization": header}) == http.HTTPStatus.UNAUTHORIZED
    assert refused(stream, origin="http://localhost") == http.HTTPStatus.UNAUTHORIZED


def test_pages_of_the_web_are_kept_out_and_local_ones_let_in(serve):
    stream = serve()
    for origin in ("http://localhost", "http://localhost:3000", "https://127.0.0.1:8443", "http://[::1]:80", None):
        with client(stream, origin=origin) as connection:
            assert read(connection)["type"] == "hello"
    for origin in ("https://evil.example", "http://localhost.evil.example", "http://127.0.0.1.evil.example:80", "null"):
        assert refused(stream, origin=origin) == http.HTTPStatus.FORBIDDEN


def test_other_computers_need_a_token_which_is_made_and_told(caplog):
    stream = WebSocketStream(Address("0.0.0.0", 0), load_body())
    stream.close()
    assert stream.token is not None
    assert len(stream.token) >= 16
    (record,) = caplog.records
    assert f"?token={stream.token}" in record.getMessage()
    for host in ("127.0.0.1", "localhost"):
        stream = WebSocketStream(Address(host, 0), load_body())
        stream.close()
        assert stream.token is None
    assert len(caplog.records) == 1


def test_a_slow_client_gets_the_newest_and_holds_up_nobody(serve):
    stream = serve()
    host, port = stream.address.host, stream.address.port
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    slow.settimeout(20)
    slow.connect((host, port))
    with slow, client(stream) as quick, connect(f"ws://{host}:{port}", sock=slow, max_queue=1, open_timeout=20) as lazy:
        begin(quick)
        motion = make_frame()
        count = 600
        for index in range(count):
            stream(None, None, dataclasses.replace(motion, index=index))
            line = read(quick)
            while line["type"] != "frame":
                line = read(quick)
            assert line["index"] == index
        begin(lazy)
        got = []
        while not got or got[-1] < count - 1:
            line = read(lazy)
            if line["type"] == "frame":
                got.append(line["index"])
    assert got == sorted(set(got))
    assert len(got) < count / 2


def test_clients_have_nothing_to_say(serve):
    stream, motion = serve(), make_frame()
    with client(stream) as connection:
        begin(connection)
        for _ in range(50):
            connection.send("hello")
        stream(None, None, motion)
        assert read(connection)["type"] == "rest"
        assert read(connection)["type"] == "frame"
        connection.send("x" * 5000)
        with pytest.raises(ConnectionClosedError) as closed:
            read(connection)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


def test_only_so_many_clients(serve):
    stream = serve()
    with contextlib.ExitStack() as stack:
        for _ in range(MAX_CLIENTS):
            begin(stack.enter_context(client(stream)))
        assert refused(stream) == http.HTTPStatus.SERVICE_UNAVAILABLE


def test_the_end_of_the_capture_ends_the_connections(serve):
    stream = serve()
    with client(stream) as connection:
        begin(connection)
        stream.close()
        with pytest.raises(ConnectionClosed):
            connection.recv(timeout=20)
    stream(None, None, make_frame())
    assert stream._thread is not None
    assert not stream._thread.is_alive()
    assert not any(t.name == "hmcap-websocket" for t in threading.enumerate())


def test_a_port_in_use_is_an_error_before_the_capture():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(HmcapError, match=rf"listen at 127\.0\.0\.1:{port}.*--websocket"):
            open_live_outputs(CaptureOptions(websocket=str(port)), load_body())
