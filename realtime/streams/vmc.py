"""The Virtual Motion Capture protocol: OSC over UDP, 60 times a second. Source: protocol.vmc.info, marionette
specification.

The root object stays at the world's origin and the hips carry the person through the world: the protocol defines a
bone's values as its transform in its parent, and the root's as that of the whole model. Programs that send for humanoid
avatars do the same, so receivers expect it; a root that moved as well would be added to the hips.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from ...models.body import BodyModel
from ...models.errors import HmcapError
from ...models.motion import MotionFrame
from ...models.proxies import Proxies
from ...models.rotations import axis_angle_to_quaternion
from ...models.skeleton import LEFT_HAND, NUM_JOINTS, PARENTS, RIGHT_HAND
from ..addresses import DEFAULT_VMC, Address, resolve
from ..frames import Frame
from ..take import TakeHeader
from .osc import Template, bundle, bundles, message
from .playout import Playout, Pose
from .vmc_names import BONE_NAMES, PERFECT_SYNC_NAMES, VRM_NAMES, vrm_weights

LOG = logging.getLogger("hmcap.streams")

RATE_HZ = 60.0
MAX_PAYLOAD = 1420
"""Bytes of a datagram without headers. An Ethernet frame holds 1,452 behind IPv6 and UDP; tunnels take some of it."""
_STALE_S = 1.0
"""Time without a frame after which tracking counts as lost."""

_HANDS = (range(*LEFT_HAND.indices(NUM_JOINTS)), range(*RIGHT_HAND.indices(NUM_JOINTS)))
_CENTRE = tuple(BONE_NAMES.index(name) for name in (
    "Hips", "Spine", "Chest", "UpperChest", "Neck", "Head", "Jaw", "LeftEye", "RightEye",
))  # fmt: skip
_LIMBS = tuple(j for j in range(LEFT_HAND.start) if j not in _CENTRE)


class Posing:
    """Turns motion frames into poses; keeps the bone lengths of the shape it saw last, which seldom changes."""

    def __init__(self, body: BodyModel) -> None:
        self._body = body
        self._betas: np.ndarray | None = None
        self._offsets_m = np.zeros((NUM_JOINTS, 3))

    def __call__(self, motion: MotionFrame) -> Pose:
        """The pose of one frame."""
        if self._betas is None or not np.array_equal(self._betas, motion.betas):
            self._betas = np.array(motion.betas)
            joints_m = np.asarray(self._body.rest_joints(self._betas), np.float64)
            self._offsets_m = joints_m - np.where(PARENTS[:, None] >= 0, joints_m[PARENTS], 0)
        offsets_m = self._offsets_m.copy()
        offsets_m[0] += motion.trans_m
        rotations = axis_angle_to_quaternion(np.asarray(motion.poses, np.float64))
        return Pose(rotations, offsets_m, np.asarray(motion.expression, np.float64), motion.present)


def left_handed(pose: Pose) -> np.ndarray:
    """(55, 7) position and rotation (xyzw) of every bone in Unity's axes: x is mirrored."""
    w, x, y, z = pose.rotations_wxyz.T
    return np.concatenate([pose.offsets_m * (-1, 1, 1), np.stack([x, -y, -z, w], axis=-1)], axis=-1)


class Packets:
    """Datagrams of one moment. The first tells that and when it is sent, then come the bones, then the face."""

    def __init__(self, face: str = "both") -> None:
        self._face = face
        state = [message("/VMC/Ext/OK", "iiii"), message("/VMC/Ext/T", "f")]
        root = message("/VMC/Ext/Root/Pos", "sfffffff", "root")
        self._alive = bundle(state)
        self._first = bundle([*state, root, *map(_bone, _CENTRE)])
        self._bones = [(rows, bundle(map(_bone, rows))) for rows in (_LIMBS, *_HANDS)]
        names = {"arkit": PERFECT_SYNC_NAMES, "vrm": VRM_NAMES, "both": (*VRM_NAMES, *PERFECT_SYNC_NAMES)}[face]
        values = [message("/VMC/Ext/Blend/Val", "sf", name) for name in names]
        self._shapes = bundles([*values, message("/VMC/Ext/Blend/Apply", "")], MAX_PAYLOAD)

    def __call__(self, pose: Pose | None, tracked: bool, time_s: float) -> Iterator[bytes]:
        """The datagrams; before the first pose, only one that says that bones are still to come."""
        # loaded, calibrated (3), calibration mode normal (0), tracking status
        ints = (int(pose is not None), 3, 0, int(tracked))
        if pose is None:
            yield self._alive.filled(np.array([time_s]), ints)
            return
        bones = left_handed(pose)
        yield self._first.filled(np.array([time_s, 0, 0, 0, 0, 0, 0, 1, *bones[list(_CENTRE)].ravel()]), ints)
        for rows, template in self._bones:
            yield template.filled(bones[list(rows)].ravel())
        if len(pose.weights) == len(PERFECT_SYNC_NAMES):
            yield from _filled(self._shapes, self._values(np.clip(pose.weights, 0, 1)))

    def _values(self, arkit: np.ndarray) -> np.ndarray:
        parts = {"arkit": (arkit,), "vrm": (vrm_weights(arkit),), "both": (vrm_weights(arkit), arkit)}[self._face]
        return np.concatenate(parts)


