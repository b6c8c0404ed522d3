"""``inlay diff``: show the differences between two bundles, field by field and tensor by tensor."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from inlay.recipes.commands.arguments.bundle_argument import add_bundle, check_usable
from inlay.recipes.commands.arguments.parser import command_parser
from inlay.recipes.terminal.console import show_json
from inlay.recipes.terminal.table import show_table

if TYPE_CHECKING:
    from inlay.hub.format.difference import Change

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Print the differences; the exit status is 0 in any case."""
    parser = command_parser("diff", __doc__, "diff runs/first runs/second")
    add_bundle(parser, "one")
    add_bundle(parser, "two", about="the other bundle")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parsed = parser.parse_args(list(argv))
    for name in (parsed.one, parsed.two):
        check_usable(name)
    # Heavy libraries are imported after the arguments have been checked.
    from inlay.adapters.bundles.bundle_io import open_bundle
    from inlay.hub.format.difference import compare

    difference = compare(open_bundle(parsed.one), open_bundle(parsed.two))
    if parsed.json:
        show_json(asdict(difference) | {"same": difference.same})
        return 0
    rows = [(f"{change.name}:", _change(change)) for change in difference.fields]
    rows += [(f"tensor {change.name}:", _change(change)) for change in difference.tensors]
    show_table(("field", "difference"), rows, none="the same")
    return 0


def _change(change: Change) -> str:
    values = f"{change.one or 'none'} -> {change.two or 'none'}"
    if change.distance is None:
        return values
    return f"relative difference {change.distance:.3g}" + ("" if change.one == change.two else f", {values}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
