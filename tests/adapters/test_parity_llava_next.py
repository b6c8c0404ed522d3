"""The same weights in transformers' LLaVA-NeXT (1.6): ids, embeddings, logits and answers must be the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from attached import copy_llava
from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration, LlavaNextProcessor
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

from inlay.adapters import Adapter
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.inputs import MlpConfig
from inlay.adapters.media.tiling.anyres import AnyRes

SIDE, PATCH = 16, 8
SIZES = [(20, 14), (70, 9), (9, 70), (40, 41), (33, 16), (1, 60)]
"""Pictures of one to four tiles, with padding at the sides, above and below, and with nothing left of the map."""


pytestmark = pytest.mark.usefixtures("no_gradients")


@pytest.fixture
def pair(backbone_of: Any) -> Any:
    """Our attached model with AnyRes, and a Hugging Face model that holds copies of its weights."""
    backbone = backbone_of()
    torch.manual_seed(3)
    adapter = Adapter.for_backbone(
        backbone,
        system="llava",
        name="tiny",
        layout=Layout(template="vicuna_v1", tiling="anyres"),
        inputs={"image": MlpConfig()},
    )
    reference = hf_llava_next(backbone, adapter)
    return adapter.attach(backbone), reference


def hf_llava_next(backbone: Any, adapter: Any) -> LlavaNextForConditionalGeneration:
    config = LlavaNextConfig(
        vision_config=backbone.encoder("image").model.config,
        text_config=backbone.llm.model.config,
        image_token_index=backbone.llm.tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_grid_pinpoints=[[rows * SIDE, columns * SIDE] for rows, columns in AnyRes().canvases],
    )
    model = LlavaNextForConditionalGeneration(config).eval()
    copy_llava(model, backbone, adapter)
    model.model.image_newline.copy_(adapter.newline.row)
    return model


def processor_for(model: Any) -> LlavaNextProcessor:
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": SIDE},
        crop_size={"height": SIDE, "width": SIDE},
        image_grid_pinpoints=[[rows * SIDE, columns * SIDE] for rows, columns in AnyRes().canvases],
    )
    return LlavaNextProcessor(
        images,
        model.backbone.llm.tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )


def conversation(images: list[Any], question: str, answer: str | None) -> tuple[Message, ...]:
    user = Message("user", (*(MediaPart("image", image) for image in images), TextPart(question)))
    return (user,) if answer is None else (user, Message("assistant", (TextPart(answer),)))


def rows_of(image_of: Any, answer: str | None) -> list[tuple[Message, ...]]:
    """No picture, one, and several of different numbers of tiles."""
    pictures = [image_of(n, size) for n, size in enumerate(SIZES)]
    return [
        conversation([], "what colour is the circle?", answer),
        conversation(pictures[:1], "how many squares are there?", answer),
        conversation(pictures[1:3], "What is shown?", answer),
        conversation(pictures[3:], "which one?", answer),
    ]


def hf_inputs(model: Any, batch: Any, image_of: Any) -> dict[str, Any]:
    """The batch as transformers wants it; the pictures by its own image processor."""
    ids = batch.ids.clone()
    ids[batch.slots] = model.backbone.llm.tokenizer.convert_tokens_to_ids("<image>")
    pictures = [image_of(n, size) for n, size in enumerate(SIZES)]
    read = processor_for(model).image_processor(pictures, return_tensors="pt")
    return {"input_ids": ids, "attention_mask": batch.mask, **read}


@pytest.mark.parametrize("size", SIZES)
def test_a_picture_has_as_many_places_as_in_llava_next_processor(
    pair: Any, image_of: Any, size: tuple[int, int]
) -> None:
    model, _ = pair
    theirs = processor_for(model)(images=image_of(0, size), text="<image>", return_tensors="pt").input_ids
    place = model.backbone.llm.tokenizer.convert_tokens_to_ids("<image>")
    ours = model.encode(conversation([image_of(0, size)], "what?", "red"))
    assert int(ours.slots.sum()) == int((theirs == place).sum()) == ours.counts[0]


def test_embeddings_equal_for_pictures_of_different_numbers_of_tiles(pair: Any, image_of: Any) -> None:
    model, reference = pair
    batch = model.batch(rows_of(image_of, "two of them"))
    inputs = hf_inputs(model, batch, image_of)
    features = reference.model.get_image_features(inputs["pixel_values"], inputs["image_sizes"]).pooler_output
    ours = model.embeddings(batch)[batch.slots]
    torch.testing.assert_close(ours, torch.cat(list(features)), atol=1e-5, rtol=0)


def test_logits_equal_for_pictures_of_different_numbers_of_tiles(pair: Any, image_of: Any) -> None:
    model, reference = pair
    batch = model.batch(rows_of(image_of, "two of them"))
    assert len({grid.tiles for grid in batch.tiles["image"].grids}) > 1
    ours = model(batch, logits="all").logits
    theirs = reference(**hf_inputs(model, batch, image_of)).logits
    assert float((ours - theirs).abs()[batch.mask.bool()].max()) <= 1e-5


def test_loss_equals_that_of_transformers(pair: Any, image_of: Any) -> None:
    model, reference = pair
    batch = model.batch(rows_of(image_of, "two of them"))
    theirs = reference(**hf_inputs(model, batch, image_of), labels=batch.labels).loss
    for logits in ("none", "labelled", "all"):  # rows are packed end to end where no logits are asked for
        torch.testing.assert_close(model(batch, logits=logits).loss, theirs, atol=1e-5, rtol=0)


def test_greedy_answers_equal_on_a_left_padded_batch(pair: Any, image_of: Any) -> None:
    model, reference = pair
    batch = model.batch(rows_of(image_of, None), generation=True)
    ours = model.generate(batch, max_new_tokens=12)
    ids = reference.generate(
        **hf_inputs(model, batch, image_of),
        max_new_tokens=12,
        do_sample=False,
        eos_token_id=model.backbone.llm.stop_ids,
        pad_token_id=2,
    )
    theirs = [row[batch.ids.shape[1] :].tolist() for row in ids]
    stop = model.backbone.llm.stop_ids[0]
    assert ours == [row[: row.index(stop) + 1] if stop in row else row for row in theirs]
