"""Checkpoints of the LLaVA code base (Liu et al., 2023, https://github.com/haotian-liu/LLaVA), versions 1.0 to 1.6.

Three forms: ``mm_projector.bin`` of stage 1; a LoRA run with ``adapter_model`` and ``non_lora_trainables.bin``; and a
whole model, of which the projector is taken and the LLM is compared with that of the backbone.
``config.json`` names the vision tower, its layer, and the way in which a picture becomes a square or tiles.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.templates.llava import VICUNA_SYSTEM
from inlay.adapters.convert.imported import Imported, Models, PartSizes, part_tensors
from inlay.adapters.convert.keys import KeyTable
from inlay.adapters.convert.lora_files import CONFIG, read_lora
from inlay.adapters.convert.source import ConvertError, Source, Tensors
from inlay.adapters.media.tiling.anyres import AnyRes
from inlay.hub.safety.text import shown

__all__ = ["KEYS", "anyres", "matches", "read"]

PROJECTOR, BESIDE_LORA = "mm_projector.bin", "non_lora_trainables.bin"

KEYS = KeyTable(
    (
        ("model.mm_projector.{n}.{leaf}", "inputs.image.layers.{n}.{leaf}"),
        ("model.mm_projector.{leaf}", "inputs.image.layer.{leaf}"),
        ("model.image_newline", "inputs.image.newline.row"),
        ("model.vision_tower.vision_tower.vision_model.{rest*}", "backbone.image.{rest}"),
        ("model.{rest*}", "backbone.llm.model.{rest}"),
        ("lm_head.weight", "backbone.llm.lm_head.weight"),
    ),
    ignored={
        "{rest*}.rotary_emb.inv_freq": "constants of the rotary embedding",
        "{rest*}.position_ids": "position numbers",
    },
    prefixes=("", "base_model.model."),
)
"""Names in all three forms; those of a LoRA run have PEFT's prefix."""


def matches(source: Source) -> bool:
    """Whether a source is one of the three forms."""
    if source.path.is_file():
        return source.path.name in (PROJECTOR, BESIDE_LORA)
    return source.has(PROJECTOR, BESIDE_LORA) is not None or "mm_vision_tower" in source.config


def read(source: Source, template: str | None) -> Imported:
    """Read a checkpoint.

    Args:
        source: file or folder.
        template: the template of the conversations; if not given, ``plain`` for a projector of stage 1, otherwise
            ``vicuna_v1``.

    Raises:
        ConvertError: a setting or a tensor that cannot be converted.
    """
    config = source.config
    if not config:
        raise ConvertError(f"{source}: expected the config.json of the run in the same folder, for layer and geometry")
    if config.get("mm_use_im_start_end"):
        raise ConvertError(
            f"{source}: mm_use_im_start_end: checkpoints with <im_start> and <im_end> around each picture cannot be "
            "converted, since no template has these tokens"
        )
    lora, adapter_config, weights = None, dict[str, Any](), _weights(source)
    if source.path.is_dir() and source.has(CONFIG):
        lora, adapter_config = read_lora(source)
    elif source.path.name == BESIDE_LORA:
        raise ConvertError(f"{source}: give the folder of the LoRA run; this file is its projector alone")
    renamed = KEYS.rename(weights, source)
    tensors, frozen = part_tensors(weights, renamed)
    ignored = dict(renamed.ignored)
    projector = _projector(config, tensors, source)
    tiling, geometry = _pictures(config, source)
    if (tiling is None) != ("inputs.image.newline.row" not in tensors):
        if tiling is not None:
            raise ConvertError(f"{source}: image_newline is missing, which image_aspect_ratio 'anyres' needs")
        del tensors["inputs.image.newline.row"]
        ignored["image_newline, which only anyres uses"] = 1
    aligned = bool(config.get("tune_mm_mlp_adapter")) and lora is None
    chosen = template or ("plain" if aligned else "vicuna_v1")
    layout = Layout.published(
        chosen,
        system=VICUNA_SYSTEM if chosen == "vicuna_v1" else "",
        geometry={"image": geometry},
        **({} if tiling is None else {"tiling": tiling}),
    )
    named = adapter_config.get("base_model_name_or_path") or (config.get("_name_or_path") if aligned else None)
    return Imported(
        system="llava",
        layout=layout,
        models=Models(
            llm=str(named) if named else None,
            image=str(config["mm_vision_tower"]) if config.get("mm_vision_tower") else None,
            image_options={"layer": _layer(config, source), "class_token": _class_token(config, source)},
        ),
        inputs={"image": projector},
        tensors=tensors,
        lora=lora,
        frozen=frozen,
        ignored=ignored,
    )


