"""SEED-Bench: accuracy by hand, clips by their middle frames, and the official results file."""

from __future__ import annotations

import json
from pathlib import Path

from benchmark_files import answered, opened, picture, write_official


def test_accuracy_overall_and_by_type_of_question(tmp_path: Path) -> None:
    benchmark, _, items = opened("seed", tmp_path / "seed")
    figures = answered(benchmark, items, {"101669": "A", "101670": "Two"}).figures
    assert figures == {"accuracy": 50, "image": 50, "Instances Counting": 100, "Scene Understanding": 0}


def test_clips_are_asked_if_their_frames_are_there(tmp_path: Path) -> None:
    root = write_official("seed", tmp_path / "seed")
    picture(root / "SEED-Bench-video-image" / "v1.png", 3)
    benchmark, _, items = opened("seed", root)
    figures = answered(benchmark, items, {"101669": "A", "101670": "C", "v1": "B"}).figures
    assert (figures["video"], figures["image"]) == (0, 100)


def test_the_results_file_has_the_official_lines(tmp_path: Path) -> None:
    benchmark, files, items = opened("seed", tmp_path / "seed")
    benchmark.results.write(tmp_path / "out.jsonl", items, ["(A) One", "three"], files)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert rows == [{"question_id": "101669", "prediction": "A"}, {"question_id": "101670", "prediction": "C"}]
