"""``inlay inspect``: what a bundle is, what it fits, how large, whether it is intact. No model is loaded."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from jsonargparse import ArgumentParser

from inlay.adapters.store import open_bundle
from inlay.hub.bundle import Bundle
from inlay.recipes.bundle_argument import BUNDLE

__all__ = ["describe", "main"]


def main(argv: Sequence[str]) -> int:
    """Print the facts; a damaged bundle is an error that says what is wrong."""
    parser = ArgumentParser(prog="inlay inspect", description=__doc__)
    parser.add_argument("bundle", type=str, help=BUNDLE)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parsed = parser.parse_args(list(argv))
    facts = describe(open_bundle(parsed.bundle))
    print(json.dumps(facts, indent=2) if parsed.json else _text(facts))
    return 0


def describe(bundle: Bundle) -> dict[str, Any]:
    """The manifest as plain values, with totals. Reading has checked every hash, name, shape and number already."""
    manifest = bundle.manifest
    facts: dict[str, Any] = manifest.model_dump(mode="json")
    facts["intact"] = True
    facts["bytes"] = bundle.bytes
    facts["parameters"] = sum(part.parameters for part in manifest.parts.values())
    return facts


def _text(facts: dict[str, Any]) -> str:
    lines = [
        f"{facts['name']} ({facts['system']}), format {facts['format_version']}, intact",
        f"{facts['parameters']:,} parameters, {facts['bytes']:,} bytes",
        "",
        "parts",
        *(
            f"  {name:<14}{p['kind']:<8}{p['parameters']:>12,}  {p['dtype']}  {_fields(p['config'])}"
            for name, p in facts["parts"].items()
        ),
        "",
        "fits a backbone with",
        *(
            f"  {name:<8}{p['family']}, {p['width']} wide"
            + (f", {p['tokens']} tokens" if p["tokens"] else "")
            + f", {_fields(p['settings'])}; trained on {p['source'] or 'an unnamed model'}"
            for name, p in facts["interface"].items()
        ),
        "",
        f"layout   {facts['layout']['template']}, {_fields(facts['layout']['geometry'])}",
        f"canary   {'stored, checked on attach' if facts['canary'] else 'none'}",
    ]
    if facts["training"]:
        training = facts["training"]
        lines += [
            f"trained  {training['recipe']}: {', '.join(training['stages'])}; seed {training['seed']}",
            f"data     {training['data']}",
            f"measured {_fields({key: round(value, 4) for key, value in training['metrics'].items()})}",
            f"with     {_fields(training['versions'])}",
        ]
    lines.append(f"licence  {facts['license'] or 'not stated'}")
    return "\n".join(lines)


def _fields(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{key} {' '.join(map(str, value)) if isinstance(value, list) else value}" for key, value in values.items()
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
