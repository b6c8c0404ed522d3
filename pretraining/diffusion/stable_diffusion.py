"""Pretrain the miniature Stable Diffusion: drawings of 32 pixels from prompts.

`python -m pretraining.diffusion.stable_diffusion --output DIR --seed 0` trains such weights: first the autoencoder,
on drawings and frames of clips, then text encoder and U-Net together, on drawings (https://arxiv.org/abs/2112.10752;
see `pretraining.diffusion.denoiser_training`). The folder is a `StableDiffusionPipeline`.
"""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import torch

from inlay.recipes.miniature.judges.generated_media import accuracies
from inlay.recipes.miniature.media.captions import caption_of, prompt_of
from inlay.recipes.miniature.media.clips import SIDE, draw_shape, render_clip
from inlay.recipes.miniature.media.specs import DRAWINGS, Drawing, Movement, sample_spec
from pretraining.command_line import parse
from pretraining.diffusion import denoiser_training
from pretraining.diffusion.autoencoder import PICTURES, latents_of, make_autoencoder, train_autoencoder
from pretraining.diffusion.prompt_tokenizers import make_clip_tokenizer
from pretraining.diffusion.prompted_pipelines import (
    TEXT_WIDTH,
    denoise,
    embed_prompts,
    make_text_encoder,
    pictures_of,
    pixels_of,
    sample,
    save_pipeline,
)
from pretraining.percentages import percentages

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor, nn
    from transformers import CLIPTokenizer

POOL = 3000  # drawings; they are encoded once
BATCH = 48  # batch size of the autoencoder; half of the pictures are frames of clips
LATENT = SIDE // 4
WIDTHS = (64, 96)  # of the U-Net, at 8 x 8 and 4 x 4


def make_unet() -> Any:
    """A `UNet2DConditionModel` of 8 x 8 latents with random weights."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=LATENT,
        in_channels=PICTURES.latent,
        out_channels=PICTURES.latent,
        down_block_types=("CrossAttnDownBlock2D",) * len(WIDTHS),
        up_block_types=("CrossAttnUpBlock2D",) * len(WIDTHS),
        block_out_channels=WIDTHS,
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,  # for this class diffusers takes it as the number of heads
        norm_num_groups=PICTURES.groups,
    )


def draw_pictures(rng: Random, count: int = BATCH) -> Tensor:
    """New drawings and frames of clips, (count, 3, 32, 32)."""
    pictures: list[Image.Image] = []
    while len(pictures) < count:
        if rng.random() < 0.5:
            pictures.append(draw_shape(sample_spec(Drawing, rng), rng))
        else:
            pictures += rng.sample(render_clip(sample_spec(Movement, rng), rng).frames, 2)
    return pixels_of(pictures[:count])


@torch.no_grad()
def generate_pictures(
    text: nn.Module, unet: nn.Module, vae: Any, tokenizer: CLIPTokenizer, prompts: list[str]
) -> list[Image.Image]:
    """Generate pictures from prompts."""
    rows = embed_prompts(text, tokenizer, [""] * len(prompts) + prompts)
    shape = (len(prompts), PICTURES.latent, LATENT, LATENT)
    latents = sample(lambda noisy, time: unet(noisy, time, rows).sample, shape, seed=0)
    return pictures_of(vae.decode(latents / vae.config.scaling_factor).sample)


def train(
    tokenizer: CLIPTokenizer, text: Any, unet: Any, vae: Any, plan: denoiser_training.Plan, rng: Random
) -> tuple[Any, Any]:
    """Train text encoder and U-Net on drawings; returns the averaged ones."""
    drawings = [sample_spec(Drawing, rng) for _ in range(POOL)]
    latents = latents_of(vae, pixels_of([draw_shape(drawing, rng) for drawing in drawings]))

    def report(text: nn.Module, unet: nn.Module) -> None:
        held_out = [drawing for drawing in DRAWINGS if drawing.split == "held_out"] * 4
        made = generate_pictures(text, unet, vae, tokenizer, [caption_of(drawing) for drawing in held_out])
        print(f"held out: {percentages(accuracies(held_out, made))}", flush=True)

    return denoiser_training.train(
        text,
        unet,
        latents,
        lambda number, rng: prompt_of(drawings[number], rng),
        partial(denoise, tokenizer),
        plan,
        rng,
        report=report,
    )


def main() -> None:
    """Train the autoencoder, then text encoder and U-Net; save in float16."""
    from diffusers import StableDiffusionPipeline

    options = parse(__doc__, autoencoder_steps=900, steps=3000)
    rng = Random(options.seed)
    vae = make_autoencoder(PICTURES)
    length = options.autoencoder_steps
    train_autoencoder(vae, lambda: draw_pictures(rng), PICTURES, steps=length, decoder_steps=2 * length // 3)
    tokenizer = make_clip_tokenizer()
    text, unet = make_text_encoder(tokenizer), make_unet()
    plan = denoiser_training.Plan(steps=options.steps)
    text, unet = train(tokenizer, text, unet, vae, plan, rng)
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=denoiser_training.make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    save_pipeline(pipeline, options.output)


if __name__ == "__main__":
    main()
