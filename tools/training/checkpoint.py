"""Checkpoints: ``last.pt`` and ``best.pt`` in the folder of a run. Tensors and plain values only, no pickled code."""

import os
import zipfile
from pathlib import Path
from typing import Any

import torch

from ...models.errors import HmcapError
from ...models.networks.config import NetworkConfig
from ...models.networks.initialiser import Initialiser
from ...models.networks.motion_network import MotionNetwork

FORMAT = "hmcap motion networks 1"
"""What a checkpoint says that it is."""


def save(path: Path, values: dict[str, Any]) -> None:
    """Write a checkpoint so that an interruption leaves the old one whole."""
    part = path.with_suffix(".part")
    torch.save({"format": FORMAT, **values}, part)
    os.replace(part, path)


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint. Raises HmcapError where it is missing, damaged, or something else."""
    step = "Name a folder that `python -m hmcap.tools.training train` has written, or start a new one."
    if not path.is_file():
        raise HmcapError(f"Expected a checkpoint at {path}, found no such file. {step}")
    try:
        values = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise HmcapError(f"Expected a checkpoint in {path}, but it cannot be read ({_line(error)}). {step}") from error
    except Exception as error:  # torch's own unpickling error, which refuses anything but tensors
        raise HmcapError(f"Expected only tensors in {path}, found something else ({_line(error)}). {step}") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        found = values.get("format", "none") if isinstance(values, dict) else type(values).__name__
        raise HmcapError(f"Expected the format {FORMAT!r} in {path}, found {found!r}. {step}")
    return values


def network_of(values: dict[str, Any], path: Path, *, averaged: bool = True) -> MotionNetwork:
    """The network of a checkpoint, with averaged weights or those of the last step. Raises HmcapError where the weights
    do not fit the configuration beside them."""
    network = MotionNetwork(NetworkConfig.from_dict(values["config"], str(path)))
    fill(network, values["average" if averaged else "weights"], path)
    return network


def fill(network: MotionNetwork | Initialiser, weights: dict[str, torch.Tensor], path: Path) -> None:
    """Load weights. Raises HmcapError where they belong to another architecture."""
    try:
        network.load_state_dict(weights)
    except (RuntimeError, AttributeError) as error:
        raise HmcapError(
            f"Expected weights for motion networks of size {network.config.size!r} in {path}, but they belong to "
            f"another architecture ({_line(error)}). Use the same --size and switches as when it was started."
        ) from error


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:200].rstrip(".") or type(error).__name__
