"""Which adapters share a batch, and how runs name models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inlay.adapters.adapter import Adapter
from inlay.adapters.compatibility.verdict import IncompatibleBackbone
from inlay.recipes.serve.engine.models import Models, load_models
from inlay.recipes.settings.run import BackboneSettings


def models_of(adapters: dict[str, Adapter], backbone: Any) -> Models:
    return Models(next(iter(adapters.values())).attach(backbone), adapters)


def test_adapters_of_other_ranks_and_without_lora_share_batches(backbone_of: Any, adapter_of: Any) -> None:
    backbone = backbone_of()
    made = models_of({f"r{r}": adapter_of(backbone, r=r, seed=r or 9) for r in (None, 2, 4)}, backbone)
    assert len({made.group(name) for name in made.adapters}) == 1


def test_another_turn_end_is_another_batch(backbone_of: Any, adapter_of: Any) -> None:
    backbone = backbone_of()
    templates = {name: adapter_of(backbone, template=name, seed=n) for n, name in enumerate(("vicuna_v1", "minigpt4"))}
    made = models_of(templates, backbone)
    assert made.group("vicuna_v1") != made.group("minigpt4")


def test_an_adapter_with_token_rows_has_batches_of_its_own(senses_of: Any) -> None:
    model = senses_of().model
    made = Models(model, {"any": model.adapter})
    assert made.group("any").host == "any"
    assert made.attached(made.group("any")).adapter is model.adapter


def test_an_adapter_of_another_backbone_is_refused_at_the_start(backbone_of: Any, adapter_of: Any) -> None:
    backbone = backbone_of()
    with pytest.raises(IncompatibleBackbone):
        models_of({"a": adapter_of(backbone), "b": adapter_of(backbone_of("opt"))}, backbone)


def test_bundles_of_two_backbones_are_refused_before_one_is_loaded(
    backbone_of: Any, adapter_of: Any, tmp_path: Path
) -> None:
    for name, family in (("a", "llama"), ("b", "opt")):
        adapter_of(backbone_of(family)).save_pretrained(tmp_path / name)
    runs = {name: str(tmp_path / name) for name in ("a", "b")}
    with pytest.raises(IncompatibleBackbone, match="All adapters of a server share one backbone"):
        load_models(runs, BackboneSettings(llm=str(tmp_path / "gone")))
