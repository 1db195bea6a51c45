"""The command line: ``python -m hmcap.tools.fuzz READER ... --seconds 60``, or ``--all``."""

import argparse
import importlib.util
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from .campaign import Result, fuzz
from .readers import READERS, outcome

_COLUMNS = ("reader", "executions", "exec/s", "coverage", "crashes", "slow", "memory")


def main(argv: Sequence[str] | None = None) -> int:
    """Fuzz the readers that are named; 0 where nothing was found, 1 where something was, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m hmcap.tools.fuzz", description=__doc__)
    parser.add_argument("readers", metavar="READER", nargs="*", help=f"which: {', '.join(READERS)}")
    parser.add_argument("--all", action="store_true", help="every reader")
    parser.add_argument("--seconds", type=int, default=60, help="for each reader (60)")
    parser.add_argument("--seed", type=int, default=1, help="of the random changes (1)")
    parser.add_argument("--out", type=Path, default=Path("fuzz-results"), help="folder of what is found and learnt")
    parser.add_argument("--replay", type=Path, nargs="+", metavar="FILE", help="read these files with one reader again")
    options = parser.parse_args(argv)
    names = list(READERS) if options.all else options.readers
    unknown = [name for name in names if name not in READERS]
    if unknown or not names:
        parser.error(f"expected some of {', '.join(READERS)}, or --all; found {', '.join(unknown) or 'none'}")
    if options.replay:
        return _replay(names[0], options.replay)
    if importlib.util.find_spec("atheris") is None:
        parser.error(
            "expected the package atheris, found none. On Linux with Python 3.11 to 3.13: pip install atheris==3.0.0"
        )
    results: list[Result] = []
    print(_line(_COLUMNS))
    for name in names:
        results.append(fuzz(name, options.out.resolve() / name, options.seconds, options.seed))
        print(_line(results[-1].row()), flush=True)
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "results.json").write_text(json.dumps([asdict(r) for r in results], indent=1) + "\n")
    found = [f for r in results for f in r.findings]
    for result in results:
        for finding in result.findings:
            print(f"{result.reader}: {finding['kind']}: {finding['where']} ({result.folder}/found/{finding['file']})")
    print(f"{len(results)} readers, {sum(r.executions for r in results):,} executions, {len(found)} findings")
    return 1 if found else 0


def _line(cells: Sequence[object]) -> str:
    first, *rest = (f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells)
    return f"{first:<18}" + "".join(f"{cell:>12}" for cell in rest)


def _replay(name: str, files: Sequence[Path]) -> int:
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for path in files:
            finding = outcome(READERS[name], path.read_bytes(), Path(folder))
            bad += finding is not None
            print(f"{path}: {'as it should be' if finding is None else f'{finding.kind}: {finding.where}'}")
            if finding is not None:
                print(finding.detail)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
