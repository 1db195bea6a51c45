"""One capture, from an open source to its report: pass 1 finds the landmarks and journals them, pass 2 solves the whole
take, then the files are written."""

import dataclasses
import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ..models.body import BodyModel, load_body
from ..models.camera import Camera
from ..models.errors import HmcapError
from ..models.expression import with_expressions
from ..models.motion import MotionFrame
from ..models.proxies import Proxies
from ..models.solver.settings import SolverSettings
from ..models.stacked import Stacked
from .camera_options import choose_camera, describe
from .frames import Source
from .interrupts import Interrupts, stopped_at_once
from .journal import TakeWriter, read_part, write_take
from .journal_reading import read_take
from .live_outputs import open_live_outputs
from .locks import is_open
from .loop import Advises, CaptureLoop, LandmarkStage, MotionStage, RunStats, Sink
from .memory import enough_memory
from .motion import MotionWithFace, Solve, SolverMotion
from .options import CaptureOptions, options_from_settings
from .outputs import CaptureResult, Outputs, numbered, raise_joined, write_files, write_report
from .pacing import Paced
from .people import record_people
from .player import Player
from .progress import Display
from .recording import RecordSwitch
from .report import Report, summarise
from .sinks import JournalSink, RecentFrames
from .sources import SAMPLES
from .stages import open_landmarks, open_motion
from .take import Take, TakeHeader, with_measured_fps
from .viewer import ViewerSink
from .watching import Running, Watcher, release_all
from .window import TICK_S, LiveWindow


@dataclass(frozen=True, slots=True)
class Parts:
    """The stages of a run where a caller brings its own; None stands for the ones of this package."""

    landmarks: LandmarkStage | None = None
    motion: MotionStage | None = None
    solve: Solve | None = None


_NO_FRAMES = (
    "Expected frames from {}; not one was captured in the part asked for. Check --start and --end against the length "
    "of the footage."
)


