"""What the repository promises outside the code: the README's commands, versions, licences, and the check itself."""

import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
from hmcap.realtime.parsers import capture_parser, export_parser
from hmcap.tools import check

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
RUN = (
    "python -m venv .venv && .venv/bin/pip install -e . -c constraints.txt && "
    ".venv/bin/hmcap --video sample --export bvh,npz --overlay sample_overlay.mp4"
)
CHECK = (
    'python -m venv .venv && .venv/bin/pip install -e ".[dev]" -c constraints.txt && '
    ".venv/bin/python -m hmcap.tools.check"
)


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _project() -> dict:
    return tomllib.loads(_text("pyproject.toml"))["project"]


@pytest.mark.parametrize("command", [RUN, CHECK], ids=["run", "check"])
def test_readme_has_the_command_on_a_line_of_its_own(command):
    assert [line.strip() for line in _text("README.md").splitlines()].count(command) == 1


def test_the_readmes_first_command_is_one_the_program_takes():
    words = shlex.split(RUN.rpartition("&& ")[2])
    assert Path(words[0]).name in _project()["scripts"]
    options = capture_parser().parse_args(words[1:])
    assert (options.video, options.overlay) == ("sample", "sample_overlay.mp4")


def _bash() -> str:
    bash = shutil.which("bash")
    if sys.platform == "win32" or bash is None:
        pytest.skip("needs a POSIX bash")
    return bash


def _ci(tmp_path: Path, readme: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the script in a made-up clone whose ``pip`` and ``python`` only say what they were asked."""
    bash = _bash()
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci/run")
    (tmp_path / "README.md").write_text(readme, encoding="utf-8")
    for name, result in {"bin/python": 0, ".venv/bin/pip": 0, ".venv/bin/python": code}.items():
        script = tmp_path / name
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(f'#!/bin/sh\necho "{name} $*"\nexit {result}\n', encoding="utf-8")
        script.chmod(0o755)
    return subprocess.run(
        [bash, str(tmp_path / ".ci/run")], cwd="/", text=True, capture_output=True, check=False,
        env={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"},
    )  # fmt: skip


@pytest.mark.parametrize("code", [0, 3])
def test_ci_runs_the_readmes_command_and_passes_its_exit_code_on(tmp_path, code):
    result = _ci(tmp_path, f"# Title\n\n    {RUN}\n    {CHECK}\n", code)
    assert result.returncode == code, result.stderr
    assert result.stdout.splitlines()[1:] == [
        "bin/python -m venv .venv", ".venv/bin/pip install -e .[dev] -c constraints.txt",
        ".venv/bin/python -m hmcap.tools.check",
    ]  # fmt: skip


def test_ci_fails_when_the_readme_names_no_command(tmp_path):
    result = _ci(tmp_path, f"# Title\n\n    {RUN}\n")
    assert result.returncode == 1
    assert "found: none" in result.stderr


def test_check_stops_at_the_first_failure(monkeypatch):
    ran = []

    def run(command, **_):
        ran.append(command[2])
        return SimpleNamespace(returncode=4 if command[2] == "basedpyright" else 0)

    monkeypatch.setattr(subprocess, "run", run)
    assert check.main() == 4
    assert ran == ["ruff", "ruff", "basedpyright"]


def test_check_hands_options_to_pytest_alone(monkeypatch):
    ran = []
    monkeypatch.setattr(subprocess, "run", lambda c, **_: ran.append(c[2:]) or SimpleNamespace(returncode=0))
    assert check.main(["-m", "not network"]) == 0
    assert [c[0] for c in ran if "not network" in c] == ["pytest"]
    assert ran[-1][-2:] == ["-m", "not network"]


def test_check_of_an_installed_package_says_where_to_go(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(check, "_ROOT", tmp_path)
    assert check.main() == 2
    assert "pip install -e" in capsys.readouterr().err


def test_changelog_starts_with_this_version():
    versions = re.findall(r"^## \[?(\d+\.\d+\.\d+)", _text("CHANGELOG.md"), re.MULTILINE)
    assert versions[0] == _project()["version"] == metadata("hmcap")["Version"]


def test_every_dependency_and_shipped_data_file_has_its_licence_named():
    listed = _text("THIRD_PARTY.md")
    names = [re.split(r"[^\w-]", requirement)[0] for requirement in _project()["dependencies"]]
    assert [n for n in names if f"| `{n}` |" not in listed] == []
    data = [p for part in ("models", "tools") for p in (ROOT / part).rglob("*.*") if p.suffix in (".npz", ".onnx")]
    shipped = [p.relative_to(ROOT).as_posix() for p in data]
    assert shipped
    assert [p for p in shipped if f"`{p}`" not in listed] == []


def test_constraints_and_extras_agree_on_torch():
    (pinned,) = _text("constraints.txt").split()
    extras = _project()["optional-dependencies"]
    assert {r for group in extras.values() for r in group if r.startswith("torch")} == {pinned}


def test_pages_for_other_programs_are_listed_and_show_commands_that_the_program_takes():
    folder = ROOT / "docs" / "destinations"
    listed = (folder / "README.md").read_text(encoding="utf-8")
    pages = sorted(folder.glob("*.md"))
    assert len(pages) > 8
    commands = []
    for page in pages:
        assert page.name == "README.md" or f"({page.name})" in listed, f"{page.name} is not on the list"
        text = page.read_text(encoding="utf-8")
        commands += [line.strip().split("  ")[0] for line in text.splitlines() if line.startswith("    hmcap ")]
        commands += [line for line in re.findall(r"`(hmcap [^`]+)`", text) if "..." not in line]
    assert len(commands) > 15
    for command in commands:
        words = shlex.split(command)[1:]
        if words[0] == "export":
            export_parser().parse_args(words[1:])
        else:
            options = capture_parser().parse_args(words)
            assert "webcam" in options or "fps" not in options, f"{command}: a video file has a rate of its own"
