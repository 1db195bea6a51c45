"""Stamps that always rise and never leap, from whatever clock a source carries."""

FILE_GAP_S = 600.0
"""Between two frames of a file lies at most so much time: more is a broken index, and is closed up."""
_BACK_S = 1.0
_BEHIND_S = 0.5
_FIRST_S = 10.0
LIVE_LEAP_S = 5.0
"""A live source's clock may run ahead of ours by so much from one frame to the next before it counts as a leap."""
LIVE_AHEAD_S = 60.0
"""And by so much in all since it was last set: playlists hand out the last half minute at once."""
_LEAPS_TRUSTED = 5


class FileStamps:
    """Stamps of a file's frames, by their place in it alone: read again, a file gives the same ones.

    A stamp that is not after the one before moves on by a part of a frame. A clock that leaps back (films joined end to
    end) or far ahead (a broken index) is set anew, one frame after the last.
    """

    def __init__(self, fps: float) -> None:
        self._step_s = 1 / fps
        self._offset_s = 0.0
        self._raw_s = self._last_s = 0.0
        self._begun = False
        self._standing = 0
        self.moved = 0
        """Frames whose stamp was not after the one before."""
        self.leaps = 0
        """Times that the clock leapt."""
        self.closed_s = 0.0
        """Seconds by which it leapt ahead, in all."""

    def stamp(self, raw_s: float | None) -> float:
        """Stamp of the next frame, seconds; ``raw_s``: the file's own, None where it has none."""
        if not self._begun:
            self._begun = True
            raw_s = 0.0 if raw_s is None else raw_s
            if not -_FIRST_S <= raw_s <= FILE_GAP_S:
                self.leaps, self._offset_s = 1, -raw_s
            self._raw_s, self._last_s = raw_s, raw_s + self._offset_s
            return self._last_s
        if raw_s is None:
            raw_s = self._raw_s + self._step_s
        step_s, self._raw_s = raw_s - self._raw_s, raw_s
        stamp_s = raw_s + self._offset_s
        if not -_BACK_S <= step_s <= FILE_GAP_S:
            self.leaps += 1
            self.closed_s += max(0.0, step_s - self._step_s)
            stamp_s = self._set(self._last_s + self._step_s)
        elif stamp_s <= self._last_s:
            self.moved += 1
            # The first of them lies between two good ones, as a rule. Where a clock stands, the frame rate is all there
            # is to go by.
            self._standing += 1
            behind_s = self._last_s - stamp_s
            stamp_s = self._last_s + (0.5 if self._standing == 1 else 1.0) * self._step_s
            if behind_s > _BEHIND_S:
                stamp_s = self._set(stamp_s)
        else:
            self._standing = 0
        self._last_s = stamp_s
        return stamp_s

    def _set(self, stamp_s: float) -> float:
        self._offset_s = stamp_s - self._raw_s
        return stamp_s


class LiveStamps:
    """Stamps of a live source from its own clock, or from ours where it has none, was away, or cannot be trusted."""

    def __init__(self, fps: float) -> None:
        self._least_s = min(0.5 / fps, 0.01)
        self._offset_s = 0.0
        self._raw_s: float | None = None
        self._last_s = self._now_s = 0.0
        self._set_at_s = (0.0, 0.0)
        self._begun = self._away = False
        self.leaps = 0
        """Times that the source's clock leapt."""

    @property
    def trusted(self) -> bool:
        """Whether the source's own clock still counts."""
        return self.leaps < _LEAPS_TRUSTED

    def lost(self) -> None:
        """The source is away: its next frame is stamped by our clock, and its own goes on from there."""
        self._away = True

    def stamp(self, raw_s: float | None, now_s: float) -> float:
        """Stamp of the next frame, seconds since the first; ``raw_s``: the source's own, None where it has none;
        ``now_s``: our clock, which never stands back."""
        if not self._begun:
            self._begun, self._away = True, False
            return self._set(0.0, raw_s, now_s)
        passed_s = now_s - self._now_s
        by_clock_s = self._last_s + max(passed_s, self._least_s)
        if raw_s is None or not self.trusted:
            stamp_s = by_clock_s
        elif self._raw_s is None or self._away:
            return self._set(by_clock_s, raw_s, now_s)
        else:
            stamp_s = raw_s + self._offset_s
            ahead_s = (stamp_s - self._set_at_s[0]) - (now_s - self._set_at_s[1])
            if not -_BACK_S <= raw_s - self._raw_s <= passed_s + LIVE_LEAP_S or ahead_s > LIVE_AHEAD_S:
                self.leaps += 1
                return self._set(by_clock_s, raw_s, now_s)
            stamp_s = max(stamp_s, self._last_s + self._least_s)
        self._away = False
        self._raw_s, self._last_s, self._now_s = raw_s, stamp_s, now_s
        return stamp_s

    def _set(self, stamp_s: float, raw_s: float | None, now_s: float) -> float:
        self._away = False
        self._offset_s = stamp_s - (raw_s or 0.0)
        self._raw_s, self._last_s, self._now_s = raw_s, stamp_s, now_s
        self._set_at_s = stamp_s, now_s
        return stamp_s
