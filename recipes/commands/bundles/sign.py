"""``inlay sign``: sign a bundle with a private key, and optionally certificates; works offline."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from inlay.hub import sign
from inlay.recipes.commands.arguments.bundle_argument import check_bundle
from inlay.recipes.commands.arguments.parser import command_parser

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Sign, and print the signature file."""
    parser = command_parser(
        "sign", f"{__doc__} `inlay push` uploads the signature too.", "sign runs/llava --key key.pem"
    )
    parser.add_argument("folder", type=Path, help="folder of a bundle or of a run")
    parser.checks.append(lambda parsed: check_bundle(parsed.folder))
    parser.add_argument("--key", type=Path, required=True, help="PEM file with an elliptic-curve private key")
    parser.add_argument(
        "--certificates", type=list[Path], default=[], help="PEM files: your certificate, then the chain up to the root"
    )
    parsed = parser.parse_args(list(argv))
    # From the environment, because other users can read the command line.
    password = os.environ.get("INLAY_KEY_PASSWORD")
    print(sign(parsed.folder, parsed.key, password=password, certificates=tuple(parsed.certificates)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
