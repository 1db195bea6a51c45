"""OpenSim itself reads what we write. Needs a Python with the package ``opensim``, named by HMCAP_OPENSIM_PYTHON."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hmcap.models.skeleton import JOINT_NAMES
from hmcap.realtime.exporters import EXPORTERS, ExportOptions, prepare
from hmcap.realtime.exporters.markers import MARKER_NAMES, take_markers_m

sys.path.insert(0, str(Path(__file__).parent.parent))
from test_exporters import FPS, make_take

PYTHON = os.environ.get("HMCAP_OPENSIM_PYTHON", "")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not PYTHON, reason="HMCAP_OPENSIM_PYTHON names no Python that has the package opensim"),
]


def ask_opensim(folder: Path, *arguments: str) -> dict[str, np.ndarray]:
    script = Path(__file__).with_name("opensim_side.py")
    command = [PYTHON, str(script), *arguments, "answer.npz"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with np.load(folder / "answer.npz") as file:
        return dict(file)


@pytest.fixture
def ready(tmp_path):
    ready = prepare(make_take(), ExportOptions())
    for name in ("trc", "mot"):
        EXPORTERS[name].export(ready, tmp_path / f"take{EXPORTERS[name].suffix}")
    return ready


def test_motion_on_its_model_puts_every_joint_where_the_take_has_it(ready, tmp_path):
    answer = ask_opensim(tmp_path, "motion", "take.osim", "take.mot")
    assert answer["coordinates"] == 168
    at = dict(zip(answer["bodies"].tolist(), np.moveaxis(answer["bodies_m"], 1, 0), strict=True))
    joints_m = np.stack([at[name] for name in JOINT_NAMES], axis=1)
    error_mm = np.abs(joints_m - ready.positions_m).max() * 1000
    print(f"OpenSim puts the 55 joints at most {error_mm:.5f} mm from the take's")
    assert error_mm < 0.5
    at = dict(zip(answer["markers"].tolist(), np.moveaxis(answer["markers_m"], 1, 0), strict=True))
    markers_m = np.stack([at[name] for name in MARKER_NAMES], axis=1)
    assert np.abs(markers_m - take_markers_m(ready)).max() * 1000 < 0.5
    assert np.abs(answer["times_s"] - np.arange(len(ready.track)) / FPS).max() < 1e-6


def test_markers_read_as_they_were(ready, tmp_path):
    answer = ask_opensim(tmp_path, "markers", "take.trc")
    assert tuple(answer["markers"].tolist()) == MARKER_NAMES
    assert str(answer["units"]) == "m"
    assert np.abs(answer["markers_m"] - take_markers_m(ready)).max() * 1000 < 0.5
    assert np.abs(answer["times_s"] - np.arange(len(ready.track)) / FPS).max() < 1e-6


def test_inverse_kinematics_follows_the_markers(tmp_path):
    """On the take's own model OpenSim's solver meets every marker, up to its tolerance, in poses a person can take."""
    take = make_take()
    calm = tuple(dataclasses.replace(f, poses=0.1 * f.poses) for f in take.motion)
    ready = prepare(dataclasses.replace(take, motion=calm), ExportOptions())
    for name in ("trc", "mot"):
        EXPORTERS[name].export(ready, tmp_path / f"take{EXPORTERS[name].suffix}")
    answer = ask_opensim(tmp_path, "solve", "take.osim", "take.trc")
    assert answer["error_m"].shape == (10,)
    print(f"inverse kinematics: largest marker error {answer['error_m'].max() * 1000:.3f} mm")
    assert answer["error_m"].max() < 5e-3
