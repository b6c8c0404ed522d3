"""bfloat16: where it is chosen, what stays in float32, and that it learns what float32 learns."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from lightning_runs import silent_trainer
from torch import Tensor

from inlay.adapters.backbone import Backbone
from inlay.adapters.compatibility.digest import weights_digest
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.language.precision import halve
from inlay.recipes.commands.train.command import main
from inlay.recipes.data.conversations import StageData
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.objectives.next_token.module import NextTokenModule
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.settings import precision
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.precision import autocast_of, device_of, gemm_gain, settle, verdict
from inlay.recipes.settings.run import BackboneSettings, RunSettings
from inlay.recipes.settings.stage import Stage
from inlay.recipes.systems.load_backbone import _dtype
from inlay.recipes.training.trainer import fit

CPU = torch.device("cpu")
COLOURS = ("red", "green", "blue", "yellow")


@pytest.mark.parametrize(("gain", "expected"), [(0.0, "32-true"), (1.1, "32-true"), (8.0, "bf16-true")])
def test_auto_is_bf16_where_a_product_is_faster(monkeypatch: pytest.MonkeyPatch, gain: float, expected: str) -> None:
    monkeypatch.setattr(precision, "gemm_gain", lambda _: gain)
    assert settle("auto", "cpu") == expected
    assert settle("32-true", "cpu") == "32-true"
    assert settle("bf16-true", "cpu") == "bf16-true"


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [
        (True, False, {"auto": "cuda", "gpu": "cuda", "cpu": "cpu"}),
        (False, True, {"auto": "mps", "gpu": "mps", "cpu": "cpu"}),
        (False, False, {"auto": "cpu", "cpu": "cpu"}),
    ],
)
def test_one_function_says_where_a_run_trains(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, expected: dict[str, str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert {name: device_of(name).type for name in expected} == expected
    if "gpu" not in expected:
        with pytest.raises(SettingsError, match="accelerator: expected a GPU"):
            device_of("gpu")


@pytest.mark.parametrize("accelerator", ["auto", "cpu"])
def test_lightning_trains_on_that_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, accelerator: str) -> None:
    """On a Mac, models, batches and Lightning have to agree on MPS, or on the CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    seen: list[str] = []

    class Asked(Exception):
        pass

    def trainer(**options: Any) -> None:
        seen.append(options["accelerator"])
        raise Asked

    monkeypatch.setattr("inlay.recipes.training.trainer.Trainer", trainer)
    settings = RunSettings(output=tmp_path, accelerator=accelerator)
    stage = Stage(data="train", template="plain", geometry="pad", lr={"lora": 1e-3}, batch_size=2)
    there: Any = None
    data: Any = SimpleNamespace(steps=1, validation=None)
    with pytest.raises(Asked):
        fit(there, data, name="a", stage=stage, run=settings, folder=RunFolder(tmp_path), labels=there, show=print)
    assert seen == [device_of(accelerator).type] == [{"auto": "mps", "cpu": "cpu"}[accelerator]]


def test_auto_is_decided_on_the_device_that_trains_not_on_the_best_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert settle("auto", "cpu") == "32-true"
    assert _dtype(BackboneSettings(), device_of("cpu")) == "float32"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert settle("auto", "auto") == "32-true"  # and nothing was timed on a device that is not there


def test_without_instructions_nothing_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": False, "avx2": True})
    monkeypatch.setattr(precision, "_seconds", lambda _: pytest.fail("timed"))
    assert gemm_gain(CPU) == 0.0
    assert "32-true is faster" in verdict("bf16-true", "cpu")
    assert verdict("32-true", "cpu") == ""


def test_with_instructions_both_types_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr(precision, "_seconds", lambda matrix: {torch.float32: 3.0, torch.bfloat16: 0.5}[matrix.dtype])
    assert gemm_gain(CPU) == 6.0
    assert "1/6.0 of its time" in verdict("bf16-true", "cpu")


def test_halving_rounds_what_is_frozen_and_leaves_the_rest(llm_of: Any) -> None:
    model = llm_of("llama").model
    digest, frequencies = weights_digest(model), model.model.rotary_emb.inv_freq.clone()
    model.model.norm.weight.requires_grad_(True)
    halve(model)
    assert {p.dtype for p in model.parameters() if not p.requires_grad} == {torch.bfloat16}
    assert model.model.norm.weight.dtype == torch.float32
    assert torch.equal(model.model.rotary_emb.inv_freq, frequencies)
    assert weights_digest(model) == digest


class Recorded(NextTokenModule):
    """Keeps the loss of each step, and in which type the language model was."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.losses: list[float] = []

    def training_step(self, batch: Any, index: int) -> Tensor:
        loss = super().training_step(batch, index)
        self.losses.append(loss.item())
        return loss


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
def test_fifty_steps_of_bf16_true_have_the_losses_of_float32(
    llm_of: Any, clip_of: Any, adapter_of: Any, image_of: Any, tmp_path: Path
) -> None:
    samples = []
    for index, colour in enumerate(COLOURS):
        image_of(index).save(tmp_path / f"{index}.png")
        user = Message("user", (MediaPart("image", tmp_path / f"{index}.png"), TextPart("what colour?")))
        samples.append(Sample(f"s{index}", (user, Message("assistant", (TextPart(colour),))), "rows"))
    stage = Stage(
        data="train",
        template="vicuna_v1",
        geometry="pad",
        lr={"inputs.image": 5e-3, "lora": 5e-3},
        batch_size=4,
        epochs=50,
        max_steps=50,
    )
    losses = {}
    for chosen in ("32-true", "bf16-true"):
        backbone = Backbone(llm_of("llama", initializer_range=0.15), {"image": clip_of()})
        halve(backbone.llm.model)  # both sides have weights as they are on a disk
        if chosen == "32-true":
            backbone.llm.model.float()
        model = adapter_of(backbone).attach(backbone)
        module = Recorded(model, stage, 50)
        trainer = silent_trainer(max_steps=50, precision=autocast_of(chosen))
        trainer.fit(module, datamodule=StageData(samples, model, stage, seed=1))
        losses[chosen] = module.losses
        kept = [*model.adapter.parameters(), *(v for s in trainer.optimizers[0].state.values() for v in s.values())]
        assert {tensor.dtype for tensor in kept} == {torch.float32}
    single, half = torch.tensor(losses["32-true"]), torch.tensor(losses["bf16-true"])
    assert len(single) == 50
    assert single[-1] < 0.8 * single[0]
    assert float(((half - single).abs() / single).max()) < 0.01
    assert not torch.equal(half, single)


def test_the_command_line_takes_it_to_the_bundle(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(precision, "gemm_gain", lambda _: 5.0)
    own = ["--backbone.llm", str(folders["llama"]), "--backbone.image", str(folders["eva"]), "--data.train"]
    own += [
        str(folders["data"] / "train.json"),
        "--data.images",
        str(folders["data"] / "images"),
        "--evaluate",
        "false",
    ]
    own += [
        "--stages.instruct.max_steps",
        "2",
        "--stages.instruct.batch_size",
        "4",
        "--stages.instruct.accumulate",
        "1",
        "--order",
        "instruct",
    ]
    assert main(["llava", "--output", str(tmp_path / "run"), "--accelerator", "cpu", "--precision", "auto", *own]) == 0
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["precision"] == "bf16-true"
    assert "precision bf16-true" in capsys.readouterr().out
