"""Write a landmark network of MMPose as the ONNX file that ``hmcap models add`` takes.

    python -m hmcap.tools.export_mmpose CONFIG OUT.onnx --checkpoint FILE.pth

Needs an environment with torch and, next to hmcap, ``pip install --no-deps mmpose==1.3.2 mmengine mmcv-lite addict yapf
termcolor platformdirs pyyaml pillow`` (no compiler: what a forward pass does not need is stood in for). CONFIG is one
of MMPose's configuration files, which are Python programs: run only those that you trust. A checkpoint is read without
executing anything in it. The result takes any number of pictures at once, says in its metadata what it is, and is
compared with torch on ONNX Runtime and OpenVINO before it is believed.
"""

import argparse
import importlib.abc
import importlib.machinery
import math
import os
import re
import sys
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from ..engines.backends import first_line, open_engine
from ..engines.landmarks.mmpose import Form, get_layout
from ..engines.landmarks.mmpose.form import METADATA
from ..engines.landmarks.mmpose.layouts import layout_of_count
from ..engines.store import atomic_write
from ..models.errors import HmcapError

OPSET = 17
MAX_DIFFERENCE = 1e-3
"""The most by which an engine's outputs may differ from torch's."""
_STOOD_IN = (
    "xtcocotools",
    "pycocotools",
    "chumpy",
    "munkres",
    "json_tricks",
    "torchvision",
    "six",
    "mmdet",
    "mmcv._ext",
)
"""What mmpose imports and no forward pass of a top-down network calls: compiled, outdated or large."""
_CODECS = {"SimCCLabel": "simcc", "MSRAHeatmap": "heatmap", "UDPHeatmap": "udp_heatmap"}


class Graph(nn.Module):
    """A network from picture to scores. ``finish`` brings each output to 1 for a key point that is certain."""

    def __init__(self, network: nn.Module, finish: Sequence[Callable[[torch.Tensor], torch.Tensor]]) -> None:
        super().__init__()
        self.network, self._finish = network, finish

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(N, K, W * split) and (N, K, H * split), or (N, K, H / stride, W / stride), of pictures (N, 3, H, W)."""
        outputs = self.network(pictures)
        outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
        return tuple(finish(x) for finish, x in zip(self._finish, outputs, strict=True))


class _TopDown(nn.Module):
    """Backbone, neck and head of an MMPose estimator, without its data samples."""

    def __init__(self, estimator: Any) -> None:
        super().__init__()
        self.estimator = estimator

    def forward(self, pictures: torch.Tensor) -> Any:
        return self.estimator.head(self.estimator.extract_feat(pictures))


def export_network(graph: nn.Module, form: Form, out: Path) -> float:
    """Write ``graph`` and what ``form`` says of it to ``out``; returns the largest difference to torch.

    Raises :class:`HmcapError`, and writes nothing, where an engine differs from torch by more than
    :data:`MAX_DIFFERENCE`.
    """
    graph = graph.eval()
    names = ["simcc_x", "simcc_y"] if form.codec == "simcc" else ["heatmap"]
    axes = {name: {0: "batch"} for name in ("input", *names)}
    picture = torch.rand(1, 3, form.height_px, form.width_px, generator=torch.Generator().manual_seed(0))
    with TemporaryDirectory() as folder, torch.no_grad():
        traced = Path(folder) / "network.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of shapes that are constants, as they are
            torch.onnx.export(
                graph, (picture,), traced, input_names=["input"], output_names=names, dynamic_axes=axes,
                opset_version=OPSET, dynamo=False,
            )  # fmt: skip
        model = onnx.load(traced)
        _describe(model, form)
        onnx.save(model, traced)
        worst = max(compare(graph, traced, form.size_px).values())
        if not worst <= MAX_DIFFERENCE:
            raise HmcapError(
                f"Expected engines to agree with torch within {MAX_DIFFERENCE:g}, found a difference of {worst:.3g}. "
                "Export in float32, and from a network that works the same way each time (no dropout, no sampling)."
            )
        atomic_write(out, traced.read_bytes())
    return worst


def _describe(model: onnx.ModelProto, form: Form) -> None:
    del model.metadata_props[:]
    said = {
        "layout": form.layout,
        "codec": form.codec,
        "input_size": f"{form.width_px},{form.height_px}",
        "mean": ",".join(map(repr, form.mean)),
        "std": ",".join(map(repr, form.std)),
    }
    for key, text in said.items():
        model.metadata_props.add(key=METADATA + key, value=text)


def compare(
    graph: nn.Module, path: Path, size_px: tuple[int, int], batches: Sequence[int] = (1, 2)
) -> dict[str, float]:
    """Engine -> largest difference of its outputs from torch's, over noise of standard deviation 1."""
    generator = torch.Generator().manual_seed(1)
    engines = {name: open_engine(path, backend=name, warm_up=False) for name in ("onnxruntime", "openvino")}
    worst = dict.fromkeys(engines, 0.0)
    for n in batches:
        pictures = torch.randn(n, 3, size_px[1], size_px[0], generator=generator)
        with torch.no_grad():
            expected = [x.numpy() for x in graph(pictures)]
        for name, engine in engines.items():
            found = engine({"input": pictures.numpy()})
            for spec, x in zip(engine.outputs, expected, strict=True):
                worst[name] = float(np.maximum(worst[name], np.abs(found[spec.name] - x).max()))
    for name, difference in worst.items():
        print(f"{name}: largest difference to torch {difference:.3g}")
    return worst


