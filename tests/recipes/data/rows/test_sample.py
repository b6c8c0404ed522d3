"""Questions out of conversations, and the check of the media before training."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.recipes.data.rows.checks.media_check import check_media
from inlay.recipes.data.rows.sample import DataError, Question, Sample, questions_of

Q1, A1 = Message("user", (TextPart("colour?"),)), Message("assistant", (TextPart("red"),))
Q2, A2 = Message("user", (TextPart("shape?"),)), Message("assistant", (TextPart("disc"),))
SYSTEM = Message("system", (TextPart("s"),))


def with_image(path: object) -> Sample:
    return Sample("7", (Message("user", (MediaPart("image", path),)), A1), "train.json, item 3")


def test_every_answer_becomes_a_question_with_its_history() -> None:
    sample = Sample("7", (SYSTEM, Q1, A1, Q2, A2), "", ("colour", "shape"), ((), ("disc", "circle")))
    assert questions_of(sample) == [
        Question((SYSTEM, Q1), "red", ("red",), "colour"),
        Question((SYSTEM, Q1, A1, Q2), "disc", ("disc", "circle"), "shape"),
    ]


def test_without_annotations_the_reference_is_the_answer() -> None:
    assert questions_of(Sample("7", (Q1, A1), "")) == [Question((Q1,), "red", ("red",), "")]


def test_media_that_are_there_pass(images: Path) -> None:
    check_media(
        [with_image(images / "1.png"), with_image(images / "sub/2.png"), with_image(Image.new("L", (1, 1)))], images
    )


def test_a_missing_file_is_named_with_its_origin(images: Path) -> None:
    with pytest.raises(
        DataError, match=r"1 of 2 media files cannot be used:\n  train\.json, item 3: .*gone\.png: no such"
    ):
        check_media([with_image(images / "1.png"), with_image(images / "gone.png")], images)


def test_the_folder_of_missing_media_is_named_with_its_option(images: Path) -> None:
    with pytest.raises(DataError, match=r"no such file\nlooked for in the folder .*: give another with --data\.images"):
        check_media([with_image(images / "gone.png")], images)


def test_media_with_the_same_problem_are_one_line(images: Path) -> None:
    with pytest.raises(DataError, match="20 of 20 media files") as error:
        check_media([with_image(images / f"{number}.gone") for number in range(20)], images)
    assert str(error.value).count("no such file") == 1
    assert "0.gone: no such file (20 such rows; next: " in str(error.value)


def test_an_empty_file_is_named(images: Path) -> None:
    (images / "empty.png").touch()
    with pytest.raises(DataError, match=r"empty\.png: the file is empty"):
        check_media([with_image(images / "empty.png")], images)


def test_a_folder_is_no_picture(images: Path) -> None:
    with pytest.raises(DataError, match="sub: is not a file"):
        check_media([with_image(images / "sub")], images)


@pytest.mark.parametrize("name", ["link.png", "folder/secret.png", "../secret.png"])
def test_a_path_that_leads_out_of_the_folder_is_refused(images: Path, name: str) -> None:
    Image.new("RGB", (2, 2)).save(images.parent / "secret.png")
    (images / "link.png").symlink_to(images.parent / "secret.png")
    (images / "folder").symlink_to(images.parent)
    with pytest.raises(DataError, match="lies outside of the folder"):
        check_media([with_image(images / name)], images)


def test_a_link_inside_the_folder_and_a_linked_folder_are_fine(images: Path, tmp_path: Path) -> None:
    (images / "link.png").symlink_to(images / "1.png")
    (tmp_path / "alias").symlink_to(images)
    check_media([with_image(images / "link.png"), with_image(tmp_path / "alias/1.png")], tmp_path / "alias")
