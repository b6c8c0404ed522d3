"""Saves a backbone with weights in bfloat16 and a config that loads them in float32."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel


def save_rounded(model: PreTrainedModel, folder: Path) -> None:
    """Write `config.json` and `model.safetensors`.

    `from_pretrained` takes its default dtype from the config, which has float32, because processors without bfloat16
    arithmetic are several times faster in float32.
    """
    model.to(torch.bfloat16).save_pretrained(folder)  # type: ignore[arg-type]
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    for part in (config, *(config.get(f"{name}_config", {}) for name in ("text", "vision", "audio"))):
        if "dtype" in part:
            part["dtype"] = "float32"
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
