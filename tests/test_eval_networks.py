"""The motion networks as methods of the evaluation."""

import numpy as np
import pytest
from eval_cases import DotStage, nothing, walk_case
from hmcap.models.errors import HmcapError
from hmcap.realtime import motion
from hmcap.tools.evaluation.command import main
from hmcap.tools.evaluation.measure import measure
from hmcap.tools.evaluation.methods.landmarks import Landmarks
from hmcap.tools.evaluation.methods.networks import NETWORKS, Networks
from hmcap.tools.evaluation.methods.own import Context
from hmcap.tools.evaluation.methods.sources import ON_REQUEST, SourceOptions, find_sources
from hmcap.tools.evaluation.methods.store import prediction_path, read_prediction, write_prediction
from hmcap.tools.evaluation.report.table_rows import kind_of
from motion_graphs import write_small_graph
from solver_takes import absent, the_walk


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return write_small_graph(tmp_path_factory.mktemp("graph") / "motion.onnx")


def context(folder, graph) -> Context:
    return Context(Landmarks(folder / "proxies", stage=DotStage()), motion_weights=graph)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_row_of_a_case_is_predicted_and_kept(tmp_path, graph, name):
    case, method = walk_case(20), NETWORKS[name](context(tmp_path, graph))
    prediction = method.predict(case, nothing)
    assert (method.name, kind_of(name)) == (name, "ours")
    assert prediction.motion.in_world
    assert np.isfinite(prediction.motion.joints_m).all()
    values = measure(case, prediction).values
    assert values["detected_percent"] == values["pck_body_0_5"] == 100
    path = prediction_path(tmp_path, name, case)
    write_prediction(path, prediction, case)
    assert dict(read_prediction(path, case, name).settings) == dict(method.settings)


def test_nobody_is_an_answer(tmp_path, graph):
    empty = walk_case(5, proxies=[absent(p) for p in the_walk()[1][:5]])
    for make in NETWORKS.values():
        assert measure(empty, make(context(tmp_path, graph)).predict(empty, nothing)).values["detected_percent"] == 0


def test_live_does_not_look_ahead_and_whole_takes_do(tmp_path, graph):
    few, more = walk_case(10), walk_case(14)
    live, whole = (make(context(tmp_path, graph)) for make in (NETWORKS["networks-live"], NETWORKS["networks"]))
    assert (live.settings["look_ahead"], whole.settings["look_ahead"]) == (0, 8)
    a, b = (live.predict(c, nothing).motion.joints_m for c in (few, more))
    np.testing.assert_allclose(a, b[:10], atol=1e-6)  # what comes later changes nothing
    a, b = (whole.predict(c, nothing).motion.joints_m for c in (few, more))
    assert np.abs(a - b[:10]).max() > 1e-3


def test_the_version_follows_the_weights(tmp_path, graph):
    other = write_small_graph(tmp_path / "other.onnx", seed=1)
    same = tmp_path / "same.onnx"
    same.write_bytes(graph.read_bytes())
    versions = [Networks(context(tmp_path, file)).version for file in (graph, same, other)]
    assert versions[0] == versions[1] != versions[2]


def test_missing_or_foreign_weights_stop_before_the_first_case(tmp_path, monkeypatch):
    monkeypatch.setattr(motion, "WEIGHTS_FILE", "not_there.onnx")
    words = ["proxy", "--methods", "networks", "--data", str(tmp_path), "--predictions", str(tmp_path / "p"), "--quiet"]
    (tmp_path / "mocap").mkdir()
    with pytest.raises(HmcapError, match=r"not_there\.onnx"):
        main(words)
    (tmp_path / "text.onnx").write_text("no network", encoding="utf-8")
    with pytest.raises(HmcapError, match=r"text\.onnx"):
        main([*words, "--motion-weights", str(tmp_path / "text.onnx")])


def test_they_are_listed_and_by_default_measured_once_they_are_the_default(tmp_path, graph):
    sources = find_sources(SourceOptions(tmp_path, context(tmp_path, graph), tmp_path))
    assert set(NETWORKS) <= set(sources)
    assert set(NETWORKS).isdisjoint(ON_REQUEST) == (motion.DEFAULT_MOTION == "networks")
