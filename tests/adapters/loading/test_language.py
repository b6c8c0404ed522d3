"""Folders of many families load as language models, and a folder that cannot is refused with its reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_languages import LANGUAGE_CODES, MASKED, make_language
from transformers import (
    Gemma3nForCausalLM,
    Gemma4ForCausalLM,
    LlamaModel,
    XLNetConfig,
    XLNetLMHeadModel,
)

from inlay.adapters.loading.language import load_language, load_prompt_tokenizer
from inlay.adapters.loading.pretrained import BackboneError


@pytest.fixture
def saved(tokenizer_of: Any, tmp_path: Path) -> Callable[[Any], Path]:
    """A model with a tokenizer in a folder."""

    def save(model: Any) -> Path:
        model.save_pretrained(tmp_path / "llm")
        tokenizer_of().save_pretrained(tmp_path / "llm")
        return tmp_path / "llm"

    return save


@pytest.mark.parametrize("family", MASKED)
def test_a_masked_language_model_is_refused(saved: Any, tokenizer_of: Any, family: str) -> None:
    folder = saved(make_language(MASKED[family], len(tokenizer_of())))
    with pytest.raises(BackboneError, match=rf"expected a causal language model or .*{family}"):
        load_language(folder)


@pytest.mark.parametrize("family", LANGUAGE_CODES)
def test_a_model_whose_decoder_begins_with_a_language_code_is_refused(
    saved: Any, tokenizer_of: Any, family: str
) -> None:
    folder = saved(make_language(LANGUAGE_CODES[family], len(tokenizer_of())))
    with pytest.raises(BackboneError, match=f"type '{family}' begins with the language code of its target"):
        load_language(folder)


def test_a_model_that_does_not_take_embeddings_is_refused(saved: Any, tokenizer_of: Any) -> None:
    config = XLNetConfig(vocab_size=len(tokenizer_of()), d_model=32, n_layer=2, n_head=4, d_inner=48)
    with pytest.raises(BackboneError, match=r"XLNetLMHeadModel does not generate from embeddings \(inputs_embeds\)"):
        load_language(saved(XLNetLMHeadModel(config)))


def with_layer_embeddings(kind: str, model_class: Any, tokenizer: Any) -> Any:
    """Gemma's small models look up further embeddings for each layer, by the ids of the tokens."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    layers = {"layer_types": ["sliding_attention", "full_attention"], "num_kv_shared_layers": 0}
    own: dict[str, Any] = {
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": len(tokenizer),
        "head_dim": 8,
    }
    if kind == "gemma3n":
        own |= {"laurel_rank": 4, "altup_num_inputs": 2, "activation_sparsity_pattern": [0.0, 0.0]}
    config = model_class.config_class(
        vocab_size=len(tokenizer), intermediate_size=48, pad_token_id=2, **sizes, **layers, **own
    )
    torch.manual_seed(0)
    model = model_class(config).eval()
    for name, parameter in model.named_parameters():  # fresh ones start at zero
        if "per_layer" in name or "altup" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    return model


@pytest.mark.parametrize(("kind", "model_class"), [("gemma3n", Gemma3nForCausalLM), ("gemma4", Gemma4ForCausalLM)])
def test_a_model_that_looks_up_more_than_its_embeddings_is_refused(
    saved: Any, tokenizer_of: Any, kind: str, model_class: Any
) -> None:
    with pytest.raises(BackboneError, match=r"so it cannot take media; choose another"):
        load_language(saved(with_layer_embeddings(kind, model_class, tokenizer_of())))


def test_a_model_without_its_head_is_refused(saved: Any, llm_of: Any) -> None:
    with pytest.raises(BackboneError, match=r"1 tensors are missing .*lm_head\.weight"):
        load_language(saved(LlamaModel(llm_of("llama").model.config)))


def test_an_image_model_is_refused(clip_of: Any, saved: Any) -> None:
    with pytest.raises(BackboneError, match=r"got a model of type 'clip_vision_model'"):
        load_language(saved(clip_of().model))


