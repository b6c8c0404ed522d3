"""The folder: damaged shards are never used, other files are never touched, the budget is kept."""

from __future__ import annotations

import json
import os
import struct
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from inlay.hub.errors import BundleError
from inlay.hub.safety.atomic import TEMPORARY
from inlay.recipes.data.cache.store import FORMAT, CacheWarning


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_tensors_are_found_bit_for_bit(space_at: Any, shapes_of: Any, dtype: torch.dtype) -> None:
    tensors = {key: torch.randn(3, 4).to(dtype) for key in shapes_of(5)}
    assert same(space_at().write(tensors), tensors)
    found = space_at().find(dict.fromkeys(shapes_of(9), (3, 4)))
    assert same(found, tensors)
    assert all(tensor.dtype == dtype for tensor in found.values())


def test_found_tensors_are_mapped_and_writing_into_them_leaves_the_file_alone(
    space_at: Any, tensors_of: Any, shapes_of: Any, shard_of: Any
) -> None:
    space_at().write(tensors_of(0))
    path = shard_of(space_at())
    before = path.read_bytes()
    (found,) = space_at().find(shapes_of(1)).values()
    if (maps := Path("/proc/self/maps")).exists():
        assert str(path) in maps.read_text()
    found.add_(1)
    assert path.read_bytes() == before


def test_another_space_has_none_of_them(space_at: Any, tensors_of: Any, shapes_of: Any) -> None:
    space_at("one").write(tensors_of(0, 1))
    assert space_at("two").find(shapes_of(2)) == {}


def test_a_shard_tells_what_its_values_depend_on(space_at: Any, tensors_of: Any, shard_of: Any) -> None:
    space = space_at("clip")
    space.write(tensors_of(0))
    with safe_open(shard_of(space), framework="pt") as shard:
        assert json.loads(shard.metadata()["facts"]) == {"name": "clip"}


@pytest.mark.parametrize("place", [0, 9, 60, -1])
def test_a_shard_with_a_flipped_bit_is_named_removed_and_computed_again(
    space_at: Any, tensors_of: Any, shapes_of: Any, shard_of: Any, place: int
) -> None:
    space_at().write(tensors_of(0, 1))
    path = shard_of(space_at())
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)
    fresh = space_at()
    with pytest.warns(CacheWarning, match=path.name):
        assert fresh.find(shapes_of(2)) == {}
    assert not path.exists()
    assert same(fresh.write(tensors_of(0, 1)), tensors_of(0, 1))
    assert same(fresh.find(shapes_of(2)), tensors_of(0, 1))


@pytest.mark.parametrize("length", [0, 5, 100, -8])
def test_a_truncated_shard_is_named_and_removed(
    space_at: Any, tensors_of: Any, shapes_of: Any, shard_of: Any, length: int
) -> None:
    space_at().write(tensors_of(0))
    path = shard_of(space_at())
    path.write_bytes(path.read_bytes()[:length])
    with pytest.warns(CacheWarning, match=path.name):
        assert space_at().find(shapes_of(1)) == {}
    assert not path.exists()


def test_a_header_of_gigabytes_is_refused_unread(space_at: Any, shapes_of: Any) -> None:
    space = space_at()
    space.folder.mkdir(parents=True)
    path = space.folder / f"{'0' * 64}.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 40))
    os.truncate(path, 1 << 41)  # sparse
    with pytest.warns(CacheWarning, match="a header of at most 1048576 bytes"):
        assert space.find(shapes_of(1)) == {}


@pytest.mark.parametrize("wrong", [torch.zeros(3, 4), torch.zeros(11), torch.zeros(12, dtype=torch.int8)])
def test_a_shard_with_another_shape_is_named_and_computed_again(
    space_at: Any, tensors_of: Any, shapes_of: Any, shard_of: Any, wrong: torch.Tensor
) -> None:
    first, second = shapes = shapes_of(2)
    space_at().write({first: wrong, second: torch.ones(12)})
    path, fresh = shard_of(space_at()), space_at()
    assert list(fresh.find({second: (12,)})) == [second]
    with pytest.warns(CacheWarning, match=rf"{path.name}: expected floats of shape \[12\], got"):
        assert fresh.find(shapes) == {}
    assert not path.exists()
    fresh.write(tensors_of(0, 1))
    assert same(fresh.find(shapes), tensors_of(0, 1))


