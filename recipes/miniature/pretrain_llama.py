"""Pretrain the miniature language model: a LLaMA of about a million parameters that reads described scenes.

`python -m inlay.recipes.miniature.pretrain_llama --output DIR --seed 0` goes through the phases below, AdamW and its
schedule anew in each. The architecture is LLaMA's (https://arxiv.org/abs/2302.13971). The loss is the mean over reply
tokens only.

What is hard is to tell the objects of a scene apart, and the more values an attribute has, the longer a model guesses
among those in the scene: shapes (6) are looked up after 500 steps, colours (8) not after 1200. So the first phases
show a world of three colours, three shapes and three places, in which look-up is learned in 300 steps; it carries over
to the full world in some hundred more. Places (9 values of two words) and comparisons get such a phase of their own.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy

from inlay.recipes.miniature.corpus import Mix, Piece, digit_text, sample_text, scene_text
from inlay.recipes.miniature.loop import by_length
from inlay.recipes.miniature.storage import save_rounded
from inlay.recipes.miniature.tokenizer import make_tokenizer
from inlay.recipes.miniature.world import sample_scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

BATCH = 32
WARM_UP = 60  # steps of each phase
_POOL = 10  # batches made at once and cut by length, so that little is padded


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One part of the pretraining."""

    steps: int
    """Optimizer steps."""
    lr: float
    """AdamW's learning rate after the warm-up."""
    decay: int
    """Steps at the end in which the rate falls linearly to zero; 0 for none."""
    mix: Mix
    """What the texts are."""


FEW = 3
PLACES: dict[str, Any] = {"statements": 0.7, "stated": ("place",), "plain": 0, "talk": 0, "digits": 0, "lone": 0.1}
COMPARED: dict[str, Any] = {"hard": 1.0, "comparisons": 6, "turns": 9, "plain": 0, "talk": 0, "digits": 0, "lone": 0.0}
EVERYTHING = Mix(lists=0.05, statements=0.1, hard=1.0, system=0.06, plain=0.12, captions=0.3, templates=0.15, turns=8)
PHASES = (
    Phase(steps=450, lr=2e-3, decay=0, mix=Mix(lists=1.0, plain=0, talk=0, digits=0, lone=0.1, values=FEW)),
    Phase(steps=500, lr=2e-3, decay=0, mix=Mix(lists=0.3, statements=0.2, plain=0, talk=0, digits=0, values=FEW)),
    Phase(steps=500, lr=2e-3, decay=0, mix=Mix(lists=0.7, statements=0.2, plain=0, talk=0, digits=0, lone=0.1)),
    Phase(steps=1000, lr=2e-3, decay=0, mix=Mix(lists=0.2, statements=0.2, plain=0, talk=0, digits=0, hard=0.5)),
    Phase(steps=1700, lr=2e-3, decay=0, mix=EVERYTHING),
    Phase(steps=300, lr=2e-3, decay=0, mix=Mix(**PLACES, values=FEW)),
    Phase(steps=300, lr=2e-3, decay=0, mix=Mix(**PLACES)),
    Phase(steps=850, lr=1.5e-3, decay=0, mix=EVERYTHING),
    Phase(steps=350, lr=1.5e-3, decay=0, mix=Mix(**COMPARED, values=FEW)),
    Phase(steps=1000, lr=1.5e-3, decay=900, mix=replace(EVERYTHING, comparisons=2, turns=9)),
)

Row = tuple[list[int], list[int]]  # token ids; labels, -100 where nothing is predicted
Batch = tuple["Tensor", "Tensor"]


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A LLaMA 128 wide, of 4 layers and 4 heads, with random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},  # for texts of hundreds of tokens, not thousands
        initializer_range=128**-0.5,  # 0.02 leaves so narrow a model with flat attention for long
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    model.lm_head.weight.data.copy_(model.model.embed_tokens.weight.data)  # most replies copy words: a head start
    return model


def encode(texts: list[tuple[Piece, ...]], tokenizer: PreTrainedTokenizerFast) -> list[Row]:
    """Tokenise texts piece by piece."""
    special: dict[str, list[int]] = {token: [tokenizer.get_vocab()[token]] for token in ("<s>", "</s>")}
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


def collate(rows: list[Row], pad: int) -> Batch:
    """Ids and labels of shape (batch, longest), padded on the right."""
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([ids + [pad] * (longest - len(ids)) for ids, _ in rows])
    return ids, torch.tensor([labels + [-100] * (longest - len(labels)) for _, labels in rows])


