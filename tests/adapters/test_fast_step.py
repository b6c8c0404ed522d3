"""The fast training step against the plain one: the same loss, and the same gradient of every tensor that trains.

Plain is: LoRA by torch's own autograd, all layers at all positions, scores at every position, torch's cross-entropy.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, TextPart
from inlay.adapters.inputs import MlpConfig
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.llm_parts.lora import LoraConfig
from inlay.adapters.llm_parts.token_rows import TokensConfig

LLAMA = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
TARGETS = {
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "opt": ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"),
    "t5": ("q", "k", "v", "o", "wi_0", "wi_1", "wo"),
}


def attached(llm: LanguageModel, clip: Any, *, tokens: bool = False, lora: bool = True) -> Any:
    torch.manual_seed(3)
    backbone = Backbone(llm, {"image": clip})
    adapter = Adapter.for_backbone(
        backbone,
        system="llava",
        name="tiny",
        layout=Layout(template="nextgpt" if tokens else "vicuna_v1"),
        inputs={"image": MlpConfig()},
        tokens=TokensConfig.numbered(32, image=2) if tokens else None,
        lora=LoraConfig(r=4, alpha=8.0, targets=TARGETS[llm.family]) if lora else None,
    )
    for name, parameter in adapter.named_parameters():
        if name.endswith("/B"):
            torch.nn.init.normal_(parameter, std=0.2)
    return adapter.attach(backbone)


@pytest.fixture
def model_of(llm_of: Any, clip_of: Any, tokenizer_of: Any) -> Any:
    def make(family: str, **options: Any) -> Any:
        if family == "mistral":
            torch.manual_seed(0)
            tokenizer = tokenizer_of()
            sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
            shared = {"vocab_size": len(tokenizer), "num_key_value_heads": 2, "max_position_embeddings": 256}
            network = MistralForCausalLM(MistralConfig(**sizes, **shared, sliding_window=None))
            return attached(LanguageModel(network, tokenizer, source="tiny/mistral"), clip_of(), **options)
        return attached(llm_of(family), clip_of(), **options)

    return make


def conversations(image_of: Any) -> list[tuple[Message, ...]]:
    """Of three lengths, with no, one and two pictures; in the last, somebody says more after the last answer."""
    return [
        (Message("user", (TextPart("what colour is the circle?"),)), Message("assistant", (TextPart("red"),))),
        (
            Message("user", (MediaPart("image", image_of(1)), TextPart("how many squares are there?"))),
            Message("assistant", (TextPart("two of them, and a large circle"),)),
        ),
        (
            Message("user", (MediaPart("image", image_of(2)), MediaPart("image", image_of(3)), TextPart("What?"))),
            Message("assistant", (TextPart("a star"),)),
            Message("user", (TextPart("what else?"),)),
            Message("assistant", (TextPart("nothing"),)),
        ),
    ]


def step(model: Any, batch: Any, **how: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Loss, and the gradient of every parameter."""
    model.adapter.zero_grad()
    loss = model(batch, **how).loss
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.adapter.named_parameters()}


def plain(model: Any, batch: Any, **how: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    if model.adapter.lora is None:
        return step(model, batch, logits="all", **how)
    with model.adapter.lora.plain():
        return step(model, batch, logits="all", **how)


def assert_same(fast: Any, slow: Any) -> None:
    torch.testing.assert_close(fast[0], slow[0], rtol=1e-5, atol=0)
    assert fast[1].keys() == slow[1].keys()
    for name, gradient in slow[1].items():
        assert float((fast[1][name] - gradient).norm()) <= 1e-5 * float(gradient.norm()), name
        assert gradient.any(), name


@pytest.mark.parametrize("family", list(TARGETS))
def test_the_fast_step_is_the_plain_step(model_of: Any, image_of: Any, family: str) -> None:
    model = model_of(family)
    batch = model.batch(conversations(image_of))
    slow = plain(model, batch)
    # Twice: the first pass learns which linears share their input, the second makes use of it.
    assert_same(step(model, batch, logits="none"), slow)
    assert_same(step(model, batch, logits="none"), slow)


@pytest.mark.parametrize("family", ["llama", "opt", "t5"])
def test_without_lora_too(model_of: Any, image_of: Any, family: str) -> None:
    model = model_of(family, lora=False)
    batch = model.batch(conversations(image_of))
    assert_same(step(model, batch, logits="none"), plain(model, batch))


def test_eager_attention_too(llm_of: Any, clip_of: Any, image_of: Any) -> None:
    model = attached(llm_of("llama", attn_implementation="eager"), clip_of())
    batch = model.batch(conversations(image_of))
    assert model.backbone.llm.model.config._attn_implementation == "eager"
    assert_same(step(model, batch, logits="none"), plain(model, batch))


def test_padding_on_the_left_too(model_of: Any, image_of: Any) -> None:
    model = model_of("llama")
    right = model.batch(conversations(image_of))
    rows = [model.encode(messages) for messages in conversations(image_of)]
    left = model.collate(rows, generation=True)
    assert left.ids.tolist() != right.ids.tolist()
    assert_same(step(model, left, logits="none"), plain(model, left))


def test_trained_token_rows_and_their_states_too(model_of: Any, image_of: Any) -> None:
    model = model_of("llama", tokens=True)
    rows = [
        (
            Message("user", (TextPart("a red circle"),)),
            Message("assistant", (TextPart("Here."), MadePart("image", "x"))),
        ),
        *conversations(image_of)[1:2],
    ]
    batch = model.batch(rows)
    slow, fast = plain(model, batch), step(model, batch, logits="none")
    assert "tokens.output" in slow[1]
    assert_same(fast, slow)
    with torch.no_grad():
        whole, alone = model(batch, logits="all", states=True), model(batch, logits="none", states=True)
    assert alone.logits is None
    torch.testing.assert_close(alone.loss, whole.loss)
    torch.testing.assert_close(alone.signal_states["image"], whole.signal_states["image"])


def test_a_model_that_caps_its_scores_is_taken_as_it_is(model_of: Any, image_of: Any) -> None:
    model = model_of("llama")
    network = model.backbone.llm.model
    own = type(network).forward

    def capped(*args: Any, **kwargs: Any) -> Any:
        output = own(network, *args, **kwargs)
        output.logits = torch.tanh(output.logits * 20) / 10
        return output

    network.forward = capped
    batch = model.batch(conversations(image_of))
    slow, fast = plain(model, batch), step(model, batch, logits="none")
    assert_same(fast, slow)
    del network.forward
    assert abs(float(plain(model, batch)[0] - slow[0])) > 1e-3


def test_detach_is_exact_after_fast_steps(model_of: Any, image_of: Any) -> None:
    model = model_of("llama")
    llm = model.backbone.llm
    before = {name: tensor.clone() for name, tensor in llm.model.state_dict().items() if "lora_" not in name}
    batch = model.batch(conversations(image_of))
    step(model, batch, logits="none")
    model.adapter.detach()
    after = {name.replace("base_layer.", ""): tensor for name, tensor in before.items()}
    assert llm.model.state_dict().keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in llm.model.state_dict().items())
    assert not any("forward" in module.__dict__ for module in llm.model.modules())


def test_no_labels_no_loss(model_of: Any, image_of: Any) -> None:
    model = model_of("llama")
    batch = model.batch([conversations(image_of)[0][:1]], generation=True)
    assert model(batch, logits="none").loss is None
