"""``hmcap doctor`` and the table of ``hmcap models list``."""

import platform
import shutil
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import av
from av.codec import codecs_available
from rich.console import Console
from rich.table import Table

from ..engines import cuda, engine_cache, registry
from ..engines.backends import available
from ..engines.landmarks.opening import DEFAULT_MODELS, FACE_MODELS
from ..engines.store import models_folder
from ..engines.tensorrt_library import FLAVOURS, load, present, unavailable
from ..models.body import load_body
from ..models.errors import HmcapError
from .exporters import EXPORTERS
from .machine import cores, processor_name
from .overlay import open_renderer
from .progress import open_console
from .screen import why_no_screen
from .sources_webcam import working_cameras

_ORT_BUILDS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml")
_PACKAGES = ("numpy", "scipy", "av", "opencv-python-headless", "opencv-python", "openvino", *_ORT_BUILDS, "moderngl")
_LOW_DISK_BYTES = 500 << 20


def models_table(console: Console | None = None) -> None:
    """Print every published and added file with its licence, size, checksum, state and origin."""
    console = console or open_console()
    table = Table(box=None, pad_edge=False)
    for column in ("name", "state", "MB", "licence", "sha256", "from", "role"):
        table.add_column(
            column, no_wrap=column in ("name", "state", "MB"), justify="right" if column == "MB" else "left"
        )
    for model in registry.list_models():
        size = f"{model.size / 1e6:.1f}"
        table.add_row(model.name, model.state, size, model.licence, model.sha256[:12], model.source, model.role)
    console.print(table)
    console.print(f"folder: {models_folder()}", markup=False, soft_wrap=True)


def examine(console: Console | None = None) -> int:
    """Print what this machine offers and lacks. Returns 0 when a video can be captured, 1 otherwise."""
    console = console or open_console()
    checks = [
        _python(),
        ("ok", "processor", f"{processor_name()}, {cores()} cores"),
        _packages(),
        *_engines(),
        _models(),
        _body(),
        _video(),
        _overlay(),
        *_formats(),
        _webcams(),
        _window(),
        _disk(),
    ]
    table = Table(box=None, pad_edge=False, show_header=False)
    for state, name, text in checks:
        colour = {"ok": "green", "note": "yellow", "missing": "red"}[state]
        table.add_row(f"[{colour}]{state}[/]", name, text.replace("[", r"\["))
    console.print(table)
    missing = [name for state, name, _ in checks if state == "missing"]
    if missing:
        console.print(f"Missing: {', '.join(missing)}. What to type stands beside each.")
        return 1
    console.print("Ready. Try: hmcap --video sample --export bvh,npz --overlay sample_overlay.mp4")
    return 0


Check = tuple[str, str, str]
"""State (ok, note, missing), name, text."""


def _python() -> Check:
    return (
        "ok",
        "python",
        f"{platform.python_version()} on {platform.platform()} ({platform.machine()}), {sys.executable}",
    )


