"""Every objective: each of its terms is divided by the number of that term in the whole optimizer step."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from picture_rows import caption_rows
from stages import stage_from
from step_ways import TOLERANCE, assert_same, distance, way
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from inlay.adapters.adapter import Adapter
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.inputs import projector_config
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.objectives.pformer.settings import PFormerStudent, PFormerTeacher
from inlay.recipes.objectives.plan import Task
from inlay.recipes.objectives.qformer_contrastive.settings import QFormerContrastive
from inlay.recipes.objectives.signals.settings import Signals
from inlay.recipes.settings.stage import Stage


def test_the_metrics_hold_the_loss_of_the_step_and_of_each_term(senses: Any, tmp_path: Path) -> None:
    """The last micro-batch makes no medium of some kind, and its words are few."""
    stage = signal_stage(cache=False)
    rows = []
    for accumulate in (1, 4):
        way(senses, stage, 1, accumulate, tmp_path / str(accumulate), sgd=True, short=0)
        (path,) = (tmp_path / str(accumulate)).rglob("metrics.csv")
        with path.open() as file:
            found = [row for row in csv.DictReader(file) if row["loss"]]
        rows.append([[float(row[name]) for name in ("loss", "lm", "image", "audio", "video")] for row in found])
    assert rows[0]
    for one, two in zip(*rows, strict=True):
        assert two == pytest.approx(one, rel=TOLERANCE)
    board = EventAccumulator(str(next((tmp_path / "4").rglob("events.out.*")).parent)).Reload()
    assert [event.value for event in board.Scalars("loss")] == pytest.approx([row[0] for row in rows[1]], rel=TOLERANCE)


def signal_stage(cache: bool) -> Stage:
    rates = {"outputs": 1e-3} if cache else {"inputs": 1e-3, "lora": 1e-3, "tokens": 1e-3, "outputs": 1e-3}
    return stage_from(
        data="train",
        template="vicuna_v1",
        geometry="pad",
        lr=rates,
        batch_size=4,
        max_steps=3,
        epochs=3.0,
        warmup_steps=1,
        objective=Signals(lm=0.0 if cache else 1.0, cache=cache),
    )


@pytest.fixture
def senses(senses_of: Any) -> Any:
    def make(stage: Stage) -> Any:
        torch.manual_seed(3)
        options = {"hidden": 16, "encoder_layers": 1, "decoder_layers": 1, "heads": 2, "ffn": 24, "dropout": 0.0}
        held = senses_of(dropout=0.0, output_options=options)
        task = Task(stage=stage, model=held.model, sets=[held.samples], seed=7, show=lambda _: None)
        plan: Any = stage.objective.plan(task)
        return plan.module, plan.data, held.model.backbone.llm.tokenizer

    return make


@pytest.mark.parametrize("cache", [False, True], ids=["llm", "states"])
def test_each_medium_counts_over_the_step(senses: Any, tmp_path: Path, cache: bool) -> None:
    stage = signal_stage(cache)
    one = way(senses, stage, 1, 1, tmp_path / "one", sgd=True, short=0)
    for processes, accumulate in [(1, 4), (2, 1), (2, 2)]:
        two = way(senses, stage, processes, accumulate, tmp_path / f"{processes}-{accumulate}", sgd=True, short=0)
        assert_same(one, two)


CAPTIONS = ("a red circle .", "a large blue star .", "a small green ring in the center .", "a star", "two", "a disc .")


@pytest.fixture
def captions(image_of: Any, tmp_path: Path) -> list[Sample]:
    return caption_rows(image_of, tmp_path, CAPTIONS)


@pytest.fixture
def blip(eva_backbone_of: Any, former_fields: Any, captions: list[Sample]) -> Any:
    """A function of the stage, for a Q-Former without dropout, after a stage with this teacher."""

    def of(teacher: Any = None) -> Any:
        def make(stage: Stage) -> Any:
            backbone = eva_backbone_of()
            torch.manual_seed(11)
            adapter = Adapter.for_backbone(
                backbone,
                system="test",
                name="test",
                layout=Layout.published("blip2"),
                inputs={"image": projector_config("qformer", former_fields | {"dropout": 0.0})},
            )
            task = Task(stage=stage, model=adapter.attach(backbone), sets=[captions], seed=5)
            torch.manual_seed(12)
            if teacher is not None:
                taught: Any = replace(stage, lr={"teacher": 1e-3}, objective=teacher)
                taught.objective.plan(replace(task, stage=taught)).finish()
            torch.manual_seed(13)
            plan: Any = stage.objective.plan(task)
            for module in plan.module.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = 0.0
            return plan.module, plan.data, backbone.llm.tokenizer

        return make

    return of


def caption_stage(objective: Any, part: str, **fields: Any) -> Stage:
    return stage_from(
        data="align",
        template="blip2",
        geometry="squash",
        prompt="",
        objective=objective,
        lr={part: 1e-3},
        batch_size=4,
        max_steps=2,
        epochs=4.0,
        warmup_steps=1,
        **fields,
    )


@pytest.mark.parametrize("part", ["teacher", "inputs.image"])
def test_captions_and_prompts_count_over_the_step(
    blip: Any, folders: dict[str, Path], tmp_path: Path, part: str
) -> None:
    teacher = PFormerTeacher(bert=str(folders["bert"]), text_tokens=16, masked=0.0)
    objective, before = (teacher, None) if part == "teacher" else (PFormerStudent(text_tokens=16), teacher)
    stage, make = caption_stage(objective, part), blip(before)
    one = way(make, stage, 1, 1, tmp_path / "one", sgd=True, short=0)
    for processes, accumulate in [(1, 4), (2, 1), (2, 2)]:
        assert_same(
            one, way(make, stage, processes, accumulate, tmp_path / f"{processes}-{accumulate}", sgd=True, short=0)
        )


def represent_stage(**settings: float) -> Stage:
    settings = {"text_tokens": 16, "embedding": 8, **settings}
    return caption_stage(QFormerContrastive(**settings), "inputs.image")


def test_contrast_is_the_same_in_one_process_and_in_two_with_the_same_micro_batches(blip: Any, tmp_path: Path) -> None:
    """Its negatives are those of a micro-batch, so accumulation changes them; the number of processes does not."""
    stage, make = replace(represent_stage(itm=0.0), max_steps=1), blip()
    for accumulate in (1, 2):
        one = way(make, stage, 1, accumulate, tmp_path / f"one-{accumulate}", sgd=True, short=0)
        assert_same(one, way(make, stage, 2, accumulate, tmp_path / f"two-{accumulate}", sgd=True, short=0))


def test_generation_beside_contrast_counts_over_the_step(blip: Any, tmp_path: Path) -> None:
    """The head that writes captions learns from no other loss, so its gradient does not depend on accumulation."""
    stage, make = replace(represent_stage(itm=0.0), max_steps=1), blip()
    one, two = (way(make, stage, 1, cut, tmp_path / str(cut), sgd=True, short=0)["gradients"][0] for cut in (1, 2))
    head = [{name: gradient for name, gradient in found.items() if "lm_head" in name} for found in (one, two)]
    assert head[0]
    assert distance(*head) < TOLERANCE
    assert distance(one, two) > TOLERANCE


def test_pairs_of_matching_are_counted_as_they_are_trained_on(blip: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from inlay.recipes.data.sampling.step_counts import counts_of

    module, data, _ = blip()(represent_stage())
    seen: list[int] = []
    real = module.pretrainer.matching_logits
    monkeypatch.setattr(module.pretrainer, "matching_logits", lambda *given: seen.append(len(given[0])) or real(*given))
    for rows in ([0, 1, 2, 3], [0, 0, 0], [0, 0, 1]):
        batch = data.collate([data.read(0, index) for index in rows])
        module.losses(batch)
        assert counts_of(batch)["pairs"] == seen[-1]
