"""A model of the landmark stage's errors, measured on rendered people: to train on, and to test with.

:func:`load_noise_model` reads it, :meth:`NoiseModel.sample` makes noisy proxies of true ones, :func:`tracks_of` lays
out the truth that it asks for. ``python -m hmcap.tools.noise`` measures it anew.
"""

from .model import NoiseModel, Noisy, load_noise_model
from .tracks import Conditions, Tracks, conditions, tracks_of, visibility

__all__ = ["Conditions", "NoiseModel", "Noisy", "Tracks", "conditions", "load_noise_model", "tracks_of", "visibility"]
