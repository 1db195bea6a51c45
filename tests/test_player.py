"""The player of takes: its place follows a clock, and every frame that is due reaches the sinks."""

import dataclasses
import threading

import numpy as np
import pytest
from hmcap.models.errors import HmcapError, UsageError
from hmcap.models.proxies import Proxies
from hmcap.realtime.cli import main
from hmcap.realtime.player import Feeder, Player
from viewer_takes import FPS, moving_take


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


def test_the_place_follows_the_clock(clock):
    player = Player(moving_take(), clock)
    clock.now_s += 10
    assert (player.frame, player.playing) == (0, False)
    player.play()
    for number in (0, 1, 7, 49):
        clock.now_s = 110 + number / FPS
        assert player.frame == number
        assert player.current() is player.take.motion[number]
    clock.now_s += 1
    assert (player.frame, player.playing) == (49, False)
    player.play()
    assert (player.frame, player.playing) == (0, True)


def test_pause_holds_and_play_goes_on(clock):
    player = Player(moving_take(), clock)
    player.play()
    clock.now_s += 0.5
    player.pause()
    held = player.frame
    clock.now_s += 5
    assert player.frame == held
    player.play()
    clock.now_s += 0.2
    assert player.frame == held + 5


@pytest.mark.parametrize("speed", [0.25, 1.0, 3.0])
def test_speed_stretches_time_and_changes_without_a_jump(clock, speed):
    player = Player(moving_take(), clock, speed=speed)
    player.play()
    clock.now_s += 12.2 / FPS / speed
    assert player.frame == 12
    player.set_speed(0.5)
    assert player.frame == 12
    clock.now_s += 2 / FPS
    assert player.frame == 13


def test_a_loop_begins_again_after_the_last_frame_had_its_time(clock):
    player = Player(moving_take(50), clock, loop=True)
    player.play()
    clock.now_s += 49.9 / FPS
    assert player.frame == 49
    clock.now_s += 0.2 / FPS
    assert player.frame == 0
    clock.now_s += 3 * 50 / FPS
    assert (player.frame, player.playing) == (0, True)
    player.set_loop(False)
    clock.now_s += 3 * 50 / FPS
    assert (player.frame, player.playing) == (49, False)


def test_seek_goes_to_any_frame_and_stays_within_the_take(clock):
    player = Player(moving_take(), clock)
    for asked, found in ((30, 30), (-4, 0), (999, 49), (7, 7)):
        player.seek(asked)
        assert player.frame == found
    player.play()
    clock.now_s += 1 / FPS
    assert player.frame == 8


def test_stamps_decide_and_not_a_rate(clock):
    take = moving_take(4)
    stamps_s = (5.0, 5.1, 5.1, 7.0)  # a variable rate, and a stamp that does not grow
    motion = tuple(dataclasses.replace(f, stamp_s=s) for f, s in zip(take.motion, stamps_s, strict=True))
    player = Player(dataclasses.replace(take, motion=motion), clock)
    player.play()
    seen = []
    for after_s in (0.05, 0.15, 1.9, 2.01):
        clock.now_s = 100 + after_s
        seen.append(player.frame)
    assert seen == [0, 2, 2, 3]


def test_a_take_without_motion_and_a_speed_that_is_none_are_refused():
    unsolved, absent = dataclasses.replace(moving_take(), motion=()), Proxies.absent(0, 0.0, (640, 480))
    with pytest.raises(HmcapError, match="nobody was seen in its 1 frames"):
        Player(dataclasses.replace(unsolved, proxies=(absent,)))
    with pytest.raises(HmcapError, match="hmcap export"):
        Player(dataclasses.replace(unsolved, proxies=(dataclasses.replace(absent, score=0.9),)))
    for speed in (0, -1, 1000, float("nan")):
        with pytest.raises(UsageError, match="--speed"):
            Player(moving_take(), speed=speed)


class Kept:
    """A sink that keeps what it is given; ``wait_for`` returns once a frame has come."""

    def __init__(self, fail_at=None):
        self.numbers, self.calls, self._fail_at = [], [], fail_at
        self._changed = threading.Condition()

    def open(self, header):
        self.calls.append("open")

    def __call__(self, frame, proxies, motion):
        assert (frame.index, frame.stamp_s) == (proxies.index, proxies.stamp_s) == (motion.index, motion.stamp_s)
        if motion.index == self._fail_at:
            raise HmcapError("the wire is cut")
        with self._changed:
            self.numbers.append(motion.index)
            self._changed.notify_all()

    def close(self):
        self.calls.append("close")

    def wait_for(self, number):
        with self._changed:
            assert self._changed.wait_for(lambda: number in self.numbers, timeout=60), self.numbers


def test_sinks_get_the_frames_in_order_and_a_sought_one_at_once():
    player, sink = Player(moving_take(), speed=4.0), Kept()
    feeder = Feeder(player, [sink])
    feeder.start()
    sink.wait_for(0)
    player.seek(20)
    sink.wait_for(20)
    player.play()
    sink.wait_for(49)
    feeder.stop()
    assert sink.calls == ["open", "close"]
    played = sink.numbers[sink.numbers.index(20) :]
    assert np.all(np.diff(played) >= 0)
    assert len(set(played)) > 5


def test_a_sink_that_fails_ends_the_feeding_and_says_why():
    player, sink = Player(moving_take()), Kept(fail_at=30)
    feeder = Feeder(player, [sink])
    feeder.start()
    sink.wait_for(0)
    player.seek(30)
    feeder.join(60)
    assert not feeder.alive
    feeder.stop()
    assert "the wire is cut" in str(feeder.error)
    assert sink.calls == ["open", "close"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["nowhere.hmcap"], 1, "no such file"), (["nowhere.hmcap", "--speed", "0"], 2, "--speed"),
        (["nowhere.hmcap", "--viewer", "here:there"], 2, "--viewer"), ([], 2, "TAKE"),
    ],
)  # fmt: skip
def test_what_cannot_be_played_is_one_paragraph(words, code, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["play", *words]) == code
    assert says in capsys.readouterr().err
