"""``disk``: a disk that is full, goes away or turns read-only while a capture writes to it; what the user then sees,
and what is left. Real file systems: a small one in memory, and one on a loop device that is made to fail."""

import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...engines.store import models_folder
from ...models.errors import HmcapError
from ...realtime.capture import export_take
from ...realtime.journal_reading import PART_SUFFIX, read_take
from ...realtime.take import SUFFIX
from .footage import stand_ins

_TIMEOUT_S = 600.0
_BEGUN_BYTES = 60_000
"""Size of the journal at which a fault comes."""
_LOOP_MB = 16


@dataclass(frozen=True, slots=True)
class Outcome:
    """One capture whose disk failed."""

    fault: str
    exit_code: int
    said: str
    """What the user saw last: the error, or the last line."""
    left: tuple[str, ...]
    """Files that are there, with their sizes."""
    frames: int
    """In the longest take among them."""
    exported: bool
    """Whether those takes could be exported elsewhere."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``disk``."""
    parser.add_argument("--video", default="sample", help="footage (default: the sample clip)")
    parser.add_argument("--stand-in", action="store_true", help="made-up footage and stages, no networks")
    parser.add_argument("--out", type=Path, help="JSON file for the outcomes")


def main(args: argparse.Namespace) -> int:
    """Run every fault that this system lets us bring about; 1 where frames are lost."""

    def command(folder: Path) -> list[str]:
        if args.stand_in:
            return [sys.executable, "-m", "hmcap.tools.faults.victim", str(folder), "4"]
        words = ["--video", args.video, "--motion", "solver", "--export", "bvh", "--out", str(folder)]
        return [sys.executable, "-m", "hmcap.realtime.cli", *words]

    outcomes: list[Outcome] = []
    for name, fault in FAULTS.items():
        try:
            with tempfile.TemporaryDirectory(prefix="hmcap-home-") as home:
                outcomes.append(fault(name, command, Path(home)))
        except HmcapError as error:
            print(f"{name}: not tried. {error}\n")
            continue
        print(_paragraph(outcomes[-1]), flush=True)
    if args.out is not None:
        args.out.write_text(json.dumps([dataclasses.asdict(one) for one in outcomes], indent=1) + "\n", "utf-8")
    return 0 if all(one.exported for one in outcomes) else 1


Command = Callable[[Path], Sequence[str]]


def full(name: str, command: Command, home: Path, size_kb: int = 256) -> Outcome:
    """A disk that has room for some of the take."""
    with memory_disk(size_kb) as folder:
        return _outcome(name, folder, home, _finish(_start(command(folder), home)))


def full_at_once(name: str, command: Command, home: Path) -> Outcome:
    """A disk without any room."""
    with memory_disk(64) as folder:
        with contextlib.suppress(OSError), (folder / "other").open("wb", buffering=0) as other:
            while other.write(bytes(4096)):
                pass
        return _outcome(name, folder, home, _finish(_start(command(folder), home)))


def removed(name: str, command: Command, home: Path) -> Outcome:
    """The folder is deleted while the capture writes to it."""
    with tempfile.TemporaryDirectory(prefix="hmcap-disk-") as above:
        folder = Path(above) / "takes"
        process = _start(command(folder), home)
        _wait_for_journal(folder, process)
        shutil.rmtree(folder)
        return _outcome(name, folder, home, _finish(process))


def read_only(name: str, command: Command, home: Path) -> Outcome:
    """The file system meets an error and turns read-only, as ext4 does on a failing disk."""
    with loop_disk() as folder:
        process = _start(command(folder), home)
        _wait_for_journal(folder, process)
        _system("mount", "-o", "remount,abort", str(folder))
        return _outcome(name, folder, home, _finish(process))


FAULTS: dict[str, Callable[[str, Command, Path], Outcome]] = {
    "disk full at the start": full_at_once,
    "disk full during the capture": full,
    "folder removed": removed,
    "disk turns read-only": read_only,
}
"""Name of each fault, and what brings it about; the folder is the home of the process that meets it."""


@contextlib.contextmanager
def memory_disk(size_kb: int) -> Iterator[Path]:
    """A small file system in memory. Raises HmcapError where this process may not mount one."""
    with tempfile.TemporaryDirectory(prefix="hmcap-disk-") as folder:
        _system("mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "tmpfs", folder)
        try:
            yield Path(folder)
        finally:
            _system("umount", "-l", folder)


@contextlib.contextmanager
def loop_disk() -> Iterator[Path]:
    """A small ext4 on a loop device. Raises HmcapError where this process may not mount one."""
    with tempfile.TemporaryDirectory(prefix="hmcap-disk-") as above:
        image, folder = Path(above) / "image", Path(above) / "disk"
        folder.mkdir()
        with image.open("wb") as file:
            file.truncate(_LOOP_MB << 20)
        _system("mkfs.ext4", "-q", "-F", str(image))
        _system("mount", "-o", "loop", str(image), str(folder))
        try:
            yield folder
        finally:
            _system("umount", "-l", str(folder))


def _system(*words: str) -> None:
    try:
        subprocess.run(words, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise HmcapError(f"Expected the program {words[0]}; it is not here. Run this on Linux.") from error
    except subprocess.CalledProcessError as error:
        raise HmcapError(
            f"Expected to be able to run {' '.join(words)}; it said: {error.stderr.strip()}. Run this as root, on a "
            "system that lets root mount."
        ) from error


def _start(command: Sequence[str], home: Path) -> "subprocess.Popen[str]":
    # What is fetched already stays where it is.
    environment = os.environ | {
        "COLUMNS": "500", "HOME": str(home), "USERPROFILE": str(home), "HMCAP_MODELS": str(models_folder()),
    }  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def _wait_for_journal(folder: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + _TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        # "ignore_errors" of its own: the file may get its name while we look.
        with contextlib.suppress(OSError):
            if any(path.stat().st_size > _BEGUN_BYTES for path in folder.glob(f"*{SUFFIX}{PART_SUFFIX}")):
                return
        time.sleep(0.02)


def _finish(process: "subprocess.Popen[str]") -> tuple[int, str]:
    try:
        out, err = process.communicate(timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
    lines = [line for line in (err or out).splitlines() if line.strip()]
    return process.returncode, " / ".join(lines[-3:])


def _outcome(fault: str, folder: Path, home: Path, ended: tuple[int, str]) -> Outcome:
    paths = [path for place in (folder, home) if place.is_dir() for path in sorted(place.iterdir()) if path.is_file()]
    left = tuple(f"{'~/' if path.parent == home else ''}{path.name} ({path.stat().st_size:,} bytes)" for path in paths)
    frames, exported = 0, True
    with tempfile.TemporaryDirectory(prefix="hmcap-disk-") as elsewhere:
        for path in paths:
            if not path.name.endswith((SUFFIX, SUFFIX + PART_SUFFIX)):
                continue
            copy = Path(elsewhere) / f"{path.parent.name}-{path.name}"
            shutil.copy(path, copy)
            try:
                frames = max(frames, len(read_take(copy).proxies))
                export_take(copy, to="csv", out=Path(elsewhere) / "out", solve=stand_ins().solve)
            except HmcapError:
                exported = False
    return Outcome(fault, *ended, left, frames, exported)


def _paragraph(one: Outcome) -> str:
    state = "opened and exported" if one.exported else "NOT EXPORTED"
    return (
        f"{one.fault}: exit {one.exit_code}; {one.frames} frames left, {state}\n"
        f"  files: {', '.join(one.left) or 'none'}\n  user sees: {one.said}\n"
    )
