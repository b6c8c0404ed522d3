"""Captions, pairs, triples and MiniGPT-4's file: what is read, and what is refused by name."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inlay.adapters.conversation.messages import MediaPart, TextPart
from inlay.recipes.data import DataError, Sample
from inlay.recipes.data.formats.coco_captions import read_coco_captions
from inlay.recipes.data.formats.minigpt4 import read_filter_cap
from inlay.recipes.data.formats.pairs import read_pairs
from inlay.recipes.data.formats.triples import read_triples
from inlay.recipes.data.rows.records import records

WriteJson = Callable[[Any], Path]
WriteLines = Callable[..., Path]

COCO: dict[str, Any] = {
    "info": {},
    "images": [{"id": 5, "file_name": "1.png"}, {"id": 3, "file_name": "sub/2.png"}],
    "annotations": [
        {"id": 90, "image_id": 3, "caption": "A disc. "},
        {"id": 91, "image_id": 5, "caption": "A cat."},
        {"id": 92, "image_id": 3, "caption": "Something round"},
    ],
}


def coco(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(COCO) | changes


def said(samples: list[Sample]) -> list[tuple[str, str]]:
    return [(sample.id, sample.messages[-1].text) for sample in samples]


def test_captions_by_image_say_the_first_and_keep_all(write_json: WriteJson, images: Path) -> None:
    samples = read_coco_captions(write_json(COCO), images)
    assert said(samples) == [("5", "A cat."), ("3", "A disc.")]
    assert [sample.answers for sample in samples] == [(("A cat.",),), (("A disc.", "Something round"),)]
    assert samples[1].messages[0].content == (MediaPart("image", images / "sub/2.png"),)


def test_captions_one_by_one_are_all_said_and_keep_all(write_json: WriteJson, images: Path) -> None:
    samples = read_coco_captions(write_json(COCO), images, per="caption", asked="Caption:")
    assert said(samples) == [("90", "A disc."), ("91", "A cat."), ("92", "Something round")]
    assert samples[0].answers == samples[2].answers == (("A disc.", "Something round"),)
    assert samples[0].messages[0].content[1] == TextPart("Caption:")


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([], r"expected \{\"annotations\""),
        (coco(annotations=[]), "annotations: expected at least one entry"),
        (coco(images=None), "no list of images"),
        (coco(images=[]), "no list of images"),
        (coco(images=[1]), r"images\[0\]: expected an object"),
        (coco(images=[{"id": "5", "file_name": "1.png"}]), "image 0, id: expected a whole number from 0, got '5'"),
        (coco(images=[{"id": 5}]), "image 0, file_name: expected text"),
        (coco(images=[{"id": 5, "file_name": "../1.png"}]), r"image 0 \(id 5\), file_name: .*remove the '\.\.'"),
        (coco(images=[{"id": 5, "file_name": "a"}] * 2), r"image 1: id 5 is also the id of .*image 0"),
        (coco(annotations=COCO["annotations"][1:2]), r"image 1 \(id 3\): no annotation has a caption of this image"),
        (
            coco(annotations=[{"id": 90, "image_id": 7, "caption": "a"}]),
            r"annotation 0 \(id 90, image_id 7\): no image has this image_id",
        ),
        (
            coco(annotations=COCO["annotations"][:1] * 2),
            r"annotation 1 \(id 90, image_id 3\): the same id as .*annotation 0",
        ),
        (
            coco(annotations=[{"id": 90, "image_id": 3, "caption": "\n"}]),
            r"\(id 90, image_id 3\), caption: .*white space",
        ),
        (coco(annotations=[{"id": 90, "image_id": 3}]), "caption: expected text, got None"),
        (coco(annotations=[{"image_id": 3, "caption": "a"}]), "annotation 0, id: expected a whole number"),
    ],
)
def test_what_is_wrong_with_captions_is_said(write_json: WriteJson, images: Path, document: Any, told: str) -> None:
    with pytest.raises(DataError, match=rf"train\.json.*{told}"):
        read_coco_captions(write_json(document), images)


def test_captions_need_a_folder(write_json: WriteJson) -> None:
    with pytest.raises(DataError, match="name their folder"):
        read_coco_captions(write_json(COCO), None)


def test_pairs_have_a_text_or_a_caption(write_lines: WriteLines, images: Path) -> None:
    path = write_lines({"image": "1.png", "text": " A. "}, "", {"image": "1.png", "caption": "B.", "id": 7})
    samples = read_pairs(path, images, asked="Caption:")
    assert said(samples) == [("line-1", "A."), ("7", "B.")]
    assert samples[1].messages[0].content == (MediaPart("image", images / "1.png"), TextPart("Caption:"))
    assert samples[1].origin.endswith("train.jsonl, line 3")


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], "expected at least one record"),
        (["[1]"], "line 1: expected an object, got a list"),
        (["{"], "line 1: not JSON"),
        ([{"image": "1.png"}], "line 1: expected the text under text or caption, got 0 of them"),
        ([{"image": "1.png", "text": "a", "caption": "a"}], "got 2 of them"),
        ([{"text": "a"}], "line 1: expected one of image, audio, video, got none of them"),
        ([{"image": "1.png", "audio": "1.wav", "text": "a"}], "line 1: expected one of .*, got image and audio"),
        ([{"image": 3, "text": "a"}], "image: expected a path, .*, got 3"),
        ([{"image": "/etc/passwd", "text": "a"}], "absolute path"),
        ([{"image": "http://a/b.png", "text": "a"}], "nothing is fetched"),
        ([{"image": "1.png", "text": None}], "expected the text under text or caption, got 0"),
        ([{"image": "1.png", "caption": " "}], "line 1, caption: .*white space"),
        ([{"image": "1.png", "text": "a", "id": 1}] * 2, "line 2, id: '1' is also the id of .*line 1"),
        ([{"image": "1.png", "text": "a", "id": []}], r"id: expected text or an integer, got \[\]"),
    ],
)
def test_what_is_wrong_with_pairs_is_said(write_lines: WriteLines, images: Path, lines: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_pairs(write_lines(*lines), images)


def test_pairs_may_be_a_list(write_json: WriteJson, images: Path) -> None:
    assert said(read_pairs(write_json([{"image": "1.png", "text": "A."}]), images)) == [("item-0", "A.")]


TRIPLE = {"image": "1.png", "text_input": "How many?", "text_output": "two"}


def test_triples_are_read_from_a_list_and_from_lines(
    write_json: WriteJson, write_lines: WriteLines, images: Path
) -> None:
    rows = [TRIPLE, TRIPLE | {"id": "b"}]
    listed, lines = read_triples(write_json(rows), images), read_triples(write_lines(*rows), images)
    assert [sample.id for sample in listed] == ["item-0", "b"]
    assert [sample.id for sample in lines] == ["line-1", "b"]
    assert [sample.messages for sample in listed] == [sample.messages for sample in lines]
    assert listed[0].messages[0].content == (MediaPart("image", images / "1.png"), TextPart("How many?"))
    assert listed[0].messages[1].text == "two"


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({}, "expected a JSON list of records, got an object"),
        ([], "expected at least one record"),
        ([None], "item 0: expected an object, got null"),
        ([TRIPLE | {"text_input": ""}], "item 0, text_input: .*white space"),
        ([TRIPLE | {"text_output": ["two"]}], r"item 0, text_output: expected text, got \['two'\]"),
        ([TRIPLE | {"image": None}], "item 0, image: expected a path"),
        ([TRIPLE | {"id": 1}, TRIPLE | {"id": "1"}], "item 1, id: '1' is also the id of .*item 0"),
    ],
)
def test_what_is_wrong_with_triples_is_said(write_json: WriteJson, images: Path, document: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_triples(write_json(document), images)


def test_filter_cap_names_its_images_by_id(write_json: WriteJson, images: Path) -> None:
    notes = [{"image_id": "2", "caption": "A long story. "}, {"image_id": 30, "caption": "B."}]
    samples = read_filter_cap(write_json({"annotations": notes}), images, asked="Tell.")
    assert said(samples) == [("2", "A long story."), ("30", "B.")]
    assert [sample.messages[0].content[0].source for sample in samples] == [images / "2.jpg", images / "30.jpg"]


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([], r"expected \{\"annotations\""),
        ({"annotations": [{"image_id": None, "caption": "a"}]}, "annotation 0, image_id: expected text, got None"),
        ({"annotations": [{"image_id": True, "caption": "a"}]}, "image_id: expected a whole number from 0, got True"),
        (
            {"annotations": [{"image_id": "../1", "caption": "a"}]},
            r"annotation 0 \(image_id \.\./1\): .*leaves the folder",
        ),
        ({"annotations": [{"image_id": 1, "caption": ""}]}, r"annotation 0 \(image_id 1\), caption: .*white space"),
        (
            {"annotations": [{"image_id": 1, "caption": "a"}, {"image_id": "1", "caption": "b"}]},
            r"annotation 1 \(image_id 1\): the same image_id as .*annotation 0",
        ),
    ],
)
def test_what_is_wrong_with_filter_cap_is_said(write_json: WriteJson, images: Path, document: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_filter_cap(write_json(document), images)


@pytest.mark.parametrize(
    ("read", "row", "field"),
    [
        (read_pairs, {"image": "1.png", "text": "A."}, "features"),
        (read_pairs, {"image": "1.png", "text": "A."}, "images"),
        (read_triples, TRIPLE, "video_path"),
        (read_triples, TRIPLE, "system"),
    ],
)
def test_a_field_that_nothing_reads_is_an_error(
    write_lines: WriteLines, images: Path, read: Any, row: dict[str, str], field: str
) -> None:
    with pytest.raises(DataError, match=rf"line 1, {field}: 'x' would not be read"):
        read(write_lines(row | {field: "x"}), images)


def test_what_describes_a_picture_that_is_read_is_no_medium(write_lines: WriteLines, images: Path) -> None:
    row = {"image": "1.png", "text": "A.", "image_url": "http://host/1.png", "image_id": 3}
    assert len(read_pairs(write_lines(row), images)) == 1


def test_a_list_is_read_item_by_item_and_its_end_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for text, told in (('[{"a": 1} {"b": 2}]', "not JSON: Expecting ',' delimiter"), ('[{"a": 1}] 7', "Extra data")):
        path.write_text(text)
        with pytest.raises(DataError, match=told):
            list(records(path))
    path.write_text(' [ {"a": 1} , {"b": [2]} ] ')
    assert [item for _, item in records(path)] == [{"a": 1}, {"b": [2]}]
