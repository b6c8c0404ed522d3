"""Pretrain the miniature language model: a LLaMA of about a million parameters that reads described scenes.

`python -m inlay.recipes.miniature.pretrain_llama --output DIR --seed 0 --steps 7000` makes the shipped weights again.
The architecture is LLaMA's (https://arxiv.org/abs/2302.13971). The loss is the mean over reply tokens only.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cross_entropy

from inlay.recipes.miniature.corpus import Piece, digit_text, sample_text, scene_text
from inlay.recipes.miniature.muon import optimizers
from inlay.recipes.miniature.storage import save_rounded
from inlay.recipes.miniature.tokenizer import make_tokenizer
from inlay.recipes.miniature.world import sample_scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

BATCH = 16
LEARNING_RATE = 2e-3  # of embeddings, head and norms
MATRIX_RATE = 4e-3  # of the matrices inside the layers, by Muon
WARM_UP = 100  # steps
DECAY = 0.35  # the last share of the steps, in which the learning rate falls to zero
CURRICULUM = (300, 800)  # until these steps scenes have one object, then at most two
_POOL = 16  # batches made at once and cut by length, so that little is padded

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


def batches(tokenizer: PreTrainedTokenizerFast, rng: Random) -> Iterator[Batch]:
    """Endless batches of fresh texts of the training split."""
    done = 0
    while True:
        most = 1 + sum(done >= step for step in CURRICULUM)
        done += _POOL
        rows = encode([sample_text(rng, most=most) for _ in range(BATCH * _POOL)], tokenizer)
        rows.sort(key=lambda row: len(row[0]))
        cut = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
        rng.shuffle(cut)
        for chosen in cut:
            yield collate(chosen, tokenizer.pad_token_id)


def predict(model: LlamaForCausalLM, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits (replies' tokens, vocabulary) and the tokens they should predict; nothing else is computed."""
    ids, labels = batch
    hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    asked = labels[:, 1:] != -100
    return model.lm_head(hidden[asked]), labels[:, 1:][asked]


@torch.no_grad()
def read_accuracy(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, *, seed: int, scenes: int
) -> dict[str, float]:
    """Share of greedy replies that are wholly right, by kind, on described held-out scenes and on digits.

    A reply is right when every one of its tokens, the end included, is the likeliest one; `"answers"` is the mean
    over all questions, captions and instructions left out (they have several right wordings).
    """
    rng = Random(seed)
    texts = [scene_text(sample_scene(rng, "held_out"), rng, turns=8) for _ in range(scenes)]
    texts += [digit_text(digit, rng) for digit in range(10)]
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


def train(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, *, seed: int, steps: int) -> None:
    """Train in place: Muon and AdamW, warm-up, constant rate, linear decay to zero, gradients clipped at 1."""
    both = optimizers(model, lr=LEARNING_RATE, matrix_lr=MATRIX_RATE, warm_up=WARM_UP, decay=DECAY, steps=steps)
    source = batches(tokenizer, Random(seed))
    began, total = time.perf_counter(), 0.0
    for step in range(1, steps + 1):
        loss = cross_entropy(*predict(model, next(source)))
        model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in both:
            optimizer.step()
            schedule.step()
        total += loss.item()
        if step % 100 == 0:
            seconds = time.perf_counter() - began
            print(f"step {step}/{steps} loss {total / 100:.4f} seconds {seconds:.0f}", flush=True)
            total = 0.0
        if step % 500 == 0 or step == steps:
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
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    tokenizer = make_tokenizer("llama")
    model = make_model(tokenizer)
    print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters", flush=True)
    train(model, tokenizer, seed=options.seed, steps=options.steps)
    save_rounded(model, options.output)
    tokenizer.save_pretrained(options.output)
    saved = LlamaForCausalLM.from_pretrained(options.output)
    _report(saved, tokenizer, scenes=500)


if __name__ == "__main__":
    main()
