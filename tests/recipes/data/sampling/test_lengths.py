"""Sorted batches: every sample still once an epoch, little padding, and any position without the way there."""

from __future__ import annotations

import json
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inlay.adapters import Adapter, Backbone
from inlay.adapters.conversation.messages import parse_messages
from inlay.adapters.inputs import MlpConfig
from inlay.recipes.data.conversations import StageData
from inlay.recipes.data.formats.jsonl import read_messages_jsonl
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.data.rows.tables.sequences import Chosen, Joined
from inlay.recipes.data.sampling.lengths import WINDOW, ByLength, lengths_of
from inlay.recipes.data.sampling.mixture import MixtureBatches
from inlay.recipes.data.sampling.order import StepBatches
from inlay.recipes.settings.stage import Stage


def sorted_batches(lengths: list[int], size: int, batches: int, seed: int, start: int = 0) -> list[list[int]]:
    return list(
        ByLength(lambda first: StepBatches(len(lengths), size, batches, seed, first), lengths, batches, seed, start)
    )


@settings(max_examples=50)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=40), st.integers(1, 5), st.integers(1, 50), st.integers(0, 50))
def test_any_position_is_reached_without_the_way_there(lengths: list[int], size: int, batches: int, start: int) -> None:
    everything = sorted_batches(lengths, size, batches, seed=3)
    assert [len(batch) for batch in everything] == [size] * batches
    start = min(start, batches)
    assert sorted_batches(lengths, size, batches, 3, start) == everything[start:]


@pytest.mark.parametrize("mixed", [False, True])
def test_a_window_holds_the_samples_of_the_order_that_is_sorted(mixed: bool) -> None:
    lengths = torch.randint(1, 100, (60,), generator=torch.Generator().manual_seed(0)).tolist()

    def order(first: int) -> StepBatches | MixtureBatches:
        return MixtureBatches([20, 40], 4, 40, 1, first) if mixed else StepBatches(60, 4, 40, 1, first)

    plain, grouped = list(order(0)), list(ByLength(order, lengths, 40, 1))
    assert plain != grouped
    for first in range(0, 40, WINDOW):
        window = slice(first, first + WINDOW)
        assert Counter(chain(*plain[window])) == Counter(chain(*grouped[window]))


def test_little_is_padded_and_batches_do_not_grow_from_first_to_last() -> None:
    lengths = torch.randint(1, 100, (640,), generator=torch.Generator().manual_seed(0)).tolist()

    def padded(batches: list[list[int]]) -> float:
        whole = sum(max(lengths[index] for index in batch) * len(batch) for batch in batches)
        return 1 - sum(lengths[index] for batch in batches for index in batch) / whole

    plain, grouped = list(StepBatches(640, 8, 80, 5)), sorted_batches(lengths, 8, 80, 5)
    assert padded(plain) > 0.35
    assert padded(grouped) < 0.08
    longest = [max(lengths[index] for index in batch) for batch in grouped[:WINDOW]]
    assert longest != sorted(longest)
    assert grouped != sorted_batches(lengths, 8, 80, 6)


def test_a_medium_counts_as_text_does() -> None:
    turns = [{"role": "user", "content": "colour?"}, {"role": "assistant", "content": "red"}]
    seen = [{"role": "user", "content": [{"type": "image", "image": "a.png"}, {"type": "text", "text": "colour?"}]}]
    firsts: list[list[Any]] = [[*turns[:1]], [*seen]]
    samples = [Sample(str(n), parse_messages([*first, turns[1]]), "") for n, first in enumerate(firsts)]
    assert lengths_of(samples).tolist() == [10, 110]


def test_a_tiled_picture_counts_by_its_positions(llm_of: Any, clip_of: Any, image_of: Any, tmp_path: Path) -> None:
    backbone = Backbone(llm_of("llama", max_position_embeddings=1024), {"image": clip_of()})
    stage = Stage(
        data="train",
        template="vicuna_v1",
        geometry="pad",
        lr={"inputs": 1e-3},
        batch_size=1,
        grouping="length",
        tiling="tiles:1-9",
    )
    inputs = {"image": MlpConfig()}
    adapter = Adapter.for_backbone(backbone, system="llava", name="a", layout=stage.layout, inputs=inputs)
    samples = []
    for number, size in enumerate([(16, 16), (48, 48)]):
        image_of(number, size).save(tmp_path / f"{number}.png")
        media = {"type": "image", "path": str(tmp_path / f"{number}.png")}
        turns = [{"role": "user", "content": [media, "colour?"]}, {"role": "assistant", "content": "red"}]
        samples.append(Sample(str(number), parse_messages(turns), ""))
    assert StageData(samples, adapter.attach(backbone), stage, seed=0).lengths.tolist() == [10 + 4 * 4, 10 + 4 * 10 * 4]


def test_lengths_of_a_file_are_known_from_its_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"id": str(n), "images": ["a.png"] * (n % 2), "messages": talk("what? " * n, "a disc")} for n in range(1, 9)
    ]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    samples = read_messages_jsonl(tmp_path / "a.json", tmp_path)
    expected = lengths_of(list(samples)).tolist()
    monkeypatch.setattr(type(samples), "_converted", None)  # no row is read
    assert lengths_of(samples).tolist() == expected
    assert lengths_of(Joined([samples, samples[2:4]])).tolist() == [*expected, *expected[2:4]]
    assert lengths_of(Chosen(samples, [3, 1])).tolist() == [expected[3], expected[1]]


def talk(asked: str, said: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
