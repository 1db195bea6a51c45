"""``hmcap eval``: accuracy on footage with truth, this software beside others, by the same code on the same frames."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import platformdirs

from ...engines.backends import choose_backend
from ...models.errors import HmcapError, UsageError
from ...realtime.cli import one_paragraph
from ...realtime.parsers import Parser
from ...realtime.progress import Display, open_console, printable
from .evaluate import Evaluation, evaluate
from .methods.landmarks import EngineOptions, Landmarks
from .methods.networks import Networks
from .methods.own import Context
from .methods.sources import FIRST_ROWS, ON_REQUEST, Kept, Source, SourceOptions, find_sources
from .records import Case
from .report.compare import compare, print_comparison
from .report.page import write_page
from .report.results import write_json
from .report.table import print_tables
from .sets.registry import SETS, SetMissing, load_set

DATA_ENVIRONMENT = "HMCAP_DATA"
_INTRO = """\
Accuracy on footage with truth: this software beside others, the same code on the same frames.

  hmcap eval                                      every set that is found, every method that can run
  hmcap eval beam 3dpw=/data/3DPW                 sets by name, with a folder where they are elsewhere
  hmcap eval --list                               sets and methods, and where each stands
  hmcap eval beam --list                          the cases of a set, too
  hmcap eval --out report                         report/results.json and report/report.html too
  hmcap eval --compare a.json b.json              gains and regressions from a to b
"""
_OUTRO = (
    "Sets, methods and the layout of prediction files: docs/evaluation.md. "
    "Exit codes: 0 done, 1 something could not be evaluated, 2 wrong usage."
)


def parser() -> argparse.ArgumentParser:
    """Parser of ``hmcap eval``."""
    made = Parser(
        "hmcap eval", description=_INTRO, epilog=_OUTRO, formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="hmcap eval [SET | SET=FOLDER ...] [options]", allow_abbrev=False,
    )  # fmt: skip
    made.add_argument("sets", metavar="SET", nargs="*", help=f"{', '.join(SETS)} (default: all that are found)")
    made.add_argument("--data", metavar="FOLDER", help=f"folder that holds the sets (default: ${DATA_ENVIRONMENT})")
    made.add_argument("--methods", metavar="NAMES", help="for example solver,mediapipe (default: all that can run)")
    made.add_argument(
        "--predictions", metavar="FOLDER",
        help="folder of kept predictions, and of those you bring as METHOD/SET/CASE.npz (default: the user's cache)",
    )  # fmt: skip
    made.add_argument("--peer-python", metavar="FILE", help="Python of an environment with mediapipe==0.10.21")
    made.add_argument("--cases", metavar="PATTERN", default="*", help="cases to take: a glob over CASE or SET/CASE")
    made.add_argument("--frames", metavar="N", type=int, help="take the first N rows of each case only")
    made.add_argument("--fresh", action="store_true", help="make every prediction anew")
    made.add_argument(
        "--camera", choices=("truth", "default"), default="truth",
        help="lens that our methods are told: the true one (default), or the default field of view",
    )  # fmt: skip
    made.add_argument("--engine", metavar="NAME", default="auto", help="auto (default), openvino or onnxruntime")
    made.add_argument("--device", metavar="NAME", default="cpu", help="cpu (default), cuda, ...")
    made.add_argument("--threads", metavar="N", type=int, help="CPU threads of each network")
    made.add_argument(
        "--motion-weights", metavar="FILE", help="ONNX file of motion networks other than the built-in ones"
    )
    made.add_argument("--out", metavar="FOLDER", help="write results.json and report.html there")
    made.add_argument(
        "--list", action="store_true", help="only list sets and methods, and the cases of sets that are named"
    )
    made.add_argument(
        "--compare", metavar=("A.json", "B.json"), nargs=2, help="compare two results and do nothing else"
    )
    made.add_argument("--quiet", action="store_true", help="print errors only")
    made.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code. Raises ``HmcapError`` where nothing can be done as asked."""
    options = parser().parse_args(sys.argv[1:] if argv is None else list(argv))
    console = open_console(options.quiet)
    if options.compare is not None:
        print_comparison(compare(*map(Path, options.compare)), console)
        return 0
    if options.frames is not None and options.frames < 1:
        raise UsageError(f"--frames takes a number of rows, 1 or more; found {options.frames}.")
    display = Display(not options.quiet, console)
    sources = find_sources(_source_options(options))
    places = set_places(options.sets, options.data)
    if options.list:
        _list(places, bool(options.sets), sources, display)
        return 0
    chosen = choose_sources(options.methods, sources)
    sets = _open_sets(places, bool(options.sets), data_folder(options.data), display)
    if any(isinstance(s, Kept) for s in chosen):
        choose_backend(options.engine, options.device)  # one that is not there is not the fault of every case
    for source in chosen:
        if isinstance(source, Kept) and isinstance(source.method, Networks):
            source.method.check()
    out = None if options.out is None else _out_folder(options.out)
    folder = _predictions_folder(options)
    try:
        found = evaluate(sets, chosen, display, pattern=options.cases, frames=options.frames)
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt(f"stopped; what was predicted until now is kept in {folder}.") from interrupt
    return _report(found, options, out, display, [s.name for s in chosen])