class Run:
    """One capture, from an open source to its report."""

    def __init__(
        self, source: Source, choices: CaptureOptions, outputs: Outputs, parts: Parts, display: Display
    ) -> None:
        self.source, self.choices, self.outputs, self.display = source, choices, outputs, display
        self.camera = choose_camera(source.width_px, source.height_px, choices.camera_options(), source.metadata)
        self.body = load_body(choices.body)
        self.landmarks = parts.landmarks or open_landmarks(choices)
        self.parts = parts
        self.warnings: list[str] = []
        self.live_outputs = open_live_outputs(choices, self.body)
        try:
            live = source.live or bool(self.live_outputs)
            # a caller who brings all that a run needs of it waits for no weights
            brought = parts.solve is not None and (parts.motion is not None or not live)
            self.motion = SolverMotion() if brought else open_motion(choices, live=live)
            self.solve = parts.solve or self.motion.solve
            self.header = self._header()
            self._announce()
        except BaseException:
            self.close()
            raise

    def _header(self) -> TakeHeader:
        source, networks = self.source, self.landmarks.engines | self.motion.engines
        return TakeHeader(
            source=_opens_again(source),
            name=source.name,
            fps=source.fps,
            width_px=source.width_px,
            height_px=source.height_px,
            camera=self.camera,
            frame_count=source.expected_frames,
            live=source.live,
            engines={n: {"backend": e.backend, "device": e.device} for n, e in networks.items()},
            settings=self.choices.to_settings(),
            created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            version=version("hmcap"),
        )

    def _announce(self) -> None:
        source, choices, display = self.source, self.choices, self.display
        size = f"{source.width_px}x{source.height_px}, {source.fps:.5g} fps"
        display.say(f"{source.name}: {size}" + (f", {source.expected_frames} frames" if source.expected_frames else ""))
        display.say(f"camera: {describe(self.camera)}")
        names = sorted({f"{e['backend']} on {e['device']}" for e in self.header.engines.values()})
        computing = "" if choices.precision == "f32" else f", {choices.precision}"
        display.say(f"networks: {', '.join(names)}{computing}")
        for part, network in choices.networks().items():
            display.say(f"{part} landmarks: {network['name']} ({network['layout']})")
        for line in (line for output in self.live_outputs for line in output.said):
            display.say(line)

    def file(self) -> CaptureResult:
        """Pass 1, pass 2, exports. Where somebody watches pass 1, the footage plays at its own rate, with the live
        motion."""
        record = self._recorded if self.choices.people == 1 else partial(record_people, self)
        if not self.live_outputs:
            return record([], None)
        if not self.source.live:  # which plays at its own rate anyhow
            self.source = Paced(self.source)
        return record(self.live_outputs, self._live_motion())

    def live(self, window: bool, plan: Callable[[], Outputs]) -> CaptureResult:
        """Capture with the live stage; then solve every take that was recorded as a whole, and export it.

        ``plan`` gives each take its files.
        """
        motion, recent, record = self._live_motion(), RecentFrames(), self.choices.records
        switch = RecordSwitch(self.header, plan, on=record)
        try:
            with Interrupts() as interrupts, switch:
                show = LiveWindow(self.source.name, self.body, switch, self.display.say) if window else None

                def watch(stats: RunStats) -> bool:
                    for text in switch.news():
                        self.display.say(text)
                    return show is not None and show.draw(stats)

                def so_far() -> Take:
                    return switch.so_far() or Take(self.header, tuple(recent.proxies), tuple(recent.motion), None, 0)

                sinks = [switch, *self.live_outputs, recent, *([] if show is None else [show])]
                stats = self.pass_1(sinks, motion, interrupts, so_far, watch, TICK_S if window else 0.1)
                if record and not stats.frames:
                    raise HmcapError(_NO_FRAMES.format(self.source.spec))
                if switch.takes or switch.errors:
                    return self._finish_all(switch, stats, interrupts)
        except KeyboardInterrupt as error:
            raise stopped_at_once([t.writer.path for t in switch.takes]) from error
        header = with_measured_fps(self.header, [p.stamp_s for p in recent.proxies])
        take = Take(header, tuple(recent.proxies), tuple(recent.motion), None, 0)
        report = dataclasses.replace(
            summarise(take, stats, tuple(self.warnings)), frames=stats.frames, duration_s=stats.elapsed_s
        )
        files = write_report(report, self.outputs.report)
        self.display.table("Report", report.rows())
        return CaptureResult(None, report, tuple(files), interrupts.asked)

    def serve(self, result: CaptureResult) -> None:
        """Keep a viewer open on the finished take until Ctrl-C; at once where Ctrl-C ended the capture already, where
        no take was kept, or where there is no viewer that works."""
        viewers = [sink for sink in self.live_outputs if isinstance(sink, ViewerSink) and not sink.failed]
        if result.take is None or result.interrupted or not viewers:
            return
        from .play import serve

        page = viewers[0].hand_over()
        said = (f"{result.take.name} plays at {page.url} until Ctrl-C.",)
        serve(page, Player(read_take(result.take), loop=True), said=said, display=self.display)

    def close(self) -> None:
        """Close what outlives the capture."""
        release_all(self.live_outputs)

    def _live_motion(self) -> MotionStage:
        stage = self.parts.motion or self.motion.live(self.camera, self.choices.solver_settings(), self.body)
        return MotionWithFace(stage) if self.choices.face else stage

    def _recorded(self, sinks: Sequence[Sink], motion: MotionStage | None) -> CaptureResult:
        """A run over a file, which always keeps a take."""
        try:
            with Interrupts() as interrupts, TakeWriter(self.outputs.take, self.header) as writer:
                stats = self.pass_1([JournalSink(writer), *sinks], motion, interrupts, partial(read_part, writer))
                return self._finish(writer, stats, interrupts, self.outputs)
        except KeyboardInterrupt as error:
            path = self.outputs.take
            raise stopped_at_once([path] if path.is_file() else []) from error

    def _finish_all(self, switch: RecordSwitch, stats: RunStats, interrupts: Interrupts) -> CaptureResult:
        """Solve and export every take of a live run. One that fails stops none of the others: its HmcapError is raised
        at the end."""
        done: list[CaptureResult] = []
        failed = list(switch.errors)
        takes = [take for take in switch.takes if not take.writer.closed]
        for number, take in enumerate(takes, 1):
            if len(takes) > 1:
                self.display.say(f"Take {number} of {len(takes)}:")
            outputs = dataclasses.replace(take.outputs, report=numbered(take.outputs.report, number))
            try:
                done.append(self._finish(take.writer, take.stats(stats), interrupts, outputs))
            except HmcapError as error:
                failed.append(error)
        raise_joined(failed)
        return dataclasses.replace(
            done[0],
            files=tuple(path for result in done for path in result.files),
            takes=tuple(path for result in done for path in result.takes),
        )

    def pass_1(
        self,
        sinks: list[Sink],
        motion: MotionStage | None,
        interrupts: Interrupts,
        so_far: Callable[[], Take],
        watch: Callable[[RunStats], bool] | None = None,
        tick_s: float = 0.1,
    ) -> RunStats:
        """The capture itself: every frame of the source through the landmarks, and ``motion``, to the sinks.

        ``so_far`` reads what was captured; ``watch`` is called on this thread every ``tick_s`` seconds, and True from
        it ends the capture.
        """
        loop = CaptureLoop(self.source, self.landmarks, sinks, motion)
        for sink in sinks:
            if isinstance(sink, Watcher):
                sink.watch(Running(loop.stats, loop.stop, so_far))

        # Said from the loop's tick: a signal handler may have interrupted a write to the same stream.
        to_say = ["Stopping: what was captured is kept. Ctrl-C again stops at once."]
        interrupts.ask = loop.stop
        with self.display.stage("capture", self.source.expected_frames) as progress:
            told = 0

            def tick(stats: RunStats) -> None:
                nonlocal told
                for text in self._advice()[told:]:
                    self.warn(text)
                    told += 1
                if interrupts.asked and to_say:
                    self.display.say(to_say.pop())
                for text in self.source.news():
                    self.display.say(text)
                note = f"{stats.dropped} dropped" if self.source.live else ""
                progress.update(stats.frames, note=note)
                if watch is not None and watch(stats):
                    loop.stop()

            stats = loop.run(self.header, tick, tick_s=tick_s)
        interrupts.ask = None
        self.warnings += self.source.warnings
        for warning in self.source.warnings:
            self.display.say(f"Warning: {warning}")
        return stats

    def _finish(
        self,
        writer: TakeWriter,
        stats: RunStats,
        interrupts: Interrupts,
        outputs: Outputs,
    ) -> CaptureResult:
        """Solve what a take saw, complete and close it, and write its files."""
        self.check(writer, stats)
        header, proxies = writer.header, writer.read_back()
        if header.live:
            writer.update_header(with_measured_fps(header, [p.stamp_s for p in proxies]))
        take, report = self.complete(writer, proxies, self.solve_all(proxies), stats)
        export_options = self.choices.export_options()
        files = write_files(take, outputs, export_options, header.source, report, self.display)
        return CaptureResult(writer.path, report, tuple(files), interrupts.asked, (writer.path,))

    def complete(
        self, writer: TakeWriter, proxies: Sequence[Proxies], motion: Sequence[MotionFrame], stats: RunStats
    ) -> tuple[Take, Report]:
        """Put the solved motion and the report into a take, and close it."""
        for frame in motion:
            writer.add_motion(frame, 1)
        take = Take(writer.header, proxies, motion, None, 1)
        report = summarise(take, stats, tuple(self.warnings))
        writer.add_report(report.to_dict())
        self.display.say(f"take: {writer.close()}")
        return take, report

    def check(self, writer: TakeWriter, stats: RunStats) -> None:
        """Raise HmcapError where there was no frame, or nobody in any of them."""
        if not stats.frames:
            writer.discard()
            raise HmcapError(_NO_FRAMES.format(self.source.spec))
        if stats.seen == 0:
            # an earlier take of this name shows somebody, perhaps: it stays
            earlier = writer.path.exists()
            path = writer.close(writer.path.with_stem(f"{writer.path.stem}_nobody") if earlier else None)
            advice = " ".join(self._advice())
            raise HmcapError(
                f"Expected a person in {self.source.spec}; nobody was {'captured' if advice else 'found'} in any of "
                f"its {stats.frames} frames. "
                + (advice or "One person, upright and mostly in view, works best.")
                + f" For another part use --start and --end. The take is kept in {path}."
            )

    def solve_all(self, proxies: Sequence[Proxies], up_cam: np.ndarray | None = None) -> Sequence[MotionFrame]:
        """The motion of a whole take; ``up_cam`` (3,) is the vertical in the camera, where it is known."""
        settings = self.choices.solver_settings()
        if up_cam is not None:
            x, y, z = up_cam.tolist()
            settings = dataclasses.replace(settings, up_cam=(x, y, z))
        return solve_all(proxies, self.camera, settings, self.body, self.solve, self.display)

    def _advice(self) -> list[str]:
        """What the landmark stage has to tell of whom it found."""
        return list(self.landmarks.warnings) if isinstance(self.landmarks, Advises) else []

    def warn(self, text: str) -> None:
        """Say what went wrong without stopping the run, now and in the report."""
        self.warnings.append(text)
        self.display.say(f"Warning: {text}")


