"""Measure the landmark stage on rendered clips and write the noise model.

    python -m hmcap.tools.noise MEASUREMENT_FOLDER --out FILE [--plots FOLDER]

The model is first fitted to four fifths of the clips and compared with the rest (printed, and plotted); the file is
then fitted to all of them. The same clips give the same file.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ...engines.landmarks import DEFAULT_MODELS
from ...engines.registry import REGISTRY
from ...models.errors import HmcapError, UsageError
from .check import Comparison, Gaussian, compare, flag_agreement, summary
from .fit import fit
from .observe import Observation, find_clips, networks_version, observe
from .residuals import residuals

HELD_OUT_EVERY = 5
"""Every fifth clip is held out for the comparison."""
MIN_CLIPS = 5
SEED = 20


def provenance(clips: Sequence[Observation]) -> dict[str, object]:
    """What the model was measured with; no paths and no dates."""
    return {
        "software": f"hmcap {version('hmcap')}",
        "networks": {m: {"name": n, "sha256": REGISTRY[n].sha256} for m, n in sorted(DEFAULT_MODELS.items())},
        "networks_version": networks_version(),
        "clips": len(clips),
        "frames": sum(c.frames for c in clips),
        "frames_with_person": int(sum(c.present.sum() for c in clips)),
        "hands": int(sum(c.found.sum() for c in clips)),
        "seed": SEED,
    }


def _table(rows: Sequence[Comparison]) -> Table:
    table = Table(title="Held-out clips: observed, model, plain Gaussian")
    for column in ("figure", "observed", "model", "Gaussian", "unit"):
        table.add_column(column, justify="left" if column in ("figure", "unit") else "right", no_wrap=True)
    for r in rows:
        table.add_row(r.name, *(f"{v:.2f}" for v in (r.observed, r.model, r.gaussian)), r.unit)
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; exit code 0, or that of the error."""
    parser = argparse.ArgumentParser(
        prog="python -m hmcap.tools.noise", description=(__doc__ or "").split("\n\n")[0], allow_abbrev=False
    )
    parser.add_argument("folder", type=Path, help="rendered clips: <clip>/video.mp4 and truth.npz")
    parser.add_argument("--out", type=Path, required=True, help="npz to write")
    parser.add_argument("--plots", type=Path, help="folder for plots and the table of figures (figures.json)")
    parser.add_argument("--refresh", action="store_true", help="run the landmark stage again where its output is kept")
    args = parser.parse_args(argv)
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        if args.out.suffix != ".npz":
            raise UsageError(f"--out takes a file that ends in .npz; found {args.out}.")
        folders = find_clips(args.folder)
        if len(folders) < MIN_CLIPS:
            raise HmcapError(
                f"Expected at least {MIN_CLIPS} rendered clips in {args.folder}, found {len(folders)}. Render more."
            )
        clips = observe(folders, refresh=args.refresh, tell=lambda line: console.print(line, highlight=False))
        held_out = [c for i, c in enumerate(clips) if i % HELD_OUT_EVERY == HELD_OUT_EVERY - 1]
        rest = [c for i, c in enumerate(clips) if i % HELD_OUT_EVERY != HELD_OUT_EVERY - 1]
        trial = fit(rest)
        rows = compare(trial, Gaussian.fit(rest), held_out, SEED)
        console.print(_table(rows))
        totals = summary(rows)
        for name, (ours, plain) in totals.items():
            console.print(f"{name}: model {ours:.3f}, Gaussian {plain:.3f}", highlight=False)
        frames = sum(c.frames for c in clips)
        present, hands = (100 * sum(getattr(c, k).sum() for c in clips) / frames for k in ("present", "found"))
        console.print(f"all clips: person found in {present:.1f} %, a hand in {hands / 2:.1f} % of the frames")
        strangers = 100 * sum(residuals(c).strangers * c.frames for c in clips) / sum(c.frames for c in clips)
        both, truth_only, rods_only = (100 * v for v in flag_agreement(clips))
        console.print(
            f"points too far off to be this person's: {strangers:.2f} %. Hidden by the truth and by rods alike: "
            f"{both:.1f} %, by the truth alone: {truth_only:.1f} %, by rods alone: {rods_only:.1f} % of the points.",
            highlight=False,
        )
        model = fit(clips, provenance(clips))
        model.save(args.out)
        console.print(f"{args.out}: {args.out.stat().st_size / 1e3:.0f} kB, {len(clips)} clips", highlight=False)
        if args.plots is not None:
            from .plots import save_plots

            args.plots.mkdir(parents=True, exist_ok=True)
            save_plots(model, clips, args.plots, SEED)
            text = {r.name: [r.observed, r.model, r.gaussian, r.unit] for r in rows}
            (args.plots / "figures.json").write_text(
                json.dumps({"figures": text, "summary": totals, "provenance": json.loads(model.provenance)}, indent=1),
                encoding="utf-8", newline="\n",
            )  # fmt: skip
            console.print(f"plots in {args.plots}", highlight=False)
    except HmcapError as error:
        print(f"noise: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
