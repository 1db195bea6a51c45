"""The VMC stream: rebuilt by a receiver that knows the protocol alone, smooth between frames, never in the way."""

import dataclasses
import socket
from types import SimpleNamespace

import numpy as np
import pytest
from hmcap.models.body import load_body
from hmcap.models.camera import Camera
from hmcap.models.errors import HmcapError, UsageError
from hmcap.models.face import ARKIT_NAMES
from hmcap.models.motion import MotionFrame
from hmcap.models.skeleton import JOINT_NAMES
from hmcap.realtime import addresses, capture_video
from hmcap.realtime.addresses import DEFAULT_VMC, Address, parse_address
from hmcap.realtime.cli import main
from hmcap.realtime.live_outputs import open_live_outputs
from hmcap.realtime.options import CaptureOptions
from hmcap.realtime.run import Parts
from hmcap.realtime.streams.playout import Playout, Pose, between, slerp
from hmcap.realtime.streams.vmc import VmcStream
from hmcap.realtime.streams.vmc_names import BONE_NAMES, PERFECT_SYNC_NAMES, VRM_NAMES, vrm_weights
from hmcap.realtime.take import TakeHeader
from scipy.spatial.transform import Rotation
from test_cli import Landmarks, make_video, stand
from vmc_receiver import HUMAN_BODY_BONES, Avatar

CAMERA = Camera.from_fov(640, 480, 60)
HEADER = TakeHeader("clip.mp4", "clip", 30.0, 640, 480, CAMERA)
UDP_ROOM = 1500 - 40 - 8
"""Bytes of an Ethernet frame behind the headers of IPv6 and UDP."""
ANYWHERE = Address("127.0.0.1", 9)


def make_frame(index: int = 0, *, seed: int = 0, present: bool = True, face: bool = False) -> MotionFrame:
    """A body somewhere in the room with every joint turned, fingers too."""
    rng = np.random.default_rng(seed)
    place_m = rng.normal(size=3) + np.array([0.4, 1.2, -0.7])
    return MotionFrame(
        index=index, stamp_s=index / 30, present=present, betas=rng.normal(size=10) * 0.7,
        poses=rng.normal(size=(55, 3)) * 0.6, trans_m=place_m, T_cam_world=np.eye(4),
        camera=CAMERA, contact=np.ones(4), confidence=np.ones(8), measured=np.ones(8, bool), reprojection_error=1.0,
        expression=rng.random(52) if face else np.zeros(0, np.float32),
    )  # fmt: skip


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def stream(clock):
    opened = VmcStream(ANYWHERE, load_body(), clock=clock)
    yield opened
    opened.close()


def heard(stream: VmcStream, now_s: float) -> Avatar:
    avatar = Avatar()
    for datagram in stream.datagrams(now_s):
        avatar.hear(datagram)
    return avatar


@pytest.mark.parametrize("seed", range(5))
def test_a_receiver_rebuilds_the_pose(stream, clock, seed):
    motion = make_frame(seed=seed)
    stream(None, None, motion)
    avatar = heard(stream, clock.now_s)
    posed = load_body().with_shape(motion.betas).with_pose(motion.poses, motion.trans_m)
    mirror = np.diag([-1.0, 1, 1])
    for joint, name in enumerate(BONE_NAMES):
        R, p_m = avatar.world(name)
        off = Rotation.from_matrix(R @ (mirror @ posed.R_world[joint] @ mirror).T).magnitude()
        assert np.degrees(off) < 0.05, name
        assert p_m == pytest.approx(mirror @ posed.joints_m[joint], abs=1e-4), name
    assert avatar.root == [0, 0, 0, 0, 0, 0, 1]


def test_left_is_left_in_unity(stream, clock):
    """Unity's avatars look along +z with their left at -x; a left hand raised sideways is up there."""
    motion = dataclasses.replace(make_frame(), poses=np.zeros((55, 3)), trans_m=np.zeros(3), betas=np.zeros(10))
    motion.poses[JOINT_NAMES.index("left_shoulder")] = (0, 0, np.pi / 2)
    stream(None, None, motion)
    avatar = heard(stream, clock.now_s)
    shoulder, hand, other = (avatar.world(n)[1] for n in ("LeftUpperArm", "LeftHand", "RightHand"))
    assert shoulder[0] < 0 < other[0]
    assert hand[1] - shoulder[1] > 0.3
    assert avatar.world("LeftToes")[1][2] > avatar.world("LeftFoot")[1][2]


