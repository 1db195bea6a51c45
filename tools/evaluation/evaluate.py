"""One evaluation: every case of the chosen sets, every chosen method, measured on the rows that all of them found."""

import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ...models.errors import HmcapError, UsageError
from ...realtime.progress import Display
from .first_rows import head_of_case, head_of_prediction
from .measure import common_hands, common_keypoints, common_rows, found_rows, measure
from .methods.sources import NotThere, Peer, Source
from .records import Case, Measured, Prediction
from .report.results import Key, Results, make_results

_WORTH_SHOWING = 20
"""Frames below which a case is done before its progress could be read."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that could not be evaluated; the others went on."""

    where: str
    """Set, case and method, as far as they are known."""
    error: HmcapError


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What an evaluation leaves behind."""

    cases: list[Case] = field(default_factory=list)
    """Cases with at least one prediction, their first rows only where that was asked for."""
    predictions: dict[Key, Prediction] = field(default_factory=dict)
    """By (set, case, method)."""
    measured: list[Measured] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    """SET/CASE of the cases that the pattern does not fit."""
    missing: dict[tuple[str, str], int] = field(default_factory=dict)
    """(method, why it has nothing) -> for how many cases."""

    def results(self) -> Results:
        """What was measured, gathered."""
        return make_results(self.measured, self.cases, self.predictions)


def evaluate(
    sets: Mapping[str, Callable[[], Iterator[Case]]],
    sources: Sequence[Source],
    display: Display,
    *,
    pattern: str = "*",
    frames: int | None = None,
) -> Evaluation:
    """Predict and measure.

    Args:
        sets: by name, what gives the cases of each.
        sources: of the methods.
        display: shows progress.
        pattern: cases to take, a glob over CASE or SET/CASE.
        frames: rows of each case to take, the first ones; None for all.

    A set, a case or a method that fails is put down in ``failures``. Ctrl-C leaves every kept file whole.
    """
    out = Evaluation()
    for name, load in sets.items():
        whole = list(_cases(name, load, pattern, out))
        cases = [c if frames is None else head_of_case(c, frames) for c in whole]
        broken = _prepare(name, cases, sources, display, out.failures)
        for i, (all_rows, case) in enumerate(zip(whole, cases, strict=True)):
            label = f"{name}/{case.name} ({i + 1} of {len(cases)})"
            found = _predictions(all_rows, case, sources, broken, display, label, frames, out)
            if found:
                out.cases.append(case)
                out.measured.extend(_measure(case, found))
                out.predictions.update({(name, case.name, p.method): p for p in found})
    return out


def _cases(name: str, load: Callable[[], Iterator[Case]], pattern: str, out: Evaluation) -> Iterator[Case]:
    cases = load()
    while True:
        try:
            case = next(cases, None)
        except HmcapError as error:  # the rest of the set cannot be reached
            out.failures.append(Failure(name, error))
            return
        if case is None:
            return
        if any(fnmatch.fnmatchcase(text, pattern) for text in (case.name, f"{name}/{case.name}")):
            yield case
        else:
            out.passed_over.append(f"{name}/{case.name}")


def _prepare(
    name: str, cases: Sequence[Case], sources: Sequence[Source], display: Display, failures: list[Failure]
) -> set[tuple[str, str]]:
    """Have the peers run on all cases at once; (case, method) of those that failed.

    Raises UsageError where a peer's Python cannot be started at all.
    """
    broken: set[tuple[str, str]] = set()
    for source in sources:
        if not isinstance(source, Peer):
            continue
        try:
            errors = source.peer.prepare(cases, display.say)
        except UsageError:
            raise
        except HmcapError as error:
            failures.append(Failure(f"{name}, {source.name}", error))
            broken.update((case.name, source.name) for case in cases)
            continue
        for case, error in errors.items():
            failures.append(Failure(f"{name}/{case}, {source.name}", error))
            broken.add((case, source.name))
    return broken


def _predictions(
    all_rows: Case,
    case: Case,
    sources: Sequence[Source],
    broken: set[tuple[str, str]],
    display: Display,
    label: str,
    frames: int | None,
    out: Evaluation,
) -> list[Prediction]:
    found = []
    for source in sources:
        if (case.name, source.name) in broken:
            continue
        try:
            with _Progress(display, label) as progress:
                if source.of_whole_cases:
                    prediction = source.predict(all_rows, progress)
                    if frames is not None:
                        prediction = head_of_prediction(prediction, frames)
                else:
                    prediction = source.predict(case, progress)
            found_rows(case, prediction)  # whether truth and prediction fit together
            found.append(prediction)
        except NotThere as error:
            key = (source.name, str(error))
            out.missing[key] = out.missing.get(key, 0) + 1
        except HmcapError as error:
            out.failures.append(Failure(f"{case.set_name}/{case.name}, {source.name}", error))
    return found


def _measure(case: Case, predictions: Sequence[Prediction]) -> list[Measured]:
    rows, names = common_rows(case, predictions), common_keypoints(case, predictions)
    hands = common_hands(case, predictions)
    return [measure(case, p, rows, names, hands) for p in predictions]


class _Progress:
    """Shows the frames of one case, once a method has any to do: most are read from files."""

    def __init__(self, display: Display, label: str) -> None:
        self._display, self._label = display, label
        self._stage = None

    def __enter__(self) -> "_Progress":
        return self

    def __call__(self, done: int, total: int) -> None:
        if total < _WORTH_SHOWING:
            return
        if self._stage is None:
            self._stage = self._display.stage(self._label, total)
            self._stage.__enter__()
        self._stage.update(done)

    def __exit__(self, *error: object) -> None:
        if self._stage is not None:
            self._stage.__exit__(None, None, None)
