"""Runs of prismatic-vlms against its forward: BOS, projected patches, then the rest of the prompt."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_checkpoints import attached
from torch import Tensor

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.conversation.templates.llava import VICUNA_SYSTEM
from inlay.adapters.convert import ConvertError, import_adapter, read_checkpoint
from inlay.adapters.convert.formats.prismatic import KEYS

MODEL = {
    "model_id": "reproduction-llava-v15+7b",
    "arch_specifier": "gelu-mlp",
    "vision_backbone_id": "clip-vit-l-336px",
    "llm_backbone_id": "vicuna-v15-7b",
    "image_resize_strategy": "letterbox",
}
PROMPTS = {
    "vicuna-v15-7b": f"{VICUNA_SYSTEM} USER: what? ASSISTANT: red</s>",
    "llama2-7b-pure": "In: what?\nOut: red</s>",
}


def projector(kind: str = "gelu-mlp") -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = {"projector.weight": (32, 24), "projector.bias": (32,)}
    if kind == "gelu-mlp":
        shapes = {"projector.0.weight": (32, 24), "projector.0.bias": (32,)}
        shapes |= {"projector.2.weight": (32, 32), "projector.2.bias": (32,)}
    return {name: torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes.items()}


def language(reference: Any) -> dict[str, Tensor]:
    state = reference.model.language_model.state_dict()
    return {f"llm.model.{n}": t.clone() for n, t in state.items()} | {
        "llm.lm_head.weight": reference.lm_head.weight.detach().clone()
    }


def run(folder: Path, modules: dict[str, Any], **config: Any) -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model": {**MODEL, **config}, "stage": "align"}))
    torch.save({"model": modules}, folder / "checkpoints" / "latest-checkpoint.pt")
    return folder


def theirs(reference: Any, model: Any, pixels: Tensor, held: dict[str, Tensor], prompt: str) -> Tensor:
    """The logits of prismatic's forward for one row."""
    states = reference.model.vision_tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
    if "projector.weight" in held:
        patches = states @ held["projector.weight"].T + held["projector.bias"]
    else:
        inner = torch.nn.functional.gelu(states @ held["projector.0.weight"].T + held["projector.0.bias"])
        patches = inner @ held["projector.2.weight"].T + held["projector.2.bias"]
    tokenizer = model.core.backbone.llm.tokenizer if hasattr(model, "core") else model.backbone.llm.tokenizer
    text = prompt.replace("</s>", tokenizer.eos_token)
    ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False).input_ids]])
    embedded = reference.model.language_model.embed_tokens(ids)
    whole = torch.cat([embedded[:, :1], patches, embedded[:, 1:]], dim=1)
    logits: Tensor = reference.lm_head(reference.model.language_model(inputs_embeds=whole).last_hidden_state)
    return logits


@pytest.mark.parametrize("kind", ["linear", "gelu-mlp"])
@pytest.mark.parametrize("llm", PROMPTS)
def test_logits_equal_those_of_patches_behind_bos(
    reference: Any, models: Any, image_of: Any, tmp_path: Path, kind: str, llm: str
) -> None:
    held = projector(kind)
    source = run(tmp_path / "run", {"projector": held}, arch_specifier=kind, llm_backbone_id=llm)
    found = import_adapter(source, **models)
    model = attached(found, tmp_path / "bundle")
    asked = Message("user", (MediaPart("image", image_of(0)), TextPart("what?")))
    batch = model.batch([(asked, Message("assistant", (TextPart("red"),)))])
    with torch.no_grad():
        ours = model(batch, logits="all").logits
        expected = theirs(reference, model, batch.inputs["image"], held, PROMPTS[llm])
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)


def test_the_language_model_of_the_second_stage_is_compared(reference: Any, models: Any, tmp_path: Path) -> None:
    modules = {"projector": projector(), "llm_backbone": language(reference)}
    assert import_adapter(run(tmp_path / "same", modules), **models).compared["llm"] == 21
    modules["llm_backbone"]["llm.model.norm.weight"] += 0.5
    with pytest.raises(ConvertError, match=r"1 of 21 tensors of the language model.*model\.norm\.weight"):
        import_adapter(run(tmp_path / "tuned", modules), **models)


def test_a_checkpoint_inside_a_run_is_read_like_the_run(models: Any, tmp_path: Path) -> None:
    file = run(tmp_path / "run", {"projector": projector()}) / "checkpoints" / "latest-checkpoint.pt"
    adapter = import_adapter(file, **models).adapter
    assert dict(adapter.layout.geometry) == {"image": "pad"}
    assert adapter.layout.template == "prismatic"


def test_the_models_are_those_that_the_config_names(tmp_path: Path) -> None:
    models = read_checkpoint(run(tmp_path / "run", {"projector": projector()})).models
    assert (models.llm, models.image) == ("lmsys/vicuna-7b-v1.5", "openai/clip-vit-large-patch14-336")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"arch_specifier": "no-align+fused-gelu-mlp"}, "arch_specifier.*features of two encoders"),
        ({"vision_backbone_id": "dinosiglip-vit-so-384px"}, "vision_backbone_id.*two encoders together"),
        ({"vision_backbone_id": "dinov2-vit-l"}, "vision_backbone_id.*no counterpart"),
        ({"image_resize_strategy": "tiles"}, "image_resize_strategy"),
        ({"llm_backbone_id": "phi-2-3b"}, "llm_backbone_id.*--template"),
    ],
)
def test_a_setting_that_inlay_does_not_compute_is_refused_with_the_reason(
    tmp_path: Path, config: Any, expected: str
) -> None:
    with pytest.raises(ConvertError, match=expected):
        read_checkpoint(run(tmp_path / "run", {"projector": projector()}, **config))


def test_a_missing_extra_and_misshapen_tensor_are_named(models: Any, tmp_path: Path) -> None:
    held = projector()
    missing = {name: tensor for name, tensor in held.items() if name != "projector.2.bias"}
    with pytest.raises(ConvertError, match=r"inputs\.image\.layers\.2\.bias is missing"):
        import_adapter(run(tmp_path / "a", {"projector": missing}), **models)
    modules = {"projector": held, "vision_backbone": {"cls_token": torch.ones(1)}}
    with pytest.raises(ConvertError, match=r"1 others: vision_backbone\.cls_token"):
        import_adapter(run(tmp_path / "b", modules), **models)
    with pytest.raises(ConvertError, match=r"layers\.2\.bias has the shape \[31\] instead of \[32\]"):
        import_adapter(run(tmp_path / "c", {"projector": held | {"projector.2.bias": torch.ones(31)}}), **models)


class Hostile:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("true",)


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="system, which could run code"):
        read_checkpoint(run(tmp_path / "run", {"projector": {"projector.0.weight": Hostile()}}))


def test_the_key_table_writes_what_it_reads() -> None:
    for name in ("projector.projector.0.weight", "llm_backbone.llm.model.norm.weight"):
        assert KEYS.theirs(str(KEYS.ours(name))) == name
