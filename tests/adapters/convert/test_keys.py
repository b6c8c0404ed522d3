"""Key tables: both directions, ignore lists, and names that no pattern knows."""

from __future__ import annotations

import pytest
import torch

from inlay.adapters.convert import ConvertError, KeyTable

TABLE = KeyTable(
    (("proj.{n}.{leaf}", "layers.{n}.{leaf}"), ("tower.{rest*}", "backbone.image.{rest}")),
    ignored={"tower.{rest*}.position_ids": "position numbers"},
    prefixes=("model.", ""),
)


@pytest.mark.parametrize("name", ["proj.0.bias", "model.proj.0.bias"])
def test_a_name_is_read_with_and_without_its_prefix(name: str) -> None:
    assert TABLE.ours(name) == "layers.0.bias"


def test_a_hole_is_one_step_of_the_path() -> None:
    assert TABLE.ours("proj.0.inner.bias") is None


def test_a_hole_with_a_star_is_any_number_of_steps_in_both_directions() -> None:
    assert TABLE.ours("tower.a.b.c") == "backbone.image.a.b.c"
    assert TABLE.theirs("backbone.image.a.b.c") == "model.tower.a.b.c"


def test_a_dot_in_a_pattern_is_only_a_dot() -> None:
    assert TABLE.ours("projx0.bias") is None


def test_an_ignored_name_is_counted_under_its_reason_also_where_a_pair_matches() -> None:
    renamed = TABLE.rename(["tower.x.position_ids", "tower.x.weight"], "file")
    assert renamed.ignored == {"position numbers": 1}
    assert renamed.names == {"backbone.image.x.weight": "tower.x.weight"}


def test_unknown_names_are_refused_by_name() -> None:
    with pytest.raises(ConvertError, match=r"file: .*2 others: head\.bias, head\.weight"):
        TABLE.rename(["head.weight", "head.bias", "proj.0.bias"], "file")


def test_one_tensor_under_two_names_is_refused() -> None:
    with pytest.raises(ConvertError, match="the same tensor under two names"):
        TABLE.rename(["proj.0.bias", "model.proj.0.bias"], "file")


def test_a_tensor_that_the_format_has_no_name_for_is_not_written() -> None:
    with pytest.raises(ConvertError, match=r"no name for lora\.x"):
        TABLE.write({"lora.x": torch.ones(1)})
