"""Tiny random language models of many families of transformers, two layers each."""

from __future__ import annotations

from typing import Any

import torch
import transformers

__all__ = ["DECODERS", "ENCODER_DECODERS", "MASKED", "make_language"]

_SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "pad_token_id": 2,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "max_position_embeddings": 128,
}
_FFN = {"intermediate_size": 48}
_GQA = {**_SIZES, **_FFN, "num_key_value_heads": 2}
_GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "bos_token_id": 0, "eos_token_id": 1}
_NARROW = {"hidden_size": 32, "num_hidden_layers": 2, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}

DECODERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bert with is_decoder": ("BertLMHeadModel", "BertConfig", {**_SIZES, **_FFN, "is_decoder": True}),
    "bloom": ("BloomForCausalLM", "BloomConfig", {"hidden_size": 32, "n_layer": 2, "n_head": 4, "pad_token_id": 2}),
    "falcon": ("FalconForCausalLM", "FalconConfig", {**_NARROW, "num_attention_heads": 4}),
    "gemma": ("GemmaForCausalLM", "GemmaConfig", {**_GQA, "head_dim": 8}),
    "gemma2": ("Gemma2ForCausalLM", "Gemma2Config", {**_GQA, "head_dim": 8}),
    "gemma3": ("Gemma3ForCausalLM", "Gemma3TextConfig", {**_GQA, "head_dim": 8}),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", _GPT),
    "gpt_neox": ("GPTNeoXForCausalLM", "GPTNeoXConfig", {**_SIZES, **_FFN}),
    "gptj": ("GPTJForCausalLM", "GPTJConfig", {**_GPT, "rotary_dim": 4}),
    "llama": ("LlamaForCausalLM", "LlamaConfig", _GQA),
    "mamba": ("MambaForCausalLM", "MambaConfig", {**_NARROW, "state_size": 8}),
    "mistral": ("MistralForCausalLM", "MistralConfig", _GQA),
    "mixtral": ("MixtralForCausalLM", "MixtralConfig", {**_GQA, "num_local_experts": 2, "num_experts_per_tok": 1}),
    "mpt": ("MptForCausalLM", "MptConfig", {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 64}),
    "olmo": ("OlmoForCausalLM", "OlmoConfig", _GQA),
    "opt": ("OPTForCausalLM", "OPTConfig", {**_SIZES, "ffn_dim": 48, "word_embed_proj_dim": 32}),
    "phi": ("PhiForCausalLM", "PhiConfig", _GQA),
    "phi3": ("Phi3ForCausalLM", "Phi3Config", _GQA),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", _GQA),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", {**_GQA, "head_dim": 8}),
    "rwkv": ("RwkvForCausalLM", "RwkvConfig", _NARROW),
    "stablelm": ("StableLmForCausalLM", "StableLmConfig", _GQA),
}
_HALVES = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "max_position_embeddings": 64,
    "pad_token_id": 2,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 1,
}
_T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_decoder_layers": 2, "num_heads": 4}
_T5_IDS = {"pad_token_id": 2, "eos_token_id": 1, "decoder_start_token_id": 2}
ENCODER_DECODERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bart": ("BartForConditionalGeneration", "BartConfig", {**_HALVES, "forced_eos_token_id": 1}),
    "t5": ("T5ForConditionalGeneration", "T5Config", {**_T5, **_T5_IDS}),
}
MASKED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bert": ("BertForMaskedLM", "BertConfig", {**_SIZES, **_FFN}),
    "roberta": ("RobertaForMaskedLM", "RobertaConfig", {**_SIZES, **_FFN}),
    "electra": ("ElectraForMaskedLM", "ElectraConfig", {**_SIZES, **_FFN, "embedding_size": 32}),
    "distilbert": ("DistilBertForMaskedLM", "DistilBertConfig", {"dim": 32, "n_layers": 2, "n_heads": 4}),
    "modernbert": ("ModernBertForMaskedLM", "ModernBertConfig", {**_SIZES, **_FFN}),
}


def make_language(kind: tuple[str, str, dict[str, Any]], vocabulary: int, seed: int = 0) -> Any:
    """A model of one entry of the tables above, in eval mode."""
    torch.manual_seed(seed)
    model_class, config_class, sizes = kind
    config = getattr(transformers, config_class)(**{"vocab_size": vocabulary, **sizes})
    return getattr(transformers, model_class)(config).eval()
