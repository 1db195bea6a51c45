"""The few calls of NVIDIA's driver that running an engine takes: devices, memory, streams, graphs.

By ctypes on the driver library itself, which comes with every driver and keeps old entry points alive: nothing is to be
installed, compiled or matched to a CUDA version. (Bindings exist, ``cuda-bindings``, Apache-2.0, 31 MB; each release is
for one major version of CUDA, which the driver and the other libraries would have to agree on, for the two dozen
functions that are needed here.)
"""

import contextlib
import ctypes
import functools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

_CC_MAJOR, _CC_MINOR = 75, 76
_NON_BLOCKING = 1
_CAPTURE_THREAD_LOCAL = 1
"""Capture mode in which other threads may go on allocating memory."""
_PORTABLE = 1
"""Pinned for every context."""


class CudaError(Exception):
    """What the driver, or the loader of its library, says."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One device."""

    index: int
    name: str
    compute_capability: tuple[int, int]
    driver: str
    """Newest CUDA version that the driver runs, such as ``13.0``."""


class Driver:
    """The library, loaded and initialised. Raises :class:`CudaError` where either fails."""

    def __init__(self) -> None:
        name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
        try:
            self._library: Any = ctypes.CDLL(name)
        except OSError as error:
            raise CudaError(f"no NVIDIA driver: {error}") from error
        self.call("cuInit", 0)

    def call(self, function: str, *arguments: Any) -> None:
        """One function by its exported name; anything but success is a :class:`CudaError` that names it."""
        try:
            code = getattr(self._library, function)(*arguments)
        except AttributeError as error:
            raise CudaError(f"the driver is too old: it has no {function}") from error
        if code:
            raise CudaError(f"{function}: {self._text(code)}")

    def _text(self, code: int) -> str:
        parts = []
        for function in ("cuGetErrorName", "cuGetErrorString"):
            text = ctypes.c_char_p()
            if getattr(self._library, function)(code, ctypes.byref(text)) == 0 and text.value:
                parts.append(text.value.decode(errors="replace"))
        return ": ".join(parts) or f"error {code}"

    def _integer(self, function: str, *arguments: Any) -> int:
        value = ctypes.c_int()
        self.call(function, ctypes.byref(value), *arguments)
        return value.value

    def count(self) -> int:
        """Number of devices."""
        return self._integer("cuDeviceGetCount")

    def handle(self, index: int) -> int:
        """The driver's own name of device ``index``."""
        return self._integer("cuDeviceGet", index)

    def gpu(self, index: int) -> Gpu:
        """What device ``index`` is. Raises :class:`CudaError` where there is none of that number."""
        device = self.handle(index)
        name = ctypes.create_string_buffer(256)
        self.call("cuDeviceGetName", name, len(name), device)
        major, minor = (self._integer("cuDeviceGetAttribute", at, device) for at in (_CC_MAJOR, _CC_MINOR))
        version = self._integer("cuDriverGetVersion")
        text = name.value.decode(errors="replace")
        return Gpu(index, text, (major, minor), f"{version // 1000}.{version % 1000 // 10}")


@functools.lru_cache(maxsize=1)
def driver() -> Driver:
    """The driver of this machine. Raises :class:`CudaError`."""
    return Driver()


def gpus() -> tuple[Gpu, ...]:
    """Every device. Raises :class:`CudaError` where there is no driver, or it sees none."""
    found = driver()
    return tuple(found.gpu(index) for index in range(found.count()))


class Device:
    """One GPU in use, with the context that every library of the process shares on it.

    The driver's calls work on the context that is current in the calling thread: wrap them in :meth:`current`.
    """

    def __init__(self, index: int) -> None:
        self._driver = driver()
        self.gpu = self._driver.gpu(index)
        context = ctypes.c_void_p()
        self._driver.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._driver.handle(index))
        self._context = context

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Make this device the calling thread's."""
        self._driver.call("cuCtxPushCurrent_v2", self._context)
        try:
            yield
        finally:
            self._driver.call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))

    def stream(self) -> "Stream":
        """A new stream that waits for no other."""
        handle = ctypes.c_void_p()
        self._driver.call("cuStreamCreate", ctypes.byref(handle), _NON_BLOCKING)
        return Stream(self._driver, handle)

    def buffer(self, shape: tuple[int, ...], dtype: np.dtype) -> "Buffer":
        """Memory for one tensor, on the device and pinned on the host."""
        return Buffer(self._driver, shape, dtype)


