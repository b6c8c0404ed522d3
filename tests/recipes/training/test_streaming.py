"""Stages that learn from shards: which can, and that they train on what the shards hold."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from lightning_runs import fit_saved
from stages import stage_from

from inlay.adapters.core.encode import Limit
from inlay.recipes.data.rows.media_values import MediaRules
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.data.streaming.rows_source import RowSource, row_source
from inlay.recipes.data.streaming.shards import Shards, Source, StreamData
from inlay.recipes.objectives.pformer.settings import PFormerTeacher
from inlay.recipes.objectives.plan import Plan, Task
from inlay.recipes.objectives.qformer_contrastive.settings import QFormerContrastive
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.recipe import Recipe
from inlay.recipes.settings.samples import SampleSettings
from inlay.recipes.training.streaming import check_stage, plan_stream

CONTRAST = QFormerContrastive(embedding=8, text_tokens=16)
STAGE = stage_from(
    data="align",
    template="blip2",
    geometry="squash",
    prompt="",
    phrasing="blip",
    lr={"inputs.image": 1e-3},
    batch_size=2,
    max_steps=3,
)


@pytest.fixture
def shards(tmp_path: Path, image_of: Any) -> Shards:
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        for number, colour in enumerate(["red", "green", "blue", "red"]):
            buffer = io.BytesIO()
            image_of(number).save(buffer, "PNG")
            for name, data in ((f"{number}.png", buffer.getvalue()), (f"{number}.txt", f"A {colour} circle!".encode())):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return Shards(files=(tmp_path / "0.tar",), shuffle=0)


@pytest.fixture
def task_of(eva_backbone_of: Any, former_fields: Any) -> Any:
    def make(**fields: Any) -> Task:
        stage = replace(STAGE, **fields)
        backbone = eva_backbone_of()
        torch.manual_seed(0)
        recipe = Recipe(
            system="test", projector="qformer", stages={"only": stage}, projector_options={"qformer": former_fields}
        )
        return Task(stage=stage, model=recipe.adapter(backbone, "test").attach(backbone), sets=[])

    return make


def first_batch(plan: Any) -> Any:
    assert isinstance(plan, Plan)
    assert isinstance(plan.data, StreamData)
    assert plan.data.steps == STAGE.max_steps
    return next(iter(plan.data.train_dataloader())).batch


def test_conversations_are_those_of_the_shards_in_the_stage_s_phrasing(task_of: Any, shards: Shards) -> None:
    task = task_of()
    batch = first_batch(plan_stream(task, "only", shards))
    labels = [row[row >= 0].tolist() for row in batch.labels]
    assert task.model.backbone.llm.tokenizer.batch_decode(labels) == ["a red circle\n", "a green circle\n"]
    assert batch.inputs["image"].shape[0] == 2


def test_the_first_stage_tells_the_pictures_of_a_stream_apart(task_of: Any, shards: Shards) -> None:
    plan: Any = plan_stream(task_of(objective=CONTRAST, batch_size=4), "only", shards)
    batch = first_batch(plan)
    assert len(set(batch.owners.tolist())) == 4
    assert plan.module.losses(batch)["itc"].isfinite()


def test_a_projector_without_a_first_stage_says_why(task_of: Any, shards: Shards) -> None:
    task = task_of(objective=CONTRAST)
    task.model.adapter.inputs["image"] = torch.nn.Identity()
    assert "expected a Q-Former" in str(plan_stream(task, "only", shards))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"max_steps": None}, r"stage only: .*--stages\.only\.max_steps"),
        ({"objective": PFormerTeacher()}, r"stage only: the objective pformer_teacher needs all captions"),
        ({"data": "all"}, r"stage only samples all files"),
    ],
)
def test_a_stage_that_cannot_learn_from_a_stream_says_why(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        check_stage("only", replace(STAGE, **fields))


def test_a_stage_that_learns_from_another_file_needs_no_steps() -> None:
    check_stage("only", replace(STAGE, data="train", max_steps=None))


def fit(task: Task, shards: Source, folder: Path, *, stop: int, resume: bool = False) -> dict[str, torch.Tensor]:
    """Train to a step, from the last checkpoint on if asked to; the projector's weights."""
    plan: Any = plan_stream(task, "only", shards)
    fit_saved(plan.module, plan.data, folder, stop=stop, resume=resume)
    return {name: tensor.detach().clone() for name, tensor in task.model.adapter.state_dict().items()}


