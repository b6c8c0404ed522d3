"""Compact at the sizes of nanoVLM and InternVL3.5, on the meta device: exact counts, published settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    SiglipImageProcessorPil,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from inlay.adapters.backbone import Backbone
from inlay.adapters.encoders import AnyVisionEncoder
from inlay.adapters.inputs import ProjectorError
from inlay.adapters.language.model import LanguageModel
from inlay.recipes.systems import compact

SMOLLM2 = {
    "hidden_size": 960,
    "intermediate_size": 2560,
    "num_hidden_layers": 32,
    "num_attention_heads": 15,
    "num_key_value_heads": 5,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
}
QWEN3 = {
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
}


def backbone(tokenizer: Any, family: str = "smollm2", side: int = 512, patch: int = 16) -> Backbone:
    """SigLIP2-B and a small LLM, without memory."""
    with torch.device("meta"):
        llm: Any = LlamaForCausalLM(LlamaConfig(**SMOLLM2)) if family == "smollm2" else None
        llm = llm or Qwen3ForCausalLM(Qwen3Config(**QWEN3))
        vision = SiglipVisionModel(
            SiglipVisionConfig(
                hidden_size=768,
                intermediate_size=3072,
                num_hidden_layers=12,
                num_attention_heads=12,
                image_size=side,
                patch_size=patch,
            )
        )
    return Backbone(LanguageModel(llm, tokenizer), {"image": AnyVisionEncoder(vision, SiglipImageProcessorPil())})


def counts(adapter: Any) -> dict[str, int]:
    return {part.name: part.parameters for part in adapter.parts()}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "a": 2}, unk_token="a"))
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")


def test_projector_has_the_parameters_of_nanovlms(tokenizer: Any) -> None:
    adapter = compact.recipe(size="full").adapter(backbone(tokenizer), "compact")
    # LoRA of rank 8 on seven linears of 32 layers; keys and values are 320 wide.
    rank_sums = 2 * (960 + 960) + 2 * (960 + 320) + 3 * (960 + 2560)
    assert counts(adapter) == {"inputs.image": 11_796_480, "lora": 8 * 32 * rank_sums}


def test_a_picture_of_512_pixels_takes_64_positions(tokenizer: Any) -> None:
    adapter = compact.recipe(size="full").adapter(backbone(tokenizer), "compact")
    assert adapter.projector("image").tokens(adapter.interface["image"].tokens) == 64


def test_internvl_has_a_norm_and_two_layers(tokenizer: Any) -> None:
    adapter = compact.recipe("internvl", "full").adapter(backbone(tokenizer, "qwen3"), "compact")
    merged = 4 * 768
    expected = 2 * merged + merged * 1024 + 1024 + 1024 * 1024 + 1024
    assert counts(adapter)["inputs.image"] == expected
    assert adapter.projector("image").tokens(1024) == 256


def test_published_hyper_parameters_stand_in_the_recipe() -> None:
    full = compact.recipe(size="full")
    (stage,) = full.stages.values()
    assert stage.lr == {"inputs.image": 5.12e-3, "lora": 1e-4}
    assert (stage.batch_size, stage.geometry, stage.template) == (16, "squash", "auto")
    assert (stage.optimizer.weight_decay, stage.optimizer.warmup, stage.optimizer.floor) == (0.01, 0.03, 0.1)
    assert full.lora is not None
    assert (full.lora.r, full.lora.alpha, full.lora.dropout, full.lora.targets) == (8, 8.0, 0.1, "all-linear")


def test_grid_of_another_encoder_names_the_factors_that_fit(tokenizer: Any) -> None:
    # SigLIP-so400m/14 at 384 pixels: 27 x 27 features.
    other = backbone(tokenizer, side=378, patch=14)
    with pytest.raises(ProjectorError, match="got 27 x 27 features; choose factor 3 or 9"):
        compact.recipe(size="full").adapter(other, "compact")
    options = {"pixel_shuffle": {"factor": 3, "depth": 1, "bias": False}}
    adapter = replace(compact.recipe(size="full"), projector_options=options).adapter(other, "compact")
    assert adapter.projector("image").tokens(729) == 81


def test_class_token_that_the_encoder_keeps_is_not_part_of_the_grid(clip_of: Any, llm_of: Any) -> None:
    kept = Backbone(llm_of("llama"), {"image": clip_of(class_token="keep")})
    projector = compact.recipe("internvl").adapter(kept, "compact").projector("image")
    assert projector.config.class_token
    assert projector.tokens(kept.encoder("image").tokens) * 4 == kept.encoder("image").tokens - 1
