"""Pretraining of an encoder-decoder language model: the corpus as sources and targets.

As in Flan (https://arxiv.org/abs/2210.11416), the source has a question and the target the answer: one reply of a
text is the target. A plain caption is cut at a random place; its beginning is the source, the rest the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Any

import torch

from inlay.recipes.miniature.world.scenes import sample_scene
from pretraining.language.corpus import Mix, digit_text, sample_text, scene_text
from pretraining.language.corpus_layout import Piece
from pretraining.language.decoder_only import shares
from pretraining.language.phases import BATCH, POOL
from pretraining.training_loop import by_length

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor
    from transformers import PreTrainedTokenizerFast

SHORT = 4
"""The batch is this factor larger than for a decoder, because a source with a single question is shorter."""

Pair = tuple[list[str], str, str]  # pieces of the source, the target, the kind of the reply
Row = tuple[list[int], list[int]]  # ids of the source, ids of the target
Batch = tuple["Tensor", "Tensor"]


def source_and_target(text: Sequence[Piece], rng: Random) -> Pair:
    r"""A text of the corpus in BLIP-2's layout as source and target.

    The source is the text before the first reply; for another reply, with its question instead of the first one.

    Example:
        >>> laid = [Piece("a ring.", False), Piece("shape?", False), Piece(" ring", True, "shape"), Piece("\n", True)]
        >>> source_and_target(laid, Random(0))
        (['a ring.', 'shape?'], 'ring', 'shape')
        >>> source_and_target([*laid, Piece("size?", False), Piece(" small", True, "size")], Random(0))
        (['a ring.', 'size?'], 'small', 'size')
    """
    kept = [piece for piece in text if piece.text.strip() and piece.text != "<s>"]
    replies = [index for index, piece in enumerate(kept) if piece.trained]
    chosen, first = rng.choice(replies), replies[0]
    reply, said = kept[chosen], kept[chosen].text.strip()
    source = [piece.text for piece in kept[: first - (reply.kind != "caption")]]
    if reply.kind != "caption":
        return [*source, kept[chosen - 1].text], said, reply.kind
    words = said.split()
    place = rng.randrange(len(words))
    return [*source, *([" ".join(words[:place])] if place else [])], " ".join(words[place:]), reply.kind


def encode(pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerFast) -> list[Row]:
    """Tokenise the pieces of sources, and targets; both end with EOS."""
    runs = [run for source, target, _ in pairs for run in (*source, target)]
    ids = iter(tokenizer(runs, add_special_tokens=False)["input_ids"])
    end = [tokenizer.eos_token_id]
    rows = []
    for source, _, _ in pairs:
        read = [token for _ in source for token in next(ids)] + end
        rows.append((read, [*next(ids), *end]))
    return rows


def collate(rows: Sequence[Row], pad: int) -> Batch:
    """Sources padded with `pad`, targets with -100, both on the right."""

    def padded(parts: list[list[int]], value: int) -> Tensor:
        longest = max(map(len, parts))
        return torch.tensor([part + [value] * (longest - len(part)) for part in parts])

    return padded([source for source, _ in rows], pad), padded([target for _, target in rows], -100)


def batches(tokenizer: PreTrainedTokenizerFast, rng: Random, mix: Mix) -> Iterator[Batch]:
    """An infinite iterator of batches of the training split."""
    batch = BATCH * SHORT
    while True:
        rows = encode([source_and_target(sample_text(rng, mix), rng) for _ in range(batch * POOL)], tokenizer)
        for chosen in by_length(rows, batch, rng):
            yield collate(chosen, tokenizer.pad_token_id)


def predict(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits of the target tokens (tokens, vocabulary), and these tokens."""
    source, target = batch
    pad = model.config.pad_token_id
    read = torch.cat([source.new_full((len(target), 1), pad), target[:, :-1].masked_fill(target[:, :-1] < 0, pad)], 1)
    logits = model(input_ids=source, attention_mask=(source != pad).long(), decoder_input_ids=read).logits
    return logits[target >= 0], target[target >= 0]


@torch.no_grad()
def read_accuracy(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    *,
    seed: int,
    scenes: int,
    wordings: tuple[str, ...] = ("{}",),
) -> dict[str, float]:
    """Share of greedy replies to single questions that are completely right; see `decoder_only.read_accuracy`."""
    rng = Random(seed)
    mix = Mix(plain=0, hard=1.0, turns=1, captions=0, layout="blip2", wordings=wordings)
    texts = [scene_text(sample_scene(rng, "held_out"), rng, mix) for _ in range(4 * scenes)]
    texts += [digit_text(digit, rng, mix) for digit in range(10)]
    pairs = [source_and_target(text, rng) for text in texts]
    right: dict[str, list[bool]] = {}
    for start in range(0, len(pairs), 100):
        part = pairs[start : start + 100]
        rows = encode(part, tokenizer)
        logits, wanted = predict(model, collate(rows, tokenizer.pad_token_id))
        hits = iter((logits.argmax(-1) == wanted).tolist())
        for (_, _, kind), (_, target) in zip(part, rows, strict=True):
            right.setdefault(kind, []).append(sum(next(hits) for _ in target) == len(target))
    return shares(right)
