"""TensorRT back end: engines built on the GPU that runs them. :mod:`.tensorrt_rtx` is the flavour for RTX cards."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from . import cuda
from .backends import Backend, device_error
from .base import EngineOptions
from .tensorrt_build import Target, engine_for, key_of
from .tensorrt_engine import TensorRtEngine
from .tensorrt_library import FLAVOURS, Flavour, check_target, load, present, unavailable


def backend(name: str) -> Backend:
    """The ``BACKEND`` of one flavour."""
    flavour = FLAVOURS[name]
    reason: Callable[[str], str] = partial(_reason, flavour)
    return Backend(name, (".onnx",), partial(devices, flavour), partial(open_network, flavour), reason, True)


def devices(flavour: Flavour) -> tuple[str, ...]:
    """``cuda`` (and ``cuda:1`` ... where there are several) where package, driver and GPU are there; else empty."""
    if not present(flavour):
        return ()
    try:
        count = len(cuda.gpus())
    except cuda.CudaError:  # said by _reason, for whoever asks for this device
        return ()
    return tuple("cuda" if k == 0 else f"cuda:{k}" for k in range(count))


def _reason(flavour: Flavour, device: str) -> str:
    missing = unavailable(flavour)
    if missing is None or (present(flavour) and not device.startswith("cuda")):
        return f"{flavour.name} runs on GPUs alone (type --device cuda)"
    return missing


def open_network(flavour: Flavour, path: Path, options: EngineOptions) -> TensorRtEngine:
    """Load the engine of a network, building it where the cache does not hold it. Raises :class:`HmcapError`."""
    index = options.device.partition(":")[2]
    if index and not index.isdecimal():
        raise device_error(flavour.name, options.device, "that is no number of a GPU (cuda:0 is the first)")
    try:
        device = cuda.Device(int(index or 0))
    except cuda.CudaError as error:
        raise device_error(flavour.name, options.device, f"the driver says: {error}") from error
    library = load(flavour.name)
    target = Target(device.gpu.compute_capability, device.gpu)
    if flavour.portable:
        check_target(library, target.capability)
    with device.current():
        built = engine_for(library, path, options.precision, options.profile, target, options.outputs)
    key = key_of(library, path, options.precision, options.profile, target, options.outputs)
    return TensorRtEngine(path, library, built, key, device)


BACKEND = backend("tensorrt")
