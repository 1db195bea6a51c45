"""The body model: reads a file in the SMPL-X layout, the one shipped here or a user's own SMPLX_NEUTRAL.npz.

The stages that follow the reading (with shape, with pose, skinned) live in :mod:`hmcap.models.body_stages` and are
re-exported here::

    body = load_body()
    person = body.with_shape(betas)              # person.joints_m (55, 3)
    posed = person.with_pose(poses, trans_m)     # posed.R_world, posed.joints_m; no vertex touched
    mesh = posed.skin().vertices_m
"""

import json
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from .body_stages import BodyModel, PosedBody, ShapedBody, SkinnedBody, forward_kinematics
from .errors import HmcapError
from .npz import BadNpz, open_npz
from .paths import user_path
from .skeleton import NUM_JOINTS, PARENTS

__all__ = ["BodyModel", "PosedBody", "ShapedBody", "SkinnedBody", "forward_kinematics", "load_body"]

_SHAPES_2020 = 300
"""Files of the 2020 release have 300 shape and 100 expression components; shorter ones have 10 shape components."""
_NUM_POSE_FEATURES = 9 * (NUM_JOINTS - 1)
_NEXT_STEP = "Use the npz from the SMPL-X download (models/smplx/SMPLX_NEUTRAL.npz), or leave the option out."
_LARGEST = 1e6
"""Numbers of a body are metres, weights and radians."""
_NEEDED = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
_OPTIONAL = ("hands_meanl", "hands_meanr", "expression_names", "provenance")


def load_body(path: str | Path | None = None, num_betas: int = 10, num_expressions: int | None = None) -> BodyModel:
    """Read a body model.

    path: an npz in the SMPL-X layout; None reads the body shipped with this package. num_betas, num_expressions: how
    many shape and expression components to keep (None: all of them; fewer when the file has fewer). The result is
    float32 numpy; read once per process and path. Raises HmcapError when the file is missing, needs pickle, or does not
    have the layout.
    """
    if path is None:
        return _load(_packaged(), num_betas, num_expressions)
    path = user_path(path)
    if not path.is_file():
        raise HmcapError(
            f"Expected a body model file at {path}, found {'a folder' if path.is_dir() else 'nothing'} there. "
            "Give the path of the npz itself (for example SMPLX_NEUTRAL.npz), or leave it out to use the built-in body."
        )
    return _load(str(path.resolve()), num_betas, num_expressions)


@lru_cache(maxsize=1)
def _packaged() -> str:
    return str(files("hmcap.models") / "data" / "body.npz")


@lru_cache(maxsize=4)
def _load(path: str, num_betas: int, num_expressions: int | None) -> BodyModel:
    arrays = _read(path)
    v, shapedirs = arrays["v_template"], arrays["shapedirs"]
    if shapedirs.shape[-1] >= _SHAPES_2020 + 100:
        first_expression = _SHAPES_2020
    else:
        first_expression = min(10, shapedirs.shape[-1])
    expressions = shapedirs[..., first_expression:][..., :num_expressions]
    shapes = shapedirs[..., : min(num_betas, first_expression)]
    names = arrays.get("expression_names")
    regressor = arrays["J_regressor"]
    # Double precision here: these few numbers stand for the whole mesh in everything that follows.
    exact = regressor.astype(np.float64)
    f32 = np.float32
    posedirs = arrays["posedirs"]
    return BodyModel(
        v_template=v.astype(f32),
        shapedirs=np.ascontiguousarray(shapes, f32),
        exprdirs=np.ascontiguousarray(expressions, f32),
        posedirs=posedirs.astype(f32) if posedirs.any() else None,
        J_regressor=regressor.astype(f32),
        weights=arrays["weights"].astype(f32),
        faces=arrays["f"].astype(np.int64),
        J_template=(exact @ v).astype(f32),
        J_shapedirs=np.tensordot(exact, shapes.astype(np.float64), 1).astype(f32),
        J_exprdirs=np.tensordot(exact, expressions.astype(np.float64), 1).astype(f32),
        expression_names=tuple(str(n) for n in names[:num_expressions]) if names is not None else (),
        hands_mean=np.stack([arrays[k].reshape(15, 3) for k in ("hands_meanl", "hands_meanr")]).astype(f32),
        provenance=_provenance(arrays.get("provenance"), path),
    )


