"""The BLIP family at true size, on the meta device: exact counts, no memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    Blip2VisionConfig,
    Blip2VisionModel,
    BlipImageProcessorPil,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from inlay.adapters.backbone import Backbone
from inlay.adapters.encoders import ClipEncoder, EvaEncoder, QFormerEncoder
from inlay.adapters.inputs import QFormer
from inlay.adapters.inputs.qformer import QFormerSizes
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.language.prompt_tokenizer import PromptTokenizer
from inlay.recipes.systems import blip2, instructblip, minigpt4

BERT_WORDS = 30_522


def tokenizer(words: int = 3) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models

    vocabulary = {"<s>": 0, "</s>": 1, **{f"w{number}": number for number in range(2, words)}}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="w2"))
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")


def llm(family: str, width: int) -> Any:
    """One layer is enough: nothing of the LLM is counted but its width."""
    if family == "t5":
        config = T5Config(d_model=width, d_kv=64, d_ff=64, num_layers=1, num_heads=32)
        config.decoder_start_token_id = 0
        return T5ForConditionalGeneration(config)
    sizes = {"hidden_size": width, "num_hidden_layers": 1, "num_attention_heads": 32, "vocab_size": 100}
    if family == "opt":
        return OPTForCausalLM(OPTConfig(**sizes, ffn_dim=64, word_embed_proj_dim=width))
    return LlamaForCausalLM(LlamaConfig(**sizes, intermediate_size=64))


def backbone(family: str, width: int, *, qformer: bool = False) -> Backbone:
    processor = BlipImageProcessorPil(size={"height": 224, "width": 224})
    with torch.device("meta"):
        language = LanguageModel(llm(family, width), tokenizer())
        encoder: Any = EvaEncoder(Blip2VisionModel(Blip2VisionConfig(num_hidden_layers=1)), processor)
        if qformer:
            encoder = QFormerEncoder(encoder, QFormer(QFormerSizes(width_in=1408)))
    return Backbone(language, {"image": encoder}, PromptTokenizer(tokenizer(BERT_WORDS)))


def count(adapter: Any) -> int:
    return sum(part.parameters for part in adapter.parts())


@pytest.mark.parametrize(
    ("version", "width", "expected"),
    [("opt", 2560, 107_133_696), ("opt", 4096, 108_314_880), ("t5", 2048, 106_739_968), ("t5", 4096, 108_314_880)],
)
def test_blip2(version: Any, width: int, expected: int) -> None:
    adapter = blip2.recipe(version, "full").adapter(backbone(version, width), "blip2")
    assert count(adapter) == expected
    assert adapter.interface["image"].tokens == 257


def test_blip2_on_clip_vit_l_reads_the_block_before_the_last_with_its_class_token() -> None:
    processor = CLIPImageProcessorPil(size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224})
    sizes = {"hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 64, "patch_size": 14}
    with torch.device("meta"):
        vision = CLIPVisionModel(CLIPVisionConfig(**sizes, num_hidden_layers=2))
        encoder = ClipEncoder(vision, processor, layer=-2, class_token="keep")
    adapter = blip2.recipe(size="full").adapter(Backbone(backbone("opt", 2560).llm, {"image": encoder}), "blip2")
    assert adapter.interface["image"].tokens == 257
    # Q-Former for 1024 values, queries, projection, ln_vision.
    assert count(adapter) == 101_598_720 + 32 * 768 + 1_968_640 + 2 * 1024


def test_instructblip_7b_counts_the_row_of_dec() -> None:
    adapter = instructblip.recipe(size="full").adapter(backbone("llama", 4096), "instructblip")
    assert count(adapter) == 188_837_376
    assert adapter.interface["prompt"].width == BERT_WORDS
    assert adapter.projector("image").config.vocabulary == BERT_WORDS + 1


@pytest.mark.parametrize(("width", "expected"), [(4096, 3_149_824), (5120, 3_937_280)])
def test_minigpt4_trains_one_linear_layer(width: int, expected: int) -> None:
    assert count(minigpt4.recipe(size="full").adapter(backbone("llama", width, qformer=True), "minigpt4")) == expected


def test_minigpt4_on_llama2_joins_four_patches() -> None:
    adapter = minigpt4.recipe("llama2", "full").adapter(backbone("llama", 4096), "minigpt4")
    assert count(adapter) == 23_072_768
    assert adapter.projector("image").tokens(257) == 64


def test_published_hyper_parameters_stand_in_the_recipes() -> None:
    stages = blip2.recipe("opt", "full").stages
    assert list(stages) == ["represent", "generate", "vqa"]
    assert (stages["represent"].batch_size, stages["represent"].steps(129_000_000)) == (1680, 250_000)
    assert (stages["generate"].batch_size, stages["generate"].steps(129_000_000)) == (1920, 80_000)
    assert stages["generate"].optimizer.betas == (0.9, 0.98)
    assert stages["vqa"].lr == {"inputs.image": 1e-5}
    assert stages["vqa"].layout.prompt == "Question: {} Answer:"
    assert blip2.recipe("t5", "full").stages["generate"].batch_size == 1520
    assert blip2.recipe("t5", "full").stages["generate"].samples.split == "random"
    instruct = instructblip.recipe("vicuna", "full").stages["instruct"]
    assert (instruct.steps(10**7), instruct.data, instruct.samples.templates) == (60_000, "all", "instruct")
    first, second = minigpt4.recipe("vicuna", "full").stages.values()
    assert (first.template, first.batch_size, first.steps(5_120_000)) == ("plain", 256, 20_000)
    assert (second.template, second.batch_size, second.steps(3500)) == ("minigpt4", 12, 1000)
    assert second.layout.stop == ("###",)


@pytest.mark.parametrize(
    "kind",
    ["linear", "mlp", "perceiver", "cross_attention", "patch_merge", "pixel_shuffle", "avg_pool", "instruct_qformer"],
)
def test_any_projector_can_be_chosen_by_one_field(kind: str) -> None:
    from dataclasses import replace

    small = replace(blip2.recipe("opt", "miniature"), projector=kind)
    adapter = small.adapter(backbone("opt", 2560), "other")
    assert adapter.projector("image").kind == kind
