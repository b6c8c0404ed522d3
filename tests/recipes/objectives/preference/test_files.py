"""Preference tuning on files of several formats equals that on the same samples built in Python."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from preference_stages import stage_of
from step_ways import assert_same, way

from inlay.recipes.data.load import load_data
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.data.usable_rows import usable_rows
from inlay.recipes.objectives.plan import Task
from inlay.recipes.objectives.preference.settings import Preference
from inlay.recipes.settings.run import DataSettings

Row = dict[str, Any]


def texts(row: Sample) -> tuple[str, str, str]:
    """Question, better and worse answer."""
    worse = row.rejected[-1].text if row.rejected else ""
    return row.messages[0].text, row.messages[-1].text, worse


def picture(messages: Any) -> Path:
    return Path(messages[0].content[0].source)


def trl(row: Sample) -> Row:
    asked, better, worse = texts(row)
    said = [[{"role": "assistant", "content": [{"type": "text", "text": text}]}] for text in (better, worse)]
    content = [{"type": "image"}, {"type": "text", "text": asked}]
    prompt = [{"role": "user", "content": content}]
    return {"images": [picture(row.messages).name], "prompt": prompt, "chosen": said[0], "rejected": said[1]}


def swift(row: Sample) -> Row:
    asked, better, worse = texts(row)
    turns = [{"role": "user", "content": f"<image>{asked}"}, {"role": "assistant", "content": better}]
    return {"messages": turns, "images": [picture(row.messages).name], "rejected_response": worse}


def swift_media(row: Sample) -> Row:
    """With the medium of the worse side, which here is the same."""
    return swift(row) | {"rejected_images": [picture(row.messages).name]}


def rlaif_v(row: Sample) -> Row:
    asked, better, worse = texts(row)
    image = {"bytes": picture(row.messages).read_bytes(), "path": "x.png"}
    return {"image": image, "question": asked, "chosen": better, "rejected": worse}


def trl_bytes(row: Sample) -> Row:
    return trl(row) | {"images": [{"bytes": picture(row.messages).read_bytes(), "path": "x.png"}]}


def symmpo(row: Sample) -> Row:
    asked, better, worse = texts(row)
    own = {"question": asked, "w": better, "l": worse, "y2": row.similar[-1].text}
    return own | {"image_1": picture(row.messages).name, "image_2": picture(row.similar).name}


def trl_labels(row: Sample) -> Row:
    asked, answer, _ = texts(row)
    return {"image": picture(row.messages).name, "prompt": asked, "completion": answer, "label": row.desirable}


@pytest.fixture
def from_file(tmp_path: Path) -> Callable[..., Sequence[Sample]]:
    def make(samples: Sequence[Sample], row_of: Callable[[Sample], Row], suffix: str) -> Sequence[Sample]:
        rows = [{"id": sample.id, **row_of(sample)} for sample in samples]
        path = tmp_path / f"train.{suffix}"
        if suffix == "parquet":
            import datasets

            datasets.Dataset.from_list(rows).to_parquet(str(path))
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return load_data(DataSettings(train=path))["train"]

    return make


@pytest.fixture
def trained(backbone_of: Any, adapter_of: Any, tmp_path: Path) -> Callable[..., Any]:
    """Gradients of three steps on some samples, after the checks before the first step."""

    def train(samples: Sequence[Sample], loss: str, name: str) -> Any:
        stage = stage_of(Preference(loss=loss), epochs=3.0)

        def made(stage: Any) -> Any:
            torch.manual_seed(3)
            backbone = backbone_of()
            model = adapter_of(backbone).attach(backbone)
            rows = usable_rows({"train": samples}, {"prefer": stage}, model, seed=7, invalid="raise")["train"]
            task = Task(stage=stage, model=model, sets=[rows], seed=7, show=lambda _: None)
            plan: Any = stage.objective.plan(task)
            return plan.module, plan.data, backbone.llm.tokenizer

        return way(made, stage, 1, 1, tmp_path / name, sgd=True, short=0)

    return train


@pytest.mark.parametrize("loss", ["mdpo", "rpo"])
def test_media_in_memory_have_one_other_medium_and_one_reference(
    trained: Any, from_file: Any, pairs: list[Sample], loss: str
) -> None:
    assert_same(trained(pairs, loss, "python"), trained(from_file(pairs, trl_bytes, "parquet"), loss, "file"))


@pytest.mark.parametrize(
    ("row_of", "suffix"),
    [
        (trl, "jsonl"),
        (swift, "jsonl"),
        (swift_media, "jsonl"),
        (trl, "parquet"),
        (swift, "parquet"),
        (rlaif_v, "parquet"),
        (trl_bytes, "parquet"),
    ],
)
def test_pairs_of_a_file_train_as_those_built_in_python(
    trained: Any, from_file: Any, pairs: list[Sample], row_of: Any, suffix: str
) -> None:
    assert_same(trained(pairs, "sigmoid", "python"), trained(from_file(pairs, row_of, suffix), "sigmoid", "file"))


def test_second_media_of_a_file_train_as_those_built_in_python(
    trained: Any, from_file: Any, with_second: list[Sample]
) -> None:
    read = from_file(with_second, symmpo, "jsonl")
    assert_same(trained(with_second, "symmpo", "python"), trained(read, "symmpo", "file"))


def test_labels_of_a_file_train_as_those_built_in_python(trained: Any, from_file: Any, labelled: list[Sample]) -> None:
    assert_same(trained(labelled, "kto", "python"), trained(from_file(labelled, trl_labels, "jsonl"), "kto", "file"))


def test_other_answers_train_otherwise(trained: Any, from_file: Any, pairs: list[Sample]) -> None:
    def swapped(row: Sample) -> Row:
        own = trl(row)
        return own | {"chosen": own["rejected"], "rejected": own["chosen"]}

    with pytest.raises(AssertionError):
        assert_same(trained(pairs, "sigmoid", "python"), trained(from_file(pairs, swapped, "jsonl"), "sigmoid", "file"))
