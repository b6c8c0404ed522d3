"""Missing and malformed official files: the error names the file, the expected layout and the owner's page."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from benchmark_files import WRITERS, opened, picture, write_official

from inlay.recipes.evaluation.benchmarks.published import PUBLISHED
from inlay.recipes.evaluation.benchmarks.registry import files_of
from inlay.recipes.evaluation.errors import BenchmarkError

REQUIRED = [(name, key) for name, own in PUBLISHED.items() for key, file in own.files.items() if not file.optional]


def test_every_benchmark_has_a_sample_of_its_files() -> None:
    assert WRITERS.keys() == PUBLISHED.keys()


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_wrong_folder_is_named_with_the_owners_page(tmp_path: Path, name: str) -> None:
    with pytest.raises(BenchmarkError) as told:
        files_of(name, tmp_path / "gone")
    assert "--root" in str(told.value)
    assert PUBLISHED[name].owner in str(told.value)


@pytest.mark.parametrize(("name", "key"), REQUIRED)
def test_a_missing_file_is_named_with_its_layout(tmp_path: Path, name: str, key: str) -> None:
    root = write_official(name, tmp_path / "root")
    files_of(name, root).path(key).rename(tmp_path / "elsewhere")
    with pytest.raises(BenchmarkError) as told:
        files_of(name, root)
    file = PUBLISHED[name].files[key]
    assert f"{root / file.names[0]}: no such file" in str(told.value)
    assert file.layout in str(told.value)
    assert PUBLISHED[name].owner in str(told.value)


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', "text\n", "[[1]]"])
@pytest.mark.parametrize(
    ("name", "key"),
    [pair for pair in REQUIRED if pair not in [("mme", "questions"), ("amber_exact", "safe"), ("chair", "synonyms")]],
)
def test_a_malformed_file_is_named_with_its_layout(tmp_path: Path, name: str, key: str, content: str) -> None:
    root = write_official(name, tmp_path / "root")
    path = files_of(name, root).path(key)
    path.write_text(content)
    with pytest.raises(BenchmarkError) as told:
        opened(name, root)
    assert PUBLISHED[name].owner in str(told.value)
    assert any(file.layout in str(told.value) for file in PUBLISHED[name].files.values())


def test_missing_media_are_named(tmp_path: Path) -> None:
    root = write_official("gqa", tmp_path / "gqa")
    (root / "images" / "n2.jpg").unlink()
    with pytest.raises(
        BenchmarkError, match=r"(?s)question 203: .*n2\.jpg: no such file\n.*published at https://cs\.stanford"
    ):
        opened("gqa", root)


def test_media_may_be_in_another_folder(tmp_path: Path) -> None:
    root = write_official("gqa", tmp_path / "gqa")
    (root / "images").rename(tmp_path / "other")
    files = files_of("gqa", root, tmp_path / "other")
    assert files.medium("image", "n1.jpg") == tmp_path / "other" / "n1.jpg"


def test_the_medium_that_exists_is_taken(tmp_path: Path) -> None:
    root = write_official("pope", tmp_path / "pope")
    picture(root / "images" / "only_here.jpg")
    files = files_of("pope", root)
    assert files.medium("image", "no.jpg", "only_here.jpg") == root / "images" / "only_here.jpg"
    assert files.medium("image", "no.jpg") == root / "val2014" / "no.jpg"


@pytest.mark.parametrize("name", ["-0xzrMun0Rs.wav", "Lorry (1), #2 & more.wav", "caf\u00e9.wav", "a_b-c.1.wav"])
def test_unusual_names_of_media_are_found(tmp_path: Path, name: str) -> None:
    root = write_official("clotho", tmp_path / "clotho")
    (root / "evaluation" / "Rain 1.wav").rename(root / "evaluation" / name)
    captions = root / "clotho_captions_evaluation.csv"
    captions.write_text(captions.read_text().replace("Rain 1.wav", f'"{name}"'), encoding="utf-8")
    assert opened("clotho", root)[2][0].prompt[0].content[0].source == root / "evaluation" / name


def test_a_name_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    root = write_official("pope", tmp_path / "pope")
    row = json.dumps({"question_id": 1, "image": "../../etc/passwd", "text": "?", "label": "no"})
    (root / "coco_pope_random.json").write_text(f"{row}\n{row}\n")
    with pytest.raises(BenchmarkError, match=r"coco_pope_random\.json: .*\.\."):
        opened("pope", root)


def test_a_linked_folder_needs_links(tmp_path: Path) -> None:
    root = write_official("gqa", tmp_path / "gqa")
    (root / "images").rename(tmp_path / "coco")
    os.symlink(tmp_path / "coco", root / "images")
    with pytest.raises(BenchmarkError, match=r"--data\.links true"):
        opened("gqa", root)
    files = files_of("gqa", root, links=True)
    from inlay.recipes.evaluation.benchmarks.questions.gqa import read

    files.check_media(read(files, ""))
