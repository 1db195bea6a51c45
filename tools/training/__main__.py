"""Train the motion networks.

python -m hmcap.tools.training retrain OUT --motions DIR                     all of the following, one after the other
python -m hmcap.tools.training bank OUT --motions DIR                        build the motion bank
python -m hmcap.tools.training train RUN --bank BANK --held-out BANK         train the networks
python -m hmcap.tools.training robustness OUT --held-out BANK A=RUN/best.pt  error against missing input
python -m hmcap.tools.training export RUN/best.pt --out FILE.onnx            make the graph that a capture runs
"""

import argparse
import sys
from collections.abc import Sequence

from ...models.errors import HmcapError
from . import bank, export, retrain, robustness, train

COMMANDS = {
    "retrain": (retrain, "from a folder of motion to the graph that a capture runs"),
    "bank": (bank, "build the motion bank that training draws from"),
    "train": (train, "train the motion networks"),
    "robustness": (robustness, "error of trained networks against how much of the input is missing"),
    "export": (export, "export trained networks as an ONNX graph"),
}
"""Name of each subcommand: its module, which has ``add_arguments(parser)`` and ``main(args)``, and one line of help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; exit code 0, or that of the error."""
    parser = argparse.ArgumentParser(
        prog="python -m hmcap.tools.training", description=(__doc__ or "").split("\n\n")[0], allow_abbrev=False
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
        print(f"hmcap.tools.training: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
