"""Render footage with exact truth.

    python -m hmcap.tools.rendering OUT --motions MOCAP_FOLDER [--hands FOLDER] [--set canonical|measurement]

Writes OUT/CLIP/video.mp4, truth.npz and scene.json. A finished clip of the same specification is kept, so that an
interrupted run goes on where it was.
"""

import argparse
import fnmatch
import sys
import time
from pathlib import Path

from ...models.errors import HmcapError, UsageError
from ..motions.hand_motion import plain_key_poses, read_key_poses
from ..motions.mocap import list_clips
from .clips import canonical_specs, measurement_specs
from .render import Inputs, render_set

_PHOTOS = (".jpg", ".jpeg", ".png")


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hmcap.tools.rendering", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("out", type=Path, help="folder that the clips are written to")
    parser.add_argument("--motions", type=Path, required=True, help="folder with motion in AMASS layout")
    parser.add_argument("--hands", type=Path, help="npz, or folder of npz, with key poses of a right hand")
    parser.add_argument("--set", choices=("canonical", "measurement"), default="canonical")
    parser.add_argument("--count", type=int, default=120, help="number of clips of the measurement set")
    parser.add_argument("--clips", default="*", help="only clips whose name matches this pattern")
    parser.add_argument("--backgrounds", type=Path, help="folder with photos to stand behind the person")
    parser.add_argument("--workers", type=int, default=1, help="clips rendered at the same time")
    parser.add_argument("--again", action="store_true", help="render also what is finished")
    return parser


def _photos(folder: Path | None) -> tuple[Path, ...]:
    if folder is None:
        return ()
    found = tuple(sorted(p for p in folder.glob("*") if p.suffix.lower() in _PHOTOS))
    if not found:
        raise UsageError(f"Expected photos (JPEG or PNG) in {folder}, found none. Name another folder.")
    return found


def main(argv: list[str] | None = None) -> int:
    """Command line; exit code 0, or that of the error."""
    args = _arguments().parse_args(argv)
    try:
        if args.workers < 1 or args.count < 1:
            raise UsageError("Expected --workers and --count of 1 or more.")
        entries = list_clips(args.motions)
        # Only hand poses of a licence that allows any use, so that what is learnt from the clips is free as well.
        key_poses = plain_key_poses() if args.hands is None else read_key_poses(args.hands, permissive=True)
        specs = canonical_specs() if args.set == "canonical" else measurement_specs(entries, args.count)
        chosen = [s for s in specs if fnmatch.fnmatch(s.name, args.clips)]
        if not chosen:
            names = ", ".join(s.name for s in specs[:12])
            raise UsageError(f"Expected a clip that matches {args.clips}, found none. There are: {names}.")
        inputs = Inputs(tuple(entries), key_poses, _photos(args.backgrounds))
        begun, done, older = time.monotonic(), 0, 0
        for clip in render_set(chosen, args.out, inputs, args.workers, args.again):
            done += 1
            older += clip.kept
            state = f"kept ({clip.version})" if clip.kept else "rendered"
            print(f"{done:4d}/{len(chosen)} {clip.name}: {clip.frames} frames {state}", flush=True)
        print(f"{done} clips in {args.out}, {older} of them kept, {time.monotonic() - begun:.0f} s")
    except HmcapError as error:
        print(f"rendering: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
