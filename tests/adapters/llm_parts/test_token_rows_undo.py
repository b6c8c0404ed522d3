"""Token rows attached and taken off: copies, exceptions, memory, calls and hooks of others."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any

import pytest
import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module

from inlay.adapters.language.model import LanguageModel
from inlay.adapters.llm_parts import token_rows
from inlay.adapters.llm_parts.token_rows import (
    TokenRows,
    TokensConfig,
)


def rows_for(llm: LanguageModel, **counts: int) -> TokenRows:
    torch.manual_seed(7)
    return TokenRows.for_language(llm, TokensConfig.numbered(llm.width, **(counts or {"image": 2, "audio": 1})))


def ids_with_signals(llm: LanguageModel) -> torch.Tensor:
    text = llm.tokenizer("red[IMG0][IMG1] two [AUD0] blue", add_special_tokens=False).input_ids
    return torch.tensor([text])


@pytest.mark.parametrize("how", [copy.deepcopy, lambda rows: pickle.loads(pickle.dumps(rows))], ids=["copy", "pickle"])
def test_a_copy_of_attached_rows_is_the_rows_alone(llm_of: Any, how: Any) -> None:
    llm = llm_of("llama")
    rows = rows_for(llm)
    rows.attach(llm)
    twin = how(rows)
    assert len(pickle.dumps(twin)) < 4096
    assert torch.equal(twin.input, rows.input)
    other = llm_of("llama")
    twin.attach(other)
    ids = ids_with_signals(llm)
    assert torch.equal(other.embed(ids), llm.embed(ids))


def test_a_copy_of_the_llm_has_rows_of_its_own(llm_of: Any) -> None:
    llm = llm_of("llama")
    rows = rows_for(llm)
    rows.attach(llm)
    twin = copy.deepcopy(llm)
    ids = ids_with_signals(llm)
    mask = torch.ones_like(ids)
    with torch.no_grad():
        before = twin.logits(twin.embed(ids), mask)
        for parameter in (*rows.parameters(), *llm.model.get_input_embeddings().parameters()):
            parameter.zero_()
        assert torch.equal(twin.logits(twin.embed(ids), mask), before)


def test_after_undo_nothing_keeps_the_llm_alive(llm_of: Any) -> None:
    llm = llm_of("llama")
    rows = rows_for(llm)
    attachment = rows.attach(llm)
    llm.logits(llm.embed(ids_with_signals(llm)), torch.ones(1, 1))
    attachment.undo.close()
    embedding, whole = weakref.ref(llm.model.get_input_embeddings()), weakref.ref(llm)
    del llm
    gc.collect()
    assert embedding() is None
    assert whole() is None
    assert attachment.ids
    assert rows.config


@pytest.mark.parametrize("step", ["embedding", "head", "tokenizer"])
def test_an_error_in_any_step_of_attach_leaves_the_llm_bare(
    llm_of: Any, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    llm = llm_of("llama")
    tokenizer, rows = llm.tokenizer, rows_for(llm)
    own, calls = token_rows.replace_call, []

    def failing(*args: Any) -> None:
        calls.append(args)
        own(*args)
        if len(calls) == (1 if step == "embedding" else 2):
            raise KeyboardInterrupt

    if step == "tokenizer":
        use, raised = llm.use_tokenizer, []

        def once(other: Any, *added: Any) -> Any:
            before = use(other, *added)
            if not raised:
                raised.append(other)
                raise KeyboardInterrupt
            return before

        monkeypatch.setattr(llm, "use_tokenizer", once)
    else:
        monkeypatch.setattr(token_rows, "replace_call", failing)
    with pytest.raises(KeyboardInterrupt):
        rows.attach(llm)
    monkeypatch.undo()
    assert llm.tokenizer is tokenizer
    assert not any("forward" in module.__dict__ for module in llm.model.modules())
    rows.attach(llm).undo.close()


def test_an_undo_step_that_raises_does_not_stop_the_others(llm_of: Any) -> None:
    llm = llm_of("llama")
    tokenizer = llm.tokenizer
    attachment = rows_for(llm).attach(llm)

    def broken() -> None:
        raise RuntimeError("broken")

    attachment.undo.callback(broken)
    with pytest.raises(RuntimeError, match="broken"):
        attachment.undo.close()
    assert llm.tokenizer is tokenizer
    assert not any("forward" in module.__dict__ for module in llm.model.modules())
    attachment.undo.close()


def test_hooks_of_others_on_embedding_and_head_run_before_while_and_after(llm_of: Any) -> None:
    llm = llm_of("llama")
    seen: list[str] = []
    modules = llm.model.get_input_embeddings(), llm.model.get_output_embeddings()
    modules[0].register_forward_hook(lambda *_: seen.append("embedding"))
    modules[1].register_forward_pre_hook(lambda *_: seen.append("head"))
    rows = rows_for(llm)
    seen.clear()
    attachment = rows.attach(llm)
    for _ in range(2):
        llm.logits(llm.embed(torch.tensor([[5, 6]])), torch.ones(1, 2))
        assert seen == ["embedding", "head"]
        seen.clear()
        attachment.undo.close()


def test_weights_that_accelerate_offloads_are_fetched(llm_of: Any) -> None:
    llm, plain = llm_of("llama"), llm_of("llama")
    rows = rows_for(plain)
    wanted = rows.attach(plain)
    ids = ids_with_signals(plain)
    expected = plain.logits(plain.embed(ids), torch.ones_like(ids))
    wanted.undo.close()
    head = llm.model.get_output_embeddings()
    weights = {name: tensor.detach().clone() for name, tensor in head.state_dict().items()}
    add_hook_to_module(head, AlignDevicesHook("cpu", offload=True, weights_map=weights))
    attachment = rows.attach(llm)
    torch.testing.assert_close(llm.logits(llm.embed(ids), torch.ones_like(ids)), expected)
    attachment.undo.close()
    assert torch.isfinite(llm.logits(llm.embed(ids[:, :1]), torch.ones(1, 1))).all()


def test_a_call_that_is_replaced_after_ours_stays_and_ours_does_nothing(llm_of: Any) -> None:
    llm = llm_of("llama")
    embedding = llm.model.get_input_embeddings()
    ids = torch.tensor([[5, 6]])
    bare = llm.embed(ids)
    attachment = rows_for(llm).attach(llm)
    ours = embedding.forward
    theirs = lambda ids: ours(ids) + 1.0  # noqa: E731
    embedding.forward = theirs
    attachment.undo.close()
    assert embedding.forward is theirs
    torch.testing.assert_close(llm.embed(ids), bare + 1.0)
