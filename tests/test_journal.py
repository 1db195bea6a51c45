"""The journal under faults: cut at every byte, damaged in the middle, on slow and full disks, and across formats."""

import errno
import os
import struct
import threading
import time
import zlib

import hmcap.realtime.appending as appending
import hmcap.realtime.journal as journal
import numpy as np
import pytest
from hmcap.models.errors import HmcapError
from hmcap.realtime import cli, journal_reading, read_take
from hmcap.realtime import run as capture_run
from hmcap.realtime.journal import TakeWriter, write_take
from hmcap.realtime.take import FORMAT_VERSION
from mcap.reader import make_reader
from mcap_parts import CHUNK, METADATA, parts_of
from test_cli import stand
from test_take import FPS, make_header, make_motion, make_proxies, same
from versions_of_takes import COUNT, HEADER, REPORT, motion_at, proxies_at

TIMEOUT_S = 60


def until(condition):
    """Wait for what another thread brings about."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def frames_in(path) -> int:
    return len(read_take(path).proxies)


def journal_of(path, count: int, *, per_chunk: int = 2, motion: bool = True, **changes) -> bytes:
    """The bytes of a take whose capture was killed."""
    writer = TakeWriter(path, make_header(frame_count=count, settings={}, **changes), write_every_s=TIMEOUT_S)
    for i in range(count):
        writer.add_proxies(make_proxies(i))
        if motion:
            writer.add_motion(make_motion(i))
        if (i + 1) % per_chunk == 0:
            writer.flush()
    writer.flush()
    data = writer.part_path.read_bytes()
    writer.discard()
    return data


# -- cut off -----------------------------------------------------------------------------------------------------------


def test_cut_at_every_byte_it_gives_exactly_the_whole_chunks(tmp_path):
    data = journal_of(tmp_path / "a.hmcap", 3, per_chunk=1)
    parts = parts_of(data)
    header = next(part.end for part in parts if part.opcode == METADATA)
    assert sum(len(part.messages) for part in parts) == 6
    path = tmp_path / "cut.hmcap"
    path.write_bytes(data)
    for keep in range(len(data) - 1, -1, -1):
        os.truncate(path, keep)
        if keep < header:
            with pytest.raises(HmcapError):
                read_take(path)
            continue
        whole = [part for part in parts if part.opcode == CHUNK and part.end <= keep]
        messages = [message for part in whole for message in part.messages]
        take = read_take(path)
        assert [p.index for p in take.proxies] == [number for topic, number in messages if topic == "/proxies"]
        assert [m.index for m in take.motion] == [number for topic, number in messages if topic == "/motion"]
        assert take.recovery.chunks == len(whole)
        assert (take.recovery.complete, take.recovery.damaged, take.recovery.undecodable) == (False, 0, 0)
        assert take.recovery.lost_bytes == keep - max(part.end for part in parts if part.end <= keep)


@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_the_command_line_says_what_it_recovered(tmp_path, capsys, monkeypatch, share):
    data = journal_of(tmp_path / "a.hmcap", 30)
    part = tmp_path / "a.hmcap.part"
    part.write_bytes(data[: round(share * len(data))])
    whole = [p for p in parts_of(part.read_bytes()) if p.opcode == CHUNK]
    frames = sum(topic == "/proxies" for p in whole for topic, _ in p.messages)
    monkeypatch.setattr(capture_run, "open_motion", lambda choices: type("Motion", (), {
        "solve": staticmethod(lambda proxies, camera, **_: stand(proxies, camera))
    }))  # fmt: skip
    assert cli.main(["export", str(part), "--to", "npz"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "a.hmcap.part was not closed" in out
    assert f"Recovered: {frames} frames from 0.00 s to {(frames - 1) / FPS:.2f} s, and the motion of {frames}" in out
    assert f", in {len(whole)} whole chunks" in out
    assert (f"the last {30 - frames} frames of the footage" in out) == (frames < 30)
    with np.load(tmp_path / "a.npz") as arrays:
        assert len(arrays["poses"]) == frames


# -- damaged -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A killed capture's bytes, and its chunks."""
    data = journal_of(tmp_path_factory.mktemp("whole") / "a.hmcap", 40, per_chunk=4)
    return data, [part for part in parts_of(data) if part.opcode == CHUNK]


@pytest.mark.parametrize("at", range(9))
@pytest.mark.parametrize("value", [0, 1, 0x7F, 0xFF])
def test_one_damaged_record_head_costs_at_most_its_chunk(tmp_path, whole, at, value):
    data, chunks = bytearray(whole[0]), whole[1]
    data[chunks[3].start + at] = value
    path = tmp_path / "a.hmcap"
    path.write_bytes(data)
    take = read_take(path)
    found = [p.index for p in take.proxies]
    assert found in (list(range(40)), [i for i in range(40) if not 12 <= i < 16])
    assert all(same(p, make_proxies(p.index)) for p in take.proxies)
    assert take.recovery.damaged == (data != whole[0])


