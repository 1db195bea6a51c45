"""How long the modules of a frame take."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def timed(module: str, times_s: dict[str, float]) -> Iterator[None]:
    """Add the time that the block takes to ``times_s``."""
    started = time.perf_counter()
    yield
    times_s[module] = times_s.get(module, 0.0) + time.perf_counter() - started
