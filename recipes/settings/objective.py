"""An objective: the loss of a stage, with its settings. Each is one file or folder and one line in the registry.

A subclass is a frozen dataclass. Its fields are the settings (``--stages.STAGE.objective.FIELD`` on the command line)
and its :meth:`Objective.plan` builds the training module, the batches and the report. See the
page "Your own objective" of the documentation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pkgutil import resolve_name
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar

from inlay.adapters.parts.registration import IMPORT_OWN, same_definition
from inlay.hub.errors import InlayError

__all__ = ["Objective", "ObjectiveError", "Reads", "objective_names", "objective_type", "register_objective"]

_PACKAGED = {
    "next_token": "inlay.recipes.objectives.next_token.settings:NextToken",
    "qformer_contrastive": "inlay.recipes.objectives.qformer_contrastive.settings:QFormerContrastive",
    "pformer_teacher": "inlay.recipes.objectives.pformer.settings:PFormerTeacher",
    "pformer_student": "inlay.recipes.objectives.pformer.settings:PFormerStudent",
    "preference": "inlay.recipes.objectives.preference.settings:Preference",
    "grpo": "inlay.recipes.objectives.policy_gradient.settings:Grpo",
    "rloo": "inlay.recipes.objectives.policy_gradient.settings:Rloo",
    "signals": "inlay.recipes.objectives.signals.settings:Signals",
}
"""Objectives of the package; each is imported on first use."""

Reads: TypeAlias = Literal["conversations", "pairs", "labels"]
"""Rows of an objective: plain conversations, pairs of a better and a worse answer, or single answers with a label."""

_REGISTERED: dict[str, type[Objective]] = {}

T = TypeVar("T", bound="type[Objective]")


class ObjectiveError(InlayError):
    """An objective's settings contradict each other, or it does not support this adapter or these data."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The base of all objectives."""

    name: ClassVar[str] = ""
    """Name in the registry, in configuration files and on the command line."""
    planner: ClassVar[str] = ""
    """``module:function`` that builds the plan from settings and task, imported on first use; not needed by a class
    with its own :meth:`plan`."""
    parts: ClassVar[tuple[str, ...]] = ()
    """Trainable parts outside the adapter, which are not saved in a bundle, such as ``teacher``."""
    streamed: ClassVar[bool] = False
    """Whether the stage can read captions from a stream of unknown length."""
    conversations: ClassVar[bool] = True
    """Whether the samples are conversations for the LLM, in the layout of the stage."""
    aligns: ClassVar[bool] = False
    """Whether the stage is alignment tuning; answers and captions are then evaluated before and after it."""
    tiled: ClassVar[bool] = True
    """Whether pictures may be cut into tiles, see ``Stage.tiling``."""

    def plan(self, task: Any) -> Any:
        """The plan of a stage.

        Args:
            task: an :class:`inlay.recipes.objectives.plan.Task`: stage, attached model and data.

        Returns:
            An :class:`inlay.recipes.objectives.plan.Plan`, or the reason why this adapter skips the stage.
        """
        return resolve_name(self.planner)(self, task)

    @property
    def reads(self) -> Reads:
        """The rows that the objective trains on."""
        return "conversations"

    def sample_check(self, vocabulary: Any) -> Callable[[Any], str] | None:
        """A check of every sample before the first step; None if every conversation is valid.

        Args:
            vocabulary: the object classes of the pictures (``ObjectVocabulary``); None if they are unknown.

        Returns:
            Function from a sample to the reason why the objective cannot train on it; empty if it can.
        """
        return None

    def check_functions(self) -> None:
        """Import the functions that the settings name, so that a wrong name is reported before models are loaded.

        Raises:
            InlayError: a function cannot be imported.
        """

    def check(self, stage: Any) -> None:
        """Check the settings of the stage against those of the objective.

        Args:
            stage: an :class:`inlay.recipes.settings.stage.Stage`.

        Raises:
            ObjectiveError: the settings contradict each other.
        """


def register_objective(kind: T) -> T:
    """Register an objective under its name; works as a decorator.

    Args:
        kind: a frozen dataclass derived from :class:`Objective`, with a ``name``.

    Raises:
        ObjectiveError: not such a class, or another class has this name. Registering the same class again is allowed.
    """
    if not (isinstance(kind, type) and issubclass(kind, Objective) and is_dataclass(kind) and kind.name):
        raise ObjectiveError(f"expected a dataclass derived from Objective with a name, got {kind!r}")
    if kind.plan is Objective.plan and not kind.planner:
        raise ObjectiveError(f"objective {kind.name}: {kind.__name__} has no method plan(task)")
    if [field.name for field in fields(kind) if field.name == "name"]:
        raise ObjectiveError(f"objective {kind.name}: name is a class variable (name: ClassVar[str]), not a setting")
    if kind.name in _PACKAGED or not same_definition(_REGISTERED.get(kind.name, kind), kind):
        raise ObjectiveError(f"objective {kind.name}: another objective has this name; choose another name")
    _REGISTERED[kind.name] = kind
    return kind


def objective_names() -> tuple[str, ...]:
    """The names of all objectives, packaged ones first."""
    return (*_PACKAGED, *_REGISTERED)


def objective_type(name: str) -> type[Objective]:
    """Look up an objective by name.

    Raises:
        ObjectiveError: unknown name.
    """
    if name in _PACKAGED:
        found: type[Objective] = resolve_name(_PACKAGED[name])
        return found
    if name not in _REGISTERED:
        raise ObjectiveError(f"objective: expected one of {', '.join(objective_names())}, got {name!r}; {IMPORT_OWN}")
    return _REGISTERED[name]
