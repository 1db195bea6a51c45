"""What Blender makes of our files, by its own readers: joints, skin, face, scale and frame rate.

HMCAP_BLENDER names a Blender, or a Python that has the package bpy.
"""

import dataclasses
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hmcap.realtime.exporters import EXPORTERS, ExportOptions, fbx, prepare
from hmcap.realtime.exporters.skinned import make_skinned
from test_exporters import FPS, make_take

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif("HMCAP_BLENDER" not in os.environ, reason="HMCAP_BLENDER names no Blender"),
]
COUNT = 40
FRAMES = [*range(0, COUNT, 10), COUNT - 1]


def ready_take(fps: float, **options):
    take = make_take(COUNT, fps=fps, stamps_s=np.arange(COUNT) / fps)
    moving = np.clip(np.sin(np.arange(COUNT)[:, None] / 3 + np.arange(52)), 0, 1)
    poses = np.array([f.poses for f in take.motion])
    poses[:, 22:25] = 0  # mixamo has no jaw and no eyes
    frames = zip(take.motion, poses, moving, strict=True)
    motion = tuple(dataclasses.replace(f, poses=p, expression=e) for f, p, e in frames)
    return prepare(dataclasses.replace(take, motion=motion), ExportOptions(**options))


def read_in_blender(path: Path, fps: float) -> dict[str, np.ndarray]:
    out, script = path.with_suffix(".npz"), Path(__file__).with_name("blender_read.py")
    frames = ",".join(map(str, FRAMES))
    said = subprocess.run(
        [*fbx.find_blender().command, str(script), "--", str(path), str(out), frames, repr(fps)],
        capture_output=True, text=True, check=False, timeout=600,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )  # fmt: skip
    assert said.returncode == 0, said.stderr[-3000:]
    with np.load(out, allow_pickle=False) as data:
        return dict(data)


@pytest.mark.parametrize("fps", [30.0, FPS], ids=["30", "29.97"])
@pytest.mark.parametrize("name", ["bvh", "glb", "usd", "fbx"])
def test_blender_sees_the_motion_that_was_captured(name, fps, tmp_path):
    ready = ready_take(fps)
    path = tmp_path / f"take{EXPORTERS[name].suffix}"
    EXPORTERS[name].export(ready, path)
    data = read_in_blender(path, fps)
    skinned, names = make_skinned(ready), data["names"].tolist()
    assert set(skinned.names) == set(names), "Blender has other bones, or a leaf bone for each"
    heads_m = data["heads_m"][:, [names.index(n) for n in skinned.names]]
    error_mm = np.abs(heads_m - skinned.positions_m[FRAMES]).max() * 1000
    assert error_mm < 0.5, f"Blender has a joint {error_mm:.3f} mm from ours"
    first, last = data["keys"]
    if fps == 30:
        assert last - first == pytest.approx(COUNT - 1, abs=1e-3)
    if name in ("bvh", "fbx"):  # The others tell Blender no rate.
        assert float(data["fps"]) == pytest.approx(fps, rel=1e-6)
    if name == "bvh":
        return
    body = ready.body.model.astype(np.float64).with_shape(np.tile(ready.track.betas, (len(FRAMES), 1)), None)
    with_face = dataclasses.replace(body, expression=ready.track.expression[FRAMES])
    vertices_m = with_face.with_pose(ready.track.poses[FRAMES], ready.track.trans_m[FRAMES]).skin().vertices_m
    assert np.abs(data["vertices_m"] - vertices_m).max() < 5e-4
    neutral_m = body.with_pose(ready.track.poses[FRAMES], ready.track.trans_m[FRAMES]).skin().vertices_m
    assert np.abs(vertices_m - neutral_m).max() > 0.005
    columns = [ready.body.model.expression_names.index(n) for n in data["shape_names"]]
    assert len(columns) == 52
    assert np.abs(data["shapes"] - ready.track.expression[FRAMES][:, columns]).max() < 1e-4


def test_an_fbx_has_no_turn_and_no_scale_on_its_objects(tmp_path):
    """Blender shows FBX's centimetres and Y up as 0.01 and 90 degrees on the armature; nothing else may be there."""
    path = tmp_path / "take.fbx"
    EXPORTERS["fbx"].export(ready_take(30.0), path)
    data = read_in_blender(path, 30.0)
    assert np.allclose(data["scale"], 0.01)
    assert np.allclose(np.degrees(data["turn"]), (90, 0, 0), atol=1e-4)
