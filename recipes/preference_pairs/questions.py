"""The questions of ``inlay pairs``: a file of any format, or the training data of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from inlay.recipes.data.rows.sample import DataError, Question, Sample, questions_of
from inlay.recipes.evaluation.eval_data import HeldOut, read_held_out
from inlay.recipes.rewards.scoring import Scorer
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.runs.miniature_data import own_data
from inlay.recipes.runs.recorded_data import recorded_data
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.run import DataSettings

__all__ = ["data_of_run", "read_questions", "scorable"]


def data_of_run(run: Path) -> DataSettings:
    """The training data of a run.

    Raises:
        SettingsError: no data are recorded, or a file no longer exists.
    """
    found = own_data(RunFolder(run).data) or recorded_data(run, "train")
    if found is None or found.train is None:
        raise SettingsError(f"{run}: no training data are recorded for this run; give --data FILE and --images FOLDER")
    return found


def read_questions(
    run: Path | None, data: str | Path | None, images: str | Path | None, annotations: str | Path | None, links: bool
) -> tuple[HeldOut, Path, bool]:
    """The questions, the folder of their media, and whether they are the miniature's."""
    if data is None:
        if run is None:
            raise SettingsError("pairs: expected a file of questions (data=...) for an attached model, got none")
        found = data_of_run(run)
        own = own_data(RunFolder(run).data) is not None
    else:
        notes = None if annotations is None else Path(annotations)
        found = DataSettings(train=Path(data), annotations=notes)
        own = run is not None and RunFolder(run).data.absolute() in Path(data).absolute().parents
    file = found.train or Path()
    if images is None and data is not None and own and run is not None:
        known = own_data(RunFolder(run).data)
        images = known.images if known is not None else None
    folder = Path(images) if images is not None else found.images or file.parent
    held = read_held_out(
        file,
        file,
        folder,
        annotations=found.annotations,
        answers=found.answers,
        pattern=found.pattern,
        links=links or found.links,
    )
    if not held.answered:
        raise SettingsError(f"{file}: these questions have no reference answers; give --annotations FILE")
    return held, folder, own


def scorable(samples: Sequence[Sample], scorer: Scorer, limit: int | None) -> tuple[list[tuple[Question, Sample]], int]:
    """The first questions that the reward can score, and the number of questions before them that it cannot."""
    found: list[tuple[Question, Sample]] = []
    first, unscored = "", 0
    for sample in samples:
        for question in questions_of(sample):
            if len(found) == limit:
                return found, unscored
            if why := scorer.problem(question, sample):
                first, unscored = first or f"{sample.origin}: {why}", unscored + 1
            else:
                found.append((question, sample))
    if not found:
        raise DataError(f"no question can be scored: {first or 'there are no questions'}; choose another --reward")
    return found, unscored
