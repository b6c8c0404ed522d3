"""Checks of ``inlay train`` and ``inlay check`` in front of everything that takes long, in the order of their time.

A wrong setting is reported before Lightning is imported and before data and models are read.
"""

from __future__ import annotations

import os

from inlay.recipes.evaluation.metric_registry import check_metric_name
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.runs.job import Job, check_job

__all__ = ["check_early"]

READ = ("train", "align", "test", "align_test", "pairs", "pairs_test")
"""Fields of the data settings with files in the formats of the registry."""
WITH_NOTES = {"train": "annotations", "test": "test_annotations"}
"""Fields whose files are VQA v2's questions, if there are annotations."""


def check_early(job: Job, *, own_models: bool) -> None:
    """Check a run without its data and models.

    Args:
        job: the run.
        own_models: whether the caller passes the frozen models.

    Raises:
        InlayError: a wrong setting, or a data file that cannot be read.
    """
    check_job(job, own_models=own_models)
    check_metric_name(job.run.metric)
    if os.environ.get("WORLD_SIZE", "1") == "1":  # With several processes, the first one checks it in train().
        RunFolder.check(job.run)
    _check_files(job)

    # Imported here: the registries of projectors import transformers, which takes seconds.
    from inlay.recipes.runs.part_options import check_part_options

    check_part_options(job.recipe)


def _check_files(job: Job) -> None:
    """Check the format and the first row of each data file."""
    if job.data.train is None:
        return
    # Imported here: a wrong option is reported without torch.
    from inlay.recipes.data.formats.read import check_beginning
    from inlay.recipes.data.rows.columns import parse_columns

    columns = parse_columns(job.data.columns or "")
    own = [getattr(job.data, field) for field in READ if not getattr(job.data, WITH_NOTES.get(field, ""), None)]
    for path in dict.fromkeys((*own, *job.data.mix, *job.data.make_test)):
        # Shards of captions have no rows of a format; they are checked while they are read.
        if path is not None and path.is_file() and not (path == job.data.align and path.suffix.lower() == ".tar"):
            check_beginning(path, job.data.format, columns)
