"""Held-out batches of each objective and stage: which samples, and how processes share them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from two_processes import in_two
from validation_rows import STAGE, nine_samples

from inlay.adapters.conversation.messages import Message, TextPart
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.data.sampling import step_data
from inlay.recipes.data.sampling.step_data import StepData
from inlay.recipes.objectives.plan import Task
from inlay.recipes.objectives.qformer_contrastive.settings import QFormerContrastive
from inlay.recipes.objectives.signals.settings import Signals
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.settings.run import RunSettings
from inlay.recipes.settings.stage import Stage
from inlay.recipes.systems import blip2
from inlay.recipes.training.callbacks import LabelAudit
from inlay.recipes.training.trainer import fit
from inlay.recipes.training.validation import spread, validation_samples


@pytest.fixture
def samples(image_of: Any, tmp_path: Path) -> list[Sample]:
    return nine_samples(image_of, tmp_path)


def test_every_stage_s_own_held_out_samples_are_spread_over_their_file(
    backbone_of: Any, adapter_of: Any, samples: list[Sample]
) -> None:
    backbone = backbone_of()
    model = adapter_of(backbone).attach(backbone)
    files = {"align_test": samples[:2], "test": samples[2:6], "make_test 1": samples[6:], "train": []}
    for data, names in (("align", "01"), ("train", "2345"), ("all", "012345678")):
        found = validation_samples(replace(STAGE, data=data), files, 64, model)
        assert "".join(sample.id[1:] for sample in found) == names
    assert [sample.id for sample in validation_samples(STAGE, files, 2, model)] == ["s2", "s4"]
    assert validation_samples(STAGE, {}, 2, model) == []
    assert spread([], 3) == []


def test_a_row_that_does_not_fit_the_context_is_not_validated_on(
    backbone_of: Any, adapter_of: Any, samples: list[Sample]
) -> None:
    backbone = backbone_of()
    model = adapter_of(backbone).attach(backbone)
    long = replace(
        samples[0], id="long", messages=(samples[0].messages[0], Message("assistant", (TextPart("red " * 9000),)))
    )
    assert [sample.id for sample in validation_samples(STAGE, {"test": [long, samples[1]]}, 9, model)] == ["s1"]


@pytest.mark.parametrize("cache", [False, True])
def test_signal_stages_have_held_out_batches_of_their_own(senses_of: Any, tmp_path: Path, cache: bool) -> None:
    stage = Stage(
        data="train",
        template="vicuna_v1",
        geometry="pad",
        lr={"outputs": 1e-3} if cache else {"inputs": 1e-3, "lora": 1e-3, "tokens": 1e-3, "outputs": 1e-3},
        batch_size=2,
        epochs=3,
        objective=Signals(lm=0.0 if cache else 1.0, cache=cache),
    )
    options = {"hidden": 16, "encoder_layers": 1, "decoder_layers": 1, "heads": 2, "ffn": 24}
    senses = senses_of(output_options=options)
    task = Task(stage=stage, model=senses.model, sets=[senses.samples], validation=senses.samples, seed=7)
    plan: Any = stage.objective.plan(task)
    plan.data.validation = plan.validation
    fitted = fit(
        plan.module,
        plan.data,
        name="only",
        stage=stage,
        run=RunSettings(output=tmp_path / "run", accelerator="cpu", validate_every=0),
        folder=RunFolder(tmp_path / "run"),
        labels=LabelAudit(senses.model.backbone.llm.tokenizer, lambda _: None),
        show=lambda _: None,
    )
    assert [figures["loss"] > 0 for figures in fitted.validation] == [True]


def test_contrast_is_validated_by_both_processes(
    eva_backbone_of: Any, former_fields: Any, samples: list[Sample], tmp_path: Path
) -> None:
    """Its negatives come from all processes, so these need equally many batches."""
    stage = Stage(
        data="align",
        template="plain",
        geometry="squash",
        lr={"inputs.image": 1e-3},
        batch_size=2,
        epochs=1,
        objective=QFormerContrastive(),
    )
    shown = [sample for sample in samples if sample.id != "s7"]
    recipe = blip2.recipe()
    options = {recipe.projector: {**former_fields, "dropout": 0.0}}

    def work() -> Any:
        backbone = eva_backbone_of()
        model = replace(recipe, projector_options=options).adapter(backbone, "tiny").attach(backbone)
        plan: Any = stage.objective.plan(Task(stage=stage, model=model, sets=[shown[:4]], validation=shown[3:]))
        plan.data.validation = plan.validation
        return fit(
            plan.module,
            plan.data,
            name="only",
            stage=stage,
            run=RunSettings(output=tmp_path / "run", accelerator="cpu", validate_every=1),
            folder=RunFolder(tmp_path / "run"),
            labels=LabelAudit(backbone.llm.tokenizer, lambda _: None),
            show=lambda _: None,
        ).validation

    one, two = in_two(work)
    assert one == two
    assert [figures["step"] for figures in one] == [1, 2]


@pytest.mark.parametrize(("count", "size"), [(5, 2), (6, 4), (7, 4), (2, 4), (9, 8), (8, 8)])
def test_held_out_batches_are_as_many_in_both_processes_and_none_is_empty(
    monkeypatch: pytest.MonkeyPatch, count: int, size: int
) -> None:
    stage = replace(STAGE, batch_size=size, accumulate=1)
    data = StepData([count], lambda _, index: index, list, stage, seed=0)
    parts = []
    for process in (0, 1):
        monkeypatch.setattr(step_data, "world", lambda: 2)
        monkeypatch.setattr(step_data, "rank", lambda process=process: process)
        parts.append(list(data.in_order()))
    assert len(parts[0]) == len(parts[1])
    assert all(batch for own in parts for batch in own)
    assert sorted(index for own in parts for batch in own for index in batch) == list(range(count))
    if count % 2 == 0:
        assert [len(batch) for batch in parts[0]] == [len(batch) for batch in parts[1]]
