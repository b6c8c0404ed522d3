"""NoCaps: captions of objects that COCO lacks (Agrawal et al., 2019, https://arxiv.org/abs/1812.08658).

CIDEr over all pictures and for the domains in, near and out. ``nocaps_val_4500_captions.json`` has references; for the
other official files (``image_info``) the results file for the server is written.
"""

from __future__ import annotations

from inlay.recipes.data.rows.records import filled, objects, whole
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.evaluation.benchmarks.benchmark import Benchmark, ResultsFile
from inlay.recipes.evaluation.benchmarks.captions.caption_scores import captions_by_image, score, write_coco_results
from inlay.recipes.evaluation.benchmarks.item import Item
from inlay.recipes.evaluation.benchmarks.official_files import OfficialFiles
from inlay.recipes.evaluation.benchmarks.prompts import CAPTION, about
from inlay.recipes.evaluation.benchmarks.published import PUBLISHED

__all__ = ["BENCHMARK", "read"]


def read(files: OfficialFiles, instruction: str) -> list[Item]:
    """The pictures with their references as `gold`, and the domain as the part."""
    document = files.document("captions")
    with files.reading("captions") as path:
        notes = document.get("annotations")
        captions = captions_by_image(objects(notes, f"{path}, annotations"), path) if notes else {}
        items = []
        for number, row in enumerate(objects(document["images"], f"{path}, images")):
            where = f"{path}, image {number}"
            name = whole(row, "id", where)
            if captions and name not in captions:
                raise DataError(f"{where}: no annotation has a caption of image {name}")
            picture = files.medium("image", filled(row, "file_name", where))
            gold = tuple(captions[name]) if captions else None
            items.append(Item(str(name), about(picture, "", instruction), gold, str(row.get("domain", ""))))
        return items


BENCHMARK = Benchmark(
    name="nocaps",
    published=PUBLISHED["nocaps"],
    read=read,
    score=score,
    main="cider",
    instruction=CAPTION,
    tokens=64,
    results=ResultsFile(name="nocaps_results.json", write=write_coco_results),
)
