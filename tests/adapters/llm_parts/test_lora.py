"""LoRA as a part: what the LLM looks like before, while and after it is attached; copies; memory; swaps."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig as PeftConfig
from peft import PeftModel, get_peft_model

from inlay.adapters.llm_parts import lora as lora_module
from inlay.adapters.llm_parts.lora import LoraConfig, LoraError, LoraPart
from inlay.adapters.llm_parts.lora_linear import LoraLinear
from inlay.hub.format.peft_folder import LORA_CONFIG, LORA_TENSORS, LoraFolder, LoraSpec, write_config

Make = Callable[..., Any]
ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.fixture
def part_of() -> Make:
    """A LoRA that is not zero."""

    def make(model: Any, seed: int = 1, **fields: Any) -> LoraPart:
        torch.manual_seed(seed)
        part = LoraPart.for_model(model, LoraConfig(**({"r": 4} | fields)))
        for parameter in part.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        return part.eval()

    return make


def scores(model: Any) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=torch.tensor([[5, 6, 7, 8]])).logits
    return logits


def test_parameter_count_equals_pefts(family_of: Make) -> None:
    part = LoraPart.for_model(family_of("llama"), LoraConfig(r=4, targets=ALL))
    peft = get_peft_model(family_of("llama"), PeftConfig(r=4, target_modules=list(ALL)))
    theirs = sum(parameter.numel() for parameter in peft.parameters() if parameter.requires_grad)
    assert sum(parameter.numel() for parameter in part.parameters()) == theirs


def test_undo_puts_the_same_objects_back(family_of: Make) -> None:
    model = family_of("llama")
    before = dict(model.named_modules())
    attachment = LoraPart.for_model(model, LoraConfig(r=4)).attach(model)
    attachment.close()
    attachment.close()
    after = dict(model.named_modules())
    assert list(before) == list(after)
    assert all(before[name] is after[name] for name in before)


def test_the_llm_holds_frozen_tensors_only_while_lora_is_attached(family_of: Make) -> None:
    model = family_of("llama")
    before = model.state_dict()
    part = LoraPart.for_model(model, LoraConfig(r=4))
    part.attach(model)
    named = dict(model.named_parameters())
    assert not any(parameter.requires_grad for parameter in named.values())
    assert not {id(parameter) for parameter in named.values()} & {id(parameter) for parameter in part.parameters()}
    assert {name.replace("base_layer.", "") for name in model.state_dict()} == set(before)
    assert "model.layers.0.self_attn.q_proj.base_layer.weight" in named


def test_fresh_lora_changes_nothing(family_of: Make) -> None:
    model = family_of("llama")
    with torch.no_grad():
        before = scores(model)
        LoraPart.for_model(model, LoraConfig(r=4)).attach(model)
        assert torch.equal(scores(model), before)


def test_dropout_follows_the_part_while_the_llm_stays_in_eval_mode(family_of: Make, part_of: Make) -> None:
    model = family_of("llama")
    part = part_of(model, dropout=0.5)
    part.attach(model)
    with torch.no_grad():
        exact = scores(model)
        assert torch.equal(scores(model), exact)
        part.train()
        assert not torch.equal(scores(model), scores(model))
        part.eval()
        assert torch.equal(scores(model), exact)
    assert not any(module.training for module in model.modules())


def test_dropout_is_on_the_input_of_a(family_of: Make, part_of: Make) -> None:
    model = family_of("llama")
    part = part_of(model, dropout=0.5, targets=("o_proj",)).train()
    layer = model.model.layers[0].self_attn.o_proj
    part.attach(model)
    wrapped, x = model.model.layers[0].self_attn.o_proj, torch.randn(2, 3, 32)
    down, up = part.matrices(part.targets[0])
    torch.manual_seed(3)
    expected = layer(x) + part.config.scale * torch.nn.functional.dropout(x, 0.5) @ down.T @ up.T
    torch.manual_seed(3)
    torch.testing.assert_close(wrapped(x), expected)


def test_a_frozen_update_of_zero_is_left_out_and_changes_nothing(family_of: Make) -> None:
    model = family_of("llama")
    part = LoraPart.for_model(model, LoraConfig(r=4)).requires_grad_(False)
    part.attach(model)
    with torch.no_grad():
        before = scores(model)
        with part.sparing():
            assert part.skipped
            assert torch.equal(scores(model), before)
        assert not part.skipped
    assert not any(parameter.requires_grad for parameter in part.parameters())


@pytest.mark.parametrize("why", ["trains", "is not zero"])
def test_an_update_that_trains_or_is_not_zero_stays_in(family_of: Make, why: str) -> None:
    model = family_of("llama")
    part = LoraPart.for_model(model, LoraConfig(r=4))
    part.attach(model)
    if why == "is not zero":
        part.requires_grad_(False)
        part.matrices(part.targets[-1])[1].data.fill_(0.1)
    with part.sparing():
        assert not part.skipped


def test_one_part_is_attached_once(family_of: Make, part_of: Make) -> None:
    model, other = family_of("llama"), family_of("llama")
    part, second = part_of(model), part_of(model)
    part.attach(model)
    with pytest.raises(LoraError, match="already attached"):
        part.attach(other)
    with pytest.raises(LoraError, match="another adapter's LoRA is attached"):
        second.attach(model)
    assert not any(isinstance(module, LoraLinear) for module in other.modules())


@pytest.mark.parametrize("step", range(1, 6))
def test_an_error_in_any_step_of_attach_leaves_the_llm_bare(
    family_of: Make, part_of: Make, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    model = family_of("llama")
    part = part_of(model, targets=("q_proj", "v_proj"))
    before = dict(model.named_modules())
    own, calls = lora_module._replace, []

    def failing(*args: Any) -> None:
        calls.append(args)
        own(*args)
        if len(calls) == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(lora_module, "_replace", failing)
    if step <= 4:
        with pytest.raises(KeyboardInterrupt):
            part.attach(model)
    else:
        part.attach(model).close()
    after = dict(model.named_modules())
    assert list(before) == list(after)
    assert all(before[name] is after[name] for name in before)
    assert not part.attached
    monkeypatch.undo()
    part.attach(model).close()


def test_an_undo_step_that_raises_does_not_stop_the_others(family_of: Make, part_of: Make) -> None:
    model = family_of("llama")
    before = dict(model.named_modules())
    part = part_of(model)
    attachment = part.attach(model)

    def broken() -> None:
        raise RuntimeError("broken")

    attachment.callback(broken)
    with pytest.raises(RuntimeError, match="broken"):
        attachment.close()
    assert all(before[name] is module for name, module in model.named_modules())
    assert not part.attached


def test_after_undo_nothing_keeps_the_frozen_modules_alive(family_of: Make, part_of: Make) -> None:
    model = family_of("llama")
    part = part_of(model)
    attachment = part.attach(model)
    scores(model).sum().backward()
    attachment.close()
    linear, whole = weakref.ref(model.model.layers[0].self_attn.q_proj), weakref.ref(model)
    del model
    gc.collect()
    assert linear() is None
    assert whole() is None
    assert attachment is not None
    assert part is not None


def test_a_wrapper_that_somebody_kept_is_the_bare_linear_after_undo(family_of: Make, part_of: Make) -> None:
    model = family_of("llama")
    part = part_of(model)
    attachment = part.attach(model)
    kept = model.model.layers[0].self_attn.q_proj
    attachment.close()
    x = torch.randn(1, 2, 32)
    assert torch.equal(kept(x), model.model.layers[0].self_attn.q_proj(x))


def pickled(part: Any) -> Any:
    return pickle.loads(pickle.dumps(part))


@pytest.mark.parametrize("how", [copy.deepcopy, pickled], ids=["copy", "pickle"])
def test_a_copy_of_an_attached_part_is_the_part_alone(family_of: Make, part_of: Make, how: Any) -> None:
    model = family_of("llama", seed=0)
    part = part_of(model)
    part.attach(model)
    with part.plain():
        twin = how(part)
    assert not twin.attached
    assert not twin.plain_only
    assert len(pickle.dumps(twin)) < 2 * sum(parameter.nbytes for parameter in part.parameters())
    assert all(torch.equal(one, two) for one, two in zip(part.parameters(), twin.parameters(), strict=True))
    other = family_of("llama", seed=0)
    twin.attach(other)
    assert torch.equal(scores(other), scores(model))


def test_a_copy_of_the_llm_has_matrices_of_its_own(family_of: Make, part_of: Make) -> None:
    model = family_of("llama")
    part = part_of(model)
    part.attach(model)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        before = scores(twin)
        assert torch.equal(before, scores(model))
        for parameter in part.parameters():
            parameter.zero_()
        assert torch.equal(scores(twin), before)
        assert not torch.allclose(scores(model), before)


def test_another_part_takes_over_by_one_assignment(family_of: Make, part_of: Make) -> None:
    model = family_of("llama")
    parts = [part_of(model, seed=1), part_of(model, seed=2, r=2, alpha=3.0, dropout=0.5)]
    wanted = []
    for part in parts:
        attachment = part.attach(model)
        wanted.append(scores(model))
        attachment.close()
    attachment = parts[0].attach(model)
    modules = list(model.modules())
    for old, new, expected in ((0, 1, wanted[1]), (1, 0, wanted[0]), (0, 1, wanted[1])):
        parts[old].hand_over(parts[new])
        assert torch.equal(scores(model), expected)
        assert [part.attached for part in parts] == [new == 0, new == 1]
    assert list(model.modules()) == modules
    attachment.close()
    assert not any(part.attached for part in parts)
    assert not any(isinstance(module, LoraLinear) for module in model.modules())


def test_a_swap_between_two_calls_does_not_use_what_was_computed_before(family_of: Make, part_of: Make) -> None:
    model = family_of("llama")
    one, two = part_of(model, seed=1), part_of(model, seed=2)
    one.attach(model)
    attention, x = model.model.layers[0].self_attn, torch.randn(1, 2, 32)
    attention.q_proj(x)
    one.hand_over(two)
    with two.plain():
        expected = attention.k_proj(x)
    torch.testing.assert_close(attention.k_proj(x), expected)


@pytest.mark.parametrize("why", ["other shapes", "not attached", "attached elsewhere"])
def test_hand_over_to_a_part_that_cannot_take_over_is_refused(family_of: Make, part_of: Make, why: str) -> None:
    model, elsewhere = family_of("llama"), family_of("llama")
    part, other = part_of(model), part_of(model, targets=("q_proj",) if why == "other shapes" else "all-linear")
    if why != "not attached":
        part.attach(model)
    if why == "attached elsewhere":
        other.attach(elsewhere)
    with pytest.raises(LoraError, match="same targets and shapes"):
        part.hand_over(other)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning")
def test_peft_loads_the_folder_and_gives_our_logits(
    family_of: Make, part_of: Make, tmp_path: Path, family: str
) -> None:
    model = family_of(family)
    part = part_of(model)
    attachment = part.attach(model)
    ours = scores(model)
    attachment.close()
    config = part.config
    spec = LoraSpec(r=config.r, alpha=config.alpha, dropout=config.dropout, targets=config.explicit)
    LoraFolder(spec, part.peft_tensors())  # its checks pass
    from safetensors.torch import save_file

    (tmp_path / LORA_CONFIG).parent.mkdir()
    (tmp_path / LORA_CONFIG).write_bytes(write_config(spec))
    save_file(part.peft_tensors(), tmp_path / LORA_TENSORS)
    theirs = PeftModel.from_pretrained(model, tmp_path / "lora").eval()
    torch.testing.assert_close(scores(theirs), ours, rtol=1e-5, atol=1e-6)
