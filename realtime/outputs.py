"""Where everything that a run writes goes, and writing it from the finished take."""

import json
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..models.errors import HmcapError, UsageError
from ..models.paths import user_path
from .exporters import EXPORTERS, ExportOptions, atomic_path, prepare
from .journal_reading import PART_SUFFIX
from .memory import enough_memory
from .options import CaptureOptions
from .overlay import write_videos
from .progress import Display
from .report import Report
from .take import SUFFIX, Take

_IN_PARTS = "Close other programs, or write it in parts: hmcap export with --trim, for example --trim 0:1800."


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where everything that a run writes goes."""

    take: Path
    exports: dict[str, Path]
    overlay: Path | None
    side_by_side: Path | None
    report: Path | None
    others: tuple["Outputs", ...] = ()
    """The same for the second and later people of a run; the overlay shows all and stands with the first."""

    def check(self, *inputs: Path, take: bool = True) -> None:
        """Find out now that one of them cannot be written, or would overwrite the footage; makes missing folders."""
        everybody = (self, *self.others)
        exported = [file for o in everybody for name, path in o.exports.items() for file in EXPORTERS[name].files(path)]
        beside = [path for o in everybody for path in (o.overlay, o.side_by_side, o.report)]
        written = [p for p in (*exported, *beside) if p is not None]
        paths = [*(o.take for o in everybody), *written] if take else written
        for path in paths:
            # An earlier take of the same name may be replaced: it is what a repeated capture writes.
            if path in written and any(_same(path, source) for source in inputs):
                raise UsageError(
                    f"{path} is the input itself and would be overwritten. Name another file or --out FOLDER."
                )
            if [os.path.abspath(p) for p in paths].count(os.path.abspath(path)) > 1:
                raise UsageError(f"{path} is named for two different outputs. Name another file for one of them.")
            if path.is_dir():
                raise HmcapError(
                    f"Expected to write the file {path}; a folder of that name is there. Choose another name."
                )
        for name in self.exports:
            EXPORTERS[name].check()
        for folder in dict.fromkeys(p.parent for p in paths):
            check_writable(folder)


@dataclass(frozen=True, slots=True)
class CaptureResult:
    """What a run left behind."""

    take: Path | None
    """The take, the first where there are several; None for a webcam run that was not recorded."""
    report: Report
    """The figures of that take, or of the run."""
    files: tuple[Path, ...]
    """Exports, overlay and report, in the order they were written."""
    interrupted: bool
    """True when Ctrl-C ended the capture early."""
    takes: tuple[Path, ...] = ()
    """Every take of the run, ``take`` first: one for each person of a file, and for each time that recording was
    switched on in a webcam run."""


def plan_outputs(name: str, folder: Path, options: CaptureOptions) -> Outputs:
    """The paths of a run: NAME.hmcap, NAME.bvh and so on in ``folder``; NAME_p1.hmcap, NAME_p2.hmcap, ... where several
    people are asked for."""
    stem = "".join("_" if c in '<>:"/\\|?*' or ord(c) < 32 else c for c in name).strip(". ") or "take"
    overlay = _video_path("--overlay", options.overlay)
    side_by_side = _video_path("--side-by-side", options.side_by_side)
    report = None if options.report is None else user_path(options.report)

    def paths(end: str, others: tuple[Outputs, ...] = (), *, first: bool = True) -> Outputs:
        return Outputs(
            folder / f"{stem}{end}{SUFFIX}",
            {f: folder / f"{stem}{end}{EXPORTERS[f].suffix}" for f in options.export},
            overlay if first else None,
            side_by_side if first else None,
            None if report is None else report.with_stem(report.stem + end),
            others,
        )

    if options.people == 1:
        return paths("")
    return paths("_p1", tuple(paths(f"_p{k + 1}", first=False) for k in range(1, options.people)))


def plan_unused(name: str, folder: Path, options: CaptureOptions) -> Outputs:
    """Like ``plan_outputs``, under the first of NAME, NAME-2, NAME-3 ... of which no file is there yet."""
    number, tried = 1, name
    while True:
        outputs = plan_outputs(tried, folder, options)
        part = outputs.take.with_name(outputs.take.name + PART_SUFFIX)
        if not any(path.exists() for path in (outputs.take, part, *outputs.exports.values())):
            return outputs
        number += 1
        tried = f"{name}-{number}"


def numbered(path: Path | None, number: int) -> Path | None:
    """A path for the second and every further take of a run: report.json, report-2.json ..."""
    return path if path is None or number == 1 else path.with_stem(f"{path.stem}-{number}")


def raise_joined(failed: Sequence[HmcapError]) -> None:
    """Raise what went wrong while other things went on, as one error; nothing where nothing did."""
    if failed:
        raise HmcapError(" ".join(str(error) for error in failed))


def check_writable(folder: Path) -> None:
    """Raise ``HmcapError`` unless files can be made in the folder; it is made where missing."""
    probe = folder / f".hmcap-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Access rights say little on network and container file systems: only writing tells.
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise HmcapError(
            f"Expected to be able to write into the folder {folder}; the system said: {error.strerror or error}. "
            "Name a folder that you may write to: --out FOLDER"
        ) from error


@contextmanager
def no_empty_folder(outputs: Outputs) -> Iterator[None]:
    """Where what happens inside fails, the folders that it made for the outputs and left empty go again."""
    everybody = (outputs, *outputs.others)
    paths = [p for o in everybody for p in (o.take, *o.exports.values(), o.overlay, o.side_by_side, o.report) if p]
    missing = {folder for path in paths for folder in path.parents if not folder.exists()}
    try:
        yield
    except BaseException:
        for folder in sorted(missing, key=lambda f: len(f.parts), reverse=True):
            with suppress(OSError):  # it holds something, or somebody else has removed it
                folder.rmdir()
        raise


def _video_path(option: str, name: str | Path | None) -> Path | None:
    if name is None:
        return None
    path = user_path(name)
    if path.suffix.lower() not in (".mp4", ".m4v", ".mov"):
        raise UsageError(f"{option} writes an MP4 video; found {path}. Try {option} {path.with_suffix('.mp4')}")
    return path


def _same(a: Path, b: Path) -> bool:
    return a.exists() and b.exists() and os.path.samefile(a, b)


def write_files(
    take: Take,
    outputs: Outputs,
    options: ExportOptions,
    footage: str | Path,
    report: Report,
    display: Display,
    *,
    beside: Sequence[Take] = (),
) -> list[Path]:
    """Write what ``outputs`` names, and print the report; returns the files. One that fails stops none of the others:
    its HmcapError is raised at the end. ``beside``: takes of other people, whom the overlay shows too."""
    files: list[Path] = []
    failed: list[HmcapError] = []
    if outputs.exports:
        count = len(take.motion)
        with enough_memory("prepare the files", count, _IN_PARTS):
            ready = prepare(take, options)
        for change in ready.changes:
            display.say(change)
        for name, path in outputs.exports.items():
            try:
                with enough_memory(f"write {path.name}", count, _IN_PARTS):
                    EXPORTERS[name].export(ready, path)
            except HmcapError as error:  # the other files are written all the same
                failed.append(error)
                continue
            written = EXPORTERS[name].files(path)
            files += written
            display.say(f"{name}: {', '.join(str(file) for file in written)}")
    if options.alters and (outputs.overlay or outputs.side_by_side or not outputs.exports):
        display.say(
            "Trimming, smoothing and held feet are for exported files; take, videos and report stay as captured."
        )
    for write in (
        lambda: _write_videos([take, *beside], outputs, footage, display),
        lambda: write_report(report, outputs.report),
    ):
        try:
            files += write()
        except HmcapError as error:
            failed.append(error)
    display.table("Report", report.rows())
    raise_joined(failed)
    return files


def _write_videos(takes: Sequence[Take], outputs: Outputs, footage: str | Path, display: Display) -> list[Path]:
    """Draw the videos that ``outputs`` names in one pass over the footage; returns the files written."""
    if outputs.overlay is None and outputs.side_by_side is None:
        return []
    with display.stage("video", len(takes[0].motion)) as progress:

        def advance(done: int, total: int) -> None:
            progress.update(done, total)

        videos = write_videos(
            takes, footage, overlay=outputs.overlay, side_by_side=outputs.side_by_side, progress=advance
        )
    for video in videos:
        display.say(f"{video.renderer}: {video.path}")
    for warning in dict.fromkeys(text for video in videos for text in video.warnings):
        display.say(f"Warning: {warning}")
    return [video.path for video in videos]


def write_report(report: Report, path: Path | None) -> list[Path]:
    """Write the report as JSON to ``path``, if there is one; returns the files written."""
    if path is None:
        return []
    with atomic_path(path) as part:
        part.write_text(json.dumps(report.to_dict(), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return [path]
