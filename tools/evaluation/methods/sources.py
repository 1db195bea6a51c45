"""Where predictions come from: methods that are run and kept, files that others made, peers, and the truth itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ....models.errors import HmcapError
from ....realtime.motion import DEFAULT_MOTION
from ..measure import truth_as_prediction
from ..records import TRUTH, Case, Prediction
from .landmarks import Progress
from .networks import NETWORKS
from .own import METHODS, Context, Method
from .peers import MediaPipe, PeerMissing
from .store import RESERVED, ForeignPrediction, is_brought, prediction_path, read_prediction, write_prediction

FIRST_ROWS = "first-rows-"
"""Beginning of the names of folders that keep what was made of first rows only."""


_AGAIN = "Delete it, or make it again with --fresh."
_CORRECT = "Correct the program that wrote it; docs/evaluation.md describes the layout."


class NotThere(HmcapError):
    """A source has nothing for a case, which is no fault of the case."""


class Source(Protocol):
    """Something that gives a method's predictions."""

    @property
    def name(self) -> str:
        """Name of the method."""
        ...

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        ...

    @property
    def state(self) -> str:
        """Where its predictions come from, in a few words; for the list of methods."""
        ...

    @property
    def of_whole_cases(self) -> bool:
        """Whether its predictions are for whole cases even where only their first rows are measured."""
        ...

    def predict(self, case: Case, progress: Progress) -> Prediction:
        """The prediction for a case. Raises :class:`NotThere` where there is none to be had."""
        ...


@dataclass(frozen=True, slots=True)
class Kept:
    """A method of this software: run once for each input, version and settings, and read from its file from then on."""

    method: Method
    folder: Path
    fresh: bool = False

    @property
    def name(self) -> str:
        """Name of the method."""
        return self.method.name

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return self.method.title

    @property
    def state(self) -> str:
        """Where its predictions come from."""
        return "runs here; its predictions are kept"

    of_whole_cases = False

    def predict(self, case: Case, progress: Progress) -> Prediction:
        """From the file where it is of this method, version and input, else made and kept."""
        path = prediction_path(self.folder, self.name, case)
        if path.is_file():
            if is_brought(path):
                raise HmcapError(
                    f"Expected a prediction that hmcap made in {path}, found one of another program, which is not "
                    f"written over. Move it to a folder of another name than {self.name}, and give it that method."
                )
            kept = None if self.fresh else self._kept(path, case)
            if kept is not None:
                return kept
        write_prediction(path, self.method.predict(case, progress), case)
        # Read back, so that the first run and every later one measure the same numbers.
        return read_prediction(path, case, self.name, _AGAIN)

    def _kept(self, path: Path, case: Case) -> Prediction | None:
        try:
            kept = read_prediction(path, case, self.name, _AGAIN)
        except ForeignPrediction:
            return None
        same = kept.version == self.method.version and dict(kept.settings) == dict(self.method.settings)
        return kept if same else None


@dataclass(frozen=True, slots=True)
class Brought:
    """Predictions of another system, as files in the layout of :mod:`.store`."""

    name: str
    """Name of the method, and of its folder."""
    folder: Path
    """The folder of all predictions."""

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return f"predictions in {self.folder / self.name}"

    @property
    def state(self) -> str:
        """Where its predictions come from."""
        return "read from files"

    of_whole_cases = True

    def predict(self, case: Case, progress: Progress) -> Prediction:
        """What the file says."""
        path = prediction_path(self.folder, self.name, case)
        if not path.is_file():
            raise NotThere(f"there is no {self.folder / self.name}/SET/CASE.npz for them.")
        return read_prediction(path, case, self.name, _CORRECT)


@dataclass(frozen=True, slots=True)
class Peer:
    """A system of others that a script of this software runs."""

    peer: MediaPipe

    @property
    def name(self) -> str:
        """Name of the method."""
        return self.peer.name

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return self.peer.title

    @property
    def state(self) -> str:
        """Where its predictions come from."""
        if self.peer.python is not None:
            return f"runs in {self.peer.python}; its results are kept"
        kept = any((self.peer.folder / self.name).rglob("*.npz"))
        return "read from the results that are kept" if kept else "needs --peer-python"

    of_whole_cases = False

    def predict(self, case: Case, progress: Progress) -> Prediction:
        """What its result says."""
        try:
            return self.peer.predict(case)
        except PeerMissing as error:
            raise NotThere(str(error)) from error


@dataclass(frozen=True, slots=True)
class Truth:
    """The truth put forward as a prediction: every error of it is zero, on any set that is laid out as it should be."""

    @property
    def name(self) -> str:
        """Name of the method."""
        return TRUTH

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return "the truth itself, to check a set"

    @property
    def state(self) -> str:
        """Where its predictions come from."""
        return "made from the set"

    of_whole_cases = False

    def predict(self, case: Case, progress: Progress) -> Prediction:
        """The truth."""
        return truth_as_prediction(case)


OWN_METHODS = METHODS | NETWORKS
"""This software's own methods by name."""
OWN = tuple(OWN_METHODS)
PEERS = ("mediapipe", "mediapipe-smooth")
ON_REQUEST = ("landmarks", TRUTH, *(() if DEFAULT_MOTION == "networks" else NETWORKS))
"""Methods that are measured only where they are named: those that are no whole system, and so would only take rows
from the comparison of the others (the landmark networks' own 3-D is missing where left and right were exchanged)."""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What the sources are made with."""

    folder: Path
    """Of all predictions."""
    context: Context
    own_folder: Path
    """Of what hmcap keeps: ``folder``, or a folder in it where only first rows are measured."""
    peer_python: Path | None = None
    fresh: bool = False


def find_sources(options: SourceOptions) -> dict[str, Source]:
    """Every source by its method's name: own methods, peers, brought predictions, the truth."""
    sources: dict[str, Source] = {
        n: Kept(make(options.context), options.own_folder, options.fresh) for n, make in OWN_METHODS.items()
    }
    for name in PEERS:
        smooth = name.endswith("-smooth")
        sources[name] = Peer(MediaPipe(options.own_folder / "peers", options.peer_python, smooth, options.fresh))
    sources |= {name: Brought(name, options.folder) for name in brought_methods(options.folder) if name not in sources}
    return sources | {TRUTH: Truth()}


def brought_methods(folder: Path) -> Sequence[str]:
    """Names of the folders in ``folder`` that hold predictions of methods which are not this software's own."""
    known = (*OWN, *PEERS, TRUTH, *RESERVED)
    if not folder.is_dir():
        return ()
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    return tuple(n for n in names if n not in known and not n.startswith(FIRST_ROWS))
