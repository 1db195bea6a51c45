"""Work that needs memory in proportion to the length of a take: said cleanly where there is not enough."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..models.errors import HmcapError


@contextmanager
def enough_memory(work: str, frames: int, next_step: str) -> Iterator[None]:
    """Turn a MemoryError of the block into an HmcapError of one paragraph: what was being done, and ``next_step``."""
    try:
        yield
    except MemoryError as error:
        raise HmcapError(
            f"Expected enough memory to {work} ({frames:,} frames); the system gave no more. The take is kept. "
            f"{next_step}"
        ) from error
