"""A linear probe (https://arxiv.org/abs/1610.01644) on the pooled vectors of ImageBind or CLAP.

`python -m pretraining.multimodal.vector_probe` fits, on training media, a linear map from a vector to each attribute of
the medium, and prints its accuracy on held-out combinations.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import torch

from inlay.adapters.encoders.imagebind import ImageBind, ImageBindEncoder
from inlay.adapters.loading.encoders.several import load_encoders
from inlay.adapters.loading.released.weights_file import kind_of
from inlay.adapters.media.modality import GENERATED, Modality
from inlay.recipes.miniature import backbone_path
from inlay.recipes.miniature.media.questions import attributes_of
from inlay.recipes.miniature.media.rendering import MODALITIES, render_medium
from inlay.recipes.miniature.media.specs import MediumSpec, sample_kind
from pretraining.percentages import percentages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from inlay.adapters.encoders.protocol import Encoder
    from inlay.recipes.miniature.world.scenes import Split

_RIDGE = 1e-4


def _vectors(encoder: Encoder, values: list[MediumSpec], rng: Random) -> Tensor:
    """Vectors of media of one kind, (n, width + 1), the last being one."""
    media = [render_medium(value, rng) for value in values]
    parts = [
        encoder.encode(encoder.preprocess(media[start : start + 100], "squash"))[:, 0]
        for start in range(0, len(media), 100)
    ]
    return torch.cat([torch.cat(parts), torch.ones(len(values), 1)], dim=1)


def probe_media(model: ImageBind, *, seed: int = 0, number: int = 800) -> dict[str, float]:
    """Accuracy of linear probes on held-out combinations.

    Args:
        model: The model, in float32.
        seed: The seed of the media.
        number: Number of training media of each kind; half as many are held out.

    Returns:
        By modality and attribute, such as `"audio pitch"`.
    """
    encoders: dict[Modality, Encoder] = {name: ImageBindEncoder(model, name, scaled=False) for name in GENERATED}
    return probe_encoders(encoders, seed=seed, number=number)


def probe_encoders(encoders: Mapping[Modality, Encoder], *, seed: int = 0, number: int = 800) -> dict[str, float]:
    """:func:`probe_media` for encoders that return one vector for a medium, by modality."""
    held: dict[str, Encoder] = {str(name): encoder for name, encoder in encoders.items()}
    rng = Random(seed)
    figures = {}
    for kind, modality in MODALITIES.items():
        if modality not in held:
            continue
        seen: dict[Split, tuple[list[MediumSpec], Tensor]] = {}
        splits: tuple[tuple[Split, int], ...] = (("train", number), ("held_out", number // 2))
        for split, count in splits:
            values = [sample_kind(kind, rng, split) for _ in range(count)]
            seen[split] = values, _vectors(held[modality], values, rng)
        (values, vectors), (others, unseen) = seen["train"], seen["held_out"]
        for name in dict.fromkeys(name for value in values for name in attributes_of(value)):
            figures[f"{modality} {name}"] = _accuracy(name, values, vectors, others, unseen)
    return figures


def _accuracy(name: str, values: list[MediumSpec], vectors: Tensor, others: list[MediumSpec], unseen: Tensor) -> float:
    """The accuracy for one attribute, over the media that have it."""
    answers = [attributes_of(value).get(name) for value in values]
    kept = torch.tensor([answer is not None for answer in answers])
    classes = sorted({answer for answer in answers if answer is not None})
    labels = torch.tensor([classes.index(answer) for answer in answers if answer is not None])
    features = vectors[kept]
    gram = features.T @ features + _RIDGE * len(features) * torch.eye(features.shape[1])
    wanted = torch.nn.functional.one_hot(labels, len(classes)).float()
    scores = unseen @ torch.linalg.solve(gram, features.T @ wanted)
    truth = [attributes_of(value).get(name) for value in others]
    right = [classes[int(best)] == answer for best, answer in zip(scores.argmax(1), truth, strict=True) if answer]
    return sum(right) / len(right)


def main() -> None:
    """Probe the shipped ImageBind or a folder; a CLAP is probed on sounds only."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", type=Path, default=None, help="a folder; without it, the shipped ImageBind")
    folder: Path = parser.parse_args().backbone or backbone_path("imagebind")
    every: tuple[Modality, ...] = GENERATED if kind_of(folder, {}) == "imagebind" else ("audio",)
    print(percentages(probe_encoders(load_encoders(dict.fromkeys(every, folder), dtype=torch.float32))))


if __name__ == "__main__":
    main()
