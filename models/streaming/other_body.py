"""Shape coefficients of the built-in body, which the networks give, in the terms of another body model."""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from ..body import BodyModel, load_body
from ..skeleton import NUM_BODY_JOINTS, PARENTS
from ..solver.shape import stature
from .records import Estimate

_PRIOR_M = 0.01
"""Bone lengths that one standard deviation of shape is worth: what they cannot tell stays at the mean."""


def for_body(estimate: Estimate, model: BodyModel) -> Estimate:
    """The estimate with shape coefficients (T, B) of ``model``: those whose stature and bones, from pelvis to wrists,
    ankles and head, come nearest to those of the built-in body. Unchanged where ``model`` is that body."""
    own = load_body(num_betas=estimate.betas.shape[-1])
    if _same(model, own):
        return estimate
    offset, slope = _map(own, model)
    return replace(estimate, betas=(offset + np.asarray(estimate.betas, np.float64) @ slope.T).astype(np.float32))


def _same(a: BodyModel, b: BodyModel) -> bool:
    return a is b or (a.shapedirs.shape == b.shapedirs.shape and np.array_equal(a.shapedirs, b.shapedirs))


@lru_cache(maxsize=4)
def _map(own: BodyModel, other: BodyModel) -> tuple[np.ndarray, np.ndarray]:
    """(B2,) and (B2, B): betas_other = offset + slope betas_own."""
    here, here_slope = _sizes(own)
    there, there_slope = _sizes(other)
    lhs = there_slope.T @ there_slope + _PRIOR_M**2 * np.eye(there_slope.shape[1])
    return np.linalg.solve(lhs, there_slope.T @ (here - there)), np.linalg.solve(lhs, there_slope.T @ here_slope)


def _sizes(model: BodyModel) -> tuple[np.ndarray, np.ndarray]:
    """(N,) stature and lengths of the bones of the mean body, metres, and their change (N, B) per coefficient."""
    joints, directions = np.asarray(model.J_template, np.float64), np.asarray(model.J_shapedirs, np.float64)
    child = np.arange(1, NUM_BODY_JOINTS)
    bones = joints[child] - joints[PARENTS[child]]
    length = np.linalg.norm(bones, axis=-1)
    change = np.einsum("nc,ncb->nb", bones / length[:, None], directions[child] - directions[PARENTS[child]])
    tall, taller = stature(np.asarray(model.v_template, np.float64), np.asarray(model.shapedirs, np.float64))
    return np.concatenate([[tall], length]), np.concatenate([taller[None], change])
