"""llama.cpp as a library: the logits of transformers, and errors with a reason."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_languages import DECODERS, make_language

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed: pip install 'inlay[llamacpp]'")

from inlay.adapters.export.gguf import architectures
from inlay.adapters.export.gguf.base import base_content
from inlay.adapters.export.gguf.gguf_file import write_gguf
from inlay.adapters.export.gguf.llama_library import LlamaCpp, LlamaCppError
from inlay.adapters.export.gguf.lora import lora_content
from inlay.adapters.llm_parts.lora import LoraPart
from inlay.adapters.llm_parts.lora_config import LoraConfig


@pytest.fixture(scope="module", params=["llama", "mistral", "qwen2", "qwen3"])
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, LoraPart, Path, Path]:
    """A model, a LoRA on it, and both as files."""
    model = make_language(DECODERS[request.param], 100)
    torch.manual_seed(1)
    lora = LoraPart.for_model(model, LoraConfig(r=4, alpha=8.0))
    with torch.no_grad():
        for name, parameter in [*model.named_parameters(), *lora.named_parameters()]:
            if parameter.dim() > 1 or name.endswith("bias"):
                parameter.normal_(std=0.3)
    folder = tmp_path_factory.mktemp(request.param)
    write_gguf(folder / "base.gguf", base_content(model, "f32"))
    write_gguf(folder / "lora.gguf", lora_content(lora, model.config))
    return model, lora, folder / "base.gguf", folder / "lora.gguf"


@torch.no_grad()
def expected(model: Any, embeddings: torch.Tensor) -> np.ndarray[Any, Any]:
    logits: np.ndarray[Any, Any] = model(inputs_embeds=embeddings[None]).logits[0, -1].numpy()
    return logits


def close(found: Any, wanted: Any, most: float = 1e-4) -> bool:
    return bool(np.abs(found - wanted).max() < most * np.abs(wanted).max())


def test_logits_equal_those_of_transformers_with_and_without_the_lora(files: Any) -> None:
    model, lora, base, path = files
    embeddings = torch.randn(9, 32)
    plain = expected(model, embeddings)
    undo = lora.attach(model)
    adapted = expected(model, embeddings)
    undo.close()
    assert not close(adapted, plain)
    with LlamaCpp(base) as engine:
        assert close(engine.begin([embeddings.numpy()])[0], plain)
    with LlamaCpp(base, path) as engine:
        assert close(engine.begin([embeddings.numpy()])[0], adapted)
        engine.use_lora(False)
        assert close(engine.begin([embeddings.numpy()])[0], plain)
        engine.use_lora(True)
        assert close(engine.begin([embeddings.numpy()])[0], adapted)


@pytest.fixture
def llama(tmp_path: Path) -> tuple[Any, Path]:
    model = make_language(DECODERS["llama"], 100)
    write_gguf(tmp_path / "base.gguf", base_content(model, "f32"))
    return model, tmp_path / "base.gguf"


def test_embeddings_that_llama_cpp_scales_are_given_unscaled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gemma's are scaled by transformers before, and by llama.cpp behind ``llama_batch.embd``."""
    model = make_language(DECODERS["gemma"], 100)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    written = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in written.named_parameters():
            if "norm" in name:
                parameter.add_(1)  # as llama.cpp's converter stores them
    plain = dataclasses.replace(architectures.ARCHITECTURES["gemma"], plain=True)
    monkeypatch.setitem(architectures.ARCHITECTURES, "gemma", plain)
    write_gguf(tmp_path / "base.gguf", base_content(written, "f32"))
    row = model.get_input_embeddings()(torch.arange(9)).detach()
    with LlamaCpp(tmp_path / "base.gguf") as engine:
        # llama.cpp looks its GELU up in a table in float16.
        assert close(engine.begin([row.numpy()])[0], expected(model, row), most=2e-3)


def test_rows_of_different_lengths_go_on_side_by_side(llama: Any) -> None:
    model, base = llama
    rows = [torch.randn(length, 32) for length in (5, 11, 3)]
    more = torch.randn(3, 4, 32)
    with LlamaCpp(base) as engine:
        found = [engine.begin([row.numpy() for row in rows], 4)]
        found += [engine.step(more[:, step].numpy()) for step in range(4)]
    for step, logits in enumerate(found):
        for number, row in enumerate(rows):
            assert close(logits[number], expected(model, torch.cat([row, more[number, :step]])))


