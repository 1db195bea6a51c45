"""Body files that a user owns (SMPL, SMPL+H, SMPL-X): where they lie, how they are read, joints and meshes in motion.

Public sets of human motion give parameters of such a body, not positions. The files may not be passed on, so each user
downloads them; they are looked for, in this order, in the folder named by the environment variable ``HMCAP_BODIES``
and in ``models`` and ``body_models`` of the set's own folder, as the downloads unpack (``smplx/SMPLX_NEUTRAL.npz``,
``models/smplx/...``, ``smpl/SMPL_MALE.pkl``, ``smpl/models/basicmodel_m_lbs_10_207_0_v1.1.0.pkl``,
``smplh/male/model.npz``, ...). An npz is read without pickles; a pkl is read as data, nothing in it is executed.

Linear blend skinning with pose correctives as in Loper et al., SMPL (2015), equations 2 to 6 and 9, for the trees of 24
(SMPL), 52 (SMPL+H) and 55 joints (SMPL-X, Pavlakos et al. 2019). Axes of a body at rest: facing +Z, left +X, Y up,
metres; axis-angle in radians; pelvis = rest pelvis + translation.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from ....models.errors import HmcapError
from ....models.npz import BadNpz, open_npz
from ....models.rotations import axis_angle_to_matrix
from ....models.skeleton import JOINT_NAMES, NUM_BODY_JOINTS
from ..surface import topology_name
from .pickle_data import Inert, read_pickle

BODIES_VARIABLE = "HMCAP_BODIES"
"""Environment variable with the folder of the user's body files."""

_HANDS = JOINT_NAMES[25:]
TREES: Mapping[str, tuple[str, ...]] = {
    "smpl": (*JOINT_NAMES[:NUM_BODY_JOINTS], "left_hand", "right_hand"),
    "smplh": (*JOINT_NAMES[:NUM_BODY_JOINTS], *_HANDS),
    "smplx": JOINT_NAMES,
}
"""Joint names of each kind of body, in the order of its parameters."""
_TITLES = {"smpl": "SMPL", "smplh": "SMPL+H", "smplx": "SMPL-X"}
_DOWNLOADS = {"smpl": "https://smpl.is.tue.mpg.de", "smplh": "https://mano.is.tue.mpg.de"}
_SHAPES_2020 = 300
"""SMPL-X files of 2020 have 300 shape and 100 expression components; older ones have 10 of each."""
_VERSIONS = ("1.1.0", "1.0.0")
_CHUNK = 300_000
"""Vertices skinned at once; they take about 60 MB."""


def _file_names(kind: str, gender: str) -> tuple[str, ...]:
    """Names that the downloads give to a body, relative to the folder they were unpacked in."""
    stem = f"{kind.upper()}_{gender.upper()}"
    names = [f"{stem}.npz", f"{stem}.pkl"]
    if kind == "smpl":
        letter = gender if gender == "neutral" else gender[0]
        names += [f"{base}_{letter}_lbs_10_207_0_v{v}.pkl" for base in ("basicmodel", "basicModel") for v in _VERSIONS]
    if kind == "smplh":
        names += [f"{gender}/model.npz"]
    folders = ("", f"{kind}/", f"models/{kind}/", "models/", f"{kind}/models/", "models_smplx_v1_1/models/smplx/")
    return tuple(f"{folder}{name}" for folder in folders for name in names)


def find_body(kind: str, gender: str, set_folder: Path) -> Path:
    """The user's body file of a kind ("smpl", "smplh", "smplx") and gender ("neutral", "male", "female"; "m" and "f"
    are understood). Raises HmcapError saying where it was looked for and what to type."""
    gender = {"m": "male", "f": "female", "n": "neutral"}.get(gender.lower(), gender.lower())
    named = os.environ.get(BODIES_VARIABLE)
    roots = [Path(named).expanduser()] if named else []
    roots += [set_folder / "models", set_folder / "body_models"]
    for root in roots:
        for name in _file_names(kind, gender):
            if (root / name).is_file():
                return root / name
    wanted = f"{kind.upper()}_{gender.upper()}.npz or .pkl"
    where = ", ".join(str(r) for r in roots)
    raise HmcapError(
        f"Expected the {_TITLES[kind]} body {wanted} (or under the name the download gives it, also in a subfolder "
        f"{kind} or models/{kind}) in {where}; found none. The truth of this set is made of its parameters, and the "
        f"file may not be passed on: register at {_DOWNLOADS.get(kind, 'https://smpl-x.is.tue.mpg.de')}, unpack the "
        f"download and set {BODIES_VARIABLE} to its folder (export {BODIES_VARIABLE}=/path/to/bodies)."
    )


