"""BLEU, CIDEr-D and ROUGE-L: beside the official scorers where they are installed, and figures those once gave."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inlay.recipes.evaluation.metrics import Bleu, Cider, MetricError, RougeL, cider, rouge_l
from inlay.recipes.evaluation.metrics.captions.bleu import BleuCounts, bleu, bleu_counts
from inlay.recipes.evaluation.metrics.captions.rouge_l import common_subsequence

SAID = [
    "a man riding a wave on a surfboard",
    "two dogs play with a ball",
    "a red bus",
    "the the the the cat",
    "nothing alike here at all",
]
TRUTHS = [
    ["a man on a surfboard riding a wave", "a surfer rides a big wave", "man surfing"],
    ["two dogs are playing with a red ball in the park", "dogs play"],
    ["a red double decker bus on the street", "a bus driving down a city street", "red bus"],
    ["the cat is on the mat"],
    ["a bowl of fruit on a table", "fruit"],
]
# What pycocoevalcap 1.2 gives for these; it is not a dependency, because its wheel is 104 MB of Java.
BLEU = [0.7407407407133059, 0.6085806194250832, 0.35188906397609127, 4.365248944450622e-05]
CIDER = [2.060800498872, 1.8835169957264484, 2.1883363721385445, 1.5319256651088842, 0.0]
ROUGE = [0.625, 0.9242424242424241, 1.0, 0.3577712609970674, 0.0]


def corpus_bleu(said: Sequence[str], truths: Sequence[Sequence[str]]) -> list[float]:
    metric = Bleu()
    metric.update(said, truths)
    return [value.item() for value in metric.compute().values()]


def test_bleu_gives_the_official_figures() -> None:
    assert corpus_bleu(SAID, TRUTHS) == pytest.approx(BLEU, rel=1e-12)


def test_cider_gives_the_official_figures() -> None:
    assert cider(SAID, TRUTHS) == pytest.approx(CIDER, rel=1e-12)


def test_rouge_l_gives_the_official_figures() -> None:
    assert [rouge_l(said, truths) for said, truths in zip(SAID, TRUTHS, strict=True)] == pytest.approx(ROUGE, rel=1e-12)


CAPTION = st.lists(st.sampled_from(["a", "red", "disc", "on", "the", "table", "two"]), min_size=1, max_size=9).map(
    " ".join
)
PICTURES = st.lists(st.tuples(CAPTION, st.lists(CAPTION, min_size=1, max_size=4)), min_size=1, max_size=6)


def official(module: str, name: str) -> Any:
    return getattr(pytest.importorskip(f"pycocoevalcap.{module}", reason="install pycocoevalcap to compare"), name)


@given(PICTURES)
def test_bleu_is_the_official_one(pictures: list[tuple[str, list[str]]]) -> None:
    scorer = official("bleu.bleu_scorer", "BleuScorer")(n=4)
    for said, truths in pictures:
        scorer += (said, truths)
    expected, _ = scorer.compute_score(option="closest")
    all_said, all_truths = zip(*pictures, strict=True)
    assert corpus_bleu(all_said, all_truths) == pytest.approx(expected, rel=1e-9, abs=1e-15)


@given(PICTURES)
def test_cider_is_the_official_one(pictures: list[tuple[str, list[str]]]) -> None:
    scorer = official("cider.cider_scorer", "CiderScorer")(n=4, sigma=6.0)
    for said, truths in pictures:
        scorer += (said, truths)
    _, expected = scorer.compute_score()
    all_said, all_truths = zip(*pictures, strict=True)
    assert cider(all_said, all_truths) == pytest.approx([float(score) for score in expected], rel=1e-9, abs=1e-12)


@given(CAPTION, st.lists(CAPTION, min_size=1, max_size=4))
def test_rouge_l_is_the_official_one(said: str, truths: list[str]) -> None:
    scorer = official("rouge.rouge", "Rouge")()
    assert rouge_l(said, truths) == pytest.approx(scorer.calc_score([said], truths), rel=1e-12)


@given(st.text("abc", max_size=8), st.text("abc", max_size=8))
def test_the_common_subsequence_is_the_longest_of_all(first: str, second: str) -> None:
    def inside(mask: int) -> bool:
        rest = iter(second)
        return all(letter in rest for place, letter in enumerate(first) if mask >> place & 1)

    longest = max(mask.bit_count() for mask in range(1 << len(first)) if inside(mask))
    assert common_subsequence(first, second) == longest


def test_bleu_by_hand() -> None:
    # 4 of 5 words and 2 of 4 pairs match; 5 words against 6.
    counts = BleuCounts([4, 2, 0, 0], [5, 4, 3, 2], 5, 6)
    brevity = math.exp(1 - 6 / 5)
    assert bleu(counts)[:2] == pytest.approx([0.8 * brevity, math.sqrt(0.8 * 0.5) * brevity], rel=1e-8)


def test_the_shorter_of_two_equally_close_references_counts() -> None:
    assert bleu_counts(["a"] * 3, [["a"] * 4, ["a"] * 2]).closest == 2


def test_matches_are_clipped_at_the_largest_count_in_one_reference() -> None:
    assert bleu_counts(["the"] * 4, [["the", "cat"], ["the", "the", "dog"]]).matches == [2, 1, 0, 0]


def test_cider_by_hand() -> None:
    # Two pictures, so that log(2 / 1) cancels from the cosine of what only one picture has.
    first, second = cider(["a b", "x"], [["a b", "a c"], ["y"]])
    same = (1 + 1) / 4  # 1-grams and 2-grams are equal, there are no longer ones
    other = (1 / 2) / 4  # one word of two
    assert first == pytest.approx(10 * (same + other) / 2)
    assert second == 0


def test_cider_of_a_longer_caption_is_less_by_the_gaussian() -> None:
    short, long = "red disc", "red disc red disc"
    [score, _] = cider([long, "x"], [[short], ["y"]])
    cosines = [
        (2 * 1 / 2) * 2 / (math.sqrt(8) * math.sqrt(2)),  # min(2, 1) * 1 for both words
        1 / math.sqrt(5),  # "red disc" twice, "disc red" once
    ]
    assert score == pytest.approx(10 * sum(cosines) / 4 * math.exp(-(2**2) / (2 * 36)))


def test_what_every_picture_has_is_worth_nothing_to_cider() -> None:
    assert cider(["a", "a"], [["a"], ["a"]]) == [0, 0]


def test_one_picture_alone_has_no_cider() -> None:
    assert cider(["a red disc"], [["a red disc"]]) == [0]


@pytest.mark.parametrize("said", ["", "...", " "])
def test_an_empty_caption_scores_nothing_and_breaks_nothing(said: str) -> None:
    said_all, truths = [said, "a cat"], [["a disc"], ["a cat"]]
    assert rouge_l(said, truths[0]) == 0
    assert cider(said_all, truths)[0] == 0
    assert corpus_bleu([said], [["a disc"]]) == pytest.approx([0] * 4, abs=1e-12)


def test_an_empty_reference_scores_nothing_and_breaks_nothing() -> None:
    assert rouge_l("a disc", ["..."]) == 0
    assert cider(["a disc", "x"], [["..."], ["y"]])[0] == 0


def test_case_and_punctuation_do_not_count() -> None:
    assert rouge_l("A red disc!", ["a red, disc."]) == 1


METRICS = [Bleu, Cider, RougeL]


@pytest.mark.parametrize("kind", METRICS)
@pytest.mark.parametrize(("said", "truths"), [(["a"], []), (["a"], [[]]), (["a"], ["a"])])
def test_what_does_not_belong_together_is_an_error(kind: type[Any], said: Any, truths: Any) -> None:
    with pytest.raises(MetricError, match="expected"):
        kind().update(said, truths)


@pytest.mark.parametrize("kind", [Bleu, Cider])
@pytest.mark.parametrize(("said", "truths"), [("a", [["a"]]), ([None], [["a"]]), (["a"], [[None]])])
def test_what_is_no_text_is_an_error(kind: type[Any], said: Any, truths: Any) -> None:
    with pytest.raises(MetricError, match="expected"):
        kind().update(said, truths)


def figures(metric: Any) -> dict[str, float]:
    return {name: value.item() for name, value in metric.compute().items()}


@pytest.mark.parametrize("kind", METRICS)
def test_two_processes_and_batches_give_what_one_batch_gives(kind: type[Any]) -> None:
    first, second, whole = kind(), kind(), kind()
    first.update(SAID[:1], TRUTHS[:1])
    first.update(SAID[1:2], TRUTHS[1:2])
    second.update(SAID[2:], TRUTHS[2:])
    whole.update(SAID, TRUTHS)
    first.merge_state(second)
    assert figures(first) == pytest.approx(figures(whole), rel=1e-12)


@pytest.mark.parametrize("kind", METRICS)
def test_reset_forgets_all(kind: type[Any]) -> None:
    metric, fresh = kind(), kind()
    metric.update(SAID, TRUTHS)
    metric.reset()
    for each in (metric, fresh):
        each.update(SAID[:2], TRUTHS[:2])
    assert figures(metric) == figures(fresh)


@pytest.mark.parametrize("kind", METRICS)
@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
def test_nothing_seen_is_not_a_number(kind: type[Any]) -> None:
    assert all(math.isnan(value) for value in figures(kind()).values())


@pytest.mark.parametrize("kind", METRICS)
def test_it_can_be_sent_to_another_process(kind: type[Any]) -> None:
    metric = kind()
    metric.update(SAID, TRUTHS)
    assert figures(pickle.loads(pickle.dumps(metric))) == figures(metric)


def test_cider_reads_what_processes_have_joined_into_one_tensor() -> None:
    metric = Cider()
    metric.update(["caf\u00e9\u2028 \U0001f600"], [["a\nb"]])
    metric.update(["a"], [["a"]])
    metric.texts = torch.cat(metric.texts)
    assert figures(metric)["cider"] == pytest.approx(
        sum(cider(["caf\u00e9\u2028 \U0001f600", "a"], [["a\nb"], ["a"]])) / 2
    )
