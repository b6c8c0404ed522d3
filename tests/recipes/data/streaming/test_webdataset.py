"""The stream of shards: each sample once a pass, the same order again, any position, and broken samples."""

from __future__ import annotations

import io
import json
import logging
import pickle
import tarfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from torch.utils.data import DataLoader

from inlay.recipes.data import DataError, Sample
from inlay.recipes.data.streaming.tar_groups import DamagedShard
from inlay.recipes.data.streaming.tar_sample import BrokenSample
from inlay.recipes.data.streaming.webdataset import TarPairs, shard_files

# A loader warns of more workers than the machine has cores.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


def png(colour: int = 0, format: str = "PNG") -> bytes:  # noqa: A002
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2), (colour, colour, colour)).save(buffer, format)
    return buffer.getvalue()


def write(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def shards(tmp_path: Path) -> str:
    """Five shards of four to eight samples, whose captions are all different."""
    for shard in range(5):
        members: dict[str, bytes] = {}
        for number in range(4 + shard):
            members |= {f"{number}.png": png(number), f"{number}.txt": f"{shard}-{number}".encode()}
        write(tmp_path / f"s-{shard}.tar", members)
    return str(tmp_path / "s-{0..4}.tar")


ALL = sorted(f"{shard}-{number}" for shard in range(5) for number in range(4 + shard))


def captions(samples: Any) -> list[str]:
    return [sample.messages[1].text for sample in samples]


def same(batch: list[Sample]) -> list[Sample]:
    return batch


def loader(data: TarPairs, workers: int, batch_size: int = 3) -> DataLoader[Any]:
    return DataLoader(data, batch_size=batch_size, num_workers=workers, collate_fn=same)


def test_a_sample_is_a_picture_and_what_is_said_to_it(shards: str) -> None:
    first = next(iter(TarPairs(shards, buffer=0, passes=1, asked="Caption:")))
    picture, words = first.messages[0].content
    assert (picture.source.mode, picture.source.size, picture.source.getpixel((0, 0))) == ("RGB", (2, 2), (0, 0, 0))
    assert (words.text, first.messages[1].text) == ("Caption:", "0-0")
    assert first.origin.endswith("s-0.tar, sample '0'")


def test_without_a_buffer_the_order_is_that_of_the_files(shards: str) -> None:
    assert captions(TarPairs(shards, buffer=0, passes=1))[:6] == ["0-0", "0-1", "0-2", "0-3", "1-0", "1-1"]


@pytest.mark.parametrize("buffer", [0, 1, 3, 10, 1000])
def test_every_sample_comes_once_a_pass(shards: str, buffer: int) -> None:
    said = captions(TarPairs(shards, buffer=buffer, passes=2))
    assert sorted(said[: len(ALL)]) == sorted(said[len(ALL) :]) == ALL


def test_passes_and_seeds_have_orders_of_their_own_and_the_same_again(shards: str) -> None:
    first = captions(TarPairs(shards, buffer=5, passes=2))
    assert first[: len(ALL)] != first[len(ALL) :]
    assert captions(TarPairs(shards, buffer=5, passes=2)) == first
    assert captions(TarPairs(shards, buffer=5, passes=2, seed=1)) != first


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("workers", [0, 2])
def test_processes_and_workers_share_every_sample_out(shards: str, world: int, workers: int) -> None:
    said = [
        caption
        for rank in range(world)
        for batch in loader(TarPairs(shards, buffer=4, passes=1, rank=rank, world=world), workers)
        for caption in captions(batch)
    ]
    assert sorted(said) == ALL


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_an_endless_stream_is_taken_up_at_any_batch(shards: str, workers: int) -> None:
    def batches(start: int, number: int) -> list[list[str]]:
        data = TarPairs(shards, buffer=4, batch_size=3, start=start)
        return [captions(batch) for batch in islice(loader(data, workers), number)]

    whole = batches(0, 30)
    for start in (1, 2, 5, 17, 25) if workers < 2 else (1, 14):
        assert batches(start, 30 - start) == whole[start:]


def test_processes_are_taken_up_each_on_its_own(shards: str) -> None:
    for rank in (0, 1):
        whole = captions(islice(TarPairs(shards, buffer=4, rank=rank, world=2), 60))
        assert captions(islice(TarPairs(shards, buffer=4, rank=rank, world=2, start=40), 20)) == whole[40:]


def test_what_is_read_over_is_not_decoded(shards: str, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    monkeypatch.setattr(
        "inlay.recipes.data.streaming.tar_sample.load_image_bytes", lambda data, name: decoded.append(name)
    )
    next(iter(TarPairs(shards, buffer=4, start=20)))
    assert len(decoded) == 1


def test_it_goes_to_other_processes(shards: str) -> None:
    data = TarPairs(shards, buffer=4, passes=1)
    assert captions(pickle.loads(pickle.dumps(data))) == captions(data)


def test_an_endless_stream_needs_a_shard_for_everyone(shards: str) -> None:
    with pytest.raises(DataError, match="one shard for each of 6 processes with 1 workers, got 5 shards"):
        next(iter(TarPairs(shards, rank=0, world=6)))


GOOD = {"0.png": png(), "0.txt": b"good"}
BROKEN: list[tuple[str, dict[str, bytes], str]] = [
    ("member", {"1.png": png(), "1.PNG": png(), "1.txt": b"a"}, "sample '1': expected one member called png, got more"),
    ("picture", {"1.png": b"", "1.txt": b"a"}, "sample '1', png: the file is empty"),
    ("picture", {"1.png": png()[:40], "1.txt": b"a"}, "sample '1', png: "),
    ("picture", {"1.jpg": b"GIF89a" + bytes(50), "1.txt": b"a"}, "expected a JPEG, PNG or WebP file"),
    ("picture", {"1.txt": b"a", "1.gif": b"x"}, r"expected one of jpg, jpeg, png, webp, got \['txt', 'gif'\]"),
    ("picture", {"1.jpg": png(), "1.png": png(), "1.txt": b"a"}, r"expected one of jpg.*got \['jpg', 'png', 'txt'\]"),
    ("caption", {"1.png": png(), "1.cls": b"3"}, r"expected a caption, txt or json, got \['png', 'cls'\]"),
    ("caption", {"1.png": png(), "1.txt": b" \n"}, "sample '1', txt: .*white space"),
    ("caption", {"1.png": png(), "1.txt": b"\xff"}, "sample '1', txt: expected UTF-8"),
    ("caption", {"1.png": png(), "1.json": b"{"}, "sample '1', json: not JSON"),
    ("caption", {"1.png": png(), "1.json": b"[]"}, r"json: expected an object with a caption, got \[\]"),
    ("caption", {"1.png": png(), "1.json": b'{"text": "a"}'}, "caption: expected text, got None"),
    ("caption", {"1.png": png(), "1.json": b'{"caption": 3}'}, "caption: expected text, got 3"),
]


@pytest.mark.parametrize(("reason", "members", "told"), BROKEN)
def test_a_broken_sample_is_an_error_that_names_shard_and_sample(
    tmp_path: Path, reason: str, members: dict[str, bytes], told: str
) -> None:
    path = write(tmp_path / "bad.tar", GOOD | members)
    with pytest.raises(BrokenSample, match=rf"bad\.tar, {told}" if told.startswith("sample") else told) as caught:
        list(TarPairs(path, passes=1))
    assert caught.value.reason == reason
    assert "bad.tar, sample " in str(caught.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_samples_can_be_left_out_and_are_counted(tmp_path: Path, workers: int) -> None:
    paths = [write(tmp_path / f"{n}.tar", GOOD | members) for n, (_, members, _) in enumerate(BROKEN)]
    data = TarPairs(paths, passes=1, broken="skip")
    said = [caption for batch in loader(data, workers) for caption in captions(batch)]
    assert said == ["good"] * len(BROKEN)
    assert data.skipped == {"member": 1, "picture": 5, "caption": 7, "shard": 0}


def test_a_damaged_shard_is_an_error_or_is_used_up_to_the_damage(
    tmp_path: Path, shards: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "s-1.tar"
    path.write_bytes(path.read_bytes()[: 512 * 2 * 2 * 2 + 700])  # two samples and a piece
    with pytest.raises(DamagedShard, match=r"s-1\.tar"):
        list(TarPairs(shards, passes=1))
    data = TarPairs(shards, passes=1, buffer=0, broken="skip")
    with caplog.at_level(logging.WARNING):
        assert sorted(captions(data)) == [said for said in ALL if said not in ("1-2", "1-3", "1-4")]
    assert data.skipped["shard"] == 1
    assert "s-1.tar" in caplog.text


def test_a_position_is_the_same_among_broken_samples(tmp_path: Path) -> None:
    members: dict[str, bytes] = {}
    for number in range(12):
        members |= {f"{number}.png": png() if number % 3 else b"", f"{number}.txt": str(number).encode()}
    path = write(tmp_path / "some.tar", members)
    whole = captions(islice(TarPairs(path, buffer=4, broken="skip"), 30))
    assert captions(islice(TarPairs(path, buffer=4, broken="skip", start=11), 19)) == whole[11:]


def test_a_stream_without_any_good_sample_ends_with_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.tar", {"1.png": b"", "1.txt": b"a"})
    with pytest.raises(DataError, match=r"bad\.tar and 0 more shards: no usable sample"):
        next(iter(TarPairs(path, broken="skip")))


@pytest.mark.parametrize(("extension", "format"), [("jpg", "JPEG"), ("jpeg", "JPEG"), ("png", "PNG"), ("webp", "WEBP")])
def test_the_formats_of_pictures(tmp_path: Path, extension: str, format: str) -> None:  # noqa: A002
    path = write(tmp_path / "a.tar", {f"1.{extension}": png(format=format), "1.txt": b"a"})
    assert captions(TarPairs(path, passes=1)) == ["a"]


def test_the_text_goes_before_the_field(tmp_path: Path) -> None:
    meta = json.dumps({"caption": " from json "}).encode()
    path = write(
        tmp_path / "a.tar", {"1.png": png(), "1.json": meta, "2.png": png(), "2.txt": b"from txt", "2.json": meta}
    )
    assert captions(TarPairs(path, passes=1, buffer=0)) == ["from json", "from txt"]


@pytest.mark.parametrize(
    "options",
    [
        {"buffer": -1},
        {"batch_size": 0},
        {"start": -1},
        {"passes": 0},
        {"start": 1, "passes": 1},
        {"rank": 1},
        {"rank": 2, "world": 2},
        {"rank": -1, "world": 2},
        {"world": 0},
    ],
)
def test_numbers_that_cannot_be_are_errors(shards: str, options: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"expected|only an endless"):
        TarPairs(shards, **options)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (lambda folder: [], "at least one shard, got none"),
        (lambda folder: folder / "{a,b}.tar", r"2 of 2 shards are not files.*a\.tar, .*b\.tar"),
        (lambda folder: "pipe:cat x.tar", "1 of 1 shards are not files .*nothing is downloaded"),
        (lambda folder: "https://host/x.tar", "nothing is downloaded"),
        (lambda folder: folder, "not files"),
        (lambda folder: [folder / "s-{0..4}.tar", folder / "s-2.tar"], "1 of them more than once"),
    ],
)
def test_shards_are_different_files(tmp_path: Path, shards: str, names: Callable[[Path], Any], told: str) -> None:
    with pytest.raises(DataError, match=told):
        shard_files(names(tmp_path))
