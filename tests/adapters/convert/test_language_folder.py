"""The language model of a whole LLaVA checkpoint as a folder, against transformers' LLaVA with the same weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_checkpoints import clip_folder, hf_llava, llava_config, logits_differ, original_llava, rows
from safetensors import safe_open

from inlay.adapters.convert import ConvertError, Source, import_adapter
from inlay.adapters.convert import language_folder as module


@pytest.fixture
def reference(tokenizer_of: Any) -> Any:
    return hf_llava(tokenizer_of())


@pytest.fixture
def source(reference: Any, tokenizer_of: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "llava-v1.5"
    tokenizer_of().save_pretrained(folder)
    state = reference.model.language_model.state_dict()
    tensors = {f"model.{name}": tensor.clone() for name, tensor in state.items()} | original_llava(reference)
    tensors["lm_head.weight"] = reference.lm_head.weight.detach().clone()
    torch.save(tensors, folder / "pytorch_model.bin")
    text = reference.config.text_config.to_dict()
    (folder / "config.json").write_text(json.dumps({**text, **llava_config(model_type="llava_llama")}))
    return folder


def test_logits_on_the_written_language_model_equal_the_checkpoints(
    reference: Any, source: Path, image_of: Any, tmp_path: Path
) -> None:
    tower = clip_folder(tmp_path / "clip", reference)
    found = import_adapter(source, write_llm=tmp_path / "llm", image=tower, dtype="float32")
    assert found.compared == {"llm": 21}
    model = found.adapter.attach(found.backbone)
    assert logits_differ(model, reference, model.batch(rows(image_of))) <= 1e-5


def test_the_config_has_no_settings_of_the_vision_side(reference: Any, source: Path, tmp_path: Path) -> None:
    tower = clip_folder(tmp_path / "clip", reference)
    import_adapter(source, write_llm=tmp_path / "llm", image=tower, dtype="float32")
    config = json.loads((tmp_path / "llm" / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("llama", ["LlamaForCausalLM"])
    assert not [name for name in config if name.startswith(("mm_", "image_"))]


def test_large_weights_are_written_in_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "config.json").write_text(json.dumps({"model_type": "llava"}))
    monkeypatch.setattr(module, "_SHARD_BYTES", 40)
    tensors = {name: torch.full((8,), index) for index, name in enumerate("abc")}
    folder = module.write_language(Source(tmp_path / "x"), tensors, tmp_path / "llm")
    places = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    assert len(set(places.values())) == 3
    for name, file in places.items():
        with safe_open(folder / file, "pt") as held:
            assert torch.equal(held.get_tensor(name), tensors[name])


def test_an_existing_folder_is_not_touched(source: Path, tmp_path: Path) -> None:
    (tmp_path / "llm").mkdir()
    with pytest.raises(ConvertError, match="already exists"):
        import_adapter(source, write_llm=tmp_path / "llm")
    assert list((tmp_path / "llm").iterdir()) == []


def test_a_checkpoint_without_a_language_model_is_refused(reference: Any, tmp_path: Path) -> None:
    folder = tmp_path / "stage1"
    folder.mkdir()
    torch.save(original_llava(reference), folder / "mm_projector.bin")
    (folder / "config.json").write_text(json.dumps(llava_config()))
    with pytest.raises(ConvertError, match="0 tensors of a language model"):
        import_adapter(folder, write_llm=tmp_path / "llm")
