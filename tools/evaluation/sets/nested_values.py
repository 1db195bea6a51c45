"""Values out of nested records that were read from a file, checked one by one."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ....models.errors import HmcapError
from .reading import check_shapes, numeric


def value(file: Path, data: object, name: str) -> object:
    """What lies at ``a/b/c`` in nested mappings. Raises HmcapError naming the file where it is not there."""
    here = data
    for key in name.split("/"):
        if not isinstance(here, Mapping) or key not in here:
            there = ", ".join(map(str, here)) if isinstance(here, Mapping) else f"a {type(here).__name__}"
            raise HmcapError(
                f"Expected {name} in {file}, found {there or 'nothing'}. Take the file as it is published."
            )
        here = here[key]
    return here


def field(file: Path, data: object, name: str, shape: Sequence[int | str]) -> np.ndarray:
    """The numbers at ``a/b/c``, float64, of a shape whose letters stand for any size."""
    array = numeric(file, name, value(file, data, name))
    check_shapes(file, {name: array}, {name: shape})
    return array


def finite_field(file: Path, data: object, name: str, shape: Sequence[int | str]) -> np.ndarray:
    """The same for what all frames depend on, such as a camera: raises HmcapError where a number is not finite."""
    array = field(file, data, name, shape)
    if not np.isfinite(array).all():
        raise HmcapError(
            f"Expected finite numbers as {name} of {file}, found {array.tolist()}. Take the file as it is published."
        )
    return array


def text(file: Path, data: object, name: str) -> str:
    """The text at ``a/b/c``; bytes and arrays of one text count as text."""
    found = value(file, data, name)
    if isinstance(found, np.ndarray) and found.size == 1:
        found = found.reshape(-1)[0]
    if isinstance(found, bytes):
        found = found.decode("utf-8", "replace")
    if not isinstance(found, str):
        raise HmcapError(
            f"Expected a text as {name} of {file}, found a {type(found).__name__}. Take the file as it is published."
        )
    return str(found)


def flag(file: Path, data: object, name: str) -> bool:
    """The truth value at ``a/b/c``."""
    return bool(finite_field(file, data, name, ()))
