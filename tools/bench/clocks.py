"""Stages of the pipeline with a clock on each; what they do is unchanged."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...engines.base import Engine, TensorSpec
from ...models.errors import HmcapError
from ...models.motion import MotionFrame
from ...models.proxies import LEFT_HAND, RIGHT_HAND, Proxies
from ...realtime.frames import Frame
from ...realtime.loop import MotionStage, Sink
from ...realtime.take import TakeHeader


class Times:
    """Seconds that each named thing took, call by call; filled from several threads."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    def add(self, name: str, seconds: float) -> None:
        """Note one call."""
        with self._lock:
            self.seconds.setdefault(name, []).append(seconds)

    def of(self, name: str) -> list[float]:
        """All calls of one thing; empty where it never ran."""
        with self._lock:
            return list(self.seconds.get(name, ()))

    def clear(self) -> None:
        """Forget everything, for example the warm-up."""
        with self._lock:
            self.seconds.clear()


class ClockedLandmarks:
    """A landmark stage; notes each module's time."""

    def __init__(self, stage: Any, times: Times) -> None:
        self._stage, self._times = stage, times
        self.engines: dict[str, Engine] = stage.engines

    def reset(self) -> None:
        """Forget the person."""
        self._stage.reset()

    def body(self, image_rgb: np.ndarray, index: int, stamp_s: float) -> Any:
        """As the stage's own."""
        started = time.perf_counter()
        seen = self._stage.body(image_rgb, index, stamp_s)
        taken = time.perf_counter() - started
        self._times.add("following", taken - sum(seen.times_s.values()))
        return seen

    def hands(self, seen: Any) -> Proxies:
        """As the stage's own."""
        proxies = self._stage.hands(seen)
        for name, seconds in seen.times_s.items():
            self._times.add(name, seconds)
        return proxies


class ClockedEngine:
    """An engine; notes each call's time."""

    def __init__(self, engine: Engine, times: Times, name: str) -> None:
        self._engine, self._times, self._name = engine, times, name
        self.backend, self.device = engine.backend, engine.device
        self.inputs: tuple[TensorSpec, ...] = engine.inputs
        self.outputs: tuple[TensorSpec, ...] = engine.outputs

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """As the engine's own."""
        started = time.perf_counter()
        out = self._engine(feeds)
        self._times.add(self._name, time.perf_counter() - started)
        return out


class ClockedMotion:
    """A live motion stage; notes the time of each call."""

    def __init__(self, stage: MotionStage, times: Times) -> None:
        self._stage, self._times = stage, times
        self.together = stage.together

    def push_all(self, proxies: Sequence[Proxies]) -> list[MotionFrame]:
        """As the stage's own."""
        started = time.perf_counter()
        motion = self._stage.push_all(proxies)
        self._times.add("motion", time.perf_counter() - started)
        return motion


class ClockedSink:
    """A sink; notes each frame's time."""

    def __init__(self, sink: Sink, times: Times, name: str) -> None:
        self._sink, self._times, self._name = sink, times, name

    def open(self, header: TakeHeader) -> None:
        """As the sink's own."""
        self._sink.open(header)

    def __call__(self, frame: Frame, proxies: Proxies, motion: MotionFrame | None) -> None:
        started = time.perf_counter()
        self._sink(frame, proxies, motion)
        self._times.add(self._name, time.perf_counter() - started)

    def close(self) -> None:
        """As the sink's own."""
        self._sink.close()


class Arrivals:
    """A sink at the end of all others: when each frame came through."""

    def __init__(self) -> None:
        self._arrived = threading.Condition()
        self.count = self.hands = 0
        self.last_s = 0.0
        self.times_s: dict[int, float] = {}

    def open(self, header: TakeHeader) -> None:
        """Nothing to prepare."""

    def __call__(self, frame: Frame, proxies: Proxies, motion: MotionFrame | None) -> None:
        now = time.perf_counter()
        with self._arrived:
            self.count += 1
            self.hands += sum(bool(proxies.confidence[part].any()) for part in (LEFT_HAND, RIGHT_HAND))
            self.last_s = self.times_s[frame.index] = now
            self._arrived.notify_all()

    def close(self) -> None:
        """Nothing to release."""

    def wait_for(self, count: int, timeout_s: float = 60.0) -> float:
        """When the last frame came through, once ``count`` have. Raises HmcapError where they do not come."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: self.count >= count, timeout_s):
                raise HmcapError(
                    f"Expected {count} frames to come through the pipeline, found {self.count} after {timeout_s:.0f} s "
                    "more. Run hmcap --video on the clip to see what stops it."
                )
            return self.last_s
