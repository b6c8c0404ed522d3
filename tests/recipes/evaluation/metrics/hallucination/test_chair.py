"""CHAIR, by hand for small cases."""

from __future__ import annotations

import math
from typing import Any

import pytest

from inlay.recipes.evaluation.metrics import Chair, MetricError, ObjectVocabulary, caption_objects

WORLD = ObjectVocabulary.of({"circle": ["disc"], "star": [], "ring": [], "cross": []})
CAPTIONS = ["A star and two rings.", "One disc", "Nothing to see here"]
OBJECTS = [["star"], ["circle", "star"], ["cross"]]


def figures(metric: Chair) -> dict[str, float]:
    return {name: value.item() for name, value in metric.compute().items()}


def test_the_figures_are_counted_by_hand() -> None:
    metric = Chair(WORLD)
    metric.update(CAPTIONS, OBJECTS)
    # Mentions: star, ring (hallucinated), circle. Objects: star; circle, star; cross, of which star and circle found.
    assert figures(metric) == pytest.approx({"chair_i": 1 / 3, "chair_s": 1 / 3, "recall": 2 / 4, "length": 11 / 3})


def test_every_mention_counts_but_a_class_is_recalled_once() -> None:
    metric = Chair(WORLD)
    metric.update(["A star, a star and a star, a ring, a ring"], [["star"]])
    assert figures(metric) == pytest.approx({"chair_i": 2 / 5, "chair_s": 1.0, "recall": 1.0, "length": 11.0})


def test_objects_of_reference_captions_are_present() -> None:
    metric = Chair(WORLD)
    metric.update(["A star and a ring."], [["star"]], [["A disc in a ring.", "rings"]])
    assert figures(metric) == pytest.approx({"chair_i": 0.0, "chair_s": 0.0, "recall": 2 / 3, "length": 5.0})


def test_a_shorter_caption_has_a_lower_chair_and_a_lower_recall() -> None:
    long, short = Chair(WORLD), Chair(WORLD)
    long.update(["a star, a disc and a cross"], [["star", "circle"]])
    short.update(["a star"], [["star", "circle"]])
    assert figures(short)["chair_i"] < figures(long)["chair_i"]
    assert figures(short)["recall"] < figures(long)["recall"]


def test_one_caption_is_judged_alone() -> None:
    row = caption_objects("A ring, a star, a ring", ["star", "disc"], WORLD)
    assert row.mentioned == ("ring", "star", "ring")
    assert row.hallucinated == ("ring", "ring")
    assert row.found == {"star"}
    assert row.present == {"star", "circle"}


def test_two_processes_give_what_one_gives() -> None:
    first, second, whole = Chair(WORLD), Chair(WORLD), Chair(WORLD)
    first.update(CAPTIONS[:1], OBJECTS[:1])
    second.update(CAPTIONS[1:], OBJECTS[1:])
    whole.update(CAPTIONS, OBJECTS)
    first.merge_state(second)
    assert figures(first) == figures(whole)


def test_a_batch_that_fails_is_not_counted() -> None:
    metric = Chair(WORLD)
    with pytest.raises(MetricError, match="got 'square'"):
        metric.update(["a star", "a ring"], [["star"], ["square"]])
    assert metric.counts.sum() == 0


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
def test_nothing_counted_is_not_a_number() -> None:
    assert all(math.isnan(value) for value in figures(Chair(WORLD)).values())
    silent = Chair(WORLD)
    silent.update(["nothing"], [["star"]])
    assert math.isnan(figures(silent)["chair_i"])
    assert figures(silent)["recall"] == 0.0


@pytest.mark.parametrize(
    ("captions", "objects", "references", "told"),
    [
        (["a", "b"], [["star"]], None, "got 2 captions, 1 rows of objects and 2 of references"),
        (["a"], [["star"]], [[], []], "got 1 captions, 1 rows of objects and 2 of references"),
        ("a", [["star"]], None, "got 1 captions"),
        (["a"], ["star"], None, "expected a list of names or captions for each image, got the text 'star'"),
        (["a"], [["star"]], ["a star"], "got the text 'a star'"),
    ],
)
def test_rows_that_do_not_match_are_refused(captions: Any, objects: Any, references: Any, told: str) -> None:
    with pytest.raises(MetricError, match=told):
        Chair(WORLD).update(captions, objects, references)