class VmcStream:
    """Sends the motion to a receiver of the protocol. A sink that uses nothing but the motion."""

    def __init__(
        self,
        address: Address,
        body: BodyModel,
        *,
        face: str = "both",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address = address
        self._posing, self._packets, self._clock = Posing(body), Packets(face), clock
        self._playout = Playout()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._started_s = clock()
        self._arrival_s = -np.inf
        self._reported = False
        family, where = resolve(address, socket.SOCK_DGRAM, "--vmc")
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            # connected, so that the system tells when nobody listens
            self._socket.connect(where)
        except OSError as error:
            self._socket.close()
            raise HmcapError(
                f"Expected to be able to send to {address}; the system said: {error.strerror or error}. Check the "
                f"address and the network, or send within this computer: --vmc {DEFAULT_VMC}"
            ) from error

    @property
    def said(self) -> tuple[str, ...]:
        """See :class:`~hmcap.realtime.watching.LiveOutput`."""
        return (f"vmc: sends to {self.address}",)

    def open(self, header: TakeHeader) -> None:
        """Begin to send."""
        self._started_s = self._clock()
        self._thread = threading.Thread(target=self._run, name="hmcap-vmc", daemon=True)
        self._thread.start()

    def __call__(self, frame: Frame | None, proxies: Proxies | None, motion: MotionFrame | None) -> None:
        """Take the newest motion; nothing is sent of a person before the first one was seen."""
        if motion is None or not (motion.present or self._playout.newest is not None):
            return
        pose = self._posing(motion)
        if not (np.isfinite(pose.rotations_wxyz).all() and np.isfinite(pose.offsets_m).all()):
            return
        with self._lock:
            self._arrival_s = self._clock()
            self._playout.push(pose, motion.stamp_s, self._arrival_s)

    def close(self) -> None:
        """Send no more."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(2.0)
        self._socket.close()

    def release(self) -> None:
        """The same, also where nothing was sent."""
        self.close()

    def datagrams(self, now_s: float) -> list[bytes]:
        """What is sent at ``now_s`` of the clock."""
        with self._lock:
            pose = self._playout.sample(now_s)
            tracked = pose is not None and pose.present and now_s - self._arrival_s < _STALE_S
        return list(self._packets(pose, tracked, now_s - self._started_s))

    @property
    def delay_s(self) -> float:
        """How far behind the newest frame the stream is."""
        return self._playout.delay_s

    def _run(self) -> None:
        due_s = self._clock()
        while not self._ended.is_set():
            for datagram in self.datagrams(self._clock()):
                self._send(datagram)
            # Beats that were missed are past: two at once would show nothing more than one.
            missed = (self._clock() - due_s) * RATE_HZ
            due_s += max(1, round(missed + 0.3)) / RATE_HZ
            self._ended.wait(max(0.0, due_s - self._clock()))

    def _send(self, datagram: bytes) -> None:
        try:
            try:
                self._socket.send(datagram)
            except ConnectionError as error:
                # That was about an earlier datagram; this one has not been sent yet.
                self._report(error)
                self._socket.send(datagram)
        except BlockingIOError:
            pass  # the network is busy: the next moment follows soon
        except OSError as error:
            self._report(error)

    def _report(self, error: OSError) -> None:
        if not self._reported:
            self._reported = True
            LOG.warning("%s", self._problem(error))

    def _problem(self, error: OSError) -> str:
        if isinstance(error, ConnectionError):
            return (
                f"VMC: nobody listens at {self.address} yet. Start the receiver and enable VMC on that port; hmcap "
                "goes on sending."
            )
        return f"VMC: sending to {self.address} failed ({error.strerror or error}); hmcap goes on trying."


def _bone(joint: int) -> Template:
    return message("/VMC/Ext/Bone/Pos", "sfffffff", BONE_NAMES[joint])


def _filled(templates: list[Template], values: np.ndarray) -> Iterator[bytes]:
    first = 0
    for template in templates:
        last = first + len(template.floats)
        yield template.filled(values[first:last])
        first = last
