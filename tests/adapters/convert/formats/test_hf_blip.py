"""Folders of transformers' BLIP-2 and InstructBLIP, against the forward pass of the same model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from blip_checkpoints import blip_folder, blip_logits_differ, hf_blip
from foreign_checkpoints import attached, relaid

from inlay.adapters.convert import ConvertError, import_adapter, read_checkpoint


@pytest.fixture
def folder(tokenizer_of: Any, tmp_path: Path) -> Path:
    return blip_folder(tmp_path / "blip2-opt", hf_blip("blip2", tokenizer_of()), tokenizer_of())


@pytest.mark.parametrize(("system", "family"), [("blip2", "opt"), ("blip2", "t5"), ("instructblip", "llama")])
def test_logits_of_the_bundle_equal_the_folders_own(
    llm_of: Any, prompt_tokenizer_of: Any, image_of: Any, tmp_path: Path, system: str, family: str
) -> None:
    llm, prompts = llm_of(family), prompt_tokenizer_of()
    text = llm.model.config if family == "t5" else None
    reference = hf_blip(system, llm.tokenizer, family=family, vocabulary=prompts.vocabulary, text=text)
    place = blip_folder(tmp_path / "x", reference, llm.tokenizer, prompts if system == "instructblip" else None)
    model = attached(import_adapter(place, dtype="float32"), tmp_path / "bundle")
    assert model.adapter.layout.template == system
    assert blip_logits_differ(model, reference, image_of) <= 1e-5


def test_missing_extra_and_misshapen_tensors_are_named(folder: Path) -> None:
    relaid(folder / "model.safetensors", ((r"^query_tokens$", "vision_tokens"),))
    with pytest.raises(ConvertError, match=r"1 others: vision_tokens"):
        read_checkpoint(folder)
    relaid(folder / "model.safetensors", ((r"^vision_tokens$", "language_model.query_tokens"),))
    with pytest.raises(ConvertError, match="query_tokens is missing"):
        read_checkpoint(folder)


def test_a_missing_layer_norm_is_named(folder: Path) -> None:
    relaid(folder / "model.safetensors", ((r"^qformer\.layernorm\.bias$", "language_model.gone"),))
    with pytest.raises(ConvertError, match=r"inputs\.image\.qformer\.model\.layernorm\.bias is missing"):
        import_adapter(folder)


@pytest.mark.parametrize(("field", "value"), [("hidden_act", "relu"), ("use_qformer_text_input", True)])
def test_a_q_former_of_another_kind_is_refused_by_name(folder: Path, field: str, value: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["qformer_config"][field] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConvertError, match=field):
        read_checkpoint(folder)


def test_sizes_and_epsilon_are_those_of_the_folder(folder: Path) -> None:
    kind, sizes = read_checkpoint(folder).inputs["image"]
    assert (kind, sizes["heads"], sizes["layers"], sizes["cross_every"], sizes["norm_eps"]) == (
        "qformer",
        2,
        3,
        2,
        1e-6,
    )
