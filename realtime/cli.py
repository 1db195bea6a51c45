"""The ``hmcap`` command."""

import argparse
import contextlib
import difflib
import logging
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from typing import Any

from ..models.errors import HmcapError, UsageError
from .interrupts import exit_code_of
from .parsers import Parser, capture_parser, export_parser, general_options, models_parser, play_parser

COMMANDS = ("export", "play", "models", "doctor")
"""Commands of the application itself."""
_MORE_COMMANDS = "hmcap.commands"
"""Group of entry points that add commands, each a function from arguments to exit code: capture needs none of them, so
that this module depends on no developer's tool."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. Errors are one paragraph on stderr; ``--debug`` adds a traceback."""
    if argv is None:
        from .process import Process

        process = Process()
        return process.finish(_run(sys.argv[1:]))
    return _run(list(argv))


def _run(words: list[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        # File names may hold characters that the console's code page lacks; a question mark is better than a crash.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    try:
        return _dispatch(words)
    except HmcapError as error:
        if "--debug" in words:
            traceback.print_exc()
        _tell(one_paragraph(error))
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        if "--debug" in words:
            traceback.print_exc()
        _tell(one_paragraph(interrupt) or "stopped.")
        return exit_code_of(interrupt)
    except BrokenPipeError:
        # The reader of our output went away (for example `| head`): nothing is left to say to it.
        sys.stdout = None
        return 1


def _tell(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # the terminal is gone
        print(f"hmcap: {text}", file=sys.stderr, flush=True)


def one_paragraph(error: BaseException) -> str:
    """The message of an error as the command line prints it."""
    from .progress import printable

    return printable(" ".join(str(error).split()))


def _dispatch(words: list[str]) -> int:
    if words and words[0] in COMMANDS:
        return {"export": _export, "play": _play, "models": _models, "doctor": _doctor}[words[0]](words[1:])
    if words and not words[0].startswith("-"):
        more = {point.name: point for point in entry_points(group=_MORE_COMMANDS)}
        if words[0] in more:
            return more[words[0]].load()(words[1:])
        commands = (*COMMANDS, *sorted(more))
        near = difflib.get_close_matches(words[0], commands, n=1)
        hint = f"Did you mean: hmcap {near[0]}?" if near else f"To capture a video: hmcap --video {words[0]}"
        raise UsageError(f"Expected an option or one of the commands {', '.join(commands)}; found {words[0]!r}. {hint}")
    return _capture(words)


def _capture(words: list[str]) -> int:
    parser = capture_parser()
    if not words:
        parser.print_help()
        return 2
    options = vars(parser.parse_args(words))
    quiet, _ = options.pop("quiet"), options.pop("debug")
    with _log_level(logging.ERROR if quiet else logging.NOTSET):
        return _captured(options, quiet)


@contextlib.contextmanager
def _log_level(level: int) -> Iterator[None]:
    """What the library says by itself (an engine that is built) is at least this grave."""
    log = logging.getLogger("hmcap")
    before = log.level
    log.setLevel(level)
    try:
        yield
    finally:
        log.setLevel(before)


def _captured(options: dict[str, Any], quiet: bool) -> int:
    video, webcam = options.pop("video", None), options.pop("webcam", None)
    if (video is None) == (webcam is None):
        found = "both" if video is not None else "neither"
        raise UsageError(f"Expected one of --video FILE and --webcam INDEX; found {found}. Try: hmcap --video sample")
    from .capture import capture_video, capture_webcam

    serve = "viewer" in options
    if webcam is not None:
        if webcam < 0:
            raise UsageError(f"--webcam takes an index, 0 or more; found {webcam}. Try --webcam 0")
        capture_webcam(webcam, show=not quiet, window=True, serve=serve, **options)
        return 0
    if "record" in options:
        raise UsageError("--record keeps a take of a webcam; --video always keeps one. Leave --record out.")
    capture_video(video, show=not quiet, serve=serve, **options)
    return 0


def _export(words: list[str]) -> int:
    options = vars(export_parser().parse_args(words))
    quiet, _ = options.pop("quiet"), options.pop("debug")
    take = options.pop("take")
    if not any("".join(options.get(name, ())) for name in ("to", "overlay", "side_by_side", "report")):
        raise UsageError(f"Expected what to write; found nothing. Try: hmcap export {take} --to bvh")
    from .capture import export_take

    export_take(take, show=not quiet, **options)
    return 0


def _play(words: list[str]) -> int:
    options = vars(play_parser().parse_args(words))
    quiet, _ = options.pop("quiet"), options.pop("debug")
    from .play import play_take

    play_take(options.pop("take"), show=not quiet, **options)
    return 0


def _models(words: list[str]) -> int:
    from ..engines import registry

    options = models_parser().parse_args(words)
    if options.command == "fetch":
        for name, path in registry.fetch(options.names or None).items():
            print(f"{name}: {path}")
    elif options.command == "add":
        info = registry.add(options.file, options.name, options.layout, options.role, options.licence, options.peak)
        print(f"{info.name}: {info.path}" + (f" ({info.layout})" if info.layout else ""))
    elif options.command == "build":
        _build(options)
    elif options.command == "convert":
        print(registry.convert(options.network, options.out))
    else:
        from .doctor import models_table

        models_table()
    return 0


def _build(options: argparse.Namespace) -> None:
    from ..engines.engine_cache import folder
    from .engines_ahead import build_engines

    for line in build_engines(
        options.names, engine=options.engine, compute_capability=options.compute_capability,
        precision=options.precision, out=options.out,
    ):  # fmt: skip
        print(line, flush=True)
    if options.out is None:
        print(f"folder: {folder()}")
    else:
        print(f"folder: {options.out}; copy its files into the engines folder that hmcap doctor shows over there")


def _doctor(words: list[str]) -> int:
    parser = Parser("hmcap doctor", description="What this machine can use, what is missing, and what to type next.")
    general_options(parser)
    parser.parse_args(words)
    from .doctor import examine

    return examine()


if __name__ == "__main__":
    sys.exit(main())
