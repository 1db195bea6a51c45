"""Figures of coloured dots, and networks that find them: whatever a landmark network of MMPose gives is known here.

Each key point has a colour of its own; ``dot_network`` writes an ONNX network that answers where each colour is, as
SimCC or as heat maps, from a normalised picture of any batch.
"""

import itertools
from pathlib import Path

import cv2
import numpy as np
import onnx
from hmcap.engines.base import TensorSpec
from hmcap.engines.landmarks.mmpose import LAYOUTS
from hmcap.models.proxies import HAND_NAMES
from onnx import TensorProto, helper, numpy_helper
from test_landmarks import detector_tensors

MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
SIZE_PX = (960, 960)
"""Width and height of the pictures."""

_NAMES = (
    *(n for n in LAYOUTS["wholebody133"].points if not n.startswith("face")),
    *("head_top", "neck", "mid_hip"),
    *(f"any_hand_{n}" for n in HAND_NAMES),
)
_SHADES = [20 * np.array(c) for c in itertools.product(range(13), repeat=3) if sum(c) == 15]
COLOURS = dict(zip(_NAMES, _SHADES, strict=False))
"""Name of a point -> RGB. All are equally bright, so that no edge of one dot has the colour of another."""

_MIDDLE = {"nose": 0.085, "head_top": 0.0, "neck": 0.17, "mid_hip": 0.54}
_LEFT = {
    "eye": (0.03, 0.05), "ear": (0.07, 0.06), "shoulder": (0.12, 0.2), "elbow": (0.22, 0.34), "wrist": (0.28, 0.5),
    "hip": (0.08, 0.52), "knee": (0.09, 0.75), "ankle": (0.1, 0.93), "heel": (0.08, 0.97), "big_toe": (0.12, 0.985),
    "small_toe": (0.16, 0.97),
}  # fmt: skip


def figure(x_px: float = 480, top_px: float = 120, height_px: float = 700, hands: str = "own") -> dict[str, np.ndarray]:
    """Name -> place of every point of somebody who faces the camera, so that the left side is on the right.

    ``hands``: ``own`` (left and right in colours of their own), ``any`` (both in the same ones) or ``none``.
    """
    at = {name: (0.0, y) for name, y in _MIDDLE.items()}
    for sign, side in ((1, "left"), (-1, "right")):
        at |= {f"{side}_{part}": (sign * x, y) for part, (x, y) in _LEFT.items()}
    points = {name: np.array([x_px + x * height_px, top_px + y * height_px]) for name, (x, y) in at.items()}
    if hands != "none":
        for side in ("left", "right"):
            points |= {f"{side}_hand_{n}": p for n, p in _hand(points[f"{side}_wrist"], height_px, side).items()}
    return points


def _hand(wrist: np.ndarray, height_px: float, side: str) -> dict[str, np.ndarray]:
    # thumbs towards the body
    step, inwards = 0.029 * height_px, -1 if side == "left" else 1
    places = [(0.0, 1.0), *((inwards * (2 - f) * step, 2 + k) for f in range(5) for k in range(4))]
    return {n: wrist + np.array([x, 0.85 * step * y]) for n, (x, y) in zip(HAND_NAMES, places, strict=True)}


def draw(points: dict[str, np.ndarray], hands: str = "own", ground: int = 0) -> np.ndarray:
    """(960, 960, 3) uint8 RGB picture of the dots."""
    image = np.full((SIZE_PX[1], SIZE_PX[0], 3), ground, np.uint8)
    for name, (x, y) in points.items():
        colour = COLOURS[f"any{name[name.index('_') :]}" if hands == "any" and "_hand_" in name else name]
        radius = 7 if "_hand_" in name else 9
        at = (round(float(x) * 16), round(float(y) * 16))
        cv2.circle(image, at, radius * 16, colour.tolist(), -1, cv2.LINE_AA, 4)
    return image


