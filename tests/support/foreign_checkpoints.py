"""Tiny checkpoints in the published layouts of other code bases, with the model whose forward pass is the reference."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
)

from inlay.adapters.adapter import Adapter
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart

__all__ = [
    "LAYOUTS",
    "VICUNA_CHAT",
    "attached",
    "clip_folder",
    "hf_llava",
    "hf_llava_folder",
    "llama_folder",
    "llava_config",
    "logits_differ",
    "original_llava",
    "relaid",
    "rows",
]

SIDE = 16
VISION = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": SIDE,
    "patch_size": 8,
}
PINPOINTS = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE], [3 * SIDE, SIDE], [SIDE, 3 * SIDE]]
VICUNA_CHAT = (
    "{% for m in messages %}{{ m['role'].upper() + ': ' }}"
    "{% for c in m['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for c in m['content'] | selectattr('type', 'equalto', 'text') %}{{ c['text'] + ' ' }}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
"""The chat template of llava-1.5-7b-hf."""

LAYOUTS: dict[str, tuple[tuple[str, str], ...]] = {
    "4.51": (
        (r"^vision_tower\.(?!vision_model\.)", "vision_tower.vision_model."),
        (r"^model\.multi_modal", "multi_modal"),
    ),
    "4.52": (
        (r"^language_model\.model\.", "model.language_model."),
        (r"^language_model\.lm_head\.", "lm_head."),
        (r"^vision_tower\.(?:vision_model\.)?", "model.vision_tower.vision_model."),
        (r"^multi_modal_projector\.", "model.multi_modal_projector."),
        (r"^image_newline$", "model.image_newline"),
    ),
    "5": (),
}
"""Version of transformers -> renames of what this version writes."""


def attached(found: Any, bundle: Path) -> Any:
    """The model of an imported adapter that went through a bundle."""
    found.adapter.save_pretrained(bundle, dtype=found.dtype)
    return Adapter.from_pretrained(bundle).eval().attach(found.backbone, strict=True)


def hf_llava(tokenizer: Any, *, tiled: bool = False, seed: int = 0) -> Any:
    """A random LLaVA of transformers: CLIP of three layers and LLaMA of two."""
    torch.manual_seed(seed)
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    fields: dict[str, Any] = {
        "vision_config": CLIPVisionConfig(**VISION),
        "text_config": text,
        "image_token_index": tokenizer.convert_tokens_to_ids("<image>"),
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
    }
    if tiled:
        return LlavaNextForConditionalGeneration(LlavaNextConfig(**fields, image_grid_pinpoints=PINPOINTS)).eval()
    return LlavaForConditionalGeneration(LlavaConfig(**fields, image_seq_length=4)).eval()


def hf_llava_folder(folder: Path, model: Any, tokenizer: Any, layout: str = "5", chat: str = VICUNA_CHAT) -> Path:
    """The model as transformers of a version saves it, with tokenizer, image processor and chat template."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _processor().save_pretrained(folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": chat}))
    relaid(folder / "model.safetensors", LAYOUTS[layout])
    return folder


def llama_folder(folder: Path, model: Any, tokenizer: Any) -> Path:
    """The language model of a LLaVA of transformers as a folder of its own."""
    language = LlamaForCausalLM(model.config.text_config)
    language.model.load_state_dict(model.model.language_model.state_dict())
    language.lm_head.load_state_dict(model.lm_head.state_dict())
    language.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def clip_folder(folder: Path, model: Any) -> Path:
    """The vision tower of a LLaVA of transformers as a folder of its own."""
    tower = CLIPVisionModel(model.config.vision_config)
    tower.load_state_dict(model.model.vision_tower.state_dict())
    tower.save_pretrained(folder)
    _processor().save_pretrained(folder)
    return folder


def _processor() -> CLIPImageProcessorPil:
    return CLIPImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, do_center_crop=True
    )


def relaid(path: Path, renames: tuple[tuple[str, str], ...]) -> None:
    """The file with other names of its tensors."""
    renamed = {}
    for name, tensor in load_file(path).items():
        for pattern, target in renames:
            name = re.sub(pattern, target, name)
        renamed[name] = tensor
    save_file(renamed, path, {"format": "pt"})


def llava_config(**changes: Any) -> dict[str, Any]:
    """The fields of a config.json of LLaVA's code base that describe the vision side."""
    return {
        "model_type": "llava",
        "mm_projector_type": "mlp2x_gelu",
        "mm_vision_tower": "openai/clip-vit-large-patch14-336",
        "mm_vision_select_layer": -2,
        "mm_vision_select_feature": "patch",
        "mm_use_im_start_end": False,
        "mm_use_im_patch_token": False,
        "image_aspect_ratio": "pad",
        **changes,
    }


def original_llava(model: Any) -> dict[str, Tensor]:
    """The tensors of a LLaVA of transformers under the names of LLaVA's code base."""
    state = model.model.multi_modal_projector.state_dict()
    names = {"linear_1": "0", "linear_2": "2"}
    return {
        f"model.mm_projector.{names[name.partition('.')[0]]}.{name.partition('.')[2]}": tensor.clone()
        for name, tensor in state.items()
    }


def rows(image_of: Any, sizes: tuple[tuple[int, int], ...] = ((20, 14), (31, 50))) -> list[tuple[Message, ...]]:
    """A conversation without a picture, and two about one each."""
    answer = Message("assistant", (TextPart("two of them"),))
    pictures = [MediaPart("image", image_of(seed, size)) for seed, size in enumerate(sizes)]
    return [
        (Message("user", (TextPart("what colour is the circle?"),)), answer),
        *((Message("user", (picture, TextPart("how many squares are there?"))), answer) for picture in pictures),
    ]


def logits_differ(model: Any, reference: Any, batch: Any, **more: Any) -> float:
    """The largest difference between our logits and those of a model of transformers with its own encoder."""
    ids = batch.ids.clone()
    ids[batch.slots] = reference.config.image_token_index
    inputs: Mapping[str, Any] = {"pixel_values": batch.inputs.get("image"), **more}
    with torch.no_grad():
        ours = model(batch, logits="all").logits
        theirs = reference(input_ids=ids, attention_mask=batch.mask, **inputs).logits
    return float((ours - theirs).abs()[batch.mask.bool()].max())
