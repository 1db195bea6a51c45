"""FBX, through a Blender of the user's own that runs as another process on our GLB. Y up, centimetres.

No free library writes FBX. Blender is never imported here: hmcap starts it, hands it a file and takes one back.
"""

import math
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from ...models.errors import HmcapError
from .files import atomic_path
from .prepare import Prepared
from .skinned import Skinned, make_skinned

VARIABLE = "HMCAP_BLENDER"
"""Environment variable with the path of Blender, or of a Python that has the package ``bpy``."""
CM_PER_M = 100.0
_SCRIPT = Path(__file__).with_name("blender_fbx.py")
_START_S = 120.0
"""Time that Blender may take to start, import and export, less that of the frames."""
_FRAME_S = 0.25
_SAID_LINES = 6
"""How much of what a failed Blender said is shown."""
R_SWAP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""(3, 3) undoes what Blender's glTF import does to axes, (x, y, z) -> (x, -z, y)."""
_HOW = (
    "Install Blender (blender.org), or put it into a Python of its own, which has to be the version that bpy asks for: "
    'python3.11 -m venv blender-env && blender-env/bin/pip install bpy "numpy<2" - and name it: '
    f"export {VARIABLE}=$PWD/blender-env/bin/python (Windows: set {VARIABLE}=...\\Scripts\\python.exe)."
)


@dataclass(frozen=True, slots=True)
class Blender:
    """A Blender that answered."""

    command: tuple[str, ...]
    """What comes before the script's name."""
    version: str
    """What it calls itself, such as ``Blender 5.0.1``."""


def find_blender() -> Blender:
    """The Blender that HMCAP_BLENDER names; where that is not set, the first on PATH or in the usual places.

    Raises:
        HmcapError: there is none, or it does not start; says what to type.
    """
    named = os.environ.get(VARIABLE, "").strip()
    if named:
        return _asked(str(Path(named).expanduser()), f"{VARIABLE} names {named}")
    for path in (shutil.which("blender"), *_usual_places()):
        if path:
            return _asked(path, f"{path} is there")
    raise HmcapError(
        f"Expected Blender for --export fbx; found none: {VARIABLE} is not set, there is no 'blender' on PATH and none "
        f"in the usual places. {_HOW}"
    )


def check() -> None:
    """Raises HmcapError where no Blender is to be found or it does not start."""
    find_blender()


def in_blenders_axes(skinned: Skinned) -> Skinned:
    """The person in centimetres, turned so that Blender holds Y up after its glTF import has swapped the axes."""

    def turn(xyz: np.ndarray) -> np.ndarray:
        return (xyz @ R_SWAP.T).astype(xyz.dtype)

    scaled = skinned.scaled(CM_PER_M)
    # All rest rotations are identity, before and after: each turn keeps its angle, its axis turns along.
    quaternions = np.concatenate((turn(skinned.quaternions_xyzw[..., :3]), skinned.quaternions_xyzw[..., 3:]), axis=-1)
    lengths = ("offsets_m", "rest_m", "vertices_m", "normals", "root_m", "positions_m")
    return replace(
        scaled,
        quaternions_xyzw=quaternions,
        shapes=tuple(replace(shape, offsets_m=turn(shape.offsets_m)) for shape in scaled.shapes),
        **{name: turn(getattr(scaled, name)) for name in lengths},
    )


