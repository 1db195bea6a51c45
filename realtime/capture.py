"""Capture a video or a webcam into a take and its exports; the command line calls exactly these functions."""

import contextlib
import dataclasses
import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..models.errors import UsageError
from ..models.paths import user_path
from .exporters import ExportOptions
from .frames import Source
from .interrupts import Interrupts
from .journal_reading import PART_SUFFIX, read_take
from .locks import is_open
from .motion import Solve
from .named_by_takes import check_named_files, is_local_path, named_footage
from .options import CaptureOptions, parse_formats
from .outputs import CaptureResult, Outputs, no_empty_folder, plan_outputs, plan_unused, write_files
from .people import check_people
from .progress import Display
from .recovered import describe_recovery
from .report import summarise
from .run import Parts, Run
from .screen import why_no_screen
from .solving import solve_again
from .sources import SAMPLES, open_source


def capture_video(
    video: str | Path, *, show: bool = False, serve: bool = False, parts: Parts | None = None, **options: Any
) -> CaptureResult:
    """Capture a video file, a folder of images, a stream or ``sample`` into a take, and export it.

    ``options`` are the fields of :class:`CaptureOptions` (``export=("bvh", "npz")``, ``fov_deg=60``, ...). Pass 1 finds
    the landmarks and journals them; pass 2 solves the whole take; then the exports are written. Ctrl-C during pass 1
    ends it early and goes on with what was captured; a second one, or SIGTERM at any time, raises ``KeyboardInterrupt``
    and leaves a take that ``export_take`` can still solve. ``show`` prints progress and report. ``serve`` keeps a
    viewer open on the finished take until Ctrl-C, unless Ctrl-C ended the capture. Raises ``HmcapError``; where only
    the take had to move to another folder, or an output failed, once everything else is written.
    """
    choices, parts, display = CaptureOptions(**options), parts or Parts(), Display(show)
    choices.check_tokens_seen(show)
    with _opened(video, choices) as (source, runs):
        check_people(choices.people, source.live)
        outputs = plan_outputs(source.name, _folder(video, source, choices), choices)
        if source.live and (option := _asks_for_video(choices)):
            raise UsageError(f"{option} needs footage that can be read again; {source.spec} is live. Leave it out.")
        with contextlib.ExitStack() as stack:
            stack.enter_context(no_empty_folder(outputs))
            outputs.check(*_input_files(source))
            run = stack.enter_context(contextlib.closing(Run(source, choices, outputs, parts, display)))
            runs.append(run)
            result = run.file()
            if serve:
                run.serve(result)
            return result


def capture_webcam(
    webcam: int = 0,
    *,
    show: bool = False,
    window: bool = False,
    serve: bool = False,
    parts: Parts | None = None,
    **options: Any,
) -> CaptureResult:
    """Capture a webcam live until Ctrl-C, ``max_frames`` or ``end``; ``record`` or ``export`` keeps a take.

    ``options`` are the fields of :class:`CaptureOptions`. ``window`` shows the overlay, with keys that end the capture
    and start and stop recording (main thread only); where none opens, the browser viewer takes its place. Every
    recorded take is solved as a whole and exported once the capture has ended; ``serve`` then keeps a viewer open on
    the first, as in :func:`capture_video`. Raises ``HmcapError``.
    """
    choices, parts, display = CaptureOptions(**options), parts or Parts(), Display(show)
    choices.check_tokens_seen(show)
    if option := _asks_for_video(choices):
        raise UsageError(
            f"{option} needs footage that can be read again, which a webcam is not. Record the camera to a video "
            "file first and use --video, or watch the live window."
        )
    check_people(choices.people, live=True)
    no_window = why_no_screen() if window else ""
    if no_window:
        choices = fallback_viewer(choices)
        display.say(f"No window: {no_window}. Watch in a browser instead.")
    with _opened(webcam, choices) as (source, runs):

        def plan() -> Outputs:
            stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
            return plan_unused(f"{source.name}-{stamp}", _folder(None, source, choices), choices)

        outputs = plan()
        with contextlib.ExitStack() as stack:
            stack.enter_context(no_empty_folder(outputs))
            outputs.check(take=choices.records)
            run = stack.enter_context(contextlib.closing(Run(source, choices, outputs, parts, display)))
            runs.append(run)
            result = run.live(window and not no_window, plan)
            if serve:
                run.serve(result)
            return result


