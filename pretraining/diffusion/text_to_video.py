"""Pretrain the miniature text-to-video model: clips of four frames from prompts.

`python -m pretraining.diffusion.text_to_video --output DIR --seed 0` trains such weights. It starts from the
miniature Stable Diffusion: the autoencoder stays as it is, and the layers of the U-Net process each frame separately.
Temporal layers are added that are the identity at first, as in ModelScope's text-to-video
(https://arxiv.org/abs/2308.06571). The folder is a `TextToVideoSDPipeline`; the package stores its `vae` only once,
in `sd`.
"""

from __future__ import annotations

import copy
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy, normalize

from inlay.adapters.media.video import Video
from inlay.recipes.miniature import backbone_path
from inlay.recipes.miniature.judges.generated_media import accuracies
from inlay.recipes.miniature.media.captions import caption_of, prompt_of
from inlay.recipes.miniature.media.clips import FPS, FRAMES, render_clip
from inlay.recipes.miniature.media.specs import DIRECTIONS, MOVEMENTS, Drawing, Movement, sample_spec
from pretraining import training_loop
from pretraining.command_line import parse
from pretraining.diffusion import denoiser_training
from pretraining.diffusion.autoencoder import PICTURES, latents_of
from pretraining.diffusion.prompted_pipelines import (
    TEXT_WIDTH,
    denoise,
    embed_prompts,
    pictures_of,
    pixels_of,
    sample,
    save_pipeline,
)
from pretraining.diffusion.stable_diffusion import LATENT, WIDTHS
from pretraining.optimizers import scheduled
from pretraining.percentages import percentages

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import CLIPTokenizer

WORD_STEPS = 200
POOL = 1200  # clips; they are encoded once
BATCH = 10  # clips of a step
WORDED = 32  # prompts of a step of `learn_directions`
SCALE = 8.0  # of the unit vectors that the direction is predicted from
JUDGED = 48  # held-out movements of a report


def make_unet() -> Any:
    """A `UNet3DConditionModel` of 8 x 8 latents with random weights."""
    from diffusers import UNet3DConditionModel

    return UNet3DConditionModel(
        sample_size=LATENT,
        in_channels=PICTURES.latent,
        out_channels=PICTURES.latent,
        down_block_types=("CrossAttnDownBlock3D",) * len(WIDTHS),
        up_block_types=("CrossAttnUpBlock3D",) * len(WIDTHS),
        block_out_channels=WIDTHS,
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,  # for this class diffusers takes it as the number of heads
        norm_num_groups=PICTURES.groups,
    )


def inflate(unet: Any, flat: Any) -> None:
    """Copy the weights of a 2D U-Net of the same widths; the temporal layers become the identity.

    Args:
        unet: A `UNet3DConditionModel`, changed in place.
        flat: A `UNet2DConditionModel`; its 1 x 1 convolutions around the attention are linear layers there.
    """
    from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel

    state = unet.state_dict()
    state |= {name: tensor.reshape(state[name].shape) for name, tensor in flat.state_dict().items()}
    unet.load_state_dict(state)
    for module in unet.modules():
        if isinstance(module, TransformerTemporalModel):
            for parameter in module.proj_out.parameters():
                torch.nn.init.zeros_(parameter)


def learn_directions(tokenizer: CLIPTokenizer, text: Any, rng: Random, *, steps: int) -> None:
    """Teach the text encoder the words for directions, which prompts for drawings do not have.

    Without this, the encodings of all directions are almost equal, and the denoiser learns to ignore them. A linear
    head predicts the direction from the mean row of a prompt; the rows of prompts for drawings are kept.

    Args:
        tokenizer: The tokenizer of the text encoder.
        text: A text encoder trained on drawings; changed in place.
        rng: Chooses prompts.
        steps: All steps.
    """
    known = copy.deepcopy(text).eval()
    head = torch.nn.Linear(TEXT_WIDTH, len(DIRECTIONS))
    both = torch.nn.ModuleList([text, head]).train()
    optimizer = torch.optim.AdamW(both.parameters(), 1e-3, weight_decay=0.0)

    def losses(step: int) -> dict[str, Tensor]:
        del step  # all steps are the same
        moving = [sample_spec(Movement, rng) for _ in range(WORDED)]
        rows = embed_prompts(text, tokenizer, [prompt_of(movement, rng) for movement in moving])
        told = head(normalize(rows.mean(1), dim=-1) * SCALE)
        wanted = torch.tensor([DIRECTIONS.index(movement.direction) for movement in moving])
        drawn = [prompt_of(sample_spec(Drawing, rng), rng) for _ in range(WORDED)]
        with torch.no_grad():
            before = embed_prompts(known, tokenizer, drawn)
        kept = (embed_prompts(text, tokenizer, drawn) - before) ** 2
        return {"direction": cross_entropy(told, wanted), "kept": kept.mean()}

    constant = scheduled(optimizer, steps=steps, warm_up=1, decay=0)
    training_loop.train(both, losses, [constant], steps=steps, report=lambda: None)


