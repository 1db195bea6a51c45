"""What a user may choose about an exported file, and what an exporter is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...models.errors import UsageError
from ..postprocess.choices import Span, check_smooth, check_trim, parse_trim
from .rig import NAMINGS

if TYPE_CHECKING:
    from .prepare import Prepared

UP_AXES = ("y", "z")


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Choices that apply to every format that has them."""

    joint_names: str = "mixamo"
    """Joint names of BVH, GLB, USD, FBX: ``mixamo`` (Hips, Spine, LeftArm, ...; no jaw, no eyes) or ``smplx`` (all)."""
    t_pose_frame: bool = False
    """Put one frame of the rest pose before the motion (some character set-ups want it)."""
    up: str = "y"
    """Up axis of formats that leave it open (npz, c3d, csv, json): ``y``, or ``z`` as AMASS itself. The
    others are always Y up."""
    fps: float | None = None
    """Frame rate of the file; None keeps the take's own."""
    smooth: float | None = None
    """Cut-off of a low pass over the motion, Hz; None smooths nothing."""
    lock_feet: bool = False
    """Hold feet that stand in their places."""
    trim: str | Span | None = None
    """Part of the take to write, in seconds of its stamps: ``2.5:10``, or a pair of numbers or None."""

    def __post_init__(self) -> None:
        if self.joint_names not in NAMINGS:
            raise UsageError(f"--joint-names expects one of {', '.join(NAMINGS)}, found {self.joint_names!r}.")
        if self.up not in UP_AXES:
            raise UsageError(f"--up expects y or z, found {self.up!r}.")
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise UsageError(f"--fps expects a frame rate above 0 and up to 1000, found {self.fps}.")
        if self.smooth is not None:
            check_smooth(self.smooth)
        _ = self.trim_span

    @property
    def alters(self) -> bool:
        """Whether files show other motion than the take."""
        return self.trim is not None or self.smooth is not None or self.lock_feet

    @property
    def trim_span(self) -> Span | None:
        """``trim`` as first second and second to stop at."""
        if self.trim is None:
            return None
        return parse_trim(self.trim) if isinstance(self.trim, str) else check_trim(self.trim)


@dataclass(frozen=True, slots=True)
class Exporter:
    """One file format."""

    name: str
    """What the user types after --export."""
    suffix: str
    """Ending of the file, with the dot."""
    summary: str
    """One line for --help."""
    export: Callable[["Prepared", Path], None]
    """Writes the motion to the path, whole or not at all; raises HmcapError where that cannot be done."""
    companions: tuple[str, ...] = ()
    """Endings of further files that are written beside it under the same name."""
    check: Callable[[], None] = lambda: None
    """Raises HmcapError where this machine lacks what the format needs; asked before a capture starts."""

    def files(self, path: Path) -> tuple[Path, ...]:
        """Everything that an export to ``path`` writes, ``path`` first."""
        return (path, *(path.with_suffix(suffix) for suffix in self.companions))
