"""Each check of a reloaded model fails on the fault that it is for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from export_parts import adapter_on
from safetensors.torch import load_file, save_file

from inlay.adapters import export_adapter
from inlay.adapters.export.hf import exporter, processor
from inlay.adapters.export.hf.model_config import own_tensors
from inlay.adapters.export.hf.verification import check_tensors, reload, verify
from inlay.adapters.export.merged import language_tensors
from inlay.adapters.export.registry import target_named
from inlay.adapters.export.request import Request
from inlay.adapters.export.target import ExportError


@pytest.fixture
def request_of(backbone_of: Any) -> Request:
    backbone = backbone_of()
    return Request(adapter_on(backbone).attach(backbone), target_named("hf")[1])


@pytest.fixture
def folder(request_of: Request, tmp_path: Path) -> Path:
    export_adapter(request_of.model, to="hf", output=tmp_path / "out")
    return tmp_path / "out"


def failed(checks: list[Any]) -> list[str]:
    return [check.name for check in checks if not check.passed]


def test_a_tensor_that_is_missing_is_found(request_of: Request, folder: Path) -> None:
    held = load_file(folder / "model.safetensors")
    held.pop("multi_modal_projector.linear_2.bias")
    save_file(held, folder / "model.safetensors", {"format": "pt"})
    _, check = reload(request_of, "llava", folder)
    assert not check.passed
    assert "linear_2.bias" in check.detail


def test_a_number_that_differs_is_found(request_of: Request, folder: Path) -> None:
    model, check = reload(request_of, "llava", folder)
    assert check.passed
    rows = model.config.text_config.vocab_size
    written = own_tensors(request_of, language_tensors(request_of.model, rows=rows))
    assert check_tensors("llava", model, written, False).passed
    with torch.no_grad():
        model.model.multi_modal_projector.linear_1.bias[0] += 1e-6
    assert "linear_1.bias" in check_tensors("llava", model, written, False).detail


def test_a_language_model_without_the_lora_has_other_logits(request_of: Request, folder: Path) -> None:
    model, _ = reload(request_of, "llava", folder)
    bare = request_of.backbone.llm.model.model.layers[0].self_attn.q_proj.base_layer.weight
    with torch.no_grad():
        model.model.language_model.layers[0].self_attn.q_proj.weight.copy_(bare)
    assert "logits of a square picture" in failed(verify(request_of, "llava", model, folder))


@pytest.mark.parametrize(
    ("file", "old", "new", "check"),
    [
        ("chat_template.jinja", "USER: ", "User: ", "prompt of a square picture"),
        ("preprocessor_config.json", '"do_center_crop": true', '"do_center_crop": false', "pixels of a wide picture"),
    ],
)
def test_another_prompt_or_picture_is_found(
    request_of: Request, folder: Path, file: str, old: str, new: str, check: str
) -> None:
    path = folder / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    model, _ = reload(request_of, "llava", folder)
    assert check in failed(verify(request_of, "llava", model, folder))


def test_a_failed_check_leaves_no_folder(request_of: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = exporter.write_processor

    def wrong(request: Request, kind: Any, tokenizer: Any, folder: Path) -> str:
        text = original(request, kind, tokenizer, folder).replace("USER: ", "User: ")
        (folder / "chat_template.jinja").write_text(text)
        return text

    monkeypatch.setattr(exporter, "write_processor", wrong)
    with pytest.raises(ExportError, match=r"checks of the written files failed.*chat template"):
        export_adapter(request_of.model, to="hf", output=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_another_greedy_answer_is_found(request_of: Request, folder: Path) -> None:
    model, _ = reload(request_of, "llava", folder)
    with torch.no_grad():
        model.lm_head.weight.mul_(-1)
    assert "greedy answer to a square picture" in failed(verify(request_of, "llava", model, folder))


def test_the_layouts_end_of_turn_ends_an_answer(request_of: Request) -> None:
    assert request_of.backbone.llm.tokenizer.eos_token_id in processor.stop_tokens(request_of)
