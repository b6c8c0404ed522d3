"""TextVQA: accuracy by hand, and LLaVA's questions with recognised text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmark_files import answered, opened, write_official

from inlay.recipes.evaluation.errors import BenchmarkError


def test_accuracy_after_the_official_word_splitting(tmp_path: Path) -> None:
    benchmark, _, items = opened("textvqa", tmp_path / "text")
    # "men's" was said by three of ten: 0.9.
    assert answered(benchmark, items, {"34602": "Nous, les gosses?", "34603": "Men's"}).figures == {
        "accuracy": pytest.approx(100 * (1 + 0.9) / 2)
    }


def test_recognised_text_is_asked_if_its_file_is_there(tmp_path: Path) -> None:
    root = write_official("textvqa", tmp_path / "text")
    tail = "Answer the question using a single word or phrase."
    texts = {"img1": "What is the brand?\nReference OCR token: GOSSES", "img2": "What team?\nReference OCR token: FC"}
    rows = [{"question_id": name, "image": f"{name}.jpg", "text": f"{text}\n{tail}"} for name, text in texts.items()]
    (root / "llava_textvqa_val_v051_ocr.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    items = opened("textvqa", root)[2]
    assert [item.prompt[0].text for item in items] == [f"{text}\n{tail}" for text in texts.values()]
    (root / "llava_textvqa_val_v051_ocr.jsonl").write_text(json.dumps(rows[0]))
    with pytest.raises(BenchmarkError, match="has no line for image img2 with this question"):
        opened("textvqa", root)


def test_the_results_file_is_what_the_server_takes(tmp_path: Path) -> None:
    benchmark, files, items = opened("textvqa", tmp_path / "text")
    benchmark.results.write(tmp_path / "out.json", items, ["a", "b"], files)
    rows = json.loads((tmp_path / "out.json").read_text())
    assert rows == [{"question_id": 34602, "answer": "a"}, {"question_id": 34603, "answer": "b"}]
