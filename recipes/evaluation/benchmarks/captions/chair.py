"""CHAIR on COCO: objects in descriptions that the picture does not contain.

Rohrbach et al., 2018, https://arxiv.org/abs/1809.02156. The pictures of val2014 in the order of the official file;
papers take 500 of them (``--limit 500``). The objects of a picture are its annotations and those in its reference
captions. ``chair_i`` and ``chair_s`` fall with the length of the descriptions: compare them at equal ``recall``. The
results file is the list of captions that the official code reads.
"""

from __future__ import annotations

from collections.abc import Sequence

from inlay.recipes.data.rows.records import filled, objects, whole
from inlay.recipes.evaluation.benchmarks.benchmark import Benchmark, ResultsFile, Scored, mean_of_counts
from inlay.recipes.evaluation.benchmarks.captions.caption_scores import captions_by_image, write_coco_results
from inlay.recipes.evaluation.benchmarks.item import Item
from inlay.recipes.evaluation.benchmarks.official_files import OfficialFiles
from inlay.recipes.evaluation.benchmarks.prompts import about
from inlay.recipes.evaluation.benchmarks.published import PUBLISHED
from inlay.recipes.evaluation.metrics.hallucination.chair import Chair, caption_objects
from inlay.recipes.evaluation.metrics.hallucination.vocabulary import ObjectVocabulary

__all__ = ["BENCHMARK", "read", "score"]


def read(files: OfficialFiles, instruction: str) -> list[Item]:
    """The pictures; `gold` is the annotated objects, the reference captions and the vocabulary."""
    instances, captions = files.document("instances"), files.document("captions")
    with files.reading("synonyms") as path:
        vocabulary = ObjectVocabulary.coco(path)
    with files.reading("captions") as path:
        written = captions_by_image(objects(captions["annotations"], f"{path}, annotations"), path)
    with files.reading("instances") as path:
        names = {row["id"]: row["name"] for row in objects(instances["categories"], f"{path}, categories")}
        present: dict[int, set[str]] = {}
        for note in objects(instances["annotations"], f"{path}, annotations"):
            present.setdefault(note["image_id"], set()).add(vocabulary.class_of(names[note["category_id"]]))
        items = []
        for number, row in enumerate(objects(instances["images"], f"{path}, images")):
            where = f"{path}, image {number}"
            name = whole(row, "id", where)
            gold = (sorted(present.get(name, ())), written.get(name, []), vocabulary)
            prompt = about(files.medium("image", filled(row, "file_name", where)), "", instruction)
            items.append(Item(str(name), prompt, gold))
        return items


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    """CHAIR's figures."""
    metric, counts = Chair(items[0].gold[2]), []
    for item, said in zip(items, answers, strict=True):
        annotated, written, vocabulary = item.gold
        metric.update([said], [annotated], [written])
        found = caption_objects(said, annotated, vocabulary, written)
        counts.append((float(len(found.hallucinated)), float(len(found.mentioned))))
    figures = {name: float(value) for name, value in metric.compute().items()}
    scaled = {name: value * (1 if name == "length" else 100) for name, value in figures.items()}
    return Scored(scaled, counts, mean_of_counts)


BENCHMARK = Benchmark(
    name="chair",
    published=PUBLISHED["chair"],
    read=read,
    score=score,
    main="chair_i",
    instruction="Please describe this image in detail.",
    tokens=512,
    results=ResultsFile(name="chair_captions.json", write=write_coco_results),
    better="lower",
)
