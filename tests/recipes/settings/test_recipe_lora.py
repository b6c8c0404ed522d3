"""LoRA of the published systems on other LLMs than LLaMA: resolved and shown; names of the user's own are checked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tiny_languages import DECODERS, make_language

from inlay.adapters.backbone import Backbone
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.llm_parts.lora import LoraConfig, LoraError
from inlay.recipes.systems import llava, modaverse, nextgpt
from inlay.recipes.training.callbacks.part_table import part_table


@pytest.fixture
def gpt2(tokenizer_of: Any, clip_of: Any) -> Backbone:
    tokenizer = tokenizer_of()
    return Backbone(LanguageModel(make_language(DECODERS["gpt2"], len(tokenizer)), tokenizer), {"image": clip_of()})


def shown(adapter: Any) -> str:
    return part_table(adapter.parts(), {"lora": 1e-3}).splitlines()[-1]


@pytest.mark.parametrize("recipe", [llava.recipe("1.5", "full"), nextgpt.recipe("1.5", "full")])
def test_all_linears_of_the_llm_at_hand_are_shown_before_training(recipe: Any, gpt2: Backbone) -> None:
    assert shown(recipe.adapter(gpt2, "x")) == "LoRA on 8 linears: c_attn, c_fc, c_proj"


@pytest.mark.parametrize("recipe", [nextgpt.recipe("legacy", "full"), modaverse.recipe(size="full")])
def test_published_names_that_the_llm_lacks_become_all_linear_and_this_is_said(recipe: Any, gpt2: Backbone) -> None:
    text = shown(recipe.adapter(gpt2, "x"))
    assert text == (
        "LoRA on 8 linears: c_attn, c_fc, c_proj "
        "(the published k_proj, o_proj, q_proj, v_proj are not in this LLM of type 'gpt2')"
    )


def test_names_that_the_user_gives_are_an_error_that_names_the_option(gpt2: Backbone) -> None:
    recipe = replace(llava.recipe("1.5", "full"), lora=LoraConfig(targets=("q_proj", "v_proj")))
    with pytest.raises(LoraError, match=r"no linear of this LLM is named q_proj, v_proj.*--lora\.targets all-linear"):
        recipe.adapter(gpt2, "x")


def test_llava_on_llama_changes_the_same_linears_as_before(backbone_of: Any) -> None:
    adapter = llava.recipe("1.5", "full").adapter(backbone_of("llama"), "x")
    assert adapter.lora.config.targets == tuple(
        sorted(("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"))
    )


def test_what_is_left_out_of_a_mixture_of_experts_is_shown(tokenizer_of: Any, clip_of: Any) -> None:
    tokenizer = tokenizer_of()
    llm = LanguageModel(make_language(DECODERS["qwen3_moe"], len(tokenizer)), tokenizer)
    text = shown(llava.recipe("1.5", "full").adapter(Backbone(llm, {"image": clip_of()}), "x"))
    assert text.endswith(
        "k_proj, o_proj, q_proj, v_proj; left out: mlp.gate, mlp.experts (experts stored as stacked parameters)"
    )
