"""Who may connect: tokens, hosts, origins, and how much others may say and how often."""

import http
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, Request, build_opener

import msgpack
import pytest
from hmcap.models.body import load_body
from hmcap.models.errors import UsageError
from hmcap.realtime import capture_video
from hmcap.realtime.addresses import Address
from hmcap.realtime.cli import main
from hmcap.realtime.exporters import ExportOptions
from hmcap.realtime.options import CaptureOptions
from hmcap.realtime.peers import Bucket, Gate, Limits
from hmcap.realtime.play import play_take
from hmcap.realtime.streams.websocket import WebSocketStream
from hmcap.realtime.viewer import Viewer
from hmcap.realtime.viewer.guard import allowed, own_host
from hmcap.realtime.viewer.viewer import announcement
from hypothesis import given
from hypothesis import strategies as st
from test_streams import HEADER
from viewer_takes import moving_take
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

WAIT_S = 60
TOKEN = "a-token-of-the-test"


# Allowances


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 20)), max_size=60))
def test_no_more_is_taken_than_what_was_there_and_what_came_with_time(steps):
    now_s = taken = 0.0
    bucket = Bucket(3.0, 10.0, lambda: now_s)
    for wait_s, amount in steps:
        now_s += wait_s
        taken += amount if bucket.take(amount) else 0
        assert taken <= 10.0 + 3.0 * now_s + 1e-6


def test_one_address_cannot_take_the_places_of_others():
    now_s = 0.0
    gate = Gate(Limits(connections=8, per_address=4, opened_per_s=1, opened_at_once=10), lambda: now_s)
    assert [gate.enter("a") for _ in range(6)] == [True] * 4 + [False] * 2
    assert [gate.enter("b") for _ in range(5)] == [True] * 4 + [False]
    assert not gate.enter("c"), "more connections than all together may have"
    for _ in range(4):
        gate.leave("a")
    assert gate.open == 4
    assert [gate.enter("a") for _ in range(4)] == [True] * 4
    assert not gate.enter("a"), "connections a second are not counted"
    now_s = 60.0
    gate.leave("a")
    assert gate.enter("a")


def test_a_wrong_token_costs_as_many_connections():
    gate = Gate(Limits(opened_per_s=0.001, opened_at_once=20, wrong_token_costs=5), lambda: 0.0)
    tried = 0
    while gate.enter("a"):
        gate.leave("a")
        gate.wrong_token("a")
        tried += 1
    assert tried == 4


def test_addresses_that_are_many_do_not_fill_the_memory():
    gate = Gate(Limits(), lambda: 0.0)
    for number in range(3 * Gate.MOST_ADDRESSES):
        gate.enter(f"10.{number}")
        gate.leave(f"10.{number}")
    assert len(gate._buckets) <= Gate.MOST_ADDRESSES
    assert gate.open == 0


# The servers


@pytest.fixture
def viewer():
    """Opens viewers; closed at the end."""
    opened = []

    def start(token: str | None = None) -> Viewer:
        page = Viewer(load_body(), Address("127.0.0.1", 0), "clip", ExportOptions(), moving_take, token)
        opened.append(page)
        return page

    yield start
    for page in opened:
        page.close()


@pytest.fixture
def stream():
    served = WebSocketStream(Address("127.0.0.1", 0), load_body())
    served.open(HEADER)
    yield served
    served.close()


def get(page: Viewer, path: str = "/", opener=None, **headers: str):
    request = Request(f"http://127.0.0.1:{page.port}{path}", headers=headers)
    try:
        with (opener or build_opener()).open(request, timeout=WAIT_S) as answer:
            return answer.status, answer.headers
    except HTTPError as refusal:
        return refusal.code, refusal.headers


def say(page: Viewer, path: str = "/", **options):
    viser = pytest.importorskip("viser")
    return connect(
        f"ws://127.0.0.1:{page.port}{path}", subprotocols=[f"viser-v{viser.__version__}"], open_timeout=WAIT_S,
        max_size=None, **options,
    )  # fmt: skip


def answer(page: Viewer, path: str = "/", **options) -> int:
    try:
        with say(page, path, **options):
            return http.HTTPStatus.SWITCHING_PROTOCOLS
    except InvalidStatus as refusal:
        return refusal.response.status_code


