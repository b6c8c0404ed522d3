"""Batches from shards: their numbers, where a resumed run goes on, what was left out."""

from __future__ import annotations

import io
import tarfile
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.streaming.shards import Shards, StreamData
from inlay.recipes.settings.stage import Stage

# A loader warns of more workers than the machine has cores.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")

BATCHES = 9


class At:
    """A trainer that stands at a step."""

    def __init__(self, step: int) -> None:
        self.global_step = step


def stage(**fields: Any) -> Stage:
    chosen = {"max_steps": BATCHES, "batch_size": 4, **fields}
    return Stage(data="align", template="blip2", geometry="squash", lr={"inputs.image": 1e-3}, **chosen)


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, ...]:
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, "PNG")
    for shard in range(3):
        with tarfile.open(tmp_path / f"{shard}.tar", "w") as archive:
            for number in range(5):
                add(archive, f"{number}.png", buffer.getvalue())
                add(archive, f"{number}.txt", f"{shard}-{number}".encode())
    return tuple(tmp_path / f"{shard}.tar" for shard in range(3))


def row(number: int, sample: Sample) -> tuple[int, str]:
    return number, sample.messages[1].text


def data_of(files: tuple[Path, ...], step: int = 0, workers: int = 0, **fields: Any) -> StreamData:
    shards = Shards(files=files, shuffle=4, broken="skip")
    data = StreamData(shards, row, list, stage(**fields), seed=5, workers=workers)
    trainer: Any = At(step)
    data.trainer = trainer
    return data


def batches_of(data: StreamData, count: int) -> list[list[tuple[int, str]]]:
    return [part.batch for part in islice(data.train_dataloader(), count)]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_goes_on_with_the_very_next_batch(files: tuple[Path, ...], workers: int, accumulate: int) -> None:
    micro = BATCHES * accumulate
    whole = batches_of(data_of(files, workers=workers, accumulate=accumulate), micro)
    assert [len(batch) for batch in whole] == [4 // accumulate] * micro
    later = batches_of(data_of(files, 5, workers, accumulate=accumulate), micro - 5 * accumulate)
    assert later == whole[5 * accumulate :]


@pytest.mark.parametrize("workers", [0, 2])
def test_every_row_knows_the_number_of_its_batch(files: tuple[Path, ...], workers: int) -> None:
    numbers = [[number for number, _ in batch] for batch in batches_of(data_of(files, 3, workers), 6)]
    assert numbers == [[place] * 4 for place in range(3, 9)]


def test_a_checkpoint_of_other_settings_is_refused(files: tuple[Path, ...]) -> None:
    one, other = data_of(files).train_dataloader(), data_of(files, batch_size=2).train_dataloader()
    other_state: Any = one
    one.load_state_dict(other_state.state_dict())
    with pytest.raises(DataError, match="written with other data or settings"):
        other.load_state_dict(other_state.state_dict())


def test_what_was_left_out_is_counted(files: tuple[Path, ...]) -> None:
    with tarfile.open(files[0], "w") as archive:
        add(archive, "1.png", b"no picture")
        add(archive, "1.txt", b"a disc")
    data = data_of(files)
    assert data.skipped == {}
    batches_of(data, BATCHES)
    assert set(data.skipped) == {"picture"}


def test_a_stage_without_an_end_is_refused(files: tuple[Path, ...]) -> None:
    with pytest.raises(DataError, match="max_steps: expected the number of steps"):
        data_of(files, max_steps=None)


def test_the_first_samples_come_from_the_front(files: tuple[Path, ...]) -> None:
    assert [sample.messages[1].text for sample in Shards(files=files).first(2)] == ["0-0", "0-1"]


@pytest.mark.parametrize("broken", ["raise", "skip"])
def test_shards_without_a_sample_are_an_error(tmp_path: Path, broken: Any) -> None:
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        add(archive, "1.png", b"no picture")
    with pytest.raises(DataError, match=r"0\.tar.* (no usable sample|expected a caption)"):
        Shards(files=(tmp_path / "0.tar",), broken=broken).first(2)
