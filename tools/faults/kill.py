"""``kill``: captures that are killed with SIGKILL at random moments. Whatever they leave has to open; what it lacks of
the frames that had passed the sinks is the loss, measured through a pipe that the kill cannot empty.

The moments lie in every phase: most in the capture itself, some while the whole take is solved, while files are
exported, and at the very moment at which the take gets its name.
"""

import argparse
import dataclasses
import json
import multiprocessing
import os
import selectors
import shutil
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...models.errors import HmcapError
from ...realtime.capture import export_take
from ...realtime.journal_reading import PART_SUFFIX, read_take
from ...realtime.take import SUFFIX
from .footage import stand_ins
from .victim import EVENT, FRAME, PHASES, Capture, run

SHARES = {"capture": 0.7, "solve": 0.12, "export": 0.1, "rename": 0.08}
"""How many of the tries are killed in each phase."""
RENAME_S = 0.003
"""The moment of renaming: up to this long after it began."""
_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Told:
    """What a capture told of itself until it ended or was killed."""

    phases: dict[str, float]
    """Phase -> moment at which it began."""
    frames: tuple[tuple[int, float, float], ...]
    """Number, stamp and moment of every frame that had passed the sinks."""
    killed_s: float | None


@dataclass(frozen=True, slots=True)
class Try:
    """One capture that was killed, and what it left."""

    number: int
    phase: str
    """The one that it was killed in."""
    told: int
    """Frames that had passed the sinks."""
    kept: int
    """Frames among them that the file still has."""
    opened: bool
    exported: bool
    lost_wall_s: float
    """From the moment that the last kept frame had passed the sinks to the last one before the kill."""
    lost_footage_s: float
    """The same by the stamps of the footage."""
    files: tuple[str, ...]
    problem: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``kill``."""
    parser.add_argument("--tries", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=1, help="captures at the same time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="JSON file; tries that stand in it are not repeated")
    parser.add_argument("--video", default="sample", help="footage (default: the sample clip)")
    parser.add_argument("--motion", default="solver", choices=("solver", "networks"))
    parser.add_argument("--live", action="store_true", help="a recorded live run in place of a file")
    parser.add_argument("--seconds", type=float, default=12.0, help="length of a live run")
    parser.add_argument("--stand-in", action="store_true", help="made-up footage and stages, no networks")


def main(args: argparse.Namespace) -> int:
    """Run the tries that are missing, and print the table."""
    capture = Capture("", args.video, args.motion, args.seconds, args.live, args.stand_in)
    settings = {"seed": args.seed, **dataclasses.asdict(capture)}
    done = _earlier(args.out, settings)
    missing = [number for number in range(args.tries) if number not in {one.number for one in done}]
    if missing:
        durations_s = measure_phases(capture)
        print("phases: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in durations_s.items()), flush=True)
        with ThreadPoolExecutor(args.jobs) as pool:
            for one in pool.map(lambda number: kill_one(capture, number, args.seed, durations_s), missing):
                done.append(one)
                _save(args.out, settings, done)
                print(_line(one), flush=True)
    print(table(done))
    return 0 if all(one.opened and one.exported for one in done) else 1


def measure_phases(capture: Capture) -> dict[str, float]:
    """Seconds of each phase of a capture that nobody kills."""
    with tempfile.TemporaryDirectory(prefix="hmcap-kill-") as folder:
        told = _follow(dataclasses.replace(capture, folder=folder), None, 0.0)
    if "done" not in told.phases:
        raise HmcapError(
            "Expected a capture that nobody kills to end well; it did not. Try it by itself: hmcap --video "
            f"{capture.video} --motion {capture.motion}"
        )
    begins = [told.phases[name] for name in ("capture", "solve", "export", "done")]
    return {
        name: b - a for name, a, b in zip(("capture", "solve", "export"), begins, begins[1:], strict=False)
    }  # fmt: skip


def kill_one(capture: Capture, number: int, seed: int, durations_s: dict[str, float]) -> Try:
    """Kill one capture; when, the seed and the number say."""
    rng = np.random.default_rng((seed, number))
    phase = str(rng.choice(list(SHARES), p=list(SHARES.values())))
    after_s = rng.random() * durations_s.get(phase, RENAME_S)
    with tempfile.TemporaryDirectory(prefix="hmcap-kill-") as folder:
        told = _follow(dataclasses.replace(capture, folder=folder), phase, after_s)
        return judge(Path(folder), number, told)


def judge(folder: Path, number: int, told: Told) -> Try:
    """Open what a killed capture left in a folder, and count."""
    files = tuple(sorted(path.name for path in folder.iterdir()))
    phase = max(told.phases, key=lambda name: told.phases[name]) if told.phases else "start"
    takes = [folder / name for name in files if name.endswith((SUFFIX, SUFFIX + PART_SUFFIX))]
    kept: set[int] = set()
    opened = exported = True
    problems: list[str] = []
    for path in takes:
        try:
            take = read_take(path)
            kept |= {p.index for p in take.proxies}
        except HmcapError as error:
            # A capture that is killed before its first frame may leave a file without a header.
            opened = opened and not told.frames
            problems.append(str(error))
            continue
        if take.proxies:
            try:
                export_take(path, to="csv", out=folder / "again", solve=stand_ins().solve)
            except HmcapError as error:
                exported = False
                problems.append(str(error))
    if told.frames and not takes:
        opened = False
        problems.append("no take at all")
    lost = [frame for frame in told.frames if frame[0] not in kept]
    # Frames are appended in order: what is lost is the end.
    before = told.frames[len(told.frames) - len(lost) - 1] if len(lost) < len(told.frames) else None
    last = told.frames[-1] if told.frames else (0, 0.0, 0.0)
    since = before or (0, told.frames[0][1] if told.frames else 0.0, told.frames[0][2] if told.frames else 0.0)
    return Try(
        number, phase, len(told.frames), len(told.frames) - len(lost), opened, exported,
        last[2] - since[2] if lost else 0.0, last[1] - since[1] if lost else 0.0, files, " ".join(problems),
    )  # fmt: skip


def _follow(capture: Capture, phase: str | None, after_s: float) -> Told:
    """Run a capture and listen; kill it ``after_s`` seconds into ``phase``. None lets it end."""
    context = multiprocessing.get_context("forkserver")
    # Loaded once for all tries. Networks are opened by each for itself.
    context.set_forkserver_preload(["hmcap.tools.faults.victim"])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(capture, sender), daemon=True)
    process.start()
    sender.close()
    data, killed_s, deadline = bytearray(), None, time.monotonic() + _TIMEOUT_S
    kill_at: float | None = None
    seen = 0
    with selectors.DefaultSelector() as selector:
        selector.register(receiver.fileno(), selectors.EVENT_READ)
        while True:
            now = time.monotonic()
            if killed_s is None and (now > deadline or (kill_at is not None and now >= kill_at)):
                process.kill()
                killed_s = time.monotonic()
            wait_s = 1.0 if kill_at is None or killed_s is not None else max(0.0, kill_at - now)
            if not selector.select(wait_s):
                continue
            read = os.read(receiver.fileno(), 1 << 16)
            if not read:
                break
            data += read
            while kill_at is None and phase is not None and len(data) >= seen + EVENT.size:
                kind, moment, _, _ = EVENT.unpack_from(data, seen)
                seen += EVENT.size
                if kind != FRAME and PHASES[kind] == phase:
                    kill_at = moment + after_s
    receiver.close()
    process.join()
    return _told(bytes(data), killed_s)


def _child(capture: Capture, pipe: Any) -> None:
    run(capture, pipe.fileno())


def _told(data: bytes, killed_s: float | None) -> Told:
    events = [EVENT.unpack_from(data, at) for at in range(0, len(data) - EVENT.size + 1, EVENT.size)]
    phases: dict[str, float] = {}
    for kind, moment, _, _ in events:
        if kind != FRAME:
            phases.setdefault(PHASES[kind], moment)
    frames = tuple((index, stamp_s, moment) for kind, moment, index, stamp_s in events if kind == FRAME)
    return Told(phases, frames, killed_s)


def _earlier(path: Path, settings: dict[str, Any]) -> list[Try]:
    if not path.is_file():
        return []
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        same, tries = found["settings"] == settings, [Try(**one) for one in found["tries"]]
    except (ValueError, KeyError, TypeError) as error:
        raise HmcapError(f"Expected the tries of an earlier run in {path}; it holds something else.") from error
    if not same:
        raise HmcapError(
            f"Expected tries with the same options in {path}; these were made with others. Name another --out"
        )
    return tries


def _save(path: Path, settings: dict[str, Any], tries: Sequence[Try]) -> None:
    new = path.with_name(path.name + ".new")
    text = json.dumps({"settings": settings, "tries": [dataclasses.asdict(one) for one in tries]}, indent=1)
    new.write_text(text + "\n", encoding="utf-8")
    shutil.move(new, path)


def _line(one: Try) -> str:
    lost = one.told - one.kept
    state = "opened" if one.opened and one.exported else "NOT OPENED"
    return (
        f"{one.number:4d} {one.phase:8s} {one.told:5d} frames, {lost:3d} lost: {one.lost_wall_s * 1e3:5.0f} ms, "
        f"{one.lost_footage_s * 1e3:5.0f} ms of footage; {state}" + (f" ({one.problem})" if one.problem else "")
    )


def table(tries: Sequence[Try]) -> str:
    """What was lost, by the phase of the kill: median, 95th percentile and most."""
    rows = ["phase    | tries | opened | frames lost       | ms of time lost     | ms of footage lost"]
    for phase in (*PHASES, "all"):
        those = [one for one in tries if phase in (one.phase, "all")]
        if not those:
            continue
        columns = [
            [float(one.told - one.kept) for one in those],
            [one.lost_wall_s * 1e3 for one in those],
            [one.lost_footage_s * 1e3 for one in those],
        ]
        spread = " | ".join(
            f"{np.median(c):5.0f} {np.percentile(c, 95):5.0f} {max(c):5.0f}  " for c in columns
        )  # fmt: skip
        opened = sum(one.opened and one.exported for one in those)
        rows.append(f"{phase:8s} | {len(those):5d} | {opened:6d} | {spread}")
    rows.append("(median, 95 %, most)")
    return "\n".join(rows)
