"""``inlay diff``: show the differences between two bundles, field by field and tensor by tensor."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from inlay.recipes.commands.arguments.bundle_argument import add_bundle
from inlay.recipes.commands.arguments.parser import command_parser

if TYPE_CHECKING:
    from inlay.hub.format.difference import Change, Difference

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Print the differences; the exit status is 0 in any case."""
    parser = command_parser("diff", __doc__)
    add_bundle(parser, "one")
    add_bundle(parser, "two", about="the other bundle")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parsed = parser.parse_args(list(argv))
    # Heavy libraries are imported after the arguments have been checked.
    from inlay.adapters.bundles.bundle_io import open_bundle
    from inlay.hub.format.difference import compare

    difference = compare(open_bundle(parsed.one), open_bundle(parsed.two))
    print(json.dumps(asdict(difference) | {"same": difference.same}, indent=2) if parsed.json else _text(difference))
    return 0


def _text(difference: Difference) -> str:
    if difference.same:
        return "the same"
    lines = [f"{change.name}: {change.one or 'none'} -> {change.two or 'none'}" for change in difference.fields]
    return "\n".join([*lines, *map(_tensor, difference.tensors)])


def _tensor(change: Change) -> str:
    if change.distance is None:
        return f"tensor {change.name}: {change.one or 'none'} -> {change.two or 'none'}"
    kinds = "" if change.one == change.two else f", {change.one} -> {change.two}"
    return f"tensor {change.name}: relative difference {change.distance:.3g}{kinds}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
