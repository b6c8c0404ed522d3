"""The same weights in transformers' own BLIP-2 and InstructBLIP: logits, losses and beam search must be the same."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from blip_checkpoints import QUERIES, VISION
from random_weights import perturbed
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
)

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.encoders import EvaEncoder
from inlay.adapters.inputs import projector_config
from inlay.adapters.inputs.qformer import QFormer
from inlay.adapters.language.labels import IGNORE
from inlay.adapters.language.model import LanguageModel

QFORMER = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "encoder_hidden_size": 24,
}
PROCESSOR = SimpleNamespace(image_mean=[0.5, 0.5, 0.5], image_std=[0.3, 0.3, 0.3])
QUESTIONS = ("what colour is the large circle?", "What?", "how many squares are there?")
ANSWERS = ("red", "a small blue star", "two of them")
ASPECTS = [("blip2", "opt"), ("blip2", "t5"), ("instructblip", "llama"), ("instructblip", "t5")]


pytestmark = pytest.mark.usefixtures("no_gradients")


@pytest.fixture(params=ASPECTS, ids="-".join)
def pair(request: Any, llm_of: Any, prompt_tokenizer_of: Any) -> Any:
    """Our attached model, and the model of transformers whose weights it holds copies of."""
    system, family = request.param
    return SYSTEMS[system](llm_of(family), prompt_tokenizer_of())


def blip2(llm: Any, prompts: Any) -> tuple[Any, Any]:
    reference = perturbed(Blip2ForConditionalGeneration(Blip2Config(**sizes(llm))), 0.15, seed=7).eval()
    adapter, backbone = assembled(reference, llm, None, "blip2", "qformer", {})
    adapter.inputs["image"].qformer = QFormer.from_blip2(reference)
    return adapter.eval().attach(backbone), reference


def instructblip(llm: Any, prompts: Any) -> tuple[Any, Any]:
    config = InstructBlipConfig(**sizes(llm, vocab_size=prompts.vocabulary))
    reference = perturbed(InstructBlipForConditionalGeneration(config), 0.15, seed=7).eval()
    vocabulary = {"vocabulary": prompts.vocabulary}
    adapter, backbone = assembled(reference, llm, prompts, "instructblip", "instruct_qformer", vocabulary)
    projector: Any = adapter.inputs["image"]
    projector.ln_vision.load_state_dict(reference.vision_model.post_layernorm.state_dict())
    projector.model.load_state_dict(reference.qformer.state_dict())
    projector.query_tokens.copy_(reference.query_tokens)
    return adapter.eval().attach(backbone), reference


SYSTEMS = {"blip2": blip2, "instructblip": instructblip}


def sizes(llm: Any, **qformer: int) -> dict[str, Any]:
    return {
        "vision_config": VISION,
        "qformer_config": QFORMER | qformer,
        "text_config": llm.model.config.to_dict(),
        "num_query_tokens": QUERIES,
        "image_token_index": llm.tokenizer.convert_tokens_to_ids("<image>"),
    }


def assembled(
    reference: Any, llm: Any, prompts: Any, template: str, kind: str, more: Mapping[str, int]
) -> tuple[Adapter, Backbone]:
    language = LanguageModel(copy.deepcopy(reference.language_model), llm.tokenizer)
    vision = EvaEncoder(copy.deepcopy(reference.vision_model), PROCESSOR)
    backbone = Backbone(language, {"image": vision}, prompts)
    fields = {"queries": QUERIES, "hidden": 16, "layers": 2, "heads": 2, "ffn": 24}
    adapter = Adapter.for_backbone(
        backbone,
        system=template,
        name=template,
        layout=Layout.published(template, geometry={"image": "squash"}),
        inputs={
            "image": projector_config(kind, {**fields, "norm_eps": reference.vision_model.post_layernorm.eps, **more})
        },
    )
    adapter.inputs["image"].projection.load_state_dict(reference.language_projection.state_dict())
    return adapter, backbone


def asked(image_of: Any, answers: bool) -> list[tuple[Message, ...]]:
    rows: list[tuple[Message, ...]] = []
    for seed, (question, answer) in enumerate(zip(QUESTIONS, ANSWERS, strict=True)):
        user = Message("user", (MediaPart("image", image_of(seed)), TextPart(question)))
        rows.append((user, Message("assistant", (TextPart(answer),))) if answers else (user,))
    return rows


def their_inputs(model: Any, batch: Any) -> dict[str, Any]:
    """The batch as transformers wants it: placeholder ids where our slots are, and the Q-Former's own reading."""
    ids = batch.ids.clone()
    ids[batch.slots] = model.backbone.llm.tokenizer.convert_tokens_to_ids("<image>")
    inputs = {"input_ids": ids, "attention_mask": batch.mask, "pixel_values": batch.inputs["image"]}
    return inputs | their_reading(model)


