"""``inlay push``: upload a bundle to the Hub in one commit."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from inlay.hub import push
from inlay.recipes.commands.arguments.bundle_argument import check_bundle
from inlay.recipes.commands.arguments.parser import command_parser
from inlay.recipes.terminal.console import show_json

__all__ = ["main"]

_CARDS = {
    "generated": "generated from the manifest",
    "local": "edited, from the folder",
    "remote": "edited, from the Hub",
}


def main(argv: Sequence[str]) -> int:
    """Upload, and print the commit and the files that were left out."""
    about = (
        f"{__doc__} The token is that of `hf auth login`, or HF_TOKEN. Only files of the bundle are uploaded; "
        "`inlay quantise` halves their size."
    )
    parser = command_parser("push", about, "push runs/llava me/llava-vqa --private")
    parser.add_argument("folder", type=Path, help="folder of a bundle or of a run")
    parser.checks.append(lambda parsed: check_bundle(parsed.folder))
    parser.add_argument("repo_id", type=str, help="owner/name; created if it does not exist")
    parser.add_argument("--private", action="store_true", help="create a private repository; an error if it is public")
    parser.add_argument("--branch", type=str | None, help="commit to this branch instead of main")
    parser.add_argument("--create_pr", action="store_true", help="open a pull request instead")
    parser.add_argument("--tag", type=str | None, help="a tag for the new commit")
    parser.add_argument("--message", type=str | None, help="commit message")
    parser.add_argument("--overwrite", action="store_true", help="replace another adapter in the repository")
    parser.add_argument("--renew_card", action="store_true", help="replace a card that was edited by hand")
    parser.add_argument("--endpoint", type=str | None, help="address of the hub; HF_ENDPOINT if not given")
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
        show_json(vars(pushed))
        return 0
    print(f"{pushed.url}\n{'commit' if pushed.changed else 'no changes since commit'} {pushed.commit}")
    print(f"card {_CARDS[pushed.card]}")
    if pushed.left_out:
        print(f"not uploaded, not part of the bundle: {', '.join(map(ascii, pushed.left_out))}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
