"""Finding, computing and keeping: once each, and a run goes on where the folder cannot be written."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from inlay.recipes.data.cache import fill as module
from inlay.recipes.data.cache import store
from inlay.recipes.data.cache.fill import Filled, fill
from inlay.recipes.data.cache.store import CacheWarning, Space

SIZE = 8


class Numbers:
    """Computes, and records what it computed."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self.numbers = {key: number for number, key in enumerate(shapes)}
        self.computed: list[int] = []

    def __call__(self, keys: Sequence[str]) -> list[torch.Tensor]:
        numbers = [self.numbers[key] for key in keys]
        self.computed += numbers
        return list(torch.tensor(numbers, dtype=torch.float32)[:, None].expand(-1, SIZE))


def filled(
    space: Space | None, shapes: Any, compute: Any, *, memory: int = 0, show: Callable[[str], None] = lambda _: None
) -> Filled | None:
    return fill(space, shapes, compute, group=4, item_bytes=4, memory=memory, what="numbers", show=show)


def right(found: Filled | None, shapes: Any) -> bool:
    wanted = {key: torch.full((SIZE,), float(number)) for number, key in enumerate(shapes)}
    return found is not None and all(torch.equal(found.tensors[key], tensor) for key, tensor in wanted.items())


@pytest.fixture
def shapes(shapes_of: Any) -> Callable[[int], dict[str, tuple[int, ...]]]:
    return lambda count: shapes_of(count, size=SIZE)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Shards of one group each; no space from so many shards on."""

    def after(count: int) -> None:
        monkeypatch.setattr(module, "SHARD_BYTES", 1)
        written: list[Path] = []
        whole = store.write_file

        def write(path: Path, data: bytes) -> None:
            if len(written) == count:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written.append(path)
            whole(path, data)

        monkeypatch.setattr(store, "write_file", write)

    return after


def test_everything_is_computed_once_over_all_runs(space_at: Any, shapes: Any) -> None:
    wanted, said = shapes(10), list[str]()
    first, second = Numbers(wanted), Numbers(wanted)
    assert right(filled(space_at(), wanted, first, show=said.append), wanted)
    assert right(found := filled(space_at(), wanted, second, show=said.append), wanted)
    assert found is not None
    assert (sorted(first.computed), second.computed, found.in_memory) == (list(range(10)), [], 0)
    assert [line.split(" are in ")[0] for line in said] == ["cache: 0 of 10 numbers", "cache: 10 of 10 numbers"]
    assert said[-1].endswith(f"{space_at().folder}, 0 are computed")


def test_without_a_folder_all_are_kept_in_memory(shapes: Any) -> None:
    wanted = shapes(10)
    found = filled(None, wanted, Numbers(wanted), memory=320)
    assert right(found, wanted)
    assert found is not None
    assert found.in_memory == 320


def test_nothing_is_computed_where_they_do_not_fit(space_at: Any, shapes: Any) -> None:
    wanted, said = shapes(10), list[str]()
    numbers = Numbers(wanted)
    assert filled(None, wanted, numbers, memory=319) is None
    assert filled(space_at(budget=319), wanted, numbers, memory=319, show=said.append) is None
    assert numbers.computed == []
    assert "numbers take 320 bytes, more than cache_disk_mib allows" in said[-1]


def test_beyond_the_budget_of_the_folder_they_are_kept_in_memory(space_at: Any, shapes: Any) -> None:
    wanted, space = shapes(10), space_at(budget=319)
    assert right(filled(space, wanted, Numbers(wanted), memory=320), wanted)
    assert not space.store.shards()


def test_only_missing_ones_are_computed(space_at: Any, shapes: Any) -> None:
    filled(space_at(), shapes(3), Numbers(shapes(3)))
    numbers = Numbers(shapes(8))
    assert right(filled(space_at(), shapes(8), numbers), shapes(8))
    assert sorted(numbers.computed) == [3, 4, 5, 6, 7]


def test_shards_that_another_process_adds_meanwhile_are_used(
    space_at: Any, shapes: Any, tensors_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.secrets, "randbelow", lambda _: 0)
    monkeypatch.setattr(module, "SHARD_BYTES", 1)
    wanted = shapes(12)
    numbers = Numbers(wanted)

    def compute(keys: Sequence[str]) -> list[torch.Tensor]:
        if not numbers.computed:
            space_at().write(tensors_of(5, 6, 8, 9, 10, 11, size=SIZE))
        return numbers(keys)

    assert right(filled(space_at(), wanted, compute), wanted)
    assert numbers.computed == [0, 1, 2, 3, 4, 7]


@pytest.mark.parametrize("begin", [0, 1, 4])
def test_wherever_a_process_begins_the_groups_are_the_same(
    space_at: Any, shapes: Any, monkeypatch: pytest.MonkeyPatch, begin: int
) -> None:
    """So that the order has no effect on a result's last bits."""
    monkeypatch.setattr(module.secrets, "randbelow", lambda count: min(begin, count - 1))
    wanted, groups = shapes(18), list[list[int]]()
    numbers = Numbers(wanted)

    def compute(keys: Sequence[str]) -> list[torch.Tensor]:
        groups.append([numbers.numbers[key] for key in keys])
        return numbers(keys)

    assert right(filled(space_at(), wanted, compute), wanted)
    assert sorted(groups) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15], [16, 17]]


def test_a_full_disk_leaves_the_run_alive_and_written_shards_valid(
    space_at: Any, shapes: Any, full_disk: Callable[[int], None]
) -> None:
    full_disk(2)
    with pytest.warns(CacheWarning, match="No space left on device"):
        found = filled(space_at(), shapes(20), Numbers(shapes(20)), memory=1 << 20)
    assert right(found, shapes(20))
    assert found is not None
    assert found.in_memory == 12 * SIZE * 4
    assert len(space_at().find(shapes(20))) == 8


def test_a_full_disk_and_no_memory_means_that_the_encoder_runs_in_the_loop(
    space_at: Any, shapes: Any, full_disk: Callable[[int], None]
) -> None:
    full_disk(1)
    with pytest.warns(CacheWarning, match="No space left"):
        assert filled(space_at(), shapes(20), Numbers(shapes(20)), memory=64) is None


def test_a_folder_that_cannot_be_created_leaves_the_run_alive(space_at: Any, shapes: Any, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file stands here")
    with pytest.warns(CacheWarning, match="cannot be written"):
        found = filled(space_at(), shapes(5), Numbers(shapes(5)), memory=1 << 20)
    assert right(found, shapes(5))


def test_results_before_an_error_are_kept(space_at: Any, shapes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.secrets, "randbelow", lambda _: 0)
    numbers = Numbers(shapes(12))

    def compute(keys: Sequence[str]) -> list[torch.Tensor]:
        if len(numbers.computed) == 8:
            raise ValueError("a file that cannot be read")
        return numbers(keys)

    with pytest.raises(ValueError, match="cannot be read"):
        filled(space_at(), shapes(12), compute)
    assert list(space_at().find(shapes(12)).keys() ^ shapes(8).keys()) == []


def test_shards_are_written_as_they_fill_up(space_at: Any, shapes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARD_BYTES", 256)
    space = space_at()
    filled(space, shapes(16), Numbers(shapes(16)))
    assert len(space.store.shards()) == 2
    monkeypatch.setattr(module, "SHARD_BYTES", 1 << 20)
    monkeypatch.setattr(module, "SHARD_SECONDS", -1.0)
    late = space_at("late")
    filled(late, shapes(16), Numbers(shapes(16)))
    assert len(late.store.shards(late.digest)) == 4