def test_the_names_are_unitys():
    assert sorted(BONE_NAMES) == sorted(HUMAN_BODY_BONES)
    pairs = dict(zip(JOINT_NAMES, BONE_NAMES, strict=True))
    assert pairs["spine3"] == "UpperChest"
    assert pairs["left_collar"] == "LeftShoulder"
    assert pairs["right_pinky2"] == "RightLittleIntermediate"


def test_datagrams_fit_a_frame_and_others_read_them_too(stream, clock):
    osc_packet = pytest.importorskip("pythonosc.osc_packet")
    stream(None, None, make_frame(face=True))
    avatar, order = Avatar(), []
    for datagram in stream.datagrams(clock.now_s + 1.5):
        assert len(datagram) <= UDP_ROOM - 20
        addresses_here = avatar.hear(datagram)
        order += addresses_here
        assert [m.message.address for m in osc_packet.OscPacket(datagram).messages] == addresses_here
    assert order[:3] == ["/VMC/Ext/OK", "/VMC/Ext/T", "/VMC/Ext/Root/Pos"]
    assert order[-1] == "/VMC/Ext/Blend/Apply"
    assert avatar.time_s == pytest.approx(1.5)
    assert len(avatar.bones) == 55


@pytest.mark.parametrize(
    ("face", "names"),
    [("both", {*VRM_NAMES, *PERFECT_SYNC_NAMES}), ("arkit", {*PERFECT_SYNC_NAMES}), ("vrm", {*VRM_NAMES})],
)
def test_the_face_is_sent_under_the_names_asked_for(clock, face, names):
    motion = make_frame(face=True)
    stream = VmcStream(ANYWHERE, load_body(), face=face, clock=clock)
    stream(None, None, motion)
    shapes = heard(stream, clock.now_s).shapes
    stream.close()
    assert set(shapes) == names
    for name in names & set(PERFECT_SYNC_NAMES):
        weight = motion.expression[ARKIT_NAMES.index(name[0].lower() + name[1:])]
        assert shapes[name] == pytest.approx(weight, abs=1e-6)


def test_vowels_share_the_mouth():
    rng = np.random.default_rng(1)
    for arkit in [*rng.random((200, 52)), np.zeros(52), np.ones(52)]:
        weights = vrm_weights(arkit)
        assert (weights >= 0).all()
        assert weights[:5].sum() <= 1 + 1e-9
    jaw = np.eye(52)[ARKIT_NAMES.index("jawOpen")]
    assert vrm_weights(jaw) == pytest.approx(np.eye(7)[VRM_NAMES.index("A")])
    assert not vrm_weights(np.zeros(52)).any()


def test_nothing_is_sent_of_a_person_before_one_is_seen_and_the_last_pose_is_held_after(stream, clock):
    def tracking(now_s):
        avatar = heard(stream, now_s)
        return len(avatar.bones), avatar.state

    stream(None, None, make_frame(0, present=False))
    assert tracking(clock.now_s) == (0, [0, 3, 0, 0])
    stream(None, None, make_frame(1))
    assert tracking(clock.now_s) == (55, [1, 3, 0, 1])
    clock.now_s += 1 / 30
    stream(None, None, make_frame(2, present=False))
    assert tracking(clock.now_s + 0.5) == (55, [1, 3, 0, 0])
    before = stream.datagrams(clock.now_s + 60)[1:]
    assert before == stream.datagrams(clock.now_s + 600)[1:]
    stream(None, None, dataclasses.replace(make_frame(3), poses=np.full((55, 3), np.nan)))
    assert before == stream.datagrams(clock.now_s + 600)[1:]


def turned(degrees: float, x_m: float = 0.0, present: bool = True) -> Pose:
    quaternion = Rotation.from_rotvec([0, np.radians(degrees), 0]).as_quat(scalar_first=True)
    offsets = np.zeros((55, 3))
    offsets[0, 0] = x_m
    return Pose(np.tile(quaternion, (55, 1)), offsets, np.zeros(0), present)


