"""``soak``: a live run at full speed for as long as asked, recorded and with clients that read, and how it fares.

Pictures of a real clip are offered at a higher rate than the pipeline manages, so that it never rests; the newest wins.
Every few seconds memory, threads, open files, frames and delay are noted.
"""

import argparse
import dataclasses
import json
import logging
import multiprocessing
import os
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...models.errors import HmcapError
from ...models.motion import MotionFrame
from ...models.proxies import Proxies
from ...realtime.frames import Frame
from ...realtime.journal_reading import read_take
from ...realtime.options import CaptureOptions
from ...realtime.outputs import plan_outputs, plan_unused
from ...realtime.progress import Display
from ...realtime.run import Parts, Run
from ...realtime.take import TakeHeader
from ...realtime.watching import Running
from .footage import LoopedSource, made_up_pictures, pictures_of, stand_ins

WARM_UP_S = 120.0
"""Before this, memory still grows to its working size and is not judged."""
_DELAYS_KEPT = 1 << 14


@dataclass(frozen=True, slots=True)
class Sample:
    """The process at one moment."""

    at_s: float
    """Since the first frame."""
    rss_mb: float
    threads: int
    """Of the system, those of the inference engine included."""
    python_threads: int
    files: int
    """Open file descriptors, sockets included."""
    frames: int
    dropped: int
    journal_mb: float


@dataclass(eq=False)
class DelaySink:
    """Notes how long each frame took from the source to the sinks. A live output, so that a run takes it as it is."""

    source: LoopedSource
    said: tuple[str, ...] = ()
    delays_s: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_DELAYS_KEPT))
    """Moment and delay of the newest frames."""
    first_s: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_DELAYS_KEPT))
    """The same of the first minute."""
    running: Running | None = None
    ended: bool = False

    def open(self, header: TakeHeader) -> None:
        """Nothing to prepare."""

    def watch(self, running: Running) -> None:
        """The capture is about to start."""
        self.running = running

    def __call__(self, frame: Frame, proxies: Proxies, motion: MotionFrame | None) -> None:
        now = time.perf_counter()
        given = self.source.given_s.get(frame.index)
        if given is None:
            return
        self.delays_s.append((now, now - given))
        if (not self.first_s or now - self.first_s[0][0] < 60) and len(self.first_s) < _DELAYS_KEPT:
            self.first_s.append((now, now - given))

    def close(self) -> None:
        """The capture has ended; solving a take is not judged."""
        self.ended = True

    def release(self) -> None:
        """Nothing to release."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``soak``."""
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--out", type=Path, required=True, help="JSON file for samples and figures")
    parser.add_argument("--video", default="sample", help="clip whose first pictures are shown over and over")
    parser.add_argument("--motion", default="networks", choices=("solver", "networks"))
    parser.add_argument("--offered-fps", type=float, default=120.0, help="more than the pipeline manages")
    parser.add_argument("--every", type=float, default=5.0, metavar="S", help="seconds from sample to sample")
    parser.add_argument("--solve", action="store_true", help="solve the whole take afterwards too, as users' runs do")
    parser.add_argument("--stand-in", action="store_true", help="made-up footage and stages, no networks")


def main(args: argparse.Namespace) -> int:
    """Run, watch, and print the figures; 1 where the recorded take does not hold what was captured."""
    if not Path("/proc/self/status").is_file():
        raise HmcapError("Expected a system with /proc, to see memory and open files; this one has none. Use Linux.")
    with tempfile.TemporaryDirectory(prefix="hmcap-soak-") as folder:
        samples, delays, clients, kept, told = _run(args, Path(folder))
    figures = summary(samples, delays) | {"clients": clients, "frames_in_take": kept, "warnings": told}
    record = {"options": {k: str(v) for k, v in vars(args).items() if k != "run"}, "figures": figures}
    record["samples"] = [dataclasses.asdict(sample) for sample in samples]
    args.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for name, value in figures.items():
        print(f"{name:24s} {value}")
    return 0 if kept == figures["frames"] else 1


