"""Folders of transformers' LLaVA in the layouts of all versions, against the forward pass of the same model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_checkpoints import LAYOUTS, SIDE, hf_llava, hf_llava_folder, logits_differ, relaid, rows
from safetensors.torch import load_file, save_file
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

from inlay.adapters.adapter import Adapter
from inlay.adapters.convert import ConvertError, Source, import_adapter, read_checkpoint
from inlay.adapters.convert.formats.hf_llava import KEYS, read


@pytest.fixture
def folder(tokenizer_of: Any, tmp_path: Path) -> Path:
    tokenizer = tokenizer_of()
    return hf_llava_folder(tmp_path / "llava-hf", hf_llava(tokenizer), tokenizer)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_logits_of_the_bundle_equal_the_folders_own(
    tokenizer_of: Any, image_of: Any, tmp_path: Path, layout: str
) -> None:
    tokenizer = tokenizer_of()
    reference = hf_llava(tokenizer)
    place = hf_llava_folder(tmp_path / "llava-hf", reference, tokenizer, layout)
    found = import_adapter(place, dtype="float32")
    found.adapter.save_pretrained(tmp_path / "bundle", dtype=found.dtype)
    model = Adapter.from_pretrained(tmp_path / "bundle").attach(found.backbone, strict=True)
    assert logits_differ(model, reference, model.batch(rows(image_of))) <= 1e-5


@pytest.mark.parametrize("layout", LAYOUTS)
def test_logits_of_llava_next_equal_in_every_layout(
    tokenizer_of: Any, image_of: Any, tmp_path: Path, layout: str
) -> None:
    tokenizer = tokenizer_of()
    reference = hf_llava(tokenizer, tiled=True)
    place = hf_llava_folder(tmp_path / "next", reference, tokenizer, layout)
    found = import_adapter(place, dtype="float32")
    assert found.adapter.layout.tiling == "anyres:1x2,2x1,2x2,3x1,1x3"
    found.adapter.save_pretrained(tmp_path / "bundle", dtype=found.dtype)
    model = Adapter.from_pretrained(tmp_path / "bundle").attach(found.backbone)
    sizes = ((20, 14), (31, 50))
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": SIDE},
        crop_size={"height": SIDE, "width": SIDE},
        image_grid_pinpoints=reference.config.image_grid_pinpoints,
    )
    pictures = [image_of(seed, size) for seed, size in enumerate(sizes)]
    read = images(pictures, return_tensors="pt")
    assert logits_differ(model, reference, model.batch(rows(image_of, sizes)), **read) <= 1e-5


def test_the_layout_is_the_folders_own(folder: Path) -> None:
    layout = read_checkpoint(folder).layout
    assert (layout.template, layout.system, dict(layout.geometry)) == ("vicuna_v1", "", {"image": "crop"})


def test_a_system_text_in_the_chat_template_is_kept(folder: Path) -> None:
    path = folder / "chat_template.json"
    template = json.loads(path.read_text())["chat_template"]
    path.write_text(json.dumps({"chat_template": f"A chat. {template}"}))
    assert read_checkpoint(folder).layout.system == "A chat."


def test_a_newline_that_vicuna_does_not_have_is_not_taken_for_it(folder: Path) -> None:
    path = folder / "chat_template.json"
    template = json.loads(path.read_text())["chat_template"]
    path.write_text(json.dumps({"chat_template": f"A chat.\n{template}"}))
    with pytest.raises(ConvertError, match="no template equal to"):
        read_checkpoint(folder)


def test_an_unknown_chat_template_is_refused_and_can_be_named(folder: Path) -> None:
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": "<image>\nWhat is shown? [/INST]"}))
    with pytest.raises(ConvertError, match=r"/INST.*--template vicuna_v1"):
        read_checkpoint(folder)
    assert read_checkpoint(folder, template="plain").layout.template == "plain"


def test_only_the_file_with_the_projector_is_opened(tokenizer_of: Any, tmp_path: Path) -> None:
    tokenizer = tokenizer_of()
    place = hf_llava_folder(tmp_path / "x", hf_llava(tokenizer), tokenizer)
    (place / "model.safetensors").unlink()
    hf_llava(tokenizer).save_pretrained(place, max_shard_size="5KB")
    source = Source(place)
    shards = json.loads((place / "model.safetensors.index.json").read_text())["weight_map"]
    read(source, None)
    assert source.weights.opened == {file for name, file in shards.items() if "multi_modal_projector" in name}
    assert len(source.weights.opened) < len(set(shards.values()))


def test_a_missing_tensor_is_named(folder: Path) -> None:
    relaid(folder / "model.safetensors", ((r"^multi_modal_projector\.linear_2\.bias$", "language_model.model.gone"),))
    with pytest.raises(ConvertError, match=r"inputs\.image\.layers\.2\.bias is missing"):
        import_adapter(folder)


def test_an_extra_tensor_is_named(folder: Path) -> None:
    relaid(folder / "model.safetensors", ((r"^multi_modal_projector\.linear_2\.", "multi_modal_projector.linear_3."),))
    with pytest.raises(ConvertError, match=r"2 others: multi_modal_projector\.linear_3\.bias"):
        read_checkpoint(folder)


def test_a_misshapen_tensor_is_named(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["multi_modal_projector.linear_2.weight"] = torch.zeros(32, 31)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConvertError, match=r"layers\.2\.weight has the shape \[32, 31\] instead of \[32, 32\]"):
        import_adapter(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("projector_hidden_act", "relu"),
        ("multimodal_projector_bias", False),
        ("vision_feature_layer", [-2, -5]),
        ("vision_feature_select_strategy", "cls"),
    ],
)
def test_a_setting_that_inlay_does_not_compute_is_refused_by_name(folder: Path, field: str, value: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, field: value}))
    with pytest.raises(ConvertError, match=field):
        read_checkpoint(folder)


def test_layer_and_class_token_are_the_folders(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    changed = {**config, "vision_feature_layer": -3, "vision_feature_select_strategy": "full"}
    (folder / "config.json").write_text(json.dumps(changed))
    settings = import_adapter(folder, dtype="float32").adapter.interface["image"].settings
    assert (settings["layer"], settings["class_token"]) == (-3, "keep")


def test_another_language_model_is_compared_and_refused(folder: Path, tokenizer_of: Any, tmp_path: Path) -> None:
    other = hf_llava_folder(tmp_path / "other", hf_llava(tokenizer_of(), seed=1), tokenizer_of())
    with pytest.raises(ConvertError, match="tensors of the language model in this checkpoint differ"):
        import_adapter(folder, llm=other, dtype="float32")
    assert import_adapter(folder, llm=other, dtype="float32", frozen="leave").compared == {}


def test_an_equal_language_model_passes_the_comparison(folder: Path, tokenizer_of: Any, tmp_path: Path) -> None:
    same = hf_llava_folder(tmp_path / "same", hf_llava(tokenizer_of()), tokenizer_of(), "4.52")
    compared = import_adapter(folder, llm=same, image=same, dtype="float32").compared
    assert (compared["llm"], compared["image"]) == (21, 55)


def test_the_key_table_writes_the_names_of_the_oldest_layout(folder: Path) -> None:
    imported = read_checkpoint(folder)
    assert set(KEYS.write(imported.tensors)) == {
        f"multi_modal_projector.linear_{n}.{leaf}" for n in (1, 2) for leaf in ("weight", "bias")
    }