@torch.no_grad()
def generate_clips(
    text: nn.Module, unet: nn.Module, vae: Any, tokenizer: CLIPTokenizer, prompts: list[str]
) -> list[Video]:
    """Generate clips from prompts."""
    rows = embed_prompts(text, tokenizer, [""] * len(prompts) + prompts)
    shape = (len(prompts), PICTURES.latent, FRAMES, LATENT, LATENT)
    latents = sample(lambda noisy, time: unet(noisy, time, rows).sample, shape, seed=0)
    frames = latents.transpose(1, 2).flatten(0, 1) / vae.config.scaling_factor
    pictures = pictures_of(torch.cat([vae.decode(part).sample for part in torch.split(frames, 96)]))
    return [Video(tuple(pictures[start : start + FRAMES]), FPS) for start in range(0, len(pictures), FRAMES)]


def latents_of_clips(vae: Any, clips: list[Video]) -> Tensor:
    """Scaled latents (clips, 4, frames, 8, 8)."""
    frames = pixels_of([frame for clip in clips for frame in clip.frames])
    latents = latents_of(vae, frames)
    return latents.view(len(clips), -1, *latents.shape[1:]).transpose(1, 2).contiguous()


def train(
    tokenizer: CLIPTokenizer, text: Any, unet: Any, vae: Any, plan: denoiser_training.Plan, rng: Random
) -> tuple[Any, Any]:
    """Train text encoder and U-Net on clips; returns the averaged ones."""
    movements = [sample_spec(Movement, rng) for _ in range(POOL)]
    latents = latents_of_clips(vae, [render_clip(movement, rng) for movement in movements])
    held_out = [movement for movement in MOVEMENTS if movement.split == "held_out"]
    judged = Random(0).sample(held_out, min(JUDGED, len(held_out)))

    def report(text: nn.Module, unet: nn.Module) -> None:
        made = generate_clips(text, unet, vae, tokenizer, [caption_of(movement) for movement in judged])
        print(f"held out: {percentages(accuracies(judged, made))}", flush=True)

    return denoiser_training.train(
        text,
        unet,
        latents,
        lambda number, rng: prompt_of(movements[number], rng),
        partial(denoise, tokenizer),
        plan,
        rng,
        report=report,
    )


def main() -> None:
    """Start from Stable Diffusion, train, save in float16."""
    from diffusers import StableDiffusionPipeline, TextToVideoSDPipeline

    options = parse(__doc__, steps=700, start="a Stable Diffusion; without it, the shipped one")
    folder = options.start or backbone_path("sd")
    start = StableDiffusionPipeline.from_pretrained(folder)
    unet = make_unet()
    inflate(unet, start.unet)
    start.vae.requires_grad_(False)
    rng = Random(options.seed)
    learn_directions(start.tokenizer, start.text_encoder, rng, steps=WORD_STEPS)
    plan = denoiser_training.Plan(steps=options.steps, batch=BATCH, lr=1.5e-3, text_lr=5e-4)
    text, unet = train(start.tokenizer, start.text_encoder, unet, start.vae, plan, rng)
    pipeline = TextToVideoSDPipeline(
        vae=start.vae,
        text_encoder=text,
        tokenizer=start.tokenizer,
        unet=unet,
        scheduler=denoiser_training.make_scheduler(),
    )
    save_pipeline(pipeline, options.output)


if __name__ == "__main__":
    main()
