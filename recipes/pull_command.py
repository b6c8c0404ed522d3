"""``inlay pull``: a bundle from the Hub, checked, into the cache or a folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from inlay.hub import pull
from inlay.recipes.bundle_argument import BUNDLE
from inlay.recipes.parser import command_parser

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Fetch, and print where it is."""
    parser = command_parser("pull", __doc__)
    parser.add_argument("source", type=str, help=BUNDLE)
    parser.add_argument("folder", type=Path | None, nargs="?", help="copy it there; only into the cache if not given")
    parser.add_argument("--revision", type=str | None, help="branch, tag or commit; main if not given")
    parser.add_argument("--overwrite", action="store_true", help="replace a bundle in the folder")
    parser.add_argument("--force", action="store_true", help="fetch every file again")
    parser.add_argument("--trusted", type=Path | None, help="PEM file of a public key or root: demand its signature")
    parser.add_argument("--endpoint", type=str | None, help="the hub, if not that of HF_ENDPOINT")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parsed = parser.parse_args(list(argv))
    pulled = pull(
        parsed.source,
        folder=parsed.folder,
        revision=parsed.revision,
        overwrite=parsed.overwrite,
        force_download=parsed.force,
        endpoint=parsed.endpoint,
        trusted=parsed.trusted,
    )
    facts = {"folder": str(pulled.folder), "repo_id": pulled.repo_id, "commit": pulled.commit}
    origin = f" (commit {pulled.commit} of {pulled.repo_id})" if pulled.commit else ""
    print(json.dumps(facts, indent=2) if parsed.json else f"{pulled.folder}{origin}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
