"""Prompts for projectors that read: which words, which ids, and what the interface checks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.compatibility.verdict import IncompatibleBackbone
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.inputs import InstructQFormerConfig
from inlay.adapters.language.prompt_tokenizer import PromptError, PromptTokenizer
from inlay.adapters.loading.pretrained import BackboneError

SIZES: dict[str, Any] = {"queries": 3, "hidden": 16, "layers": 1, "heads": 2, "ffn": 24, "prompt_tokens": 8}


@pytest.fixture
def backbone(llm_of: Any, clip_of: Any, prompt_tokenizer_of: Any) -> Backbone:
    return Backbone(llm_of("llama"), {"image": clip_of()}, prompt_tokenizer_of())


def reader_for(backbone: Backbone, **fields: Any) -> Adapter:
    vocabulary = backbone.prompter().vocabulary
    return Adapter.for_backbone(
        backbone,
        system="instructblip",
        name="reader",
        layout=Layout.published("instructblip", prompt="Question: {} Short answer:"),
        inputs={"image": InstructQFormerConfig(**SIZES | {"vocabulary": vocabulary} | fields)},
    )


def user(text: str, *pictures: Any) -> Message:
    return Message("user", (*(MediaPart("image", picture) for picture in pictures), TextPart(text)))


def assistant(text: str) -> Message:
    return Message("assistant", (TextPart(text),))


def test_ids_are_those_of_the_tokenizer_with_its_special_tokens(prompt_tokenizer_of: Any) -> None:
    prompts = prompt_tokenizer_of()
    ids = prompts.encode("what colour is the circle?", 128)
    assert ids.tolist() == prompts.tokenizer("what colour is the circle?").input_ids
    assert prompts.tokenizer.convert_ids_to_tokens(ids.tolist())[:2] == ["[CLS]", "what"]


def test_a_long_prompt_loses_its_beginning_and_keeps_its_frame(prompt_tokenizer_of: Any) -> None:
    prompts = prompt_tokenizer_of()
    ids = prompts.encode("what colour is the large circle ?", 5)
    assert prompts.tokenizer.convert_ids_to_tokens(ids.tolist()) == ["[CLS]", "large", "circle", "?", "[SEP]"]


def test_special_tokens_that_people_write_stay_text(prompt_tokenizer_of: Any) -> None:
    prompts = prompt_tokenizer_of()
    ids = prompts.encode("[SEP] what [CLS]", 128).tolist()
    assert ids.count(prompts.tokenizer.sep_token_id) == ids.count(prompts.tokenizer.cls_token_id) == 1


def test_a_limit_without_room_for_a_word_is_refused(prompt_tokenizer_of: Any) -> None:
    with pytest.raises(PromptError, match="above the 2 special tokens"):
        prompt_tokenizer_of().encode("what", 2)


def test_the_given_tokenizer_is_not_changed(prompt_tokenizer_of: Any) -> None:
    original = prompt_tokenizer_of().tokenizer
    original.truncation_side = "right"
    assert PromptTokenizer(original).tokenizer.truncation_side == "left"
    assert original.truncation_side == "right"


def test_slow_tokenizer_is_refused() -> None:
    with pytest.raises(PromptError, match="fast tokenizer"):
        PromptTokenizer(SimpleNamespace(is_fast=False))


@pytest.mark.filterwarnings("ignore::inlay.adapters.conversation.segments.LayoutWarning")
def test_batch_holds_the_words_of_each_mediums_own_turn(backbone: Any, image_of: Any) -> None:
    model = reader_for(backbone, prompt_tokens=64).attach(backbone)
    rows = [
        (user("what colour?", image_of(1)), assistant("red"), user("same?", image_of(2), image_of(3)), assistant("no")),
        (user("how many?"), assistant("two")),
        (user("sure?", image_of(4)), assistant("yes")),
    ]
    batch = model.batch(rows)
    tokenizer = backbone.prompter().tokenizer
    expected = [f"Question: {text} Short answer:" for text in ("what colour?", "same?", "same?", "sure?")]
    read = tokenizer(expected, padding=True, return_tensors="pt")
    assert torch.equal(batch.prompts["image"].ids, read.input_ids)
    assert torch.equal(batch.prompts["image"].mask, read.attention_mask)
    assert len(batch.prompts["image"]) == len(batch.inputs["image"]) == 4


def test_prompts_are_cut_to_what_the_projector_says(backbone: Any, image_of: Any) -> None:
    model = reader_for(backbone).attach(backbone)
    batch = model.batch([(user("what colour is the large circle? " * 5, image_of()), assistant("red"))])
    assert batch.prompts["image"].ids.shape == (1, 8)


def test_a_batch_without_media_still_goes_through_the_projector(backbone: Any) -> None:
    adapter = reader_for(backbone)
    model = adapter.attach(backbone)
    model(model.batch([(user("what?"), assistant("red"))])).loss.backward()
    gradients = [parameter.grad for parameter in adapter.parameters()]
    assert all(gradient is not None and not gradient.any() for gradient in gradients)


def test_projector_that_does_not_read_asks_for_no_tokenizer(backbone_of: Any, adapter_of: Any, image_of: Any) -> None:
    backbone = backbone_of()
    adapter = adapter_of(backbone)
    assert set(adapter.interface) == {"llm", "image"}
    assert adapter.attach(backbone).batch([(user("what?", image_of()), assistant("red"))]).prompts == {}


def test_interface_holds_the_tokenizer_of_a_projector_that_reads(backbone: Any) -> None:
    port = reader_for(backbone).interface["prompt"]
    assert port.kind == "tokenizer"
    assert port.width == backbone.prompter().vocabulary
    assert port.tokenizer == backbone.ports["prompt"].tokenizer


def test_backbone_without_a_prompt_tokenizer_is_refused_with_a_table(backbone: Any, llm_of: Any, clip_of: Any) -> None:
    adapter = reader_for(backbone)
    with pytest.raises(IncompatibleBackbone, match="tokenizer  none"):
        adapter.attach(Backbone(llm_of("llama"), {"image": clip_of()}))


def test_backbone_with_another_prompt_tokenizer_is_refused(
    backbone: Any, llm_of: Any, clip_of: Any, prompt_tokenizer_of: Any
) -> None:
    adapter = reader_for(backbone)
    with pytest.raises(IncompatibleBackbone) as caught:
        adapter.attach(Backbone(llm_of("llama"), {"image": clip_of()}, prompt_tokenizer_of("triangle")))
    assert {(row.port, row.field) for row in caught.value.report.rows} == {("prompt", "width"), ("prompt", "tokenizer")}


def test_new_adapter_that_reads_needs_a_tokenizer(backbone_of: Any) -> None:
    with pytest.raises(BackboneError, match="prompt_tokenizer"):
        Adapter.for_backbone(
            backbone_of(),
            system="instructblip",
            name="reader",
            layout=Layout.published("instructblip"),
            inputs={"image": InstructQFormerConfig(**SIZES)},
        )


def test_vocabulary_smaller_than_the_tokenizers_is_refused(backbone: Any) -> None:
    with pytest.raises(PromptError, match=r"has 10 tokens, .* has \d+"):
        reader_for(backbone, vocabulary=10)


def test_folder_with_the_tokenizer_loads_through_from_pretrained(tmp_path: Any, backbone: Any) -> None:
    backbone.llm.model.save_pretrained(tmp_path / "llm")
    backbone.llm.tokenizer.save_pretrained(tmp_path / "llm")
    backbone.prompter().tokenizer.save_pretrained(tmp_path / "bert")
    loaded = Backbone.from_pretrained(tmp_path / "llm", prompt=tmp_path / "bert", dtype="float32")
    assert loaded.ports["prompt"].source == "bert"
    renamed = backbone.ports["prompt"].model_copy(update={"source": "bert"})
    assert loaded.ports["prompt"] == renamed