@dataclass(frozen=True, slots=True, eq=False)
class BodyFile:
    """A body as read from its file."""

    kind: str
    """ "smpl", "smplh" or "smplx"."""
    path: Path
    v_template: np.ndarray
    """(V, 3) rest mesh of the mean body, metres."""
    shapedirs: np.ndarray
    """(V, 3, B) change of the rest mesh per unit of each shape coefficient."""
    exprdirs: np.ndarray
    """(V, 3, E) the same for expressions; E is 0 but for SMPL-X."""
    posedirs: np.ndarray
    """(V, 3, 9 (J - 1)) pose correctives per entry of the local rotations less identity."""
    J_regressor: np.ndarray
    """(J, V) joints from a mesh."""
    weights: np.ndarray
    """(V, J) skinning weights."""
    faces: np.ndarray
    """(F, 3) int64 triangles."""
    parents: np.ndarray
    """(J,) parent of each joint, -1 for the root."""
    hands_mean: np.ndarray
    """(2, 45) mean pose of the left and right hand; zero where the file has none."""
    hand_components: np.ndarray
    """(2, C, 45) principal components of the hands' poses; C is 0 where the file has none."""

    @property
    def topology(self) -> str:
        """Name of the mesh's topology, as surfaces carry it."""
        return topology_name(len(self.v_template), self.faces)

    @property
    def joint_names(self) -> tuple[str, ...]:
        """J names of the tree, SMPL-X spelling."""
        return TREES[self.kind]

    def animate(
        self,
        poses: np.ndarray,
        trans_m: np.ndarray,
        betas: np.ndarray,
        expression: np.ndarray | None = None,
    ) -> "MovingBody":
        """The body in motion. poses: (T, J, 3) axis-angle, hands relative to the flat hand; trans_m: (T, 3); betas:
        (n,) or (T, n); expression: (T, e) or None. Raises HmcapError where the file has fewer components."""
        for what, values, directions in (("shape", betas, self.shapedirs), ("expression", expression, self.exprdirs)):
            if values is not None and values.shape[-1] > directions.shape[-1]:
                raise HmcapError(
                    f"Expected a body with {values.shape[-1]} {what} components, found {directions.shape[-1]} in "
                    f"{self.path}. Use the newer download of the same body, which has more of them."
                )
        rows, joints = len(trans_m), len(self.parents)
        if poses.shape != (rows, joints, 3) or trans_m.shape != (rows, 3):
            raise HmcapError(
                f"Expected poses ({rows}, {joints}, 3) and translations ({rows}, 3) for the {_TITLES[self.kind]} body "
                f"{self.path}, found {poses.shape} and {trans_m.shape}. Use the body that the set was made with."
            )
        return MovingBody(self, poses, trans_m, betas, expression)


