"""What bad proxies do to the motion: a table of faults.

    python -m hmcap.tools.motion_faults TAKE... [--motion networks,solver] [--mode live,take] [--only WORDS]
        [--frames 150] [--out faults.json]

A take's proxies are spoiled for a span, the motion is solved again, and compared with that of the take as it was.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ...models.body import load_body
from ...models.camera import Camera
from ...models.errors import HmcapError
from ...models.motion import MotionFrame
from ...models.proxies import Proxies
from ...models.solver.settings import SolverSettings
from ...realtime.journal_reading import read_take
from ...realtime.motion import Motion, SolverMotion, open_networks
from .measure import compare
from .spoil import faults

MODES = ("live", "take")
_HEAD = ("fault", "NaN", "m/frame", "m/s", "root deg", "joint deg", "finger", "measured", "conf", "back s", "place m",
         "worst m")  # fmt: skip


def motion_of(motion: Motion, mode: str, proxies: Sequence[Proxies], camera: Camera) -> Sequence[MotionFrame]:
    """The motion of some frames, as a whole take or frame by frame."""
    model, settings = load_body(), SolverSettings()
    if mode == "take":
        return motion.solve(list(proxies), camera, settings=settings, model=model, progress=None)
    stage = motion.live(camera, settings, model)
    return [stage.push_all([p])[0] for p in proxies]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 0."""
    parser = argparse.ArgumentParser(prog="python -m hmcap.tools.motion_faults", description=__doc__)
    parser.add_argument("takes", nargs="+", type=Path)
    parser.add_argument("--motion", default="networks,solver")
    parser.add_argument("--mode", default="live,take")
    parser.add_argument("--only", default="", help="faults whose names hold this")
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(argv)
    model, rows = load_body(), []
    for path in args.takes:
        take = read_take(path)
        proxies = list(take.proxies)[: args.frames]
        stamps = np.array([p.stamp_s for p in proxies])
        for way in args.motion.split(","):
            motion = open_networks(live=True) if way == "networks" else SolverMotion()
            for mode in args.mode.split(","):
                clean = motion_of(motion, mode, proxies, take.camera)
                print(f"\n{path.stem}, {way}, {mode}\n" + " | ".join(_HEAD), flush=True)
                for fault in faults(take.fps):
                    if args.only not in fault.name:
                        continue
                    bad, span = fault.of(proxies)
                    began = time.perf_counter()
                    try:
                        found = compare(clean, motion_of(motion, mode, bad, take.camera), span, stamps, model)
                    except (HmcapError, ValueError, FloatingPointError, np.linalg.LinAlgError) as error:
                        print(f"{fault.name} | RAISED {type(error).__name__}: {error}", flush=True)
                        rows.append({"take": path.stem, "way": way, "mode": mode, "fault": fault.name,
                                     "raised": str(error)})  # fmt: skip
                        continue
                    figures = asdict(found)
                    values = [f"{v:.3g}" for v in figures.values()]
                    print(" | ".join([fault.name, *values]), flush=True)
                    rows.append({"take": path.stem, "way": way, "mode": mode, "fault": fault.name, **figures,
                                 "took_s": time.perf_counter() - began})  # fmt: skip
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
