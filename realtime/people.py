"""A capture of several people: one pass over the footage, then a take and its exports for each, all in one world."""

import dataclasses
import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..models.body import BodyModel
from ..models.errors import HmcapError, UsageError
from ..models.motion import MotionFrame
from ..models.proxies import Proxies
from ..models.shared_world import agreed_vertical, agrees, moved, world_from_other
from .endings import CaptureFailedError, closed
from .frames import Frame
from .interrupts import Interrupts, if_stuck, stopped_at_once
from .journal import TakeWriter, read_part
from .loop import LandmarkStage, MotionStage, RunStats, Sink
from .outputs import CaptureResult, Outputs, raise_joined, write_files
from .report import Report
from .rescue import SafeJournal
from .take import Take, TakeHeader

if TYPE_CHECKING:
    from pathlib import Path

    from .run import Run

MIN_SEEN_S = 0.3
"""Somebody who is not the first and was in view for less than this is left out: a passer-by, or nobody at all."""


class PeopleLandmarks(LandmarkStage, Protocol):
    """What :class:`hmcap.engines.landmarks.people.PeopleStage` offers."""

    def others(self, index: int) -> Sequence[Proxies]:
        """Proxies of the second and later people in a frame whose ``hands`` were measured."""
        ...


class OthersSink:
    """Journals the second and later people beside the first, whom the capture loop carries."""

    def __init__(self, landmarks: PeopleLandmarks, journals: Sequence[SafeJournal]) -> None:
        self._landmarks, self._journals = landmarks, journals

    def open(self, header: TakeHeader) -> None:
        """Their takes have headers of their own already."""

    def __call__(self, frame: Frame, proxies: Proxies, motion: MotionFrame | None) -> None:
        for journal, other in zip(self._journals, self._landmarks.others(frame.index), strict=True):
            journal(frame, other, None)

    def close(self) -> None:
        """Bring everything to the disk."""
        for journal in self._journals:
            journal.close()


def check_people(people: int, live: bool) -> None:
    """Raise UsageError where several people are asked of a live source."""
    if people > 1 and live:
        raise UsageError(
            f"--people {people} is for video files: live, one person's motion is sent and shown, and following more "
            "would cost the frame rate. Record the camera to a video file and use --video, or leave --people out."
        )


def person_header(header: TakeHeader, number: int) -> TakeHeader:
    """The header of one person's take: ``name_p2``, and the number in the settings."""
    settings = {**header.settings, "person": number}
    return dataclasses.replace(header, name=f"{header.name}_p{number}", settings=settings)


def record_people(run: "Run", sinks: Sequence[Sink], motion: MotionStage | None) -> CaptureResult:
    """Pass 1 with everybody, pass 2 for each, then all files. Raises HmcapError where nobody is found."""
    planned = (run.outputs, *run.outputs.others)
    headers = [person_header(run.header, k + 1) for k in range(len(planned))]
    run.header = headers[0]
    with Interrupts() as interrupts, ExitStack() as stack:
        journals = [
            stack.enter_context(run.journal(TakeWriter(o.take, h))) for o, h in zip(planned, headers, strict=True)
        ]
        landmarks: PeopleLandmarks = run.landmarks  # pyright: ignore[reportAssignmentType]  # opened for people
        others = OthersSink(landmarks, journals[1:])
        try:
            stats = run.pass_1([journals[0], others, *sinks], motion, interrupts, lambda: read_part(journals[0].writer))
            found = _found(run, journals)
            run.check(journals[0].writer, stats)
            takes, reports = _solved(run, [journals[k] for k in found], stats)
            files = _written(run, [planned[k] for k in found], takes, reports)
        except KeyboardInterrupt as error:
            raise stopped_at_once(closed(journals), error) from error
        except CaptureFailedError as error:
            raise error.with_kept(closed(journals)) from error
        except HmcapError as error:
            raise run.with_failed(error) from error
    paths = tuple(journals[k].path for k in found)
    run.raise_failed(paths)
    return CaptureResult(paths[0], reports[0], tuple(files), interrupts.asked, paths)


def _found(run: "Run", journals: Sequence[SafeJournal]) -> list[int]:
    """Who was found, counted from 0, the first always among them; the takes of the others are given up."""
    needed = max(1, math.ceil(MIN_SEEN_S * run.header.fps))
    seen = [journal.seen for journal in journals]
    found = [k for k, n in enumerate(seen) if k == 0 or (n and n >= min(needed, journals[k].frames))]
    for k in sorted(set(range(len(journals))) - set(found)):
        journals[k].discard()
    if len(found) < len(journals) and seen[0]:
        passed = sum(frames > 0 for k, frames in enumerate(seen) if k not in found)
        brief = f" {passed} more for less than {MIN_SEEN_S:g} s, left out." if passed else ""
        run.warn(f"{len(found)} of the {len(journals)} people asked for were found.{brief}")
    return found


def _solved(run: "Run", people: Sequence[SafeJournal], stats: RunStats) -> tuple[list[Take], list[Report]]:
    motions: list[Sequence[MotionFrame]] = []
    with ExitStack() as stack:
        for journal in people:
            stack.enter_context(if_stuck(journal.end))
        for journal in people:
            run.display.say(f"person {journal.writer.header.settings['person']}:")
            motions.append(run.solve_all(journal.proxies()))
        up_cam = agreed_vertical(motions)
        for k, journal in enumerate(people):
            if not agrees(motions[k], up_cam):
                run.display.say(
                    f"person {journal.writer.header.settings['person']}, with the vertical that all agree on:"
                )
                motions[k] = run.solve_all(journal.proxies(), up_cam)
    takes: list[Take] = []
    reports: list[Report] = []
    for journal, solved in zip(people, motions, strict=True):
        motion = in_world_of(takes[0].motion, solved, run.body) if takes else solved
        take, report = run.complete(journal, journal.proxies(), motion, stats)
        takes.append(take)
        reports.append(report)
    return takes, reports


def in_world_of(first: Sequence[MotionFrame], motion: Sequence[MotionFrame], body: BodyModel) -> Sequence[MotionFrame]:
    """A person's motion in the world of the first one's; both were seen by one camera that stood still."""

    def rest_pelvis_m(betas: np.ndarray) -> np.ndarray:
        return np.asarray(body.rest_joints(betas)[0])

    return moved(motion, world_from_other(first[0].T_cam_world, motion[0].T_cam_world), rest_pelvis_m)


def _written(run: "Run", planned: Sequence[Outputs], takes: Sequence[Take], reports: Sequence[Report]) -> "list[Path]":
    files: list[Path] = []
    failed: list[HmcapError] = []
    for k, (outputs, take, report) in enumerate(zip(planned, takes, reports, strict=True)):
        try:
            files += write_files(
                take, outputs, run.choices.export_options(), run.header.source, report, run.display,
                beside=takes[1:] if k == 0 else (),
            )  # fmt: skip
        except HmcapError as error:  # the files of the other people are written all the same
            failed.append(error)
    raise_joined(failed)
    return files
