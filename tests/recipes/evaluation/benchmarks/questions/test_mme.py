"""MME: points by hand, folders and Parquet, and the official text files."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from benchmark_files import MME, answered, opened, write_official
from PIL import Image

from inlay.recipes.evaluation.errors import BenchmarkError


def _said(**other: tuple[str, str]) -> dict[str, str]:
    pairs = dict.fromkeys(MME, ("maybe", "maybe")) | other
    return {f"{category}/0001.jpg/{n}": text for category, own in pairs.items() for n, text in enumerate(own)}


def test_points_are_accuracy_plus_accuracy_of_pairs(tmp_path: Path) -> None:
    benchmark, _, items = opened("mme", tmp_path / "mme")
    scored = answered(
        benchmark, items, _said(existence=("Yes.", "no"), count=("yes", "yes"), code_reasoning=("yes", "No"))
    )
    figures = scored.figures
    assert (figures["existence acc"], figures["existence acc+"], figures["existence"]) == (100, 100, 200)
    assert (figures["count acc"], figures["count acc+"], figures["count"]) == (50, 0, 50)
    assert (figures["OCR"], figures["perception"], figures["cognition"], figures["total"]) == (0, 250, 200, 450)
    assert scored.main(np.sum(scored.counts, axis=0)) == 450


def test_the_official_instruction_stays_and_can_be_replaced(tmp_path: Path) -> None:
    text = opened("mme", tmp_path / "mme")[2][0].prompt[0].text
    assert text == "Is there a dog? Please answer yes or no."
    other = opened("mme", tmp_path / "mme", "One word.")[2][0].prompt[0].text
    assert other == "Is there a dog?\nOne word."


def test_the_text_files_are_those_of_the_official_evaluation(tmp_path: Path) -> None:
    benchmark, files, items = opened("mme", tmp_path / "mme")
    benchmark.results.write(tmp_path / "out.zip", items, ["Yes,\nit is"] * len(items), files)
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert sorted(archive.namelist()) == sorted(f"{category}.txt" for category in MME)
        lines = archive.read("OCR.txt").decode().splitlines()
    assert lines[1].split("\t") == ["0001.jpg", "Is there a cat? Please answer yes or no.", "No", "Yes, it is"]


def test_parquet_has_the_same_questions(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    rows = []
    for number, category in enumerate(MME):
        held = io.BytesIO()
        Image.new("RGB", (8, 8), (number, 0, 0)).save(held, "PNG")
        for text, answer in (("Is there a dog?", "Yes"), ("Is there a cat?", "No")):
            image = {"bytes": held.getvalue(), "path": None}
            rows.append({"question_id": f"{category}/0001.jpg", "image": image, "category": category})
            rows[-1] |= {"question": f"{text} Please answer yes or no.", "answer": answer}
    (tmp_path / "parquet" / "data").mkdir(parents=True)
    pandas.DataFrame(rows).to_parquet(tmp_path / "parquet" / "data" / "test-00000-of-00001.parquet")
    found = opened("mme", tmp_path / "parquet")[2]
    folders = opened("mme", tmp_path / "mme")[2]
    assert [(item.name, item.prompt[0].text, item.gold) for item in found] == [
        (item.name, item.prompt[0].text, item.gold) for item in folders
    ]


def test_a_missing_category_is_named(tmp_path: Path) -> None:
    root = write_official("mme", tmp_path / "mme")
    for path in (root / "MME_Benchmark_release_version" / "OCR").iterdir():
        path.unlink()
    with pytest.raises(
        BenchmarkError, match=r"OCR: expected texts of questions and answers, found none; .*published at"
    ):
        opened("mme", root)
