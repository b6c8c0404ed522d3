"""Pretrain the miniature CLIP on pictures of the world and their captions.

`python -m pretraining.vision.clip --output DIR --seed 0 --steps 1400` trains such weights. Architecture and loss
between pictures and captions are CLIP's (https://arxiv.org/abs/2103.00020). A second loss matches every patch with
the phrase about the object that covers it, to bind attributes to places; it is taken after the last layer and, as in
deep supervision (https://arxiv.org/abs/1409.5185), after the second-to-last one, which adapters read.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import normalize

from inlay.recipes.miniature.world.drawing import PICTURE_SIDE
from pretraining import training_loop
from pretraining.command_line import parse, print_size
from pretraining.language.byte_pair_tokenizers import make_tokenizer
from pretraining.optimizers import muon_and_adamw
from pretraining.percentages import percentages
from pretraining.rounded_weights import save_rounded
from pretraining.vision.captioned_pictures import TWINS, sample_pairs
from pretraining.vision.contrastive_losses import contrast, embed_texts
from pretraining.vision.pixels import PATCH, pixels

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import CLIPModel, PreTrainedTokenizerFast

GROUPS, DIGITS = 14, 8  # in each batch: groups of twins, handwritten digits
LEARNING_RATE = 2e-3  # of embeddings, projections and norms
MATRIX_RATE = 3e-3  # of the matrices inside the layers, by Muon
WARM_UP = 100  # steps
DECAY = 0.35  # share of the steps at the end in which the learning rate falls to zero


def make_model(tokenizer: PreTrainedTokenizerFast) -> CLIPModel:
    """A CLIP with a vision tower of width 128, 4 layers and 36 patches; random weights."""
    from transformers import CLIPConfig, CLIPModel

    vision = {
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": PICTURE_SIDE,
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
    """CLIP's image processor (PIL): shortest side to 48, centre crop, normalise."""
    from transformers import CLIPImageProcessorPil

    return CLIPImageProcessorPil(
        size={"shortest_edge": PICTURE_SIDE}, crop_size={"height": PICTURE_SIDE, "width": PICTURE_SIDE}
    )


def embed_images(model: CLIPModel, images: Tensor) -> tuple[Tensor, Tensor]:
    """Unit embeddings of the pictures (batch, 96) and of their patches after the last two layers (2, batch, 36, 96)."""
    vision = model.vision_model
    layers = torch.stack(vision(pixel_values=images, output_hidden_states=True).hidden_states[-2:])
    embedded = normalize(model.visual_projection(vision.post_layernorm(layers)), dim=-1)
    return embedded[-1, :, 0], embedded[:, :, 1:]


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
    """Train in place: Muon and AdamW, warm-up, constant rate, linear decay to zero."""
    both = muon_and_adamw(model, lr=LEARNING_RATE, matrix_lr=MATRIX_RATE, warm_up=WARM_UP, decay=DECAY, steps=steps)
    rng = Random(seed)

    def losses(step: int) -> dict[str, Tensor]:
        del step  # all steps are the same
        pairs = sample_pairs(rng, groups=GROUPS, digits=DIGITS)
        images, patches = embed_images(model, pixels([pair.image for pair in pairs]))
        scale = model.logit_scale.exp().clamp(max=100)
        parts = contrast(pairs, images, patches, lambda texts: embed_texts(model, tokenizer, texts), scale)
        return dict(zip(("captions", "patches"), parts, strict=True))

    training_loop.train(model, losses, both, steps=steps, report=lambda: _report(model, tokenizer))


def _report(model: CLIPModel, tokenizer: PreTrainedTokenizerFast) -> None:
    figures = retrieval(model, tokenizer, seed=12345)
    print(f"held out: {percentages(figures)}", flush=True)


def main() -> None:
    """Train, save in bfloat16, measure the saved model."""
    from transformers import CLIPModel, PreTrainedTokenizerFast

    options = parse(__doc__, steps=1400, start="a CLIP to continue from, instead of random weights")
    tokenizer = make_tokenizer("clip")
    if options.start:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(options.start)
    model = CLIPModel.from_pretrained(options.start) if options.start else make_model(tokenizer)
    print_size(model)
    train(model, tokenizer, seed=options.seed, steps=options.steps)
    save_rounded(model, options.output)
    tokenizer.save_pretrained(options.output)
    make_processor().save_pretrained(options.output)
    saved = CLIPModel.from_pretrained(options.output)
    _report(saved, tokenizer)


if __name__ == "__main__":
    main()
