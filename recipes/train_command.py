"""``inlay train``: a system's name or a YAML file, every field open to an override."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from jsonargparse import ArgumentParser, Namespace

from inlay.adapters.backbone import Backbone
from inlay.adapters.inputs import PROJECTORS
from inlay.adapters.llm_parts.lora import LoraConfig
from inlay.adapters.outputs import OUTPUTS
from inlay.hub.errors import InlayError
from inlay.recipes import blip2, instructblip, llava, minigpt4, modaverse, nextgpt
from inlay.recipes.launch import check_processes, launch
from inlay.recipes.options import check_reached, flat_rates, given_options, split_rates, with_rates
from inlay.recipes.parser import command_parser
from inlay.recipes.precision import settle
from inlay.recipes.ranks import first, is_first, joined, started_with
from inlay.recipes.recipe import Recipe, Size, Stage, System
from inlay.recipes.run_folder import RunFolder
from inlay.recipes.settings import BackboneSettings, DataSettings, RunSettings, SettingsError
from inlay.recipes.train import Job, train

__all__ = ["SYSTEMS", "main"]

SYSTEMS: dict[str, System] = {
    "llava": llava.SYSTEM,
    "blip2": blip2.SYSTEM,
    "instructblip": instructblip.SYSTEM,
    "minigpt4": minigpt4.SYSTEM,
    "nextgpt": nextgpt.SYSTEM,
    "modaverse": modaverse.SYSTEM,
}
"""System -> its versions and its recipe."""

T = TypeVar("T")


def main(argv: Sequence[str], backbone: Backbone | None = None) -> int:
    """Train, and print the table.

    Args:
        argv: the system or a YAML file, and settings.
        backbone: frozen models put together by hand, such as with an encoder of one's own; otherwise those that the
            settings name.
    """
    arguments = list(argv)
    system, config = _what(arguments)
    chosen = _choices(system, arguments, config)
    recipe = SYSTEMS[system].recipe(**chosen)
    parser = _parser(system, recipe, chosen)
    rest = arguments[1:] if arguments and not arguments[0].startswith("-") else arguments
    parsed = parser.parse_args(_with_rates(parser, [*_config(config), *rest], list(recipe.stages)))
    unread = partial(check_reached, given_options(rest), known=list(recipe.stages))
    if parsed.devices > 1 and started_with() == 1:
        asked = _job(parser, parsed, recipe)
        unread(asked.recipe, data=asked.data, backbone=asked.backbone)
        check_processes(asked.run, asked.recipe.stages, parsed.devices)
        if backbone is not None:
            raise SettingsError("devices: models put together by hand cannot be sent to other processes; use torchrun")
        return launch([sys.executable, "-P", "-m", "inlay.recipes.cli", "train", *arguments], parsed.devices)
    with joined(parsed.accelerator):
        # Settled before it is written down: a run goes on with the precision that it began with, on any machine.
        parsed.precision = first(partial(settle, parsed.precision, parsed.accelerator))
        job = _job(parser, parsed, recipe)
        unread(job.recipe, data=job.data, backbone=job.backbone)
        first(partial(_check_folder, parser, parsed, job))
        created: list[RunFolder] = []

        def prepare() -> None:
            folder = first(partial(_prepared, parser, parsed, job))
            if is_first() and not job.run.resume:
                created.append(folder)

        try:
            train(job, backbone=backbone, prepare=prepare)
        except InlayError:  # After any other, such as a full disk, --resume goes on.
            for folder in created:
                folder.discard_unused()
            raise
    return 0


def _check_folder(parser: ArgumentParser, parsed: Namespace, job: Job) -> None:
    """Check the run folder, and the settings of a run that goes on, before anything is loaded."""
    folder = RunFolder.check(job.run)
    if job.run.resume:
        folder.check_same(yaml.safe_load(parser.dump(parsed, skip_unset=False)))


def _prepared(parser: ArgumentParser, parsed: Namespace, job: Job) -> RunFolder:
    """The run folder, with the settings of the run in it."""
    folder = RunFolder.prepare(job.run)
    if not job.run.resume:
        parser.save(parsed, folder.config, skip_unset=False, multifile=False)
    return folder


def _what(arguments: Sequence[str]) -> tuple[str, Path | None]:
    """The system and the YAML file, from the first argument."""
    first = arguments[0] if arguments and not arguments[0].startswith("-") else None
    if first is None:
        if "--help" in arguments or "-h" in arguments:
            return "llava", None
        raise SettingsError(f"expected a system ({', '.join(SYSTEMS)}) or a YAML file as the first argument")
    if first in SYSTEMS:
        return first, None
    path = Path(first)
    if not path.is_file():
        raise SettingsError(f"{first!r} is neither a system ({', '.join(SYSTEMS)}) nor a YAML file")
    system = _yaml(path).get("system")
    if system not in SYSTEMS:
        raise SettingsError(f"{path}: system: expected one of {', '.join(SYSTEMS)}, got {system!r}")
    return str(system), path


def _config(path: Path | None) -> list[str]:
    """The arguments that name the YAML file; its contents instead where learning rates are nested in it."""
    if path is None:
        return []
    held = _yaml(path)
    flat = flat_rates(held)
    return ["--config", str(path) if flat == held else yaml.safe_dump(flat, sort_keys=False)]


def _with_rates(parser: ArgumentParser, arguments: Sequence[str], stages: Sequence[str]) -> list[str]:
    """The arguments with ``--stages.STAGE.lr.PART RATE`` as whole settings of ``lr``, which the parser understands."""
    rest, rates = split_rates(arguments)
    chosen = [name for name in stages if any(stage == name for stage, _, _ in rates)]
    if unknown := [stage for stage, _, _ in rates if stage not in stages]:
        raise SettingsError(f"--stages.{unknown[0]}: expected one of the stages {', '.join(stages)}")
    if not rates or "--help" in rest or "-h" in rest:
        return list(rest)
    below = parser.parse_args([argument for argument in rest if not argument.startswith("--print_config")])
    for name in chosen:
        own = [(part, value) for stage, part, value in rates if stage == name]
        rest.append(f"--stages.{name}.lr={json.dumps(with_rates(below.stages[name].lr, own, name))}")
    return rest


def _yaml(path: Path) -> Mapping[str, Any]:
    try:
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(held, dict):
        raise SettingsError(f"{path}: expected a mapping of settings, got {type(held).__name__}")
    return held


def _choices(system: str, arguments: Sequence[str], config: Path | None) -> dict[str, str]:
    """Version and size decide the defaults of everything else, so they are looked at first."""
    held = _yaml(config) if config else {}
    own = (held.get("backbone") or {}).get("llm") or any(
        argument.startswith("--backbone.llm") for argument in arguments
    )
    choices = {"version": SYSTEMS[system].versions, "size": get_args(Size)}
    chosen = {
        "version": str(held.get("version", choices["version"][0])),
        "size": str(held.get("size", "full" if own else "miniature")),
    }
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if (field := name.removeprefix("--")) in chosen and name.startswith("--"):
            chosen[field] = value if equals else "".join(arguments[index + 1 : index + 2])
    for field, value in chosen.items():
        if value not in choices[field]:
            raise SettingsError(f"{field}: expected one of {', '.join(choices[field])}, got {value!r}")
    return chosen


def _parser(system: str, recipe: Recipe, chosen: Mapping[str, Any]) -> ArgumentParser:
    parser = command_parser(
        f"train {system}",
        f"Train {system}. Without a backbone and data of your own: on the embedded miniature.",
    )
    parser.add_argument("--config", action="config", help="YAML file with any of these settings")
    parser.add_argument("--system", default=system, type=str, help="system that a YAML file is for")
    parser.add_argument(
        "--version", default=chosen["version"], type=str, help=f"one of {', '.join(SYSTEMS[system].versions)}"
    )
    parser.add_argument("--size", default=chosen["size"], type=Size, help="whose hyper-parameters are the defaults")
    parser.add_class_arguments(RunSettings, default=RunSettings(output=Path("runs") / system))
    parser.add_class_arguments(BackboneSettings, "backbone")
    parser.add_class_arguments(DataSettings, "data")
    parser.add_argument("--projector", default=recipe.projector, type=str, help=f"one of {', '.join(PROJECTORS)}")
    parser.add_argument(
        "--projector_options", default={}, type=dict[str, Any], help="fields of the projector besides its widths"
    )
    parser.add_argument("--shared", default=recipe.shared, type=bool, help="one input projector serves all modalities")
    parser.add_argument(
        "--output_projector",
        default=recipe.output,
        type=str | None,
        help=f"of systems that make media: one of {', '.join(OUTPUTS)}",
    )
    parser.add_argument(
        "--output_options",
        default=dict(recipe.output_options),
        type=dict[str, Any],
        help="fields of the output projectors besides their sizes at both ends",
    )
    parser.add_argument(
        "--signals", default=dict(recipe.signals), type=dict[str, int], help="signal tokens of each modality"
    )
    parser.add_argument(
        "--order",
        default="",
        type=str,
        help="stages in the order in which they run, such as encode,instruct,decode; those left out are not run",
    )
    parser.add_argument("--lora", default=recipe.lora, type=LoraConfig | None, help="LoRA on the LLM")
    for name, stage in recipe.stages.items():
        parser.add_argument(f"--stages.{name}", default=stage, type=Stage, help=f"the stage {name}")
    return parser


def _job(parser: ArgumentParser, parsed: Namespace, recipe: Recipe) -> Job:
    """Typed settings from what was parsed; contradictions die here."""
    try:
        built = parser.instantiate(parsed)
    except (TypeError, ValueError) as error:
        raise SettingsError(str(_reason(error))) from error
    if built.output_projector not in (None, *OUTPUTS):
        raise SettingsError(f"output_projector: expected one of {', '.join(OUTPUTS)}, got {built.output_projector!r}")
    if built.projector not in PROJECTORS:
        raise SettingsError(f"projector: expected one of {', '.join(PROJECTORS)}, got {built.projector!r}")
    return Job(
        recipe=replace(
            recipe,
            projector=built.projector,
            projector_options=_options(recipe, built.projector, built.projector_options),
            shared=built.shared,
            output=built.output_projector,
            output_options=built.output_options,
            signals=built.signals,
            lora=built.lora,
            stages=_ordered(vars(built.stages), built.order),
        ),
        run=RunSettings(**{field.name: getattr(built, field.name) for field in fields(RunSettings)}),
        backbone=_settings(BackboneSettings, built.backbone),
        data=_settings(DataSettings, built.data),
    )


def _ordered(stages: dict[str, Stage], order: str) -> dict[str, Stage]:
    """The stages that are named, in that order; all of them where none is."""
    names = [name.strip() for name in order.split(",") if name.strip()] or list(stages)
    if set(names) - set(stages) or len(set(names)) < len(names):
        raise SettingsError(f"order: expected some of {', '.join(stages)}, each once, got {order!r}")
    return {name: stages[name] for name in names}


def _options(recipe: Recipe, kind: str, given: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The system's fields of this projector, with those of the user over them."""
    known = [field.name for field in fields(PROJECTORS[kind][1])]
    if unknown := set(given) - set(known):
        raise SettingsError(
            f"projector_options: {kind} has no field {', '.join(sorted(unknown))}; it has {', '.join(known)}"
        )
    return {kind: {**recipe.projector_options.get(kind, {}), **given}}


def _reason(error: BaseException) -> BaseException:
    """Our own words, where jsonargparse has wrapped them into its own."""
    inner: BaseException | None = error
    while inner is not None and not isinstance(inner, InlayError):
        inner = inner.__cause__ or inner.__context__
    return inner or error


def _settings(kind: type[T], built: Any) -> T:
    return built if isinstance(built, kind) else kind(**vars(built))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
