"""COCO captions (Chen et al., 2015, https://arxiv.org/abs/1504.00325): Karpathy's test split, or the validation set.

With ``dataset_coco.json`` the 5,000 pictures of its split ``test`` are described
(Karpathy and Fei-Fei, 2015, https://arxiv.org/abs/1412.2306), with ``captions_val2014.json`` all of that file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    """The pictures with their references as `gold`."""
    document = files.document("captions")
    with files.reading("captions") as path:
        images = objects(document["images"], f"{path}, images")
        if "annotations" not in document:
            return _of_split(files, images, path, instruction)
        captions = captions_by_image(objects(document["annotations"], f"{path}, annotations"), path)
        items = []
        for number, row in enumerate(images):
            where = f"{path}, image {number}"
            name = whole(row, "id", where)
            if name not in captions:
                raise DataError(f"{where}: no annotation has a caption of image {name}")
            picture = files.medium("image", filled(row, "file_name", where))
            items.append(Item(str(name), about(picture, "", instruction), tuple(captions[name])))
        return items


def _of_split(files: OfficialFiles, images: list[dict[str, Any]], path: Path, instruction: str) -> list[Item]:
    items = []
    for number, row in enumerate(images):
        if row.get("split") != "test":
            continue
        where = f"{path}, image {number}"
        name, own = filled(row, "filename", where), _sentences(row, where)
        picture = files.medium("image", *dict.fromkeys((f"{row['filepath']}/{name}", name)))
        items.append(Item(str(whole(row, "cocoid", where)), about(picture, "", instruction), own))
    if not items:
        raise DataError(f"{path}: no image has the split test")
    return items


def _sentences(row: Mapping[str, Any], where: str) -> tuple[str, ...]:
    return tuple(filled(sentence, "raw", f"{where}, sentences") for sentence in objects(row["sentences"], where))


BENCHMARK = Benchmark(
    name="coco",
    published=PUBLISHED["coco"],
    read=read,
    score=score,
    main="cider",
    instruction=CAPTION,
    tokens=64,
    results=ResultsFile(name="captions_results.json", write=write_coco_results),
)