def _run(args: argparse.Namespace, folder: Path) -> tuple[list[Sample], DelaySink, dict[str, int], int, list[str]]:
    pictures = made_up_pictures() if args.stand_in else pictures_of(args.video)
    source = LoopedSource(pictures, args.offered_fps, args.minutes * 60)
    ports = _free_port(socket.SOCK_DGRAM), _free_port(socket.SOCK_STREAM)
    options = CaptureOptions(
        motion=args.motion, record=True, out=folder, vmc=f"127.0.0.1:{ports[0]}", websocket=f"127.0.0.1:{ports[1]}"
    )
    parts = stand_ins() if args.stand_in else Parts(solve=None if args.solve else stand_ins().solve)
    context = multiprocessing.get_context("spawn")
    counts: Any = context.Array("q", 2)
    # In a process of their own, so that what they need is not counted here.
    readers = context.Process(target=_read, args=(ports, counts), daemon=True)
    delays, samples, told = DelaySink(source), [], _Warnings()
    logging.getLogger("hmcap").addHandler(told)
    with closing(Run(source, options, plan_outputs("soak", folder, options), parts, Display(True))) as run:
        run.live_outputs.append(delays)
        readers.start()
        ended = threading.Event()
        watcher = threading.Thread(target=_watch, args=(delays, samples, folder, args.every, ended), daemon=True)
        watcher.start()
        result = run.live(False, lambda: plan_unused("soak", folder, options))
        ended.set()
        watcher.join()
    readers.kill()
    readers.join()
    logging.getLogger("hmcap").removeHandler(told)
    kept = sum(len(read_take(path).proxies) for path in result.takes)
    return samples, delays, {"vmc_packets": counts[0], "websocket_lines": counts[1]}, kept, told.said


class _Warnings(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def _watch(delays: DelaySink, samples: list[Sample], folder: Path, every_s: float, ended: threading.Event) -> None:
    began: float | None = None
    while not ended.wait(every_s if began is not None else 0.1):
        stats = None if delays.running is None else delays.running.stats()
        if stats is None or not stats.frames:
            continue
        if delays.ended:
            return
        began = time.monotonic() if began is None else began
        size = sum(path.stat().st_size for path in folder.glob("*.hmcap*"))
        samples.append(
            Sample(
                time.monotonic() - began, _rss_mb(), len(os.listdir("/proc/self/task")), threading.active_count(),
                len(os.listdir("/proc/self/fd")), stats.frames, stats.dropped, size / 1e6,
            )
        )  # fmt: skip


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def summary(samples: Sequence[Sample], delays: DelaySink) -> dict[str, Any]:
    """The figures of a run."""
    if len(samples) < 2:
        raise HmcapError("Expected two samples at least; the run was too short. Give it more --minutes")
    last = samples[-1]
    settled = [s for s in samples if s.at_s >= min(WARM_UP_S, last.at_s / 2)]
    slope = np.polyfit([s.at_s / 3600 for s in settled], [s.rss_mb for s in settled], 1)[0] if len(settled) > 1 else 0
    end = delays.delays_s[-1][0] if delays.delays_s else 0.0
    newest = [d for at, d in delays.delays_s if at > end - 60]
    first = [d for _, d in delays.first_s]
    return {
        "minutes": round(last.at_s / 60, 2),
        "frames": delays.running.stats().frames if delays.running else 0,
        "fps": round(last.frames / last.at_s, 1),
        "dropped": last.dropped,
        "memory_mb": [round(settled[0].rss_mb), round(last.rss_mb)],
        "memory_mb_per_hour": round(float(slope), 1),
        "threads": [samples[0].threads, last.threads],
        "python_threads": [samples[0].python_threads, last.python_threads],
        "files": [samples[0].files, last.files],
        "delay_ms_first_minute": _spread_ms(first),
        "delay_ms_last_minute": _spread_ms(newest),
        "journal_mb": round(last.journal_mb, 1),
        "journal_mb_per_hour": round(last.journal_mb / last.at_s * 3600),
    }


def _spread_ms(delays_s: Sequence[float]) -> dict[str, float]:
    if not delays_s:
        return {}
    return {
        "p50": round(float(np.percentile(delays_s, 50)) * 1e3, 1),
        "p95": round(float(np.percentile(delays_s, 95)) * 1e3, 1),
        "most": round(max(delays_s) * 1e3, 1),
    }


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _read(ports: tuple[int, int], counts: Any) -> None:
    """A program that receives VMC, and one that reads the WebSocket."""
    from websockets.sync.client import connect

    def packets() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", ports[0]))
            while receiver.recv(65536):
                counts[0] += 1

    threading.Thread(target=packets, daemon=True).start()
    while True:
        try:
            with connect(f"ws://127.0.0.1:{ports[1]}") as client:
                for _ in client:
                    counts[1] += 1
        except OSError:  # not there yet
            time.sleep(0.2)
