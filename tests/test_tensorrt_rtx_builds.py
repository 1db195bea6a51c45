"""Real engines for an RTX 40 from every network, where the extra is installed; no GPU is needed to build them."""

import pytest
from hmcap.engines import PRECISIONS, engine_cache
from hmcap.engines.store import models_folder
from hmcap.engines.tensorrt_library import load
from hmcap.models.errors import HmcapError
from hmcap.realtime.engines_ahead import build_engines, networks

pytest.importorskip("tensorrt_rtx", reason="needs pip install 'hmcap[tensorrt]'")

LANDMARKS = ("pose_detection", "pose_landmark_full", "hand_recrop", "hand_landmark_full")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    networks()  # fetched before the folder is another one
    monkeypatch.setattr(engine_cache, "models_folder", lambda: tmp_path)
    assert models_folder() != tmp_path
    return tmp_path / "engines"


@pytest.mark.network
@pytest.mark.parametrize("precision", PRECISIONS)
def test_landmark_networks_build_for_a_card_that_is_not_here(cache, precision):
    lines = list(build_engines(LANDMARKS, compute_capability="8.9", precision=precision))
    profiles = ["any", "any", "any", "any", "pair batch=2"]
    assert [(line.network, line.profile) for line in lines] == list(
        zip((*LANDMARKS, LANDMARKS[-1]), profiles, strict=True)
    )
    assert all(line.path.parent == cache and line.size > 1e6 and line.build_s is not None for line in lines)
    again = list(build_engines(LANDMARKS, compute_capability="8.9", precision=precision))
    assert [(line.path, line.build_s) for line in again] == [(line.path, None) for line in lines]


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("precision", ["f32", "f16"])
def test_motion_networks_build_for_a_card_that_is_not_here(cache, precision):
    lines = list(build_engines(["motion"], compute_capability="8.9", precision=precision))
    assert [line.profile for line in lines] == ["take frames=1..128..256", "live frames=1"]


def test_an_unknown_card_is_refused_with_those_that_are_known():
    with pytest.raises(HmcapError, match=r"8\.9, 12\.0.*found 3\.5"):
        list(build_engines(["motion"], compute_capability="3.5"))
    assert (8, 9) in load("tensorrt_rtx").targets
