"""Which caption belongs to which picture? What BLIP-2's first stage is measured by (https://arxiv.org/abs/2301.12597).

The contrast ranks all candidates; matching, which is slower and sees more, can put the best of them in a new order, as
the paper does. A caption that several pictures share tells nobody which is meant, so those pictures are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from inlay.adapters.backbone import Backbone
from inlay.adapters.inputs.pretraining.qformer import QFormerPretrainer, itc_scores
from inlay.adapters.media.image import Geometry, load_image
from inlay.recipes.data.cache.features import FeatureCache
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.evaluation.metrics.recall import recall_at_k
from inlay.recipes.objectives.caption_tokens import CaptionTokens
from inlay.recipes.objectives.qformer_contrastive.caption_batch import captioned

__all__ = ["rerank", "retrieval_report"]

BATCH = 64


@torch.no_grad()
def retrieval_report(
    former: QFormerPretrainer,
    backbone: Backbone,
    tokens: CaptionTokens,
    samples: Sequence[Sample],
    geometry: Geometry,
    reranked: int = 0,
    features: FeatureCache | None = None,
) -> dict[str, float]:
    """Recall at 1, 5 and 10 in both directions, and how many pictures and captions there were.

    Args:
        former: after training; put in eval mode for the measurement.
        backbone: whose encoder gives the features.
        tokens: how captions become ids.
        samples: held-out pictures; all answers of a sample count as its captions.
        geometry: how a picture becomes a square.
        reranked: candidates of each query that matching puts in a new order.
        features: frozen features, if they are cached.

    Returns:
        Empty where fewer than two pictures can be told apart.
    """
    rows = [(captioned(sample), sample.answers[0] if sample.answers else ()) for sample in samples]
    texts = [dict.fromkeys(others or (row.text,)) for row, others in rows]
    shared = {text for text, count in Counter(text for group in texts for text in group).items() if count > 1}
    kept = [(row.picture, list(group)) for (row, _), group in zip(rows, texts, strict=True) if not shared & set(group)]
    if len(kept) < 2:
        return {}
    was_training = former.training
    former.eval()
    device, dtype = former.query_tokens.device, former.query_tokens.dtype
    owners = torch.tensor([number for number, (_, group) in enumerate(kept) for _ in group])
    ids, mask = (part.to(device) for part in tokens([text for _, group in kept for text in group]))
    words = torch.cat(
        [former.text_embeddings(i, m) for i, m in zip(torch.split(ids, BATCH), torch.split(mask, BATCH), strict=True)]
    )
    encoder, seen, scores = backbone.encoder("image"), [], []
    for start in range(0, len(kept), BATCH):
        group = [picture for picture, _ in kept[start : start + BATCH]]
        if features is not None:
            found = torch.stack([features(picture) for picture in group])
        else:
            pictures = [load_image(picture.source) for picture in group]
            found = encoder.encode(encoder.preprocess(pictures, geometry))
        found = found.to(device, dtype)
        scores.append(itc_scores(former.image_embeddings(found), words))
        seen.append(found)
    table = torch.cat(scores)
    count = min(reranked, *table.shape)
    looked = torch.cat(seen) if count else table
    to_texts = rerank(former, table, looked, ids, mask, count, of="pictures")
    to_images = rerank(former, table.T, looked, ids, mask, count, of="texts")
    former.train(was_training)
    figures = recall_at_k(to_texts.cpu(), owners, text_scores=to_images.cpu())
    return figures | {"pictures": float(len(kept)), "captions": float(len(owners))}


def rerank(
    former: QFormerPretrainer, scores: Tensor, features: Tensor, ids: Tensor, mask: Tensor, count: int, *, of: str
) -> Tensor:
    """Scores in which the best candidates of each row stand by contrast plus matching, in front of all others.

    Args:
        former: in eval mode.
        scores: ``[rows, candidates]`` of the contrast.
        features: ``[pictures, tokens, width]``.
        ids: ``[texts, L]``.
        mask: ``[texts, L]``.
        count: candidates a row; 0 returns the scores as they are.
        of: what the rows are, ``pictures`` or ``texts``.
    """
    if not count:
        return scores
    # Cosines and the logit's log-probability stay above this.
    ordered = scores - 1000.0
    for row in range(len(scores)):
        best = scores[row].topk(count).indices
        own = torch.full_like(best, row)
        picture, text = (own, best) if of == "pictures" else (best, own)
        logits = former.matching_logits(features[picture], ids[text], mask[text])
        ordered[row, best] = scores[row, best] + logits.log_softmax(dim=1)[:, 1]
    return ordered
