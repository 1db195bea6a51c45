"""What every live source does when its camera or network fails: say so, try again, go on, or end with what there is."""

import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from ..models.errors import HmcapError
from .frames import Frame, Source, SourceMetadata, Window, fitted, same_shape
from .pump import Pump
from .queues import Ended
from .stamps import LiveStamps

T = TypeVar("T")

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 5.0
"""Wait before the first try to open a lost source again; it doubles up to the second number."""
GIVE_UP_S = 60.0
"""A source that gave no picture for so long has ended."""
_POLL_S = 0.1
_CLOSE_S = 0.5


class Lost(Exception):
    """A camera or connection gives no more pictures; the message says why, for the middle of a sentence."""

    def __init__(self, why: str, *, ended: bool = False) -> None:
        super().__init__(why)
        self.ended = ended
        """Whether the other side ended it in order, as it would at the end of a recording."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What a connection gives."""

    image_rgb: np.ndarray
    """(H, W, 3) uint8, upright, of any size."""
    raw_s: float | None
    """The source's own clock, seconds; None where it has none."""


class Connection(Protocol):
    """An open camera or stream. Used on one thread at a time, not always the one that opened it."""

    width_px: int
    height_px: int
    fps: float
    metadata: SourceMetadata
    opening: bytes
    """What it began with, by which a recording that is sent again is known; empty for cameras."""

    def read(self) -> Picture | None:
        """The next picture; None where it is worth asking again. Raises ``Lost``."""
        ...

    def close(self) -> None:
        """Release it."""
        ...


