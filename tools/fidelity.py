"""Compare the landmark stage with MediaPipe Holistic, frame by frame, on the same pictures.

    python peer_mediapipe.py dance.mp4 peer.npz                      # in MediaPipe's own environment
    python peer_mediapipe.py dance.mp4 noise.npz --shift-px 1 --jpeg-quality 95
    python -m hmcap.tools.fidelity dance.mp4 peer.npz --noise noise.npz

Distances are in per cent of body height. ``--noise`` is the peer run once more on a picture that was moved by one
pixel and re-encoded: what the peer itself makes of a change that nobody would see. The stage agrees within detector
noise where its median distance to the peer is at most the peer's median distance to itself. "identical" counts the
frames that both environments decode to the same bits: OpenCV 5 decodes and warps a little differently from OpenCV 4,
so run this with opencv-python-headless 4 to see the stage alone. Where the stage refuses a bystander, drops a hand that
cannot be this arm's, or undoes an exchange of left and right, it differs from the peer on purpose.
"""

import argparse
import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..engines.landmarks import LandmarkStage
from ..models.errors import HmcapError
from ..models.proxies import BLAZEPOSE_NAMES, BODY, BODY_NAMES, LEFT_HAND, RIGHT_HAND, Proxies
from .peer_mediapipe import read_frames

STEP_S = 0.033333
"""The peer's Python class gives every frame this simulated time step."""


@dataclass(frozen=True, slots=True)
class Track:
    """One pipeline's result on T frames; NaN where it saw nothing."""

    pose_px: np.ndarray
    """(T, 33, 2), NaN rows where a joint has no proxy."""
    world_m: np.ndarray
    """(T, 33, 3)."""
    hands_px: np.ndarray
    """(T, 2, 21, 2) left, right."""
    hands_world_m: np.ndarray
    """(T, 2, 21, 3)."""


_JOINTS = {
    (BLAZEPOSE_NAMES.index(n.replace("big_toe", "foot_index"))): i
    for i, n in enumerate(BODY_NAMES)
    if n.replace("big_toe", "foot_index") in BLAZEPOSE_NAMES
}
"""Body landmark -> proxy that is the same point."""


def from_proxies(frames: list[Proxies]) -> Track:
    """The stage's frames as a :class:`Track`; masked joints become NaN, except body joints out of the picture."""
    pose = np.full((len(frames), 33, 2), np.nan, np.float32)
    hands = np.full((len(frames), 2, 21, 2), np.nan, np.float32)
    for t, p in enumerate(frames):
        if p.present:
            pose[t, list(_JOINTS)] = p.xy_px[BODY][list(_JOINTS.values())]
        for side, part in enumerate((LEFT_HAND, RIGHT_HAND)):
            if np.isfinite(p.hands_xyz_m[side]).all():
                hands[t, side] = p.xy_px[part]
    world = np.stack([p.body_xyz_m for p in frames])
    return Track(pose, world, hands, np.stack([p.hands_xyz_m for p in frames]))


def load_peer(path: Path) -> tuple[Track, dict[str, np.ndarray]]:
    """A file of ``peer_mediapipe.py``."""
    with np.load(path, allow_pickle=False) as data:
        arrays = {k: data[k] for k in data.files}
    return Track(*(arrays[k] for k in ("pose_px", "world_m", "hands_px", "hands_world_m"))), arrays


def body_height_px(pose_px: np.ndarray) -> float:
    """Height of the person: the longest nose - shoulders - hips - knees - ankles chain, plus a tenth for the rest."""
    at = {n: pose_px[:, i] for i, n in enumerate(BLAZEPOSE_NAMES)}

    def middle(part: str) -> np.ndarray:
        return (at[f"left_{part}"] + at[f"right_{part}"]) / 2

    legs = [
        np.linalg.norm(at[f"{s}_{a}"] - at[f"{s}_{b}"], axis=1)
        for s in ("left", "right")
        for a, b in (("hip", "knee"), ("knee", "ankle"))
    ]
    trunk = np.linalg.norm(at["nose"] - middle("shoulder"), axis=1)
    trunk += np.linalg.norm(middle("shoulder") - middle("hip"), axis=1)
    return float(np.nanpercentile(trunk + sum(legs) / 2, 90) * 1.1)


