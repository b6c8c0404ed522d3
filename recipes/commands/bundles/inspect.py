"""``inlay inspect``: show a bundle's parts, interface, size and integrity, without loading a model."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from inlay.hub.remote.inspect import Overview, inspect_bundle
from inlay.hub.remote.search import Offers
from inlay.recipes.commands.arguments.bundle_argument import add_bundle
from inlay.recipes.commands.arguments.local_models import add_ports, fitting, given_models, models_here, offers_of
from inlay.recipes.commands.arguments.parser import command_parser
from inlay.recipes.runs.backbone import local_models
from inlay.recipes.terminal.console import show_json
from inlay.recipes.terminal.table import aligned, fact_lines

__all__ = ["describe", "main"]

_INTEGRITY = {
    "whole": "intact",
    "listed": "not downloaded; the hub's hashes match the manifest",
    "unchecked": "not downloaded; names, sizes and shapes match, contents are checked on pull",
}


def main(argv: Sequence[str]) -> int:
    """Print the facts; a damaged bundle is an error."""
    parser = command_parser(
        "inspect",
        f"{__doc__} No tensor is downloaded from a repository.",
        "inspect runs/llava",
        "inspect someone/llava-vqa --llm models/vicuna-7b",
    )
    add_bundle(parser)
    add_ports(parser, "to compare with the interface")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--tensors", action="store_true", help="list every tensor")
    parsed = parser.parse_args(list(argv))
    overview = inspect_bundle(parsed.bundle)
    models = models_here()
    given = given_models(parsed, models)
    # Models of a run are in folders, which its bundle does not name.
    models |= {str(folder): offers_of(folder / "config.json") for folder in local_models(parsed.bundle).values()}
    facts = describe(overview, models | dict(given.values()))
    facts["given"] = {port: _compared(facts["interface"], port, *model) for port, model in given.items()}
    if parsed.json:
        show_json(facts)
    else:
        print(_text(facts, tensors=parsed.tensors))
    return 0


def _compared(interface: Mapping[str, Any], port: str, source: str, offers: Offers) -> str:
    """Whether a model that the user named may fit, in words."""
    if (needed := interface.get(port)) is None:
        return f"{source}: the adapter has no port {port}"
    found = ", ".join(f"{family} {width}" for family, width in sorted(offers))
    fits = (needed["family"], needed["width"]) in offers
    return f"{source}: {'fits' if fits else 'does not fit'}: {found}; expected {needed['family']} {needed['width']}"


def describe(overview: Overview, models: Mapping[str, Offers] | None = None) -> dict[str, Any]:
    """The manifest as plain values, with sizes and integrity.

    Args:
        overview: of the bundle.
        models: name -> families and widths of models on this machine; those of the cache if not given.
    """
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
    facts["here"] = fitting(manifest.interface, models_here() if models is None else models)
    return facts


def _text(facts: dict[str, Any], *, tensors: bool) -> str:
    name = facts["name"] if facts["name"] == facts["system"] else f"{facts['name']} ({facts['system']})"
    commit = f", commit {facts['commit']}" if facts["commit"] else ""
    parts = [
        (f"  {name}", part["kind"], f"{part['parameters']:,}", part["dtype"], _fields(part["config"]))
        for name, part in facts["parts"].items()
    ]
    ports = [(f"  {name}", _port(port)) for name, port in facts["interface"].items()]
    here = [(f"  {name}", ", ".join(models) or "none") for name, models in facts["here"].items()]
    given = [(f"  --{port}", text) for port, text in facts.get("given", {}).items()]
    layout = f"{facts['layout']['template']}, {_fields(facts['layout']['geometry'])}"
    if tiling := facts["layout"].get("tiling"):
        layout += f", tiling {tiling}"
    told = {
        "layout": layout,
        "canary": "stored, checked on attach" if facts["canary"] else "none",
        "signed": "yes, not checked; `inlay verify --trusted` checks it" if facts["signed"] else "no",
    }
    if training := facts["training"]:
        measured = {key: round(value, 4) for key, value in training["metrics"].items()}
        told["trained"] = f"{training['recipe']}: {', '.join(training['stages'])}; seed {training['seed']}"
        told["data"] = training["data"]
        told["measured"] = _fields(measured) or "nothing"
        told["with"] = _fields(training["versions"])
    told["licence"] = facts["license"] or "not stated"
    blocks = [
        f"{name}, format {facts['format_version']}, {_INTEGRITY[facts['integrity']]}\n"
        f"{facts['parameters']:,} parameters, {facts['bytes']:,} bytes{commit}",
        _block("parts", parts, right=(2,)),
        _block("needs a backbone with", ports),
        _block("on this machine, by family and width", [*here, *given]),
        fact_lines(told),
    ]
    for file, specs in facts["tensors"].items() if tensors else ():
        blocks.append(_block(file, [(f"  {name}", f"{spec[0]} {spec[1:]}") for name, spec in specs.items()]))
    return "\n\n".join(blocks)


def _block(title: str, rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    return f"{title}\n{aligned(rows, right=right)}" if rows else title


def _port(port: dict[str, Any]) -> str:
    tokens = f", {port['tokens']} token{'s' * (port['tokens'] > 1)}" if port["tokens"] else ""
    trained = f"trained on {port['source'] or 'an unnamed model'}"
    return f"{port['family']}, {port['width']} wide{tokens}, {_fields(port['settings'])}; {trained}"


def _fields(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{key} {' '.join(map(str, value)) if isinstance(value, list) else value}"
        for key, value in values.items()
        if value != []
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
