"""Every check of the repository, in the order of their cost: ``python -m hmcap.tools.check [pytest options]``.

Needs the ``dev`` extra and an editable install. Stops at the first check that fails, with its exit code.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    # Without it, basedpyright looks for the packages in another Python than this one.
    ("basedpyright", "--pythonpath", sys.executable),
    ("pytest", "-n", "auto", "--maxprocesses", "4"),
)


def main(pytest_options: Sequence[str] = ()) -> int:
    """Run all checks on the repository; ``pytest_options`` are handed to pytest. Returns the exit code."""
    if not (_ROOT / "tests").is_dir():
        print(
            f"Expected the repository's tests beside {_ROOT}, found an installed package. "
            'In a clone of the repository type: pip install -e ".[dev]" -c constraints.txt',
            file=sys.stderr,
        )
        return 2
    for name, *options in _CHECKS:
        is_tests = name == "pytest"
        print(f"== {' '.join([name, *options])}", flush=True)
        command = [sys.executable, "-m", name, *options, *(pytest_options if is_tests else ())]
        start = time.perf_counter()
        code = subprocess.run(command, cwd=_ROOT, stdin=subprocess.DEVNULL, check=False).returncode
        if code:
            print(f"{name} failed with exit code {code}", file=sys.stderr)
            return code
        if not is_tests:  # pytest ends with a line of its own that says so
            print(f"   {time.perf_counter() - start:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
