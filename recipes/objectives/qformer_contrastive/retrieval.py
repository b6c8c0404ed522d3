"""Image-text retrieval, the evaluation of BLIP-2's first stage (https://arxiv.org/abs/2301.12597).

Contrastive scores rank all candidates; the matching head, slower and more accurate, can re-rank the best, as in the
paper. Pictures that share a caption with another picture are left out, because their caption is ambiguous.
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
    """Recall at 1, 5 and 10 in both directions, and the numbers of pictures and captions.

    Args:
        former: the trained Q-Former; in eval mode during the evaluation.
        backbone: its encoder computes the features.
        tokens: tokenizer for captions.
        samples: held-out pictures; all answers of a sample are its captions.
        geometry: how pictures become square.
        reranked: candidates per query to re-rank with the matching head.
        features: frozen features, if they are cached.

    Returns:
        Figures by name; empty with fewer than two unambiguous pictures.
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
    """Re-rank the best candidates of each row by contrastive score plus matching log-probability.

    Args:
        former: in eval mode.
        scores: ``[rows, candidates]``, contrastive.
        features: ``[pictures, tokens, width]``.
        ids: ``[texts, L]``.
        mask: ``[texts, L]``.
        count: candidates per row; 0 returns the scores unchanged.
        of: kind of the rows, ``pictures`` or ``texts``.
    """
    if not count:
        return scores
    # Below any sum of cosine and log-probability, so that the others rank last.
    ordered = scores - 1000.0
    for row in range(len(scores)):
        best = scores[row].topk(count).indices
        own = torch.full_like(best, row)
        picture, text = (own, best) if of == "pictures" else (best, own)
        logits = former.matching_logits(features[picture], ids[text], mask[text])
        ordered[row, best] = scores[row, best] + logits.log_softmax(dim=1)[:, 1]
    return ordered
