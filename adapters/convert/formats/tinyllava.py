"""TinyLLaVA Factory (Jia et al., 2024, https://arxiv.org/abs/2405.11788): folders with its ``config.json``.

Three forms: a run with one file for each of ``connector/``, ``language_model/`` and ``vision_tower/``; such a run with
a LoRA; and a whole model in ``model.safetensors``. The connector is the adapter's projector.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.templates.llava import VICUNA_SYSTEM
from inlay.adapters.convert.imported import Imported, Models, PartSizes, part_tensors
from inlay.adapters.convert.keys import KeyTable, Renamed
from inlay.adapters.convert.lora_files import CONFIG, read_lora
from inlay.adapters.convert.source import ConvertError, Joined, Source, Tensors
from inlay.hub.format.manifest import Geometry
from inlay.hub.safety.text import shown

__all__ = ["KEYS", "matches", "read"]

KEYS = KeyTable(
    (
        ("connector._connector.{n}.{leaf}", "inputs.image.layers.{n}.{leaf}"),
        ("connector._connector.{leaf}", "inputs.image.layer.{leaf}"),
        ("language_model.{rest*}", "backbone.llm.{rest}"),
        ("vision_tower._vision_tower.vision_model.{rest*}", "backbone.image.{rest}"),
        ("vision_tower._vision_tower.{rest*}", "backbone.image.{rest}"),
    ),
    ignored={
        "{rest*}.rotary_emb.inv_freq": "constants of the rotary embedding",
        "{rest*}.position_ids": "position numbers",
    },
)
"""Names in the whole model; the names in the file of a module have the module's name as prefix."""

_FILES = {
    "connector/pytorch_model.bin": "connector.",
    "language_model/pytorch_model.bin": "language_model.",
    "vision_tower/pytorch_model.bin": "vision_tower._vision_tower.",
}
"""File of a run -> prefix of its names in the whole model."""
_GEOMETRIES: dict[str, Geometry] = {"pad": "pad", "square": "crop"}


def matches(source: Source) -> bool:
    """Whether a folder has TinyLLaVA's config."""
    return source.path.is_dir() and source.config.get("model_type") in ("tinyllava", "tiny_llava")


def read(source: Source, template: str | None) -> Imported:
    """Read a folder; of language model and vision tower only the names are read.

    Args:
        source: the folder.
        template: the template of the conversations; if not given, ``plain`` for a connector of the first stage,
            otherwise ``vicuna_v1``.

    Raises:
        ConvertError: a setting or a tensor that cannot be converted.
    """
    config = source.config
    lora = read_lora(source)[0] if source.has(CONFIG) else None
    files = {prefix: Tensors.of_file(path) for name, prefix in _FILES.items() if (path := source.has(name))}
    if files and "connector." not in files:
        raise ConvertError(f"{source}: connector/pytorch_model.bin is missing, which holds the projector")
    weights: Mapping[str, Tensor] = Joined(files) if files else source.weights
    # The files of a run use PEFT's name for the matrix inside a LoRA layer.
    stored = {name.replace(".base_layer.", "."): name for name in weights}
    renamed = KEYS.rename(stored, source)
    names = {own: stored[name] for own, name in renamed.names.items()}
    tensors, frozen = part_tensors(weights, Renamed(names, renamed.ignored))
    aligned = lora is None and bool(files) and config.get("tune_type_llm", "frozen") == "frozen"
    chosen = template or ("plain" if aligned else "vicuna_v1")
    return Imported(
        system="llava",
        layout=Layout.published(
            chosen, system=VICUNA_SYSTEM if chosen == "vicuna_v1" else "", geometry={"image": _geometry(source)}
        ),
        models=Models(
            llm=config.get("llm_model_name_or_path") or None,
            image=config.get("vision_model_name_or_path") or None,
            image_options={"layer": _layer(source), "class_token": _class_token(source)},
        ),
        inputs={"image": _projector(source, tensors)},
        tensors=tensors,
        lora=lora,
        frozen=frozen,
        ignored=renamed.ignored,
    )


def _projector(source: Source, tensors: Mapping[str, Tensor]) -> PartSizes:
    """Kind and sizes of the connector, by the config and the tensors, which must agree."""
    kind = source.config.get("connector_type")
    found = re.fullmatch(r"mlp([1-9])x_gelu", str(kind))
    if kind != "linear" and found is None:
        raise ConvertError(f"{source}: connector_type: expected linear or mlp2x_gelu, got {shown(kind)}")
    first = "inputs.image.layer.weight" if found is None else "inputs.image.layers.0.weight"
    if first not in tensors or tensors[first].dim() != 2:
        held = ", ".join(sorted(tensors)) or "none"
        raise ConvertError(f"{source}: expected a connector of type {kind}, whose first matrix is missing; got {held}")
    width_out, width_in = tensors[first].shape
    sizes = {"width_in": width_in, "width_out": width_out}
    return ("linear", sizes) if found is None else ("mlp", {**sizes, "depth": int(found[1])})


def _geometry(source: Source) -> Geometry:
    ratio = source.config.get("image_aspect_ratio", "square")
    if ratio not in _GEOMETRIES:
        raise ConvertError(f"{source}: image_aspect_ratio: expected square or pad, got {shown(ratio)}")
    return _GEOMETRIES[ratio]


def _layer(source: Source) -> int:
    layer = source.config.get("vision_feature_layer", -2)
    if type(layer) is not int:
        raise ConvertError(f"{source}: vision_feature_layer: expected a number such as -2, got {shown(layer)}")
    return layer


def _class_token(source: Source) -> str:
    chosen = source.config.get("vision_feature_select_strategy", "patch")
    kinds = {"patch": "drop", "cls_patch": "keep"}  # "patch" drops the first feature, also SigLIP's first patch
    if chosen not in kinds:
        raise ConvertError(
            f"{source}: vision_feature_select_strategy: expected patch or cls_patch, got {shown(chosen)}"
        )
    return kinds[chosen]
