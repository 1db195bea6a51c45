"""The motion networks frame by frame: chunks of any size agree, look-ahead, ends, and files that are not ours."""

import json
from dataclasses import fields, replace

import numpy as np
import onnx
import pytest
from hmcap.engines import open_engine
from hmcap.models.errors import HmcapError, UsageError
from hmcap.models.observed import FIELDS, Observed
from hmcap.models.streaming.graph_info import METADATA_KEY, read_graph_info
from hmcap.models.streaming.records import OUTPUTS, Estimate, joined
from hmcap.models.streaming.stream import MOST_FRAMES, MotionNetwork, check_interface, masked
from motion_graphs import INFO, seen_at_random, small_graph, write_small_graph

BACKENDS = ("onnxruntime", "openvino")
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return write_small_graph(tmp_path_factory.mktemp("graph") / "motion.onnx")


@pytest.fixture(scope="module", params=BACKENDS)
def engine(graph, request):
    return open_engine(graph, backend=request.param)


def part(observed, begin, end):
    return observed.map(lambda a: a[begin:end])


def chunks(network, observed, sizes):
    out, begin = [], 0
    for size in sizes:
        out.append(network.push(part(observed, begin, begin + size)))
        begin += size
    assert begin == len(observed.xy)
    return joined([*out, network.finish()], network.info.num_betas)


def largest_difference(a: Estimate, b: Estimate):
    assert a.frames == b.frames
    return max(float(np.abs(getattr(a, n) - getattr(b, n)).max()) for n in OUTPUTS)


@pytest.mark.parametrize("ahead", INFO.lookaheads)
def test_chunks_of_any_size_give_the_numbers_of_the_whole_take(engine, graph, ahead):
    network = MotionNetwork(engine, read_graph_info(graph), ahead)
    observed = seen_at_random(61)
    whole = chunks(network, observed, [61])
    assert whole.frames == 61
    for sizes in ([1] * 61, [2, 3, 5, 7, 11, 13, 20], [0, 60, 0, 1], [ahead, 61 - ahead]):
        assert largest_difference(chunks(network, observed, sizes), whole) < TOLERANCE


def test_back_ends_agree(graph):
    observed, info = seen_at_random(40), read_graph_info(graph)
    a, b = (chunks(MotionNetwork(open_engine(graph, backend=n), info, 3), observed, [40]) for n in BACKENDS)
    assert largest_difference(a, b) < TOLERANCE


def test_takes_longer_than_one_call_are_one_take(engine):
    frames = 2 * MOST_FRAMES + 5
    network, observed = MotionNetwork(engine, INFO, 8), seen_at_random(frames)
    whole = chunks(network, observed, [frames])
    assert largest_difference(chunks(network, observed, [300, frames - 300]), whole) < TOLERANCE


class Echo:
    """An engine that gives the frames ``at`` back as places, and counts calls."""

    def __init__(self, info=INFO):
        model = small_graph(info)
        self.inputs, self.outputs = (
            tuple(Spec(v.name, tuple(d.dim_value or -1 for d in v.type.tensor_type.shape.dim)) for v in values)
            for values in (model.graph.input, model.graph.output)
        )
        self.fed = []

    def __call__(self, feeds):
        self.fed.append(feeds)
        frames = feeds["xy"].shape[1]
        out = {s.name: np.zeros([frames if n == -1 else n for n in s.shape], np.float32) for s in self.outputs}
        out["root_cam_m"][..., :2] = feeds["at_xy"][:, :, 0]
        out["next_cache_total"] = feeds["cache_total"] + frames
        return out


class Spec:
    def __init__(self, name, shape):
        self.name, self.shape = name, shape


@pytest.mark.parametrize("sizes", [[20], [1] * 20, [7, 0, 13], [2, 18]])
@pytest.mark.parametrize("ahead", INFO.lookaheads)
def test_an_estimate_is_of_the_frame_that_lies_the_look_ahead_back(ahead, sizes):
    engine, observed = Echo(), seen_at_random(20)
    network = MotionNetwork(engine, INFO, ahead)
    due, begin = [], 0
    for size in sizes:
        out = network.push(part(observed, begin, begin + size))
        begin += size
        due.append(out)
        assert sum(o.frames for o in due) == max(0, begin - ahead)
    last = network.finish()
    assert last.frames == ahead
    places = joined([*due, last], INFO.num_betas).root_cam_m[:, :2]
    np.testing.assert_array_equal(places, observed.xy[:, 0])
    at_end = [f for f in engine.fed if ahead][-1:]
    assert all(not f[name].any() for f in at_end for name in FIELDS)


@pytest.mark.parametrize("frames", [0, 1, 5])
def test_takes_shorter_than_the_look_ahead_come_out_whole(frames):
    observed, network = seen_at_random(5), MotionNetwork(Echo(), INFO, 8)
    assert network.push(part(observed, 0, frames)).frames == 0
    last = network.finish()
    np.testing.assert_array_equal(last.root_cam_m[:, :2], observed.xy[:frames, 0])
    assert all(getattr(last, n).dtype == np.float32 for n in OUTPUTS)


