"""Tars as streams: complete ones give the groups of webdataset, damaged ones an error with the path."""

from __future__ import annotations

import io
import os
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inlay.recipes.data.streaming.tar_groups import DamagedShard, Group, tar_groups

READ = ("jpg", "txt")
ENDS_LATE = r"truncated: a member ends at byte [\d,]+ of 66,048|unexpected end of data"
Tar = Callable[..., Path]


def member(name: str, data: bytes = b"x", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


@pytest.fixture
def tar(tmp_path: Path) -> Tar:
    def write(*members: str | tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> Path:  # noqa: A002
        path = tmp_path / "shard.tar"
        with tarfile.open(path, "w", format=format) as archive:
            for item in members:
                info, data = member(item, item.encode()) if isinstance(item, str) else item
                archive.addfile(info, io.BytesIO(data) if info.isreg() else None)
        return path

    return write


def read(path: Path) -> list[Group]:
    return list(tar_groups(path, READ))


def parts(path: Path) -> list[tuple[str, list[str]]]:
    return [(group.key, list(group.parts)) for group in read(path)]


def test_neighbours_of_one_name_are_a_group(tar: Tar) -> None:
    path = tar("a/1.jpg", "a/1.txt", "a/2.txt", "b/2.jpg", "b/2.txt")
    assert parts(path) == [("a/1", ["jpg", "txt"]), ("a/2", ["txt"]), ("b/2", ["jpg", "txt"])]
    assert read(path)[0].parts["txt"] == b"a/1.txt"


def test_a_name_goes_to_its_first_dot_and_extensions_are_lower_case(tar: Tar) -> None:
    groups = read(tar("v1.0/7.JPG", "v1.0/7.seg.png", "v1.0/7.Txt"))
    assert [(group.key, list(group.parts), group.others) for group in groups] == [
        ("v1.0/7", ["jpg", "txt"], ["seg.png"])
    ]


def test_folders_hidden_files_and_names_without_extension_are_passed_over(tar: Tar) -> None:
    path = tar(member("a", b"", type=tarfile.DIRTYPE), "./a/1.jpg", "a/._1.jpg", "a/README", "./a/1.txt")
    assert parts(path) == [("a/1", ["jpg", "txt"])]


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_all_formats_and_long_names_are_read(tar: Tar, format: int) -> None:  # noqa: A002
    name = "/".join(["long" * 20, "name" * 20, "1"])
    assert parts(tar(f"{name}.jpg", f"{name}.txt", format=format)) == [(name, ["jpg", "txt"])]


def test_contents_that_are_not_asked_for_are_not_kept(tar: Tar) -> None:
    [group] = read(tar("1.jpg", *(f"1.x{number}" for number in range(30))))
    assert (list(group.parts), len(group.others)) == (["jpg"], 30)


def test_an_archive_without_members_has_no_groups(tar: Tar) -> None:
    assert read(tar()) == []


def test_links_and_second_members_of_one_name_are_not_read(tar: Tar) -> None:
    link = member("1.jpg", b"", type=tarfile.SYMTYPE, linkname="a.jpg")
    [group] = read(tar(link, "1.txt", "1.TXT"))
    assert (list(group.parts), group.others) == (["txt"], ["jpg (a link)", "txt"])


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_claims_a_terabyte_is_damage(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, 1 << 40
    path = tmp_path / "shard.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10_000))
    with pytest.raises(DamagedShard, match=r"shard\.tar: "):
        read(path)


@pytest.mark.parametrize("size", [-4096, -512, -1])
def test_a_negative_size_is_damage(tmp_path: Path, tar: Tar, size: int) -> None:
    data = bytearray(tar("1.jpg", "2.jpg").read_bytes())
    header = data[:512]
    header[124:136] = b"\xff" * 8 + struct.pack(">i", size)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path = tmp_path / "negative.tar"
    path.write_bytes(header + data[512:])
    with pytest.raises(DamagedShard):
        read(path)


@pytest.mark.parametrize("data", [b"", b"x", b"\x1f\x8b" + bytes(1000), b"<html>" * 500, os.urandom(2048)])
def test_what_is_no_tar_is_damage(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "shard.tar"
    path.write_bytes(data)
    with pytest.raises(DamagedShard, match=r"shard\.tar: "):
        read(path)


def test_a_file_that_is_missing_is_damage(tmp_path: Path) -> None:
    with pytest.raises(DamagedShard, match="No such file"):
        read(tmp_path / "gone.tar")


def test_a_tar_cut_anywhere_before_its_end_mark_is_damage(tar: Tar, tmp_path: Path) -> None:
    whole = tar(member("1.jpg", b"x" * 700), "1.txt", member("2.jpg", b"x" * 512)).read_bytes()
    end = 512 * (1 + 2 + 1 + 1 + 1 + 1)
    assert whole[end:].strip(b"\0") == b""
    cut = tmp_path / "cut.tar"
    for kept in [*range(0, end + 512, 128), end - 1, end + 511]:
        cut.write_bytes(whole[:kept])
        with pytest.raises(DamagedShard):
            read(cut)
    cut.write_bytes(whole[: end + 512])
    assert len(read(cut)) == 2


def test_what_stands_before_the_damage_is_read_and_what_is_cut_is_not(tar: Tar, tmp_path: Path) -> None:
    whole = tar("1.jpg", "1.txt", "2.jpg", "2.txt", "3.jpg", "3.txt").read_bytes()
    cut = tmp_path / "cut.tar"
    cut.write_bytes(whole[: 512 * 2 * 3])  # after 2.jpg
    groups = tar_groups(cut, READ)
    assert next(groups).key == "1"
    with pytest.raises(DamagedShard, match=r"cut\.tar: truncated or damaged at byte 3,072"):
        next(groups)


def test_garbage_between_members_is_not_taken_for_the_end(tar: Tar, tmp_path: Path) -> None:
    whole = tar("1.jpg", "2.jpg", "3.jpg").read_bytes()
    path = tmp_path / "garbage.tar"
    path.write_bytes(whole[:1024] + b"g" * 512 + whole[1024:])
    with pytest.raises(DamagedShard, match="at byte 1,024"):
        read(path)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5119), st.integers(0, 255)), min_size=1, max_size=8))
