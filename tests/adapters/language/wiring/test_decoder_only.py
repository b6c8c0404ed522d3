"""Decoder-only families of transformers against their own loss: the same loss and gradients, padded on either side."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from inlay.adapters.language.decoder_layers import decoder_layers
from inlay.adapters.language.model import LanguageModel, LanguageModelError

SHARED = {
    "vocab_size": 378,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 2,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
HEADS = {"head_dim": 8}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
LATENT = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8}
ROUTED = {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "moe_intermediate_size": 16}
STATES = {"state_size": 4, "num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 8}
# Family: its own sizes, whether its scores are those of its head, and whether it reads packed rows.
FAMILIES: dict[str, tuple[dict[str, Any], bool, bool]] = {
    "LlamaForCausalLM": ({}, True, True),
    "MistralForCausalLM": ({"sliding_window": None}, True, True),
    "Qwen2ForCausalLM": ({}, True, True),
    "Qwen3ForCausalLM": (HEADS, True, True),
    "GemmaForCausalLM": (HEADS, True, True),
    "Gemma2ForCausalLM": (HEADS, False, False),
    "Gemma3ForCausalLM": (HEADS, True, False),
    "PhiForCausalLM": ({"partial_rotary_factor": 0.5}, True, True),
    "Phi3ForCausalLM": ({"sliding_window": None}, True, True),
    "OPTForCausalLM": ({"ffn_dim": 48, "word_embed_proj_dim": 32}, True, True),
    "GPTNeoXForCausalLM": ({}, True, True),
    "GPT2LMHeadModel": ({}, True, True),
    "GPTBigCodeForCausalLM": ({}, True, True),
    "GPTJForCausalLM": ({"rotary_dim": 4}, True, False),
    "BloomForCausalLM": ({}, True, False),
    "FalconForCausalLM": ({}, True, False),
    "MptForCausalLM": ({}, True, False),
    "Olmo2ForCausalLM": ({}, True, True),
    "CohereForCausalLM": ({}, False, True),
    "GraniteForCausalLM": ({"logits_scaling": 8.0}, False, True),
    "Starcoder2ForCausalLM": ({}, True, True),
    "SmolLM3ForCausalLM": ({}, True, True),
    "Glm4ForCausalLM": (HEADS, True, True),
    "Qwen3MoeForCausalLM": ({**HEADS, **EXPERTS}, True, True),
    "DeepseekV3ForCausalLM": ({**LATENT, **ROUTED, "num_key_value_heads": 4}, True, True),
    "GptOssForCausalLM": ({**HEADS, "num_local_experts": 2, "num_experts_per_tok": 1}, True, False),
    "Llama4ForCausalLM": ({**HEADS, "intermediate_size_mlp": 48, "num_local_experts": 2}, True, False),
    "MambaForCausalLM": ({"state_size": 4}, True, False),
    "Mamba2ForCausalLM": (STATES, True, False),
    "Lfm2ForCausalLM": ({"layer_types": ["conv", "full_attention"]}, True, False),
}
LENGTHS = (9, 4, 6)


@pytest.fixture
def llm_of_class(tokenizer_of: Any) -> Any:
    def make(name: str, **changes: Any) -> LanguageModel:
        torch.manual_seed(0)
        family = getattr(transformers, name)
        model = family(family.config_class(**{**SHARED, **FAMILIES[name][0], **changes}))
        return LanguageModel(model, tokenizer_of())

    return make


def on_the_left(values: torch.Tensor) -> torch.Tensor:
    """Rows padded on the right -> padded on the left."""
    width = values.shape[1]
    return torch.stack([row.roll(width - length, 0) for row, length in zip(values, LENGTHS, strict=True)])


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, mask and labels of three rows, padded on the right."""
    torch.manual_seed(1)
    mask = (torch.arange(max(LENGTHS)).expand(3, -1) < torch.tensor(LENGTHS)[:, None]).long()
    ids = torch.randint(5, 300, mask.shape) * mask
    labels = torch.where((torch.rand(mask.shape) < 0.6) & mask.bool(), ids, -100)
    labels[:, 2] = ids[:, 2]
    return ids, mask, labels


