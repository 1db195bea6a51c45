"""Calls that must not stand in the code. Most of it is the work of ruff's security rules ("S" in pyproject.toml: pickle
and its kin, eval, exec, yaml.load, shells, mktemp, archives unpacked whole); here is what they do not look for."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(p for part in ("realtime", "engines", "models", "tools") for p in (ROOT / part).rglob("*.py"))
WRITES_WHAT_IS_REFUSED = ROOT / "tools" / "fuzz" / "seeds.py"
FILES.remove(WRITES_WHAT_IS_REFUSED)


def faults(text: str) -> list[str]:
    """What is wrong with the calls in a module's text."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        called, options = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
        if called in ("np.load", "numpy.load") and options.get("allow_pickle") != "False":
            found.append(f"line {node.lineno}: {called} without allow_pickle=False")
        if called in ("np.save", "numpy.save") and options.get("allow_pickle", "False") != "False":
            found.append(f"line {node.lineno}: {called} may write pickles")
        if called == "torch.load" and options.get("weights_only") != "True":
            found.append(f"line {node.lineno}: torch.load without weights_only=True")
        if called.rpartition(".")[2] in ("extractall", "unpack_archive"):
            found.append(f"line {node.lineno}: {called}")
        if called in ("joblib.load", "pd.read_pickle", "compile", "__import__"):
            found.append(f"line {node.lineno}: {called}")
        if called.endswith(("urlopen", "urlretrieve")) or called.startswith(("requests.", "httpx.")):
            found.append(f"line {node.lineno}: {called}: downloads go through the user's pip")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_call_that_may_run_what_is_in_a_file(path):
    assert faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        "np.load(f)", "np.load(f, allow_pickle=True)", "torch.load(f)", "torch.load(f, weights_only=False)",
        "zip.extractall()", "shutil.unpack_archive(f)", "joblib.load(f)", "urllib.request.urlopen(u)",
    ],
)  # fmt: skip
def test_the_guard_sees_what_it_is_for(text):
    assert faults(text)


@pytest.mark.parametrize(
    "text",
    [
        "import pickle\npickle.loads(b'')", "import marshal\nmarshal.loads(b'')", "import shelve\nshelve.open('a')",
        "import dill\ndill.loads(b'')", "eval('1')", "exec('1')", "import yaml\nyaml.load('')",
        "import subprocess\nsubprocess.run('a', shell=True)", "import os\nos.system('a')",
        "import tempfile\ntempfile.mktemp()", "import tarfile\ntarfile.open('a').extractall()",
    ],
)  # fmt: skip
def test_the_security_rules_of_ruff_are_on(text):
    ruff = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--output-format",
        "concise",
        "--stdin-filename",
        str(ROOT / "realtime" / "x.py"),
        "-",
    ]
    asked = subprocess.run(ruff, input=text, capture_output=True, text=True, check=False, cwd=ROOT)
    assert re.search(r": S\d{3} ", asked.stdout), asked.stdout