def _installed(names: Iterable[str]) -> dict[str, str]:
    """Name -> version of those packages that are there."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            # Alternatives and extras: what is really needed is checked by use, below.
            continue
    return found


def _packages() -> Check:
    return "ok", "packages", ", ".join(f"{name} {number}" for name, number in _installed(_PACKAGES).items())


def _engines() -> list[Check]:
    checks: list[Check] = []
    for name, devices in available().items():
        if name in FLAVOURS:
            checks.append(_tensorrt(name, devices))
            continue
        text = ", ".join(devices) if devices else f"not installed (pip install {name})"
        checks.append(("ok" if devices else "note", f"engine {name}", text))
    checks += _engine_cache()
    builds = list(_installed(_ORT_BUILDS))
    if len(builds) > 1:
        checks.append((
            "note", "engine builds",
            f"{' and '.join(builds)} fill the same folder: the one installed last is the one that runs. "
            f"To choose: pip install --force-reinstall --no-deps {builds[-1]}",
        ))  # fmt: skip
    if not any(devices for devices in available().values()):
        checks.append(("missing", "engine", "no engine at all: pip install --force-reinstall hmcap"))
    return checks


def _tensorrt(name: str, devices: tuple[str, ...]) -> Check:
    flavour = FLAVOURS[name]
    if not present(flavour):
        return "note", f"engine {name}", f"not installed ({flavour.install})"
    try:
        number = load(name).version
    except HmcapError as error:
        return "note", f"engine {name}", str(error)
    if not devices:
        return "note", f"engine {name}", f"{number}, but {unavailable(flavour)}"
    gpus = "; ".join(
        f"{device}: {gpu.name}, compute capability {gpu.compute_capability[0]}.{gpu.compute_capability[1]}"
        for device, gpu in zip(devices, cuda.gpus(), strict=True)
    )
    return "ok", f"engine {name}", f"{number}, driver for CUDA {cuda.gpus()[0].driver}; {gpus}"


def _engine_cache() -> list[Check]:
    """Where built engines lie; nothing to say where there are none and nothing builds any."""
    found = engine_cache.entries()
    if not found and not any(present(flavour) for flavour in FLAVOURS.values()):
        return []
    size = sum(size for _, size in found) / 1e6
    return [("ok", "built engines", f"{len(found)} ({size:.0f} MB) in {engine_cache.folder()}")]


def _models() -> Check:
    try:
        states = {m.name: m.state for m in registry.list_models()}
    except HmcapError as error:
        return "missing", "networks", str(error)
    absent = [name for name in DEFAULT_MODELS.values() if states.get(name) != "ready"]
    if absent:
        return "note", "networks", f"{', '.join(absent)} fetched on first use, or now: hmcap models fetch"
    face = all(states.get(name) == "ready" for name in FACE_MODELS.values())
    return "ok", "networks", f"all in {models_folder()}" + ("" if face else "; those of --face fetched on first use")


def _body() -> Check:
    try:
        body = load_body()
    except HmcapError as error:
        return "missing", "body", str(error)
    return "ok", "body", f"built-in, {body.v_template.shape[0]} vertices, {body.num_betas} shape components"


def _video() -> Check:
    wanted = [c for c in ("h264", "hevc", "vp9", "av1") if c in codecs_available]
    encoder = "libx264" if "libx264" in codecs_available else "mpeg4"
    return "ok", "video", f"PyAV {av.__version__} reads {', '.join(wanted)}; writes {encoder}"


def _overlay() -> Check:
    try:
        renderer = open_renderer("auto")
    except HmcapError as error:
        return "note", "overlay", str(error)
    text = renderer.description
    renderer.close()
    return "ok", "overlay", text


def _formats() -> list[Check]:
    """All formats that can be written here in one line; one more for each that needs something."""
    ready: list[str] = []
    checks: list[Check] = []
    for name, exporter in EXPORTERS.items():
        try:
            exporter.check()
            ready.append(name)
        except HmcapError as error:
            checks.append(("note", f"export {name}", str(error)))
    return [("ok", "export", ", ".join(ready)), *checks]


def _webcams() -> Check:
    found = working_cameras()
    if not found:
        return "note", "webcams", "none opens here; files and streams work: hmcap --video FILE"
    return "ok", "webcams", f"{', '.join(map(str, found))} (try: hmcap --webcam {found[0]})"


def _window() -> Check:
    reason = why_no_screen()
    if not reason:
        return "ok", "live window", "opens here"
    return "note", "live window", f"none: {reason}. hmcap --webcam 0 shows a page in the browser instead"


def _disk() -> Check:
    folder = models_folder()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    here = shutil.disk_usage(Path.cwd()).free
    text = f"{free / 1e9:.1f} GB free for networks, {here / 1e9:.1f} GB in this folder"
    return ("ok" if min(free, here) > _LOW_DISK_BYTES else "note"), "disk", text
