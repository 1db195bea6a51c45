"""Everything from motion files to the graph that a capture runs, in one command.

    python -m hmcap.tools.training retrain OUT --motions DIR [--hands PATH] [--licences all] [--size base]

Builds the banks, trains both stages and exports; each part that is there already is used as it is, so the same command
goes on where it was interrupted. OUT then holds ``bank``, ``bank_test``, ``run`` and ``motion_SIZE.onnx``.
"""

import argparse
from pathlib import Path

from ...models.errors import UsageError
from ...models.networks.config import SIZES
from ..noise.observe import find_clips
from . import bank, export, train
from .bank_files import load_bank

RENDERED_SHARE = {1: 0.3, 2: 0.5}
"""Share of each stage's batches that are made of rendered clips, where there are some."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for banks, run and graph")
    parser.add_argument("--motions", type=Path, required=True, metavar="DIR", help="recorded motion in AMASS layout")
    parser.add_argument("--hands", type=Path, metavar="PATH", help="npz of hand key poses, or a folder of them")
    parser.add_argument("--rendered", type=Path, metavar="DIR", help="rendered clips to train on as well")
    parser.add_argument("--licences", choices=("permissive", "all"), default="all", help="default: %(default)s")
    parser.add_argument("--size", choices=list(SIZES), default="base")
    parser.add_argument("--hours", type=float, default=4.0, help="generated body motion (default: %(default)g)")
    parser.add_argument("--steps", type=int, nargs=2, default=(40000, 15000), metavar=("FIRST", "SECOND"),
                        help="steps of both stages (default: 40000 15000)")  # fmt: skip
    parser.add_argument("--takes", type=int, default=24, help="takes in a batch (default: 24)")
    parser.add_argument("--frames", type=int, default=128, help="frames of a take (default: 128)")


def main(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    if min(args.steps) < 1:
        raise UsageError(f"Expected at least one step of each stage, found --steps {args.steps[0]} {args.steps[1]}.")
    if args.rendered is not None:
        find_clips(args.rendered)  # before hours of work
    for name, split, hours in (("bank", "train", args.hours), ("bank_test", "test", 0.0)):
        if not (args.out / name).is_dir():
            values = [args.out / name, "--motions", args.motions, "--licences", args.licences, "--split", split]
            values += ["--hours", hours] + (["--hands", args.hands] if args.hands else [])
            _run(bank, values)
        load_bank(args.out / name)
    for stage, steps in enumerate(args.steps, start=1):
        values = [args.out / "run", "--bank", args.out / "bank", "--held-out", args.out / "bank_test"]
        values += ["--size", args.size, "--stage", stage, "--steps", steps, "--takes", args.takes]
        if args.rendered is not None:
            values += ["--rendered", args.rendered, "--rendered-share", RENDERED_SHARE[stage]]
        if not train.finished(args.out / "run", stage, steps):
            _run(train, [*values, "--frames", args.frames])
    graph = args.out / f"motion_{args.size}.onnx"
    return _run(export, [args.out / "run" / "last.pt", "--out", graph, "--half", "--licence", args.licences])


def _run(command, values: list) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.main(parser.parse_args([str(v) for v in values]))
