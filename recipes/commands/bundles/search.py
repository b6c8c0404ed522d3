"""``inlay search``: list bundles on the Hub and in the cache, all of them or those that fit a backbone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict

from inlay.hub.errors import HubError
from inlay.hub.remote.search import in_cache, on_hub
from inlay.recipes.commands.arguments.local_models import add_ports, given_models, models_here
from inlay.recipes.commands.arguments.parser import command_parser
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.terminal.console import show_json
from inlay.recipes.terminal.table import show_table

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Print one bundle per line."""
    parser = command_parser(
        "search", f"{__doc__} Compares families and widths.", "search --llm models/vicuna-7b --author someone"
    )
    add_ports(parser, "that the bundles must fit")
    parser.add_argument("--author", type=str | None, help="only bundles of this user or organisation")
    parser.add_argument("--limit", type=int, default=100, help="maximum number of bundles")
    parser.add_argument("--cache_only", action="store_true", help="list only the cache, without requests to the Hub")
    parser.add_argument("--endpoint", type=str | None, help="address of the hub; HF_ENDPOINT if not given")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parsed = parser.parse_args(list(argv))
    if parsed.limit < 1:
        raise SettingsError(f"--limit: expected at least 1, got {parsed.limit}")
    ports = {port: offers for port, (_, offers) in given_models(parsed, models_here()).items()}
    found = in_cache(ports)
    if not parsed.cache_only:
        try:
            found = [*on_hub(ports, author=parsed.author, limit=parsed.limit, endpoint=parsed.endpoint), *found]
        except HubError as error:
            if error.problem not in ("offline", "network"):
                raise
            raise HubError("the Hub", f"{error.reason}; --cache_only lists the cache", error.problem) from None
    if parsed.json:
        show_json([asdict(item) for item in found])
        return 0
    rows = [(item.where, item.repo_id, (item.commit or "")[:8], " ".join(item.tags)) for item in found]
    show_table(("where", "bundle", "commit", "tags"), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
