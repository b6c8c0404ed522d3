"""MSR-VTT: captions of clips, 2,990 in the test split, with 20 captions each.

Xu et al., 2016, https://openaccess.thecvf.com/content_cvpr_2016/html/Xu_MSR-VTT_A_Large_CVPR_2016_paper.html.
"""

from __future__ import annotations

from inlay.recipes.data.rows.records import filled, objects
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.evaluation.benchmarks.benchmark import Benchmark, ResultsFile
from inlay.recipes.evaluation.benchmarks.captions.caption_scores import score, write_coco_results
from inlay.recipes.evaluation.benchmarks.item import Item
from inlay.recipes.evaluation.benchmarks.official_files import OfficialFiles
from inlay.recipes.evaluation.benchmarks.prompts import about
from inlay.recipes.evaluation.benchmarks.published import PUBLISHED

__all__ = ["BENCHMARK", "read"]

_SUFFIXES = (".mp4", ".avi", ".webm", ".mkv", ".gif")


def read(files: OfficialFiles, instruction: str) -> list[Item]:
    """The clips of the test split with their captions as `gold`."""
    document = files.document("captions")
    with files.reading("captions") as path:
        captions: dict[str, list[str]] = {}
        for row in objects(document["sentences"], f"{path}, sentences"):
            captions.setdefault(row["video_id"], []).append(filled(row, "caption", f"{path}, sentence {row['sen_id']}"))
        items = []
        for row in objects(document["videos"], f"{path}, videos"):
            if row["split"] != "test":
                continue
            name = row["video_id"]
            if name not in captions:
                raise DataError(f"{path}: no sentence describes the clip {name}")
            clip = files.medium("video", *(f"{name}{suffix}" for suffix in _SUFFIXES))
            items.append(Item(name, about(clip, "", instruction, modality="video"), tuple(captions[name])))
        if not items:
            raise DataError(f"{path}: no clip has the split test")
        return items


BENCHMARK = Benchmark(
    name="msrvtt",
    published=PUBLISHED["msrvtt"],
    read=read,
    score=score,
    main="cider",
    instruction="Describe the video in one sentence.",
    tokens=64,
    results=ResultsFile(name="msrvtt_results.json", write=write_coco_results),
)
