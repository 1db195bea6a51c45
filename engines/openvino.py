"""OpenVINO back end: the CPU default; reads ``.tflite`` and ``.onnx`` as they are."""

import functools
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from queue import SimpleQueue
from types import ModuleType
from typing import Any

import numpy as np

from ..models.errors import HmcapError
from .backends import Backend, check_feeds, device_error, pick_outputs
from .base import EngineOptions, TensorSpec
from .convert import read_network_file
from .tflite_reader import read_tflite

_NAMES = {"float": "f32", "float32": "f32", "float16": "f16", "bfloat16": "bf16"}
"""The library's names of types -> those of PRECISIONS."""
_CONVERTER = "openvino.tools.ovc"


@functools.lru_cache(maxsize=1)
def import_openvino() -> ModuleType:
    """The ``openvino`` package, imported without its usage reporting.

    A plain ``import openvino`` imports its model converter, which posts an "import" event to a web-analytics service
    unless the user has opted out. The converter is optional to the package (it is imported under ``except
    ImportError``) and nothing here needs it, so it is hidden while the package loads: nothing is sent and no
    client id is written to the user's home. Raises ``ImportError`` where OpenVINO is not installed.
    """
    if "openvino" in sys.modules or _CONVERTER in sys.modules:
        return importlib.import_module("openvino")
    sys.modules[_CONVERTER] = None  # pyright: ignore[reportArgumentType]  # None makes the import raise ImportError
    try:
        return importlib.import_module("openvino")
    finally:
        del sys.modules[_CONVERTER]


@functools.lru_cache(maxsize=1)
def _core() -> Any:
    return import_openvino().Core()


def devices() -> tuple[str, ...]:
    """Devices OpenVINO reports here, lower case (``cpu``, ``gpu``, ``gpu.1``, ``npu``); empty if not installed."""
    try:
        return tuple(name.lower() for name in _core().available_devices)
    except (ImportError, OSError, RuntimeError):  # not installed, or its shared libraries do not load
        return ()


class OpenVinoEngine:
    """A network compiled by OpenVINO, one request at a time (safe to call from several threads)."""

    backend = "openvino"

    def __init__(self, path: Path, options: EngineOptions) -> None:
        device, threads = options.device, options.threads
        sizes: dict[str, tuple[int, ...]] = {}
        if path.suffix.lower() == ".tflite":
            network = read_tflite(read_network_file(path), path.name)
            sizes = {network.tensors[i].name: network.tensors[i].shape for i in network.inputs}
        core = _core()
        try:
            model = core.read_model(str(path))
        except RuntimeError as error:
            raise HmcapError(
                f"Expected a network that OpenVINO can read, but {path} is not one: {_last_line(error)}. "
                "Fetch it again with: hmcap models fetch, or try --engine onnxruntime."
            ) from error
        if sizes and model.is_dynamic():
            # The library takes a batch that the file names but does not fix for any number of images, and is slower
            # by two fifths with it.
            model.reshape({port: list(sizes[port.get_any_name()]) for port in model.inputs})
        wanted = pick_outputs(options.outputs, len(model.outputs), path.name)
        if len(wanted) < len(model.outputs):
            results = [model.outputs[i].node for i in wanted]
            model = import_openvino().Model(results, model.get_parameters(), model.get_friendly_name())
        # Said always: where the hardware has it the library would choose bf16 or f16, which is up to twice as fast, but
        # moves body landmarks by as much as 4 % of the image and their relative depth by 14 %.
        config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if device == "cpu":
            # Pinned, networks of one thread each would all share the first core.
            config["ENABLE_CPU_PINNING"] = False
        if device.partition(".")[0] in ("cpu", "gpu"):
            config["INFERENCE_PRECISION_HINT"] = options.precision
        if device == "cpu" and threads is not None:
            config["INFERENCE_NUM_THREADS"] = threads * options.streams
        if device == "cpu" and options.streams > 1:
            config["NUM_STREAMS"] = options.streams
        try:
            self._compiled = core.compile_model(model, device.upper(), config)
        except RuntimeError as error:
            raise device_error(self.backend, device, f"the library says: {_last_line(error)}") from error
        running = [str(d).lower() for d in self._compiled.get_property("EXECUTION_DEVICES")]
        if {d.partition(".")[0] for d in running} != {device.partition(".")[0]}:
            raise device_error(self.backend, device, f"the network came up on {', '.join(running)}")
        if device == "cpu":
            # Asked for what the processor has not got, the library takes something else without a word.
            hint = self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
            computes = _NAMES.get(hint, hint)
            if computes != options.precision:
                reason = f"it would compute in {computes} there, and {options.precision} was asked for"
                raise device_error(self.backend, device, reason)
        self.device = ", ".join(running)
        # From the model as it was read: in the compiled one, a port also answers to names of merged inner tensors.
        self.inputs = tuple(_spec(port) for port in model.inputs)
        self.outputs = tuple(_spec(port) for port in model.outputs)
        self._path = path
        self._requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(options.streams):
            self._requests.put(self._compiled.create_infer_request())

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once: every input by name in, every output by name out (copies, safe to keep)."""
        values = check_feeds(feeds, self.inputs, self._path.name)
        request = self._requests.get()
        try:
            results = request.infer(values, share_inputs=True, share_outputs=False)
        finally:
            self._requests.put(request)
        return {spec.name: results[i] for i, spec in enumerate(self.outputs)}


def _spec(port: Any) -> TensorSpec:
    shape = tuple(-1 if n.is_dynamic else n.get_length() for n in port.partial_shape)
    return TensorSpec(port.get_any_name(), shape, np.dtype(port.element_type.to_dtype()))


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__


BACKEND = Backend("openvino", (".tflite", ".onnx"), devices, OpenVinoEngine)
