"""``inlay pull``: download a bundle from the Hub into the cache or a folder, and check it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from inlay.hub import pull
from inlay.recipes.commands.arguments.bundle_argument import add_bundle, add_trusted
from inlay.recipes.commands.arguments.parser import command_parser
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.terminal.console import show_json

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Download, and print the folder."""
    parser = command_parser("pull", __doc__, "pull someone/llava-vqa", "pull someone/llava-vqa bundle --revision v1")
    add_bundle(parser, "source")
    parser.add_argument(
        "folder", type=Path | None, nargs="?", help="copy the bundle to this folder; only into the cache if not given"
    )
    parser.add_argument("--revision", type=str | None, help="branch, tag or commit; main if not given")
    parser.add_argument("--overwrite", action="store_true", help="replace a bundle in the folder")
    parser.add_argument("--force", action="store_true", help="download every file again")
    add_trusted(parser)
    parser.add_argument("--endpoint", type=str | None, help="address of the hub; HF_ENDPOINT if not given")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parsed = parser.parse_args(list(argv))
    if parsed.folder is not None and parsed.folder.exists() and not parsed.overwrite:
        raise SettingsError(f"{parsed.folder}: already exists; choose another folder, or use --overwrite")
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
    if parsed.json:
        show_json(facts)
    else:
        print(f"{pulled.folder}{origin}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
