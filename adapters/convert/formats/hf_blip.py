"""BLIP-2 and InstructBLIP as transformers stores them: ``Blip2``, ``InstructBlipForConditionalGeneration``.

Li et al., 2023, https://arxiv.org/abs/2301.12597; Dai et al., 2023, https://arxiv.org/abs/2305.06500. Q-Former, query
tokens, projection and the vision model's ``post_layernorm`` are the adapter; vision model and LLM stay in the folder.
"""

from __future__ import annotations

from typing import Any

from inlay.adapters.convert.formats.qformer_sizes import INSTRUCT, PLAIN, qformer_sizes
from inlay.adapters.convert.imported import Imported, Models, part_tensors
from inlay.adapters.convert.keys import KeyTable
from inlay.adapters.convert.processor_files import geometry_of, layout_of
from inlay.adapters.convert.source import ConvertError, Source
from inlay.hub.safety.text import shown

__all__ = ["BLIP2_KEYS", "INSTRUCTBLIP_KEYS", "matches", "read"]


def _keys(start: str) -> KeyTable:
    """The key table of both models; ``start`` is the prefix of our Q-Former's names."""
    return KeyTable(
        (
            ("query_tokens", f"{start}query_tokens"),
            ("vision_model.post_layernorm.{leaf}", f"{start}ln_vision.{{leaf}}"),
            ("qformer.{rest*}", f"{start}model.{{rest}}"),
            ("language_projection.{leaf}", "inputs.image.projection.{leaf}"),
            ("vision_model.{rest*}", "backbone.image.{rest}"),
            ("language_model.{rest*}", "backbone.llm.{rest}"),
        ),
        ignored={"qformer.embeddings.position_ids": "position numbers"},
        prefixes=("", "model."),
    )


BLIP2_KEYS = _keys(PLAIN)
INSTRUCTBLIP_KEYS = _keys(INSTRUCT)

_QFORMER = {"hidden_act": "gelu", "layer_norm_eps": 1e-12}
"""Settings of BERT that are fixed in our Q-Formers."""


def matches(source: Source) -> bool:
    """Whether a folder contains one of the two models."""
    return source.path.is_dir() and source.config.get("model_type") in ("blip-2", "instructblip")


def read(source: Source, template: str | None) -> Imported:
    """Read a folder; only files with tensors of the adapter are opened.

    Args:
        source: the folder.
        template: the template of the conversations; ``blip2`` or ``instructblip`` if not given.

    Raises:
        ConvertError: a setting or a tensor that cannot be converted.
    """
    config = source.config
    instruct = config["model_type"] == "instructblip"
    former: dict[str, Any] = config.get("qformer_config") or {}
    for field, expected in _QFORMER.items():
        if (value := former.get(field, expected)) != expected:
            raise ConvertError(f"{source}: qformer_config.{field}: expected {expected}, got {shown(value)}")
    if former.get("use_qformer_text_input"):
        raise ConvertError(
            f"{source}: qformer_config.use_qformer_text_input: a model for retrieval has no language model, so "
            "it has no adapter; convert a Blip2ForConditionalGeneration"
        )
    keys, start = (INSTRUCTBLIP_KEYS, INSTRUCT) if instruct else (BLIP2_KEYS, PLAIN)
    renamed = keys.rename(source.weights, source)
    tensors, frozen = part_tensors(source.weights, renamed)
    sizes = qformer_sizes(tensors, start, source)
    sizes["heads"] = former.get("num_attention_heads", 12)
    sizes["dropout"] = former.get("hidden_dropout_prob", 0.1)
    sizes["norm_eps"] = (config.get("vision_config") or {}).get("layer_norm_eps", 1e-6)
    name = "instructblip" if instruct else "blip2"
    return Imported(
        system=name,
        layout=layout_of(source, template or name, geometry={"image": geometry_of(source)}),
        models=Models(
            llm=str(source.path),
            image=str(source.path),
            own=True,
            prompt=str(source.path / "qformer_tokenizer") if instruct else None,
        ),
        inputs={"image": ("instruct_qformer" if instruct else "qformer", sizes)},
        tensors=tensors,
        frozen=frozen,
        ignored=renamed.ignored,
    )
