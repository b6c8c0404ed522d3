"""LLaVA at true size, on the meta device: exact counts, no memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

from inlay.adapters.backbone import Backbone
from inlay.adapters.encoders import ClipEncoder
from inlay.adapters.language.model import LanguageModel
from inlay.recipes.systems import llava

SEVEN = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32}
THIRTEEN = {"hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40, "num_attention_heads": 40}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "a": 2}, unk_token="a"))
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")


def backbone(tokenizer: Any, size: dict[str, int], pixels: int) -> Backbone:
    with torch.device("meta"):
        llm = LlamaForCausalLM(LlamaConfig(**size, vocab_size=32000, max_position_embeddings=4096))
        vision = CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=1024,
                intermediate_size=4096,
                num_hidden_layers=24,
                num_attention_heads=16,
                image_size=pixels,
                patch_size=14,
            )
        )
    return Backbone(LanguageModel(llm, tokenizer), {"image": ClipEncoder(vision, CLIPImageProcessorPil())})


def counts(adapter: Any) -> dict[str, int]:
    return {part.name: part.parameters for part in adapter.parts()}


def test_llava_1_0_7b(tokenizer: Any) -> None:
    adapter = llava.recipe("1.0", "full").adapter(backbone(tokenizer, SEVEN, 224), "llava")
    assert counts(adapter)["inputs.image"] == 4_198_400
    assert adapter.interface["image"].tokens == 256


def test_llava_1_5_7b(tokenizer: Any) -> None:
    adapter = llava.recipe("1.5", "full").adapter(backbone(tokenizer, SEVEN, 336), "llava")
    assert counts(adapter) == {"inputs.image": 20_979_712, "lora": 319_815_680}
    assert adapter.interface["image"].tokens == 576


def test_llava_1_5_13b(tokenizer: Any) -> None:
    adapter = llava.recipe("1.5", "full").adapter(backbone(tokenizer, THIRTEEN, 336), "llava")
    assert counts(adapter) == {"inputs.image": 31_467_520, "lora": 500_695_040}


def test_published_hyper_parameters_stand_in_the_recipe() -> None:
    full = llava.recipe("1.5", "full")
    assert full.stages["align"].lr == {"inputs.image": 1e-3}
    assert full.stages["align"].batch_size == 256
    assert full.stages["instruct"].lr == {"inputs.image": 2e-5, "lora": 2e-4}
    assert full.stages["instruct"].geometry == "pad"
    assert (full.lora.r, full.lora.alpha, full.lora.dropout) == (128, 256.0, 0.05)
