"""A peer on the same frames, in turns with the pipeline: it reads and runs a block while the pipeline stands still."""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from ...models.errors import HmcapError, UsageError
from ..evaluation.methods.peers import SCRIPT, VERSION, how_to
from .records import PeerTime, Spread

PEERS = ("mediapipe",)


class Peer:
    """MediaPipe Holistic (complexity 1, its smoothing on) in a process of its own, on one clip.

    ``python``: of an environment that has ``mediapipe==0.10.21``. Raises UsageError where that cannot be started,
    HmcapError where the script fails.
    """

    name = f"MediaPipe Holistic {VERSION}"

    def __init__(self, python: Path, source: str) -> None:
        self.given = 0
        """Frames that it was given, warm-up included."""
        self._python = python
        self._read_s: list[float] = []
        self._process_s: list[float] = []
        command = [str(python), str(SCRIPT), source, "-", "--serve", "--smooth"]
        environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
        try:
            # to a file: a pipe that nobody reads fills up, and then the peer waits
            self._said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, encoding="utf-8",
                errors="replace", env=environment,
            )  # fmt: skip
        except OSError as error:
            raise UsageError(
                f"Expected the Python of an environment that has mediapipe=={VERSION} as --peer-python, but {python} "
                f"cannot be started ({error.strerror or error}). {how_to(self.name)}"
            ) from error
        self._answer()  # that it is ready

    def run(self, frames: int, *, warm_up: bool = False) -> None:
        """Let it read and run its next frames; those of the warm-up are not counted."""
        if frames <= 0:
            return
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{frames}\n")
            self._process.stdin.flush()
        except OSError:
            self._failed()
        answer = self._answer()
        self.given += frames
        if not warm_up:
            self._read_s += answer["read_s"]
            self._process_s += answer["process_s"]

    def result(self) -> PeerTime:
        """Of everything that was counted."""
        process, read = sum(self._process_s), sum(self._read_s)
        count = len(self._process_s)
        if not count:
            self._failed()
        return PeerTime(self.name, count / (process + read), count / process, Spread.of(self._process_s))

    def close(self) -> None:
        """End its process."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()
        self._said.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            word, _, rest = line.partition("\t")
            if word == "BLOCK":
                return json.loads(rest)
        self._failed()

    def _failed(self) -> NoReturn:
        self._process.communicate()
        self._said.seek(0)
        lines = [line.strip() for line in self._said if line.strip()] or ["nothing"]
        raise HmcapError(
            f"Expected {self.name} to run in {self._python}, but it ended with exit code {self._process.returncode} "
            f"and said: {lines[-1].rstrip('.')}. {how_to(self.name)}"
        )
