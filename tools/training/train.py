"""Train the motion networks in two stages (ProxyCap supplement, section 1.3): the initialiser, then the descent.

    python -m hmcap.tools.training train RUN --bank BANK --held-out BANK [--size base] [--stage 1|2]

A run is a folder. The same command goes on where an interrupted run stopped; ``--stage 2`` starts from the weights of
stage 1 in the same folder. Accuracy on held-out scenes goes into ``curves.csv`` and ``curves.png`` every few minutes.
"""

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import torch

from ...models.body import load_body
from ...models.errors import HmcapError, UsageError
from ...models.networks.config import SIZES, NetworkConfig
from ...models.networks.motion_network import MotionNetwork
from ..noise.batched import BatchedNoise
from ..noise.model import load_noise_model
from . import checkpoint
from .bank import load_bank
from .batches import Batch, Batches, Draws, Mixture, Noise
from .curves import add_row, draw
from .held_out import held_out
from .losses import losses, total
from .rendered import RenderedBatches, RenderedTakes
from .scenes import SceneMaker
from .unroll import unroll

LEARNING_RATE = {1: 6e-4, 2: 6e-4}
"""Peak rate of each stage. The paper's 1e-4 belongs to one target a window; here every frame of a window is one."""
WARM_UP = 200
COOL_DOWN = 0.3
"""Share of a stage's steps over which the rate falls to a fiftieth."""
FILES, LIVE = 0.5, 0.25
"""Share of the steps with the longest look-ahead, and with none; the others take any."""
AVERAGE = 0.995
CLIP = 1.0
HELD_OUT_BATCHES, HELD_OUT_TAKES, HELD_OUT_FRAMES, HELD_OUT_SEED = 3, 24, 160, 2024


@dataclass(frozen=True)
class Settings:
    """What decides a run besides the networks' configuration."""

    stage: int
    steps: int
    takes: int
    frames: int
    seed: int
    noise: Noise
    masks: bool
    every_s: float
    device: str


def later_weights(iterations: int) -> list[float]:
    """Weights of the descent's iterations, which sum to one: each counts half as much again as the one before."""
    powers = [1.5**i for i in range(iterations)]
    return [p / sum(powers) for p in powers]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("folder", metavar="RUN", type=Path, help="folder of the run; goes on where it stopped")
    parser.add_argument("--bank", type=Path, required=True, help="motion bank to train on")
    parser.add_argument("--held-out", type=Path, required=True, help="motion bank to measure on")
    parser.add_argument("--size", choices=list(SIZES), default="base")
    parser.add_argument("--stage", type=int, choices=(1, 2), default=1, help="1 the initialiser, 2 the descent")
    parser.add_argument("--steps", type=int, default=20000, help="steps of this stage (default: 20000)")
    parser.add_argument("--takes", type=int, default=32, help="takes in a batch (default: 32)")
    parser.add_argument("--frames", type=int, default=160, help="frames of a take (default: 160)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--every-s", type=float, default=240.0, help="seconds between measurements (default: 240)")
    parser.add_argument("--noise", choices=("measured", "gaussian"), default="measured")
    parser.add_argument("--rendered", type=Path, help="folder of rendered clips to train and measure on as well")
    parser.add_argument("--rendered-share", type=float, default=0.3, help="share of the batches (default: 0.3)")
    parser.add_argument("--no-masks", action="store_true", help="without random masks")
    parser.add_argument("--zeros", action="store_true", help="zeros in place of partial convolution")
    parser.add_argument("--no-cross-attention", action="store_true")
    parser.add_argument("--no-contact-term", action="store_true", help="the descent without S_contact")
    parser.add_argument("--no-relative-3d", action="store_true", help="without the landmark networks' own 3-D")
    parser.add_argument("--from", dest="start", type=Path, help="checkpoint whose initialiser stage 2 starts from")