def test_a_tokenizer_without_eos_loads(saved: Any, llm_of: Any) -> None:
    folder = saved(llm_of("llama").model)
    change(folder / "tokenizer_config.json", eos_token=None)
    assert load_language(folder).tokenizer.eos_token_id is None


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def config(**values: Any) -> Callable[[Path], None]:
    return lambda folder: change(folder / "config.json", **values)


def cut(name: str, share: float = 0.5) -> Callable[[Path], None]:
    def shorten(folder: Path) -> None:
        held = (folder / name).read_bytes()
        (folder / name).write_bytes(held[: int(share * len(held))])

    return shorten


def without(*names: str) -> Callable[[Path], None]:
    def remove(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return remove


def index(folder: Path) -> None:
    """The weights are in two shards, of which one is missing."""
    (folder / "model.safetensors").unlink()
    weights = {"model.embed_tokens.weight": "model-00001-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weights}))


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "truncated weights": (cut("model.safetensors"), "a safetensors file is truncated or damaged"),
    "almost whole weights": (cut("model.safetensors", 0.999), "a safetensors file is truncated or damaged"),
    "empty weights": (cut("model.safetensors", 0.0), "a safetensors file is truncated or damaged"),
    "no weights": (without("model.safetensors"), "no file named model.safetensors"),
    "a missing shard": (index, "model-00001-of-00002.safetensors"),
    "truncated config": (cut("config.json"), "not a valid JSON file"),
    "no config": (without("config.json"), "model_type"),
    "unknown type": (config(model_type="nosuch"), "nosuch"),
    "code of its own": (config(model_type="nosuch", auto_map={"AutoConfig": "x.Y"}), "which is never run"),
    "text for a number": (config(hidden_size="abc"), "hidden_size"),
    "no heads": (config(num_attention_heads=0, head_dim=None), "ZeroDivisionError"),
    "another width": (config(hidden_size=64), r"the file has \[378, 32\], the config \[378, 64\]"),
    "more layers": (config(num_hidden_layers=3), r"9 tensors are missing"),
    "fewer layers": (
        config(num_hidden_layers=1),
        r"config.json has 1 layers, the weights have more: model\.layers\.1\.",
    ),
    "negative layers": (config(num_hidden_layers=-1), "has 0 layers|layers"),
    "another vocabulary": (config(vocab_size=999), r"the file has \[378, 32\], the config \[999, 32\]"),
    "unknown activation": (config(hidden_act="nope"), "KeyError: 'nope'"),
    "unknown dtype": (config(dtype="float99"), "float99"),
    "text for an id": (
        lambda folder: change(folder / "generation_config.json", eos_token_id="x"),
        "expected token ids",
    ),
    "truncated tokenizer": (cut("tokenizer.json"), "no tokenizer could be loaded"),
    "no tokenizer": (without("tokenizer.json", "tokenizer_config.json"), "expected tokenizer.json"),
    "no tokenizer.json": (without("tokenizer.json"), "expected tokenizer.json"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_folder_is_one_clear_error(saved: Any, llm_of: Any, tmp_path: Path, damage: str) -> None:
    folder = saved(llm_of("llama").model)
    spoil, message = DAMAGE[damage]
    spoil(folder)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(BackboneError, match=message) as caught:
        load_language(folder)
    assert str(folder) in str(caught.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_an_untouched_folder_loads(saved: Any, llm_of: Any) -> None:
    assert load_language(saved(llm_of("llama").model)).family == "llama"


def test_no_memory_is_not_turned_into_a_fault_of_the_files(
    saved: Any, llm_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inlay.adapters.loading import language

    def load(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(language, "load_weights", load)
    with pytest.raises(torch.OutOfMemoryError):
        load_language(saved(llm_of("llama").model))


def test_a_prompt_tokenizer_needs_its_files(tmp_path: Path, tokenizer_of: Any) -> None:
    tokenizer_of().save_pretrained(tmp_path / "tokenizer")
    assert load_prompt_tokenizer(tmp_path / "tokenizer", revision="a" * 40).revision == "a" * 40
    shutil.rmtree(tmp_path / "tokenizer")
    (tmp_path / "tokenizer").mkdir()
    with pytest.raises(BackboneError, match="no tokenizer could be loaded"):
        load_prompt_tokenizer(tmp_path / "tokenizer")
