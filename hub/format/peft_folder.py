"""A LoRA as the folder that PEFT writes: ``adapter_config.json`` and ``adapter_model.safetensors``.

PEFT's configuration can name modules to import, regular expressions to run and repositories to download
(``auto_mapping``, ``megatron_core``, a string in ``target_modules``, ...). Here it is a closed schema: plain LoRA on a
list of module names; every other key must have its harmless default. LoRA: Hu et al. 2021,
https://arxiv.org/abs/2106.09685
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeGuard, get_args

from inlay.hub.errors import BundleError
from inlay.hub.safety.strict_json import dump_object, read_object
from inlay.hub.safety.text import forbidden_character, shown

if TYPE_CHECKING:
    import torch

__all__ = [
    "LORA_CONFIG",
    "LORA_PART",
    "LORA_TENSORS",
    "MAX_RANK",
    "LoraFolder",
    "LoraSpec",
    "TaskType",
    "read_config",
    "write_config",
]

LORA_PART = "lora"
LORA_CONFIG = "lora/adapter_config.json"
LORA_TENSORS = "lora/adapter_model.safetensors"
MAX_RANK = 1024
TaskType = Literal["CAUSAL_LM", "SEQ_2_SEQ_LM"]

_MAX_TARGETS = 4096
_MODULE = re.compile(r"[A-Za-z0-9_.]{1,256}")
_KEY = re.compile(r"base_model\.model\.([A-Za-z0-9_.]+)\.lora_([AB])\.weight")
_COMMIT = re.compile(r"[0-9a-f]{40}")

# The keys that PEFT 0.21 writes in addition to the fields of LoraSpec, with the values that have no effect.
_NONE = (
    *("alora_invocation_tokens", "arrow_config", "auto_mapping", "corda_config", "eva_config", "exclude_modules"),
    *("kasa_config", "layer_replication", "layers_pattern", "layers_to_transform", "lora_ga_config", "megatron_config"),
    *("modules_to_save", "monteclora_config", "target_parameters", "trainable_token_indices", "velora_config"),
)
_FALSE = ("ensure_weight_tying", "fan_in_fan_out", "lora_bias", "use_dora", "use_qalora", "use_rslora")
_HARMLESS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(_NONE, (None,)),
    **dict.fromkeys(_FALSE, (False,)),
    **dict.fromkeys(("alpha_pattern", "rank_pattern", "loftq_config"), ({}, None)),
    "bias": ("none",),
    "inference_mode": (True, False),
    "init_lora_weights": (True,),
    "megatron_core": ("megatron.core", None),
    "qalora_group_size": (16,),
    "use_bdlora": (None, False),
}
# Always written, because vLLM and older versions of PEFT read these keys.
_WRITTEN = (
    *("auto_mapping", "bias", "fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern"),
    *("layers_to_transform", "modules_to_save", "use_dora", "use_rslora", "rank_pattern", "alpha_pattern"),
)


@dataclass(frozen=True, kw_only=True)
class LoraSpec:
    """The configuration of a LoRA."""

    r: int
    """Rank, 1 to 1024."""
    alpha: float
    """The update is scaled by ``alpha / r``."""
    targets: tuple[str, ...]
    """Names of the linear modules, or suffixes of their dotted paths; sorted, without duplicates."""
    dropout: float = 0.0
    """Dropout of the input of ``A`` in training, at least 0 and below 1."""
    base_model: str | None = None
    """The LLM's Hub id, for users of peft. inlay compares it and never downloads it."""
    task_type: TaskType = "CAUSAL_LM"

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", tuple(sorted(set(self.targets))))
        for field, problem in _problems(self):
            raise BundleError(LORA_CONFIG, problem, field=field)


@dataclass(frozen=True, eq=False)
class LoraFolder:
    """A LoRA with its weights, keyed as PEFT keys them: ``base_model.model.<module>.lora_A.weight``.

    Args:
        spec: the rank, scale and target modules.
        tensors: per module ``lora_A`` of shape (r, in) and ``lora_B`` of shape (out, r).

    Raises:
        BundleError: a key of another form, an A without its B, a rank other than ``spec.r``, a module that is not a
            target, a target without a module.
    """

    spec: LoraSpec
    tensors: Mapping[str, torch.Tensor]

    def __post_init__(self) -> None:
        halves: dict[str, dict[str, str]] = {}
        for key, tensor in self.tensors.items():
            match = _KEY.fullmatch(key)
            if match is None:
                raise BundleError(LORA_TENSORS, "expected base_model.model.<module>.lora_A|B.weight", field=shown(key))
            module, half = match.groups()
            halves.setdefault(module, {})[half] = key
            axis = 0 if half == "A" else 1
            if tensor.ndim != 2 or tensor.shape[axis] != self.spec.r:
                shape = f"({self.spec.r}, in)" if half == "A" else f"(out, {self.spec.r})"
                raise BundleError(LORA_TENSORS, f"expected shape {shape}, got {list(tensor.shape)}", field=key)
        targets, matched = set(self.spec.targets), set()
        for module, found in halves.items():
            if len(found) != 2:
                only = next(iter(found.values()))
                raise BundleError(LORA_TENSORS, "expected lora_A and lora_B together, got only this one", field=only)
            if not (names := targets & _suffixes(module)):
                reason = f"its module is not in target_modules: {', '.join(self.spec.targets[:20])}"
                raise BundleError(LORA_TENSORS, reason, field=found["A"])
            matched |= names
        if unused := sorted(targets - matched):
            raise BundleError(LORA_TENSORS, f"expected weights for the target module {unused[0]!r}, got none")

    @property
    def modules(self) -> tuple[str, ...]:
        """Sorted paths of the modules that have weights."""
        return tuple(sorted({match.group(1) for key in self.tensors if (match := _KEY.fullmatch(key))}))


