"""The reader of pickles: equal to the usual one on data, and nothing of a file is ever executed."""

import collections
import contextlib
import os
import pickle
import struct

import numpy as np
import pytest
from hmcap.models.errors import HmcapError
from hmcap.tools.evaluation.sets.pickle_data import Inert, read_pickle, read_pickle_bytes
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

DTYPES = (
    "?",
    "i1",
    "u1",
    "<i2",
    ">i2",
    "<u4",
    ">i8",
    "u8",
    "<f2",
    "<f4",
    ">f4",
    "f8",
    ">f8",
    "c8",
    "c16",
    "S3",
    "S0",
    "U2",
    ">U2",
)
ENCODING = "latin1"


def read(data: bytes, inert: tuple[str, ...] = ()):
    return read_pickle_bytes(data, "a.pkl", inert)


def same(a, b) -> bool:
    """Whether two values are equal in kind, type of elements, shape and content, NaN equal to NaN."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        if (a.dtype, a.shape) != (b.dtype, b.shape) or a.flags["F_CONTIGUOUS"] != b.flags["F_CONTIGUOUS"]:
            return False
        if a.dtype.hasobject:
            return all(same(x, y) for x, y in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True))
        return a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return len(a) == len(b) and all(
            same(k, m) and same(v, w) for (k, v), (m, w) in zip(a.items(), b.items(), strict=True)
        )
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float | complex):
        return repr(a) == repr(b)
    if isinstance(a, np.generic):
        return a.tobytes() == b.tobytes()
    return a == b


def _arranged(a: np.ndarray, how: str) -> np.ndarray:
    if how == "F":
        return np.asfortranarray(a)
    if how == "T":
        return a.T
    return a[::2] if how == "slice" and a.ndim else a


def _objects(items: list) -> np.ndarray:
    out = np.empty(len(items), object)
    for i, item in enumerate(items):
        out[i] = item
    return out


numbers = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers())
scalars = st.one_of(numbers, st.text(), st.binary())
keys = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.binary()),
    lambda inner: st.one_of(st.tuples(inner, inner), st.frozensets(inner, max_size=2)),
    max_leaves=4,
)
arrays = st.sampled_from(DTYPES).flatmap(
    lambda code: hnp.arrays(np.dtype(code), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)
ordered = st.tuples(arrays, st.sampled_from(["C", "F", "T", "slice"])).map(lambda pair: _arranged(*pair))
elements = arrays.filter(lambda a: a.size and a.dtype.itemsize).map(lambda a: a.ravel()[0])
data = st.recursive(
    st.one_of(scalars, ordered, elements, st.binary().map(bytearray)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(keys, inner, max_size=4),
        st.sets(keys, max_size=4),
        st.frozensets(keys, max_size=4),
        st.lists(inner, max_size=3).map(_objects),
    ),
    max_leaves=8,
)
protocols = st.integers(0, 5)


# Data


@given(data, protocols)
@settings(max_examples=300, deadline=None)
def test_data_is_read_as_the_usual_reader_does(value, protocol):
    written = pickle.dumps(value, protocol)
    assert same(read(written), pickle.loads(written))


@given(arrays, protocols)
@settings(max_examples=100, deadline=None)
def test_files_of_older_numpy_are_read(array, protocol):
    written = pickle.dumps(array, protocol).replace(b"numpy._core.", b"numpy.core.")
    if protocol >= 4:  # names are counted there
        written = written.replace(b"\x8c\x16numpy.core", b"\x8c\x15numpy.core").replace(
            b"\x8c\x13numpy.core", b"\x8c\x12numpy.core"
        )
        written = written[:2] + written[11:] if written[2:3] == b"\x95" else written  # its frame has another length now
    assert same(read(written), pickle.loads(pickle.dumps(array, protocol)))


def test_what_is_written_once_stays_one():
    inner = [1]
    value = {"a": inner, "b": inner}
    out = read(pickle.dumps(value))
    assert out["a"] is out["b"]
    loop: list = []
    loop.append(loop)
    out = read(pickle.dumps(loop))
    assert out[0] is out


def test_types_of_elements_are_data():
    value = [np.dtype(c) for c in DTYPES]
    for protocol in range(6):
        assert read(pickle.dumps(value, protocol)) == value


def test_an_ordered_dictionary_becomes_a_dictionary():
    for protocol in range(6):
        assert read(pickle.dumps(collections.OrderedDict(b=1, a=2), protocol)) == {"b": 1, "a": 2}


def test_arrays_may_be_written_into():
    for protocol in range(6):
        out = read(pickle.dumps(np.arange(3.0), protocol))
        out[0] = 5
        assert out.tolist() == [5, 1, 2]


PYTHON_2 = (
    b"(dp0\nS'genders'\np1\n(lp2\nS'm'\np3\naS'\\xe9\\n'\np4\nasS'a'\np5\ncnumpy.core.multiarray\n_reconstruct\np6\n"
    b"(cnumpy\nndarray\np7\n(I0\ntp8\nS'b'\np9\ntp10\nRp11\n(I1\n(L2L\nI1\ntp12\ncnumpy\ndtype\np13\n(S'f8'\np14\nI0\nI1\n"
    b"tp15\nRp16\n(I3\nS'<'\np17\nNNNI-1\nI-1\nI0\ntp18\nbI00\nS'\\x00\\x00\\x00\\x00\\x00\\x00\\xf8?\\x00\\x00\\x00\\x00"
    b"\\x00\\x00\\x00\\xc0'\np19\ntp20\nbsS'ok'\np21\nI01\ns."
)


def test_the_first_protocol_of_python_2():
    out = read(PYTHON_2)
    assert same(out, pickle.loads(PYTHON_2, encoding=ENCODING))
    assert out["genders"] == ["m", "\xe9\n"]
    assert out["a"].tolist() == [[1.5], [-2.0]]


def test_the_binary_protocols_of_python_2():
    raw = struct.pack("<2d", 1.5, -2.0)
    text = b"U" + bytes([len(raw)]) + raw
    stream = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02\x85"
        b"cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + text
        + b"tb."
    )
    assert same(read(stream), pickle.loads(stream, encoding=ENCODING))
    number = (
        b"\x80\x02cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tbU\x08" + raw[:8] + b"\x86R."
    )
    assert read(number) == 1.5


@given(st.binary())
def test_bytes_as_python_2_wrote_them(raw):
    quoted = repr(raw)[1:].encode("ascii")  # Python 2 wrote its byte strings like this, without the b
    assert read(b"S" + quoted + b"\n.") == raw.decode(ENCODING)


# Nothing is executed


class _Calls:
    """An object that is a call when it is pickled."""

    def __init__(self, function, *args, state=None):
        self.call = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_calls_are_refused_and_named(tmp_path, protocol):
    target = tmp_path / "executed"
    for call, name in (
        (_Calls(os.system, f"echo > {target}"), f"{os.system.__module__}.system"),
        (_Calls(eval, f"open({str(target)!r}, 'w')"), "eval"),
        (_Calls(exec, f"open({str(target)!r}, 'w')"), "exec"),
        (_Calls(open, str(target), "w"), "open"),
        (_Calls(getattr, 1, "real"), "getattr"),
        (_Calls(np.load, str(target)), "numpy.load"),
        (_Calls(np.dtype, "f8", state={"a": os.system}), "system"),
        (_Calls(collections.Counter, {}), "collections.Counter"),
        (collections.deque([1]), "collections.deque"),
    ):
        written = pickle.dumps([1, {"a": (call,)}], protocol)
        with pytest.raises(HmcapError, match="refused") as caught:
            read(written)
        assert name in str(caught.value)
        assert "a.pkl" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not target.exists()


@pytest.mark.parametrize(
    ("stream", "named"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
        (b"(S'true'\nios\nsystem\n.", "INST"),
        (b"(cos\nsystem\nS'true'\no.", "OBJ"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.", "os.system"),
        (b"\x80\x02cos\nsystem\n)\x81.", "os.system"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93)}\x92.", "NEWOBJ_EX"),
        (b"ccopy_reg\n_reconstructor\n(cos\nsystem\nc__builtin__\nobject\nNtR.", "os.system"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"Pname\n.", "PERSID"),
        (b"\x80\x02K\x01Q.", "BINPERSID"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        (b"cos\nsystem\n.", "os.system"),
        (b"]cos\nsystem\na.", "os.system"),
        (b"}K\x01cos\nsystem\ns.", "os.system"),
        (b"cnumpy\nndarray\n(I5\ntR.", "numpy.ndarray"),
        (b"cnumpy.core.multiarray\n_reconstruct\n(cos\nsystem\n(I0\ntS'b'\ntR.", "array of another class"),
        (
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I900000000000\ntS'b'\ntR.",
            "array of another class",
        ),
        (b"cnumpy\ndtype\n(S'f8,f8'\nI0\nI1\ntR.", "numpy type"),
        (b"cnumpy\ndtype\n(S'V16'\nI0\nI1\ntR.", "numpy type"),
        (b"K\x01}b.", "state for a int"),
        (b"c_codecs\nencode\n(S'abc'\nS'rot13'\ntR.", "rot13"),
        (b"c__builtin__\nbytearray\n(I1000000000000\ntR.", "bytes belong"),
        (b"c__builtin__\nset\n(cos\nsystem\ntR.", "set of a"),
    ],
)
def test_hostile_streams_are_refused(stream, named):
    with pytest.raises(HmcapError, match="refused") as caught:
        read(stream)
    assert named in str(caught.value)


def test_structured_arrays_are_refused():
    for protocol in range(6):
        with pytest.raises(HmcapError, match="refused"):
            read(pickle.dumps(np.zeros(2, [("a", "f8"), ("b", "i4")]), protocol))
        with pytest.raises(HmcapError, match="refused"):
            read(pickle.dumps(np.zeros(2, "M8[s]"), protocol))


# Memory and time


def _array(shape: bytes, raw: bytes, dtype: bytes = b"f8") -> bytes:
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
        + shape
        + b"cnumpy\n"
        b"dtype\nU" + bytes([len(dtype)]) + dtype + b"K\x00K\x01\x87R\x89" + raw + b"tb."
    )


@pytest.mark.parametrize(
    "shape", [b"J\xff\xff\xff\x7f\x85", b"(" + b"J\xff\xff\xff\x7f" * 9 + b"t", b"J\xff\xff\xff\xff\x85"]
)
def test_shapes_larger_than_the_data_are_refused(shape):
    with pytest.raises(HmcapError, match="refused"):
        read(_array(shape, b"U\x081234567\x00"))
    with pytest.raises(HmcapError, match="refused"):
        read(_array(shape, b"]", b"O8"))


def test_one_part_cannot_be_named_without_end():
    raw = b"B" + struct.pack("<I", 100_000) + bytes(100_000)
    start = b"\x80\x03" + raw + b"q\x010("
    one = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01J\xa0\x86\x01\x00\x85cnumpy\n"
        b"dtype\nX\x02\x00\x00\x00u1\x89\x88\x87R\x89h\x01tb"
    )
    assert len(read(start + one * 3 + b"t.")) == 3
    with pytest.raises(HmcapError, match="larger than the file"):
        read(start + one * 2000 + b"t.")


def test_keys_without_end_are_refused():
    doubled = b"\x80\x02K\x01" + b"2\x86" * 200  # a pair of the same pair, two hundred times over
    with pytest.raises(HmcapError, match="as a key"):
        read(doubled + b"q\x010}h\x01Ns.")
    with pytest.raises(HmcapError, match="as a key"):
        read(b"\x80\x04\x8f(K\x01" + b"\x85" * 100_000 + b"\x90.")


def test_deep_nesting_is_no_trouble():
    out = read(b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".")
    depth = 0
    while out:
        (out,) = out
        depth += 1
    assert depth == 199_999


def test_numbers_and_texts_longer_than_the_file_are_refused():
    for stream in (
        b"\x8b\xff\xff\xff\x7f1.",
        b"X\xff\xff\xff\x7fa.",
        b"\x8e" + b"\xff" * 8 + b"a.",
        b"\x96" + b"\x7f" * 8 + b".",
    ):
        with pytest.raises(HmcapError, match="cannot be read"):
            read(stream)


# Broken files


SAMPLES = [
    pickle.dumps({"a": [np.arange(6.0).reshape(2, 3), (1, "b"), {2.5}], "n": np.float32(3), "o": _objects([1, "x"])}, p)
    for p in range(6)
] + [PYTHON_2]


def harmless(stream: bytes) -> None:
    """Either a value or the one error."""
    with contextlib.suppress(HmcapError):
        read(stream)


@pytest.mark.parametrize("sample", SAMPLES)
def test_cut_files_are_refused(sample):
    for n in range(len(sample)):
        with pytest.raises(HmcapError):
            read(sample[:n])


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
@example(b"")
@example(b".")
@example(b"(.")
@example(b"0.")
@example(b"1.")
@example(b"2.")
@example(b"(0.")
@example(b"NR.")
@example(b"gx\n.")
@example(b"Ix\n.")
@example(b"S'\\x'\n.")
@example(b"V\\ud800\n.")
@example(b"I" + b"9" * 5000 + b"\n.")
@example(b"\x80\x04(\x85\x94.")
@example(b"\x80\x02}(K\x01u.")
@example(b"c\xff\n\xff\n.")
@example(b"cnumpy\ndtype\n)R.")
@example(b"cnumpy\ndtype\n(S'f8'\nI0\nI1\ntR(I3\nNNNNI-1\nI-1\nI0\ntb.")
@example(b"cnumpy.core.multiarray\n_reconstruct\n)R.")
@example(b"cnumpy.core.numeric\n_frombuffer\n(S''\ncnumpy\ndtype\n(S'f8'\nI0\nI1\ntR(I2\ntS'C'\ntR.")
def test_garbage_is_refused(stream):
    harmless(stream)


@given(st.sampled_from(SAMPLES), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=500, deadline=None)
def test_files_with_wrong_bytes_are_read_or_refused(sample, changes):
    stream = bytearray(sample)
    for place, byte in changes:
        stream[place % len(stream)] = byte
    harmless(bytes(stream))


def test_files_that_are_not_there_are_named(tmp_path):
    with pytest.raises(HmcapError, match=r"none\.pkl"):
        read_pickle(tmp_path / "none.pkl")
    with pytest.raises(HmcapError, match="Expected a pickle file"):
        read_pickle(tmp_path)


def test_a_file_is_read(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([1, 2]))
    assert read_pickle(tmp_path / "a.pkl") == [1, 2]


# Classes that are understood without being imported


class Matrix:
    """Stands for a class of a library."""

    def __init__(self):
        self.data = np.arange(3.0)


@pytest.mark.parametrize("protocol", range(6))
def test_objects_of_named_classes_become_records(protocol):
    name = f"{Matrix.__module__}.Matrix"
    written = pickle.dumps({"m": Matrix()}, protocol)
    with pytest.raises(HmcapError, match="Matrix"):
        read(written)
    out = read(written, (name,))["m"]
    assert isinstance(out, Inert)
    assert (out.name, out.args) == (name, ())
    assert out.state["data"].tolist() == [0, 1, 2]


def test_calls_of_named_classes_become_records_too():
    out = read(b"cchumpy.ch\nCh\n(I1\nI2\ntR.", ("chumpy.ch.Ch",))
    assert (out.name, out.args, out.state) == ("chumpy.ch.Ch", (1, 2), None)
