"""Pretrain the miniature BERT, the initial weights of the Q-Formers, on the texts of the world.

`python -m pretraining.language.bert --output DIR --seed 0` trains such weights. Architecture and objective are BERT's
(https://arxiv.org/abs/1810.04805), without sentence pairs. 30 % of the tokens are masked, which works better than 15
% (https://arxiv.org/abs/2202.08005), and half of the answers completely. Token type embeddings are zero and frozen,
because a Q-Former has none.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cross_entropy

from inlay.recipes.miniature.world.descriptions import caption
from inlay.recipes.miniature.world.scenes import ALL_VALUES, COLOURS, SHAPES, SIZES, sample_scene
from pretraining import training_loop
from pretraining.command_line import parse, print_size
from pretraining.language.masked_texts import Cloze, described, sample_cloze, twice
from pretraining.language.wordpiece_tokenizer import POSITIONS, make_wordpiece
from pretraining.optimizers import muon_and_adamw
from pretraining.percentages import percentages
from pretraining.rounded_weights import save_rounded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor
    from transformers import BertForMaskedLM, BertTokenizer

BATCH = 64
LEARNING_RATE = 2e-3  # of embeddings, norms and the head
MATRIX_RATE = 3e-3  # of the matrices inside the layers, by Muon
WARM_UP = 100  # steps
DECAY = 0.4  # share of the steps at the end in which the learning rate falls to zero
MASKED = 0.3  # of all tokens, of which 80 % become [MASK], 10 % another word, 10 % stay
WHOLE = 0.5  # share of the answers that are masked completely
FEW, FEW_STEPS = 3, 0.25  # values of a smaller world at the start, where look-up is learnt; its share of the steps
_POOL = 10  # batches that are encoded together
_PLACES = ("top", "bottom", "center", "left", "right")

Row = tuple[list[int], list[bool]]  # token ids; whether the token belongs to an answer
Batch = tuple["Tensor", "Tensor", "Tensor"]  # ids, mask and labels, -100 where nothing is predicted


def make_model(tokenizer: BertTokenizer) -> BertForMaskedLM:
    """A BERT 128 wide, of 4 layers and 4 heads, with random weights; the sizes of the miniature's Q-Formers."""
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=POSITIONS,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=128**-0.5,  # 0.02 leaves so narrow a model with flat attention for long
        pad_token_id=tokenizer.pad_token_id,
    )
    model = BertForMaskedLM(config)
    torch.nn.init.zeros_(model.bert.embeddings.token_type_embeddings.weight).requires_grad_(False)
    return model


def encode(clozes: list[Cloze], tokenizer: BertTokenizer) -> list[Row]:
    """Tokenise contexts and answers separately."""
    contexts, answers = (
        tokenizer(texts, add_special_tokens=False)["input_ids"]
        for texts in ([cloze.context for cloze in clozes], [cloze.answer for cloze in clozes])
    )
    rows = []
    for context, answer in zip(contexts, answers, strict=True):
        ids = [tokenizer.cls_token_id, *context, *answer, tokenizer.sep_token_id]
        asked = [False] * (1 + len(context)) + [True] * len(answer) + [False]
        rows.append((ids[:POSITIONS], asked[:POSITIONS]))
    return rows


