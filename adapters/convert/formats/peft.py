"""A LoRA folder of PEFT (https://github.com/huggingface/peft) on a language model, or on a LLaVA or BLIP-2 folder.

If the base model is a multimodal folder, the adapter also has the projector of that folder.
"""

from __future__ import annotations

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.convert.imported import Imported, Models
from inlay.adapters.convert.lora_files import CONFIG, read_lora
from inlay.adapters.convert.source import Source

__all__ = ["matches", "read"]


def matches(source: Source) -> bool:
    """Whether a folder contains a LoRA."""
    return source.path.is_dir() and source.has(CONFIG) is not None


def read(source: Source, template: str | None) -> Imported:
    """Read a folder.

    Args:
        source: the folder.
        template: the template of the conversations; ``chat``, the language model's own, if not given.

    Raises:
        ConvertError: a kind of LoRA that inlay does not compute, or a tensor that does not belong to a LoRA.
    """
    lora, config = read_lora(source)
    named = config.get("base_model_name_or_path")
    return Imported(
        system="lora",
        layout=Layout.published(template or "chat"),
        models=Models(llm=str(named) if named else None),
        lora=lora,
    )
