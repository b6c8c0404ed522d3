from __future__ import annotations

from pathlib import Path

import pytest
from transformers import CLIPTokenizer, RobertaTokenizer

from inlay.recipes.miniature.media.captions import prompts_of
from inlay.recipes.miniature.media.specs import DRAWINGS, MOVEMENTS, TONES
from pretraining.diffusion.prompt_tokenizers import (
    CLAP_WIDTH,
    PROMPT_TOKENS,
    make_clip_tokenizer,
    make_roberta_tokenizer,
)

PROMPTS = [text for value in (*DRAWINGS[:20], *TONES[:20], *MOVEMENTS[:20]) for text in prompts_of(value)]


@pytest.fixture(scope="module")
def clip() -> CLIPTokenizer:
    return make_clip_tokenizer()


@pytest.fixture(scope="module")
def roberta() -> RobertaTokenizer:
    return make_roberta_tokenizer()


def test_every_word_of_a_prompt_is_one_token(clip: CLIPTokenizer, roberta: RobertaTokenizer) -> None:
    for prompt in PROMPTS:
        words = prompt.replace(".", " .").replace(":", " :").split()
        assert len(clip(prompt)["input_ids"]) == len(roberta(prompt)["input_ids"]) == len(words) + 2


def test_prompts_are_not_cut_off(clip: CLIPTokenizer, roberta: RobertaTokenizer) -> None:
    assert max(len(clip(prompt)["input_ids"]) for prompt in PROMPTS) <= PROMPT_TOKENS == clip.model_max_length
    assert roberta.model_max_length == CLAP_WIDTH


def test_the_end_of_a_text_has_the_highest_id(clip: CLIPTokenizer) -> None:
    assert clip.eos_token_id == len(clip) - 1
    assert clip("a red circle")["input_ids"][-1] == clip.eos_token_id


def test_other_words_are_spelled(clip: CLIPTokenizer, roberta: RobertaTokenizer) -> None:
    assert clip.decode(clip("zebra")["input_ids"], skip_special_tokens=True) == "zebra"
    assert roberta.decode(roberta("Zebra é")["input_ids"], skip_special_tokens=True) == "Zebra é"


def test_they_come_back_from_disk(clip: CLIPTokenizer, roberta: RobertaTokenizer, tmp_path: Path) -> None:
    for tokenizer in (clip, roberta):
        tokenizer.save_pretrained(tmp_path / "one")
        read = type(tokenizer).from_pretrained(tmp_path / "one")
        assert [read(prompt)["input_ids"] for prompt in PROMPTS] == [tokenizer(text)["input_ids"] for text in PROMPTS]
