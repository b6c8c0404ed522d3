from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from inlay.recipes.miniature import backbone_path
from inlay.recipes.miniature.media.specs import DIRECTIONS, PITCHES, TIMBRES
from inlay.recipes.miniature.world.scenes import COLOURS, SHAPES, SIZES
from pretraining.language.byte_pair_tokenizers import add_words, train_bpe


@pytest.fixture(scope="module", params=["llama", "clip"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return AutoTokenizer.from_pretrained(backbone_path(request.param))


@pytest.fixture(scope="module")
def llama() -> Any:
    return AutoTokenizer.from_pretrained(backbone_path("llama"))


@pytest.mark.parametrize(
    "text", ["a small red circle", " two  spaces\n\nand lines", "naïve Ω≈ç 漢字 🦊\u200d", "\t\x00\x7f"]
)
def test_any_text_comes_back(tokenizer: Any, text: str) -> None:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


@pytest.mark.parametrize("word", [*COLOURS, *SHAPES, *SIZES, "left", "center", "yes", "no", *"0123456789"])
def test_words_of_the_world_are_one_token(tokenizer: Any, word: str) -> None:
    assert len(tokenizer(f" {word}", add_special_tokens=False)["input_ids"]) == 1


@pytest.mark.parametrize("word", [*PITCHES, *TIMBRES, *DIRECTIONS, "beep", "beeps", "moving", "draw", "sound", "clip"])
def test_words_of_sounds_and_clips_are_one_token_of_the_language_model(llama: Any, word: str) -> None:
    assert len(llama(f" {word}", add_special_tokens=False)["input_ids"]) == 1


def test_added_words_leave_all_others_as_they_were() -> None:
    base = train_bpe([], ["a red circle is in the top left", "a red ring"] * 5)
    grown = add_words(Tokenizer.from_str(base.to_str()), ["a red circle beeps, twice"])
    old, new = base.get_vocab(), grown.get_vocab()
    assert old.items() < new.items()
    assert [grown.encode(word).tokens for word in (" beeps", " twice")] == [["Ġbeeps"], ["Ġtwice"]]
    for text in ("a red circle is in the top left", "ring, rings and reds"):
        assert grown.encode(text).ids == base.encode(text).ids
    assert grown.decode(grown.encode("a red circle beeps").ids) == "a red circle beeps"


def test_special_tokens_follow_llama(llama: Any) -> None:
    assert llama.convert_tokens_to_ids(["<unk>", "<s>", "</s>", "<pad>"]) == [0, 1, 2, 3]
    assert llama("hello")["input_ids"][0] == llama.bos_token_id
    assert llama("hello")["input_ids"][-1] != llama.eos_token_id


def test_chat_template_without_system(llama: Any) -> None:
    messages = [{"role": "user", "content": "hello."}, {"role": "assistant", "content": "hi"}]
    text = llama.apply_chat_template([*messages, messages[0]], tokenize=False, add_generation_prompt=True)
    assert text == "<s>USER: hello. ASSISTANT: hi</s>USER: hello. ASSISTANT:"


def test_chat_template_with_system(llama: Any) -> None:
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hello."}]
    assert llama.apply_chat_template(messages, tokenize=False) == "<s>Be kind. USER: hello. "
