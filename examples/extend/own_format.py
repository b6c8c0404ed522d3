"""A file format: a CSV table with the columns image, question and answer.

    inlay train llava --import own_format.py --data.train train.csv --data.images images/

``recognise`` gets the first record of a JSON file (None for other files) and the path. For an invalid row a
``DataError`` is raised inside ``offenders.row``, so that ``--data.invalid raise|skip`` and the list of such rows work
as for every other format. The existence of the pictures is checked later, for all formats.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inlay.recipes import register_format
from inlay.recipes.data import DataError, Offenders, Sample, described, image_path

COLUMNS = ("image", "question", "answer")


def is_csv(first: Mapping[str, Any], path: Path) -> bool:
    """Whether a file is of this format."""
    return path.suffix.lower() == ".csv"


def read_csv(path: Path, images: Path | None, *, offenders: Offenders) -> list[Sample]:
    """Samples of one turn, in the order of the file."""
    samples = []
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            with offenders.row(where):
                if missing := [column for column in COLUMNS if not (row.get(column) or "").strip()]:
                    raise DataError(f"{where}: expected the columns {', '.join(COLUMNS)}, no {', '.join(missing)}")
                picture = image_path(row["image"], images, where)
                question, answer = row["question"].strip(), row["answer"].strip()
                name = f"line-{rows.line_num}"
                samples.append(described(name, picture, question, answer, where))
    return samples


register_format("csv", read_csv, recognise=is_csv)
