"""``inlay inspect``: show a bundle's parts, interface, size and integrity, without loading a model."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from inlay.hub.remote.inspect import Overview, inspect_bundle
from inlay.recipes.commands.arguments.bundle_argument import add_bundle
from inlay.recipes.commands.arguments.local_models import fitting, models_here
from inlay.recipes.commands.arguments.parser import command_parser

__all__ = ["describe", "main"]

_INTEGRITY = {
    "whole": "intact",
    "listed": "not downloaded; the hub's hashes match the manifest",
    "unchecked": "not downloaded; names, sizes and shapes match, contents are checked on pull",
}


def main(argv: Sequence[str]) -> int:
    """Print the facts; a damaged bundle is an error."""
    parser = command_parser("inspect", f"{__doc__} No tensor is downloaded from a repository.")
    add_bundle(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--tensors", action="store_true", help="list every tensor")
    parsed = parser.parse_args(list(argv))
    facts = describe(inspect_bundle(parsed.bundle))
    print(json.dumps(facts, indent=2) if parsed.json else _text(facts, tensors=parsed.tensors))
    return 0


def describe(overview: Overview) -> dict[str, Any]:
    """The manifest as plain values, with sizes and integrity."""
    manifest = overview.manifest
    facts: dict[str, Any] = manifest.model_dump(mode="json")
    facts["intact"] = overview.integrity == "whole"
    facts["integrity"] = overview.integrity
    facts["signed"] = overview.signed
    facts["commit"] = overview.commit
    facts["bytes"] = overview.size
    facts["parameters"] = sum(part.parameters for part in manifest.parts.values())
    facts["tensors"] = {
        file: {name: [spec.dtype, *spec.shape] for name, spec in specs.items()}
        for file, specs in overview.tensors.items()
    }
    facts["here"] = fitting(manifest.interface, models_here())
    return facts


def _text(facts: dict[str, Any], *, tensors: bool) -> str:
    name = facts["name"] if facts["name"] == facts["system"] else f"{facts['name']} ({facts['system']})"
    widest = max([15, *(len(part) + 2 for part in facts["parts"])])
    lines = [
        f"{name}, format {facts['format_version']}, {_INTEGRITY[facts['integrity']]}",
        f"{facts['parameters']:,} parameters, {facts['bytes']:,} bytes"
        + (f", commit {facts['commit']}" if facts["commit"] else ""),
        "",
        "parts",
        *(
            f"  {name:<{widest}}{p['kind']:<12}{p['parameters']:>12,}  {p['dtype']}  {_fields(p['config'])}"
            for name, p in facts["parts"].items()
        ),
        "",
        "needs a backbone with",
        *(
            f"  {name:<14} {p['family']}, {p['width']} wide"
            + (f", {p['tokens']} token{'s' * (p['tokens'] > 1)}" if p["tokens"] else "")
            + f", {_fields(p['settings'])}; trained on {p['source'] or 'an unnamed model'}"
            for name, p in facts["interface"].items()
        ),
        "",
        "on this machine, by family and width",
        *(f"  {name:<14} {', '.join(models) or 'none'}" for name, models in facts["here"].items()),
        "",
        f"layout   {facts['layout']['template']}, {_fields(facts['layout']['geometry'])}"
        + (f", tiling {tiling}" if (tiling := facts["layout"].get("tiling")) else ""),
        f"canary   {'stored, checked on attach' if facts['canary'] else 'none'}",
        f"signed   {'yes, not checked; `inlay verify --trusted` checks it' if facts['signed'] else 'no'}",
    ]
    if facts["training"]:
        training = facts["training"]
        lines += [
            f"trained  {training['recipe']}: {', '.join(training['stages'])}; seed {training['seed']}",
            f"data     {training['data']}",
            f"measured {_fields({key: round(value, 4) for key, value in training['metrics'].items()}) or 'nothing'}",
            f"with     {_fields(training['versions'])}",
        ]
    lines.append(f"licence  {facts['license'] or 'not stated'}")
    if tensors:
        for file, specs in facts["tensors"].items():
            lines += ["", file, *(f"  {name}  {spec[0]} {spec[1:]}" for name, spec in specs.items())]
    return "\n".join(lines)


def _fields(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{key} {' '.join(map(str, value)) if isinstance(value, list) else value}"
        for key, value in values.items()
        if value != []
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
