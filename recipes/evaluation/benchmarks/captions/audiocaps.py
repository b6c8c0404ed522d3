"""AudioCaps: captions of sounds from YouTube (Kim et al., 2019, https://aclanthology.org/N19-1011).

The test set has five captions per clip, one per row. Local copies usually lack clips that are no longer available:
remove their rows from the file, since a missing sound is an error.
"""

from __future__ import annotations

from inlay.recipes.evaluation.benchmarks.benchmark import Benchmark
from inlay.recipes.evaluation.benchmarks.captions.caption_scores import score
from inlay.recipes.evaluation.benchmarks.csv_rows import csv_rows
from inlay.recipes.evaluation.benchmarks.item import Item
from inlay.recipes.evaluation.benchmarks.official_files import OfficialFiles
from inlay.recipes.evaluation.benchmarks.prompts import about
from inlay.recipes.evaluation.benchmarks.published import PUBLISHED

__all__ = ["BENCHMARK", "SOUND", "read"]

SOUND = "Describe the sound in one sentence."


def read(files: OfficialFiles, instruction: str) -> list[Item]:
    """The clips with their captions as `gold`."""
    with files.reading("captions") as path:
        captions: dict[tuple[str, str], list[dict[str, str]]] = {}
        for _, row in csv_rows(path, "audiocap_id", "youtube_id", "start_time", "caption"):
            captions.setdefault((row["youtube_id"], row["start_time"]), []).append(row)
        items = []
        for (video, start), rows in captions.items():
            stems = [video, f"Y{video}", f"{video}_{start}", *(row["audiocap_id"] for row in rows)]
            names = [f"{stem}.{suffix}" for suffix in ("wav", "flac") for stem in stems]
            prompt = about(files.medium("audio", *names), "", instruction, modality="audio")
            items.append(Item(f"{video}_{start}", prompt, tuple(row["caption"] for row in rows)))
        return items


BENCHMARK = Benchmark(
    name="audiocaps",
    published=PUBLISHED["audiocaps"],
    read=read,
    score=score,
    main="cider",
    instruction=SOUND,
    tokens=64,
)
