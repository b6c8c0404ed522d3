"""int8 adapters: what is rounded, that the bundle holds what memory does, how small it is, and the gate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from inlay.adapters import QuantiseError, parse_messages, quantise
from inlay.adapters.adapter import Adapter
from inlay.adapters.bundles.int8_gate import held_out_loss
from inlay.adapters.bundles.storage_dtype import int8_matrices, on_disk, round_module
from inlay.adapters.inputs import build_projector
from inlay.hub.format.bundle import Bundle

Make = Callable[..., Any]


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def pair(backbone_of: Make, adapter_of: Make) -> Any:
    """An adapter on its backbone, in eval mode."""
    backbone = backbone_of()
    return adapter_of(backbone).eval(), backbone


def _conversation(picture: Any, answer: str) -> Any:
    question = {"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": "what?"}]}
    return parse_messages([question, {"role": "assistant", "content": answer}])


@pytest.fixture
def batches(pair: Any, image_of: Make) -> Any:
    adapter, backbone = pair
    model = adapter.attach(backbone)
    rows = [_conversation(image_of(seed), answer) for seed, answer in enumerate(["red", "two squares", "a star"])]
    return model, [model.batch(rows[:1]), model.batch(rows[1:])]


def test_saved_and_read_again_it_is_the_same_to_the_bit(pair: Any, tmp_path: Path, image_of: Make) -> None:
    adapter, backbone = pair
    model = adapter.attach(backbone)
    adapter.save_pretrained(tmp_path / "x", dtype="int8")
    before = model.probe(_conversation(image_of(), "x")[:1])
    adapter.detach()
    read = Adapter.from_pretrained(tmp_path / "x").eval()
    held, wanted = read.state_dict(), adapter.state_dict()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in held.items())
    assert torch.equal(read.attach(backbone).probe(_conversation(image_of(), "x")[:1]), before)  # the canary passed too
    read.save_pretrained(tmp_path / "y", dtype="int8")
    for name in ("adapter.safetensors", "lora/adapter_model.safetensors"):
        assert (tmp_path / "x" / name).read_bytes() == (tmp_path / "y" / name).read_bytes()


def test_matrices_are_int8_and_all_else_bfloat16(pair: Any, tmp_path: Path) -> None:
    adapter, _ = pair
    adapter.save_pretrained(tmp_path / "x", dtype="int8")
    bundle = Bundle.read(tmp_path / "x")
    assert {name: spec.dtype for name, spec in bundle.manifest.parts.items()} == {
        "inputs.image": "int8",
        "lora": "bfloat16",
    }
    # 24 -> 32 is too narrow a row to gain, 32 -> 32 is not.
    assert {name for name, tensor in bundle.tensors.items() if tensor.dtype == torch.int8} == {
        "inputs.image.layers.2.weight"
    }


def test_a_part_without_a_matrix_that_gains_stays_as_it_was(
    backbone_of: Make, adapter_of: Make, tmp_path: Path
) -> None:
    adapter = adapter_of(backbone_of(), kind="linear")
    adapter.save_pretrained(tmp_path / "x", dtype="int8")
    assert {spec.dtype for spec in Bundle.read(tmp_path / "x").manifest.parts.values()} == {"bfloat16"}


def test_query_tokens_norms_and_biases_are_not_rounded_to_int8() -> None:
    sizes = {"width_in": 64, "width_out": 64, "hidden": 64, "queries": 40, "layers": 1, "heads": 2, "ffn": 64}
    module = build_projector("qformer", sizes)
    chosen = int8_matrices(module)
    linears = {name for name, child in module.named_modules() if isinstance(child, nn.Linear)}
    assert chosen == {f"{name}.weight" for name in linears}
    kept = {name: value for name, value in on_disk(module, "int8").items() if value.dtype == torch.bfloat16}
    assert any("query" in name for name in kept)
    assert any(value.dim() >= 2 for value in kept.values())


def test_sizes_beside_those_of_peft_for_the_projector_of_llava(tmp_path: Path) -> None:
    """The shape of LLaVA 1.5 with 7B: 1024 -> 4096 -> 4096, as ``modules_to_save`` in peft's own file."""
    projector = build_projector("mlp", {"width_in": 1024, "width_out": 4096})
    assert sum(parameter.numel() for parameter in projector.parameters()) == 20_979_712
    host = nn.ModuleDict({"projector": projector, "lm": nn.Linear(8, 8)})
    peft: Any = get_peft_model(host, LoraConfig(r=1, target_modules=["lm"], modules_to_save=["projector"]))
    peft.save_pretrained(tmp_path / "peft")
    theirs = (tmp_path / "peft" / "adapter_model.safetensors").stat().st_size
    ours = {kind: sum(tensor.nbytes for tensor in on_disk(projector, kind).values()) for kind in ("bfloat16", "int8")}
    assert ours["bfloat16"] / theirs <= 0.50
    assert ours["int8"] / theirs <= 0.26


