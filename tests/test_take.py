"""Takes on disk: exact round trips, recovery from any cut, and refusal of what no take can hold."""

import dataclasses
import json
import struct
import tracemalloc

import msgpack
import numpy as np
import pytest
from hmcap.models.camera import Camera
from hmcap.models.errors import HmcapError
from hmcap.models.motion import MotionFrame
from hmcap.models.proxies import Proxies
from hmcap.realtime.codec import decode_motion, decode_proxies, encode_motion, encode_proxies
from hmcap.realtime.journal import TakeWriter, write_take
from hmcap.realtime.journal_reading import read_take
from hmcap.realtime.take import TakeHeader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.opcode import Opcode
from mcap.reader import make_reader

FPS = 30000 / 1001
COUNT = 40


def make_proxies(index: int, seed: int = 0) -> Proxies:
    rng = np.random.default_rng((seed, index))
    hands = rng.normal(size=(2, 21, 3)).astype(np.float32)
    hands[1] = np.nan
    return Proxies(
        index, index / FPS, (1920, 1080), rng.normal(size=(67, 2)).astype(np.float32),
        rng.random(67).astype(np.float32), rng.normal(size=(33, 3)).astype(np.float32), hands, float(rng.random()),
    )  # fmt: skip


def make_motion(index: int, seed: int = 0) -> MotionFrame:
    rng = np.random.default_rng((seed, index, 1))
    camera = Camera(1920, 1080, 1500.25, 1499.5, 960.5, 541.0, (0.1, -0.2, 0.001, 0.002), "--calib lens.json")
    return MotionFrame(
        index, index / FPS, True, rng.normal(size=10), rng.normal(size=(55, 3)), rng.normal(size=3), np.eye(4), camera,
        rng.random(4), rng.random(8), rng.random(8) > 0.5, float("nan") if index % 5 == 0 else 1.25,
    )  # fmt: skip


def make_header(**changes) -> TakeHeader:
    header = TakeHeader(
        source="/videos/dance.mp4",
        name="dance",
        fps=FPS,
        width_px=1920,
        height_px=1080,
        camera=Camera.from_fov(1920, 1080, 61.5),
        frame_count=COUNT,
        engines={"pose": {"backend": "openvino", "device": "CPU"}},
        settings={"height_m": 1.8, "subject": "largest", "body": None},
        created="2025-01-01T00:00:00+00:00",
        version="0.1.0",
    )
    return dataclasses.replace(header, **changes)


def same(a, b) -> bool:
    """Equality of records, with NaN equal to NaN and types of arrays compared too."""
    for f in dataclasses.fields(a):
        x, y = getattr(a, f.name), getattr(b, f.name)
        if isinstance(x, np.ndarray):
            if x.dtype != y.dtype or not np.array_equal(x, y, equal_nan=x.dtype.kind == "f"):
                return False
        elif not (x == y or (isinstance(x, float) and np.isnan(x) and np.isnan(y))):
            return False
    return True


def write(path, count=COUNT, *, frames_per_chunk=5, motion=True, close=True):
    """A take with a chunk every few frames."""
    writer = TakeWriter(path, make_header(), write_every_s=60)
    for i in range(count):
        writer.add_proxies(make_proxies(i))
        if motion:
            writer.add_motion(make_motion(i))
        if i % frames_per_chunk == 0:
            writer.flush()
    if close:
        writer.add_report({"frames": count, "jitter": None})
        writer.close()
    else:
        writer.flush()
    return writer


def test_a_take_reads_back_exactly(tmp_path):
    path = tmp_path / "a.hmcap"
    write(path)
    take = read_take(path)
    assert take.header == make_header()
    assert take.report == {"frames": COUNT, "jitter": None}
    assert take.fps == FPS
    assert [p.index for p in take.proxies] == [m.index for m in take.motion] == list(range(COUNT))
    assert all(same(p, make_proxies(p.index)) for p in take.proxies)
    assert all(same(m, make_motion(m.index)) for m in take.motion)
    assert take.recovery.complete
    assert take.recovery.chunks >= COUNT // 5
    assert list(tmp_path.iterdir()) == [path]


def test_any_mcap_reader_can_list_the_file(tmp_path):
    path = tmp_path / "a.hmcap"
    write(path)
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None
        assert {c.topic: c.message_encoding for c in summary.channels.values()} == {
            "/proxies": "msgpack", "/motion": "msgpack",
        }  # fmt: skip
        messages = list(reader.iter_messages(topics=["/proxies"]))
        assert [m.sequence for _, _, m in messages] == list(range(COUNT))
        assert messages[3][2].log_time == round(3 / FPS * 1e9)
        assert list(dict.fromkeys(m.name for m in reader.iter_metadata())) == ["hmcap", "hmcap.report"]


