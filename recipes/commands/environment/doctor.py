"""``inlay doctor``: check versions, devices, memory, caches and extras, and what is missing for a system.

It changes nothing and never uses the network.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inlay.recipes.commands.arguments.bundle_argument import add_backbone, named_models
from inlay.recipes.commands.arguments.parser import command_parser
from inlay.recipes.commands.environment.versions import core_versions, extras_missing
from inlay.recipes.commands.train.parser import parse
from inlay.recipes.systems.registry import SYSTEMS
from inlay.recipes.terminal.console import show_json
from inlay.recipes.terminal.table import aligned, fact_lines

if TYPE_CHECKING:
    from inlay.recipes.runs.job import Job

__all__ = ["examine", "main"]

_PLACES = {
    "package": "part of this package",
    "folder": "in this folder",
    "cache": "downloaded",
    "hub": "not downloaded yet; the first run downloads it",
    "missing": "missing: no such folder",
}
_LITTLE = 2 << 30
"""Less free disk space than this is reported."""


def main(argv: Sequence[str]) -> int:
    """Print the facts and a verdict; the exit status is 1 if something is missing."""
    parser = command_parser("doctor", __doc__)
    parser.add_argument(
        "system", type=str | None, nargs="?", help=f"check what this needs: {', '.join(SYSTEMS)}, or a YAML file"
    )
    parser.add_argument("--output", type=Path | None, help="output folder to check; that of the system if not given")
    parser.add_argument("--data.cache_dir", dest="cache_dir", type=Path | None, help="folder of cached features")
    add_backbone(parser, of_bundle=False)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parsed = parser.parse_args(list(argv))
    facts = examine(_job(parsed), output=parsed.output, cache_dir=parsed.cache_dir)
    if parsed.json:
        show_json(facts)
    else:
        print(_text(facts))
    return 1 if facts["problems"] else 0


def _job(parsed: Any) -> Job | None:
    """The run of the named system, with the named models."""
    if parsed.system is None:
        return None
    models = vars(named_models(parsed))
    defaults = vars(type(named_models(parsed))())
    given = [f"--backbone.{name}={value}" for name, value in models.items() if value != defaults[name]]
    return parse([parsed.system, *given], command="doctor").job()


def examine(job: Job | None = None, *, output: Path | None = None, cache_dir: Path | None = None) -> dict[str, Any]:
    """All facts as plain values, with ``problems``, ``notes`` and ``verdict``.

    Args:
        job: a run to check; None for the machine alone.
        output: its output folder, if not that of the job.
        cache_dir: folder of cached features, if not that of the job.
    """
    # Imported here: torch takes seconds, and a wrong argument is reported without it.
    from inlay.recipes.commands.environment.hardware import devices
    from inlay.recipes.commands.environment.needs import extras_of, models_of
    from inlay.recipes.commands.environment.storage import caches, output_folder

    folder = output or (Path("runs") if job is None else job.run.output)
    found = devices()
    facts: dict[str, Any] = {
        "inlay": version("inlay"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {own.name: asdict(own) for own in core_versions()},
        "devices": [asdict(device) | {"advice": device.advice} for device in found],
        "caches": {
            name: asdict(own) for name, own in caches(cache_dir or (job and job.data.cache_dir) or None).items()
        },
        "offline": any(
            os.environ.get(name, "0") not in ("", "0") for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
        ),
        "extras": extras_missing(),
        "output": asdict(output_folder(folder)),
        "system": None,
    }
    if job is not None:
        models = {name: asdict(model) for name, model in models_of(job).items()}
        facts["system"] = {"name": job.recipe.system, "models": models, "extras": extras_of(job)}
    facts["problems"], facts["notes"] = _problems(facts), _notes(facts)
    facts["verdict"] = _verdict(facts)
    return facts


def _problems(facts: Mapping[str, Any]) -> list[str]:
    """What keeps a run from starting, each with what to do."""
    found = [
        f"{name}: not installed; run pip install '{name}{own['tested']}'"
        for name, own in facts["versions"].items()
        if own["state"] == "missing"
    ]
    if not facts["output"]["writable"]:
        found.append(f"{facts['output']['path']}: cannot be written; choose another --output")
    system = facts["system"] or {"models": {}, "extras": ()}
    found += [
        f"{system['name']} needs {', '.join(lacking)}; run pip install 'inlay[{extra}]'"
        for extra in system["extras"]
        if (lacking := facts["extras"].get(extra))
    ]
    for name, model in system["models"].items():
        if model["place"] == "missing":
            found.append(f"--backbone.{name}: {model['source']}: no such folder; name a folder or a Hub id")
        if model["place"] == "hub" and facts["offline"]:
            found.append(
                f"--backbone.{name}: {model['source']} is not downloaded, and the Hub is switched off "
                "(HF_HUB_OFFLINE); download it first"
            )
    return found


def _notes(facts: Mapping[str, Any]) -> list[str]:
    """What works, but not as tested or not as a user may expect."""
    found = [
        f"{name} {own['installed']} is outside the tested range {own['tested']}"
        for name, own in facts["versions"].items()
        if own["state"] == "untested"
    ]
    if facts["output"]["free_bytes"] < _LITTLE:
        found.append(f"only {_size(facts['output']['free_bytes'])} are free on the disk of {facts['output']['path']}")
    if len(facts["devices"]) == 1:
        found.append("there is no GPU: the miniature trains in minutes, models of billions of parameters do not")
    return found


def _verdict(facts: Mapping[str, Any]) -> str:
    name = facts["system"]["name"] if facts["system"] else "inlay"
    if facts["problems"]:
        return f"not ready for {name}: " + "; ".join(facts["problems"])
    return f"ready for {name}" + (" with untested versions" if _untested(facts) else "")


def _untested(facts: Mapping[str, Any]) -> bool:
    return any(own["state"] == "untested" for own in facts["versions"].values())


def _text(facts: Mapping[str, Any]) -> str:
    """The facts for a person."""
    rows = [("package", "installed", "tested", "")]
    for name, own in facts["versions"].items():
        state = {"tested": "", "untested": "outside the tested range", "missing": "missing"}[own["state"]]
        rows.append((name, own["installed"] or "-", own["tested"], state))
    blocks = [
        f"inlay {facts['inlay']}, Python {facts['python']}, {facts['platform']}",
        aligned(rows, right=False),
        "\n".join(
            f"{own['device']}: {own['name']}\n  memory: {_memory(own)}\n  {own['advice']}" for own in facts["devices"]
        ),
        "caches\n" + _cache_lines(facts["caches"]),
        "extras\n" + fact_lines({f"  {name}": _extra(name, lacking) for name, lacking in facts["extras"].items()}),
    ]
    if system := facts["system"]:
        places = {f"  {name}": f"{own['source']}: {_PLACES[own['place']]}" for name, own in system["models"].items()}
        blocks.append(f"models of {system['name']}\n{fact_lines(places) if places else '  those of the bundle'}")
    free = f"{_size(facts['output']['free_bytes'])} free"
    blocks.append(f"output: {facts['output']['path']}, {free}{', exists' if facts['output']['exists'] else ''}")
    blocks.append("\n".join([*(f"note: {note}" for note in facts["notes"]), facts["verdict"]]))
    return "\n\n".join(blocks)


def _memory(device: Mapping[str, Any]) -> str:
    if not device["total_bytes"]:  # a machine without /proc
        return "unknown"
    return f"{_size(device['free_bytes'])} free of {_size(device['total_bytes'])}"


def _cache_lines(caches: Mapping[str, Any]) -> str:
    told = {f"  {name}": f"{_size(own['bytes'])} in {own['path']}" for name, own in caches.items()}
    return fact_lines(told if "features" in caches else told | {"  features": "in memory; --data.cache_dir keeps them"})


def _extra(name: str, lacking: Sequence[str]) -> str:
    return f"missing {', '.join(lacking)}: pip install 'inlay[{name}]'" if lacking else "present"


def _size(count: int) -> str:
    """Bytes in words.

    Example:
        >>> _size(5 << 29), _size(3 << 20)
        ('2.5 GiB', '3 MiB')
    """
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count >> 20} MiB"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
