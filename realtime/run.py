"""One capture, from an open source to its report: pass 1 finds the landmarks and journals them, pass 2 solves the whole
take, then the files are written."""

import dataclasses
import datetime
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ..models.body import BodyModel, load_body
from ..models.camera import Camera
from ..models.errors import HmcapError
from ..models.motion import MotionFrame
from ..models.proxies import Proxies
from ..models.solver.settings import SolverSettings
from .camera_options import choose_camera, describe
from .frames import Source
from .interrupts import Interrupts
from .journal import TakeWriter, with_measured_fps, write_take
from .live_outputs import open_live_outputs
from .loop import CaptureLoop, LandmarkStage, MotionStage, RunStats, Sink
from .motion import Solve, SolverMotion
from .options import CaptureOptions, options_from_settings
from .outputs import Outputs, write_files, write_report
from .pacing import Paced
from .people import record_people
from .progress import Display
from .report import Report, summarise
from .sinks import JournalSink, RecentFrames
from .sources import SAMPLES
from .stages import open_landmarks, open_motion
from .take import Take, TakeHeader
from .window import LiveWindow, has_window


@dataclass(frozen=True, slots=True)
class Parts:
    """The stages of a run where a caller brings its own; None stands for the ones of this package."""

    landmarks: LandmarkStage | None = None
    motion: MotionStage | None = None
    solve: Solve | None = None


@dataclass(frozen=True, slots=True)
class CaptureResult:
    """What a run left behind."""

    take: Path | None
    """The take; None for a webcam run that was not recorded."""
    report: Report
    files: tuple[Path, ...]
    """Exports, overlay and report, in the order they were written."""
    interrupted: bool
    """True when Ctrl-C ended the capture early."""
    takes: tuple[Path, ...] = ()
    """Every take of the run, ``take`` first: one for each person."""