def test_a_viewer_with_a_token_shows_nothing_without_it(viewer):
    page = viewer(TOKEN)
    assert page.url.endswith(f"/?token={TOKEN}")
    # each try counts for several connections: few enough that none of them is cut off
    for path in ("/", "/missing.js", f"/?token={TOKEN[:-1]}", "/?token=%ff"):
        assert get(page, path)[0] == 401
    for headers in ({"Cookie": '"'}, {"Authorization": f"Bearer {TOKEN}x"}):
        assert get(page, **headers)[0] == 401
    assert answer(page) == answer(page, "/?token=wrong") == 401


def test_a_token_opens_page_and_connection_and_the_cookie_opens_them_again(viewer):
    page = viewer(TOKEN)
    opener = build_opener(HTTPCookieProcessor())
    assert get(page, "/", opener)[0] == 401
    status, headers = get(page, f"/?token={TOKEN}", opener)
    assert status == 200
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert get(page, "/", opener)[0] == 200
    own = f"http://127.0.0.1:{page.port}"
    cookies = {"Cookie": cookie.partition(";")[0]}
    assert answer(page, additional_headers=cookies, origin=own) == 101
    assert answer(page, f"/?token={TOKEN}") == 101
    assert answer(page, additional_headers=cookies, origin="http://elsewhere.example") == 403
    assert get(viewer("another-token-of-the-test"), "/", opener)[0] == 401, "a cookie opens another viewer"


def test_a_viewer_that_others_can_reach_makes_a_token_and_says_the_whole_address():
    page = Viewer(load_body(), Address("0.0.0.0", 0), "clip", ExportOptions(), moving_take)
    try:
        assert page.token
        assert len(page.token) >= 16
        assert f"/?token={page.token}" in " ".join(announcement(page))
        assert get(page)[0] == 401
    finally:
        page.close()


def test_a_name_of_another_site_that_leads_here_opens_nothing(viewer):
    page = viewer()
    assert get(page)[0] == 200
    evil = f"evil.example:{page.port}"
    assert get(page, Host=evil)[0] == 403
    with socket.create_connection(("127.0.0.1", page.port), timeout=WAIT_S) as client:
        client.sendall(
            f"GET / HTTP/1.1\r\nHost: {evil}\r\nOrigin: http://{evil}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        assert b" 403 " in client.recv(4096).splitlines()[0]


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("localhost:8080", True), ("127.0.0.1:8080", True), ("[::1]:8080", True), ("192.168.1.20", True),
        ("studio.local:8080", True), ("STUDIO.local", True), ("evil.example", False), ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False), ("", False), ("[", False), ("user@localhost.evil", False),
    ],
)  # fmt: skip
def test_hosts_that_name_this_computer(host, ours):
    assert own_host(host, Address("studio.local", 8080)) == ours