def their_reading(model: Any) -> dict[str, Any]:
    if model.backbone.prompt_tokenizer is None:
        return {}
    read = model.backbone.prompt_tokenizer.tokenizer(list(QUESTIONS), padding=True, return_tensors="pt")
    return {"qformer_input_ids": read.input_ids, "qformer_attention_mask": read.attention_mask}


def test_logits_and_loss_equal_on_a_ragged_batch(pair: Any, image_of: Any) -> None:
    model, reference = pair
    batch = model.batch(asked(image_of, answers=True))
    apart = batch.target is not None
    ours = model(batch, logits="all")
    theirs = reference(**their_inputs(model, batch), labels=batch.target if apart else batch.labels)
    real = (batch.target != IGNORE) if apart else batch.mask.bool()
    assert float((ours.logits - theirs.logits).abs()[real].max()) <= 1e-5
    torch.testing.assert_close(ours.loss, theirs.loss, atol=1e-5, rtol=0)
    torch.testing.assert_close(model(batch).loss, theirs.loss, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 1},
        {"num_beams": 5, "length_penalty": -1.0, "min_new_tokens": 1},
        {"num_beams": 3, "length_penalty": 1.0, "min_new_tokens": 4},
    ],
    ids=["greedy", "beam-vqa", "beam-caption"],
)
def test_generated_ids_equal_those_of_the_published_padding(pair: Any, image_of: Any, options: Any) -> None:
    model, reference = pair
    llm = model.backbone.llm
    batch = model.batch(asked(image_of, answers=False), generation=True)
    options = {"max_new_tokens": 10, "do_sample": False} | options
    ours = model.generate(batch, **options)
    stops = sorted({*llm.stop_ids, *(llm.tokenizer.convert_tokens_to_ids("Ċ") for _ in model.adapter.layout.stop)})
    two_stacks = reference.language_model.config.is_encoder_decoder
    ids = reference.generate(
        **as_published(their_inputs(model, batch), batch.slots, llm.pad_id, after=two_stacks),
        **options,
        eos_token_id=stops,
        pad_token_id=llm.pad_id,
    )
    start = 1 if two_stacks else batch.ids.shape[1]
    assert ours == [up_to(row[start:].tolist(), stops) for row in ids]
    assert len({tuple(row) for row in ours}) > 1


def as_published(inputs: dict[str, Any], slots: Any, pad_id: int, after: bool) -> dict[str, Any]:
    """The visual block first; then padding and text for a decoder, text and padding for an encoder."""
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    moved = {"input_ids": torch.full_like(ids, pad_id), "attention_mask": torch.zeros_like(mask)}
    for row in range(len(ids)):
        text = ids[row][(mask[row] == 1) & ~slots[row]]
        start = QUERIES if after else ids.shape[1] - len(text)
        moved["input_ids"][row, :QUERIES] = ids[row][slots[row]]
        moved["input_ids"][row, start : start + len(text)] = text
        moved["attention_mask"][row, :QUERIES] = 1
        moved["attention_mask"][row, start : start + len(text)] = 1
    return inputs | moved


def up_to(row: list[int], stops: list[int]) -> list[int]:
    for index, token in enumerate(row):
        if token in stops:
            return row[: index + 1]
    return row


def test_another_question_makes_an_instruction_aware_model_look_elsewhere(
    llm_of: Any, prompt_tokenizer_of: Any, image_of: Any
) -> None:
    model, _ = instructblip(llm_of("llama"), prompt_tokenizer_of())
    image = image_of(1)
    rows = [(Message("user", (MediaPart("image", image), TextPart(question))),) for question in QUESTIONS[:2]]
    batch = model.batch(rows, generation=True)
    seen = model.embeddings(batch)[batch.slots].view(2, QUERIES, -1)
    assert float((seen[0] - seen[1]).abs().max()) > 1e-3