def _provenance(text: np.ndarray | None, path: str) -> dict:
    if text is None:
        return {"source": path}
    try:
        found = json.loads(str(text))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise HmcapError(
            f"Expected a JSON object as provenance in the body model {path}, found {str(text)[:60]!r}. {_NEXT_STEP}"
        )
    return found


def _read(path: str) -> dict[str, np.ndarray]:
    """The arrays of the file that the model needs, checked for layout."""
    try:
        with open_npz(path, {*_NEEDED, *_OPTIONAL, "posedirs_are_zero"}) as archive:
            missing = [k for k in _NEEDED if k not in archive.files]
            if missing:
                raise HmcapError(
                    f"Expected a body model in the SMPL-X layout in {path}, but it lacks {', '.join(missing)}. "
                    + _NEXT_STEP
                )
            arrays = {k: archive[k] for k in _NEEDED if k != "posedirs"}
            for key in _OPTIONAL:
                if key in archive.files:
                    arrays[key] = archive[key]
                    arrays[key].tolist()  # text of characters that do not exist fails here
            # 20 million zeros need not be unpacked to know that they are zero.
            skip = "posedirs_are_zero" in archive.files and bool(archive["posedirs_are_zero"])
            num_vertices = len(arrays["v_template"]) if arrays["v_template"].ndim else 0
            zeros = np.broadcast_to(np.int8(0), (num_vertices, 3, _NUM_POSE_FEATURES))
            arrays["posedirs"] = zeros if skip else archive["posedirs"]
    except (BadNpz, OSError) as error:
        raise HmcapError(f"Expected a body model without pickles in {path}, but {error}. {_NEXT_STEP}") from error
    for key in ("hands_meanl", "hands_meanr"):
        arrays.setdefault(key, np.zeros(45))
    _check(path, arrays)
    return arrays


def _check(path: str, arrays: dict[str, np.ndarray]) -> None:
    def bad(expected: str, found: object) -> HmcapError:
        return HmcapError(f"Expected {expected} in the body model {path}, found {found}. {_NEXT_STEP}")

    n = len(arrays["v_template"]) if arrays["v_template"].ndim else 0
    shapes = {
        "v_template": (n, 3),
        "J_regressor": (NUM_JOINTS, n),
        "weights": (n, NUM_JOINTS),
        "posedirs": (n, 3, _NUM_POSE_FEATURES),
        "kintree_table": (2, NUM_JOINTS),
    }
    for key, shape in shapes.items():
        if arrays[key].shape != shape:
            raise bad(f"{key} of shape {shape}", arrays[key].shape)
    if arrays["shapedirs"].ndim != 3 or arrays["shapedirs"].shape[:2] != (n, 3):
        raise bad(f"shapedirs of shape ({n}, 3, components)", arrays["shapedirs"].shape)
    for key in ("hands_meanl", "hands_meanr"):
        if arrays[key].size != 45:
            raise bad(f"{key} with 45 numbers", arrays[key].shape)
    faces = arrays["f"]
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype.kind not in "iu" or not len(faces):
        raise bad("f with triangles of vertex numbers", f"{faces.dtype} {faces.shape}")
    if faces.min() < 0 or faces.max() >= n:
        raise bad(f"f with triangles of vertex numbers below {n}", f"{faces.min()} to {faces.max()}")
    tree = arrays["kintree_table"]
    if tree.dtype.kind not in "iuf" or not np.array_equal(tree[0, 1:].astype(np.int64), PARENTS[1:]):
        raise bad("the 55 joints of SMPL-X in their usual order in kintree_table", "another tree")
    for key in ("v_template", "shapedirs", "J_regressor", "weights", "hands_meanl", "hands_meanr"):
        if arrays[key].dtype.kind != "f" or not float(np.abs(arrays[key]).max(initial=0)) < _LARGEST:
            raise bad(f"finite numbers in {key}", f"{arrays[key].dtype} with NaN, infinity or more than a million")
    names = arrays.get("expression_names")
    if names is not None and names.ndim != 1:
        raise bad("a list of expression_names", names.shape)
    posedirs = arrays["posedirs"]
    if posedirs.dtype.kind not in "fiu" or (posedirs.dtype.kind == "f" and not np.isfinite(posedirs).all()):
        raise bad("finite numbers in posedirs", f"{posedirs.dtype}, or NaN or infinity")
    if not np.allclose(arrays["weights"].sum(axis=1), 1, atol=1e-3):
        raise bad("skinning weights that sum to 1", "others")