def test_the_page_may_load_nothing_from_elsewhere(viewer):
    policy = get(viewer())[1]["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy
    assert "frame-ancestors 'self'" in policy


@pytest.mark.parametrize(
    ("message", "passes"),
    [
        ({"type": "ViewerCameraMessage", "wxyz": [1, 0, 0, 0]}, True),
        ({"type": "GuiUpdateMessage", "uuid": "a", "updates": {"value": 3}}, True),
        ({"type": "GuiUpdateMessage", "uuid": "a", "updates": {"update_cb": []}}, False),
        ({"type": "GuiUpdateMessage", "uuid": "a", "updates": {"value": "x" * 4096}}, False),
        ({"type": "GuiUpdateMessage", "uuid": "a", "updates": {"value": {"a": 1}}}, False),
        ({"type": "FileTransferStartUpload", "part_count": 10**9}, False),
        ({"type": "ShareUrlRequest"}, False),
        ({"type": ["ViewerCameraMessage"]}, False),
        ({}, False),
        ([], False),
    ],
)  # fmt: skip
def test_messages_that_a_page_sends(message, passes):
    assert allowed(msgpack.packb(message)) == passes


@given(st.binary(max_size=200))
def test_any_bytes_are_judged(data):
    assert allowed(data) in (True, False)


def go_on(act) -> None:
    for _ in range(100_000):
        act()


def test_whoever_says_too_much_is_cut_off_and_others_are_not(viewer, stream):
    page = viewer()
    with say(page) as quiet, say(page) as loud:
        quiet.recv(timeout=WAIT_S)
        with pytest.raises(ConnectionClosed):
            go_on(lambda: loud.send(b"x" * 60_000))
        quiet.send(msgpack.packb({"type": "ShareUrlRequest"}))
        assert quiet.ping().wait(WAIT_S)
    where = f"ws://{stream.address}"
    with connect(where, open_timeout=WAIT_S) as quiet, connect(where, open_timeout=WAIT_S) as loud:
        with pytest.raises(ConnectionClosed):
            go_on(loud.ping)
        assert quiet.ping().wait(WAIT_S)


def test_connections_that_say_nothing_do_not_use_up_the_file_handles(stream):
    where = (stream.address.host, stream.address.port)
    held = [socket.create_connection(where, timeout=WAIT_S) for _ in range(120)]
    try:
        until = time.monotonic() + WAIT_S
        while stream._gate.open > Limits().per_address or not stream._gate.open:
            assert time.monotonic() < until
            time.sleep(0.01)
        closed = 0
        for client in held[int(Limits().opened_at_once) + 20 :]:
            with pytest.raises((ConnectionError, AssertionError)):
                assert client.recv(1) != b""
            closed += 1
        assert closed
    finally:
        for client in held:
            client.close()


# A token that nobody sees


@pytest.mark.parametrize("option", ["viewer", "websocket"])
def test_a_token_that_nobody_would_see_is_an_error(option, tmp_path):
    address = {option: "0.0.0.0:0"}
    with pytest.raises(UsageError, match=f"--{option}-token"):
        capture_video(tmp_path / "none.mp4", show=False, **address)
    CaptureOptions(**address).check_tokens_seen(shown=True)
    CaptureOptions(**address, **{f"{option}_token": TOKEN}).check_tokens_seen(shown=False)
    CaptureOptions(**{option: "127.0.0.1:0"}).check_tokens_seen(shown=False)


def test_the_command_line_says_so(capsys):
    assert main(["--video", "none.mp4", "--quiet", "--websocket", "0.0.0.0"]) == 2
    assert "--websocket-token TOKEN" in capsys.readouterr().err
    assert main(["play", "none.hmcap", "--quiet", "--viewer", "0.0.0.0"]) == 2
    assert "--viewer-token TOKEN" in capsys.readouterr().err


def test_tokens_are_checked_before_anything_is_opened():
    with pytest.raises(UsageError, match="--viewer-token takes 8"):
        CaptureOptions(viewer="127.0.0.1", viewer_token="short")
    with pytest.raises(UsageError, match="found it alone"):
        CaptureOptions(viewer_token=TOKEN)
    with pytest.raises(UsageError, match="--viewer-token takes 8"):
        play_take("none.hmcap", viewer_token="a b c d e f g")


def test_a_guarded_connection_that_was_not_let_in_is_closed_unread():
    from hmcap.realtime.peers import GuardedConnection

    aborted = []
    transport = SimpleNamespace(get_extra_info=lambda _: ("10.0.0.9", 1), abort=lambda: aborted.append(True))
    connection = GuardedConnection.__new__(GuardedConnection)
    connection.gate, connection._entered = Gate(Limits(connections=0)), False
    connection.connection_made(transport)
    connection.data_received(b"GET / HTTP/1.1\r\n\r\n")
    connection.eof_received()
    connection.connection_lost(None)
    assert aborted == [True]
    assert connection.gate.open == 0


def test_the_limits_that_are_promised_are_those_of_the_code():
    from hmcap.realtime.streams.websocket import MAX_CLIENTS
    from hmcap.realtime.viewer.guard import LIMITS, MAX_MESSAGE_BYTES

    promised = (Path(__file__).resolve().parents[1] / "SECURITY.md").read_text(encoding="utf-8")
    both = Limits()
    assert (LIMITS.connections, LIMITS.opened_per_s) == (both.connections, both.opened_per_s)
    for words in (
        f"{both.connections} / {both.per_address}, {MAX_CLIENTS} clients",
        f"{both.opened_at_once:.0f} at once, then {both.opened_per_s:.0f} a second",
        f"{both.wrong_token_costs:.0f} connections: {both.opened_per_s / both.wrong_token_costs:.0f} tries a second",
        f"{both.bytes_at_once / 1024:.0f} KiB at once, then {both.bytes_per_s / 1024:.0f} KiB a second",
        f"{LIMITS.bytes_at_once / 2**20:.0f} MiB at once, then {LIMITS.bytes_per_s / 1024:.0f} KiB a second",
        f"{both.messages_at_once:.0f} at once, then {both.messages_per_s:.0f} a second",
        f"{LIMITS.messages_at_once:,.0f} at once, then {LIMITS.messages_per_s:.0f} a second, of "
        f"{MAX_MESSAGE_BYTES / 1024:.0f} KiB",
    ):
        assert words in promised