@pytest.mark.filterwarnings(
    "ignore:The 'train_dataloader' does not have many workers",
    "ignore:Checkpoint directory .* exists and is not empty",
)
def test_stopped_and_resumed_run_equals_one_that_never_stopped(task_of: Any, shards: Shards, tmp_path: Path) -> None:
    mixed = replace(shards, shuffle=3)
    settings = {"max_steps": 6, "batch_size": 4, "accumulate": 2}
    whole = fit(task_of(**settings), mixed, tmp_path / "whole", stop=6)
    first = fit(task_of(**settings), mixed, tmp_path / "parts", stop=2)
    second = fit(task_of(**settings), mixed, tmp_path / "parts", stop=6, resume=True)
    assert not all(torch.equal(first[name], whole[name]) for name in whole)
    assert all(torch.equal(second[name], whole[name]) for name in whole)


COLOURS = ["red", "green", "blue", "white", "black"]


@pytest.fixture
def rows(tmp_path: Path, image_of: Any) -> RowSource:
    """Conversations in Parquet files that hold their pictures."""
    for file in range(2):
        held = []
        for number in range(5):
            buffer = io.BytesIO()
            image_of(number % 3).save(buffer, "PNG")
            turns = [("human", "<image>\nwhich colour?"), ("gpt", f"{COLOURS[number]} {file}")]
            held.append(
                {
                    "id": f"{file}-{number}",
                    "image": {"bytes": buffer.getvalue(), "path": None},
                    "conversations": [{"from": name, "value": value} for name, value in turns],
                }
            )
        datasets.Dataset.from_list(held).to_parquet(str(tmp_path / f"{file}.parquet"))
    return row_source(tmp_path / "{0..1}.parquet", MediaRules.of(tmp_path), shuffle=3)


def conversations(**fields: Any) -> dict[str, Any]:
    return {"data": "train", "template": "vicuna_v1", "prompt": "{}", "samples": SampleSettings(), **fields}


def test_next_token_learns_from_streamed_conversations(task_of: Any, rows: RowSource) -> None:
    task = task_of(**conversations())
    batch = first_batch(plan_stream(task, "only", rows))
    labels = [row[row >= 0].tolist() for row in batch.labels]
    said = task.model.backbone.llm.tokenizer.batch_decode(labels, skip_special_tokens=True)
    assert {text.split()[0] for text in said} <= set(COLOURS)
    assert batch.inputs["image"].shape[0] == 2


@pytest.mark.filterwarnings(
    "ignore:The 'train_dataloader' does not have many workers",
    "ignore:Checkpoint directory .* exists and is not empty",
)
def test_training_on_streamed_rows_resumes_bit_for_bit(task_of: Any, rows: RowSource, tmp_path: Path) -> None:
    settings = conversations(max_steps=6, batch_size=4, accumulate=2)
    whole = fit(task_of(**settings), rows, tmp_path / "whole", stop=6)
    kept = replace(rows, positions=tmp_path / "parts" / "stream")
    first = fit(task_of(**settings), kept, tmp_path / "parts", stop=2)
    second = fit(task_of(**settings), kept, tmp_path / "parts", stop=6, resume=True)
    assert not all(torch.equal(first[name], whole[name]) for name in whole)
    assert all(torch.equal(second[name], whole[name]) for name in whole)


def test_a_streamed_row_that_is_too_long_is_left_out(task_of: Any, rows: RowSource) -> None:
    task = task_of(**conversations())
    task.model.limit = Limit(20)
    with pytest.raises(DataError, match=r"0\.parquet, row 0: "):
        plan_stream(task, "only", rows)
    with pytest.raises(DataError, match="no usable row among the first"):
        plan_stream(task, "only", replace(rows, too_long="skip"))


def test_every_stage_that_reads_a_stream_needs_steps() -> None:
    with pytest.raises(SettingsError, match=r"stage only: .*--stages\.only\.max_steps"):
        check_stage("only", replace(STAGE, data="train", max_steps=None), ("align", "train"))
