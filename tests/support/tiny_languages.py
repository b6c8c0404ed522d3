"""Tiny random language models of many families of transformers, two layers each."""

from __future__ import annotations

from typing import Any

import torch
import transformers

__all__ = ["DECODERS", "ENCODER_DECODERS", "LANGUAGE_CODES", "MASKED", "MULTIMODAL", "make_language"]

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
_HEADS = {**_GQA, "head_dim": 8}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
_LOCAL = {"num_local_experts": 2, "num_experts_per_tok": 1}
_SHARED = {"shared_expert_intermediate_size": 24, "decoder_sparse_step": 1, "mlp_only_layers": []}
_ROPE = {"qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "head_dim": 4}
_LATENT = {**_GQA, **_ROPE, "num_key_value_heads": 4, "q_lora_rank": 8, "kv_lora_rank": 8, "v_head_dim": 8}
_ROUTED = {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "moe_intermediate_size": 16}
_ROUTED |= {"n_shared_experts": 1, "first_k_dense_replace": 1}
_STATES = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 8}
_GATED: dict[str, Any] = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
_GATED |= {"layer_types": ["linear_attention", "full_attention"]}
_MIXED = {"layer_types": ["sliding_attention", "full_attention"], "num_kv_shared_layers": 0}
_ZAMBA = {"layers_block_type": ["mamba", "hybrid"], "mamba_d_state": 8, "mamba_headdim": 8, "mamba_ngroups": 1}
_ZAMBA |= {"n_mamba_heads": 8, "chunk_size": 8, "num_mem_blocks": 1, "attention_head_dim": 16, "hybrid_layer_ids": [1]}
_JAMBA: dict[str, Any] = {"num_experts": 2, "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2}
_JAMBA |= {"expert_layer_offset": 1, "mamba_d_state": 4, "use_mamba_kernels": False}
_NEMOTRON = {"layers_block_type": ["mamba", "attention"], "mamba_num_heads": 8, "mamba_head_dim": 8}
_NEMOTRON |= {"ssm_state_size": 8, "n_groups": 1, "chunk_size": 8}
_PAIRS = [[["global", "local"], 1]]

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
    "afmoe": ("AfmoeForCausalLM", "AfmoeConfig", {**_HEADS, **_EXPERTS, "num_dense_layers": 1}),
    "apertus": ("ApertusForCausalLM", "ApertusConfig", _GQA),
    "arcee": ("ArceeForCausalLM", "ArceeConfig", _GQA),
    "bamba": ("BambaForCausalLM", "BambaConfig", {**_GQA, **_STATES, "attn_layer_indices": [1]}),
    "biogpt": ("BioGptForCausalLM", "BioGptConfig", {**_SIZES, **_FFN}),
    "bitnet": ("BitNetForCausalLM", "BitNetConfig", _GQA),
    "codegen": ("CodeGenForCausalLM", "CodeGenConfig", {**_GPT, "rotary_dim": 4}),
    "cohere": ("CohereForCausalLM", "CohereConfig", _GQA),
    "cohere2": ("Cohere2ForCausalLM", "Cohere2Config", _HEADS),
    "ctrl": ("CTRLLMHeadModel", "CTRLConfig", {**_GPT, "dff": 48}),
    "deepseek_v2": ("DeepseekV2ForCausalLM", "DeepseekV2Config", {**_LATENT, **_ROUTED}),
    "deepseek_v3": ("DeepseekV3ForCausalLM", "DeepseekV3Config", {**_LATENT, **_ROUTED}),
    "dots1": ("Dots1ForCausalLM", "Dots1Config", {**_HEADS, **_ROUTED}),
    "ernie4_5": ("Ernie4_5ForCausalLM", "Ernie4_5Config", _HEADS),
    "exaone4": ("Exaone4ForCausalLM", "Exaone4Config", _HEADS),
    "falcon_h1": ("FalconH1ForCausalLM", "FalconH1Config", {**_HEADS, **_STATES, "mamba_d_ssm": 64}),
    "falcon_mamba": ("FalconMambaForCausalLM", "FalconMambaConfig", {**_NARROW, "state_size": 8}),
    "gemma4": (
        "Gemma4ForCausalLM",
        "Gemma4TextConfig",
        {**_HEADS, **_MIXED, "global_head_dim": 8, "hidden_size_per_layer_input": 0},
    ),
    "glm": ("GlmForCausalLM", "GlmConfig", _HEADS),
    "glm4": ("Glm4ForCausalLM", "Glm4Config", _HEADS),
    "glm4_moe": ("Glm4MoeForCausalLM", "Glm4MoeConfig", {**_HEADS, **_ROUTED}),
    "gpt_bigcode": ("GPTBigCodeForCausalLM", "GPTBigCodeConfig", _GPT),
    "gpt_neo": (
        "GPTNeoForCausalLM",
        "GPTNeoConfig",
        {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": _PAIRS, "max_position_embeddings": 128},
    ),
    "gpt_oss": ("GptOssForCausalLM", "GptOssConfig", {**_HEADS, **_LOCAL}),
    "granite": ("GraniteForCausalLM", "GraniteConfig", _GQA),
    "granitemoe": ("GraniteMoeForCausalLM", "GraniteMoeConfig", {**_GQA, **_LOCAL}),
    "granitemoehybrid": (
        "GraniteMoeHybridForCausalLM",
        "GraniteMoeHybridConfig",
        {**_GQA, **_STATES, **_LOCAL, "layer_types": ["mamba", "attention"], "shared_intermediate_size": 24},
    ),
    "helium": ("HeliumForCausalLM", "HeliumConfig", _HEADS),
    "hunyuan_v1_dense": ("HunYuanDenseV1ForCausalLM", "HunYuanDenseV1Config", _HEADS),
    "jamba": ("JambaForCausalLM", "JambaConfig", {**_GQA, **_JAMBA}),
    "jetmoe": (
        "JetMoeForCausalLM",
        "JetMoeConfig",
        {**_NARROW, **_LOCAL, "num_key_value_heads": 2, "kv_channels": 8, "intermediate_size": 24},
    ),
    "lfm2": ("Lfm2ForCausalLM", "Lfm2Config", {**_GQA, "layer_types": ["conv", "full_attention"]}),
    "llama4": (
        "Llama4ForCausalLM",
        "Llama4TextConfig",
        {**_HEADS, **_LOCAL, "intermediate_size_mlp": 48, "moe_layers": [1]},
    ),
    "mamba2": (
        "Mamba2ForCausalLM",
        "Mamba2Config",
        {**_NARROW, "state_size": 4, "num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 8},
    ),
    "minicpm3": ("MiniCPM3ForCausalLM", "MiniCPM3Config", _LATENT),
    "minimax_m2": ("MiniMaxM2ForCausalLM", "MiniMaxM2Config", {**_HEADS, **_LOCAL}),
    "ministral": ("MinistralForCausalLM", "MinistralConfig", _HEADS),
    "nanochat": ("NanoChatForCausalLM", "NanoChatConfig", _GQA),
    "nemotron": ("NemotronForCausalLM", "NemotronConfig", _GQA),
    "nemotron_h": ("NemotronHForCausalLM", "NemotronHConfig", {**_HEADS, **_NEMOTRON}),
    "olmo2": ("Olmo2ForCausalLM", "Olmo2Config", _GQA),
    "olmo3": ("Olmo3ForCausalLM", "Olmo3Config", _GQA),
    "olmoe": ("OlmoeForCausalLM", "OlmoeConfig", {**_GQA, "num_experts": 4, "num_experts_per_tok": 2}),
    "persimmon": ("PersimmonForCausalLM", "PersimmonConfig", {**_SIZES, **_FFN}),
    "phimoe": ("PhimoeForCausalLM", "PhimoeConfig", {**_GQA, **_LOCAL, "num_experts_per_tok": 2}),
    "qwen2_moe": ("Qwen2MoeForCausalLM", "Qwen2MoeConfig", {**_GQA, **_EXPERTS, **_SHARED}),
    "qwen3_5": ("Qwen3_5ForCausalLM", "Qwen3_5TextConfig", {**_HEADS, **_GATED}),
    "qwen3_moe": ("Qwen3MoeForCausalLM", "Qwen3MoeConfig", {**_HEADS, **_EXPERTS}),
    "qwen3_next": ("Qwen3NextForCausalLM", "Qwen3NextConfig", {**_HEADS, **_GATED, **_EXPERTS, **_SHARED}),
    "recurrent_gemma": (
        "RecurrentGemmaForCausalLM",
        "RecurrentGemmaConfig",
        {**_GQA, "lru_width": 32, "block_types": ("recurrent", "attention")},
    ),
    "seed_oss": ("SeedOssForCausalLM", "SeedOssConfig", _HEADS),
    "smollm3": ("SmolLM3ForCausalLM", "SmolLM3Config", _GQA),
    "starcoder2": ("Starcoder2ForCausalLM", "Starcoder2Config", _GQA),
    "xglm": (
        "XGLMForCausalLM",
        "XGLMConfig",
        {"d_model": 32, "ffn_dim": 48, "num_layers": 2, "attention_heads": 4, "max_position_embeddings": 128},
    ),
    "zamba2": ("Zamba2ForCausalLM", "Zamba2Config", {**_HEADS, **_ZAMBA, "use_shared_attention_adapter": False}),
}
_HALVES = {
    "d_model": 32,
    "encoder_layers": 2,
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
_T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
_T5_IDS = {"pad_token_id": 2, "eos_token_id": 1, "decoder_start_token_id": 2}
ENCODER_DECODERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bart": ("BartForConditionalGeneration", "BartConfig", {**_HALVES, "forced_eos_token_id": 1}),
    "longt5": ("LongT5ForConditionalGeneration", "LongT5Config", {**_T5, **_T5_IDS}),
    "mt5": ("MT5ForConditionalGeneration", "MT5Config", {**_T5, **_T5_IDS}),
    "pegasus": ("PegasusForConditionalGeneration", "PegasusConfig", _HALVES),
    "switch_transformers": (
        "SwitchTransformersForConditionalGeneration",
        "SwitchTransformersConfig",
        {
            **_T5,
            **_T5_IDS,
            "num_decoder_layers": 2,
            "num_experts": 2,
            "num_sparse_encoder_layers": 1,
            "num_sparse_decoder_layers": 1,
        },
    ),
    "t5": ("T5ForConditionalGeneration", "T5Config", {**_T5, **_T5_IDS}),
    "umt5": ("UMT5ForConditionalGeneration", "UMT5Config", {**_T5, **_T5_IDS}),
}
LANGUAGE_CODES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "mbart": ("MBartForConditionalGeneration", "MBartConfig", _HALVES),
    "plbart": ("PLBartForConditionalGeneration", "PLBartConfig", _HALVES),
}
"""Encoder-decoders whose decoder begins with the language code at the end of the target."""
MASKED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bert": ("BertForMaskedLM", "BertConfig", {**_SIZES, **_FFN}),
    "roberta": ("RobertaForMaskedLM", "RobertaConfig", {**_SIZES, **_FFN}),
    "electra": ("ElectraForMaskedLM", "ElectraConfig", {**_SIZES, **_FFN, "embedding_size": 32}),
    "distilbert": ("DistilBertForMaskedLM", "DistilBertConfig", {"dim": 32, "n_layers": 2, "n_heads": 4}),
    "modernbert": ("ModernBertForMaskedLM", "ModernBertConfig", {**_SIZES, **_FFN}),
}
_VISION = {"num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
_VISION |= {"hidden_size": 16, "intermediate_size": 16}
_SIGHT = {"depth": 1, "hidden_size": 16, "out_hidden_size": 32, "num_heads": 2, "intermediate_size": 16}
_SOUND = {"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16, "num_mel_bins": 8}


def _with_text(text: str, sizes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"text_config": {"vocab_size": 378, **sizes, "model_type": text}, **more}


MULTIMODAL: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gemma3": (
        "Gemma3ForConditionalGeneration",
        "Gemma3Config",
        _with_text("gemma3_text", _HEADS, vision_config=_VISION, image_token_id=5, mm_tokens_per_image=4),
    ),
    "mistral3": (
        "Mistral3ForConditionalGeneration",
        "Mistral3Config",
        _with_text("mistral", _HEADS, vision_config={**_VISION, "model_type": "pixtral"}),
    ),
    "llava": (
        "LlavaForConditionalGeneration",
        "LlavaConfig",
        _with_text("llama", _GQA, vision_config={**_VISION, "model_type": "clip_vision_model"}),
    ),
    "internvl": (
        "InternVLForConditionalGeneration",
        "InternVLConfig",
        _with_text("qwen2", _GQA, vision_config={**_VISION, "image_size": [28, 28], "patch_size": [14, 14]}),
    ),
    "smolvlm": ("SmolVLMForConditionalGeneration", "SmolVLMConfig", _with_text("llama", _GQA, vision_config=_VISION)),
    "paligemma": (
        "PaliGemmaForConditionalGeneration",
        "PaliGemmaConfig",
        _with_text("gemma", _HEADS, vision_config={**_VISION, "model_type": "siglip_vision_model"}, projection_dim=32),
    ),
    "qwen3_5 with vision": (
        "Qwen3_5ForConditionalGeneration",
        "Qwen3_5Config",
        _with_text("qwen3_5_text", {**_HEADS, **_GATED}, vision_config=_SIGHT),
    ),
    "qwen2_audio": (
        "Qwen2AudioForConditionalGeneration",
        "Qwen2AudioConfig",
        _with_text("qwen2", _GQA, audio_config={**_SOUND, "max_source_positions": 10}),
    ),
}
"""Finished models with encoders, of which the language part is taken out."""


def make_language(kind: tuple[str, str, dict[str, Any]], vocabulary: int, seed: int = 0) -> Any:
    """A model of one entry of the tables above, in eval mode."""
    torch.manual_seed(seed)
    model_class, config_class, sizes = kind
    config = getattr(transformers, config_class)(**{"vocab_size": vocabulary, **sizes})
    return getattr(transformers, model_class)(config).eval()
