"""Footage with truth: one small loader for each set, all of them yielding the same record."""

from .registry import SETS, SetInfo, SetMissing, load_set

__all__ = ["SETS", "SetInfo", "SetMissing", "load_set"]
