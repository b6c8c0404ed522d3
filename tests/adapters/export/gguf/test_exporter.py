"""The target ``gguf``: the files of an attached adapter, and what was checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from attached import unchanged, with_tokens
from tiny_encoders import make_vision

pytest.importorskip("gguf")

from inlay.adapters import Adapter, Backbone, export_adapter
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.encoders.image.any_vision import AnyVisionEncoder
from inlay.adapters.export.gguf import exporter
from inlay.adapters.export.gguf.gguf_file import GgufError
from inlay.adapters.export.gguf.llama_library import has_llama_cpp
from inlay.adapters.export.target import ExportError
from inlay.adapters.inputs import projector_config
from inlay.adapters.llm_parts.lora import LoraConfig


@pytest.fixture
def attached(llm_of: Any) -> Iterator[Callable[..., Any]]:
    """A LLaMA with SigLIP or CLIP, and an adapter on both."""
    held = []

    def make(encoder: Any = None, *, lora: bool = True, family: str = "llama") -> Any:
        vision = encoder or AnyVisionEncoder(*make_vision("siglip"))
        backbone = Backbone(llm_of(family), {"image": vision})
        adapter = Adapter.for_backbone(
            backbone,
            system="llava",
            name="mine",
            layout=Layout(template="vicuna_v1"),
            inputs={"image": projector_config("mlp", {})},
            lora=LoraConfig(r=2, alpha=4.0) if lora else None,
        )
        with torch.no_grad():
            for parameter in adapter.parameters():
                parameter.normal_(std=0.2)
        held.append(adapter.attach(backbone))
        return held[-1]

    yield make
    for model in held:
        model.adapter.detach()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_lora_alone(attached: Any, tmp_path: Path) -> None:
    report = export_adapter(attached(), to="gguf", output=tmp_path / "out")
    assert names(tmp_path / "out") == {"lora.gguf", "EXPORT.json"}
    (check,) = report.checks
    assert (check.passed, check.compared, check.difference) == (True, 28, 0.0)
    assert any("--runtime llamacpp" in note for note in report.notes)


@pytest.mark.parametrize("kind", ["f32", "f16", "q8_0"])
def test_the_language_model_too(attached: Any, tmp_path: Path, kind: str) -> None:
    model = attached()
    export_adapter(model, to="gguf", output=tmp_path / "out", base=kind)
    assert names(tmp_path / "out") == {"base.gguf", "lora.gguf", "EXPORT.json"}
    held = json.loads((tmp_path / "out" / "EXPORT.json").read_text())
    assert held["options"]["base"] == kind
    logits = [check for check in held["checks"] if "llama.cpp" in check["name"]]
    assert len(logits) == has_llama_cpp()
    assert all(check["passed"] and check["difference"] <= check["allowed"] for check in logits)
    assert ("llama_cpp" in held["facts"]) == has_llama_cpp()


def test_encoder_and_projector_of_siglip(attached: Any, tmp_path: Path) -> None:
    report = export_adapter(attached(), to="gguf", output=tmp_path / "out", mmproj=True)
    assert names(tmp_path / "out") == {"lora.gguf", "mmproj.gguf", "EXPORT.json"}
    assert sum(note.startswith("mmproj.gguf: ") for note in report.notes) == 3


def test_clip_is_refused_and_written_on_demand(attached: Any, backbone_of: Any, tmp_path: Path) -> None:
    model = attached(backbone_of().encoder("image"))
    with pytest.raises(GgufError, match="issues/25814"):
        export_adapter(model, to="gguf", output=tmp_path / "out", mmproj=True)
    assert not (tmp_path / "out").exists()
    report = export_adapter(model, to="gguf", output=tmp_path / "out", unsafe_clip=True)
    assert any("wrong features" in note for note in report.notes)


def test_the_model_is_left_as_it_was(attached: Any, tmp_path: Path) -> None:
    model = attached()
    before = {name: tensor.clone() for name, tensor in model.backbone.llm.model.state_dict().items()}
    export_adapter(model, to="gguf", output=tmp_path / "out", base="f32")
    after = model.backbone.llm.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_an_adapter_without_a_lora_needs_an_option(attached: Any, tmp_path: Path) -> None:
    model = attached(lora=False)
    with pytest.raises(GgufError, match="has no LoRA, so nothing can be written without --base"):
        export_adapter(model, to="gguf", output=tmp_path / "out")
    report = export_adapter(model, to="gguf", output=tmp_path / "out", mmproj=True)
    assert "the adapter has no LoRA, so there is no lora.gguf" in report.notes


def test_new_tokens_are_refused(backbone_of: Any, tmp_path: Path) -> None:
    backbone = backbone_of()
    with unchanged(backbone):
        model = with_tokens(backbone).attach(backbone)
        with pytest.raises(GgufError, match=r"rows for new tokens in the head.*run it with torch"):
            export_adapter(model, to="gguf", output=tmp_path / "out")
        model.adapter.detach()


def test_a_family_that_llama_cpp_lacks_is_refused(attached: Any, tmp_path: Path) -> None:
    with pytest.raises(GgufError, match="got 'opt'"):
        export_adapter(attached(family="opt"), to="gguf", output=tmp_path / "out")


def test_wrong_logits_leave_no_folder(attached: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if llama.cpp read queries and keys in the order of transformers, which it does not report."""
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed: pip install 'inlay[llamacpp]'")
    monkeypatch.setattr("inlay.adapters.export.gguf.lora.reordered", lambda module, rows, *_: rows)
    with pytest.raises(ExportError, match=r"1 of 3 checks of the written files failed.*logits of the canary"):
        export_adapter(attached(), to="gguf", output=tmp_path / "out", base="f32")
    assert not (tmp_path / "out").exists()


def test_without_the_library_the_logits_are_not_compared(
    attached: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "has_llama_cpp", lambda: False)
    report = export_adapter(attached(), to="gguf", output=tmp_path / "out", base="f32")
    assert len(report.checks) == 2
    assert any("its logits were not compared" in note for note in report.notes)