def compare(ours: Track, peer: Track, height_px: float) -> dict[str, float]:
    """Distances in per cent of body height (body, hands) and millimetres (world), and how often hands were found."""
    body = 100 * np.linalg.norm(ours.pose_px - peer.pose_px, axis=-1) / height_px
    hands = 100 * np.linalg.norm(ours.hands_px - peer.hands_px, axis=-1) / height_px
    world = 1000 * np.linalg.norm(ours.world_m - peer.world_m, axis=-1)
    hand_world = 1000 * np.linalg.norm(ours.hands_world_m - peer.hands_world_m, axis=-1)
    seen_ours, seen_peer = (np.isfinite(t.hands_px[:, :, 0, 0]) for t in (ours, peer))
    person_ours, person_peer = (np.isfinite(t.pose_px[:, 0, 0]) for t in (ours, peer))

    def quantile(values: np.ndarray, q: float) -> float:
        values = values[np.isfinite(values)]
        return float(np.percentile(values, q)) if values.size else float("nan")

    return {
        "person_ours_%": 100 * float(person_ours.mean()),
        "person_peer_%": 100 * float(person_peer.mean()),
        "body_median": quantile(body, 50),
        "body_p95": quantile(body, 95),
        "world_median_mm": quantile(world, 50),
        "world_p95_mm": quantile(world, 95),
        "hand_median": quantile(hands, 50),
        "hand_p95": quantile(hands, 95),
        "hand_world_median_mm": quantile(hand_world, 50),
        "hand_ours_%": 100 * float(seen_ours.mean()),
        "hand_peer_%": 100 * float(seen_peer.mean()),
        "hand_same_%": 100 * float((seen_ours == seen_peer).mean()),
    }


def per_joint(ours: Track, peer: Track, height_px: float) -> dict[str, tuple[float, float]]:
    """Median and 95th percentile distance of each body joint, per cent of body height."""
    error = 100 * np.linalg.norm(ours.pose_px - peer.pose_px, axis=-1) / height_px
    return {
        BLAZEPOSE_NAMES[j]: (float(np.nanmedian(error[:, j])), float(np.nanpercentile(error[:, j], 95)))
        for j in _JOINTS
        if np.isfinite(error[:, j]).any()
    }


def run_stage(stage: LandmarkStage, source: Path, peer: dict[str, np.ndarray]) -> tuple[list[Proxies], float]:
    """The stage's proxies on the peer's frames, and the share of frames that are the same to the last bit."""
    stride = int(json.loads(str(peer["settings"]))["stride"])
    frames, same = [], 0
    for k, (index, image) in enumerate(read_frames(source, stride, len(peer["index"]))):
        if index != peer["index"][k]:
            raise HmcapError(
                f"Expected frame {peer['index'][k]} of {source}, found {index}. Write the peer file again."
            )
        same += zlib.crc32(image[::8, ::8].tobytes()) == peer["crc32"][k]
        frames.append(stage(image, index, (k + 1) * STEP_S))
    return frames, same / max(len(frames), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the video file or image folder that the peer was run on")
    parser.add_argument("peer", type=Path, help="npz of peer_mediapipe.py")
    parser.add_argument("--noise", type=Path, help="npz of peer_mediapipe.py on the disturbed picture")
    parser.add_argument("--joints", action="store_true", help="also print every joint")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    stage = LandmarkStage.open(backend=args.engine, device=args.device, threads=args.threads)
    peer, arrays = load_peer(args.peer)
    frames, same = run_stage(stage, args.source, arrays)
    ours, height = from_proxies(frames), body_height_px(peer.pose_px)
    rows = [("stage | peer", compare(ours, peer, height))]
    if args.noise:
        rows.append(("peer | peer disturbed", compare(load_peer(args.noise)[0], peer, height)))
    print(f"{args.source.name}: {len(frames)} frames, {100 * same:.0f} % identical, body height {height:.0f} px")
    for name, row in rows:
        print(f"  {name:22s}" + "  ".join(f"{k} {v:.2f}" for k, v in row.items()))
    if args.joints:
        for joint, (median, p95) in per_joint(ours, peer, height).items():
            print(f"    {joint:18s} {median:6.2f} {p95:6.2f}")


if __name__ == "__main__":
    main()
