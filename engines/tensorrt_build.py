"""From a network's file to a TensorRT engine: conversion, precision, sizes, build, and the cache around it."""

import hashlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from ..models.errors import HmcapError
from . import engine_cache
from .base import Profile
from .convert import CONVERTER_VERSION, network_model, read_network_file
from .cuda import Gpu
from .engine_cache import Built, Key, profile_text
from .precision import PRECISION_VERSION, lowered
from .tensorrt_library import Library, check_target

LOG = logging.getLogger("hmcap.engines")
Outputs = tuple[int, ...] | None
"""Positions of the outputs to build for; None: all."""


@dataclass(frozen=True, slots=True)
class Target:
    """What an engine is built for."""

    capability: tuple[int, int]
    gpu: Gpu | None = None
    """The GPU at hand; None where the engine is built for one elsewhere."""


def key_of(
    library: Library, path: Path, precision: str, profile: Profile | None, target: Target, outputs: Outputs = None
) -> Key:
    """The cache's key: the same for a build ahead of time and for the run that looks for it."""
    sm = f"{target.capability[0]}.{target.capability[1]}"
    if not library.flavour.portable and target.gpu is not None:  # tuned on the very model of the GPU
        sm += f", {target.gpu.name}"
    digest = hashlib.sha256(read_network_file(path)).hexdigest()
    graph = f"converter {CONVERTER_VERSION}, precision {PRECISION_VERSION}"
    if outputs is not None:
        graph += f", outputs {','.join(map(str, outputs))}"
    name = library.flavour.name
    return Key(path.stem, digest, name, library.version, sm, precision, profile_text(profile), graph)


def engine_for(
    library: Library, path: Path, precision: str, profile: Profile | None, target: Target, outputs: Outputs = None
) -> Built:
    """The engine from the cache, or built now and put there.

    Says so in one line each: a build, an entry that cannot be used, a folder that cannot be written (the engine then
    lives in memory only). Raises :class:`HmcapError`.
    """
    key = key_of(library, path, precision, profile, target, outputs)
    built = engine_cache.load(key, LOG.warning)
    if built is None:
        sm = key.compute_capability
        LOG.warning(f"Building {path.stem} ({key.profile}, {precision}) for compute capability {sm}, once ...")
        started = time.perf_counter()
        built = build(library, path, precision, profile, target, outputs)
        LOG.warning(f"... done in {time.perf_counter() - started:.0f} s.")
        try:
            engine_cache.store(key, built)
        except OSError as error:
            LOG.warning(
                f"The engine of {path.stem} cannot be kept in {engine_cache.folder()} ({error.strerror or error}): it "
                "will be built again next time."
            )
    return built


def build(
    library: Library, path: Path, precision: str, profile: Profile | None, target: Target, outputs: Outputs = None
) -> Built:
    """Build anew. Raises :class:`HmcapError` for a network that cannot be built, with the library's own words."""
    model = fixed_sizes(network_model(path, profile, outputs), profile)
    # TensorRT has no double precision: what the graph says is narrowed here, where it can be seen and tested.
    model = lowered(model, precision, doubles=False)
    with library.lock:
        library.messages.clear()
        engine = _build(library, model, path.name, profile, target)
    return Built(engine, *(tuple(t.name for t in side) for side in (_inputs(model), model.graph.output)))


def _build(library: Library, model: onnx.ModelProto, name: str, profile: Profile | None, target: Target) -> bytes:
    trt = library.module
    builder = trt.Builder(library.logger)
    typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = trt.OnnxParser(network, library.logger)
    if not parser.parse(model.SerializeToString()):
        error = parser.get_error(0)
        where = f"operator {error.node_operator()}" + (f" ({error.node_name()})" if error.node_name() else "")
        raise HmcapError(
            f"Expected a network that {library.flavour.name} {library.version} can build, but {name} uses {where}, "
            f"which it refuses: {error.desc()}. Run this network with --engine onnxruntime."
        )
    config = builder.create_builder_config()
    # 10-bit mantissas by default; landmarks are to be the same on every device.
    config.clear_flag(trt.BuilderFlag.TF32)
    if library.flavour.portable:
        value = check_target(library, target.capability)
        config.num_compute_capabilities = 1
        if not config.set_compute_capability(value, 0):
            raise _failed(library, name, target)
    sizes = open_sizes(model, profile, name)
    if sizes:
        shapes = builder.create_optimization_profile()
        for tensor, (least, usual, most) in sizes.items():
            shapes.set_shape(tensor, least, usual, most)
        if config.add_optimization_profile(shapes) < 0:
            raise _failed(library, name, target)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise _failed(library, name, target)
    return bytes(engine)


def _failed(library: Library, name: str, target: Target) -> HmcapError:
    capability = ".".join(map(str, target.capability))
    return HmcapError(
        f"Expected {library.flavour.name} {library.version} to build {name} for compute capability {capability}, but "
        f"it says: {library.complaints()}. Run with --engine onnxruntime, or report this with the network's name."
    )


def _inputs(model: onnx.ModelProto) -> list[Any]:
    constants = {t.name for t in model.graph.initializer}
    return [i for i in model.graph.input if i.name not in constants]


def fixed_sizes(model: onnx.ModelProto, profile: Profile | None) -> onnx.ModelProto:
    """``model`` (changed in place) with the dimensions that the profile fixes written into inputs and outputs."""
    fixed = {} if profile is None else profile.fixed
    for tensor in (*model.graph.input, *model.graph.output):
        for dimension in tensor.type.tensor_type.shape.dim:
            if dimension.dim_param in fixed:
                dimension.dim_value = fixed[dimension.dim_param]
    if fixed:
        del model.graph.value_info[:]  # may name what is a number now
    return model


def open_sizes(model: onnx.ModelProto, profile: Profile | None, name: str) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Input -> least, usual and greatest shape, of the inputs that have open dimensions.

    Raises :class:`HmcapError` for a dimension of which the profile does not tell the sizes.
    """
    sizes = {}
    for tensor in _inputs(model):
        dims = list(tensor.type.tensor_type.shape.dim)
        if all(d.HasField("dim_value") for d in dims):
            continue
        known = {} if profile is None else profile.sizes
        unknown = [d.dim_param or "?" for d in dims if not d.HasField("dim_value") and d.dim_param not in known]
        if unknown:
            raise HmcapError(
                f"Expected the sizes of all dimensions before an engine is built, but input {tensor.name!r} of {name} "
                f"leaves {', '.join(unknown)} open. Export the network with fixed sizes, or run it with --engine "
                "onnxruntime."
            )
        sizes[tensor.name] = tuple(
            tuple(d.dim_value if d.HasField("dim_value") else known[d.dim_param][k] for d in dims) for k in range(3)
        )
    return sizes