@dataclass(frozen=True, slots=True, eq=False)
class MovingBody:
    """A body in T poses; nothing is computed until it is asked for."""

    body: BodyFile
    poses: np.ndarray
    """(T, J, 3)"""
    trans_m: np.ndarray
    """(T, 3)"""
    betas: np.ndarray
    """(n,) or (T, n)"""
    expression: np.ndarray | None
    """(T, e)"""

    def rest_joints_m(self) -> np.ndarray:
        """(J, 3), or (T, J, 3) where shape or expression changes: joints of the rest mesh (SMPL equation 10)."""
        body = self.body
        rest = body.J_regressor @ body.v_template
        for values, directions in ((self.betas, body.shapedirs), (self.expression, body.exprdirs)):
            if values is not None and values.shape[-1]:
                linear = np.tensordot(body.J_regressor, directions[..., : values.shape[-1]].astype(np.float64), 1)
                rest = rest + np.einsum("jck,...k->...jc", linear, values)
        return rest

    def _posed(self, rows: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Local and world rotations, posed and rest joints of some rows."""
        local = axis_angle_to_matrix(self.poses[rows])
        rest = self.rest_joints_m()
        rest = np.broadcast_to(rest, (len(self.poses), *rest.shape[-2:]))[rows]
        R, p = np.empty_like(local), np.empty(local.shape[:-1])
        for j, parent in enumerate(self.body.parents):
            if parent < 0:
                R[:, j], p[:, j] = local[:, j], rest[:, j] + self.trans_m[rows]
            else:
                R[:, j] = R[:, parent] @ local[:, j]
                p[:, j] = p[:, parent] + np.einsum("tab,tb->ta", R[:, parent], rest[:, j] - rest[:, parent])
        return local, R, p, rest

    def joints_m(self) -> np.ndarray:
        """(T, J, 3) joints in the axes of the parameters."""
        return self._posed(slice(None))[2]

    def vertices_m(self, rows: slice, vertices: np.ndarray | None = None) -> np.ndarray:
        """(n, V, 3) mesh of some rows, or (n, len(vertices), 3) of some of its vertices."""
        indices = np.arange(len(self.poses))[rows]
        chosen = np.arange(len(self.body.v_template)) if vertices is None else np.asarray(vertices)
        out = np.empty((len(indices), len(chosen), 3))
        step = max(1, _CHUNK // max(1, len(chosen)))
        for start in range(0, len(indices), step):
            part = indices[start : start + step]
            out[start : start + len(part)] = self._skinned(part, chosen if vertices is not None else None)
        return out

    def _skinned(self, rows: Any, vertices: np.ndarray | None) -> np.ndarray:
        body = self.body
        take = slice(None) if vertices is None else vertices
        local, R, p, rest = self._posed(rows)
        n = len(local)
        v = body.v_template[take]
        for values, directions in ((self.betas, body.shapedirs), (self.expression, body.exprdirs)):
            if values is not None and values.shape[-1]:
                values = values if values.ndim == 1 else values[rows]
                linear = values @ directions[take][..., : values.shape[-1]].reshape(-1, values.shape[-1]).T
                v = v + linear.reshape(*values.shape[:-1], -1, 3)
        features = (local[:, 1:] - np.eye(3)).reshape(n, -1)
        posedirs = body.posedirs[take]
        correctives = features.astype(posedirs.dtype) @ posedirs.reshape(-1, posedirs.shape[-1]).T
        v = v + correctives.reshape(n, -1, 3)
        shift = p - np.einsum("tjab,tjb->tja", R, rest)
        placed = np.concatenate([R, shift[..., None]], axis=-1).transpose(1, 0, 2, 3)
        # one product of matrices for all rows: ten times as fast as one for each
        blended = (body.weights[take] @ placed.reshape(len(body.parents), -1)).reshape(-1, n, 3, 4)
        turned = np.einsum("vtab,vtb->vta", blended[..., :3], np.ascontiguousarray(v.transpose(1, 0, 2)))
        return (turned + blended[..., 3]).transpose(1, 0, 2)


@lru_cache(maxsize=3)
def load_body_file(path: Path, kind: str) -> BodyFile:
    """Read a body file of a kind; once per process and path. Raises HmcapError where it does not hold such a body."""
    raw = _read_npz(path, kind) if path.suffix.lower() == ".npz" else _read_pkl(path, kind)
    joints = len(TREES[kind])
    v_template = _array(raw, "v_template", path, kind).astype(np.float64)
    V = len(v_template)
    shapedirs = _array(raw, "shapedirs", path, kind)
    posedirs = _array(raw, "posedirs", path, kind)
    regressor = _array(raw, "J_regressor", path, kind)
    weights = _array(raw, "weights", path, kind)
    tree = _array(raw, "kintree_table", path, kind).astype(np.int64)
    faces = _array(raw, "f", path, kind).astype(np.int64)
    expected = {
        "f": (faces, (len(faces), 3)),
        "v_template": (v_template, (V, 3)),
        "shapedirs": (shapedirs, (V, 3, shapedirs.shape[-1])),
        "posedirs": (posedirs, (V, 3, 9 * (joints - 1))),
        "J_regressor": (regressor, (joints, V)),
        "weights": (weights, (V, joints)),
        "kintree_table": (tree, (2, joints)),
    }
    for name, (array, shape) in expected.items():
        if array.shape != shape:
            raise _wrong(path, kind, f"{name} of shape {shape}", str(array.shape))
    parents = tree[0].copy()
    parents[0] = -1
    if (parents[1:] < 0).any() or (parents[1:] >= np.arange(1, joints)).any():
        raise _wrong(path, kind, "a tree whose parents come before their children in kintree_table", "another")
    first_expression = shapedirs.shape[-1]
    if kind == "smplx":
        first_expression = _SHAPES_2020 if shapedirs.shape[-1] >= _SHAPES_2020 + 100 else min(10, first_expression)
    try:
        means = [np.asarray(raw.get(k, np.zeros(45)), np.float64).reshape(-1) for k in ("hands_meanl", "hands_meanr")]
        parts = [np.asarray(raw.get(f"hands_components{s}", np.zeros((0, 45))), np.float64) for s in "lr"]
    except (TypeError, ValueError) as error:
        raise _wrong(path, kind, "numbers in hands_meanl, hands_componentsl, ...", "something else") from error
    if any(m.shape != (45,) for m in means) or any(c.ndim != 2 or c.shape[1] != 45 for c in parts):
        raise _wrong(path, kind, "hands of 45 numbers (hands_meanl, hands_componentsl, ...)", "others")
    return BodyFile(
        kind,
        path,
        v_template,
        np.asarray(shapedirs[..., :first_expression], np.float32),
        np.asarray(shapedirs[..., first_expression:], np.float32),
        np.asarray(posedirs, np.float32),
        regressor.astype(np.float64),
        weights.astype(np.float64),
        faces,
        parents,
        np.stack(means),
        np.stack(parts),
    )


def _wrong(path: Path, kind: str, expected: str, found: str) -> HmcapError:
    return HmcapError(
        f"Expected {expected} in the {_TITLES[kind]} body {path}, found {found}. "
        "Use the file as downloaded, under the name of its own kind."
    )


def _array(raw: Mapping[str, Any], key: str, path: Path, kind: str) -> np.ndarray:
    value = raw.get(key)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu" or value.ndim < 2:
        raise _wrong(path, kind, f"numbers in {key}", "nothing" if value is None else f"a {type(value).__name__}")
    return value


_KEYS = (
    *("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f"),
    *("hands_meanl", "hands_meanr", "hands_componentsl", "hands_componentsr"),
)


def _read_npz(path: Path, kind: str) -> Mapping[str, Any]:
    try:
        with open_npz(path) as archive:
            return {k: archive[k] for k in _KEYS if k in archive.files}
    except (BadNpz, OSError) as error:
        raise _wrong(path, kind, "an npz of numbers without pickles", f"another file: {error}") from error


_CHUMPY = ("chumpy.ch.Ch",)
_LARGEST = 10_000_000
"""Numbers in a matrix beyond which a file is not a body's, so that a small file cannot ask for a large memory."""
_SPARSE = ("scipy.sparse.csc.csc_matrix", "scipy.sparse._csc.csc_matrix")


def _read_pkl(path: Path, kind: str) -> Mapping[str, Any]:
    """The arrays of a published pkl, whose shapes are chumpy's and whose joint regressor is scipy's."""
    data = read_pickle(path, (*_CHUMPY, *_SPARSE))
    if not isinstance(data, Mapping):
        raise _wrong(path, kind, "a dictionary of arrays", f"a {type(data).__name__}")
    return {k: _plain(data[k], path, kind) for k in _KEYS if k in data}


def _plain(value: object, path: Path, kind: str) -> object:
    """The array that a record of an array-like object stands for; anything else as it is."""
    if not isinstance(value, Inert):
        return value
    state = value.state if isinstance(value.state, Mapping) else {}
    if value.name in _CHUMPY:
        return state.get("x")
    shape = state.get("_shape", state.get("shape"))
    if not (isinstance(shape, tuple) and len(shape) == 2 and all(isinstance(n, int) and n >= 0 for n in shape)):
        raise _wrong(path, kind, "sparse matrices with a shape", "one without")
    if shape[0] * shape[1] > _LARGEST:
        raise _wrong(path, kind, "a joint regressor of some hundred thousand numbers", f"{shape[0]} x {shape[1]}")
    try:
        matrix = sparse.csc_matrix(tuple(state.get(k) for k in ("data", "indices", "indptr")), shape=shape)
        matrix.check_format(full_check=True)  # numbers out of range would be followed into foreign memory
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise _wrong(path, kind, "sparse matrices that are whole", f"one that is not ({error})") from error
    return matrix.toarray()
