"""The data of a stage that a language model learns from: samples encoded and collated for one model."""

from __future__ import annotations

from collections.abc import Sequence

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.core.batch import Batch
from inlay.adapters.core.encode import Encoded
from inlay.recipes.data.cache.features import FeatureCache
from inlay.recipes.data.preparation.stage_samples import varied
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.data.sampling.lengths import lengths_of
from inlay.recipes.data.sampling.step_data import StepData
from inlay.recipes.settings.stage import Stage

__all__ = ["StageData"]

KEEP_ENCODED = 100_000
"""Up to so many samples keep their token ids in memory (some kilobytes each) instead of being tokenised every epoch."""


class StageData(StepData):
    """Training batches of conversations.

    Args:
        samples: what to train on.
        model: the attached model, whose tokenizer and layout decide the ids.
        stage: batch size, layout and geometry.
        seed: of the order, and of what varies from time to time.
        sizes: of the data sets that the samples consist of, one after the other; one if not given.
        features: frozen features, if they are cached.
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
            lengths=lengths_of(samples) if stage.grouping == "length" else None,
        )
        self.samples, self.model, self.features = samples, model, features
        self.encoded: dict[int, Encoded] = {}

    def _encode(self, number: int, index: int) -> Encoded:
        if index in self.encoded:
            return self.encoded[index]
        row = self.row(number, self.samples[index])
        if len(self.samples) <= KEEP_ENCODED and not self.stage.samples.varies:
            self.encoded[index] = row
        return row

    def row(self, number: int, sample: Sample) -> Encoded:
        """One sample as ids, for the optimizer step of this number."""
        said = varied(sample, self.stage, seed=self.seed, number=number)
        return self.model.encode(said.messages, layout=self.stage.layout, name=said.id)

    def _collate(self, rows: list[Encoded]) -> Batch:
        return self.model.collate(rows, layout=self.stage.layout, features=self.features)