class Run:
    """One capture, from an open source to its report."""

    def __init__(
        self, source: Source, choices: CaptureOptions, outputs: Outputs, parts: Parts, display: Display
    ) -> None:
        self.source, self.choices, self.outputs, self.display = source, choices, outputs, display
        self.camera = choose_camera(source.width_px, source.height_px, choices.camera_options(), source.metadata)
        self.body = load_body(choices.body)
        self.landmarks = parts.landmarks or open_landmarks(choices)
        self.live_outputs = open_live_outputs(choices, self.body)
        live = source.live or bool(self.live_outputs)
        # a caller who brings all that a run needs of it waits for no weights
        brought = parts.solve is not None and (parts.motion is not None or not live)
        self.motion = SolverMotion() if brought else open_motion(choices, live=live)
        self.solve = parts.solve or self.motion.solve
        self.parts = parts
        self.warnings: list[str] = []
        networks = self.landmarks.engines | self.motion.engines
        engines = {n: {"backend": e.backend, "device": e.device} for n, e in networks.items()}
        self.header = TakeHeader(
            source=_opens_again(source),
            name=source.name,
            fps=source.fps,
            width_px=source.width_px,
            height_px=source.height_px,
            camera=self.camera,
            frame_count=source.expected_frames,
            live=source.live,
            engines=engines,
            settings=choices.to_settings(),
            created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            version=version("hmcap"),
        )
        size = f"{source.width_px}x{source.height_px}, {source.fps:.5g} fps"
        display.say(f"{source.name}: {size}" + (f", {source.expected_frames} frames" if source.expected_frames else ""))
        display.say(f"camera: {describe(self.camera)}")
        names = sorted({f"{e['backend']} on {e['device']}" for e in engines.values()})
        computing = "" if choices.precision == "f32" else f", {choices.precision}"
        display.say(f"networks: {', '.join(names)}{computing}")
        for part, network in choices.networks().items():
            display.say(f"{part} landmarks: {network['name']} ({network['layout']})")

    def file(self) -> CaptureResult:
        """Pass 1, pass 2, exports. Where somebody watches pass 1, the footage plays at its own rate, with the live
        motion."""
        record = self._recorded if self.choices.people == 1 else partial(record_people, self)
        if not self.live_outputs:
            return record([], None)
        self.source = Paced(self.source)
        return record(self.live_outputs, self._live_motion())

    def live(self, window: bool) -> CaptureResult:
        """Capture with the live stage; then, if recorded, solve the whole take and export."""
        motion = self._live_motion()
        sinks = list(self.live_outputs)
        show = None
        if window:
            if has_window():
                show = LiveWindow(self.source.name, self.body)
                sinks.append(show)
            else:
                self.display.say(
                    "No window: the installed OpenCV is a headless build (pip install opencv-python for one). "
                    "Capturing goes on; Ctrl-C ends it."
                )
        if not (self.choices.record or self.choices.export):
            recent = RecentFrames()
            with Interrupts() as interrupts:
                stats = self.pass_1([*sinks, recent], motion, interrupts, show)
            header = with_measured_fps(self.header, [p.stamp_s for p in recent.proxies])
            take = Take(header, tuple(recent.proxies), tuple(recent.motion), None, 0)
            report = dataclasses.replace(
                summarise(take, stats, tuple(self.warnings)), frames=stats.frames, duration_s=stats.elapsed_s
            )
            files = write_report(report, self.outputs.report)
            self.display.table("Report", report.rows())
            return CaptureResult(None, report, tuple(files), interrupts.asked)
        return self._recorded(sinks, motion, show)

    def _live_motion(self) -> MotionStage:
        return self.parts.motion or self.motion.live(self.camera, self.choices.solver_settings(), self.body)

    def _recorded(
        self, sinks: list[Sink], motion: MotionStage | None, window: LiveWindow | None = None
    ) -> CaptureResult:
        """A run that keeps a take."""
        try:
            with Interrupts() as interrupts, TakeWriter(self.outputs.take, self.header) as writer:
                journal = JournalSink(writer)
                stats = self.pass_1([journal, *sinks], motion, interrupts, window)
                return self._finish(writer, journal, stats, interrupts)
        except KeyboardInterrupt as error:
            path = self.outputs.take
            raise KeyboardInterrupt(
                f"stopped at once. What was captured is kept in {path}; to go on: hmcap export {path} --to bvh"
                if path.is_file()
                else "stopped before anything was captured."
            ) from error

    def pass_1(
        self,
        sinks: list[Sink],
        motion: MotionStage | None,
        interrupts: Interrupts,
        window: LiveWindow | None = None,
    ) -> RunStats:
        """The capture itself: every frame of the source through the landmarks, and ``motion``, to the sinks."""
        loop = CaptureLoop(self.source, self.landmarks, sinks, motion)

        # Said from the loop's tick: a signal handler may have interrupted a write to the same stream.
        to_say = ["Stopping: what was captured is kept. Ctrl-C again stops at once."]
        interrupts.ask = loop.stop
        with self.display.stage("capture", self.source.expected_frames) as progress:

            def tick(stats: RunStats) -> None:
                if interrupts.asked and to_say:
                    self.display.say(to_say.pop())
                note = f"{stats.dropped} dropped" if self.source.live else ""
                progress.update(stats.frames, note=note)
                if window is not None and window.draw():
                    loop.stop()

            stats = loop.run(self.header, tick, tick_s=0.02 if window is not None else 0.1)
        interrupts.ask = None
        self.warnings += self.source.warnings
        for warning in self.source.warnings:
            self.display.say(f"Warning: {warning}")
        return stats

    def _finish(
        self, writer: TakeWriter, journal: JournalSink, stats: RunStats, interrupts: Interrupts
    ) -> CaptureResult:
        if self.header.live:
            self.header = with_measured_fps(self.header, [p.stamp_s for p in journal.proxies])
            writer.update_header(self.header)
        writer.flush()
        self.check(writer, journal, stats)
        motion = self.solve_all(journal.proxies)
        for frame in motion:
            writer.add_motion(frame, 1)
        take = Take(self.header, tuple(journal.proxies), tuple(motion), None, 1)
        report = summarise(take, stats, tuple(self.warnings))
        writer.add_report(report.to_dict())
        self.display.say(f"take: {writer.close()}")
        export_options = self.choices.export_options()
        files = write_files(take, self.outputs, export_options, self.header.source, report, self.display)
        return CaptureResult(writer.path, report, tuple(files), interrupts.asked, (writer.path,))

    def check(self, writer: TakeWriter, journal: JournalSink, stats: RunStats) -> None:
        """Raise HmcapError where there was no frame, or nobody in any of them."""
        if not journal.proxies:
            writer.discard()
            raise HmcapError(
                f"Expected frames from {self.source.spec}; not one was captured in the part asked for. Check --start "
                "and --end against the length of the footage."
            )
        if stats.seen == 0:
            # an earlier take of this name shows somebody, perhaps: it stays
            earlier = writer.path.exists()
            path = writer.close(writer.path.with_stem(f"{writer.path.stem}_nobody") if earlier else None)
            raise HmcapError(
                f"Expected a person in {self.source.spec}; nobody was found in any of its {stats.frames} frames. "
                "One person, upright and mostly in view, works best; for another part use --start and --end. The "
                f"take is kept in {path}."
            )

    def solve_all(self, proxies: list[Proxies], up_cam: np.ndarray | None = None) -> list[MotionFrame]:
        """The motion of a whole take; ``up_cam`` (3,) is the vertical in the camera, where it is known."""
        settings = self.choices.solver_settings()
        if up_cam is not None:
            x, y, z = up_cam.tolist()
            settings = dataclasses.replace(settings, up_cam=(x, y, z))
        return solve_all(proxies, self.camera, settings, self.body, self.solve, self.display)

    def warn(self, text: str) -> None:
        """Say what went wrong without stopping the run, now and in the report."""
        self.warnings.append(text)
        self.display.say(f"Warning: {text}")


