"""The tables of ``inlay check``: numbers against counting by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inlay.adapters.conversation.layout import Layout
from inlay.recipes.data.conversations import StageData
from inlay.recipes.data.load import load_data
from inlay.recipes.settings.run import DataSettings
from inlay.recipes.settings.stage import Stage
from inlay.recipes.systems import compact, llava
from inlay.recipes.training.checks import data_report
from inlay.recipes.training.checks.data_report import all_set_facts, quantiles, set_facts, sets_table, token_facts


@pytest.fixture
def data(tmp_path: Path) -> DataSettings:
    """Three rows of one, two and three turns; two show the same picture, the third shows none."""
    for name, size in (("a.png", (30, 20)), ("b.png", (8, 9))):
        Image.new("RGB", size).save(tmp_path / name)
    rows = []
    for number, picture in enumerate(["a.png", "a.png", None]):
        turns = []
        for turn in range(number + 1):
            marker = "<image>\n" if picture and not turn else ""
            turns += [{"from": "human", "value": f"{marker}what {turn}?"}, {"from": "gpt", "value": "a red circle"}]
        rows.append({"id": str(number), "conversations": turns, **({"image": picture} if picture else {})})
    rows.append({"id": "3", "image": "b.png", "conversations": rows[0]["conversations"]})
    (tmp_path / "train.json").write_text(json.dumps(rows))
    return DataSettings(train=tmp_path / "train.json")


def test_rows_format_media_turns_and_sizes_of_a_file(data: DataSettings) -> None:
    facts = set_facts("train", load_data(data)["train"], data)
    assert (facts.file, facts.format, facts.rows) == ("train.json", "llava", 4)
    assert facts.media == {"image": (3, 2)}
    assert list(facts.turns) == [1, 2, 3, 1]
    assert sorted(facts.sizes) == [(8, 9), (30, 20)]
    table = sets_table([facts])
    assert "3 image (2 different)" in table
    assert "1-3" in table
    assert "8x9 30x20" in table


def test_of_a_large_file_a_part_is_measured_and_the_table_says_so(
    data: DataSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_report, "MEASURED", 2)
    facts = set_facts("train", load_data(data)["train"], data)
    assert (facts.rows, len(facts.turns)) == (4, 2)
    assert "are those of 2 rows" in sets_table([facts])


def test_a_set_is_named_with_the_stages_that_train_on_it(data: DataSettings, tmp_path: Path) -> None:
    (tmp_path / "captions.json").write_bytes((tmp_path / "train.json").read_bytes())
    files = replace(data, align=tmp_path / "captions.json", test=tmp_path / "train.json")
    samples = load_data(files)
    compact_stages, llava_stages = compact.recipe().stages, llava.recipe().stages

    def stages(of: Any, rows: Any = samples, settings: DataSettings = files) -> dict[str, str]:
        return {facts.name: facts.stages for facts in all_set_facts(rows, of, settings)}

    assert stages(compact_stages) == {"align": "instruct", "train": "instruct", "test": "held out"}
    assert stages(llava_stages) == {"align": "align", "train": "instruct", "test": "held out"}
    assert stages({"instruct": llava_stages["instruct"]}) == {
        "align": "no stage",
        "train": "instruct",
        "test": "held out",
    }
    assert stages(compact_stages, load_data(data), data) == {"train": "instruct"}


def test_questions_of_a_run_that_is_continued_have_no_file(data: DataSettings) -> None:
    facts = set_facts("questions", load_data(data)["train"], data)
    assert (facts.file, facts.format) == ("", "of the run")


def test_held_out_rows_have_no_format_of_their_own(data: DataSettings) -> None:
    samples = load_data(data)
    assert set_facts("test", samples["train"], data).format == "held out"


@pytest.mark.parametrize("name", ["train", "test"])
def test_generated_data_are_the_miniature_s(data: DataSettings, name: str) -> None:
    facts = set_facts(name, load_data(data)["train"], DataSettings())
    assert (facts.file, facts.format) == ("", "miniature")


def test_token_lengths_are_those_of_the_encoded_rows(data: DataSettings, backbone_of: Any, adapter_of: Any) -> None:
    backbone = backbone_of()
    model = adapter_of(backbone).attach(backbone)
    stage = Stage(data="train", template="vicuna_v1", geometry="pad", lr={"lora": 1e-3}, batch_size=2)
    samples = load_data(data)["train"]
    found = token_facts(StageData(samples, model, stage, seed=0), 256)
    assert found is not None
    rows = [
        model.encode(sample.messages, layout=Layout.published("vicuna_v1", system=stage.system)) for sample in samples
    ]
    assert list(found.lengths) == [len(row.ids) for row in rows]
    assert list(found.labelled) == [int((row.labels >= 0).sum()) for row in rows]
    assert str(max(found.lengths)) in found.lines().splitlines()[1]
    assert "the LLM takes 256" in found.lines()


@pytest.mark.parametrize(("values", "expected"), [([], (0, 0, 0, 0)), ([7], (7, 7, 7, 7)), ([3, 1, 2], (1, 2, 3, 3))])
def test_quantiles_of_few_values(values: list[int], expected: tuple[int, ...]) -> None:
    assert quantiles(values) == expected
