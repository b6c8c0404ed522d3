"""Pretraining of a decoder-only language model: batches of the corpus, logits, accuracy."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import torch

from inlay.recipes.miniature.world.scenes import sample_scene
from pretraining.language.corpus import Mix, digit_text, sample_text, scene_text
from pretraining.language.corpus_layout import LayoutName, Piece
from pretraining.language.media_corpus import media_text
from pretraining.language.phases import BATCH, POOL
from pretraining.training_loop import by_length

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor
    from transformers import PreTrainedTokenizerFast

UNJUDGED = frozenset({"caption", "instruction", "drill", "talk"})
"""Kinds of replies with several right wordings."""
MEDIA_KINDS = frozenset({"media", "generated"})
"""Kinds of replies about drawings, sounds and clips."""

Row = tuple[list[int], list[int]]  # token ids; labels, -100 where nothing is predicted
Batch = tuple["Tensor", "Tensor"]


def encode(texts: list[tuple[Piece, ...]], tokenizer: PreTrainedTokenizerFast) -> list[Row]:
    """Tokenise texts piece by piece."""
    special: dict[str, list[int]] = {"<s>": [tokenizer.bos_token_id], "</s>": [tokenizer.eos_token_id]}
    plain = [piece.text for text in texts for piece in text if piece.text not in special]
    ids = iter(tokenizer(plain, add_special_tokens=False)["input_ids"])
    rows = []
    for text in texts:
        row: Row = ([], [])
        for piece in text:
            tokens: list[int] = special[piece.text] if piece.text in special else next(ids)
            row[0].extend(tokens)
            row[1].extend(tokens if piece.trained else [-100] * len(tokens))
        rows.append(row)
    return rows


def collate(rows: Sequence[Row], pad: int) -> Batch:
    """Ids and labels of shape (batch, longest), padded on the right."""
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([ids + [pad] * (longest - len(ids)) for ids, _ in rows])
    return ids, torch.tensor([labels + [-100] * (longest - len(labels)) for _, labels in rows])


def batches(tokenizer: PreTrainedTokenizerFast, rng: Random, mix: Mix) -> Iterator[Batch]:
    """An infinite iterator of batches of the training split."""
    while True:
        rows = encode([sample_text(rng, mix) for _ in range(BATCH * POOL)], tokenizer)
        for chosen in by_length(rows, BATCH, rng):
            yield collate(chosen, tokenizer.pad_token_id)


def predict(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits of the reply tokens (tokens, vocabulary), and these tokens."""
    ids, labels = batch
    hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    asked = labels[:, 1:] != -100
    return model.lm_head(hidden[asked]), labels[:, 1:][asked]


@torch.no_grad()
def read_accuracy(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    *,
    seed: int,
    scenes: int,
    objects: int | None = None,
    layout: LayoutName = "vicuna",
    wordings: tuple[str, ...] = ("{}",),
    media: int = 0,
) -> dict[str, float]:
    """Share of greedy replies that are completely right, by kind, on described held-out scenes and on digits.

    A reply is right if each of its tokens, the end included, has the largest logit. `"answers"` is the mean over all
    questions about scenes and digits; captions and instructions are excluded, as they have several right wordings.
    `objects` keeps only scenes of that many objects; `media` is the number of texts about drawings, sounds and clips.
    """
    rng = Random(seed)
    mix = Mix(plain=0, hard=1.0, turns=8, captions=0, layout=layout, wordings=wordings)
    texts: list[tuple[Piece, ...]] = []
    while len(texts) < scenes:
        scene = sample_scene(rng, "held_out")
        if objects in {None, len(scene.things)}:
            texts.append(scene_text(scene, rng, mix))
    texts += [digit_text(digit, rng, mix) for digit in range(10)]
    texts += [media_text(rng, "held_out") for _ in range(media)]
    right: dict[str, list[bool]] = {}
    for start in range(0, len(texts), 50):
        part = texts[start : start + 50]
        rows = encode(part, tokenizer)
        logits, wanted = predict(model, collate(rows, tokenizer.pad_token_id))
        hits = iter((logits.argmax(-1) == wanted).tolist())
        for text in part:
            replies = [piece for piece in text if piece.trained]
            for reply, end in zip(replies[::2], replies[1::2], strict=True):
                length = sum(
                    1 if piece.text == "</s>" else len(tokenizer(piece.text, add_special_tokens=False)["input_ids"])
                    for piece in (reply, end)
                )
                right.setdefault(reply.kind, []).append(sum(next(hits) for _ in range(length)) == length)
    return shares(right)


def shares(right: dict[str, list[bool]]) -> dict[str, float]:
    """Share of right replies by kind, and over all judged kinds (`"answers"`)."""
    answers = [hit for kind, hits in right.items() if kind not in UNJUDGED | MEDIA_KINDS for hit in hits]
    by_kind = {kind: sum(hit) / len(hit) for kind, hit in sorted(right.items())}
    return {"answers": sum(answers) / len(answers), **by_kind}
