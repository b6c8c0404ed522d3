"""Export the miniature's data in VQA v2's format: `python -m inlay.recipes.commands.export_vqa --output DIR --seed 0`.

    DIR/images/1.png ...          the pictures, named by their numbers
    DIR/captions_train.json       COCO captions of the training pictures
    DIR/questions_train.json      questions about them, and
    DIR/annotations_train.json    ten human-like answers to each
    DIR/captions_val.json, DIR/questions_val.json, DIR/annotations_val.json: the same for held-out pictures

The files have all fields of those of https://visualqa.org and https://cocodataset.org, for testing code that reads
them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from inlay.adapters.conversation.messages import media_of
from inlay.adapters.media.image import load_image
from inlay.recipes.data.formats.llava import read_llava
from inlay.recipes.data.preparation.stage_samples import apart
from inlay.recipes.data.rows.sample import Sample, questions_of
from inlay.recipes.data.rows.write import write_text
from inlay.recipes.miniature.datasets.pictures import build
from inlay.recipes.miniature.world.questions import Question, human_answers

__all__ = ["answer_type", "export_vqa", "write_captions", "write_vqa"]

NO_QUESTION = "instruction"
"""Turns of this kind ask for a sentence, VQA for a word or two."""


@dataclass(frozen=True)
class _Split:
    name: str
    captions: str
    questions: str


SPLITS = (_Split("train", "align", "train"), _Split("val", "align_test", "test"))


def export_vqa(output: Path, seed: int = 0, **sizes: int) -> None:
    """Generate the data and write them; the same seed and sizes give the same bytes.

    Args:
        output: the output folder.
        seed: seed of the pictures and of the simulated human answers.
        sizes: ``scenes``, ``test_scenes``, ``digits``, ``test_digits`` of the miniature's builder.

    Raises:
        DataError: a file cannot be written.
    """
    images = output / "images"
    images.mkdir(parents=True, exist_ok=True)
    rng = Random(f"{seed} people")
    with tempfile.TemporaryDirectory() as folder:
        world = Path(folder)
        build(world, seed, **sizes)
        numbers: dict[str, int] = {}
        for split in SPLITS:
            captioned, asked = (
                read_llava(world / f"{name}.json", world / "images") for name in (split.captions, split.questions)
            )
            _copy([*captioned, *asked], numbers, images)
            write_captions(output / f"captions_{split.name}.json", captioned, numbers)
            files = (output / f"questions_{split.name}.json", output / f"annotations_{split.name}.json")
            write_vqa(*files, asked, numbers, rng, split.name)


def write_vqa(
    questions: Path, annotations: Path, samples: Iterable[Sample], numbers: Mapping[str, int], rng: Random, subtype: str
) -> None:
    """Write dialogues about pictures as VQA v2's two files; each turn with a short answer is a question.

    Args:
        questions: the file of the questions.
        annotations: the file of the answers.
        samples: samples of one picture; without human answers, ten are simulated from the true one.
        numbers: path of a picture -> its number.
        rng: random generator of the simulated answers.
        subtype: name of the split.
    """
    asked: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    for sample in samples:
        number = numbers[_picture(sample)]
        turns = [turn for row in apart(sample) for turn in questions_of(row) if turn.kind != NO_QUESTION]
        for place, turn in enumerate(turns):
            identity = {"question_id": number * 100 + place, "image_id": number}
            truth = Question(turn.kind, turn.prompt[-1].text, turn.reference)
            said = turn.answers if len(turn.answers) > 1 else human_answers(truth, rng)
            asked.append({**identity, "question": truth.text})
            notes.append(
                {
                    **identity,
                    "question_type": truth.kind,
                    "answer_type": answer_type(truth.answer),
                    "multiple_choice_answer": truth.answer,
                    "answers": [
                        {"answer_id": person, "answer": answer, "answer_confidence": "yes"}
                        for person, answer in enumerate(said, 1)
                    ],
                }
            )
    shared = {"info": {"description": "inlay miniature world"}, "data_type": "miniature", "data_subtype": subtype}
    _write(questions, {**shared, "task_type": "Open-Ended", "questions": asked})
    _write(annotations, {**shared, "annotations": notes})


def write_captions(path: Path, samples: Sequence[Sample], numbers: Mapping[str, int]) -> None:
    """Write COCO captions of pictures with one caption each."""
    listed = [{"id": numbers[_picture(sample)], "file_name": f"{numbers[_picture(sample)]}.png"} for sample in samples]
    notes = [
        {"id": number, "image_id": picture["id"], "caption": sample.messages[-1].text}
        for number, (picture, sample) in enumerate(zip(listed, samples, strict=True), 1)
    ]
    _write(path, {"info": {"description": "inlay miniature world"}, "images": listed, "annotations": notes})


def answer_type(answer: str) -> str:
    """The answer type in the official evaluation.

    Example:
        >>> [answer_type(answer) for answer in ("yes", "3", "red")]
        ['yes/no', 'number', 'other']
    """
    return "yes/no" if answer in ("yes", "no") else "number" if answer.isdigit() else "other"


def _copy(samples: Iterable[Sample], numbers: dict[str, int], images: Path) -> None:
    """Number new pictures, and write them as PNG."""
    for sample in samples:
        if (picture := _picture(sample)) not in numbers:
            numbers[picture] = len(numbers) + 1
            load_image(picture).save(images / f"{numbers[picture]}.png")


def _picture(sample: Sample) -> str:
    (part,) = media_of(sample.messages)
    return str(part.source)


def _write(path: Path, document: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(document, indent=1) + "\n")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    for name, count in (("scenes", 3000), ("test-scenes", 700), ("digits", 700), ("test-digits", 100)):
        parser.add_argument(f"--{name}", type=int, default=count)
    options = vars(parser.parse_args())
    export_vqa(options.pop("output"), options.pop("seed"), **options)


if __name__ == "__main__":
    main()
