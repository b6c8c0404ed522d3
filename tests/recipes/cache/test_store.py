"""The folder: what is damaged is never read, what is not ours is never touched."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from inlay.recipes.cache.index import read_index
from inlay.recipes.cache.shard import shards_in
from inlay.recipes.cache.store import FORMAT, CacheWarning, Space


def shard_of(space: Space) -> Path:
    (entry,) = shards_in(space.folder)
    return Path(entry.path)


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_is_written_is_found_bit_for_bit(space_at: Any, keys_of: Any, dtype: torch.dtype) -> None:
    tensors = {key: torch.randn(3, 4).to(dtype) for key in keys_of(5)}
    assert same(space_at().write(tensors), tensors)
    found = space_at().find(keys_of(9))
    assert same(found, tensors)
    assert all(tensor.dtype == dtype for tensor in found.values())


def test_another_space_has_nothing_of_it(space_at: Any, tensors_of: Any, keys_of: Any) -> None:
    space_at("one").write(tensors_of(0, 1))
    assert space_at("two").find(keys_of(2)) == {}


def test_writing_into_what_was_found_leaves_the_file_alone(space_at: Any, tensors_of: Any, keys_of: Any) -> None:
    space_at().write(tensors_of(0))
    before = shard_of(space_at()).read_bytes()
    found = space_at().find(keys_of(1))
    found[keys_of(1)[0]].add_(1)
    assert shard_of(space_at()).read_bytes() == before


@pytest.mark.parametrize("place", [0, 9, 60, -1])
def test_a_flipped_bit_is_seen_named_and_computed_again(
    space_at: Any, tensors_of: Any, keys_of: Any, place: int
) -> None:
    space_at().write(tensors_of(0, 1))
    path = shard_of(space_at())
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)
    fresh = space_at()
    with pytest.warns(CacheWarning, match=path.name):
        assert fresh.find(keys_of(2)) == {}
    assert not path.exists()
    assert same(fresh.write(tensors_of(0, 1)), tensors_of(0, 1))
    assert same(fresh.find(keys_of(2)), tensors_of(0, 1))


@pytest.mark.parametrize("wrong", [torch.zeros(3, 4), torch.zeros(11), torch.zeros(12, dtype=torch.int64)])
def test_a_shard_of_another_shape_is_named_and_computed_again(
    space_at: Any, tensors_of: Any, keys_of: Any, wrong: torch.Tensor
) -> None:
    first, second = keys_of(2)
    space_at().write({first: wrong, second: torch.ones(12)})
    path, fresh, shapes = shard_of(space_at()), space_at(), {first: (12,), second: (12,)}
    assert list(fresh.find([second], {second: (12,)})) == [second]
    with pytest.warns(CacheWarning, match=rf"{path.name}: {first[:12]}.*expected .* of shape \[12\], got"):
        assert fresh.find([first, second], shapes) == {}
    assert not path.exists()
    fresh.write(tensors_of(0, 1))
    assert same(fresh.find(keys_of(2), shapes), tensors_of(0, 1))


@pytest.mark.parametrize("length", [0, 5, 100, -8])
def test_a_shard_that_was_cut_off_is_seen(space_at: Any, tensors_of: Any, keys_of: Any, length: int) -> None:
    space = space_at()
    space.write(tensors_of(0))
    space.flush()
    path = shard_of(space)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.warns(CacheWarning, match=path.name):
        assert space_at().find(keys_of(1)) == {}


def test_a_whole_shard_in_the_place_of_another_space_does_not_count(
    space_at: Any, tensors_of: Any, keys_of: Any
) -> None:
    one, two = space_at("one"), space_at("two")
    one.write(tensors_of(0))
    two.folder.mkdir(parents=True)
    (two.folder / shard_of(one).name).write_bytes(shard_of(one).read_bytes())
    with pytest.warns(CacheWarning, match="another space"):
        assert space_at("two").find(keys_of(1)) == {}
    assert same(space_at("one").find(keys_of(1)), tensors_of(0))


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"version": 1, "sha',
        "[]",
        '{"version": 2, "shards": {}}',
        '{"version": 1, "shards": {"../../x": []}}',
        '{"version": 1, "shards": 7}',
        "[" * 100_000,
    ],
    ids=["empty", "cut off", "list", "version", "path", "number", "deep"],
)
def test_an_index_that_cannot_be_read_costs_nothing_but_time(
    space_at: Any, tensors_of: Any, keys_of: Any, text: str
) -> None:
    space = space_at()
    space.write(tensors_of(0, 1))
    space.flush()
    whole = read_index(space.folder)
    assert list(whole.values()) == [tuple(keys_of(2))]
    (space.folder / "index.json").write_text(text)
    assert read_index(space.folder) == {}
    fresh = space_at()
    assert same(fresh.find(keys_of(2)), tensors_of(0, 1))
    fresh.flush()
    assert read_index(space.folder) == whole


def test_an_index_that_lies_opens_no_other_file_and_gives_nothing_false(
    space_at: Any, tensors_of: Any, keys_of: Any, tmp_path: Path
) -> None:
    space = space_at()
    space.write(tensors_of(0))
    secret = tmp_path / "secret.safetensors"
    secret.write_bytes(shard_of(space).read_bytes())
    claims = {shard_of(space).stem: keys_of(3), "../../secret": keys_of(3), "/etc/passwd": [], "f" * 64: keys_of(3)}
    (space.folder / "index.json").write_text(json.dumps({"version": 1, "shards": claims}))
    assert set(read_index(space.folder)) == {shard_of(space).stem, "f" * 64}
    assert same(space_at().find(keys_of(3)), tensors_of(0))
    assert secret.exists()


def test_links_foreign_files_and_other_versions_are_left_alone(
    space_at: Any, tensors_of: Any, keys_of: Any, tmp_path: Path
) -> None:
    space = space_at(budget=1)
    others = [
        tmp_path / "cache" / "holiday.png",
        tmp_path / "cache" / "inlay-cache-2" / "a" / f"{'0' * 64}.safetensors",
        tmp_path / "cache" / FORMAT / "notes.txt",
        space.folder / "model.safetensors",
        space.folder / f"{'0' * 63}.safetensors",
        space.folder / ".hidden.part",
        tmp_path / "elsewhere.safetensors",
    ]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine")
        os.utime(path, (0, 0))
    link = space.folder / f"{'1' * 64}.safetensors"
    link.symlink_to(tmp_path / "elsewhere.safetensors")
    assert space.find(keys_of(2)) == {}
    with pytest.raises(OSError, match="do not fit"):
        space.write(tensors_of(0))
    space.flush()
    assert all(path.read_bytes() == b"mine" for path in others)
    assert link.is_symlink()


def test_an_abandoned_part_is_cleared_away_and_a_fresh_one_is_not(space_at: Any, keys_of: Any) -> None:
    space = space_at()
    space.folder.mkdir(parents=True)
    old, fresh = (space.folder / f".{letter * 16}.part" for letter in "ab")
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    assert space.find(keys_of(1)) == {}
    assert (old.exists(), fresh.exists()) == (False, True)


def test_the_shard_that_was_used_longest_ago_makes_room(space_at: Any, tensors_of: Any, keys_of: Any) -> None:
    keys = keys_of(4)
    for number in range(3):
        space_at().write(tensors_of(number, size=1000))
        (path,) = [Path(e.path) for e in shards_in(space_at().folder) if time.time() - e.stat().st_mtime < 1000]
        os.utime(path, (10_000 * (number + 1),) * 2)
    space_at().find(keys[:1])  # the oldest is used, so the second is the one to go
    whole = sum(entry.stat().st_size for entry in shards_in(space_at().folder))
    space_at("another", budget=whole + 500).write(tensors_of(3, size=1000))
    assert set(space_at().find(keys)) == {keys[0], keys[2]}
    assert set(space_at("another").find(keys)) == {keys[3]}


def test_what_a_run_uses_is_not_dropped_by_itself(space_at: Any, tensors_of: Any, keys_of: Any) -> None:
    space = space_at(budget=6000)
    space.write(tensors_of(0, size=1000))
    with pytest.raises(OSError, match="do not fit"):
        space.write(tensors_of(1, size=1000))
    assert set(space.find(keys_of(2))) == set(keys_of(1))


def test_what_another_process_drops_stays_readable_where_it_was_found(
    space_at: Any, tensors_of: Any, keys_of: Any
) -> None:
    space_at().write(tensors_of(0, size=5000))
    reader = space_at()
    found = reader.find(keys_of(1))
    space_at("another", budget=21_000).write(tensors_of(1, size=5000))
    assert not shards_in(reader.folder)
    assert same(found, tensors_of(0, size=5000))
    assert reader.find(keys_of(1)) == {}


def test_facts_are_written_down_for_people(space_at: Any, tensors_of: Any) -> None:
    space = space_at("clip")
    space.write(tensors_of(0))
    assert json.loads((space.folder / "facts.json").read_text()) == {"name": "clip"}
