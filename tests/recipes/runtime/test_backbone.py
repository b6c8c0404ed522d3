"""The adapter on a language model of another program: what is measured, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from attached import with_tokens

from inlay.adapters import Adapter
from inlay.adapters.export.gguf.base import base_content
from inlay.adapters.export.gguf.gguf_file import write_gguf
from inlay.recipes.runtime.backbone import runtime_backbone, runtime_model
from inlay.recipes.runtime.engine import RuntimeProblem
from inlay.recipes.runtime.options import RuntimeOptions
from inlay.recipes.settings.run import BackboneSettings
from inlay.recipes.systems.load_backbone import miniature_backbone


def test_torch_is_a_runtime_too(bundle: Path, torch_model: Any, conversations: Any) -> None:
    with runtime_model(bundle, RuntimeOptions()) as model:
        assert model.adapter.lora is not None
        assert model.chat(conversations[0], max_new_tokens=4) == torch_model.chat(conversations[0], max_new_tokens=4)


def test_an_adapter_with_new_tokens_is_refused(backbone_of: Any, tmp_path: Path) -> None:
    backbone = backbone_of()
    adapter = with_tokens(backbone)
    options = RuntimeOptions("vllm", url="http://127.0.0.1:9")
    with (
        pytest.raises(RuntimeProblem, match=r"rows for new tokens \(\[IMG0\], \[IMG1\], ...\).*--runtime torch"),
        runtime_backbone(tmp_path, adapter, options, BackboneSettings()),
    ):
        pass


def test_loaded_models_are_refused(bundle: Path) -> None:
    adapter = Adapter.from_pretrained(bundle)
    options = RuntimeOptions("vllm", url="http://127.0.0.1:9")
    with (
        pytest.raises(RuntimeProblem, match="expected names of the frozen models, got loaded ones"),
        runtime_backbone(bundle, adapter, options, miniature_backbone()),
    ):
        pass


class TestCanary:
    """Of a bundle, in llama.cpp."""

    @pytest.fixture(autouse=True)
    def library(self) -> None:
        pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed: pip install 'inlay[llamacpp]'")

    @pytest.mark.parametrize(("kind", "most"), [("f32", 1e-3), ("f16", 0.1), ("q8_0", 1.0)])
    def test_its_difference_is_shown(self, bundle: Path, bases: Callable[[str], Path], kind: str, most: float) -> None:
        lines: list[str] = []
        with runtime_model(bundle, RuntimeOptions("llamacpp", gguf=bases(kind)), show=lines.append):
            (line,) = lines
        assert "differ by" in line
        assert float(line.partition("differ by ")[2].split()[0]) < most

    def test_other_weights_of_the_same_shape_are_refused(self, bundle: Path, tmp_path: Path) -> None:
        model = miniature_backbone().llm.model
        with torch.no_grad():
            model.get_parameter("model.layers.1.mlp.down_proj.weight").mul_(-1)
        write_gguf(tmp_path / "base.gguf", base_content(model, "f32"))
        options = RuntimeOptions("llamacpp", gguf=tmp_path / "base.gguf")
        with (
            pytest.raises(RuntimeProblem, match=r"differ by .*computes other numbers than the adapter was saved with"),
            runtime_model(bundle, options),
        ):
            pass
