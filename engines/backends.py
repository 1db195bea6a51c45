"""The table of inference back ends, and the one function that opens a network on one of them."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..models.errors import HmcapError, UsageError
from .base import PRECISIONS, Engine, EngineOptions, Profile, TensorSpec


@dataclass(frozen=True, slots=True)
class Backend:
    """What a back-end module offers under the name ``BACKEND``."""

    name: str
    suffixes: tuple[str, ...]
    """File endings it reads itself."""
    devices: Callable[[], tuple[str, ...]]
    """Lower-case names of the devices that the library reports on this machine; empty when it is not installed."""
    open: Callable[[Path, EngineOptions], Engine]
    """Raises :class:`HmcapError` when that device, or that precision on it, does not come up."""
    absent: Callable[[str], str] | None = None
    """Why a device is not among :attr:`devices`, in words for :func:`device_error`; None where there is no more to say
    than that."""
    builds: bool = False
    """Whether it builds engines for the sizes of a :class:`Profile`, so that every network wants one."""


BACKENDS: dict[str, str] = {
    "openvino": ".openvino",
    "onnxruntime": ".ort",
    "tensorrt": ".tensorrt",
    "tensorrt_rtx": ".tensorrt_rtx",
}
"""Back end name -> module (relative to this package) that holds its ``BACKEND``, in the order ``auto`` asks them.
A further back end is one module and one line here; the module is imported only when it is asked for. On ``cpu`` that is
OpenVINO. On ``cuda`` it is ONNX Runtime where the build with CUDA is installed, which runs any network at once; else
TensorRT, then TensorRT-RTX, which build engines first."""

_INSTALL = {
    # Both builds fill the same package folder; whichever pip wrote last is the one that runs, hence the second command.
    "cuda": "pip install 'hmcap[gpu]' and then: pip install --force-reinstall --no-deps onnxruntime-gpu",
    "directml": "pip install --force-reinstall --no-deps onnxruntime-directml",
}
_REPAIR = {
    "cuda": "check the driver with nvidia-smi, and install its libraries: pip install 'onnxruntime-gpu[cuda,cudnn]'"
}


def get_backend(name: str) -> Backend:
    """The back end called ``name``. Raises :class:`UsageError` for a name that is not in :data:`BACKENDS`."""
    if name not in BACKENDS:
        raise UsageError(f"Unknown engine {name!r}: expected one of auto, {', '.join(BACKENDS)}. Try --engine auto")
    return importlib.import_module(BACKENDS[name], __package__).BACKEND


def available() -> dict[str, tuple[str, ...]]:
    """Every back end with the devices it reports on this machine (an empty tuple: not installed)."""
    return {name: get_backend(name).devices() for name in BACKENDS}


def describe_available(failed: tuple[str, str] | None = None) -> str:
    """One line for messages: ``openvino (cpu), onnxruntime (cpu)``, without the pair that just failed."""
    offers = {name: [d for d in devices if (name, d) != failed] for name, devices in available().items()}
    listed = (f"{name} ({', '.join(devices)})" for name, devices in offers.items() if devices)
    return ", ".join(listed) or "no back end at all (reinstall with: pip install --force-reinstall hmcap)"


def device_error(backend: str, device: str, reason: str) -> HmcapError:
    """The error for a device or back end that does not come up; lists what does, and how to add or repair this one."""
    kind = _kind(device)
    built_in = any(kind == _kind(d) for devices in available().values() for d in devices)
    step = _REPAIR.get(kind) if built_in else _INSTALL.get(kind)
    if backend in BACKENDS and get_backend(backend).absent is not None:  # the reason says what to type
        step = None
    hint = f" To {'repair' if built_in else 'add'} it: {step}." if step else ""
    return HmcapError(
        f"Expected to run on device {device!r} with engine {backend!r}, but {reason.strip().rstrip('.')}."
        f" This machine offers: {describe_available((backend, device))}. Choose one with --engine and --device.{hint}"
    )


def _kind(device: str) -> str:
    """``cuda`` of ``cuda:1``, ``gpu`` of ``gpu.0``."""
    return device.partition(":")[0].partition(".")[0]


def open_engine(
    path: str | Path,
    *,
    backend: str = "auto",
    device: str = "cpu",
    threads: int | None = None,
    precision: str = "f32",
    streams: int = 1,
    outputs: Sequence[int] | None = None,
    profile: Profile | None = None,
    warm_up: bool = True,
) -> Engine:
    """Load a network (``.tflite`` or ``.onnx``) and have it ready to run; only after
    :func:`.network_checks.check_network` has found it to be one that may be.

    ``backend``: a name of :data:`BACKENDS`, or ``auto``: the first of them that reports ``device`` on this machine.
    ``device``: ``cpu``, ``cuda``, ``directml``, ``coreml``, ``gpu``, ``npu`` (``cuda:1`` and ``gpu.1`` choose among
    several). There is no fall-back from one device to another: what was asked for comes up, or
    :class:`HmcapError` says what the machine offers. ``threads``: CPU threads; ``None`` leaves it to the library.
    ``precision``: what the network computes in, of :data:`PRECISIONS`; other than ``f32`` moves landmarks: measure how
    far. ``streams``: calls that may run at the same time, on threads of their own each. ``outputs``: positions of those
    that are wanted, all by default. ``profile``: the sizes that will be asked for, of a network with open ones.
    ``warm_up``: run once on zeros, so that the first frame is not the slow one.

    Inputs and outputs keep the network's own names, layout (NHWC for ``.tflite``) and type on every back end, and
    the arrays returned belong to the caller.
    """
    path, device = Path(path), device.lower()
    if threads is not None and threads < 1:
        raise UsageError(f"Expected at least 1 thread, found {threads}. Leave the option out to let the engine choose.")
    if path.suffix.lower() not in (".tflite", ".onnx"):
        raise HmcapError(f"Expected a network that ends in .tflite or .onnx, found {path}.")
    if not path.is_file():
        raise HmcapError(f"Expected a network at {path}, but there is no such file. Fetch it with: hmcap models fetch")
    if precision not in PRECISIONS:
        raise UsageError(f"Unknown precision {precision!r}: expected one of {', '.join(PRECISIONS)}.")
    from .network_checks import check_network

    check_network(path)  # whatever it is: a damaged or hostile file must not reach native code
    wanted = None if outputs is None else tuple(outputs)
    engine = choose_backend(backend, device).open(
        path, EngineOptions(device, threads, precision, streams, wanted, profile)
    )
    if warm_up:
        try:
            engine({s.name: np.zeros([max(1, n) for n in s.shape], s.dtype) for s in engine.inputs})
        except Exception as error:  # each library raises classes of its own, without a common base
            reason = f"{path.name} loads there and then fails to run: {first_line(error)}"
            raise device_error(engine.backend, device, reason) from error
    return engine


def first_line(error: Exception) -> str:
    """The first line of a library's message, without its full stop, for use inside one of ours."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__


