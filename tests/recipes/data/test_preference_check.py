"""Rows of a stage against its objective: preferences or plain conversations, equal answers, labels of one kind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from preference_stages import stage_of
from stages import stage_from
from tokenizers import normalizers

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.recipes.data.formats.read import read_rows
from inlay.recipes.data.preference_check import fitting
from inlay.recipes.data.row_check import RowCheck
from inlay.recipes.data.rows.sample import DataError, Sample, questions_of
from inlay.recipes.data.usable_rows import usable_rows
from inlay.recipes.objectives.policy_gradient.settings import Grpo
from inlay.recipes.objectives.preference.settings import Preference
from inlay.recipes.settings.stage import Stage
from inlay.recipes.training.validation import validation_samples


def said(text: str) -> Message:
    return Message("assistant", (TextPart(text),))


def pair(better: str, worse: str, name: str = "a") -> Sample:
    asked = Message("user", (TextPart("what?"),))
    return Sample(name, (asked, said(better)), f"train.json, item {name}", rejected=(asked, said(worse)))


def plain(answer: str, name: str = "a") -> Sample:
    return replace(pair(answer, "", name), rejected=())


def label(good: bool, name: str = "a") -> Sample:
    return replace(plain("a disc", name), desirable=good)


LR = {"inputs": 1e-3, "lora": 1e-3}
PLAIN = stage_from(data="train", template="vicuna_v1", geometry="pad", lr=LR, batch_size=2)
PAIRS, LABELS = stage_of(Preference()), stage_of(Preference(loss="kto"))


@pytest.fixture
def model(backbone_of: Any, adapter_of: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Its tokenizer is uncased, so that different texts may be equal tokens."""
    backbone = backbone_of()
    backend = backbone.llm.tokenizer.backend_tokenizer
    before = [] if backend.normalizer is None else [backend.normalizer]
    monkeypatch.setattr(backend, "normalizer", normalizers.Sequence([*before, normalizers.Lowercase()]))
    return adapter_of(backbone).attach(backbone)


def usable(model: Any, stage: Stage, rows: Any, invalid: Any = "raise", **options: Any) -> list[str]:
    kept = usable_rows({"train": rows}, {"prefer": stage}, model, seed=0, invalid=invalid, **options)
    return [row.id for row in kept["train"]]


@pytest.mark.parametrize(
    ("stage", "row", "message"),
    [
        (
            PLAIN,
            pair("a disc", "a ring"),
            "stage prefer: the objective next_token trains on plain conversations, but train.json has pairs of a better"
            " and a worse answer; .*--stages.prefer.objective.name preference",
        ),
        (
            PLAIN,
            label(True),
            "next_token trains on plain conversations, but train.json has single answers with a label",
        ),
        (PAIRS, plain("a disc"), "preference trains on pairs of a better and a worse answer, but train.json has plain"),
        (
            PAIRS,
            label(True),
            "preference trains on pairs .* but train.json has single answers with a label, .*loss kto",
        ),
        (LABELS, pair("a disc", "a ring"), "trains on single answers with a label, .* but train.json has pairs"),
        (LABELS, plain("a disc"), "trains on single answers with a label, .* but train.json has plain conversations"),
    ],
)
@pytest.mark.parametrize("invalid", ["raise", "skip"])
def test_data_of_another_kind_are_refused_in_a_sentence(
    model: Any, stage: Stage, row: Sample, message: str, invalid: Any
) -> None:
    with pytest.raises(DataError, match=message):
        usable(model, stage, [row] * 3, invalid)


def test_the_objectives_on_rewards_read_plain_conversations(model: Any) -> None:
    with pytest.raises(DataError, match="objective grpo trains on plain conversations"):
        usable(model, replace(PLAIN, objective=Grpo()), [pair("a disc", "a ring")])


def test_single_rows_of_another_kind_are_invalid_rows(model: Any) -> None:
    rows = [pair("a disc", "a ring"), replace(plain("a disc"), id="b", origin="train.json, item 7")]
    with pytest.raises(DataError, match=r"train\.json, item 7: stage prefer: expected pairs of a better and a worse"):
        usable(model, PAIRS, rows)
    assert usable(model, PAIRS, rows, "skip", show=lambda _: None) == ["a"]


