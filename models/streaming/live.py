"""The motion networks live: proxies of the newest frame in, a motion frame out."""

from collections import deque
from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np

from ..body import BodyModel, load_body
from ..camera import Camera
from ..motion import MotionFrame
from ..observed import FIELDS, Observed, observe
from ..proxies import BODY, Proxies
from ..sightings import BELIEVED, SightingGate, Verdict, points_seen, unseen
from .assemble import assemble
from .carried import carried_on
from .fusion_live import LiveWorld
from .live_clock import LiveClock
from .other_body import for_body
from .records import RATE_HZ, Estimate, estimate_shapes
from .stream import MotionNetwork, masked
from .take import cuts_in
from .timeline import PERIOD_S
from .world_settings import WorldSettings
from .world_track import WorldTrack

_ENOUGH, _SMALL_PART = 10, 0.1
"""Points seen in both frames, and the part of their extent that none of them may move by, to be near for certain."""


class LiveMotion:
    """Give it each frame's proxies with :meth:`push`; it gives the newest motion there is.

    Without look-ahead that is the motion of the frame itself. With a look-ahead of d frames it is of the frame d / 30 s
    earlier, whose number and stamp it carries; before there is one, nobody is said to be there. The world of the run
    begins with the first person seen; vertical, floor and shape settle over the first seconds.
    """

    def __init__(
        self,
        camera: Camera,
        network: MotionNetwork,
        settings: WorldSettings | None = None,
        *,
        model: BodyModel | None = None,
    ) -> None:
        self._camera, self._network = camera, network
        self._model = model or load_body()
        self._settings = settings or WorldSettings()
        self._world = LiveWorld(self._model, self._settings)
        self._clock = LiveClock()
        self._sightings = SightingGate()
        self._due: deque[tuple[Observed, Proxies]] = deque()
        self._before: MotionFrame | None = None
        self._last: MotionFrame | None = None
        self._seen: Proxies | None = None
        network.reset()

    @property
    def together(self) -> bool:
        """Whether several frames at once take less time than one by one: unless the engine takes one at a time."""
        return self._network.most_frames > 1

    def push(self, proxies: Proxies) -> MotionFrame:
        """Motion of the newest frame that can be told, when ``proxies`` come in; frames come in order, absent ones
        included."""
        return self.push_all([proxies])[0]

    def push_all(self, proxies: Sequence[Proxies]) -> list[MotionFrame]:
        """What :meth:`push` gives for each of some frames. They go through the networks together, which for four takes
        less than twice as long as for one: frames that have piled up are best pushed so."""
        if not proxies:
            return []
        verdicts = [self._sightings.judge(one) for one in proxies]
        proxies = [one if v in BELIEVED else unseen(one) for one, v in zip(proxies, verdicts, strict=True)]
        frames: list[MotionFrame] = []
        waiting: list[tuple[Proxies, Observed, bool]] = []
        observed = observe(proxies, self._camera)
        for i, one in enumerate(proxies):
            if self._cut_before(one, verdicts[i] is Verdict.CONFIRMED):
                self._clock = LiveClock()
            ticks, anew = self._clock.push(_row(observed, i), one.stamp_s)
            if anew:
                frames += self._run(waiting)
                waiting = []
                self._begin()
            waiting.append((one, ticks, anew))
        return frames + self._run(waiting)

    def _run(self, waiting: Sequence[tuple[Proxies, Observed, bool]]) -> list[MotionFrame]:
        """Motion of frames with their ticks, and whether they begin anew, which only the first may."""
        if not waiting:
            return []
        ticks = [t for _, t, _ in waiting]
        together = Observed(*(np.concatenate([getattr(t, n) for t in ticks]) for n in FIELDS))
        estimate = for_body(self._network.push(together), self._model)
        frames, row = [], 0
        for proxies, own, anew in waiting:
            self._due.extend((_row(own, i), proxies) for i in range(len(own.xy)))
            track, of = None, proxies
            while len(self._due) > self._network.ahead:
                observed, of = self._due.popleft()
                track = self._world.push(estimate.part(row, row + 1), observed)
                row += 1
            frames.append(self._newest(track, of, proxies, anew))
        return frames

    def _newest(self, track: WorldTrack | None, of: Proxies, proxies: Proxies, anew: bool) -> MotionFrame:
        """The motion to give for ``proxies``: ``track``, of the frame ``of``, if there is one."""
        if track is not None:
            self._before = None if anew else self._last
            self._last = self._frame(track, of)
        if self._last is None:
            # the look-ahead has not come yet
            self._last = self._frame(self._world.push(_nothing(self._network.info.num_betas), masked(1)), proxies)
        if self._network.ahead == 0 and self._last.index != proxies.index:
            return carried_on(self._before, self._last, proxies.index, proxies.stamp_s)
        return self._last

    def _cut_before(self, proxies: Proxies, leapt: bool) -> bool:
        """Whether the person is suddenly in another place; one who leapt is there since some frames."""
        if not proxies.present:
            return False
        before, self._seen = self._seen, proxies
        # nearly every frame is near the one before: no need to measure how far in terms of the body
        if before is None or _near(before, proxies):
            return False
        after = replace(proxies, stamp_s=before.stamp_s + PERIOD_S) if leapt else proxies
        return bool(cuts_in([before, after], self._camera))

    def _begin(self) -> None:
        """What follows has nothing to do with what was before: to the world, nobody was seen for long."""
        self._network.reset()
        self._due.clear()
        if self._last is not None:
            nothing = _nothing(self._network.info.num_betas)
            for _ in range(int(self._settings.max_gap_s * RATE_HZ) + 2):
                self._world.push(nothing, masked(1))

    def _frame(self, track: WorldTrack, of: Proxies) -> MotionFrame:
        return assemble(track, [of.index], [of.stamp_s], self._camera)[0]


def _near(before: Proxies, after: Proxies) -> bool:
    """Whether the body's points moved, on the whole, by a small part of the room that they take in the picture."""
    seen = points_seen(before) & points_seen(after)
    if np.count_nonzero(seen) < _ENOUGH or before.image_size_px != after.image_size_px:
        return False
    a, b = before.xy_px[BODY][seen], after.xy_px[BODY][seen]
    room = min(float((p.max(0) - p.min(0)).max()) for p in (a, b))
    return float(np.abs(b - a).max()) <= _SMALL_PART * room


def _row(observed: Observed, i: int) -> Observed:
    return observed.map(lambda a: a[i : i + 1])


def _nothing(num_betas: int) -> Estimate:
    """One frame that says nothing."""
    shapes = estimate_shapes(num_betas)
    arrays = {name: np.zeros((1, *shape), np.float32) for name, shape in shapes.items()}
    eye = np.eye(3, dtype=np.float32)
    arrays |= {name: np.broadcast_to(eye, (1, *shapes[name])) for name in ("R_cam_root", "R_local")}
    arrays["up_cam"][:, 1], arrays["root_cam_m"][:, 2] = -1, 1
    return Estimate(*(arrays[f.name] for f in fields(Estimate)))
