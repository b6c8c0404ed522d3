"""One loss: the gradient of an optimizer step depends on its samples, not on micro-batches, ranks or devices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_runs import silent_trainer
from picture_rows import circle_rows
from stages import changed, stage_from
from step_ways import TOLERANCE, assert_same, distance, way
from two_processes import in_two

from inlay.recipes.data.conversations import StageData
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.sampling.step_data import StepData, micro_batches
from inlay.recipes.distributed.ranks import all_of, rank, summed
from inlay.recipes.objectives.next_token.module import NextTokenModule
from inlay.recipes.settings.errors import RecipeError
from inlay.recipes.settings.stage import Stage

pytestmark = pytest.mark.filterwarnings(
    "ignore:The 'train_dataloader' does not have many workers",
    "ignore:You defined a `validation_step` but have no `val_dataloader`",
)

LONG = "a very large yellow star in the center of the picture and two small green circles"
STAGE = stage_from(
    data="train",
    template="vicuna_v1",
    geometry="pad",
    lr={"inputs.image": 1e-3, "lora": 1e-3},
    batch_size=8,
    weight_decay=0.1,
    warmup_steps=1,
)
WAYS = [(1, 8), (1, 2), (2, 1), (2, 2)]
"""Processes and micro-batches: 8 x 1, 2 x 4, 2 ranks x 4, 2 ranks x 2 x 2; compared with 1 x 8."""


@pytest.fixture
def samples(image_of: Any, tmp_path: Path) -> list[Sample]:
    """Thirteen, from one label to twenty; every third has no picture."""
    answers = [(LONG, "red", "two", "blue", "green and blue")[index % 5] for index in range(13)]
    return circle_rows(image_of, tmp_path, answers, without_picture=range(0, 13, 3))


@pytest.fixture
def llava(backbone_of: Any, adapter_of: Any, samples: list[Sample]) -> Any:
    """Stage -> module, data and tokenizer of next-token prediction, with the same first weights each time."""

    def make(stage: Stage) -> Any:
        torch.manual_seed(11)
        backbone = backbone_of()
        model = adapter_of(backbone).attach(backbone)
        for name, parameter in model.adapter.named_parameters():
            if name.endswith("/B"):  # as after some training: at zero, A would have no gradient
                torch.nn.init.normal_(parameter, std=0.02)
        data = StageData(samples, model, stage, seed=7)
        return NextTokenModule(model, stage, data.steps), data, backbone.llm.tokenizer

    return make


@pytest.mark.parametrize(("sgd", "clip"), [(False, 0.0), (True, 0.01)], ids=["adamw", "sgd-clipped"])
def test_a_step_is_the_same_however_it_is_cut(llava: Any, tmp_path: Path, sgd: bool, clip: float) -> None:
    """Gradients of a whole step and of a shorter last one, the weights after them, and the loss in the log."""
    stage = changed(STAGE, max_steps=2, clip=clip)
    one = way(llava, stage, 1, 1, tmp_path / "one", sgd=sgd, short=5)
    assert len(one["gradients"]) == 2
    for processes, accumulate in WAYS:
        folder = tmp_path / f"{processes}-{accumulate}"
        assert_same(one, way(llava, stage, processes, accumulate, folder, sgd=sgd, short=5))


def test_the_gradient_is_that_of_the_mean_over_the_step_s_labels(llava: Any, tmp_path: Path) -> None:
    stage = replace(STAGE, max_steps=1)
    found = way(llava, stage, 1, 4, tmp_path / "run", sgd=True, short=0)
    module, data, _ = llava(stage)
    (step,) = data.order(0)
    losses, labels = [], 0
    for index in step:
        batch = data.collate([data.read(0, index)])
        output = module.model(batch, logits="none")
        count = int((batch.labels[:, 1:] != -100).sum())
        losses.append(output.loss * count)
        labels += count
    loss = torch.stack(losses).sum() / labels
    loss.backward()
    right = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    assert distance(right, found["gradients"][0]) < TOLERANCE
    assert found["logged"] == pytest.approx([loss.item()], rel=TOLERANCE)


@pytest.mark.parametrize("grouping", ["none", "length"])
@pytest.mark.parametrize("sets", [1, 2])
def test_the_samples_of_a_step_do_not_depend_on_accumulation(grouping: Any, sets: int) -> None:
    def steps(accumulate: int) -> list[list[Any]]:
        stage = replace(STAGE, accumulate=accumulate, grouping=grouping, epochs=6.0)
        sizes = [50] if sets == 1 else [20, 30]
        lengths = [index * 7 % 50 for index in range(50)] if grouping == "length" else None
        data = StepData(sizes, lambda step, index: (step, index), list, stage, seed=3, lengths=lengths)
        rows = [part.batch for part in data.train_dataloader()]
        return [
            sorted(row for batch in rows[n : n + accumulate] for row in batch) for n in range(0, len(rows), accumulate)
        ]

    assert steps(1) == steps(4) == steps(8)


def test_a_short_step_is_shared_so_that_no_process_has_an_empty_micro_batch() -> None:
    for length in range(2, 9):
        parts = micro_batches(range(length), accumulate=4, processes=2)
        assert all(process for shared in parts for process in shared)
        assert sorted(index for shared in parts for process in shared for index in process) == list(range(length))
    with pytest.raises(DataError, match="a step of 1 samples cannot be shared among 2 processes"):
        micro_batches([0], accumulate=1, processes=2)


def test_another_accumulation_of_the_trainer_is_refused(llava: Any) -> None:
    module, data, _ = llava(replace(STAGE, max_steps=1))
    trainer = silent_trainer(max_steps=1, accumulate_grad_batches=2)
    with pytest.raises(RecipeError, match="the stage has 1 micro-batches an optimizer step, and the trainer 2"):
        trainer.fit(module, datamodule=data)


def test_micro_batches_of_another_loader_are_not_accumulated(llava: Any) -> None:
    module, data, _ = llava(replace(STAGE, max_steps=1, accumulate=2))
    loader = torch.utils.data.DataLoader([0, 1], batch_size=1, collate_fn=lambda rows: data.collate([data.read(0, 1)]))
    trainer = silent_trainer(max_steps=1, accumulate_grad_batches=2, log_every_n_steps=1)
    with pytest.raises(RecipeError, match="have no count of the labels of their optimizer step"):
        trainer.fit(module, train_dataloaders=loader)


def test_counts_of_processes_are_added_up() -> None:
    assert in_two(lambda: summed({"labels": 3 + rank(), "image": rank()})) == [{"labels": 7, "image": 1}] * 2
    assert in_two(lambda: all_of(rank())) == [[0, 1]] * 2
