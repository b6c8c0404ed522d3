"""Clotho: captions of sounds from Freesound (Drossos et al., 2020, https://arxiv.org/abs/1910.09387).

The evaluation split, with five captions per sound.
"""

from __future__ import annotations

from inlay.recipes.evaluation.benchmarks.benchmark import Benchmark
from inlay.recipes.evaluation.benchmarks.captions.audiocaps import SOUND
from inlay.recipes.evaluation.benchmarks.captions.caption_scores import score
from inlay.recipes.evaluation.benchmarks.csv_rows import csv_rows
from inlay.recipes.evaluation.benchmarks.item import Item
from inlay.recipes.evaluation.benchmarks.official_files import OfficialFiles
from inlay.recipes.evaluation.benchmarks.prompts import about
from inlay.recipes.evaluation.benchmarks.published import PUBLISHED

__all__ = ["BENCHMARK", "read"]

_CAPTIONS = tuple(f"caption_{number}" for number in range(1, 6))


def read(files: OfficialFiles, instruction: str) -> list[Item]:
    """The sounds with their five captions as `gold`."""
    with files.reading("captions") as path:
        return [
            Item(
                row["file_name"],
                about(files.medium("audio", row["file_name"]), "", instruction, modality="audio"),
                tuple(row[column] for column in _CAPTIONS),
            )
            for _, row in csv_rows(path, "file_name", *_CAPTIONS)
        ]


BENCHMARK = Benchmark(
    name="clotho", published=PUBLISHED["clotho"], read=read, score=score, main="cider", instruction=SOUND, tokens=64
)
