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

from ..models.body import load_body
from ..models.errors import HmcapError, UsageError
from ..models.motion import MotionFrame
from ..models.proxies import Proxies
from .camera_options import choose_camera, describe
from .endings import CaptureFailedError, aside, closed
from .frames import Source
from .interrupts import Interrupts, if_stuck, stopped_at_once
from .journal import TakeWriter, read_part
from .journal_reading import read_take
from .live_outputs import open_live_outputs
from .loop import Advises, CaptureLoop, LandmarkStage, MotionStage, RunStats, Sink
from .motion import MotionWithFace, Solve, SolverMotion
from .options import CaptureOptions
from .outputs import CaptureResult, Outputs, numbered, write_files, write_report
from .pacing import Paced
from .people import record_people
from .player import Player
from .progress import Display
from .recording import RecordSwitch
from .report import Report, summarise
from .rescue import SafeJournal
from .sinks import RecentFrames
from .solving import solve_all
from .sources import SAMPLES
from .stages import Closes, open_landmarks, open_motion
from .take import Take, TakeHeader, with_measured_fps
from .viewer import ViewerSink
from .watching import LiveOutput, Running, Watcher, release_all
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
        self.parts = parts
        self.warnings: list[str] = []
        self.failed: list[str] = []
        """What did not work though the run went on; told at its end, which is then an error."""
        self.stuck: list[str] = []
        """Stages that have not returned: what they use must not be closed."""
        self.live_outputs: list[LiveOutput] = []
        self.landmarks = parts.landmarks or open_landmarks(choices)
        try:
            self.live_outputs = open_live_outputs(choices, self.body)
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
                if show is not None and show.failed:
                    self.failed.append(show.failed)
                if record and not stats.frames:
                    raise HmcapError(_NO_FRAMES.format(self.source.spec))
                if switch.takes or switch.errors:
                    return self._finish_all(switch, stats, interrupts)
        except KeyboardInterrupt as error:
            raise stopped_at_once([path for t in switch.takes for path in t.journal.kept], error) from error
        except CaptureFailedError as error:
            raise error.with_kept([path for t in switch.takes for path in t.journal.kept]) from error
        header = with_measured_fps(self.header, [p.stamp_s for p in recent.proxies])
        take = Take(header, tuple(recent.proxies), tuple(recent.motion), None, 0)
        report = dataclasses.replace(
            summarise(take, stats, tuple(self.warnings)), frames=stats.frames, duration_s=stats.elapsed_s
        )
        files = write_report(report, self.outputs.report)
        self.display.table("Report", report.rows())
        self.raise_failed()
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
        """Close what outlives the capture, but not what a stuck stage still uses."""
        release_all(self.live_outputs)
        if self.parts.landmarks is None and isinstance(self.landmarks, Closes) and not self.stuck:
            self.landmarks.close()

    def _live_motion(self) -> MotionStage:
        stage = self.parts.motion or self.motion.live(self.camera, self.choices.solver_settings(), self.body)
        return MotionWithFace(stage) if self.choices.face else stage

    def _recorded(self, sinks: Sequence[Sink], motion: MotionStage | None) -> CaptureResult:
        """A run over a file, which always keeps a take."""
        with Interrupts() as interrupts, self.journal(TakeWriter(self.outputs.take, self.header)) as journal:
            try:
                stats = self.pass_1([journal, *sinks], motion, interrupts, lambda: read_part(journal.writer))
                result = self._finish(journal, stats, interrupts, self.outputs)
            except KeyboardInterrupt as error:
                raise stopped_at_once(closed([journal]), error) from error
            except CaptureFailedError as error:
                raise error.with_kept(closed([journal])) from error
            except HmcapError as error:
                raise self.with_failed(error) from error
        self.raise_failed(result.takes)
        return result

    def journal(self, writer: TakeWriter) -> SafeJournal:
        """What keeps a take of this run; that it had to move to another folder is told now and at the end."""
        return SafeJournal(writer, self.problem)

    def _finish_all(self, switch: RecordSwitch, stats: RunStats, interrupts: Interrupts) -> CaptureResult:
        """Solve and export every take of a live run. One that fails stops none of the others: its HmcapError is raised
        at the end."""
        done: list[CaptureResult] = []
        failed: list[HmcapError] = []
        takes = [take for take in switch.takes if not take.journal.writer.closed]
        for number, take in enumerate(takes, 1):
            if len(takes) > 1:
                self.display.say(f"Take {number} of {len(takes)}:")
            outputs = dataclasses.replace(take.outputs, report=numbered(take.outputs.report, number))
            try:
                done.append(self._finish(take.journal, take.stats(stats), interrupts, outputs))
            except HmcapError as error:
                failed.append(error)
        self.failed += map(str, [*switch.errors, *failed])
        self.raise_failed([path for result in done for path in result.takes])
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
        told = advised = 0
        interrupts.ask = loop.stop
        with self.display.stage("capture", self.source.expected_frames) as progress:

            def tick(stats: RunStats) -> None:
                nonlocal told, advised
                interrupts.check()
                for text in self._advice()[advised:]:
                    advised += 1
                    self.warn(text)
                if interrupts.asked and to_say:
                    self.display.say(to_say.pop())
                for text in self.source.news():
                    self.display.say(text)
                for sink, error in loop.set_aside[told:]:
                    told += 1
                    self.problem(aside(sink, error))
                    if isinstance(sink, SafeJournal) and not self.source.live:
                        loop.stop()  # what is not kept can be captured again
                note = f"{stats.dropped} dropped" if self.source.live else ""
                progress.update(stats.frames, note=note)
                if watch is not None and watch(stats):
                    loop.stop()

            try:
                stats = loop.run(self.header, tick, tick_s=tick_s)
            except UsageError:
                raise
            except Exception as error:
                raise CaptureFailedError.of(error, loop.failed_stage) from error
            finally:
                self.stuck = loop.stuck
        interrupts.settle()
        for sink in sinks:
            if isinstance(sink, ViewerSink) and sink.failed:
                self.problem("The viewer failed; the capture went on without it.")
        if loop.stuck:
            self.warn(
                f"{self.source.spec} did not answer any more when it was to end ({', '.join(loop.stuck)}); everything "
                "that it had given until then was used. Please report that with --debug, and with the kind of footage."
            )
        self.warnings += self.source.warnings
        for warning in self.source.warnings:
            self.display.say(f"Warning: {warning}")
        return stats

    def _finish(self, journal: SafeJournal, stats: RunStats, interrupts: Interrupts, outputs: Outputs) -> CaptureResult:
        """Solve what a take saw, complete and close it, and write its files."""
        self.check(journal.writer, stats)
        header, proxies = journal.writer.header, journal.proxies()
        if header.live:
            journal.update_header(with_measured_fps(header, [p.stamp_s for p in proxies]))
        with if_stuck(journal.end):
            motion = self.solve_all(proxies)
        take, report = self.complete(journal, proxies, motion, stats)
        export_options = self.choices.export_options()
        files = write_files(take, outputs, export_options, header.source, report, self.display)
        return CaptureResult(journal.path, report, tuple(files), interrupts.asked, (journal.path,))

    def complete(
        self, journal: SafeJournal, proxies: Sequence[Proxies], motion: Sequence[MotionFrame], stats: RunStats
    ) -> tuple[Take, Report]:
        """Put the solved motion and the report into a take, and close it."""
        take = Take(journal.writer.header, proxies, motion, None, 1)
        report = summarise(take, stats, tuple(self.warnings))
        self.display.say(f"take: {journal.finish(motion, report.to_dict())}")
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
        """Say what went wrong without stopping the run, now and in the report. May be called from any thread."""
        self.warnings.append(text)
        self.display.say(f"Warning: {text}")

    def problem(self, text: str) -> None:
        """The same for what makes the end of the run an error, whatever else was written."""
        self.failed.append(text)
        self.warn(text)

    def with_failed(self, error: HmcapError) -> HmcapError:
        """The error that ends the run, behind those that it went on after: one says where the take is by now."""
        return HmcapError(" ".join([*dict.fromkeys(self.failed), str(error)])) if self.failed else error

    def raise_failed(self, takes: Sequence[Path] = ()) -> None:
        """Raise HmcapError where a part of the run failed that it went on without; it says where the takes are."""
        if self.failed:
            kept = f" What was captured is in {', '.join(map(str, takes))}." if takes else ""
            raise HmcapError(" ".join(dict.fromkeys(self.failed)) + kept)


def _opens_again(source: Source) -> str:
    """What opens the footage from any folder: a path made absolute, anything else as it is."""
    if source.live or source.spec in SAMPLES or "://" in source.spec:
        return source.spec
    return str(Path(source.spec).resolve())
