"""Fuzzing of one reader from outside: starts the process, starts it again where an input killed it, and counts."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

_PROGRESS = re.compile(r"^#(\d+)\s+\S+\s+cov: (\d+)", re.MULTILINE)
_UNITS = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_KILLED = {"crash": "native", "leak": "native", "timeout": "hang", "oom": "memory"}
"""What libFuzzer calls the file of an input that ended the process, and what it means here."""
_GRACE_S = 900
"""Loading everything takes a while where the machine is busy."""


@dataclass(frozen=True, slots=True)
class Result:
    """What fuzzing one reader gave."""

    reader: str
    executions: int
    seconds: float
    coverage: int
    """Edges of Python code that were reached."""
    folder: str
    """With ``found/``, the inputs, ``corpus/``, from which the next run goes on, and ``log``."""
    findings: list[dict[str, str]] = field(default_factory=list)
    """kind, where, detail and file of each, one for a place in the code."""

    def row(self) -> tuple[object, ...]:
        """Cells of the table."""
        kinds = [f["kind"] for f in self.findings]
        slow, memory = kinds.count("slow") + kinds.count("hang"), kinds.count("memory")
        rate = round(self.executions / max(self.seconds, 1e-9))
        return self.reader, self.executions, rate, self.coverage, len(kinds) - slow - memory, slow, memory


def fuzz(reader: str, folder: Path, seconds: int, seed: int) -> Result:
    """Fuzz a reader for so many seconds. What earlier runs left in ``folder`` is where it begins; their findings are
    cleared away."""
    (folder / "found").mkdir(parents=True, exist_ok=True)
    for old in (folder / "found").iterdir():
        old.unlink()
    lines = folder / "findings.jsonl"
    lines.unlink(missing_ok=True)
    start, executions, coverage, killed = time.monotonic(), 0, 0, []
    while (left := round(seconds - (time.monotonic() - start))) >= 1:
        text, died = _run(reader, folder, left, seed + len(killed))
        seen = _PROGRESS.findall(text)
        total = _UNITS.search(text)
        executions += int(total[1]) if total else int(seen[-1][0]) if seen else 0
        coverage = max([coverage, *(int(edges) for _, edges in seen)])
        known = {k["file"] for k in killed}
        for path in sorted((folder / "found").iterdir()):
            kind = _KILLED.get(path.name.partition("-")[0])
            # Ours carry a shorter name.
            if kind is not None and len(path.name.rpartition("-")[2]) == 40 and path.name not in known:
                killed.append({"kind": kind, "where": _last_words(text), "detail": text[-2000:], "file": path.name})
        if not died:
            break
        if not seen:
            raise RuntimeError(f"the fuzzing of {reader} did not begin; its last words: {text[-3000:]}")
    caught = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    once = {(f["kind"], f["where"]): f for f in (*caught, *killed)}
    return Result(reader, executions, time.monotonic() - start, coverage, str(folder), list(once.values()))


def _run(reader: str, folder: Path, seconds: int, seed: int) -> tuple[str, bool]:
    """Everything the process said, and whether it ended before its time."""
    log = folder / "log"
    # In memory where there is such a place: most readers take a path.
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else folder  # noqa: S108  # a folder of its own is made there
    with tempfile.TemporaryDirectory(prefix="hmcap-fuzz-", dir=place, ignore_cleanup_errors=True) as work:
        code = _code_of(reader, folder, seconds, seed, work, log)
    return log.read_text("utf-8", "replace"), code != 0


def _code_of(reader: str, folder: Path, seconds: int, seed: int, work: str, log: Path) -> int:
    """Exit code of the process, which writes what it says to ``log``."""
    command = [sys.executable, "-m", "hmcap.tools.fuzz.one", reader, str(folder), str(seconds), str(seed), work]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file, env=environment
        )
        try:
            code = process.wait(seconds + _GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = -9
        except BaseException:
            process.kill()
            process.wait()
            raise
    return code


def _last_words(text: str) -> str:
    errors = [line.strip() for line in text.splitlines() if "ERROR:" in line or "SUMMARY:" in line]
    return errors[-1][:150] if errors else "the process ended"
