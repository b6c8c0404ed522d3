"""A language model in 4 or 8 bits: what is quantised, what trains on it, and what a bundle says of it."""

from __future__ import annotations

import importlib.util
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.compatibility.verdict import OtherWeightsWarning
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.language.precision import precision_of
from inlay.adapters.loading import quantisation as quantised
from inlay.adapters.loading.language import load_language
from inlay.adapters.loading.pretrained import BackboneError

needs_library = pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not there")
KINDS = pytest.mark.parametrize("kind", ["nf4", "int8"])


@pytest.fixture
def folder(llm_of: Any, tmp_path: Path) -> Path:
    """A LLaMA whose linears are wide enough for blocks of 64."""
    llm = llm_of("llama", hidden_size=128, intermediate_size=256)
    llm.model.save_pretrained(tmp_path / "llm")
    llm.tokenizer.save_pretrained(tmp_path / "llm")
    return tmp_path / "llm"


@pytest.fixture
def load(folder: Path, clip_of: Any) -> Any:
    def make(kind: str | None) -> Backbone:
        return Backbone(load_language(folder, dtype=torch.float32, quantise=kind), {"image": clip_of()})

    return make


def loss_of(model: Any, image: Any) -> torch.Tensor:
    user = Message("user", (MediaPart("image", image), TextPart("what is shown?")))
    batch = model.batch([[user, Message("assistant", (TextPart("a small red star"),))]])
    loss: torch.Tensor = model(batch, logits="none").loss
    return loss


@needs_library
@KINDS
def test_linears_of_the_layers_alone_are_quantised(load: Any, kind: str) -> None:
    model = load(kind).llm.model
    whole = {name for name, parameter in model.named_parameters() if parameter.is_floating_point()}
    packed = {name for name, parameter in model.named_parameters() if not parameter.is_floating_point()}
    assert "lm_head.weight" in whole
    assert "model.embed_tokens.weight" in whole
    assert packed == {n for n, _ in model.named_parameters() if n.endswith("proj.weight")}
    assert precision_of(model) == kind


@needs_library
@KINDS
def test_loss_is_near_that_of_the_whole_model_and_every_part_learns(
    load: Any, adapter_of: Any, image_of: Any, kind: str
) -> None:
    plain = load(None)
    exact = loss_of(adapter_of(plain).attach(plain), image_of(0))
    packed = load(kind)
    model = adapter_of(packed).attach(packed)
    loss = loss_of(model, image_of(0))
    loss.backward()
    assert loss.item() == pytest.approx(exact.item(), rel=0.05)
    assert loss.item() != exact.item()
    assert all(p.grad is not None and p.grad.any() and p.is_floating_point() for p in model.adapter.parameters())


@needs_library
@KINDS
def test_a_bundle_says_so_and_comes_back_to_the_same_with_its_canary(
    load: Any, adapter_of: Any, tmp_path: Path, kind: str
) -> None:
    packed = load(kind)
    adapter = adapter_of(packed)
    adapter.attach(packed)
    adapter.save_pretrained(tmp_path / "bundle")
    adapter.detach()
    again = Adapter.from_pretrained(tmp_path / "bundle")
    assert again.interface["llm"].settings["precision"] == kind
    other = load(kind)
    assert again.compatibility(other).verdict == "exact"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again.attach(other, strict=True)


@needs_library
def test_another_precision_fits_and_is_told(load: Any, adapter_of: Any) -> None:
    packed, plain = load("nf4"), load(None)
    report = adapter_of(packed).compatibility(plain)
    assert report.verdict == "fits"
    rows = {row.field: (row.expected, row.found) for row in report.rows}
    assert rows["precision"] == ("nf4", "not quantised")
    adapter = adapter_of(packed)
    adapter.training_facts = object()  # as one that was trained
    with pytest.warns(OtherWeightsWarning, match="precision  nf4"):
        adapter.attach(plain)


def test_without_the_library_the_error_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantised, "find_spec", lambda _: None)
    with pytest.raises(BackboneError, match=r"pip install 'inlay\[quantised\]'"):
        load_language(folder, quantise="nf4")


STORED = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}


@pytest.mark.parametrize(
    ("values", "quantise", "message"),
    [
        (STORED, None, r"stored in nf4 and need bitsandbytes.*pip install 'inlay\[quantised\]'"),
        (STORED, "int8", "these weights are stored in nf4, int8 was asked for"),
        (STORED | {"bnb_4bit_quant_type": "fp4"}, None, "expected bitsandbytes nf4 or int8, got fp4"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, None, "stored in int8 and need bitsandbytes"),
        ({"load_in_8bit": True}, None, "stored in int8 and need bitsandbytes"),
        ({"quant_method": "gptq", "bits": 4}, None, "quantised with gptq are not supported; use the checkpoint"),
        ({}, None, "are not supported"),
    ],
)
def test_weights_that_were_quantised_before_they_were_saved_are_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, values: Any, quantise: str | None, message: str
) -> None:
    monkeypatch.setattr(quantised, "find_spec", lambda _: None)
    config = json.loads((folder / "config.json").read_text()) | {"quantization_config": values}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BackboneError, match=message):
        load_language(folder, quantise=quantise)


@needs_library
@KINDS
def test_weights_that_are_stored_in_few_bits_load_as_they_are(folder: Path, tmp_path: Path, kind: str) -> None:
    stored = load_language(folder, dtype=torch.float32, quantise=kind)
    stored.model.save_pretrained(tmp_path / "stored")
    stored.tokenizer.save_pretrained(tmp_path / "stored")
    assert precision_of(load_language(tmp_path / "stored").model) == kind


def test_unknown_kinds_are_refused(folder: Path) -> None:
    with pytest.raises(BackboneError, match="expected one of nf4, int8, got 'int3'"):
        load_language(folder, quantise="int3")


def test_unquantised_models_say_nothing_of_it(load: Any) -> None:
    assert "precision" not in load(None).llm.port.settings
