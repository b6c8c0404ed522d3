"""BLIP-2 and InstructBLIP of LAVIS (https://github.com/salesforce/LAVIS): ``.pth`` files of stage 1, stage 2 and later.

LAVIS saves the trained tensors only, so a file of stage 2 is an adapter: Q-Former, query tokens, ``ln_vision`` and the
linear layer to the LLM. A file of stage 1 does not have this layer, which is initialised randomly in stage 2 and here.
Its text branch, heads and temperature are used in stage 1 only. A vision tower or an LLM in the file is compared with
the backbone's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.convert.formats.qformer_sizes import INSTRUCT, PLAIN, qformer_sizes
from inlay.adapters.convert.imported import Imported, Models, part_tensors
from inlay.adapters.convert.keys import KeyTable
from inlay.adapters.convert.source import Source

__all__ = ["BLIP2_KEYS", "INSTRUCTBLIP_KEYS", "VISION_KEYS", "matches", "read"]

VISION_KEYS = (
    ("visual_encoder.cls_token", "backbone.image.embeddings.class_embedding"),
    ("visual_encoder.pos_embed", "backbone.image.embeddings.position_embedding"),
    ("visual_encoder.patch_embed.proj.{leaf}", "backbone.image.embeddings.patch_embedding.{leaf}"),
    ("visual_encoder.blocks.{n}.norm1.{leaf}", "backbone.image.encoder.layers.{n}.layer_norm1.{leaf}"),
    ("visual_encoder.blocks.{n}.norm2.{leaf}", "backbone.image.encoder.layers.{n}.layer_norm2.{leaf}"),
    ("visual_encoder.blocks.{n}.attn.qkv.{leaf}", "backbone.image.encoder.layers.{n}.self_attn.qkv.{leaf}"),
    ("visual_encoder.blocks.{n}.attn.q_bias", "backbone.image.encoder.layers.{n}.self_attn.q_bias"),
    ("visual_encoder.blocks.{n}.attn.v_bias", "backbone.image.encoder.layers.{n}.self_attn.v_bias"),
    ("visual_encoder.blocks.{n}.attn.proj.{leaf}", "backbone.image.encoder.layers.{n}.self_attn.projection.{leaf}"),
    ("visual_encoder.blocks.{n}.mlp.{leaf*}", "backbone.image.encoder.layers.{n}.mlp.{leaf}"),
)
"""Names of EVA ViT-g in LAVIS -> in transformers, which joins the three biases of attention."""

_STAGE_1 = "of stage 1 alone"
_BRANCH = "text branch of stage 1, which BLIP-2 does not use with a language model"


def _keys(start: str, ignored: Mapping[str, str]) -> KeyTable:
    """The key table of both models; ``start`` is the prefix of our Q-Former's names."""
    norm = "model.layernorm" if start == PLAIN else "model.embeddings.layernorm"
    layer, ours = "Qformer.bert.encoder.layer.{n}.", f"{start}model.encoder.layer.{{n}}."
    return KeyTable(
        (
            ("query_tokens", f"{start}query_tokens"),
            ("ln_vision.{leaf}", f"{start}ln_vision.{{leaf}}"),
            ("Qformer.bert.embeddings.LayerNorm.{leaf}", f"{start}{norm}.{{leaf}}"),
            ("Qformer.bert.embeddings.{rest*}", f"{start}model.embeddings.{{rest}}"),
            (f"{layer}attention.self.{{rest*}}", f"{ours}attention.attention.{{rest}}"),
            (f"{layer}crossattention.self.{{rest*}}", f"{ours}crossattention.attention.{{rest}}"),
            (f"{layer}{{rest*}}", f"{ours}{{rest}}"),
            *((f"{name}_proj.{{leaf}}", "inputs.image.projection.{leaf}") for name in ("opt", "t5", "llm")),
            *((f"{name}_model.{{rest*}}", "backbone.llm.{rest}") for name in ("opt", "t5", "llm")),
            *VISION_KEYS,
        ),
        ignored={
            "Qformer.cls.{rest*}": _STAGE_1,
            "vision_proj.{rest*}": _STAGE_1,
            "text_proj.{rest*}": _STAGE_1,
            "itm_head.{rest*}": _STAGE_1,
            "temp": _STAGE_1,
            "Qformer.bert.embeddings.position_ids": "position numbers",
            **ignored,
        },
    )


BLIP2_KEYS = _keys(
    PLAIN,
    {
        "Qformer.bert.embeddings.word_embeddings.{rest*}": _BRANCH,
        "Qformer.bert.embeddings.position_embeddings.{rest*}": _BRANCH,
        "Qformer.bert.encoder.layer.{n}.intermediate.{rest*}": _BRANCH,
        "Qformer.bert.encoder.layer.{n}.output.{rest*}": _BRANCH,
    },
)
INSTRUCTBLIP_KEYS = _keys(INSTRUCT, {})


def matches(source: Source) -> bool:
    """Whether a file contains a Q-Former of LAVIS."""
    if not source.path.is_file() or source.path.suffix not in (".pth", ".pt", ".bin"):
        return False
    return "query_tokens" in source.weights and any(name.startswith("Qformer.bert.") for name in source.weights)


def read(source: Source, template: str | None) -> Imported:
    """Read a file.

    Args:
        source: the file.
        template: the template of the conversations; ``blip2`` or ``instructblip`` if not given.

    Raises:
        ConvertError: a tensor that cannot be converted.
    """
    names = set(source.weights)
    reads_text = "Qformer.bert.embeddings.word_embeddings.weight" in names
    stage_1 = not any(f"{name}_proj.weight" in names for name in ("opt", "t5", "llm"))
    instruct = reads_text and not stage_1
    keys, start = (INSTRUCTBLIP_KEYS, INSTRUCT) if instruct else (BLIP2_KEYS, PLAIN)
    renamed = keys.rename(names, source)
    tensors, frozen = part_tensors(source.weights, renamed)
    sizes: dict[str, Any] = {**qformer_sizes(tensors, start, source), "norm_eps": 1e-5}
    name = "instructblip" if instruct else "blip2"
    if "image" in frozen:
        frozen["image"] = _JoinedBiases(frozen["image"])
    return Imported(
        system=name,
        layout=Layout.published(template or name, geometry={"image": "squash"}),
        models=Models(),
        inputs={"image": ("instruct_qformer" if instruct else "qformer", sizes)},
        tensors=tensors,
        fresh=("inputs.image.projection.",) if stage_1 else (),
        frozen=frozen,
        ignored=renamed.ignored,
    )


class _JoinedBiases(Mapping[str, Tensor]):
    """A vision tower of LAVIS whose biases of queries and values are one tensor, with zeros for the keys."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors

    def __getitem__(self, name: str) -> Tensor:
        start = name.removesuffix("qkv.bias")
        if start == name or name in self._tensors:
            return self._tensors[name]
        query, value = self._tensors[f"{start}q_bias"], self._tensors[f"{start}v_bias"]
        return torch.cat([query, torch.zeros_like(query), value])

    def __iter__(self) -> Iterator[str]:
        for name in self._tensors:
            if not name.endswith("v_bias"):
                yield name.replace(".q_bias", ".qkv.bias")

    def __len__(self) -> int:
        return sum(not name.endswith("v_bias") for name in self._tensors)