def dot_network(
    path: Path, layout: str, size_px: tuple[int, int], codec: str = "simcc", said: dict[str, str] | None = None
) -> Path:
    """Write a network of that layout, input size (W, H) and codec (``simcc`` or ``heatmap``); scores reach 1.

    ``said``: metadata.
    """
    names = [n if layout != "hand21" else f"any_hand_{n}" for n in LAYOUTS[layout].points]
    colours = (np.array([COLOURS.get(n, np.full(3, 1e3)) for n in names]) - MEAN) / STD
    values = {
        "weight": (2 * colours)[:, :, None, None], "bias": -(colours**2).sum(axis=1), "sharp": np.array(22.0),
        "tiny": np.array(1e-6),
    }  # fmt: skip
    axes = {"channel": [1], "row": [2], "column": [3]}
    node = helper.make_node
    nodes = [
        node("Mul", ["input", "input"], ["squares"]),
        node("ReduceSum", ["squares", "channel"], ["square"]),
        node("Conv", ["input", "weight", "bias"], ["product"]),
        node("Sub", ["product", "square"], ["likeness"]),
        node("Mul", ["likeness", "sharp"], ["exponent"]),
        node("Exp", ["exponent"], ["match"]),
    ]
    count, (w, h) = len(names), size_px
    nodes += [
        node("AveragePool", ["match"], ["small"], kernel_shape=[3, 3], pads=[1] * 4),
        node("ReduceMax", ["small"], ["presence"], axes=[2, 3]),
    ]
    if codec == "simcc":
        for out, over, across, kernel in (("simcc_x", "row", "row", [1, 5]), ("simcc_y", "column", "column", [5, 1])):
            pads = [n // 2 for n in kernel] * 2
            nodes += [
                node("ReduceSum", ["match", over], [f"{out}0"]),
                node("AveragePool", [f"{out}0"], [f"{out}1"], kernel_shape=kernel, pads=pads),
                node("AveragePool", [f"{out}1"], [f"{out}2"], kernel_shape=kernel, pads=pads),
                node("Squeeze", [f"{out}2", across], [f"{out}3"]),
                node(
                    "Resize", [f"{out}3", "", "twice"], [f"{out}4"], mode="linear",
                    coordinate_transformation_mode="asymmetric",
                ),
                node("ReduceMax", [f"{out}4"], [f"{out}5"], axes=[2]),
                node("Add", [f"{out}5", "tiny"], [f"{out}6"]),
                node("Div", [f"{out}4", f"{out}6"], [f"{out}7"]),
                node("Squeeze", ["presence", "column"], [f"{out}8"]),
                node("Mul", [f"{out}7", f"{out}8"], [out]),
            ]  # fmt: skip
        values["twice"] = np.array([1.0, 1.0, 2.0])
        shapes = {"simcc_x": (count, 2 * w), "simcc_y": (count, 2 * h)}
    else:
        nodes += [
            node("AveragePool", ["match"], ["smooth"], kernel_shape=[5, 5], pads=[2] * 4),
            node("AveragePool", ["smooth"], ["heat"], kernel_shape=[5, 5], pads=[2] * 4, strides=[4, 4]),
            node("ReduceMax", ["heat"], ["most"], axes=[2, 3]),
            node("Add", ["most", "tiny"], ["norm"]),
            node("Div", ["heat", "norm"], ["shape"]),
            node("Mul", ["shape", "presence"], ["heatmap"]),
        ]
        shapes = {"heatmap": (count, h // 4, w // 4)}
    stored = [numpy_helper.from_array(v.astype(np.float32), n) for n, v in values.items()]
    stored += [numpy_helper.from_array(np.array(v, np.int64), n) for n, v in axes.items()]
    graph = helper.make_graph(
        nodes,
        "dots",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, h, w])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", *s]) for n, s in shapes.items()],
        stored,
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    for key, text in (said or {}).items():
        model.metadata_props.add(key=f"hmcap.{key}", value=text)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


class Fixed:
    """Stands for a network of the default stage: always the same outputs."""

    backend, device = "fake", "cpu"

    def __init__(self, size: int, *outputs: np.ndarray) -> None:
        self.inputs = (TensorSpec("image", (1, size, size, 3), np.dtype(np.float32)),)
        self.outputs = tuple(TensorSpec(f"out{i}", v.shape, np.dtype(np.float32)) for i, v in enumerate(outputs))
        self._values, self.calls = outputs, 0

    def __call__(self, feeds):
        self.calls += 1
        values = self.look(feeds["image"])
        return {s.name: np.asarray(v, np.float32).reshape(s.shape) for s, v in zip(self.outputs, values, strict=True)}

    def look(self, picture: np.ndarray) -> tuple[np.ndarray, ...]:
        return self._values


class DotDetector(Fixed):
    """Stands for the person detector: one person around everything that is bright."""

    def __init__(self) -> None:
        super().__init__(224, np.zeros((1, 2254, 12)), np.zeros((1, 2254, 1)))

    def look(self, picture: np.ndarray) -> tuple[np.ndarray, ...]:
        rows, cols = np.nonzero(picture[0].max(axis=2) > -0.5)
        if not len(rows):
            return detector_tensors([])
        low, high = np.array([cols.min(), rows.min()]) / 224, np.array([cols.max(), rows.max()]) / 224
        x, y = (low + high) / 2
        up = (high - low).max() / 2
        points = [(x, low[1]), (0.05, 0.05), (x, y), (x, y - up), (x, y - up / 2), (x, y - up)]
        return detector_tensors([(4.0, np.array(points))])


def default_engines() -> dict[str, Fixed]:
    """Stand-ins for the default stage: a detector of dots, a hand re-crop that keeps its region, blind landmarks."""
    hand = np.zeros((1, 63))
    return {
        "pose_detection": DotDetector(),
        "hand_recrop": Fixed(256, np.array([[[[128.0, 128.0, 128.0, 256.0]]]])),
        "hand_landmark": Fixed(224, hand, np.zeros((1, 1)), np.full((1, 1), 0.5), hand),
    }
