"""ONNX Runtime back end: CUDA, DirectML, CoreML, and a portable CPU path."""

import contextlib
import functools
import io
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..models.errors import HmcapError
from .backends import Backend, check_feeds, device_error, first_line
from .base import EngineOptions, TensorSpec

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}
_DTYPES = {"float": "float32", "float16": "float16", "double": "float64", "bool": "bool"}


@functools.lru_cache(maxsize=1)
def import_onnxruntime() -> Any:
    """The ``onnxruntime`` package, imported without its usage reporting."""
    # Its builds report usage unless this is set before the import: a start-up event is sent, and a client id written
    # to the user's cache folder.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # the Windows builds that ignore the variable
    onnxruntime.set_default_logger_severity(4)  # its warnings would land in the middle of the progress bar
    return onnxruntime


def devices() -> tuple[str, ...]:
    """Devices whose provider this build of ONNX Runtime holds (``cpu``, ``cuda``, ...); empty if not installed.

    A provider in the build may still fail to come up (no driver): opening a network finds that out.
    """
    try:
        present = import_onnxruntime().get_available_providers()
    except (ImportError, OSError):  # not installed, or its shared libraries do not load
        return ()
    return tuple(device for device, provider in PROVIDERS.items() if provider in present)


class OrtEngine:
    """A network in an ONNX Runtime session (safe to call from several threads)."""

    backend = "onnxruntime"

    def __init__(self, path: Path, options: EngineOptions) -> None:
        ort = import_onnxruntime()
        device, threads = options.device, options.threads
        if options.precision == "bf16":
            raise device_error(self.backend, device, "it computes in f32 or f16 there, and bf16 was asked for")
        model = _graph(path, options)
        session_options = ort.SessionOptions()
        session_options.log_severity_level = 4
        if threads is not None:
            session_options.intra_op_num_threads = threads
        # Its threads would spin while they wait for work, and keep other networks from the core.
        session_options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        for name, size in options.profile.fixed.items() if options.profile else ():
            session_options.add_free_dimension_override_by_name(name, size)
        kind, _, index = device.partition(":")
        provider = PROVIDERS[kind]
        provider_options = {"device_id": index} if index else {}
        if kind == "cuda":  # 10-bit mantissas by default; landmarks are to be the same on every device
            provider_options["use_tf32"] = "0"
        if kind == "directml":  # required by that provider
            session_options.enable_mem_pattern = False
            session_options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        note = _preload_cuda(ort) if kind == "cuda" else ""
        try:
            session = ort.InferenceSession(model, session_options, providers=[(provider, provider_options)])
        except Exception as error:  # the library raises its own exception classes, without a common base
            if kind != "cpu":
                raise device_error(self.backend, device, f"the library says: {first_line(error)}") from error
            raise HmcapError(
                f"Expected a network that ONNX Runtime can read, but {path} is not one: {first_line(error)}. "
                "Fetch it again with: hmcap models fetch."
            ) from error
        session.disable_fallback()
        running = session.get_providers()
        if not running or running[0] != provider:
            raise device_error(self.backend, device, f"the session came up on {', '.join(running) or 'nothing'}{note}")
        self.device = next(name for name, value in PROVIDERS.items() if value == running[0])
        self.inputs = tuple(_spec(node) for node in session.get_inputs())
        self.outputs = tuple(_spec(node) for node in session.get_outputs())
        self._names = [spec.name for spec in self.outputs]
        self._path, self._session = path, session
        self._turns = threading.Semaphore(options.streams)

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once: every input by name in, every output by name out (owned by the caller)."""
        values = check_feeds(feeds, self.inputs, self._path.name)
        with self._turns:
            return dict(zip(self._names, self._session.run(self._names, values), strict=True))


def _graph(path: Path, options: EngineOptions) -> str | bytes:
    """The graph to open: the file itself where it can be, else what is converted from it.

    Half precision is written into the graph, so that it is the same one that TensorRT is given. Where a processor has
    no arithmetic for it, the library computes in single and rounds what each operator gives.
    """
    if options.precision != "f32" or options.outputs is not None:
        from .convert import network_model
        from .precision import lowered

        model = network_model(path, options.profile, options.outputs)
        if options.precision != "f32":
            model = lowered(model, options.precision, doubles=False)
        return model.SerializeToString()
    if path.suffix.lower() == ".tflite":
        from .convert import batch_of, onnx_for

        return onnx_for(path, batch_of(options.profile))
    return str(path)


def _preload_cuda(ort: Any) -> str:
    """Load the CUDA libraries that pip installed. The library prints what it did not find; that is caught, and its
    first line returned for the message in which it matters."""
    if not hasattr(ort, "preload_dlls"):  # before 1.21
        return ""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        ort.preload_dlls()
    lines = printed.getvalue().strip().splitlines()
    return f" ({lines[0]})" if lines else ""


def _spec(node: Any) -> TensorSpec:
    kind = node.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(n if isinstance(n, int) else -1 for n in node.shape)
    return TensorSpec(node.name, shape, np.dtype(_DTYPES.get(kind, kind)))


BACKEND = Backend("onnxruntime", (".onnx",), devices, OrtEngine)
