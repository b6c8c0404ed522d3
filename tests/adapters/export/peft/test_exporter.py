"""LoRA folders in peft, on a language model that was never attached to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from export_parts import adapter_on
from peft import PeftModel
from safetensors.torch import load_file

from inlay.adapters import export_adapter
from inlay.adapters.convert import read_checkpoint
from inlay.adapters.export.peft import exporter
from inlay.adapters.export.peft.bare_model import bare_model
from inlay.adapters.export.peft.rerank import Reranked
from inlay.adapters.export.target import ExportError

IDS = torch.arange(3, 20)[None]


def logits(model: Any, **more: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS, **more).logits


@pytest.mark.parametrize(("family", "rank"), [("llama", None), ("llama", 4), ("llama", 8), ("opt", None), ("t5", None)])
def test_peft_on_the_bare_language_model_gives_the_adapters_logits(
    backbone_of: Any, tmp_path: Path, family: str, rank: int | None
) -> None:
    backbone = backbone_of(family)
    more = {"decoder_input_ids": IDS[:, :2]} if family == "t5" else {}
    model = adapter_on(backbone, r=4).attach(backbone)
    export_adapter(model, to="peft", output=tmp_path / "lora", rank=rank)
    bare = backbone_of(family).llm.model
    theirs = PeftModel.from_pretrained(bare, tmp_path / "lora").eval()
    assert torch.allclose(logits(theirs, **more), logits(backbone.llm.model, **more), atol=1e-5)


def test_names_are_those_of_the_bare_language_model_and_are_read_back(backbone_of: Any, tmp_path: Path) -> None:
    backbone = backbone_of()
    adapter = adapter_on(backbone)
    export_adapter(adapter.attach(backbone), to="peft", output=tmp_path / "lora")
    names = load_file(tmp_path / "lora" / "adapter_model.safetensors")
    assert all(name.startswith("base_model.model.model.layers.") for name in names)
    found = read_checkpoint(tmp_path / "lora").lora
    assert set(found.downs) == set(adapter.lora.targets)
    assert all(torch.equal(found.downs[name], adapter.lora.matrices(name)[0]) for name in found.downs)


def test_a_lower_rank_reports_what_it_loses(backbone_of: Any, tmp_path: Path) -> None:
    backbone = backbone_of()
    report = export_adapter(adapter_on(backbone).attach(backbone), to="peft", output=tmp_path / "lora", rank=2)
    config = json.loads((tmp_path / "lora" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (2, 4.0)
    assert 0 < report.facts["relative_error"] <= report.facts["worst_module"] < 1
    assert report.facts["logits_differ_from_the_bundle_by"] > 0
    assert report.facts["rank_of_the_bundle"] == 4


def test_the_projector_stays_in_the_bundle(backbone_of: Any, tmp_path: Path) -> None:
    backbone = backbone_of()
    report = export_adapter(adapter_on(backbone).attach(backbone), to="peft", output=tmp_path / "lora")
    assert "the projector on image stays in the bundle" in report.notes[0]


@pytest.mark.parametrize(
    ("rank", "told"), [(4, None), (17, "--max-lora-rank 32"), (400, "--max-lora-rank 512"), (600, "ranks up to 512")]
)
def test_ranks_of_vllm_are_told(backbone_of: Any, tmp_path: Path, rank: int, told: str | None) -> None:
    backbone = backbone_of()
    report = export_adapter(adapter_on(backbone).attach(backbone), to="peft", output=tmp_path / "lora", rank=rank)
    notes = [note for note in report.notes if "vLLM" in note]
    assert (not notes) if told is None else (told in notes[0])


@pytest.mark.parametrize(
    ("parts", "rank", "reason"),
    [
        ({"r": None}, None, "this adapter has no LoRA"),
        ({"tokens": ("<look>",)}, None, "rows for 1 new tokens, which a LoRA cannot hold"),
        ({}, 0, "rank: expected an integer from 1 to 1024, got 0"),
        ({}, 2000, "rank: expected an integer"),
    ],
)
def test_what_is_no_lora_is_refused(
    backbone_of: Any, tmp_path: Path, parts: dict[str, Any], rank: int | None, reason: str
) -> None:
    backbone = backbone_of()
    with pytest.raises(ExportError, match=reason):
        export_adapter(adapter_on(backbone, **parts).attach(backbone), to="peft", output=tmp_path / "lora", rank=rank)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_peft_reads_otherwise_is_removed(
    backbone_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = exporter.save_tensors

    def wrong(tensors: dict[str, Any], path: Path) -> None:
        original({name: tensor * 1.5 for name, tensor in tensors.items()}, path)

    monkeypatch.setattr(exporter, "save_tensors", wrong)
    backbone = backbone_of()
    with pytest.raises(ExportError, match="peft finds every tensor"):
        export_adapter(adapter_on(backbone).attach(backbone), to="peft", output=tmp_path / "lora")
    assert list(tmp_path.iterdir()) == []


def test_the_bare_model_shares_every_weight_and_leaves_the_attached_one_alone(backbone_of: Any) -> None:
    backbone = backbone_of()
    before = logits(backbone.llm.model)
    model = adapter_on(backbone).attach(backbone)
    attached = logits(backbone.llm.model)
    bare = bare_model(model)
    assert torch.equal(logits(bare), before)
    assert torch.equal(logits(backbone.llm.model), attached)
    shared = {tensor.data_ptr() for tensor in backbone.llm.model.parameters()}
    assert {tensor.data_ptr() for tensor in bare.parameters()} == shared


def test_values_of_bfloat16_are_written_as_such() -> None:
    exact = Reranked({"x": torch.ones(1, 2)}, {"x": torch.ones(2, 1)}, 0, 0)
    wide = Reranked({"x": torch.full((1, 2), 0.1)}, {"x": torch.ones(2, 1)}, 0, 0)
    assert {tensor.dtype for tensor in exporter._tensors(exact).values()} == {torch.bfloat16}
    assert {tensor.dtype for tensor in exporter._tensors(wide).values()} == {torch.float32}
