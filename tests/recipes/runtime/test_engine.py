"""Files of another model or another adapter are refused before an answer is given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed: pip install 'inlay[llamacpp]'")

from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from inlay.adapters import Adapter
from inlay.adapters.export.gguf.base import base_content
from inlay.adapters.export.gguf.gguf_file import write_gguf
from inlay.adapters.export.gguf.lora import lora_content
from inlay.recipes.runtime.engine import RuntimeProblem, opened_engine
from inlay.recipes.systems.load_backbone import miniature_backbone


@pytest.fixture(scope="module")
def config() -> Any:
    return miniature_backbone().llm.model.config


def test_the_lora_of_the_adapter_is_written_where_none_is_given(
    bundle: Path, config: Any, bases: Callable[[str], Path]
) -> None:
    adapter = Adapter.from_pretrained(bundle)
    with opened_engine(adapter, config, bases("f32"), None) as engine:
        assert engine._lora is not None


@pytest.mark.parametrize("kind", ["f32", "f16"])
def test_a_lora_file_of_this_adapter_is_taken(
    bundle: Path, config: Any, bases: Callable[[str], Path], tmp_path: Path, kind: Any
) -> None:
    adapter = Adapter.from_pretrained(bundle)
    write_gguf(tmp_path / "lora.gguf", lora_content(adapter.lora, config, "another name", kind))
    with opened_engine(adapter, config, bases("f32"), tmp_path / "lora.gguf"):
        pass


def test_a_lora_file_of_another_adapter_is_refused(
    bundle: Path, config: Any, bases: Callable[[str], Path], tmp_path: Path
) -> None:
    adapter, other = Adapter.from_pretrained(bundle), Adapter.from_pretrained(bundle)
    next(iter(other.lora.parameters())).data += 0.1
    write_gguf(tmp_path / "lora.gguf", lora_content(other.lora, config))
    with (
        pytest.raises(RuntimeProblem, match=r"is not the LoRA of adapter 'tried': .*values differ"),
        opened_engine(adapter, config, bases("f32"), tmp_path / "lora.gguf"),
    ):
        pass


def test_an_adapter_without_lora_takes_no_file(plain_bundle: Path, config: Any, bases: Callable[[str], Path]) -> None:
    adapter = Adapter.from_pretrained(plain_bundle)
    with (
        pytest.raises(RuntimeProblem, match="has no LoRA"),
        opened_engine(adapter, config, bases("f32"), bases("f32")),
    ):
        pass


SIZES = {
    "vocab_size": 787,
    "hidden_size": 128,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
}


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Qwen2ForCausalLM(Qwen2Config(**SIZES)), "architecture: expected llama.* got qwen2"),
        (LlamaForCausalLM(LlamaConfig(**{**SIZES, "num_hidden_layers": 3})), "layers: expected 4.* got 3"),
        (LlamaForCausalLM(LlamaConfig(**{**SIZES, "hidden_size": 64})), "width: expected 128.* got 64"),
        (LlamaForCausalLM(LlamaConfig(**{**SIZES, "vocab_size": 800})), "vocabulary: expected 787.* got 800"),
    ],
)
def test_a_base_of_another_model_is_refused(
    plain_bundle: Path, config: Any, tmp_path: Path, model: Any, said: str
) -> None:
    write_gguf(tmp_path / "base.gguf", base_content(model, "f16"))
    adapter = Adapter.from_pretrained(plain_bundle)
    with pytest.raises(RuntimeProblem, match=said), opened_engine(adapter, config, tmp_path / "base.gguf", None):
        pass