def test_a_shard_that_was_moved_to_another_space_is_not_used(
    space_at: Any, tensors_of: Any, shapes_of: Any, shard_of: Any
) -> None:
    one, two = space_at("one"), space_at("two")
    one.write(tensors_of(0))
    two.folder.mkdir(parents=True)
    (two.folder / shard_of(one).name).write_bytes(shard_of(one).read_bytes())
    with pytest.warns(CacheWarning, match="expected bytes whose digest is the file's name"):
        assert space_at("two").find(shapes_of(1)) == {}
    assert same(space_at("one").find(shapes_of(1)), tensors_of(0))


@pytest.mark.parametrize("tensor", [torch.zeros(0, 3), torch.zeros(2, dtype=torch.float64)])
def test_tensors_that_a_shard_cannot_hold_are_refused_before_writing(space_at: Any, tensor: torch.Tensor) -> None:
    space = space_at()
    with pytest.raises(BundleError, match="expected"):
        space.write({"a": tensor})
    assert not space.folder.exists()


def test_links_other_files_and_other_versions_are_left_alone(
    space_at: Any, tensors_of: Any, shapes_of: Any, tmp_path: Path
) -> None:
    space = space_at(budget=1)
    others = [
        tmp_path / "cache" / "holiday.png",
        tmp_path / "cache" / "inlay-cache-1" / ("a" * 64) / f"{'0' * 64}.safetensors",
        tmp_path / "cache" / FORMAT / "notes.txt",
        space.folder / "model.safetensors",
        space.folder / f"{'0' * 63}.safetensors",
        tmp_path / "elsewhere.safetensors",
    ]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine")
        os.utime(path, (0, 0))
    link = space.folder / f"{'1' * 64}.safetensors"
    link.symlink_to(tmp_path / "elsewhere.safetensors")
    os.mkfifo(space.folder / f"{'2' * 64}.safetensors")
    assert space.find(shapes_of(2)) == {}
    space.write(tensors_of(0))
    assert all(path.read_bytes() == b"mine" for path in others)
    assert link.is_symlink()


def test_a_temporary_file_of_a_dead_process_is_removed_and_a_fresh_one_is_not(space_at: Any, tensors_of: Any) -> None:
    space = space_at()
    space.folder.mkdir(parents=True)
    old, fresh = (space.folder / f"{TEMPORARY}{letter * 16}" for letter in "ab")
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    space.write(tensors_of(0))
    assert (old.exists(), fresh.exists()) == (False, True)


def test_the_least_recently_used_shard_makes_room(space_at: Any, tensors_of: Any, shapes_of: Any) -> None:
    keys = list(shapes := shapes_of(4, size=1000))
    for number in range(3):
        space = space_at()
        before = set(space.store.shards())
        space.write(tensors_of(number, size=1000))
        (path,) = space.store.shards().keys() - before
        os.utime(path, (10_000 * (number + 1),) * 2)
    space_at().find({keys[0]: (1000,)})  # the oldest is used, so the second one is removed
    whole = sum(status.st_size for status in space.store.shards().values())
    space_at("another", budget=whole + 500).write(tensors_of(3, size=1000))
    assert set(space_at().find(shapes)) == {keys[0], keys[2]}
    assert set(space_at("another").find(shapes)) == {keys[3]}


def test_a_shard_that_another_process_removes_stays_readable_where_it_is_mapped(
    space_at: Any, tensors_of: Any, shapes_of: Any
) -> None:
    shapes = shapes_of(1, size=5000)
    space_at().write(tensors_of(0, size=5000))
    reader, late = space_at(), space_at()
    found = reader.find(shapes)
    late.find({key: (1,) for key in shapes_of(2, size=1) if key not in shapes})  # has read the header alone
    space_at("another", budget=21_000).write(tensors_of(1, size=5000))
    assert not reader.store.shards(reader.digest)
    assert same(found, tensors_of(0, size=5000))
    assert late.find(shapes) == {}
    space_at().write(tensors_of(0, size=5000))
    assert same(late.find(shapes), tensors_of(0, size=5000))
