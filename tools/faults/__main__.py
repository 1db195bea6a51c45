"""Prove that a capture survives what really happens, on real processes and real disks.

python -m hmcap.tools.faults kill --tries 200 --out kills.json   kill -9 at random moments: what is left of the take
python -m hmcap.tools.faults disk --out disk.json                a full disk, a removed folder, a disk gone read-only
python -m hmcap.tools.faults soak --minutes 30 --out soak.json   a live run at full speed: memory, threads, files, delay
"""

import argparse
import sys
from collections.abc import Sequence

from ...models.errors import HmcapError
from . import disk, kill, soak

COMMANDS = {
    "kill": (kill, "kill -9 captures at random moments and open what they left"),
    "disk": (disk, "take room, folder and write access away from captures"),
    "soak": (soak, "a long live run at full speed, watched"),
}
"""Name of each subcommand: its module, which has ``add_arguments(parser)`` and ``main(args)``, and one line of help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; exit code 0, 1 where something was lost that must not be, or that of the error."""
    parser = argparse.ArgumentParser(
        prog="python -m hmcap.tools.faults", description=(__doc__ or "").split("\n\n")[0], allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, text) in COMMANDS.items():
        sub = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        module.add_arguments(sub)
        sub.set_defaults(run=module.main)
    args = parser.parse_args(argv)
    try:
        return args.run(args)
    except HmcapError as error:
        print(f"hmcap.tools.faults: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
