"""A LoRA in PEFT's files, in every layout of names (Hu et al., 2021, https://arxiv.org/abs/2106.09685).

A key is ``base_model.model.<path>.lora_A.weight``. The path depends on the class that was trained and on the version of
transformers: ``language_model.model.layers...`` (LLaVA up to 4.51), ``model.language_model.layers...`` (later) or
``model.layers...`` (the bare LLM). It is converted to the path in the bare LLM, and every tensor must be used. (PEFT
itself leaves ``B = 0`` in a module whose name differs, with a warning at most.)
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from inlay.adapters.convert.imported import Lora
from inlay.adapters.convert.keys import KeyTable
from inlay.adapters.convert.source import ConvertError, Source, Tensors
from inlay.adapters.llm_parts.lora_config import LoraConfig, LoraError
from inlay.adapters.loading.language_part import NAMES_INSIDE
from inlay.hub.safety.text import shown

__all__ = ["LORA_KEYS", "lora_of", "read_lora"]

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")

LORA_KEYS = KeyTable(
    (
        ("{module*}.lora_A.weight", "{module}.A"),
        ("{module*}.lora_B.weight", "{module}.B"),
        ("{module*}.lora_A.default.weight", "{module}.A"),
        ("{module*}.lora_B.default.weight", "{module}.B"),
    ),
    prefixes=("base_model.model.",),
)
"""Names in PEFT's file, and in a state dict in memory, where they contain the adapter's name (``default``)."""

_WITHOUT_EFFECT: tuple[Any, ...] = (None, False, [], {}, "none")
_PLAIN_ONLY = (
    *("bias", "fan_in_fan_out", "lora_bias", "use_dora", "use_qalora", "use_bdlora", "modules_to_save"),
    *("layer_replication", "target_parameters", "trainable_token_indices", "alora_invocation_tokens"),
)
"""Fields that change the computation, or that require further tensors."""
_OTHER_BASE = ("pissa", "olora", "loftq", "corda")
"""Initialisations that change the weights of the base model."""


def read_lora(source: Source) -> tuple[Lora, dict[str, Any]]:
    """The LoRA of a folder, and its ``adapter_config.json``.

    Raises:
        ConvertError: a missing file, a kind of LoRA that inlay does not compute, or a tensor that does not belong to a
            LoRA.
    """
    config = source.json(CONFIG)
    if not config:
        raise ConvertError(f"{source}: expected {CONFIG} next to the weights of the LoRA, found none")
    if (path := source.has(*WEIGHTS)) is None:
        raise ConvertError(f"{source}: expected {' or '.join(WEIGHTS)} next to {CONFIG}, found none")
    return lora_of(Tensors.of_file(path), config, path), config


def lora_of(
    weights: Mapping[str, Tensor], config: Mapping[str, Any], where: object, keys: KeyTable = LORA_KEYS
) -> Lora:
    """The LoRA of these tensors.

    Args:
        weights: name in the file -> tensor.
        config: fields of PEFT's ``adapter_config.json``.
        where: the source, for errors.
        keys: names of the tensors.

    Raises:
        ConvertError: as in :func:`read_lora`.
    """
    _check(config, where)
    halves: dict[str, dict[str, Tensor]] = {"A": {}, "B": {}}
    raw: dict[str, str] = {}
    for own, name in keys.rename(weights, where).names.items():
        module, _, half = own.rpartition(".")
        bare = _bare(module)
        if bare in halves[half]:
            raise ConvertError(f"{where}: {name}: expected one {half} for the LLM's module {bare}, got a second one")
        halves[half][bare] = weights[name]
        raw[bare] = module
    downs, ups = halves["A"], halves["B"]
    if alone := sorted(set(downs) ^ set(ups)):
        raise ConvertError(f"{where}: expected lora_A and lora_B together, got one of them for {', '.join(alone[:5])}")
    if not downs:
        raise ConvertError(f"{where}: expected tensors of a LoRA, found none")
    for module, down in downs.items():
        if down.dim() != 2 or ups[module].dim() != 2 or down.shape[0] != ups[module].shape[1]:
            shapes = f"{list(down.shape)} and {list(ups[module].shape)}"
            raise ConvertError(f"{where}: {module}: expected A [r, in] and B [out, r], got {shapes}")
    return _of_one_rank(downs, ups, raw, config, where)


def _bare(module: str) -> str:
    """The path inside the bare language model."""
    for pattern, target in NAMES_INSIDE.items():
        if (found := re.sub(pattern, target, module)) != module:
            return found
    return module


def _check(config: Mapping[str, Any], where: object) -> None:
    if config.get("peft_type", "LORA") != "LORA":
        raise ConvertError(f"{where}: expected a LoRA, got an adapter of type {shown(config['peft_type'])}")
    for field in _PLAIN_ONLY:
        if config.get(field) not in _WITHOUT_EFFECT:
            raise ConvertError(
                f"{where}: {field}: inlay computes plain LoRA, got {shown(config[field])}; merge this adapter into its "
                "base model with PEFT's merge_and_unload, and give that as --llm"
            )
    started = str(config.get("init_lora_weights", True)).lower()
    if started.startswith(_OTHER_BASE):
        raise ConvertError(
            f"{where}: init_lora_weights: {started!r} changes the weights of the base model; convert it with PEFT's "
            "save_pretrained(..., path_initial_model_for_weight_conversion=...) first"
        )


def _of_one_rank(
    downs: Mapping[str, Tensor],
    ups: Mapping[str, Tensor],
    raw: Mapping[str, str],
    config: Mapping[str, Any],
    where: object,
) -> Lora:
    """Unify rank and scale of all modules: smaller ranks are padded with zeros, other scales multiplied into ``B``."""
    scales, expected = {}, {}
    for module, down in downs.items():
        expected[module] = _patterned(config, "rank_pattern", raw[module], config.get("r", len(down)), where)
        alpha = _patterned(config, "alpha_pattern", raw[module], config.get("lora_alpha"), where)
        if expected[module] != len(down):
            raise ConvertError(f"{where}: {module}: expected rank {expected[module]} as in {CONFIG}, got {len(down)}")
        if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < 1e6:
            raise ConvertError(f"{where}: lora_alpha: expected a number above 0, got {shown(alpha)}")
        scales[module] = alpha / math.sqrt(len(down)) if config.get("use_rslora") else alpha / len(down)
    rank, scale = max(expected.values()), Counter(scales.values()).most_common(1)[0][0]
    try:
        settings = LoraConfig(
            r=rank, alpha=scale * rank, dropout=config.get("lora_dropout") or 0.0, targets=tuple(downs)
        )
    except LoraError as error:
        raise ConvertError(f"{where}: {error}") from error
    pad = torch.nn.functional.pad
    wide = {name: pad(down.float(), (0, 0, 0, rank - len(down))) for name, down in downs.items()}
    tall = {
        name: pad(up.float() * (scales[name] / scale) if scales[name] != scale else up.float(), (0, rank - up.shape[1]))
        for name, up in ups.items()
    }
    return Lora(config=settings, downs=wide, ups=tall)


def _patterned(config: Mapping[str, Any], field: str, module: str, value: Any, where: object) -> Any:
    """The value for a module: that of the first pattern with which its path ends, otherwise the common value."""
    patterns = config.get(field) or {}
    if not isinstance(patterns, dict) or not all(re.fullmatch(r"[\w.]+", str(name)) for name in patterns):
        raise ConvertError(f"{where}: {field}: expected plain names of modules, got {shown(patterns)}")
    return next((own for name, own in patterns.items() if f".{module}".endswith(f".{name}")), value)
