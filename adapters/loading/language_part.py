"""The language part of a multimodal model (Gemma 3, Mistral 3, LLaVA, InternVL, SmolVLM, Qwen2-Audio).

Its config.json has one config for the text model, whose tensors have longer names in the files. If transformers has a
causal language model for the inner config, only this part is read, without the model's own encoders and projectors. If
it has none (Qwen-VL's text part has three-dimensional positions), the folder is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from transformers import PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from inlay.adapters.loading.pretrained import BackboneError

__all__ = ["NAMES_INSIDE", "NAMES_INSIDE_ENCODER_DECODER", "language_part"]

_TEXT = r"(?:language_model|text_model|llm)"
NAMES_INSIDE: Mapping[str, str] = {
    rf"^(?:model\.)?{_TEXT}\.model\.": "model.",
    rf"^(?:model\.)?{_TEXT}\.lm_head\.": "lm_head.",
    rf"^(?:model\.)?{_TEXT}\.(?!model\.|lm_head\.)": "model.",
}
"""Regular expression -> replacement, from names of tensors in a multimodal model to those in its language model."""

NAMES_INSIDE_ENCODER_DECODER: Mapping[str, str] = {rf"^(?:model\.)?{_TEXT}\.": ""}
"""The replacements for an encoder-decoder, such as BLIP-2's Flan-T5."""


def language_part(config: PretrainedConfig, source: str | Path) -> PretrainedConfig:
    """The config of the language model inside a multimodal one; any other config unchanged.

    Raises:
        BackboneError: transformers has no causal language model for the inner config.
    """
    if getattr(config, "is_encoder_decoder", False):
        whole: PretrainedConfig = getattr(config, "text_config", None) or config
        return whole if whole.is_encoder_decoder else config
    try:
        inner: PretrainedConfig = config.get_text_config(decoder=True)
    except ValueError as error:
        raise BackboneError(
            f"{source}: a model of type {config.model_type!r} has several text models: {error}"
        ) from error
    if inner is config:
        return config
    if inner.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        if config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or not hasattr(inner, "vocab_size"):
            return config
        raise BackboneError(
            f"{source}: a multimodal model of type {config.model_type!r}, and transformers has no causal language "
            f"model for its language part ({inner.model_type!r}), so it cannot be loaded alone; choose a language "
            "model without encoders"
        )
    if not getattr(inner, "tie_word_embeddings", False) and getattr(config, "tie_word_embeddings", False):
        inner.tie_word_embeddings = True
    return inner