def test_a_new_prompt_forgets_the_ones_before(llama: Any) -> None:
    model, base = llama
    with LlamaCpp(base) as engine:
        for length in (7, 3, 90):  # the last one needs a larger context
            row = torch.randn(length, 32)
            assert close(engine.begin([row.numpy()])[0], expected(model, row))


def test_the_common_beginning_of_a_conversation_is_read_once(llama: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, base = llama
    first, answer, second = torch.randn(20, 32), torch.randn(3, 32), torch.randn(6, 32)
    longer = torch.cat([first, answer, second])
    other = torch.cat([first[:10], second])
    read: list[int] = []
    run = LlamaCpp._run
    monkeypatch.setattr(LlamaCpp, "_run", lambda self, *call: (read.append(len(call[0])), run(self, *call))[1])
    with LlamaCpp(base) as engine:
        engine.begin([first.numpy()], 9)
        for step in range(3):
            engine.step(answer[step : step + 1].numpy())
        assert close(engine.begin([longer.numpy()])[0], expected(model, longer))
        assert close(engine.begin([longer.numpy()])[0], expected(model, longer))
        assert close(engine.begin([other.numpy()])[0], expected(model, other))
        assert read == [20, 1, 1, 1, 6, 1, 6]
        assert close(engine.begin([other.numpy(), first.numpy()])[1], expected(model, first))
        assert close(engine.begin([other.numpy()])[0], expected(model, other))
        assert read[7:] == [16, 20, 16]  # nothing is kept of several rows


def test_a_long_prompt_is_read_in_pieces(tmp_path: Path) -> None:
    name, config, sizes = DECODERS["llama"]
    model = make_language((name, config, {**sizes, "max_position_embeddings": 2048}), 100)
    write_gguf(tmp_path / "base.gguf", base_content(model, "f32"))
    row = torch.randn(1100, 32)
    with LlamaCpp(tmp_path / "base.gguf") as engine:
        assert close(engine.begin([row.numpy()])[0], expected(model, row))


def test_sizes_are_those_of_the_file(llama: Any) -> None:
    with LlamaCpp(llama[1]) as engine:
        found = (engine.architecture, engine.width, engine.layers, engine.vocabulary, engine.context)
        assert found == ("llama", 32, 2, 100, 128)
        assert engine.metadata("general.file_type") == "0"
        assert engine.metadata("no.such.key") is None


def test_the_context_is_a_limit(llama: Any) -> None:
    with LlamaCpp(llama[1]) as engine, pytest.raises(LlamaCppError, match=r"at most 128 positions.*got 120 and 9 new"):
        engine.begin([np.zeros((120, 32), np.float32)], 9)


def test_embeddings_of_another_width_are_refused(llama: Any) -> None:
    with (
        LlamaCpp(llama[1]) as engine,
        pytest.raises(LlamaCppError, match=r"expected embeddings \[4, 32\], got \[4, 16\]"),
    ):
        engine.begin([np.zeros((4, 16), np.float32)])


def test_too_many_rows_are_refused(llama: Any) -> None:
    rows = [np.zeros((1, 32), np.float32)] * 65
    with LlamaCpp(llama[1]) as engine, pytest.raises(LlamaCppError, match="at most 64 conversations"):
        engine.begin(rows)


def test_reasons_of_llama_cpp_are_passed_on(llama: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no model")
    with pytest.raises(LlamaCppError, match=r"broken.gguf: llama.cpp cannot load this model: .*magic"):
        LlamaCpp(broken)
    with pytest.raises(LlamaCppError, match=r"none.gguf: expected a GGUF file, got a missing file"):
        LlamaCpp(tmp_path / "none.gguf")
    qwen = make_language(DECODERS["qwen2"], 100)
    write_gguf(tmp_path / "lora.gguf", lora_content(LoraPart.for_model(qwen, LoraConfig(r=2)), qwen.config))
    with pytest.raises(LlamaCppError, match=r"lora.gguf: llama.cpp cannot add this LoRA to base.gguf: .*arch"):
        LlamaCpp(llama[1], tmp_path / "lora.gguf")
