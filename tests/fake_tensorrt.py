"""A stand-in for TensorRT and a GPU: the calls that the wrapper makes, their order noted, computed by ONNX Runtime.

An "engine" is the network's ONNX bytes. Device memory is a second array beside the host's; nothing reaches it, or comes
back, but by the stream's copies, and a recording does when it is launched what was queued while it was made.
"""

import contextlib
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
from hmcap.engines.cuda import CudaError, Gpu

GPU = Gpu(0, "Test RTX", (8, 9), "13.0")


class FakeTrt:
    """The module. ``complaint``: said, and the build refused, when set. ``refuse_capture``: as a network would that
    cannot be recorded."""

    def __init__(self, portable: bool = True) -> None:
        self.__version__ = "1.2.3"
        self.calls: list[str] = []
        self.complaint = ""
        self.refuse_capture = False
        self.compiled = b"compiled for this GPU"
        self.flags: list[str] = []
        self.device: FakeDevice | None = None
        self.NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
        self.BuilderFlag = SimpleNamespace(TF32="TF32")
        self.TensorIOMode = SimpleNamespace(INPUT="in", OUTPUT="out")
        if portable:
            self.ComputeCapability = type("ComputeCapability", (), {"SM89": "SM89", "SM120": "SM120", "NONE": 0})
        trt = self

        class ILogger:
            INTERNAL_ERROR, ERROR, WARNING = 0, 1, 2

            def __init__(self) -> None:
                pass

        class OnnxParser:
            def __init__(self, network, logger) -> None:
                self.network = network

            def parse(self, data: bytes) -> bool:
                self.network.append(data)
                self.foreign = [n for n in onnx.load_model_from_string(data).graph.node if n.op_type == "Det"]
                return not self.foreign

            def get_error(self, k: int):
                node = self.foreign[k]
                return SimpleNamespace(
                    node_operator=lambda: node.op_type, node_name=lambda: node.name, desc=lambda: "no importer"
                )

        class Builder:
            def __init__(self, logger) -> None:
                self.logger = logger

            def create_network(self, flags: int):
                assert flags == 2  # strongly typed
                return []

            def create_builder_config(self):
                return SimpleNamespace(
                    clear_flag=lambda f: trt.flags.append(f"no {f}"),
                    set_compute_capability=lambda value, k: bool(trt.flags.append(str(value))) or True,
                    add_optimization_profile=lambda p: 0,
                )

            def create_optimization_profile(self):
                return SimpleNamespace(set_shape=lambda name, *sizes: trt.flags.append(f"{name} {sizes}"))

            def build_serialized_network(self, network, config):
                trt.calls.append("build")
                if trt.complaint:
                    self.logger.log(ILogger.ERROR, trt.complaint)
                    return None
                return network[0]

        class Runtime:
            def __init__(self, logger) -> None:
                self.logger = logger

            def deserialize_cuda_engine(self, data: bytes):
                if trt.complaint:
                    self.logger.log(ILogger.ERROR, trt.complaint)
                    return None
                return FakeEngine(trt, data)

        self.ILogger, self.OnnxParser, self.Builder, self.Runtime = ILogger, OnnxParser, Builder, Runtime
        self.nptype = lambda dtype: dtype


class FakeEngine:
    def __init__(self, trt: FakeTrt, data: bytes) -> None:
        self.trt = trt
        self.session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        self.ins = {i.name: [n if isinstance(n, int) else -1 for n in i.shape] for i in self.session.get_inputs()}
        self.outs = {o.name: [n if isinstance(n, int) else -1 for n in o.shape] for o in self.session.get_outputs()}
        self.names = [*sorted(self.outs), *sorted(self.ins)]  # an order of its own
        self.num_io_tensors = len(self.names)

    def get_tensor_name(self, k: int) -> str:
        return self.names[k]

    def get_tensor_shape(self, name: str):
        return {**self.ins, **self.outs}[name]

    def get_tensor_dtype(self, name: str):
        return np.float32

    def get_tensor_profile_shape(self, name: str, profile: int):
        return [[k if n < 0 else n for n in self.ins[name]] for k in (1, 2, 4)]

    def create_runtime_config(self):
        def cache():
            kept = []
            return SimpleNamespace(
                deserialize=lambda data: kept.append(self.trt.calls.append(f"jit {data.decode()}")),
                serialize=lambda: self.trt.compiled,
            )

        return SimpleNamespace(create_runtime_cache=cache, set_runtime_cache=lambda c: None)

    def create_execution_context(self, config=None):
        return FakeContext(self)


