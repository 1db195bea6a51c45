"""The command line as a process that signals end in time, and always with the exit code that says why.

Python runs signal handlers between two of its own steps: a call into a library that takes seconds, such as opening a
network, delays them. A thread that is woken by the signal itself ends the process where the main thread does not.
"""

import os
import signal
import socket
import sys
import threading
import time
from typing import NoReturn

from .interrupts import LEAVING, Interrupts, ends_with, heard_signals, last_acts, newest, stopped_at_once

ENDS_S = 1.8
"""The process is gone this long after a signal that ends it, at the latest."""
SHIELDED_S = 10.0
"""The same where it is bringing a take to the disk at that moment: a slow disk may take its time."""
_ASKED_S = 0.3
_LOOK_S = 0.05
_OURS = (int(signal.SIGINT), *LEAVING)


class Process:
    """What ``main`` opens where it is the whole of a process, and finishes with its exit code."""

    def __init__(self) -> None:
        self._code = -1
        self._woken, self._wake = socket.socketpair()
        for end in (self._woken, self._wake):
            end.setblocking(False)
        Interrupts().__enter__()
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, name="signals", daemon=True).start()

    def finish(self, code: int) -> int:
        """The exit code is settled: no signal changes it any more. Does not return where a signal ended what ran, as
        libraries may take seconds over their own ends; nor where a thread is still held in a driver, which would crash
        in the interpreter's last moments."""
        self._code = code
        for number in _OURS:
            signal.signal(number, signal.SIG_IGN)
        _flush()
        if ends_with() is not None or any(t.name.startswith("hmcap-") for t in threading.enumerate()):
            os._exit(code)
        return code

    def _watch(self) -> None:
        while True:
            heard = heard_signals()
            number, since = self._received(None), time.monotonic()
            while (passed := time.monotonic() - since) < (SHIELDED_S if _shielded() else ENDS_S):
                more = self._received(_LOOK_S)
                if ends_with() is None and more:
                    heard, number, since = heard_signals(), more, time.monotonic()
                elif ends_with() is None and heard_signals() > heard and passed > _ASKED_S:
                    break  # a first Ctrl-C: the run ends in its own time
            else:
                if (code := ends_with()) is not None:
                    self._leave(code)
                if heard_signals() == heard and not _only_asks(number):
                    self._leave(128 + number)

    def _received(self, timeout_s: float | None) -> int:
        """The newest signal of ours that came within the time; 0 for none."""
        self._woken.settimeout(timeout_s)
        try:
            while True:
                numbers = [n for n in self._woken.recv(64) if n in _OURS]
                if numbers:
                    return numbers[-1]
        except TimeoutError:
            return 0

    def _leave(self, code: int) -> NoReturn:
        if self._code < 0 and code:
            kept = []
            for act in last_acts():
                try:
                    kept.append(act())
                except Exception as error:  # nobody is left to handle it; what is on the disk can be read
                    _tell(f"hmcap: {error}\n")
            _tell(f"hmcap: {stopped_at_once(kept) if kept else 'stopped.'}\n")
        os._exit(code if self._code < 0 else self._code)


def _shielded() -> bool:
    interrupts = newest()
    return interrupts is not None and interrupts.held > 0


def _only_asks(number: int) -> bool:
    """Whether the signal, which the main thread has not heard yet, will only ask for the end of a capture."""
    interrupts = newest()
    return number not in LEAVING and interrupts is not None and interrupts.ask is not None


def _tell(text: str) -> None:
    try:
        os.write(2, text.encode(errors="replace"))
    except OSError:
        return  # the terminal is gone


def _flush() -> None:
    """Bring out what was printed; to nowhere where the reader has gone, or the interpreter would fail over it."""
    for stream in (s for s in (sys.stdout, sys.stderr) if s is not None):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
