"""Words in front of everything that trains: read once, with the same loss and gradients as when read each time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.inputs import MlpConfig
from inlay.adapters.language.checkpointing import recomputed
from inlay.adapters.language.frozen_prefix import KEPT, WORTH, constant_of
from inlay.adapters.llm_parts.lora import LoraConfig

FAMILIES = ("llama", "qwen2", "qwen3", "opt")


def attached(llm: Any, clip: Any, *, lora: LoraConfig | None = None) -> Any:
    torch.manual_seed(3)
    backbone = Backbone(llm, {"image": clip})
    layout = Layout(template="vicuna_v1", system="a circle is red, a square is blue, a star is large")
    adapter = Adapter.for_backbone(
        backbone, system="llava", name="tiny", layout=layout, inputs={"image": MlpConfig()}, lora=lora
    )
    for name, parameter in adapter.named_parameters():
        if name.endswith("/B"):
            torch.nn.init.normal_(parameter, std=0.2)
        parameter.requires_grad_(name.startswith("inputs"))
    return adapter.attach(backbone)


def talks(image_of: Any, *, mixed: bool) -> list[tuple[Message, ...]]:
    """About pictures, of like or of different lengths."""
    short: list[tuple[Message, ...]] = [
        (
            Message("user", (MediaPart("image", image_of(seed)), TextPart("what colour is it?"))),
            Message("assistant", (TextPart("red"),)),
        )
        for seed in (1, 2)
    ]
    if not mixed:
        return short
    long = "two of them, and a large circle, and a small star, and a blue square"
    return [*short, (*short[0], Message("user", (TextPart("what else?"),)), Message("assistant", (TextPart(long),)))]


def step(model: Any, batch: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.adapter.zero_grad()
    loss = model(batch, logits="none").loss
    loss.backward()
    return loss.detach(), {n: p.grad.clone() for n, p in model.adapter.named_parameters() if p.grad is not None}


def assert_same(fast: Any, slow: Any) -> None:
    torch.testing.assert_close(fast[0], slow[0], rtol=1e-5, atol=0)
    assert fast[1].keys() == slow[1].keys()
    for name, gradient in slow[1].items():
        assert gradient.any(), name
        assert float((fast[1][name] - gradient).norm()) <= 1e-5 * float(gradient.norm()), name


def read_positions(model: Any) -> list[int]:
    """Positions that the first layer's MLP sees, call by call, from now on."""
    seen: list[int] = []
    layer = model.backbone.llm.model.get_decoder().layers[0]
    inner = layer.fc1 if model.backbone.llm.family == "opt" else layer.mlp
    inner.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[:-1].numel()))
    return seen


@pytest.mark.parametrize("packs", [False, True])
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_are_those_of_the_whole(
    llm_of: Any, clip_of: Any, image_of: Any, family: str, mixed: bool, packs: bool
) -> None:
    model = attached(llm_of(family), clip_of())
    model.backbone.llm.wiring.packs = packs
    batch = model.batch(talks(image_of, mixed=mixed))
    begun = len(batch.beginning)
    assert begun >= WORTH
    slow = step(model, replace(batch, beginning=()))
    seen = read_positions(model)
    assert_same(step(model, batch), slow)
    assert_same(step(model, batch), slow)
    end = int((batch.labels != -100).any(dim=0).nonzero().max())
    real = int(batch.mask[:, :end].sum()) if packs and mixed else len(batch) * end
    assert seen == [begun, real - len(batch) * begun, real - len(batch) * begun]


def test_frozen_lora_is_part_of_it_and_other_lora_another(llm_of: Any, clip_of: Any, image_of: Any) -> None:
    config = LoraConfig(r=4, alpha=8.0, targets=("q_proj", "v_proj", "down_proj"))
    model = attached(llm_of("llama"), clip_of(), lora=config)
    batch = model.batch(talks(image_of, mixed=True))
    bare = replace(batch, beginning=())
    slow = step(model, bare)
    assert_same(step(model, batch), slow)
    with torch.no_grad():
        for name, parameter in model.adapter.lora.named_parameters():
            if name.endswith("/B"):
                parameter.mul_(-1)
    other = step(model, bare)
    assert abs(float(other[0] - slow[0])) > 1e-4
    assert_same(step(model, batch), other)


def test_what_trains_in_the_words_is_no_constant(llm_of: Any, clip_of: Any) -> None:
    ids = tuple(range(WORTH))
    targets = ("q_proj",)
    lora = attached(llm_of("llama"), clip_of(), lora=LoraConfig(r=4, alpha=8.0, targets=targets)).adapter.lora
    dropping = LoraConfig(r=4, alpha=8.0, targets=targets, dropout=0.5)
    drops = attached(llm_of("llama"), clip_of(), lora=dropping).adapter.lora
    assert constant_of(ids, lora, None) == constant_of(ids, lora, None) != constant_of(ids[::-1], lora, None)
    assert constant_of(ids[1:], None, None) is None
    assert constant_of(ids, drops.train(), None) is None
    assert constant_of(ids, drops.eval(), None) is not None
    assert constant_of(ids, lora.requires_grad_(), None) is None


def test_beginnings_end_at_a_medium_a_label_and_where_rows_differ(llm_of: Any, clip_of: Any, image_of: Any) -> None:
    model = attached(llm_of("llama"), clip_of())
    batch = model.batch(talks(image_of, mixed=True))
    assert len(batch.beginning) == int(batch.slots[0].long().argmax())
    assert list(batch.beginning) == batch.ids[2, : len(batch.beginning)].tolist()
    words = [(Message("user", (TextPart(text),)), Message("assistant", (TextPart("red"),))) for text in ("a", "a")]
    batch = model.batch(words)
    assert len(batch.beginning) == int((batch.labels[0] != -100).long().argmax()) - 1
    other = [words[0], (Message("user", (TextPart("blue"),)), Message("assistant", (TextPart("red"),)))]
    assert 0 < len(model.batch(other).beginning) < len(batch.beginning)
    assert model.batch([row[:1] for row in words], generation=True).beginning == ()


def test_only_the_last_few_are_kept(llm_of: Any, clip_of: Any, image_of: Any) -> None:
    model = attached(llm_of("llama"), clip_of())
    batch = model.batch(talks(image_of, mixed=False))
    for cut in range(WORTH, WORTH + KEPT + 2):
        step(model, replace(batch, beginning=batch.beginning[:cut]))
    assert len(model.backbone.llm._constants._kept) == KEPT


@pytest.mark.parametrize("family", ["t5", "llama"])
def test_who_keeps_no_keys_reads_everything(llm_of: Any, clip_of: Any, image_of: Any, family: str) -> None:
    model = attached(llm_of(family), clip_of())
    if family == "llama":  # somebody looks into a layer: its inside is not known any more
        model.backbone.llm.model.model.layers[0].register_forward_hook(lambda *_: None)
    batch = model.batch(talks(image_of, mixed=True))
    assert batch.beginning
    assert_same(step(model, batch), step(model, replace(batch, beginning=())))


def test_layers_that_run_again_begin_at_the_beginning(llm_of: Any, clip_of: Any, image_of: Any) -> None:
    model = attached(llm_of("llama"), clip_of())
    batch = model.batch(talks(image_of, mixed=True))
    slow = step(model, replace(batch, beginning=()))
    assert_same(step(model, batch), slow)
    with recomputed(model.backbone.llm.model):
        assert_same(step(model, batch), slow)