@contextlib.contextmanager
def _opened(spec: str | int | Path, choices: CaptureOptions) -> Iterator[tuple[Source, list[Run]]]:
    """The source, and a list for the runs over it: it is closed at the end unless one of them left it while it hung."""
    source = open_source(spec, fps=choices.fps, start_s=choices.start, end_s=choices.end, max_frames=choices.max_frames)
    runs: list[Run] = []
    try:
        yield source, runs
    finally:
        if not any(run.stuck for run in runs):
            source.close()


def fallback_viewer(choices: CaptureOptions) -> CaptureOptions:
    """The choices of a live capture that gets no window: the browser viewer shows it."""
    from .viewer.address import free_address  # a capture with a window needs none of it

    return choices if choices.viewer is not None else dataclasses.replace(choices, viewer=str(free_address()))


def export_take(
    take: str | Path,
    *,
    to: Sequence[str] | str = (),
    overlay: str | Path | None = None,
    side_by_side: str | Path | None = None,
    video: str | Path | None = None,
    out: str | Path | None = None,
    report: str | Path | None = None,
    show: bool = False,
    solve: Solve | None = None,
    **options: Any,
) -> CaptureResult:
    """Export a recorded take without running the networks again; solves it first where that was not done.

    ``to``: format names; ``options``: fields of ``ExportOptions``; ``overlay`` and ``side_by_side``: MP4 to write from
    the footage, which is ``video`` or else the source that the take names. Files go beside the take or to the folder
    ``out``. Of a take that was cut off, everything whole is used; of one that is still being recorded, what there is so
    far, and the recording is left alone. Raises ``HmcapError``.
    """
    path, display, export_options = user_path(take), Display(show), ExportOptions(**options)
    formats = parse_formats(to)
    recording = path.name.endswith(PART_SUFFIX) and is_open(path)
    recorded = read_take(path)
    check_named_files(recorded.header)
    final = path.with_name(path.name.removesuffix(PART_SUFFIX))
    choices = CaptureOptions(export=formats, overlay=overlay, side_by_side=side_by_side, report=report, out=out)
    folder = final.parent if out is None else user_path(out)
    outputs = dataclasses.replace(plan_outputs(final.name.removesuffix(final.suffix), folder, choices), take=final)
    footage = video if video is not None else recorded.header.source
    if video is None and _asks_for_video(choices):
        footage = named_footage(recorded.header)
    local = is_local_path(str(footage)) and Path(footage).is_file()
    # With --out, the disk of the take may be full or read-only: what is exported goes elsewhere.
    beside = out is None and not (recorded.solved or recording)
    with Interrupts(), no_empty_folder(outputs):
        outputs.check(path, *([Path(footage)] if local else []), take=beside)
        if recording:
            display.say(f"{path.name} is still being recorded; it holds {len(recorded.proxies)} frames so far.")
        else:
            for line in describe_recovery(recorded, path.name):
                display.say(line)
        if not recorded.solved:
            recorded = solve_again(recorded, path, None if recording else final, display, solve)
        summary = summarise(recorded)
        files = write_files(recorded, outputs, export_options, footage, summary, display)
    kept = final if final.is_file() and not recording else path
    return CaptureResult(kept, summary, tuple(files), False, (kept,))


def _asks_for_video(choices: CaptureOptions) -> str:
    """The first option that was given and draws from the footage; empty where none was."""
    videos = {"--overlay": choices.overlay, "--side-by-side": choices.side_by_side}
    return next((name for name, path in videos.items() if path is not None), "")


def _folder(video: str | Path | None, source: Source, choices: CaptureOptions) -> Path:
    if choices.out is not None:
        return user_path(choices.out)
    if video is None or source.live or "://" in str(video) or source.spec in SAMPLES:
        return Path.cwd()
    return user_path(video).resolve().parent


def _input_files(source: Source) -> list[Path]:
    path = Path(source.spec)
    return [path] if path.is_file() else []
