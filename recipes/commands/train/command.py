"""``inlay train``: train a system, given by name or YAML file; options override all settings."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from inlay.recipes.commands.train.early_checks import check_early
from inlay.recipes.commands.train.options import check_reached, given_options
from inlay.recipes.commands.train.parser import parse
from inlay.recipes.settings.default_models import MINIATURE

if TYPE_CHECKING:
    from inlay.adapters.backbone import Backbone

__all__ = ["main"]


def main(argv: Sequence[str], backbone: Backbone | None = None) -> int:
    """Train, and print the table.

    Args:
        argv: a system or a YAML file, and settings.
        backbone: loaded frozen models, such as with a custom encoder, instead of those of the settings.

    Raises:
        SystemExit: the processes of ``--devices`` have exited.
    """
    parsed = parse(argv, own_models=backbone is not None and not str(backbone.llm.source).startswith(MINIATURE))
    job = parsed.job()
    check_reached(given_options(parsed.arguments), job.recipe, parsed.recipe.stages, job.data, job.backbone)
    check_early(job, own_models=backbone is not None)

    # Imported here: torch and Lightning take seconds, and a wrong argument is reported without them.
    from inlay.recipes.distributed.launch import check_processes, start_again
    from inlay.recipes.distributed.ranks import first, joined, started_with
    from inlay.recipes.settings.precision import settle
    from inlay.recipes.training.run import train

    if job.run.devices > 1 and started_with() == 1:
        check_processes(job.run, job.recipe.stages, job.run.devices)
        start_again(job.run.devices)
    with joined(job.run.accelerator):
        precision = first(partial(settle, job.run.precision, job.run.accelerator))
        job = replace(job, run=replace(job.run, precision=precision))
        train(job, backbone=backbone)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
