"""A stage's tiling, and the learning rate of the newline."""

from __future__ import annotations

from typing import Any

import pytest

from inlay.recipes import Stage, llava
from inlay.recipes.objectives.pformer.settings import PFormerStudent, PFormerTeacher
from inlay.recipes.objectives.qformer_contrastive.settings import QFormerContrastive
from inlay.recipes.settings.errors import RecipeError
from inlay.recipes.settings.stage import rate_of


def stage(**fields: Any) -> Stage:
    own: dict[str, Any] = {"data": "align", "template": "plain", "geometry": "pad", "lr": {"inputs": 1e-3}}
    return Stage(**own, batch_size=2, **fields)


def test_the_layout_of_a_stage_tiles() -> None:
    assert stage(tiling="tiles").layout.tiling == "tiles:1-12"
    assert stage().layout.tiling is None


def test_an_unknown_tiling_is_refused() -> None:
    with pytest.raises(RecipeError, match="tiling: expected one of anyres, tiles, split, got 'mosaic'"):
        stage(tiling="mosaic")


@pytest.mark.parametrize("objective", [QFormerContrastive(), PFormerTeacher(), PFormerStudent()])
def test_an_objective_that_reads_squares_is_not_tiled(objective: Any) -> None:
    with pytest.raises(RecipeError, match="reads each picture as one square"):
        stage(objective=objective, tiling="tiles")


@pytest.mark.parametrize(
    ("lr", "rate"),
    [
        ({"inputs": 1.0}, 1.0),
        ({"inputs": 1.0, "inputs.image": 2.0}, 2.0),
        ({"inputs.image": 2.0, "inputs.image.newline": 3.0}, 3.0),
        ({"inputs.audio": 2.0, "lora": 1.0}, None),
    ],
)
def test_the_newline_has_the_rate_of_its_projector_unless_it_has_its_own(lr: dict[str, float], rate: Any) -> None:
    assert rate_of("inputs.image.newline", lr) == rate


def test_llava_tiles_in_its_second_stage() -> None:
    stages = llava.recipe(size="full", tiling="anyres").stages
    assert [stage.tiling for stage in stages.values()] == [None, "anyres"]
    assert [stage.tiling for stage in llava.recipe(size="full").stages.values()] == [None, None]
