"""Footage with exact truth: the built-in body rendered in recorded motion."""
