"""The wrapper around any kind of linear, with hooks, and in several threads at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from accelerate.hooks import AlignDevicesHook, ModelHook, add_hook_to_module
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from inlay.adapters.llm_parts.lora import LoraConfig, LoraPart

Make = Callable[..., Any]


class Int8(nn.Module):
    """As quantisation libraries write a linear: packed weights, both sizes, a product of its own."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        scale = linear.weight.detach().abs().amax(dim=1, keepdim=True) / 127
        self.register_buffer("weight", (linear.weight.detach() / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        return x @ (self.weight.to(x.dtype) * self.scale.to(x.dtype)).T


class Own(nn.Linear):
    """A linear with a forward of its own, such as Falcon's."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


KINDS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(8, 6),
    "without bias": lambda: nn.Linear(8, 6, bias=False),
    "Conv1D": lambda: Conv1D(6, 8),
    "quantised": lambda: Int8(nn.Linear(8, 6)),
    "subclass": lambda: Own(8, 6),
    "trainable": lambda: nn.Linear(8, 6).requires_grad_(True),
}


def one(base: nn.Module, **fields: Any) -> tuple[nn.Module, LoraPart, Any]:
    """A model of one linear with a LoRA that is not zero."""
    torch.manual_seed(0)
    if type(base) is not nn.Linear or not base.weight.requires_grad:
        base.requires_grad_(False)
    model = nn.Module()
    model.proj = base
    model.device = torch.device("cpu")
    part = LoraPart.for_model(model, LoraConfig(**({"r": 2, "targets": ("proj",)} | fields)))
    for parameter in part.parameters():
        nn.init.normal_(parameter)
    return model, part.eval(), part.attach(model)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_linear_gives_its_own_output_plus_the_update(kind: str) -> None:
    torch.manual_seed(0)
    base = KINDS[kind]()
    x = torch.randn(2, 3, 8, requires_grad=True)
    bare = base(x)
    kept = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    model, part, attachment = one(base)
    down, up = part.matrices("proj")
    expected = bare + F.linear(F.linear(x, down), up) * part.config.scale
    found = model.proj(x)
    torch.testing.assert_close(found, expected)
    inputs = [x, down, up]
    ours, theirs = (torch.autograd.grad(out.square().sum(), inputs) for out in (found, expected))
    torch.testing.assert_close(ours, theirs)
    attachment.close()
    assert model.proj is base
    assert all(torch.equal(tensor, kept[name]) for name, tensor in base.state_dict().items())


def test_an_input_without_rows_is_no_error() -> None:
    model, _, _ = one(nn.Linear(8, 6).requires_grad_(False))
    assert model.proj(torch.randn(0, 3, 8)).shape == (0, 3, 6)


def test_models_may_look_at_the_attributes_of_the_linear() -> None:
    base = nn.Linear(8, 6).requires_grad_(False)
    base.note = "own"
    model, _, _ = one(base)
    assert model.proj.weight is base.weight
    assert model.proj.bias is base.bias
    assert (model.proj.in_features, model.proj.out_features, model.proj.note) == (8, 6, "own")
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'nothing'"):
        _ = model.proj.nothing


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_float32_matrices_on_a_half_precision_linear_give_its_type(dtype: torch.dtype) -> None:
    model, part, _ = one(nn.Linear(8, 6).to(dtype).requires_grad_(False))
    assert model.proj(torch.randn(2, 8, dtype=dtype)).dtype == dtype
    with part.plain():
        assert model.proj(torch.randn(2, 8, dtype=dtype)).dtype == dtype


def test_forward_hooks_of_others_on_the_linear_still_run() -> None:
    base = nn.Linear(8, 6).requires_grad_(False)
    seen: list[str] = []
    base.register_forward_pre_hook(lambda *_: seen.append("before"))
    base.register_forward_hook(lambda _, given, output: output + 1.0)
    x = torch.randn(2, 8)
    bare = base(x)
    model, part, attachment = one(base)
    down, up = part.matrices("proj")
    torch.testing.assert_close(model.proj(x), bare + F.linear(F.linear(x, down), up) * part.config.scale)
    assert seen == ["before", "before"]
    attachment.close()
    assert torch.equal(model.proj(x), bare)


def test_backward_hooks_of_others_on_the_linear_still_run() -> None:
    base = nn.Linear(8, 6).requires_grad_(False)
    seen: list[int] = []
    base.register_full_backward_hook(lambda *_: seen.append(1))
    model, _, _ = one(base)
    model.proj(torch.randn(2, 8, requires_grad=True)).sum().backward()
    assert seen == [1]


def test_a_hook_that_a_sibling_has_runs_too() -> None:
    """The queries' call computes for keys and values, but not for one whose output a hook changes."""
    model = nn.Module()
    model.device = torch.device("cpu")
    for name in ("q_proj", "k_proj", "v_proj"):
        setattr(model, name, nn.Linear(8, 8).requires_grad_(False))
    model.k_proj.register_forward_hook(lambda _, given, output: output + 1.0)
    part = LoraPart.for_model(model, LoraConfig(r=2, targets=("q_proj", "k_proj", "v_proj")))
    part.attach(model)
    x = torch.randn(2, 8)
    fast = [getattr(model, name)(x) for name in ("q_proj", "k_proj", "v_proj")]
    with part.plain():
        torch.testing.assert_close(fast, [getattr(model, name)(x) for name in ("q_proj", "k_proj", "v_proj")])


def test_accelerates_hooks_still_run_and_stay_afterwards() -> None:
    calls: list[str] = []

    class Count(ModelHook):
        def pre_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            calls.append("pre")
            return args, kwargs

    base = nn.Linear(8, 6).requires_grad_(False)
    weight = base.weight.detach().clone()
    add_hook_to_module(base, Count())
    model, _, attachment = one(base)
    x = torch.randn(2, 8)
    model.proj(x)
    attachment.close()
    model.proj(x)
    assert calls == ["pre", "pre"]
    assert torch.equal(base.weight, weight)


def test_weights_that_accelerate_offloads_are_fetched() -> None:
    base = nn.Linear(8, 6).requires_grad_(False)
    x = torch.randn(2, 8)
    bare = base(x)
    weights = {name: tensor.detach().clone() for name, tensor in base.state_dict().items()}
    add_hook_to_module(base, AlignDevicesHook("cpu", offload=True, weights_map=weights))
    assert base.weight.is_meta
    model, part, attachment = one(base)
    down, up = part.matrices("proj")
    torch.testing.assert_close(model.proj(x), bare + F.linear(F.linear(x, down), up) * part.config.scale)
    attachment.close()
    torch.testing.assert_close(model.proj(x), bare)


@pytest.mark.parametrize("trains", [False, True])
def test_threads_that_run_one_model_get_their_own_numbers(family_of: Make, trains: bool) -> None:
    model = family_of("llama")
    part = LoraPart.for_model(model, LoraConfig(r=4))
    torch.manual_seed(1)
    for parameter in part.parameters():
        nn.init.normal_(parameter, std=0.2)
    part.attach(model)
    inputs = [torch.randint(3, 64, (1, 4 + index)) for index in range(6)]

    def scores(ids: Tensor) -> Tensor:
        with torch.set_grad_enabled(trains):
            logits: Tensor = model(input_ids=ids).logits
            return logits

    wanted = [scores(ids).detach() for ids in inputs]
    errors: list[BaseException] = []
    start = threading.Barrier(len(inputs))

    def work(index: int) -> None:
        try:
            start.wait()
            for _ in range(30):
                torch.testing.assert_close(scores(inputs[index]), wanted[index])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_the_compiler_takes_the_plain_path_by_itself(family_of: Make) -> None:
    model = family_of("llama")
    part = LoraPart.for_model(model, LoraConfig(r=4))
    for parameter in part.parameters():
        nn.init.normal_(parameter, std=0.2)
    part.attach(model)
    mlp, x = model.model.layers[0].mlp, torch.randn(1, 3, 32)
    compiled = torch.compile(mlp, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), mlp(x))
    compiled(x).sum().backward()
    assert all(parameter.grad is not None for target in part.targets[4:7] for parameter in part.matrices(target))
