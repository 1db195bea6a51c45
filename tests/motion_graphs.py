"""A small motion graph with the interface of the exported networks: causal filters over what is seen, with caches."""

import json
from pathlib import Path

import numpy as np
import onnx
from hmcap.models.observed import FIELDS, Observed
from hmcap.models.streaming.graph_info import METADATA_KEY, GraphInfo
from hmcap.models.streaming.records import OUTPUTS, estimate_shapes
from hmcap.models.streaming.stream import OBSERVED_SHAPES
from onnx import TensorProto, helper, numpy_helper

TAPS = 4
"""Frames before the newest that the filter looks at."""
INFO = GraphInfo("small", (0, 3, 8), 10, {"seen": (1, TAPS, 134), "total": (1, 1, 1)})
_INPUT_RANK = {name: len(shape) + 2 for name, shape in OBSERVED_SHAPES.items()}


class _Graph:
    """Collects nodes and constants."""

    def __init__(self, seed: int) -> None:
        self.nodes, self.constants = [], []
        self.rng = np.random.default_rng(seed)

    def constant(self, values, dtype=np.float32):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def op(self, kind, *inputs, out=None, **attributes):
        out = out or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out

    def linear(self, x, channels, count, scale):
        return self.op("MatMul", x, self.constant(self.rng.normal(0, scale / np.sqrt(channels), (channels, count))))

    def shaped(self, x, shape, out=None):
        # zeros copy the batch and the frames
        return self.op("Reshape", x, self.constant([0, 0, *shape], np.int64), out=out)


def small_graph(info: GraphInfo = INFO, seed: int = 0) -> onnx.ModelProto:
    """The model; estimates are valid (rotations, unit vectors, probabilities) for any input."""
    g = _Graph(seed)
    seen = g.shaped("xy", (134,))
    joined = g.op("Concat", "cache_seen", seen, axis=1)
    end = np.iinfo(np.int64).max
    taps = []
    for k in range(TAPS + 1):
        stop = end if k == TAPS else k - TAPS
        cut = (g.constant(v, np.int64) for v in ([k], [stop], [1]))
        taps.append(g.linear(g.op("Slice", joined, *cut), 134, 16, 3.0))
    cut = (g.constant(v, np.int64) for v in ([-TAPS], [end], [1]))
    g.op("Slice", joined, *cut, out="next_cache_seen")
    count = g.op("ReduceSum", "confidence", g.constant([2], np.int64), keepdims=1)
    total = g.op("Add", g.op("CumSum", count, g.constant(1, np.int64)), "cache_total")
    cut = (g.constant(v, np.int64) for v in ([-1], [end], [1]))
    g.op("Slice", total, *cut, out="next_cache_total")
    at = g.linear(g.op("Concat", g.shaped("at_xy", (134,)), "at_confidence", axis=2), 201, 16, 3.0)
    rest = [("hands_xyz_m", 126), ("body_xyz_m", 99), ("at_hands_xyz_m", 126), ("at_body_xyz_m", 99)]
    rest = [g.linear(g.shaped(name, (n,)), n, 16, 1.0) for name, n in rest]
    known = [
        g.linear(g.shaped(f"{a}{name}", (n,)), n, 16, 0.1)
        for a in ("", "at_")
        for name, n in (("body_xyz_known", 1), ("hands_xyz_known", 2))
    ]
    ahead = g.op("Unsqueeze", g.linear("ahead", len(info.lookaheads), 16, 0.3), g.constant([1], np.int64))
    features = g.op("Tanh", g.op("Sum", *taps, at, *rest, *known), out="features")
    features = g.op("Add", features, ahead)
    slow = g.op("Sin", g.op("Mul", total, g.constant(0.001)))
    features = g.op("Add", features, slow)
    outputs = estimate_shapes(info.num_betas)
    turns = _rotations(g, g.linear(features, 16, 55, 0.5))
    first = (g.constant(v, np.int64) for v in ([0], [1], [2]))
    g.shaped(g.op("Slice", turns, *first), (3, 3), "R_cam_root")
    others = (g.constant(v, np.int64) for v in ([1], [55], [2]))
    g.op("Slice", turns, *others, out="R_local")
    up = g.op("Add", g.linear(features, 16, 3, 0.05), g.constant([0.0, -1.0, 0.0]))
    g.op("LpNormalization", up, out="up_cam", axis=-1, p=2)
    g.op("Mul", g.linear(features, 16, info.num_betas, 1.0), g.constant(0.3), out="betas")
    g.op("Add", g.linear(features, 16, 3, 0.2), g.constant([0.0, 0.0, 3.0]), out="root_cam_m")
    g.op("Mul", g.linear(features, 16, 3, 1.0), g.constant(0.01), out="step_m")
    height = g.op("Add", g.linear(features, 16, 1, 0.05), g.constant([0.9]))
    g.shaped(height, (), "height_m")
    for name in ("root_sigma_m", "group_error_m"):
        soft = g.op("Softplus", g.linear(features, 16, outputs[name][0], 1.0))
        g.op("Mul", soft, g.constant(0.05), out=name)
    g.op("Sigmoid", g.linear(features, 16, 4, 1.0), out="contact")
    return _model(g, info)


