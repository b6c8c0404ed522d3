"""Training on tiled pictures of several sizes: the parts that train, the bundle, and ways that must not matter."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from inlay.adapters import Backbone
from inlay.recipes import evaluate, finetune, llava
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.settings.errors import RecipeError
from inlay.recipes.settings.recipe import Recipe
from inlay.recipes.settings.run import DataSettings
from inlay.recipes.training.prepare import _begin as begin

SIZES = [(20, 14), (70, 9), (9, 70), (40, 41), (33, 16), (16, 16), (64, 20), (30, 90)]


@pytest.fixture
def train_file(image_of: Any, tmp_path: Path) -> Path:
    rows = []
    for number, size in enumerate(SIZES):
        image_of(number, size).save(tmp_path / f"{number}.png")
        turns = [{"from": "human", "value": "<image>\nwhat is it?"}, {"from": "gpt", "value": "a red circle ."}]
        rows.append({"id": str(number), "image": f"{number}.png", "conversations": turns})
    path = tmp_path / "train.json"
    path.write_text(json.dumps(rows))
    return path


@pytest.fixture
def long_backbone_of(llm_of: Any, clip_of: Any) -> Callable[..., Backbone]:
    return lambda context=1024: Backbone(llm_of("llama", max_position_embeddings=context), {"image": clip_of()})


def recipe_of(tiling: str, **changes: Any) -> Recipe:
    recipe = llava.recipe(tiling=tiling)
    last = replace(recipe.stages["instruct"], batch_size=4, epochs=1.0, lr={"inputs.image": 1e-2}, **changes)
    return replace(recipe, stages={"instruct": last}, lora=None)


def run_of(
    recipe: Recipe, backbone: Backbone, train: Path, folder: Path, said: list[str] | None = None, **data: Any
) -> Any:
    return finetune(
        recipe,
        backbone=backbone,
        data=DataSettings(train=train, **data),
        output=folder,
        logger="csv",
        accelerator="cpu",
        show=(said if said is not None else []).append,
    )


@pytest.mark.parametrize("tiling", ["anyres", "tiles:1-4", "split:2"])
def test_a_run_trains_saves_and_evaluates(train_file: Path, long_backbone_of: Any, tmp_path: Path, tiling: str) -> None:
    said: list[str] = []
    run = run_of(recipe_of(tiling), long_backbone_of(), train_file, tmp_path / "run", said)
    adapter = run.adapter()
    assert (adapter.newline is not None) == (tiling == "anyres")
    assert any(line.startswith("tokens in instruct: a picture takes ") for line in said)
    model = adapter.attach(long_backbone_of())
    found = evaluate(model, train_file, metric="exact", max_new_tokens=4, show=lambda _: None)
    assert len(found.answers) == len(SIZES)
    adapter.detach()


def test_cached_features_and_features_of_the_loop_train_the_same_weights(
    train_file: Path, long_backbone_of: Any, tmp_path: Path
) -> None:
    kept = []
    for name, data in {"memory": {}, "loop": {"cache_mib": 0}, "disk": {"cache_dir": tmp_path / "cache"}}.items():
        run = run_of(recipe_of("anyres"), long_backbone_of(), train_file, tmp_path / name, **data)
        kept.append(run.adapter().state_dict())
    for other in kept[1:]:
        for key, tensor in kept[0].items():
            torch.testing.assert_close(other[key], tensor, atol=2e-3, rtol=0, msg=key)  # a bundle is in bfloat16


def test_the_gradient_of_a_step_does_not_depend_on_its_micro_batches(
    train_file: Path, long_backbone_of: Any, tmp_path: Path
) -> None:
    kept = []
    for accumulate in (1, 4):
        recipe = recipe_of("anyres", accumulate=accumulate)
        run = run_of(recipe, long_backbone_of(), train_file, tmp_path / str(accumulate))
        kept.append(run.adapter().state_dict())
    for key, tensor in kept[0].items():
        torch.testing.assert_close(kept[1][key], tensor, atol=2e-3, rtol=0, msg=key)


def test_the_newline_trains_with_the_projector(train_file: Path, long_backbone_of: Any, tmp_path: Path) -> None:
    seen: list[torch.Tensor] = []

    class Watch(Callback):
        def on_train_start(self, trainer: Any, module: Any) -> None:
            seen.append(module.adapter.newline.row.detach().clone())

        def on_train_end(self, trainer: Any, module: Any) -> None:
            seen.append(module.adapter.newline.row.detach().clone())

    finetune(
        recipe_of("anyres"),
        backbone=long_backbone_of(),
        train=train_file,
        output=tmp_path / "run",
        logger="csv",
        accelerator="cpu",
        callbacks=[Watch()],
        show=lambda _: None,
    )
    assert (seen[0] != seen[1]).all()


def test_a_picture_that_cannot_fit_is_named_before_the_first_step(
    train_file: Path, long_backbone_of: Any, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"train\.json, item 0: stage instruct: \d+ positions \(260 of them media\)"):
        run_of(recipe_of("tiles:64-64"), long_backbone_of(256), train_file, tmp_path / "run")


def test_a_newline_that_the_adapter_would_lose_is_refused(long_backbone_of: Any) -> None:
    recipe = llava.recipe()
    first = replace(recipe.stages["align"], tiling="anyres")
    with pytest.raises(RecipeError, match="stage align has 'anyres', which trains a newline, and the last stage"):
        replace(recipe, stages=recipe.stages | {"align": first}).adapter(long_backbone_of(), "x")


def test_a_run_begins_with_the_newline_of_a_bundle(train_file: Path, long_backbone_of: Any, tmp_path: Path) -> None:
    first = run_of(recipe_of("anyres"), long_backbone_of(), train_file, tmp_path / "first")
    adapter = recipe_of("anyres").adapter(long_backbone_of(), "second")
    before = adapter.newline.row.detach().clone()
    said = begin(adapter, first.bundle)
    assert said == f"begin: {first.bundle}: its inputs.image, inputs.image.newline are the start"
    assert torch.equal(adapter.newline.row, first.adapter().newline.row)
    assert not torch.equal(adapter.newline.row, before)


def test_a_stage_without_tiling_leaves_the_newline_frozen(
    train_file: Path, long_backbone_of: Any, tmp_path: Path
) -> None:
    recipe = llava.recipe(tiling="anyres")
    stages = {name: replace(stage, batch_size=4, max_steps=1) for name, stage in recipe.stages.items()}
    said: list[str] = []
    run_of(replace(recipe, stages=stages), long_backbone_of(), train_file, tmp_path / "run", said)
    tables = [re.findall(r"^inputs\.image\.newline +newline +(\w+)", line, re.MULTILINE) for line in said]
    assert [mode for table in tables for mode in table] == ["frozen", "full"]
    assert not any("no batch of this stage used" in line for line in said)


def test_a_rate_for_a_newline_that_a_stage_does_not_use_is_refused(
    train_file: Path, long_backbone_of: Any, tmp_path: Path
) -> None:
    recipe = llava.recipe(tiling="anyres")
    align = replace(recipe.stages["align"], lr={"inputs.image": 1e-3, "inputs.image.newline": 1e-3}, batch_size=4)
    recipe = replace(recipe, stages={"align": align, "instruct": recipe.stages["instruct"]})
    with pytest.raises(RecipeError, match=r"lr: inputs\.image\.newline has no effect"):
        run_of(recipe, long_backbone_of(), train_file, tmp_path / "run")
