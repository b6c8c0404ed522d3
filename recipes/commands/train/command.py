"""``inlay train``: a system's name or a YAML file, every field open to an override."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from inlay.recipes.commands.train.options import check_reached, given_options
from inlay.recipes.commands.train.parser import check_projector_options, parse
from inlay.recipes.evaluation.metric_registry import check_metric_name
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.runs.job import check_job

if TYPE_CHECKING:
    from inlay.adapters.backbone import Backbone

__all__ = ["main"]


def main(argv: Sequence[str], backbone: Backbone | None = None) -> int:
    """Train, and print the table.

    Args:
        argv: the system or a YAML file, and settings.
        backbone: frozen models put together by hand, such as with an encoder of your own; otherwise those that the
            settings name.

    Raises:
        SystemExit: ``--devices`` asks for several processes, which have all run this program and have ended.
    """
    parsed = parse(argv)
    job = parsed.job()
    check_reached(given_options(parsed.arguments), job.recipe, parsed.recipe.stages, job.data, job.backbone)
    check_job(job, own_models=backbone is not None)
    check_metric_name(job.run.metric)
    if os.environ.get("WORLD_SIZE", "1") == "1":  # Of several processes, the first checks the folder, see train().
        RunFolder.check(job.run)

    # Imported here: torch and Lightning take seconds, and a wrong argument is reported without them.
    from inlay.recipes.distributed.launch import check_processes, start_again
    from inlay.recipes.distributed.ranks import first, joined, started_with
    from inlay.recipes.settings.precision import settle
    from inlay.recipes.training.run import train

    check_projector_options(job.recipe.projector, job.recipe.projector_options[job.recipe.projector])
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
