"""The arguments of ``inlay train``: which system, every field of its settings, and the job that they make.

Nothing here imports torch, so that a wrong argument is reported at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from jsonargparse import ArgumentParser, Namespace

from inlay.adapters.llm_parts.lora_config import LoraConfig
from inlay.hub.errors import InlayError
from inlay.recipes.commands.arguments.parser import command_parser
from inlay.recipes.commands.train.options import flat_rates, split_rates, with_rates
from inlay.recipes.runs.job import Job
from inlay.recipes.settings.plain_yaml import MAX_CHARACTERS, NotPlainError, check_value, parse_yaml
from inlay.recipes.settings.recipe import Recipe, Size, Stage, System
from inlay.recipes.settings.run import BackboneSettings, DataSettings, RunSettings, SettingsError
from inlay.recipes.systems import blip2, instructblip, llava, minigpt4, modaverse, nextgpt

__all__ = ["OUTPUTS", "PROJECTORS", "SYSTEMS", "Parsed", "check_projector_options", "config_of", "kinds", "parse"]

SYSTEMS: dict[str, System] = {
    "llava": llava.SYSTEM,
    "blip2": blip2.SYSTEM,
    "instructblip": instructblip.SYSTEM,
    "minigpt4": minigpt4.SYSTEM,
    "nextgpt": nextgpt.SYSTEM,
    "modaverse": modaverse.SYSTEM,
}
"""System -> its versions and its recipe."""

PROJECTORS = (
    "linear",
    "mlp",
    "qformer",
    "instruct_qformer",
    "patch_merge",
    "perceiver",
    "cross_attention",
    "cformer",
)
OUTPUTS = ("transformer", "mlp", "qformer")
"""Kinds of projectors that come with the package. Others can be there only if their registry has been imported."""
_FILES = ("config", "lora", "backbone", "data")
"""Options that take the name of a YAML file."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """Arguments that jsonargparse has accepted."""

    parser: ArgumentParser
    values: Namespace
    recipe: Recipe
    arguments: list[str]

    def job(self) -> Job:
        """Typed settings.

        Raises:
            SettingsError: settings that contradict each other, or an unknown kind of projector.
        """
        try:
            built = self.parser.instantiate(self.values)
        except (TypeError, ValueError) as error:
            raise SettingsError(str(_reason(error))) from error
        _check_kind("projector", built.projector, kinds("inputs", PROJECTORS))
        if built.output_projector is not None:
            _check_kind("output_projector", built.output_projector, kinds("outputs", OUTPUTS))
        options = {**self.recipe.projector_options.get(built.projector, {}), **built.projector_options}
        return Job(
            recipe=replace(
                self.recipe,
                projector=built.projector,
                projector_options={built.projector: options},
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

    def config(self, precision: str) -> str:
        """The text of ``config.yaml``: every setting, so that the file alone repeats the run.

        Args:
            precision: the one that ``auto`` stands for on this machine; a run goes on with it on any other.
        """
        name = self.values.name or self.values.output.absolute().name
        settled = {"precision": precision, "name": name, "resume": False, "overwrite": False}
        values = self.values.clone()
        for field, value in settled.items():
            values[field] = value
        return str(self.parser.dump(values, skip_unset=False))


def parse(argv: Sequence[str]) -> Parsed:
    """Read the arguments of ``inlay train``.

    Args:
        argv: the system or a YAML file, and settings.

    Raises:
        SettingsError: an unknown system, no YAML, or YAML that is more than plain settings.
        SystemExit: an unknown option, or a value of the wrong type; the error has been printed then.
    """
    arguments = list(argv)
    system, config = _first(arguments)
    _check_values(arguments)
    chosen = _choices(system, arguments, config)
    recipe = SYSTEMS[system].recipe(**chosen)
    parser = _parser(system, recipe, chosen)
    rest = arguments[1:] if arguments and not arguments[0].startswith("-") else arguments
    values = parser.parse_args(_with_rates(parser, [*_config(config), *rest], list(recipe.stages)))
    return Parsed(parser=parser, values=values, recipe=recipe, arguments=arguments)


def config_of(job: Job) -> str:
    """The text of ``config.yaml`` for a job that was made in Python.

    Of a system of the package, the file repeats the run on the command line. The recipe of another system cannot be
    told from a file; what can be written of it is.
    """
    recipe = job.recipe
    plain = {
        "system": recipe.system,
        **_plain(asdict(replace(job.run, name=job.name, resume=False, overwrite=False))),
        "backbone": _plain(asdict(job.backbone)),
        "data": _plain(asdict(job.data)),
        "projector": recipe.projector,
        "projector_options": _plain(dict(recipe.projector_options.get(recipe.projector, {}))),
        "shared": recipe.shared,
        "output_projector": recipe.output,
        "output_options": _plain(dict(recipe.output_options)),
        "signals": _plain(dict(recipe.signals)),
        "order": ",".join(recipe.stages),
        "lora": _plain(asdict(recipe.lora)) if recipe.lora else None,
        "stages": {name: _plain(asdict(stage)) for name, stage in recipe.stages.items()},
    }
    for chosen in _origins(recipe):
        own = SYSTEMS[recipe.system].recipe(**chosen)
        parser = _parser(recipe.system, own, chosen)
        return str(parser.dump(parser.parse_object({**plain, **chosen}), skip_unset=False))
    about = "# The recipe is not one of the package, so this file alone does not repeat the run.\n"
    return about + yaml.safe_dump(plain, sort_keys=False)


def check_projector_options(kind: str, options: Mapping[str, Any]) -> None:
    """Check that a projector has these fields; imports torch.

    Raises:
        SettingsError: names the fields that it does not have, and those that it has.
    """
    from inlay.adapters.inputs import PROJECTORS as REGISTERED

    known = [field.name for field in fields(REGISTERED[kind][1])]
    if unknown := set(options) - set(known):
        raise SettingsError(
            f"projector_options: {kind} has no field {', '.join(sorted(unknown))}; it has {', '.join(known)}"
        )


def kinds(registry: str, packaged: tuple[str, ...]) -> tuple[str, ...]:
    """Kinds of projectors that can be chosen, without importing the registry: what is not imported was not added to."""
    module = sys.modules.get(f"inlay.adapters.{registry}")
    return packaged if module is None else tuple(getattr(module, "PROJECTORS" if registry == "inputs" else "OUTPUTS"))


def _check_kind(field: str, kind: str, known: tuple[str, ...]) -> None:
    if kind not in known:
        raise SettingsError(
            f"{field}: expected one of {', '.join(known)}, or your own (--import FILE.py), got {kind!r}"
        )


def _origins(recipe: Recipe) -> Iterator[dict[str, str]]:
    """Version and size of the packaged recipes whose fields that are no options are those of this one."""
    system = SYSTEMS.get(recipe.system)
    for size in get_args(Size) if system else ():
        for version in system.versions if system else ():
            chosen = {"version": version, "size": size}
            own = SYSTEMS[recipe.system].recipe(**chosen)
            fixed = ("decoding", "sources", "modalities", "tokens", "making", "world")
            if set(recipe.stages) <= set(own.stages) and all(getattr(own, f) == getattr(recipe, f) for f in fixed):
                yield chosen


def _plain(value: Any) -> Any:
    """Values that YAML can hold."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value


