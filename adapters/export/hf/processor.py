"""Everything beside the weights: image processor, tokenizer with ``<image>``, chat template, generation config."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from tokenizers.processors import TemplateProcessing
from transformers import GenerationConfig

from inlay.adapters.conversation.templates.registry import template_named
from inlay.adapters.export.hf.chat_template import IMAGE, chat_template
from inlay.adapters.export.hf.expressible import Kind
from inlay.adapters.export.hf.model_config import pinpoints, strategy
from inlay.adapters.export.request import Request

__all__ = ["export_tokenizer", "stop_tokens", "write_processor"]

_BICUBIC = 3
_PROCESSORS: dict[Kind, str] = {
    "llava": "LlavaProcessor",
    "llava_next": "LlavaNextProcessor",
    "blip2": "Blip2Processor",
    "instructblip": "InstructBlipProcessor",
}


def export_tokenizer(request: Request) -> Any:
    """A copy of the attached tokenizer with ``<image>``, a padding token, and the BOS of the layout."""
    tokenizer = copy.deepcopy(request.backbone.llm.tokenizer)
    if IMAGE not in tokenizer.get_vocab():
        tokenizer.add_tokens([AddedToken(IMAGE, normalized=False, special=True)], special_tokens=True)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    bos, eos = tokenizer.bos_token, tokenizer.eos_token
    swapped = template_named(request.adapter.layout.template).bos_is_eos and (bos, eos) == ("<s>", "</s>")
    if swapped and request.backbone.llm.bos_id is not None:
        # InstructBLIP's authors set </s> as BOS of Vicuna's tokenizer.
        tokenizer.bos_token = eos
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"{eos} $A", pair=f"{eos} $A $B", special_tokens=[(eos, tokenizer.eos_token_id)]
        )
    tokenizer.chat_template = None
    return tokenizer


def write_processor(request: Request, kind: Kind, tokenizer: Any, folder: Path) -> str:
    """Write the files.

    Args:
        request: the export.
        kind: class of the model.
        tokenizer: of :func:`export_tokenizer`.
        folder: where to.

    Returns:
        The chat template.

    Raises:
        ExportError: a layout that a chat template cannot say.
    """
    template = chat_template(request.adapter.layout, request.backbone.llm.tokenizer)
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    _write(folder / "preprocessor_config.json", _image_processor(request, kind))
    _write(folder / "processor_config.json", {"processor_class": _PROCESSORS[kind], **_processor(request, kind)})
    if kind == "instructblip":
        reader = copy.deepcopy(request.backbone.prompter().tokenizer)
        reader.model_max_length = request.adapter.projector("image").config.prompt_tokens
        reader.save_pretrained(folder / "qformer_tokenizer")
    generation: Any = GenerationConfig
    generation(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=stop_tokens(request),
        pad_token_id=tokenizer.pad_token_id,
        **_start(request),
    ).save_pretrained(folder)
    return template


def stop_tokens(request: Request) -> list[int]:
    """The tokens that end an answer in the adapter's layout."""
    end = request.model.turn_end(request.adapter.layout)
    return sorted({*request.backbone.llm.stop_ids, *end.ids})


def _start(request: Request) -> dict[str, Any]:
    """The first token of an encoder-decoder's answer."""
    config: Any = request.backbone.llm.model.config
    start = getattr(config, "decoder_start_token_id", None)
    return {"decoder_start_token_id": start} if config.is_encoder_decoder else {}


def _image_processor(request: Request, kind: Kind) -> dict[str, Any]:
    encoder: Any = request.backbone.encoder("image")
    side = encoder.image_size
    square = {"height": side, "width": side}
    shared = {
        "processor_class": _PROCESSORS[kind],
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "rescale_factor": 1 / 255,
        "resample": _BICUBIC,
        "image_mean": encoder.mean,
        "image_std": encoder.deviation,
    }
    cropped = {"size": {"shortest_edge": side}, "crop_size": square, "do_center_crop": True}
    if kind == "llava_next":
        tiles = {"image_grid_pinpoints": pinpoints(request), "do_pad": True}
        return {"image_processor_type": "LlavaNextImageProcessor", **shared, **cropped, **tiles}
    match request.adapter.layout.geometry_for("image"):
        case "pad":
            return {"image_processor_type": "LlavaImageProcessor", **shared, **cropped, "do_pad": True}
        case "crop":
            return {"image_processor_type": "CLIPImageProcessor", **shared, **cropped}
        case _:
            name = "BlipImageProcessor" if kind in ("blip2", "instructblip") else "CLIPImageProcessor"
            squashed = {"size": square, "crop_size": square, "do_center_crop": False}
            return {"image_processor_type": name, **shared, **squashed}


def _processor(request: Request, kind: Kind) -> dict[str, Any]:
    encoder: Any = request.backbone.encoder("image")
    if kind in ("blip2", "instructblip"):
        return {"num_query_tokens": request.adapter.projector("image").config.queries}
    return {
        "image_token": IMAGE,
        "patch_size": int(encoder.model.config.patch_size),
        "vision_feature_select_strategy": strategy(request),
        # The class token, which "default" takes off again.
        "num_additional_image_tokens": int(encoder.class_token != "none"),
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
