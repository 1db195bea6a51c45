"""MediaPipe Holistic on a video, image or image folder, written to an npz: the peer that hmcap is compared with.

Run it in an environment that has ``mediapipe==0.10.21`` (it imports mediapipe, cv2 and numpy, and nothing of hmcap):

    python peer_mediapipe.py dance.mp4 dance_peer.npz
    python peer_mediapipe.py dance.mp4 dance_peer_shifted.npz --shift-px 1
    python peer_mediapipe.py sample.mp4 sample.json --frames 0,20,40
    python peer_mediapipe.py --jobs jobs.json --smooth
    python peer_mediapipe.py dance.mp4 - --serve

The jobs are a JSON list of objects with "source" and "out", and perhaps "max_frames" and "tag", a text that is written
into the settings of the result. One that is done prints "DONE" and its "out"; one that fails prints "FAILED", its "out"
and the reason, and the others go on. With --serve, each line on standard input is a number of frames to read and run
next; the answer is "BLOCK" and a JSON object with the seconds that reading and running took, frame by frame.

The published Holistic graph is run as it is (face included); some of its inner streams are tapped besides: the
hands' 3-D and the regions of interest, which the Python class does not hand out.
"""

import argparse
import json
import re
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

HAND = "handlandmarksleftandrightcpu__handlandmarksfromposecpu_{}__handlandmarkcpu__hand_world_landmarks"
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sort key under which frame2 comes before frame10: the order in which hmcap reads a folder."""
    parts = re.findall(r"\d+|\D+", path.name.lower())
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts]


def read_frames(source: Path, stride: int, max_frames: int) -> Iterator[tuple[int, np.ndarray]]:
    """Frame number and (H, W, 3) uint8 RGB image of every ``stride``-th frame."""
    if source.is_dir():
        found = (p for p in source.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
        for i, file in list(enumerate(sorted(found, key=natural_key)))[::stride][:max_frames]:
            data = np.frombuffer(file.read_bytes(), np.uint8)
            picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
            if picture is None:
                raise SystemExit(f"Expected an image, but {file} cannot be read. Remove it, or name another folder.")
            yield i, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        return
    # By name: another reader takes a single image for the first of a numbered sequence, and goes on with the next.
    video = cv2.VideoCapture(str(source), cv2.CAP_FFMPEG)
    index = given = 0
    while given < max_frames:
        ok, bgr = video.read()
        if not ok:
            break
        if index % stride == 0:
            given += 1
            yield index, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        index += 1
    video.release()


def disturb(image: np.ndarray, shift_px: int, jpeg_quality: int) -> np.ndarray:
    """The same picture moved by ``shift_px`` pixels right and down (edge repeated) and re-encoded, to measure noise."""
    if shift_px:
        h, w = image.shape[:2]
        image = cv2.copyMakeBorder(image, shift_px, 0, shift_px, 0, cv2.BORDER_REPLICATE)[:h, :w]
    if jpeg_quality:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return np.ascontiguousarray(image)


def open_holistic(smooth: bool, complexity: int) -> Any:
    """The Holistic graph with the extra outputs ``left_hand_world``, ``right_hand_world`` and three regions."""
    import mediapipe  # pyright: ignore[reportMissingImports]
    from mediapipe.framework import calculator_pb2  # pyright: ignore[reportMissingImports]
    from mediapipe.python import solution_base  # pyright: ignore[reportMissingImports]
    from mediapipe.python._framework_bindings import (  # pyright: ignore[reportMissingImports]
        resource_util,
        validated_graph_config,
    )

    root = str(Path(str(mediapipe.__file__)).parents[1])
    resource_util.set_resource_dir(root)
    validated = validated_graph_config.ValidatedGraphConfig()
    validated.initialize(binary_graph_path=f"{root}/mediapipe/modules/holistic_landmark/holistic_landmark_cpu.binarypb")
    # The binary form keeps the options of calculators whose Python modules the wheel leaves out.
    config = calculator_pb2.CalculatorGraphConfig.FromString(validated.binary_config)
    taps = {
        "left_hand_world": HAND.format(1),
        "right_hand_world": HAND.format(2),
        "pose_rect": "poselandmarkcpu__pose_rect",
        "left_hand_rect": "handlandmarksleftandrightcpu__left_hand_tracking_roi",
        "right_hand_rect": "handlandmarksleftandrightcpu__right_hand_tracking_roi",
    }
    rename = {stream: name for name, stream in taps.items()}
    for node in config.node:
        for streams in (node.input_stream, node.output_stream):
            for i, stream in enumerate(streams):
                tag, colon, name = stream.rpartition(":")
                name = name.removeprefix("holisticlandmarkcpu__")
                if name in rename:
                    streams[i] = f"{tag}{colon}{rename[name]}"
    outputs = ["pose_landmarks", "pose_world_landmarks", "left_hand_landmarks", "right_hand_landmarks", *taps]
    config.output_stream.extend(taps)
    return solution_base.SolutionBase(
        graph_config=config,
        side_inputs={
            "model_complexity": complexity,
            "smooth_landmarks": smooth,
            "enable_segmentation": False,
            "smooth_segmentation": True,
            "refine_face_landmarks": False,
            "use_prev_landmarks": True,
        },
        outputs=outputs,
    )


def xyz(landmarks: Any, n: int) -> np.ndarray:
    """(n, 3) coordinates; NaN where the graph gave nothing."""
    if landmarks is None:
        return np.full((n, 3), np.nan, np.float32)
    return np.array([(p.x, p.y, p.z) for p in landmarks.landmark], np.float32)


def rect(r: Any, size: np.ndarray) -> np.ndarray:
    """(5,) centre x, centre y, width, height in pixels and rotation in radians of a region of interest."""
    if r is None:
        return np.full(5, np.nan, np.float32)
    return np.array([r.x_center * size[0], r.y_center * size[1], r.width * size[0], r.height * size[1], r.rotation])


def results_of(source: Path, args: argparse.Namespace, max_frames: int) -> tuple[dict[str, list[Any]], np.ndarray]:
    """Rows of the results by name, and width and height of the pictures."""
    keep = {int(f) for f in args.frames.split(",") if f}
    rows: dict[str, list[Any]] = {}
    graph = open_holistic(args.smooth, args.complexity)
    size = np.zeros(2, np.float32)
    for index, original in read_frames(source, args.stride, max_frames):
        image = disturb(original, args.shift_px, args.jpeg_quality)
        result = graph.process({"image": image})
        if keep and index not in keep:
            continue
        size = np.array([image.shape[1], image.shape[0]], np.float32)
        shift = np.full(2, args.shift_px, np.float32)
        pose = result.pose_landmarks
        vis = [p.visibility for p in pose.landmark] if pose else np.zeros(33)
        row: dict[str, Any] = {
            "index": index,
            "crc32": zlib.crc32(original[::8, ::8].tobytes()),
            "pose_px": xyz(pose, 33)[:, :2] * size - shift,
            "visibility": np.asarray(vis, np.float32),
            "world_m": xyz(result.pose_world_landmarks, 33),
            "hands_px": np.stack(
                [xyz(h, 21)[:, :2] * size - shift for h in (result.left_hand_landmarks, result.right_hand_landmarks)]
            ),
            "hands_world_m": np.stack([xyz(h, 21) for h in (result.left_hand_world, result.right_hand_world)]),
            "pose_rect": rect(result.pose_rect, size),
            "hand_rects": np.stack([rect(r, size) for r in (result.left_hand_rect, result.right_hand_rect)]),
        }
        for key, value in row.items():
            rows.setdefault(key, []).append(value)
    graph.close()
    if not rows:
        raise SystemExit(f"Expected pictures in {source}, but not one could be read. Play it in another program.")
    return rows, size


def run(source: Path, out: Path, args: argparse.Namespace, max_frames: int, tag: str) -> None:
    """Run the graph on one source and write its results."""
    import mediapipe  # pyright: ignore[reportMissingImports]

    rows, size = results_of(source, args, max_frames)
    settings = {
        "mediapipe": mediapipe.__version__,
        "opencv": cv2.__version__,
        "solution": "holistic",
        "model_complexity": args.complexity,
        "smooth_landmarks": args.smooth,
        "stride": args.stride,
        "shift_px": args.shift_px,
        "jpeg_quality": args.jpeg_quality,
        "source": source.name,
        "image_size_px": [int(size[0]), int(size[1])],
    } | ({"tag": tag} if tag else {})
    part = out.with_name(f".{out.stem}.part{out.suffix}")
    if out.suffix == ".json":
        digits = {"pose_px": 2, "visibility": 3, "world_m": 4, "hands_px": 2}
        data: dict[str, Any] = {k: np.round(np.asarray(rows[k], np.float64), n).tolist() for k, n in digits.items()}
        data |= {"index": rows["index"], "settings": settings}
        part.write_text(json.dumps(data).replace("NaN", "null") + "\n", encoding="utf-8")
    else:
        arrays: dict[str, Any] = {k: np.asarray(v) for k, v in rows.items()}
        np.savez_compressed(part, settings=json.dumps(settings), **arrays)
    part.replace(out)
    print(f"{out}: {len(rows['index'])} frames, {settings}", flush=True)


def serve(source: Path, args: argparse.Namespace) -> None:
    """Time the class that everybody uses, as it is, block by block as asked for on standard input."""
    import mediapipe  # pyright: ignore[reportMissingImports]

    holistic = mediapipe.solutions.holistic.Holistic(model_complexity=args.complexity, smooth_landmarks=args.smooth)
    frames = read_frames(source, args.stride, args.max_frames)
    print("BLOCK\t{}", flush=True)
    for line in sys.stdin:
        times: dict[str, list[float]] = {"read_s": [], "process_s": []}
        for _ in range(int(line)):
            started = time.perf_counter()
            _, image = next(frames, (-1, None))
            if image is None:
                raise SystemExit(f"Expected more frames in {source}. Ask for fewer.")
            read = time.perf_counter()
            holistic.process(image)
            times["read_s"].append(read - started)
            times["process_s"].append(time.perf_counter() - read)
        print(f"BLOCK\t{json.dumps(times)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, nargs="?", help="video file, image or image folder")
    parser.add_argument("out", type=Path, nargs="?", help="file to write: .npz, or .json for a small reference")
    parser.add_argument("--jobs", type=Path, help="JSON list of sources and files to write, in place of these two")
    parser.add_argument("--smooth", action="store_true", help="smooth_landmarks=True (default: False)")
    parser.add_argument("--complexity", type=int, default=1, choices=(0, 1, 2))
    parser.add_argument("--stride", type=int, default=1, help="use every n-th frame")
    parser.add_argument("--max-frames", type=int, default=1_000_000)
    parser.add_argument("--shift-px", type=int, default=0, help="move the input by this many pixels (noise floor)")
    parser.add_argument("--jpeg-quality", type=int, default=0, help="re-encode the input (noise floor)")
    parser.add_argument("--frames", default="", help="frame numbers to keep, comma-separated (all are run)")
    parser.add_argument("--serve", action="store_true", help="time blocks of frames as standard input asks for them")
    args = parser.parse_args()
    if args.jobs is None and args.out is None:
        parser.error("expected a source and a file to write, or --jobs")
    if args.serve:
        serve(args.source, args)
        return
    if args.jobs is None:
        run(args.source, args.out, args, args.max_frames, "")
        return
    for job in json.loads(args.jobs.read_text(encoding="utf-8")):
        try:
            run(Path(job["source"]), Path(job["out"]), args, job.get("max_frames", args.max_frames), job.get("tag", ""))
            print(f"DONE\t{job['out']}", flush=True)
        except (SystemExit, OSError, RuntimeError, ValueError, cv2.error) as error:
            print(f"FAILED\t{job['out']}\t{' '.join(str(error).split())}", flush=True)


if __name__ == "__main__":
    main()
