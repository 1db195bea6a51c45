"""What reads bytes of others gives a value or one error: whole inputs, blind changes of them, and every input that once
did otherwise."""

import io
import json
import random
import tracemalloc
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
from hmcap.models.errors import HmcapError
from hmcap.models.npz import MAX_TOTAL_BYTES, BadNpz, open_npz
from hmcap.tools.fuzz import mutation, seeds
from hmcap.tools.fuzz.readers import READERS, outcome
from hmcap.tools.fuzz.tflite_files import F32, T, build

CHANGES = 25


def blind(rng: random.Random) -> Callable[[bytes], bytes]:
    """What libFuzzer does, in small: bytes replaced, left out, doubled."""

    def change(data: bytes) -> bytes:
        out = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(out) + 1)
            what = rng.random()
            if what < 0.5 and at < len(out):
                out[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            elif what < 0.75:
                del out[at : at + rng.randint(1, 8)]
            else:
                out[at:at] = out[max(0, at - 8) : at]
        return bytes(out)

    return change


@pytest.mark.parametrize("name", READERS)
def test_whole_inputs_are_read_and_changed_ones_give_a_value_or_one_error(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HMCAP_MODELS", str(tmp_path))  # put back afterwards
    reader = READERS[name]
    whole = reader.seeds()
    reader.read(whole[0], tmp_path)
    rng = random.Random(name)
    change = blind(rng)
    for number in range(CHANGES):
        data = rng.choice(whole)
        if reader.mutate is not None and number % 3:
            try:
                data = reader.mutate(data, change, rng)
            except (ValueError, LookupError, OverflowError):
                data = change(data)
        else:
            data = change(data)
        finding = outcome(reader, data, tmp_path)
        assert finding is None or finding.kind == "slow", (finding, data)  # no test asserts a speed


def test_changes_inside_a_take_keep_it_a_take(tmp_path):
    rng = random.Random(5)
    read = 0
    for _ in range(30):
        made = mutation.take_records(seeds.takes()[0], blind(rng), rng)
        try:
            read += READERS["take"].read(made, tmp_path).recovery.complete  # pyright: ignore[reportAttributeAccessIssue]
        except HmcapError:
            continue
    assert read > 5  # the others hold a header or message that says so itself


# Inputs that once did otherwise.


def header(**changes) -> bytes:
    fields = json.loads(seeds.HEADER.to_json()) | changes
    return json.dumps({k: v for k, v in fields.items() if v is not ...}).encode()


def camera(**changes) -> bytes:
    return header(camera=json.loads(seeds.HEADER.to_json())["camera"] | changes)


def wheel(method: int = zipfile.ZIP_DEFLATED) -> bytearray:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("a/net.bin", b"net" * 20)
        archive.writestr("a/inner.zip", seeds.wheels()[0])
    return bytearray(file.getvalue())


def damaged_wheel() -> bytes:
    data = wheel()
    at = data.index(b"a/net.bin") + 9
    data[at : at + 3] = b"\xff\xff\xff"
    return bytes(data)


def shifted_wheel() -> bytes:
    """Its directory says that it begins a hundred bytes later than it does, so that its members begin before 0."""
    data = wheel(zipfile.ZIP_STORED)
    data[-6:-2] = (int.from_bytes(data[-6:-2], "little") + 100).to_bytes(4, "little")
    return bytes(data)


def body(raw: dict[str, bytes] | None = None, **changes) -> bytes:
    """A body with other arrays, or other bytes in the place of an array."""
    with np.load(io.BytesIO(seeds.bodies()[1])) as archive:
        arrays = {name: archive[name] for name in archive.files} | changes
    file = io.BytesIO()
    np.savez(file, **{k: v for k, v in arrays.items() if k not in (raw or {})})
    with zipfile.ZipFile(file, "a") as archive:
        for name, content in (raw or {}).items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def impossible_text() -> np.ndarray:
    return np.frombuffer(b"\xff" * 4, "<u4").view("<U1")[0:1].reshape(())


def clip(**changes) -> bytes:
    file = io.BytesIO()
    np.savez(file, **({"poses": np.zeros((3, 165)), "trans": np.zeros((3, 3)), "mocap_frame_rate": 30.0} | changes))
    return file.getvalue()


def sparse() -> bytes:
    """A matrix of 24 numbers whose storage names 16 million places."""
    spec = {"order": (0, 1, 2, 3), "blocks": (0, 1), "dims": (2048, 2048, 2, 2)}
    return build(124, (99, {}), [T((4, 6), np.ones(12, np.float32), F32, spec)], T((4, 6)))


ONCE_BAD = {
    "a header without its number of frames": ("take-header", lambda: header(frame_count=...)),
    "a frame rate of 400 digits": ("take-header", lambda: header(fps=10**400)),
    "a width of 4000 digits": ("take-header", lambda: header(width_px=10**4000)),
    "a focal length of 400 digits": ("take-header", lambda: camera(fx_px=10**400)),
    "a distortion of 400 digits": ("take-header", lambda: camera(dist=[10**400, 0, 0, 0])),
    "a height of 400 digits": ("take-settings", lambda: b'{"height_m": 1%s}' % (b"0" * 400)),
    "a body with a NUL in its name": ("take-settings", lambda: rb'{"body": "a\u0000b"}'),
    "a way that nobody can read": ("take-settings", lambda: b'{"motion": "%s"}' % (b"9" * 5000)),
    "sparse weights of 16 million places": ("tflite", sparse),
    "a member that cannot be unpacked": ("wheel", damaged_wheel),
    "a member before the beginning": ("wheel", shifted_wheel),
    "members packed as no wheel is": ("wheel", lambda: bytes(wheel(zipfile.ZIP_BZIP2))),
    "a header that does not end": ("body", lambda: body({"f": b"\x93NUMPY\x01\x00\x04\x00{((\n"})),
    "a member that is no array": ("body", lambda: body({"f": b"text"})),
    "faces of nobody": ("body", lambda: body(f=np.zeros((0, 3), int))),
    "a tree of words": ("body", lambda: body(kintree_table=np.full((2, 55), "a"))),
    "directions of words": (
        "body",
        lambda: body(posedirs_are_zero=np.array(False), posedirs=np.full((4, 3, 486), "a")),
    ),
    "names that are no list": ("body", lambda: body(expression_names=np.array("a"))),
    "characters that do not exist": ("body", lambda: body(provenance=impossible_text())),
    "an axis of them": ("motion-clip", lambda: clip(up_axis=impossible_text())),
    "a provenance that is no JSON": ("body", lambda: body(provenance=np.array("{"))),
    "numbers beyond float32": ("body", lambda: body(v_template=np.full((4, 3), 1e200))),
    "a size that is a map": ("calibration", lambda: seeds.calibrations()[3].replace(b"[64, 48]", b"{x = 1}")),
    "a size of 400 digits": ("calibration", lambda: seeds.calibrations()[3].replace(b"[64,", b"[1%s," % (b"0" * 400))),
    "a frame rate of nobody": ("motion-clip", lambda: clip(mocap_frame_rate=1e-9)),
    "turns beyond counting": ("motion-clip", lambda: clip(poses=np.full((3, 165), 1e300))),
    "poses without frames": ("motion-clip", lambda: clip(poses=np.array(1.0))),
    "hands of words": ("eval-body", lambda: body(hands_meanl=np.array("x"))),
    "an empty word": ("command-line", lambda: b"--video\na.mp4\n"),
    "a person of 5000 digits": ("command-line", lambda: b"--video\na.mp4\n--subject\n" + b"9" * 5000),
    "an address nobody can read": ("address", lambda: b"\xff" * 3000),
}


@pytest.mark.parametrize("what", ONCE_BAD)
def test_what_once_crashed_gives_one_error(what, tmp_path):
    name, make = ONCE_BAD[what]
    data = make()
    tracemalloc.start()
    finding = outcome(READERS[name], data, tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert finding is None or finding.kind == "slow", finding
    assert peak < 64 << 20


def test_an_archive_that_unpacks_without_end_is_refused_before_it_is_unpacked(tmp_path):
    data = bytearray(body())
    at = data.rindex(b"PK\x01\x02") + 24  # the size of the last member, as the directory states it
    data[at : at + 4] = (MAX_TOTAL_BYTES + 1).to_bytes(4, "little")
    path = tmp_path / "bomb.npz"
    path.write_bytes(data)
    with pytest.raises(BadNpz, match="unpacks"), open_npz(path):
        pass
