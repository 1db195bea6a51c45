"""The calls of NVIDIA's driver, on a stand-in for its library: what is asked in which order, and what errors say."""

import ctypes

import numpy as np
import pytest
from hmcap.engines import cuda
from hmcap.engines.cuda import CudaError, Device, Driver


class FakeLibrary:
    """Answers like a driver with two devices; memory of the "device" is a ctypes array."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.memory: dict[int, ctypes.Array] = {}
        self.failing: dict[str, int] = {}

    def __getattr__(self, name: str):
        if name == "cuGraphLaunch" and "old" in self.failing:
            raise AttributeError(name)

        def call(*arguments):
            self.calls.append(name)
            if name in self.failing:
                return self.failing[name]
            handler = getattr(type(self), f"_{name}", None)
            return (handler(self, *arguments) if handler else 0) or 0

        return call

    def _cuGetErrorName(self, code, out):
        out._obj.value = b"CUDA_ERROR_NO_DEVICE" if code == 100 else b"CUDA_ERROR_INVALID_DEVICE"

    def _cuGetErrorString(self, code, out):
        out._obj.value = b"no CUDA-capable device is detected" if code == 100 else b"invalid device ordinal"

    def _cuDeviceGetCount(self, out):
        out._obj.value = 2

    def _cuDeviceGet(self, out, index):
        out._obj.value = index
        return 0 if index < 2 else 101

    def _cuDeviceGetName(self, buffer, size, device):
        buffer.value = b"RTX %d" % device

    def _cuDeviceGetAttribute(self, out, attribute, device):
        out._obj.value = {75: 8, 76: 9}[attribute]

    def _cuDriverGetVersion(self, out):
        out._obj.value = 12080

    def _allocate(self, out, size):
        memory = ctypes.create_string_buffer(size.value)
        out._obj.value = ctypes.addressof(memory)
        self.memory[ctypes.addressof(memory)] = memory

    def _cuMemAlloc_v2(self, out, size):
        self._allocate(out, size)

    def _cuMemHostAlloc(self, out, size, flags):
        self._allocate(out, size)

    def _cuMemFree_v2(self, pointer):
        del self.memory[pointer.value]

    def _cuMemFreeHost(self, pointer):
        del self.memory[pointer.value]

    def _cuMemcpyHtoDAsync_v2(self, to, source, size, stream):
        ctypes.memmove(to.value, source.value, size.value)

    _cuMemcpyDtoHAsync_v2 = _cuMemcpyHtoDAsync_v2


@pytest.fixture
def library(monkeypatch):
    fake = FakeLibrary()
    monkeypatch.setattr(cuda.ctypes, "CDLL", lambda name: fake)
    cuda.driver.cache_clear()
    yield fake
    cuda.driver.cache_clear()


def test_devices_are_described(library):
    assert [(g.index, g.name, g.compute_capability, g.driver) for g in cuda.gpus()] == [
        (0, "RTX 0", (8, 9), "12.8"),
        (1, "RTX 1", (8, 9), "12.8"),
    ]


def test_errors_are_the_drivers_own_words(library):
    with pytest.raises(CudaError, match="cuDeviceGet: CUDA_ERROR_INVALID_DEVICE: invalid device ordinal"):
        Device(5)
    library.failing["cuInit"] = 100
    with pytest.raises(CudaError, match="cuInit: CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected"):
        Driver()


def test_no_library_is_the_loaders_words(monkeypatch):
    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(cuda.ctypes, "CDLL", missing)
    cuda.driver.cache_clear()
    with pytest.raises(CudaError, match=r"no NVIDIA driver: .*cannot open"):
        cuda.gpus()


def test_a_tensor_goes_to_the_device_and_back(library):
    device = Device(1)
    with device.current():
        stream, buffer = device.stream(), device.buffer((4, 3), np.dtype(np.float32))
        assert buffer.nbytes == 48
        values = np.arange(6, dtype=np.float32).reshape(2, 3)
        buffer.host((2, 3))[:] = values
        stream.upload(buffer, 24)
        buffer.host((2, 3))[:] = 0
        stream.download(buffer, 24)
        stream.wait()
        np.testing.assert_array_equal(buffer.host((2, 3)), values)
        buffer.free()
        stream.free()
    assert library.memory == {}
    assert [c for c in library.calls if c.startswith("cuCtx")] == ["cuCtxPushCurrent_v2", "cuCtxPopCurrent_v2"]


def test_memory_that_is_refused_on_one_side_is_given_back_on_the_other(library):
    device = Device(0)
    library.failing["cuMemHostAlloc"] = 2
    with pytest.raises(CudaError, match="cuMemHostAlloc"):
        device.buffer((4,), np.dtype(np.float32))
    assert library.memory == {}


def test_work_is_recorded_and_launched(library):
    stream = Device(0).stream()
    library.calls.clear()
    stream.begin_capture()
    graph = stream.end_capture()
    graph.launch(stream)
    graph.free()
    assert library.calls == [
        "cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphInstantiateWithFlags", "cuGraphDestroy",
        "cuGraphLaunch", "cuGraphExecDestroy",
    ]  # fmt: skip


def test_a_driver_without_a_function_is_too_old(library):
    stream = Device(0).stream()
    graph = stream.end_capture()
    library.failing["old"] = 1
    with pytest.raises(CudaError, match="too old: it has no cuGraphLaunch"):
        graph.launch(stream)
