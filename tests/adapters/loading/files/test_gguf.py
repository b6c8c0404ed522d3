"""A language model in a GGUF file has the weights and the tokenizer that were written into it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_layouts import write_vicuna
from sentencepiece import SentencePieceProcessor
from torch import Tensor

from inlay.adapters.loading.files.exact_tokenizer import PROBES, TokenizerWarning
from inlay.adapters.loading.files.gguf import sentencepiece_of
from inlay.adapters.loading.language import load_language

gguf = pytest.importorskip("gguf", reason="the extra gguf is not installed")
IDS = torch.tensor([[5, 6, 7, 8]])


def paired(weight: Tensor, heads: int) -> Tensor:
    """Queries and keys in llama.cpp's order: both halves of a head's rotation alternate."""
    rows, columns = weight.shape
    return weight.view(heads, 2, rows // heads // 2, columns).transpose(1, 2).reshape(rows, columns)


def write_gguf(path: Path, model: Any, tokenizer: Path) -> None:
    """A LLaMA in float32, as llama.cpp's converter writes it."""
    config, state = model.config, model.state_dict()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    held: Any = SentencePieceProcessor(str(tokenizer))
    ids = range(held.vocab_size())
    kinds = [2 if held.is_unknown(n) else 3 if held.is_control(n) else 6 if held.is_byte(n) else 1 for n in ids]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([held.id_to_piece(n) for n in ids])
    writer.add_token_scores([held.get_score(n) for n in ids])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in state.items():
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
        kept = paired(tensor, heads) if heads else tensor
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), kept.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("named", ["folder", "file"])
def test_a_gguf_file_loads_with_its_weights_and_tokenizer(tmp_path: Path, named: str) -> None:
    model = write_vicuna(tmp_path / "hf")
    (tmp_path / "llm").mkdir()
    file = tmp_path / "llm" / "tiny-f32.gguf"
    write_gguf(file, model, tmp_path / "hf" / "tokenizer.model")
    language = load_language(file if named == "file" else file.parent)
    with torch.no_grad():
        torch.testing.assert_close(language.logits(language.embed(IDS), torch.ones_like(IDS)), model(IDS).logits)
    truth: Any = SentencePieceProcessor(str(tmp_path / "hf" / "tokenizer.model"))
    assert language.tokenizer("two cats", add_special_tokens=False).input_ids == truth.encode("two cats")
    assert language.source == ("tiny-f32.gguf" if named == "file" else "llm")


def test_a_tokenizer_of_sentencepiece_in_a_gguf_file_encodes_as_the_original(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    file = tmp_path / "tiny-f32.gguf"
    write_gguf(file, write_vicuna(tmp_path / "hf"), tmp_path / "hf" / "tokenizer.model")
    tokenizer = load_language(file).tokenizer
    truth: Any = SentencePieceProcessor(str(tmp_path / "hf" / "tokenizer.model"))
    wrong = [text for text in PROBES if tokenizer(text, add_special_tokens=False).input_ids != truth.encode(text)]
    assert wrong == []
    assert [warning for warning in recwarn if issubclass(warning.category, TokenizerWarning)] == []
    behind = tokenizer("hi</s>USER: hi", add_special_tokens=False).input_ids
    assert behind == [*truth.encode("hi"), 2, *truth.encode("USER: hi")]


def test_the_model_of_a_gguf_file_is_the_one_that_was_written(tmp_path: Path) -> None:
    file = tmp_path / "tiny-f32.gguf"
    write_gguf(file, write_vicuna(tmp_path / "hf"), tmp_path / "hf" / "tokenizer.model")
    truth: Any = SentencePieceProcessor(str(tmp_path / "hf" / "tokenizer.model"))
    again: Any = SentencePieceProcessor()
    again.LoadFromSerializedProto(sentencepiece_of(file))
    assert [again.encode(text) for text in PROBES] == [truth.encode(text) for text in PROBES]


def test_without_sentencepiece_a_warning_says_that_nothing_was_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tiny-f32.gguf"
    write_gguf(file, write_vicuna(tmp_path / "hf"), tmp_path / "hf" / "tokenizer.model")
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    monkeypatch.setitem(sys.modules, "sentencepiece.sentencepiece_model_pb2", None)
    with pytest.warns(TokenizerWarning, match="not compared with sentencepiece, which is not installed"):
        load_language(file)


def test_a_vocabulary_that_sentencepiece_does_not_take_is_loaded_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tiny-f32.gguf"
    model = write_vicuna(tmp_path / "hf")
    add = gguf.GGUFWriter.add_token_list
    monkeypatch.setattr(gguf.GGUFWriter, "add_token_list", lambda self, pieces: add(self, [*pieces[:-1], pieces[-2]]))
    write_gguf(file, model, tmp_path / "hf" / "tokenizer.model")
    with pytest.warns(TokenizerWarning, match="does not accept this vocabulary"):
        load_language(file)