def solve_again(take: Take, path: Path, final: Path | None, display: Display, solve: Solve | None) -> Take:
    """A take whose capture was cut off before it was solved: solved now, and written to ``final`` in place of ``path``;
    to None while it is still being recorded. Where it cannot be written, the solved take is returned all the same."""
    if not any(p.present for p in take.proxies):
        raise HmcapError(
            f"Expected a person in the take {path}; nobody was seen in its {len(take.proxies)} frames. "
            "Export another take, or capture again with the person in view."
        )
    choices = options_from_settings(take.header.settings)
    body = load_body(choices.body)
    solve = solve or open_motion(choices).solve
    motion = solve_all(take.proxies, take.camera, choices.solver_settings(), body, solve, display)
    solved = dataclasses.replace(take, motion=motion, revision=max(1, take.revision + 1))
    if final is None:
        return solved
    try:
        saved = write_take(final, take, motion, summarise(solved).to_dict())
    except HmcapError as error:  # a full or read-only disk: the exports may go elsewhere
        display.say(f"Warning: the solved motion could not be added to the take. {error}")
        return solved
    if path != final and not is_open(path):  # a capture that began meanwhile
        try:
            path.unlink()
        except OSError as error:
            display.say(f"{path} is no longer needed and could not be removed: {error.strerror or error}.")
    display.say(f"The solved motion was added to {final}.")
    return saved


def solve_all(
    proxies: Sequence[Proxies],
    camera: Camera,
    settings: SolverSettings,
    body: BodyModel,
    solve: Solve,
    display: Display,
) -> Sequence[MotionFrame]:
    """The motion of a whole take, face included where it was captured, with a progress bar."""
    again = (
        "Close other programs and type hmcap export with the take, do that on a computer with more memory, or capture "
        "the footage in parts: --start and --end."
    )
    with display.stage("solve", len(proxies)) as progress, enough_memory("solve the motion", len(proxies), again):

        def advance(share: float) -> None:
            progress.update(round(share * len(proxies)))

        motion = solve(proxies, camera, settings=settings, model=body, progress=advance)
        progress.update(len(proxies))
        return Stacked.of(with_expressions(motion, proxies))


def _opens_again(source: Source) -> str:
    """What opens the footage from any folder: a path made absolute, anything else as it is."""
    if source.live or source.spec in SAMPLES or "://" in source.spec:
        return source.spec
    return str(Path(source.spec).resolve())
