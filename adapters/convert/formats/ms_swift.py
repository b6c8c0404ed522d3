"""ms-swift's ``lora_llm`` runs (https://github.com/modelscope/ms-swift): LoRA on the LLM, other modules in full.

A PEFT folder with ``vit.safetensors``, which contains the projector, and the vision tower if it was trained. The
base model is a LLaVA folder of transformers; names are those of its parameters in memory, which changed with 4.52.
"""

from __future__ import annotations

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.convert.imported import Imported, Models, part_tensors
from inlay.adapters.convert.keys import KeyTable
from inlay.adapters.convert.lora_files import CONFIG, read_lora
from inlay.adapters.convert.source import Source, Tensors

__all__ = ["KEYS", "matches", "read"]

VISION = "vit.safetensors"
KEYS = KeyTable(
    (
        ("multi_modal_projector.linear_1.{leaf}", "inputs.image.layers.0.{leaf}"),
        ("multi_modal_projector.linear_2.{leaf}", "inputs.image.layers.2.{leaf}"),
        ("vision_tower.vision_model.{rest*}", "backbone.image.{rest}"),
        ("vision_tower.{rest*}", "backbone.image.{rest}"),
    ),
    prefixes=("base_model.model.model.", "base_model.model."),
)
"""Prefixes of transformers since 4.52, and before."""


def matches(source: Source) -> bool:
    """Whether a folder contains a LoRA and the other trained modules."""
    return source.path.is_dir() and source.has(CONFIG) is not None and source.has(VISION) is not None


def read(source: Source, template: str | None) -> Imported:
    """Read a folder; :func:`~inlay.adapters.convert.on_base.on_base` adds the other parts of the base model.

    Args:
        source: the folder.
        template: the template of the conversations; that of the base model if not given.

    Raises:
        ConvertError: a kind of LoRA that inlay does not compute, or a tensor that the format does not have.
    """
    lora, config = read_lora(source)
    weights = Tensors.of_file(source.folder / VISION)
    renamed = KEYS.rename(weights, source.folder / VISION)
    tensors, frozen = part_tensors(weights, renamed)
    named = config.get("base_model_name_or_path")
    return Imported(
        system="llava",
        layout=Layout.published(template or "vicuna_v1"),
        models=Models(llm=str(named) if named else None),
        tensors=tensors,
        lora=lora,
        frozen=frozen,
        ignored=renamed.ignored,
    )
