"""``inlay push``: a bundle to the Hub, in one commit."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from inlay.hub import push
from inlay.recipes.parser import command_parser

__all__ = ["main"]

_CARDS = {"made": "made from the manifest", "local": "yours, from the folder", "remote": "kept, edited on the Hub"}


def main(argv: Sequence[str]) -> int:
    """Send, and say what was sent and what was not."""
    about = (
        f"{__doc__} The token is that of `hf auth login`, or HF_TOKEN; only files of the bundle are sent, as they are;"
    )
    about += " `inlay quantise` makes them half as large."
    parser = command_parser("push", about)
    parser.add_argument("folder", type=Path, help="folder of a bundle or of a run")
    parser.add_argument("repo_id", type=str, help="owner/name; made if it is not there")
    parser.add_argument("--private", action="store_true", help="make it private; stop where it is public")
    parser.add_argument("--branch", type=str | None, help="commit to this branch instead of main")
    parser.add_argument("--create_pr", action="store_true", help="open a pull request instead")
    parser.add_argument("--tag", type=str | None, help="name the new commit")
    parser.add_argument("--message", type=str | None, help="title of the commit")
    parser.add_argument("--overwrite", action="store_true", help="also where the repository holds another adapter")
    parser.add_argument("--renew_card", action="store_true", help="replace a card that was edited by hand")
    parser.add_argument("--endpoint", type=str | None, help="the hub, if not that of HF_ENDPOINT")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parsed = parser.parse_args(list(argv))
    pushed = push(
        parsed.folder,
        parsed.repo_id,
        private=True if parsed.private else None,
        branch=parsed.branch,
        create_pr=parsed.create_pr,
        tag=parsed.tag,
        commit_message=parsed.message,
        overwrite=parsed.overwrite,
        renew_card=parsed.renew_card,
        endpoint=parsed.endpoint,
    )
    if parsed.json:
        print(json.dumps(vars(pushed), indent=2))
        return 0
    print(f"{pushed.url}\n{'commit' if pushed.changed else 'nothing had changed since commit'} {pushed.commit}")
    print(f"card {_CARDS[pushed.card]}")
    if pushed.left_out:
        print(f"not sent, as it is no part of the bundle: {', '.join(map(ascii, pushed.left_out))}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
