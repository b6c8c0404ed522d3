"""The same weights in transformers' own LLaVA: logits and greedy answers must be the same."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from attached import copy_llava
from transformers import LlavaConfig, LlavaForConditionalGeneration

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart

pytestmark = pytest.mark.usefixtures("no_gradients")


@pytest.fixture
def pair(backbone_of: Any, adapter_of: Any) -> Any:
    """Our attached model, and a Hugging Face model that holds copies of its weights."""
    backbone = backbone_of()
    adapter = adapter_of(backbone, r=None)
    reference = hf_llava(backbone, adapter)
    return adapter.attach(backbone), reference


def hf_llava(backbone: Any, adapter: Any) -> LlavaForConditionalGeneration:
    tokenizer = backbone.llm.tokenizer
    config = LlavaConfig(
        vision_config=backbone.encoder("image").model.config,
        text_config=backbone.llm.model.config,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=4,
    )
    model = LlavaForConditionalGeneration(config).eval()
    copy_llava(model, backbone, adapter)
    return model


def conversation(images: list[Any], question: str, answer: str | None) -> tuple[Message, ...]:
    user = Message("user", (*(MediaPart("image", image) for image in images), TextPart(question)))
    return (user,) if answer is None else (user, Message("assistant", (TextPart(answer),)))


def hf_inputs(model: Any, batch: Any) -> dict[str, Any]:
    """The batch as transformers wants it: placeholder ids where our slots are."""
    ids = batch.ids.clone()
    ids[batch.slots] = model.backbone.llm.tokenizer.convert_tokens_to_ids("<image>")
    return {"input_ids": ids, "attention_mask": batch.mask, "pixel_values": batch.inputs.get("image")}


def test_logits_equal_on_a_ragged_batch_with_zero_one_and_two_images(pair: Any, image_of: Any) -> None:
    model, reference = pair
    rows = [
        conversation([], "what colour is the circle?", "red"),
        conversation([image_of(1)], "how many squares are there?", "two of them"),
        conversation([image_of(2), image_of(3, (31, 50))], "What is shown?", "a small blue star"),
    ]
    batch = model.batch(rows)
    ours = model(batch, logits="all").logits
    theirs = reference(**hf_inputs(model, batch)).logits
    assert float((ours - theirs).abs()[batch.mask.bool()].max()) <= 1e-5


def test_loss_equals_transformers_loss(pair: Any, image_of: Any) -> None:
    model, reference = pair
    rows = [
        conversation([], "what colour is the circle?", "red"),
        conversation([image_of(1)], "how many squares are there?", "two of them"),
    ]
    batch = model.batch(rows)
    theirs = reference(**hf_inputs(model, batch), labels=batch.labels).loss
    torch.testing.assert_close(model(batch).loss, theirs, atol=1e-5, rtol=0)


def test_labelled_rows_only_gives_the_same_loss_as_all_rows(pair: Any, image_of: Any) -> None:
    model, _ = pair
    batch = model.batch([conversation([image_of(1)], "What is shown?", "red"), conversation([], "how many?", "two")])
    fast, slow = model(batch), model(batch, logits="all")
    torch.testing.assert_close(fast.loss, slow.loss)
    assert len(fast.logits) == len(fast.targets) < slow.logits.shape[0] * slow.logits.shape[1]


def test_greedy_answers_equal_on_a_left_padded_batch(pair: Any, image_of: Any) -> None:
    model, reference = pair
    rows = [
        conversation([image_of(4)], "what colour is the large circle?", None),
        conversation([], "What?", None),
        conversation([image_of(2), image_of(3)], "how many squares are there?", None),
    ]
    batch = model.batch(rows, generation=True)
    ours = model.generate(batch, max_new_tokens=12)
    inputs = hf_inputs(model, batch)
    ids = reference.generate(
        **inputs, max_new_tokens=12, do_sample=False, eos_token_id=model.backbone.llm.stop_ids, pad_token_id=2
    )
    theirs = [row[batch.ids.shape[1] :].tolist() for row in ids]
    stop = model.backbone.llm.stop_ids[0]
    theirs = [row[: row.index(stop) + 1] if stop in row else row for row in theirs]
    assert ours == theirs


def test_lora_merged_into_a_copy_gives_the_same_logits(backbone_of: Any, adapter_of: Any, image_of: Any) -> None:
    backbone = backbone_of()
    adapter = adapter_of(backbone)
    merged_llm = copy.deepcopy(backbone.llm.model)
    with torch.no_grad():
        for target in adapter.lora.targets:
            down, up = adapter.lora.matrices(target)
            merged_llm.get_submodule(target).weight += adapter.lora.config.alpha / adapter.lora.config.r * up @ down
    model = adapter.attach(backbone)
    batch = model.batch([conversation([image_of(1)], "What is shown?", "red")])
    attached = model(batch, logits="all").logits
    embeddings = model.embeddings(batch)
    merged = merged_llm(inputs_embeds=embeddings, attention_mask=batch.mask).logits
    torch.testing.assert_close(attached, merged, atol=1e-5, rtol=0)
    adapter.detach()
    assert float((backbone.llm.logits(embeddings, batch.mask) - attached).abs().max()) > 1e-3