def set_places(words: Sequence[str], data: str | None) -> dict[str, Path | None]:
    """Folder of each set that is asked for (of all sets, where none is), None where nothing says where it lies.

    ``words``: SET or SET=FOLDER. ``data``: folder of all sets; None for that of the environment. Raises UsageError for
    a name that is no set.
    """
    base = data_folder(data)
    places: dict[str, Path | None] = {}
    for word in words or SETS:
        name, equals, folder = word.partition("=")
        if name not in SETS:
            raise UsageError(f"Expected the name of a set ({', '.join(SETS)}), found {name!r}. See: hmcap eval --list")
        if name in places or (equals and not folder):
            found = "twice" if name in places else "without one"
            raise UsageError(f"Expected each set once, with a folder behind '=', found {name} {found}. Say it again.")
        if equals:
            places[name] = _path(folder)
        else:
            places[name] = None if base is None else base / SETS[name].relative
    return places


def data_folder(data: str | None) -> Path | None:
    """Folder of all sets: ``data``, or that of the environment; None where nothing names one."""
    text = data if data is not None else os.environ.get(DATA_ENVIRONMENT, "").strip()
    return _path(text) if text else None


def choose_sources(names: str | None, sources: dict[str, Source]) -> list[Source]:
    """The sources of the methods asked for, in the order of the list; all but those on request, where none is."""
    if names is None:
        return [s for n, s in sources.items() if n not in ON_REQUEST]
    wanted = [n.strip() for n in names.split(",") if n.strip()]
    unknown = [n for n in wanted if n not in sources]
    if unknown or not wanted:
        found = repr(unknown[0]) if unknown else "none"
        raise UsageError(
            f"Expected methods among {', '.join(sources)}, found {found}. Predictions of another system are found as "
            "METHOD/SET/CASE.npz in the folder of --predictions. See: hmcap eval --list"
        )
    return [s for n, s in sources.items() if n in wanted]


def default_predictions_folder() -> Path:
    """Where predictions are kept unless --predictions names a folder."""
    return Path(platformdirs.user_cache_dir("hmcap", appauthor=False), "evaluation")


def _predictions_folder(options: argparse.Namespace) -> Path:
    return default_predictions_folder() if options.predictions is None else _path(options.predictions)


def _path(text: str) -> Path:
    # os.path leaves the ~ of somebody unknown as it is, where pathlib ends in an error
    return Path(os.path.expanduser(text))


def _out_folder(text: str) -> Path:
    """The folder of --out, made before anything is predicted: better to fail now than after hours."""
    if not text:
        raise UsageError("--out takes a folder; found nothing.")
    folder = _path(text)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HmcapError(
            f"Expected a folder for the report at {folder}, but the system says: {error.strerror or error}. Name "
            "another with --out FOLDER."
        ) from error
    return folder


def _source_options(options: argparse.Namespace) -> SourceOptions:
    folder = _predictions_folder(options)
    if options.predictions == "" or (folder.exists() and not folder.is_dir()):
        found = f"the file {folder}" if options.predictions else "nothing"
        raise UsageError(f"--predictions takes a folder; found {found}.")
    own = folder if options.frames is None else folder / f"{FIRST_ROWS}{options.frames}"
    if options.threads is not None and options.threads < 1:
        raise UsageError(f"--threads takes a number of threads, 1 or more; found {options.threads}.")
    engine = EngineOptions(options.engine, options.device, options.threads)
    weights = None if options.motion_weights is None else _path(options.motion_weights)
    landmarks = Landmarks(own / "proxies", engine, fresh=options.fresh)
    context = Context(landmarks, options.camera, engine=engine, motion_weights=weights)
    python = None if options.peer_python is None else _path(options.peer_python).absolute()
    return SourceOptions(folder, context, own, python, options.fresh)


