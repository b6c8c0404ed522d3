"""Training batches of conversations, encoded and collated for one model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.conversation.messages import MediaPart
from inlay.adapters.core.batch import Batch
from inlay.adapters.core.encode import Encoded
from inlay.adapters.media.tiling.grid import counted
from inlay.recipes.data.cache.features import FeatureCache
from inlay.recipes.data.preparation.stage_samples import varied
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.data.sampling.lengths import lengths_of
from inlay.recipes.data.sampling.step_data import StepData
from inlay.recipes.settings.stage import Stage

__all__ = ["StageData"]

_CHARACTERS = 4
"""Of a token, about."""
KEEP_BYTES = 1 << 29
"""Size of the token ids, labels and slots that are kept in memory; other samples are tokenised every epoch. A sample
has a few kilobytes, and one with tiled pictures 50."""


class StageData(StepData):
    """Training batches of conversations.

    Args:
        samples: the training samples.
        model: the attached model, which encodes and collates them.
        stage: batch size, layout and geometry.
        seed: seed of the order and of the random variants.
        sizes: number of samples of each data set, in the order of `samples`; one data set if not given.
        features: cached features; None to run the encoders in the training loop.
        workers: processes that load media; 0 loads in the training process.

    Raises:
        DataError: no samples.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        model: AttachedModel,
        stage: Stage,
        *,
        seed: int,
        sizes: Sequence[int] | None = None,
        features: FeatureCache | None = None,
        workers: int = 0,
    ) -> None:
        super().__init__(
            [len(samples)] if sizes is None else sizes,
            self._encode,
            self._collate,
            stage,
            seed=seed,
            workers=workers,
            lengths=_lengths(samples, model, stage) if stage.grouping == "length" else None,
        )
        self.samples, self.model, self.features = samples, model, features
        self.encoded: dict[int, Encoded] = {}
        self.kept = 0
        """Bytes of the encoded samples."""

    def _encode(self, number: int, index: int) -> Encoded:
        if index in self.encoded:
            return self.encoded[index]
        row = self.row(number, self.samples[index])
        if self.kept < KEEP_BYTES and not self.stage.samples.varies:
            self.encoded[index] = row
            self.kept += row.ids.nbytes + row.labels.nbytes + row.slots.nbytes
        return row

    def row(self, number: int, sample: Sample) -> Encoded:
        """Encode one sample for the optimizer step `number`."""
        said = varied(sample, self.stage, seed=self.seed, number=number)
        return self.model.encode(said.messages, layout=self.stage.layout, name=said.id)

    def _collate(self, rows: list[Encoded]) -> Batch:
        return self.model.collate(rows, layout=self.stage.layout, features=self.features)


def _lengths(samples: Sequence[Sample], model: AttachedModel, stage: Stage) -> NDArray[np.int64]:
    """Estimated lengths for sorting; of a tiled picture the header is read, which decides its positions."""
    tiler = model.tilers(stage.layout).get("image")
    if tiler is None:
        return lengths_of(samples)

    def characters(part: MediaPart) -> int:
        if part.modality != "image":
            return _CHARACTERS * model.tokens[part.modality]
        return _CHARACTERS * counted(tiler.pieces(tiler.grid(part.source)))

    return lengths_of(samples, characters)
