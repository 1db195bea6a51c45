"""What a take names and what is opened of it.

A take may come from somebody else. It names its footage, its body file and its motion networks; opening what it names
must not turn on a camera, nor reach another computer, of which the user said nothing.
"""

import re

from ..models.errors import HmcapError
from .sources import SAMPLES
from .take import TakeHeader

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
"""Of an address, and of ``webcam:0``; the drive in front of a path on Windows has one letter."""
_FILES = ("body", "motion_weights")
"""Settings that are paths."""


def is_local_path(text: str) -> bool:
    """Whether a text is a path on this computer: no address, no webcam, and no share of another computer."""
    return not (_SCHEME.match(text) or text.replace("/", "\\").startswith("\\\\") or "\0" in text)


def named_footage(header: TakeHeader) -> str:
    """The footage that a take names, where it may be opened: a local path or a sample clip. Raises ``HmcapError`` for
    an address, a webcam or a share."""
    source = header.source
    if source in SAMPLES or is_local_path(source):
        return source
    raise HmcapError(
        f"Expected footage on this computer; the take names {source[:200]!r}, which is not opened because a take says "
        "so. If you know it and trust it, name it yourself: hmcap export TAKE --video FOOTAGE"
    )


def check_named_files(header: TakeHeader) -> None:
    """Raise ``HmcapError`` where a take names files of another computer."""
    for name in _FILES:
        value = header.settings.get(name)
        if isinstance(value, str) and not is_local_path(value):
            raise HmcapError(
                f"Expected a file on this computer as {name.replace('_', ' ')} of this take; it names {value[:200]!r}, "
                "which is not opened because a take says so. Copy the file here and capture again with it."
            )
