"""``inlay check``: check a run without training, and print its memory plan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inlay.recipes.commands.train.early_checks import check_early
from inlay.recipes.commands.train.options import check_reached, given_options
from inlay.recipes.commands.train.parser import parse
from inlay.recipes.settings.default_models import MINIATURE
from inlay.recipes.settings.errors import SettingsError

if TYPE_CHECKING:
    from inlay.adapters.backbone import Backbone

__all__ = ["main"]


def main(argv: Sequence[str], backbone: Backbone | None = None) -> int:
    """Check settings, data and models.

    Args:
        argv: as in ``inlay train``: a system or a YAML file, and settings.
        backbone: loaded frozen models, instead of those of the settings.
    """
    parsed = parse(
        argv, command="check", own_models=backbone is not None and not str(backbone.llm.source).startswith(MINIATURE)
    )
    job = parsed.job()
    check_reached(given_options(parsed.arguments), job.recipe, parsed.recipe.stages, job.data, job.backbone)
    page: Path | None = parsed.values.page
    if page is not None and (page.is_dir() or not page.absolute().parent.is_dir()):
        raise SettingsError(f"page: expected a file in a folder that exists, got {page}")
    check_early(job, own_models=backbone is not None)

    # Imported here: torch and Lightning take seconds, and a wrong argument is reported without them.
    from dataclasses import replace
    from functools import partial

    from inlay.recipes.commands.train.check_page import write_page
    from inlay.recipes.settings.precision import settle
    from inlay.recipes.training.checks.check import check

    job = replace(job, run=replace(job.run, precision=settle(job.run.precision, job.run.accelerator)))
    check(job, backbone=backbone, use=None if page is None else partial(write_page, path=page))
    if page is not None:
        print(f"page: {page}")
    return 0