def solve_again(take: Take, path: Path, final: Path, display: Display, solve: Solve | None) -> Take:
    """A take whose capture was cut off before it was solved: solved now, and written to ``final`` in place of
    ``path``."""
    if not any(p.present for p in take.proxies):
        raise HmcapError(f"Expected a person in the take {path}; nobody was seen in its {len(take.proxies)} frames.")
    choices = options_from_settings(take.header.settings)
    body = load_body(choices.body)
    solve = solve or open_motion(choices).solve
    motion = solve_all(list(take.proxies), take.camera, choices.solver_settings(), body, solve, display)
    solved = dataclasses.replace(take, motion=tuple(motion), revision=max(1, take.revision + 1))
    saved = write_take(final, take, motion, summarise(solved).to_dict())
    if path != final:
        try:
            path.unlink()
        except OSError as error:
            display.say(f"{path} is no longer needed and could not be removed: {error.strerror or error}.")
    display.say(f"The solved motion was added to {final}.")
    return saved


def solve_all(
    proxies: list[Proxies],
    camera: Camera,
    settings: SolverSettings,
    body: BodyModel,
    solve: Solve,
    display: Display,
) -> list[MotionFrame]:
    """The motion of a whole take, with a progress bar."""
    with display.stage("solve", len(proxies)) as progress:

        def advance(share: float) -> None:
            progress.update(round(share * len(proxies)))

        motion = solve(proxies, camera, settings=settings, model=body, progress=advance)
        progress.update(len(proxies))
        return motion


def _opens_again(source: Source) -> str:
    """What opens the footage from any folder: a path made absolute, anything else as it is."""
    if source.live or source.spec in SAMPLES or "://" in source.spec:
        return source.spec
    return str(Path(source.spec).resolve())