def test_answers_that_are_equal_as_tokens_are_invalid_rows(model: Any) -> None:
    rows = [pair("a disc", "a ring", "1"), pair("a disc", "A Disc", "2")]
    with pytest.raises(DataError, match="item 2: stage prefer: chosen and rejected are the same tokens"):
        usable(model, PAIRS, rows)
    assert usable(model, PAIRS, rows, "skip", show=lambda _: None) == ["1"]


def test_equal_answers_about_two_media_are_a_pair(model: Any) -> None:
    first, second = (
        Message("user", (MediaPart("image", Path(f"{number}.png")), TextPart("what?"))) for number in range(2)
    )
    row = replace(pair("a disc", "a disc"), messages=(first, said("a disc")), rejected=(second, said("a disc")))
    assert usable(model, PAIRS, [row]) == ["a"]


@pytest.mark.parametrize("good", [True, False])
def test_labels_of_one_kind_are_warned_about(model: Any, good: bool) -> None:
    shown: list[str] = []
    usable(model, LABELS, [label(good), label(good, "b")], show=shown.append)
    assert any(f"all answers are labelled {'' if good else 'un'}desirable" in line for line in shown)
    shown.clear()
    usable(model, LABELS, [label(good), label(not good, "b")], show=shown.append)
    assert not shown


@pytest.mark.parametrize("side", ["rejected", "similar"])
def test_a_side_that_is_longer_than_the_context_is_named(model: Any, side: str) -> None:
    long = (Message("user", (TextPart("what?"),)), said("a disc " * 3000))
    row = replace(pair("a disc", "a ring"), **{side: long})
    with pytest.raises(DataError, match=r"train.json, item a: stage prefer: .*context"):
        usable(model, PAIRS, [row])


def test_the_length_of_a_pair_is_that_of_its_longer_side(model: Any, tmp_path: Path) -> None:
    check = RowCheck(model, PAIRS.layout)
    rows = [pair("a disc", "a ring" * 40), pair("a ring" * 40, "a disc", "b"), pair("a disc", "a ring", "c")]
    assert check.longest_text(rows[:1]) == check.longest_text(rows[1:2]) > check.longest_text(rows[2:])
    path = tmp_path / "train.jsonl"
    texts = [{"prompt": "what?", "chosen": row.messages[1].text, "rejected": row.rejected[1].text} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in texts))
    read: Any = read_rows(path, None)
    for name in ("bytes", "characters"):
        first, second, third = read.column(name)
        assert first == second > third
    assert check.longest_text(read) == check.longest_text(rows)


def test_pairs_of_a_file_are_checked_as_those_in_memory(model: Any, tmp_path: Path) -> None:
    texts = [("a disc", "a ring"), ("a disc " * 3000, "a ring"), ("a disc", "a ring " * 3000), ("a disc", "A Disc")]
    path = tmp_path / "train.jsonl"
    rows = [{"id": str(n), "prompt": "what?", "chosen": one, "rejected": two} for n, (one, two) in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = read_rows(path, None)
    shown: list[str] = []
    assert usable(model, PAIRS, read, "skip", show=shown.append) == ["0"]
    assert usable(model, PAIRS, list(read), "skip", show=shown.append) == ["0"]


def test_all_pairs_of_one_row_can_be_left_out_alone(model: Any, tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "what?"}, {"role": "assistant", "content": "a disc"}]
    row = {"id": "7", "messages": messages, "rejected_response": ["a ring", "A Disc", "a dog"]}
    (tmp_path / "train.jsonl").write_text(json.dumps(row) + "\n")
    assert usable(model, PAIRS, read_rows(tmp_path / "train.jsonl", None), "skip") == ["7/1", "7/3"]


def test_held_out_rows_of_another_kind_are_not_validated(model: Any) -> None:
    samples = {"test": [plain("a disc"), pair("a disc", "a ring", "b"), label(True, "c")]}
    for stage, name in ((PLAIN, "a"), (PAIRS, "b"), (LABELS, "c")):
        assert [row.id for row in validation_samples(stage, samples, 10, model)] == [name]
        assert [row.id for row in fitting(samples["test"], stage.objective.reads)] == [name]


def test_an_undesirable_answer_is_no_reference() -> None:
    assert not questions_of(label(False))
    assert [question.reference for question in questions_of(label(True))] == ["a disc"]
