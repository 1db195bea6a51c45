"""A take played at its own pace: the same motion that a capture gave, for whatever shows or sends it."""

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from ..models.errors import HmcapError, UsageError
from ..models.motion import MotionFrame
from ..models.proxies import Proxies
from ..models.stacked import ByNumber
from .frames import Frame
from .loop import Sink
from .take import Take

NO_PICTURE = np.zeros((0, 0, 3), np.uint8)
"""What frames of a player carry in place of the footage: sinks that live on motion alone need none."""
SPEED_LIMITS = (0.05, 16.0)


class Player:
    """Where a take stands now: play, pause, seek, speed, loop. Any thread may call anything.

    The place follows from a clock, so nobody has to turn a handle: :meth:`current` is right whenever it is asked, and
    whoever is too slow for every frame leaves some out.
    """

    def __init__(
        self, take: Take, clock: Callable[[], float] = time.monotonic, *, speed: float = 1.0, loop: bool = False
    ) -> None:
        """Raises HmcapError where the take has no motion, UsageError for a speed beyond SPEED_LIMITS."""
        if not take.motion:
            found = f"Expected motion to play; the take {take.header.name} holds none, because "
            if not any(p.present for p in take.proxies):
                raise HmcapError(f"{found}nobody was seen in its {len(take.proxies)} frames. Play another take.")
            raise HmcapError(
                f"{found}its capture was cut off before it was solved. Solve it with: hmcap export TAKE --to bvh"
            )
        self.take, self._clock = take, clock
        stamps_s = np.array([f.stamp_s for f in take.motion], dtype=np.float64)
        # A stamp that does not grow has no time of its own: the frame is passed over.
        self._times_s = np.maximum.accumulate(stamps_s - stamps_s[0])
        self.duration_s = float(self._times_s[-1]) + 1 / take.fps
        """Length of the take, its last frame included, seconds."""
        self._changed = threading.Condition()
        self._at_s, self._since_s, self._playing, self._version = 0.0, clock(), False, 0
        self._speed, self._loop = check_speed(speed), loop

    def __len__(self) -> int:
        return len(self._times_s)

    @property
    def playing(self) -> bool:
        """Whether time goes on; False at the end of a take that does not loop."""
        with self._changed:
            self._settle()
            return self._playing

    @property
    def speed(self) -> float:
        """Seconds of the take in one second."""
        return self._speed

    @property
    def loop(self) -> bool:
        """Whether it begins again at its end."""
        return self._loop

    @property
    def frame(self) -> int:
        """Place of the current frame in ``take.motion``."""
        with self._changed:
            return self._frame()

    def current(self) -> MotionFrame:
        """The frame that is due now."""
        return self.take.motion[self.frame]

    def play(self) -> None:
        """Go on; from the beginning where it had ended."""
        with self._changed:
            self._settle()
            if not self._playing and self._at_s >= self._times_s[-1]:
                self._at_s = 0.0
            self._playing = True
            self._tell()

    def pause(self) -> None:
        """Stay at the current frame."""
        with self._changed:
            self._settle()
            self._playing = False
            self._tell()

    def seek(self, frame: int) -> None:
        """Go to a frame, counted from 0 in ``take.motion``; playing goes on from there."""
        with self._changed:
            self._settle()
            self._at_s = float(self._times_s[min(max(0, int(frame)), len(self) - 1)])
            self._tell()

    def set_speed(self, speed: float) -> None:
        """Change the pace from here on. Raises UsageError beyond SPEED_LIMITS."""
        with self._changed:
            self._settle()
            self._speed = check_speed(speed)
            self._tell()

    def set_loop(self, loop: bool) -> None:
        """Begin again at the end, or stay there."""
        with self._changed:
            self._settle()
            self._loop = loop
            self._tell()

    def state(self) -> tuple[int, int]:
        """The current frame, and a number that grows with every call that changed something."""
        with self._changed:
            return self._frame(), self._version

    def wait(self, state: tuple[int, int]) -> None:
        """Return once the state is no longer ``state``; never for a player that is paused and left alone."""
        with self._changed:
            while (self._frame(), self._version) == state:
                self._changed.wait(self._due_in_s())

    def wake(self) -> None:
        """Let everybody who waits return."""
        with self._changed:
            self._version += 1
            self._changed.notify_all()

    def _due_in_s(self) -> float | None:
        self._settle()
        if not self._playing:
            return None
        later = self._times_s[self._times_s > self._at_s + 1e-9]
        next_s = float(later[0]) if len(later) else self.duration_s
        return max(0.0, (next_s - self._at_s) / self._speed)

    def _frame(self) -> int:
        self._settle()
        # A hair of room: what rounding leaves out of a whole frame time must not hold a frame back.
        return int(np.searchsorted(self._times_s, self._at_s + 1e-6, side="right")) - 1

    def _settle(self) -> None:
        """Bring the place up to the clock."""
        now_s = self._clock()
        if self._playing:
            self._at_s += (now_s - self._since_s) * self._speed
            if self._at_s >= self.duration_s:
                if self._loop:
                    self._at_s %= self.duration_s
                else:
                    self._at_s, self._playing = float(self._times_s[-1]), False
                    self._version += 1
        self._since_s = now_s

    def _tell(self) -> None:
        self._version += 1
        self._changed.notify_all()


class Feeder:
    """Gives each frame of a player to sinks when it is due, on a thread of its own."""

    def __init__(self, player: Player, sinks: Sequence[Sink]) -> None:
        self._player, self._sinks = player, tuple(sinks)
        self._proxies = ByNumber(player.take.proxies)
        self._stopping = False
        self._opened: list[Sink] = []
        self._thread = threading.Thread(target=self._run, name="hmcap-player", daemon=True)
        self.error: Exception | None = None
        """What a sink failed with; the feeder has ended then."""

    def start(self) -> None:
        """Open the sinks and begin. Raises what a sink raises that cannot be opened."""
        try:
            for sink in self._sinks:
                self._opened.append(sink)
                sink.open(self._player.take.header)
        except BaseException:
            self._close()
            raise
        self._thread.start()

    def stop(self) -> None:
        """End, and close the sinks."""
        self._stopping = True
        self._player.wake()
        if self._thread.ident is not None:
            self._thread.join()
        self._close()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait until the feeding has ended, which it does by itself only where a sink fails."""
        self._thread.join(timeout_s)

    @property
    def alive(self) -> bool:
        """Whether frames still go to the sinks."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stopping:
                given = self._player.state()
                self._give(given[0])
                self._player.wait(given)
        except Exception as error:
            self.error = error

    def _give(self, number: int) -> None:
        motion = self._player.take.motion[number]
        proxies = self._proxies.get(motion.index)
        if proxies is None:
            size = motion.camera.width_px, motion.camera.height_px
            proxies = Proxies.absent(motion.index, motion.stamp_s, size)
        frame = Frame(motion.index, motion.stamp_s, NO_PICTURE)
        for sink in self._sinks:
            sink(frame, proxies, motion)

    def _close(self) -> None:
        opened, self._opened = self._opened, []
        for sink in reversed(opened):
            sink.close()


def check_speed(speed: float) -> float:
    """The speed itself. Raises UsageError where it is none that can be played."""
    low, high = SPEED_LIMITS
    if not low <= speed <= high:
        raise UsageError(f"--speed takes a factor of {low:g} to {high:g}, 1 for the take's own pace; found {speed:g}.")
    return float(speed)
