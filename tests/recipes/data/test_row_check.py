"""Rows against the model before the first step: context, modalities, and what a stage trains."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stages import stage_from

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.core.encode import Limit
from inlay.recipes.data.formats.jsonl import read_messages_jsonl
from inlay.recipes.data.row_check import RowCheck
from inlay.recipes.data.rows.offenders import Offender
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.rows.tables import reading
from inlay.recipes.data.rows.tables.samples import Samples
from inlay.recipes.data.rows.tables.side_notes import SideNotes
from inlay.recipes.data.usable_rows import usable_rows
from inlay.recipes.settings.stage import Stage
from inlay.recipes.systems import nextgpt

LR = {"inputs": 1e-3, "outputs": 1e-3, "tokens": 1e-3, "lora": 1e-3}


def stage(**fields: Any) -> Stage:
    own: dict[str, Any] = {"data": "train", "template": "vicuna_v1", "geometry": "crop", "lr": LR, "batch_size": 2}
    return stage_from(**(own | fields))


def dialogue(asked: str, said: str, *media: MediaPart, name: str = "a") -> Sample:
    messages = (Message("user", (*media, TextPart(asked))), Message("assistant", (TextPart(said),)))
    return Sample(name, messages, f"train.json, item {name}")


@pytest.fixture
def model(senses_of: Any) -> Any:
    return senses_of().model


def test_the_shortcuts_and_the_encoder_agree(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    check = RowCheck(model, stage().layout)
    texts = ["a disc " * count for count in (1, 50, 100, 150, 300, 1000)] + ["\u00e9" * 200, "\n\n", "</s>" * 90]
    rows = [(Message("user", (TextPart(text),)), Message("assistant", (TextPart(text + "."),))) for text in texts]
    exact: list[Any] = []
    encode = check._exact
    monkeypatch.setattr(check, "_exact", lambda row: exact.append(row) or encode(row))
    told = check.problems(rows)
    assert len(exact) < len(rows)
    assert 0 < sum(map(bool, told)) < len(rows)
    for row, problem in zip(rows, told, strict=True):
        assert problem == encode(row)


def test_a_row_longer_than_the_context_is_named_before_training(model: Any, tmp_path: Path) -> None:
    rows = {"train": [dialogue("what?", "a disc"), dialogue("what?", "a disc " * 2000, name="7")]}
    report = tmp_path / "invalid.jsonl"
    with pytest.raises(DataError, match=r"train\.json, item 7: stage one: .* are more than the context"):
        usable_rows(rows, {"one": stage()}, model, seed=0, invalid="raise", report=report)
    assert json.loads(report.read_text())["where"] == "train.json, item 7"


def test_it_can_be_skipped_and_the_list_holds_what_was_left_out_before(model: Any, tmp_path: Path) -> None:
    shared = [dialogue("what?", "a disc"), dialogue("what?", "a disc " * 2000, name="7")]
    report, before = tmp_path / "run" / "invalid.jsonl", [Offender("train.json, item 3", "bad")]
    kept = usable_rows(
        {"train": shared, "align": shared},
        {"one": stage()},
        model,
        seed=0,
        invalid="skip",
        left_out=before,
        report=report,
    )
    assert [row.id for row in kept["train"]] == ["a"]
    assert kept["align"] is kept["train"]
    assert [json.loads(line)["where"][-6:] for line in report.read_text().splitlines()] == ["item 3", "item 7"]


def test_a_held_out_question_that_is_too_long_is_named_too(model: Any) -> None:
    rows = {"train": [dialogue("what?", "a disc")], "test": [dialogue("what? " * 2000, "a disc", name="9")]}
    with pytest.raises(DataError, match=r"item 9: .*more than the context"):
        usable_rows(rows, {"one": stage()}, model, seed=0, invalid="raise")


def test_a_modality_without_encoder_is_named(senses_of: Callable[..., Any]) -> None:
    model = senses_of(modalities=("image",)).model
    rows = {"train": [dialogue("what?", "a disc", MediaPart("audio", Path("a.wav")))]}
    with pytest.raises(DataError, match="a medium of type 'audio'"):
        usable_rows(rows, {"one": stage()}, model, seed=0, invalid="raise")


@pytest.mark.parametrize(("lr", "kind"), [({"inputs": 1e-3}, "audio"), ({"outputs.video": 1e-3}, "video")])
def test_a_stage_whose_data_reach_none_of_its_parts_is_an_error(model: Any, lr: dict[str, float], kind: str) -> None:
    rows = {"train": [dialogue("what?", "a disc")]}
    with pytest.raises(DataError, match=f"stage one trains only .*, but no row .*{kind}"):
        usable_rows(rows, {"one": stage(lr=lr)}, model, seed=0, invalid="raise")
    assert usable_rows(rows, {"one": stage(lr=LR)}, model, seed=0, invalid="raise") == rows


def test_a_shared_projector_is_reached_by_any_of_its_media(model: Any) -> None:
    rows = {"train": [dialogue("what?", "a disc", MediaPart("audio", Path("a.wav")))]}
    assert usable_rows(rows, {"one": stage(lr={"inputs": 1e-3})}, model, seed=0, invalid="raise") == rows


@pytest.fixture
def written(
    model: Any, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """Samples of a file, with a check that is kept; row 7 is too long, row 9 has more bytes than the context."""
    near = model.backbone.llm.context // 6
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("hf")))
    monkeypatch.setattr(reading, "KEPT_SECONDS", 0.0)
    rows = []
    for number in range(12):
        asked = "what? " * (2000 if number == 7 else near if number == 9 else 1)
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": "a disc"}]
        rows.append({"id": str(number), "messages": turns})
    (tmp_path / "a.json").write_text(json.dumps(rows))
    return lambda: read_messages_jsonl(tmp_path / "a.json", None)


def skipped(rows: Any, model: Any, seed: int = 0) -> list[str]:
    kept = usable_rows({"train": rows}, {"one": stage()}, model, seed=seed, invalid="skip")["train"]
    return [row.id for row in kept]


def test_rows_of_a_file_are_kept_and_left_out_as_rows_in_memory_are(model: Any, written: Any) -> None:
    rows = written()
    assert skipped(rows, model) == skipped(list(rows), model) == [str(n) for n in range(12) if n != 7]
    assert isinstance(usable_rows({"train": rows}, {"one": stage()}, model, seed=0, invalid="skip")["train"], Samples)


def test_most_rows_fit_by_facts_alone_and_the_others_are_measured(
    model: Any, written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []
    problems = RowCheck.problems
    monkeypatch.setattr(RowCheck, "problems", lambda self, rows: measured.append(len(rows)) or problems(self, rows))
    rows = written()
    sure = RowCheck(model, stage().layout).certain(rows)
    assert np.flatnonzero(~sure).tolist() == [7, 9]
    assert skipped(rows, model) == skipped(rows, model)
    assert measured == [2]  # the second time from the cache


def test_facts_promise_no_more_than_the_encoder_holds(model: Any, tmp_path: Path) -> None:
    """Texts of growing length, with and without media: a row that certainly fits is encoded without an error."""
    rows = []
    for number in range(0, 400, 7):
        said = ("\u00e9 a" * number)[:number] + "."
        turns = [{"role": "user", "content": said}, {"role": "assistant", "content": "b"}] * (1 + number % 3)
        rows.append({"id": str(number), "messages": turns} | ({"images": ["a.png"]} if number % 2 else {}))
    (tmp_path / "a.json").write_text(json.dumps(rows))
    samples, check = read_messages_jsonl(tmp_path / "a.json", tmp_path), RowCheck(model, stage().layout)
    sure = check.certain(samples)
    assert 0 < sure.sum() < len(samples)
    for fits, sample in zip(sure, samples, strict=True):
        assert not (fits and check._exact(sample.messages))


def test_another_tokenizer_or_layout_is_measured_again(model: Any, written: Any) -> None:
    rows = written()
    notes = [
        SideNotes(rows, [RowCheck(model, stage(template=template).layout, generation=asked).facts()]).path
        for template in ("vicuna_v1", "plain")
        for asked in (False, True)
    ]
    assert None not in notes
    assert len(set(notes)) == 4


def test_every_stage_of_nextgpt_accepts_the_rows_it_is_made_for(senses_of: Any) -> None:
    senses = senses_of()
    stages = {"instruct": replace(nextgpt.recipe().stages["instruct"], data="train")}
    assert usable_rows({"train": senses.samples}, stages, senses.model, seed=0, invalid="raise")["train"]


LONG_ROW = dialogue("what?", "a disc " * 60, name="7")


def test_a_limit_of_the_data_is_named_as_one(model: Any) -> None:
    model.limit = Limit(40)
    with pytest.raises(DataError, match=r"item 7: stage one: .* more than the limit of 40"):
        usable_rows({"train": [dialogue("what?", "a"), LONG_ROW]}, {"one": stage()}, model, seed=0, invalid="raise")


def test_long_rows_are_left_out_with_one_line_though_invalid_rows_raise(model: Any) -> None:
    model.limit, lines = Limit(40), list[str]()
    rows = {"train": [dialogue("what?", "a"), LONG_ROW, replace(LONG_ROW, id="8")]}
    options: dict[str, Any] = {"seed": 0, "invalid": "raise", "too_long": "skip", "show": lines.append}
    kept = usable_rows(rows, {"one": stage()}, model, **options)
    assert [row.id for row in kept["train"]] == ["a"]
    [line] = lines
    assert line.startswith(
        "left out: 2 row(s) that are too long (--data.too_long skip); first: train.json, item 7: stage"
    )


def test_another_fault_still_raises_where_long_rows_are_left_out(model: Any) -> None:
    model.limit = Limit(40)
    rows = {"train": [dialogue("what?", "a"), LONG_ROW, dialogue("what?", " ", name="9")]}
    with pytest.raises(DataError, match=r"1 row\(s\) .*\n.*item 9"):
        usable_rows(rows, {"one": stage()}, model, seed=0, invalid="raise", too_long="skip")


def test_long_rows_are_cut_and_counted_in_one_line(model: Any) -> None:
    model.limit, lines = Limit(40, cut=True), list[str]()
    late = Sample(
        "m", (*LONG_ROW.messages, *dialogue("and?", "b", MediaPart("image", Path("a.png"))).messages), "item m"
    )
    options: dict[str, Any] = {"seed": 0, "invalid": "raise", "too_long": "cut", "show": lines.append}
    kept = usable_rows({"train": [dialogue("what?", "a"), LONG_ROW, late]}, {"one": stage()}, model, **options)
    assert [row.id for row in kept["train"]] == ["a", "7"]
    assert lines[0] == "stage one: 1 row(s) are too long and are cut at their end (--data.too_long cut)"
    assert lines[1].startswith("left out: 1 row(s) that are too long (--data.too_long cut); first: item m: stage one: ")
    assert len(model.encode(LONG_ROW.messages, layout=stage().layout).ids) == 40


def test_an_error_of_long_rows_names_the_options_that_help_once(model: Any) -> None:
    model.limit = Limit(10)
    rows = {"train": [LONG_ROW, replace(LONG_ROW, id="8")]}
    with pytest.raises(DataError) as caught:
        usable_rows(rows, {"one": stage()}, model, seed=0, invalid="raise")
    told = str(caught.value).splitlines()
    for option in ("--data.max_length", "--data.too_long cut", "factor", "STAGE.tiling", "--data.invalid skip"):
        assert option in told[-1]
    assert "raise --data.max_length" not in "".join(told[:-1])


@pytest.mark.parametrize("too_long", ["raise", "skip", "cut"])
def test_a_limit_below_the_tokens_of_a_medium_names_the_options_too(senses_of: Any, too_long: Any) -> None:
    senses = senses_of()
    senses.model.limit = Limit(10, cut=too_long == "cut")
    stages = {"instruct": replace(nextgpt.recipe().stages["instruct"], data="train")}
    options: dict[str, Any] = {"seed": 0, "invalid": "raise", "too_long": too_long}
    told = r"of them media\) are more than the limit of 10(?s:.*)raise --data\.max_length"
    with pytest.raises(DataError, match=told):
        usable_rows({"train": senses.samples}, stages, senses.model, **options)
