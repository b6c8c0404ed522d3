"""``inlay export``: write an adapter for another program, and check the result before it is kept."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inlay.adapters.export.new_folder import check_new
from inlay.adapters.export.registry import TARGETS, target_named
from inlay.recipes.commands.arguments.bundle_argument import add_backbone, add_bundle, check_usable, named_models
from inlay.recipes.commands.arguments.parser import command_parser

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from inlay.adapters.backbone import Backbone
    from inlay.adapters.export.report import Report

__all__ = ["main"]

_NAMES = {"class": "loads in Transformers as", "files": "bytes of the files", "worst_module": "worst relative error"}
"""Fact of a report -> its name in the table, if it is not the same with spaces."""


def main(argv: Sequence[str], backbone: Backbone | None = None) -> int:
    """Export, and print the checks.

    Args:
        argv: arguments of the command line.
        backbone: loaded frozen models, instead of those of the run.
    """
    targets = "; ".join(f"{name}: {target.about}" for name, target in TARGETS.items())
    parser = command_parser(
        "export",
        f'{__doc__} See the page "Exporting" of the documentation.',
        "export runs/llava --to hf --output merged",
        "export runs/llava --to peft --rank 8 --output lora",
        "export runs/llava --to gguf --base q8_0 --output gguf",
    )
    add_bundle(parser)
    parser.add_argument("--to", type=str, required=True, metavar=f"{{{','.join(TARGETS)}}}", help=targets)
    parser.add_argument("--output", type=Path, required=True, help="new folder for the files")
    _add_options(parser)
    add_backbone(parser)
    parser.add_argument("--json", action="store_true", help="print EXPORT.json")
    parser.checks.append(lambda parsed: target_named(parsed.to, _given(parsed)))
    parsed = parser.parse_args(list(argv))
    check_new(parsed.output)
    check_usable(parsed.bundle)
    # Heavy libraries are imported after the arguments have been checked.
    report = _export(parsed, _given(parsed), backbone)
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


def _given(parsed: Any) -> dict[str, Any]:
    """The options of targets that the user gave."""
    asked = {name: getattr(parsed, name) for name in _options()}
    return {name: value for name, value in asked.items() if value is not None and value is not False}


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
    facts = [f"  {_NAMES.get(name, name.replace('_', ' '))}: {_words(value)}" for name, value in report.facts.items()]
    checks = [f"  checked: {check}" for check in report.checks]
    return "\n".join([f"{report.folder}: {report.target}", *facts, *checks, *(f"  note: {n}" for n in report.notes)])


def _words(value: Any) -> str:
    """A fact of the report in words, with three significant digits of a measured number.

    Example:
        >>> _words({"lora.gguf": 12345}), _words(0.012345), _words(["a", 2])
        ('lora.gguf 12,345', '0.0123', 'a, 2')
    """
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(held)}" for name, held in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if type(value) is int else str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
