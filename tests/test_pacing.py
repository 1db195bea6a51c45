"""A file at its own pace: never ahead of its stamps, never catching up, nothing lost."""

import numpy as np
from hmcap.realtime.frames import Frame, Source, Window
from hmcap.realtime.pacing import Paced


class Stills(Source):
    def __init__(self, stamps_s):
        super().__init__("stills", "stills", Window())
        self.width_px, self.height_px, self.fps, self.frame_count = 4, 3, 10.0, len(stamps_s)
        self.stamps_s, self.closed = stamps_s, False

    def _frames(self):
        for i, stamp_s in enumerate(self.stamps_s):
            yield Frame(i, stamp_s, np.zeros((3, 4, 3), np.uint8))

    def close(self):
        self.closed = True


def test_frames_come_when_they_are_due_and_a_late_one_moves_the_rest():
    stamps = [2.0, 2.1, 2.2, 2.3, 2.4]
    work = dict(zip(stamps, (0.02, 0.02, 0.25, 0.02, 0.02), strict=True))
    now = 100.0
    given = []

    def sleep(seconds):
        nonlocal now
        now += seconds

    source = Stills(stamps)
    with Paced(source, lambda: now, sleep) as paced:
        assert (paced.fps, paced.frame_count, paced.live) == (10.0, 5, False)
        for frame in paced:
            given.append(now)
            now += work[frame.stamp_s]
    assert source.closed
    np.testing.assert_allclose(np.diff(given), [0.1, 0.1, 0.25, 0.1], atol=1e-9)
