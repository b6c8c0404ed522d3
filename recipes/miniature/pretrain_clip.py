"""Pretrain the miniature CLIP on pictures of the world and their captions.

`python -m inlay.recipes.miniature.pretrain_clip --output DIR --seed 0 --steps 1400` makes such weights again. The
architecture and the loss between pictures and captions are CLIP's (https://arxiv.org/abs/2103.00020); a second loss
matches every patch with the phrase of what covers it, so that attributes are bound to places. It is taken behind the
last layer and, as in deep supervision (https://arxiv.org/abs/1409.5185), behind the one before, which adapters read.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy, normalize

from inlay.recipes.miniature.draw import SIZE
from inlay.recipes.miniature.muon import optimizers
from inlay.recipes.miniature.pairs import EMPTY, TWINS, Pair, sample_pairs
from inlay.recipes.miniature.storage import save_rounded
from inlay.recipes.miniature.tokenizer import make_tokenizer

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor
    from transformers import CLIPModel, PreTrainedTokenizerFast

GROUPS, DIGITS = 14, 8  # of each batch: groups of twins, handwritten digits
PATCH = 8  # pixels a side
LEARNING_RATE = 2e-3  # of embeddings, projections and norms
MATRIX_RATE = 3e-3  # of the matrices inside the layers, by Muon
WARM_UP = 100  # steps
DECAY = 0.35  # the last share of the steps, in which the learning rate falls to zero
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])  # CLIP's own
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])


def make_model(tokenizer: PreTrainedTokenizerFast) -> CLIPModel:
    """A CLIP whose vision tower is 128 wide and 4 layers deep, and sees 36 patches; random weights."""
    from transformers import CLIPConfig, CLIPModel

    vision = {
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": SIZE,
        "patch_size": PATCH,
        "projection_dim": 96,
    }
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 96,
        "intermediate_size": 384,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "projection_dim": 96,
    }
    return CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=96))


def make_processor() -> Any:
    """CLIP's image processor (PIL) at the miniature's size: shortest side to 48, centre crop, normalise."""
    from transformers import CLIPImageProcessorPil

    return CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE})


def pixels(images: list[Image.Image]) -> Tensor:
    """What the image processor makes of square RGB images, fast: shape (batch, 3, 48, 48)."""
    from PIL import Image

    resized = [np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC)) for image in images]
    scaled = (torch.from_numpy(np.stack(resized)).float() / 255 - MEAN) / STD
    return scaled.permute(0, 3, 1, 2).contiguous()


def embed_images(model: CLIPModel, images: Tensor) -> tuple[Tensor, Tensor]:
    """Unit embeddings of the pictures (batch, 96) and of all their patches, by two layers (2, batch, 36, 96)."""
    vision = model.vision_model
    layers = torch.stack(vision(pixel_values=images, output_hidden_states=True).hidden_states[-2:])
    embedded = normalize(model.visual_projection(vision.post_layernorm(layers)), dim=-1)
    return embedded[-1, :, 0], embedded[:, :, 1:]


def embed_texts(model: CLIPModel, tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> Tensor:
    """Unit embeddings of shape (texts, 96)."""
    ids = tokenizer(texts, padding=True, return_tensors="pt")["input_ids"]
    return normalize(model.text_projection(model.text_model(input_ids=ids).pooler_output), dim=-1)


def cell_of_patch() -> Tensor:
    """For each of the 36 patches, the index of the cell that it lies in."""
    patches, per_cell = SIZE // PATCH, SIZE // PATCH // 3
    row = torch.arange(patches) // per_cell
    return (3 * row[:, None] + row[None, :]).flatten()


def losses(model: CLIPModel, tokenizer: PreTrainedTokenizerFast, pairs: list[Pair]) -> tuple[Tensor, Tensor]:
    """The contrastive loss of pictures and captions, and that of patches and phrases."""
    images, patches = embed_images(model, pixels([pair.image for pair in pairs]))
    texts = list(dict.fromkeys(pair.text for pair in pairs))
    phrases = list(dict.fromkeys(phrase for pair in pairs for phrase in pair.phrases))
    embedded = embed_texts(model, tokenizer, texts + phrases)
    scale = model.logit_scale.exp().clamp(max=100)
    logits = scale * images @ embedded[: len(texts)].T
    wanted = torch.tensor([texts.index(pair.text) for pair in pairs])
    shared = torch.nn.functional.one_hot(wanted, len(texts)).float()  # digits of one value share their caption
    contrastive = (cross_entropy(logits, wanted) + cross_entropy(logits.T, (shared / shared.sum(0)).T)) / 2
    number = {phrase: index for index, phrase in enumerate(phrases)}
    cells = torch.tensor([[number[phrase] for phrase in pair.phrases] for pair in pairs])
    covered = cells[:, cell_of_patch()].flatten().repeat(len(patches))
    errors = cross_entropy(scale * patches.flatten(0, 2) @ embedded[len(texts) :].T, covered, reduction="none")
    occupied = torch.tensor([not phrase.startswith(EMPTY) for phrase in phrases])[covered]
    return contrastive, errors[occupied].mean() + 0.3 * errors[~occupied].mean()


@torch.no_grad()
def retrieval(
    model: CLIPModel, tokenizer: PreTrainedTokenizerFast, *, seed: int, groups: int = 100
) -> dict[str, float]:
    """Recall at 1 of the caption, on held-out scenes: among `groups` random scenes, and among near twins."""
    rng = Random(seed)
    pairs = sample_pairs(rng, groups=groups, digits=0, split="held_out")
    images, _ = embed_images(model, pixels([pair.image for pair in pairs]))
    logits = images @ embed_texts(model, tokenizer, [pair.text for pair in pairs]).T
    strangers = logits[::TWINS, ::TWINS].argmax(1) == torch.arange(groups)
    blocks = torch.stack(
        [logits[start : start + TWINS, start : start + TWINS] for start in range(0, len(pairs), TWINS)]
    )
    twins = blocks.argmax(2) == torch.arange(TWINS)
    return {f"of {groups}": strangers.float().mean().item(), f"of {TWINS} twins": twins.float().mean().item()}


def train(model: CLIPModel, tokenizer: PreTrainedTokenizerFast, *, seed: int, steps: int) -> None:
    """Train in place: Muon and AdamW, warm-up, constant rate, linear decay to zero, gradients clipped at 1."""
    both = optimizers(model, lr=LEARNING_RATE, matrix_lr=MATRIX_RATE, warm_up=WARM_UP, decay=DECAY, steps=steps)
    rng = Random(seed)
    began, total = time.perf_counter(), np.zeros(2)
    for step in range(1, steps + 1):
        contrastive, region = losses(model, tokenizer, sample_pairs(rng, groups=GROUPS, digits=DIGITS))
        model.zero_grad()
        (contrastive + region).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in both:
            optimizer.step()
            schedule.step()
        total += (contrastive.item(), region.item())
        if step % 50 == 0:
            means, seconds = total / 50, time.perf_counter() - began
            print(
                f"step {step}/{steps} captions {means[0]:.3f} patches {means[1]:.3f} seconds {seconds:.0f}", flush=True
            )
            total = np.zeros(2)
        if step % 250 == 0 or step == steps:
            _report(model, tokenizer)


def _report(model: CLIPModel, tokenizer: PreTrainedTokenizerFast) -> None:
    model.train(mode=False)
    figures = retrieval(model, tokenizer, seed=12345)
    print("held out: " + " ".join(f"{name} {100 * share:.1f}%" for name, share in figures.items()), flush=True)
    model.train()


def main() -> None:
    """Train, round to bfloat16, measure what was saved."""
    from transformers import CLIPModel, PreTrainedTokenizerFast

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder to write the model and its processors to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1400)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--start", type=Path, help="folder of a model to go on from, instead of random weights")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    tokenizer = make_tokenizer("clip")
    if options.start:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(options.start)
    model = CLIPModel.from_pretrained(options.start) if options.start else make_model(tokenizer)
    print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters", flush=True)
    train(model, tokenizer, seed=options.seed, steps=options.steps)
    save_rounded(model, options.output)
    tokenizer.save_pretrained(options.output)
    make_processor().save_pretrained(options.output)
    saved = CLIPModel.from_pretrained(options.output)
    _report(saved, tokenizer)


if __name__ == "__main__":
    main()
