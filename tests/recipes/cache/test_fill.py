"""Finding, computing and keeping: once each, and a run goes on where nothing can be written."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from inlay.recipes.cache import estimate, store
from inlay.recipes.cache.fill import Fill, fill
from inlay.recipes.cache.shard import shards_in, write_shard
from inlay.recipes.cache.store import CacheWarning


class Numbers:
    """Computes, and counts what it computed."""

    def __init__(self) -> None:
        self.computed: list[int] = []

    def __call__(self, places: list[int]) -> list[torch.Tensor]:
        self.computed += places
        return list(torch.tensor(places, dtype=torch.float32)[:, None].expand(-1, 8))


def how_of(said: list[str] | None = None, **options: Any) -> Fill:
    lines: list[str] = [] if said is None else said
    return Fill(**({"what": "numbers", "group": 4, "visits": 1e9, "show": lines.append} | options))


def right(found: Any, keys: list[str]) -> bool:
    return found is not None and all(torch.equal(found[key], torch.full((8,), float(n))) for n, key in enumerate(keys))


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """From so many shards on."""

    def after(count: int) -> None:
        written: list[Path] = []
        whole = store.write_shard

        def write(*arguments: Any) -> Path:
            if len(written) == count:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written.append(whole(*arguments))
            return written[-1]

        monkeypatch.setattr(store, "write_shard", write)

    return after


def test_everything_is_computed_once_over_all_runs(space_at: Any, keys_of: Any) -> None:
    keys, said = keys_of(10), list[str]()
    first, second = Numbers(), Numbers()
    how = how_of(said)
    assert right(fill(space_at(always=True), keys, first, how), keys)
    assert (how.hits, how.misses, first.computed) == (0, 10, list(range(10)))
    how = how_of(said)
    assert right(fill(space_at(), keys, second, how), keys)
    assert (how.hits, how.misses, second.computed) == (10, 0, [])
    assert said[-1] == "cache: 10 of 10 numbers are there, 0 are not"


def test_only_what_is_missing_is_computed_and_twins_once(space_at: Any, keys_of: Any) -> None:
    keys = keys_of(8)
    fill(space_at(always=True), keys[:3], Numbers(), how_of())
    numbers = Numbers()
    assert right(fill(space_at(always=True), [*keys, keys[7], keys[0]], numbers, how_of()), keys)
    assert numbers.computed == [3, 4, 5, 6, 7]


def test_what_another_process_adds_meanwhile_is_taken(space_at: Any, keys_of: Any, tensors_of: Any) -> None:
    keys, numbers = keys_of(12), Numbers()

    def compute(places: list[int]) -> list[torch.Tensor]:
        if places[0] == 0:
            space_at().write(tensors_of(5, 6, 8, 9, 10, 11, size=8))
        return numbers(places)

    assert right(fill(space_at(always=True), keys, compute, how_of()), keys)
    assert numbers.computed == [0, 1, 2, 3, 4, 7]


def test_where_it_would_lose_nothing_is_written_and_it_says_so(space_at: Any, keys_of: Any) -> None:
    said: list[str] = []
    space = space_at()
    assert right(fill(space, keys_of(6), Numbers(), how_of(said, visits=0.5, memory=192)), keys_of(6))
    assert not shards_in(space.folder)
    assert "not kept on disk (it would lose; --data.cache_when always" in said[-1]
    assert said[-1].endswith("kept in memory")


def test_told_to_it_is_written_all_the_same(space_at: Any, keys_of: Any) -> None:
    assert right(fill(space_at(always=True), keys_of(6), Numbers(), how_of(visits=0.5)), keys_of(6))
    assert len(space_at().find(keys_of(6))) == 6


def test_without_room_on_disk_or_in_memory_the_first_batch_is_enough_to_know(space_at: Any, keys_of: Any) -> None:
    numbers, said = Numbers(), list[str]()
    assert fill(space_at(budget=50), keys_of(40), numbers, how_of(said, memory=100)) is None
    assert numbers.computed == [0, 1, 2, 3]
    assert "1.3 kB of 50 bytes that may be written" in said[-1]
    assert said[-1].endswith("not kept on disk (there is no room for that), computed each time")


def test_a_full_disk_leaves_the_run_alive_and_what_was_written_valid(
    space_at: Any, keys_of: Any, full_disk: Callable[[int], None]
) -> None:
    full_disk(2)
    keys = keys_of(20)
    with pytest.warns(CacheWarning, match="No space left on device"):
        found = fill(space_at(always=True), keys, Numbers(), how_of(memory=1 << 20, shard_bytes=1))
    assert right(found, keys)
    assert right(space_at().find(keys), keys[:8])
    assert not list(space_at().folder.glob("*.part"))


def test_a_full_disk_and_no_memory_means_that_all_is_computed_each_time(
    space_at: Any, keys_of: Any, full_disk: Callable[[int], None]
) -> None:
    full_disk(1)
    with pytest.warns(CacheWarning, match="No space left"):
        assert fill(space_at(always=True), keys_of(20), Numbers(), how_of(memory=64, shard_bytes=1)) is None


def test_a_folder_that_cannot_be_made_leaves_the_run_alive(space_at: Any, keys_of: Any, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file stands here")
    with pytest.warns(CacheWarning, match="cannot be written"):
        found = fill(space_at(always=True), keys_of(5), Numbers(), how_of(memory=1 << 20))
    assert right(found, keys_of(5))


def test_what_was_computed_before_an_error_is_kept(space_at: Any, keys_of: Any) -> None:
    numbers = Numbers()

    def compute(places: list[int]) -> list[torch.Tensor]:
        if 8 in places:
            raise ValueError("a file that cannot be read")
        return numbers(places)

    with pytest.raises(ValueError, match="cannot be read"):
        fill(space_at(always=True), keys_of(12), compute, how_of())
    assert right(space_at().find(keys_of(12)), keys_of(8))


def test_shards_are_written_as_they_fill_up(space_at: Any, keys_of: Any) -> None:
    space = space_at(always=True)
    fill(space, keys_of(16), Numbers(), how_of(shard_bytes=256))
    assert [len(space.find([key])) for key in keys_of(16)] == [1] * 16
    assert len(shards_in(space.folder)) == 2


def test_the_trial_leaves_nothing(space_at: Any, tensors_of: Any) -> None:
    space = space_at()
    space.folder.mkdir(parents=True)
    assert min(estimate.time_shard(space.folder, space.digest, tensors_of(1, 2))) > 0
    assert not list(space.folder.iterdir())


def test_the_trial_takes_nothing_from_a_process_that_keeps_the_same(space_at: Any, tensors_of: Any) -> None:
    space = space_at()
    space.folder.mkdir(parents=True)
    kept = write_shard(space.folder, space.digest, tensors_of(1, 2))
    estimate.time_shard(space.folder, space.digest, tensors_of(1, 2))
    assert list(space.folder.iterdir()) == [kept]