def main(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    config = replace(
        SIZES[args.size],
        partial=not args.zeros,
        cross_attention=not args.no_cross_attention,
        contact_term=not args.no_contact_term,
        relative_3d=not args.no_relative_3d,
    )
    if min(args.steps, args.takes) < 1 or args.frames <= max(config.lookaheads):
        raise UsageError(
            f"Expected at least one step and one take, and takes longer than {max(config.lookaheads)} frames, found "
            f"--steps {args.steps} --takes {args.takes} --frames {args.frames}."
        )
    if not 0 <= args.rendered_share < 1:
        raise UsageError(f"Expected --rendered-share from 0 to less than 1, found {args.rendered_share:g}.")
    settings = Settings(
        args.stage, args.steps, args.takes, args.frames, args.seed, args.noise, not args.no_masks, args.every_s,
        args.device,
    )  # fmt: skip
    body = load_body()
    noise = BatchedNoise(load_noise_model(), device=args.device)
    train: Draws = Batches(SceneMaker(load_bank(args.bank), body, args.device), noise, settings.noise, settings.masks)
    test = Batches(
        SceneMaker(load_bank(args.held_out), body, args.device), noise, masks=False, wrong_lens=False, clear=False
    )
    fixed = torch.Generator(args.device).manual_seed(HELD_OUT_SEED)
    held = {"": [test.draw(fixed, HELD_OUT_TAKES, HELD_OUT_FRAMES) for _ in range(HELD_OUT_BATCHES)]}
    if args.rendered is not None:
        clips = RenderedBatches(RenderedTakes(args.rendered, "train", args.device))
        train = Mixture(train, clips, args.rendered_share)
        held["rendered_"] = [RenderedBatches(RenderedTakes(args.rendered, "held out", args.device)).all()]
    Training(args.folder, config, settings, train, held, args.start).run()
    return 0


def finished(folder: Path, stage: int, steps: int) -> bool:
    """Whether the run in a folder is through with a stage of that many steps."""
    last = folder / "last.pt"
    if not last.is_file():
        return False
    saved = checkpoint.load(last)
    return saved["stage"] > stage or (saved["stage"] == stage and saved["step"] >= steps)


class Training:
    """One stage of a run."""

    def __init__(
        self,
        folder: Path,
        config: NetworkConfig,
        settings: Settings,
        train: Draws,
        held: Mapping[str, Sequence[Batch]],
        start: Path | None = None,
    ) -> None:
        """held: batches to measure on, by what the names of their columns begin with; the first decide which weights
        are the best. start: a checkpoint whose initialiser stage 2 begins with."""
        self.folder, self.config, self.settings = folder, config, settings
        self.train, self.held = train, held
        self.device = torch.device(settings.device)
        torch.manual_seed(settings.seed)
        self.network = MotionNetwork(config).to(self.device)
        self.step, self.best, self.spent_s, self.frames_seen = 0, math.inf, 0.0, 0
        folder.mkdir(parents=True, exist_ok=True)
        last = folder / "last.pt"
        self.generator = torch.Generator(self.device).manual_seed(settings.seed * 1000 + settings.stage)
        saved = checkpoint.load(last, self.device) if last.is_file() else None
        if saved is not None and NetworkConfig.from_dict(saved["config"], str(last)) != config:
            raise HmcapError(
                f"Expected {last} to hold the networks that these options describe, found other switches or sizes. Use "
                "the options that the run was started with, or another folder."
            )
        if saved is not None and saved["stage"] > settings.stage:
            raise UsageError(f"{folder} is at stage {saved['stage']} already. Use --stage {saved['stage']}.")
        if saved is not None:
            checkpoint.fill(self.network, saved["weights"], last)
        elif settings.stage == 2 and start is None:
            raise UsageError(f"Expected the weights of stage 1 in {last}, found none. Train it first, or give --from.")
        if start is not None and (saved is None or saved["stage"] < settings.stage):
            self._take_initialiser(start)
        elif saved is not None and saved["stage"] < settings.stage:
            self._take_initialiser(last)
        self.average = MotionNetwork(config).to(self.device).requires_grad_(False)
        self.average.load_state_dict(self.network.state_dict())
        trained = self.network.initialiser if settings.stage == 1 else self.network.descent
        self.network.initialiser.requires_grad_(settings.stage == 1)
        self.optimiser = torch.optim.Adam(trained.parameters(), LEARNING_RATE[settings.stage])
        if saved is not None and saved["stage"] == settings.stage:
            checkpoint.fill(self.average, saved["average"], last)
            self.optimiser.load_state_dict(saved["optimiser"])
            self.step, self.best, self.spent_s = saved["step"], saved["best"], saved["spent_s"]
            self.frames_seen = saved["frames_seen"]
            self.generator.set_state(saved["generator"].cpu())

    def _take_initialiser(self, path: Path) -> None:
        """Begin stage 2 with the averaged weights of stage 1."""
        saved = checkpoint.load(path, self.device)
        config = NetworkConfig.from_dict(saved["config"], str(path))
        if replace(config, contact_term=self.config.contact_term) != self.config:
            raise HmcapError(f"Expected the initialiser of these options in {path}, found another architecture.")
        weights = {k: v for k, v in saved["average"].items() if k.startswith("initialiser.")}
        checkpoint.fill(self.network.initialiser, {k.partition(".")[2]: v for k, v in weights.items()}, path)

    def run(self) -> None:
        """Train to the last step, measuring now and then."""
        s = self.settings
        started = measured = time.monotonic()
        terms_sum: dict[str, float] = {}
        count = 0
        while self.step < s.steps:
            for k, v in self._one_step().items():
                terms_sum[k] = terms_sum.get(k, 0.0) + v
            count += 1
            self.frames_seen += s.takes * s.frames
            now = time.monotonic()
            if now - measured >= s.every_s or self.step == s.steps:
                means = {k: v / count for k, v in terms_sum.items()}
                rate = count * s.takes * s.frames / (now - measured)
                self.spent_s += now - started
                self._measure(means, rate)
                started = measured = time.monotonic()
                terms_sum, count = {}, 0

    def rate(self, step: int) -> float:
        """Learning rate of a step: a linear warm-up, a plateau, a fall along a cosine."""
        peak, steps = LEARNING_RATE[self.settings.stage], self.settings.steps
        down = max(1, round(steps * COOL_DOWN))
        late = max(0.0, (step - (steps - down)) / down)
        return peak * min(1.0, (step + 1) / WARM_UP) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(late, 1.0))))

    def _lookahead(self) -> int:
        """That of files every second time, that of live capture every fourth, else any."""
        offered = self.config.lookaheads
        draw = float(torch.rand((), generator=self.generator, device=self.device))
        if draw < FILES + LIVE:
            return offered[-1] if draw < FILES else offered[0]
        return offered[int((draw - FILES - LIVE) / (1 - FILES - LIVE) * len(offered))]

    def _one_step(self) -> dict[str, float]:
        s = self.settings
        batch = self.train.draw(self.generator, s.takes, s.frames)
        lookahead = self._lookahead()
        states, box, truth = unroll(self.network, batch, lookahead, descent=s.stage == 2)
        wanted = states if s.stage == 1 else states[1:]
        weights = [1.0] if s.stage == 1 else later_weights(len(wanted))
        loss = box.new_zeros(())
        terms: dict[str, torch.Tensor] = {}
        for state, weight in zip(wanted, weights, strict=True):
            terms = losses(state, box, truth, self.network.points, batch.static)
            loss = loss + weight * total(terms, self.step / s.steps, descent=s.stage == 2)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate(self.step)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        parameters = [p for g in self.optimiser.param_groups for p in g["params"]]
        norm = torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        if not torch.isfinite(norm):
            raise HmcapError(
                f"Expected finite gradients, found {float(norm)} at step {self.step} of {self.folder}. The last "
                "checkpoint is whole: go on from it with another --seed, or look for damaged motion in the bank."
            )
        self.optimiser.step()
        self.step += 1
        with torch.no_grad():
            keep = min(AVERAGE, self.step / (self.step + 20))
            for a, p in zip(self.average.parameters(), self.network.parameters(), strict=True):
                a.lerp_(p, 1 - keep)
        return {"loss": float(loss.detach()), **{k: float(v.detach()) for k, v in terms.items()}}

    def _measure(self, means: dict[str, float], rate: float) -> None:
        row: dict[str, float] = {
            "stage": self.settings.stage,
            "step": self.step,
            "minutes": self.spent_s / 60,
            "frames": self.frames_seen,
            "frames_per_s": rate,
        }
        offered = self.config.lookaheads
        for lookahead, (kind, batches) in product((offered[0], offered[-1]), self.held.items()):
            measured = held_out(self.average, batches, lookahead, descent=self.settings.stage == 2)
            row |= {f"{kind}{k}@{lookahead}": v for k, v in measured.items()}
        row |= {f"loss_{k}": v for k, v in means.items()}
        add_row(self.folder / "curves.csv", row)
        draw(self.folder / "curves.csv", self.folder / "curves.png")
        kind = next(iter(self.held))
        score = row[f"{kind}pa_mm@{offered[-1]}"] + row[f"{kind}mpjpe_mm@{offered[-1]}"]
        saved = {
            "config": self.config.as_dict(),
            "stage": self.settings.stage,
            "step": self.step,
            "best": min(score, self.best),
            "spent_s": self.spent_s,
            "frames_seen": self.frames_seen,
            "weights": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
        }
        checkpoint.save(self.folder / "last.pt", saved)
        if score < self.best:
            self.best = score
            checkpoint.save(self.folder / "best.pt", saved)
        print(" ".join(f"{k} {v:.4g}" for k, v in row.items() if not k.startswith("loss_")), flush=True)
