"""The template of stages that leave it open: the LLM's own chat template where it has one, otherwise Vicuna's.

An LLM that was tuned on its own chat template ends its answers with that template's token; behind a Vicuna prompt it
would not stop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from inlay.adapters.conversation.layout import Layout, LayoutError
from inlay.adapters.conversation.templates.chat_template import template_variables
from inlay.adapters.conversation.templates.llava import VICUNA_SYSTEM
from inlay.adapters.conversation.turn_end import turn_end
from inlay.recipes.runs.job import Job, check_template
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.stage import AUTO, FALLBACK, Stage

__all__ = ["with_template"]

QUIET = "enable_thinking"
"""Variable of templates (Qwen 3) for answers with thoughts; the answers of data sets have none."""


def with_template(job: Job, tokenizer: Any, *, own: bool, show: Callable[[str], None]) -> Job:
    """The job with a template by name in every stage.

    Args:
        job: stages with the template ``auto`` are changed, all others stay.
        tokenizer: of the LLM.
        own: the LLM is the user's; the miniature was trained on the systems' published layouts.
        show: where a line for the user goes, for each stage that gets the LLM's own template.

    Raises:
        SettingsError: a template that does not exist or cannot be used, or arguments that it does not take.
    """
    asked = job.run.template
    open_stages = [name for name, stage in job.recipe.stages.items() if stage.template == AUTO]
    check_template(job)
    chosen, reason = asked, ""
    if asked == AUTO:
        chosen, reason = _own_template(tokenizer) if own else (FALLBACK, "")
    stages = dict(job.recipe.stages)
    for name in open_stages:
        stages[name] = _resolved(name, stages[name], chosen, tokenizer)
        if chosen == "chat":
            values = ", ".join(f"{key}={value}" for key, value in stages[name].arguments.items())
            show(f"stage {name}: the LLM's own chat template{f' ({values})' if values else ''}; --template for another")
        elif reason:
            show(f"stage {name}: {FALLBACK}, because {reason}")
    return replace(job, recipe=replace(job.recipe, stages=stages))


def _own_template(tokenizer: Any) -> tuple[str, str]:
    """``chat`` where the tokenizer's chat template can be used; otherwise the reason why not, if it has one."""
    if not getattr(tokenizer, "chat_template", None):
        return FALLBACK, ""
    try:
        turn_end(Layout(template="chat"), tokenizer)
    except LayoutError as error:
        return FALLBACK, str(error)
    return "chat", ""


def _resolved(name: str, stage: Stage, template: str, tokenizer: Any) -> Stage:
    if template != "chat":
        if stage.arguments:
            raise SettingsError(f"stages.{name}.arguments: template {template} takes none; remove them")
        return replace(stage, template=template)
    arguments = dict(stage.arguments)
    if QUIET in template_variables(tokenizer):
        arguments.setdefault(QUIET, False)
    # Vicuna's sentence belongs to Vicuna's layout; a chat template has a system text of its own, or none.
    system = "" if stage.system == VICUNA_SYSTEM else stage.system
    return replace(stage, template=template, arguments=arguments, system=system)