@pytest.mark.parametrize("name", list(FAMILIES))
def test_loss_and_gradients_are_those_of_transformers(llm_of_class: Any, name: str) -> None:
    llm = llm_of_class(name)
    ids, mask, labels = batch()
    given = llm.embed(ids).detach().requires_grad_()
    wanted = llm.model(inputs_embeds=given, attention_mask=mask, labels=labels, use_cache=False).loss
    (pull,) = torch.autograd.grad(wanted, given)
    for side in (torch.clone, on_the_left):
        embeddings = side(given.detach()).requires_grad_()
        loss = llm.loss(embeddings, side(mask), llm.plan(side(labels), side(mask)))
        (found,) = torch.autograd.grad(loss, embeddings)
        torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=0)
        assert float((found - side(pull)).abs().max()) <= 1e-5 * float(pull.abs().max())
    (paths,) = llm._paths.values()
    assert (paths.head, paths.packs) == FAMILIES[name][1:]
    assert len(decoder_layers(llm.model)) == 2


@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_padded_batch_is_continued_like_its_rows_alone(llm_of_class: Any, name: str) -> None:
    llm = llm_of_class(name)
    ids, mask, _ = batch()
    options = {"max_new_tokens": 4, "do_sample": False}
    padded = llm.generate(on_the_left(llm.embed(ids)), on_the_left(mask), **options)
    for row, length, found in zip(ids, LENGTHS, padded.rows, strict=True):
        alone = llm.model.generate(row[None, :length], pad_token_id=2, eos_token_id=1, **options)[0, length:]
        assert found == alone.tolist()[: len(found)]


@pytest.mark.parametrize("name", ["MambaForCausalLM", "BloomForCausalLM", "MptForCausalLM"])
def test_a_model_without_position_embeddings_has_no_limit(llm_of_class: Any, name: str) -> None:
    llm = llm_of_class(name)
    if hasattr(llm.model.config, "max_position_embeddings"):
        del llm.model.config.max_position_embeddings  # the shared sizes set it, the family's own configs do not
    assert llm.context is None
    assert llm.port.settings["layers"] == 2


def test_a_model_that_overwrites_scores_of_its_head_is_taken_as_it_is(tokenizer_of: Any) -> None:
    torch.manual_seed(0)
    pictures = {"vocabulary_map": {"IMGIMGA": 7, "<image>": 9}, "vq_config": {"base_channels": 32}}
    model = transformers.ChameleonForConditionalGeneration(transformers.ChameleonConfig(**SHARED, **pictures))
    llm = LanguageModel(model, tokenizer_of())
    ids, mask, labels = batch()
    embeddings = llm.embed(ids)
    wanted = model(inputs_embeds=embeddings, attention_mask=mask, labels=labels.masked_fill(labels == 7, -100)).loss
    loss = llm.loss(embeddings, mask, llm.plan(labels.masked_fill(labels == 7, -100), mask))
    torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=0)
    assert not next(iter(llm._paths.values())).head


def test_a_recurrent_model_that_reads_padding_answers_one_row_at_a_time(tokenizer_of: Any) -> None:
    torch.manual_seed(0)
    own = {"lru_width": 32, "block_types": ("recurrent", "attention"), "num_hidden_layers": 2}
    config = transformers.RecurrentGemmaConfig(**{**SHARED, **own})
    llm = LanguageModel(transformers.RecurrentGemmaForCausalLM(config), tokenizer_of())
    ids, mask, _ = batch()
    embeddings = llm.embed(ids)
    with pytest.raises(LanguageModelError, match="one conversation at a time"):
        llm.generate(on_the_left(embeddings), on_the_left(mask), max_new_tokens=2)
    assert len(llm.generate(embeddings[:1], mask[:1], max_new_tokens=2, do_sample=False).rows) == 1


def test_a_model_that_cannot_start_from_embeddings_says_so(tokenizer_of: Any) -> None:
    torch.manual_seed(0)
    llm = LanguageModel(transformers.OpenAIGPTLMHeadModel(transformers.OpenAIGPTConfig(**SHARED)), tokenizer_of())
    with pytest.raises(LanguageModelError, match="inputs_embeds"):
        llm.generate(torch.zeros(1, 3, 32), torch.ones(1, 3, dtype=torch.long), max_new_tokens=2)
