"""What a top-down landmark network takes and gives: found out when it is added, kept in its record."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ....models.errors import HmcapError, UsageError
from ...backends import first_line, open_engine
from ...base import Engine, Profile
from .layouts import LAYOUTS, Layout, get_layout, layout_of_count

METADATA = "hmcap."
"""Prefix of the ONNX metadata that ``tools/export_mmpose.py`` writes: ``hmcap.layout``, ``.codec``, ``.mean``
and ``.std``."""
CODECS = ("simcc", "heatmap", "udp_heatmap")
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Mean and standard deviation of red, green and blue that nearly every MMPose network is trained with."""
_MAX_SIDE_PX = 2048


@dataclass(frozen=True, slots=True)
class Form:
    """Everything that is needed to feed a network and to read its outputs."""

    layout: str
    """A name of :data:`LAYOUTS`."""
    codec: str
    """``simcc``; ``heatmap``; or ``udp_heatmap``, whose outer cells lie at the edges of the picture."""
    width_px: int
    height_px: int
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD
    """Of red, green and blue, 0..255."""
    peak: float = 1.0
    """The score of a key point that is certain: 1 for most networks, 10 for RTMW."""

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the input."""
        return self.width_px, self.height_px

    def to_record(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any], name: str) -> "Form":
        """Raises :class:`HmcapError` for a record that :meth:`to_record` did not write."""
        try:
            values: dict[str, Any] = dict(record)
            values |= {k: tuple(map(float, values[k])) for k in ("mean", "std")}
            form = cls(**values)
            if not _sound(form):
                raise ValueError("a value is out of range")
        except (TypeError, ValueError, KeyError) as error:
            raise HmcapError(
                f"Expected the record of the network {name!r} to say what it takes and gives, but it cannot be used "
                f"({error}). Add the network again with: hmcap models add FILE --name {name}"
            ) from error
        return form


def _sound(form: Form) -> bool:
    numbers = (*form.mean, *form.std, form.peak)
    return (
        form.layout in LAYOUTS
        and form.codec in CODECS
        and all(isinstance(n, int) and 0 < n <= _MAX_SIDE_PX for n in form.size_px)
        and len(form.mean) == len(form.std) == 3
        and all(isinstance(n, (int, float)) and math.isfinite(n) for n in numbers)
        and min(*form.std, form.peak) > 0
    )


def recognise(path: Path, layout: str | None = None, peak: float | None = None) -> Form | None:
    """The form of the network in an ONNX file, or ``None`` where no layout is asked for and it is of another kind.

    The layout comes from ``layout``, else from the file's metadata, else from the number of key points. ``peak``: see
    :class:`Form`. The network runs once, on zeros: many files do not say how large their outputs are. Raises
    :class:`UsageError` for an unknown layout and :class:`HmcapError` where the network does not fit it.
    """
    asked = None if layout is None else get_layout(layout)
    if peak is not None and not (math.isfinite(peak) and peak > 0):
        raise UsageError(f"Expected --peak to be a positive number, found {peak:g}. RTMW takes --peak 10.")
    if path.suffix.lower() != ".onnx":
        if asked is not None or peak is not None:
            raise UsageError(
                f"Expected an .onnx network with the layout {layout or 'of an MMPose network'}, found {path}. Export "
                "it to ONNX: python -m hmcap.tools.export_mmpose CONFIG OUT.onnx"
            )
        return None
    graph_inputs, metadata = _read_graph(path)
    if asked is None and "layout" in metadata:
        if metadata["layout"] not in LAYOUTS:
            raise HmcapError(
                f"Expected the metadata of {path.name} to name one of the layouts {', '.join(LAYOUTS)}; found "
                f"{metadata['layout'][:40]!r}. Say which it is with --layout."
            )
        asked = get_layout(metadata["layout"])
    problem = _input_problem(graph_inputs)
    if problem is not None:
        if asked is None:
            return None
        raise HmcapError(
            f"Expected {path.name} to take one picture of shape (1, 3, height, width), found {problem}. Export it with "
            "a fixed height and width (only the batch may vary): python -m hmcap.tools.export_mmpose CONFIG OUT.onnx"
        )
    size_px = (graph_inputs[0][3], graph_inputs[0][2])
    try:
        shapes = _output_shapes(open_engine(path, warm_up=False), size_px)
    except HmcapError:
        if asked is None:  # a network of another kind need not run on the engine that is asked first
            return None
        raise
    codec = _codec_of(shapes, size_px)
    found = None if codec is None else layout_of_count(shapes[0][1])
    if asked is None and found is None:
        return None
    chosen = asked or found
    assert chosen is not None
    if codec is None or shapes[0][1] != len(chosen.points):
        raise _misfit(path.name, chosen, shapes, size_px, found)
    form = Form(chosen.name, codec, *size_px)
    form = replace(form, **_stated(metadata, codec, path.name))
    return form if peak is None else replace(form, peak=float(peak))


def one_picture(path: Path) -> Profile:
    """The sizes with which a network of :func:`recognise` is run, under the names that its file gives to open ones."""
    import onnx

    model = onnx.load_model_from_string(path.read_bytes())
    dimensions = (d for value in model.graph.input for d in value.type.tensor_type.shape.dim)
    return Profile("one", {d.dim_param: (1, 1, 1) for d in dimensions if d.dim_param})


def _read_graph(path: Path) -> tuple[list[tuple[int, ...]], dict[str, str]]:
    """Shapes of the inputs (-1 where the file leaves a size open) and our own metadata."""
    import onnx  # takes a moment to import, and few runs need it

    model = onnx.load_model_from_string(path.read_bytes())
    stored = {tensor.name for tensor in model.graph.initializer}
    shapes = [
        tuple(d.dim_value if d.HasField("dim_value") else -1 for d in value.type.tensor_type.shape.dim)
        for value in model.graph.input
        if value.name not in stored
    ]
    entries = ((p.key, p.value) for p in model.metadata_props)
    return shapes, {key.removeprefix(METADATA): text for key, text in entries if key.startswith(METADATA)}


def _input_problem(shapes: Sequence[tuple[int, ...]]) -> str | None:
    if len(shapes) != 1:
        return f"{len(shapes)} inputs"
    (shape,) = shapes
    fits = len(shape) == 4 and shape[0] in (-1, 1) and shape[1] == 3 and all(0 < n <= _MAX_SIDE_PX for n in shape[2:])
    return None if fits else f"({', '.join('?' if n < 0 else str(n) for n in shape)})"


def _output_shapes(engine: Engine, size_px: tuple[int, int]) -> list[tuple[int, ...]]:
    spec = engine.inputs[0]
    try:
        out = engine({spec.name: np.zeros((1, 3, size_px[1], size_px[0]), spec.dtype)})
    except Exception as error:  # each library raises classes of its own, without a common base
        raise HmcapError(
            f"Expected a network that runs on a picture of {size_px[0]} x {size_px[1]} px, but it fails: "
            f"{first_line(error)[:200]}. Export it again, and check it with onnxruntime."
        ) from error
    return [out[s.name].shape for s in engine.outputs]


def _codec_of(shapes: Sequence[tuple[int, ...]], size_px: tuple[int, int]) -> str | None:
    if len(shapes) == 1 and len(shapes[0]) == 4 and shapes[0][0] == 1:
        _, _, h, w = shapes[0]
        # one stride for both sides, as far as whole cells allow
        return "heatmap" if 3 <= w <= size_px[0] and h >= 3 and abs(size_px[0] * h - size_px[1] * w) < h + w else None
    if len(shapes) == 2 and all(len(s) == 3 and s[0] == 1 for s in shapes) and shapes[0][1] == shapes[1][1]:
        bins = [s[2] / n for s, n in zip(shapes, size_px, strict=True)]
        return "simcc" if bins[0] >= 1 and math.isclose(*bins, rel_tol=0.01) else None
    return None


def _misfit(
    name: str, layout: Layout, shapes: Sequence[tuple[int, ...]], size_px: tuple[int, int], found: Layout | None
) -> HmcapError:
    count, (w, h) = len(layout.points), size_px
    listed = " and ".join(f"({', '.join(map(str, s))})" for s in shapes)
    hint = (
        f"It fits {found.name}: hmcap models add FILE --layout {found.name}"
        if found is not None
        else "Layouts: " + ", ".join(f"{v.name} ({len(v.points)} points)" for v in LAYOUTS.values())
    )
    return HmcapError(
        f"Expected {name} to give the {count} key points of {layout.name}: two outputs (1, {count}, {w} x n) and "
        f"(1, {count}, {h} x n), or heat maps (1, {count}, {h} / n, {w} / n); found {len(shapes)} of {listed}. {hint}"
    )


def _stated(metadata: Mapping[str, str], codec: str, name: str) -> dict[str, Any]:
    """What the file itself says beyond its shapes."""
    try:
        stated: dict[str, Any] = {
            key: tuple(float(n) for n in metadata[key].split(",")) for key in ("mean", "std") if key in metadata
        }
        said = metadata.get("codec", codec)
        if said.removeprefix("udp_") != codec or not _sound(Form("coco17", said, 1, 1, **stated)):
            raise ValueError(f"codec {said!r}, {stated}")
    except ValueError as error:
        raise HmcapError(
            f"Expected metadata in {name} that agrees with its outputs ({codec}), found others: {error}. Export it "
            "again with: python -m hmcap.tools.export_mmpose CONFIG OUT.onnx"
        ) from error
    return stated | {"codec": said}
