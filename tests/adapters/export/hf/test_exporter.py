"""Exported folders in transformers against the attached adapter, and back by the importers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from blip_checkpoints import blip_logits_differ
from export_parts import FORMER, adapter_on, blip_backbone, chat_backbone, loaded, siglip_backbone
from foreign_checkpoints import SIDE, logits_differ, rows
from safetensors.torch import load_file
from transformers import (
    AutoProcessor,
    Blip2ForConditionalGeneration,
    InstructBlipForConditionalGeneration,
    LlavaForConditionalGeneration,
    LlavaNextForConditionalGeneration,
)
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

from inlay.adapters import Backbone, Layout, MediaPart, Message, TextPart, export_adapter
from inlay.adapters.convert import import_adapter
from inlay.adapters.export.merged import language_tensors
from inlay.adapters.export.target import ExportError


def blip_model(llm_of: Any, prompt_tokenizer_of: Any, system: str, family: str) -> Any:
    prompts = prompt_tokenizer_of() if system == "instructblip" else None
    backbone = blip_backbone(llm_of(family), prompts)
    layout = Layout.published(system, geometry={"image": "squash"})
    reader = {} if prompts is None else {"vocabulary": prompts.vocabulary, "text_positions": 32, "prompt_tokens": 24}
    kind = "qformer" if prompts is None else "instruct_qformer"
    return adapter_on(backbone, kind, layout=layout, **FORMER, **reader).attach(backbone)


@pytest.mark.parametrize("tokens", [(), ("<look>", "<point>")])
@pytest.mark.parametrize("family", ["llama", "qwen3", "opt", "gemma"])
def test_logits_of_a_merged_llava_equal(
    backbone_of: Any, image_of: Any, tmp_path: Path, family: str, tokens: tuple[str, ...]
) -> None:
    backbone = backbone_of(family)
    model = adapter_on(backbone, tokens=tokens).attach(backbone)
    export_adapter(model, to="hf", output=tmp_path / "out")
    reference = loaded(LlavaForConditionalGeneration, tmp_path / "out")
    batch = model.batch(rows(image_of))
    ids = batch.ids.clone()
    ids[batch.slots] = reference.config.image_token_index
    with torch.no_grad():
        ours = model(batch, logits="all").logits
        theirs = reference(input_ids=ids, attention_mask=batch.mask, pixel_values=batch.inputs["image"]).logits
    real = batch.mask.bool()
    assert float((ours - theirs[..., : ours.shape[-1]]).abs()[real].max()) <= 1e-5


@pytest.mark.parametrize("layer", [-2, -1])
def test_logits_with_siglip_equal(llm_of: Any, image_of: Any, tmp_path: Path, layer: int) -> None:
    backbone = siglip_backbone(llm_of("llama"), layer)
    layout = Layout(template="vicuna_v1", geometry={"image": "squash"})
    model = adapter_on(backbone, layout=layout, r=None).attach(backbone)
    export_adapter(model, to="hf", output=tmp_path / "out")
    reference = loaded(LlavaForConditionalGeneration, tmp_path / "out")
    assert logits_differ(model, reference, model.batch(rows(image_of))) <= 1e-5


def test_logits_of_llava_next_equal(backbone_of: Any, image_of: Any, tmp_path: Path) -> None:
    backbone = backbone_of()
    layout = Layout(template="vicuna_v1", tiling="anyres")
    model = adapter_on(backbone, layout=layout).attach(backbone)
    export_adapter(model, to="hf", output=tmp_path / "out")
    reference = loaded(LlavaNextForConditionalGeneration, tmp_path / "out")
    sizes = ((20, 14), (31, 50))
    square = {"height": SIDE, "width": SIDE}
    points = reference.config.image_grid_pinpoints
    images = LlavaNextImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=square, image_grid_pinpoints=points)
    read = images([image_of(seed, size) for seed, size in enumerate(sizes)], return_tensors="pt")
    assert logits_differ(model, reference, model.batch(rows(image_of, sizes)), **read) <= 1e-5


@pytest.mark.parametrize(
    ("system", "family"),
    [("blip2", "opt"), ("blip2", "t5"), ("blip2", "llama"), ("instructblip", "llama"), ("instructblip", "t5")],
)
def test_logits_of_blip_models_equal(
    llm_of: Any, prompt_tokenizer_of: Any, image_of: Any, tmp_path: Path, system: str, family: str
) -> None:
    model = blip_model(llm_of, prompt_tokenizer_of, system, family)
    export_adapter(model, to="hf", output=tmp_path / "out")
    classes = {"blip2": Blip2ForConditionalGeneration, "instructblip": InstructBlipForConditionalGeneration}
    reference = loaded(classes[system], tmp_path / "out")
    assert blip_logits_differ(model, reference, image_of) <= 2e-5


def test_the_processor_and_generate_of_transformers_answer_as_the_adapter(
    backbone_of: Any, image_of: Any, tmp_path: Path
) -> None:
    backbone = backbone_of()
    layout = Layout(template="vicuna_v1", system="A chat.", geometry={"image": "pad"})
    model = adapter_on(backbone, layout=layout).attach(backbone)
    export_adapter(model, to="hf", output=tmp_path / "out")
    reference = loaded(LlavaForConditionalGeneration, tmp_path / "out")
    processor = AutoProcessor.from_pretrained(tmp_path / "out")
    turn = [{"type": "image"}, {"type": "text", "text": "how many squares are there?"}]
    text = processor.apply_chat_template([{"role": "user", "content": turn}], add_generation_prompt=True)
    inputs = processor(images=image_of(4, (31, 50)), text=text, return_tensors="pt")
    written = reference.generate(**inputs, max_new_tokens=12)[0, inputs["input_ids"].shape[1] :]
    conversation = (Message("user", (MediaPart("image", image_of(4, (31, 50))), TextPart(turn[1]["text"]))),)
    (answer,) = model.answer([conversation], max_new_tokens=12)
    assert processor.decode(written, skip_special_tokens=True).strip() == answer.strip()


def test_names_are_those_of_transformers_4_51(backbone_of: Any, tmp_path: Path) -> None:
    backbone = backbone_of()
    export_adapter(adapter_on(backbone).attach(backbone), to="hf", output=tmp_path / "out")
    names = load_file(tmp_path / "out" / "model.safetensors")
    starts = (
        "language_model.model.",
        "language_model.lm_head.",
        "vision_tower.vision_model.",
        "multi_modal_projector.",
    )
    assert all(name.startswith(starts) for name in names)
    assert {"EXPORT.json", "config.json", "chat_template.jinja", "generation_config.json", "tokenizer.json"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }


def test_the_report_names_every_check_and_version(backbone_of: Any, tmp_path: Path) -> None:
    backbone = backbone_of()
    export_adapter(adapter_on(backbone).attach(backbone), to="hf", output=tmp_path / "out")
    held = json.loads((tmp_path / "out" / "EXPORT.json").read_text())
    found = {check["name"]: check for check in held["checks"]}
    assert found["tensors are equal"]["difference"] == 0
    assert found["logits of a wide picture"]["difference"] <= found["logits of a wide picture"]["allowed"]
    assert {"names in vLLM 0.33", "names in SGLang 0.5.23", "chat template", "prompt of a square picture"} <= set(found)
    assert {"transformers", "torch", "inlay"} <= set(held["versions"])


def test_a_round_trip_keeps_projector_and_merged_language_model(backbone_of: Any, tmp_path: Path) -> None:
    backbone = backbone_of()
    layout = Layout(template="vicuna_v1", system="A chat.", geometry={"image": "pad"})
    model = adapter_on(backbone, layout=layout).attach(backbone)
    export_adapter(model, to="hf", output=tmp_path / "out")
    found = import_adapter(tmp_path / "out", dtype="float32")
    compare_parts(model, found)
    assert found.adapter.layout == layout


def test_a_round_trip_of_llava_next_keeps_newline_and_tiling(backbone_of: Any, tmp_path: Path) -> None:
    backbone = backbone_of()
    model = adapter_on(backbone, layout=Layout(template="vicuna_v1", tiling="anyres")).attach(backbone)
    export_adapter(model, to="hf", output=tmp_path / "out")
    found = import_adapter(tmp_path / "out", dtype="float32")
    compare_parts(model, found)
    assert found.adapter.layout.tiling == model.adapter.layout.tiling


@pytest.mark.parametrize(("system", "family"), [("blip2", "opt"), ("instructblip", "llama")])
def test_a_round_trip_of_blip_models_keeps_every_tensor(
    llm_of: Any, prompt_tokenizer_of: Any, tmp_path: Path, system: str, family: str
) -> None:
    model = blip_model(llm_of, prompt_tokenizer_of, system, family)
    export_adapter(model, to="hf", output=tmp_path / "out")
    found = import_adapter(tmp_path / "out", dtype="float32")
    compare_parts(model, found)
    assert (found.adapter.system, found.adapter.layout) == (model.adapter.system, model.adapter.layout)


@pytest.mark.parametrize("template", ["vicuna_v1", "chat"])
def test_a_round_trip_keeps_the_prompt(backbone_of: Any, tmp_path: Path, template: str) -> None:
    backbone = chat_backbone(backbone_of()) if template == "chat" else backbone_of()
    layout = Layout(template=template, prompt="{}\nAnswer in one word.", geometry={"image": "pad"})
    model = adapter_on(backbone, layout=layout).attach(backbone)
    export_adapter(model, to="hf", output=tmp_path / "out")
    assert import_adapter(tmp_path / "out", dtype="float32").adapter.layout == model.adapter.layout


def test_a_round_trip_of_blip2_keeps_prompt_and_geometry(llm_of: Any, tmp_path: Path) -> None:
    backbone = blip_backbone(llm_of("opt"))
    layout = Layout.published("blip2", prompt="Question: {} Short answer:", geometry={"image": "crop"})
    model = adapter_on(backbone, "qformer", layout=layout, **FORMER).attach(backbone)
    export_adapter(model, to="hf", output=tmp_path / "out")
    assert import_adapter(tmp_path / "out", dtype="float32").adapter.layout == layout


def compare_parts(model: Any, found: Any) -> None:
    """Every tensor of the projector, and the merged language model, which comes back as the backbone."""
    before, after = (
        {part.name: part for part in one.parts() if "inputs" in part.name} for one in (model.adapter, found.adapter)
    )
    assert set(before) == set(after)
    for name, part in before.items():
        held = after[name].module.state_dict()
        for key, tensor in part.module.state_dict().items():
            assert torch.equal(tensor, held[key]), (name, key)
    assert found.adapter.lora is None
    merged, back = language_tensors(model), found.backbone.llm.model.state_dict()
    for key in merged:
        assert torch.equal(merged[key], back[key][: len(merged[key])]), key


REFUSED = {
    "linear": (lambda b: adapter_on(b, "linear"), "projector 'linear'.*a GELU cannot be left out"),
    "three layers": (lambda b: adapter_on(b, depth=3), "projector 'mlp' of 3 layers"),
    "pooling": (lambda b: adapter_on(b, "avg_pool"), "projector 'avg_pool'.*an MLP of two layers"),
    "template": (lambda b: adapter_on(b, layout=Layout(template="minigpt4")), "template 'minigpt4': the processor of"),
    "prompt": (lambda b: adapter_on(b, layout=Layout(template="vicuna_v1", prompt="describe")), "one {} for the user"),
    "tiles": (lambda b: adapter_on(b, layout=Layout(template="vicuna_v1", tiling="tiles")), "LlavaNext tiles by"),
    "bos": (lambda b: adapter_on(b, layout=Layout(template="vicuna_v1", bos="none")), "bos 'none': the processor"),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_what_no_class_can_express_is_refused_with_the_reason(backbone_of: Any, tmp_path: Path, case: str) -> None:
    make, reason = REFUSED[case]
    backbone = backbone_of()
    with pytest.raises(ExportError, match=reason):
        export_adapter(make(backbone).attach(backbone), to="hf", output=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_siglip_behind_its_final_norm_is_refused(llm_of: Any, tmp_path: Path) -> None:
    backbone = siglip_backbone(llm_of("llama"), "last")
    with pytest.raises(ExportError, match=r"behind its final norm.*--backbone.layer -1"):
        export_adapter(adapter_on(backbone).attach(backbone), to="hf", output=tmp_path / "out")


def test_another_encoder_is_refused(llm_of: Any, vit_of: Any, tmp_path: Path) -> None:
    backbone = Backbone(llm_of("llama"), {"image": vit_of()})
    with pytest.raises(ExportError, match="encoder 'vit': expected one CLIP or SigLIP tower"):
        export_adapter(adapter_on(backbone).attach(backbone), to="hf", output=tmp_path / "out")


def test_the_adapter_stays_attached_and_as_it_was(backbone_of: Any, image_of: Any, tmp_path: Path) -> None:
    backbone = backbone_of()
    adapter = adapter_on(backbone)
    model = adapter.attach(backbone)
    batch = model.batch(rows(image_of))
    with torch.no_grad():
        before = model(batch, logits="all").logits
        export_adapter(model, to="hf", output=tmp_path / "out")
        assert torch.equal(model(batch, logits="all").logits, before)
    adapter.detach()


def test_a_language_models_own_chat_template_is_kept(backbone_of: Any, tmp_path: Path) -> None:
    backbone = chat_backbone(backbone_of())
    model = adapter_on(backbone, layout=Layout(template="chat", system="Be brief.")).attach(backbone)
    export_adapter(model, to="hf", output=tmp_path / "out")
    processor = AutoProcessor.from_pretrained(tmp_path / "out")
    turn = [{"type": "image"}, {"type": "text", "text": "What?"}]
    text = processor.apply_chat_template([{"role": "user", "content": turn}], add_generation_prompt=True)
    start = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"
    assert text == f"{start}<image>\nWhat?<|im_end|>\n<|im_start|>assistant\n"


def test_half_precision_is_exported_in_its_own_data_type(backbone_of: Any, tmp_path: Path) -> None:
    backbone = backbone_of().to(torch.bfloat16)
    report = export_adapter(adapter_on(backbone).attach(backbone), to="hf", output=tmp_path / "out")
    held = load_file(tmp_path / "out" / "model.safetensors")
    assert report.facts["dtype"] == "bfloat16"
    assert {tensor.dtype for tensor in held.values()} == {torch.bfloat16}