# MMPose


class _StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Asked last: empty modules for what is not installed, whose classes say so when one is made."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if any(fullname == name or fullname.startswith(f"{name}.") for name in _STOOD_IN):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> types.ModuleType:
        class Absent(types.ModuleType):
            def __getattr__(self, name: str) -> Any:
                if name.startswith("__"):
                    raise AttributeError(name)

                def refuse(self: Any, *args: Any, **kwargs: Any) -> None:
                    raise HmcapError(
                        f"Expected a network that needs no {spec.name}.{name}; this one does. Install "
                        f"{spec.name.partition('.')[0]}, or choose a configuration without it."
                    )

                return type(name, (nn.Module,), {"__init__": refuse})

        module = Absent(spec.name)
        module.__path__ = []  # a package without files
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing to run."""


def build(config_path: Path) -> tuple[Any, Any]:
    """The configuration in a file, and the estimator it describes with its first, random weights."""
    stand_ins = _StandIns()
    sys.meta_path.append(stand_ins)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from mmengine.config import Config  # pyright: ignore[reportMissingImports]
            from mmengine.model import revert_sync_batchnorm  # pyright: ignore[reportMissingImports]
            from mmengine.registry import init_default_scope  # pyright: ignore[reportMissingImports]
            from mmpose.models import build_pose_estimator  # pyright: ignore[reportMissingImports]

            config = Config.fromfile(config_path)
            config.model.train_cfg = None
            if "init_cfg" in config.model.backbone:
                config.model.backbone.init_cfg = None  # weights come from the checkpoint, not from the internet
            init_default_scope(config.get("default_scope", "mmpose"))
            return config, revert_sync_batchnorm(build_pose_estimator(config.model)).eval()
    except ImportError as error:
        raise HmcapError(
            f"Expected mmpose in this environment, but it does not import: {error}. Install it without what it does "
            "not need here: pip install --no-deps mmpose==1.3.2 mmengine mmcv-lite addict yapf termcolor "
            "platformdirs pyyaml pillow"
        ) from error
    except (OSError, KeyError, AttributeError) as error:
        raise HmcapError(
            f"Expected a configuration of a top-down network of MMPose in {config_path}, but it cannot be used: "
            f"{error!r}. MMPose's own lie in mmpose/.mim/configs of the installed package; those that name another "
            "package, such as mmpretrain, need it installed."
        ) from error
    finally:
        sys.meta_path.remove(stand_ins)


def load_weights(network: nn.Module, path: Path) -> None:
    """Fill ``network`` from a checkpoint. Nothing but tensors, numbers, text and numpy arrays is read from it."""
    try:
        with torch.serialization.safe_globals(_plain_numpy()):
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the reader raises whatever it trips over
        refused = re.search(r"WeightsUnpickler error: (.*?)(\. Please|\n|$)", str(error))
        reason = refused[1].strip().rstrip(".") if refused else first_line(error)
        raise HmcapError(
            f"Expected a checkpoint of plain tensors in {path}, but it cannot be read as one: "
            f"{reason[:300]}. Where a checkpoint of your own holds more than weights, keep "
            "these only, in the place where you trained it: torch.save({'state_dict': CHECKPOINT['state_dict']}, OUT)"
        ) from error
    weights = stored.get("state_dict", stored) if isinstance(stored, Mapping) else None
    if not isinstance(weights, Mapping) or not all(isinstance(v, torch.Tensor) for v in weights.values()):
        raise HmcapError(f"Expected a state_dict of tensors in {path}, found none. Name an MMPose checkpoint (.pth).")
    own = network.state_dict()
    used = {k: v for k, v in weights.items() if k in own}
    wrong = [k for k in own if k not in used or used[k].shape != own[k].shape]
    if wrong:
        raise HmcapError(
            f"Expected weights for all {len(own)} tensors of this configuration in {path}; {len(wrong)} are missing or "
            f"of another size, {wrong[0]} first. Name the checkpoint that belongs to this configuration."
        )
    network.load_state_dict(used)


def _plain_numpy() -> list[Any]:
    """What a pickled numpy array of numbers consists of, under the names of numpy 1 and 2."""
    rebuild = np.zeros(0).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "u1", "?")]
    old = [(rebuild, "numpy.core.multiarray._reconstruct"), (scalar, "numpy.core.multiarray.scalar")]
    return [rebuild, scalar, np.ndarray, np.dtype, *kinds, *old]


def _codec(config: Any) -> Mapping[str, Any]:
    codec = config.model.head.get("decoder", config.get("codec"))
    return codec if isinstance(codec, Mapping) else {}


def form_of(config: Any) -> Form:
    """What a configuration says of its network's input and outputs."""
    head, prepare = config.model.head, config.model.data_preprocessor
    codec = _codec(config)
    kind = codec.get("type")
    if kind not in _CODECS or codec.get("heatmap_type", "gaussian") != "gaussian":
        raise HmcapError(
            f"Expected a top-down network with one of the codecs {', '.join(_CODECS)}; found {kind}. Choose another "
            "configuration: RTMPose, RTMW, SimCC, HRNet, ViTPose and others with heat maps fit."
        )
    if not prepare.get("bgr_to_rgb", False):
        raise HmcapError("Expected a network of RGB pictures (bgr_to_rgb=True), found one of BGR. Choose another one.")
    layout = layout_of_count(head.out_channels)
    if layout is None:
        raise HmcapError(
            f"Expected 17, 26, 133 or 21 key points, found {head.out_channels}. Choose a configuration for "
            "COCO, Halpe (body and feet), COCO-WholeBody or hands."
        )
    w, h = codec["input_size"]
    mean, std = ((float(v[0]), float(v[1]), float(v[2])) for v in (prepare.mean, prepare.std))
    return Form(layout.name, _CODECS[kind], int(w), int(h), mean, std)