def test_between_two_frames_is_the_shortest_arc():
    rng = np.random.default_rng(2)
    a, b = (Rotation.random(40, rng=rng) for _ in range(2))
    quaternions = [r.as_quat(scalar_first=True) for r in (a, b)]
    signs = rng.choice([-1, 1], (40, 1))
    for share in (0, 0.3, 1):
        exact = a * Rotation.from_rotvec((a.inv() * b).as_rotvec() * share)
        ours = Rotation.from_quat(slerp(quaternions[0], signs * quaternions[1], share), scalar_first=True)
        assert (exact.inv() * ours).magnitude() == pytest.approx(0, abs=1e-6)
    assert between(turned(10, 1), turned(30, 3), 0.25).offsets_m[0, 0] == pytest.approx(1.5)


def test_one_frame_late_the_motion_is_between_the_frames_and_then_held():
    playout = Playout()
    assert playout.sample(5.0) is None
    playout.push(turned(0, 0.0), 0.0, 10.0)
    playout.push(turned(90, 1.0), 0.1, 10.1)
    assert playout.delay_s == pytest.approx(0.1)
    for now_s, degrees in ((10.0, 0), (10.1, 0), (10.15, 45), (10.175, 67.5), (10.2, 90), (99.0, 90)):
        pose = playout.sample(now_s)
        assert pose.offsets_m[0, 0] == pytest.approx(degrees / 90, abs=1e-9)
        assert Rotation.from_quat(pose.rotations_wxyz[0], scalar_first=True).as_rotvec(degrees=True)[1] == (
            pytest.approx(degrees)
        )


def walk(steps_s: float, arrivals_s: np.ndarray, stamps_s: np.ndarray) -> tuple[np.ndarray, np.ndarray, Playout]:
    """Show a walk at one metre a second of the source's time every ``steps_s``: times and places shown."""
    playout, shown, k = Playout(), [], 0
    times = np.arange(arrivals_s[0], arrivals_s[-1], steps_s)
    for now_s in times:
        while arrivals_s[k] <= now_s:
            playout.push(turned(0, stamps_s[k]), stamps_s[k], arrivals_s[k])
            k += 1
        shown.append(playout.sample(now_s).offsets_m[0, 0])
    return times, np.array(shown), playout


@pytest.mark.parametrize("pace", [1.0, 2.4], ids=["in time", "a machine that is too slow"])
def test_uneven_arrivals_make_an_even_walk(pace):
    rng = np.random.default_rng(3)
    stamps = np.arange(300) / 30
    arrivals = 50 + stamps * pace + rng.uniform(0, 0.012, 300)
    times, shown, playout = walk(1 / 60, arrivals, stamps)
    settled = times > 52
    speed = np.diff(shown[settled]) * 60
    assert (speed > 0.6 / pace).all()
    assert (speed < 1.4 / pace).all()
    assert speed.mean() == pytest.approx(1 / pace, rel=0.03)
    assert playout.delay_s < pace / 30 + 0.03


def test_a_pause_and_a_new_source_do_not_disturb():
    playout = Playout()
    stamps = [0, 0.1, 0.2, 0.3, 3.0, 3.1, 0.0, 0.1]
    arrivals = [10, 10.1, 10.2, 10.3, 18.0, 18.1, 18.2, 18.3]
    for k, (stamp_s, arrival_s) in enumerate(zip(stamps, arrivals, strict=True)):
        playout.push(turned(0, k), stamp_s, arrival_s)
        assert playout.sample(arrival_s + 1).offsets_m[0, 0] == k
    assert playout.delay_s < 0.2


def test_a_real_socket_hears_the_whole_body():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(20)
        (sink,) = open_live_outputs(CaptureOptions(vmc=f"127.0.0.1:{receiver.getsockname()[1]}"), load_body())
        sink.open(HEADER)
        try:
            sink(None, None, make_frame())
            avatar = Avatar()
            while len(avatar.bones) < 55:
                avatar.hear(receiver.recv(2000))
        finally:
            sink.close()
    assert avatar.state[0] == 1


