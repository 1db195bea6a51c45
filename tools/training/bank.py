"""Build the motion bank that training draws from: recorded and generated motion on disk, read through the memory map.

    python -m hmcap.tools.training bank OUT --motions DIR [--hands DIR_OR_NPZ] [--licences permissive|all] [--hours 4]

:mod:`.bank_files` says what the files hold, :mod:`.bank_sources` where the motion comes from, and :mod:`.bank_weights`
how often each frame is drawn. The same folders, options and seed give the same bank; the splits share
neither clips nor key poses nor random numbers.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from ...models.body import BodyModel, load_body
from ...models.errors import HmcapError, UsageError
from ..motions.mocap import by_split, list_clips
from ..motions.variety import varied_motion
from .bank_files import Bank, Clips, load_bank, save_bank
from .bank_sources import (
    RATE_HZ,
    HandTake,
    Piece,
    Rows,
    generated,
    generated_hands,
    hand_files,
    of_split,
    pieces,
    recorded,
    recorded_hands,
    rows_of,
    steady,
)
from .bank_weights import frame_weights

__all__ = ["Bank", "Clips", "add_arguments", "build_bank", "load_bank", "main"]

Licences = Literal["permissive", "all"]
GENERATED_S = 12.0
"""Length of one clip of generated body motion."""


def build_bank(
    out: str | Path,
    motions: Path,
    hands: Path | None,
    *,
    licences: Licences,
    generated_hours: float,
    hand_hours: float,
    seed: int,
    tell: Callable[[str], None],
    split: str = "train",
) -> Bank:
    """Build a bank in the folder ``out`` and open it.

    motions: a folder in AMASS layout, of which one split is used; hands: a file or folder of key poses, or None for the
    built-in shapes; licences: "permissive" leaves out what is not known to allow any use; generated_hours, hand_hours:
    how much motion to make; tell: is given one line of progress now and then. Raises HmcapError naming the folder or
    file where there is nothing to use or something damaged, and before anything is written.
    """
    folder = Path(out).expanduser()
    permissive = licences == "permissive"
    entries = by_split(list_clips(motions), split, permissive)
    if not entries:
        known = " whose licence is known to allow any use" if permissive else ""
        raise HmcapError(
            f"Expected clips of the {split} split{known} in {motions}, found none. Name another folder, or say "
            "--licences all."
        )
    sets = [of_split(k, split) for k in hand_files(hands, permissive, tell)]
    if any(not len(k.poses) for k in sets):
        raise HmcapError(f"Expected at least 8 key poses in each file of {hands}, found fewer. Add some.")
    body = steady(load_body())
    clip_rng, made_rng, hand_rng, weight_rng = np.random.default_rng([seed, int(split == "test")]).spawn(4)

    clips = recorded(entries, body, tell)
    taken = _Body(body, tell)
    taken.add(pieces(clips, body, clip_rng))
    if generated_hours > 0:
        taken.add(_generated(generated_hours, made_rng, body))
    if not taken.rows:
        raise HmcapError(f"Expected motion of some seconds on the floor in {motions}, found none. Name another folder.")

    takes = [*recorded_hands(clips), *generated_hands(sets, 3600 * hand_hours, hand_rng)]
    if not takes:
        raise HmcapError("Expected hand motion for the bank, found none. Ask for some with --hand-hours.")
    arrays, body_clips, sources = taken.arrays(weight_rng)
    arrays["hands"], hand_clips = _hands(takes)
    about = {
        "rate_hz": RATE_HZ,
        "split": split,
        "licences": licences,
        "seed": seed,
        "sources": {
            "body": sources,
            "hands": [k.source for k in sets],
            "licence_of": {e.source: e.licence for e in entries},
        },
    }
    save_bank(folder, arrays, body_clips, hand_clips, about)
    bank = load_bank(folder)
    tell(f"wrote {folder}: {_hours(len(bank.body))} of body and {_hours(len(bank.hands))} of hand motion")
    return bank


class _Body:
    """Collects pieces of body motion."""

    def __init__(self, body: BodyModel, tell: Callable[[str], None]) -> None:
        self.body, self.tell = body, tell
        self.rows: list[Rows] = []
        self.table: list[tuple[str, str]] = []
        self.source: list[str] = []

    def add(self, more: Iterator[Piece]) -> None:
        for piece in more:
            self.rows.append(rows_of(piece, self.body))
            self.table.append((piece.kind, piece.name))
            self.source.extend(piece.source)
            if len(self.rows) % 200 == 0:
                self.tell(f"{len(self.rows)} pieces, {_hours(len(self.source))}")

    def arrays(self, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], Clips, dict[str, dict[str, float]]]:
        """The arrays of body motion, their table, and frames and weight by source."""
        frames = np.array([len(r.body) for r in self.rows])
        begin = np.concatenate([[0], np.cumsum(frames)[:-1]])
        kinds = [kind for kind, _ in self.table]
        is_generated = np.repeat([kind == "generated" for kind in kinds], frames)
        source = np.array(self.source)
        features = np.concatenate([r.features for r in self.rows])
        weight = frame_weights(features, source, is_generated, rng)
        arrays = {k: np.concatenate([getattr(r, k) for r in self.rows]) for k in ("body", "pelvis", "contact")}
        by_clip = np.add.reduceat(weight, begin)
        named = tuple("+".join(sorted(set(self.source[b : b + n]))) for b, n in zip(begin, frames, strict=True))
        clips = Clips(begin, frames, by_clip, named, tuple(kinds), tuple(name for _, name in self.table))
        sources = {
            str(s): {"frames": int((source == s).sum()), "weight": float(weight[source == s].sum())}
            for s in np.unique(source)
        }
        return {**arrays, "weight": weight}, clips, sources


def _generated(hours: float, rng: np.random.Generator, body: BodyModel) -> Iterator[Piece]:
    return generated(lambda r: varied_motion(r, GENERATED_S, RATE_HZ, body), 3600 * hours, rng, body)


def _hands(takes: list[HandTake]) -> tuple[np.ndarray, Clips]:
    frames = np.array([len(t.quaternions) for t in takes])
    begin = np.concatenate([[0], np.cumsum(frames)[:-1]])
    names = tuple(f"hand {i}" for i in range(len(takes)))
    texts = (tuple(t.source for t in takes), tuple(t.kind for t in takes), names)
    return np.concatenate([t.quaternions for t in takes]), Clips(begin, frames, frames / frames.sum(), *texts)


def _hours(frames: int) -> str:
    return f"{frames / RATE_HZ / 3600:.2f} h"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``bank``."""
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write; a bank that is there is replaced")
    parser.add_argument("--motions", type=Path, required=True, metavar="DIR", help="recorded motion in AMASS layout")
    parser.add_argument("--hands", type=Path, metavar="PATH", help="npz of hand key poses, or a folder of them")
    parser.add_argument(
        "--licences",
        choices=("permissive", "all"),
        default="permissive",
        help="permissive leaves out motion that is not known to allow any use (default: %(default)s)",
    )
    parser.add_argument("--split", choices=("train", "test"), default="train", help="default: %(default)s")
    parser.add_argument("--hours", type=float, default=4.0, help="generated body motion (default: %(default)g)")
    parser.add_argument("--hand-hours", type=float, default=2.0, help="generated hand motion (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)d")


def main(args: argparse.Namespace) -> int:
    """Build the bank that the options ask for; exit code."""
    for name in ("hours", "hand_hours"):
        if not 0 <= getattr(args, name) < 1000:
            raise UsageError(f"Expected --{name.replace('_', '-')} from 0 to 1000, found {getattr(args, name):g}.")
    bank = build_bank(
        args.out,
        args.motions,
        args.hands,
        licences=args.licences,
        generated_hours=args.hours,
        hand_hours=args.hand_hours,
        seed=args.seed,
        tell=lambda line: print(line, flush=True),
        split=args.split,
    )
    for name, of in sorted(bank.sources["body"].items()):
        print(f"{name:30s} {_hours(int(of['frames'])):>8s} {100 * of['weight']:5.1f} % of the drawn frames")
    return 0
