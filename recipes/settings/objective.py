"""An objective: what a stage minimises, with its settings. One objective is one file or folder, registered in one line.

A subclass is a frozen dataclass. Its fields are the settings (``--stages.STAGE.objective.FIELD`` on the command line)
and its :meth:`Objective.plan` builds training module, batches and report. See ``docs/extending.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from pkgutil import resolve_name
from typing import Any, ClassVar, TypeVar

from inlay.adapters.parts.registration import same_definition
from inlay.hub.errors import InlayError

__all__ = ["Objective", "ObjectiveError", "objective_names", "objective_type", "register_objective"]

_PACKAGED = {
    "next_token": "inlay.recipes.objectives.next_token.settings:NextToken",
    "qformer_contrastive": "inlay.recipes.objectives.qformer_contrastive.settings:QFormerContrastive",
    "pformer_teacher": "inlay.recipes.objectives.pformer.settings:PFormerTeacher",
    "pformer_student": "inlay.recipes.objectives.pformer.settings:PFormerStudent",
    "signals": "inlay.recipes.objectives.signals.settings:Signals",
}
"""Objectives of the package; their settings are imported when they are asked for."""

_REGISTERED: dict[str, type[Objective]] = {}

T = TypeVar("T", bound="type[Objective]")


class ObjectiveError(InlayError):
    """An objective contradicts itself, or cannot be reached with this adapter or these data."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The base of all objectives."""

    name: ClassVar[str] = ""
    """Name in the registry, in configuration files and on the command line."""
    planner: ClassVar[str] = ""
    """``module:function`` that makes the plan from settings and task, imported when it is needed; a class with its own
    :meth:`plan` needs none."""
    parts: ClassVar[tuple[str, ...]] = ()
    """Parts that train beside those of the adapter and that no bundle holds, such as ``teacher``."""
    streamed: ClassVar[bool] = False
    """Whether the captions may come as a stream of unknown length."""
    conversations: ClassVar[bool] = True
    """Whether a language model reads the samples, as conversations in the layout of the stage."""

    def plan(self, task: Any) -> Any:
        """The plan of a stage.

        Args:
            task: an :class:`inlay.recipes.objectives.plan.Task`: stage, attached model and data.

        Returns:
            An :class:`inlay.recipes.objectives.plan.Plan`, or a sentence that says why this adapter has no such stage.
        """
        return resolve_name(self.planner)(self, task)

    def check(self, stage: Any) -> None:
        """Check the settings of the stage against those of the objective.

        Args:
            stage: an :class:`inlay.recipes.settings.stage.Stage`.

        Raises:
            ObjectiveError: they contradict each other.
        """


def register_objective(kind: T) -> T:
    """Register an objective under its name; works as a decorator.

    Args:
        kind: a frozen dataclass derived from :class:`Objective`, with a ``name``.

    Raises:
        ObjectiveError: not such a class, or another one has the name. The same class again replaces itself.
    """
    if not (isinstance(kind, type) and issubclass(kind, Objective) and is_dataclass(kind) and kind.name):
        raise ObjectiveError(f"expected a dataclass derived from Objective with a name, got {kind!r}")
    if kind.plan is Objective.plan and not kind.planner:
        raise ObjectiveError(f"objective {kind.name}: {kind.__name__} has no method plan(task)")
    if [field.name for field in fields(kind) if field.name == "name"]:
        raise ObjectiveError(f"objective {kind.name}: name is a class variable (name: ClassVar[str]), not a setting")
    if kind.name in _PACKAGED or not same_definition(_REGISTERED.get(kind.name, kind), kind):
        raise ObjectiveError(f"objective {kind.name}: there is one of that name already")
    _REGISTERED[kind.name] = kind
    return kind


def objective_names() -> tuple[str, ...]:
    """The names of all objectives, those of the package first."""
    return (*_PACKAGED, *_REGISTERED)


def objective_type(name: str) -> type[Objective]:
    """The objective of a name.

    Raises:
        ObjectiveError: there is none.
    """
    if name in _PACKAGED:
        found: type[Objective] = resolve_name(_PACKAGED[name])
        return found
    if name not in _REGISTERED:
        raise ObjectiveError(f"objective: expected one of {', '.join(objective_names())}, got {name!r}")
    return _REGISTERED[name]