def read_config(data: bytes, file: str = LORA_CONFIG) -> LoraSpec:
    """Read ``adapter_config.json``.

    Raises:
        BundleError: names the field, what was expected and what came.
    """
    raw = read_object(data, file)
    _require(raw, file, "peft_type", ("LORA",))
    _require(raw, file, "task_type", get_args(TaskType))
    for key in ("peft_version", "revision", "base_model_name_or_path"):
        value = raw.get(key)
        if value is not None and not (isinstance(value, str) and len(value) <= 512 and not forbidden_character(value)):
            raise BundleError(file, f"expected null or a line of text, got {shown(value)}", field=key)
    revision = raw.get("revision")
    if revision is not None and not _COMMIT.fullmatch(revision):
        raise BundleError(file, f"expected null or a commit of 40 hex digits, got {shown(revision)}", field="revision")
    own = {"peft_type", "task_type", "peft_version", "revision", "base_model_name_or_path"}
    own |= {"r", "lora_alpha", "lora_dropout", "target_modules"}
    for key in sorted(set(raw) - own):
        if key not in _HARMLESS:
            raise BundleError(file, "unknown field; inlay reads plain LoRA only", field=shown(key))
        _require(raw, file, key, _HARMLESS[key])
    targets = raw.get("target_modules")
    if not isinstance(targets, list):
        reason = f"expected a list of module names (no pattern, no 'all-linear'), got {shown(targets)}"
        raise BundleError(file, reason, field="target_modules")
    fields: dict[str, Any] = {
        "r": raw.get("r"),
        "alpha": raw.get("lora_alpha"),
        "dropout": raw.get("lora_dropout", 0.0),
    }
    if not all(isinstance(target, str) for target in targets):
        raise BundleError(file, f"expected module names, got {shown(targets)}", field="target_modules")
    if len(set(targets)) != len(targets):
        raise BundleError(file, "expected every module name once", field="target_modules")
    try:
        base, task = raw.get("base_model_name_or_path"), raw["task_type"]
        return LoraSpec(**fields, targets=tuple(targets), base_model=base, task_type=task)
    except BundleError as error:
        raise BundleError(file, error.reason, field=error.field) from None


def write_config(spec: LoraSpec) -> bytes:
    """The bytes of an ``adapter_config.json`` that peft, vLLM and transformers read."""
    values: dict[str, Any] = {key: _HARMLESS[key][0] for key in _WRITTEN}
    values |= {"peft_type": "LORA", "task_type": spec.task_type, "base_model_name_or_path": spec.base_model}
    values |= {"revision": None, "r": spec.r, "lora_alpha": spec.alpha, "lora_dropout": spec.dropout}
    return dump_object({**values, "target_modules": list(spec.targets)})


def _problems(spec: LoraSpec) -> list[tuple[str, str]]:
    found = []
    if type(spec.r) is not int or not 1 <= spec.r <= MAX_RANK:
        found.append(("r", f"expected an integer from 1 to {MAX_RANK}, got {shown(spec.r)}"))
    if not _number(spec.alpha) or not 0 < spec.alpha <= 1e6:
        found.append(("lora_alpha", f"expected a number above 0 and up to a million, got {shown(spec.alpha)}"))
    if not _number(spec.dropout) or not 0 <= spec.dropout < 1:
        found.append(("lora_dropout", f"expected a number from 0 to below 1, got {shown(spec.dropout)}"))
    if not 1 <= len(spec.targets) <= _MAX_TARGETS:
        found.append(("target_modules", f"expected 1 to {_MAX_TARGETS} names, got {len(spec.targets)}"))
    for target in spec.targets:
        if not _MODULE.fullmatch(target) or target == "all-linear":
            reason = f"expected plain names of letters, digits, '_' and '.', got {shown(target)}"
            found.append(("target_modules", reason))
    if spec.base_model is not None and (len(spec.base_model) > 512 or forbidden_character(spec.base_model)):
        found.append(("base_model_name_or_path", f"expected a line of text, got {shown(spec.base_model)}"))
    if spec.task_type not in get_args(TaskType):
        found.append(("task_type", f"expected one of {', '.join(get_args(TaskType))}, got {shown(spec.task_type)}"))
    return found


def _require(raw: dict[str, Any], file: str, key: str, allowed: tuple[Any, ...]) -> None:
    value = raw.get(key)
    # Compared as JSON text, because False == 0 and True == 1 in Python.
    if json.dumps(value) not in [json.dumps(item) for item in allowed]:
        expected = " or ".join(json.dumps(item) for item in allowed)
        raise BundleError(file, f"expected {expected}, got {shown(value)}", field=key)


def _number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _suffixes(module: str) -> set[str]:
    """Every dotted suffix of a path: ``a.b.c``, ``b.c`` and ``c``."""
    words = module.split(".")
    return {".".join(words[start:]) for start in range(len(words))}