class FakeContext:
    def __init__(self, engine: FakeEngine) -> None:
        self.engine, self.shapes, self.addresses = engine, {k: list(v) for k, v in engine.ins.items()}, {}

    def set_input_shape(self, name: str, shape) -> bool:
        if not all(low <= n <= high for low, n, high in zip(
            self.engine.get_tensor_profile_shape(name, 0)[0], shape, self.engine.get_tensor_profile_shape(name, 0)[2],
            strict=True,
        )):  # fmt: skip
            return False
        self.shapes[name] = list(shape)
        return True

    def get_tensor_shape(self, name: str):
        ins = self.engine.ins
        free = max((s[k] for n, s in self.shapes.items() for k in range(len(s)) if ins[n][k] < 0), default=1)
        return [free if n < 0 else n for n in self.engine.get_tensor_shape(name)]

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        device = self.engine.trt.device
        assert device is not None
        if device.the_stream.recording is not None and self.engine.trt.refuse_capture:
            return False
        device.the_stream.do(self.run)
        return True

    def run(self) -> None:
        memory = self.engine.trt.device.memory
        feeds = {n: memory[self.addresses[n]].reshape(-1)[: int(np.prod(s))].reshape(s) for n, s in self.shapes.items()}
        for name, value in zip(self.engine.outs, self.engine.session.run(None, feeds), strict=True):
            memory[self.addresses[name]].reshape(-1)[: value.size] = value.reshape(-1)
        self.engine.trt.calls.append("run")


class FakeDevice:
    """What :class:`hmcap.engines.cuda.Device` offers."""

    def __init__(self, trt: FakeTrt) -> None:
        self.gpu, self.memory, self.trt = GPU, {}, trt
        trt.device = self
        self.the_stream = FakeStream(trt)

    @contextlib.contextmanager
    def current(self):
        yield

    def stream(self):
        return self.the_stream

    def buffer(self, shape, dtype):
        pinned, address = np.zeros(shape, dtype).reshape(-1), len(self.memory) + 1
        self.memory[address] = np.full_like(pinned, np.nan)
        return SimpleNamespace(
            address=address, pinned=pinned, there=self.memory[address], free=lambda: self.memory.pop(address),
            host=lambda s: pinned[: int(np.prod(s))].reshape(s),
        )  # fmt: skip


class FakeStream:
    handle = 7

    def __init__(self, trt: FakeTrt) -> None:
        self.trt, self.recording = trt, None

    def do(self, work) -> None:
        if self.recording is None:
            work()
        else:
            self.recording.append(work)

    def upload(self, buffer, nbytes) -> None:
        self.do(lambda: np.copyto(buffer.there[: nbytes // 4], buffer.pinned[: nbytes // 4]))

    def download(self, buffer, nbytes) -> None:
        self.do(lambda: np.copyto(buffer.pinned[: nbytes // 4], buffer.there[: nbytes // 4]))

    def wait(self) -> None:
        self.trt.calls.append("wait")

    def begin_capture(self) -> None:
        self.trt.calls.append("record")
        self.recording = []

    def end_capture(self):
        work, self.recording = self.recording, None
        if self.trt.refuse_capture:
            raise CudaError("cuStreamEndCapture: CUDA_ERROR_STREAM_CAPTURE_INVALIDATED")

        def launch(stream) -> None:
            self.trt.calls.append("launch")
            for step in work:
                step()

        return SimpleNamespace(launch=launch, free=lambda: None)

    def free(self) -> None:
        pass
