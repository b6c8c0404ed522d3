"""Attach, swap and detach: one owner per language model, nothing left behind by an exception, nothing kept alive."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Barrier, BrokenBarrierError, Thread
from typing import Any

import accelerate
import pytest
import torch
from attached import scores, unchanged, with_tokens

from inlay.adapters import Adapter, AttachError, Backbone, parse_messages
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.core import attach as attaching
from inlay.adapters.inputs import MlpConfig
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.llm_parts.lora import LoraConfig
from inlay.adapters.llm_parts.token_rows import TokenRowsError

Make = Callable[..., Any]
ASKED = parse_messages([{"role": "user", "content": "what colour is it?"}])


ENTRIES: dict[str, Callable[[Any], Any]] = {
    "chat": lambda model: model.chat([{"role": "user", "content": "what?"}], max_new_tokens=2),
    "answer": lambda model: model.answer([ASKED], max_new_tokens=2),
    "replies": lambda model: model.replies([ASKED], max_new_tokens=2),
    "encode": lambda model: model.encode(ASKED, generation=True),
    "batch": lambda model: model.batch([ASKED], generation=True),
    "probe": lambda model: model.probe(ASKED),
    "swap": lambda model: model.swap(copy.deepcopy(model.adapter)),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_model_of_a_detached_adapter_refuses(backbone_of: Make, adapter_of: Make, entry: str) -> None:
    backbone = backbone_of()
    adapter = adapter_of(backbone).eval()
    model = adapter.attach(backbone)
    ENTRIES[entry](model)
    if adapter.attached:
        adapter.detach()
    else:
        model.adapter.detach()
    with pytest.raises(AttachError, match="detached"):
        ENTRIES[entry](model)
    other = adapter_of(backbone, seed=9).eval()
    other.attach(backbone)
    with pytest.raises(AttachError, match="detached"):
        ENTRIES[entry](model)


@pytest.mark.parametrize("call", ["__call__", "embeddings", "generate", "predict"])
def test_forward_calls_of_a_detached_adapter_refuse(backbone_of: Make, adapter_of: Make, call: str) -> None:
    backbone = backbone_of()
    adapter = adapter_of(backbone).eval()
    model = adapter.attach(backbone)
    batch = model.batch([ASKED], generation=True)
    arguments = (model.embeddings(batch), batch) if call == "predict" else (batch,)
    adapter.detach()
    with pytest.raises(AttachError, match="detached"):
        getattr(model, call)(*arguments)


def test_another_adapter_that_took_the_place_is_named(backbone_of: Make, adapter_of: Make) -> None:
    backbone = backbone_of()
    one, two = adapter_of(backbone, seed=1).eval(), adapter_of(backbone, seed=2).eval()
    old = one.attach(backbone)
    assert one.replaced_by(two)
    with pytest.raises(AttachError, match=f"replaced by adapter '{two.name}'"):
        old.probe(ASKED)


class Sudden(BaseException):
    """Such as KeyboardInterrupt: no ``except Exception`` sees it."""


@contextmanager
def failing_at(step: int, counted: Callable[[str], bool]) -> Iterator[list[str]]:
    """Raise in the call with this number among those that count; the list says where."""
    import sys

    left, where = [step], list[str]()

    def profile(frame: Any, event: str, _: Any) -> None:
        if event != "call" or where:
            return
        name = frame.f_globals.get("__name__", "")
        # An exception in the last step of a generator expression is swallowed by Python itself.
        if counted(name) and frame.f_code.co_name != "<genexpr>":
            if left[0] == 0:
                where.append(f"{name}:{frame.f_code.co_qualname}")
                sys.setprofile(None)
                raise Sudden(where[0])
            left[0] -= 1

    sys.setprofile(profile)
    try:
        yield where
    finally:
        sys.setprofile(None)


def _ours(name: str) -> bool:
    return name.startswith("inlay.adapters.")


def test_an_exception_in_any_step_of_attach_leaves_nothing(llm_of: Make) -> None:
    backbone = Backbone(llm=llm_of("llama"))
    _ = backbone.ports
    adapter = with_tokens(backbone)
    step, places = 0, set[str]()
    with unchanged(backbone):
        while True:
            with failing_at(step, _ours) as where, suppress(Sudden):
                adapter.attach(backbone)
            if not where:
                break
            places.add(where[0])
            assert not adapter.attached, where
            assert backbone.attached is None, where
            step += 1
        adapter.detach()
    assert step > 20
    assert any("TokenRows.attach" in place for place in places)
    assert any("LoraPart.attach" in place for place in places)


def test_an_exception_in_any_step_of_detach_still_undoes_everything(llm_of: Make) -> None:
    backbone = Backbone(llm=llm_of("llama"))
    adapter = with_tokens(backbone)
    step = 0
    with unchanged(backbone):
        while True:
            adapter.attach(backbone)
            with failing_at(step, _ours) as where, suppress(Sudden):
                adapter.detach()
            if not where:
                break
            if adapter.attached:  # raised before anything was undone
                adapter.detach()
            assert backbone.attached is None, where
            step += 1
    assert step > 3


@pytest.mark.parametrize("shape", ["of one shape", "of two shapes"])
def test_an_exception_in_any_step_of_swap_leaves_one_adapter_at_work(
    backbone_of: Make, adapter_of: Make, shape: str
) -> None:
    backbone = backbone_of()
    one = adapter_of(backbone, seed=1).eval()
    two = adapter_of(backbone, seed=2).eval() if shape == "of one shape" else with_tokens(backbone, seed=2)
    model = one.attach(backbone)
    with_one = model.probe(ASKED)
    model.swap(two)
    with_two = model.probe(ASKED)
    model.swap(one)
    assert not torch.equal(with_one[:100], with_two[:100])
    step = late = 0
    while True:
        two._admission = None  # so that it is checked anew
        with failing_at(step, _ours) as where, suppress(Sudden):
            model.swap(two)
        if not where:
            break
        # Where it comes at the very end, the swap is done; in between there is nothing.
        kept = (one.attached, two.attached, model.adapter is one)
        assert kept in ((True, False, True), (False, True, False)), where
        assert torch.equal(model.probe(ASKED), with_one if model.adapter is one else with_two), where
        late += model.adapter is two
        if model.adapter is two:
            model.swap(one)
        step += 1
    assert torch.equal(model.probe(ASKED), with_two)
    assert step > 10
    assert late < 8


def test_a_failing_undo_does_not_keep_the_others_from_running(llm_of: Make) -> None:
    backbone = Backbone(llm=llm_of("llama"))
    adapter = with_tokens(backbone)
    with unchanged(backbone):
        adapter.attach(backbone)
        calls = list[str]()

        def broken() -> None:
            calls.append("broken")
            raise OSError("for the test")

        adapter.attachment.undo.callback(broken)
        with pytest.raises(OSError, match="for the test"):
            adapter.detach()
    assert calls
    assert not adapter.attached


@pytest.mark.parametrize("how", ["inject_adapter_in_model", "get_peft_model"])
def test_a_language_model_with_layers_of_peft_is_refused_and_left_alone(
    backbone_of: Make, adapter_of: Make, how: str
) -> None:
    import peft

    backbone = backbone_of()
    adapter = adapter_of(backbone)
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    getattr(peft, how)(*((config, backbone.llm.model) if how.startswith("inject") else (backbone.llm.model, config)))
    before = scores(backbone.llm)
    with pytest.raises(AttachError, match="merge"):
        adapter.attach(backbone)
    assert torch.equal(scores(backbone.llm), before)
    assert backbone.llm.model.peft_config
    assert (adapter.attached, backbone.attached) == (False, None)


def test_an_adapter_that_is_dropped_without_detach_leaves_the_language_model_free(
    backbone_of: Make,
) -> None:
    backbone = backbone_of()
    with unchanged(backbone):
        model: Any = with_tokens(backbone).attach(backbone)
        assert model.backbone.attached == "any"
        del model
        gc.collect()
    with_tokens(backbone).attach(backbone)


def test_a_language_model_that_shares_modules_with_an_attached_one_is_refused(backbone_of: Make) -> None:
    backbone = backbone_of()
    bare = Adapter.for_backbone(
        backbone, system="llava", name="bare", layout=Layout(template="vicuna_v1"), inputs={"image": MlpConfig()}
    )
    other = type(backbone.llm.model)(backbone.llm.model.config)
    other.model = backbone.llm.model.model
    sharing = Backbone(LanguageModel(other, backbone.llm.tokenizer, source=backbone.llm.source), backbone.encoders)
    model = with_tokens(backbone).attach(backbone)
    with pytest.raises(AttachError, match="shares modules with one"):
        bare.attach(sharing)
    with pytest.raises(AttachError, match="a copy of a language model to which an adapter is attached"):
        bare.attach(copy.deepcopy(backbone))
    model.adapter.detach()
    bare.attach(sharing)


@pytest.mark.parametrize("copied", [copy.deepcopy, pickle.dumps])
def test_a_model_is_not_copied(backbone_of: Make, copied: Any) -> None:
    model = with_tokens(backbone := backbone_of()).attach(backbone)
    with pytest.raises(AttachError, match="copy the adapter"):
        copied(model)


def test_an_adapter_keeps_its_weights_on_a_language_model_that_accelerate_offloads(backbone_of: Make) -> None:
    """Its embeddings are on the meta device while nothing runs."""
    backbone = backbone_of()
    adapter = with_tokens(backbone)
    wanted = adapter.attach(backbone).probe(ASKED)
    adapter.detach()
    accelerate.cpu_offload(backbone.llm.model, execution_device="cpu")
    torch.testing.assert_close(adapter.attach(backbone).probe(ASKED), wanted)


def test_an_adapter_with_lora_is_made_beside_a_language_model_that_accelerate_offloads(backbone_of: Make) -> None:
    backbone = backbone_of()
    accelerate.cpu_offload(backbone.llm.model, execution_device="cpu")
    with pytest.raises(TokenRowsError, match="offloaded"):
        with_tokens(backbone)
    adapter = Adapter.for_backbone(
        backbone, system="llava", name="any", layout=Layout(template="vicuna_v1"), inputs={}, lora=LoraConfig(r=2)
    )
    assert not any(parameter.is_meta for parameter in adapter.parameters())
    assert adapter.attach(backbone).probe(ASKED).isfinite().all()


def test_of_two_threads_that_attach_one_adapter_to_two_language_models_one_is_refused(
    backbone_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = backbone_of(), backbone_of()
    adapter, check = with_tokens(one), attaching.admit
    both = Barrier(2)

    def late(*given: Any, **options: Any) -> Any:
        with suppress(BrokenBarrierError):
            both.wait(timeout=0.5)
        return check(*given, **options)

    monkeypatch.setattr(attaching, "admit", late)
    refused: list[AttachError] = []

    def attach(backbone: Backbone) -> None:
        try:
            adapter.attach(backbone)
        except AttachError as error:
            refused.append(error)

    threads = [Thread(target=attach, args=(backbone,)) for backbone in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert sorted(str(backbone.attached) for backbone in (one, two)) == ["None", "any"]


def test_a_backbone_and_a_model_are_shown_in_a_few_lines(backbone_of: Make, adapter_of: Make) -> None:
    backbone = backbone_of()
    lines = ["Backbone(", "  llm: LlamaForCausalLM, llama, 32 wide", "  image: ClipEncoder, clip_vision_model", ")"]
    assert repr(backbone).splitlines() == lines
    adapter = adapter_of(backbone)
    model = adapter.attach(backbone)
    assert repr(model) == f"MultimodalModel({adapter.name!r} on llama)"
    adapter.detach()
    assert repr(model) == f"MultimodalModel({adapter.name!r} on llama, detached)"
