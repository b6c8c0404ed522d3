"""``inlay export``: write an adapter for another program, and check the result before it is kept."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inlay.adapters.export.new_folder import check_new
from inlay.adapters.export.registry import TARGETS, target_named
from inlay.hub.format.files import bundle_folder, read_manifest
from inlay.hub.remote.address import locate
from inlay.hub.safety.safe_read import OpenFolder
from inlay.recipes.commands.arguments.bundle_argument import BUNDLE, add_backbone, named_models
from inlay.recipes.commands.arguments.parser import command_parser

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from inlay.adapters.backbone import Backbone
    from inlay.adapters.export.report import Report

__all__ = ["main"]


def main(argv: Sequence[str], backbone: Backbone | None = None) -> int:
    """Export, and print the checks.

    Args:
        argv: arguments of the command line.
        backbone: loaded frozen models, instead of those of the run.
    """
    targets = "; ".join(f"{name}: {target.about}" for name, target in TARGETS.items())
    parser = command_parser("export", f'{__doc__} See the page "Exporting" of the documentation.')
    parser.add_argument("bundle", type=str, help=BUNDLE)
    parser.add_argument("--to", type=str, required=True, help=targets)
    parser.add_argument("--output", type=Path, required=True, help="a new folder")
    _add_options(parser)
    add_backbone(parser)
    parser.add_argument("--json", action="store_true", help="print EXPORT.json")
    parsed = parser.parse_args(list(argv))
    asked = {name: getattr(parsed, name) for name in _options()}
    given = {name: value for name, value in asked.items() if value is not None and value is not False}
    # All of this before models are loaded, which takes a while.
    target_named(parsed.to, given)
    check_new(parsed.output)
    if isinstance(place := locate(parsed.bundle), Path):
        with OpenFolder(bundle_folder(place)) as opened:
            read_manifest(opened)
    report = _export(parsed, given, backbone)
    print(report.text().rstrip() if parsed.json else _table(report))
    return 0


def _options() -> dict[str, tuple[Any, str]]:
    """Name of each option -> its type and help text, with the targets that have it."""
    found: dict[str, tuple[Any, str]] = {}
    for name, target in TARGETS.items():
        for item in fields(target.options):
            before = f"{found[item.name][1]}; " if item.name in found else ""
            found[item.name] = (target.types[item.name], f"{before}{name}: {item.metadata['help']}")
    return found


def _add_options(parser: ArgumentParser) -> None:
    for name, (kind, about) in _options().items():
        if kind is bool:
            parser.add_argument(f"--{name}", action="store_true", help=about)
        else:
            parser.add_argument(f"--{name}", type=kind | None, help=about)


def _export(parsed: Any, given: dict[str, Any], backbone: Backbone | None) -> Report:
    from inlay.adapters.adapter import Adapter
    from inlay.adapters.export.export_adapter import export_adapter
    from inlay.recipes.training.load_model import backbone_of

    adapter = Adapter.from_pretrained(parsed.bundle)
    target_named(parsed.to)[0].check(adapter)
    model = adapter.attach(backbone_of(parsed.bundle, adapter, backbone or named_models(parsed)))
    try:
        return export_adapter(model, to=parsed.to, output=parsed.output, **given)
    finally:
        adapter.detach()


def _table(report: Report) -> str:
    facts = [f"  {name}: {json.dumps(value)}" for name, value in report.facts.items()]
    checks = [f"  checked: {check}" for check in report.checks]
    return "\n".join([f"{report.folder}: {report.target}", *facts, *checks, *(f"  note: {n}" for n in report.notes)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
