"""The format is told from the suffix and the first record, and the images are looked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inlay.recipes.data import DataError, read_samples


def test_json_is_llava(write_json: Callable[[Any], Path], item: Callable[..., dict[str, Any]]) -> None:
    assert len(read_samples(write_json([item("a", "b")]))) == 1


def test_jsonl_is_messages(write_lines: Callable[..., Path], line: Callable[..., dict[str, Any]]) -> None:
    assert len(read_samples(str(write_lines(line("a", "b"), line("c", "d"))))) == 2


@pytest.mark.parametrize("name", ["train.txt", "train"])
def test_another_suffix_is_an_error(name: str) -> None:
    with pytest.raises(DataError, match=r"expected a file that ends in \.json, \.jsonl, "):
        read_samples(name)


def test_missing_images_are_found_up_front(
    write_json: Callable[[Any], Path], item: Callable[..., dict[str, Any]], images: Path
) -> None:
    with pytest.raises(DataError, match=r"item 0: .*gone\.png: no such file"):
        read_samples(write_json([item("<image>a", "b", image="gone.png")]), images)


PICTURE = {"id": 1, "file_name": "1.png"}
CAPTION = {"id": 1, "image_id": 1, "caption": "A disc."}
TRIPLE = {"image": "1.png", "text_input": "How many?", "text_output": "A disc."}


@pytest.mark.parametrize(
    "document",
    [{"images": [PICTURE], "annotations": [CAPTION]}, {"info": {}, "annotations": [CAPTION], "images": [PICTURE]}],
)
def test_captions_are_told_by_their_images(write_json: Callable[[Any], Path], images: Path, document: Any) -> None:
    [sample] = read_samples(write_json(document), images)
    assert (sample.answers, sample.messages[1].text) == ((("A disc.",),), "A disc.")


def test_annotations_alone_are_filter_cap(write_json: Callable[[Any], Path], images: Path) -> None:
    (images / "1.png").rename(images / "1.jpg")
    [sample] = read_samples(write_json({"annotations": [CAPTION]}), images)
    assert (sample.id, sample.messages[1].text) == ("1", "A disc.")


def test_triples_are_told_by_their_first_item(
    write_json: Callable[[Any], Path], write_lines: Callable[..., Path], images: Path
) -> None:
    for path in (write_json([TRIPLE]), write_lines("", TRIPLE)):
        [sample] = read_samples(path, images)
        assert sample.messages[0].text == "How many?"


@pytest.mark.parametrize("field", ["text", "caption"])
def test_pairs_are_told_by_their_first_line(write_lines: Callable[..., Path], images: Path, field: str) -> None:
    [sample] = read_samples(write_lines({"image": "1.png", field: "A disc."}), images)
    assert sample.messages[1].text == "A disc."


def test_a_byte_order_mark_and_spaces_do_not_hide_the_format(tmp_path: Path, images: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text(" \n" + json.dumps([TRIPLE]), encoding="utf-8-sig")
    assert len(read_samples(path, images)) == 1


@pytest.mark.parametrize("document", [{"questions": []}, {"annotations": [{"answers": []}]}])
def test_the_two_files_of_vqa_say_where_they_are_read(write_json: Callable[[Any], Path], document: Any) -> None:
    with pytest.raises(DataError, match=r"--data\.test QUESTIONS with --data\.test_annotations ANNOTATIONS"):
        read_samples(write_json(document))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{}", "expected a JSON list of records, got an object"),
        ("", "empty, expected JSON"),
        ("[", "not JSON"),
        ("[" * 100_000, "too deeply nested"),
        ("{", "not JSON"),
        ("[7]", "item 0: expected an object"),
    ],
)
def test_what_is_none_of_them_is_an_error(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "train.json"
    path.write_text(text)
    with pytest.raises(DataError, match=told):
        read_samples(path)


@pytest.mark.parametrize(
    ("line", "told"),
    [("7", "line 1"), ('{"image": "1.png"}', "expected the field messages, got image"), ("", "got none")],
)
def test_a_line_that_is_none_of_them_is_an_error(write_lines: Callable[..., Path], line: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_samples(write_lines(line))


@pytest.mark.parametrize("name", ["gone.json", "gone.jsonl", "gone.json.gz", "gone.csv"])
def test_a_file_that_is_missing_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_samples(tmp_path / name)