def test_changed_bytes_give_groups_or_the_one_error(tmp_path_factory: pytest.TempPathFactory, changes: Any) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("1.jpg", "1.txt", "\u65e5.jpg", "2.txt"):
            info, data = member(name, name.encode())
            archive.addfile(info, io.BytesIO(data))
    changed = bytearray(buffer.getvalue())
    for place, value in changes:
        changed[place] = value
    path = tmp_path_factory.mktemp("fuzz") / "shard.tar"
    path.write_bytes(changed)
    try:
        assert all(len(group.parts) <= 2 for group in read(path))
    except DamagedShard:
        return


def test_nothing_is_remembered_of_what_was_read(tar: Tar, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = tarfile.TarFile.next

    def counted(self: Any) -> Any:
        seen.append(len(self.members))
        return original(self)

    monkeypatch.setattr(tarfile.TarFile, "next", counted)
    read(tar(*(f"{number}.jpg" for number in range(50))))
    assert max(seen) <= 1


def test_groups_are_those_of_webdataset(tar: Tar) -> None:
    reader = pytest.importorskip("webdataset.tariterators", reason="install webdataset to compare")
    path = tar("./a/1.jpg", "./a/1.txt", "b.c/2.x.jpg", "b.c/2.TXT", "3.txt", "3.jpg", "4.jpg")
    with path.open("rb") as file:
        files = [item | {"__url__": "x"} for item in reader.tar_file_iterator(file)]
        expected = [
            (sample["__key__"].removeprefix("./"), {key: value for key, value in sample.items() if key in READ})
            for sample in reader.group_by_keys(iter(files))
        ]
    assert [(group.key, group.parts) for group in read(path)] == expected


@pytest.mark.parametrize("name", ["1.jpg", "1.other", "folder/"])
@pytest.mark.parametrize("size", [1 << 40, 8 << 60])
def test_a_member_that_claims_more_bytes_than_the_file_has_is_refused_at_once(
    tmp_path: Path, name: str, size: int
) -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    path = tmp_path / "shard.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 16))
    with pytest.raises(DamagedShard, match=ENDS_LATE):
        read(path)


def test_a_size_in_an_extended_header_is_refused_at_once(tmp_path: Path) -> None:
    info = tarfile.TarInfo("1.jpg")
    info.pax_headers = {"size": str(8 << 60)}
    path = tmp_path / "shard.tar"
    path.write_bytes(info.tobuf(tarfile.PAX_FORMAT) + bytes(1 << 16))
    with pytest.raises(DamagedShard, match=ENDS_LATE):
        read(path)