def _open_sets(
    places: dict[str, Path | None], named: bool, data: Path | None, display: Display
) -> dict[str, Callable[[], Iterator[Case]]]:
    """What gives the cases of each set that is there. One that was asked for by name (``named``) has to be."""
    sets: dict[str, Callable[[], Iterator[Case]]] = {}
    skipped = []
    for name, folder in places.items():
        if folder is None or not folder.is_dir():
            if named:
                raise _missing(name, folder)
            skipped.append(name if folder is None else f"{name} (no {folder})")
            continue
        sets[name] = partial(load_set, name, folder)
    if not sets:
        where = "" if data is None else f" in {data}" if data.is_dir() else f"; {data} is no folder"
        raise HmcapError(
            f"Expected at least one set, found none of {', '.join(SETS)}{where}. Set {DATA_ENVIRONMENT} or --data to "
            "the folder that holds them, or name one: hmcap eval 3dpw=FOLDER. What each is, and where it comes from: "
            "hmcap eval --list"
        )
    for text in skipped:
        display.say(f"skipped: {text}")
    return sets


def _missing(name: str, folder: Path | None) -> HmcapError:
    info = SETS[name]
    where = f"no folder {folder}" if folder else "nothing that says where it lies"
    return SetMissing(
        f"Expected the set {name} ({info.title}), found {where}. It holds {info.layout}. {info.obtain} Type: "
        f"hmcap eval {name}=FOLDER, or set {DATA_ENVIRONMENT} or --data to the folder that has {info.relative} in it."
    )


def _list(places: dict[str, Path | None], named: bool, sources: dict[str, Source], display: Display) -> None:
    """Print sets and methods; of sets that were asked for by name (``named``) the cases too."""
    rows = []
    for name, folder in places.items():
        there = folder is not None and folder.is_dir()
        state = f"found in {folder}" if there else "not found" if folder is None else f"not found in {folder}"
        rows.append((name, f"{SETS[name].title}; {state}" + ("" if there else f". {SETS[name].obtain}")))
    display.table("Sets", rows)
    display.say("")
    wanted = " (on request: --methods)"
    display.table(
        "Methods", [(n, f"{s.title}; {s.state}{wanted if n in ON_REQUEST else ''}") for n, s in sources.items()]
    )
    for name, folder in places.items() if named else ():
        if folder is not None and folder.is_dir():
            display.say("")
            cases = [
                (printable(c.name), f"{c.frames} frame{'' if c.frames == 1 else 's'}") for c in load_set(name, folder)
            ]
            display.table(f"Cases of {name}", cases)


def _report(
    found: Evaluation, options: argparse.Namespace, out: Path | None, display: Display, methods: Sequence[str]
) -> int:
    """Print and write what was found; returns the exit code."""
    for failure in found.failures:
        print(f"hmcap: {printable(failure.where)}: {one_paragraph(failure.error)}", file=sys.stderr)
    have = {method for _, _, method in found.predictions}
    absent = [m for m in methods if options.methods is not None and m not in have]
    for (method, why), count in found.missing.items():
        text = f"skipped: {method} for {count} {'case' if count == 1 else 'cases'}: {why}"
        if method in absent:
            print(f"hmcap: {printable(text)}", file=sys.stderr)
        else:
            display.say(text)
    if not found.measured:
        if found.failures or (found.missing and absent):
            return 1  # each was said above
        if found.missing:
            why = "; ".join(f"{method}: {reason}" for method, reason in found.missing)
            raise HmcapError(f"Expected at least one prediction to measure, found none. {why}")
        names = ", ".join(found.passed_over[:8]) + (", ..." if len(found.passed_over) > 8 else "")
        raise HmcapError(
            f"Expected a case that --cases {options.cases!r} fits, found {names}. It is a pattern in which * stands "
            "for anything; leave it out for all cases."
        )
    results = found.results()
    print_tables(results, open_console(options.quiet))
    if out is not None:
        write_json(results, out / "results.json")
        write_page(out / "report.html", results, found.cases, found.predictions)
        display.say(f"{out / 'results.json'}, {out / 'report.html'}")
    return 1 if found.failures or absent else 0
