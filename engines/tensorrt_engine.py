"""A TensorRT engine at work: buffers, a stream of its own, and one recorded graph where the sizes are fixed."""

import contextlib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..models.errors import HmcapError
from . import engine_cache
from .backends import check_feeds
from .base import TensorSpec
from .cuda import CudaError, Device, Graph
from .engine_cache import Built, Key
from .tensorrt_build import LOG
from .tensorrt_library import Library


class TensorRtEngine:
    """One network on one GPU (safe to call from several threads, one after the other).

    The first call runs plainly, so that the library can set itself up; where all sizes are fixed, the same is then
    recorded (copies in, network, copies out), and each later call launches the recording.
    """

    def __init__(self, path: Path, library: Library, built: Built, key: Key, device: Device) -> None:
        """``key``: of the engine, for messages and for what is kept beside it. Raises :class:`HmcapError`."""
        self.backend = library.flavour.name
        self.device = f"cuda:{device.gpu.index}"
        self._path, self._library, self._device, self._lock = path, library, device, threading.Lock()
        self._key = key
        try:
            with library.lock, device.current():
                library.messages.clear()
                self._open(built)
                self.inputs, self.outputs = self._specs(built)
                self._prepare()
        except CudaError as error:
            raise self._error(f"be set up on {device.gpu.name}", str(error)) from error
        self._graph: Graph | None = None
        self._first, self._closed = True, False

    def _open(self, built: Built) -> None:
        trt = self._library.module
        self._runtime = trt.Runtime(self._library.logger)
        self._engine = self._runtime.deserialize_cuda_engine(built.engine)
        if self._engine is None:
            raise self._error(f"load on {self._device.gpu.name}", self._library.complaints())
        self._jit: Any = None
        if self._library.flavour.portable:
            config = self._engine.create_runtime_config()
            self._jit = config.create_runtime_cache()
            kept = engine_cache.load(self._jit_key(), LOG.warning)
            if kept is not None:
                self._jit.deserialize(kept.engine)
            config.set_runtime_cache(self._jit)
            self._context = self._engine.create_execution_context(config)
        else:
            self._context = self._engine.create_execution_context()
        if self._context is None:
            raise self._error("get memory for its work", self._library.complaints())

    def _jit_key(self) -> Key:
        """Of what the library compiled for this GPU and driver, which the next start need not compile again."""
        gpu, key = self._device.gpu, self._key
        capability = f"{key.compute_capability}, {gpu.name}, driver {gpu.driver}"
        return Key(
            key.network, key.sha256, f"{key.library}-jit", key.version, capability, key.precision, key.profile,
            key.graph, key.platform,
        )  # fmt: skip

    def _specs(self, built: Built) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """Inputs and outputs in the order of the network's file."""
        trt, engine = self._library.module, self._engine
        names = [engine.get_tensor_name(k) for k in range(engine.num_io_tensors)]
        if sorted(names) != sorted((*built.inputs, *built.outputs)):
            raise self._error("have its network's inputs and outputs", f"it has {', '.join(names)}")

        def spec(name: str) -> TensorSpec:
            dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name)))
            return TensorSpec(name, tuple(int(n) for n in engine.get_tensor_shape(name)), dtype)

        return tuple(map(spec, built.inputs)), tuple(map(spec, built.outputs))

    def _prepare(self) -> None:
        """The stream, and buffers for the greatest sizes of the profile."""
        self._fixed = all(n >= 0 for s in self.inputs for n in s.shape)
        self._shapes: dict[str, tuple[int, ...]] = {}
        greatest = {
            s.name: s.shape
            if min(s.shape, default=0) >= 0
            else tuple(self._engine.get_tensor_profile_shape(s.name, 0)[2])
            for s in self.inputs
        }
        self._resize(greatest)
        self._stream = self._device.stream()
        self._buffers = {}
        for spec in (*self.inputs, *self.outputs):
            self._buffers[spec.name] = self._device.buffer(self._shapes[spec.name], spec.dtype)
            if not self._context.set_tensor_address(spec.name, self._buffers[spec.name].address):
                raise self._error(f"take memory for {spec.name}", self._library.complaints())

    def _resize(self, wanted: Mapping[str, tuple[int, ...]]) -> None:
        """Tell the library the inputs' shapes and ask it for the outputs'."""
        if self._shapes and all(self._shapes[name] == shape for name, shape in wanted.items()):
            return
        for spec in self.inputs:
            if min(spec.shape, default=0) < 0 and not self._context.set_input_shape(spec.name, wanted[spec.name]):
                self._library.complaints()
                least, _, most = (tuple(s) for s in self._engine.get_tensor_profile_shape(spec.name, 0))
                self._shapes = {}
                raise HmcapError(
                    f"{self._path.name} was built for input {spec.name!r} of shape {least} to {most}, found "
                    f"{wanted[spec.name]}. Give it fewer at a time."
                )
        found = {s.name: tuple(int(n) for n in self._context.get_tensor_shape(s.name)) for s in self.outputs}
        for name, shape in found.items():
            if min(shape, default=0) < 0:
                raise self._error("have outputs of known size", f"{name} has the shape {shape}")
        self._shapes = {**wanted, **found}

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once: every input by name in, every output by name out (copies, safe to keep)."""
        values = check_feeds(feeds, self.inputs, self._path.name)
        with self._lock, self._device.current():
            try:
                self._resize({name: value.shape for name, value in values.items()})
                for name, value in values.items():
                    np.copyto(self._buffers[name].host(value.shape), value)
                if self._graph is not None:
                    self._graph.launch(self._stream)
                else:
                    self._queue()
                self._stream.wait()
                if self._first and self._fixed:
                    self._record()
            except CudaError as error:
                raise self._error(f"run on {self._device.gpu.name}", str(error)) from error
            if self._first:
                self._keep_compiled()
            self._first = False
            return {s.name: self._buffers[s.name].host(self._shapes[s.name]).copy() for s in self.outputs}

    def _queue(self) -> None:
        """Copies in, the network, copies out."""
        for spec in self.inputs:
            self._stream.upload(self._buffers[spec.name], self._bytes(spec))
        if not self._context.execute_async_v3(self._stream.handle):
            raise self._error(f"run on {self._device.gpu.name}", self._library.complaints())
        for spec in self.outputs:
            self._stream.download(self._buffers[spec.name], self._bytes(spec))

    def _bytes(self, spec: TensorSpec) -> int:
        return int(np.prod(self._shapes[spec.name], dtype=np.int64)) * spec.dtype.itemsize

    def _record(self) -> None:
        """Record what :meth:`_queue` does. Where that is refused, say so once and go on without."""
        self._stream.begin_capture()
        refused = None
        try:
            self._queue()
        except (CudaError, HmcapError) as error:
            refused = error
        try:
            graph = self._stream.end_capture()
        except CudaError as error:
            refused = refused or error
        else:
            if refused is None:
                self._graph = graph
            else:
                graph.free()
        if refused is not None:
            reason = " ".join(str(refused).split())
            LOG.warning(f"{self._path.name} runs without a recorded CUDA graph, a little slower: {reason}")

    def _keep_compiled(self) -> None:
        """Write what the library compiled in the first run, where that is not on disk yet."""
        if self._jit is None:
            return
        key, memory = self._jit_key(), self._jit.serialize()
        compiled = b"" if memory is None else bytes(memory)
        kept = engine_cache.load(key, LOG.warning)
        if not compiled or (kept is not None and kept.engine == compiled):
            return
        try:
            engine_cache.store(key, Built(compiled))
        except OSError as error:
            folder = engine_cache.folder()
            LOG.warning(
                f"What was compiled for {self._path.stem} cannot be kept in {folder}: {error.strerror or error}."
            )

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # half made, or the driver is gone with the process
            self.close()

    def close(self) -> None:
        """Give the memory back, as happens when nobody holds the engine any more; it cannot be run afterwards."""
        with self._lock, self._device.current():
            parts = () if self._closed else (self._graph, *self._buffers.values(), self._stream)
            self._closed = True
            for part in parts:
                if part is not None:
                    part.free()
            self._graph, self._buffers = None, {}

    def _error(self, what: str, reason: str) -> HmcapError:
        return HmcapError(
            f"Expected {self._path.name} to {what} with {self.backend} {self._library.version}, but the library says: "
            f"{reason.strip().rstrip('.')}. Check the driver with nvidia-smi, delete the engines in "
            f"{engine_cache.folder()}, or choose --engine onnxruntime."
        )
