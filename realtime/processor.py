"""Settings of the process while stages run side by side."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import cv2

_SWITCH_S = 0.001


class _Sharing:
    """How many runs share the processor, and what the process's settings were before the first of them."""

    lock = threading.Lock()
    runs = 0
    before: tuple[int, float] = (0, 0.0)


@contextmanager
def shared_processor() -> Iterator[None]:
    """Settings of the process that let stages side by side run freely; as they were once the last run has ended.

    OpenCV's own threads are set aside: its operations here are short. And a stage that waits for the interpreter gets
    it after a millisecond, not five.
    """
    with _Sharing.lock:
        if _Sharing.runs == 0:
            _Sharing.before = cv2.getNumThreads(), sys.getswitchinterval()
        _Sharing.runs += 1
        cv2.setNumThreads(1)
        sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        with _Sharing.lock:
            _Sharing.runs -= 1
            if _Sharing.runs == 0:
                cv2.setNumThreads(_Sharing.before[0])
                sys.setswitchinterval(_Sharing.before[1])
