"""The exporter of MMPose networks: on a small network of our own, and on MMPose's where that is installed."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hmcap.engines import registry
from hmcap.engines.backends import open_engine
from hmcap.engines.landmarks.mmpose import Form, find_network
from hmcap.models.errors import HmcapError
from hmcap.tools.export_mmpose import Graph, export_network, finishing, form_of, load_weights, main
from torch import nn


class Small(nn.Module):
    """A SimCC head on two convolutions, for ``count`` key points in pictures of 48 x 64 px."""

    def __init__(self, count: int = 26) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.Conv2d(8, count, 3, 4, 1))
        self.x, self.y = nn.Linear(12, 96), nn.Linear(12, 128)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        flat = self.body(pictures).flatten(2)
        return self.x(flat), self.y(flat)


FORM = Form("halpe26", "simcc", 48, 64, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0))


class Config(dict):
    """Stands for a configuration: keys are also attributes."""

    __getattr__ = dict.__getitem__


def config(codec: dict, loss: dict | None = None, count: int = 26, **prepare: object) -> Config:
    mean = {"mean": [1.0, 2.0, 3.0], "std": [4.0, 5.0, 6.0], "bgr_to_rgb": True}
    head = Config(decoder={"input_size": (48, 64)} | codec, loss=loss or {}, out_channels=count)
    return Config(model=Config(head=head, data_preprocessor=Config(mean | prepare)))


def test_export_is_added_with_all_that_it_says(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("HMCAP_MODELS", str(tmp_path / "models"))
    torch.manual_seed(0)
    worst = export_network(Graph(Small(), [torch.nn.Identity()] * 2), FORM, tmp_path / "small.onnx")
    assert worst < 1e-4
    assert capsys.readouterr().out.count("largest difference to torch") == 2
    assert registry.add(tmp_path / "small.onnx").layout == "halpe26"
    assert find_network("small", "body")[1] == FORM
    engine = open_engine(tmp_path / "small.onnx", threads=1)
    assert [s.shape for s in engine.inputs] == [(-1, 3, 64, 48)]
    for n in (1, 3):
        out = engine({"input": np.zeros((n, 3, 64, 48), np.float32)})
        assert [out[s.name].shape for s in engine.outputs] == [(n, 26, 96), (n, 26, 128)]


def test_engines_that_differ_from_torch_are_refused_and_nothing_is_written(tmp_path) -> None:
    class Restless(Small):
        def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            self.calls = getattr(self, "calls", 0) + 1  # traced as a constant
            x, y = super().forward(pictures)
            return x + self.calls, y

    with pytest.raises(HmcapError, match=r"agree with torch within 0\.001, found a difference of"):
        export_network(Graph(Restless(), [torch.nn.Identity()] * 2), FORM, tmp_path / "small.onnx")
    assert not list(tmp_path.iterdir())


def test_form_follows_from_the_configuration() -> None:
    assert form_of(config({"type": "SimCCLabel"})) == FORM
    assert form_of(config({"type": "UDPHeatmap"}, count=17)).codec == "udp_heatmap"
    for wrong, message in (
        (config({"type": "AssociativeEmbedding"}), "found AssociativeEmbedding"),
        (config({"type": "UDPHeatmap", "heatmap_type": "combined"}), "one of the codecs"),
        (config({"type": "SimCCLabel"}, bgr_to_rgb=False), "found one of BGR"),
        (config({"type": "SimCCLabel"}, count=14), "17, 26, 133 or 21 key points, found 14"),
    ):
        with pytest.raises(HmcapError, match=message):
            form_of(wrong)


@pytest.mark.parametrize(
    ("loss", "normalize", "beta"),
    [
        ({"label_softmax": True, "beta": 10.0}, False, 10.0),  # RTMPose
        ({"label_softmax": True, "beta": 1.0, "label_beta": 10.0}, False, 1.0),  # RTMW
        ({"label_softmax": True, "beta": 1.0}, True, 1.0),
        ({"label_softmax": False}, True, 1.0),  # SimCC
    ],
)
def test_network_that_learned_its_labels_scores_one(loss, normalize, beta) -> None:
    sigma = 6.0
    label = torch.exp(-((torch.arange(384.0) - 200) ** 2) / (2 * sigma**2))
    if normalize:
        label = label / (sigma * (2 * torch.pi) ** 0.5)
    # what the loss asks of the output, up to a constant that training leaves free and MMPose takes to be none
    learned = loss.get("label_beta", 10.0) * label / beta if loss["label_softmax"] else torch.log(label) / beta
    said = config({"type": "SimCCLabel", "sigma": sigma, "normalize": normalize}, loss)
    for finish in finishing(said):
        assert float(finish(learned).max()) == pytest.approx(1, abs=1e-3)


def test_checkpoint_of_tensors_and_arrays_is_read(tmp_path) -> None:
    torch.manual_seed(1)
    given, network = Small(), Small()
    meta = {"dataset_meta": {"sigmas": np.ones(26, np.float32), "count": np.int64(26)}, "epoch": 3}
    torch.save({"state_dict": given.state_dict(), "meta": meta}, tmp_path / "small.pth")
    load_weights(network, tmp_path / "small.pth")
    assert all(torch.equal(a, b) for a, b in zip(given.parameters(), network.parameters(), strict=True))


def test_checkpoint_that_would_run_code_or_does_not_fit_is_refused(tmp_path) -> None:
    torch.save({"state_dict": {}, "extra": SimpleNamespace(a=1)}, tmp_path / "code.pth")
    torch.save({"state_dict": Small(17).state_dict()}, tmp_path / "other.pth")
    torch.save({"state_dict": {"a": 1}}, tmp_path / "numbers.pth")
    (tmp_path / "text.pth").write_text("hello")
    for name, message in (
        ("code", r"checkpoint of plain tensors in .*code\.pth.*SimpleNamespace.*torch\.save"),
        ("other", r"weights for all 8 tensors .* 2 are missing or of another size, body\.2\.weight first"),
        ("numbers", "Expected a state_dict of tensors"),
        ("text", "checkpoint of plain tensors"),
        ("none", "checkpoint of plain tensors"),
    ):
        with pytest.raises(HmcapError, match=message):
            load_weights(Small(), tmp_path / f"{name}.pth")


@pytest.mark.skipif(importlib.util.find_spec("mmpose") is not None, reason="mmpose is installed")
def test_missing_mmpose_says_what_to_install(tmp_path, capsys) -> None:
    assert main([str(tmp_path / "x.py"), str(tmp_path / "x.onnx"), "--untrained"]) == 1
    assert "pip install --no-deps mmpose==1.3.2" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("mmpose") is None, reason="mmpose is not installed")
def test_network_of_mmpose_exports(tmp_path) -> None:
    import mmpose

    configs = Path(mmpose.__file__).parent / ".mim/configs"
    name = "body_2d_keypoint/rtmpose/body8/rtmpose-t_8xb1024-700e_body8-halpe26-256x192.py"
    assert main([str(configs / name), str(tmp_path / "tiny.onnx"), "--untrained"]) == 0
    assert (tmp_path / "tiny.onnx").stat().st_size > 1e6
