"""What the whole suite shares: one thread for BLAS, and one download of the published files."""

import os
import time
from pathlib import Path

# Before numpy loads. The arrays here are small, and threads of BLAS in several workers only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hmcap.engines import registry
from hmcap.models.errors import HmcapError

_WAIT_S = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test with the ``network`` marker starts with the published files in place."""
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("network"):
            # First, so that it is set up before the test's own fixtures, which may need the files.
            item.fixturenames[:] = ["published_files", *(n for n in item.fixturenames if n != "published_files")]


@pytest.fixture(scope="session")
def published_files(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> None:
    """All networks and the sample clip in the user's models folder: each wheel is downloaded once, or not at all.

    Asking the registry for one network at a time would download their wheel for each, and in each worker.
    """
    names = [*(weight.name for weight in registry.networks()), "sample"]
    if not hasattr(request.config, "workerinput"):
        registry.fetch(names)
        return
    # The workers of one run share the parent of their temporary folders: the first here downloads for all.
    shared = tmp_path_factory.getbasetemp().parent
    outcome = shared / "published-files.txt"
    try:
        (shared / "published-files.lock").mkdir()
    except FileExistsError:
        _wait_for(outcome)
    else:
        _fetch_and_tell(names, outcome)
    if reason := outcome.read_text(encoding="utf-8"):
        pytest.fail(reason, pytrace=False)


def _fetch_and_tell(names: list[str], outcome: Path) -> None:
    reason = "the worker that downloads the published files was stopped"
    try:
        registry.fetch(names)
        reason = ""
    except HmcapError as error:
        reason = str(error)
    finally:
        partial = outcome.with_suffix(".partial")
        partial.write_text(reason, encoding="utf-8")
        partial.replace(outcome)


def _wait_for(outcome: Path) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not outcome.exists():
        if time.monotonic() > deadline:
            pytest.fail(f"another worker did not finish downloading the published files in {_WAIT_S} s", pytrace=False)
        time.sleep(0.2)


@pytest.fixture(scope="module")
def gl():
    """A renderer on OpenGL; a test that asks for it is skipped where there is none."""
    from hmcap.realtime.overlay.gl import GLRenderer, NoGLError

    try:
        renderer = GLRenderer()
    except NoGLError as err:
        pytest.skip(f"no GL context on this machine: {err}")
    yield renderer
    renderer.close()
