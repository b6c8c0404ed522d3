"""Contrastive losses between pictures and texts: CLIP's (https://arxiv.org/abs/2103.00020), and one for patches.

The second matches each patch with the phrase about the object that covers it, among all phrases of the batch, as
RegionCLIP does with regions (https://arxiv.org/abs/2112.09106). It binds attributes to places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cross_entropy, normalize, one_hot

from pretraining.vision.captioned_pictures import EMPTY, Pair
from pretraining.vision.pixels import cell_of_patch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from transformers import CLIPModel, PreTrainedTokenizerFast

_EMPTY_WEIGHT = 0.3  # of the patches without an object, which are twice as many


def embed_texts(model: CLIPModel, tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> Tensor:
    """Unit embeddings of shape (texts, 96)."""
    ids = tokenizer(texts, padding=True, return_tensors="pt")["input_ids"]
    return normalize(model.text_projection(model.text_model(input_ids=ids).pooler_output), dim=-1)


def contrast(
    pairs: list[Pair], images: Tensor, patches: Tensor, embed: Callable[[list[str]], Tensor], scale: Tensor
) -> tuple[Tensor, Tensor]:
    """The contrastive loss between pictures and captions, and the one between patches and phrases.

    Args:
        pairs: The batch.
        images: Unit embeddings of its pictures, (batch, width).
        patches: Unit embeddings of their patches, by one or more layers, (layers, batch, 36, width).
        embed: Texts -> unit embeddings (texts, width).
        scale: The factor of the cosines, a scalar.
    """
    texts = list(dict.fromkeys(pair.text for pair in pairs))
    phrases = list(dict.fromkeys(phrase for pair in pairs for phrase in pair.phrases))
    embedded = embed(texts + phrases)
    logits = scale * images @ embedded[: len(texts)].T
    wanted = torch.tensor([texts.index(pair.text) for pair in pairs])
    shared = one_hot(wanted, len(texts)).float()  # digits of one value have the same caption
    contrastive = (cross_entropy(logits, wanted) + cross_entropy(logits.T, (shared / shared.sum(0)).T)) / 2
    number = {phrase: index for index, phrase in enumerate(phrases)}
    cells = torch.tensor([[number[phrase] for phrase in pair.phrases] for pair in pairs])
    covered = cells[:, cell_of_patch()].flatten().repeat(len(patches))
    errors = cross_entropy(scale * patches.flatten(0, 2) @ embedded[len(texts) :].T, covered, reduction="none")
    occupied = torch.tensor([not phrase.startswith(EMPTY) for phrase in phrases])[covered]
    return contrastive, errors[occupied].mean() + _EMPTY_WEIGHT * errors[~occupied].mean()
