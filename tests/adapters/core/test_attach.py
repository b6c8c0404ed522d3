"""Attach, swap and detach: one owner per language model, nothing left behind by an exception, nothing kept alive."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from inlay.adapters import Adapter, AdapterError, AttachError, Backbone, StaleCanaryWarning, parse_messages
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.llm_parts.lora import LoraConfig
from inlay.adapters.llm_parts.token_rows import TokensConfig

Make = Callable[..., Any]
ASKED = parse_messages([{"role": "user", "content": "what colour is it?"}])


def scores(llm: Any) -> Tensor:
    ids = torch.arange(3, 12)[None]
    with torch.no_grad():
        logits: Tensor = llm.model(inputs_embeds=llm.embed(ids)).logits
    return logits


def with_tokens(backbone: Backbone, seed: int = 0, name: str = "any") -> Adapter:
    """An adapter with token rows and LoRA."""
    torch.manual_seed(seed)
    adapter = Adapter.for_backbone(
        backbone,
        system="nextgpt",
        name=name,
        layout=Layout(template="vicuna_v1"),
        inputs={},
        tokens=TokensConfig.numbered(backbone.llm.width, image=2),
        lora=LoraConfig(r=2, targets=("q_proj", "v_proj")),
    )
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.normal_()
    return adapter.eval()


@contextmanager
def unchanged(backbone: Backbone) -> Iterator[None]:
    """The language model comes back as it was: numbers, module objects, tokenizer, calls, owner."""
    llm = backbone.llm
    before = scores(llm), list(llm.model.modules()), llm.tokenizer, [dict(m.__dict__) for m in llm.model.modules()]
    yield
    assert torch.equal(scores(llm), before[0])
    assert all(one is two for one, two in zip(llm.model.modules(), before[1], strict=True))
    assert llm.tokenizer is before[2]
    for module, attributes in zip(llm.model.modules(), before[3], strict=True):
        assert set(module.__dict__) == set(attributes), type(module).__name__
        assert module.__dict__.get("forward") is attributes.get("forward")
    assert backbone.attached is None


def test_a_language_model_in_two_backbones_has_one_owner(backbone_of: Make, adapter_of: Make) -> None:
    one = backbone_of()
    two = Backbone(llm=one.llm, encoders={"image": one.encoder("image")})
    with unchanged(one):
        first, second = adapter_of(one, seed=1), adapter_of(two, seed=2)
        first.attach(one)
        before = scores(one.llm)
        with pytest.raises(AttachError, match="One adapter at a time"):
            second.attach(two)
        assert torch.equal(scores(one.llm), before)
        assert (first.attached, second.attached, two.attached) == (True, False, first.name)
        first.detach()
        second.attach(two)
        second.detach()


def test_a_second_wrapper_around_the_same_model_has_the_same_owner(backbone_of: Make, adapter_of: Make) -> None:
    from inlay.adapters.language.model import LanguageModel

    one = backbone_of()
    two = Backbone(llm=LanguageModel(one.llm.model, one.llm.tokenizer), encoders={"image": one.encoder("image")})
    adapter_of(one).attach(one)
    with pytest.raises(AttachError, match="One adapter at a time"):
        adapter_of(two).attach(two)


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


def test_a_failing_undo_does_not_keep_the_others_from_running(llm_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_loaded_adapter_is_in_eval_mode(backbone_of: Make, adapter_of: Make, tmp_path: Path) -> None:
    adapter_of(backbone_of()).save_pretrained(tmp_path / "one")
    loaded = Adapter.from_pretrained(tmp_path / "one")
    assert not any(module.training for module in loaded.modules())


def test_after_detach_nothing_keeps_the_backbone(backbone_of: Make, adapter_of: Make) -> None:
    backbone = backbone_of()
    adapter = adapter_of(backbone).eval()
    model = adapter.attach(backbone)
    model.probe(ASKED)
    frozen = [weakref.ref(module) for module in backbone.llm.model.modules()]
    frozen += [weakref.ref(backbone), weakref.ref(backbone.encoder("image"))]
    adapter.detach()
    del model, backbone
    gc.collect()
    assert [reference() for reference in frozen if reference() is not None] == []
    assert sum(parameter.numel() for parameter in adapter.parameters()) > 0


def test_without_detach_the_backbone_goes_with_the_last_reference(backbone_of: Make, adapter_of: Make) -> None:
    backbone = backbone_of()
    adapter = adapter_of(backbone)
    model = adapter.attach(backbone)
    frozen = weakref.ref(backbone.llm.model)
    del model, backbone, adapter
    gc.collect()
    assert frozen() is None


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_a_copy_of_an_attached_adapter_is_the_adapter_alone(llm_of: Make, how: str) -> None:
    backbone = Backbone(llm=llm_of("llama"))
    adapter = with_tokens(backbone)
    adapter.attach(backbone)
    copied = copy.deepcopy(adapter) if how == "deepcopy" else pickle.loads(pickle.dumps(adapter))
    own = sum(parameter.nbytes for parameter in adapter.parameters())
    assert len(pickle.dumps(copied)) < own + 60_000
    assert len(pickle.dumps(adapter)) < own + 60_000
    assert (copied.attached, adapter.attached) == (False, True)
    for (name, mine), (other, theirs) in zip(adapter.named_parameters(), copied.named_parameters(), strict=True):
        assert name == other
        assert torch.equal(mine, theirs)
    adapter.detach()
    copied.attach(backbone)


UNSTORABLE: dict[str, tuple[dict[str, Any], str]] = {
    "a system with spaces": ({"system": "my system"}, "system"),
    "a name of two lines": ({"name": "one\ntwo"}, "name"),
    "a name of 600 characters": ({"name": "x" * 600}, "name"),
    "a licence with an escape": ({"license": "\x1b[31mMIT"}, "license"),
    "a name that is no text": ({"name": 7}, "name"),
}


@pytest.mark.parametrize("case", UNSTORABLE)
def test_a_value_that_a_bundle_cannot_hold_is_refused_when_the_adapter_is_built(
    backbone_of: Make, adapter_of: Make, case: str
) -> None:
    changes, field = UNSTORABLE[case]
    adapter = adapter_of(backbone_of())
    fields = {
        "system": "llava",
        "name": "any",
        "interface": adapter.interface,
        "layout": adapter.layout,
        "inputs": dict(adapter.inputs.items()),
        "lora": adapter.lora,
    }
    Adapter(**fields)
    with pytest.raises(AdapterError, match=f"^{field}: "):
        Adapter(**(fields | changes))


def test_a_canary_belongs_to_the_weights_that_it_was_recorded_with(
    backbone_of: Make, adapter_of: Make, tmp_path: Path
) -> None:
    backbone = backbone_of()
    adapter = adapter_of(backbone)
    adapter.attach(backbone)
    adapter.save_pretrained(tmp_path / "one")
    adapter.detach()
    loaded = Adapter.from_pretrained(tmp_path / "one")
    assert loaded.canary is not None
    loaded.save_pretrained(tmp_path / "same")
    assert Adapter.from_pretrained(tmp_path / "same").canary == loaded.canary
    loaded.attach(backbone)
    with torch.no_grad():
        next(loaded.parameters()).mul_(3.0)
    loaded.detach()
    with pytest.warns(StaleCanaryWarning, match="written without one"):
        loaded.save_pretrained(tmp_path / "changed")
    changed = Adapter.from_pretrained(tmp_path / "changed")
    assert changed.canary is None
    changed.attach(backbone, strict=True)  # today's weights, no canary that would refuse them
    changed.save_pretrained(tmp_path / "recorded")
    changed.detach()
    Adapter.from_pretrained(tmp_path / "recorded").attach(backbone, strict=True)


def test_a_changed_adapter_attaches_again_in_the_same_process(
    backbone_of: Make, adapter_of: Make, tmp_path: Path
) -> None:
    backbone = backbone_of()
    adapter = adapter_of(backbone)
    adapter.attach(backbone)
    adapter.save_pretrained(tmp_path / "one")
    adapter.detach()
    loaded = Adapter.from_pretrained(tmp_path / "one")
    loaded.attach(backbone)
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.mul_(5.0)
    loaded.detach()
    loaded.attach(backbone, strict=True)


def test_six_threads_on_one_model_get_the_answers_of_one(backbone_of: Make, adapter_of: Make, image_of: Make) -> None:
    backbone = backbone_of()
    model = adapter_of(backbone).eval().attach(backbone)

    def ask(index: int) -> str:
        words = {"type": "text", "text": "what colour is it? " * (index + 1)}
        content = [{"type": "image", "image": image_of()}, words]
        return str(model.chat([{"role": "user", "content": content}], max_new_tokens=8).text)

    wanted = [ask(index) for index in range(6)]
    heard: dict[tuple[int, int], str] = {}
    problems: list[BaseException] = []
    start = threading.Barrier(6)

    def work(index: int) -> None:
        try:
            start.wait()
            for turn in range(5):
                heard[index, turn] = ask(index)
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert heard == {(index, turn): wanted[index] for index in range(6) for turn in range(5)}


def test_swap_and_detach_wait_for_a_running_call(backbone_of: Make, adapter_of: Make) -> None:
    backbone = backbone_of()
    one, two = adapter_of(backbone, seed=1).eval(), adapter_of(backbone, seed=2).eval()
    model = one.attach(backbone)
    running, go_on, order = threading.Event(), threading.Event(), list[str]()

    def slow(_: str) -> None:
        running.set()
        go_on.wait(30)

    def ask() -> None:
        model.chat([{"role": "user", "content": "what?"}], max_new_tokens=3, on_text=slow)
        order.append("chat")

    def change() -> None:
        model.swap(two)
        order.append("swap")
        two.detach()
        order.append("detach")

    with torch.no_grad():  # words from the first token on, so that on_text is called
        asking = threading.Thread(target=ask)
        asking.start()
        assert running.wait(30)
        changing = threading.Thread(target=change)
        changing.start()
        changing.join(0.2)
        assert order == []
        go_on.set()
        asking.join()
        changing.join()
    assert order == ["chat", "swap", "detach"]


def test_detach_inside_a_running_call_is_refused(backbone_of: Make, adapter_of: Make) -> None:
    backbone = backbone_of()
    adapter = adapter_of(backbone).eval()
    model = adapter.attach(backbone)
    with pytest.raises(AttachError, match="inside a running call"):
        model.chat([{"role": "user", "content": "what?"}], max_new_tokens=3, on_text=lambda _: adapter.detach())
    assert adapter.attached
    adapter.detach()