def pad(rows: list[Row], tokenizer: BertTokenizer) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, attention mask, and whether a token belongs to an answer; each (batch, longest)."""
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([row + [tokenizer.pad_token_id] * (longest - len(row)) for row, _ in rows])
    asked = torch.tensor([row + [False] * (longest - len(row)) for _, row in rows])
    return ids, (ids != tokenizer.pad_token_id).long(), asked


def hide(rows: list[Row], tokenizer: BertTokenizer) -> Batch:
    """Mask tokens as BERT does, and some answers completely."""
    ids, mask, asked = pad(rows, tokenizer)
    words = (ids != tokenizer.cls_token_id) & (ids != tokenizer.sep_token_id) & mask.bool()
    drawn = words & (torch.rand(ids.shape) < MASKED)
    whole = asked & (torch.rand(len(ids), 1) < WHOLE)
    labels = ids.masked_fill(~(drawn | whole), -100)
    which = torch.rand(ids.shape)
    others = torch.randint(len(tokenizer.all_special_ids), len(tokenizer), ids.shape)
    shown_ids = torch.where(drawn & (which < 0.1), others, ids)
    return shown_ids.masked_fill(whole | (drawn & (which >= 0.2)), tokenizer.mask_token_id), mask, labels


def batches(tokenizer: BertTokenizer, rng: Random, values: int) -> Iterator[Batch]:
    """An infinite iterator of batches of the training split."""
    while True:
        rows = encode([sample_cloze(rng, values) for _ in range(BATCH * _POOL)], tokenizer)
        for chosen in training_loop.by_length(rows, BATCH, rng):
            yield hide(chosen, tokenizer)


def predict(model: BertForMaskedLM, ids: Tensor, mask: Tensor, wanted: Tensor) -> Tensor:
    """Logits (tokens where `wanted` is true, vocabulary)."""
    states = model.bert(input_ids=ids, attention_mask=mask).last_hidden_state
    logits: Tensor = model.cls(states[wanted])
    return logits


@torch.no_grad()
def word_accuracy(model: BertForMaskedLM, tokenizer: BertTokenizer, *, seed: int, scenes: int) -> dict[str, float]:
    """Share of masked words that are predicted, on texts about held-out scenes.

    Returns:
        `"grammar"`: one masked word of a caption that grammar decides. `"twice"`: a size, colour, shape or place word
        in a caption after a description of the same scene. `"answers"` and each kind of question: the complete answer
        after description and question, all its words masked.
    """
    rng = Random(seed)
    held_out = [sample_scene(rng, "held_out") for _ in range(scenes)]
    vocabulary = tokenizer.get_vocab()
    attributes = {vocabulary[word] for word in (*SIZES, *COLOURS, *SHAPES, *_PLACES)}
    tests: list[tuple[str, Row]] = []
    for name, texts in (
        ("grammar", [Cloze("", caption(scene, rng)) for scene in held_out]),
        ("twice", [_halves(twice(scene, rng)) for scene in held_out]),
    ):
        for ids, asked in encode(texts, tokenizer):
            hidden = [at for at, own in enumerate(asked) if own and (ids[at] in attributes) == (name == "twice")]
            at = rng.choice(hidden)
            tests.append((name, (ids, [place == at for place in range(len(ids))])))
    asked_of = [described(scene, rng) for scene in held_out]
    tests += zip((cloze.kind for cloze in asked_of), encode(asked_of, tokenizer), strict=True)
    right: dict[str, list[bool]] = {}
    for start in range(0, len(tests), 100):
        part = tests[start : start + 100]
        truth, mask, asked_for = pad([row for _, row in part], tokenizer)
        filled = truth.clone()
        seen = truth.masked_fill(asked_for, tokenizer.mask_token_id)
        filled[asked_for] = predict(model, seen, mask, asked_for).argmax(-1)
        for (name, _), same in zip(part, (filled == truth).all(1).tolist(), strict=True):
            right.setdefault(name, []).append(same)
    answers = [hit for name, hits in right.items() if name not in {"grammar", "twice"} for hit in hits]
    found = {"answers": answers, **{name: right[name] for name in sorted(right)}}
    return {name: sum(hits) / len(hits) for name, hits in found.items()}


def _halves(cloze: Cloze) -> Cloze:
    """A scene described twice, with the second text as the answer."""
    first, _, second = cloze.context.partition(". ")
    return Cloze(f"{first}.", second)


def main() -> None:
    """Train, save in bfloat16, measure the saved model."""
    from transformers import BertForMaskedLM

    options = parse(__doc__, steps=3000)
    tokenizer = make_wordpiece()
    model = make_model(tokenizer)
    print_size(model)
    both = muon_and_adamw(
        model,
        lr=LEARNING_RATE,
        matrix_lr=MATRIX_RATE,
        warm_up=WARM_UP,
        decay=DECAY,
        steps=options.steps,
        inside="encoder.layer.",
    )
    rng = Random(options.seed)
    few, every = batches(tokenizer, rng, FEW), batches(tokenizer, rng, ALL_VALUES)

    def losses(step: int) -> dict[str, Tensor]:
        ids, mask, labels = next(few if step <= FEW_STEPS * options.steps else every)
        wanted = labels != -100
        return {"words": cross_entropy(predict(model, ids, mask, wanted), labels[wanted])}

    def report() -> None:
        print(f"held out: {percentages(word_accuracy(model, tokenizer, seed=12345, scenes=300))}", flush=True)

    training_loop.train(model, losses, both, steps=options.steps, report=report)
    save_rounded(model, options.output)
    tokenizer.save_pretrained(options.output)
    saved = BertForMaskedLM.from_pretrained(options.output)
    print(f"saved: {percentages(word_accuracy(saved, tokenizer, seed=12345, scenes=1000))}", flush=True)


if __name__ == "__main__":
    main()