def test_the_last_header_and_report_count(tmp_path):
    with TakeWriter(tmp_path / "a.hmcap", make_header()) as writer:
        writer.add_proxies(make_proxies(0))
        writer.update_header(make_header(fps=24.5))
        writer.add_report({"a": 1})
        writer.add_report({"a": 2})
    take = read_take(tmp_path / "a.hmcap")
    assert take.fps == 24.5
    assert take.report == {"a": 2}


def test_a_whole_later_revision_replaces_and_half_of_one_does_not(tmp_path):
    for frames, revision in ((COUNT, 1), (COUNT - 1, 0)):
        path = tmp_path / f"{frames}.hmcap"
        with TakeWriter(path, make_header()) as writer:
            for i in range(COUNT):
                writer.add_proxies(make_proxies(i))
                writer.add_motion(make_motion(i), 0)
            for i in range(frames):
                writer.add_motion(make_motion(i, seed=7), 1)
        take = read_take(path)
        assert take.revision == revision
        assert take.solved
        assert all(same(m, make_motion(m.index, seed=7 * revision)) for m in take.motion)


def test_motion_can_be_added_to_a_finished_take(tmp_path):
    path = tmp_path / "a.hmcap"
    write(path, motion=False)
    before = read_take(path)
    assert not before.solved
    assert before.revision == -1
    after = write_take(path, before, [make_motion(i) for i in range(COUNT)], {"frames": 1})
    assert after.solved
    assert after.revision == 1
    assert all(same(a, b) for a, b in zip(before.proxies, after.proxies, strict=True))
    assert list(tmp_path.iterdir()) == [path]


class Journal(tuple):
    """(bytes, ends) with a short repr."""

    def __repr__(self) -> str:
        return f"Journal of {len(self[0])} bytes"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> "Journal":
    """A take without its tail (as a crash leaves it) and, for each frame, the length from which it is on disk."""
    path = tmp_path_factory.mktemp("whole") / "a.hmcap"
    ends = []
    writer = TakeWriter(path, make_header(), write_every_s=60)
    for i in range(COUNT):
        writer.add_proxies(make_proxies(i))
        if i % 4 == 3:
            writer.flush()
            ends += [writer.part_path.stat().st_size] * 4
    data = writer.part_path.read_bytes()
    writer.close()
    return Journal((data, ends))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), noise=st.binary(min_size=1, max_size=12))
def test_noise_anywhere_gives_true_frames_or_one_clear_error(whole, tmp_path, place, noise):
    data = bytearray(whole[0])
    at = min(round(place * len(data)), len(data) - len(noise))
    data[at : at + len(noise)] = noise
    path = tmp_path / "noise.hmcap"
    path.write_bytes(data)
    try:
        take = read_take(path)
    except HmcapError:
        return
    # The checksum lets no altered frame through.
    assert all(same(p, make_proxies(p.index)) for p in take.proxies)


@pytest.mark.parametrize("noise", [b"\xff" * 8, b"\0\0\0\0\0\0\0\x80"])
def test_lengths_beyond_all_memory_are_damage(whole, tmp_path, noise):
    data, ends = whole
    path = tmp_path / "noise.hmcap"
    chunks, at = [], 8  # past the magic bytes
    while at < len(data):
        opcode, length = struct.unpack_from("<BQ", data, at)
        chunks += [at] if opcode == Opcode.CHUNK else []
        at += 9 + length
    for at in range(chunks[1], chunks[1] + 100):  # the head of the second chunk and of its first record
        path.write_bytes(data[:at] + noise + data[at + len(noise) :])
        take = read_take(path)
        # A few bytes are times that nothing here reads: then nothing is lost.
        # Only the second chunk is lost, if that; a few bytes are lengths that the rest tells, or times.
        assert len(take.proxies) in (COUNT - ends.count(ends[1]), COUNT)
        assert len(take.proxies) == COUNT or take.recovery.damaged == 1
        assert all(same(p, make_proxies(p.index)) for p in take.proxies)


@pytest.mark.parametrize("zeros", [1, 9, 4096])
def test_zeros_after_a_power_cut_are_passed_over(whole, tmp_path, zeros):
    path = tmp_path / "a.hmcap"
    path.write_bytes(whole[0] + bytes(zeros))
    take = read_take(path)
    assert len(take.proxies) == COUNT
    assert take.recovery.lost_bytes == zeros


