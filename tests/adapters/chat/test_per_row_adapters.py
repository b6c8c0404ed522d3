"""Several adapters in one batch: the answers and the scores are those of one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from random_weights import perturbed
from torch import Tensor

from inlay.adapters import AttachError, IncompatibleBackbone
from inlay.adapters.adapter import Adapter
from inlay.adapters.chat.per_row_adapters import embed_mixed, generate_mixed, with_lora_of
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.inputs import MlpConfig
from inlay.adapters.llm_parts.lora import LoraConfig, LoraError

Make = Callable[..., Any]
KINDS: list[dict[str, Any]] = [{"kind": "mlp"}, {"kind": "linear"}, {"kind": "mlp", "r": 2}, {"kind": "mlp", "r": None}]
ORDER = (1, 0, 3, 1, 2, 0)
WORDS = ("what?", "how many squares are there?", "why?", "what colour is the large circle?", "where?", "and?")


pytestmark = pytest.mark.usefixtures("no_gradients")


@pytest.fixture
def world_of(backbone_of: Make, adapter_of: Make, image_of: Make) -> Make:
    """A backbone with varied answers, four adapters (other projector, smaller rank, no LoRA), and conversations."""

    def make(family: str = "llama", *, adapters: bool = True) -> Any:
        backbone = backbone_of(family)
        perturbed(backbone.llm.model, 0.2)
        kinds = KINDS if adapters else []
        made = [adapter_of(backbone, seed=3 + seed, **fields).eval() for seed, fields in enumerate(kinds)]
        asked = [
            (Message("user", (*([MediaPart("image", image_of(i))] if i != 2 else []), TextPart(words))),)
            for i, words in enumerate(WORDS)
        ]
        return backbone, made, asked

    return make


def one_by_one(backbone: Any, adapters: Any, asked: Any, **options: Any) -> tuple[list[list[int]], list[str], Tensor]:
    ids, texts, scores = [], [], []
    for index, conversation in zip(ORDER, asked, strict=True):
        model = adapters[index].attach(backbone)
        batch = model.batch([conversation], generation=True)
        ids += model.generate(batch, **options)
        texts += model.answer([conversation], **options)
        scores.append(model.probe(conversation))
        model.adapter.detach()
    return ids, texts, torch.stack(scores)


@pytest.mark.parametrize("family", ["llama", "qwen3", "opt"])
def test_answers_and_scores_are_those_of_one_after_the_other(world_of: Make, family: str) -> None:
    backbone, adapters, asked = world_of(family)
    ids, texts, scores = one_by_one(backbone, adapters, asked, max_new_tokens=8)
    assert len({tuple(row) for row in ids}) > 3
    model = adapters[0].attach(backbone)
    chosen = [adapters[index] for index in ORDER]
    assert generate_mixed(model, asked, chosen, max_new_tokens=8) == ids
    assert model.answer(asked, adapters=chosen, max_new_tokens=8) == texts
    embeddings, mask = embed_mixed(model, asked, chosen)
    with with_lora_of(model, chosen):
        together = backbone.llm.logits(embeddings, mask)[:, -1]
    torch.testing.assert_close(together, scores, rtol=1e-5, atol=1e-5)


def test_encoder_decoders_too(world_of: Make) -> None:
    """T5 names its linears otherwise; its decoder's cross-attention reads what the encoder wrote of the same row."""
    backbone, _, asked = world_of("t5", adapters=False)
    config = LoraConfig(r=4, alpha=8.0, targets=("q", "v"))
    adapters = []
    for seed in range(4):
        torch.manual_seed(seed)
        adapter = Adapter.for_backbone(
            backbone,
            system="llava",
            name=str(seed),
            layout=Layout(template="vicuna_v1"),
            inputs={"image": MlpConfig()},
            lora=config,
        ).eval()
        for parameter in adapter.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.5)
        adapters.append(adapter)
    for options in ({"max_new_tokens": 6}, {"max_new_tokens": 6, "num_beams": 2}):
        ids, _, _ = one_by_one(backbone, adapters, asked, **options)
        model = adapters[0].attach(backbone)
        assert generate_mixed(model, asked, [adapters[index] for index in ORDER], **options) == ids
        model.adapter.detach()
    assert len({tuple(row) for row in ids}) > 1


