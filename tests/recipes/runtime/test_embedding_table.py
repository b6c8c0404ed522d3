"""The embeddings of a language model, read without the rest of its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_languages import DECODERS, make_language

from inlay.adapters.export.gguf.base import base_content
from inlay.adapters.export.gguf.gguf_file import write_gguf
from inlay.adapters.loading.pretrained import BackboneError
from inlay.recipes.runtime.embedding_table import load_embedding_table

IDS = torch.tensor([[3, 1, 7]])


def saved(folder: Path, model: Any, tokenizer: Any, **options: Any) -> Path:
    model.save_pretrained(folder, **options)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma", "gemma2", "gemma3"])
def test_embeddings_equal_those_of_the_whole_model(family: str, tokenizer_of: Any, tmp_path: Path) -> None:
    model = make_language(DECODERS[family], 400)
    kept = load_embedding_table(saved(tmp_path, model, tokenizer_of()))
    assert torch.equal(kept.table(IDS), model.get_input_embeddings()(IDS))
    assert kept.config.model_type == model.config.model_type
    assert kept.generation.eos_token_id == model.generation_config.eos_token_id


def test_only_the_shard_with_the_embeddings_is_opened(tokenizer_of: Any, tmp_path: Path) -> None:
    model = make_language(DECODERS["llama"], 400)
    saved(tmp_path, model, tokenizer_of(), max_shard_size="30KB")
    places = json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"]
    needed = places["model.embed_tokens.weight"]
    others = {name for name in places.values() if name != needed}
    assert others
    for name in others:
        (tmp_path / name).unlink()
    assert torch.equal(load_embedding_table(tmp_path).table(IDS), model.get_input_embeddings()(IDS))


def test_the_language_part_of_a_multimodal_folder(tokenizer_of: Any, tmp_path: Path) -> None:
    model = make_language(DECODERS["llama"], 400)
    vision = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**vision), text_config=model.config, image_token_index=5
    )
    whole = transformers.LlavaForConditionalGeneration(config)
    saved(tmp_path, whole, tokenizer_of())
    assert torch.equal(load_embedding_table(tmp_path).table(IDS), whole.get_input_embeddings()(IDS))


def test_a_gguf_file_stands_in_where_there_are_no_weights(tokenizer_of: Any, tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    model = make_language(DECODERS["llama"], 400)
    saved(tmp_path, model, tokenizer_of())
    (tmp_path / "model.safetensors").unlink()
    write_gguf(tmp_path / "base.gguf", base_content(model, "q8_0"))
    found = load_embedding_table(tmp_path, gguf=tmp_path / "base.gguf").table(IDS)
    expected = model.get_input_embeddings()(IDS).detach()
    assert float((found - expected).abs().max()) <= float(expected.abs().max()) / 127
    with pytest.raises(BackboneError, match=r"expected the token embeddings model.embed_tokens.weight in safetensors"):
        load_embedding_table(tmp_path)


def test_embeddings_of_another_size_are_refused(tokenizer_of: Any, tmp_path: Path) -> None:
    model = make_language(DECODERS["llama"], 400)
    saved(tmp_path, model, tokenizer_of())
    held = load_file(tmp_path / "model.safetensors")
    held["model.embed_tokens.weight"] = torch.zeros(7, 32)
    save_file(held, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(BackboneError, match=r"expected token embeddings \[.*got \[7, 32\]"):
        load_embedding_table(tmp_path)


def test_an_encoder_decoder_is_refused(llm_of: Any, tokenizer_of: Any, tmp_path: Path) -> None:
    saved(tmp_path, llm_of("t5").model, tokenizer_of(bos=False, eos=True))
    with pytest.raises(BackboneError, match="expected a decoder-only language model, got 't5'"):
        load_embedding_table(tmp_path)
