"""VQA v2: what is read, every way in which the two files can disagree, and the result file."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inlay.adapters.conversation.messages import MediaPart, TextPart
from inlay.recipes.data import DataError, questions_of
from inlay.recipes.data.formats.vqa.images import PATTERNS, find_pattern, image_name
from inlay.recipes.data.formats.vqa.questions import ANSWER_TYPES, read_vqa, read_vqa_questions
from inlay.recipes.data.formats.vqa.results import write_vqa_results
from inlay.recipes.evaluation.metrics import VQAAccuracy

SAID = ["two"] * 6 + ["2"] * 3 + ["three"]


class Vqa:
    """Two files and a folder that tests bend before they are read."""

    def __init__(self, folder: Path) -> None:
        self.questions: Any = {"questions": [self.question(10, 1), self.question(11, 1), self.question(20, 2)]}
        self.annotations: Any = {
            "annotations": [self.annotation(20, 2), self.annotation(10, 1), self.annotation(11, 1)]
        }
        self.folder, self.images = folder, folder / "images"
        self.images.mkdir()
        for number in (1, 2):
            Image.new("RGB", (4, 4)).save(self.images / f"COCO_val2014_{number:012d}.jpg")

    @staticmethod
    def question(question_id: int, image_id: int) -> dict[str, Any]:
        return {"question_id": question_id, "image_id": image_id, "question": f"How many in {question_id}?"}

    @staticmethod
    def annotation(question_id: int, image_id: int) -> dict[str, Any]:
        answers = [{"answer": said, "answer_confidence": "yes", "answer_id": n + 1} for n, said in enumerate(SAID)]
        return {
            "question_id": question_id,
            "image_id": image_id,
            "question_type": "how many",
            "answer_type": "number",
            "multiple_choice_answer": "two",
            "answers": answers,
        }

    @property
    def first(self) -> dict[str, Any]:
        """The annotation that stands first, of question 20."""
        return self.annotations["annotations"][0]

    def files(self) -> tuple[Path, Path, Path]:
        paths = self.folder / "questions.json", self.folder / "annotations.json"
        for path, value in zip(paths, (self.questions, self.annotations), strict=True):
            path.write_text(json.dumps(value))
        return *paths, self.images

    def read(self, **options: Any) -> Any:
        return read_vqa(*self.files(), **options)


@pytest.fixture
def vqa(tmp_path: Path) -> Vqa:
    return Vqa(tmp_path)


def test_questions_meet_their_annotations_in_the_order_of_the_questions(vqa: Vqa) -> None:
    samples = vqa.read()
    assert [sample.id for sample in samples] == ["10", "11", "20"]
    picture = MediaPart("image", vqa.images / "COCO_val2014_000000000002.jpg")
    assert samples[2].messages[0].content == (picture, TextPart("How many in 20?"))
    assert samples[2].messages[1].text == "two"
    assert samples[2].answers == (tuple(SAID),)


def test_the_kind_is_the_answer_type_the_question_type_or_nothing(vqa: Vqa) -> None:
    assert [vqa.read(kind=kind)[0].kinds for kind in ("answer_type", "question_type", None)] == [
        ("number",),
        ("how many",),
        (),
    ]


def test_what_is_read_goes_into_the_metric_by_type(vqa: Vqa) -> None:
    questions = [question for sample in vqa.read() for question in questions_of(sample)]
    metric = VQAAccuracy(kinds=ANSWER_TYPES)
    metric.update(["2", "three", "four"], [q.answers for q in questions], [q.kind for q in questions])
    assert {kind: round(value.item(), 3) for kind, value in metric.compute().items()} == {
        "overall": round((1 + 0.3) / 3, 3),
        "number": round((1 + 0.3) / 3, 3),
    }


def test_a_sampled_target_is_drawn_as_often_as_it_was_given(vqa: Vqa) -> None:
    numbers = range(400)
    vqa.questions["questions"] = [vqa.question(number, 1) for number in numbers]
    vqa.annotations["annotations"] = [vqa.annotation(number, 1) for number in numbers]
    drawn = Counter(sample.messages[1].text for sample in vqa.read(target="sampled"))
    assert drawn.keys() == set(SAID)
    assert all(abs(drawn[said] / 400 - SAID.count(said) / 10) < 0.1 for said in drawn)


def test_a_sampled_target_depends_on_its_own_question_and_the_seed_alone(vqa: Vqa) -> None:
    numbers = list(range(100))

    def targets(order: list[int], seed: int) -> dict[str, str]:
        vqa.questions["questions"] = [vqa.question(number, 1) for number in order]
        vqa.annotations["annotations"] = [vqa.annotation(number, 1) for number in order]
        return {sample.id: sample.messages[1].text for sample in vqa.read(target="sampled", seed=seed)}

    assert targets(numbers, 0) == targets(numbers[::-1], 0)
    assert targets(numbers, 0) != targets(numbers, 1)


def test_nothing_is_never_sampled(vqa: Vqa) -> None:
    for note in vqa.annotations["annotations"]:
        note["answers"] = [{"answer": "two "}] + [{"answer": " "}] * 9
    assert {sample.messages[1].text for sample in vqa.read(target="sampled")} == {"two"}


def test_other_fields_are_not_looked_at(vqa: Vqa) -> None:
    vqa.questions |= {"info": None, "task_type": 3}
    vqa.first.update(confidence=[])
    assert len(vqa.read()) == 3


def test_other_numbers_of_answers_have_to_be_said(vqa: Vqa) -> None:
    for note in vqa.annotations["annotations"]:
        note["answers"] = note["answers"][:3]
    assert vqa.read(answers=3)[0].answers == (("two",) * 3,)


IDS = r"annotation 0 \(question_id 20, image_id 2\)"


@pytest.mark.parametrize("number", [0, 9, 11])
def test_nine_or_eleven_answers_are_an_error(vqa: Vqa, number: int) -> None:
    vqa.first["answers"] = (vqa.first["answers"] * 2)[:number]
    told = rf"annotations\.json, {IDS}, answers: expected 10 human answers, got {number}; .* set answers={number}"
    with pytest.raises(DataError, match=told):
        vqa.read()


def test_answers_that_all_say_nothing_are_an_error(vqa: Vqa) -> None:
    vqa.first["answers"] = [{"answer": " "}] * 10
    with pytest.raises(DataError, match=rf"{IDS}, answers: all 10 human answers are empty"):
        vqa.read()


def test_a_question_without_annotation_is_an_error(vqa: Vqa) -> None:
    del vqa.annotations["annotations"][2]
    told = r"questions\.json, question 1 \(question_id 11, image_id 1\): .*annotations\.json has no annotation"
    with pytest.raises(DataError, match=told):
        vqa.read()


def test_an_annotation_without_question_is_an_error(vqa: Vqa) -> None:
    vqa.questions["questions"] = vqa.questions["questions"][:2]
    with pytest.raises(
        DataError, match=rf"{IDS}: .*questions\.json has no such question; annotations without question"
    ):
        vqa.read()


def test_a_question_and_an_annotation_of_different_images_are_an_error(vqa: Vqa) -> None:
    vqa.first["image_id"] = 1
    told = (
        r"annotation 0 \(question_id 20, image_id 1\), image_id: .*question 2 \(question_id 20, image_id 2\).*another"
    )
    with pytest.raises(DataError, match=told):
        vqa.read()


@pytest.mark.parametrize("read", [Vqa.read, lambda vqa: read_vqa_questions(vqa.files()[0], vqa.images)])
def test_a_missing_image_is_an_error(vqa: Vqa, read: Callable[[Vqa], Any]) -> None:
    (vqa.images / "COCO_val2014_000000000002.jpg").unlink()
    told = r"1 of 2 media files.*\n.*question 2 \(question_id 20, image_id 2\): .*000000000002\.jpg: no such file"
    with pytest.raises(DataError, match=told):
        read(vqa)


def test_a_question_id_twice_is_an_error(vqa: Vqa) -> None:
    vqa.questions["questions"][2]["question_id"] = 10
    with pytest.raises(DataError, match=r"question 2: question_id 10 is also the id of question 0"):
        vqa.read()


def test_an_annotation_twice_is_an_error(vqa: Vqa) -> None:
    vqa.annotations["annotations"].append(vqa.annotation(20, 2))
    with pytest.raises(DataError, match=rf"annotation 3 .*: the same question_id as .*{IDS}"):
        vqa.read()


@pytest.mark.parametrize("which", ["questions", "annotations"])
@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([], r'expected \{"KEY": \[\.\.\.\], \.\.\.\}, got a list'),
        ({"other": []}, r"KEY.*got an object with \['other'\]"),
        ({"KEY": {}}, r"expected \{\"KEY\""),
        ({"KEY": []}, r"KEY: expected at least one entry, got an empty list"),
        ({"KEY": [7]}, r"KEY\[0\]: expected an object, got 7"),
        (None, "got null"),
    ],
)
def test_another_shape_of_a_file_is_an_error(vqa: Vqa, which: str, document: Any, told: str) -> None:
    if isinstance(document, dict):
        document = {key.replace("KEY", which): value for key, value in document.items()}
    setattr(vqa, which, document)
    with pytest.raises(DataError, match=rf"{which}\.json.*{told.replace('KEY', which)}"):
        vqa.read()


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("question_id", "20", r"question 2, question_id: expected a whole number from 0, got '20'"),
        ("question_id", True, "got True"),
        ("question_id", None, "got None"),
        ("image_id", -1, r"question 2, image_id: .*got -1"),
        ("image_id", 2.0, r"got 2\.0"),
        ("question", None, r"question 2 \(question_id 20, image_id 2\), question: expected text, got None"),
        ("question", " ", "nothing but white space"),
        ("question", "\ud800", "surrogate"),
    ],
)
def test_a_wrong_field_of_a_question_is_an_error(vqa: Vqa, field: str, value: Any, told: str) -> None:
    vqa.questions["questions"][2][field] = value
    with pytest.raises(DataError, match=told):
        vqa.read()


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("question_id", "20", r"annotation 0, question_id: expected a whole number"),
        ("image_id", None, r"annotation 0 \(question_id 20, image_id None\), image_id: expected a whole number"),
        ("answers", None, rf"{IDS}, answers: expected a list, got None"),
        ("answers", ["two"] * 10, rf"{IDS}, answers\[0\]: expected an object, got text"),
        ("answers", [{"answer": 2}] * 10, rf"{IDS}, answers\[0\], answer: expected text, got 2"),
        ("multiple_choice_answer", None, rf"{IDS}, multiple_choice_answer: expected text"),
        ("multiple_choice_answer", "", "multiple_choice_answer: expected some text"),
        ("answer_type", None, rf"{IDS}, answer_type: expected text"),
    ],
)
def test_a_wrong_field_of_an_annotation_is_an_error(vqa: Vqa, field: str, value: Any, told: str) -> None:
    vqa.first[field] = value
    with pytest.raises(DataError, match=told):
        vqa.read()


def test_a_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.json: cannot be read"):
        read_vqa_questions(tmp_path / "gone.json", tmp_path)


def test_questions_alone_have_no_answers(vqa: Vqa) -> None:
    asked = read_vqa_questions(vqa.files()[0], vqa.images)
    assert list(asked) == [10, 11, 20]
    assert asked[20].prompt == vqa.read()[2].messages[:1]
    assert (asked[20].reference, asked[20].answers) == ("", ())


@pytest.mark.parametrize("pattern", [*PATTERNS, "COCO_mini7_%012d.jpg"])
def test_the_names_of_the_images_are_found(tmp_path: Path, pattern: str) -> None:
    (tmp_path / image_name(pattern, 30)).touch()
    assert find_pattern(tmp_path, [10, 30], "mini7") == pattern


def test_the_files_own_split_is_tried_first(tmp_path: Path) -> None:
    for pattern in PATTERNS:
        (tmp_path / image_name(pattern, 1)).touch()
    assert find_pattern(tmp_path, [1], "val2014") == "COCO_val2014_%012d.jpg"
    assert find_pattern(tmp_path, [1], "../%d") == PATTERNS[0]


def test_a_folder_of_other_images_is_an_error(vqa: Vqa) -> None:
    for number in (1, 2):
        (vqa.images / f"COCO_val2014_{number:012d}.jpg").rename(vqa.images / f"{number}.jpeg")
    with pytest.raises(
        DataError, match=r"none of the first 2 images \(image_id 1, 2, \.\.\.\).*%d\.jpg.*give pattern="
    ):
        vqa.read()
    assert len(vqa.read(pattern="%d.jpeg")) == 3


@pytest.mark.parametrize("pattern", ["1.jpg", "%d%d.jpg", "%s.jpg", "%d%%.jpg", "../%d.jpg", "/%d.jpg", "%0999d.jpg"])
def test_a_pattern_has_one_number_and_stays_in_the_folder(vqa: Vqa, pattern: str) -> None:
    with pytest.raises(DataError, match="pattern: "):
        vqa.read(pattern=pattern)


def test_the_result_file_is_the_official_one(tmp_path: Path) -> None:
    write_vqa_results(tmp_path / "results.json", {20: "two", 10: "caf\u00e9"}, questions=[10, 20])
    assert json.loads((tmp_path / "results.json").read_text()) == [
        {"question_id": 20, "answer": "two"},
        {"question_id": 10, "answer": "caf\u00e9"},
    ]


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({10: "a"}, "expected an answer to each of 2 questions; 1 are missing ([20]), 0 have an unknown id"),
        ({10: "a", 20: "b", 30: "c"}, "0 are missing ([]), 1 have an unknown id ([30])"),
        ({"10": "a"}, "question_id: expected a whole number from 0, got '10'"),
        ({10: None}, "question_id 10, answer: expected text, got None"),
    ],
)
def test_results_that_the_server_would_refuse_are_not_written(tmp_path: Path, answers: Any, told: str) -> None:
    path = tmp_path / "results.json"
    path.write_text("old")
    with pytest.raises(DataError, match=re.escape(told)):
        write_vqa_results(path, answers, questions=[10, 20])
    assert path.read_text() == "old"
