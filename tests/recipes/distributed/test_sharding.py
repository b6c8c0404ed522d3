"""A sharded frozen language model gives the numbers of the whole one; on the CPU, over gloo."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.distributed.tensor import DTensor
from two_processes import in_two

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.recipes.distributed.sharding import check_sharding, cut_layers, shard
from inlay.recipes.settings.errors import SettingsError

pytestmark = pytest.mark.filterwarnings(
    # OPT's layer gives back a view; nothing writes into it in place.
    "ignore:FSDP2-wrapped module .* returned a view tensor:UserWarning",
)


def conversation(picture: Any, said: str) -> list[Message]:
    user = Message("user", (MediaPart("image", picture), TextPart("what is shown?")))
    return [user, Message("assistant", (TextPart(said),))]


def step(model: Any, picture: Any) -> dict[str, torch.Tensor]:
    """Loss and gradients of one batch."""
    batch = model.batch([conversation(picture, "red"), conversation(picture, "a large blue square")])
    loss = model(batch, logits="none").loss
    loss.backward()
    named = model.adapter.named_parameters()
    return {"loss": loss.detach()} | {name: p.grad.clone() for name, p in named if p.grad is not None}


@pytest.mark.parametrize("family", ["llama", "opt", "qwen3"])
def test_shards_give_loss_and_gradients_of_the_whole_model(
    backbone_of: Any, adapter_of: Any, image_of: Any, family: str
) -> None:
    def work() -> Any:
        backbone = backbone_of(family)
        model = adapter_of(backbone).attach(backbone)
        whole = step(model, image_of(0))
        model.adapter.zero_grad()
        llm = backbone.llm.model
        shard(llm, model.adapter.parameters(), "cpu")
        cut = step(model, image_of(0))
        again = step(model, image_of(0))["loss"]
        kinds = {name: isinstance(p, DTensor) for name, p in llm.named_parameters()}
        wrong = [name for name, tensor in whole.items() if not torch.allclose(cut[name], tensor, rtol=1e-4, atol=1e-6)]
        return {
            "same": cut.keys() == whole.keys() and not wrong and torch.equal(again, cut["loss"]),
            "cut": all(kinds[n] == (".layers." in n and "lora" not in n) for n in kinds),
            "bytes": sum(p.to_local().numel() for p in llm.parameters() if isinstance(p, DTensor)),
            "all": sum(p.numel() for p in llm.parameters() if isinstance(p, DTensor)),
        }

    for own in in_two(work):
        assert isinstance(own, dict), own
        assert own["same"]
        assert own["cut"]
        assert own["bytes"] == own["all"] / 2


def test_encoder_decoders_are_refused(llm_of: Any) -> None:
    with pytest.raises(SettingsError, match="T5ForConditionalGeneration has none; use ddp"):
        cut_layers(llm_of("t5").model)


@pytest.mark.parametrize(
    ("device", "evaluate", "processes", "told"),
    [
        ("cpu", False, 2, "got the device cpu; leave --strategy out"),
        ("cuda", False, 1, "needs several processes"),
        ("cuda", True, 2, "give --evaluate false"),
    ],
)
def test_what_cannot_be_sharded_is_said_beforehand(device: str, evaluate: bool, processes: int, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        check_sharding(device, evaluate=evaluate, processes=processes)
    check_sharding("cuda", evaluate=False, processes=2)
