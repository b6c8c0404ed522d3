"""An error in a process that loads data is the one line that it would be in the training process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from torch.utils.data import IterableDataset

from inlay.hub.errors import BundleError, InlayError
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.data.sampling.step_data import StepData, StepLoader
from inlay.recipes.settings.stage import Stage

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

STAGE = Stage(data="train", template="plain", geometry="pad", lr={"lora": 1e-3}, batch_size=2, epochs=2)


def read(number: int, index: int) -> int:
    if index == 3:
        raise DataError("train.json, item 3: 7.png: cannot be read")
    return index


@pytest.mark.parametrize("workers", [0, 1])
def test_a_row_that_cannot_be_read_is_the_same_line_from_a_worker(workers: int) -> None:
    data = StepData([4], read, list, STAGE, seed=1, workers=workers)
    with pytest.raises(DataError) as raised:
        list(data.train_dataloader())
    assert str(raised.value) == "train.json, item 3: 7.png: cannot be read"


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_with_fields_of_its_own_comes_through_collation(workers: int) -> None:
    def collate(rows: list[Any]) -> Any:
        raise BundleError("inlay.json", "expected less", field="parts")

    data = StepData([4], lambda _, index: index, collate, STAGE, seed=1, workers=workers)
    with pytest.raises(BundleError) as raised:
        list(data.train_dataloader())
    assert "\n" not in str(raised.value)
    assert "expected less" in str(raised.value)


class Stream(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        yield from (1, 2, 3)
        raise DataError("000.tar, 7.jpg: cut off")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stream_gives_its_batches_before_the_error(workers: int) -> None:
    loader = StepLoader(Stream(), state={}, collate_fn=list, batch_size=2, num_workers=workers)
    steps = iter(loader)
    assert next(steps).batch == [1, 2]
    with pytest.raises(InlayError, match=r"^000\.tar, 7\.jpg: cut off$"):
        next(steps)
