"""The arguments of ``inlay train``: the system, all fields of its settings, and the resulting job.

This file does not import torch, so that a wrong argument is reported at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_args

from jsonargparse import ArgumentParser, Namespace

from inlay.adapters.llm_parts.lora_config import LoraConfig, LoraError
from inlay.hub.errors import InlayError
from inlay.recipes.commands.arguments.parser import command_parser
from inlay.recipes.commands.train.overrides import EVERY_STAGE, split_rates, spread, with_rates
from inlay.recipes.commands.train.yaml_files import config_options, merged_settings, read_yaml, system_and_files
from inlay.recipes.runs.begin import on_miniature
from inlay.recipes.runs.job import Job
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.objective import Objective, ObjectiveError, objective_type
from inlay.recipes.settings.optimizer import OptimizerSettings
from inlay.recipes.settings.plain_yaml import NotPlainError, check_value
from inlay.recipes.settings.recipe import Recipe, Size
from inlay.recipes.settings.run import BackboneSettings, DataSettings, RunSettings
from inlay.recipes.settings.samples import SampleSettings
from inlay.recipes.settings.stage import Stage
from inlay.recipes.systems import align
from inlay.recipes.systems.registry import SYSTEMS

__all__ = ["OUTPUTS", "PROJECTORS", "Parsed", "kinds", "parse"]

PROJECTORS = (
    "linear",
    "mlp",
    "qformer",
    "instruct_qformer",
    "patch_merge",
    "pixel_shuffle",
    "avg_pool",
    "perceiver",
    "cross_attention",
    "cformer",
)
OUTPUTS = ("transformer", "mlp", "qformer")
"""Kinds of the package. Custom kinds exist only if their registry has been imported."""
_FILES = ("config", "lora", "backbone", "data")
"""Options whose value can be a YAML file."""
_ABOUT = {"train": "Train", "check": "Check, without training, a run of", "config": "Print the settings of a run of"}
"""How the help of each command begins."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """Parsed arguments."""

    parser: ArgumentParser
    values: Namespace
    recipe: Recipe
    arguments: list[str]

    def job(self) -> Job:
        """The settings as a job.

        Raises:
            SettingsError: settings contradict each other, or an unknown kind of projector.
        """
        try:
            built = self.parser.instantiate(self.values)
        except (TypeError, ValueError) as error:
            reason = _reason(error)
            raise SettingsError(f"{'lora.' if isinstance(reason, LoraError) else ''}{reason}") from error
        if not self.recipe.continues:
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
                second_lora=getattr(built, "second_lora", 0),
                stages=_ordered(self._stages(built.stages), built.order),
            ),
            run=RunSettings(**{field.name: getattr(built, field.name) for field in fields(RunSettings)}),
            backbone=_settings(BackboneSettings, built.backbone),
            data=_settings(DataSettings, built.data),
        )

    def _stages(self, values: Namespace) -> dict[str, Stage]:
        """The stages with their objectives; errors include the name of the stage."""
        stages = {}
        for name, stage in self.recipe.stages.items():
            fields_of = dict(vars(getattr(values, name)))
            own = dict(vars(fields_of.pop("objective")))
            own.pop("name")
            fields_of["optimizer"] = _settings(OptimizerSettings, fields_of["optimizer"], f"stages.{name}.optimizer")
            fields_of["samples"] = _settings(SampleSettings, fields_of["samples"], f"stages.{name}.samples")
            try:
                stages[name] = Stage(**fields_of, objective=type(stage.objective)(**own))
            except InlayError as error:
                raise SettingsError(f"stages.{name}: {error}") from None
        return stages


def parse(argv: Sequence[str], command: str = "train", *, own_models: bool = False) -> Parsed:
    """Read the arguments of ``inlay train``.

    Args:
        argv: a system or a YAML file, and settings.
        command: name for the usage line and errors.
        own_models: whether the caller passes frozen models other than the miniature's, for which the published settings
            are the defaults.

    Raises:
        SettingsError: unknown system, invalid YAML, or YAML with more than plain settings.
        SystemExit: unknown option, or a value of the wrong type; the error has been printed.
    """
    arguments = list(argv)
    _check_values(arguments)
    system, files, rest = system_and_files(arguments)
    held: Mapping[str, Any] = merged_settings(files)
    chosen = _choices(system, arguments, held, own_models=own_models)
    recipe = _with_objectives(_with_prefer(SYSTEMS[system].recipe(**chosen), held, rest), held, rest)
    parser = _parser(command, system, recipe, chosen)
    of_file, options = spread(rest, held, recipe.stages)
    configs = [option for file in files for option in config_options(file)]
    values = parser.parse_args(_with_rates(parser, [*of_file, *configs, *options]))
    return Parsed(parser=parser, values=values, recipe=recipe, arguments=arguments)


def kinds(registry: str, packaged: tuple[str, ...]) -> tuple[str, ...]:
    """Available kinds of projectors; a registry that has not been imported has only packaged kinds."""
    module = sys.modules.get(f"inlay.adapters.{registry}")
    return packaged if module is None else tuple(getattr(module, "PROJECTORS" if registry == "inputs" else "OUTPUTS"))


def _check_kind(field: str, kind: str, known: tuple[str, ...]) -> None:
    if kind not in known:
        raise SettingsError(
            f"{field}: expected one of {', '.join(known)}, or a custom kind (--import FILE.py), got {kind!r}"
        )


def _check_values(arguments: Sequence[str]) -> None:
    """Check the YAML of the command line before jsonargparse, which expands aliases."""
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
            read_yaml(Path(value))


def _with_rates(parser: ArgumentParser, arguments: Sequence[str]) -> list[str]:
    """Replace ``--stages.STAGE.lr.PART RATE`` by values of the whole ``lr`` setting, for the parser."""
    rest, rates = split_rates(arguments)
    if not rates or "--help" in rest or "-h" in rest:
        return rest
    below = parser.parse_args(rest)
    for name in dict.fromkeys(stage for stage, _, _ in rates):
        own = [(part, value) for stage, part, value in rates if stage == name]
        rest.append(f"--stages.{name}.lr={json.dumps(with_rates(below.stages[name].lr, own, name))}")
    return rest


def _with_prefer(recipe: Recipe, held: Mapping[str, Any], arguments: Sequence[str]) -> Recipe:
    """The recipe with a stage *prefer*, if the YAML file or an option ``--stages.prefer...`` names one."""
    in_file = held.get("stages")
    named = isinstance(in_file, Mapping) and align.PREFER in in_file
    named = named or any(argument.startswith(f"--stages.{align.PREFER}.") for argument in arguments)
    return align.with_stage(recipe) if named and align.PREFER not in recipe.stages else recipe


def _with_objectives(recipe: Recipe, held: Mapping[str, Any], arguments: Sequence[str]) -> Recipe:
    """The recipe with the objectives of the YAML file or ``--stages.STAGE.objective.name``, with default settings."""
    in_file = held.get("stages") if isinstance(held.get("stages"), Mapping) else {}
    stages = {}
    for name, stage in recipe.stages.items():
        own = in_file.get(name) if isinstance(in_file, Mapping) else None
        objective = own.get("objective") if isinstance(own, Mapping) else None
        chosen = objective.get("name") if isinstance(objective, Mapping) else None
        chosen = _value_of(f"--stages.{name}.objective.name", arguments) or chosen or stage.objective.name
        try:
            kind: type[Objective] = objective_type(str(chosen))
            stages[name] = stage if kind is type(stage.objective) else replace(stage, objective=kind())
        except ObjectiveError as error:
            raise SettingsError(f"stages.{name}.{error}") from None
    return replace(recipe, stages=stages)


def _value_of(option: str, arguments: Sequence[str]) -> str:
    """The value of an option; empty if not given."""
    found = ""
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == option:
            found = value if equals else "".join(arguments[index + 1 : index + 2])
    return found


def _choices(system: str, arguments: Sequence[str], held: Mapping[str, Any], *, own_models: bool) -> dict[str, str]:
    """Version and size, which are read first because all other defaults depend on them."""
    models, begin = held.get("backbone"), _value_of("--begin", arguments) or str(held.get("begin") or "")
    own = (
        own_models
        or (SYSTEMS[system].recipe().continues and not on_miniature(Path(begin)))
        or (isinstance(models, Mapping) and models.get("llm"))
        or any(argument.partition("=")[0] == "--backbone.llm" for argument in arguments)
    )
    choices = {"version": SYSTEMS[system].versions, "size": get_args(Size)}
    chosen = {
        "version": str(held.get("version", choices["version"][0])),
        "size": str(held.get("size", "full" if own else "miniature")),
    }
    for field in chosen:
        chosen[field] = _value_of(f"--{field}", arguments) or chosen[field]
    for field, value in chosen.items():
        if value not in choices[field]:
            raise SettingsError(f"{field}: expected one of {', '.join(choices[field])}, got {value!r}")
    return chosen


def _parser(command: str, system: str, recipe: Recipe, chosen: Mapping[str, Any]) -> ArgumentParser:
    others = ", ".join(name for name in SYSTEMS if name != system)
    parser = command_parser(
        f"{command} {system}",
        f"{_ABOUT.get(command, _ABOUT['train'])} {system}, by default on the embedded miniature. Each system has its "
        f"own options and defaults; the others: {others}.",
    )
    parser.usage = (
        f"inlay {command} {system} [--OPTION VALUE ...]\n       inlay {command} FILE.yaml [--OPTION VALUE ...]"
    )
    if command == "check":
        parser.add_argument("--page", type=Path | None, help="write an HTML page of the data to this file")
    parser.add_argument("--config", action="config", help="YAML file with any of these settings")
    parser.add_argument("--system", default=system, type=str, help="system of the YAML file")
    parser.add_argument(
        "--version", default=chosen["version"], type=str, help=f"one of {', '.join(SYSTEMS[system].versions)}"
    )
    parser.add_argument("--size", default=chosen["size"], type=Size, help="hyper-parameters: miniature or published")
    parser.add_class_arguments(RunSettings, default=RunSettings(output=Path("runs") / system))
    parser.add_class_arguments(BackboneSettings, "backbone")
    parser.add_class_arguments(DataSettings, "data")
    parser.add_argument(
        "--projector", default=recipe.projector, type=str, help=f"one of {', '.join(kinds('inputs', PROJECTORS))}"
    )
    parser.add_argument(
        "--projector_options",
        default={},
        type=dict[str, Any],
        help="fields of the input projectors except their widths",
    )
    parser.add_argument("--shared", default=recipe.shared, type=bool, help="share one input projector")
    parser.add_argument(
        "--output_projector",
        default=recipe.output,
        type=str | None,
        help=f"for systems that generate media: one of {', '.join(kinds('outputs', OUTPUTS))}",
    )
    parser.add_argument(
        "--output_options",
        default=dict(recipe.output_options),
        type=dict[str, Any],
        help="fields of the output projectors except their input and output sizes",
    )
    parser.add_argument(
        "--signals", default=dict(recipe.signals), type=dict[str, int], help="number of signal tokens per modality"
    )
    parser.add_argument(
        "--order",
        default="",
        type=str,
        help="order of the stages, such as encode,instruct,decode; other stages are skipped",
    )
    parser.add_argument("--lora", default=recipe.lora, type=LoraConfig | None, help="LoRA on the LLM")
    if recipe.continues:
        parser.add_argument(
            "--second_lora", default=recipe.second_lora, type=int, help="rank of a second LoRA on the frozen first one"
        )
    for option, about in EVERY_STAGE.items():  # Removed from the arguments before; listed for --help.
        parser.add_argument(f"--{option}", type=float | None, help=about)
    for name, stage in recipe.stages.items():
        group = f"stages.{name}"
        inner = {"optimizer": stage.optimizer, "samples": stage.samples, "objective": stage.objective}
        parser.add_class_arguments(Stage, group, default=stage, skip=set(inner), instantiate=False, sub_configs=True)
        parser.add_argument(
            f"--{group}.objective.name", default=stage.objective.name, type=str, help="objective of the stage"
        )
        for field, values in inner.items():
            parser.add_class_arguments(type(values), f"{group}.{field}", default=values, instantiate=False)
    return parser


def _ordered(stages: dict[str, Stage], order: str) -> dict[str, Stage]:
    """The stages in the given order; all stages if the order is empty."""
    names = [name.strip() for name in order.split(",") if name.strip()] or list(stages)
    if set(names) - set(stages) or len(set(names)) < len(names):
        raise SettingsError(f"order: expected different stages of {', '.join(stages)}, got {order!r}")
    return {name: stages[name] for name in names}


def _reason(error: BaseException) -> BaseException:
    """The InlayError wrapped by jsonargparse, or the error itself."""
    inner: BaseException | None = error
    while inner is not None and not isinstance(inner, InlayError):
        inner = inner.__cause__ or inner.__context__
    return inner or error


def _settings(kind: type[T], built: Any, name: str = "") -> T:
    try:
        return built if isinstance(built, kind) else kind(**vars(built))
    except InlayError as error:
        raise SettingsError(f"{name}: {error}" if name else str(error)) from None
