"""Training batches of preference rows, encoded and collated for one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.conversation.messages import MediaPart, Message
from inlay.adapters.core.batch import Batch
from inlay.adapters.core.encode import Encoded
from inlay.recipes.data.cache.features import FeatureCache
from inlay.recipes.data.preparation.stage_samples import varied
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.data.sampling.lengths import lengths_of
from inlay.recipes.data.sampling.step_data import StepData
from inlay.recipes.objectives.preference.batch import PairBatch, collate_pairs, weigher
from inlay.recipes.objectives.preference.other_media import Changed, Crop, Mixed, OtherFeatures, OtherRows, blank
from inlay.recipes.objectives.preference.pairs import Other, PairRow, encode_pair
from inlay.recipes.objectives.preference.reference import StoredReference
from inlay.recipes.objectives.preference.settings import OtherImage, Preference
from inlay.recipes.settings.stage import Stage

__all__ = ["PairData"]


class PairData(StepData):
    """Training batches of preference rows.

    Args:
        samples: pairs, or single answers with labels.
        model: the attached model.
        stage: batch size, layout and geometry.
        settings: loss, reference and other medium.
        seed: seed of the order and of crops.
        sizes: number of samples of each data set; one data set if not given.
        features: cached features; None to run the encoders in the training loop.
        workers: processes that load media.
        memory: limit on the bytes of features of other media.
        join: whether the model supports branches.

    Raises:
        DataError: no samples.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        model: AttachedModel,
        stage: Stage,
        settings: Preference,
        *,
        seed: int,
        sizes: Sequence[int] | None = None,
        features: FeatureCache | None = None,
        workers: int = 0,
        memory: int = 1 << 30,
        join: bool = True,
    ) -> None:
        super().__init__(
            [len(samples)] if sizes is None else sizes,
            self._read,
            self.collate,
            stage,
            seed=seed,
            workers=workers,
            lengths=lengths_of(samples) if stage.grouping == "length" else None,
        )
        self.samples, self.model, self.settings, self.join = samples, model, settings, join
        self.streams = settings.streams
        self.stored: StoredReference | None = None
        """The reference's log-probabilities; None if they are computed in every step."""
        self.features = None if features is None else OtherFeatures(model, stage.layout, features, memory)
        self.weigh = weigher(settings.segment_weight, settings.tail)
        self.other = _other(settings.other_image, samples, seed)

    def _read(self, number: int, index: int) -> PairRow:
        answer = self.samples[(index + 1) % len(self.samples)].messages[-1]
        return self.row(number, self.samples[index], answer if "mismatched" in self.streams else None)

    def row(self, number: int, sample: Sample, mismatched: Message | None = None) -> PairRow:
        """Encode one sample for the optimizer step ``number``."""
        said = varied(sample, self.stage, seed=self.seed, number=number)
        return encode_pair(
            self.model,
            said,
            self.stage.layout,
            self.streams,
            other=self.other,
            mismatched=mismatched,
            join=self.join,
        )

    def rows(self) -> list[PairRow]:
        """All rows, as in the first step."""
        return [self._read(0, index) for index in range(len(self.samples))]

    def collate(self, pairs: Sequence[PairRow]) -> PairBatch:
        """Collate preference rows to one batch, with the stored log-probabilities of the reference if there are any."""
        return collate_pairs(pairs, self.streams, self.collate_rows, weigh=self.weigh, stored=self.stored)

    def collate_rows(self, rows: Sequence[Encoded]) -> Batch:
        """Collate rows of the LLM to one batch with their media."""
        parts = [part for row in rows for part in row.media]
        changed = any(isinstance(part.source, Changed) for part in parts)
        features = self.features
        if changed and (features is None or self.workers):  # encoders run only in the training process
            rows = [replace(row, media=tuple(_loaded(part) for part in row.media)) for row in rows]
            features = None
        elif changed and features is not None:
            features.prepare(parts)
        return self.model.collate(rows, layout=self.stage.layout, features=features)


def _other(kind: OtherImage, samples: Sequence[Sample], seed: int) -> Other:
    if kind == "row":
        return OtherRows(samples)
    if kind == "mixed":
        return Mixed(samples, seed)
    change = blank if kind == "blank" else Crop(seed)
    return lambda part: MediaPart(part.modality, Changed(part, change))


def _loaded(part: MediaPart) -> MediaPart:
    return part.source.load() if isinstance(part.source, Changed) else part
