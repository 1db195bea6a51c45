"""EHF (Pavlakos et al. 2019): 100 pictures of one man in a minimal suit, with SMPL-X meshes fitted to 3-D scans.

Layout of the folder, as published: ``01_img.jpg`` (or ``.png``), ``01_align.ply``, ... ``100_img.jpg``,
``100_align.ply``; a sub-folder ``EHF`` is entered. The meshes have the vertices of SMPL-X, metres. One camera took all
pictures; its calibration comes with the set (``EHF_camera.txt``) and is the same for everyone: focal length
1498.22426237 pixels of pictures of 1600 x 1200, centre (790.263706, 578.90334), rotation vector (-2.98747896,
0.01172457, -0.05704687) and translation (-0.03609917, 0.43416458, 2.37101226) of the meshes' axes to the camera's; no
distortion.

Protocol: single pictures; positions in the camera's axes. The set states meshes only: joints are the SMPL-X
regressor's (of the user's SMPLX_NEUTRAL file) on the mesh. Published figures are errors of vertices after alignment of
the whole body, the hands and the face, and of 14 LSP joints of another regressor.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ....models.errors import HmcapError
from ....models.rotations import axis_angle_to_matrix
from ....realtime.sources_images import natural_key
from ..records import Case, Surface
from .body_files import BodyFile, find_body, load_body_file
from .body_truth import LANDMARK_VERTICES, PROTOCOL, motion_of
from .ply import read_vertices
from .reading import still
from .scaled_camera import scaled_camera

_K = np.array([[1498.22426237, 0, 790.263706], [0, 1498.22426237, 578.90334], [0, 0, 1]])
_ROTATION_VECTOR = np.array([-2.98747896, 0.01172457, -0.05704687])
_TRANSLATION_M = np.array([-0.03609917, 0.43416458, 2.37101226])
_FULL_PX = 1600, 1200
_NOTES = f"{PROTOCOL} EHF states meshes only: its joints are the SMPL-X regressor's."


def load(folder: Path) -> Iterator[Case]:
    """One case for each picture."""
    inner = folder / "EHF" if (folder / "EHF").is_dir() else folder
    meshes = sorted(inner.glob("*_align.ply"), key=lambda p: natural_key(p.name))
    if not meshes:
        raise HmcapError(
            f"Expected 01_align.ply, 02_align.ply, ... in {folder} (set ehf), found none. "
            "Name the folder that EHF unpacks to."
        )
    body = load_body_file(find_body("smplx", "neutral", folder), "smplx")
    for mesh in meshes:
        yield _case(mesh, body)


def _case(mesh: Path, body: BodyFile) -> Case:
    name = mesh.name.removesuffix("_align.ply")
    found = [p for p in (mesh.with_name(f"{name}_img{s}") for s in (".jpg", ".png")) if p.is_file()]
    footage = still(found[0] if found else mesh.with_name(f"{name}_img.jpg"))
    camera = scaled_camera(mesh, _K, _FULL_PX, footage.source)
    vertices = _vertices_m(mesh, body, slice(None))[0]
    points = {n: vertices[None, i] for n, i in LANDMARK_VERTICES.get(len(vertices), {}).items()}
    joints = (body.J_regressor @ vertices)[None]
    surface = Surface(body.topology, partial(_vertices_m, mesh, body))
    return Case(
        "ehf",
        name,
        0.0,
        camera,
        motion_of(body.joint_names, joints, points, surface, camera),
        footage,
        notes=_NOTES,
    )


def _vertices_m(mesh: Path, body: BodyFile, rows: slice) -> np.ndarray:
    """(1, V, 3) in the camera's axes, or (0, V, 3) for an empty slice."""
    vertices = read_vertices(mesh)
    if len(vertices) != len(body.v_template):
        raise HmcapError(
            f"Expected the {len(body.v_template)} vertices of {body.path} in {mesh}, found {len(vertices)}. "
            "Use EHF's own meshes and the SMPL-X body file."
        )
    return (vertices @ axis_angle_to_matrix(_ROTATION_VECTOR).T + _TRANSLATION_M)[None][rows]