def check_points(config: Any, layout_name: str) -> None:
    """Raise :class:`HmcapError` where the data set's key points are others than the layout's: 17 may be an animal's,
    and some data sets count fingers from their tips."""
    from mmpose.datasets.datasets.utils import parse_pose_metainfo  # pyright: ignore[reportMissingImports]
    from mmpose.registry import DATASETS  # pyright: ignore[reportMissingImports]

    given = config.train_dataloader.dataset
    meta = given.get("metainfo") or DATASETS.get(given["type"]).METAINFO
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = list(parse_pose_metainfo(meta)["keypoint_id2name"].values())
    layout = get_layout(layout_name)
    checked = 2 if layout.part == "hand" else 17
    if names[:checked] != list(layout.points[:checked]):
        raise HmcapError(
            f"Expected the key points of {layout.name} ({', '.join(layout.points[:3])}, ...), found "
            f"{', '.join(names[:3])}, ... Choose a configuration whose data set has that order."
        )


def finishing(config: Any) -> list[Callable[[torch.Tensor], torch.Tensor]]:
    """For each output: what brings the score of a certain key point to 1.

    The head learns ``softmax(beta * output) = softmax(label_beta * label)``, so that its peak is that of the label
    times ``label_beta / beta``; without a softmax of labels these are distributions themselves.
    """
    codec, loss = _codec(config), config.model.head.loss
    if codec["type"] != "SimCCLabel":
        return [lambda x: x]
    sigma = codec.get("sigma", 6.0)
    sigmas = tuple(sigma) if isinstance(sigma, (list, tuple)) else (sigma, sigma)
    beta = loss.get("beta", 1.0)
    peaks = [1 / (s * math.sqrt(2 * math.pi)) for s in sigmas]
    if not loss.get("label_softmax", False):
        return [lambda x, peak=peak: (beta * x).softmax(-1) / peak for peak in peaks]
    if not codec.get("normalize", True):
        peaks = [1.0, 1.0]
    gain = loss.get("label_beta", 10.0) / beta
    return [lambda x, peak=peak: x / (gain * peak) for peak in peaks]


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m hmcap.tools.export_mmpose", description="Export a landmark network of MMPose to ONNX."
    )
    parser.add_argument("config", metavar="CONFIG", type=Path, help="configuration of MMPose (.py)")
    parser.add_argument("out", metavar="OUT.onnx", type=Path, help="file to write")
    weights = parser.add_mutually_exclusive_group(required=True)
    weights.add_argument("--checkpoint", metavar="FILE", type=Path, help="weights (.pth)")
    weights.add_argument("--untrained", action="store_true", help="random weights, to try the way")
    args = parser.parse_args(words)
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        torch.manual_seed(0)
        config, estimator = build(args.config)
        form = form_of(config)
        check_points(config, form.layout)
        if args.checkpoint is not None:
            load_weights(estimator, args.checkpoint)
        export_network(Graph(_TopDown(estimator), finishing(config)), form, args.out)
    except HmcapError as error:
        print(f"export_mmpose: {error}", file=sys.stderr)
        return error.exit_code
    size = f"{form.width_px} x {form.height_px} px"
    print(f"{args.out}: {form.layout}, {form.codec}, {size}, {args.out.stat().st_size / 1e6:.1f} MB")
    print(f"Next: hmcap models add {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