def batches(tokenizer: PreTrainedTokenizerFast, rng: Random, mix: Mix) -> Iterator[Batch]:
    """Endless batches of fresh texts of the training split."""
    while True:
        rows = encode([sample_text(rng, mix) for _ in range(BATCH * _POOL)], tokenizer)
        for chosen in by_length(rows, BATCH, rng):
            yield collate(chosen, tokenizer.pad_token_id)


def predict(model: LlamaForCausalLM, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits (replies' tokens, vocabulary) and the tokens they should predict; nothing else is computed."""
    ids, labels = batch
    hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    asked = labels[:, 1:] != -100
    return model.lm_head(hidden[asked]), labels[:, 1:][asked]


@torch.no_grad()
def read_accuracy(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    *,
    seed: int,
    scenes: int,
    objects: int | None = None,
) -> dict[str, float]:
    """Share of greedy replies that are wholly right, by kind, on described held-out scenes and on digits.

    A reply is right when every one of its tokens, the end included, is the likeliest one; `"answers"` is the mean
    over all questions, captions and instructions left out (they have several right wordings). `objects` keeps scenes
    of that many objects only.
    """
    rng = Random(seed)
    mix = Mix(plain=0, hard=1.0, turns=8, captions=0)
    texts: list[tuple[Piece, ...]] = []
    while len(texts) < scenes:
        scene = sample_scene(rng, "held_out")
        if objects in {None, len(scene.things)}:
            texts.append(scene_text(scene, rng, mix))
    texts += [digit_text(digit, rng, mix) for digit in range(10)]
    right: dict[str, list[bool]] = {}
    for start in range(0, len(texts), 50):
        part = texts[start : start + 50]
        rows = encode(part, tokenizer)
        logits, wanted = predict(model, collate(rows, tokenizer.pad_token_id))
        hits = iter((logits.argmax(-1) == wanted).tolist())
        for text in part:
            replies = [piece for piece in text if piece.trained]
            for reply, end in zip(replies[::2], replies[1::2], strict=True):
                length = len(tokenizer(reply.text, add_special_tokens=False)["input_ids"]) + len([end])
                right.setdefault(reply.kind, []).append(sum(next(hits) for _ in range(length)) == length)
    figures = {kind: sum(hit) / len(hit) for kind, hit in sorted(right.items())}
    answers = [
        hit for kind, hits in right.items() if kind not in {"caption", "instruction", "about", "talk"} for hit in hits
    ]
    return {"answers": sum(answers) / len(answers), **figures}


def train(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, phase: Phase, rng: Random) -> None:
    """One phase, in place: AdamW, warm-up, gradients clipped at 1."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=phase.lr, betas=(0.9, 0.98), weight_decay=0.01)
    source = batches(tokenizer, rng, phase.mix)
    began, total = time.perf_counter(), 0.0
    for step in range(1, phase.steps + 1):
        share = min(step / WARM_UP, (phase.steps + 1 - step) / phase.decay if phase.decay else 1.0, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = phase.lr * share
        loss = cross_entropy(*predict(model, next(source)))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total += loss.item()
        if step % 100 == 0:
            seconds = time.perf_counter() - began
            print(f"step {step}/{phase.steps} loss {total / 100:.4f} seconds {seconds:.0f}", flush=True)
            total = 0.0
        if step % 500 == 0 or step == phase.steps:
            _report(model, tokenizer, scenes=100)


def _report(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, *, scenes: int) -> None:
    figures = read_accuracy(model, tokenizer, seed=12345, scenes=scenes)
    print("held out: " + " ".join(f"{kind} {100 * share:.1f}%" for kind, share in figures.items()), flush=True)


def main() -> None:
    """Train, round to bfloat16, measure what was saved."""
    from transformers import LlamaForCausalLM

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder to write the model and tokenizer to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--after", type=int, default=0, help="go on after so many phases, from OUTPUT/phase-N")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    tokenizer = make_tokenizer("llama")
    done = options.output / f"phase-{options.after}"
    model = LlamaForCausalLM.from_pretrained(done) if options.after else make_model(tokenizer)
    print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters", flush=True)
    for number, phase in enumerate(PHASES[options.after :], options.after + 1):
        print(phase, flush=True)
        train(model, tokenizer, phase, Random(f"{options.seed} {number}"))
        model.save_pretrained(options.output / f"phase-{number}")
    save_rounded(model, options.output)
    tokenizer.save_pretrained(options.output)
    saved = LlamaForCausalLM.from_pretrained(options.output)
    _report(saved, tokenizer, scenes=500)


if __name__ == "__main__":
    main()
