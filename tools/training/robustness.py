"""Error against how much of the input is missing, for one or several trained networks side by side.

    python -m hmcap.tools.training robustness OUT --held-out BANK NAME=RUN/best.pt [NAME=...]

Whole hands, limbs and spans of frames go missing until a given share of the proxies that were seen is gone; the same
frames and the same masks for every network. Writes ``robustness.csv`` and ``robustness.png`` into OUT.
"""

import argparse
import csv
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from ...models.body import load_body
from ...models.errors import HmcapError, UsageError
from ...models.networks.motion_network import MotionNetwork
from ..noise.batched import BatchedNoise
from ..noise.model import load_noise_model
from . import checkpoint
from .bank import load_bank
from .batches import Batch, Batches
from .held_out import held_out
from .masks import GROUPS, masked
from .scenes import SceneMaker

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
SPAN_FRAMES = (8, 60)
"""Shortest and longest span in which a group is missing."""
_SEED = 31


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("out", type=Path, help="folder to write into")
    parser.add_argument("networks", nargs="+", metavar="NAME=CHECKPOINT")
    parser.add_argument("--held-out", type=Path, required=True, help="motion bank to measure on")
    parser.add_argument("--takes", type=int, default=48)
    parser.add_argument("--frames", type=int, default=160)


def main(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    networks: dict[str, MotionNetwork] = {}
    unrefined = set()
    for text in args.networks:
        name, equals, path = text.partition("=")
        if not equals or not name:
            raise UsageError(f"Expected NAME=CHECKPOINT, found {text!r}. Write for example ours=run/best.pt.")
        saved = checkpoint.load(Path(path))
        networks[name] = checkpoint.network_of(saved, Path(path)).eval()
        if saved["stage"] == 1:
            unrefined.add(name)
    test = Batches(
        SceneMaker(load_bank(args.held_out), load_body()),
        BatchedNoise(load_noise_model()),
        masks=False,
        wrong_lens=False,
        clear=False,
    )
    batch = test.draw(torch.Generator().manual_seed(_SEED), args.takes, args.frames)
    rows = curve(networks, batch, unrefined=unrefined)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        with (args.out / "robustness.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(k for row in rows for k in row)), restval="")
            writer.writeheader()
            writer.writerows(rows)
        draw(rows, list(networks), args.out / "robustness.png")
    except OSError as error:
        raise HmcapError(f"Expected to write into {args.out}, but it cannot be written ({error}).") from error
    for row in rows:
        print(" ".join(f"{k} {v:.1f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))
    return 0


def curve(
    networks: dict[str, MotionNetwork],
    batch: Batch,
    shares: Sequence[float] = SHARES,
    *,
    unrefined: Collection[str] = (),
) -> list[dict]:
    """A row for each share of masked proxies and each network: ``network``, ``masked_percent``, and the measures of
    :func:`hmcap.tools.training.held_out.held_out` with the longest look-ahead.
    unrefined: networks whose descent is not trained yet."""
    rows = []
    for share in shares:
        hidden = replace(batch, seen=hide(batch, share, torch.Generator().manual_seed(_SEED)))
        was, now = (float((b.seen.confidence > 0).sum()) for b in (batch, hidden))
        for name, network in networks.items():
            values = held_out(network, [hidden], network.config.lookaheads[-1], descent=name not in unrefined)
            rows.append({"network": name, "masked_percent": 100 * (1 - now / was), **values})
    return rows


def hide(batch: Batch, share: float, generator: torch.Generator):
    """The batch's observations with spans of groups masked, until ``share`` of the seen proxies is gone."""
    o = batch.seen
    B, T = o.confidence.shape[:2]
    kept = torch.ones(B, T, o.confidence.shape[-1])
    wanted = (1 - share) * float((o.confidence > 0).sum())
    groups = GROUPS[GROUPS.sum(1) < 40]  # what is missing as a whole says nothing of robustness
    while float(((o.confidence > 0) & (kept > 0)).sum()) > wanted:
        take = int(torch.randint(B, (), generator=generator))
        group = groups[int(torch.randint(len(groups), (), generator=generator))]
        length = int(torch.randint(*SPAN_FRAMES, (), generator=generator))
        begin = int(torch.randint(1 - length, T, (), generator=generator))
        kept[take, max(0, begin) : begin + length, group] = 0
    body = kept[..., :25].amax(-1)
    hands = torch.stack([kept[..., 25:46].amax(-1), kept[..., 46:].amax(-1)], dim=-1)
    return masked(o, kept, body, hands)


def draw(rows: list[dict], names: Sequence[str], picture: Path) -> None:
    """The curves as PNG: body and hand error over the share that is missing."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    for i, (measure, title) in enumerate((("pa_mm", "body PA-MPJPE"), ("hand_pa_mm", "hand PA-MPJPE")), start=1):
        axes = figure.add_subplot(1, 2, i)
        for name in names:
            points = [(r["masked_percent"], r[measure]) for r in rows if r["network"] == name]
            axes.plot(*zip(*points, strict=True), marker="o", label=name)
        axes.set_xlabel("per cent of seen proxies masked")
        axes.set_ylabel(f"{title}, mm")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(picture, dpi=110)
