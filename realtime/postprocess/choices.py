"""What may be asked of post-processing, checked when it is asked."""

import math

from ...models.errors import UsageError

SMOOTH_HZ = 6.0
"""Cut-off where the user names none: what gait laboratories low-pass people's movement at (Winter, Biomechanics and
Motor Control of Human Movement): nearly all of walking lies below it. Throws, kicks and strokes want 8 to 12."""
SMOOTH_LIMITS_HZ = (0.1, 1000.0)

Span = tuple[float | None, float | None]
"""First second and the second to stop at; None for the take's own begin and end."""


def parse_trim(text: str) -> Span:
    """``2.5:10``, ``:10`` or ``2.5:`` as seconds. Raises ``UsageError``."""
    begin, colon, end = text.partition(":")
    try:
        span = tuple(float(part) if part.strip() else None for part in (begin, end))
    except ValueError:
        span = ()
    if not colon or len(span) != 2:
        raise UsageError(
            f"--trim takes two seconds of the take with a colon between, either may be left out (2.5:10, 2.5: or :10); "
            f"found {text!r}."
        )
    return check_trim((span[0], span[1]))


def check_trim(span: Span) -> Span:
    """``span`` if something can lie in it. Raises ``UsageError``."""
    begin, end = span
    for value in (begin, end):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise UsageError(f"--trim takes seconds, 0 or more; found {value:g}.")
    if begin is not None and end is not None and end <= begin:
        raise UsageError(f"--trim takes the earlier second first; nothing lies in {begin:g}:{end:g}.")
    return span


def check_smooth(hz: float) -> float:
    """``hz`` if it can be a cut-off frequency. Raises ``UsageError``."""
    low, high = SMOOTH_LIMITS_HZ
    if isinstance(hz, bool) or not low <= hz <= high:
        raise UsageError(
            f"--smooth takes a cut-off frequency in Hz, {low:g} to {high:g} (lower is smoother; --smooth alone means "
            f"{SMOOTH_HZ:g}); found {hz}."
        )
    return float(hz)