def test_a_file_is_streamed_while_it_is_captured(tmp_path):
    motion = SimpleNamespace(together=True, push_all=lambda proxies: stand(proxies, CAMERA))
    parts = Parts(Landmarks(), motion, lambda proxies, camera, **_: stand(proxies, camera))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(20)
        choices = {"vmc": f"127.0.0.1:{receiver.getsockname()[1]}", "out": tmp_path, "parts": parts}
        result = capture_video(make_video(tmp_path / "dance.mp4"), **choices)
        avatar, times_s = Avatar(), []
        while len(avatar.bones) < 55:
            avatar.hear(receiver.recv(2000))
            times_s.append(avatar.time_s)
    assert result.report.frames == 20
    assert times_s == sorted(times_s)
    # the stand-in person stands at rest, one metre above the origin
    assert avatar.bones["LeftIndexDistal"][3:] == pytest.approx([0, 0, 0, 1])
    assert avatar.bones["Hips"][1] == pytest.approx(1 + load_body().rest_joints(np.zeros(10))[0, 1], abs=1e-6)


@pytest.mark.parametrize(
    ("error", "words"), [(ConnectionRefusedError(111, "Connection refused"), "nobody listens"),
                         (OSError(101, "Network is unreachable"), "unreachable")],
)  # fmt: skip
def test_a_network_that_fails_is_told_once_and_stops_nothing(stream, caplog, error, words):
    class Broken:
        def send(self, data):
            raise error

        def close(self):
            pass

    stream._socket.close()
    stream._socket = Broken()
    for _ in range(5):
        stream._send(b"data")
    (record,) = caplog.records
    assert words in record.getMessage()


def test_a_receiver_that_is_not_there_yet_misses_nothing_later(stream, caplog):
    """The system tells of a datagram that nobody took when the next one is sent, in place of sending that."""

    class Elsewhere:
        def __init__(self):
            self.sent, self.told = [], False

        def send(self, data):
            self.told = not self.told
            if self.told:
                raise ConnectionRefusedError(111, "Connection refused")
            self.sent.append(data)

        def close(self):
            pass

    stream._socket.close()
    stream._socket = network = Elsewhere()
    for data in (b"1", b"2", b"3"):
        stream._send(data)
    assert network.sent == [b"1", b"2", b"3"]
    (record,) = caplog.records
    assert "nobody listens" in record.getMessage()


def test_a_full_network_drops_silently(stream, caplog):
    class Busy:
        def send(self, data):
            raise BlockingIOError

        def close(self):
            pass

    stream._socket.close()
    stream._socket = Busy()
    stream._send(b"data")
    assert not caplog.records


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:39540", "127.0.0.1:39540"), ("39540", "127.0.0.1:39540"), ("studio-pc", "studio-pc:39539"),
        ("studio-pc:1", "studio-pc:1"), ("[::1]:40000", "[::1]:40000"), ("::1", "[::1]:39539"), (":7", "127.0.0.1:7"),
    ],
)  # fmt: skip
def test_addresses_as_people_type_them(text, expected):
    address = parse_address(text, "--vmc", DEFAULT_VMC)
    assert str(address) == expected
    assert parse_address(str(address), "--vmc", DEFAULT_VMC) == address


@pytest.mark.parametrize("text", ["", "host:65536", "host:port", "host:", "http://host", "a b", "[::1", "²"])
@pytest.mark.parametrize("option", ["vmc", "websocket"])
def test_a_wrong_address_is_wrong_usage(text, option, capsys):
    with pytest.raises(UsageError, match=f"--{option} takes HOST:PORT"):
        CaptureOptions(**{option: text})
    assert main(["--video", "sample", f"--{option}={text}"]) == 2
    assert f"--{option} takes HOST:PORT" in capsys.readouterr().err


def test_an_unknown_computer_is_an_error_before_the_capture(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(addresses.socket, "getaddrinfo", unknown)
    with pytest.raises(HmcapError, match="nowhere"):
        open_live_outputs(CaptureOptions(vmc="nowhere.invalid"), load_body())


def test_other_choices_are_checked_too():
    assert open_live_outputs(CaptureOptions(), load_body()) == []
    for wrong in ({"vmc_face": "all"}, {"websocket_token": "long-enough"}, {"websocket": "1", "websocket_token": "x"}):
        with pytest.raises(UsageError):
            CaptureOptions(**wrong)
