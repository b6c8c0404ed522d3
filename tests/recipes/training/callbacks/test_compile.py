"""Compiled layers against the plain ones, and the callback that weighs what they cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.language.compile import compiled, missing_compiler
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.run import RunSettings
from inlay.recipes.training.callbacks.compile_layers import CompileLayers

# Of torch's own tracing and code generator.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf", "ignore:.torch.jit.script_method. is deprecated"
)

TALKS = ("what colour is it?", "how many squares are there, and how many circles? and what else is there to be seen?")


@pytest.fixture
def attached(llm_of: Any, clip_of: Any, adapter_of: Any) -> Any:
    from inlay.adapters.backbone import Backbone

    def make(family: str = "llama", **sizes: Any) -> Any:
        backbone = Backbone(llm_of(family, **{"num_hidden_layers": 3, **sizes}), {"image": clip_of()})
        adapter = adapter_of(backbone)
        for name, parameter in adapter.named_parameters():
            if name.endswith("/B"):
                torch.nn.init.normal_(parameter, std=0.2)
        return adapter.attach(backbone)

    return make


def step(model: Any, image_of: Any, words: str) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    user = Message("user", (MediaPart("image", image_of(1)), TextPart(words)))
    batch = model.batch([(user, Message("assistant", (TextPart("red"),)))])
    model.adapter.zero_grad()
    loss = model(batch, logits="none").loss
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.adapter.named_parameters()}


def assert_same(found: Any, wanted: Any) -> None:
    torch.testing.assert_close(found[0], wanted[0], rtol=1e-5, atol=0)
    for name, gradient in wanted[1].items():
        assert gradient.any(), name
        assert float((found[1][name] - gradient).norm()) <= 1e-4 * float(gradient.norm()), name


@pytest.mark.parametrize("family", ["llama", "opt"])
def test_compiled_layers_give_the_same_loss_and_gradients(attached: Any, image_of: Any, family: str) -> None:
    model = attached(family)
    plain = [step(model, image_of, words) for words in TALKS]
    llm = model.backbone.llm.model
    seen: list[int] = []

    def spy(graph: Any, _: Any) -> Any:
        seen.append(len(graph.graph.nodes))
        return graph.forward

    with compiled(llm, model.adapter.lora.plain(), backend=spy):
        for words, wanted in zip(TALKS, plain, strict=True):
            assert_same(step(model, image_of, words), wanted)
    assert seen
    assert not any("forward" in layer.__dict__ for layer in llm.get_decoder().layers)
    assert_same(step(model, image_of, TALKS[0]), plain[0])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_generated_code_gives_the_same_loss_and_gradients(attached: Any, image_of: Any) -> None:
    model = attached()
    plain = [step(model, image_of, words) for words in TALKS]
    with compiled(model.backbone.llm.model, model.adapter.lora.plain()):
        for words, wanted in zip(TALKS, plain, strict=True):
            assert_same(step(model, image_of, words), wanted)


class Run:
    """A stage whose callback is called without a trainer."""

    def __init__(self, model: Any, callback: CompileLayers) -> None:
        from inlay.recipes.objectives.next_token.module import NextTokenModule
        from inlay.recipes.settings.stage import Stage

        rates = {"inputs.image": 1e-3, "lora": 1e-3}
        stage = Stage(data="train", template="vicuna_v1", geometry="pad", lr=rates, batch_size=1)
        self.module: Any = NextTokenModule(model, stage, 32)
        self.callback = callback

    def start(self) -> None:
        trainer: Any = None
        self.callback.on_train_start(trainer, self.module)

    def stop(self) -> None:
        trainer: Any = None
        self.callback.teardown(trainer, self.module, "fit")

    @property
    def is_compiled(self) -> bool:
        return "forward" in self.module.model.backbone.llm.model.get_decoder().layers[0].__dict__


def test_layers_are_compiled_for_one_stage(attached: Any) -> None:
    lines: list[str] = []
    run = Run(attached(), CompileLayers(lines.append, backend="eager"))
    run.start()
    assert run.is_compiled
    assert "samples/s in the log shows the gain" in lines[-1]
    run.stop()
    assert not run.is_compiled


def test_without_a_compiler_it_says_what_is_missing(
    attached: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert "g++" in missing_compiler(torch.device("cpu"))
    with pytest.raises(SettingsError, match=r"C\+\+ compiler \(g\+\+\), which was not found"):
        Run(attached(), CompileLayers(print)).start()


def test_stages_that_cannot_are_left_out_with_a_word(attached: Any) -> None:
    lines: list[str] = []
    run = Run(attached(), CompileLayers(lines.append))
    run.module.model.backbone.llm.model.config.is_encoder_decoder = True
    run.start()
    assert "skipped" in lines[0]
    assert len(lines) == 1


def test_compile_and_recompute_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="remove one of them"):
        RunSettings(output=tmp_path, compile=True, recompute=True)
