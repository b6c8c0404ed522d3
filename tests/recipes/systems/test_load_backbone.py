"""``--backbone.dtype auto`` follows the device of the run."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch

from inlay.recipes.settings.run import BackboneSettings
from inlay.recipes.systems import load_backbone as backbones


@pytest.fixture
def dtype_on(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The dtype with which a run loads its models, on a machine with a GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    monkeypatch.setattr(backbones, "load_backbone", lambda sources, *, dtype, **_: dtype)

    def load(device: str | None, *, bfloat16: bool = True, dtype: Any = "auto") -> Any:
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bfloat16)
        place = None if device is None else torch.device(device)
        return backbones.backbone_from(BackboneSettings(dtype=dtype), device=place)

    return load


def test_a_run_on_the_cpu_of_a_machine_with_a_gpu_is_in_float32(dtype_on: Any) -> None:
    assert dtype_on("cpu") == dtype_on(None) == "float32"


def test_a_run_on_the_gpu_is_in_bfloat16_where_there_is_that(dtype_on: Any) -> None:
    assert dtype_on("cuda") == "bfloat16"
    assert dtype_on("cuda", bfloat16=False) == "float32"


def test_a_dtype_that_is_named_is_kept(dtype_on: Any) -> None:
    assert dtype_on("cuda", dtype="float16") == "float16"
