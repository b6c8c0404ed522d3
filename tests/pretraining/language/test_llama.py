from __future__ import annotations

import warnings
from random import Random
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from inlay.recipes.miniature import backbone_path
from inlay.recipes.miniature.media.captions import read_spec
from inlay.recipes.miniature.world.scenes import sample_scene
from pretraining.language.corpus import Mix, scene_text
from pretraining.language.decoder_only import read_accuracy
from pretraining.language.media_corpus import media_text


def test_backbones_are_small() -> None:
    files = [file for file in backbone_path("clip").parent.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 40_000_000


def test_language_model_loads_in_single_precision_without_warnings(caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings(), caplog.at_level("WARNING"):
        warnings.simplefilter("error")
        model = AutoModelForCausalLM.from_pretrained(backbone_path("llama"))
    assert not caplog.records
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_language_model_reads_described_held_out_scenes() -> None:
    model = AutoModelForCausalLM.from_pretrained(backbone_path("llama"))
    tokenizer = AutoTokenizer.from_pretrained(backbone_path("llama"))
    figures = read_accuracy(model, tokenizer, seed=99, scenes=150)
    assert figures["answers"] >= 0.95, figures
    assert min(figures[kind] for kind in ("colour", "shape", "size", "place", "digit")) >= 0.9, figures


def test_language_model_reads_of_held_out_drawings_sounds_and_clips() -> None:
    model = AutoModelForCausalLM.from_pretrained(backbone_path("llama"))
    tokenizer = AutoTokenizer.from_pretrained(backbone_path("llama"))
    figures = read_accuracy(model, tokenizer, seed=98, scenes=10, media=150)
    assert figures["media"] >= 0.9, figures
    assert figures["generated"] >= 0.9, figures


def test_language_model_answers_by_generating() -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(backbone_path("llama"))
    tokenizer = AutoTokenizer.from_pretrained(backbone_path("llama"))
    prompt = "USER: a small red circle in the top left.\nwhat colour is the circle? ASSISTANT:"
    batch = tokenizer(prompt, return_tensors="pt")
    ids = model.generate(**batch, max_new_tokens=4, do_sample=False)[0, batch["input_ids"].shape[1] :]
    assert tokenizer.decode(ids) == " red</s>"


def test_pretraining_texts_train_on_replies_only() -> None:
    rng = Random(0)
    for _ in range(50):
        for piece in scene_text(sample_scene(rng), rng, Mix(lists=0.3, statements=0.3)):
            assert piece.trained == bool(piece.kind)
            assert not (piece.trained and "USER" in piece.text)


def test_texts_about_senses_are_laid_out_as_nextgpt_has_them() -> None:
    rng = Random(1)
    texts = [media_text(rng, "held_out") for _ in range(60)]
    kinds = {piece.kind for text in texts for piece in text if piece.trained}
    assert kinds == {"media", "generated", "instruction"}
    first = ["".join(piece.text for piece in text).split("\n")[0] for text in texts]
    assert any(line.startswith("<s>### Human: <Img>") and "</Img> " in line for line in first)
    assert any(line.startswith("<s>### Human: ") and "<Img>" not in line for line in first)
    assert any(line.startswith("<s>USER: ") for line in first)
    values = [read_spec(text[1].text.removeprefix("### Human: ")) for text in texts if "<Img>" not in text[1].text]
    assert any(value is not None and value.split == "held_out" for value in values)


def test_layouts_of_other_systems_hold_the_same_replies() -> None:
    rng = Random(0)
    texts = [scene_text(sample_scene(rng), rng, Mix(plain=0, templates=1.0)) for _ in range(40)]
    ends = {piece.text for text in texts for piece in text if piece.trained and not piece.text.startswith(" ")}
    assert ends == {"###", "</s>"}
    assert {text[0].text == "<s>" for text in texts} == {True, False}