class Buffer:
    """One tensor's memory on both sides; freed with :meth:`free`."""

    def __init__(self, cuda: Driver, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._driver = cuda
        self.nbytes = max(1, int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
        self.pointer, self._host = ctypes.c_uint64(), ctypes.c_void_p()
        cuda.call("cuMemAlloc_v2", ctypes.byref(self.pointer), ctypes.c_size_t(self.nbytes))
        try:
            size = ctypes.c_size_t(self.nbytes)
            cuda.call("cuMemHostAlloc", ctypes.byref(self._host), size, _PORTABLE)
        except CudaError:
            cuda.call("cuMemFree_v2", self.pointer)
            raise
        memory = (ctypes.c_char * self.nbytes).from_address(self._host.value or 0)
        self._flat = np.frombuffer(memoryview(memory).cast("B"), dtype, int(np.prod(shape, dtype=np.int64)))

    @property
    def address(self) -> int:
        """Of the device's memory."""
        return self.pointer.value

    def host(self, shape: tuple[int, ...]) -> np.ndarray:
        """The first elements of the pinned memory as an array of ``shape`` (a view: it changes with the next run)."""
        return self._flat[: int(np.prod(shape, dtype=np.int64))].reshape(shape)

    def free(self) -> None:
        """Give both back; views of the host's side are void then."""
        self._driver.call("cuMemFreeHost", self._host)
        self._driver.call("cuMemFree_v2", self.pointer)


class Stream:
    """A queue of work on the device."""

    def __init__(self, cuda: Driver, handle: ctypes.c_void_p) -> None:
        self._driver, self._handle = cuda, handle

    @property
    def handle(self) -> int:
        """What libraries take as the stream."""
        return self._handle.value or 0

    def upload(self, buffer: Buffer, nbytes: int) -> None:
        """Queue a copy of the first bytes to the device."""
        self._driver.call("cuMemcpyHtoDAsync_v2", buffer.pointer, buffer._host, ctypes.c_size_t(nbytes), self._handle)

    def download(self, buffer: Buffer, nbytes: int) -> None:
        """Queue a copy of the first bytes from the device."""
        self._driver.call("cuMemcpyDtoHAsync_v2", buffer._host, buffer.pointer, ctypes.c_size_t(nbytes), self._handle)

    def wait(self) -> None:
        """Until all that was queued is done."""
        self._driver.call("cuStreamSynchronize", self._handle)

    def begin_capture(self) -> None:
        """From now on, note what is queued instead of doing it."""
        self._driver.call("cuStreamBeginCapture_v2", self._handle, _CAPTURE_THREAD_LOCAL)

    def end_capture(self) -> "Graph":
        """What was noted, ready to be launched. Raises :class:`CudaError` where some of it could not be noted."""
        graph, ready = ctypes.c_void_p(), ctypes.c_void_p()
        self._driver.call("cuStreamEndCapture", self._handle, ctypes.byref(graph))
        try:
            self._driver.call("cuGraphInstantiateWithFlags", ctypes.byref(ready), graph, ctypes.c_uint64(0))
        finally:
            self._driver.call("cuGraphDestroy", graph)
        return Graph(self._driver, ready)

    def free(self) -> None:
        """Give it back."""
        self._driver.call("cuStreamDestroy_v2", self._handle)


class Graph:
    """Work that was noted once and is launched as one."""

    def __init__(self, cuda: Driver, handle: ctypes.c_void_p) -> None:
        self._driver, self._handle = cuda, handle

    def launch(self, stream: Stream) -> None:
        """Queue it."""
        self._driver.call("cuGraphLaunch", self._handle, stream._handle)

    def free(self) -> None:
        """Give it back."""
        self._driver.call("cuGraphExecDestroy", self._handle)