def save_fbx(skinned: Skinned, path: str | Path) -> None:
    """Write FBX to ``path``, whole or not at all.

    Raises:
        HmcapError: there is no Blender, it failed or took too long, or the file cannot be written.
    """
    from .glb import save_glb, skinned_to_gltf

    blender = find_blender()
    with tempfile.TemporaryDirectory(prefix="hmcap-fbx-", ignore_cleanup_errors=True) as folder:
        glb, fbx = Path(folder, "person.glb"), Path(folder, "person.fbx")
        whole_fps = max(1, math.ceil(skinned.fps))
        save_glb(skinned_to_gltf(replace(in_blenders_axes(skinned), fps=float(whole_fps))), glb)
        # A name is data: it is one argument of its own, and control characters are of no use in it.
        name = "".join(c for c in skinned.name if c.isprintable()) or "take"
        limit_s = _START_S + _FRAME_S * len(skinned)
        rates = (str(whole_fps), repr(float(skinned.fps)))
        command = [*blender.command, str(_SCRIPT), "--", str(glb), str(fbx), *rates, name]
        result = _run(command, blender.version, limit_s)
        if result.returncode or not fbx.is_file():
            raise HmcapError(
                f"Expected {blender.version} to write an FBX, but it ended with code {result.returncode}"
                f"{'' if fbx.is_file() else ' and left no file'}: {_last_lines(result)} Try another Blender (5.0 is "
                f"known to work), named by {VARIABLE}; the same motion as GLB needs none: --export glb."
            )
        with atomic_path(path) as part:
            shutil.copyfile(fbx, part)


def _usual_places() -> list[str]:
    home = Path.home()
    if sys.platform == "darwin":
        found = [
            folder / "Blender.app/Contents/MacOS/Blender" for folder in (Path("/Applications"), home / "Applications")
        ]
    elif sys.platform == "win32":
        programs = Path(os.environ.get("PROGRAMFILES", r"C:\Program Files"), "Blender Foundation")
        found = sorted(programs.glob("Blender */blender.exe"), reverse=True)
    else:
        found = [Path("/snap/bin/blender")]
        for folder in (Path("/opt"), home, home / "Applications"):
            found += sorted(folder.glob("blender*/blender"), reverse=True)
    return [str(path) for path in found if path.is_file()]


@lru_cache(maxsize=4)
def _asked(path: str, found: str) -> Blender:
    """The Blender at ``path``, after it has said who it is."""
    if not Path(path).is_file():
        raise HmcapError(f"Expected Blender for --export fbx; {found}, where there is no file. {_HOW}")
    said = _run([path, "--version"], path, _START_S)
    words = said.stdout.split()
    if said.returncode == 0 and words[:1] == ["Blender"]:
        options = ("--background", "--factory-startup", "--python-exit-code", "1", "--python")
        return Blender((path, *options), " ".join(words[:2]))
    if said.returncode == 0 and words[:1] == ["Python"]:
        said = _run([path, "-c", "import bpy; print('Blender', bpy.app.version_string)"], path, _START_S)
        if said.returncode == 0:
            return Blender((path,), said.stdout.strip().splitlines()[-1])
        raise HmcapError(
            f"Expected a Python with the package bpy; {found}, and bpy does not load there: {_last_lines(said)} {_HOW}"
        )
    raise HmcapError(f"Expected Blender or a Python with bpy; {found}, which is neither: {_last_lines(said)} {_HOW}")


def _run(command: list[str], name: str, limit_s: float) -> subprocess.CompletedProcess[str]:
    # Our own Python's search path is of no use to another one.
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, encoding="utf-8", errors="replace",
            env=environment, timeout=limit_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise HmcapError(
            f"Expected {name} to be done within {limit_s:.0f} s; it was stopped. Look whether it starts by hand, or "
            "write another format: --export glb."
        ) from error
    except OSError as error:
        raise HmcapError(
            f"Expected to be able to start {name}; the system said: {error.strerror or error}. {_HOW}"
        ) from error


def _last_lines(result: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (result.stderr.strip() or result.stdout.strip()).splitlines() if line.strip()]
    return f"{' | '.join(lines[-_SAID_LINES:])}." if lines else "it said nothing."


def export(ready: Prepared, path: Path) -> None:
    """Write a take's motion as FBX. Raises HmcapError where Blender is missing or fails, a number is not finite or the
    file cannot be written."""
    save_fbx(make_skinned(ready), path)