def test_bundles_beside_peft_on_disk(backbone_of: Make, adapter_of: Make, tmp_path: Path) -> None:
    """The LoRA of a bundle is peft's own file in half the bytes, and peft loads it."""
    backbone = backbone_of()
    adapter = adapter_of(backbone, r=64)
    adapter.save_pretrained(tmp_path / "x", dtype="int8")
    model: Any = backbone.llm.model
    loaded = PeftModel.from_pretrained(model, tmp_path / "x" / "lora")
    name = adapter.lora.targets[0]
    ours = adapter.lora.matrices(name)[0]
    layer = loaded.get_submodule(f"base_model.model.{name}")
    assert torch.equal(layer.lora_A["default"].weight, ours)
    loaded.save_pretrained(tmp_path / "peft", save_embedding_layers=False)
    sizes = [path / "adapter_model.safetensors" for path in (tmp_path / "x" / "lora", tmp_path / "peft")]
    ours_bytes, theirs = (path.stat().st_size for path in sizes)
    assert ours_bytes / theirs <= 0.52  # half, and the same names of tensors


def test_through_the_gate_the_loss_is_that_of_the_saved_bundle(batches: Any, tmp_path: Path) -> None:
    model, rows = batches
    before = held_out_loss(model, rows)
    found = quantise(model, rows, limit=0.5)
    assert found.before == before
    assert found.after == held_out_loss(model, rows) != before
    assert str(found) == f"held-out loss {before:.5f} -> {found.after:.5f} ({found.after / before - 1:+.3%})"
    model.adapter.save_pretrained(tmp_path / "x", dtype="int8")
    model.adapter.detach()
    again = Adapter.from_pretrained(tmp_path / "x").attach(model.backbone)
    assert held_out_loss(again, rows) == found.after


def test_a_loss_over_batches_is_that_over_all_tokens(batches: Any) -> None:
    model, rows = batches
    scores = [model(batch) for batch in rows]
    logits, targets = (torch.cat([getattr(one, name) for one in scores]) for name in ("logits", "targets"))
    wanted = float(nn.functional.cross_entropy(logits.detach().float(), targets))
    assert held_out_loss(model, rows) == pytest.approx(wanted, rel=1e-5)


def test_above_the_limit_nothing_changes_and_the_figures_are_told(batches: Any) -> None:
    model, rows = batches
    first, second = model.adapter.inputs["image"].layers[0], model.adapter.inputs["image"].layers[2]
    optimizer = torch.optim.Adam(second.parameters(), lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        sum(model(batch).loss for batch in rows).backward()
        optimizer.step()
    with torch.no_grad():  # a column that nothing goes through, so large that every other is lost in its step
        first.weight[0] = first.bias[0] = 0.0
        second.weight[:, 0] = 1e4
    before = {name: tensor.clone() for name, tensor in model.adapter.state_dict().items()}
    loss = held_out_loss(model, rows)
    with pytest.raises(
        QuantiseError, match=r"loses too much by int8: held-out loss \d.*-> \d.*\(\+.*%\), allowed \+0.100%"
    ):
        quantise(model, rows)
    assert held_out_loss(model, rows) == loss
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.adapter.state_dict().items())


def test_what_cannot_be_measured_is_refused(batches: Any, backbone_of: Make, adapter_of: Make) -> None:
    model, rows = batches
    with pytest.raises(QuantiseError, match=r"give a list, not a generator"):
        quantise(model, iter(rows))
    with pytest.raises(QuantiseError, match=r"limit: expected a relative rise of at least 0"):
        quantise(model, rows, limit=-1)
    narrow = backbone_of(seed=5)
    with pytest.raises(QuantiseError, match=r"no matrix that int8 makes smaller"):
        quantise(adapter_of(narrow, kind="linear").attach(narrow), rows)


def test_rounding_to_int8_twice_is_rounding_once() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 32), nn.LayerNorm(32))
    round_module(module, "int8")
    once = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    round_module(module, "int8")
    assert all(torch.equal(tensor, once[name]) for name, tensor in module.state_dict().items())