def _weights(source: Source) -> Tensors:
    """The tensors of the file with the projector, or of the whole model."""
    if source.path.is_file():
        return source.weights
    if source.has(CONFIG) and not source.has(BESIDE_LORA):
        raise ConvertError(
            f"{source}: a LoRA run of LLaVA without {BESIDE_LORA}, which holds its projector. Trainer checkpoints "
            "(checkpoint-*) of some forks do not have it; take the folder that the run wrote at its end, or give the "
            "LoRA alone: --format peft"
        )
    # non_lora_trainables.bin has the projector of a LoRA run, mm_projector.bin that of stage 1.
    name = source.has(BESIDE_LORA) if source.has(CONFIG) else source.has(PROJECTOR)
    return source.weights if name is None else Tensors.of_file(name)


def _projector(config: Mapping[str, Any], tensors: Mapping[str, Tensor], source: Source) -> PartSizes:
    """Kind and sizes of the projector, by the config and the tensors, which must agree."""
    kind = config.get("mm_projector_type", "linear")
    found = re.fullmatch(r"mlp([1-9])x_gelu", str(kind))
    if kind != "linear" and found is None:
        raise ConvertError(f"{source}: mm_projector_type: expected linear or mlp2x_gelu, got {shown(kind)}")
    depth = 1 if found is None else int(found[1])
    # LLaVA's code puts the linear of "mlp1x_gelu" into a sequence, that of "linear" not.
    first = "inputs.image.layer.weight" if found is None else "inputs.image.layers.0.weight"
    if first not in tensors or tensors[first].dim() != 2:
        held = ", ".join(sorted(tensors)) or "none"
        raise ConvertError(f"{source}: expected a projector of type {kind}, whose first matrix is missing; got {held}")
    width_out, width_in = tensors[first].shape
    sizes = {"width_in": width_in, "width_out": width_out}
    return ("linear", sizes) if found is None else ("mlp", {**sizes, "depth": depth})


def _pictures(config: Mapping[str, Any], source: Source) -> tuple[str | None, Any]:
    """Tiling rule and geometry of pictures."""
    ratio = config.get("image_aspect_ratio") or "square"
    if ratio in ("pad", "square"):
        return None, {"pad": "pad", "square": "crop"}[ratio]
    if ratio != "anyres":
        raise ConvertError(f"{source}: image_aspect_ratio: expected square, pad or anyres, got {shown(ratio)}")
    merge = config.get("mm_patch_merge_type", "flat")
    if merge != "spatial_unpad":
        raise ConvertError(f"{source}: mm_patch_merge_type: expected spatial_unpad with anyres, got {shown(merge)}")
    return anyres(config.get("image_grid_pinpoints"), source, transposed=True), "crop"


def anyres(points: Any, source: Source, *, transposed: bool, side: int | None = None) -> str:
    """The tiling rule of a list of canvases in pixels.

    Args:
        points: pairs of sizes, or their text.
        source: the checkpoint, for errors.
        transposed: whether a pair is (width, height), as in LLaVA's code, and not (height, width).
        side: the side of a tile in pixels; the smallest size in the list if not given.
    """
    numbers = [int(text) for text in re.findall(r"\d+", str(points))]
    side = side or min(numbers, default=0)
    if not numbers or len(numbers) % 2 or any(number % side for number in numbers):
        raise ConvertError(
            f"{source}: image_grid_pinpoints: expected pairs of sizes in multiples of a tile, got {shown(points)}"
        )
    pairs = [(a // side, b // side) for a, b in zip(numbers[::2], numbers[1::2], strict=True)]
    canvases = tuple((rows, columns) for columns, rows in pairs) if transposed else tuple(pairs)
    return AnyRes(canvases).text


def _layer(config: Mapping[str, Any], source: Source) -> int:
    layer = config.get("mm_vision_select_layer")
    if type(layer) is not int:
        raise ConvertError(f"{source}: mm_vision_select_layer: expected a number such as -2, got {shown(layer)}")
    return layer


def _class_token(config: Mapping[str, Any], source: Source) -> str:
    chosen = config.get("mm_vision_select_feature", "patch")
    if chosen not in ("patch", "cls_patch"):
        raise ConvertError(f"{source}: mm_vision_select_feature: expected patch or cls_patch, got {shown(chosen)}")
    return {"patch": "drop", "cls_patch": "keep"}[chosen]
