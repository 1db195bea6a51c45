"""Fuzzing of one reader in a process of its own, started by ``campaign``: ``one READER FOLDER SECONDS SEED WORK``.

Crashes of Python are caught, written down and passed over; what kills the process is seen from outside.
"""

import hashlib
import importlib
import json
import random
import resource
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

atheris: Any = importlib.import_module("atheris")  # has no types

with atheris.instrument_imports(include=["hmcap", "mcap"]):
    from .readers import READERS, Finding, outcome

MOST_BYTES = 512 << 20
"""Memory that one input may take, beside what the process has."""
LONGEST_INPUT = 1 << 16
HANG_S = 20


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    name, folder, seconds, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    reader = READERS[name]
    corpus, found = folder / "corpus", folder / "found"
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(exist_ok=True)
    longest = LONGEST_INPUT
    for number, data in enumerate(reader.seeds()):
        (corpus / f"seed-{number}").write_bytes(data)
        longest = max(longest, 2 * len(data))
    options = [
        f"-max_total_time={seconds}", f"-timeout={HANG_S}", "-rss_limit_mb=0", f"-artifact_prefix={found}/",
        f"-max_len={longest}", f"-seed={seed}", "-print_final_stats=1", "-len_control=0",
    ]  # fmt: skip
    if reader.words:
        lines = ('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in reader.words)
        (folder / "words").write_text("".join(lines))
        options.append(f"-dict={folder / 'words'}")
    work = Path(sys.argv[5])
    seen: set[str] = set()
    state = {"limited": False, "peak": 0}

    def keep(finding: Finding, data: bytes) -> None:
        key = f"{finding.kind} {finding.where}"
        if key in seen:
            return
        seen.add(key)
        digest = hashlib.sha256(data).hexdigest()[:12]
        (found / f"{finding.kind}-{digest}").write_bytes(data)
        line = asdict(finding) | {"file": f"{finding.kind}-{digest}"}
        with (folder / "findings.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def one(data: bytes) -> None:
        if not state["limited"]:
            # Once everything is loaded. What asks for more at once fails here, as it would on a small machine.
            state["limited"], state["peak"] = True, _peak()
            size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (size + 2 * MOST_BYTES, resource.RLIM_INFINITY))
        finding = outcome(reader, data, work)
        if finding is None and _peak() - state["peak"] > MOST_BYTES:
            finding = Finding("memory", name, f"{(_peak() - state['peak']) >> 20} MiB for {len(data)} bytes")
            state["peak"] = _peak()
        if finding is not None:
            keep(finding, data)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)  # noqa: S311  # no secret
        if reader.mutate is not None and rng.random() < 0.8:
            try:
                made = reader.mutate(data, lambda part: atheris.Mutate(part, max(len(part) + 64, 8)), rng)
            except (ValueError, LookupError, RecursionError):
                made = b""
            except Exception:  # the library that reads the format refuses what it is given
                made = b""
            if made and len(made) <= most:
                return made
        return atheris.Mutate(data, most)

    extra: dict[str, Any] = {"custom_mutator": mutate} if reader.mutate is not None else {}
    atheris.Setup([sys.argv[0], *options, str(corpus)], one, **extra)
    atheris.Fuzz()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