def test_a_damaged_index_hides_no_chunk_behind_it(tmp_path, whole):
    data, chunks = whole
    path = tmp_path / "a.hmcap"
    for length in (0, 5, 7, chunks[5].end - chunks[3].end, len(data) - chunks[3].end - 9, 2**40):
        path.write_bytes(data[: chunks[3].end + 1] + struct.pack("<Q", length) + data[chunks[3].end + 9 :])
        assert frames_in(path) == 40


@pytest.mark.parametrize("hole", [512, 4096, 40000])
def test_a_hole_of_zeros_costs_the_chunks_that_it_touches(tmp_path, whole, hole):
    data, chunks = whole
    path = tmp_path / "a.hmcap"
    for start in range(0, len(data) - hole, 7919):
        path.write_bytes(data[:start] + bytes(hole) + data[start + hole :])
        kept = [c for c in chunks if c.end <= start or c.start >= start + hole]
        expected = [number for c in kept for topic, number in c.messages if topic == "/proxies"]
        assert [p.index for p in read_take(path).proxies] == expected


def test_frames_that_are_missing_inside_are_named(tmp_path, whole, capsys):
    data, chunks = whole
    path = tmp_path / "a.hmcap"
    path.write_bytes(data[: chunks[3].start + 200] + bytes(8) + data[chunks[3].start + 208 :])
    assert cli.main(["export", str(path), "--to", "npz"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "Recovered: 36 frames" in out
    assert "1 damaged place passed over; missing inside: frames 12 to 15" in out


def test_without_its_first_header_a_copy_is_used(tmp_path, whole):
    data = whole[0]
    heads = [part for part in parts_of(data) if part.opcode == METADATA]
    assert len(heads) > 1
    path = tmp_path / "a.hmcap"
    for end in (8, heads[0].start, heads[0].end, heads[0].end + 100):
        path.write_bytes(bytes(end) + data[end:])
        take = read_take(path)
        assert take.header.name == "dance"
        assert len(take.proxies) in (40, 36)
        assert not take.recovery.complete


def test_one_message_that_is_none_costs_no_other(tmp_path):
    path = tmp_path / "a.hmcap"
    with TakeWriter(path, make_header()) as writer:
        for i in range(6):
            writer.add_proxies(make_proxies(i))
            if i == 2:
                writer._message("/proxies", 7, 0.1, b"\x81\xa5index\xff")
                writer._message("/motion", 7, 0.1, b"")
    take = read_take(path)
    assert [p.index for p in take.proxies] == list(range(6))
    assert take.recovery.complete
    assert str(take.recovery) == "damaged: 1 whole chunk recovered, 2 messages left out"


def test_a_hostile_file_costs_bounded_work(tmp_path):
    """Heads of large chunks, one in every few bytes, none of them right."""
    size = 4 << 20
    fake = b"\x06" + bytes(24) + struct.pack("<QIIQ", size, 1, 0, size)
    path = tmp_path / "a.hmcap"
    start = journal_of(path, 2)
    path.write_bytes(start + fake * (2 * size // len(fake)))
    read = []

    class Counting:
        def __init__(self, file):
            self.file = file

        def seek(self, at):
            self.file.seek(at)

        def read(self, length):
            data = self.file.read(length)
            read.append(len(data))
            return data

    from hmcap.realtime.records import MAX_RECORD_BYTES, Records

    with path.open("rb") as file:
        records = list(Records(Counting(file), path.stat().st_size))
    assert len(records) >= 2
    assert sum(read) < 2 * MAX_RECORD_BYTES + 8 * path.stat().st_size


# -- while it is written -----------------------------------------------------------------------------------------------


def test_the_last_frames_before_a_stall_reach_the_disk_by_themselves(tmp_path, monkeypatch):
    synced = []
    sync = appending.sync
    monkeypatch.setattr(appending, "sync", lambda file: (sync(file), synced.append(os.fstat(file.fileno()).st_size)))
    writer = TakeWriter(tmp_path / "a.hmcap", make_header(live=True))
    for i in range(3):
        writer.add_proxies(make_proxies(i))
    until(lambda: frames_in(writer.part_path) == 3)
    until(lambda: synced and synced[-1] == writer.part_path.stat().st_size)
    writer.close()


def test_footage_faster_than_time_is_never_half_a_second_ahead_of_its_journal(tmp_path):
    writer = TakeWriter(tmp_path / "a.hmcap", make_header(), write_every_s=TIMEOUT_S)
    for i in range(120):
        writer.add_proxies(make_proxies(i))
        assert (i - frames_in(writer.part_path)) / FPS <= appending.MAX_AHEAD_S + 1 / FPS
    writer.close()


def test_a_disk_that_does_not_answer_holds_up_neither_capture_nor_file(tmp_path, monkeypatch, caplog):
    answered = threading.Event()
    sync = appending.sync

    def stuck(file):
        assert answered.wait(TIMEOUT_S)
        sync(file)

    monkeypatch.setattr(appending, "sync", stuck)
    monkeypatch.setattr(appending, "SLOW_S", -1.0)
    writer = TakeWriter(tmp_path / "a.hmcap", make_header(live=True))
    for i in range(100):
        writer.add_proxies(make_proxies(i))
        writer.add_motion(make_motion(i))
    # Safe from a kill, though not from a power cut.
    until(lambda: frames_in(writer.part_path) == 100)
    answered.set()
    writer.close()
    assert frames_in(writer.path) == 100
    assert caplog.text.count("The disk of the take is slow") == 1


def test_what_waits_for_a_disk_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(appending, "MAX_WAITING_BYTES", 20_000)
    writer = TakeWriter(tmp_path / "a.hmcap", make_header(live=True), write_every_s=TIMEOUT_S)
    most = 0
    for i in range(60):
        writer.add_proxies(make_proxies(i))
        most = max(most, writer._appender._bytes)
    writer.close()
    assert 0 < most <= 20_000
    assert frames_in(writer.path) == 60


@pytest.mark.parametrize("place", ["write", "sync"])
def test_a_disk_that_fails_between_frames_is_told_with_the_next(tmp_path, monkeypatch, place):
    before = set(threading.enumerate())
    writer = TakeWriter(tmp_path / "a.hmcap", make_header())
    for i in range(5):
        writer.add_proxies(make_proxies(i))
    writer.flush()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    if place == "sync":
        monkeypatch.setattr(appending, "sync", full)
    else:
        monkeypatch.setattr(writer._writer, "flush", full)
    writer.add_proxies(make_proxies(5))
    until(lambda: writer._appender._error is not None)
    with pytest.raises(HmcapError, match=r"No space left.*kept in .*a\.hmcap"):
        writer.add_proxies(make_proxies(6))
    assert writer.closed
    assert writer.close() == writer.path
    assert 5 <= frames_in(writer.path) <= 6
    assert set(threading.enumerate()) <= before


def test_a_disk_without_room_for_the_beginning_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(journal.Writer, "flush", full)
    with pytest.raises(HmcapError, match=r"No space left.*--out"):
        TakeWriter(tmp_path / "a.hmcap", make_header())
    assert list(tmp_path.iterdir()) == []


# -- formats -----------------------------------------------------------------------------------------------------------


def test_every_format_that_was_ever_written_has_a_reader_and_a_take():
    assert list(journal_reading._FORMATS) == list(range(1, FORMAT_VERSION + 1))


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION + 1))
def test_a_take_of_every_format_reads_back_exactly(request, version):
    path = request.path.parent / "data" / f"take_v{version}.hmcap"
    take = read_take(path)
    assert take.header == HEADER
    assert take.report == REPORT
    assert (take.revision, take.recovery.complete) == (1, True)
    assert len(take.proxies) == len(take.motion) == COUNT
    assert all(same(p, proxies_at(i)) for i, p in enumerate(take.proxies))
    assert all(same(m, motion_at(i, 1)) for i, m in enumerate(take.motion))
    with path.open("rb") as file:
        stated = next(m for m in make_reader(file).iter_metadata() if m.name == "hmcap")
    assert stated.metadata["format_version"] == str(version)


def test_a_take_of_an_old_format_can_be_solved_anew(tmp_path, request):
    path = tmp_path / "old.hmcap"
    path.write_bytes((request.path.parent / "data" / "take_v1.hmcap").read_bytes())
    old = read_take(path)
    take = write_take(path, old, [motion_at(i, 2) for i in range(COUNT)])
    assert take.revision == 2
    assert all(same(a, b) for a, b in zip(old.proxies, take.proxies, strict=True))


@pytest.mark.parametrize("version", [str(FORMAT_VERSION + 1), "999", "0", "", "²", "one", "9" * 5000])
def test_a_format_that_is_not_known_is_refused(tmp_path, monkeypatch, version):
    monkeypatch.setattr(journal, "FORMAT_VERSION", version)
    path = tmp_path / "a.hmcap"
    with TakeWriter(path, make_header()) as writer:
        writer.add_proxies(make_proxies(0))
    newer = version.isdecimal() and len(version) < 9 and int(version) > FORMAT_VERSION
    with pytest.raises(HmcapError, match="Update hmcap" if newer else "no hmcap ever wrote"):
        read_take(path)


def test_a_checksum_guards_every_chunk(whole):
    data, chunks = whole
    for part in chunks:
        (crc,) = struct.unpack_from("<I", data, part.start + 33)
        assert crc == zlib.crc32(data[part.start + 49 : part.end]) != 0
