"""Training: what is saved, what is resumed bit for bit, what stays frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_runs import fit_saved, silent_trainer
from picture_rows import circle_rows

from inlay.recipes.data.cache.features import FeatureCache
from inlay.recipes.data.conversations import StageData
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.sampling.order import StepBatches
from inlay.recipes.objectives.next_token.module import NextTokenModule
from inlay.recipes.settings.stage import Stage
from inlay.recipes.training.callbacks import (
    FiniteLoss,
    GradientAudit,
    LabelAudit,
    Meters,
    PartTable,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:The 'train_dataloader' does not have many workers",
    "ignore:Checkpoint directory .* exists and is not empty",
)

STAGE = Stage(
    data="train", template="vicuna_v1", geometry="pad", lr={"inputs.image": 1e-2, "lora": 1e-2}, batch_size=4, epochs=9
)


@pytest.fixture
def samples(image_of: Any, tmp_path: Path) -> list[Sample]:
    return circle_rows(image_of, tmp_path, ("red", "green", "blue", "yellow", "red"))


def attached(backbone_of: Any, adapter_of: Any, dropout: float = 0.3) -> Any:
    backbone = backbone_of()
    adapter = adapter_of(backbone, dropout=dropout)
    return adapter.attach(backbone)


def fit(model: Any, samples: list[Sample], folder: Path, *, stop: int = 12, resume: bool = False, **stage: Any) -> Any:
    chosen = Stage(**{**vars(STAGE), "max_steps": 12, **stage})
    data = StageData(samples, model, chosen, seed=7)
    module = NextTokenModule(model, chosen, data.steps)
    audits = GradientAudit(), FiniteLoss(), LabelAudit(model.backbone.llm.tokenizer, lambda _: None)
    fit_saved(module, data, folder, *audits, stop=stop, every=3, resume=resume)
    return module


def state(model: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.adapter.state_dict().items()}


def assert_equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_stopped_and_resumed_run_equals_one_that_never_stopped(
    backbone_of: Any, adapter_of: Any, samples: list[Sample], tmp_path: Path, accumulate: int
) -> None:
    torch.manual_seed(11)
    whole = attached(backbone_of, adapter_of)
    torch.manual_seed(12)
    fit(whole, samples, tmp_path / "whole", accumulate=accumulate)

    torch.manual_seed(11)
    first = attached(backbone_of, adapter_of)
    torch.manual_seed(12)
    fit(first, samples, tmp_path / "parts", stop=6, accumulate=accumulate)
    torch.manual_seed(99)
    second = attached(backbone_of, adapter_of)
    fit(second, samples, tmp_path / "parts", resume=True, accumulate=accumulate)

    assert_equal(state(second), state(whole))


def test_checkpoint_holds_the_adapter_and_no_backbone(
    backbone_of: Any, adapter_of: Any, samples: list[Sample], tmp_path: Path
) -> None:
    model = attached(backbone_of, adapter_of)
    fit(model, samples, tmp_path / "run", stop=3)
    saved = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert set(saved["state_dict"]) == {f"adapter.{name}" for name in model.adapter.state_dict()}


def test_training_changes_every_part_and_no_bit_of_the_backbone(
    backbone_of: Any, adapter_of: Any, samples: list[Sample], tmp_path: Path
) -> None:
    model = attached(backbone_of, adapter_of)
    adapter, backbone = model.adapter, model.backbone
    adapter.detach()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    model = adapter.attach(backbone)
    start = state(model)
    fit(model, samples, tmp_path / "run")
    assert not any(torch.equal(tensor, start[name]) for name, tensor in state(model).items())
    adapter.detach()
    after = backbone.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_parts_without_a_learning_rate_stay_frozen(
    backbone_of: Any, adapter_of: Any, samples: list[Sample], tmp_path: Path
) -> None:
    model = attached(backbone_of, adapter_of)
    start = state(model)
    fit(model, samples, tmp_path / "run", lr={"inputs.image": 1e-2})
    changed = {name for name, tensor in state(model).items() if not torch.equal(tensor, start[name])}
    assert changed == {name for name in start if name.startswith("inputs.image")}


def test_parts_have_their_own_learning_rates(backbone_of: Any, adapter_of: Any) -> None:
    model = attached(backbone_of, adapter_of)
    stage = Stage(**{**vars(STAGE), "lr": {"inputs.image": 2e-5, "lora": 2e-4}})
    groups = NextTokenModule(model, stage, 10).configure_optimizers()["optimizer"].param_groups
    assert {group["name"]: group["initial_lr"] for group in groups} == {"inputs.image": 2e-5, "lora": 2e-4}


def test_cached_features_give_the_same_loss_as_the_encoder(
    backbone_of: Any, adapter_of: Any, samples: list[Sample]
) -> None:
    model = attached(backbone_of, adapter_of, dropout=0.0)
    cache = FeatureCache(model.backbone, "pad")
    cache.fill(samples)
    rows = [model.encode(sample.messages, layout=STAGE.layout) for sample in samples]
    with torch.no_grad():
        fast = model(model.collate(rows, layout=STAGE.layout, features=cache)).loss
        slow = model(model.collate(rows, layout=STAGE.layout)).loss
    assert torch.allclose(fast, slow, atol=1e-6, rtol=0)


def test_cache_budget_counts_bytes_of_all_images(backbone_of: Any, samples: list[Sample]) -> None:
    backbone = backbone_of()
    exact = len(samples) * backbone.encoder("image").tokens * backbone.encoder("image").width * 4
    assert FeatureCache(backbone, "pad", memory=exact).fill(samples)
    assert not FeatureCache(backbone, "pad", memory=exact - 1).fill(samples)


def test_order_shows_every_sample_once_an_epoch() -> None:
    batches = list(StepBatches(10, batch_size=4, batches=10, seed=3))
    flat = [index for batch in batches for index in batch]
    epochs = [flat[start : start + 10] for start in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_part_table_shows_mode_rate_and_bytes(backbone_of: Any, adapter_of: Any, samples: list[Sample]) -> None:
    lines: list[str] = []
    model = attached(backbone_of, adapter_of)
    chosen = Stage(**{**vars(STAGE), "lr": {"inputs.image": 1e-2}, "max_steps": 1})
    data = StageData(samples, model, chosen, seed=7)
    trainer = silent_trainer(max_steps=1, callbacks=[PartTable(lines.append), Meters()])
    trainer.fit(NextTokenModule(model, chosen, 1), datamodule=data)
    table = {row.split()[0]: row.split()[1:] for row in lines[0].splitlines()}
    projector = sum(parameter.numel() for parameter in model.adapter.inputs.parameters())
    assert table["inputs.image"] == ["mlp", "full", "0.01", "float32", f"{projector:,}", f"{2 * projector:,}"]
    assert table["lora"][:3] == ["lora", "frozen", "-"]


def test_resuming_with_other_data_is_refused(
    backbone_of: Any, adapter_of: Any, samples: list[Sample], tmp_path: Path
) -> None:
    fit(attached(backbone_of, adapter_of), samples, tmp_path / "run", stop=6)
    with pytest.raises(DataError, match="other data or settings"):
        fit(attached(backbone_of, adapter_of), samples[:4], tmp_path / "run", resume=True)