def test_beams_of_a_row_stay_with_its_adapter(world_of: Make) -> None:
    backbone, adapters, asked = world_of()
    options = {"max_new_tokens": 6, "num_beams": 3}
    ids, _, _ = one_by_one(backbone, adapters, asked, **options)
    model = adapters[0].attach(backbone)
    assert generate_mixed(model, asked, [adapters[index] for index in ORDER], **options) == ids


def test_afterwards_the_attached_adapter_is_as_before(world_of: Make) -> None:
    backbone, adapters, asked = world_of()
    model = adapters[0].attach(backbone)
    before = model.probe(asked[0])
    model.answer(asked, adapters=[adapters[index] for index in ORDER], max_new_tokens=2)
    assert not adapters[0].lora.rows.active
    assert torch.equal(model.probe(asked[0]), before)
    assert [adapter.attached for adapter in adapters] == [True, False, False, False]

    with pytest.raises(RuntimeError, match="stop"), with_lora_of(model, adapters[:2]):
        raise RuntimeError("stop")
    assert torch.equal(model.probe(asked[0]), before)


def test_projectors_alone_need_no_lora(adapter_of: Make, world_of: Make) -> None:
    backbone, _, asked = world_of()
    adapters = [adapter_of(backbone, seed=seed, r=None).eval() for seed in range(4)]
    ids, _, _ = one_by_one(backbone, adapters, asked, max_new_tokens=6)
    model = adapters[2].attach(backbone)
    assert generate_mixed(model, asked, [adapters[index] for index in ORDER], max_new_tokens=6) == ids


def test_what_cannot_share_a_batch_is_refused(world_of: Make, backbone_of: Make, adapter_of: Make) -> None:
    backbone, adapters, asked = world_of()
    model = adapters[0].attach(backbone)
    with pytest.raises(AttachError, match="expected one adapter for each of 6 conversations, got 2"):
        model.answer(asked, adapters=adapters[:2])
    adapters[1].layout = Layout(template="vicuna_v1", stop=("###",))
    with pytest.raises(AttachError, match="got templates vicuna_v1 with different ends"):
        model.answer(asked[:2], adapters=adapters[:2])
    with pytest.raises(IncompatibleBackbone):
        model.answer(asked[:2], adapters=[adapters[0], adapter_of(backbone_of("qwen2"))])
    elsewhere = adapter_of(other := backbone_of())
    elsewhere.attach(other)
    with pytest.raises(AttachError, match="attached to another backbone"):
        model.answer(asked[:2], adapters=[adapters[0], elsewhere])


def test_a_lora_that_changes_more_than_the_attached_one_is_refused(world_of: Make, adapter_of: Make) -> None:
    backbone, adapters, asked = world_of()
    model = adapters[3].attach(backbone)
    with pytest.raises(AttachError, match="the attached adapter has no LoRA and another has"):
        model.answer(asked[:2], adapters=[adapters[3], adapters[0]])
    model.swap(adapters[0])
    wide = adapter_of(backbone, seed=9)
    wide.lora.shapes["model.layers.0.self_attn.k_proj"] = (32, 16)
    with pytest.raises(LoraError, match=r"k_proj is absent in the attached adapter and \(32, 16\) in another"):
        model.answer(asked[:2], adapters=[adapters[0], wide])


def test_several_answers_a_conversation(world_of: Make) -> None:
    backbone, adapters, asked = world_of()
    options: dict[str, Any] = {"max_new_tokens": 4, "num_beams": 3, "num_return_sequences": 2}
    model = adapters[0].attach(backbone)
    chosen = [adapters[index] for index in ORDER]
    found = model.answer(asked, adapters=chosen, **options)
    assert len(found) == 2 * len(asked)
    assert found[::2] == model.answer(asked, adapters=chosen, **options | {"num_return_sequences": 1})
