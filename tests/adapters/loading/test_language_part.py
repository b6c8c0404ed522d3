"""Of a finished multimodal model the language model alone is loaded, or the folder is refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from blip_checkpoints import hf_blip
from foreign_checkpoints import hf_llava
from tiny_languages import MULTIMODAL, make_language
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

from inlay.adapters.loading.language import load_language
from inlay.adapters.loading.pretrained import BackboneError


@pytest.fixture
def saved(tokenizer_of: Any, tmp_path: Path) -> Callable[[Any], Path]:
    """A model with a tokenizer in a folder."""

    def save(model: Any) -> Path:
        model.save_pretrained(tmp_path)
        tokenizer_of().save_pretrained(tmp_path)
        return tmp_path

    return save


def test_a_language_part_that_is_no_causal_model_of_transformers_is_refused(saved: Any, tokenizer_of: Any) -> None:
    text = {"vocab_size": len(tokenizer_of()), "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
    config = Qwen2VLConfig(
        text_config={**text, "num_key_value_heads": 2, "intermediate_size": 48, "rope_parameters": rope},
        vision_config={"depth": 1, "embed_dim": 16, "hidden_size": 32, "num_heads": 2},
    )
    with pytest.raises(BackboneError, match=r"type 'qwen2_vl'.*no causal language model for its language part"):
        load_language(saved(Qwen2VLForConditionalGeneration(config)))


@pytest.mark.parametrize("family", MULTIMODAL)
def test_of_a_finished_multimodal_model_the_language_part_alone_is_loaded(
    saved: Any, tokenizer_of: Any, family: str
) -> None:
    model = make_language(MULTIMODAL[family], len(tokenizer_of()))
    language = load_language(saved(model))
    assert language.family == model.config.get_text_config().model_type
    ids = torch.tensor([[15, 16, 17]])
    with torch.no_grad():
        found = language.logits(language.embed(ids), torch.ones_like(ids))
        torch.testing.assert_close(found, model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits)


def test_a_vision_tower_with_more_layers_than_the_language_model_is_no_damage(saved: Any, tokenizer_of: Any) -> None:
    model = hf_llava(tokenizer_of())
    assert model.config.vision_config.num_hidden_layers > model.config.text_config.num_hidden_layers
    assert load_language(saved(model)).family == "llama"


def test_the_encoder_decoder_of_a_multimodal_model_is_loaded(saved: Any, llm_of: Any) -> None:
    t5 = llm_of("t5")
    model = hf_blip("blip2", t5.tokenizer, text=t5.model.config)
    language = load_language(saved(model))
    assert language.family == "t5"
    theirs = model.language_model.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in language.model.state_dict().items())
