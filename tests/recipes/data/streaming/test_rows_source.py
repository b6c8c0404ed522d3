"""Rows as a source: the format, invalid rows and media, and the data sets that the settings stream."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from inlay.recipes.data.load import load_data, streams_of
from inlay.recipes.data.rows.media_values import MediaRules
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.streaming.rows_source import RowSource, row_source
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.run import DataSettings


def row(name: str, **fields: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": "what?"}, {"from": "gpt", "value": f"a disc {name}"}]
    return {"id": name, "conversations": turns, **fields}


@pytest.fixture
def source_of(tmp_path: Path, images: Path) -> Callable[..., RowSource]:
    def make(*rows: dict[str, Any], **options: Any) -> RowSource:
        path = tmp_path / "train.jsonl"
        path.write_text("".join(json.dumps(value) + "\n" for value in rows))
        return row_source(path, MediaRules.of(images), **options)

    return make


def test_rows_are_those_that_are_read_before_training(source_of: Callable[..., RowSource], images: Path) -> None:
    source = source_of(row("0", image="1.png"), row("1"))
    read = load_data(DataSettings(train=source.path, images=images))["train"]
    assert source.first(5) == list(read)


def test_the_stream_gives_the_samples_of_the_stage(source_of: Callable[..., RowSource]) -> None:
    source = source_of(row("0"), row("1"), shuffle=0)
    found: list[Sample] = list(islice(source.stream(seed=0, batch_size=1, start=0), 3))
    assert [sample.id for sample in found] == ["0", "1", "0"]


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (row("1", image="none.png"), "no such file"),
        (row("1", conversations=[]), "expected a list of turns"),
        (row("1", tools="[1]"), "calls of tools"),
    ],
)
def test_an_invalid_row_is_an_error_or_left_out(
    source_of: Callable[..., RowSource], bad: dict[str, Any], told: str
) -> None:
    with pytest.raises(DataError, match=rf"train\.jsonl, line 2.*{told}"):
        source_of(row("0"), bad).first(3)
    source = source_of(row("0"), bad, row("2"), broken="skip", shuffle=0)
    stream = source.stream(seed=0, batch_size=1, start=0)
    assert [sample.id for sample in islice(stream, 3)] == ["0", "2", "0"]
    assert stream.skipped == {"row": 1}


def test_columns_and_format_are_those_of_files(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"query": "Two and two?", "label": "four"}))
    source = row_source(path, MediaRules.of(tmp_path), columns="question=query,answer=label")
    assert source.first(1)[0].messages[1].text == "four"
    with pytest.raises(DataError, match="no column 'missing'"):
        row_source(path, MediaRules.of(tmp_path), columns="question=missing")


def test_both_training_sets_are_streamed_and_not_loaded(source_of: Callable[..., RowSource]) -> None:
    source = source_of(row("0"))
    data = DataSettings(train=source.path, test=source.path, streaming=True)
    assert set(streams_of(data)) == {"train", "align", "all"}
    assert set(load_data(data)) == {"test"}


@pytest.mark.parametrize("field", [{"test_size": 0.1}, {"mix": (Path("a.json"),)}, {"annotations": Path("a.json")}])
def test_settings_that_need_all_rows_are_refused(field: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"streaming: .* needs all rows before training"):
        DataSettings(train=Path("a.json"), streaming=True, **field)


def test_streaming_without_a_file_is_refused() -> None:
    with pytest.raises(SettingsError, match="no training file to stream"):
        DataSettings(streaming=True)
