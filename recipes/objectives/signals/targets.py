"""Target conditionings: the output of a generator's text encoder for a caption, computed or read from a file.

NExT-GPT (Wu et al., 2023, https://arxiv.org/abs/2309.05519) stores one ``.npy`` per caption. Here the text encoder
runs once per caption, and its outputs are cached in memory within a budget.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from inlay.adapters.backbone import Backbone
from inlay.adapters.conversation.messages import MadePart
from inlay.adapters.media.modality import Modality
from inlay.recipes.data.rows.sample import DataError

__all__ = ["Targets", "read_embedding"]


class Targets:
    """Target conditionings of captions.

    Args:
        backbone: its generators have the text encoders.
        budget: size of the cache in bytes.
    """

    def __init__(self, backbone: Backbone, budget: int = 2 << 30) -> None:
        self.backbone, self.room = backbone, budget
        self.held: dict[Hashable, Tensor] = {}

    def of(self, modality: Modality, parts: Sequence[MadePart]) -> Tensor:
        """Conditionings ``[n, tokens, width]`` in float32, without gradient.

        Args:
            modality: modality of all parts.
            parts: generated media, each with a caption or an embedding.

        Raises:
            DataError: a part has neither, or an embedding has another shape.
            BackboneError: no generator for this modality.
            GeneratorError: the generator was loaded without its text encoder.
        """
        found = {key: self.held[key] for part in parts if (key := _key(part)) in self.held}
        fresh = {key: part for part in parts if (key := _key(part)) not in found}
        for key, part in fresh.items():
            if part.embedding is not None:
                generator = self.backbone.generator(modality)
                found[key] = read_embedding(part.embedding, generator.tokens, generator.width)
        said = {key: part.caption for key, part in fresh.items() if key not in found}
        if said:
            with torch.no_grad():
                given = self.backbone.generator(modality).encode_text(list(said.values())).float()
            found |= dict(zip(said, given.cpu().clone(), strict=True))
        for key in fresh:
            self._keep(key, found[key])
        return torch.stack([found[_key(part)] for part in parts])

    def _keep(self, key: Hashable, target: Tensor) -> None:
        size = target.numel() * target.element_size()
        if size <= self.room:
            self.room -= size
            self.held[key] = target


def read_embedding(path: Path, tokens: int, width: int) -> Tensor:
    """A caption's embedding ``[tokens, width]`` from an ``.npy`` file; nothing in it is executed.

    Args:
        path: the file, in any floating-point type; axes of length one are ignored.
        tokens: vectors per conditioning.
        width: values per vector.

    Raises:
        DataError: missing file, another shape or type, or numbers that are not finite.
    """
    try:
        with path.open("rb") as file:
            # np.load would also open archives.
            array = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise DataError(f"{path}: expected the embedding of a caption as .npy: {error}") from error
    if array.dtype.kind != "f" or array.size != tokens * width:
        raise DataError(
            f"{path}: expected {tokens} x {width} floating-point numbers for this generator, got {array.shape} of "
            f"{array.dtype}; use embeddings that were computed for this generator"
        )
    tensor = torch.from_numpy(array.astype(np.float32)).reshape(tokens, width)
    if [size for size in array.shape if size > 1] != [size for size in tensor.shape if size > 1]:
        raise DataError(f"{path}: expected the shape {tokens} x {width}, got {array.shape}")
    if not bool(torch.isfinite(tensor).all()):
        raise DataError(f"{path}: expected finite numbers, got NaN or infinity")
    return tensor


def _key(part: MadePart) -> Hashable:
    if part.embedding is None and not part.caption:
        raise DataError(
            f"expected a caption or an embedding for each generated medium, a medium of type {part.modality!r} has none"
        )
    return part.modality, part.embedding or part.caption
