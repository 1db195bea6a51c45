"""TensorRT and TensorRT-RTX: two packages with one interface, found, loaded, and asked what they can build for."""

import functools
import importlib
import importlib.util
import threading
from dataclasses import dataclass
from typing import Any

from ..models.errors import HmcapError, UsageError
from . import cuda


@dataclass(frozen=True, slots=True)
class Flavour:
    """One of the two."""

    name: str
    """Of the back end and of the package."""
    install: str
    """What to type to have it."""
    portable: bool
    """Whether it builds for GPUs that are not there, and compiles the rest when an engine is first run."""


FLAVOURS = {
    f.name: f
    for f in (
        Flavour("tensorrt", "pip install tensorrt-cu13", False),
        Flavour("tensorrt_rtx", "pip install 'hmcap[tensorrt]'", True),
    )
}
"""By name."""


@dataclass(frozen=True, slots=True)
class Library:
    """A loaded flavour. One for each process: the libraries accept a single logger."""

    flavour: Flavour
    module: Any
    """The package."""
    logger: Any
    messages: list[str]
    """What it complained of, the latest last; cleared by :meth:`complaints`."""
    lock: Any
    """Held while a build's or a load's messages are collected."""

    @property
    def version(self) -> str:
        """Of the package."""
        return str(self.module.__version__)

    @property
    def targets(self) -> dict[tuple[int, int], Any]:
        """Compute capabilities that it can name -> the library's value for each; empty: those of the GPU at hand."""
        kinds = getattr(self.module, "ComputeCapability", None)
        names = [n for n in dir(kinds) if n.startswith("SM") and n[2:].isdigit()] if self.flavour.portable else []
        return {(int(n[2:-1]), int(n[-1])): getattr(kinds, n) for n in names}

    def complaints(self) -> str:
        """The first thing it complained of since the last call, in one line; then forgets them all."""
        said = [" ".join(text.split()) for text in self.messages]
        self.messages.clear()
        return said[0].rstrip(".") if said else "it gives no reason"


def present(flavour: Flavour) -> bool:
    """Whether the package is installed (it is not loaded: that takes a moment and hundreds of megabytes)."""
    return importlib.util.find_spec(flavour.name) is not None


@functools.cache
def load(name: str) -> Library:
    """Load a flavour. Raises :class:`HmcapError` where it is not installed or does not load."""
    flavour = FLAVOURS[name]
    try:
        module = importlib.import_module(flavour.name)
    except (ImportError, OSError, RuntimeError) as error:
        raise HmcapError(
            f"Expected the Python package {flavour.name} for --engine {flavour.name}, but it does not load: {error}. "
            f"Install it with: {flavour.install}"
        ) from error
    messages: list[str] = []
    least = (module.ILogger.INTERNAL_ERROR, module.ILogger.ERROR)

    class Logger(module.ILogger):
        """Keeps errors for our messages, and everything off the screen."""

        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if severity in least:
                messages.append(msg)

    return Library(flavour, module, Logger(), messages, threading.RLock())


def unavailable(flavour: Flavour) -> str | None:
    """Why nothing can run on this machine with it, or None where a GPU and the package are there."""
    if not present(flavour):
        return f"the Python package {flavour.name} is not installed (to add it: {flavour.install})"
    try:
        found = cuda.gpus()
    except cuda.CudaError as error:
        return f"the GPU cannot be used: {error} (nvidia-smi shows whether the driver works)"
    return None if found else "the driver sees no GPU"


def parse_capability(text: str) -> tuple[int, int]:
    """``8.9`` (or ``89``, ``sm_89``) as numbers. Raises :class:`UsageError`."""
    digits = text.strip().lower().removeprefix("sm_").removeprefix("sm")
    major, dot, minor = digits.partition(".")
    if not dot and len(digits) >= 2:
        major, minor = digits[:-1], digits[-1]
    if not (major.isdecimal() and minor.isdecimal()):
        raise UsageError(
            f"--compute-capability takes numbers such as 8.9 (RTX 40) or 12.0 (RTX 50); found {text!r}. "
            "nvidia-smi --query-gpu=compute_cap --format=csv shows that of a GPU."
        )
    return int(major), int(minor)


def check_target(library: Library, capability: tuple[int, int]) -> Any:
    """The library's own value for a compute capability. Raises :class:`HmcapError` where it cannot build for that."""
    targets = library.targets
    if capability not in targets:
        offered = ", ".join(f"{a}.{b}" for a, b in sorted(targets))
        raise HmcapError(
            f"Expected a GPU of compute capability {offered} for {library.flavour.name} {library.version}, found "
            f"{capability[0]}.{capability[1]}. Use --engine tensorrt or --engine onnxruntime on that GPU."
        )
    return targets[capability]
