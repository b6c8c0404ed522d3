"""Common code of the captioning benchmarks: scores, and COCO's results file.

BLEU 1 to 4, ROUGE-L and CIDEr-D as the COCO evaluation computes them, times 100, without Java. METEOR and SPICE need
Java or WordNet and are not computed, so SPIDEr is not either. The frequencies of CIDEr come from the references of the
evaluated items, so a score with ``--limit`` is not comparable with one of the whole set; the bootstrap
draws items and keeps the frequencies.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from inlay.recipes.data.rows.records import whole
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.evaluation.benchmarks.benchmark import Scored, mean_of_counts
from inlay.recipes.evaluation.benchmarks.item import Item
from inlay.recipes.evaluation.benchmarks.official_files import OfficialFiles
from inlay.recipes.evaluation.benchmarks.results_files import write_json
from inlay.recipes.evaluation.metrics.captions.cider import cider
from inlay.recipes.evaluation.metrics.captions.figures import caption_figures

__all__ = ["captions_by_image", "score", "write_coco_results"]


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    """Figures of captions, also for each part if there are several; `gold` is a sequence of references."""
    references = [item.gold for item in items]
    figures = {name: 100 * value for name, value in caption_figures(answers, references).items()}
    each = cider(answers, references)
    parts = list(dict.fromkeys(item.part for item in items))
    for part in parts if len(parts) > 1 else ():
        # The frequencies of CIDEr are those of the part alone, as in the evaluation server of NoCaps.
        own = [place for place, item in enumerate(items) if item.part == part]
        figures[f"{part} cider"] = 100 * sum(cider([answers[p] for p in own], [references[p] for p in own])) / len(own)
    order = ("cider", *(name for name in figures if name != "cider"))
    return Scored({name: figures[name] for name in order}, [(value, 1) for value in each], mean_of_counts)


def captions_by_image(rows: Sequence[dict[str, object]], path: Path) -> dict[int, list[str]]:
    """Image id -> captions, from COCO's list of annotations.

    Raises:
        DataError: an annotation without an id or a caption.
    """
    found: dict[int, list[str]] = {}
    for number, row in enumerate(rows):
        where, caption = f"{path}, annotation {number}", row.get("caption")
        if not isinstance(caption, str):
            raise DataError(f"{where}, caption: expected text, got {caption!r}")
        found.setdefault(whole(row, "image_id", where), []).append(caption)
    return found


def write_coco_results(path: Path, items: Sequence[Item], answers: Sequence[str], _: OfficialFiles) -> None:
    """``[{"image_id", "caption"}]``, as the servers of COCO and NoCaps take it; ids of numbers are numbers."""
    ids = [int(item.name) if item.name.isdecimal() else item.name for item in items]
    write_json(path, [{"image_id": name, "caption": said} for name, said in zip(ids, answers, strict=True)])
