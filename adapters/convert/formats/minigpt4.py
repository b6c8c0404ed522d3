"""MiniGPT-4 (Zhu et al., 2023, https://github.com/Vision-CAIR/MiniGPT-4): one linear layer in a ``.pth`` file.

In the Vicuna versions (7B and 13B) it follows the frozen Q-Former of BLIP-2's Flan-T5-XXL checkpoint, which is part of
the image encoder here. The LLaMA-2 version joins four neighbouring patches of 1408 values; it is recognised by that
width, or by its template.
"""

from __future__ import annotations

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.convert.imported import Imported, Models, PartSizes, part_tensors
from inlay.adapters.convert.keys import KeyTable
from inlay.adapters.convert.source import ConvertError, Source

__all__ = ["KEYS", "matches", "read"]

KEYS = KeyTable((("llama_proj.{leaf}", "inputs.image.layer.{leaf}"),))
"""The trained layer, the only one that MiniGPT-4 saves."""

_MERGED, _MERGE = 5632, 4
_LLAMA2 = "minigpt4_llama2"


def matches(source: Source) -> bool:
    """Whether a file contains this layer and no other part."""
    if not source.path.is_file() or source.path.suffix not in (".pth", ".pt"):
        return False
    return bool(source.weights) and all(name.startswith("llama_proj.") for name in source.weights)


def read(source: Source, template: str | None) -> Imported:
    """Read a file.

    Args:
        source: the file.
        template: the template of the conversations; if not given, ``minigpt4`` or ``minigpt4_llama2`` by the width of
            the layer.

    Raises:
        ConvertError: a tensor that cannot be converted.
    """
    renamed = KEYS.rename(source.weights, source)
    tensors, _ = part_tensors(source.weights, renamed)
    weight = tensors.get("inputs.image.layer.weight")
    if weight is None or weight.dim() != 2:
        raise ConvertError(f"{source}: expected the matrix llama_proj.weight, which is missing or is no matrix")
    width_out, width_in = weight.shape
    merged = template == _LLAMA2 or (template is None and width_in == _MERGED)
    sizes: PartSizes = ("linear", {"width_in": width_in, "width_out": width_out})
    if merged:
        sizes = ("patch_merge", {"width_in": width_in // _MERGE, "width_out": width_out, "merge": _MERGE})
    name = template or (_LLAMA2 if merged else "minigpt4")
    return Imported(
        system="minigpt4",
        layout=Layout.published(name, geometry={"image": "squash"}),
        models=Models(qformer=not merged),
        inputs={"image": sizes},
        tensors=tensors,
        ignored=renamed.ignored,
    )