def _check_values(arguments: Sequence[str]) -> None:
    """Look at the YAML of the command line before jsonargparse does, which expands aliases."""
    options = [argument for argument in arguments if argument.startswith("--")]
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if not argument.startswith("--"):
            name, value = arguments[index - 1] if index else "", argument
        elif not equals:
            continue
        try:
            check_value(value)
        except NotPlainError as error:
            raise SettingsError(f"{name if name in options or equals else 'argument'}: {error}") from None
        field = name.removeprefix("--")
        if (field in _FILES or (field.startswith("stages.") and field.count(".") == 1)) and Path(value).is_file():
            _yaml(Path(value))


def _first(arguments: Sequence[str]) -> tuple[str, Path | None]:
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
        with path.open(encoding="utf-8") as file:
            held = parse_yaml(file.read(MAX_CHARACTERS + 1))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(held, dict):
        raise SettingsError(f"{path}: expected a mapping of settings, got {type(held).__name__}")
    return held


def _choices(system: str, arguments: Sequence[str], config: Path | None) -> dict[str, str]:
    """Version and size decide the defaults of everything else, so they are looked at first."""
    held = _yaml(config) if config else {}
    models = held.get("backbone")
    own = (isinstance(models, Mapping) and models.get("llm")) or any(
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
    parser.add_argument(
        "--projector", default=recipe.projector, type=str, help=f"one of {', '.join(kinds('inputs', PROJECTORS))}"
    )
    parser.add_argument(
        "--projector_options", default={}, type=dict[str, Any], help="fields of the projector besides its widths"
    )
    parser.add_argument("--shared", default=recipe.shared, type=bool, help="one input projector serves all modalities")
    parser.add_argument(
        "--output_projector",
        default=recipe.output,
        type=str | None,
        help=f"of systems that make media: one of {', '.join(kinds('outputs', OUTPUTS))}",
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


def _ordered(stages: dict[str, Stage], order: str) -> dict[str, Stage]:
    """The stages that are named, in that order; all of them where none is."""
    names = [name.strip() for name in order.split(",") if name.strip()] or list(stages)
    if set(names) - set(stages) or len(set(names)) < len(names):
        raise SettingsError(f"order: expected some of {', '.join(stages)}, each once, got {order!r}")
    return {name: stages[name] for name in names}


def _reason(error: BaseException) -> BaseException:
    """Our own words, where jsonargparse has wrapped them into its own."""
    inner: BaseException | None = error
    while inner is not None and not isinstance(inner, InlayError):
        inner = inner.__cause__ or inner.__context__
    return inner or error


def _settings(kind: type[T], built: Any) -> T:
    return built if isinstance(built, kind) else kind(**vars(built))
