"""NExT-GPT (Wu et al., 2023, https://github.com/NExT-GPT/NExT-GPT): ``pytorch_model.pt`` of the released weights.

A flat dictionary of the trained tensors: the input projector of all modalities, three output projectors, LoRA on the
attention of Vicuna, and both whole embedding matrices, whose last 38 rows are the new tokens.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.convert.formats.token_matrices import INPUT, OUTPUT, checkpoint_file, llm_pairs, read_trained
from inlay.adapters.convert.imported import Imported, Models, PartSizes
from inlay.adapters.convert.keys import KeyTable
from inlay.adapters.convert.source import ConvertError, Source
from inlay.adapters.llm_parts.token_rows import TokensConfig
from inlay.adapters.media.modality import Modality

__all__ = ["KEYS", "matches", "read"]

_SUFFIXES: dict[Modality, str] = {"image": "", "video": "_video", "audio": "_audio"}
"""Modality -> suffix of the name of its output projector."""
_PARTS = {"fc": "project_in", "tfm": "transformer", "model": "project_out"}

KEYS = KeyTable(
    (
        ("llama_proj.{leaf}", "inputs.image.layer.{leaf}"),
        *(
            (f"gen_text_hidden_fcs{suffix}.0.{theirs}.{{rest*}}", f"outputs.{modality}.{ours}.{{rest}}")
            for modality, suffix in _SUFFIXES.items()
            for theirs, ours in _PARTS.items()
        ),
        *(
            (f"gen_text_hidden_fcs{suffix}.0.query_embs", f"outputs.{modality}.queries")
            for modality, suffix in _SUFFIXES.items()
        ),
        *llm_pairs("llama_model.base_model.model."),
        ("llama_model.model.embed_tokens.weight", INPUT),  # stages 1 and 2, without LoRA
        ("llama_model.lm_head.weight", OUTPUT),
    ),
    prefixes=("", "module."),
)

_ENCODER = {"audio": {"scaled": False, "reach_end": False}, "video": {"reach_end": False}}
"""ImageBind as in NExT-GPT's fork: without the factor on sounds, and with different sampling of clips."""


def matches(source: Source) -> bool:
    """Whether a file, or a folder with ``pytorch_model.pt``, has NExT-GPT's output projectors."""
    if (place := checkpoint_file(source)) is None:
        return False
    return any(name.removeprefix("module.").startswith("gen_text_hidden_fcs") for name in place.weights)


def read(source: Source, template: str | None) -> Imported:
    """Read a file or folder.

    Args:
        source: the file or folder.
        template: the template of the conversations; ``nextgpt`` if not given.

    Raises:
        ConvertError: a tensor that cannot be converted.
    """
    parts = read_trained(source, KEYS, _tokens)
    tensors = parts["tensors"]
    return Imported(
        system="nextgpt",
        layout=Layout.published(template or "nextgpt", geometry={"image": "crop"}),
        models=Models(further={"feature_options": _ENCODER}),
        outputs={modality: _output(tensors, modality, source) for modality in _SUFFIXES if _has(tensors, modality)},
        **parts,
    )


def _tokens(width: int) -> TokensConfig:
    return TokensConfig.numbered(width, other=("<Img>", "</Img>"), image=4, video=24, audio=8)


def _has(tensors: Mapping[str, Tensor], modality: str) -> bool:
    return any(name.startswith(f"outputs.{modality}.") for name in tensors)


def _output(tensors: Mapping[str, Tensor], modality: str, source: Source) -> PartSizes:
    """Sizes of an output projector from its tensors; heads and dropout are the published ones."""
    start = f"outputs.{modality}."
    needed = ("queries", "project_in.weight", "project_out.weight", "transformer.encoder.layers.0.linear1.weight")
    if missing := [name for name in needed if f"{start}{name}" not in tensors]:
        raise ConvertError(f"{source}: output projector of {modality}: {', '.join(missing)} is missing")
    queries, first, last, ffn = (tensors[f"{start}{name}"].shape for name in needed)
    stacks = {
        side: len({name.split(".")[5] for name in tensors if name.startswith(f"{start}transformer.{side}.layers.")})
        for side in ("encoder", "decoder")
    }
    return "transformer", {
        "width_in": first[1],
        "tokens": queries[1],
        "width_out": last[0],
        "hidden": first[0],
        "encoder_layers": stacks["encoder"],
        "decoder_layers": stacks["decoder"],
        "ffn": ffn[0],
    }
