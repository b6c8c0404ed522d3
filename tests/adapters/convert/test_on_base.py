"""Checkpoints on a multimodal base model: its own parts, those that were trained, and frozen tensors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_checkpoints import hf_llava, hf_llava_folder

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.convert import ConvertError, Imported, Models
from inlay.adapters.convert.on_base import on_base
from inlay.adapters.convert.registry import CONVERTERS
from inlay.adapters.convert.source import Source

NOTHING = Imported(system="lora", layout=Layout.published("chat"), models=Models())
PROJECTOR = [f"inputs.image.layers.{layer}.{leaf}" for layer in (0, 2) for leaf in ("weight", "bias")]


@pytest.fixture
def base(tokenizer_of: Any, tmp_path: Path) -> Path:
    return hf_llava_folder(tmp_path / "llava", hf_llava(tokenizer_of()), tokenizer_of(), "4.51")


def placed(imported: Imported, base: Path | str | None, **options: Any) -> Imported:
    return on_base(imported, base, None, **{"compare": True, "where": "run", **options})


def test_parts_and_layout_are_those_of_the_base_model(base: Path) -> None:
    found = placed(NOTHING, base)
    assert (found.system, found.layout.template, sorted(found.tensors)) == ("llava", "vicuna_v1", sorted(PROJECTOR))


def test_trained_parts_take_the_place_of_its_own(base: Path) -> None:
    trained = {name: torch.full((2,), 7.0) for name in PROJECTOR}
    assert placed(replace(NOTHING, tensors=trained), base).tensors == trained


@pytest.mark.parametrize("base", [None, "someone/llm"])
def test_without_the_folder_a_bare_lora_stays_alone_and_trained_parts_are_refused(base: str | None) -> None:
    assert placed(NOTHING, base) is NOTHING
    with pytest.raises(ConvertError, match=r"^run: inputs\.image\.layers\.0\.bias.*expected its folder as --llm"):
        placed(replace(NOTHING, tensors={PROJECTOR[1]: torch.ones(2)}), base)


def test_half_a_part_is_refused_by_name(base: Path) -> None:
    half = {name: torch.ones(2) for name in PROJECTOR[1:]}
    with pytest.raises(ConvertError, match=r"1 tensors do not fit.*inputs\.image\.layers\.0\.weight is missing"):
        placed(replace(NOTHING, tensors=half), base)


def test_another_frozen_tensor_is_refused_unless_it_is_left_out(base: Path) -> None:
    held = CONVERTERS["hf_llava"].read(Source(base), None).frozen["image"]
    name = next(iter(held))
    own = replace(NOTHING, frozen={"image": {name: held[name].clone()}})
    assert placed(own, base).inputs
    other = replace(NOTHING, frozen={"image": {name: held[name] + 1}})
    with pytest.raises(ConvertError, match=r"1 of 1 tensors of the image encoder"):
        placed(other, base)
    assert placed(other, base, compare=False).inputs
