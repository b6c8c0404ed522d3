"""One owner and one running call per language model: threads wait, swap and detach wait too."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from attached import scores, unchanged

from inlay.adapters import AttachError, Backbone

Make = Callable[..., Any]


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
    model = adapter_of(one).attach(one)
    with pytest.raises(AttachError, match="One adapter at a time"):
        adapter_of(two).attach(two)
    assert model.adapter.attached


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
        order.append("chat")

    def ask() -> None:
        model.chat([{"role": "user", "content": "what?"}], max_new_tokens=3, on_text=slow)

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
    assert order[-2:] == ["swap", "detach"]
    assert set(order[:-2]) == {"chat"}


def test_detach_inside_a_running_call_is_refused(backbone_of: Make, adapter_of: Make) -> None:
    backbone = backbone_of()
    adapter = adapter_of(backbone).eval()
    model = adapter.attach(backbone)
    with pytest.raises(AttachError, match="inside a running call"):
        model.chat([{"role": "user", "content": "what?"}], max_new_tokens=3, on_text=lambda _: adapter.detach())
    assert adapter.attached
    adapter.detach()