def choose_backend(backend: str, device: str) -> Backend:
    """The back end that would run networks: ``backend``, or the first that reports ``device`` where it is ``auto``.

    Raises :class:`HmcapError` where this machine has not got it or the device, :class:`UsageError` for an unknown
    name.
    """
    device = device.lower()
    kind = _kind(device)
    if backend != "auto":
        chosen = get_backend(backend)
        if chosen.absent is not None and kind not in map(_kind, chosen.devices()):
            raise device_error(backend, device, chosen.absent(device))
        if not chosen.devices():
            raise device_error(backend, device, "that library is not installed or does not load")
        if kind not in map(_kind, chosen.devices()):
            raise device_error(backend, device, "that library does not report this device")
        return chosen
    for name in BACKENDS:
        candidate = get_backend(name)
        if kind in map(_kind, candidate.devices()):
            return candidate
    raise device_error(backend, device, "no installed library reports this device")


def check_feeds(feeds: Mapping[str, np.ndarray], specs: tuple[TensorSpec, ...], network: str) -> dict[str, np.ndarray]:
    """Inputs by name as contiguous arrays of the network's own type (no copy where they already are).

    Raises :class:`HmcapError` when a name is missing or unknown, or a shape differs (-1 in a spec fits any size).
    """
    if feeds.keys() != {s.name for s in specs}:
        raise HmcapError(
            f"{network} expects the inputs {[s.name for s in specs]}, found {sorted(feeds)}. "
            "Feed every input by its own name (engine.inputs lists them)."
        )
    out = {}
    for spec in specs:
        value = np.asarray(feeds[spec.name])
        if value.ndim != len(spec.shape) or any(n not in (-1, m) for n, m in zip(spec.shape, value.shape, strict=True)):
            raise HmcapError(
                f"{network} expects input {spec.name!r} of shape {spec.shape}, found {value.shape}. "
                "Resize the image, or add the batch axis, before running the network."
            )
        out[spec.name] = np.ascontiguousarray(value, spec.dtype)
    return out


def pick_outputs(outputs: tuple[int, ...] | None, count: int, network: str) -> tuple[int, ...]:
    """Positions of the outputs to compute, of a network that has ``count``.

    Raises :class:`HmcapError` where one is asked for that the network has not got.
    """
    if outputs is None:
        return tuple(range(count))
    if any(not 0 <= i < count for i in outputs):
        raise HmcapError(
            f"Expected {network} to have the outputs {list(outputs)} (counted from 0), found {count} outputs. "
            "Fetch the right file with: hmcap models fetch"
        )
    return outputs