def test_finish_and_reset_leave_nothing_of_the_take_before(engine):
    observed = seen_at_random(30)
    network = MotionNetwork(engine, INFO, 3)
    first = chunks(network, observed, [30])
    assert largest_difference(chunks(network, observed, [30]), first) == 0
    network.push(seen_at_random(17, seed=5))
    network.reset()
    assert largest_difference(chunks(network, observed, [30]), first) == 0


def test_caches_start_at_zero_and_travel():
    engine = Echo()
    network = MotionNetwork(engine, INFO, 0)
    for size in (3, 4):
        network.push(masked(size))
    assert [float(f["cache_total"].item()) for f in engine.fed] == [0.0, 3.0]
    assert all(f["cache_seen"].dtype == np.float32 and not f["cache_seen"].any() for f in engine.fed)


@pytest.mark.parametrize("ahead", [-1, 1, 40])
def test_a_look_ahead_that_is_not_offered_is_refused_with_those_that_are(ahead):
    with pytest.raises(UsageError, match=rf"0, 3, 8; found {ahead}\. Try --look-ahead"):
        MotionNetwork(Echo(), INFO, ahead)


def test_values_that_are_no_numbers_are_an_error():
    class Broken(Echo):
        def __call__(self, feeds):
            out = super().__call__(feeds)
            out["R_local"][..., 1, 1] = np.nan
            return out

    with pytest.raises(HmcapError, match=r"after frame 0 .*--motion solver"):
        MotionNetwork(Broken(), INFO).push(seen_at_random(2))


def test_arrays_of_another_shape_are_named():
    observed = seen_at_random(4)
    short = Observed(*(getattr(observed, n)[: 3 if n == "hands_xyz_m" else 4] for n in FIELDS))
    with pytest.raises(HmcapError, match=r"hands_xyz_m of shape \(4, 2, 21, 3\).*found \(3, 2, 21, 3\)"):
        MotionNetwork(Echo(), INFO).push(short)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e: setattr(e, "inputs", e.inputs[1:]), "its inputs is no ahead"),
        (lambda e: setattr(e, "inputs", (*e.inputs, Spec("image", (1, 3)))), "the unknown image"),
        (lambda e: setattr(e, "outputs", e.outputs[:-1]), "its outputs is no next_cache_total"),
        (lambda e: setattr(e.inputs[0], "shape", (1, 4)), r"'ahead' has the shape \(1, 4\) where \(1, 3\)"),
        (lambda e: setattr(e.inputs[1], "shape", (1, 16, 67, 2)), r"\(1, 16, 67, 2\) where \(1, -1, 67, 2\)"),
        (lambda e: setattr(e.outputs[0], "shape", (1, -1, 16)), r"'betas' has the shape \(1, -1, 16\)"),
    ],
)
def test_an_engine_that_does_not_fit_the_metadata_is_refused(change, said):
    engine = Echo()
    check_interface(engine, INFO)
    change(engine)
    with pytest.raises(HmcapError, match=said):
        MotionNetwork(engine, INFO)


def test_metadata_survives_the_file(graph):
    info = read_graph_info(graph)
    assert all(getattr(info, f.name) == getattr(INFO, f.name) for f in fields(INFO))
    assert info.longest == 8


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"format": 2}, "version 1, found version 2"),
        ({"format": None}, "found version None"),
        ({"rate_hz": 25.0}, "30 frames a second, found 25.0"),
        ({"rate_hz": "fast"}, "found 'fast'"),
        ({"lookaheads": []}, "look-aheads"),
        ({"lookaheads": [0, 0]}, "look-aheads"),
        ({"lookaheads": [0, -4]}, "look-aheads"),
        ({"caches": {"a": [1, 0]}}, "caches"),
        ({"caches": [1]}, "caches"),
        ({"num_betas": 0}, "shape coefficients"),
        ({"size": 3}, "size"),
    ],
)
def test_metadata_of_another_version_or_rate_is_refused_by_name(tmp_path, metadata, said):
    path = write_small_graph(tmp_path / "other.onnx", **metadata)
    with pytest.raises(HmcapError, match=said) as error:
        read_graph_info(path)
    assert str(path) in str(error.value)


def test_keys_that_this_version_does_not_know_are_no_obstacle(tmp_path):
    assert read_graph_info(write_small_graph(tmp_path / "more.onnx", trained_on="walks")) == INFO


def test_files_that_are_not_ours_are_refused_by_name(tmp_path, graph):
    whole = graph.read_bytes()
    bare, text, outside = small_graph(), small_graph(), onnx.load(graph)
    text.metadata_props.add(key=METADATA_KEY, value="{")
    outside.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    files = {
        "empty.onnx": b"",
        "text.onnx": b"not a network",
        "cut.onnx": whole[: len(whole) // 2],
        "end.onnx": whole[:-3],
        "bare.onnx": bare.SerializeToString(),
        "json.onnx": text.SerializeToString(),
        "outside.onnx": outside.SerializeToString(),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(HmcapError, match="Expected motion networks") as error:
            read_graph_info(tmp_path / name)
        assert name in str(error.value)
    for missing in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(HmcapError, match="cannot be read"):
            read_graph_info(missing)


def test_json_says_what_the_record_holds():
    values = json.loads(INFO.to_json())
    assert values["lookaheads"] == [0, 3, 8]
    assert values["caches"]["seen"] == [1, 4, 134]
    assert replace(INFO, size="large").to_json() != INFO.to_json()
