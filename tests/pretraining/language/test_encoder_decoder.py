"""The language models of BLIP-2's miniature read described scenes that they were never trained on."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from inlay.recipes.miniature import backbone_path
from pretraining.language import decoder_only, encoder_decoder
from pretraining.language.byte_pair_tokenizers import make_tokenizer
from pretraining.language.corpus import Mix, sample_text
from pretraining.language.corpus_layout import BLIP2_PROMPTS
from pretraining.language.t5 import make_model


def _read(name: Any, kind: Any) -> tuple[Any, Any]:
    return kind.from_pretrained(backbone_path(name)), AutoTokenizer.from_pretrained(backbone_path(name))


def test_opt_reads_described_held_out_scenes() -> None:
    model, tokenizer = _read("opt", AutoModelForCausalLM)
    figures = decoder_only.read_accuracy(model, tokenizer, seed=99, scenes=100, layout="blip2", wordings=BLIP2_PROMPTS)
    assert figures["answers"] >= 0.9, figures


def test_t5_reads_described_held_out_scenes() -> None:
    model, tokenizer = _read("t5", AutoModelForSeq2SeqLM)
    figures = encoder_decoder.read_accuracy(model, tokenizer, seed=99, scenes=100, wordings=BLIP2_PROMPTS)
    assert figures["answers"] >= 0.9, figures


@pytest.mark.parametrize("family", ["opt", "t5"])
def test_tokenizer_that_is_shipped_is_the_one_that_is_made(family: Any) -> None:
    made, shipped = make_tokenizer(family), AutoTokenizer.from_pretrained(backbone_path(family))
    text = "Question: what colour is the small ring in the top left? Answer:"
    assert shipped(text).input_ids == made(text).input_ids


def test_a_source_asks_one_question_and_the_target_answers_it() -> None:
    rng = Random(0)
    mix = Mix(layout="blip2", plain=0.0, talk=0.0, wordings=BLIP2_PROMPTS)
    for _ in range(50):
        source, target, kind = encoder_decoder.source_and_target(sample_text(rng, mix), rng)
        assert kind
        assert target == target.strip() != ""
        assert "\n" not in "".join(source)
        assert sum(run.count("Question:") for run in source) <= 1


def test_a_caption_is_cut_between_words_and_nothing_is_lost() -> None:
    rng = Random(0)
    mix = Mix(layout="blip2", plain=1.0, talk=0.0, digits=0.0)
    for _ in range(50):
        text = sample_text(rng, mix)
        source, target, _ = encoder_decoder.source_and_target(text, rng)
        whole = next(piece.text for piece in text if piece.trained)
        assert " ".join([*source[1:], target]) == whole


def test_t5_begins_with_heads_that_see_their_neighbours() -> None:
    torch.manual_seed(0)
    model: Any = make_model(make_tokenizer("t5"))
    bias = model.encoder.block[0].layer[0].SelfAttention.compute_bias(9, 9)[0]
    assert bias[2, 4].argmax() == 3
    assert bias[3, 4].argmax() == 5