def write_small_graph(path: Path, info: GraphInfo = INFO, seed: int = 0, **metadata) -> Path:
    """The model in a file; ``metadata`` replaces values of the JSON."""
    model = small_graph(info, seed)
    helper.set_model_props(model, {METADATA_KEY: json.dumps(json.loads(info.to_json()) | metadata)})
    path.write_bytes(model.SerializeToString())
    return path


def seen_at_random(frames: int, seed: int = 1) -> Observed:
    """Observed frames with smooth motion, noise and masks."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, shape in OBSERVED_SHAPES.items():
        arrays[name] = rng.normal(0, 0.3, (frames, *shape))
    sway = np.sin(np.arange(frames) / 7.0)[:, None, None]
    arrays["xy"] = arrays["xy"][:1] + 0.05 * sway + 0.002 * arrays["xy"]
    confidence = rng.uniform(0, 1, (frames, 67))
    arrays["confidence"] = np.where(confidence > 0.2, confidence, 0.0)
    for name in ("body_xyz_known", "hands_xyz_known"):
        arrays[name] = (rng.uniform(size=arrays[name].shape) > 0.2).astype(float)
    arrays["xy"] = arrays["xy"] * (arrays["confidence"] > 0)[..., None]
    arrays["body_xyz_m"] = arrays["body_xyz_m"] * arrays["body_xyz_known"][:, None, None]
    arrays["hands_xyz_m"] = arrays["hands_xyz_m"] * arrays["hands_xyz_known"][..., None, None]
    return Observed(*(arrays[name].astype(np.float32) for name in FIELDS))


def _rotations(g: _Graph, angles: str) -> str:
    """(1, T, 55, 3, 3) turns about z by angles (1, T, 55)."""
    c, s = g.op("Cos", angles), g.op("Sin", angles)
    nothing = g.op("Mul", angles, g.constant(0.0))
    one = g.op("Add", nothing, g.constant(1.0))
    rows = [c, g.op("Neg", s), nothing, s, c, nothing, nothing, nothing, one]
    axis = g.constant([3], np.int64)
    return g.shaped(g.op("Concat", *(g.op("Unsqueeze", r, axis) for r in rows), axis=3), (55, 3, 3))


def _model(g: _Graph, info: GraphInfo) -> onnx.ModelProto:
    def value(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    inputs = [value("ahead", (1, len(info.lookaheads)))]
    for name, shape in OBSERVED_SHAPES.items():
        inputs += [value(f"{prefix}{name}", (1, "frames", *shape)) for prefix in ("", "at_")]
    inputs += [value(f"cache_{name}", shape) for name, shape in info.caches.items()]
    shapes = estimate_shapes(info.num_betas)
    outputs = [value(name, (1, "frames", *shapes[name])) for name in OUTPUTS]
    outputs += [value(f"next_cache_{name}", shape) for name, shape in info.caches.items()]
    graph = helper.make_graph(g.nodes, "motion", inputs, outputs, g.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model