class LiveSource(Source):
    """A source whose frames are lost unless fetched in time. It is read on a thread of its own from the moment it is
    opened, so that a driver or server that does not answer blocks nobody; frames before the first that is asked for
    are forgotten.

    A source that is lost is opened again with growing waits, until it gave nothing for ``GIVE_UP_S``; ``news`` tells.
    Frame numbers go on; stamps go on by the clock, so that the gap stays one. Pictures of another size are scaled into
    the first one's, between black bars where their shape differs, for the take has one camera.
    """

    silence_s = 5.0
    """A connection that waits for longer than this without giving anything is called lost, if it does not say so."""

    def __init__(self, spec: str, name: str, window: Window, connection: Connection) -> None:
        super().__init__(spec, name, window)
        self.live = True
        self.width_px, self.height_px = connection.width_px, connection.height_px
        self.fps, self.metadata = connection.fps, connection.metadata
        self._opening = connection.opening
        self._stamps = LiveStamps(self.fps)
        self._count = 0
        self._asked = False
        self._closing = False
        self._lock = threading.Lock()
        self._seen_s = time.monotonic()
        self._lost = False
        self._away_s: list[float] = []
        self._ended = ""
        self._size = (self.width_px, self.height_px)
        self._resized = self._reshaped = 0
        self._noted = False
        self._pump = Pump(self._read(connection), f"hmcap-{name}", 1, newest_only=True)

    @abstractmethod
    def _connect(self) -> Connection:
        """Open the source again. Raises ``Lost`` or ``HmcapError`` where it is not there."""

    def _frames(self) -> Iterator[Frame]:
        self._asked = True
        try:
            while not self._interrupted:
                try:
                    frame = self._pump.take(_POLL_S)
                except Ended:
                    return
                if frame is not None:
                    yield frame
                elif self._silent():
                    return
        finally:
            self._note()

    def close(self) -> None:
        self._closing = True
        # A thread that is stuck in a driver or a network releases what it holds as soon as that answers.
        self._pump.stop(_CLOSE_S)

    # ---- on the pump's thread ----

    def _read(self, connection: Connection) -> Iterator[Frame]:
        open_now: Connection | None = connection
        try:
            while open_now is not None and not self._over():
                try:
                    picture = open_now.read()
                except Lost as loss:
                    open_now.close()
                    open_now = None
                    self._tell_lost(str(loss))
                    open_now = self._again(loss)
                    continue
                if picture is not None:
                    self._back()
                    if self._asked:
                        yield self._frame(picture)
        finally:
            if open_now is not None:
                open_now.close()

    def _again(self, loss: Lost) -> Connection | None:
        """The source opened once more; None where it did not come back, or nobody waits for it."""
        wait_s = FIRST_WAIT_S
        while True:
            until = time.monotonic() + wait_s
            while time.monotonic() < until:
                if self._over():
                    return None
                time.sleep(_POLL_S)
            if self._gone():
                return None
            try:
                connection = self._connect()
            except (Lost, HmcapError):
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
                continue
            if loss.ended and connection.opening and connection.opening == self._opening:
                connection.close()
                self._end(
                    f"{self.name} began anew with the very same picture: its server sends a recording, which was "
                    "captured once."
                )
                return None
            return connection

    def _frame(self, picture: Picture) -> Frame:
        with self._lock:
            stamps, leaps = self._stamps, self._stamps.leaps
            stamp_s = stamps.stamp(picture.raw_s, time.monotonic())
            if stamps.leaps > leaps:
                how = "set anew by this machine's" if stamps.trusted else "no longer used: this machine's is"
                self._news.append(f"{self.name}: its clock leapt; {how}.")
        height, width = picture.image_rgb.shape[:2]
        first = self.width_px, self.height_px
        if (width, height) != first:
            self._resized += 1
            self._reshaped += not same_shape(width, height, *first)
        if (width, height) != self._size:
            self._size = width, height
            if (width, height) != first:
                bars = "" if same_shape(width, height, *first) else ", with black bars"
                scaled = f"they are scaled into {first[0]}x{first[1]}{bars}"
                self._news.append(f"{self.name} now gives {width}x{height} pictures; {scaled}.")
        frame = Frame(self._count, stamp_s, fitted(picture.image_rgb, *first))
        self._count += 1
        return frame

    # ---- on either ----

    def _over(self) -> bool:
        return self._interrupted or self._closing or bool(self._ended)

    def _tell_lost(self, why: str) -> None:
        with self._lock:
            self._stamps.lost()
            if not self._lost:
                self._lost = True
                self._news.append(
                    f"{self.name} is lost ({why}): trying again for {GIVE_UP_S:.0f} s. Ctrl-C ends the capture and "
                    "keeps what there is."
                )

    def _back(self) -> None:
        with self._lock:
            now = time.monotonic()
            if self._lost:
                self._lost = False
                self._away_s.append(now - self._seen_s)
                self._news.append(f"{self.name} is back after {self._away_s[-1]:.1f} s.")
            self._seen_s = now

    def _gone(self) -> bool:
        """Whether it has been away for too long, and is therefore over."""
        if time.monotonic() - self._seen_s <= GIVE_UP_S:
            return False
        self._end(f"{self.name} gave no picture for {GIVE_UP_S:.0f} s and was given up; what came before is kept.")
        return True

    def _silent(self) -> bool:
        """While nothing comes: tell the user of a connection that blocks, and give it up in the end."""
        if not self._lost and time.monotonic() - self._seen_s > self.silence_s:
            self._tell_lost("no picture comes")
        return self._gone()

    def _end(self, why: str) -> None:
        with self._lock:
            if not self._ended:
                self._ended = why
                self._news.append(why)

    def _note(self) -> None:
        """The warnings, once the iteration is over."""
        if self._noted:
            return
        self._noted = True
        if self._away_s:
            times = "once" if len(self._away_s) == 1 else f"{len(self._away_s)} times"
            self.warnings.append(
                f"{self.name} was lost {times}, for {sum(self._away_s):.1f} s in all; nothing was seen meanwhile, and "
                "the stamps go on by the clock."
            )
        if self._stamps.leaps:
            self.warnings.append(
                f"The clock of {self.name} leapt {self._stamps.leaps} times; frames were stamped by this machine's."
            )
        if self._resized:
            text = f"{self._resized} frames of {self.name} had another size and were scaled into the first one's"
            if self._reshaped:
                text += (
                    f", {self._reshaped} of them between black bars because they had another shape; the field of view "
                    "of the first picture may not hold for them, so distances may be off"
                )
            self.warnings.append(f"{text}.")
        if self._ended:
            self.warnings.append(self._ended)


def patiently(open_it: Callable[[], T], close_it: Callable[[T], None]) -> T:
    """What ``open_it`` returns, called on another thread: a driver or server that does not answer cannot be
    interrupted, waiting for it can. What comes after that is closed."""
    made: list[T] = []
    failed: list[BaseException] = []
    lock = threading.Lock()
    abandoned = False

    def work() -> None:
        try:
            item = open_it()
        except BaseException as error:
            failed.append(error)
            return
        with lock:
            made.append(item)
            late = abandoned
        if late:
            close_it(item)

    thread = threading.Thread(target=work, name="hmcap-open", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_POLL_S)
    except BaseException:
        with lock:
            abandoned = True
            late_already = bool(made)
        if late_already:
            close_it(made[0])
        raise
    if failed:
        raise failed[0]
    return made[0]
