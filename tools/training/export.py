"""Export trained motion networks as one ONNX graph that a capture runs without torch.

    python -m hmcap.tools.training export CHECKPOINT --out FILE.onnx [--half]

The graph takes any number of frames of one person and the caches that it gave with the frames before; see
:mod:`hmcap.models.streaming` for how it is run.
"""

import argparse
import json
import warnings
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from ...models.errors import HmcapError
from ...models.networks.config import STEP_RATE_HZ
from ...models.networks.mirror import mean_state, mirrored_observed, mirrored_state
from ...models.networks.motion_network import MotionNetwork
from ...models.networks.state import State
from ...models.observed import FIELDS, Observed
from ...models.proxies import NUM_PROXIES
from ...models.streaming.records import OUTPUTS
from . import checkpoint
from .settle import settle_shapes

OPSET = 18
METADATA = "hmcap"
"""Key of the graph's metadata, a JSON object."""
_SHAPES = ((NUM_PROXIES, 2), (NUM_PROXIES,), (33, 3), (), (2, 21, 3), (2,))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="ONNX file to write")
    parser.add_argument("--half", action="store_true", help="store weights in half precision; they compute in single")
    parser.add_argument("--licence", default="", help="what the file says of its training data")


def main(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    values = checkpoint.load(args.checkpoint)
    network = checkpoint.network_of(values, args.checkpoint)
    about = {"stage": values["stage"], "step": values["step"], "frames": values["frames_seen"], "data": args.licence}
    try:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        export(network, args.out, about, half=args.half)
    except OSError as error:
        raise HmcapError(
            f"Expected to write {args.out}, but it cannot be written ({error}). Give another --out."
        ) from error
    print(f"wrote {args.out} ({args.out.stat().st_size / 1e6:.1f} MB)")
    return 0


LOOKS = 2
"""Looks at each person: as it is, and in the mirror."""


class Graph(nn.Module):
    """The network with plain tensors in and out, in the order of :func:`input_names` and :func:`output_names`. It sees
    the person and the mirror image at once, and answers with the middle of both."""

    def __init__(self, network: MotionNetwork) -> None:
        super().__init__()
        self.network = network
        self.caches = list(network.new_caches(LOOKS, torch.zeros(1)))

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        n = len(FIELDS)
        newest, at = with_mirror(Observed(*tensors[:n])), with_mirror(Observed(*tensors[n : 2 * n]))
        caches = dict(zip(self.caches, tensors[2 * n + 1 :], strict=True))
        states, boxes, after = self.network(newest, at, tensors[2 * n], caches)
        state = mean_state(part(states[-1], 0), mirrored_state(part(states[-1], 1)))
        R = state.R_local()
        root = state.root_cam_m(boxes[:1])
        values = {
            "betas": state.betas,
            "R_cam_root": R[..., 0, :, :],
            "R_local": R[..., 1:, :, :],
            "root_cam_m": root,
            "root_sigma_m": torch.exp(state.log_sigma.clamp(-8, 3)) * root[..., 2:],
            "up_cam": state.up_cam,
            "height_m": state.height_m[..., 0],
            "step_m": state.step_m,
            "contact": state.contact.sigmoid(),
            "group_error_m": torch.exp(state.log_group_error.clamp(-8, 3)),
        }
        return (*(values[k] for k in OUTPUTS), *(after[k] for k in self.caches))


def with_mirror(o: Observed) -> Observed:
    """Observations (1, ...) and their mirror image, (2, ...)."""
    other = mirrored_observed(o)
    return Observed(*(torch.cat([getattr(o, f), getattr(other, f)]) for f in FIELDS))


def part(state: State, k: int) -> State:
    """Element k of a batch of states, (1, ...)."""
    return State(*(getattr(state, f.name)[k : k + 1] for f in fields(state)))


def input_names(network: MotionNetwork) -> list[str]:
    """Names of the graph's inputs."""
    caches = network.new_caches(LOOKS, torch.zeros(1))
    return [*FIELDS, *(f"at_{f}" for f in FIELDS), "ahead", *(f"cache_{k}" for k in caches)]


def output_names(network: MotionNetwork) -> list[str]:
    """Names of the graph's outputs."""
    return [*OUTPUTS, *(f"next_cache_{k}" for k in network.new_caches(LOOKS, torch.zeros(1)))]


def example(network: MotionNetwork, frames: int, seed: int = 0) -> list[torch.Tensor]:
    """Random inputs in the order of :func:`input_names`."""
    generator = torch.Generator().manual_seed(seed)
    observed = [torch.rand(1, frames, *s, generator=generator) for s in _SHAPES]
    ahead = torch.zeros(1, 1, len(network.config.lookaheads))
    ahead[..., 0] = 1
    caches = network.new_caches(LOOKS, torch.zeros(1))
    return [*observed, *(x.clone() for x in observed), ahead, *caches.values()]


def export(network: MotionNetwork, path: Path, about: dict, *, half: bool = False) -> None:
    """Write the graph. half: weights are stored in float16 and widened when the graph is loaded."""
    network = network.eval()
    inputs, outputs = input_names(network), output_names(network)
    args = example(network, 5)
    axes = {name: {1: "frames"} for name in (*inputs[: 2 * len(FIELDS)], *OUTPUTS)}
    with TemporaryDirectory() as folder, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of shapes that are constants, as they are
        # The exporter by tracing: the one by symbolic shapes takes minutes for the rounds of the descent.
        torch.onnx.export(
            Graph(network), tuple(args), Path(folder) / "traced.onnx", input_names=inputs, output_names=outputs,
            dynamic_axes=axes, opset_version=OPSET, dynamo=False,
        )  # fmt: skip
        model = onnx.load(Path(folder) / "traced.onnx")
    settle_shapes(
        model,
        {n: dict(zip(inputs, (x.numpy() for x in example(network, n)), strict=True)) for n in (5, 7)},
    )
    caches = {k: list(v.shape) for k, v in network.new_caches(LOOKS, torch.zeros(1)).items()}
    meta = {
        "format": 1,
        "rate_hz": STEP_RATE_HZ,
        "lookaheads": list(network.config.lookaheads),
        "num_betas": network.config.num_betas,
        "size": network.config.size,
        "caches": caches,
        "config": network.config.as_dict(),
        **about,
    }
    del model.metadata_props[:]
    model.metadata_props.add(key=METADATA, value=json.dumps(meta, sort_keys=True))
    for node in model.graph.node:  # where the code of the network came from is nobody's business
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    if half:
        store_half(model)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def store_half(model: onnx.ModelProto, at_least: int = 1024) -> None:
    """Keep large float32 initialisers as float16 followed by a cast, in place."""
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < at_least:
            continue
        values = numpy_helper.to_array(tensor).astype(np.float16)
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