def test_a_take_that_was_never_closed_is_pointed_to(tmp_path):
    path = tmp_path / "a.hmcap"
    write(path, close=False)
    with pytest.raises(HmcapError, match=r"only a\.hmcap\.part is there.*hmcap export"):
        read_take(path)
    assert len(read_take(tmp_path / "a.hmcap.part").proxies) == COUNT


def test_an_empty_capture_leaves_the_earlier_take(tmp_path):
    path = tmp_path / "a.hmcap"
    write(path)
    with pytest.raises(RuntimeError), TakeWriter(path, make_header()):
        raise RuntimeError
    assert len(read_take(path).proxies) == COUNT
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"\x89MCAP", b"hello world, this is text", b"\x89MCAP0\r\n" + bytes(100)])
def test_what_is_no_take_says_so(tmp_path, content):
    path = tmp_path / "a.hmcap"
    path.write_bytes(content)
    with pytest.raises(HmcapError, match=r"a\.hmcap"):
        read_take(path)
    with pytest.raises(HmcapError, match="folder"):
        read_take(tmp_path)


@pytest.mark.parametrize("length", [2**63, 2**40, 65 << 20])
def test_a_record_of_absurd_length_is_refused_without_reading_it(tmp_path, length):
    path = tmp_path / "a.hmcap"
    path.write_bytes(b"\x89MCAP0\r\n" + struct.pack("<BQ", 6, length) + bytes(1000))
    tracemalloc.start()
    with pytest.raises(HmcapError, match="declares a record"):
        read_take(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def altered(data: bytes, **changes) -> bytes:
    return msgpack.packb(msgpack.unpackb(data) | changes)


def array(dtype="<f4", shape=(67, 2), data=b"\0" * 536) -> dict:
    return {"dtype": dtype, "shape": list(shape), "data": data}


@pytest.mark.parametrize(
    "changes",
    [
        {"xy_px": array(shape=(10**9, 2))},
        {"xy_px": array(shape=(67, 2), data=b"")},
        {"xy_px": array(shape=(-67, -2))},
        {"xy_px": array(dtype="|O")},
        {"xy_px": array(dtype="<i4")},
        {"xy_px": array(dtype=["a", "b"])},
        {"xy_px": array(shape=(2, 67))},
        {"xy_px": b"raw"},
        {"xy_px": None},
        {"index": -1},
        {"index": 2**60},
        {"index": 1.5},
        {"index": True},
        {"stamp_s": float("nan")},
        {"stamp_s": "now"},
        {"image_size_px": [10**9, 4]},
        {"image_size_px": [640]},
        {"score": None},
    ],
)
def test_messages_that_no_take_holds_are_refused(changes):
    data = encode_proxies(make_proxies(3))
    assert same(decode_proxies(data), make_proxies(3))
    with pytest.raises(HmcapError, match=next(iter(changes))):
        decode_proxies(altered(data, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"betas": array("<f8", (10**6,), b"")},
        {"poses": array("<f8", (55, 3), np.full((55, 3), np.inf).tobytes())},
        {"measured": array("<f8", (8,), bytes(64))},
        {"camera": {}},
        {"camera": {"width_px": 0}},
        {"revision": -1},
        {"present": 1},
        {"reprojection_error": "low"},
    ],
)
def test_motion_that_no_take_holds_is_refused(changes):
    data = encode_motion(make_motion(3), 1)
    frame, revision = decode_motion(data)
    assert same(frame, make_motion(3))
    assert revision == 1
    with pytest.raises(HmcapError):
        decode_motion(altered(data, **changes))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_random_messages_never_crash_the_decoder(data):
    for decode in (decode_proxies, decode_motion):
        with pytest.raises(HmcapError):
            decode(data)


@pytest.mark.parametrize("dist", [[0.1], [0.1] * 6, [float("nan")] * 4, ["0.1"] * 4])
def test_lenses_that_no_take_holds_are_refused(dist):
    fields = json.loads(make_header().to_json())
    fields["camera"]["dist"] = dist
    with pytest.raises(HmcapError, match="dist"):
        TakeHeader.from_json(json.dumps(fields))


@pytest.mark.parametrize(
    "changes", [{"fps": 0}, {"fps": 1e9}, {"width_px": 0}, {"height_px": "tall"}, {"camera": None}, {"engines": []}]
)
def test_headers_that_no_take_holds_are_refused(changes):
    text = json.dumps(json.loads(make_header().to_json()) | changes)
    with pytest.raises(HmcapError):
        TakeHeader.from_json(text)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HmcapError, match="--out"):
        TakeWriter(tmp_path / "file" / "a.hmcap", make_header())
